"""What a read leads to: an answer with its records and words, or a refusal and whether two people may overrule it.

Shared by commands.py, scans.py and dialogue.py; decides nothing. Words are two lines of 21 characters, the first of a
refusal 20, since panel.py puts "!" before it. The first line of a refusal says what is wrong, the second what to do, or
names the thing for which the first asks. Ids and names may be longer: panel.py shortens them.
"""

ACCEPT_ITEM, START_STEP, FINISH_STEP = 1, 2, 3  # actions of an override (SPEC section 5, type 15)
CARD = "use the printed card"  # the code is none that can be obeyed: somebody made it by hand, or for another batch
GO_ON = "carry on as prompted"  # nothing is wrong but that this need not be done
LAPSED = ["Override has ended:", "scan that code again"]  # nobody came with a second badge
# Refusals that may come to an end without a scan: the panel drops them then.
NO_ORDER = ["No order yet: wait", "or check the gateway"]
ORDER_LOST = ["Order lost: abort", "or call supervisor"]
NO_CLOCK = ["Clock not set:", "check gateway, rescan"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Event = tuple[int, dict[int, Any], str]  # type, body, operator


class Answer:
    """Records to write, whether it did what was meant, and words for the panel."""

    def __init__(self, accepted: bool, words: "list[str]", records: "list[Event]") -> None:
        self.accepted = accepted
        self.words = words
        self.records = records


class Refusal(Exception):  # noqa: N818  a state of things, and no mistake of the program
    """A command or scan that is not possible now: reason is a SPEC word, words say what to do.

    asked: the item that it is about, "" for none. action: what an override of it would do, 0 when there is none;
    subject: the item or step of that action.
    """

    def __init__(
        self, reason: str, first: str, second: str = "", asked: str = "", action: int = 0, subject: str = ""
    ) -> None:
        super().__init__(first)
        self.reason = reason
        self.words = [first, second]
        self.asked = asked
        self.action = action
        self.subject = subject
