"""Figures of the chapter on the Boltzmann prior show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure

from qbmvae_mini import plotting, results

EXACT = np.array([0.1, -0.2, 0.3])
DRAWS = np.array([4, 16, 64])
ERRORS = np.array([[0.4, 0.6], [0.2, 0.3], [0.1, 0.15]])
GROUPS = {
    "Couplings: Boltzmann minus Bernoulli": {
        "pancreas": (1.0, 0.5, 1.5),
        "marrow": (-1.0, -2.5, 0.5),
    },
    "Sampler: neal minus Gibbs": {"pbmc68k": (0.1, -0.2, 0.4)},
}
SPLITS = {
    title: {label: [row[1], row[0], row[2]] for label, row in rows.items()}
    for title, rows in GROUPS.items()
}
CURVES = {
    "loss": {"right sign": [3, 2, 1], "wrong sign": [3, 0, -9]},
    "log Z": {"right sign": [1, 1, 1], "wrong sign": [1, 5, 9]},
}
CARRIERS = pd.Series({"B cell": 0.9, "T cell": 0.1})
CHANGES = pd.Series({"CD79A": 1.5, "MS4A1": 0.5, "CD3D": -0.7})
TABLE = pd.DataFrame(
    [
        (dataset, model, split, float(score), -float(score))
        for dataset, model, scores in [
            ("pancreas", "new", [3, 5]),
            ("pancreas", "old", [1, 2]),
            ("marrow", "new", [0, 1]),
            ("pbmc68k", "new", [7, 9, 8]),
            ("pbmc68k", "old", [8, 9]),
        ]
        for split, score in enumerate(scores)
    ],
    columns=["dataset", "model", "split", "log_likelihood_1000", "elbo"],
)
PAIRS = {"new minus old": ("new", "old"), "old minus new": ("old", "new")}

FIGURES = {
    "qbm_vae": plotting.qbm_vae,
    "sampled_gradient": lambda: plotting.sampled_gradient(
        EXACT, EXACT + 0.1, EXACT, DRAWS, ERRORS
    ),
    "paired_differences": lambda: plotting.paired_differences(GROUPS, SPLITS),
    "followed": lambda: plotting.followed([0, 10, 20], CURVES),
    "model_differences": lambda: plotting.model_differences(TABLE, PAIRS),
    "minus_rivals": lambda: plotting.minus_rivals(
        TWO_RIVALS, "ours", ["a", "b"]
    ),
    "gain_curves": lambda: plotting.gain_curves(GAINS, "gain, nats"),
    "coupled_pair": lambda: plotting.coupled_pair(CARRIERS, CHANGES),
}


def test_the_picture_names_its_parts():
    (ax,) = plotting.qbm_vae().axes
    said = " ".join(text.get_text() for text in ax.texts)
    for part in ("encoder", "decoder", "prior", "sampler", "negative phase"):
        assert part in said


def test_gradients_are_drawn_against_the_exact_one():
    left, right = FIGURES["sampled_gradient"]().axes
    few, many = left.lines[1:]
    assert few.get_xdata() == pytest.approx(EXACT)
    assert few.get_ydata() == pytest.approx(EXACT + 0.1)
    assert many.get_ydata() == pytest.approx(EXACT)
    each, mean, law = right.lines
    assert each.get_ydata() == pytest.approx(ERRORS.ravel())
    assert mean.get_ydata() == pytest.approx([0.5, 0.25, 0.125])
    # Sixteen times the draws, a quarter of the error.
    assert law.get_ydata() == pytest.approx([0.5, 0.25, 0.125])


def test_each_difference_has_its_row():
    (ax,) = FIGURES["paired_differences"]().axes
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["pancreas", "marrow", "pbmc68k"]
    assert [t.get_text() for t in ax.texts] == list(GROUPS)
    rows = [row for rows in GROUPS.values() for row in rows.values()]
    drawn = ax.lines[1:]  # the first is the line at zero
    for i, (mean, lower, upper) in enumerate(rows):
        interval, middle, splits = drawn[3 * i : 3 * i + 3]
        assert list(interval.get_xdata()) == [lower, upper]
        assert list(middle.get_xdata()) == [mean]
        assert list(splits.get_xdata()) == [lower, mean, upper]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row on top


def test_differences_without_splits():
    (ax,) = plotting.paired_differences(GROUPS).axes
    assert sum(len(line.get_xdata()) for line in ax.lines) == 2 + 3 * 3


def test_differences_are_taken_split_by_split_where_both_models_are():
    (ax,) = FIGURES["model_differences"]().axes
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["pancreas", "pbmc68k"] * 2  # marrow has no old one
    drawn = [list(line.get_xdata()) for line in ax.lines[1:]]
    assert drawn[1:3] == [[2.5], [2.0, 3.0]]
    assert drawn[4:6] == [[-0.5], [-1.0, 0.0]]  # the third split has one model
    assert drawn[7:9] == [[-2.5], [-2.0, -3.0]]
    found = results.paired_interval(TABLE, "pancreas", "new", "old")
    assert drawn[0] == pytest.approx(found[1:])


def test_differences_of_another_score():
    (ax,) = plotting.model_differences(TABLE, PAIRS, "elbo").axes
    assert list(ax.lines[2].get_xdata()) == [-2.5]


def everywhere(scores):
    """A table with these scores of each model on every bundled set."""
    rows = [
        (name, model, split, score)
        for name in results.DATASETS
        for model, each in scores.items()
        for split, score in enumerate(each)
    ]
    columns = ["dataset", "model", "split", "log_likelihood_1000"]
    return pd.DataFrame(rows, columns=columns)


TWO_RIVALS = everywhere({"ours": [3.0, 5], "a": [1.0, 2], "b": [4.0, 7]})


def test_a_panel_shows_the_intervals_against_all_rivals_of_a_set():
    figure = FIGURES["minus_rivals"]()
    assert [ax.get_title() for ax in figure.axes] == [*results.DATASETS]
    for ax in figure.axes:
        for name, rival in zip(results.DATASETS, "ab", strict=False):
            found = results.paired_interval(TWO_RIVALS, name, "ours", rival)
            drawn = [list(line.get_xdata()) for line in ax.lines]
            assert any(x == pytest.approx(found[1:]) for x in drawn if x)
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert [line.get_xdata()[0] for line in dashed] == [-0.5]


GAINS = {
    "mixture": {100: (1.0, 0.5, 1.5), 1000: (2.0, 1.5, 2.5)},
    "Boltzmann": {100: (0.0, -0.5, 0.5), 1000: (1.0, 0.5, 1.5)},
}


def test_gains_stand_at_their_numbers_of_cells_with_their_ends():
    (ax,) = FIGURES["gain_curves"]().axes
    assert ax.get_xscale() == "log"
    for container, found in zip(ax.containers, GAINS.values(), strict=True):
        line, _, (bars,) = container
        assert line.get_xdata() == pytest.approx([*found], rel=0.1)
        assert list(line.get_ydata()) == [mean for mean, _, _ in found.values()]
        ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
        assert ends == [[lower, upper] for _, lower, upper in found.values()]


def test_a_pair_shows_its_carriers_and_its_genes():
    above, below = FIGURES["coupled_pair"]().axes
    assert [bar.get_width() for bar in above.patches] == list(CARRIERS)
    for ax, numbers in [(above, CARRIERS), (below, CHANGES)]:
        names = [t.get_text() for t in ax.get_yticklabels()]
        assert names == list(numbers.index)
        assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row on top
    up, down, _ = below.lines
    assert [*up.get_xdata(), *down.get_xdata()] == list(CHANGES)
    assert [*up.get_ydata(), *down.get_ydata()] == [0, 1, 2]
    assert up.get_marker() != down.get_marker()


def test_each_number_has_its_panel():
    figure = FIGURES["followed"]()
    for ax, (title, runs) in zip(figure.axes, CURVES.items(), strict=True):
        assert ax.get_title(loc="left") == title
        for line, (name, numbers) in zip(ax.lines, runs.items(), strict=True):
            assert line.get_label() == name
            assert list(line.get_ydata()) == numbers
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
