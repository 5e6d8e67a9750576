"""The story in front of QA: its pages in a real browser, on a desk and on a phone, with pictures to look at."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from hil_tests.tests.conftest import Told

pytestmark = [pytest.mark.story, pytest.mark.browser, pytest.mark.timeout(300)]
SCREENS = {"desk": (1280, 900), "phone": (390, 844)}
BATCHES = {1: "right", 2: "faults", 3: "trouble", 4: "bad-carrier"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "chromium is missing: install it (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def session(chromium: Browser, told: Told, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of QA, who logged in once: a password is made slow to try."""
    kept = tmp_path_factory.mktemp("session") / "state.json"
    context = chromium.new_context(base_url=told.stage.cloud.url)
    page = context.new_page()
    page.goto("/")
    page.fill("input[name=username]", told.stage.login.name)
    page.fill("input[name=password]", told.stage.login.password)
    page.click("button[type=submit]")
    page.wait_for_url("**/")
    context.storage_state(path=kept)
    context.close()
    return kept


@pytest.fixture(params=SCREENS)
def qa(request: pytest.FixtureRequest, chromium: Browser, session: Path, told: Told) -> Iterator[Page]:
    """QA, logged in; whatever the browser complains about fails the test."""
    width, height = SCREENS[request.param]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, base_url=told.stage.cloud.url, storage_state=session
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def screen_of(page: Page) -> str:
    size = page.viewport_size
    assert size is not None
    return next(name for name, (width, _) in SCREENS.items() if width == size["width"])


def picture(page: Page, folder: Path, name: str) -> None:
    page.wait_for_load_state()
    if page.locator("#chart").count():
        page.locator("#chart[data-drawn]").wait_for()
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name} is {overflow} pixels wider than the screen"
    page.screenshot(path=folder / f"story-{name}-{screen_of(page)}.png", full_page=True)


def test_the_list_puts_first_what_needs_attention(qa: Page, told: Told, report_folder: Path) -> None:
    qa.goto("/")
    picture(qa, report_folder, "batches")
    text = qa.inner_text("main")
    places = {number: text.index(told.story.batch_of(number)) for number in BATCHES}
    assert places[2] == min(places.values())


@pytest.mark.parametrize("number", BATCHES)
def test_a_batch_page_shows_its_verdicts_and_exceptions(qa: Page, told: Told, report_folder: Path, number: int) -> None:
    batch, report = told.story.batch_of(number), told.report(number)
    qa.goto(f"/batches/{batch}/")
    picture(qa, report_folder, f"batch-{number}-{BATCHES[number]}")
    text = qa.inner_text("main")
    assert batch in text
    for item in report["exceptions"]:
        assert item["message"] in text
    assert "WB-" in text  # a scanned lot
    assert "Culture" in text  # a step
    assert qa.locator("canvas").count() >= 1  # the sensor chart


def test_evidence_is_one_click_away(qa: Page, told: Told, report_folder: Path) -> None:
    missing = next(item for item in told.report(2)["exceptions"] if item["code"] == "missing_scan")
    kid, seq = missing["evidence"][0].split("/")
    qa.goto(f"/batches/{told.story.batch_of(2)}/")
    qa.locator(f"a[href*='/records/{kid}/{seq}/']").first.click()
    picture(qa, report_folder, "record")
    assert f"Record {seq}" in qa.inner_text("main")


def test_refused_copies_can_be_seen(qa: Page, told: Told, report_folder: Path) -> None:
    qa.goto("/quarantine/")
    picture(qa, report_folder, "quarantine")
    refused = [item for item in told.report(4)["exceptions"] if item["code"] == "key_not_valid"]
    qa.goto(f"/{refused[0]['evidence'][0]}/")
    picture(qa, report_folder, "quarantined")


def test_units_show_how_far_they_are_archived(qa: Page, told: Told, report_folder: Path) -> None:
    qa.goto("/units/")
    picture(qa, report_folder, "units")
    text = qa.inner_text("main")
    for unit in told.stage.units:
        assert unit in text
