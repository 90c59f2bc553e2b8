"""Figures of cells and their codes: maps, bits, energies, what is claimed."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    CLOSE,
    COLOURS,
    GREY,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    bare,
    count_others,
    dot_look,
    draw_groups,
    each_once,
    house_style,
    key,
    key_in,
    large_groups,
    line_look,
    panels,
)


@house_style
def map_by_groups(points, views, least=30):
    """The same cells on a plane, one panel for each way to group them.

    Parameters
    ----------
    points : array, shape (n_cells, 2)
    views : dict of str to sequence of str
        Title of a panel -> each cell's group.
    least : int
        Groups with fewer cells are drawn alike, as grey crosses; so are those
        beyond the seven largest.

    Returns
    -------
    Figure
    """
    points = as_array(points)
    figure, axes = panels(len(views), 5)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0)}
    for ax, (title, groups) in zip(axes, views.items(), strict=True):
        groups = as_array(groups).astype(str)
        large = large_groups(groups, least, most=len(COLOURS))
        draw_groups(ax, points, groups, large, size=2.5)
        ax.set(title=title)
        bare(ax)
        columns = 1 + (len(views) < 3)  # as wide as the panel allows
        ax.legend(**below, ncols=columns, markerscale=2.5, **CLOSE)
    return figure


@house_style
def map_of_cells(points, types, energy, least=50):
    """Cells on a plane, by type and by energy.

    Parameters
    ----------
    points : array, shape (n_cells, 2)
    types : sequence of str, one a cell
    energy : array, shape (n_cells,)
    least : int
        Types with fewer cells are drawn alike, as crosses; so are those
        beyond the 40 largest.

    Returns
    -------
    Figure
    """
    points, energy = as_array(points), as_array(energy)
    types = as_array(types).astype(str)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.3))
    draw_groups(left, points, types, large_groups(types, least), size=2.5)
    dots = right.scatter(*points.T, c=energy, s=3, cmap="cividis")
    for ax, title in [(left, "by type"), (right, "by energy")]:
        ax.set(title=title)
        bare(ax)
    figure.colorbar(
        dots,
        ax=right,
        location="bottom",
        label=r"energy $E(\mu)$ (nats)",
        pad=0.02,
    )
    key(figure, dots=8, **CLOSE)
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
    height = max(4.6, 0.28 * len(names) + 0.7)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, height), width_ratios=[1.5, 1]
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
        (~common, "^", BLACK, count_others(len(names) - 1)),
    ]:
        if not chosen.any():
            continue
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
def programs(changes):
    """What flipping a bit does to genes, as a grid of shades.

    Parameters
    ----------
    changes : DataFrame, shape (n_bits, n_genes)
        log2 change of a gene's share where the bit goes from 0 to 1. Rows
        and columns are named by the index and the columns.

    Returns
    -------
    Figure
        White is no change; both signs have the same range of shades.
    """
    height = 0.34 * len(changes) + 2.2
    figure, ax = plt.subplots(figsize=(WIDTH, height))
    reach = np.abs(changes.to_numpy()).max()
    image = ax.imshow(
        changes,
        aspect="auto",
        cmap="PuOr_r",
        vmin=-reach,
        vmax=reach,
        rasterized=True,
    )
    ax.set_yticks(range(len(changes)), changes.index)
    ax.set_xticks(range(changes.shape[1]), changes.columns, rotation=90)
    ax.tick_params(length=0)
    figure.colorbar(
        image,
        location="top",
        label="log2 change of the gene's share",
        pad=0.02,
        fraction=0.08,
        aspect=40,
    )
    return figure


@house_style
def couplings_and_programs(couplings, likeness):
    """Coupling of each pair of bits against how alike their programs are.

    Parameters
    ----------
    couplings, likeness : array, shape (n_left, n_right)
        Couplings in nats, and correlations from -1 to 1.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.axhline(0, color=GREY, linewidth=1, linestyle="-")
    ax.axvline(0, color=GREY, linewidth=1, linestyle="-")
    ax.plot(
        as_array(likeness).ravel(),
        as_array(couplings).ravel(),
        "o",
        color=BLUE,
        markersize=3,
        alpha=0.5,
        linestyle="none",
    )
    ax.set(xlabel="correlation of the two programs", ylabel="coupling (nats)")
    return figure


