"""Turns what units signed into words for a reviewer.

A sentence per record, its fields, times, hostile text made visible.

Pure: takes records, numbers and bytes; returns text, never HTML (templates escape). Decides nothing about a batch;
that is cloud/domain. Record fields: wire/SPEC.md sections 4 to 6.
"""

import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from wire import RecordType
from wire.bodies import (
    Alarm,
    AlarmState,
    BatchClose,
    BatchOpen,
    Body,
    Boot,
    BootCause,
    Channel,
    Channels,
    Clock,
    Comment,
    Entry,
    Genesis,
    Heartbeat,
    Loss,
    Operator,
    OperatorAction,
    Outcome,
    Override,
    OverrideAction,
    Quantity,
    QuantityKind,
    Scan,
    ScanVerdict,
    Step,
    StepAction,
)
from wire.samples import Mark, Samples

TYPE_WORDS = {
    RecordType.GENESIS: "Genesis",
    RecordType.BOOT: "Start of the unit",
    RecordType.CLOCK: "Clock set",
    RecordType.HEARTBEAT: "Heartbeat",
    RecordType.OPERATOR: "Operator",
    RecordType.BATCH_OPEN: "Batch opened",
    RecordType.STEP: "Step",
    RecordType.SCAN: "Scan",
    RecordType.CHANNELS: "Sensor channels",
    RecordType.SAMPLES: "Sensor values",
    RecordType.ALARM: "Alarm",
    RecordType.QUANTITY: "Quantity",
    RecordType.COMMENT: "Comment",
    RecordType.LOSS: "Loss",
    RecordType.BATCH_CLOSE: "Batch closed",
    RecordType.OVERRIDE: "Override",
}
BOOT_WORDS = {
    BootCause.POWER: "after power came on",
    BootCause.WATCHDOG: "by its watchdog",
    BootCause.SOFTWARE: "by its own software",
}
STEP_WORDS = {
    StepAction.START: "started",
    StepAction.DONE: "done",
    StepAction.REPEAT: "started again",
    StepAction.SKIP: "skipped",
    StepAction.ABORT: "aborted",
}
OVERRIDE_WORDS = {
    OverrideAction.ACCEPT_ITEM: "so that item {} counts as scanned",
    OverrideAction.START_STEP: "to start step {}",
    OverrideAction.FINISH_STEP: "to finish step {}",
}
MARK_WORDS = {
    Mark.MISSING: "missing",
    Mark.STUCK: "stuck",
    Mark.OUT_OF_RANGE: "out of measuring range",
    Mark.FAULT: "sensor fault",
}
REFUSAL_WORDS = {
    "wrong_item": "not the item that was asked for",
    "expired": "expired",
    "duplicate": "already scanned",
    "not_asked": "not what was asked for",
    "no_operator": "nobody was signed in",
    "no_batch": "no batch was open",
    "ambiguous": "ambiguous: a separator was lost",
    "unreadable": "could not be read",
    "truncated": "cut short",
    "missing_field": "a required field is not on the label",
    "clock_uncertain": "the unit could not tell the date well enough",
    "identity_mismatch": "another donation or patient than this batch's",
    "wrong_step": "not the step that is next",
}
QUARANTINE_WORDS = {
    "too_large": "Larger than a record may be",
    "not_cbor": "No valid CBOR",
    "not_deterministic": "Not in the one agreed encoding",
    "wrong_shape": "Not shaped as a record",
    "unknown_type": "A type of record this version does not know",
    "wrong_algorithm": "Signed with another algorithm",
    "signature_invalid": "The signature does not match: altered or forged",
    "key_refused": "A key that must not be used",
    "wrong_key": "Signed by another key than it names",
    "key_not_valid": "Signed by a key that is not enrolled here",
    "unreadable_message": "No readable uplink message",
}
FIELDLESS = "·"
# By name and not as a control picture (U+241D): few fonts have those, and nobody can read them in small type.
CONTROL_WORDS = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI "
    "DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
)
CONTROL_NAMES = dict(enumerate(CONTROL_WORDS.split())) | {0x7F: "DEL"}
HEX_BYTES_PER_ROW = 16
SHOWN_CHARACTERS = 60  # of a code in a sentence; the record's page has all of it
# Directional and invisible characters let one text look like another: they are named, not obeyed.
CONCEALING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
UNIT_SYMBOLS = {"Cel": "°C", "{pH}": "pH", "[pH]": "pH", "m[H2O]": "mH₂O", "1": "", "{count}": "", "{each}": ""}


