"""Panel texts: 6 lines of 21 characters (128x64 display) that tell the technician what to do next, and why not.

Takes what is so and returns lines; decides nothing but what may be left out when a line is too short: the middle of ids
and names, since they differ at their ends. The custody words are a ladder: saved, relayed, archived. Pure.

| line | of a unit that works |
|---|---|
| 0 | batch and step |
| 1, 2 | what to scan next |
| 3, 4 | the result of the last scan |
| 5 | where the newest record is, and how long the oldest one has waited for the archive |
"""

LINE_CHARS = 21
LINES = 6
STEP_CHARS = 10  # that the id of a step keeps beside a long batch
CUT = "~"
REFUSED = "! "
DAYS_MAX = 99
AT_LEAST = ">"
FULL = "JOURNAL FULL", "Nothing can be saved:", "check the gateway."  # why nothing may be scanned
WORN = "FLASH IS WORN", "Nothing can be saved:", "replace this unit."
SET_BACK = "JOURNAL WAS SET BACK", "Records are lost:", "enrol a new epoch."

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.procedure import Procedure


def working(
    procedure: "Procedure", prompt: "list[str]", result: "list[str]", accepted: bool, custody: str, resumed: bool
) -> "list[str]":
    """The panel of a unit that works. resumed: nothing has been scanned since the unit was switched on."""
    head = heading(procedure.batch, procedure.step) or ("Unit restarted" if resumed else "Unit ready")
    first, second = result[0], result[1] if len(result) > 1 else ""
    if resumed and not first:
        first = "Restarted: resumed" if procedure.batch else "Restarted"
    mark = REFUSED[: max(0, LINE_CHARS - len(first))] if first and not accepted else ""
    if len(first) > LINE_CHARS and not second and " " in first:
        first, _space, second = first.partition(" ")
    return lines(head, prompt[0], "> " + prompt[1] if prompt[1] else "", mark + first, second, custody)


def heading(batch: str, step: str) -> str:
    """Batch and step in one line, so that both can be told from others."""
    if not step:
        return short(batch)
    step = short(step, max(STEP_CHARS, LINE_CHARS - 1 - len(batch)))
    return short(batch, LINE_CHARS - 1 - len(step)) + " " + step


def short(text: str, longest: int = LINE_CHARS) -> str:
    """text in at most `longest` characters; what does not fit is left out before its last two thirds."""
    if len(text) <= longest:
        return text
    begin = (longest - 1) // 3
    return text[:begin] + CUT + text[len(text) - (longest - 1 - begin) :]


def custody(
    saved_next: int,
    relayed_next: int,
    archived_next: int,
    oldest_age_ms: int,
    full_percent: int = 0,
    at_least: bool = False,
) -> str:
    """Where the newest record is, and how long the oldest one has been waiting for the archive.

    full_percent: how full the journal is, when that is worth a warning; 0 when it is not. at_least: the oldest one has
    waited longer than that, but nobody knows how long.
    """
    waits = (AT_LEAST if at_least else "") + age(oldest_age_ms)
    warning = "%d%% FULL" % min(full_percent, 99) if full_percent else ""
    if archived_next >= saved_next:  # nothing waits
        word = "archived" if saved_next else "no records"
        return warning + ", " + word if warning else word + (" all" if saved_next else " yet")
    word = "relayed" if relayed_next >= saved_next else "saved"
    if warning:
        return _longest_fitting(("%s, %s %s", "%s,%s %s"), (warning, word, waits))
    counted = (word, saved_next - archived_next, waits)
    return _longest_fitting(("%s, %d wait %s", "%s,%d wait %s"), counted) or "%s, wait %s" % (word, waits)


def _longest_fitting(forms: "tuple[str, ...]", values: "tuple[object, ...]") -> str:
    """The first of forms that fits a line, the most spacious one first; "" when none does."""
    for form in forms:
        line = form % values
        if len(line) <= LINE_CHARS:
            return line
    return ""


def age(age_ms: int) -> str:
    """A waiting time in its largest unit: 42s, 17m, 5h, 3d."""
    seconds = max(age_ms, 0) // 1000
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return "%d%s" % (min(seconds // length, DAYS_MAX), unit)
    return "%ds" % seconds


def stopped(batch: str, step: str, why: "tuple[str, str, str]", custody: str) -> "list[str]":
    """Nothing may be scanned, because it could not be saved. why: FULL, WORN or SET_BACK."""
    return lines(why[0], heading(batch, step), "DO NOT SCAN", why[1], why[2], custody)


def not_enrolled() -> "list[str]":
    return lines("NOT ENROLLED", "This unit has no", "identity yet.", "Bring it to", "provisioning.", "")


def broken(what: str, hint: str) -> "list[str]":
    """The unit cannot work at all; what is wrong and what to do."""
    return lines("OUT OF SERVICE", what, hint, "Call the supervisor.", "", "")


def lines(*texts: str) -> "list[str]":
    """Exactly LINES lines of at most LINE_CHARS."""
    kept = [short(text) for text in texts[:LINES]]
    return kept + [""] * (LINES - len(kept))
