"""The order of a map's keys, which the quick way through the decoder must judge as the slow one does (SPEC W1)."""

import cbor2
import pytest

from wire import WireError, cbor

IN_ORDER = ("a0", "a201000200", "a200002000", "a22000 2100", "8200a101a20000 2000", "a2 6161 00 6162 00")
OUT_OF_ORDER = ("a202000100", "a220000000", "a221002000", "8200a101a220000000", "a2 6162 00 6161 00")


@pytest.mark.parametrize("given", IN_ORDER)
def test_a_map_in_order_is_read(given: str) -> None:
    raw = bytes.fromhex(given)
    assert cbor.decode(raw, 100) == cbor2.loads(raw)
    assert cbor.encode(cbor2.loads(raw)) == raw


@pytest.mark.parametrize("given", OUT_OF_ORDER)
def test_a_map_out_of_order_is_refused(given: str) -> None:
    with pytest.raises(WireError) as refused:
        cbor.decode(bytes.fromhex(given), 100)
    assert refused.value.code == "not_deterministic"
