"""Labels as they are printed and read: draws a symbol as an image, reads it back, and gives what a scanner would send.

Drawing is zint's, reading is zxing-cpp's: two programs that know nothing of this project, so the bytes that reach a
unit are those of a real label (ISO/IEC 16022, GS1 General Specifications), not those we would like. A serial scanner
sends the AIM prefix (ISO/IEC 15424), the code with FNC1 as GS (0x1D), and CR LF.
"""

from dataclasses import dataclass
from pathlib import Path

import zint
import zxingcpp
from PIL import Image

GS = b"\x1d"
LINE_SUFFIX = b"\r\n"
GS1_DATAMATRIX_AIM = "]d2"
PLAIN_DATAMATRIX_AIM = "]d1"
CODE128_AIM = "]C0"

_DOT_PIXELS = 4.0  # per module: what a 300 dpi printer and a hand scanner make of a 10 mil label
_QUIET_MODULES = 4


class LabelError(ValueError):
    """A label that cannot be drawn, or that does not read back as exactly one symbol."""


@dataclass(frozen=True)
class Reading:
    """What a scanner saw: the AIM symbology identifier and the code's bytes, without the line suffix."""

    aim: str
    code: bytes

    def as_sent(self) -> bytes:
        """The bytes on the unit's scanner port."""
        return self.aim.encode("ascii") + self.code + LINE_SUFFIX


def gs1_label(elements: str) -> Image.Image:
    """A GS1 DataMatrix of bracketed element strings such as ``[01]09506000134352[17]270131[10]LOT7``."""
    return _draw(zint.Symbology.DATAMATRIX, elements, zint.InputMode.GS1)


def hibc_label(text: str) -> Image.Image:
    """A HIBC DataMatrix: text without the `+` in front and the check character behind, which zint works out."""
    return _draw(zint.Symbology.HIBC_DM, text, zint.InputMode.UNICODE)


def card_code(text: str) -> Image.Image:
    """A plain DataMatrix, as on the technician's laminated card."""
    return _draw(zint.Symbology.DATAMATRIX, text, zint.InputMode.UNICODE)


def badge_code(text: str) -> Image.Image:
    """A plain Code 128, as on a badge."""
    return _draw(zint.Symbology.CODE128, text, zint.InputMode.UNICODE)


def read_label(image: Image.Image) -> Reading:
    """The one symbol in image, as a scanner reads it; LabelError when there is none or more than one."""
    found = zxingcpp.read_barcodes(image)
    if len(found) != 1:
        raise LabelError(f"expected one symbol in the image, found {len(found)}")
    return Reading(found[0].symbology_identifier, bytes(found[0].bytes))


def scan_label(code: str) -> bytes:
    """Scanner bytes of a printed label: `[01]...` as GS1, `+...` (no check character) as HIBC, else as a plain code."""
    if code.startswith("["):
        return scan_gs1(code)
    return read_label(hibc_label(code[1:])).as_sent() if code.startswith("+") else scan_card(code)


def scan_gs1(elements: str) -> bytes:
    """Scanner bytes of a printed GS1 label."""
    return read_label(gs1_label(elements)).as_sent()


def scan_card(text: str) -> bytes:
    """Scanner bytes of a code on the technician's card."""
    return read_label(card_code(text)).as_sent()


def scan_badge(text: str) -> bytes:
    """Scanner bytes of a badge."""
    return read_label(badge_code(text)).as_sent()


def gtin(first_thirteen: str) -> str:
    """A GTIN-14 with its check digit (GS1 mod 10, weights 3 and 1 from the right)."""
    if len(first_thirteen) != 13 or not first_thirteen.isdigit():
        raise LabelError(f"a GTIN-14 is made of 13 digits and a check digit, got {first_thirteen!r}")
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(first_thirteen)))
    return first_thirteen + str(-weighted % 10)


def save_sheet(images: list[Image.Image], path: Path) -> None:
    """All labels below each other in one PNG, to look at or to print."""
    width, height = max(image.width for image in images), sum(image.height for image in images)
    sheet = Image.new("RGB", (width, height), "white")
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    sheet.save(path)


def _draw(symbology: zint.Symbology, text: str, mode: zint.InputMode) -> Image.Image:
    symbol = zint.Symbol()
    symbol.symbology = symbology
    symbol.input_mode = mode
    symbol.scale = _DOT_PIXELS / 2  # zint draws two pixels per module at scale 1
    symbol.show_text = False
    symbol.whitespace_width = symbol.whitespace_height = _QUIET_MODULES
    try:
        symbol.encode(text)
    except RuntimeError as error:
        raise LabelError(f"{text!r} is no label: {error}") from error
    symbol.buffer()
    bitmap = symbol.bitmap
    assert bitmap is not None
    assert bitmap.shape is not None
    height, width, _ = bitmap.shape  # red, green, blue
    return Image.frombytes("RGB", (width, height), bitmap.tobytes())
