"""The story: four batches on three units, from printed labels to reconciled batch records.

1 is right in everything; 2 has process faults; 3 runs during trouble; 4 has a bad carrier. It only does things to the
system, as people and bad luck would; what must come of it is written in the tests, never here.
Run it with ``python -m hil_tests.story``.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from hil_tests import carrier, figures
from hil_tests.bench.request import RequestError
from hil_tests.ledger import Ledger
from hil_tests.materials import Materials
from hil_tests.programs import BenchError
from hil_tests.progress import Progress
from hil_tests.stage import Stage
from hil_tests.technician import StoryStopped, Technician, UnexpectedPanelError

DEFAULT_STATE = Path(".state/demo")
DEFAULT_SPEED = 60.0
SECOND = "OP-901"  # the shift lead, who comes along when the unit is to be overruled
BADGES = {"U-01": "OP-114", "U-02": "OP-207", "U-03": "OP-331"}
PACE_S = 0.25  # a breath before every scan
OUTAGE_S = 12.0  # real; twelve minutes of the demonstration's time, beyond the recipe's ten for late records
BACKLOG_S = 90.0  # well beyond a gateway's longest back-off
SETTLE_S = 60.0
QUIET_S = 20.0  # between the batches that follow the story
CARTRIDGE, BUFFER, VECTOR = "Process cartridge", "Wash buffer", "Lentiviral vector"
DONOR_BAG, FILTER, BAG = "Donor bag", "Wash filter", "Harvest bag"


class Story:
    """Plays on a stage that has risen. say: told what happens; stopping: set when somebody has seen enough."""

    def __init__(self, stage: Stage, say: Callable[[str], None], stopping: threading.Event) -> None:
        self.stage = stage
        self.tampering = carrier.Tampering()
        self.forgotten: set[tuple[bytes, int]] = set()  # (kid, seq) that only the broker had when it was killed
        self._say, self._stopping = say, stopping
        self._materials = {number: Materials(number, stage.shown_ms()) for number in range(1, 5)}

    def batch_of(self, number: int) -> str:
        return self._materials[number].batch

    def play(self) -> None:
        """All four batches: 1 on U-01, 2 on U-02, 3 and then 4 on U-03, side by side."""
        first, second, third, fourth = self._materials.values()
        together = [
            _Scene(self._stopping, partial(self.good, first, "U-01")),
            _Scene(self._stopping, partial(self._with_faults, second, "U-02")),
            _Scene(
                self._stopping,
                partial(self._in_trouble, third, "U-03"),
                partial(self._with_a_bad_carrier, fourth, "U-03"),
            ),
        ]
        for scene in together:
            scene.start()
        for scene in together:
            scene.finish()

    def go_on(self) -> None:
        """Good batches, one after the other on each unit in turn, until stopped."""
        number = len(self._materials)
        while True:
            for unit in BADGES:
                number += 1
                materials = Materials(number, self.stage.shown_ms())
                if self._stopping.wait(QUIET_S):
                    raise StoryStopped
                self.good(materials, unit)

    # --- scenes -----------------------------------------------------------------------------------------------------

    def good(self, materials: Materials, unit: str) -> None:
        hands = self._begin(materials, unit)
        self._receive(hands, materials)
        self._prime(hands, materials)
        self._load(hands, materials)
        hands.start("culture")
        hands.wait(6)
        hands.done("culture")
        self._harvest(hands, materials)
        self._finish(hands, materials, unit)

    def _with_faults(self, materials: Materials, unit: str) -> None:
        hands = self._begin(materials, unit)
        self._receive(hands, materials)
        hands.start("prime")
        self._tell(unit, "takes the vector instead of the cartridge; the unit refuses it")
        hands.refused(materials.vector, "WRONG ITEM. Need:", CARTRIDGE)
        hands.take(materials.cartridge, CARTRIDGE)
        self._tell(unit, "takes a buffer lot that has expired; the unit refuses it")
        hands.refused(materials.expired_buffer, "EXPIRED")
        hands.take(materials.buffer, BUFFER)
        hands.take(materials.filter, FILTER)
        self._buffer_used(hands)
        hands.done("prime")
        hands.start("load")
        self._tell(unit, "cannot read the vector's label; the unit lets nobody finish loading alone")
        hands.done_refused("NOT DONE. Scan:", VECTOR)
        hands.override("label unreadable", SECOND, "load")
        self._tell(unit, "two people overrule it, and then have harvest run before culture")
        hands.start_refused("harvest", "WRONG STEP. Next:", "culture")
        hands.override("changed plan", SECOND, "harvest")
        self._tell(unit, "takes a harvest bag with an old label; two people accept it")
        hands.refused(materials.old_bag, "WRONG ITEM. Need:", BAG)
        hands.override("old label, right bag", SECOND, "bag")
        hands.done("harvest")
        hands.start("culture")
        self._misbehaving_sensor(hands, unit)
        hands.done("culture")
        self._simple(hands, "close")
        self._finish(hands, materials, unit)

    def _misbehaving_sensor(self, hands: Technician, unit: str) -> None:
        sensors = self.stage.units[unit].sensors
        channel = sensors.channels[0].name
        hands.wait(2)
        self._tell(unit, "the incubator is too warm for some minutes")
        sensors.excursion(channel, 150)
        hands.acknowledge(channel)
        self._tell(unit, "acknowledges the alarm")
        hands.wait(3)
        sensors.well(channel)
        hands.wait(2)
        self._tell(unit, "the temperature sensor gives nothing for some minutes")
        sensors.missing(channel)
        hands.wait(8)
        sensors.well(channel)
        hands.wait(2)

    def _in_trouble(self, materials: Materials, unit: str) -> None:
        board, gateway = self.stage.units[unit], self.stage.gateway_of(unit)
        hands = self._begin(materials, unit)
        self._receive(hands, materials)
        hands.start("prime")
        hands.take(materials.cartridge, CARTRIDGE)
        self._tell(unit, "loses power in the middle of priming")
        board.power_cut()
        self._power_again(hands)
        hands.take(materials.buffer, BUFFER)
        hands.take(materials.filter, FILTER)
        self._buffer_used(hands)
        hands.done("prime")
        self._tell(unit, "the site loses its uplink")
        gateway.network.cut()
        cut_s = time.monotonic()
        self._load(hands, materials)
        hands.start("culture")
        hands.wait(2)
        self._tell(unit, "its gateway is killed with -9")
        gateway.kill9()
        hands.wait(1)
        gateway.start()
        hands.wait(1)
        self._tell(unit, "loses power while it writes a record, in the middle of the culture")
        board.power_cut(at_flash_op=2, torn_bytes=100)
        board.wait_off(20)
        self._power_again(hands)
        hands.wait(max(0.0, cut_s + OUTAGE_S - time.monotonic()))
        self._forgetting_broker(hands, unit)
        hands.wait(2)
        hands.done("culture")
        self._harvest(hands, materials)
        self._finish(hands, materials, unit)

    def _power_again(self, hands: Technician) -> None:
        hands.wait(0.5)
        hands.unit.power_on()
        hands.wait_panel(lambda lines: any("Restarted" in line for line in lines), "Restarted", 20)
        hands.wait_clock()

    def _forgetting_broker(self, hands: Technician, unit: str) -> None:
        """The uplink is back, the broker acknowledges everything, and forgets it before the cloud has read it."""
        self.stage.cloud.ingest.stop()
        heard_before = len(self.stage.witness.taken)
        self.stage.gateway_of(unit).network.restore()
        self._tell(unit, "the uplink is back; the broker takes the backlog, and dies before the cloud reads it")
        give_up_at = time.monotonic() + BACKLOG_S
        while not (forgotten := self._only_in_broker(unit, heard_before)):
            if time.monotonic() > give_up_at:
                raise BenchError(f"the broker got no record of {unit} within {BACKLOG_S:.0f} s of its uplink's return")
            hands.wait(0.2)
        self.stage.broker_forgets()
        self.forgotten = forgotten
        self.stage.cloud.ingest.start()

    def _only_in_broker(self, unit: str, heard_before: int) -> set[tuple[bytes, int]]:
        """What the broker took from this unit since then, and the ledger does not hold."""
        kid = self.stage.kids[unit]
        taken = {place for place in self.stage.witness.taken[heard_before:] if place[0] == kid}
        with Ledger(self.stage.cloud.database) as ledger:
            held = ledger.rows("SELECT kid, seq FROM ledger_ledgerrecord WHERE kid = ?", kid)
        return taken - {(bytes(row[0]), row[1]) for row in held}

    def _with_a_bad_carrier(self, materials: Materials, unit: str) -> None:
        gateway, kid = self.stage.gateway_of(unit), self.stage.kids[unit]
        hands = self._begin(materials, unit)
        self._receive(hands, materials)
        self._prime(hands, materials)
        gateway.network.cut()
        self._load(hands, materials)
        hands.start("culture")
        hands.wait(4)
        saved = len(self.stage.units[unit].journal())
        while carrier.relayed_next(gateway.spool, kid) < saved:
            hands.wait(0.2)
        gateway.stop()
        self._tell(unit, "somebody removes a record from the gateway's spool, alters another and forges a third")
        self.tampering = carrier.tamper(gateway.spool, materials.batch, materials.vector_lot)
        gateway.start()
        gateway.network.restore()
        hands.wait(4)
        hands.done("culture")
        self._harvest(hands, materials)
        self._finish(hands, materials, unit)

    # --- parts of scenes --------------------------------------------------------------------------------------------

    def _order(self, materials: Materials, unit: str) -> None:
        self.stage.order(materials.batch, unit, materials.donor_code)
        self._say(f"{materials.batch} is ordered from {unit}")

    def _begin(self, materials: Materials, unit: str) -> Technician:
        self._order(materials, unit)
        hands = Technician(self.stage.units[unit], pace_s=PACE_S, stopping=self._stopping)
        hands.wait_clock(60)
        hands.sign_in(BADGES[unit])
        hands.open_batch(materials.batch)
        self._tell(unit, f"opens {materials.batch}")
        return hands

    def _receive(self, hands: Technician, materials: Materials) -> None:
        hands.start("receive")
        hands.take(materials.donor_code, DONOR_BAG)
        hands.done("receive")

    def _prime(self, hands: Technician, materials: Materials) -> None:
        hands.start("prime")
        hands.take(materials.cartridge, CARTRIDGE)
        hands.take(materials.buffer, BUFFER)
        hands.take(materials.filter, FILTER)
        self._buffer_used(hands)
        hands.done("prime")

    def _buffer_used(self, hands: Technician) -> None:
        hands.quantity("buffer", "issued", "500", "mL")
        hands.quantity("buffer", "used", "482.5", "mL")
        hands.quantity("buffer", "returned", "15", "mL")

    def _load(self, hands: Technician, materials: Materials) -> None:
        hands.start("load")
        hands.take(materials.vector, VECTOR)
        hands.done("load")

    def _harvest(self, hands: Technician, materials: Materials) -> None:
        hands.start("harvest")
        hands.take(materials.bag, BAG)
        hands.done("harvest")
        self._simple(hands, "close")

    def _simple(self, hands: Technician, *steps: str) -> None:
        for step in steps:
            hands.start(step)
            hands.wait(0.5)
            hands.done(step)

    def _finish(self, hands: Technician, materials: Materials, unit: str) -> None:
        hands.close_batch(materials.batch)
        hands.sign_out(BADGES[unit])
        self._tell(unit, f"has closed {materials.batch}")

    def _tell(self, unit: str, what: str) -> None:
        self._say(f"{unit}: {what}")

    # --- the end ----------------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Wait until all that is saved is archived and reported, then switch the units off. False: in vain."""
        give_up_at = time.monotonic() + SETTLE_S
        while time.monotonic() < give_up_at:
            if self._all_archived() and self._switch_off():
                return True
            if self._stopping.wait(0.5):
                raise StoryStopped
        return False

    def _all_archived(self) -> bool:
        reports = figures.reports(self.stage)
        return all(stream.settled for stream in figures.streams(self.stage)) and all(
            report["state"] in ("closed", "aborted") and report["complete"] for report in reports.values()
        )

    def _switch_off(self) -> bool:
        """Units off; on again, and False, when one of them saved a record in that moment."""
        for unit in self.stage.units.values():
            unit.power_cut()
        if all(stream.settled for stream in figures.streams(self.stage)):
            return True
        for unit in self.stage.units.values():
            unit.power_on()
        return False


