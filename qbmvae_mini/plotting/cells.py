"""Figures of cells: types, codes, energies, new cells."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    house_style,
    key_below,
)


@house_style
def heat_by_type(table, label):
    """A number for each cell type and column, as a grid of shades.

    Parameters
    ----------
    table : DataFrame, shape (n_types, n_columns)
        Its index names the rows. Columns are named below the grid if their
        names are text, and numbered otherwise.
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
    if all(isinstance(name, str) for name in table.columns):
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
    """
    names, counts = np.unique(as_array(types).astype(str), return_counts=True)
    order = np.argsort(counts)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 4.4), width_ratios=[1.2, 1]
    )
    bars = left.barh(names[order], counts[order], color=BLUE)
    left.bar_label(bars, padding=3)
    left.set(xscale="log", title="cells of each type")
    left.margins(x=0.25, y=0.02)
    left.set_xticks([])
    left.minorticks_off()
    left.tick_params(axis="y", length=0)
    left.spines["bottom"].set_visible(False)
    depth, batch = as_array(depth), as_array(batch).astype(str)
    edges = np.geomspace(depth.min(), depth.max(), 25)
    styles = zip(np.unique(batch), COLOURS, DASHES, strict=False)
    for name, colour, dash in styles:
        right.hist(
            depth[batch == name],
            edges,
            histtype="step",
            color=colour,
            linestyle=dash,
            linewidth=2,
            label=name,
        )
    right.set(xscale="log", title="cells of each depth", xlabel="UMIs a cell")
    right.set_ylim(top=1.4 * right.get_ylim()[1])  # room for the legend
    right.legend(loc="upper right", handlelength=1.6, borderpad=0)
    return figure


def large_types(types, least):
    """Names of the types of at least that many cells, the largest first."""
    names, counts = np.unique(types, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return names[order][: (counts >= least).sum()]


@house_style
def map_of_cells(points, types, energy, least=50):
    """Cells on a plane, by type and by energy.

    Parameters
    ----------
    points : array, shape (n_cells, 2)
    types : sequence of str, one a cell
    energy : array, shape (n_cells,)
    least : int
        Types with fewer cells are drawn alike, as crosses.

    Returns
    -------
    Figure
    """
    points, energy = as_array(points), as_array(energy)
    types = as_array(types).astype(str)
    large = large_types(types, least)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.3))
    for i, name in enumerate(large):
        left.plot(
            *points[types == name].T,
            "o+"[i // len(COLOURS)],
            color=COLOURS[i % len(COLOURS)],
            markersize=(2, 4)[i // len(COLOURS)],
            linestyle="none",
            label=name,
        )
    rare = ~np.isin(types, large)
    if rare.any():
        left.plot(
            *points[rare].T,
            "x",
            color=GREY,
            markersize=4,
            linestyle="none",
            label=f"fewer than {least}",
        )
    dots = right.scatter(*points.T, c=energy, s=3, cmap="cividis")
    for ax, title in [(left, "by type"), (right, "by energy")]:
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    figure.colorbar(
        dots,
        ax=right,
        location="bottom",
        label=r"energy $E(\mu)$ (nats)",
        pad=0.02,
    )
    key_below(figure, ncols=3)
    return figure


@house_style
def energy_by_type(energy, types, genes_seen):
    """Energy of cells by type, and against the number of genes seen.

    Parameters
    ----------
    energy, genes_seen : array, shape (n_cells,)
    types : sequence of str, one a cell

    Returns
    -------
    Figure
    """
    energy, types = as_array(energy), as_array(types).astype(str)
    names, counts = np.unique(types, return_counts=True)
    order = np.argsort(counts, kind="stable")
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 4.6), width_ratios=[1.5, 1]
    )
    left.boxplot(
        [energy[types == name] for name in names[order]],
        orientation="horizontal",
        tick_labels=[
            f"{name} ({n})"
            for name, n in zip(names[order], counts[order], strict=True)
        ],
        widths=0.6,
        medianprops={"color": VERMILION, "linestyle": "-"},
        boxprops={"linestyle": "-", "linewidth": 1},
        whiskerprops={"linestyle": "-", "linewidth": 1},
        flierprops={"marker": ".", "markersize": 3},
    )
    left.set(xlabel=r"energy $E(\mu)$ (nats)")
    left.tick_params(axis="y", length=0)
    # The commonest type apart: it alone could make a slope.
    common = types == names[order][-1]
    for chosen, marker, colour, label in [
        (common, "o", SKY, names[order][-1]),
        (~common, "^", BLACK, "others"),
    ]:
        right.plot(
            as_array(genes_seen)[chosen],
            energy[chosen],
            marker,
            color=colour,
            markersize=3,
            linestyle="none",
            label=label,
        )
    right.set(xlabel="genes seen", xscale="log")
    right.minorticks_off()
    right.set_xticks([50, 100, 200, 400], ["50", "100", "200", "400"])
    # Above the axes, so that it never lies on a cell.
    right.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=2,
        markerscale=2,
        handletextpad=0,
        columnspacing=0.5,
        borderpad=0,
    )
    return figure


@house_style
def shares(raw, modelled, types, chosen):
    """A gene's share of each cell's counts, raw and by a model.

    Parameters
    ----------
    raw, modelled : array, shape (n_cells,)
    types : sequence of str, one a cell
    chosen : sequence of str
        Types to tell apart; the other cells are left out.

    Returns
    -------
    Figure
    """
    raw, modelled = as_array(raw), as_array(modelled)
    types = as_array(types).astype(str)
    figure, ax = plt.subplots(figsize=(WIDTH, 4))
    ax.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle="-")
    for i, name in enumerate(chosen):
        ax.plot(
            raw[types == name],
            modelled[types == name],
            "o^sDv"[i],
            color=COLOURS[i],
            markersize=5,
            markerfacecolor="none" if i % 2 else None,
            linestyle="none",
            label=name,
        )
    ax.set(xlabel="share of the counts", ylabel="share by the model")
    ax.set(xlim=(-0.03, 1), ylim=(-0.03, 1))
    ax.legend(loc="upper left", handletextpad=0.1)
    return figure


@house_style
def gene_means(real, made):
    """Mean count of each gene, in real and in generated cells.

    Parameters
    ----------
    real : array, shape (n_genes,)
    made : dict of str to array, shape (n_genes,)
        Title of a panel -> means in generated cells. Means below 0.001 are
        drawn as 0.001.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(
        1, len(made), figsize=(WIDTH, 3.6), sharey=True, squeeze=False
    )
    for ax, (title, means) in zip(axes.flat, made.items(), strict=True):
        ax.loglog(
            np.maximum(as_array(real), 1e-3),
            np.maximum(as_array(means), 1e-3),
            ".",
            color=BLUE,
            markersize=3,
            linestyle="none",
        )
        ax.axline((1, 1), (10, 10), color=BLACK, linewidth=1, linestyle="-")
        ax.set(title=title, xlabel="mean count, real")
        ax.set_xticks([1e-2, 1, 1e2])
        ax.minorticks_off()
    axes[0, 0].set(ylabel="mean count, generated")
    return figure
