"""The API tells the facts to people who are logged in, nothing to anybody else, and never breaks."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cloud.api import api
from cloud.batches.orders import add_recipe, new_batch
from cloud.batches.reports import Reconciler
from cloud.ingest.commit import Message, commit
from cloud.ledger.enrol import enrol
from cloud.tests.cloud_bench import START_MS, FakeUnit, altered, payload
from cloud.tests.test_cloud_ledger import RECIPE, SEED
from wire import Clock, RecordType

pytestmark = pytest.mark.django_db
OPEN_ROUTES = {"login", "api-root"}  # routes that anybody may see; the last is an empty 404
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SAMPLES = {1: 2, 2: 0, 3: 1000, 4: 3, 5: [b"\xe4\x39\x02\x01"]}


@pytest.fixture
def unit() -> FakeUnit:
    """A unit in the middle of batch B-1, with a curve, an equivocation and a refused copy."""
    unit = FakeUnit("U-1")
    enrol(unit.genesis, "site-1", "gw-1", START_MS)
    add_recipe(RECIPE, START_MS)
    order = new_batch("B-1", "short", "U-1", SEED, START_MS)
    channel = {1: "temp", 2: "Cel", 3: -2, 4: 0, 5: 6000}
    unit.say(RecordType.CHANNELS, {1: [channel]})
    unit.batch = "B-1"
    unit.say(RecordType.BATCH_OPEN, {1: "short", 2: 1, 3: bytes(order.recipe.digest), 4: bytes(order.order_digest)})
    unit.say(RecordType.SAMPLES, SAMPLES)
    unit.comment("<script>alert(1)</script>")
    committed = commit(
        [Message("site-1", "gw-1", payload([*unit.records, altered(unit.records[4]), unit.fork(5)]))], START_MS
    )
    reconciler = Reconciler(Clock())
    reconciler.follow(committed)
    reconciler.evaluate(busy=False)
    return unit


@pytest.fixture
def reader(unit: FakeUnit) -> Client:
    """Somebody who is logged in, with something to see."""
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_user("reader"), "django.contrib.auth.backends.ModelBackend")
    return client


def get(client: Client, path: str) -> Any:
    response = client.get(f"/api{path}")
    assert response.status_code == 200, response.content
    return response.json()


def test_the_facts_are_there(reader: Client, unit: FakeUnit) -> None:
    kid = unit.kid.hex()
    (batch,) = get(reader, "/batches")
    assert (batch["batch"], batch["state"], batch["unit"]) == ("B-1", "running", "U-1")
    report = get(reader, "/batches/B-1")
    assert {item["code"] for item in report["exceptions"]} >= {"equivocation", "signature_invalid"}
    assert not report["authentic"]
    page = get(reader, "/batches/B-1/records?offset=1&limit=2")
    assert (page["total"], page["offset"], [row["seq"] for row in page["records"]]) == (4, 1, [4, 5])
    assert page["records"][0]["record_hex"] == unit.records[4].hex()
    (curve,) = get(reader, "/batches/B-1/series")
    assert (curve["values"], curve["exponent"], curve["unit"]) == ([3698, 3699, 3698], -2, "Cel")
    both = get(reader, f"/records/{kid}/5")
    assert [row["finding"] for row in both] == ["equivocation", "equivocation"]
    assert both[0]["decoded"]["body"]["text"] == "<script>alert(1)</script>"
    (copy,) = get(reader, "/quarantine")
    assert (copy["reason"], copy["seq"]) == ("signature_invalid", 4)
    assert get(reader, f"/quarantine/{copy['digest'][:16]}") == copy
    (stream,) = get(reader, "/streams")
    assert (stream["kid"], stream["archived_thru"]) == (kid, 5)
    assert get(reader, "/units")[0]["streams"] == [stream]
    assert get(reader, f"/streams/{kid}/gaps") == []


def test_what_does_not_exist_is_said_in_a_sentence(reader: Client) -> None:
    for path in ("/batches/B-9", f"/records/{'0' * 16}/1", "/quarantine/abcd", f"/streams/{'0' * 16}/gaps"):
        answer = reader.get(f"/api{path}")
        assert answer.status_code == 404
        assert answer.json()["detail"].endswith(".")


def routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield path, pattern.name


def test_every_route_refuses_who_is_not_logged_in(client: Client, unit: FakeUnit) -> None:
    values = {"batch": "B-1", "kid": unit.kid.hex(), "seq": "3", "prefix": "abcd"}
    tried = 0
    for path, name in routes(get_resolver().url_patterns):
        if name in OPEN_ROUTES:
            continue
        for placeholder in [part.split(">")[0] for part in path.split("<")[1:]]:
            value = values.get(placeholder.split(":")[-1], "3" if placeholder.startswith("int") else "abcd")
            path = path.replace(f"<{placeholder}>", value)
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = client.generic(method, "/" + path, headers={"host": "localhost"})
            refused = answer.status_code in (401, 403, 405) or "/login" in answer.headers.get("Location", "")
            assert refused, f"{method} /{path} answers {answer.status_code} to anybody"
            tried += 1
    assert tried >= 4 * 12


def test_answers_carry_the_content_policy_and_no_cache_of_strangers(client: Client) -> None:
    answer = client.get("/api/batches", headers={"host": "localhost"})
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert client.get("/api/batches", headers={"host": "evil.example"}).status_code == 400


def test_the_api_documents_itself_from_this_server_alone(reader: Client) -> None:
    page = reader.get("/api/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page
    schema = get(reader, "/openapi.json")
    assert set(schema["paths"]) == set(api.get_openapi_schema()["paths"])


def test_five_wrong_passwords_lock_the_account(client: Client) -> None:
    User.objects.create_user("quinn", password="a-long-true-password")
    request = RequestFactory().post("/login/")
    for _ in range(5):
        assert authenticate(request, username="quinn", password="wrong") is None
    assert authenticate(request, username="quinn", password="a-long-true-password") is None


@pytest.fixture
def one_connection() -> Iterator[None]:
    """Requests leave the database connection open, and with it the transaction of the test."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.slow
@pytest.mark.usefixtures("one_connection")
def test_random_requests_get_documented_answers(reader: Client) -> None:
    django, session = get_wsgi_application(), f"sessionid={reader.cookies['sessionid'].value}"

    def logged_in(environ: dict[str, Any], start_response: Any) -> Any:
        return django({**environ, "HTTP_COOKIE": session, "HTTP_HOST": "localhost"}, start_response)

    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", logged_in)
    answered: set[int] = set()
    for result in schema.get_all_operations():
        operation = cast(Any, result).ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)
            if strategy.is_empty:  # a route without arguments cannot be asked wrongly
                continue

            @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=strategy)
            def ask(case: Any) -> None:
                response = case.call()
                case.validate_response(response, checks=CHECKS)
                answered.add(response.status_code)

            ask()
    assert answered >= {200, 404, 422}
