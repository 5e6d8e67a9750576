"""Draws codes as Data Matrix symbols (ISO/IEC 16022) in SVG, and a whole card of them as a file of its own.

Decides nothing about what is on a card: cloud/domain/card.py does. A symbol is black on white in every theme: a scanner
reads nothing else reliably.
"""

from collections.abc import Sequence
from pathlib import Path

import zint
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from cloud.domain.card import Sheet

QUIET_MODULES = 2  # the standard asks for one
STYLE = Path(__file__).parent / "static" / "web" / "card.css"
DARK = 128


def data_matrix(code: str) -> SafeString:
    """code as an SVG of one path, one unit per module; its size on paper is the style sheet's."""
    rows = _modules(code)
    side = len(rows) + 2 * QUIET_MODULES
    path = "".join(
        f"M{x + QUIET_MODULES} {y + QUIET_MODULES}h1v1h-1z"
        for y, row in enumerate(rows)
        for x, dark in enumerate(row)
        if dark
    )
    return format_html(
        '<svg class="symbol" viewBox="0 0 {} {}" shape-rendering="crispEdges" role="img" aria-label="{}">'
        '<rect width="{}" height="{}" fill="#fff"/><path d="{}" fill="#000"/></svg>',
        side, side, code, side, side, path,
    )  # fmt: skip


def _modules(code: str) -> list[list[bool]]:
    """Rows of modules, True for dark; always square."""
    symbol = zint.Symbol()
    symbol.symbology = zint.Symbology.DATAMATRIX
    symbol.input_mode = zint.InputMode.UNICODE
    symbol.option_3 = zint.DataMatrixOptions.SQUARE
    symbol.show_text = False
    symbol.scale = 0.5  # one pixel per module
    symbol.encode(code)
    symbol.buffer()
    bitmap = symbol.bitmap
    assert bitmap is not None
    assert bitmap.shape is not None
    height, width, colours = bitmap.shape
    pixels = bitmap.tobytes()
    return [[pixels[(y * width + x) * colours] < DARK for x in range(width)] for y in range(height)]


def card_file(title: str, subtitle: str, sheets: Sequence[Sheet]) -> str:
    """A page with everything in it, for a browser without this server."""
    context = {"title": title, "subtitle": subtitle, "sheets": sheets, "style": mark_safe(STYLE.read_text())}  # noqa: S308 - our own file
    return render_to_string("web/card_file.html", context)


def version_words(version: int, digest: bytes | memoryview) -> str:
    """Which recipe file a card was made from."""
    return f"version {version} ({bytes(digest).hex()[:16]})"
