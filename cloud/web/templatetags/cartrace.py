"""Filters and tags of the pages.

Times, marks, links to evidence. What comes from a unit is made visible, then escaped.
"""

import re
from datetime import datetime, timedelta, timezone

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from cloud.domain.report import StepFact
from cloud.web import symbols, verdicts, words

register = template.Library()
ESCAPED_BYTE = re.compile(r"<([0-9A-F]{2})>")

register.simple_tag(symbols.data_matrix)
register.filter("visible", words.visible)
register.filter("duration", words.duration)
register.filter("code_words", words.code_words)
register.filter("unit_symbol", words.unit_symbol)
register.filter("kid_words", words.kid_words)
register.filter("refusal", words.refusal)


@register.filter
def when(time_ms: int | None) -> SafeString:
    """A full date and time in UTC."""
    moment = words.instant(time_ms)
    if moment is None:
        return mark_safe("not known")
    return _time_element(moment, f"{moment:%Y-%m-%d %H:%M:%S}")


def _time_element(moment: datetime, shown: str) -> SafeString:
    full = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}" class="nowrap">{}</time>', moment.isoformat(), full, shown)


@register.simple_tag
def clock(time_ms: int | None, base_ms: int | None = None) -> SafeString:
    """Time of day in UTC, with the days since base when it is another day; the full date is in the title."""
    moment, base = words.instant(time_ms), words.instant(base_ms)
    if moment is None:
        return mark_safe("–")
    days = (moment.date() - base.date()).days if base else 0
    return _time_element(moment, f"{moment:%H:%M:%S}{f' {days:+d} d' if days else ''}")


@register.simple_tag
def at_site(time_ms: int | None, offset_min: int | None) -> str:
    """The same moment as the clock on the site's wall shows it, with the offset (R14)."""
    moment = words.instant(time_ms)
    if moment is None or not isinstance(offset_min, int):
        return "offset not set"
    local = moment.astimezone(timezone(timedelta(minutes=offset_min)))
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M:%S} ({offset[:3]}:{offset[3:]})"


@register.simple_tag
def mark(shown: verdicts.Mark, count: int | str = "", look: str = "") -> SafeString:
    """A shape and a word in one tone, with a count before the word when there is one."""
    return format_html(
        '<span class="mark {} {}"><svg class="shape" aria-hidden="true"><use href="#shape-{}"/></svg>{}{}</span>',
        shown.tone,
        look,
        shown.shape,
        f"{count} " if count != "" else "",
        shown.word.lower() if count != "" else shown.word,
    )


@register.filter
def severity(item: object) -> verdicts.Mark:
    return verdicts.SEVERITY_MARKS[getattr(item, "severity", "minor")]


@register.filter
def step_mark(fact: StepFact) -> verdicts.Mark:
    if fact.state == "done" and fact.overruled:
        return verdicts.DONE_OVERRULED
    return verdicts.STEP_MARKS.get(fact.state, verdicts.Mark("calm", "waiting", fact.state))


@register.filter
def signs(text: str) -> str:
    """A scan's text as cloud/domain writes it, with <1D> and its like as visible signs."""
    return words.visible(ESCAPED_BYTE.sub(_sign, text))


def _sign(found: re.Match[str]) -> str:
    return words.visible_bytes(bytes.fromhex(found[1]))


@register.filter
def after(time_ms: int, before_ms: int) -> str:
    """How much later than before it was, in words; both clocks are named by the row."""
    later = time_ms - before_ms
    return f"{words.duration(later)} later" if later >= 0 else f"{words.duration(-later)} earlier: the clocks differ"


@register.filter
def day(time_ms: int | None) -> str:
    """A date in UTC."""
    moment = words.instant(time_ms)
    return f"{moment:%Y-%m-%d}" if moment else "not known"


@register.simple_tag
def evidence_url(reference: str) -> str:
    """Where a reference to evidence is shown."""
    store, _, place = reference.partition("/")
    return reverse("quarantined", args=[place]) if store == "quarantine" else reverse("record", args=[store, place])


@register.simple_tag
def evidence(reference: str, kid: str = "") -> SafeString:
    """A link to a ledger record ("record 41", with its stream unless that is kid) or to a refused copy."""
    store, _, place = reference.partition("/")
    if store == "quarantine":
        return format_html('<a href="{}">refused copy {}…</a>', reverse("quarantined", args=[place]), place[:8])
    stream = "" if store == kid else f" of stream {words.kid_words(store)}"
    return format_html(
        '<a class="nowrap" href="{}">record {}{}</a>', reverse("record", args=[store, place]), place, stream
    )


@register.filter
def state_mark(state: str) -> verdicts.Mark:
    return verdicts.STATE_MARKS.get(state, verdicts.Mark("calm", "waiting", state))
