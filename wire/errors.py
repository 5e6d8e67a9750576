"""The one documented error of the contract.

Whatever bytes arrive, a decoder of this package returns a value or raises WireError
(SPEC W7); its code is one of SPEC section 10 and stable, its detail is for people.
"""

CODES = frozenset(
    {
        "too_large",
        "not_cbor",
        "not_deterministic",
        "wrong_shape",
        "unknown_type",
        "wrong_algorithm",
        "signature_invalid",
        "key_refused",
        "wrong_key",
        "bad_frame",
        "bad_topic",
    }
)


class WireError(ValueError):
    """Bytes or values that the contract refuses: code says which rule, detail says where."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in CODES, code
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
