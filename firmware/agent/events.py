"""Events and their bodies: what a unit puts into a record, for all 16 types of the contract.

Each small function is named after a record type and returns that type's body. A unit must never fail to record, so
nothing here raises for what came from outside. Instead, and always in these ways:

- a text longer than its limit (in bytes of UTF-8) is cut before the character that would cross it;
- a control character or a lone surrogate becomes "?";
- an empty text becomes "?" where the contract demands one character, and is left out where the text is optional;
- an integer is moved to the nearest one that the contract allows;
- a scan longer than 400 bytes is cut and, since it is then not what was read, refused as `truncated`.

Spec: wire/SPEC.md sections 4 to 6. The limits below are the contract's.
"""

from agent import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[int, Any]

GENESIS, BOOT, CLOCK, HEARTBEAT, OPERATOR, BATCH_OPEN, STEP, SCAN = range(8)
CHANNELS, SAMPLES, ALARM, QUANTITY, COMMENT, LOSS, BATCH_CLOSE, OVERRIDE = range(8, 16)

NAME_BYTES = 32  # ids of units, batches, operators, recipes, steps, items; codes; versions
REASON_BYTES = 64
COMMENT_BYTES = 200
SCAN_BYTES = 400
AIM_BYTES = 3
CHANNEL_BYTES = 16  # channel names and units of measure
LOT_BYTES = 20
CHANNEL_COUNT = 8
BODY_BYTES_MAX = 770  # what the longest envelope leaves of the 1024 bytes of a record (W4)
ACCEPTED, REFUSED = 1, 2
FIRST_PREV = bytes(32)  # W14: prev of seq 0; any other is the SHA-256 of the record before
TRUNCATED = "truncated"


def event(
    seq: int,
    prev: bytes,
    boot: int,
    uptime_ms: int,
    time: "tuple[int, int] | None",
    type: int,
    batch: "str | None",
    operator: "str | None",
    body: "Body",
) -> "Body":
    """The event map of SPEC section 4. time: (ms since 1970, uncertainty ms), None while not set in this boot (W20)."""
    entries: "Body" = {1: seq, 2: prev, 3: boot, 4: uptime_ms, 7: type, 10: body}
    if time is not None:
        entries[5], entries[6] = _uint(time[0]), _uint(time[1])
    if batch:
        entries[8] = text(batch)
    if operator:
        entries[9] = text(operator)
    return entries


def genesis(unit: str, epoch: int, public_key: bytes, model: str, firmware: str, signer: str) -> "Body":
    assert len(public_key) == 32
    return {1: text(unit), 2: epoch, 3: public_key, 4: text(model, least=0), 5: text(firmware, least=0), 6: signer}


def boot(cause: int, firmware: str, torn: int) -> "Body":
    """cause: 0 power, 1 watchdog, 2 software. torn: journal entries found unreadable at recovery."""
    return {1: cause, 2: text(firmware, least=0), 3: torn}


def clock(source: str, step_ms: "int | None") -> "Body":
    """step_ms: new time minus the time shown before; None at the first setting of a boot."""
    body: "Body" = {1: text(source, least=0)}
    if step_ms is not None:
        body[2] = _int(step_ms)
    return body


def heartbeat(period_ms: int) -> "Body":
    return {1: period_ms}


def operator(action: int) -> "Body":
    """action: 1 in, 2 out. The event must carry the badge (W24)."""
    return {1: action}


def batch_open(recipe: str, version: int, recipe_digest: bytes, order_digest: bytes) -> "Body":
    assert len(recipe_digest) == len(order_digest) == 32
    return {1: text(recipe), 2: version, 3: recipe_digest, 4: order_digest}


def step(step: str, action: int, reason: "str | None" = None) -> "Body":
    """action: 1 start, 2 done, 3 repeat, 4 skip, 5 abort."""
    body: "Body" = {1: text(step), 2: action}
    _put_text(body, 3, reason, REASON_BYTES)
    return body


def scan(raw: bytes, aim: str, asked: str, verdict: int, reason: "str | None", entry: int, repeats: int) -> "Body":
    """raw: as read, without AIM prefix and line suffix. asked: item id, "" when nothing was asked.

    verdict: ACCEPTED or REFUSED. entry: 1 scanner, 2 manual. repeats: equal reads collapsed by the debounce.
    """
    if len(raw) > SCAN_BYTES:
        verdict, reason = REFUSED, TRUNCATED
    body: "Body" = {1: raw[:SCAN_BYTES], 2: text(aim, AIM_BYTES, 0), 3: text(asked, least=0), 4: verdict}
    if verdict == REFUSED:  # W25
        body[5] = text(reason or "")
    body[6], body[7] = entry, _uint(repeats)
    return body


