"""Settings of every test, and what the tests in a browser share."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

# Two OpenMP threads on two busy cores are slower than one, by much. As in the
# Makefile.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
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
DESK = {"width": 1280, "height": 900}

SLOW = 120_000  # milliseconds: a busy machine is no fault of the page

# Resolves when MathJax has set the page, at once where there is no formula.
MATH_IS_SET = """() => {
  const spans = document.querySelectorAll('.math').length;
  if (!spans) return true;
  return window.MathJax?.startup?.promise?.then(() => true) ?? false;
}"""


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
