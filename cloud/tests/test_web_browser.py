"""The pages in a real browser against a real server: they work, nothing breaks the content policy, all can be read.

Each page is opened wide and narrow, light and dark; the pictures go to test-report/. The server is a process of its
own with its own database: the browser's event loop and Django's database code do not share a thread.
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from cloud.tests.web_site import NAME, PASSWORD
from cloud.web.views import REFRESH_S

pytestmark = pytest.mark.browser

REPORT = Path("test-report")
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Shown to the cloud as now: shortly after the story's last record, so that the pictures are the same every day.
SHOWN_MS = 1_795_341_600_000 + 46 * 60_000
WIDE, NARROW = (1320, 900), (390, 844)
START_SECONDS = 60
PAGES = {
    "batches": "/",
    "batch-good": "/batches/B-2026-0101/",
    "batch-faults": "/batches/B-2026-0102/",
    "batch-interrupted": "/batches/B-2026-0103/",
    "batch-refilled": "/batches/B-2026-0104/",
    "batch-spoiled": "/batches/B-2026-0105/",
    "batch-running": "/batches/B-2026-0106/",
    "batch-waiting": "/batches/B-2026-0107/",
    "records": "/batches/B-2026-0102/records/",
    "units": "/units/",
    "quarantine": "/quarantine/",
    "card": "/recipes/car-t-short/3/card/",
}
# Text whose contrast with what is behind it is below WCAG AA: 4.5, or 3 for large text.
POOR_CONTRAST = """() => {
  const curve = (part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const channel = (value) => curve(value / 255);
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const parse = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('noscript, .uplot')) continue;
    const style = getComputedStyle(element);
    const pair = [light(parse(style.color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(walker.currentNode.data.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return [...new Set(poor)];
}"""
COLORS = """(canvas) => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colors = new Set();
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] > 200) colors.add(pixels.slice(at, at + 3).join());
  return [...colors];
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cloud with the whole story in it."""
    real_ms = time.time_ns() // 1_000_000
    environment = os.environ | {
        "CARTRACE_CLOUD_STATE": str(tmp_path_factory.mktemp("cloud")),
        "CARTRACE_DEMO_CLOCK": f"{real_ms},{SHOWN_MS},1",
    }
    subprocess.run([sys.executable, "-m", "cloud.tests.web_site"], env=environment, check=True, timeout=START_SECONDS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "cloud", "web", "--port", str(port)], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/login/", server)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=START_SECONDS)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"no answer from {address}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"The browser tests need {CHROMIUM}: install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Reader:
    """Somebody at a screen, signed in; notes whatever the browser complains about."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self.site = site
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def sign_in(self, password: str = PASSWORD) -> None:
        self.page.goto(f"{self.site}/login/")
        self.page.get_by_label("Name").fill(NAME)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_load_state()

    def hurry(self) -> None:
        """From the next page on, pass_time() stands for waiting."""
        self.page.clock.install()

    def pass_time(self) -> None:
        """Past the next moment at which a page refreshes itself."""
        self.page.clock.fast_forward(2 * REFRESH_S * 1000)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.site}{path}", wait_until="load")
        if self.page.locator("#chart").count():
            self.page.locator("#chart[data-drawn]").wait_for()
        return self.page


@pytest.fixture(scope="module")
def session(chromium: Browser, site: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of somebody who signed in once."""
    kept = tmp_path_factory.mktemp("session") / "state.json"
    context = chromium.new_context()
    Reader(context, site).sign_in()
    context.storage_state(path=kept)
    context.close()
    return kept


@pytest.fixture
def reader(chromium: Browser, site: str, session: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A signed-in reader; parametrized indirectly with (size, color scheme)."""
    (width, height), scheme = getattr(request, "param", (WIDE, "light"))
    viewport = ViewportSize(width=width, height=height)
    context = chromium.new_context(
        viewport=viewport, color_scheme="dark" if scheme == "dark" else "light", storage_state=session
    )
    yield Reader(context, site)
    context.close()


def look(name: str, size: tuple[int, int], scheme: str) -> str:
    return f"web-{name}-{'wide' if size == WIDE else 'narrow'}-{scheme}.png"


KINDS = ("batches", "batch-faults", "batch-running", "records", "units", "quarantine", "card")
LOOKS = [(name, WIDE, "light") for name in PAGES] + [(name, NARROW, "dark") for name in KINDS]
LOOKS += [("batches", WIDE, "dark"), ("batch-faults", WIDE, "dark"), ("batch-faults", NARROW, "light")]


@pytest.mark.parametrize(
    ("name", "reader"),
    [(name, (size, scheme)) for name, size, scheme in LOOKS],
    indirect=["reader"],
    ids=[look(*each) for each in LOOKS],
)
def test_every_page_can_be_read(name: str, reader: Reader, request: pytest.FixtureRequest) -> None:
    page = reader.open(PAGES[name])
    size, scheme = request.node.callspec.params["reader"]
    REPORT.mkdir(exist_ok=True)
    page.screenshot(path=REPORT / look(name, size, scheme), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "the page is wider than the screen"
    assert page.evaluate(POOR_CONTRAST) == []
    assert reader.complaints == []


def test_signing_in_wrong_and_right(chromium: Browser, site: str) -> None:
    context = chromium.new_context()
    reader = Reader(context, site)
    reader.sign_in("wrong")
    assert reader.page.get_by_role("alert").inner_text().startswith("You are not signed in.")
    REPORT.mkdir(exist_ok=True)
    reader.page.screenshot(path=REPORT / "web-login-wide-light.png")
    reader.sign_in()
    assert reader.page.get_by_role("heading", name="Batches").is_visible()
    reader.page.get_by_role("button", name="Sign out").click()
    reader.page.get_by_role("heading", name="Sign in").wait_for()
    reader.page.goto(f"{site}/units/")
    assert "/login/?next=/units/" in reader.page.url
    assert reader.complaints == []
    context.close()


def test_from_the_list_to_the_bytes_of_the_evidence(reader: Reader) -> None:
    page = reader.open("/")
    page.get_by_role("link", name="B-2026-0102").click()
    page.get_by_role("heading", name="Conforming No").wait_for()
    row = page.get_by_role("row").filter(has_text="expired_material")
    row.get_by_role("link").first.click()
    page.get_by_role("heading", name="Checked just now").wait_for()
    assert page.get_by_role("row", name="Signature").inner_text().split("\t")[1].strip() == "Valid"
    assert "LV-31" in page.get_by_label("Bytes in hexadecimal").inner_text().replace("\n", "")
    page.get_by_role("link", name="Record 14 →").click()
    page.get_by_role("heading", name="Record 14").wait_for()
    assert reader.complaints == []


def test_the_card_is_printed_without_what_is_round_it(reader: Reader) -> None:
    page = reader.open("/batches/B-2026-0101/")
    page.get_by_role("link", name="technician’s card").click()
    page.get_by_role("heading", name="Start a step").wait_for()
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))
    assert len(pages) == page.locator(".sheet").count()
    page.emulate_media(media="print")
    assert not page.get_by_text("Signed in as").is_visible()
    assert reader.complaints == []


def test_the_curves_are_drawn_with_limits_excursions_and_gaps(reader: Reader) -> None:
    page = reader.open("/batches/B-2026-0102/")
    canvases = page.locator("#chart canvas")
    assert canvases.count() == 2
    plain, troubled = (len(canvases.nth(number).evaluate(COLORS)) for number in range(2))
    assert plain > 10, "the chart is blank"
    assert troubled > plain, "excursion and gap are not shaded"
    summary = page.get_by_role("img", name="Chart of temperature").get_attribute("aria-label") or ""
    assert "2 excursions; 1 gap" in summary


def test_the_curves_follow_the_color_scheme(reader: Reader) -> None:
    page = reader.open("/batches/B-2026-0101/")
    light = set(page.locator("#chart canvas").first.evaluate(COLORS))
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("matchMedia('(prefers-color-scheme: dark)').matches")
    page.locator("#chart canvas").first.wait_for()
    assert set(page.locator("#chart canvas").first.evaluate(COLORS)) != light


def test_old_news_is_replaced_without_losing_what_was_opened(reader: Reader) -> None:
    reader.hurry()
    page = reader.open("/batches/B-2026-0106/")
    page.locator("#checks-complete summary").click()
    page.evaluate("document.getElementById('live').setAttribute('hx-vals', '{\"seen\": \"1\"}')")
    with page.expect_response(lambda response: "seen=1" in response.url, timeout=20_000) as refreshed:
        reader.pass_time()
    assert refreshed.value.status == 200
    page.wait_for_function("document.getElementById('checks-complete').open")
    assert [page.locator(f"#{part}").count() for part in ("live", "steps", "sensor-facts", "chart")] == [1, 1, 1, 1]
    assert page.locator("#chart canvas").count() == 2, "the curves are gone"
    assert reader.complaints == []


def test_the_first_sensor_values_of_a_running_batch_bring_their_curves(reader: Reader) -> None:
    reader.hurry()
    page = reader.page
    without = "<section id='sensors'><p>No sensor value arrived yet.</p></section>"
    page.goto(f"{reader.site}/batches/B-2026-0106/")
    page.evaluate(
        "(without) => { document.getElementById('sensors').outerHTML = without;"
        " const live = document.getElementById('live');"
        " live.setAttribute('hx-vals', '{\"seen\": \"1\"}');"
        " live.setAttribute('hx-select-oob', '#head,#sensors'); }",
        without,
    )
    reader.pass_time()
    page.locator("#chart canvas").first.wait_for(timeout=20_000)
    assert reader.complaints == []


def test_a_server_that_is_gone_is_said(reader: Reader) -> None:
    reader.hurry()
    page = reader.open("/batches/B-2026-0106/")
    page.route("**/*seen=*", lambda route: route.abort())
    reader.pass_time()
    page.get_by_text("The server does not answer.").wait_for(timeout=20_000)


def test_pages_work_without_scripts(chromium: Browser, site: str, session: Path) -> None:
    context = chromium.new_context(storage_state=session, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/batches/B-2026-0102/")
    assert page.get_by_text("The curves are drawn here by a script.").is_visible()
    assert page.get_by_role("table").filter(has_text="Summary per channel").is_visible()
    page.goto(f"{site}/")
    page.get_by_label("Site").select_option("SOUTH")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_role("link", name="B-2026-0105").is_visible()
    assert page.get_by_role("link", name="B-2026-0102").count() == 0
    context.close()


def test_the_keyboard_reaches_the_content_first(reader: Reader) -> None:
    page = reader.open("/batches/B-2026-0102/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_choice_filters_the_list_at_once(reader: Reader) -> None:
    page = reader.open("/")
    page.get_by_label("State").select_option("running")
    page.wait_for_url("**/?*state=running*")
    assert page.get_by_role("link", name="B-2026-0106").is_visible()
    assert page.get_by_role("link", name="B-2026-0101").count() == 0


def test_a_batch_prints_without_navigation(reader: Reader) -> None:
    page = reader.open("/batches/B-2026-0102/")
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation", name="Main").is_visible()
    assert page.get_by_role("heading", name="Exceptions").is_visible()
