"""Figures of the quantum chapter show what they were given."""

import numpy as np
import pytest
import torch
from figures import check_figure

from qbmvae_mini.plotting import quantum

BIAS = np.linspace(-2, 2, 5)
CURVES = np.array([[0.1, 0.2, 0.5, 0.8, 0.9], [0.3, 0.4, 0.5, 0.6, 0.7]])
ENERGY = np.array([1.0, -1.0, 0.0])
CLASSICAL = np.array([0.1, 0.6, 0.3])
QUANTUM = np.array([0.2, 0.5, 0.3])
FIELDS = {"exact": [1.0, 1.1, 1.2], "bound": [1.0, 0.5, 0.0]}
KL = {"exact": [0.5, 0.1, 0.01], "bound": [0.5, 0.1, 0.05]}
PATHS = np.array([[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [0] * 6])
NAMES = ["Gibbs", "cold", "optical"]
DEVICES = (
    [0.05, 0.9, 0.4],
    [0.04, 0.04, 0.04],
    [0.05, np.nan, 0.3],
    [0.05, np.nan, 0.02],
)

FIGURES = {
    "one_qubit": lambda: quantum.one_qubit(BIAS, CURVES, (0, 0.5)),
    "laws_by_energy": lambda: quantum.laws_by_energy(
        ENERGY, CLASSICAL, QUANTUM, 1.5
    ),
    "learned_field": lambda: quantum.learned_field(FIELDS, KL),
    "world_lines": lambda: quantum.world_lines(PATHS),
    "magnetisation_curve": lambda: quantum.magnetisation_curve(
        [0, 0.5, 1], [0, 2, 3], [0.2, 0.8], [1, 2.5], [0.1, 0.2]
    ),
    "sampled_laws": lambda: quantum.sampled_laws(NAMES, *DEVICES),
}


def legend(owner):
    holder = owner.get_legend() if hasattr(owner, "get_legend") else None
    holder = holder or owner.legends[0]
    return [text.get_text() for text in holder.get_texts()]


def test_one_line_a_field():
    (ax,) = FIGURES["one_qubit"]().axes
    for line, expected in zip(ax.lines, CURVES, strict=False):
        assert list(line.get_ydata()) == list(expected)
        assert list(line.get_xdata()) == list(BIAS)
    assert legend(ax) == [r"$\Gamma = 0$", r"$\Gamma = 0.5$"]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_the_classical_law_is_a_line_and_the_quantum_one_points():
    energy = torch.tensor(ENERGY, requires_grad=True)
    figure = quantum.laws_by_energy(energy, CLASSICAL, QUANTUM, 1.5)
    line, points = figure.axes[0].lines
    assert list(line.get_xdata()) == [-1, 0, 1]  # in order of energy
    assert list(line.get_ydata()) == [0.6, 0.3, 0.1]
    assert list(points.get_xdata()) == list(ENERGY)
    assert list(points.get_ydata()) == list(QUANTUM)
    assert points.get_linestyle() == "None"
    assert figure.axes[0].get_yscale() == "log"


def test_fields_and_divergences_under_one_legend():
    figure = FIGURES["learned_field"]()
    for ax, lines in zip(figure.axes, (FIELDS, KL), strict=True):
        found = [list(line.get_ydata()) for line in ax.lines]
        assert found == list(lines.values())
    assert legend(figure) == ["exact", "bound"]


def test_breaks_are_where_a_line_steps_and_time_is_a_ring():
    (ax,) = FIGURES["world_lines"]().axes
    dots = [line for line in ax.lines if line.get_linestyle() == "None"]
    lines = [line for line in ax.lines if line not in dots]
    # The third line has no break, and so no dots.
    assert [list(d.get_xdata()) for d in dots] == [[2, 4], [4, 6]]
    for line, bits, foot in zip(lines, PATHS, (2, 1, 0), strict=True):
        closed = [*bits, bits[0]]
        assert list(line.get_xdata()) == list(range(7))
        assert line.get_ydata() == pytest.approx(foot + 0.6 * np.array(closed))
        assert line.get_drawstyle() == "steps-post"
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["qubit 0", "qubit 1", "qubit 2"]


def test_sampled_points_have_bars_of_two_errors():
    (ax,) = FIGURES["magnetisation_curve"]().axes
    assert list(ax.lines[0].get_ydata()) == [0, 2, 3]
    (bars,) = ax.containers
    points, _, (segments,) = bars
    assert list(points.get_ydata()) == [1, 2.5]
    ends = [segment[:, 1] for segment in segments.get_segments()]
    assert np.allclose(ends, [[0.8, 1.2], [2.1, 2.9]])


def test_bars_of_samplers_with_a_line_at_the_floor():
    left, right = FIGURES["sampled_laws"]().axes
    for ax, values, floor in ((left, *DEVICES[:2]), (right, *DEVICES[2:])):
        widths = [bar.get_width() for bar in ax.patches]
        assert widths == pytest.approx(values, nan_ok=True)
        (lines,) = ax.collections
        for segment, at in zip(lines.get_segments(), floor, strict=False):
            if not np.isnan(at):
                assert segment[:, 0] == pytest.approx([at, at])
    assert [t.get_text() for t in left.get_yticklabels()] == NAMES
    assert [t.get_text() for t in right.texts] == [r"$\beta$ infinite"]
    heights = [bar.get_y() for bar in left.patches]
    assert heights == sorted(heights, reverse=True)  # first name on top


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
