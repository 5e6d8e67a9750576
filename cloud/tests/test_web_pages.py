"""The pages on real batches: who sees them, what comes first, what a verdict says; no text of a unit becomes markup."""

import html
import json
import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.plugin import DjangoDbBlocker

from cloud.ledger.models import LedgerRecord, Quarantine
from cloud.tests.web_story import Works, altered, forged, hostile_batch, opening, steady, whole_story
from wire.record import decode_record

PASSWORD = "quiet-harbour-42"
PAGES = ["/", "/batches/B-2026-0101/", "/batches/B-2026-0101/records/", "/batches/B-2026-0101/series.json", "/units/"]
ATTACKS = [
    "<script>window.hit=1</script>",
    "</td></table><script src=//x.test/a.js></script>",
    '"><img src=x onerror=hit()>',
    "' onmouseover='hit()' x='",
    "<svg/onload=hit()>",
    "javascript:hit()",
    "{{ 7*7 }}{% debug %}",
    "&lt;script&gt;hit()&lt;/script&gt;",
    '<a href="data:text/html,<script>hit()</script>">',
    "</textarea></script><style>*{display:none}</style>",
    "hx-get=/logout/ hx-trigger=load",
    "<1D><3C>script<3E>",
    "\u202egnp.exe",
]
MARKUP = [attack for attack in ATTACKS if re.search(r"[<>\"']", attack) and not attack.startswith(("&lt;", "<1D>"))]


@pytest.fixture(scope="module")
def works(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Works]:
    """The whole story, once for this module, taken back at its end."""
    with django_db_blocker.unblock():
        story = transaction.atomic()
        story.__enter__()
        User.objects.create_user("qa", password=PASSWORD)
        yield whole_story()
        transaction.set_rollback(True)
        story.__exit__(None, None, None)


