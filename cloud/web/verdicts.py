"""How verdicts, severities and states are shown: a tone, a shape and a word each, and why a verdict is not good.

Decides nothing about a batch: the report of cloud/domain does. A verdict is shown as "Not yet" while the batch runs
and nothing speaks against it, because "no" would then be untrue and "yes" too early (R67).
"""

from dataclasses import dataclass

from cloud.domain.codes import CODES
from cloud.domain.report import (
    AUTHENTIC,
    COMPLETE,
    CONFORMING,
    CRITICAL,
    MAJOR,
    MINOR,
    NO_VERDICT,
    OPEN,
    ExceptionItem,
    Report,
)
from cloud.web.words import code_words

UNFINISHED = ("waiting", "running")


@dataclass(frozen=True)
class Mark:
    """tone: critical, major, minor, good or calm (a colour); shape: a symbol of icons.html; word: says the same."""

    tone: str
    shape: str
    word: str


SEVERITY_MARKS = {
    CRITICAL: Mark("critical", "critical", "Critical"),
    MAJOR: Mark("major", "major", "Major"),
    MINOR: Mark("minor", "minor", "Minor"),
}
STATE_MARKS = {
    "waiting": Mark("calm", "waiting", "Waiting"),
    "running": Mark("minor", "running", "Running"),
    "closed": Mark("calm", "closed", "Closed"),
    "aborted": Mark("major", "aborted", "Aborted"),
}
STEP_MARKS = {
    "pending": Mark("calm", "waiting", "Not started"),
    "running": Mark("minor", "running", "Running"),
    "done": Mark("good", "good", "Done"),
    "skipped": Mark("major", "major", "Skipped"),
    "aborted": Mark("major", "aborted", "Aborted"),
}
DONE_OVERRULED = Mark("major", "major", "Done, overruled")
YES = Mark("good", "good", "Yes")
NO = Mark("critical", "critical", "No")
NOT_YET = Mark("calm", "waiting", "Not yet")
SO_FAR = Mark("calm", "running", "So far")
RESOLVED_MARK = Mark("calm", "resolved", "Resolved")
ACCEPTED = Mark("good", "good", "Accepted")
REFUSED = Mark("minor", "minor", "Refused")

QUESTIONS = {
    COMPLETE: ("Complete", "Is every record of this batch here?"),
    CONFORMING: ("Conforming", "Was it made as the recipe says?"),
    AUTHENTIC: ("Authentic", "Did this unit, and nobody else, sign every record?"),
}


@dataclass(frozen=True)
class Check:
    """One rule and how often it was applied and satisfied (R71)."""

    words: str
    meaning: str  # what the rule looks for
    checked: int
    passed: int

    @property
    def clean(self) -> bool:
        return self.checked == self.passed


@dataclass(frozen=True)
class Verdict:
    """One of the three verdicts as the page shows it."""

    name: str
    title: str
    question: str
    answer: Mark
    summary: str
    reasons: tuple[ExceptionItem, ...]
    checks: tuple[Check, ...]

    @property
    def checked(self) -> int:
        return sum(check.checked for check in self.checks)

    @property
    def passed(self) -> int:
        return sum(check.passed for check in self.checks)


def answer(good: bool, state: str, spoiled: bool) -> Mark:
    """The mark of one verdict: yes and no are for finished batches, no also for what is already wrong."""
    if state in UNFINISHED:
        return NO if spoiled else (SO_FAR if good else NOT_YET)
    return YES if good else NO


def list_answer(name: str, good: bool, state: str) -> Mark:
    """The same for the list, where only the booleans are known.

    Once a batch runs, something speaks against what is not good; but nobody expects it to be complete.
    """
    return answer(good, state, spoiled=not good and state == "running" and name != COMPLETE)


def verdicts(report: Report) -> tuple[Verdict, ...]:
    """The three verdicts, always in this order, always apart (DESIGN section 6)."""
    return tuple(_verdict(report, name, good) for name, good in _answers(report))


def _answers(report: Report) -> tuple[tuple[str, bool], ...]:
    return ((COMPLETE, report.complete), (CONFORMING, report.conforming), (AUTHENTIC, report.authentic))


def _verdict(report: Report, name: str, good: bool) -> Verdict:
    title, question = QUESTIONS[name]
    reasons = tuple(item for item in report.exceptions if item.verdict == name and item.spoils)
    mark = answer(good, report.state, bool(reasons))
    return Verdict(name, title, question, mark, _summary(report, name, mark), reasons, _checks(report, name))


def _summary(report: Report, name: str, mark: Mark) -> str:
    if mark is NOT_YET and report.state == "waiting":
        return "Nothing has arrived from the unit for this batch."
    if mark is NOT_YET:
        return (
            "The batch is still running."
            if name != COMPLETE
            else "The batch is still running: its close has not arrived."
        )
    if mark is SO_FAR:
        return "Nothing speaks against it up to now. The answer comes when the batch is closed."
    return {COMPLETE: _complete_words, CONFORMING: _conforming_words, AUTHENTIC: _authentic_words}[name](report, mark)


def _complete_words(report: Report, mark: Mark) -> str:
    if mark is YES:
        held = f"All {report.records} records, {report.first_seq} to {report.last_seq}, are in the ledger"
        return f"{held}, and the unit's own count agrees."
    missing = sum(last - first + 1 for first, last in report.holes)
    if missing:
        return f"{missing} {'record is' if missing == 1 else 'records are'} missing."
    return "The record of this batch is not whole."


def _conforming_words(report: Report, mark: Mark) -> str:
    return (
        "No open critical or major exception in the process."
        if mark is YES
        else "The process departed from the recipe."
    )


def _authentic_words(report: Report, mark: Mark) -> str:
    if mark is YES:
        return "Each position is held by exactly one record, signed by a key that is valid for it."
    return "Not every position is held by exactly one properly signed record."


def _checks(report: Report, name: str) -> tuple[Check, ...]:
    return tuple(
        Check(code_words(rule), _meaning(rule), count.checked, count.passed)
        for rule, count in sorted(report.rules_checked.items())
        if _rule_verdict(rule) == name
    )


def other_checks(report: Report) -> tuple[Check, ...]:
    """Rules whose findings are shown but spoil no verdict."""
    return _checks(report, NO_VERDICT)


def _rule_verdict(rule: str) -> str:
    return CODES[rule].verdict if rule in CODES else CONFORMING


def _meaning(rule: str) -> str:
    return CODES[rule].meaning.removesuffix(" (ours)") if rule in CODES else ""


def tally(report: Report) -> tuple[tuple[Mark, int], ...]:
    """How many exceptions are open, by severity, and how many are resolved."""
    severities = [item.severity for item in report.exceptions if item.state == OPEN]
    resolved = len(report.exceptions) - len(severities)
    found = [(SEVERITY_MARKS[name], severities.count(name)) for name in SEVERITY_MARKS]
    found.append((RESOLVED_MARK, resolved))
    return tuple((mark, count) for mark, count in found if count)
