"""Figures of labels read off codes: how right, how sure, how few suffice."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    VERMILION,
    WIDTH,
    as_array,
    dot_look,
    draw_arrow,
    draw_box,
    house_style,
    key,
    line_look,
    own_marks,
    panels,
    rows_named,
)


@house_style
def probe_parts():
    """What sees which cells and which labels, as a diagram.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.set(xlim=(0, 10), ylim=(-0.2, 6.2))
    ax.axis("off")
    high, low, middle = 4.6, 1.0, 2.8
    for y, name in [(high, "training\ncells"), (low, "held-out\ncells")]:
        draw_box(ax, 1.1, y, name)
    draw_box(ax, 4.0, middle, "encoder\n(no labels)", edgecolor=BLUE)
    draw_box(ax, 7.0, middle, "linear\nprobe", edgecolor=VERMILION)
    draw_box(ax, 7.0, 5.6, "their labels")
    draw_box(ax, 9.2, middle, "calls")
    draw_box(ax, 9.0, 0.3, "true labels")
    draw_arrow(ax, (1.95, high), (3.3, 3.45), BLUE)
    draw_arrow(ax, (1.95, low), (3.3, 2.15))
    draw_arrow(ax, (5.05, middle), (6.3, middle))
    draw_arrow(ax, (7.0, 5.15), (7.0, 3.5), VERMILION)
    draw_arrow(ax, (7.7, middle), (8.6, middle))
    draw_arrow(ax, (9.2, 0.75), (9.2, 2.4))
    ax.text(2.55, 4.5, "train", color=BLUE, va="center")
    ax.text(7.2, 4.35, "train", color=VERMILION, va="center")
    ax.text(5.65, 3.0, "codes", va="bottom", ha="center")
    ax.text(9.0, 1.55, "score", va="center", ha="right")
    return figure


@house_style
def f1_by_type(scores, counts, intervals=None, bar="interval"):
    """F1 of each type, one marker a model, the commonest type on top.

    Parameters
    ----------
    scores : DataFrame, shape (n_types, n_models)
        Its index names the types.
    counts : Series
        Type -> number of cells that were scored.
    intervals : DataFrame, shape (n_types, 2), optional
        Lower and upper end by type, drawn as a grey bar.
    bar : str
        Name of the bar in the key: which model's interval it is.

    Returns
    -------
    Figure
    """
    order = counts.loc[scores.index].sort_values(kind="stable").index
    height = 0.33 * len(order) + 1.2
    figure, ax = plt.subplots(figsize=(WIDTH, height))
    places = np.arange(len(order))
    if intervals is not None:
        low, high = as_array(intervals.loc[order]).T
        grey = {"color": "#dddddd", "label": bar}
        ax.barh(places, high - low, 0.75, left=low, **grey)
    n = len(scores.columns)
    step = min(0.2, 0.8 / n)  # side by side, within the row
    for i, name in enumerate(scores.columns):
        ax.plot(
            scores[name].loc[order],
            places + step * ((n - 1) / 2 - i),
            **dot_look(i),
            markersize=6,
            linestyle="none",
            label=name,
        )
    rows_named(ax, places, [f"{t} ({counts[t]})" for t in order])
    ax.set(xlabel="F1", xlim=(-0.03, 1.03), ylim=(-0.6, len(order) - 0.4))
    close = {"handletextpad": 0.1, "columnspacing": 1}
    key(figure, where="upper center", ncols=min(n, 4), **close)
    return figure


