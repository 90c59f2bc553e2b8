"""Figures of the chapter on log Z show what they were given."""

import numpy as np
import pytest
import torch
from figures import check_figure

from qbmvae_mini import plotting

ENERGIES = {
    0.0: torch.tensor([3.0, 4.0, 5.0, 5.0]),
    0.5: torch.tensor([0.0, 1.0, 2.0]),
    1.0: torch.tensor([-5.0, -4.0]),
}
TEMPERATURES = [3, 30, 300]
FORWARD = torch.tensor([[5.0, 6.0], [7.0, 7.5], [8.0, 8.1]])
REVERSE = [[11.0, 12.0], [9.0, 9.2], [8.2, 8.3]]
RUNS = {
    "forward": torch.tensor([-2.0, -1.0, -0.6]),
    "reverse": torch.tensor([0.5, 0.7, 1.5, 1.7]),
}
WEIGHTS = {"beta 0.5": [10.0, 3.0, 1.0], "beta 1": [4.0, -6.0, 9.0]}
STEP = [0, 50, 100]
LOG_Z = {"exact": [40, 41, 42], "followed": [40, 39, 37]}
ERROR = {"10 chains": [0, -2, -5], "apart": [0, 0.1, -0.2]}

FIGURES = {
    "bridge": lambda: plotting.bridge(ENERGIES),
    "bracket": lambda: plotting.bracket(TEMPERATURES, FORWARD, REVERSE, 8.1),
    "repeated": lambda: plotting.repeated(RUNS),
    "peaks": lambda: plotting.peaks([0, 1, 2], WEIGHTS),
    "drift": lambda: plotting.drift(STEP, LOG_Z, ERROR),
}


def histogram(ax):
    """Middles of the bars and their heights, of bars that are not empty."""
    bars = [bar for bar in ax.patches if bar.get_height() > 0]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    return np.array(middles), np.array([bar.get_height() for bar in bars])


def test_each_law_has_its_row_of_energies():
    axes = FIGURES["bridge"]().axes
    assert [ax.get_ylabel() for ax in axes] == [
        r"$\beta = 0$",
        r"$\beta = 0.5$",
        r"$\beta = 1$",
    ]
    width = 10 / 59
    for ax, energies in zip(axes, ENERGIES.values(), strict=True):
        middles, heights = histogram(ax)
        for middle in middles:
            assert (energies - middle).abs().min() < width
        assert heights.sum() * width == pytest.approx(1, rel=1e-4)
    # Two of four draws share an energy, and their bar is twice as high.
    shares = sorted(histogram(axes[0])[1] * width)
    assert shares == pytest.approx([0.25, 0.25, 0.5], rel=1e-4)
    assert len({axis.get_xlim() for axis in axes}) == 1


def test_estimates_stand_at_their_temperatures_joined_by_their_means():
    (ax,) = FIGURES["bracket"]().axes
    *estimates, exact = ax.lines
    order = (("reverse", REVERSE), ("forward", FORWARD))
    for i, (name, given) in enumerate(order):
        each, mean = estimates[2 * i : 2 * i + 2]
        given = torch.as_tensor(given).numpy()
        assert each.get_ydata() == pytest.approx(given.ravel())
        assert mean.get_ydata() == pytest.approx(given.mean(1))
        assert mean.get_label() == name
        assert mean.get_xdata() == pytest.approx(TEMPERATURES, rel=0.07)
        assert each.get_xdata() == pytest.approx(np.repeat(mean.get_xdata(), 2))
    assert list(exact.get_ydata()) == [8.1, 8.1]
    said = [text.get_text() for text in ax.get_xticklabels()]
    assert said == ["3", "30", "300"]
    # Told apart without colour.
    assert len({mean.get_marker() for mean in estimates[1::2]}) == 2
    assert len({mean.get_linestyle() for mean in estimates[1::2]}) == 2


def test_repeated_runs_show_each_run_and_their_mean():
    axes = FIGURES["repeated"]().axes
    for ax, (name, errors) in zip(axes, RUNS.items(), strict=True):
        assert ax.get_title(loc="left") == name
        assert histogram(ax)[1].sum() == len(errors)
        exact, mean = ax.lines
        assert list(exact.get_xdata()) == [0, 0]
        assert mean.get_xdata() == pytest.approx([float(errors.mean())] * 2)


def test_peaks_hang_from_their_highest_point():
    (ax,) = FIGURES["peaks"]().axes
    first, second = ax.lines
    assert list(first.get_xdata()) == [0, 1, 2]
    assert list(first.get_ydata()) == [0, -7, -9]
    assert list(second.get_ydata()) == [-5, -15, 0]
    assert first.get_linestyle() != second.get_linestyle()
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == list(WEIGHTS)


def test_drift_has_log_z_above_and_the_error_below():
    above, below = FIGURES["drift"]().axes
    for ax, curves in ((above, LOG_Z), (below, ERROR)):
        lines = {line.get_label(): line for line in ax.lines}
        for name, values in curves.items():
            assert list(lines[name].get_xdata()) == STEP
            assert list(lines[name].get_ydata()) == values
    assert list(below.lines[-1].get_ydata()) == [0, 0]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