def channel(
    name: str,
    unit: str,
    exponent: int,
    low: int,
    high: int,
    certificate: "str | None" = None,
    due_ms: "int | None" = None,
    sensor: "str | None" = None,
    calibrated_ms: "int | None" = None,
    offset: "int | None" = None,
) -> "Body":
    """One sensor channel for channels(). unit: UCUM. low, high: measuring range, scaled. due_ms: since 1970.

    sensor: what measures, type and serial number. calibrated_ms: since 1970. offset: scaled, already in every value.
    """
    entry: "Body" = {1: text(name, CHANNEL_BYTES), 2: text(unit, CHANNEL_BYTES), 3: _exponent(exponent)}
    entry[4], entry[5] = _int(low), _int(high)
    if certificate is not None:
        entry[6] = text(certificate, least=0)
    if due_ms is not None:
        entry[7] = _uint(due_ms)
    if sensor is not None:
        entry[8] = text(sensor)
    if calibrated_ms is not None:
        entry[9] = _uint(calibrated_ms)
    if offset is not None:
        entry[10] = _int(offset)
    return entry


def channels(entries: "list[Body]") -> "Body":
    """The body of a channels record. Eight channels with the longest of everything would not fit one: then the last
    ones lose what is about their calibration; what says how to read the values (the offset among it) always stays.
    """
    assert 1 <= len(entries) <= CHANNEL_COUNT
    kept = [dict(entry) for entry in entries]
    for entry in kept[::-1]:
        if len(cbor.encode(kept)) > BODY_BYTES_MAX:
            for about_calibration in (6, 7, 8, 9):
                entry.pop(about_calibration, None)
    return {1: kept}


# The body of type 9, samples, is made by samples.SampleBatch.body().


def alarm(code: str, state: int, words: "str | None" = None) -> "Body":
    """state: 1 raised, 2 acknowledged, 3 cleared."""
    body: "Body" = {1: text(code), 2: state}
    _put_text(body, 3, words, REASON_BYTES)
    return body


def quantity(item: str, kind: int, mantissa: int, exponent: int, unit: str, lot: "str | None" = None) -> "Body":
    """kind: 1 issued, 2 used, 3 rejected, 4 sampled, 5 returned, 6 destroyed, 7 lost. unit: UCUM."""
    body: "Body" = {1: text(item), 2: kind, 3: _int(mantissa), 4: _exponent(exponent), 5: text(unit, CHANNEL_BYTES)}
    _put_text(body, 6, lot, LOT_BYTES)
    return body


def comment(words: str) -> "Body":
    return {1: text(words, COMMENT_BYTES)}


def loss(what: str, count: int, words: "str | None" = None) -> "Body":
    body: "Body" = {1: text(what), 2: _uint(count)}
    _put_text(body, 3, words, REASON_BYTES)
    return body


def batch_close(first_seq: int, counts: "dict[int, int]", outcome: int) -> "Body":
    """counts: records by type from first_seq up to, not including, this close (W26). outcome: 1 done, 2 aborted."""
    return {1: first_seq, 2: counts, 3: outcome}


def override(refused: int, action: int, subject: str, reason: str, second: str) -> "Body":
    """refused: seq of the refused scan. action: 1 accept the item, 2 start the step, 3 finish the step (W28).

    subject: the item or step. second: badge of the second person; the event must carry the first one's.
    """
    return {1: refused, 2: action, 3: text(subject), 4: text(reason, REASON_BYTES), 5: text(second)}


def seq_of(record: bytes) -> int:
    """seq of a COSE_Sign1 record, from its first 40 bytes alone. For records of our own making: trusts their shape."""
    _, size, at = cbor.head(record, 2)  # protected header, after the tag and the array's head
    _, _, at = cbor.head(record, at + size + 1)  # payload, after the empty map
    return cbor.head(record, at + 2)[1]  # after the map's head and key 1


def text(words: str, most: int = NAME_BYTES, least: int = 1) -> str:
    """words as the contract allows them: `least`..`most` bytes of UTF-8, no control character (W23)."""
    kept = ""
    size = 0
    for character in words:
        code = ord(character)
        if code < 0x20 or code == 0x7F or 0xD800 <= code <= 0xDFFF:
            character = "?"
        size += len(character.encode())
        if size > most:
            break
        kept += character
    return kept if len(kept) >= least else "?"


def _put_text(body: "Body", key: int, words: "str | None", most: int) -> None:
    if words:
        body[key] = text(words, most)


def _uint(number: int) -> int:
    return min(max(number, 0), cbor.MAX_INT)


def _int(number: int) -> int:
    return min(max(number, cbor.MIN_INT), cbor.MAX_INT)


def _exponent(number: int) -> int:
    return min(max(number, -9), 9)
