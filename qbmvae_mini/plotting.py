"""Every figure of the book, in one style.

Each function takes data, draws once and returns a closed
`matplotlib.figure.Figure`: in a notebook, a cell that ends with the call
shows it, once. Colours are those of Okabe and Ito (2008), which readers with
any kind of colour vision can tell apart; no figure relies on colour alone.
"""

from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import torch

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#767676"

#: Colours and dashes of lines in one panel, in this order.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))

#: Width of a full figure in inches. Letters of 14 points on it are still
#: 10 pixels high on a phone that is 360 pixels wide.
WIDTH = 6.5

STYLE = {
    "figure.figsize": (WIDTH, 3.2),
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "white",
    "axes.prop_cycle": plt.cycler(color=COLOURS, linestyle=DASHES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 14,
    "axes.labelsize": 14,
    "font.size": 13,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "legend.fontsize": 13,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "savefig.facecolor": "white",
}


def house_style(draw):
    """Make `draw` draw in the book's style and return its figure closed.

    pyplot would show an open figure a second time at the end of the cell.
    """

    @wraps(draw)
    def styled(*args, **kwargs):
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        plt.close(figure)
        return figure

    return styled


def as_array(values):
    """Values as a NumPy array, also of a tensor that carries a gradient."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


@house_style
def landscape(energy, probability, labels):
    """Energy and probability of a few states, side by side.

    Parameters
    ----------
    energy, probability : array, shape (n_states,)
    labels : sequence of str
        Names of the states.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(1, 2)
    panels = [
        ("energy $E$ (nats)", energy, BLUE, "{:g}"),
        ("probability $p$", probability, ORANGE, "{:.3f}"),
    ]
    for ax, (title, values, colour, form) in zip(axes, panels, strict=True):
        bars = ax.bar(labels, as_array(values), color=colour)
        ax.bar_label(bars, fmt=form, padding=2)
        ax.axhline(0, color=BLACK, linewidth=0.8, linestyle="-")
        ax.set(title=title, xlabel="state")
        ax.locator_params(axis="y", nbins=5)
        ax.margins(y=0.15)
    axes[1].set_ylim(bottom=0)
    return figure


@house_style
def energy_levels(energy, probability):
    """How many states have each energy, and how probable they are together.

    The number of states is drawn on a logarithmic scale.

    Parameters
    ----------
    energy, probability : array, shape (n_states,)
        Energies closer than 1e-6 nats count as one level.

    Returns
    -------
    Figure
    """
    energy = as_array(energy).round(6)
    levels, place = np.unique(energy, return_inverse=True)
    count = np.bincount(place)
    mass = np.bincount(place, weights=as_array(probability))
    width = 0.8 * np.diff(levels).min(initial=1)
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 4.2))
    axes[0].plot(levels, count, "o", color=BLUE)
    axes[0].set(ylabel="states", yscale="log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].grid(axis="y", linewidth=0.5)
    axes[1].bar(levels, mass, width, color=ORANGE)
    axes[1].set(ylabel="probability", xlabel="energy $E$ (nats)")
    return figure


@house_style
def temperature(beta, probability, labels):
    r"""Probability of each state against the inverse temperature.

    Parameters
    ----------
    beta : array, shape (n_beta,)
    probability : array, shape (n_beta, n_states)
    labels : sequence of str
        Names of the states.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots()
    lines = ax.plot(as_array(beta), as_array(probability))
    ax.axvline(1, color=GREY, linewidth=1, linestyle="-")
    ax.set(
        xlabel=r"inverse temperature $\beta$",
        ylabel="probability",
        ylim=(0, 1),
    )
    ax.margins(x=0)
    # Beside the axes, so that it never lies on a line.
    ax.legend(
        lines,
        labels,
        title="state",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        handlelength=3,
    )
    return figure


@house_style
def spin_states(bqm, spins):
    """States of a few coupled spins, each drawn as a ring of arrows.

    A pair is content if its term ``J_ij s_i s_j`` is negative, and is then
    joined by a solid line; a discontent pair is joined by a dashed one.

    Parameters
    ----------
    bqm : dimod.BinaryQuadraticModel
        Over spins 0 to n - 1.
    spins : array, shape (n_states, n)
        Values -1 and 1; four states a row.

    Returns
    -------
    Figure
    """
    spins = as_array(spins)
    n = spins.shape[1]
    energies = bqm.energies((spins, range(n)))
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    x, y = np.cos(angle), np.sin(angle)
    rows = -(-len(spins) // 4)
    figure, axes = plt.subplots(
        rows, 4, figsize=(WIDTH, 1.7 * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
        ax.set(aspect="equal", xlim=(-1.4, 1.4), ylim=(y.min() - 0.4, 1.4))
    for ax, state, energy in zip(axes.flat, spins, energies, strict=False):
        for (i, j), coupling in bqm.quadratic.items():
            content = coupling * state[i] * state[j] < 0
            ax.plot(
                x[[i, j]],
                y[[i, j]],
                color=BLUE if content else VERMILION,
                linestyle="-" if content else "--",
                zorder=1,
            )
        for spin, *place in zip(state, x, y, strict=True):
            ax.text(
                *place,
                "\N{UPWARDS ARROW}" if spin > 0 else "\N{DOWNWARDS ARROW}",
                ha="center",
                va="center",
                fontsize=15,
                bbox={"boxstyle": "circle", "fc": "white", "ec": BLACK},
            )
        ax.set_title(f"$E = {energy:g}$")
    return figure


# Chapter 08: the Boltzmann prior


@house_style
def qbm_vae():
    """The parts of a QBM-VAE, and the one arrow that needs a sampler.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.7))
    ax.set(xlim=(0, 10), ylim=(0, 5.7))
    ax.axis("off")
    for x, text in [
        (0.8, "counts\n$x$"),
        (2.9, "encoder"),
        (7.1, "decoder"),
        (9.2, "law of\ncounts"),
    ]:
        _box(ax, x, 4.9, text)
    _box(ax, 5, 4.9, "bits\n$z$", boxstyle="circle,pad=0.25")
    for start, end in [(1.45, 2.0), (3.8, 4.42), (5.58, 6.2), (8.0, 8.5)]:
        _arrow(ax, (start, 4.9), (end, 4.9))
    heights = (2.8, 1.9, 1.0)
    for start in heights:
        for end in heights:
            ax.plot([4, 6], [start, end], color=BLUE, linestyle="-", lw=1.2)
    for x in (4, 6):
        circle = {"markersize": 17, "mfc": "white", "mec": BLUE, "mew": 2}
        ax.plot([x] * 3, heights, "o", linestyle="none", **circle)
    ax.text(5, 0.15, "prior: a Boltzmann machine", ha="center")
    _arrow(ax, (5, 4.2), (5, 3.1))
    ax.text(4.8, 3.65, "positive phase:\nexact", ha="right", va="center")
    _box(ax, 8.9, 1.9, "sampler", edgecolor=VERMILION)
    _arrow(ax, (8.0, 1.9), (6.4, 1.9), color=VERMILION)
    ax.text(
        7.9, 2.95, "negative phase:\ndrawn states", ha="center", va="center"
    )
    return figure


