"""Cases for the dual tests, one JSON value per line, so that they fit a unit's heap. Runs on MicroPython and CPython.

The directory is named by the environment variable CARTRACE_CASES; case_writer.py fills it. CARTRACE_ED25519=native
lets the tests of signatures ask the image's C module instead of agent/ed25519.py.
"""

import binascii
import gc
import json
import os
import sys

if os.getenv("CARTRACE_ED25519") == "native":  # an interpreter that has the image's C module
    import ed25519_native as ed25519  # type: ignore[import-not-found]  # its functions are those of the other
else:
    from agent import ed25519

SMALL_HEAP = sys.implementation.name == "micropython"

__all__ = ("cases", "ed25519", "plain", "raises")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def cases(name: str) -> "Iterator[Any]":
    """The cases of one file, with {"hex": ..} turned into bytes and numeric keys into integers."""
    seen = 0
    with open(str(os.getenv("CARTRACE_CASES")) + "/" + name + ".jsonl") as lines:
        for line in lines:
            seen += 1
            if SMALL_HEAP:
                gc.collect()  # or the cases before scatter what is free
            yield plain(json.loads(line))
    assert seen, "no case in " + name


def plain(value: "Any") -> "Any":
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["hex"]:
        return binascii.unhexlify(value["hex"])
    return {int(key) if key.isdigit() else key: plain(value[key]) for key in value}


def raises(kind: "type[Exception]", call: "Any", *arguments: "Any") -> "Any":
    """The exception of that kind which the call raises; fails when it raises none."""
    try:
        call(*arguments)
    except kind as error:
        return error
    raise AssertionError("nothing was raised")