@pytest.fixture
def qa(works: Works, db: None) -> Client:
    client = Client()
    client.force_login(User.objects.get(username="qa"), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def fresh(qa: Client) -> Works:
    """The same cloud after a restart of its ingest, for tests that add batches; they are taken back after the test."""
    return Works()


def text_of(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def record_path(works: Works, seq: int = 4) -> str:
    first = LedgerRecord.objects.order_by("id").first()
    assert first is not None
    return f"/records/{bytes(first.kid).hex()}/{seq}/"


# --- who may see what ---


@pytest.mark.parametrize(
    "path", [*PAGES, "/quarantine/", "/quarantine/0011223344556677/", "/records/0011223344556677/1/"]
)
def test_every_page_asks_for_a_session(works: Works, db: None, path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login/?next=")


@pytest.mark.parametrize("path", PAGES)
def test_pages_only_read(qa: Client, path: str) -> None:
    assert qa.post(path).status_code == 405


def test_a_wrong_password_is_said_and_the_fifth_locks(works: Works, db: None) -> None:
    client = Client()
    wrong = {"username": "qa", "password": "no"}
    for _ in range(4):
        answer = client.post("/login/", wrong)
        assert answer.status_code == 200
        assert "do not match an active account" in answer.content.decode()
    locked = client.post("/login/", wrong)
    assert locked.status_code == 429
    assert "5 wrong tries" in locked.content.decode()
    assert "Wait 15 minutes" in locked.content.decode()
    assert client.post("/login/", {"username": "qa", "password": PASSWORD}).status_code == 429


def test_signing_in_leads_to_the_page_that_was_asked_for(works: Works, db: None) -> None:
    client = Client()
    answer = client.post("/login/", {"username": "qa", "password": PASSWORD, "next": "/units/"})
    assert answer.headers["Location"] == "/units/"
    away = Client().post("/login/", {"username": "qa", "password": PASSWORD, "next": "https://x.test/"})
    assert away.headers["Location"] == "/"


def test_a_form_without_its_token_is_refused(works: Works, db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    refused = client.post("/login/", {"username": "qa", "password": PASSWORD})
    assert refused.status_code == 403
    assert "This form has expired" in refused.content.decode()


@pytest.mark.parametrize("path", [*PAGES, "/login/", "/nowhere/"])
def test_the_content_policy_forbids_everything_inline(qa: Client, path: str) -> None:
    answer = qa.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    content = answer.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", content)
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=", content)


# --- the list ---


def test_what_needs_attention_comes_first(qa: Client) -> None:
    content = text_of(qa, "/")
    found = re.findall(r'id="batch-(B-2026-\d+)"', content)
    assert found[:2] == ["B-2026-0105", "B-2026-0102"]
    assert found[2] == "B-2026-0104", "whole again, but somebody tampered with it"
    assert set(found[-2:]) == {"B-2026-0101", "B-2026-0103"}
    assert "refused, put right" in content
    groups = re.findall(r'scope="rowgroup" colspan="8">([^(]+)\(', content)
    assert [group.strip() for group in groups] == [
        "Critical exceptions open",
        "Altered or forged on the way",
        "Running late",
        "Waiting or running",
        "In order",
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("site=SOUTH", {"B-2026-0103", "B-2026-0104", "B-2026-0105"}),
        ("unit=U-02", {"B-2026-0102", "B-2026-0107"}),
        ("state=running", {"B-2026-0106"}),
        ("q=b-2026-0104", {"B-2026-0104"}),
        ("q=CAR-T&state=waiting", {"B-2026-0107"}),
        ("q=%3Cscript%3E", set()),
    ],
)
def test_the_list_shows_what_was_asked_for(qa: Client, query: str, expected: set[str]) -> None:
    assert set(re.findall(r'id="batch-(B-2026-\d+)"', text_of(qa, f"/?{query}"))) == expected


def test_a_refresh_without_news_changes_nothing(qa: Client) -> None:
    content = text_of(qa, "/?state=running")
    seen = re.search(r"hx-vals='\{\"seen\": \"(\d+)\"\}'", content)
    assert seen is not None
    assert 'hx-get="/?state=running"' in content
    again = qa.get(f"/?state=running&seen={seen[1]}", headers={"HX-Request": "true"})
    assert again.status_code == 204
    news = qa.get("/?state=running&seen=1", headers={"HX-Request": "true"})
    assert news.status_code == 200
    assert 'hx-get="/?state=running"' in news.content.decode()


# --- one batch ---


def answers(content: str) -> dict[str, str]:
    found = re.findall(r'id="verdict-(\w+)">.*?</svg>([\w ]+)</span>', content, re.DOTALL)
    return dict(found)


@pytest.mark.parametrize(
    ("batch", "complete", "conforming", "authentic"),
    [
        ("B-2026-0101", "Yes", "Yes", "Yes"),
        ("B-2026-0102", "Yes", "No", "Yes"),
        ("B-2026-0103", "Yes", "Yes", "Yes"),
        ("B-2026-0104", "Yes", "Yes", "Yes"),
        ("B-2026-0105", "No", "No", "No"),
        ("B-2026-0106", "Not yet", "So far", "So far"),
        ("B-2026-0107", "Not yet", "Not yet", "Not yet"),
    ],
)
def test_the_three_verdicts_stand_apart(qa: Client, batch: str, complete: str, conforming: str, authentic: str) -> None:
    content = text_of(qa, f"/batches/{batch}/")
    assert answers(content) == {"complete": complete, "conforming": conforming, "authentic": authentic}


def test_a_verdict_says_why_and_what_was_checked(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0105/")
    assert "2 records are missing." in content
    assert re.search(r"\d+ checks made, \d+ passed", content)
    (held, all_of_it) = map(int, re.findall(r"Sequence gap: (\d+) of (\d+)", content)[0])
    assert all_of_it - held == 2, "each missing record counts"
    assert held > 10


def test_what_was_put_right_counts_as_passed(qa: Client) -> None:
    """Shown as resolved among the exceptions, and not as a check that failed beside a verdict that is good."""
    content = text_of(qa, "/batches/B-2026-0104/")
    assert [made for made, passed in re.findall(r"(\d+) checks made, (\d+) passed", content) if made != passed] == []
    assert re.search(r"Signature invalid: [1-9]\d+ of ", content)


def test_process_faults_are_listed_with_links_to_their_evidence(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0102/")
    for code in ("expired_material", "step_out_of_order", "parameter_excursion", "sensor_gap", "quantity_mismatch"):
        assert f'<span class="code">{code}</span>' in content
    for path in set(re.findall(r'href="(/(?:records|quarantine)/[^"]+)"', content)):
        assert qa.get(path).status_code == 200, path


def test_interruptions_are_visible_and_spoil_nothing(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0103/")
    assert content.count('<th scope="row">Restart</th>') == 2
    assert "late_record" in content


def test_a_refilled_alteration_is_shown_as_resolved(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0104/")
    assert "signature_invalid" in content
    assert "key_not_valid" in content
    assert 'href="#shape-resolved"' in content
    assert "<strong>Open</strong>" not in content


def test_scans_are_read_in_words_with_separators_visible(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0102/")
    assert "GTIN 09520000010034, lot LV-31, expires 2026-10-31" in content
    assert "A12⟨GS⟩XX" in content
    assert "typed by hand" in content


def test_what_two_people_overruled_is_told_in_words(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0102/")
    assert "<strong>Overruled</strong>" in content
    assert "by OP-207 with OP-901: “QA prolonged lot LV-31”" in content
    assert content.count("overruled by OP-207 with OP-901") == 2  # two steps
    assert content.count("Done, overruled") == 2
    assert "forced the start of step Load cells and vector" in content
    records = text_of(qa, "/batches/B-2026-0102/records/?type=override")
    assert "overruled the refusal of record" in records


def test_a_channel_shows_what_measures_and_how_it_was_adjusted(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0101/")
    assert "SCD41 0x8F21" in content
    assert "calibrated 2026-10-13" in content
    assert "adjusted by -0.12 %" in content


def test_a_batch_that_does_not_exist_is_said(qa: Client) -> None:
    answer = qa.get("/batches/B-0000/")
    assert answer.status_code == 404
    assert "There is no batch B-0000." in answer.content.decode()


def test_the_batch_page_does_not_read_the_records(qa: Client) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        text_of(qa, "/batches/B-2026-0101/")
    assert not [query for query in queries.captured_queries if "ledger_ledgerrecord" in query["sql"]]
    assert len(queries) < 15


def test_the_full_record_is_one_click_away_and_can_be_narrowed(qa: Client) -> None:
    assert 'href="/batches/B-2026-0101/records/"' in text_of(qa, "/batches/B-2026-0101/")
    everything = text_of(qa, "/batches/B-2026-0101/records/")
    held = LedgerRecord.objects.filter(batch="B-2026-0101").count()
    assert everything.count('<tr id="r') == held
    scans = text_of(qa, "/batches/B-2026-0101/records/?type=scan")
    assert scans.count('<tr id="r') == 4
    assert text_of(qa, "/batches/B-2026-0101/records/?type=nonsense&page=x").count('<tr id="r') == held


def test_a_long_record_comes_in_pages(qa: Client, fresh: Works) -> None:
    unit = fresh.enrol("U-LONG", "NORTH", "G-NORTH")
    opening(fresh, unit, "B-2026-0199")
    for minute in range(120):
        unit.sense(steady(2, minute=minute), steady(2, minute=minute))
    fresh.carry(unit)
    fresh.reconcile()
    first = text_of(qa, "/batches/B-2026-0199/records/")
    assert "Page 1 of 2" in first
    assert 'rel="next"' in first
    assert first.count('<tr id="r') == 100
    assert 'rel="prev"' in text_of(qa, "/batches/B-2026-0199/records/?page=2")
    behind = text_of(qa, "/batches/B-2026-0199/records/?page=77")
    assert "Page 2 of 2" in behind
    assert '<tr id="r' in behind
    assert "Nothing was refused" not in text_of(qa, "/quarantine/?page=77")


def test_curves_have_limits_excursions_and_gaps(qa: Client) -> None:
    curves = json.loads(text_of(qa, "/batches/B-2026-0102/series.json"))
    temperature = next(each for each in curves["channels"] if each["name"] == "temperature")
    assert {limit["band"] for limit in temperature["limits"]} == {"alert", "action"}
    assert len(temperature["gaps"]) == 1
    assert {each["band"] for each in temperature["excursions"]} == {"alert", "action"}
    assert len(temperature["times_ms"]) == len(temperature["values"])


# --- evidence ---


def test_a_record_shows_its_signature_links_bytes_and_times(qa: Client, works: Works) -> None:
    content = text_of(qa, record_path(works))
    assert "Ed25519 over these bytes, by the key of unit U-01, epoch 1." in content
    assert "It names the digest of record 3" in content
    assert "Record 5 names the digest of this one." in content
    assert "± 140 ms" in content
    row = LedgerRecord.objects.order_by("id")[4]
    assert bytes(row.digest).hex() in content
    assert bytes(row.record).hex(" ")[:23] in content


def test_site_time_is_shown_with_its_offset(qa: Client) -> None:
    row = LedgerRecord.objects.filter(batch="B-2026-0104").order_by("seq").first()
    assert row is not None
    content = text_of(qa, f"/records/{bytes(row.kid).hex()}/{row.seq}/")
    assert re.search(r"2026-11-22 12:\d\d:\d\d \(\+02:00\)", content)


def test_a_missing_record_is_evidence_too(qa: Client) -> None:
    content = text_of(qa, "/batches/B-2026-0105/")
    gone = re.search(r"Record (\d+) of the batch is missing", content)
    assert gone is not None
    kid = re.search(r"/records/([0-9a-f]{16})/", content)
    assert kid is not None
    missing = text_of(qa, f"/records/{kid[1]}/{gone[1]}/")
    assert f"Record {gone[1]} is not in the ledger" in missing
    assert "refused copy" in missing


def test_sensor_values_are_listed_with_their_marks(qa: Client) -> None:
    rows = LedgerRecord.objects.filter(batch="B-2026-0102", type=9).order_by("seq")
    marked = next(row for row in rows if any(s.mark for s in decode_record(bytes(row.record)).body.series[0]))  # type: ignore[union-attr]
    content = text_of(qa, f"/records/{bytes(marked.kid).hex()}/{marked.seq}/")
    assert "temperature, °C" in content
    assert ">missing<" in content


def test_an_address_that_leads_nowhere_says_so_in_words(qa: Client) -> None:
    page = qa.get("/nowhere/").content.decode()
    assert "Nothing is stored under this address." in page
    assert "Resolver404" not in page


@pytest.mark.parametrize("path", ["/records/0011223344556677/1/", "/records/xyz/1/", "/quarantine/ffffffffffffffff/"])
def test_unknown_evidence_is_not_found(qa: Client, path: str) -> None:
    assert qa.get(path).status_code == 404


def test_quarantine_says_why_and_what_stands_in_its_place(qa: Client) -> None:
    content = text_of(qa, "/quarantine/")
    assert "The signature does not match: altered or forged" in content
    assert "Signed by a key that is not enrolled here" in content
    assert content.count("True record is held") == 1
    forgery = Quarantine.objects.filter(reason="key_not_valid").first()
    assert forgery is not None
    detail = text_of(qa, f"/quarantine/{bytes(forgery.digest).hex()[:16]}/")
    assert "all is well" in detail
    assert bytes(forgery.content).hex(" ")[:23] in detail


def test_units_show_archive_gaps_key_and_firmware(qa: Client) -> None:
    content = text_of(qa, "/units/")
    assert "1.4.0" in content
    assert re.search(r"record 17</a> <span class=\"soft\">of \d+ heard of", content)
    assert content.count('class="panel"') == 4


# --- hostile text ---


def test_no_text_of_a_unit_becomes_markup(qa: Client, fresh: Works) -> None:
    unit = fresh.enrol("<b>U-X</b>", "NORTH", "G-NORTH")
    name = "<i>B & 'C'\"<i>"
    hostile_batch(fresh, unit, name, ATTACKS)
    fresh.carry(unit, [altered(unit.raws[-1]), forged(unit, ATTACKS[0][:32])])
    fresh.reconcile()
    paths = ["/", "/units/", "/quarantine/"]
    listing = text_of(qa, "/")
    found = re.search(r'href="(/batches/%3Ci[^"]+)"', listing)
    assert found is not None
    batch = html.unescape(found[1])
    paths += [batch, f"{batch}records/", f"{batch}series.json"]
    paths += [f"/records/{unit.kid.hex()}/{seq}/" for seq in range(len(unit.raws))]
    paths += [f"/quarantine/{bytes(row.digest).hex()[:16]}/" for row in Quarantine.objects.all()]
    for path in paths:
        content = text_of(qa, path)
        if path.endswith(".json"):
            continue
        for attack in MARKUP:
            assert attack not in content, (path, attack)
        assert "<b>U-X" not in content
        assert not re.search(r"""(?:href|src)=["']?\s*(?:javascript|data):""", content), path
        assert "<i>B" not in content
        assert "<img" not in content
        assert "\u202e" not in content
        assert not re.search(r"<script(?![^>]*\bsrc=\"/static/)", content), path
        assert not re.search(r"<[^>]*\son[a-z]+\s*=", content), path


# --- demonstration ---


def test_a_demonstration_says_so_on_every_page(qa: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Demonstration" not in text_of(qa, "/")
    monkeypatch.setenv("CARTRACE_DEMO_CLOCK", "1795341600000,1795341600000,60")
    for path in ("/", "/units/", "/quarantine/"):
        assert "time runs 60 times faster" in text_of(qa, path)
    assert "time runs 60 times faster" in Client().get("/login/").content.decode()
