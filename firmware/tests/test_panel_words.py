"""Every fixed text that a technician may see: it fits its line, and a refusal says what is wrong and what to do.

Read from the sources, so that none is forgotten.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from agent import panel

AGENT = Path(__file__).resolve().parents[1] / "agent"
FIRST, SECOND = 20, panel.LINE_CHARS  # "!" stands before the first line of a refusal
WORDS_BEGIN = {"Refusal": 1, "LabelError": 1, "_about": 2}  # which argument of a refusal is its first line
MEANT = {"EXPIRED %s:": "12-31 23:59", "No %s in code:": "expiry", "use %d bytes at most": 200}  # the longest of each
WHY_STOPPED = ("FULL", "WORN", "SET_BACK")
FIELD = "7003"  # any other placeholder is the number of a field
ASKS = ("Need:", "Next:", "Scan:")  # the second line names the thing
ACTIONS = {
    "BADGE,", "STOP,", "ANOTHER", "START ", "call", "carry", "check", "do", "fix", "or", "person", "rescan,", "scan",
    "take", "to", "use",
}  # fmt: skip


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(AGENT.rglob("*.py")):
        yield path.name, ast.parse(path.read_text())


def _constants() -> dict[str, ast.expr]:
    """Every module's constants of capital letters, by name."""
    found: dict[str, ast.expr] = {}
    for _name, tree in _trees():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
                found[node.targets[0].id] = node.value
    return found


CONSTANTS = _constants()


def _refusals() -> Iterator[tuple[str, str | None, str | None]]:
    """Where, and the two lines of every refusal; None for what is a name or an id at run time (panel.short)."""
    for name, tree in _trees():
        for node in ast.walk(tree):
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORDS_BEGIN:
                words = node.args[WORDS_BEGIN[node.func.id] :]
                assert len(words) >= 2, f"{where} has no second line"
                yield where, _text(words[0]), _text(words[1])
            elif isinstance(node, ast.Assign) and name in ("scanner.py", "verdict.py"):  # refusals kept as constants
                words = node.value.elts if isinstance(node.value, ast.List) else []
                if len(words) == 2:
                    yield where, _text(words[0]), _text(words[1])


def _texts() -> Iterator[tuple[str, int, str]]:
    """Where, how long it may be, and the text."""
    for where, first, second in _refusals():
        for longest, text in ((FIRST, first), (SECOND, second)):
            if text is not None:
                yield where, longest, text
    for name, value in CONSTANTS.items():
        if isinstance(value, ast.Tuple) and name in WHY_STOPPED:
            yield from ((f"panel.{name}", SECOND, text) for line in value.elts if (text := _text(line)) is not None)
    for name, tree in _trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            arguments: list[ast.expr] = []
            if node.func.id == "Answer" and len(node.args) > 1 and isinstance(node.args[1], ast.List):
                arguments = node.args[1].elts
            elif node.func.id in ("lines", "broken"):
                arguments = node.args
            for argument in arguments:
                if (text := _text(argument)) is not None:
                    yield f"{name}:{node.lineno}", SECOND, text


def _text(node: ast.expr) -> str | None:
    """The text of a literal, of a constant or of one of its lines; a placeholder becomes as long as it may."""
    if isinstance(node, ast.Name):
        return _text(CONSTANTS[node.id]) if node.id in CONSTANTS else None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
        lines = CONSTANTS.get(node.value.id)
        return _text(lines.elts[int(str(node.slice.value))]) if isinstance(lines, ast.List) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        text = _text(node.left)
        return text % MEANT.get(text, FIELD) if text is not None and text.count("%") == 1 else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _says_what_to_do(first: str | None, second: str | None) -> bool:
    if first is not None and first.endswith(ASKS):
        return True
    return second is not None and second.split(" ")[0] in ACTIONS


def test_every_fixed_text_fits_its_line() -> None:
    too_long = [f"{where}: {text!r}, {longest} fit" for where, longest, text in _texts() if len(text) > longest]
    assert not too_long


def test_every_refusal_says_what_to_do() -> None:
    dumb = [
        f"{where}: {first!r}, {second!r}"
        for where, first, second in _refusals()
        if not _says_what_to_do(first, second) and (first, second) != (None, None)  # those are handed on
    ]
    assert not dumb


def test_the_texts_are_found_at_all() -> None:
    found = {text for _where, _longest, text in _texts()}
    assert len(found) > 80
    assert {
        "WRONG STEP. Next:",
        "Separator missing:",
        "take another one",
        "NOT ENROLLED",
        "replace this unit.",
    } <= found
    assert {"Clock not set:", "Not read whole:", "carry on as prompted", "Override has ended:"} <= found
