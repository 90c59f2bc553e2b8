"""Figures of the chapter on cells show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure

from qbmvae_mini import plotting, results

TYPES = np.array(["beta"] * 60 + ["alpha"] * 3 + ["t"] * 2)
N = len(TYPES)
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(N, 2))
ENERGY = -np.arange(N, dtype=float)
DEPTH = np.geomspace(100, 10_000, N)
BATCH = np.where(np.arange(N) % 2, "lib1", "lib2")
TABLE = pd.DataFrame(
    [[0.0, 1.0], [0.5, 0.25]], index=["beta", "alpha"], columns=["INS", "GCG"]
)
REAL = np.array([0.01, 1.0, 100.0])

FIGURES = {
    "heat_by_type": lambda: plotting.heat_by_type(TABLE, "mean"),
    "census": lambda: plotting.census(TYPES, DEPTH, BATCH),
    "map_of_cells": lambda: plotting.map_of_cells(POINTS, TYPES, ENERGY),
    "energy_by_type": lambda: plotting.energy_by_type(ENERGY, TYPES, DEPTH),
    "shares": lambda: plotting.shares(
        np.linspace(0, 0.9, N), np.full(N, 0.5), TYPES, ["beta", "t"]
    ),
    "gene_means": lambda: plotting.gene_means(
        REAL, {"good": REAL, "bad": np.zeros(3)}
    ),
}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_heat_shows_the_table_and_its_names():
    ax = FIGURES["heat_by_type"]().axes[0]
    assert np.array_equal(ax.images[0].get_array(), TABLE)
    assert ticks(ax.yaxis) == ["beta", "alpha"]
    assert ticks(ax.xaxis) == ["INS", "GCG"]


def test_heat_numbers_columns_without_names():
    bits = TABLE.set_axis([0, 1], axis=1)
    ax = plotting.heat_by_type(bits, "mean").axes[0]
    assert "INS" not in ticks(ax.xaxis)


def test_census_counts_every_cell_once():
    left, right = FIGURES["census"]().axes
    assert [bar.get_width() for bar in left.patches] == [2, 3, 60]
    assert ticks(left.yaxis) == ["t", "alpha", "beta"]
    outlines = right.patches  # one closed outline a library
    assert [patch.get_label() for patch in outlines] == ["lib1", "lib2"]
    heights = [patch.get_xy()[1:-1:2, 1].sum() for patch in outlines]
    assert heights == [(BATCH == "lib1").sum(), (BATCH == "lib2").sum()]


def test_map_draws_rare_types_alike():
    left, right, *_ = FIGURES["map_of_cells"]().axes
    drawn = {line.get_label(): len(line.get_xdata()) for line in left.lines}
    assert drawn == {"beta": 60, "fewer than 50": 5}
    assert np.array_equal(right.collections[0].get_array(), ENERGY)


def test_energy_boxes_are_ordered_and_counted():
    left, right = FIGURES["energy_by_type"]().axes
    assert ticks(left.yaxis) == ["t (2)", "alpha (3)", "beta (60)"]
    drawn = {line.get_label(): len(line.get_xdata()) for line in right.lines}
    assert drawn == {"beta": 60, "others": 5}


def test_shares_draws_the_chosen_types():
    (ax,) = FIGURES["shares"]().axes
    drawn = {line.get_label(): len(line.get_xdata()) for line in ax.lines}
    assert drawn["beta"] == 60
    assert drawn["t"] == 2
    assert "alpha" not in drawn


def test_gene_means_shows_silent_genes_at_the_floor():
    good, bad = FIGURES["gene_means"]().axes
    assert list(good.lines[0].get_ydata()) == list(REAL)
    assert list(bad.lines[0].get_ydata()) == [1e-3] * 3
    assert [ax.get_title() for ax in (good, bad)] == ["good", "bad"]


def test_boltzmann_minus_rivals_draws_every_split():
    scores = {"Boltzmann 32+32": [3.0, 5.0], "Gaussian 10": [1.0, 2.0]}
    table = pd.DataFrame(
        [
            {
                "dataset": name,
                "model": model,
                "split": i,
                "log_likelihood_1000": s,
            }
            for name in results.DATASETS
            for model, both in scores.items()
            for i, s in enumerate(both)
        ]
    )
    figure = plotting.boltzmann_minus_rivals(table, ["Gaussian 10"])
    (ax,) = figure.axes
    drawn = [list(line.get_xdata()) for line in ax.lines]
    assert drawn.count([2.5]) == len(results.DATASETS)  # diamonds
    assert drawn.count([2.0, 3.0]) == len(results.DATASETS)  # dots
    assert ticks(ax.yaxis) == list(results.DATASETS)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
