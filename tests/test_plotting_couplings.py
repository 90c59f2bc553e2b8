"""Figures of what couplings save show what they were given."""

import numpy as np
import pytest
import torch
from figures import check_figure

from qbmvae_mini import plotting

SAVED = {"RBM": (3.3, 2.9, 3.7), "belief network": (-0.2, -0.6, 0.2)}
LEAST, MOST = 5.2, 5.5
STRENGTHS = [1.0, 0.5, 0.25]
CURVES = {
    "machine": torch.tensor([[10.6, 10.5, 10.7], [5.8, 5.7, 5.9], [2, 1, 3]]),
    "mixture": [[2.6, 2.4, 2.8], [1.1, 1.0, 1.2], [0.2, 0.1, 0.3]],
}
TRUTH = torch.tensor([11.1, 6.2, 3.0])

FIGURES = {
    "saved_by_prior": lambda: plotting.saved_by_prior(SAVED, LEAST, MOST),
    "saved_by_strength": lambda: plotting.saved_by_strength(
        STRENGTHS, CURVES, TRUTH
    ),
}


def test_each_prior_has_its_row_beside_the_band_of_what_could_be_saved():
    (ax,) = FIGURES["saved_by_prior"]().axes
    (band,) = ax.patches
    assert band.get_x() == LEAST
    assert band.get_x() + band.get_width() == pytest.approx(MOST)
    least, zero, *rows = ax.lines
    assert list(least.get_xdata()) == [LEAST, LEAST]
    assert list(zero.get_xdata()) == [0, 0]
    for y, (mean, lower, upper) in enumerate(SAVED.values()):
        ends, dot = rows[2 * y : 2 * y + 2]
        assert list(ends.get_xdata()) == [lower, upper]
        assert list(dot.get_xdata()) == [mean]
        assert list(ends.get_ydata()) == [y, y]
        assert list(dot.get_ydata()) == [y]
    assert [text.get_text() for text in ax.get_yticklabels()] == list(SAVED)
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first row is the uppermost


def test_each_prior_has_its_curve_with_intervals_below_the_truth():
    (ax,) = FIGURES["saved_by_strength"]().axes
    truth, *curves, zero = ax.lines
    assert truth.get_label() == "the truth"
    assert list(truth.get_xdata()) == STRENGTHS
    assert truth.get_ydata() == pytest.approx(TRUTH.numpy())
    for line, bars, (name, given) in zip(
        curves, ax.collections, CURVES.items(), strict=True
    ):
        numbers = np.asarray(given)
        assert line.get_label() == name
        assert line.get_xdata() == pytest.approx(STRENGTHS, rel=0.05)
        assert line.get_ydata() == pytest.approx(numbers[:, 0])
        for place, bar, (_, lower, upper) in zip(
            line.get_xdata(), bars.get_segments(), numbers, strict=True
        ):
            assert bar[:, 0] == pytest.approx([place, place])
            assert bar[:, 1] == pytest.approx([lower, upper])
    assert list(zero.get_ydata()) == [0, 0]
    said = [text.get_text() for text in ax.get_xticklabels()]
    assert said == ["0.25", "0.5", "1"]
    # Told apart without colour.
    assert len({line.get_marker() for line in curves}) == 2
    assert len({line.get_linestyle() for line in [truth, *curves]}) == 3


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