def visible(text: str) -> str:
    """text with a visible sign for every control, direction or invisible character: ⟨GS⟩, ⟨U+202E⟩."""
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    point = ord(character)
    if point in CONTROL_NAMES:
        return f"⟨{CONTROL_NAMES[point]}⟩"
    if unicodedata.category(character) in CONCEALING:
        return f"⟨U+{point:04X}⟩"
    return character


def visible_bytes(raw: bytes) -> str:
    """raw as text a reader can check: UTF-8 where it is, ⟨0xFF⟩ for a byte that is none, control characters by name."""
    text = raw.decode("utf-8", errors="surrogateescape")
    return "".join(
        f"⟨0x{ord(each) - 0xDC00:02X}⟩" if 0xDC80 <= ord(each) <= 0xDCFF else _visible_character(each) for each in text
    )


def instant(time_ms: int | None) -> datetime | None:
    """time_ms (since 1970) as a UTC time; nothing for none, or for a number beyond the calendar."""
    if time_ms is None:
        return None
    try:
        return datetime.fromtimestamp(time_ms // 1000, UTC) + timedelta(milliseconds=time_ms % 1000)
    except (OverflowError, ValueError, OSError):
        return None


def duration(ms: int | float | None) -> str:
    """A length of time in the two units that matter: `140 ms`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`."""
    if ms is None:
        return "–"
    if ms < 0:
        return f"−{duration(-ms)}"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = round(ms / 1000, 1)
    if seconds < 60:
        return f"{seconds:g} s"
    whole = round(ms / 1000)
    for size, name, smaller, smaller_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {smaller_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def unit_symbol(ucum: str) -> str:
    """The sign readers know for a UCUM code; the code itself where there is none."""
    return UNIT_SYMBOLS.get(ucum, visible(ucum))


def scaled(mantissa: int | None, exponent: int) -> str:
    """mantissa x 10^exponent with exactly the digits that were measured: (3700, -2) is 37.00."""
    if mantissa is None:
        return "–"
    return f"{Decimal(mantissa).scaleb(exponent):f}".replace("-", "−")


def amount(mantissa: int | None, exponent: int, ucum: str) -> str:
    """A number with its unit."""
    return f"{scaled(mantissa, exponent)} {unit_symbol(ucum)}".strip()


def hex_rows(raw: bytes) -> str:
    """raw as offset, hexadecimal and printable characters, 16 bytes a row."""
    rows = []
    for start in range(0, len(raw), HEX_BYTES_PER_ROW):
        row = raw[start : start + HEX_BYTES_PER_ROW]
        halves = f"{row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}"
        rows.append(f"{start:04x}  {halves}  {''.join(chr(each) if 32 <= each < 127 else '.' for each in row)}")
    return "\n".join(rows)


def refusal(reason: str | None) -> str:
    """Why the unit refused a scan; a reason that is not known is shown as it stands (SPEC section 5)."""
    return REFUSAL_WORDS.get(reason or "", visible(reason or ""))


def code_words(code: str) -> str:
    """A stable code as words: `sensor_gap` is `Sensor gap`."""
    words = visible(code).replace("_", " ")
    return words[:1].upper() + words[1:]


def kid_words(kid: bytes | memoryview | str) -> str:
    """A stream's name as people compare it: four groups of four hexadecimal digits."""
    text = kid if isinstance(kid, str) else bytes(kid).hex()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


Fields = list[tuple[str, str]]


def sentence(body: Body, operator: str | None = None) -> str:
    """What happened, in one sentence without its time."""
    return visible(_sentence(body, operator))


def _sentence(body: Body, operator: str | None) -> str:
    match body:
        case Genesis():
            return f"Unit {body.unit} began its stream, epoch {body.epoch}."
        case Boot():
            torn = f" {body.torn} unreadable journal entries were found." if body.torn else ""
            return f"The unit started {BOOT_WORDS[body.cause]}.{torn}"
        case Clock():
            return _clock_sentence(body)
        case Heartbeat():
            return f"Nothing else to record for {duration(body.period_ms)}."
        case Operator():
            way = "in" if body.action is OperatorAction.IN else "out"
            return f"Operator {operator or 'unknown'} signed {way}."
        case BatchOpen():
            return f"The batch was opened for recipe {body.recipe}, version {body.version}."
        case Step():
            because = f": {body.reason}" if body.reason else ""
            return f"Step {body.step} {STEP_WORDS[body.action]}{because}."
        case Scan():
            return _scan_sentence(body)
        case Channels():
            return f"Sensor channels in force: {', '.join(each.name for each in body.channels)}."
        case Samples():
            every = duration(body.interval_ms)
            return f"{body.count} sensor values on each of {len(body.series)} channels, every {every}."
        case Alarm():
            return f"Alarm {body.code} {body.state.name.lower()}{f': {body.text}' if body.text else ''}."
        case Quantity():
            lot = f", lot {body.lot}" if body.lot else ""
            return f"{body.item}: {amount(body.mantissa, body.exponent, body.unit)} {body.kind.name.lower()}{lot}."
        case Comment():
            return f"Comment: {body.text}"
        case Loss():
            return f"Lost {body.count} × {body.what}{f': {body.text}' if body.text else ''}."
        case BatchClose():
            way = "as completed" if body.outcome is Outcome.COMPLETED else "as aborted"
            return f"The batch was closed {way} after {sum(body.counts.values())} records."
        case Override():
            what = OVERRIDE_WORDS[body.action].format(body.subject)
            people = f"{operator or 'Somebody'}, with {body.second} as second person,"
            return f"{people} overruled the refusal of record {body.refused} {what}: {body.reason}"


def _clock_sentence(clock: Clock) -> str:
    if clock.step_ms is None:
        return f"The clock was set for the first time since the start, from {clock.source}."
    way = "forward" if clock.step_ms >= 0 else "back"
    return f"The clock was set {way} by {duration(abs(clock.step_ms))}, from {clock.source}."


def _scan_sentence(scan: Scan) -> str:
    asked = f"when {scan.asked} was asked for" if scan.asked else "when nothing was asked for"
    how = "typed in by hand" if scan.entry is Entry.MANUAL else "scanned"
    read = visible_bytes(scan.raw)
    code = f"Code {read if len(read) <= SHOWN_CHARACTERS else read[:SHOWN_CHARACTERS] + '…'}"
    if scan.verdict is ScanVerdict.ACCEPTED:
        return f"{code} was {how} {asked}: accepted."
    return f"{code} was {how} {asked}: refused, {refusal(scan.reason)}."


def fields(body: Body) -> Fields:
    """Every field of the body as (label, text), nothing left out. Sensor values are for their own table."""
    return [(label, visible(text)) for label, text in _fields(body)]


def _fields(body: Body) -> Fields:
    match body:
        case Genesis():
            return [
                ("Unit", body.unit),
                ("Epoch", str(body.epoch)),
                ("Public key", body.public_key.hex()),
                ("Model", body.model),
                ("Firmware", body.firmware),
                ("Signing code", body.signer),
            ]
        case Boot():
            return [
                ("Cause", body.cause.name.lower()),
                ("Firmware", body.firmware),
                ("Unreadable journal entries", str(body.torn)),
            ]
        case Clock():
            step = "first setting of this start" if body.step_ms is None else f"{body.step_ms} ms"
            return [("Source", body.source), ("Step", step)]
        case Heartbeat():
            return [("Period", duration(body.period_ms))]
        case Operator():
            return [("Action", "signed in" if body.action is OperatorAction.IN else "signed out")]
        case BatchOpen():
            return [
                ("Recipe", f"{body.recipe} version {body.version}"),
                ("Recipe digest", body.recipe_digest.hex()),
                ("Order digest", body.order_digest.hex()),
            ]
        case Step():
            return [("Step", body.step), ("Action", STEP_WORDS[body.action]), ("Reason", body.reason or "none given")]
        case Scan():
            return _scan_fields(body)
        case Channels():
            return [(each.name, _channel_words(each)) for each in body.channels]
        case Samples():
            return [
                ("Channels defined by record", str(body.channels_seq)),
                ("First value at uptime", f"{body.start_ms} ms"),
                ("Interval", duration(body.interval_ms)),
                ("Values per channel", str(body.count)),
            ]
        case Alarm():
            return [
                ("Alarm", body.code),
                (
                    "State",
                    {AlarmState.RAISED: "raised", AlarmState.ACKNOWLEDGED: "acknowledged"}.get(body.state, "cleared"),
                ),
                ("Text", body.text or FIELDLESS),
            ]
        case Quantity():
            return [
                ("Item", body.item),
                ("Kind", quantity_kind(body.kind)),
                ("Amount", amount(body.mantissa, body.exponent, body.unit)),
                ("Lot", body.lot or "none given"),
            ]
        case Comment():
            return [("Text", body.text)]
        case Loss():
            return [("What", body.what), ("Count", str(body.count)), ("Text", body.text or FIELDLESS)]
        case BatchClose():
            counted = ", ".join(f"{type_name(number)} {count}" for number, count in sorted(body.counts.items()))
            return [
                ("Opened by record", str(body.first_seq)),
                ("Outcome", body.outcome.name.lower()),
                ("Records counted by the unit", counted or "none"),
            ]
        case Override():
            return [
                ("Overrules the refusal of record", str(body.refused)),
                ("What for", OVERRIDE_WORDS[body.action].format(body.subject)),
                ("Reason", body.reason),
                ("Second person", body.second),
            ]


def _scan_fields(scan: Scan) -> Fields:
    verdict = "accepted" if scan.verdict is ScanVerdict.ACCEPTED else f"refused: {refusal(scan.reason)} ({scan.reason})"
    return [
        ("Asked for", scan.asked or "nothing"),
        ("Read", visible_bytes(scan.raw)),
        ("Symbology (AIM)", scan.aim or "none sent by the reader"),
        ("Verdict of the unit", verdict),
        ("Entry", "typed in by hand" if scan.entry is Entry.MANUAL else "scanner"),
        ("Equal reads collapsed", str(scan.repeats)),
    ]


def _channel_words(channel: Channel) -> str:
    span = f"{scaled(channel.low, channel.exponent)} to {amount(channel.high, channel.exponent, channel.unit)}"
    calibrated = f"certificate {channel.certificate}" if channel.certificate else "no calibration certificate"
    due, done = instant(channel.due_ms), instant(channel.calibrated_ms)
    words = f"measuring range {span}; {calibrated}"
    words += f", calibrated {done:%Y-%m-%d}" if done else ""
    words += f", due {due:%Y-%m-%d}" if due else ""
    if channel.offset is not None:
        words += f"; adjusted by {amount(channel.offset, channel.exponent, channel.unit)}"
    return f"{words}; sensor {channel.sensor}" if channel.sensor else words


def quantity_kind(kind: QuantityKind) -> str:
    return kind.name.lower()


def type_name(number: int) -> str:
    """The name of a record type; `type 99` for one this version does not know."""
    try:
        return TYPE_WORDS[RecordType(number)]
    except ValueError:
        return f"type {number}"
