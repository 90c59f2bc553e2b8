"""Figures of the chapter on sampling show what they were given."""

import numpy as np
import pytest
from figures import check_figure

from qbmvae_mini.plotting import sampling

PATH = [0, 2, 3, 3, 1, 3]
LABELS = ["00", "01", "10", "11"]
P = [0.1, 0.05, 0.25, 0.6]
SWEEPS = np.array([0, 1, 2, 5])
EXACT = {"Metropolis": [0.9, 0.5, 0.2, 0.05], "Gibbs": [0.9, 0.4, 0.3, 0.2]}
DRAWN = {"Gibbs": ([1, 5], [0.41, 0.22])}
TRACES = {
    "energy": np.array([1.0, 2, 0, 1]),
    "balance": np.array([5.0, 4, 4, 5]),
}
FALL = {"energy": 0.3 ** np.arange(40), "balance": 0.9 ** np.arange(40)}
CURVES = {"beta 1": [-1.0, -0.5, -0.7], "beta 2": [-1.0, -0.6, -0.2]}
BEST = {"beta 1": (1.1, -0.45), "beta 2": (2.0, -0.2)}
RUNS = {"one mode": np.zeros((3, 5)), "both": np.arange(10.0).reshape(2, 5)}
RACE = {
    "Gibbs": ([0.1, 0.5], [-10.0, -12], [1.0, 1]),
    "tempering": ([0.2, 0.4], [-15.0, -20], [0.5, 0.5]),
}

FIGURES = {
    "walk": lambda: sampling.walk(PATH, LABELS, P, shown=4),
    "approach": lambda: sampling.approach(SWEEPS, EXACT, DRAWN, (0.1, 0.01)),
    "memory": lambda: sampling.memory(TRACES, FALL, FALL),
    "drawn_energies": lambda: sampling.drawn_energies(
        [-1, 0, 2], [0.5, 0.3, 0.2], {"a": [1, 0, 0], "b": [0.4, 0.4, 0.2]}
    ),
    "pseudolikelihood": lambda: sampling.pseudolikelihood(
        [0, 1, 2], CURVES, BEST
    ),
    "chain_energies": lambda: sampling.chain_energies(RUNS, 2.5),
    "race": lambda: sampling.race(RACE, (-20.0, 0.25)),
}


def test_the_walk_and_its_visits():
    left, right = FIGURES["walk"]().axes
    (line,) = left.lines
    assert list(line.get_ydata()) == PATH[:4]
    assert [bar.get_width() for bar in right.patches] == pytest.approx(
        [1 / 6, 1 / 6, 1 / 6, 3 / 6]
    )
    assert list(right.lines[0].get_xdata()) == P
    assert [t.get_text() for t in left.get_yticklabels()] == LABELS
    assert right.get_title() == "5 steps"


def test_the_approach_has_lines_dots_and_a_floor():
    (ax,) = FIGURES["approach"]().axes
    metropolis, gibbs, dots = ax.lines
    assert list(metropolis.get_ydata()) == EXACT["Metropolis"]
    assert list(gibbs.get_ydata()) == EXACT["Gibbs"]
    assert list(dots.get_xdata()) == [1, 5]
    assert list(dots.get_ydata()) == [0.41, 0.22]
    assert dots.get_color() == gibbs.get_color()
    assert metropolis.get_linestyle() != gibbs.get_linestyle()
    (band,) = ax.patches
    assert band.get_y() == pytest.approx(0.08)
    assert band.get_height() == pytest.approx(0.04)


def test_memory_shows_chains_and_their_autocorrelation():
    figure = FIGURES["memory"]()
    for ax, (name, values) in zip(figure.axes, TRACES.items(), strict=False):
        assert ax.get_title(loc="left").startswith(name)
        assert list(ax.lines[0].get_ydata()) == list(values)
    lines = figure.axes[-1].lines
    assert lines[0].get_ydata() == pytest.approx(FALL["energy"])
    assert lines[2].get_ydata() == pytest.approx(FALL["balance"])
    lags = lines[3].get_xdata()
    assert lines[3].get_ydata() == pytest.approx(FALL["balance"][lags])
    # the first lags one by one, then some, to the last
    assert list(lags[:4]) == [0, 1, 2, 3]
    assert lags[-1] == 39
    assert len(lags) < 20


def test_energies_of_draws_stand_beside_the_law():
    (ax,) = FIGURES["drawn_energies"]().axes
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.3, 0.2]
    assert [list(line.get_ydata()) for line in ax.lines] == [
        [1, 0, 0],
        [0.4, 0.4, 0.2],
    ]
    assert len({line.get_marker() for line in ax.lines}) == 2


def test_the_best_beta_is_marked_on_each_curve():
    (ax,) = FIGURES["pseudolikelihood"]().axes
    for k, name in enumerate(CURVES):
        curve, dot = ax.lines[2 * k : 2 * k + 2]
        assert list(curve.get_ydata()) == CURVES[name]
        assert (*dot.get_xdata(), *dot.get_ydata()) == BEST[name]


def test_each_chain_has_a_line_and_each_run_a_panel():
    axes = FIGURES["chain_energies"]().axes
    for ax, (title, energy) in zip(axes, RUNS.items(), strict=True):
        assert ax.get_title(loc="left") == title
        *chains, exact = ax.lines
        drawn = [line.get_ydata() for line in chains]
        assert np.array_equal(drawn, energy)
        assert set(exact.get_ydata()) == {2.5}


def test_the_race_is_run_against_processor_time():
    figure = FIGURES["race"]()
    (ax,) = figure.axes
    for line, (seconds, energy, _) in zip(ax.lines, RACE.values(), strict=True):
        assert list(line.get_xdata()) == seconds
        assert list(line.get_ydata()) == energy
    (band,) = ax.patches
    assert (band.get_y(), band.get_height()) == (-20.5, 1.0)
    (legend,) = figure.legends
    names = [t.get_text() for t in legend.get_texts()]
    assert names == ["long run", "Gibbs", "tempering"]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