class _Scene(threading.Thread):
    """One unit's part of the story, one play after the other. When it fails, the others are told to stop."""

    def __init__(self, stopping: threading.Event, *plays: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._plays, self._stopping = plays, stopping
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            for play in self._plays:
                play()
        except BaseException as failure:  # handed to whoever waits for the scene
            self._failure = failure
            self._stopping.set()

    def finish(self) -> None:
        while self.is_alive():
            self.join(0.2)  # short, so that Ctrl-C is heard
        if self._failure is not None and not isinstance(self._failure, StoryStopped):
            raise self._failure


def main() -> int:
    """0: the story came to its end; 1: it did not; 2: it was asked wrongly. The last two with a sentence."""
    asked = _arguments()
    stopping = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):  # a shell in the background hands SIGINT down ignored
        signal.signal(ending, _as_ctrl_c)
    progress = Progress()
    try:
        if not 0 < asked.speed < float("inf"):
            raise RequestError("bad_request", "--speed takes a number above 0; 1 is as fast as life")
        with Stage(asked.state, speed=asked.speed, sensor_csv=asked.sensor_csv, web=not asked.once) as stage:
            try:
                return _run(stage, progress, stopping, once=asked.once)
            finally:
                stopping.set()
                progress.stop()
    except KeyboardInterrupt:
        print("stopped; everything has been ended", file=sys.stderr)
        return 0 if not asked.once else 1
    except RequestError as error:
        print(f"{error.code}: the demonstration cannot begin: {error}", file=sys.stderr)
        return 2
    except (BenchError, UnexpectedPanelError, ValueError, OSError) as error:
        print(f"{_code_of(error)}: the demonstration cannot go on: {error}", file=sys.stderr)
        return 1


