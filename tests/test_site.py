"""Every page of the rendered site, looked at in Chromium.

Nothing is asked of another host, formulas and figures are there, phones need
no sideways scrolling, and axe finds no serious accessibility fault.
"""

import functools
import http.server
import os
import shutil
import threading
from urllib.parse import urlsplit

import pytest
from notebooks import template

SITE = template.ROOT / "_build" / "html"
PAGES = template.toc_entries()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}

SLOW = 120_000  # milliseconds: a busy machine is no fault of the page

#: Faults of the theme that cannot be mended from here, rule by rule.
KNOWN = {}

# Resolves when MathJax has set the page, at once where there is no formula.
MATH_IS_SET = """() => {
  const spans = document.querySelectorAll('.math').length;
  if (!spans) return true;
  return window.MathJax?.startup?.promise?.then(() => true) ?? false;
}"""
SIDEWAYS = """() => {
  const page = document.scrollingElement;
  if (page.scrollWidth <= window.innerWidth) return [];
  return [...document.body.querySelectorAll('*')]
    .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1)
    .slice(0, 8)
    .map(e => e.tagName + '.' + e.className);
}"""

pytestmark = pytest.mark.browser


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve files, say nothing."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    """The site, served from localhost."""
    if not (SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book` first")
    handler = functools.partial(Quiet, directory=SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = f"NOT RUN: no browser, none of {', '.join(BROWSERS)} found"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, args=FLAGS, headless=True
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, address):
    """Open a page of the site; remember what it logged and asked for."""
    contexts = []

    def open_(entry, scheme="light"):
        context = browser.new_context(color_scheme=scheme, viewport=DESK)
        context.set_default_timeout(SLOW)
        contexts.append(context)
        page = context.new_page()
        page.faults = []

        def on_request(request):
            url = urlsplit(request.url)
            if url.scheme in ("http", "https", "ws", "wss"):
                if url.hostname != "127.0.0.1":
                    page.faults.append(f"asks another host: {request.url}")
            elif url.scheme not in ("data", "blob"):
                page.faults.append(f"strange request: {request.url}")

        def on_console(message):
            if message.type == "error":
                page.faults.append(f"console: {message.text}")

        def on_response(response):
            if response.status >= 400:
                page.faults.append(f"{response.status}: {response.url}")

        page.on("request", on_request)
        page.on("response", on_response)
        page.on("console", on_console)
        page.on("pageerror", lambda e: page.faults.append(f"script: {e}"))
        page.goto(f"{address}/{entry}.html", wait_until="load")
        page.wait_for_function(MATH_IS_SET)
        page.wait_for_load_state("networkidle")
        return page

    yield open_
    for context in contexts:
        context.close()


def check_formulas(page):
    """Each span of mathematics became MathJax and MathML."""
    written = page.locator("article .math").count()
    for form in ("mjx-container", "mjx-container mjx-assistive-mml math"):
        assert page.locator(f"article .math {form}").count() >= written, form
    errors = page.locator("mjx-merror, mjx-container .merror")
    assert errors.count() == 0, errors.all_inner_texts()


def check_images(page):
    """Images have loaded and have alternative text."""
    images = page.locator("img").evaluate_all(
        "all => all.map(i => [i.src, i.alt, i.complete && i.naturalWidth > 0])"
    )
    assert not [src for src, alt, _ in images if not alt.strip()]
    assert not [src for src, _, loaded in images if not loaded]


def check_figures(page, entry):
    """Every figure of the notebook is there once, with its alt text.

    If there are more, one is shown twice, or drawn where
    `template.draws` does not see it.
    """
    path = template.ROOT / f"{entry}.ipynb"
    cells = template.read(path).cells if path.exists() else []
    drawn = [c for c in cells if c.cell_type == "code" and template.draws(c)]
    shown = page.locator(".cell_output img").evaluate_all(
        "all => all.map(i => i.alt)"
    )
    assert shown == [c.metadata["mystnb"]["image"]["alt"] for c in drawn]


def check_accessibility(page, **options):
    """No serious or critical finding of axe.

    MathJax's own markup is left out: it is thousands of elements a page, and
    `check_formulas` looks for the MathML that screen readers get.
    """
    from axe_playwright_python.sync_playwright import Axe

    # Without preloading axe asks for no style sheets on its own account.
    options |= {"preload": False, "resultTypes": ["violations"]}
    report = Axe().run(page, {"exclude": [["mjx-container"]]}, options)
    violations = report.response["violations"]
    serious = [
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary']}"
        for rule in violations
        if rule["impact"] in ("serious", "critical") and rule["id"] not in KNOWN
        for node in rule["nodes"]
    ]
    assert not serious, "\n".join(serious)


def check_fits_a_phone(page):
    """Wide formulas, tables and code scroll in their own boxes."""
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(200)
    assert not page.evaluate(SIDEWAYS)
    width = page.evaluate("document.scrollingElement.scrollWidth")
    assert width <= PHONE["width"]


@pytest.mark.parametrize("entry", PAGES)
def test_page(open_page, entry):
    page = open_page(entry)
    check_formulas(page)
    check_images(page)
    check_figures(page, entry)
    assert page.locator("html").get_attribute("data-theme") == "light"
    check_accessibility(page)

    # Colours fade over; halfway they have no contrast.
    page.add_style_tag(content="* { transition: none !important; }")
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    check_accessibility(page, runOnly=["color-contrast"])
    check_fits_a_phone(page)
    assert not page.faults


def test_dark_mode_loads(open_page):
    page = open_page(PAGES[0], "dark")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert not page.faults


def test_search_works_offline(open_page):
    page = open_page("search")
    page.goto(page.url + "?q=energy")
    page.wait_for_selector("#search-results li a")
    assert not page.faults


def test_the_index_leads_to_the_first_page(open_page):
    page = open_page("index")
    page.wait_for_url(f"**/{PAGES[0]}.html")
    assert not page.faults


DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
BROKEN = {
    "no alt text": (f"<img src='{DOT}'>", check_images),
    "too wide": ("<div style='width: 900px'>wide</div>", check_fits_a_phone),
    "raw formula": (
        "<article><span class='math'>\\(x\\)</span></article>",
        check_formulas,
    ),
    "nameless button": ("<button></button>", check_accessibility),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_checks_reject_a_broken_page(open_page, fault):
    body, check = BROKEN[fault]
    page = open_page("genindex")
    page.set_content(f"<html lang='en'><body><main>{body}</main></body></html>")
    with pytest.raises(AssertionError):
        check(page)


def test_a_request_to_another_host_is_a_fault(open_page):
    page = open_page("genindex")
    page.route("http://elsewhere.invalid/*", lambda route: route.abort())
    page.set_content("<img src='http://elsewhere.invalid/x.png' alt='x'>")
    assert any("asks another host" in fault for fault in page.faults)
