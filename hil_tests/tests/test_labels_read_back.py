"""Every label of the story is drawn, read back from its image, and has the prefix and bytes of a scanner."""

from pathlib import Path

import pytest

from hil_tests import labels
from hil_tests.materials import BUFFER, CARTRIDGE, VECTOR, Materials

TODAY_MS = 1_795_000_000_000  # 2026-11-18
MATERIALS = [Materials(number, TODAY_MS) for number in range(1, 5)]
GS1_LABELS = [
    elements for of in MATERIALS for elements in (of.cartridge, of.buffer, of.expired_buffer, of.vector)
]  # fmt: skip
CARD = ["CT/BATCH/OPEN", "CT/BATCH/CLOSE", "CT/STEP/START/prime", "CT/STEP/DONE/label unreadable"]
CARD += ["CT/QTY/buffer/used/482.5/mL", "CT/NOTE/all quiet", "CT/BATCH/ABORT/unit fell over"]


def as_bytes(elements: str) -> bytes:
    """What a GS1 reader must give: AIs without brackets, GS after a variable field that is not the last."""
    fields = elements.replace("]", "[").split("[")[1:]
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    variable = {"10", "21"}
    last = len(pairs) - 1
    ended = (ai + value + ("\x1d" if ai in variable and n < last else "") for n, (ai, value) in enumerate(pairs))
    return "".join(ended).encode()


@pytest.mark.parametrize("elements", GS1_LABELS)
def test_gs1_labels_carry_their_elements(elements: str) -> None:
    read = labels.read_label(labels.gs1_label(elements))
    assert read.aim == labels.GS1_DATAMATRIX_AIM
    assert read.code == as_bytes(elements)


def test_a_variable_field_in_front_ends_with_gs() -> None:
    sent = labels.scan_gs1(f"[01]{BUFFER}[10]WB-7[17]270131")
    assert sent == b"]d201" + BUFFER.encode() + b"10WB-7\x1d17270131\r\n"


@pytest.mark.parametrize("text", CARD)
def test_card_codes_are_plain_datamatrix(text: str) -> None:
    assert labels.scan_card(text) == b"]d1" + text.encode() + b"\r\n"


def test_badges_are_plain_code_128() -> None:
    assert labels.scan_badge("CT/BADGE/OP-114") == b"]C0CT/BADGE/OP-114\r\n"


def test_donor_codes_have_the_isbt_128_structure() -> None:
    code = MATERIALS[0].donor_code
    assert code.startswith("=A9999")
    assert len(code) == len("=") + 13 + 2
    assert labels.scan_card(code) == b"]d1" + code.encode() + b"\r\n"


@pytest.mark.parametrize("gtin", [CARTRIDGE, BUFFER, VECTOR])
def test_gtins_are_those_of_the_recipe(gtin: str) -> None:
    recipe = Path(labels.__file__).parent / "recipes" / "car-t-demo.toml"
    assert f'gtin = "{gtin}"' in recipe.read_text()


def test_a_hibc_label_gets_its_plus_and_check_character() -> None:
    """The check character is the published one of this article and lot (ANSI/HIBC 2)."""
    assert labels.scan_label("+E20831269/$$8020423286539") == b"]d1+E20831269/$$8020423286539+\r\n"


def test_labels_are_drawn_as_they_are_written() -> None:
    assert labels.scan_label(MATERIALS[0].bag) == f"]d1{MATERIALS[0].bag}\r\n".encode()
    assert labels.scan_label(MATERIALS[0].cartridge).startswith(b"]d201")


def test_what_is_no_label_is_refused_in_words() -> None:
    with pytest.raises(labels.LabelError, match="is no label"):
        labels.gs1_label("[01]123")
    with pytest.raises(labels.LabelError, match="13 digits"):
        labels.gtin("12")


def test_two_symbols_in_one_image_are_no_reading() -> None:
    both = labels.card_code("CT/BATCH/OPEN")
    wide = both.resize((both.width, both.height)).crop((0, 0, both.width * 2 + 40, both.height))
    wide.paste((255, 255, 255), (both.width, 0, wide.width, wide.height))
    wide.paste(both, (both.width + 40, 0))
    with pytest.raises(labels.LabelError, match="found 2"):
        labels.read_label(wide)
