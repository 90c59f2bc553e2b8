"""Figures of the chapter on cells show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure

from qbmvae_mini import plotting

TYPES = np.array(["beta"] * 60 + ["alpha"] * 3 + ["t"] * 2)
N = len(TYPES)
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(N, 2))
ENERGY = -np.arange(N, dtype=float)
DEPTH = np.geomspace(100, 10_000, N)
TABLE = pd.DataFrame(
    [[0.0, 1.0], [0.5, 0.25]], index=["beta", "alpha"], columns=["INS", "GCG"]
)
CHANGES = pd.DataFrame(
    [[1.0, -2.0, 0.0], [0.5, 0.0, 0.0]],
    index=["bit 3", "bit 40"],
    columns=["INS", "GCG", "SST"],
)
BOUNDS = pd.DataFrame(
    {"A": [-13.0, -11, -10], "B": [-106.0, -102, -100]}, index=[1, 8, 64]
)
RATIOS = pd.DataFrame(
    [
        ("beta", "INS", 0.2, 0.25),
        ("beta", "SST", 0.01, 0.02),
        ("delta", "INS", 0.01, 0.3),
        ("delta", "SST", 0.8, 0.5),
        ("ductal", "INS", 0.02, 0.02),
        ("ductal", "SST", 0.001, 0.003),
    ],
    columns=["type", "gene", "real", "model"],
)
MODELS = {"smears": RATIOS, "exact": RATIOS.assign(model=RATIOS.real)}
# Two bins half and all on; a mean of exactly 1 is in the last bin.
MEANS = np.tile([0.25, 0.25, 0.85, 1.0], (N, 1))
BITS = np.tile([0, 1, 1, 0], (N, 1))

FIGURES = {
    "map_of_cells": lambda: plotting.map_of_cells(POINTS, TYPES, ENERGY),
    "energy_by_type": lambda: plotting.energy_by_type(ENERGY, TYPES, DEPTH),
    "programs": lambda: plotting.programs(CHANGES),
    "couplings_and_programs": lambda: plotting.couplings_and_programs(
        TABLE, -TABLE
    ),
    "marker_shares": lambda: plotting.marker_shares(MODELS, ["INS", "SST"]),
    "tightening": lambda: plotting.tightening(BOUNDS),
    "calibration": lambda: plotting.calibration(
        MEANS, BITS, DEPTH, ENERGY, ENERGY + 1
    ),
}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_map_draws_rare_types_alike():
    left, right, *_ = FIGURES["map_of_cells"]().axes
    drawn = {line.get_label(): len(line.get_xdata()) for line in left.lines}
    assert drawn == {"beta": 60, "2 others": 5}
    assert np.array_equal(right.collections[0].get_array(), ENERGY)


def test_energy_boxes_are_ordered_and_counted():
    left, right = FIGURES["energy_by_type"]().axes
    assert ticks(left.yaxis) == ["t (2)", "alpha (3)", "beta (60)"]
    drawn = {line.get_label(): len(line.get_xdata()) for line in right.lines}
    assert drawn == {"beta": 60, "2 others": 5}


def test_programs_are_white_at_zero():
    ax = FIGURES["programs"]().axes[0]
    (image,) = ax.images
    assert np.array_equal(image.get_array(), CHANGES)
    assert image.get_clim() == (-2, 2)
    assert ticks(ax.yaxis) == ["bit 3", "bit 40"]
    assert ticks(ax.xaxis) == ["INS", "GCG", "SST"]


def test_couplings_are_drawn_against_likeness():
    (ax,) = FIGURES["couplings_and_programs"]().axes
    dots = ax.lines[-1]
    assert list(dots.get_ydata()) == list(TABLE.to_numpy().ravel())
    assert list(dots.get_xdata()) == list(-TABLE.to_numpy().ravel())


def test_marker_shares_of_models_stand_beside_those_of_the_counts():
    figure = FIGURES["marker_shares"]()
    drawn = {
        (ax.get_title(), line.get_label()): dict(
            zip(line.get_ydata(), line.get_xdata(), strict=True)
        )
        for ax in figure.axes
        for line in ax.lines
    }
    real = {"delta": 0.01, "ductal": 0.02, "beta": 0.2}
    assert drawn["INS", "counts"] == drawn["INS", "exact"] == real
    assert list(drawn["SST", "counts"]) == list(real)  # one order of types
    smeared = {"delta": 0.5, "ductal": 0.003, "beta": 0.02}
    assert drawn["SST", "smears"] == smeared
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "log"]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["counts", "smears", "exact"]  # once, not once a panel


def test_bounds_are_drawn_below_their_last():
    (ax,) = FIGURES["tightening"]().axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert drawn == {"A": [-3, -1, 0], "B": [-6, -2, 0]}
    assert ax.get_ylabel() == "nats below 64 draws"


def test_calibration_counts_the_bits_of_each_bin():
    left, right = FIGURES["calibration"]().axes
    claimed, found = left.lines[-1].get_data()
    assert np.allclose(claimed, [0.25, 0.85, 1])
    assert np.allclose(found, [0.5, 1, 0])
    surprise, entropy = right.lines
    quarters = np.array_split(np.arange(N), 4)
    means = [ENERGY[quarter].mean() for quarter in quarters]
    assert np.allclose(entropy.get_ydata(), means)
    assert np.allclose(surprise.get_ydata(), np.add(means, 1))
    depths = [np.median(DEPTH[quarter]) for quarter in quarters]
    assert np.allclose(entropy.get_xdata(), depths)
    labels = [line.get_label() for line in (surprise, entropy)]
    assert labels == ["surprise", "entropy"]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
