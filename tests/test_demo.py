"""The live lattice of the chapter on sampling, tried in Chromium.

It samples the law that it states, and its exact values are those of `dimod`
and of the library. Keyboards, screen readers and phones can use it, and it
rests when nobody looks.
"""

import dimod
import numpy as np
import pytest
import torch
from oracles import listed
from test_site import PHONE, check_accessibility, check_fits_a_phone

from qbmvae_mini import BoltzmannMachine

ENTRY = "book/02_sampling"
SWEEPS = 100_000
BATCH = 500  # sweeps; means of batches this long are independent
#: (beta, field) of the laws that are sampled.
LAWS = [(0.30, 0.0), (0.44, 0.0), (0.55, -0.05)]
STATES = listed(16)

# Counts the frames that the page asks for and the pictures that it paints.
# With `steps`, frames come when `advance` says, at the times that it says.
WATCH = """steps => {
  const { requestAnimationFrame: ask } = window;
  const paint = CanvasRenderingContext2D.prototype.putImageData;
  Object.assign(window, { frames: 0, paints: 0, due: null, clock: 0 });
  window.requestAnimationFrame = f => {
    window.frames++;
    if (!steps) return ask(f);
    window.due = f;
    return 1;
  };
  if (steps) window.cancelAnimationFrame = () => { window.due = null; };
  CanvasRenderingContext2D.prototype.putImageData = function (...all) {
    window.paints++;
    return paint.apply(this, all);
  };
  window.advance = (seconds, rate) => {
    for (let i = 0; i < seconds * rate; i++) {
      const f = window.due;
      window.due = null;
      f?.(window.clock += 1000 / rate);
    }
  };
}"""
# The spins that the picture shows, row by row: orange is up.
SPINS = """canvas => {
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  const { data } = context.getImageData(0, 0, width, height);
  return Array.from({ length: width * height }, (_, i) =>
    data[4 * i] > 128 ? 1 : -1);
}"""

pytestmark = pytest.mark.browser


@pytest.fixture
def page(open_page):
    """The chapter; whatever was done to it, it logged no fault."""
    page = open_page(ENTRY)
    assert page.locator(".ising-demo canvas").count() == 2, "no demo there"
    yield page
    assert not page.faults


def part(page, name):
    """A control or a picture of the demo."""
    return page.locator(f".ising-demo [data-part={name}]")


def cell(page, column, name):
    """A number of the table as it is printed."""
    return page.locator(f".ising-demo [data-{column}={name}]").inner_text()


def choose(page, beta, field):
    part(page, "beta").fill(str(beta))
    part(page, "field").fill(str(field))


def sweep(page, n):
    """Magnetisation and energy per spin after each of `n` sweeps, (2, n)."""
    return np.array(
        page.locator(".ising-demo").evaluate(
            "(demo, n) => {"
            "  const seen = demo.sweep(n);"
            "  return [seen.map(s => s.m), seen.map(s => s.energy)];"
            "}",
            n,
        )
    )


def lattice(field, side=4):
    """The lattice in dimod: neighbours like to agree, spins follow h."""
    sites = [(x, y) for y in range(side) for x in range(side)]
    number = {site: i for i, site in enumerate(sites)}
    pairs = {}
    for (x, y), i in number.items():
        for site in ((x + 1) % side, y), (x, (y + 1) % side):
            pairs[i, number[site]] = -1
    fields = dict.fromkeys(number.values(), -field)
    return dimod.BinaryQuadraticModel.from_ising(fields, pairs)


def enumerated(beta, field):
    """Probabilities, magnetisations and energies per spin of all states."""
    spins = 2 * STATES - 1
    energy = lattice(field).energies((spins, range(16)))
    p = np.exp(-beta * (energy - energy.min()))
    return p / p.sum(), spins.mean(1), energy / 16


def worst_z(seen, field, law):
    """The largest z-score of what was seen at `field` against another law.

    Of the means of m, |m| and E, and of the share of every energy that should
    occur 20 times or more. Standard errors come from the means of batches.
    """
    p, m, _ = enumerated(*law)
    energy = enumerated(1, field)[2].round(9)
    pairs = [(seen[0], m), (abs(seen[0]), abs(m)), (seen[1], energy)]
    pairs += [
        (np.isclose(seen[1], level), energy == level)
        for level in np.unique(energy)
        if p[energy == level].sum() * SWEEPS >= 20
    ]
    worst = 0
    for found, values in pairs:
        batches = found.reshape(-1, BATCH).mean(1)
        error = batches.std(ddof=1) / np.sqrt(len(batches))
        error = max(error, 1 / SWEEPS)  # of what was never seen
        worst = max(worst, abs(batches.mean() - p @ values) / error)
    return worst


@pytest.mark.parametrize(("beta", "field"), LAWS)
def test_it_samples_the_law_that_it_states(page, beta, field):
    choose(page, beta, field)
    seen = sweep(page, SWEEPS)
    assert seen.shape == (2, SWEEPS)
    assert worst_z(seen, field, (beta, field)) < 5
    for other in (0.9 * beta, field), (1.1 * beta, field), (beta, field + 0.1):
        assert worst_z(seen, field, other) > 5, other