def _box(ax, x, y, text, *, boxstyle="round,pad=0.45", edgecolor=BLACK):
    box = {"boxstyle": boxstyle, "fc": "white", "ec": edgecolor, "lw": 1.5}
    ax.text(x, y, text, ha="center", va="center", bbox=box)


def _arrow(ax, start, end, color=BLACK):
    style = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0}
    ax.annotate("", end, start, arrowprops=style | {"shrinkB": 0})


@house_style
def sampled_gradient(exact, few, many, draws, errors):
    """A gradient from draws against the exact one, and how the error falls.

    Parameters
    ----------
    exact : array, shape (n_weights,)
        Gradient by enumeration.
    few, many : array, shape (n_weights,)
        Estimates from the smallest and the largest number of draws.
    draws : array, shape (n_sizes,)
        Numbers of draws, rising.
    errors : array, shape (n_sizes, repeats)
        Length of the error over the length of the exact gradient.

    Returns
    -------
    Figure
    """
    exact, draws, errors = map(as_array, (exact, draws, errors))
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    left.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle="-")
    for estimate, n, marker, colour in [
        (few, draws[0], "^", VERMILION),
        (many, draws[-1], "o", BLUE),
    ]:
        left.plot(
            exact,
            as_array(estimate),
            marker,
            color=colour,
            markersize=5,
            linestyle="none",
            label=f"{n:,} draws",
        )
    left.set(xlabel="exact", ylabel="from draws", title="each weight")
    left.legend(handletextpad=0.1, borderpad=0, labelspacing=0.2)
    right.loglog(
        np.repeat(draws, errors.shape[1]),
        errors.ravel(),
        "o",
        color=SKY,
        markersize=3,
        linestyle="none",
    )
    mean = errors.mean(1)
    right.loglog(draws, mean, "-", color=BLUE, label="mean of repeats")
    law = mean[0] * np.sqrt(draws[0] / draws)
    right.loglog(draws, law, "--", color=BLACK, label=r"$1/\sqrt{n}$")
    right.set(xlabel="draws $n$", title="relative error")
    # Marks of our own: matplotlib's crowd an axis of less than two decades.
    right.set_xticks(draws[::2], [f"{n:,}" for n in draws[::2]])
    low, high = right.get_ylim()
    marks = [m for m in (0.003, 0.01, 0.03, 0.1, 0.3, 1) if low < m < high]
    right.set_yticks(marks, [f"{m:g}" for m in marks])
    right.minorticks_off()
    right.legend(borderpad=0, labelspacing=0.2)
    return figure


