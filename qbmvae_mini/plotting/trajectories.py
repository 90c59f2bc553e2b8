"""Figures of orders: maps of a process, pseudotime and energy against truth."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    house_style,
    key_below,
)


@house_style
def ordered_map(points, time, branch, label="true time"):
    """Cells on a plane, by branch and by their place in the order.

    Parameters
    ----------
    points : array, shape (n_cells, 2)
    time : array, shape (n_cells,)
    branch : sequence of str, one a cell
        Drawn in the order of their first letters; seven at most.
    label : str
        What the shades mean.

    Returns
    -------
    Figure
    """
    points, time = as_array(points), as_array(time)
    branch = as_array(branch).astype(str)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    styles = zip(np.unique(branch), COLOURS, MARKERS, strict=False)
    for name, colour, marker in styles:
        left.plot(
            *points[branch == name].T,
            marker,
            color=colour,
            markersize=3,
            linestyle="none",
            label=name,
        )
    dots = right.scatter(*points.T, c=time, s=4, cmap="cividis")
    for ax, title in [(left, "by branch"), (right, f"by {label}")]:
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    figure.colorbar(dots, ax=right, location="bottom", label=label, pad=0.02)
    key_below(figure, ncols=4)
    return figure


@house_style
def graph_times(places, weights, time):
    """A small graph of cells, each with its pseudotime.

    Parameters
    ----------
    places : array, shape (n, 2)
        Where the cells stand.
    weights : array, shape (n, n)
        0 where two cells are not joined.
    time : array, shape (n,)

    Returns
    -------
    Figure
    """
    places, weights = as_array(places), as_array(weights)
    figure, ax = plt.subplots(figsize=(WIDTH, 2.9))
    for i, j in np.argwhere(np.triu(weights)):
        ax.plot(*places[[i, j]].T, "-", color=GREY, linewidth=1.5, zorder=1)
    ax.scatter(
        *places.T, c=as_array(time), s=620, cmap="cividis", edgecolor=BLACK
    )
    # On yellow, the light end of the colours, letters are black.
    for i, (place, value) in enumerate(zip(places, time, strict=True)):
        style = {"ha": "center", "va": "center"}
        ink = BLACK if value > 0.55 else "white"
        ax.text(*place, str(i), color=ink, **style)
        # On white, so that no edge runs through the digits.
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        words = f"{value:.2f}"
        away = 0.45 if place[1] > 0 else -0.45  # from the other edges
        ax.text(place[0], place[1] + away, words, bbox=box, **style)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.1, 0.3)
    ax.spines[:].set_visible(False)
    return figure


@house_style
def against_truth(truth, values, groups, xlabel, ylabel):
    """Panels of a number against the true order, cell by cell.

    Parameters
    ----------
    truth : array, shape (n_cells,)
    values : dict of str to array, shape (n_cells,)
        Title of a panel -> what is drawn upwards; three panels at most. Cells
        with an infinite value are left out.
    groups : sequence of str, one a cell
        Told apart by colour and marker; seven at most.
    xlabel, ylabel : str

    Returns
    -------
    Figure
    """
    truth, groups = as_array(truth), as_array(groups).astype(str)
    figure, axes = plt.subplots(
        1, len(values), figsize=(WIDTH, 3.9), squeeze=False
    )
    names = np.unique(groups)
    for ax, (title, value) in zip(axes.flat, values.items(), strict=True):
        value = as_array(value)
        finite = np.isfinite(value)
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            mine = finite & (groups == name)
            ax.plot(
                truth[mine],
                value[mine],
                marker,
                color=colour,
                markersize=3,
                linestyle="none",
                label=name if ax is axes[0, 0] else None,
            )
        ax.set(title=title, xlabel=xlabel)
    axes[0, 0].set(ylabel=ylabel)
    if len(names) > 1:
        key_below(figure, ncols=4)
    return figure


@house_style
def energy_and_nulls(kendalls, shuffled):
    """Rank correlations of the energy with the truth, beside the nulls.

    Parameters
    ----------
    kendalls : dict of str to float
        What orders the cells -> its Kendall's tau with the truth; drawn from
        the top.
    shuffled : array, shape (n,)
        The same for energies of machines with shuffled couplings.

    Returns
    -------
    Figure
    """
    height = 0.42 * len(kendalls) + 1.6
    figure, ax = plt.subplots(figsize=(WIDTH, height))
    rows = np.arange(len(kendalls), 0, -1)
    ax.axvline(0, color=GREY, linewidth=1, linestyle="-")
    ax.plot(
        list(kendalls.values()),
        rows,
        "o",
        color=BLUE,
        markersize=9,
        linestyle="none",
    )
    shuffled = as_array(shuffled)
    ax.plot(
        shuffled,
        np.zeros(len(shuffled)),
        "|",
        color=VERMILION,
        markersize=14,
        markeredgewidth=2,
        linestyle="none",
    )
    names = [*kendalls, "energy, shuffled"]
    ax.set_yticks([*rows, 0], names)
    ax.set(xlim=(-1, 1), ylim=(-0.6, len(kendalls) + 0.6))
    ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    ax.set(xlabel="Kendall's tau with the truth")
    ax.tick_params(axis="y", length=0)
    return figure


@house_style
def order_scores(table, models, score, nulls=()):
    """A score of each model on every split, and its mean.

    Parameters
    ----------
    table : DataFrame
        Rows of the results table, of one data set.
    models : sequence of str
        From the top.
    score : str
        Column.
    nulls : sequence of float
        What dull orders reach: dashed lines.

    Returns
    -------
    Figure
    """
    height = 0.36 * len(models) + 1.1
    figure, ax = plt.subplots(figsize=(WIDTH, height))
    rows = np.arange(len(models), 0, -1)
    for row, model in zip(rows, models, strict=True):
        values = table.loc[table.model == model, score].to_numpy()
        ax.plot(
            values,
            np.full(len(values), row),
            "o",
            color=SKY,
            markersize=6,
            linestyle="none",
        )
        ax.plot(
            [values.mean()],
            [row],
            "|",
            color=BLACK,
            markersize=18,
            markeredgewidth=2.5,
            linestyle="none",
        )
    for null in nulls:
        ax.axvline(null, color=VERMILION, linewidth=1.5, linestyle="--")
    ax.set_yticks(rows, models)
    ax.set(xlabel=score.replace("_", " "), ylim=(0.4, len(models) + 0.6))
    ax.tick_params(axis="y", length=0)
    return figure