def test_the_exact_values_are_those_of_all_states(page):
    for beta, field in [*LAWS, (0, 0.5), (1, 0), (1, 1), (1, -1)]:
        choose(page, beta, field)
        exact = page.locator(".ising-demo").evaluate("demo => demo.exact()")
        p, m, energy = enumerated(beta, field)
        expected = {"m": p @ m, "size": p @ abs(m), "energy": p @ energy}
        assert exact == pytest.approx(expected, rel=0, abs=1e-9)
        for name, value in expected.items():
            printed = float(cell(page, "exact", name))
            assert printed == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize("field", [0.0, 0.3])
def test_the_chapter_states_the_lattice_in_bits(field):
    machine = BoltzmannMachine.from_bqm(lattice(field)).double()
    assert machine.coupling.tolist() == pytest.approx([4] * 32)
    assert machine.bias.tolist() == pytest.approx([2 * field - 8] * 16)
    energy = machine.energy(torch.from_numpy(STATES)).detach()
    assert np.allclose(energy / 16, enumerated(1, field)[2])


@pytest.mark.parametrize("side", [4, 32, 64])
def test_the_table_tells_what_the_picture_shows(page, side):
    part(page, "side").select_option(f"{side} x {side}")
    choose(page, 0.4, 0.2)
    m, energy = sweep(page, 7)
    spins = np.array(part(page, "picture").evaluate(SPINS))
    spins = spins.reshape(side, side)
    bonds = sum((spins * np.roll(spins, 1, axis)).sum() for axis in (0, 1))
    assert m[-1] == pytest.approx(spins.mean())
    assert energy[-1] == pytest.approx(-bonds / side**2 - 0.2 * spins.mean())
    shown = {
        "now": (m[-1], abs(m[-1]), energy[-1]),
        "mean": (m.mean(), abs(m).mean(), energy.mean()),
    }
    for column, values in shown.items():
        for name, value in zip(("m", "size", "energy"), values, strict=True):
            printed = float(cell(page, column, name))
            assert printed == pytest.approx(value, abs=6e-5)
    assert (cell(page, "exact", "size") == "–") is (side > 4)
    assert part(page, "count").inner_text() == "7 sweeps"


def test_the_start_is_random_or_all_up(page):
    # The first numbers of sfc32 seeded with 1: PractRand's, by other hands.
    draws = [2012149540, 1872316204, 1707632675, 1779833415]
    draws += [2026416846, 1661539736, 2729060721, 4156309426]
    spins = part(page, "picture").evaluate(SPINS)
    assert spins[:8] == [1 if draw >= 2**31 else -1 for draw in draws]
    part(page, "start").select_option("all up")
    assert part(page, "picture").evaluate(SPINS) == [1] * 16


def test_a_run_can_be_repeated_and_means_start_anew_with_the_law(page):
    first = sweep(page, 50)
    assert part(page, "count").inner_text() == "50 sweeps"
    part(page, "reset").click()
    assert part(page, "count").inner_text() == "0 sweeps"
    assert cell(page, "mean", "size") == "–"
    assert np.array_equal(sweep(page, 50), first)
    before = part(page, "picture").evaluate(SPINS)
    part(page, "beta").fill("0.6")
    assert part(page, "count").inner_text() == "0 sweeps"
    assert part(page, "picture").evaluate(SPINS) == before
    part(page, "one").click()
    assert part(page, "count").inner_text() == "1 sweep"
    for name in ("m", "size", "energy"):
        assert cell(page, "mean", name) == cell(page, "now", name)


def test_it_starts_paused_and_works_only_while_it_is_seen(page):
    part(page, "side").scroll_into_view_if_needed()
    page.evaluate(WATCH, False)
    picture = part(page, "picture").evaluate(SPINS)
    page.wait_for_timeout(600)
    assert page.evaluate("[frames, paints]") == [0, 0]
    assert part(page, "count").inner_text() == "0 sweeps"
    assert part(page, "picture").evaluate(SPINS) == picture

    part(page, "play").click()
    page.wait_for_function("paints > 1")
    assert part(page, "status").inner_text() == "Running."

    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    check_rests(page)
    part(page, "side").scroll_into_view_if_needed()
    paints = page.evaluate("paints")
    page.wait_for_function("before => paints > before", arg=paints)

    part(page, "play").click()
    assert part(page, "status").inner_text().startswith("Paused.")
    check_rests(page)


def check_rests(page):
    """After a moment the page asks for no more frames."""
    page.wait_for_timeout(300)
    before = page.evaluate("[frames, paints]")
    page.wait_for_timeout(600)
    assert page.evaluate("[frames, paints]") == before


