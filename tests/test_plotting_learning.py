"""Figures of the chapter on learning show what they were given."""

import numpy as np
import pytest
import torch
from figures import check_figure

from qbmvae_mini import plotting

STATES = ["00", "01", "10", "11"]
LAWS = {"data": [0.4, 0.1, 0.1, 0.4], "machine": [0.25] * 4}
EPOCHS = [0, 10, 20]
PANELS = {
    "last": {"exact": [-9, -5, -4], "CD-1": [-9, -6, -5]},
    "averaged": {"exact": [-9, -6, -4], "CD-1": [-9, -7, -5]},
}
EXACT = torch.tensor([0.1, -0.2, 0.3], requires_grad=True)
ESTIMATES = {
    "CD-1": torch.tensor([[0.2, -0.1, 0.4], [0.2, -0.3, 0.4]]),
    "PCD": torch.tensor([[0.0, -0.4, 0.0], [0.2, 0.0, 0.6]]),
}
ROWS = {"data": torch.eye(4), "draws": torch.ones(3, 4)}
WEIGHTS = np.array([[2.0, -0.4], [0.3, -3.0], [1.0, 0.0]])
ACTIVITY = np.array([[0.9, 0.1], [0.0, 1.0]])
GENES, TYPES = ["INS", "GCG", "SST"], ["alpha", "beta"]
MOMENTS = {
    "means": ([0.1, 0.5], [0.2, 0.4]),
    "covariances": ([0.0, 0.1, 0.2], [0.0, 0.1, 0.1]),
}

FIGURES = {
    "laws": lambda: plotting.laws(STATES, LAWS),
    "learning_curves": lambda: plotting.learning_curves(EPOCHS, PANELS, -3),
    "estimated_gradients": lambda: plotting.estimated_gradients(
        EXACT, ESTIMATES
    ),
    "pictures": lambda: plotting.pictures(ROWS, 2),
    "gene_sets": lambda: plotting.gene_sets(WEIGHTS, GENES, ACTIVITY, TYPES),
    "moments": lambda: plotting.moments(MOMENTS),
}


def test_each_law_has_its_bars():
    (ax,) = FIGURES["laws"]().axes
    for bars, (name, p) in zip(ax.containers, LAWS.items(), strict=True):
        assert bars.get_label() == name
        assert [bar.get_height() for bar in bars] == p
    assert [t.get_text() for t in ax.get_xticklabels()] == STATES
    # Bars of one state stand side by side and are told apart without colour.
    first, second = (bars[0] for bars in ax.containers)
    assert first.get_x() + first.get_width() == pytest.approx(second.get_x())
    assert first.get_hatch() != second.get_hatch()


def test_each_rule_has_its_curve():
    figure = FIGURES["learning_curves"]()
    for ax, (title, rules) in zip(figure.axes, PANELS.items(), strict=True):
        assert ax.get_title(loc="left") == title
        ceiling, *curves = ax.lines
        assert set(ceiling.get_ydata()) == {-3}
        for line, (name, curve) in zip(curves, rules.items(), strict=True):
            assert line.get_label() == name
            assert list(line.get_xdata()) == EPOCHS
            assert list(line.get_ydata()) == curve
        looks = {(c.get_linestyle(), c.get_marker()) for c in curves}
        assert len(looks) == len(curves)
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["exact", "CD-1", "ceiling"]


def test_gradients_have_mean_and_two_deviations():
    figure = FIGURES["estimated_gradients"]()
    for ax, (name, found) in zip(figure.axes, ESTIMATES.items(), strict=True):
        assert ax.get_title() == name
        (bars,) = ax.containers
        dots, _, (sticks,) = bars
        assert dots.get_xdata() == pytest.approx(EXACT.detach().numpy())
        assert dots.get_ydata() == pytest.approx(found.mean(0).numpy())
        ends = np.array(sticks.get_segments())[:, :, 1]
        sd = found.numpy().std(0)
        assert np.ptp(ends, axis=1) == pytest.approx(4 * sd)


def test_pictures_show_their_bits():
    axes = np.reshape(FIGURES["pictures"]().axes, (2, 4))
    for line, (title, states) in zip(axes, ROWS.items(), strict=True):
        assert line[0].get_title(loc="left") == title
        shown = [ax for ax in line if ax.images]
        assert len(shown) == len(states)
        for ax, state in zip(shown, states, strict=True):
            assert np.array_equal(ax.images[0].get_array(), state.reshape(2, 2))
            # A bit that is on is black.
            assert ax.images[0].get_cmap()(1.0)[:3] == (0, 0, 0)


def test_gene_sets_write_their_numbers():
    top, bottom = FIGURES["gene_sets"]().axes
    for ax, values, names in [(top, WEIGHTS, GENES), (bottom, ACTIVITY, TYPES)]:
        assert np.array_equal(ax.images[0].get_array(), values)
        assert [t.get_text() for t in ax.get_yticklabels()] == names
    said = [text.get_text() for text in top.texts]
    assert said == ["+2", "0", "0", "-3", "+1", "0"]
    assert [text.get_text() for text in bottom.texts] == [
        "0.9",
        "0.1",
        "0.0",
        "1.0",
    ]
    # Zero is the middle of the colours, so that signs can be told.
    low, high = top.images[0].get_clim()
    assert low == -high == -3
    # Black on light, white on dark.
    assert bottom.texts[2].get_color() == "black"
    assert bottom.texts[3].get_color() == "white"


def test_moments_are_drawn_against_each_other():
    figure = FIGURES["moments"]()
    for ax, (title, (data, draws)) in zip(
        figure.axes, MOMENTS.items(), strict=True
    ):
        assert ax.get_title() == title
        line, dots = ax.lines
        assert line.get_slope() == 1
        assert list(dots.get_xdata()) == data
        assert list(dots.get_ydata()) == draws


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
