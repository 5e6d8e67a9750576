"""The catalogue of exception codes: which verdict each belongs to, how severe it is, and what a recipe may change.

Decides no finding. Codes are stable (R69); those that R69 does not list are marked "ours". A recipe may override a
severity, but never take a code of FLOORED below critical: whether evidence is there and genuine is not the recipe's to
judge. A *softened* finding (a wrong item that the unit refused, an alert limit) is always minor.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud.domain.report import AUTHENTIC, COMPLETE, CONFORMING, CRITICAL, MAJOR, MINOR, NO_VERDICT


@dataclass(frozen=True)
class Code:
    """severity: of the full, not softened finding, unless the recipe overrides it."""

    verdict: str
    severity: str
    meaning: str


CODES: dict[str, Code] = {
    # transport
    "sequence_gap": Code(COMPLETE, CRITICAL, "records of the batch are missing"),
    "count_mismatch": Code(COMPLETE, CRITICAL, "the unit's closing count differs from what is held (ours)"),
    "communication_loss": Code(COMPLETE, MAJOR, "nothing was heard for three heartbeats"),
    "unknown_record_type": Code(COMPLETE, MAJOR, "a record of a type this version cannot read (ours)"),
    "chain_broken": Code(AUTHENTIC, CRITICAL, "a record names another predecessor than the one held"),
    "equivocation": Code(AUTHENTIC, CRITICAL, "two different signed records claim one position"),
    "signature_invalid": Code(AUTHENTIC, CRITICAL, "an altered or unreadable copy was refused"),
    "key_not_valid": Code(AUTHENTIC, CRITICAL, "signed with a key that is unknown or was not valid"),
    "unit_restarted": Code(NO_VERDICT, MINOR, "the unit restarted during the batch (ours)"),
    "late_record": Code(NO_VERDICT, MINOR, "records reached the cloud late"),
    # the run
    "recipe_version_mismatch": Code(CONFORMING, CRITICAL, "the unit ran something else than was ordered"),
    "unit_not_authorised": Code(CONFORMING, CRITICAL, "another unit than the ordered one names the batch"),
    "record_outside_batch": Code(CONFORMING, MAJOR, "a record names the batch outside its open and close (ours)"),
    "aborted_run": Code(CONFORMING, CRITICAL, "the batch or a step was aborted"),
    "missing_step": Code(CONFORMING, MAJOR, "a step was skipped, not run or not finished"),
    "step_out_of_order": Code(CONFORMING, MAJOR, "a step ran before an earlier one was finished"),
    "step_repeated": Code(CONFORMING, MAJOR, "a step ran more than once"),
    "forced_step": Code(CONFORMING, MINOR, "the unit was overruled about a step"),
    "same_person_verified": Code(CONFORMING, MAJOR, "one person stands for two who overruled the unit"),
    "override_invalid": Code(CONFORMING, MAJOR, "two people overruled what cannot be overruled (ours)"),
    "time_limit_exceeded": Code(CONFORMING, MAJOR, "a step or a wait took longer than allowed"),
    "operator_not_qualified": Code(CONFORMING, MAJOR, "an action with nobody signed in"),
    "alarm_unacknowledged": Code(CONFORMING, MAJOR, "an alarm that nobody acknowledged"),
    "record_lost": Code(CONFORMING, MAJOR, "the unit could not record something (ours)"),
    "clock_uncertain": Code(CONFORMING, MAJOR, "a time that matters cannot be shown"),
    "operator_comment": Code(NO_VERDICT, MINOR, "the operator left a note"),
    # materials
    "missing_scan": Code(CONFORMING, MAJOR, "an item of a step was not scanned"),
    "unexpected_item": Code(CONFORMING, MAJOR, "an item that the step does not ask for"),
    "wrong_item": Code(CONFORMING, CRITICAL, "another article than the recipe asks for"),
    "identity_mismatch": Code(CONFORMING, CRITICAL, "another donation or patient code than the batch's"),
    "duplicate_serial": Code(CONFORMING, CRITICAL, "a serial number used more than once"),
    "expired_material": Code(CONFORMING, CRITICAL, "material used after its expiry"),
    "label_mismatch": Code(CONFORMING, MAJOR, "a label that lacks what the recipe needs"),
    "manual_entry_unverified": Code(CONFORMING, MAJOR, "typed instead of scanned"),
    "scan_refused": Code(CONFORMING, MINOR, "the unit could not use what was scanned (ours)"),
    "quantity_mismatch": Code(CONFORMING, MAJOR, "issued and accounted quantities differ"),
    # sensors
    "parameter_excursion": Code(CONFORMING, MAJOR, "a parameter outside its limits"),
    "sensor_gap": Code(CONFORMING, MAJOR, "no usable samples for longer than allowed"),
    "sensor_fault": Code(CONFORMING, MAJOR, "samples marked stuck, out of range or fault"),
    "calibration_expired": Code(CONFORMING, MAJOR, "a sensor past its calibration date"),
}

FLOORED = frozenset(
    {"sequence_gap", "count_mismatch", "chain_broken", "equivocation", "signature_invalid", "key_not_valid"}
    | {"identity_mismatch", "recipe_version_mismatch", "unit_not_authorised"}
)