@house_style
def paired_differences(groups, splits=None):
    """Mean differences between models with their intervals, one row each.

    Parameters
    ----------
    groups : dict of str to dict of str to (mean, lower, upper)
        A title, the rows under it, and their numbers in nats a cell.
    splits : dict, optional
        As `groups`, with the difference of each split in place of the
        numbers; drawn as small dots.

    Returns
    -------
    Figure
    """
    n_rows = sum(len(rows) + 1 for rows in groups.values())
    figure, ax = plt.subplots(figsize=(WIDTH, 0.34 * n_rows + 0.6))
    ax.axvline(0, color=GREY, linewidth=1, linestyle="-")
    places, labels, y = [], [], 0
    for colour, (title, rows) in zip(COLOURS, groups.items(), strict=False):
        # Titles lie in the panel: beside it they would take half the page.
        at_left = ax.get_yaxis_transform()
        heading = {"weight": "bold", "va": "center", "backgroundcolor": "white"}
        ax.text(0, y, title, transform=at_left, **heading)
        for label, (mean, lower, upper) in rows.items():
            y += 1
            places.append(y)
            labels.append(label)
            ax.plot([lower, upper], [y, y], color=colour, linestyle="-")
            ax.plot(mean, y, "D", color=colour, markersize=6)
            each = splits[title][label] if splits else []
            low = np.full(len(each), y + 0.35)
            ax.plot(each, low, "o", color=GREY, ms=2.5, linestyle="none")
        y += 1
    ax.set(xlabel="difference in nats a cell", ylim=(y - 0.3, -0.35))
    ax.set_yticks(places, labels)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure


@house_style
def followed(step, curves):
    """Several numbers of two runs, a panel a number, against the step.

    Parameters
    ----------
    step : array, shape (n_steps,)
    curves : dict of str to dict of str to array
        Title of a panel -> name of a run -> its numbers.

    Returns
    -------
    Figure
    """
    height = 1.7 * len(curves) + 0.4
    figure, axes = plt.subplots(
        len(curves), 1, sharex=True, figsize=(WIDTH, height), squeeze=False
    )
    for ax, (title, runs) in zip(axes.flat, curves.items(), strict=True):
        for name, numbers in runs.items():
            ax.plot(as_array(step), as_array(numbers), label=name)
        ax.set_title(title, loc="left")
        ax.margins(x=0)
    axes[0, 0].legend(handlelength=3)
    axes[-1, 0].set_xlabel("step")
    return figure


# Chapter 10: the QBM-VAE on cells


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
    names, counts = np.unique(types, return_counts=True)
    large = names[np.argsort(-counts, kind="stable")][: (counts >= least).sum()]
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
    key = figure.legend(
        loc="outside lower center",
        ncols=3,
        handletextpad=0.1,
        columnspacing=0.8,
        labelspacing=0.2,
    )
    for handle in key.legend_handles:
        handle.set_markersize(8)
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


@house_style
def boltzmann_minus_rivals(table, rivals):
    """Held-out likelihood of the Boltzmann prior against each rival.

    Parameters
    ----------
    table : DataFrame
        See `qbmvae_mini.results.load`.
    rivals : sequence of str
        Names of models in the table.

    Returns
    -------
    Figure
        As `paired_differences`.
    """
    from qbmvae_mini.results import DATASETS, SAMPLES, paired_interval

    ours = "Boltzmann 32+32"
    groups, splits = {}, {}
    for rival in rivals:
        title = f"{ours} minus {rival}"
        groups[title], splits[title] = {}, {}
        for name in DATASETS:
            scores = table[table.dataset == name].pivot(
                index="split",
                columns="model",
                values=f"log_likelihood_{SAMPLES[-1]}",
            )
            splits[title][name] = (scores[ours] - scores[rival]).to_numpy()
            groups[title][name] = paired_interval(table, name, ours, rival)
    return paired_differences(groups, splits)
