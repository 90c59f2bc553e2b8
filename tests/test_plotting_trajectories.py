"""Figures of the chapter on trajectories show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure

from qbmvae_mini import plotting

N = 30
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(N, 2))
TIME = np.linspace(0, 1, N)
BRANCH = np.where(TIME < 0.5, "trunk", np.where(np.arange(N) % 2, "a", "b"))
LATE = np.where(TIME > 0.9, np.inf, TIME)
PLACES = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]])
WEIGHTS = np.array([[0, 1, 0], [1, 0, 0.5], [0, 0.5, 0]])
KENDALLS = {"pseudotime": 0.9, "energy": -0.6, "depth": 0.05}
TABLE = pd.DataFrame(
    {
        "model": ["A", "A", "B", "B", "C"],
        "kendall": [0.9, 0.7, 0.1, 0.3, -5.0],
    }
)

FIGURES = {
    "ordered_map": lambda: plotting.ordered_map(POINTS, TIME, BRANCH),
    "graph_times": lambda: plotting.graph_times(
        PLACES, WEIGHTS, np.array([0.0, 0.4, 1.0])
    ),
    "against_truth": lambda: plotting.against_truth(
        TIME, {"all": 2 * TIME, "some": LATE}, BRANCH, "time", "pseudotime"
    ),
    "energy_and_nulls": lambda: plotting.energy_and_nulls(
        KENDALLS, np.array([-0.3, 0.1, 0.3])
    ),
    "order_scores": lambda: plotting.order_scores(
        TABLE, ["A", "B"], "kendall", {"depth": 0.55, "genes": 0.6}
    ),
}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def drawn(ax):
    """Label -> points of each group of dots."""
    return {line.get_label(): line.get_xydata() for line in ax.lines}


def test_map_shows_every_cell_by_branch_and_by_time():
    left, right, *_ = FIGURES["ordered_map"]().axes
    groups = drawn(left)
    assert list(groups) == ["a", "b", "trunk"]
    for name, points in groups.items():
        assert np.array_equal(points, POINTS[name == BRANCH])
    assert len({line.get_marker() for line in left.lines}) == 3
    assert np.array_equal(right.collections[0].get_array(), TIME)
    assert np.array_equal(right.collections[0].get_offsets(), POINTS)


def test_graph_shows_edges_and_times():
    (ax,) = FIGURES["graph_times"]().axes
    edges = [line.get_xydata().tolist() for line in ax.lines]
    assert edges == [PLACES[[0, 1]].tolist(), PLACES[[1, 2]].tolist()]
    words = [text.get_text() for text in ax.texts]
    assert words == ["0", "0.00", "1", "0.40", "2", "1.00"]


def test_panels_leave_out_what_is_infinite():
    everyone, some = FIGURES["against_truth"]().axes
    for name, points in drawn(everyone).items():
        mine = name == BRANCH
        expected = np.column_stack([TIME, 2 * TIME])[mine]
        assert np.array_equal(points, expected)
    shown = np.concatenate([line.get_xydata() for line in some.lines])
    assert len(shown) == np.isfinite(LATE).sum() < N
    assert some.get_title() == "some"
    assert everyone.get_ylabel() == "pseudotime"


def test_one_group_needs_no_key():
    alone = plotting.against_truth(TIME, {"x": TIME}, ["one"] * N, "t", "y")
    assert not alone.legends
    assert FIGURES["against_truth"]().legends


def test_taus_stand_beside_their_names_and_the_nulls():
    (ax,) = FIGURES["energy_and_nulls"]().axes
    _, taus, nulls = ax.lines
    assert list(taus.get_xdata()) == list(KENDALLS.values())
    by_row = dict(zip(ax.get_yticks(), ticks(ax.yaxis), strict=True))
    names = [by_row[row] for row in taus.get_ydata()]
    assert names == list(KENDALLS)
    assert list(nulls.get_xdata()) == [-0.3, 0.1, 0.3]
    assert {by_row[row] for row in nulls.get_ydata()} == {"energy, shuffled"}


def test_scores_of_the_models_asked_for_and_their_means():
    figure = FIGURES["order_scores"]()
    (ax,) = figure.axes
    by_row = dict(zip(ax.get_yticks(), ticks(ax.yaxis), strict=True))
    assert list(by_row.values()) == ["A", "B"]
    first, first_mean, second, second_mean, *nulls = ax.lines
    assert list(first.get_xdata()) == [0.9, 0.7]
    assert list(second.get_xdata()) == [0.1, 0.3]
    assert first_mean.get_xdata()[0] == pytest.approx(0.8)
    assert second_mean.get_xdata()[0] == pytest.approx(0.2)
    assert {by_row[row] for row in first.get_ydata()} == {"A"}
    drawn = {null.get_label(): null.get_xdata()[0] for null in nulls}
    assert drawn == {"depth": 0.55, "genes": 0.6}
    assert len({null.get_linestyle() for null in nulls}) == 2
    (names,) = figure.legends
    assert [text.get_text() for text in names.get_texts()] == list(drawn)


def test_without_nulls_there_is_no_key():
    assert not plotting.order_scores(TABLE, ["A"], "kendall").legends


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
