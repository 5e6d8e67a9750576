"""Pages for quality assurance: what needs attention, one batch, its records, refused copies, units.

Reads only; rendered on the server. Every page works without scripts; scripts add the chart and refresh what is
still running. Nothing here decides about a batch: cloud/domain does, and cloud/batches/queries.py fetches.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from cloud.batches import orders, queries
from cloud.batches.queries import NotFoundError
from cloud.errors import RefusalError
from cloud.web import chart, custody, fleet, overview, sheet, symbols, timeline, verdicts
from wire import Clock, RecordType

ROWS = 100  # records or refused copies on one page
SCANS_SHOWN = 200  # on the batch page; the rest is one click away
REFRESH_S = 5
CURVES_KEPT = 16  # batches; at most some 300 kB each
NO_CHANGE = 204  # htmx then leaves the page as it is

P = ParamSpec("P")
T = TypeVar("T")


@require_safe
@login_required
def batches(request: HttpRequest) -> HttpResponse:
    """All batches, what needs attention first; filtered by site, unit, state and a piece of the name."""
    asked = overview.Filter.from_query(request.GET)
    shown = overview.overview(queries.batch_list(), asked, Clock.from_environment().now_ms())
    context = {
        "section": "batches",
        "shown": shown,
        "asked": asked,
        "states": tuple(verdicts.STATE_MARKS),
        "severity": verdicts.SEVERITY_MARKS,
    }
    return live(request, "web/batches.html", context, seen=shown)


@require_safe
@login_required
def batch_page(request: HttpRequest, batch: str) -> HttpResponse:
    """One batch.

    Verdicts, exceptions with evidence, and what they rest on. Loads the stored report, never all records.
    """
    row, report = sought(queries.batch_row, batch), sought(queries.batch_report, batch)
    context = {
        "section": "batches",
        "offset_min": custody.utc_offset_min(report.kid),
        "row": row,
        "report": report,
        "live": report.state in verdicts.UNFINISHED,
        "verdicts": verdicts.verdicts(report),
        "tally": verdicts.tally(report),
        "other_checks": verdicts.other_checks(report),
        "lanes": timeline.lanes(report),
        "scans": sheet.scans_to_show(report, SCANS_SHOWN),
        "channels": sheet.channel_lines(report),
        "kinds": sheet.kinds_shown(report),
        "quantities": sheet.quantity_lines(report),
        "ladder": sheet.ladder(report, custody.archived_thru(report.kid)),
        "resolved": verdicts.RESOLVED_MARK,
        "accepted": verdicts.ACCEPTED,
        "refused": verdicts.REFUSED,
    }
    return live(request, "web/batch.html", context, seen=(row, report.records, report.exceptions))


@require_safe
@login_required
def batch_series(request: HttpRequest, batch: str) -> JsonResponse:
    """The sensor curves of a batch for the chart."""
    row = sought(queries.batch_row, batch)
    return JsonResponse(_curves(batch, row.updated_ms))


@lru_cache(maxsize=CURVES_KEPT)
def _curves(batch: str, _updated_ms: int | None) -> dict[str, Any]:
    """Kept until the batch's report changes: unpacking a long batch takes seconds, and many look at the same one."""
    return chart.curves(sought(queries.sample_series, batch))


@require_safe
@login_required
def batch_records(request: HttpRequest, batch: str) -> HttpResponse:
    """The full record of a batch, in stream order, a page at a time; all of it, or one type."""
    only = request.GET.get("type", "")
    types = tuple(each.name.lower() for each in RecordType)
    only = only if only in types else ""
    page = sought(queries.batch_records, batch, (page_number(request) - 1) * ROWS, ROWS, only or None)
    pager = Pager(page_number(request), page.total)
    if not page.records and page.total:  # asked for a page behind the last one
        page = sought(queries.batch_records, batch, (pager.number - 1) * ROWS, ROWS, only or None)
    context = {
        "section": "batches",
        "batch": batch,
        "only": only,
        "types": types,
        "page": page,
        "not_valid": custody.INVALID,
        "lines": [custody.line(row) for row in page.records],
        "pager": pager,
    }
    return render(request, "web/records.html", context)


