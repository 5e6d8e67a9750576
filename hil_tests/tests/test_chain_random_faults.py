"""The whole chain under faults drawn by lot, as nobody thought of them: in the end the ledger is what the units saved.

Gateways, broker and ingest are killed with -9, uplinks and cables are pulled, units lose power at any flash operation
and get noise on their lines, while somebody scans at random. `make proof` does it for CARTRACE_FAULTS_S seconds; a
failure names its seed, with which CARTRACE_FAULTS_SEED draws the same faults again (not the same moments).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_tests import figures
from hil_tests.bench.small_batch import plain
from hil_tests.bench.unix_unit import UnixUnit
from hil_tests.checker import Truth, check
from hil_tests.materials import Materials
from hil_tests.site import Gateway
from hil_tests.stage import Stage

SECONDS = float(os.environ.get("CARTRACE_FAULTS_S", "120"))
SEED = int(os.environ.get("CARTRACE_FAULTS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
SETTLE_S = 150.0  # gateways that failed for minutes wait before they try again
SPEED = 60.0
LONGEST_PAUSE_S, LONGEST_DOWN_S, LONGEST_SCAN_PAUSE_S = 2.5, 5.0, 1.0
ARMED_CUT_S = 8.0  # within this a unit comes to the flash operation at which it is to lose power
FLASH_OPS, TORN = 8, (None, 0, 1, 100, 200, 255)
CARD = ("BATCH/OPEN", "BATCH/CLOSE", "STEP/START/receive", "STEP/DONE", "STEP/START/prime", "OVERRIDE/changed plan")


class Faults:
    """What can befall a stage, drawn by lot; `mend` leaves everything plugged in, switched on and running."""

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self._stage, self._dice = stage, dice
        self.drawn: dict[str, int] = {}
        self._uplink_cut = dict.fromkeys(stage.gateways, False)
        self._kinds: tuple[Callable[[], None], ...] = (
            self.gateway_dies, self.broker_forgets, self.ingest_dies, self.uplink, self.power, self.power_while_writing,
            self.noise, self.cable,
        )  # fmt: skip

    def one(self) -> None:
        fault = self._dice.choice(self._kinds)
        fault()
        self.drawn[fault.__name__] = self.drawn.get(fault.__name__, 0) + 1

    def gateway_dies(self) -> None:
        gateway = self._gateway()
        gateway.kill9()
        self._a_while(LONGEST_DOWN_S)
        gateway.start()

    def broker_forgets(self) -> None:
        self._stage.broker_forgets()

    def ingest_dies(self) -> None:
        self._stage.cloud.ingest.kill9()
        self._a_while(LONGEST_DOWN_S)
        self._stage.cloud.ingest.start()

    def uplink(self) -> None:
        gateway = self._gateway()
        was_cut = self._uplink_cut[gateway.name]
        (gateway.network.restore if was_cut else gateway.network.cut)()
        self._uplink_cut[gateway.name] = not was_cut

    def power(self) -> None:
        unit = self._unit()
        unit.power_cut()
        self._a_while(1.0)
        unit.power_on()

    def power_while_writing(self) -> None:
        unit = self._unit()
        unit.power_cut(at_flash_op=self._dice.randint(1, FLASH_OPS), torn_bytes=self._dice.choice(TORN))
        give_up_at = time.monotonic() + ARMED_CUT_S
        while unit.is_on and time.monotonic() < give_up_at:
            time.sleep(0.05)
        unit.power_cut()
        unit.power_on()

    def noise(self) -> None:
        self._unit().noise(self._dice.randbytes(self._dice.randint(1, 3000)))

    def cable(self) -> None:
        unit = self._unit()
        unit.unplug_link()
        self._a_while(1.0)
        unit.plug_link()

    def mend(self) -> None:
        for name in self._uplink_cut:
            if self._uplink_cut[name]:
                self._stage.gateways[name].network.restore()
        for unit in self._stage.units.values():
            unit.power_cut()
            unit.power_on()

    def _gateway(self) -> Gateway:
        return self._stage.gateways[self._dice.choice(sorted(self._stage.gateways))]

    def _unit(self) -> UnixUnit:
        return self._stage.units[self._dice.choice(sorted(self._stage.units))]

    def _a_while(self, longest_s: float) -> None:
        time.sleep(self._dice.uniform(0, longest_s))


def hands(unit: UnixUnit, materials: Materials, dice: random.Random, stopping: threading.Event) -> None:
    """Scans whatever comes into reach, without a look at the panel."""
    while not stopping.wait(dice.uniform(0, LONGEST_SCAN_PAUSE_S)):
        note = "ä" * dice.randint(1, 40)
        card = dice.choice([*CARD, f"NOTE/{note}", f"BADGE/OP-{dice.randint(1, 5)}"])
        unit.scan(plain(dice.choice([f"CT/{card}", f"CT/{card}", materials.donor_code, "garbage"])))


@pytest.mark.exhaustive
@pytest.mark.timeout(int(SECONDS) + 600)
def test_whatever_fails_the_ledger_is_what_the_units_saved(tmp_path: Path) -> None:
    """SPEC W40, W54, W58, W62, W63; the checker shares no code with the product."""
    print(f"CARTRACE_FAULTS_SEED={SEED}")  # shown when the test fails
    dice = random.Random(SEED)
    stopping = threading.Event()
    with Stage(tmp_path / "state", speed=SPEED) as stage:
        stage.rise()
        people = []
        for number, unit in enumerate(stage.units, 1):
            materials = Materials(number, stage.shown_ms())
            stage.order(materials.batch, unit, materials.donor_code)
            arguments = (stage.units[unit], materials, random.Random(dice.random()), stopping)
            people.append(threading.Thread(target=hands, args=arguments, daemon=True))
        faults = Faults(stage, dice)
        for person in people:
            person.start()
        end_at = time.monotonic() + SECONDS
        while time.monotonic() < end_at:
            time.sleep(dice.uniform(0, LONGEST_PAUSE_S))
            faults.one()
        stopping.set()
        for person in people:
            person.join()
        faults.mend()
        settle(stage)
        print(faults.drawn, figures.streams(stage))
        truth = Truth(
            journals={name: unit.journal() for name, unit in stage.units.items()},
            cloud_public_key=stage.cloud_key,
            receipts=tuple(stage.witness.receipts),
        )
        assert check(truth, stage.cloud.database) == []
        assert stage.witness.too_early == []
        assert [unit.misuse for unit in stage.units.values()] == [None] * len(stage.units)
        assert sum(faults.drawn.values()) > SECONDS / 10
        assert all(len(journal) > SECONDS / 2 for journal in truth.journals.values())


def settle(stage: Stage) -> None:
    """Wait until the ledger holds all that was saved, and switch the units off in such a moment."""
    give_up_at = time.monotonic() + SETTLE_S
    while time.monotonic() < give_up_at:
        if all(stream.settled for stream in figures.streams(stage)):
            for unit in stage.units.values():
                unit.power_cut()
            if all(stream.settled for stream in figures.streams(stage)):
                return
            for unit in stage.units.values():
                unit.power_on()
        time.sleep(1.0)
    pytest.fail(f"not archived within {SETTLE_S:.0f} s: {figures.streams(stage)}")
