"""Figures of the chapter on variational autoencoders show what they got."""

import numpy as np
import pytest
import torch
from figures import check_figure

from qbmvae_mini import plotting

MEAN = [-1.0, 0.0, 1.0]
ELBO = {"narrow": torch.tensor([-3.0, -2.5, -2.1]), "wide": [-4, -3.5, -3]}
GRADIENTS = {
    "score": torch.linspace(-50, 54, 500),
    "pathwise": np.linspace(1, 3, 500),
}
POINTS = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-2.0, 0.5], [0.2, 0.1]])
CODES = POINTS / 2
GROUP = torch.tensor([0, 1, 1, 2])
GRID = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]], [[0.0, -1.0], [0.0, 1.0]]])
CLOUDS = {"data": POINTS, "made": -POINTS}
FAR = {
    "data": torch.zeros(4, dtype=torch.bool),
    "made": np.array([True, False, True, False]),
}
DRAWS = [1, 10, 100]
VALUES = [-3.0, -2.2, -2.02]
LEVELS = {"exact": -2.0, "best": -2.6, "encoder": -3.0}
LOSS = torch.tensor([20.0, 14.0, 12.0, 11.0])
TYPES = ["B", "T", "T", "NK"]
PRICES = {"warm": torch.tensor([3.0, 1.0, 2.0]), "cold": [0.5, 0.02, 0.0001]}

FIGURES = {
    "vae_parts": plotting.vae_parts,
    "bound": lambda: plotting.bound(MEAN, ELBO, -2.0),
    "gradient_draws": lambda: plotting.gradient_draws(GRADIENTS, 2.0),
    "code_and_data": lambda: plotting.code_and_data(
        CODES, POINTS, GROUP, GRID, 2 * GRID
    ),
    "clouds": lambda: plotting.clouds(CLOUDS, FAR),
    "bounds": lambda: plotting.bounds(DRAWS, VALUES, LEVELS),
    "training_curve": lambda: plotting.training_curve(
        LOSS, [2, 4], torch.tensor([-16.0, -13.0]), warmup=2
    ),
    "map_by_type": lambda: plotting.map_by_type(POINTS, TYPES, least=2),
    "code_prices": lambda: plotting.code_prices([1, 2, 3], PRICES),
}


def drawn(line):
    """Coordinates of a line or of markers, shape (n, 2)."""
    return np.stack(line.get_data(), 1)


def told_apart(lines):
    """Whether lines or markers differ in more than their colour."""
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    return len(looks) == len(lines)


def test_the_picture_names_its_parts():
    (ax,) = FIGURES["vae_parts"]().axes
    said = " ".join(text.get_text() for text in ax.texts)
    for part in ("encoder", "noise", r"\mu + \sigma", "decoder", "KL", "fit"):
        assert part in said


def test_every_elbo_has_its_curve_below_the_line():
    (ax,) = FIGURES["bound"]().axes
    line, *curves = ax.lines
    assert list(line.get_ydata()) == [-2.0, -2.0]
    for curve, (name, values) in zip(curves, ELBO.items(), strict=True):
        assert curve.get_label() == name
        assert curve.get_ydata() == pytest.approx(np.asarray(values))
        assert list(curve.get_xdata()) == MEAN
    assert told_apart(curves)


def test_each_estimator_has_its_histogram_on_one_axis():
    axes = FIGURES["gradient_draws"]().axes
    assert [ax.get_title(loc="left") for ax in axes] == list(GRADIENTS)
    assert len({ax.get_xlim() for ax in axes}) == 1
    for ax, values in zip(axes, GRADIENTS.values(), strict=True):
        (exact,) = ax.lines
        assert list(exact.get_xdata()) == [2.0, 2.0]
        bars = [bar for bar in ax.patches if bar.get_height() > 0]
        low, high = bars[0].get_x(), bars[-1].get_x() + bars[-1].get_width()
        # One in a hundred of the widest is cut off, half at each end.
        assert low == pytest.approx(float(values.min()), abs=2.5)
        assert high == pytest.approx(float(values.max()), abs=2.5)


def test_codes_and_points_keep_their_group_and_the_grid_its_image():
    left, right = FIGURES["code_and_data"]().axes
    for ax, places, lines in [(left, CODES, GRID), (right, POINTS, 2 * GRID)]:
        marks, grid = ax.lines[:3], ax.lines[3:]
        for group, mark in enumerate(marks):
            assert drawn(mark) == pytest.approx(places[group == GROUP].numpy())
        assert told_apart(marks)
        for line, given in zip(grid, lines, strict=True):
            assert drawn(line) == pytest.approx(given.numpy())
    colours = [[m.get_color() for m in ax.lines[:3]] for ax in (left, right)]
    assert colours[0] == colours[1]


def test_far_points_are_crosses():
    axes = FIGURES["clouds"]().axes
    for ax, (title, points) in zip(axes, CLOUDS.items(), strict=True):
        assert ax.get_title() == title
        near, away = ax.lines
        far = np.asarray(FAR[title])
        assert drawn(near) == pytest.approx(points.numpy()[~far])
        assert drawn(away) == pytest.approx(points.numpy()[far])
        assert away.get_marker() == "x"
    assert len({ax.get_xlim() for ax in axes}) == 1


def test_levels_are_named_where_the_curve_is_not():
    (ax,) = FIGURES["bounds"]().axes
    curve, *levels = ax.lines
    assert drawn(curve) == pytest.approx(np.stack([DRAWS, VALUES], 1))
    assert [line.get_ydata()[0] for line in levels] == list(LEVELS.values())
    assert told_apart(levels)
    texts = {text.get_text(): text for text in ax.texts}
    for name, level in LEVELS.items():
        assert texts[name].get_position()[1] == level
    assert texts["exact"].get_ha() == "left"
    assert texts["best"].get_ha() == texts["encoder"].get_ha() == "right"
    said = [text.get_text() for text in ax.get_xticklabels()]
    assert said == ["1", "10", "100"]


def test_training_is_drawn_upwards_with_its_warm_up():
    (ax,) = FIGURES["training_curve"]().axes
    training, validation = ax.lines
    expected = [[1, -20], [2, -14], [3, -12], [4, -11]]
    assert drawn(training) == pytest.approx(np.array(expected))
    assert drawn(validation) == pytest.approx(np.array([[2, -16], [4, -13]]))
    (shade,) = ax.patches
    assert (shade.get_x(), shade.get_width()) == (0, 2)
    assert told_apart(ax.lines)


def test_rare_types_are_drawn_alike():
    figure = FIGURES["map_by_type"]()
    rare, common = figure.axes[0].lines
    assert common.get_label() == "T"
    assert drawn(common) == pytest.approx(POINTS[1:3].numpy())
    assert rare.get_label() == "2 others"
    assert drawn(rare) == pytest.approx(POINTS[[0, 3]].numpy())
    assert told_apart([common, rare])


def test_prices_below_a_hundredth_are_drawn_there():
    (ax,) = FIGURES["code_prices"]().axes
    warm, cold = ax.lines
    assert warm.get_label() == "warm"
    assert list(warm.get_ydata()) == [3, 1, 2]
    assert cold.get_ydata() == pytest.approx([0.5, 0.02, 0.01])
    assert ax.get_yscale() == "log"
    assert told_apart(ax.lines)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
