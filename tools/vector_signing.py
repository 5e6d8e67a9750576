"""The independent half of the vectors: a tiny CBOR encoder, and COSE_Sign1 over `cryptography`.

Shares no code with wire/ or the unit's agent, and imports neither: that is what makes a vector
evidence. Format: wire/SPEC.md sections 2, 3 and 8.
"""

import hashlib
import zlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


class Raw(bytes):
    """CBOR put in as it stands, to build what a decoder must refuse."""


class Pairs(list[tuple[Any, Any]]):
    """A map whose entries keep their order, to build maps that a decoder must refuse."""


def head(major: int, number: int) -> bytes:
    """Initial byte and argument in the shortest form (RFC 8949 section 4.2.1)."""
    if number < 24:
        return bytes([major << 5 | number])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | info]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} does not fit in 64 bits")


def cbor(value: Any) -> bytes:
    """value as deterministic CBOR; Raw and Pairs excepted."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, Pairs):
        return head(5, len(value)) + b"".join(cbor(key) + cbor(held) for key, held in value)
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(
            key + held for key, held in sorted((cbor(k), cbor(v)) for k, v in value.items())
        )
    return head(4, len(value)) + b"".join(cbor(item) for item in value)


class Signer:
    """A test key: seed = SHA-256 of a sentence that says it is one."""

    def __init__(self, name: str) -> None:
        self.sentence = f"cartrace test key, worthless on purpose: {name}"
        self.seed = hashlib.sha256(self.sentence.encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = hashlib.sha256(self.public_key).digest()[:8]

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def protected(self) -> bytes:
        return cbor({1: -19, 4: self.kid})

    def sign1(
        self,
        payload: bytes,
        purpose: str = "record",
        *,
        protected: bytes | None = None,
        unprotected: Any = None,
        tag: bytes = b"\xd2",
    ) -> bytes:
        """A COSE_Sign1 (RFC 9052 section 4.2); the keywords make wrong ones."""
        header = self.protected() if protected is None else protected
        signature = self.sign(sig_structure(header, purpose, payload))
        return tag + cbor([header, {} if unprotected is None else unprotected, payload, signature])


def sig_structure(protected: bytes, purpose: str, payload: bytes) -> bytes:
    """What is signed (RFC 9052 section 4.4)."""
    return cbor(["Signature1", protected, f"cartrace/{purpose}/1".encode(), payload])


def cobs(content: bytes) -> bytes:
    """Consistent overhead byte stuffing, byte by byte."""
    out, block = bytearray(), bytearray()
    for byte in content:
        if byte:
            block.append(byte)
        if byte == 0 or len(block) == 254:
            out += bytes([len(block) + 1]) + block
            block.clear()
    return bytes(out) + bytes([len(block) + 1]) + bytes(block)


def frame(body: bytes) -> bytes:
    """COBS(body + CRC-32 little-endian) and the closing zero (SPEC W50)."""
    return cobs(body + zlib.crc32(body).to_bytes(4, "little")) + b"\x00"


def leb128(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low + 128 if number else low)
        if not number:
            return bytes(out)


def column(values: list[int]) -> bytes:
    """First value, then differences; zigzag; LEB128 (SPEC W30)."""
    changes = [value - before for before, value in zip([0, *values], values, strict=False)]
    return b"".join(leb128(2 * change if change >= 0 else -2 * change - 1) for change in changes)


def as_json(value: Any) -> Any:
    """Plain JSON: a byte string is {"hex": ...}, a map has its keys as decimal text."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(key): as_json(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value
