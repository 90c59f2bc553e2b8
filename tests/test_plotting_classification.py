"""Figures of the chapter on classification show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure
from scipy import stats

from qbmvae_mini import plotting

COUNTS = pd.Series({"alpha": 3, "beta": 60, "mast": 2})
SCORES = pd.DataFrame(
    {"QBM-VAE": [0.5, 0.9, 0.0], "Gaussian": [0.6, 0.8, 1.0]},
    index=["alpha", "beta", "mast"],
)
INTERVALS = pd.DataFrame(
    {"low": [0.1, 0.8, 0.0], "high": [0.7, 0.95, 0.9]}, index=SCORES.index
)
BUDGETS = [1, 5, 20]
CURVES = {
    "pancreas": {
        "QBM-VAE": [[0.1, 0.3], [0.4, 0.6], [0.8, 0.8]],
        "PCA": [[0.2, 0.2], [0.3, 0.3], [0.4, 0.6]],
    },
    "immune": {
        "QBM-VAE": [[0.0, 0.1], [0.2, 0.2], [0.3, 0.5]],
        "PCA": [[0.1, 0.1], [0.1, 0.1], [0.1, 0.1]],
    },
}
CONFIDENCE = np.array([0.95, 0.99, 1.0, 0.35, 0.4])
RIGHT = np.array([True, False, True, False, True])
SURE = {"plain": (CONFIDENCE, RIGHT), "sure": (np.ones(5), RIGHT)}
GROUPS = {
    "pancreas": {"scVI": (0.01, -0.01, 0.03), "PCA": (-0.05, -0.1, 0.0)},
    "immune": {"PCA": (0.02, 0.01, 0.03)},
}
LEAKS = pd.DataFrame(
    {"honest": [0.3, 0.2], "leaked": [0.9, 0.8]}, index=["copies", "labels"]
)

FIGURES = {
    "probe_parts": plotting.probe_parts,
    "f1_by_type": lambda: plotting.f1_by_type(SCORES, COUNTS, INTERVALS),
    "few_label_curves": lambda: plotting.few_label_curves(CURVES, BUDGETS),
    "reliability": lambda: plotting.reliability(SURE),
    "score_margins": lambda: plotting.score_margins(GROUPS),
    "inflated_scores": lambda: plotting.inflated_scores(LEAKS),
}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_the_picture_names_its_parts():
    (ax,) = plotting.probe_parts().axes
    said = " ".join(text.get_text() for text in ax.texts)
    for part in ("training", "held-out", "encoder", "probe", "labels", "score"):
        assert part in said


def test_types_are_ordered_by_size_with_their_intervals():
    (ax,) = FIGURES["f1_by_type"]().axes
    assert ticks(ax.yaxis) == ["mast (2)", "alpha (3)", "beta (60)"]
    qbm, gauss = ax.lines
    assert list(qbm.get_xdata()) == [0.0, 0.5, 0.9]
    assert list(gauss.get_xdata()) == [1.0, 0.6, 0.8]
    assert qbm.get_marker() != gauss.get_marker()
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert np.allclose(ends, INTERVALS.loc[["mast", "alpha", "beta"]])


def test_the_key_says_whose_intervals_the_bars_are():
    figure = plotting.f1_by_type(SCORES, COUNTS, INTERVALS, "95% of QBM-VAE")
    (names,) = figure.legends
    said = [text.get_text() for text in names.get_texts()]
    assert sorted(said) == ["95% of QBM-VAE", "Gaussian", "QBM-VAE"]


def test_types_without_intervals():
    (ax,) = plotting.f1_by_type(SCORES, COUNTS).axes
    assert not ax.patches
    assert len(ax.lines) == 2


def test_curves_are_means_from_lowest_to_highest():
    figure = FIGURES["few_label_curves"]()
    assert [ax.get_title() for ax in figure.axes] == ["pancreas", "immune"]
    for ax, models in zip(figure.axes, CURVES.values(), strict=True):
        assert ticks(ax.xaxis) == ["1", "5", "20"]
        for drawn, scores in zip(ax.containers, models.values(), strict=True):
            line, _, (bars,) = drawn.lines
            assert np.allclose(line.get_ydata(), np.mean(scores, axis=1))
            ends = [bar[:, 1] for bar in bars.get_segments()]
            lowest, highest = np.min(scores, axis=1), np.max(scores, axis=1)
            assert np.allclose(ends, np.transpose([lowest, highest]))
            assert np.allclose(line.get_xdata(), BUDGETS, rtol=0.1)
        dashes = {c.lines[0].get_linestyle() for c in ax.containers}
        assert len(dashes) == 2


def test_reliability_puts_each_cell_in_its_bin():
    figure = FIGURES["reliability"]()
    above, _, below, _ = figure.axes
    diagonal, *drawn = above.lines
    assert diagonal.get_slope() == 1
    # (0.3, 0.4] holds 0.35 and 0.4; (0.9, 1] the other three.
    points = [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in drawn[1::2]
    ]
    assert np.allclose(points, [(0.375, 0.5), (0.98, 2 / 3)])
    for line, (k, n) in zip(drawn[::2], [(1, 2), (2, 3)], strict=True):
        # The exact interval by the quantiles of beta laws.
        low = stats.beta.ppf(0.025, k, n - k + 1)
        high = stats.beta.ppf(0.975, k + 1, n - k)
        assert np.allclose(line.get_ydata(), [low, high])
    heights = [bar.get_height() for bar in below.patches]
    assert heights == [0, 0, 0, 2, 0, 0, 0, 0, 0, 3]


def test_margins_have_a_row_a_rival_and_a_panel_a_set():
    left, right = FIGURES["score_margins"]().axes
    assert [left.get_title(), right.get_title()] == ["pancreas", "immune"]
    assert ticks(left.yaxis) == ["scVI", "PCA"]
    zero, margin, *drawn = left.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(margin.get_xdata()) == [-0.02, -0.02]
    for i, (mean, lower, upper) in enumerate(GROUPS["pancreas"].values()):
        interval, middle = drawn[2 * i : 2 * i + 2]
        assert list(interval.get_xdata()) == [lower, upper]
        assert (*middle.get_xdata(), *middle.get_ydata()) == (mean, i)
    assert list(right.lines[3].get_ydata()) == [1]  # its only row is PCA
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first row on top


def test_a_floor_out_of_reach_is_written_at_its_edge():
    groups = {"twins": {"PCA": (0.01, 0, 0.02), "noise": (0.42, 0.4, 0.44)}}
    (ax,) = plotting.score_margins(groups, reach=0.1).axes
    assert ticks(ax.yaxis) == ["PCA", "noise"]
    assert len(ax.lines) == 4  # two marks, and the interval of PCA
    (text,) = ax.texts
    assert text.get_text().startswith("0.42")
    assert text.get_position() == (1, 1)  # right edge, second row
    assert ax.get_xlim()[1] < 0.1
    (ax,) = plotting.score_margins(groups, reach=0.5).axes
    assert not ax.texts


def test_leaks_are_joined_to_the_honest_score():
    (ax,) = FIGURES["inflated_scores"]().axes
    first, second, honest, leaked = ax.lines
    assert list(first.get_xdata()) == [0.3, 0.9]
    assert list(second.get_xdata()) == [0.2, 0.8]
    assert list(honest.get_xdata()) == [0.3, 0.2]
    assert list(leaked.get_xdata()) == [0.9, 0.8]
    assert ticks(ax.yaxis) == ["copies", "labels"]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
