"""Every page of the rendered site, looked at in Chromium.

Nothing is asked of another host, formulas and figures are there, phones need
no sideways scrolling, and axe finds no serious accessibility fault.
"""

import pytest
from notebooks import template

PAGES = template.toc_entries()
PHONE = {"width": 390, "height": 844}

#: Faults of the theme that cannot be mended from here, rule by rule.
KNOWN = {}

SIDEWAYS = """() => {
  const page = document.scrollingElement;
  if (page.scrollWidth <= window.innerWidth) return [];
  return [...document.body.querySelectorAll('*')]
    .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1)
    .slice(0, 8)
    .map(e => e.tagName + '.' + e.className);
}"""

pytestmark = pytest.mark.browser


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
