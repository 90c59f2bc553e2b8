"""Figures show the numbers they were given, in one style, once."""

import subprocess
import sys

import dimod
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figures import check_figure

from qbmvae_mini import plotting

ENERGY = np.array([0.0, 1.0, -1.0, -2.0])
PROBABILITY = np.exp(-ENERGY) / np.exp(-ENERGY).sum()
LABELS = ["00", "01", "10", "11"]
TRIANGLE = dimod.BinaryQuadraticModel.from_ising(
    {}, {(0, 1): 1, (0, 2): 1, (1, 2): 1}
)
SPINS = np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]])

FIGURES = {
    "landscape": lambda: plotting.landscape(ENERGY, PROBABILITY, LABELS),
    "energy_levels": lambda: plotting.energy_levels(ENERGY, PROBABILITY),
    "temperature": lambda: plotting.temperature(
        [0, 1], np.stack([PROBABILITY, PROBABILITY]), LABELS
    ),
    "spin_states": lambda: plotting.spin_states(TRIANGLE, SPINS),
}


def heights(ax):
    return [bar.get_height() for bar in ax.patches]


def test_landscape_draws_its_numbers():
    left, right = FIGURES["landscape"]().axes
    assert heights(left) == pytest.approx(list(ENERGY))
    assert heights(right) == pytest.approx(list(PROBABILITY))
    assert [t.get_text() for t in right.get_xticklabels()] == LABELS


def test_landscape_takes_tensors_with_gradients():
    energy = torch.tensor(ENERGY, requires_grad=True)
    figure = plotting.landscape(energy, (-energy).softmax(0), LABELS)
    assert heights(figure.axes[1]) == pytest.approx(list(PROBABILITY))


def test_energy_levels_gather_states_of_one_energy():
    # 0.1 + 0.2 and 0.3 differ in the last digit; they are one level.
    energy = [0.1 + 0.2, 0.3, -1.0, 2.0]
    figure = plotting.energy_levels(energy, [0.2, 0.1, 0.6, 0.1])
    counts, masses = figure.axes
    (dots,) = counts.lines
    assert dots.get_xdata() == pytest.approx([-1, 0.3, 2])
    assert list(dots.get_ydata()) == [1, 2, 1]
    assert heights(masses) == pytest.approx([0.6, 0.3, 0.1])
    middle = [bar.get_x() + bar.get_width() / 2 for bar in masses.patches]
    assert middle == pytest.approx([-1, 0.3, 2])


def test_one_energy_level_can_be_drawn():
    figure = plotting.energy_levels([1.0, 1.0], [0.5, 0.5])
    assert list(figure.axes[0].lines[0].get_ydata()) == [2]


def test_temperature_draws_one_line_a_state():
    probability = np.array([[0.5, 0.5], [0.7, 0.3], [0.9, 0.1]])
    figure = plotting.temperature([0, 1, 2], probability, ["a", "b"])
    (ax,) = figure.axes
    for line, expected in zip(ax.lines[:2], probability.T, strict=True):
        assert line.get_ydata() == pytest.approx(expected)
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_discontent_pairs_are_dashed():
    drawn = FIGURES["spin_states"]().axes
    dashed = [
        sum(line.get_linestyle() == "--" for line in ax.lines) for ax in drawn
    ]
    # J = +1 wants spins to differ: three equal spins please no pair.
    assert dashed == [3, 1, 3, 0]  # the fourth place is empty
    titles = [ax.get_title() for ax in drawn]
    assert titles == ["$E = 3$", "$E = -1$", "$E = 3$", ""]


def test_what_readers_have_set_for_their_own_figures_does_not_show():
    plain = FIGURES["landscape"]()
    mine = {"font.size": 40, "axes.grid": True, "axes.facecolor": "red"}
    with plt.rc_context(mine):
        drawn = FIGURES["landscape"]()
    for one, other in zip(plain.axes, drawn.axes, strict=True):
        assert one.get_facecolor() == other.get_facecolor()
        assert one.title.get_fontsize() == other.title.get_fontsize()
        assert not other.xaxis.get_gridlines()[0].get_visible()


def test_a_figure_that_fails_leaves_nothing_open():
    with pytest.raises(ValueError, match="shape"):
        plotting.landscape(ENERGY, PROBABILITY[:2], LABELS)
    assert plt.get_fignums() == []


def test_figures_of_one_chapter_import_no_other_and_no_results():
    code = (
        "import sys; from qbmvae_mini import plotting; plotting.landscape; "
        "sys.exit(any(name in sys.modules for name in ("
        "'qbmvae_mini.results', 'qbmvae_mini.models', "
        "'qbmvae_mini.plotting.vae')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_package_alone_does_not_import_matplotlib():
    code = "import sys, qbmvae_mini; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