@house_style
def few_label_curves(curves, budgets):
    """A score against the number of labelled cells of each type.

    Parameters
    ----------
    curves : dict of str to dict of str to array, shape (n_budgets, n_draws)
        A panel's title, its models, and their scores: the line is the mean
        over draws of labelled cells, the bar runs from lowest to highest.
    budgets : sequence of int

    Returns
    -------
    Figure
    """
    figure, axes = panels(len(curves), 3.9, sharey=True)
    budgets = as_array(budgets)
    for ax, (title, models) in zip(axes, curves.items(), strict=True):
        for i, (name, scores) in enumerate(models.items()):
            scores = as_array(scores)
            mean = scores.mean(axis=1)
            ends = [mean - scores.min(axis=1), scores.max(axis=1) - mean]
            # Side by side, not on each other, and never as far as the next.
            aside = min(0.06, 0.2 / len(models)) * (i - (len(models) - 1) / 2)
            look = dot_look(i) | line_look(i) | {"elinewidth": 1}
            x = budgets * np.exp(aside)
            ax.errorbar(x, mean, yerr=ends, **look, label=name)
        ax.set(title=title, xscale="log", xlabel="labels a type")
        own_marks(ax.xaxis, budgets, "{}")
    axes[0].set(ylabel="macro-F1")
    handles, names = axes[0].get_legend_handles_labels()
    lines = [handle[0] for handle in handles]
    key(figure, lines, names, ncols=4, handlelength=2.6, columnspacing=1)
    return figure


@house_style
def reliability(groups, bins=10):
    """How often calls are right against how sure they were.

    Parameters
    ----------
    groups : dict of str to (confidence, right)
        A panel's title; for each cell the probability of its call, and
        whether the call is right.
    bins : int
        Equal bins of the confidence, the upper end included.

    Returns
    -------
    Figure
        Above: share of right calls in each bin with its exact 95% interval
        (Clopper and Pearson 1934), at the mean confidence of the bin.
        Below: cells of each bin.
    """
    from scipy import stats

    figure, pairs = _panels_in_pairs(len(groups))
    for (above, below), (title, each) in zip(
        pairs, groups.items(), strict=True
    ):
        confidence, right = map(as_array, each)
        place = np.ceil(confidence * bins).astype(int).clip(1, bins)
        above.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle="-")
        for k in np.unique(place):
            inside = place == k
            found = stats.binomtest(int(right[inside].sum()), int(inside.sum()))
            ends = found.proportion_ci()
            x = confidence[inside].mean()
            above.plot([x, x], ends, color=GREY, linestyle="-", linewidth=1.5)
            above.plot(x, right[inside].mean(), "o", color=BLUE, markersize=6)
        edges = (np.arange(bins) + 0.5) / bins
        cells = np.bincount(place, minlength=bins + 1)[1:]
        below.bar(edges, cells, 0.8 / bins, color=BLUE)
        above.set(title=title, xlim=(0, 1.02), ylim=(-0.03, 1.03))
        below.set(xlabel="confidence")
        below.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    pairs[0][0].set(ylabel="share right")
    pairs[0][1].set(ylabel="cells")
    return figure


def _panels_in_pairs(n, across=4):
    """A high panel over a low one, `n` times; rows of `across` pairs."""
    columns = min(n, across)
    rows = -(-n // columns)
    figure, axes = plt.subplots(
        2 * rows,
        columns,
        figsize=(WIDTH, 4.6 * rows),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2.6, 1] * rows,
    )
    for ax in [*axes[::2].flat[n:], *axes[1::2].flat[n:]]:
        ax.remove()
    pairs = zip(axes[::2].flat[:n], axes[1::2].flat[:n], strict=True)
    return figure, list(pairs)


@house_style
def inflated_scores(table, label="macro-F1"):
    """A score with a leak and without, one row a leak.

    Parameters
    ----------
    table : DataFrame, shape (n_leaks, 2)
        Columns ``honest`` and ``leaked``.
    label : str

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.62 * len(table) + 1.3))
    places = np.arange(len(table))
    for y, (honest, leaked) in enumerate(as_array(table[["honest", "leaked"]])):
        ax.plot([honest, leaked], [y, y], color=BLACK, linestyle="-", lw=1)
    for name, marker, colour in [
        ("honest", "o", BLUE),
        ("leaked", "^", VERMILION),
    ]:
        ax.plot(
            table[name],
            places,
            marker,
            color=colour,
            markersize=9,
            linestyle="none",
            label=name,
        )
    rows_named(ax, places, table.index)
    ax.set(xlabel=label, xlim=(-0.03, 1.03), ylim=(len(table) - 0.5, -0.5))
    figure.legend(loc="outside upper center", ncols=2, handletextpad=0.1)
    return figure
