"""Records as the host's own code finds them: one whole chain, with every signature good."""

from __future__ import annotations

from collections.abc import Sequence

import wire


def judged(raws: Sequence[bytes]) -> list[wire.Record]:
    """The records, once the host's own code has found the chain whole and every signature good."""
    records = [wire.decode_record(raw) for raw in raws]
    genesis = records[0]
    assert isinstance(genesis.body, wire.Genesis)
    key = genesis.body.public_key
    found = wire.judge_run(
        raws, key_for=lambda kid: key if kid == genesis.kid else None, digests_of=lambda _kid, _seq: frozenset()
    )
    assert {verdict.finding for verdict in found} == {wire.Finding.CONTIGUOUS}
    assert [record.seq for record in records] == list(range(len(records)))
    for record in records:
        wire.verify_record(record, key)
    return records
