"""Every fixed text that a technician may see fits its line: read from the sources, so that none is forgotten."""

import ast
from collections.abc import Iterator
from pathlib import Path

from agent import panel

AGENT = Path(__file__).resolve().parents[1] / "agent"
FIRST, SECOND = 20, panel.LINE_CHARS  # "!" stands before the first line of a refusal
RAISED = {"Refusal", "LabelError", "_about"}
WORDS_BEGIN = {"Refusal": 1, "LabelError": 1, "_about": 2}
MEANT = {"%s": "expiry", "%d": "400"}  # what a placeholder becomes at least


def _texts() -> Iterator[tuple[str, int, str]]:
    """Where, how long it may be, and the text; what is a name or an id at run time is left to panel.short."""
    for path in sorted(AGENT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED:
                words = node.args[WORDS_BEGIN[node.func.id] :]
                for longest, argument in zip((FIRST, SECOND), words, strict=False):
                    if isinstance(text := _constant(argument), str):
                        yield where, longest, text
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Answer":
                if len(node.args) > 1 and isinstance(node.args[1], ast.List):
                    for element in node.args[1].elts:
                        if isinstance(text := _constant(element), str):
                            yield where, SECOND, text
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("lines", "broken"):
                for argument in node.args:
                    if isinstance(text := _constant(argument), str):
                        yield where, SECOND, text


def _constant(node: ast.expr) -> object:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        text = _constant(node.left)
        if isinstance(text, str):
            for mark, meant in MEANT.items():
                text = text.replace(mark, meant)
            return text
    return node.value if isinstance(node, ast.Constant) else None


def test_every_fixed_text_fits_its_line() -> None:
    too_long = [f"{where}: {text!r}, {longest} fit" for where, longest, text in _texts() if len(text) > longest]
    assert not too_long


def test_the_texts_are_found_at_all() -> None:
    found = [text for _where, _longest, text in _texts()]
    assert len(found) > 100
    assert {"WRONG STEP. Next:", "Separator missing", "take another one", "NOT ENROLLED", "JOURNAL FULL"} <= set(found)
