"""Figures of integration draw the numbers that they are given."""

import itertools

import numpy as np
import pytest
from figures import check_figure
from matplotlib.colors import to_rgb

from qbmvae_mini import plotting
from qbmvae_mini.plotting.style import COLOURS

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(300, 2))
TYPES = np.repeat(["beta", "alpha", "delta", "T cell"], [150, 100, 40, 10])
BATCHES = np.resize(["A", "B"], 300)
SCORES = {"QBM-VAE": (0.4, 0.7), "PCA": (0.3, 0.6), "noise": (0.95, 0.02)}
X = [0.1, 1, 4]
CURVES = {"QBM-VAE": [0.4, 0.7, 0.5], "noise": [0.0, 0.01, 0.02]}

NAN = float("nan")
HEAT = {
    "QBM-VAE": {"NMI": (0.95, 0.9, 1.0), "iLISI": (0.02, -0.02, 0.06)},
    "QBM-VAE, permuted batches": {"iLISI": (1.0, 0.98, 1.02)},
    "noise": {"NMI": (0.5, NAN, NAN), "twins": (NAN, NAN, NAN)},
}


def views():
    return plotting.map_by_groups(POINTS, {"type": TYPES, "batch": BATCHES})


def plane():
    return plotting.biology_and_mixing(SCORES)


def curves():
    return plotting.score_curves(X, CURVES, "resolution", "NMI", mark=1)


def heat():
    return plotting.score_heat(HEAT)


FIGURES = {
    "score_heat": heat,
    "map_by_groups": views,
    "biology_and_mixing": plane,
    "score_curves": curves,
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_of_one_style(name):
    check_figure(name, FIGURES[name])


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_maps_draw_each_group_where_its_cells_are():
    left, right = views().axes
    for ax, groups, title in ((left, TYPES, "type"), (right, BATCHES, "batch")):
        assert ax.get_title() == title
        for name, line in lines(ax).items():
            chosen = groups == ("T cell" if name == "1 other" else name)
            assert np.array_equal(line.get_xydata(), POINTS[chosen])
    assert set(lines(left)) == {"beta", "alpha", "delta", "1 other"}
    assert set(lines(right)) == {"A", "B"}


def test_groups_differ_in_colour_and_in_marker():
    drawn = lines(views().axes[0]).values()
    assert len({line.get_color() for line in drawn}) == 4
    assert len({line.get_marker() for line in drawn}) == 4


def test_no_group_of_many_is_lost():
    groups = np.repeat([f"type {i}" for i in range(10)], 30)
    drawn = lines(plotting.map_by_groups(POINTS, {"types": groups}).axes[0])
    assert len(drawn) == len(COLOURS) + 1
    assert "3 others" in drawn
    assert sum(len(line.get_xydata()) for line in drawn.values()) == 300


def test_the_plane_has_mixing_across_and_biology_up():
    figure = plane()
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mixing", "biology")
    for name, line in lines(ax).items():
        assert tuple(line.get_xydata()[0]) == SCORES[name]
    markers = {line.get_marker() for line in ax.get_lines()}
    assert len(markers) == len(SCORES)
    assert [t.get_text() for t in figure.legends[0].texts] == list(SCORES)
    ax = plotting.biology_and_mixing(SCORES, ("iLISI", "NMI")).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("iLISI", "NMI")


def test_curves_draw_their_values_and_the_mark():
    figure = curves()
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("resolution", "NMI")
    drawn = lines(ax)
    for name, values in CURVES.items():
        assert np.array_equal(drawn[name].get_xydata(), np.c_[X, values])
    assert len({drawn[name].get_linestyle() for name in CURVES}) == 2
    mark = [line for name, line in drawn.items() if name not in CURVES]
    assert list(mark[0].get_xdata()) == [1, 1]
    unmarked = plotting.score_curves(X, CURVES, "resolution", "NMI").axes[0]
    assert set(lines(unmarked)) == set(CURVES)


def test_the_heat_map_has_a_row_a_model_and_a_column_a_score():
    (ax,) = heat().axes
    assert [t.get_text() for t in ax.get_yticklabels()] == list(HEAT)
    columns = [t.get_text() for t in ax.get_xticklabels()]
    assert columns == ["NMI", "iLISI", "twins"]
    (image,) = ax.images
    assert image.get_clim() == (0, 1)
    found = np.ma.filled(image.get_array().astype(float), np.nan)
    expected = [[0.95, 0.02, NAN], [NAN, 1.0, NAN], [0.5, NAN, NAN]]
    assert np.array_equal(found, expected, equal_nan=True)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {
        (0, 0): ".95\n±.05",
        (1, 0): ".02\n±.04",
        (1, 1): "1.00\n±.02",
        (0, 2): ".50",
    }


def test_numbers_stand_out_from_their_shade():
    (ax,) = heat().axes
    (image,) = ax.images
    for text in ax.texts:
        column, row = text.get_position()
        shade = image.cmap(image.norm(image.get_array()[row, column]))[:3]
        light, dark = sorted(map(luminance, (shade, text.get_color())))[::-1]
        assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG AA


def luminance(colour):
    """Relative luminance of sRGB, as WCAG has it."""
    values = np.array(to_rgb(colour))
    low = values <= 0.03928
    linear = np.where(low, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_nine_scores_fit_side_by_side():
    names = ["NMI", "ARI", "cLISI", "silhouette", "iLISI", "kBET"]
    names += ["kBET per label", "connectivity", "twins"]
    rows = dict.fromkeys(names, (0.88, 0.83, 0.93))
    figure = plotting.score_heat({"QBM-VAE 32+32": rows, "PCA": rows})
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.texts[:9]]
    for left, right in itertools.pairwise(boxes):
        assert left.x1 < right.x0
    assert boxes[0].y0 > ax.texts[9].get_window_extent().y1
