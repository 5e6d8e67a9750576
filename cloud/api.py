"""The JSON API: the same facts as the pages, read-only, for people who are logged in. OpenAPI at /api/openapi.json.

Every route asks for a session; the router's default denies. Answers are the frozen values of cloud/batches/queries.py;
several come as a list, because ninja takes a tuple of two for (status, answer).
"""

from typing import Annotated, Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Path, Query, Schema
from ninja.security import django_auth

from cloud.batches import queries
from cloud.domain.report import Report, SampleSeries

EVERY_POINT = 2**31  # no batch has so many samples: nothing is thinned out

Offset = Annotated[int, Query(ge=0, le=2**63 - 1, description="Rows to leave out.")]
Limit = Annotated[int, Query(ge=1, le=queries.MAX_PAGE_ROWS, description="Rows to answer with.")]
BatchName = Annotated[str, Path(min_length=1, max_length=32)]
Kid = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="A stream's name, 16 hexadecimal characters.")]
Seq = Annotated[int, Path(ge=0, le=2**63 - 1)]
Prefix = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$", description="First characters of a digest.")]


class Problem(Schema):
    """What is wrong, in one sentence."""

    detail: str


class Misunderstood(Schema):
    """Which argument is wrong, where and why."""

    detail: list[dict[str, Any]]


def answers(kind: Any) -> dict[int, Any]:
    """The answers of a route: kind, or why not."""
    return {200: kind, 401: Problem, 404: Problem, 422: Misunderstood}


api = NinjaAPI(
    title="cartrace",
    version="1",
    description="Batches, records, quarantine and streams. Times are ms since 1970-01-01T00:00Z.",
    auth=django_auth,
    docs_decorator=login_required,
)


@api.exception_handler(queries.NotFoundError)
def not_found(request: HttpRequest, error: queries.NotFoundError) -> HttpResponse:
    """A name that leads nowhere is told in its own words."""
    return api.create_response(request, {"detail": str(error)}, status=404)


@api.get("/batches", response=answers(list[queries.BatchRow]))
def batches(request: HttpRequest) -> list[queries.BatchRow]:
    """Every batch, what needs attention first. Read complete, conforming and authentic with state.

    While state is waiting they are false because nothing was recorded, which is no failure; while it is running,
    complete is false, and the others say what is known so far.
    """
    return queries.batch_list()


@api.get("/batches/{batch}", response=answers(Report))
def batch_report(request: HttpRequest, batch: BatchName) -> Report:
    """The reconciled report of a batch. Its three verdicts are to be read with state, as in the list."""
    return queries.batch_report(batch)


@api.get("/batches/{batch}/records", response=answers(queries.RecordPage))
def batch_records(
    request: HttpRequest, batch: BatchName, offset: Offset = 0, limit: Limit = queries.PAGE_ROWS
) -> queries.RecordPage:
    """A page of the batch's records, decoded and as bytes in hexadecimal."""
    return queries.batch_records(batch, offset, limit)


@api.get("/batches/{batch}/series", response=answers(list[SampleSeries]))
def batch_series(request: HttpRequest, batch: BatchName) -> list[SampleSeries]:
    """The sensor curves of a batch, every sample: a value is an integer times 10 to the exponent."""
    return list(queries.sample_series(batch, max_points=EVERY_POINT))


@api.get("/records/{kid}/{seq}", response=answers(list[queries.RecordRow]))
def record_detail(request: HttpRequest, kid: Kid, seq: Seq) -> list[queries.RecordRow]:
    """What the ledger holds at a position of a stream: bytes, meaning, custody times."""
    return list(queries.record_detail(kid, seq))


@api.get("/quarantine", response=answers(list[queries.QuarantineRow]))
def quarantine(
    request: HttpRequest, offset: Offset = 0, limit: Limit = queries.PAGE_ROWS
) -> list[queries.QuarantineRow]:
    """Refused copies, the newest first."""
    return queries.quarantine_list(offset, limit)


@api.get("/quarantine/{prefix}", response=answers(queries.QuarantineRow))
def quarantine_entry(request: HttpRequest, prefix: Prefix) -> queries.QuarantineRow:
    """One refused copy by the first characters of its digest."""
    return queries.quarantine_entry(prefix)


@api.get("/units", response=answers(list[queries.UnitRow]))
def units(request: HttpRequest) -> list[queries.UnitRow]:
    """Every unit with its streams."""
    return queries.units()


@api.get("/streams", response=answers(list[queries.StreamRow]))
def streams(request: HttpRequest) -> list[queries.StreamRow]:
    """Every stream: how far it is archived, and what is missing."""
    return queries.streams()


@api.get("/streams/{kid}/gaps", response=answers(list[queries.GapRow]))
def stream_gaps(request: HttpRequest, kid: Kid) -> list[queries.GapRow]:
    """Every gap that a stream ever had, filled ones included."""
    return list(queries.gaps(kid))
