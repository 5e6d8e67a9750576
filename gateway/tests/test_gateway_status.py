"""What the status says of records that no receipt covers: which stream, how many, how old, why, and what to do."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.desk import PortState
from gateway.live import _why_port
from gateway.reasons import STALE_S, counted
from gateway.session import Session
from gateway.settings import Settings, load
from gateway.spool import Spool, Stream, open_spool
from gateway.status import STRANGERS_NAMED_MAX, StateLock, read_status, render, write_live
from gateway.tests.standins import CLOUD_KEY, GatewayProcess
from gateway.tests.standins import Stream as Records
from wire import Status, Time

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
UP: dict[str, Any] = {"broker": {"up": True}, "cloud_silent_ms": 500, "resends": {}, "time_ms": NOW_MS, "why": []}


@dataclass
class Site:
    """A state directory that a running gateway holds; the test writes what that gateway would."""

    settings: Settings
    spool: Spool
    unit: Records

    def keep(self, records: Records, count: int, age_ms: int) -> None:
        with self.spool.transaction():
            for seq, raw in enumerate(records.write(count)):
                self.spool.keep(records.kid, seq, raw, NOW_MS - age_ms)

    def knows(self, **fields: Any) -> None:
        with self.spool.transaction():
            self.spool.save_stream(Stream(self.unit.kid, "U-01", 1, 9, 9, b"", **fields))

    def status(self, **live: Any) -> dict[str, Any]:
        write_live(self.settings.state_dir, UP | live)
        return read_status(self.settings, NOW_MS)

    def why(self, **live: Any) -> str:
        return " | ".join(self.status(**live)["why"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings = load(GatewayProcess(tmp_path, ["/dev/none"], {"host": "127.0.0.1"}).config)
    lock = StateLock(settings.state_dir)
    spool = open_spool(settings.state_dir)
    yield Site(settings, spool, Records("unit"))
    spool.close()
    lock.release()


def test_a_record_of_a_key_that_nobody_spoke_with_is_explained(site: Site) -> None:
    forger = Records("forger")
    site.keep(forger, 1, 14 * MINUTE_MS)
    found = site.status()
    assert (found["not_safe"], found["strangers"], found["safe"]) == (1, 1, False)
    [waiting] = found["waiting"]
    assert (waiting["kid"], waiting["unit"], waiting["records"]) == (forger.kid.hex(), None, 1)
    assert waiting["oldest_age_ms"] == 14 * MINUTE_MS
    assert render(found).splitlines()[1:] == [
        "not yet safe: 1 record, the oldest for 14 min",
        f"why: unknown_key: stream {forger.kid.hex()} "
        "(no unit with this key has spoken here): 1 record, 14 min old: the cloud has "
        "sent no receipt for this key; it is not enrolled or the record is forged. If you know the unit, enrol it at "
        "the control site; otherwise have the spool's row examined",
    ]


def test_every_stream_that_waits_is_named_with_its_own_age(site: Site) -> None:
    site.knows(archived_seq=0, receipt_seq=0, receipt_ms=NOW_MS - MINUTE_MS)
    site.keep(site.unit, 3, 5 * MINUTE_MS)
    site.keep(Records("forger"), 2, 3 * MINUTE_MS)
    first, second = site.status()["why"]
    assert first.startswith(
        f"awaiting_receipt: stream {site.unit.kid.hex()} (unit U-01): 3 records, 5 min old: the records are being sent"
    )
    assert "2 records, 3 min old" in second
    assert "the records are forged" in second


def test_made_up_keys_do_not_flood_the_status(site: Site) -> None:
    for number in range(STRANGERS_NAMED_MAX + 2):
        site.keep(Records(f"forger {number}"), 1, MINUTE_MS)
    found = site.status()
    assert found["strangers"] == STRANGERS_NAMED_MAX + 2
    assert len(found["waiting"]) == STRANGERS_NAMED_MAX
    assert found["why"][-1].startswith("unknown_key: 2 records under still other keys")


def test_why_a_known_stream_waits(site: Site) -> None:
    site.keep(site.unit, 3, MINUTE_MS)
    site.knows()
    sent = {"resends": {site.unit.kid.hex(): 2}}
    assert "sent 3 times, and no receipt though the cloud answers others; enrol the unit" in site.why(**sent)
    assert "the cloud has answered nothing since the gateway started" in site.why(**sent, cloud_silent_ms=None)
    other_key = site.why(**sent, cloud_silent_ms=None, counters={"receipts_refused": 3})
    assert "wrong_cloud_key: " in other_key
    assert "compare `cloud_key` with what `cartrace cloud key` prints" in other_key
    site.knows(archived_seq=0, receipt_seq=0, receipt_ms=NOW_MS - MINUTE_MS)
    assert "no receipt since 2027-01-15T07:59:00Z; check that the cloud's ingest runs" in site.why(**sent)
    site.knows(archived_seq=0, receipt_seq=8, receipt_ms=NOW_MS)
    assert "archived this stream through record 8, which never came through this gateway" in site.why(**sent)
    assert "see the reason given for the broker" in site.why(**sent, broker={"up": False})


def test_a_gateway_that_hangs_is_told_from_one_that_works(site: Site) -> None:
    assert site.why() == ""
    long_ago_s = time.time() - STALE_S - 70
    os.utime(site.settings.state_dir / "status.json", (long_ago_s, long_ago_s))
    [why] = read_status(site.settings, NOW_MS)["why"]
    assert why.startswith("gateway_stalled: the gateway runs but has not written its status for 2 min")


def test_a_store_that_failed_is_told_with_what_waits_in_it(site: Site) -> None:
    site.keep(site.unit, 1, MINUTE_MS)
    site.knows()
    write_live(site.settings.state_dir, {"time_ms": NOW_MS, "why": ["the disk is broken"]})
    first, second = read_status(site.settings, NOW_MS)["why"]
    assert first == "the disk is broken"
    assert "until the gateway serves its store" in second


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(number, "record") for number in (0, 1, 2)] == ["0 records", "1 record", "2 records"]
    assert counted(2, "copy", "copies") == "2 copies"


def test_ages_follow_the_gateways_own_clock_when_it_is_ahead(site: Site) -> None:
    site.keep(Records("forger"), 1, 14 * MINUTE_MS)
    write_live(site.settings.state_dir, UP)
    asked_early = read_status(site.settings, NOW_MS - 60 * MINUTE_MS)
    assert asked_early["waiting"][0]["oldest_age_ms"] == 14 * MINUTE_MS


def test_what_only_the_unit_has_saved_is_told_apart(site: Site) -> None:
    site.keep(site.unit, 3, MINUTE_MS)
    with site.spool.transaction():
        site.spool.save_stream(Stream(site.unit.kid, "U-01", 1, 9, 3, b""))
    found = site.status()
    assert (found["not_safe"], found["not_relayed"], found["streams"][0]["not_relayed"]) == (3, 6, 6)
    assert not found["safe"]
    assert "not yet relayed: 6 records, saved on the unit only" in render(found).splitlines()


@pytest.mark.parametrize(
    ("archived_next", "counters", "codes"),
    [
        (0, {"refused_receipts": 3}, ["unit_refuses_cloud"]),
        (0, {"refused_receipts": 0}, []),
        (40, {"refused_receipts": 3}, []),  # it has believed one before, so that it knows the cloud's key
        (0, {"refused_receipts": 1, "set_back": 1}, ["unit_set_back"]),
        (40, {"set_back": 0, "worn": 1}, ["unit_worn"]),
    ],
)
def test_what_a_unit_says_of_itself_is_named(archived_next: int, counters: dict[str, int], codes: list[str]) -> None:
    session = Session("gw-1", lambda: Time(0, 0))
    session.kid, session.unit = bytes(8), "U-31"
    session.status = Status(1, 2, 3, archived_next, counters)
    port = SimpleNamespace(url="/dev/ttyACM0", is_open=True)
    found = _why_port(PortState(port, session, 0), 1000)  # type: ignore[arg-type]  # as much of a port as is asked
    assert [why.partition(": ")[0] for why in found] == codes
    assert all("unit U-31 at port /dev/ttyACM0" in why for why in found)


def test_a_store_that_is_not_there_is_not_called_safe(tmp_path: Path) -> None:
    """A typing error in state_dir must not look like a gateway that has relayed everything."""
    path = tmp_path / "gateway.toml"
    text = f'gateway = "gw"\nsite = "s"\nstate_dir = "typo"\ncloud_key = "{CLOUD_KEY.hex()}"\nports = ["/dev/x"]\n'
    path.write_text(text + '[mqtt]\nhost = "broker"\n')
    status = read_status(load(path), 0)
    assert not status["safe"]
    assert "no_spool" in [reason.partition(":")[0] for reason in status["why"]]
    assert "nothing" not in render(status).partition("no_spool")[0]