@house_style
def marker_shares(ratios, genes):
    """Shares of some genes in each type, by models and by the counts.

    Parameters
    ----------
    ratios : dict of str to DataFrame
        Name of a model -> what `metrics.marker_ratios` says of it. All are of
        the same cells and markers.
    genes : sequence of str
        Markers among them, one panel each.

    Returns
    -------
    Figure
        The type with the highest real share of the first gene is on top.
    """
    first = next(iter(ratios.values()))
    order = first[first.gene == genes[0]].sort_values("real")["type"]
    figure, axes = panels(len(genes), 0.3 * len(order) + 1.8, sharey=True)
    for ax, gene in zip(axes, genes, strict=True):
        real = _share(first, gene, order, "real")
        ax.plot(
            real,
            order,
            "|",
            color=BLACK,
            ms=16,
            mew=2,
            linestyle="none",
            label="counts",
        )
        for i, (name, of) in enumerate(ratios.items()):
            look = dot_look(i) | {"ms": 7, "linestyle": "none"}
            ax.plot(_share(of, gene, order, "model"), order, **look, label=name)
        ax.set(title=gene, xscale="log", xlabel="share of UMIs")
        ax.minorticks_off()
    key(figure, *each_once(axes))
    return figure


def _share(ratios, gene, types, column):
    """The gene's share in each type, (types,)."""
    return ratios[ratios.gene == gene].set_index("type")[column].loc[types]


@house_style
def tightening(bounds):
    """How a bound rises with the draws a cell, for several models.

    Parameters
    ----------
    bounds : DataFrame, shape (n_sizes, n_models)
        Mean bound in nats a cell; the index holds the numbers of draws,
        rising. Each model is drawn relative to its last bound.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2))
    for i, name in enumerate(bounds):
        look = dot_look(i) | line_look(i)
        below = bounds[name] - bounds[name].iloc[-1]
        ax.plot(bounds.index, below, **look, label=name)
    ax.set_xscale("log", base=2)
    ticks = bounds.index[::2]
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks])
    ax.set(
        xlabel="draws a cell",
        ylabel=f"nats below {bounds.index[-1]:,} draws",
    )
    key_in(ax, handlelength=3)
    return figure


@house_style
def calibration(means, bits, depth, entropy, surprise, n_bins=10, n_groups=4):
    """Whether a posterior over bits claims as much as it knows.

    Parameters
    ----------
    means : array, shape (n_cells, n_bits)
        Posterior probability that a bit is on.
    bits : array, shape (n_cells, n_bits)
        The bits that the cells were made from.
    depth : array, shape (n_cells,)
        Counts of each cell.
    entropy, surprise : array, shape (n_cells,)
        Entropy of the posterior and minus its log probability of the true
        bits, in nats.
    n_bins : int
        Equal bins of `means`, in the left panel.
    n_groups : int
        Groups of cells of rising depth, equally many, in the right panel.

    Returns
    -------
    Figure
    """
    means, bits = as_array(means).ravel(), as_array(bits).ravel()
    in_bin = np.minimum((means * n_bins).astype(int), n_bins - 1)
    filled = np.unique(in_bin)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8))
    left.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle="-")
    left.plot(
        [means[in_bin == k].mean() for k in filled],
        [bits[in_bin == k].mean() for k in filled],
        "o-",
        color=BLUE,
    )
    left.set(xlabel="claimed $\\mu$", ylabel="bits that were on")
    left.set(xlim=(0, 1), ylim=(0, 1))
    left.set_aspect("equal", adjustable="box")
    order = np.argsort(as_array(depth), kind="stable")
    groups = np.array_split(order, n_groups)
    middles = [np.median(as_array(depth)[group]) for group in groups]
    for values, label, marker, colour, dash in [
        (surprise, "surprise", "^", VERMILION, "--"),
        (entropy, "entropy", "o", BLUE, "-"),
    ]:
        right.plot(
            middles,
            [as_array(values)[group].mean() for group in groups],
            marker,
            color=colour,
            linestyle=dash,
            label=label,
        )
    right.set(xscale="log", xlabel="UMIs a cell", ylabel="nats a cell")
    right.minorticks_off()
    ends = middles[0], middles[-1]
    right.set_xticks(ends, [f"{end:,.0f}" for end in ends])
    right.margins(x=0.15, y=0.3)
    right.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=2,
        handlelength=1.6,
        columnspacing=0.8,
        borderpad=0,
    )
    return figure
