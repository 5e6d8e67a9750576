"""Panel texts: 6 lines of 21 characters (128x64 display) that tell the technician what to do next, and why not.

Pure: takes what is so and returns lines. Decides nothing. The custody words are DESIGN section 1's: saved, relayed,
archived.
"""

LINE_CHARS = 21
LINES = 6
RESULT_MS = 6000  # how long the result of a scan stays before it is only a line of history

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.procedure import Procedure


def working(procedure: "Procedure", result: "list[str]", accepted: bool, custody: str, resumed: bool) -> "list[str]":
    """The panel of a unit that works: batch, step and badge; what to scan next; the last result; custody."""
    head = procedure.batch or ("Unit ready" if not resumed else "Unit restarted")
    if procedure.step:
        head += " " + procedure.step
    prompt = procedure.prompt()
    first, second = result[0], result[1] if len(result) > 1 else ""
    mark = "" if accepted or not first else "! "
    if resumed and not first:
        first = "Restarted: resumed" if procedure.batch else "Restarted"
    return lines(head, prompt[0], "> " + prompt[1] if prompt[1] else "", mark + first, second, custody)


def custody(saved_next: int, relayed_next: int, archived_next: int, oldest_age_ms: int) -> str:
    """Where the newest record is, and how long the oldest one has been waiting for the archive."""
    if archived_next >= saved_next:
        return "archived all"
    word = "relayed" if relayed_next >= saved_next else "saved"
    return "%s, %d wait %s" % (word, saved_next - archived_next, age(oldest_age_ms))


def age(age_ms: int) -> str:
    """A waiting time in its largest unit: 42s, 17m, 5h, 3d."""
    seconds = max(age_ms, 0) // 1000
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return "%d%s" % (seconds // length, unit)
    return "%ds" % seconds


def full(wait: int) -> "list[str]":
    """The journal is full: nothing may be scanned, because it could not be saved."""
    return lines(
        "JOURNAL FULL",
        "Do not scan: nothing",
        "can be saved now.",
        "Check the gateway and",
        "its network.",
        "%d wait" % wait,
    )


def not_enrolled() -> "list[str]":
    return lines("NOT ENROLLED", "This unit has no", "identity yet.", "Bring it to", "provisioning.", "")


def broken(what: str, hint: str) -> "list[str]":
    """The unit cannot work at all; what is wrong and what to do."""
    return lines("OUT OF SERVICE", what, hint, "Call the supervisor.", "", "")


def lines(*texts: str) -> "list[str]":
    """Exactly LINES lines of at most LINE_CHARS."""
    kept = [text[:LINE_CHARS] for text in texts[:LINES]]
    return kept + [""] * (LINES - len(kept))