def _code_of(error: Exception) -> str:
    """The stable word for programs, beside the sentence for people."""
    if isinstance(error, UnexpectedPanelError):
        return "unexpected_panel"
    if isinstance(error, BenchError):
        return "bench_error"
    return "bad_request" if isinstance(error, ValueError) else "system_error"


def _run(stage: Stage, progress: Progress, stopping: threading.Event, *, once: bool) -> int:
    progress.say(f"sensor values: {stage.sensor_label}")
    progress.say("setting up the control site, two sites and three units")
    stage.rise()
    if not once:
        progress.headline(
            f"{stage.cloud.url}   login {stage.login.name}   password {stage.login.password}   (Ctrl-C ends)"
        )
    progress.start(stage)
    story = Story(stage, progress.say, stopping)
    story.play()
    if not once:
        progress.say("the four batches are made; more good ones follow, until Ctrl-C")
        story.go_on()
    settled = story.settle()
    progress.stop()
    print(json.dumps(figures.outcome(stage)))
    if not settled:
        print(
            f"not_archived: not everything was archived within {SETTLE_S:.0f} s; the logs are in {stage.folder}",
            file=sys.stderr,
        )
    return 0 if settled else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hil_tests.story", description="Four batches on three units.")
    parser.add_argument("--once", action="store_true", help="the four batches to their end, then one JSON object")
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, help="folder for everything that is written")
    parser.add_argument("--sensor-csv", type=Path, help="measured values: a file with the columns timestamp,value")
    parser.add_argument("--speed", type=float, default=DEFAULT_SPEED, help="how many times faster than life")
    return parser.parse_args()


def _as_ctrl_c(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