@pytest.mark.parametrize(("side", "per_second"), [(4, 1000), (64, 100)])
def test_its_pace_is_that_of_the_clock(page, side, per_second):
    part(page, "side").select_option(f"{side} x {side}")
    page.evaluate(WATCH, True)
    for rate in (24, 60, 144):
        part(page, "play").click()
        page.evaluate(f"advance(1 / {rate}, {rate}); paints = 0")
        page.evaluate(f"advance(4, {rate})")
        count = part(page, "count").inner_text().removesuffix(" sweeps")
        sweeps = int(count.replace(",", ""))
        assert sweeps == pytest.approx(4 * per_second, rel=0.06)
        assert 15 <= page.evaluate("paints") <= 20  # 5 a second: no flashes
        part(page, "reset").click()


def test_it_moves_less_for_those_who_ask(page):
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(WATCH, True)
    part(page, "play").click()
    page.evaluate("paints = 0; advance(4.5, 60)")
    assert page.evaluate("paints") == 4


def test_a_stall_is_not_made_up_for(page):
    page.evaluate(WATCH, True)
    part(page, "play").click()
    page.evaluate("advance(1, 1); advance(3600, 1 / 3600)")
    assert part(page, "count").inner_text() == "400 sweeps"


def test_keys_do_all(page):
    page.evaluate(WATCH, True)
    part(page, "side").scroll_into_view_if_needed()
    order = ["beta", "field", "side", "start", "play", "one", "reset"]
    part(page, "beta").focus()
    page.keyboard.press("Shift+Tab")
    for name in order:
        page.keyboard.press("Tab")
        element = part(page, name)
        assert element.evaluate("e => e === document.activeElement"), name
        outline = element.evaluate("e => getComputedStyle(e).outlineStyle")
        assert outline == "solid", f"{name}: focus is not seen"

    part(page, "beta").focus()
    page.keyboard.press("ArrowRight")
    assert part(page, "beta").input_value() == "0.45"
    assert page.locator(".ising-demo [data-value=beta]").inner_text() == "0.45"
    p, m, _ = enumerated(0.45, 0)
    exact = float(cell(page, "exact", "size"))
    assert exact == pytest.approx(p @ abs(m), abs=6e-5)

    part(page, "play").focus()
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        assert part(page, "play").inner_text() == "Pause"
        page.keyboard.press(key)
        assert part(page, "play").inner_text() == "Play"

    part(page, "side").focus()
    page.keyboard.press("ArrowDown")
    assert part(page, "picture").evaluate("canvas => canvas.width") == 32
    part(page, "one").focus()
    page.keyboard.press("Space")
    assert part(page, "count").inner_text() == "1 sweep"


def test_screen_readers_hear_of_changes_and_are_not_flooded(page):
    page.evaluate(WATCH, True)
    page.evaluate("""() => {
      window.heard = [];
      window.labels = 0;
      const status = document.querySelector('.ising-demo [role=status]');
      new MutationObserver(() => heard.push(status.textContent)).observe(
        status, { childList: true });
      new MutationObserver(all => { labels += all.length; }).observe(
        document.querySelector('.ising-demo'),
        { subtree: true, attributeFilter: ['aria-label'] });
    }""")
    part(page, "play").click()
    page.evaluate("labels = 0; advance(10, 60)")
    assert page.evaluate("heard") == ["Running."]
    assert 4 <= page.evaluate("labels") <= 10  # two pictures, every 2 s
    part(page, "play").click()
    said = page.evaluate("heard").pop()
    assert said.startswith("Paused. ")
    assert f"mean |m| {cell(page, 'mean', 'size')}" in said
    assert f"exact {cell(page, 'exact', 'size')}" in said
    assert said.removeprefix("Paused. ") in part(page, "plot").get_attribute(
        "aria-label"
    )
    up = part(page, "picture").evaluate(SPINS).count(1)
    label = part(page, "picture").get_attribute("aria-label")
    assert label == f"4 x 4 spins, {up} of them up"


NAMES = {
    "slider": ["Inverse temperature β", "Field h"],
    "combobox": ["Lattice", "Start"],
    "button": ["Play", "One sweep", "Reset"],
}


def test_every_control_has_a_name_and_room_for_a_finger(page):
    demo = page.locator(".ising-demo")
    page.set_viewport_size(PHONE)
    for role, names in NAMES.items():
        for name in names:
            control = demo.get_by_role(role, name=name, exact=True)
            assert control.count() == 1, name
            box = control.bounding_box()
            assert min(box["width"], box["height"]) >= 24, name
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= PHONE["width"], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(open_page, scheme):
    page = open_page(ENTRY, scheme)
    assert page.locator("html").get_attribute("data-theme") == scheme
    sweep(page, 500)
    check_accessibility(page)
    check_fits_a_phone(page)
    check_accessibility(page)
    assert not page.faults


def test_without_scripts_a_sentence_stands_in_its_place(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{ENTRY}.html")
    assert "live lattice" in page.locator(".ising-demo").inner_text()
    context.close()
