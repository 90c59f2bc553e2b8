"""Figures of the Boltzmann prior: gradients, comparisons, curves."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    draw_arrow,
    draw_box,
    house_style,
    key_in,
    own_marks,
    rows_named,
)


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
        draw_box(ax, x, 4.9, text)
    draw_box(ax, 5, 4.9, "bits\n$z$", boxstyle="circle,pad=0.25")
    for start, end in [(1.45, 2.0), (3.8, 4.42), (5.58, 6.2), (8.0, 8.5)]:
        draw_arrow(ax, (start, 4.9), (end, 4.9))
    heights = (2.8, 1.9, 1.0)
    for start in heights:
        for end in heights:
            ax.plot([4, 6], [start, end], color=BLUE, linestyle="-", lw=1.2)
    for x in (4, 6):
        circle = {"markersize": 17, "mfc": "white", "mec": BLUE, "mew": 2}
        ax.plot([x] * 3, heights, "o", linestyle="none", **circle)
    ax.text(5, 0.15, "prior: a Boltzmann machine", ha="center")
    draw_arrow(ax, (5, 4.2), (5, 3.1))
    ax.text(4.8, 3.65, "positive phase:\nexact", ha="right", va="center")
    draw_box(ax, 8.9, 1.9, "sampler", edgecolor=VERMILION)
    draw_arrow(ax, (8.0, 1.9), (6.4, 1.9), color=VERMILION)
    ax.text(
        7.9, 2.95, "negative phase:\ndrawn states", ha="center", va="center"
    )
    return figure


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
    own_marks(right.xaxis, draws[::2], "{:,}")
    low, high = right.get_ylim()
    marks = [m for m in (0.003, 0.01, 0.03, 0.1, 0.3, 1) if low < m < high]
    own_marks(right.yaxis, marks)
    right.legend(borderpad=0, labelspacing=0.2)
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
    key_in(axes[0, 0], handlelength=3)
    axes[-1, 0].set_xlabel("step")
    return figure


@house_style
def coupled_pair(carriers, changes):
    """Who carries a pair of bits, and what it does to genes.

    Parameters
    ----------
    carriers : Series
        Cell type -> probability that both bits are on.
    changes : Series
        Gene -> log2 change of its share where both bits are on.

    Returns
    -------
    Figure
        The rows of both panels in the order given, the first on top.
    """
    n_rows = len(carriers) + len(changes)
    figure, (above, below) = plt.subplots(
        2,
        1,
        figsize=(WIDTH, 0.27 * n_rows + 1.8),
        height_ratios=(len(carriers), len(changes)),
    )
    above.barh(range(len(carriers)), carriers, color=BLUE, height=0.7)
    above.set(xlim=(0, 1))
    above.set_title("both bits on, share of cells", loc="left")
    up = changes.to_numpy() > 0
    for chosen, marker, colour in [(up, ">", BLUE), (~up, "<", VERMILION)]:
        places = np.flatnonzero(chosen)
        values = changes.to_numpy()[chosen]
        below.hlines(places, 0, values, color=colour, linestyle="-", lw=2)
        below.plot(values, places, marker, color=colour, ms=7, linestyle="none")
    below.axvline(0, color=GREY, linewidth=1, linestyle="-")
    below.set_title("log2 change of the gene's share", loc="left")
    for ax, names in [(above, carriers.index), (below, changes.index)]:
        rows_named(ax, range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
    return figure
