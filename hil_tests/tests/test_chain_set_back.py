"""A unit whose newest record was destroyed writes its seq again, and on: the gateway gets both (SPEC W54, W57)."""

import time
from pathlib import Path

import pytest

from hil_tests.bench.peer import CLOUD_KEY
from hil_tests.bench.small_batch import plain
from hil_tests.bench.unix_unit import UnixUnit
from hil_tests.carrier import relayed_next, spool_rows
from hil_tests.programs import wait_until
from hil_tests.signed import take_apart
from hil_tests.site import Gateway

PAGE_BYTES = 256
LIMIT_S = 30.0


def scan_some(unit: UnixUnit, saved: int) -> None:
    """Badges in and out, until that many records are saved."""
    give_up_at = time.monotonic() + LIMIT_S
    while len(unit.journal()) < saved and time.monotonic() < give_up_at:
        unit.scan(plain("CT/BADGE/OP-1"))
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_both_records_of_one_seq_reach_the_gateway(tmp_path: Path) -> None:
    genesis = UnixUnit.provision(tmp_path / "unit", cloud_public_key=CLOUD_KEY)
    kid = take_apart(genesis).kid
    with UnixUnit(tmp_path / "unit", speed=20) as unit:
        gateway = Gateway(
            "gw", "s", tmp_path / "gw", ports=[unit.link_port], cloud_key=CLOUD_KEY.hex(), broker_port=1, env={}
        )
        try:
            unit.power_on()
            gateway.start()
            scan_some(unit, 8)
            wait_until(
                lambda: relayed_next(gateway.spool, kid) >= len(unit.journal()), what="all relayed", timeout_s=LIMIT_S
            )
            gateway.stop()
            unit.power_cut()
            newest = unit.journal()[-1]
            destroy(tmp_path / "unit" / "flash.bin", newest)
            unit.power_on()
            scan_some(unit, take_apart(newest).event[1] + 6)  # its next hello counts beyond what the gateway has
            anew = next(raw for raw in unit.journal() if take_apart(raw).event[1] == take_apart(newest).event[1])
            assert anew != newest, "the seq was not written again: this test tries nothing"
            gateway.start()
            wait_until(
                lambda: relayed_next(gateway.spool, kid) > len(unit.journal()) - 2, what="the rest", timeout_s=LIMIT_S
            )
            unit.power_cut()
            held = {bytes(row[3]) for row in spool_rows(gateway.spool)}
            assert {anew, newest} <= held
            assert set(unit.journal()[: relayed_next(gateway.spool, kid)]) <= held
        finally:
            gateway.close()


def destroy(flash: Path, record: bytes) -> None:
    """More bits of the page in which the record ends than can be put right."""
    raw = bytearray(flash.read_bytes())
    at = raw.rfind(record[-30:])
    assert at > 0
    page = at - at % PAGE_BYTES
    raw[page : page + PAGE_BYTES] = b"\x5a" * PAGE_BYTES
    flash.write_bytes(raw)
