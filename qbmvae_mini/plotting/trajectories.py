"""Figures of orders: maps of a process, pseudotime and energy against truth."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    CLOSE,
    GREY,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    bare,
    draw_groups,
    house_style,
    key,
    large_groups,
    line_look,
    panels,
    rows_named,
)


@house_style
def ordered_map(points, time, branch, label="true time"):
    """Cells on a plane, by branch and by their place in the order.

    Parameters
    ----------
    points : array, shape (n_cells, 2)
    time : array, shape (n_cells,)
    branch : sequence of str, one a cell
        In the order of their letters; beyond the 40 largest they are drawn
        alike, as crosses.
    label : str
        What the shades mean.

    Returns
    -------
    Figure
    """
    points, time = as_array(points), as_array(time)
    branch = as_array(branch).astype(str)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    draw_groups(left, points, branch, np.sort(large_groups(branch)), size=3)
    dots = right.scatter(*points.T, c=time, s=4, cmap="cividis")
    for ax, title in [(left, "by branch"), (right, f"by {label}")]:
        ax.set(title=title)
        bare(ax)
    figure.colorbar(dots, ax=right, location="bottom", label=label, pad=0.02)
    key(figure, ncols=4, dots=8, **CLOSE)
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
    bare(ax)
    ax.margins(0.1, 0.3)
    return figure


@house_style
def against_truth(truth, values, groups, xlabel, ylabel):
    """Panels of a number against the true order, cell by cell.

    Parameters
    ----------
    truth : array, shape (n_cells,)
    values : dict of str to array, shape (n_cells,)
        Title of a panel -> what is drawn upwards. Cells with an infinite
        value are left out.
    groups : sequence of str, one a cell
        Told apart by colour and marker; beyond the 40 largest they are drawn
        alike, as crosses.
    xlabel, ylabel : str

    Returns
    -------
    Figure
    """
    truth, groups = as_array(truth), as_array(groups).astype(str)
    figure, axes = panels(len(values), 3.9)
    names = np.sort(large_groups(groups))
    for ax, (title, value) in zip(axes, values.items(), strict=True):
        finite = np.isfinite(as_array(value))
        places = np.stack([truth, as_array(value)], axis=1)[finite]
        draw_groups(ax, places, groups[finite], names, size=3)
        ax.set(title=title, xlabel=xlabel)
    axes[0].set(ylabel=ylabel)
    if len(names) > 1:
        entries = axes[0].get_legend_handles_labels()
        key(figure, *entries, ncols=4, dots=8, **CLOSE)
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
    rows_named(ax, [*rows, 0], names)
    ax.set(xlim=(-1, 1), ylim=(-0.6, len(kendalls) + 0.6))
    ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    ax.set(xlabel="Kendall's tau with the truth")
    return figure


@house_style
def order_scores(table, models, score, nulls=None):
    """A score of each model on every split, and its mean.

    Parameters
    ----------
    table : DataFrame
        Rows of the results table, of one data set.
    models : sequence of str
        From the top.
    score : str
        Column.
    nulls : dict of str to float, optional
        Name of a dull order -> what it reaches: dashed lines, each with its
        own dashes and its name in the key.

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
    nulls = {} if nulls is None else dict(nulls)
    for i, (name, null) in enumerate(nulls.items(), start=1):
        ax.axvline(null, **line_look(i) | {"linewidth": 1.5}, label=name)
    if nulls:
        key(figure, where="upper center", handlelength=2.6)
    rows_named(ax, rows, models)
    ax.set(xlabel=score.replace("_", " "), ylim=(0.4, len(models) + 0.6))
    return figure