@require_safe
@login_required
def record_page(request: HttpRequest, kid: str, seq: int) -> HttpResponse:
    """What the ledger holds at one position: decoded, raw, with its signature and its links checked now."""
    context = {"section": "batches", "kid": kid, "seq": seq, "batches": sought(queries.batches_at, kid, seq)}
    try:
        held = queries.record_detail(kid, seq)
    except NotFoundError as error:
        return _missing(request, custody.missing(kid, seq), context, error)
    context |= {"held": [custody.evidence(row) for row in held], "offset_min": custody.utc_offset_min(kid)}
    return render(request, "web/record.html", context)


def _missing(
    request: HttpRequest, missing: custody.Missing | None, context: dict[str, Any], error: NotFoundError
) -> HttpResponse:
    """A position of a known stream that nothing holds is evidence too: what is known of it."""
    if missing is None:
        raise Http404(str(error)) from error
    return render(request, "web/missing.html", context | {"missing": missing})


@require_safe
@login_required
def quarantine(request: HttpRequest) -> HttpResponse:
    """Refused copies, the newest first."""
    pager = Pager(page_number(request), queries.quarantine_count())
    context = {
        "section": "quarantine",
        "rows": [custody.refused(row) for row in queries.quarantine_list((pager.number - 1) * ROWS, ROWS)],
        "replaced": custody.REPLACED,
        "pager": pager,
    }
    return render(request, "web/quarantine.html", context)


@require_safe
@login_required
def quarantined(request: HttpRequest, digest: str) -> HttpResponse:
    """One refused copy: why it was refused, its bytes, and what the ledger holds in its place."""
    refused = custody.refused(sought(queries.quarantine_entry, digest))
    return render(
        request, "web/quarantined.html", {"section": "quarantine", "refused": refused, "replaced": custody.REPLACED}
    )


@require_safe
@login_required
def units(request: HttpRequest) -> HttpResponse:
    """Every unit with its streams: last contact, what is archived, gaps, keys."""
    rows = fleet.unit_lines(queries.units(), Clock.from_environment().now_ms())
    marks = {"key_valid": custody.KEY_VALID, "key_revoked": custody.KEY_REVOKED}
    marks |= {"key_forked": custody.KEY_FORKED, "chain_broken": custody.CHAIN_BROKEN}
    context = {"section": "units", "rows": rows, **marks}
    return live(request, "web/units.html", context, seen=rows)


@require_safe
@login_required
def recipe_card(request: HttpRequest, recipe: str, version: int) -> HttpResponse:
    """The codes that a technician scans for a recipe, to be printed."""
    try:
        row = orders.recipe_version(recipe, version)
        sheets = orders.recipe_card(row)
    except RefusalError as refusal:
        raise Http404(str(refusal)) from refusal
    context = {
        "section": "batches",
        "sheets": sheets,
        "title": row.recipe,
        "subtitle": symbols.version_words(row.version, row.digest),
    }
    context["subtitle"] = symbols.version_words(row.version, row.digest)
    return render(request, "web/card.html", context)


class Pager:
    """Which page of a long list is shown, and its neighbours."""

    def __init__(self, number: int, total: int) -> None:
        self.total = total
        self.pages = max(1, -(-total // ROWS))
        self.number = min(number, self.pages)
        self.before = self.number - 1 if self.number > 1 else None
        self.after = self.number + 1 if self.number < self.pages else None


def page_number(request: HttpRequest) -> int:
    """The page asked for, counted from 1; 1 for anything that is no number."""
    asked = request.GET.get("page", "1")
    return max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1


def sought(fetch: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a query answers; a page that says what was not found instead of its NotFoundError."""
    try:
        return fetch(*args, **kwargs)
    except NotFoundError as error:
        raise Http404(str(error)) from error


def live(request: HttpRequest, template: str, context: dict[str, Any], *, seen: object) -> HttpResponse:
    """The page; or nothing new, when a refresh already shows what seen stands for."""
    shown = str(zlib.crc32(repr(seen).encode()))
    if request.headers.get("HX-Request") and request.GET.get("seen") == shown:
        return HttpResponse(status=NO_CHANGE)
    query = request.GET.copy()
    query.pop("seen", None)
    here = f"{request.path}?{query.urlencode()}" if query else request.path
    return render(request, template, context | {"seen": shown, "here": here, "refresh_s": REFRESH_S})
