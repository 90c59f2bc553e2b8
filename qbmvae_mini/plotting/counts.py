"""Figures of counts: types and depth, laws, zeros, logs, batches, leaks."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    MOST_IN_PANEL,
    ORANGE,
    VERMILION,
    WIDTH,
    as_array,
    count_others,
    dot_look,
    house_style,
    key_in,
    large_groups,
    line_look,
    panels,
)


@house_style
def heat_by_type(table, label):
    """A number for each cell type and column, as a grid of shades.

    Parameters
    ----------
    table : DataFrame, shape (n_types, n_columns)
        Its index names the rows, its columns stand below the grid.
    label : str
        What the shades mean.

    Returns
    -------
    Figure
    """
    height = 0.27 * len(table) + 1.3
    figure, ax = plt.subplots(figsize=(WIDTH, height))
    image = ax.imshow(table, aspect="auto", cmap="cividis", rasterized=True)
    ax.set_yticks(range(len(table)), table.index)
    ax.set_xticks(range(table.shape[1]), table.columns, rotation=90)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure.colorbar(image, label=label, pad=0.02, fraction=0.08)
    return figure


@house_style
def census(types, depth, batch):
    """How many cells each type has, and how deep each library is.

    Parameters
    ----------
    types, batch : sequence of str, one a cell
    depth : array, shape (n_cells,)
        Counts of each cell.

    Returns
    -------
    Figure
        Of more than seven batches the six largest have a curve each, and all
        others one together, with their number in the key.
    """
    names, counts = np.unique(as_array(types).astype(str), return_counts=True)
    order = np.argsort(counts)
    height = max(4.4, 0.25 * len(names) + 0.9)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, height), width_ratios=[1.2, 1]
    )
    bars = left.barh(names[order], counts[order], color=BLUE)
    left.bar_label(bars, padding=3)
    left.set(xscale="log", title="cells of each type")
    left.margins(y=0.02)
    most = counts.max()
    left.set_xlim(0.5, most * (2 * most) ** 0.4)  # room for the numbers
    left.set_xticks([])
    left.minorticks_off()
    left.tick_params(axis="y", length=0)
    left.spines["bottom"].set_visible(False)
    depth, batch = as_array(depth), as_array(batch).astype(str)
    edges = np.geomspace(depth.min(), depth.max(), 25)
    for i, (label, chosen) in enumerate(_curves(batch).items()):
        look = line_look(i) | {"histtype": "step", "label": label}
        right.hist(depth[chosen], edges, **look)
    right.set(xscale="log", title="cells of each depth", xlabel="UMIs a cell")
    right.set_ylim(top=1.4 * right.get_ylim()[1])  # room for the legend
    right.legend(loc="upper right", handlelength=1.6, borderpad=0)
    return figure


def _curves(batch):
    """Label -> cells of a curve: more than seven would hide each other."""
    names = np.unique(batch)
    if len(names) > MOST_IN_PANEL:
        names = np.sort(large_groups(batch, most=MOST_IN_PANEL - 1))
    curves = {name: batch == name for name in names}
    rest = ~np.isin(batch, names)
    if rest.any():
        curves[count_others(len(np.unique(batch[rest])))] = rest
    return curves


@house_style
def rates_and_counts(rates, counts, m, r):
    """Gamma rates, and the counts drawn from them.

    Parameters
    ----------
    rates : array, shape (n,)
        Drawn rates.
    counts : array of int, shape (n,)
        A Poisson count of each rate.
    m, r : float
        Mean and inverse dispersion. Left the Gamma density of shape r and
        mean m is drawn, right the negative binomial and the Poisson law.

    Returns
    -------
    Figure
    """
    rates, counts = as_array(rates), as_array(counts).astype(int)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    end = np.quantile(rates, 0.995)
    left.hist(rates, 30, range=(0, end), density=True, color=GREY, alpha=0.45)
    grid = np.linspace(end / 500, end, 200)
    left.plot(grid, stats.gamma.pdf(grid, r, scale=m / r), color=BLUE)
    left.set(title="rates", xlabel="rate", ylabel="density")
    x = np.arange(int(np.quantile(counts, 0.99)) + 1)
    seen = np.bincount(counts, minlength=len(x))[: len(x)] / len(counts)
    right.bar(x, seen, color=GREY, alpha=0.45, label="drawn")
    for law, marker, colour, label in [
        (stats.nbinom(r, r / (r + m)), "o", BLUE, "neg. binomial"),
        (stats.poisson(m), "^", VERMILION, "Poisson"),
    ]:
        right.plot(x, law.pmf(x), marker, color=colour, ls="none", label=label)
    right.set(title="counts", xlabel="count", ylabel="probability")
    right.set_ylim(top=1.5 * right.get_ylim()[1])  # room for the legend
    right.legend(handletextpad=0.3, borderpad=0)
    return figure


@house_style
def mean_and_variance(mean, variance, r):
    """Variance of genes against their mean, with two laws.

    Parameters
    ----------
    mean, variance : array, shape (n_genes,)
    r : float
        Inverse dispersion of the negative binomial law drawn.

    Returns
    -------
    Figure
    """
    mean, variance = as_array(mean), as_array(variance)
    figure, ax = plt.subplots(figsize=(WIDTH, 4.2))
    ax.plot(mean, variance, ".", color=GREY, markersize=4, linestyle="none")
    grid = np.geomspace(mean.min(), mean.max(), 100)
    negative = grid + grid**2 / r
    label = f"neg. binomial, r = {r:.2g}"
    ax.plot(grid, negative, color=BLUE, linestyle="-", label=label)
    ax.plot(grid, grid, color=VERMILION, linestyle="--", label="Poisson")
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="mean count", ylabel="variance")
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return figure


@house_style
def zeros(observed, expected):
    """Share of zeros of each gene: seen, and by each law.

    Parameters
    ----------
    observed : array, shape (n_genes,)
    expected : dict of str to array, shape (n_genes,)
        Name of a law -> share of zeros by it; a panel each.

    Returns
    -------
    Figure
    """
    figure, axes = panels(len(expected), 3.6, sharey=True)
    for ax, (title, share) in zip(axes, expected.items(), strict=True):
        ax.axline((0, 0), slope=1, color=BLACK, linewidth=1, linestyle="-")
        ax.plot(
            as_array(share),
            as_array(observed),
            ".",
            color=BLUE,
            markersize=4,
            linestyle="none",
        )
        ax.set(title=title, xlabel="zeros expected")
        ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    axes[0].set(ylabel="zeros seen")
    return figure


@house_style
def nats_by_mean(mean, differences):
    """How many nats two laws differ by, gene by gene.

    Parameters
    ----------
    mean : array, shape (n_genes,)
        Mean count of each gene.
    differences : dict of str to array, shape (n_genes,)
        Title of a panel -> difference of log probabilities, in nats.

    Returns
    -------
    Figure
    """
    figure, axes = panels(len(differences), 3.6, across=2, sharey=True)
    for ax, (title, nats) in zip(axes, differences.items(), strict=True):
        ax.axhline(0, color=BLACK, linewidth=1, linestyle="-")
        ax.plot(
            as_array(mean),
            as_array(nats),
            ".",
            color=BLUE,
            markersize=4,
            linestyle="none",
        )
        ax.set(title=title, xlabel="mean count of the gene", xscale="log")
        ax.set_xticks([0.1, 1, 10, 100, 1000])
        ax.minorticks_off()
    axes[0].set(ylabel="nats a cell")
    return figure


@house_style
def log_changes(depth, changes, truth):
    """Change of the mean log, against the depth of the cells.

    Parameters
    ----------
    depth : array, shape (n,)
        UMIs a cell.
    changes : dict of str to array, shape (n,)
        Name of a gene -> difference of mean logs at each depth.
    truth : float
        The true log change, drawn as a level line.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    ax.axhline(truth, color=BLACK, linewidth=1, linestyle="-")
    for i, (name, change) in enumerate(changes.items()):
        look = dot_look(i) | line_look(i)
        ax.plot(as_array(depth), as_array(change), **look, label=name)
    ax.set(xscale="log", xlabel="UMIs a cell", ylabel="change of the mean log")
    ax.set_ylim(bottom=0)
    ax.minorticks_off()
    key_in(ax, title="share of the gene", loc="lower right")
    return figure


@house_style
def leak(depth, counts, makers):
    """Counts of a gene in cells that make it, and in cells that do not.

    Parameters
    ----------
    depth, counts : array, shape (n_cells,)
        UMIs of each cell, and those of the gene. A count of zero is drawn as
        a half.
    makers : array of bool, shape (n_cells,)

    Returns
    -------
    Figure
    """
    depth, makers = as_array(depth), as_array(makers).astype(bool)
    counts = np.maximum(as_array(counts), 0.5)
    figure, ax = plt.subplots(figsize=(WIDTH, 4))
    for chosen, marker, colour, label in [
        (makers, "o", BLUE, "cells that make it"),
        (~makers, "^", ORANGE, "other cells"),
    ]:
        ax.plot(
            depth[chosen],
            counts[chosen],
            marker,
            color=colour,
            markersize=3,
            linestyle="none",
            label=label,
        )
    ax.set(xscale="log", yscale="log", xlabel="UMIs a cell")
    ax.set(ylabel="UMIs of the gene")
    ax.minorticks_off()
    ax.legend(markerscale=2, handletextpad=0.1)
    return figure
