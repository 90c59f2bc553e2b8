"""Figures of the chapter on counts show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure
from scipy import stats

from qbmvae_mini import plotting

TYPES = np.array(["beta"] * 60 + ["alpha"] * 3 + ["t"] * 2)
N = len(TYPES)
RNG = np.random.default_rng(0)
DEPTH = np.geomspace(100, 10_000, N)
BATCH = np.where(np.arange(N) % 2, "lib1", "lib2")
TABLE = pd.DataFrame(
    [[0.0, 1.0], [0.5, 0.25]], index=["beta", "alpha"], columns=["INS", "GCG"]
)
MEAN = np.array([0.1, 1.0, 10.0])
RATES = RNG.gamma(2, 1.5, size=2000)
COUNTS = RNG.poisson(RATES)
UMIS = np.array([0, 5] + [100] * (N - 2))
MAKERS = UMIS == 100

FIGURES = {
    "heat_by_type": lambda: plotting.heat_by_type(TABLE, "mean"),
    "census": lambda: plotting.census(TYPES, DEPTH, BATCH),
    "rates_and_counts": lambda: plotting.rates_and_counts(RATES, COUNTS, 3, 2),
    "mean_and_variance": lambda: plotting.mean_and_variance(MEAN, 2 * MEAN, 5),
    "zeros": lambda: plotting.zeros(
        [0.9, 0.4, 0.0], {"Poisson": [0.8, 0.3, 0.0], "other": [0.9, 0.4, 0]}
    ),
    "nats_by_mean": lambda: plotting.nats_by_mean(
        MEAN, {"logs": [0.3, 0.1, 0.0], "counts": [0.0, 0.1, -0.2]}
    ),
    "log_changes": lambda: plotting.log_changes(
        [300, 3000], {"1 in 10": [0.5, 0.7], "1 in 100": [0.1, 0.2]}, 0.69
    ),
    "leak": lambda: plotting.leak(DEPTH, UMIS, MAKERS),
}


def drawn(ax):
    """Label of each line -> its height at each point."""
    return {line.get_label(): line.get_ydata() for line in ax.lines}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_heat_shows_the_table_and_its_names():
    ax = FIGURES["heat_by_type"]().axes[0]
    assert np.array_equal(ax.images[0].get_array(), TABLE)
    assert ticks(ax.yaxis) == ["beta", "alpha"]
    assert ticks(ax.xaxis) == ["INS", "GCG"]


def test_census_counts_every_cell_once():
    left, right = FIGURES["census"]().axes
    assert [bar.get_width() for bar in left.patches] == [2, 3, 60]
    assert ticks(left.yaxis) == ["t", "alpha", "beta"]
    outlines = right.patches  # one closed outline a library
    assert [patch.get_label() for patch in outlines] == ["lib1", "lib2"]
    heights = [patch.get_xy()[1:-1:2, 1].sum() for patch in outlines]
    assert heights == [(BATCH == "lib1").sum(), (BATCH == "lib2").sum()]


def test_counts_are_drawn_beside_both_laws():
    left, right = FIGURES["rates_and_counts"]().axes
    (density,) = left.lines
    best = density.get_xdata()[np.argmax(density.get_ydata())]
    assert abs(best - 1.5) < 0.1  # the mode of this Gamma law, m (r - 1) / r
    x = np.arange(len(right.patches))
    seen = [(k == COUNTS).mean() for k in x]
    assert np.allclose([bar.get_height() for bar in right.patches], seen)
    laws = drawn(right)
    assert np.allclose(laws["neg. binomial"], stats.nbinom.pmf(x, 2, 0.4))
    assert np.allclose(laws["Poisson"], stats.poisson.pmf(x, 3))


def test_variance_is_drawn_beside_both_laws():
    (ax,) = FIGURES["mean_and_variance"]().axes
    genes, negative, poisson = ax.lines
    assert np.array_equal(genes.get_xydata().T, [MEAN, 2 * MEAN])
    ends = negative.get_xdata()[[0, -1]]
    assert np.allclose(ends, [0.1, 10])
    assert np.allclose(negative.get_ydata()[[0, -1]], ends + ends**2 / 5)
    assert "r = 5" in negative.get_label()
    assert np.allclose(poisson.get_xdata(), poisson.get_ydata())


def test_zeros_seen_stand_over_zeros_expected():
    axes = FIGURES["zeros"]().axes
    assert [ax.get_title() for ax in axes] == ["Poisson", "other"]
    for ax, expected in zip(axes, [[0.8, 0.3, 0], [0.9, 0.4, 0]], strict=True):
        dots = ax.lines[1]
        assert list(dots.get_xdata()) == expected
        assert list(dots.get_ydata()) == [0.9, 0.4, 0]


def test_nats_are_drawn_at_the_mean_of_each_gene():
    logs, counts = FIGURES["nats_by_mean"]().axes
    assert logs.get_title() == "logs"
    assert list(logs.lines[1].get_xdata()) == list(MEAN)
    assert list(logs.lines[1].get_ydata()) == [0.3, 0.1, 0]
    assert list(counts.lines[1].get_ydata()) == [0, 0.1, -0.2]


def test_changes_are_drawn_beside_the_truth():
    (ax,) = FIGURES["log_changes"]().axes
    assert set(ax.lines[0].get_ydata()) == {0.69}
    assert list(drawn(ax)["1 in 10"]) == [0.5, 0.7]
    assert list(drawn(ax)["1 in 100"]) == [0.1, 0.2]
    assert ax.get_ylim()[0] == 0


def test_a_leak_shows_cells_without_the_gene():
    (ax,) = FIGURES["leak"]().axes
    heights = drawn(ax)
    assert list(heights["other cells"]) == [0.5, 5]
    assert len(heights["cells that make it"]) == N - 2


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
