"""Figures of new cells: how one is drawn, and how it is checked."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    MOST_IN_PANEL,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    draw_arrow,
    draw_box,
    each_once,
    house_style,
    key,
    line_look,
    panels,
)


@house_style
def new_cell():
    """How a new cell is drawn, and what it is held against.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    ax.set(xlim=(0, 10), ylim=(0, 5.2))
    ax.axis("off")
    for x, text in [
        (1.05, "machine"),
        (3.4, "bits"),
        (5.6, "decoder"),
        (8.5, "negative\nbinomial"),
    ]:
        draw_box(ax, x, 4.4, text)
    draw_box(ax, 8.5, 2.4, "new cell", edgecolor=VERMILION)
    draw_box(ax, 2.2, 0.7, "held-out real cells", edgecolor=BLUE)
    draw_box(ax, 7.6, 0.7, "other real cells", edgecolor=BLUE)
    for start, end in [(2.1, 2.75), (4.05, 4.6), (6.65, 7.25)]:
        draw_arrow(ax, (start, 4.4), (end, 4.4))
    draw_arrow(ax, (8.5, 3.65), (8.5, 2.95))
    ax.text(2.1, 3.3, "sampler", ha="center", color=VERMILION)
    draw_arrow(ax, (2.1, 3.65), (2.4, 4.2), color=VERMILION)
    both = {"arrowstyle": "<->", "color": BLACK, "lw": 2}
    ax.annotate("", (3.4, 1.3), (7.2, 2.2), arrowprops=both)
    ax.text(3.7, 2.1, "checks", ha="center")
    ax.annotate("", (4.4, 0.7), (5.7, 0.7), arrowprops=both)
    return figure


@house_style
def count_laws(exact, drawn):
    """The law of counts of each gene, listed and as drawn.

    Parameters
    ----------
    exact, drawn : array, shape (genes, counts)
        Probability, and share of the draws, of the counts 0, 1, 2, ...

    Returns
    -------
    Figure
    """
    exact, drawn = as_array(exact), as_array(drawn)
    figure, axes = panels(len(exact), 2.9, sharey=True)
    counts = np.arange(exact.shape[1])
    for i, (ax, law, shares) in enumerate(zip(axes, exact, drawn, strict=True)):
        ax.bar(counts, shares, width=0.8, color=SKY, label="drawn")
        ax.plot(
            counts, law, "o", color=BLACK, ms=4, linestyle="none", label="exact"
        )
        ax.set(title=f"gene {i + 1}", xlabel="count")
    axes[0].set(ylabel="probability")
    axes[-1].legend(handlelength=1, borderpad=0)
    return figure


@house_style
def gene_checks(real, made):
    """Mean, variance and zeros of each gene, in real and in other cells.

    Parameters
    ----------
    real : array, shape (cells, genes)
        Dense counts.
    made : dict of str to array, shape (cells, genes)
        Name of a row of panels -> its counts.

    Returns
    -------
    Figure
        Means and variances on logarithmic axes, those below 0.001 as 0.001.
    """
    figure, axes = plt.subplots(
        len(made), 3, figsize=(WIDTH, 2.35 * len(made) + 0.3), squeeze=False
    )
    columns = {
        "mean": lambda x: np.maximum(x.mean(0), 1e-3),
        "variance": lambda x: np.maximum(x.var(0), 1e-3),
        "share of zeros": lambda x: (x == 0).mean(0),
    }
    real = as_array(real)
    for i, (name, counts) in enumerate(made.items()):
        for ax, (title, number) in zip(axes[i], columns.items(), strict=True):
            ax.plot(
                number(real),
                number(as_array(counts)),
                ".",
                color=BLUE,
                markersize=3,
                linestyle="none",
            )
            ax.axline((0.1, 0.1), (1, 1), color=BLACK, lw=1, linestyle="-")
            if title == "share of zeros":
                ax.set_xticks([0, 1])
                ax.set_yticks([0, 1])
            else:
                ax.set(xscale="log", yscale="log")
                ax.set_xticks([1e-2, 1e2])
                ax.set_yticks([1e-2, 1e2])
                ax.minorticks_off()
            ax.set_title(title if i == 0 else "")
            ax.set_xlabel("real cells" if i == len(made) - 1 else "")
        axes[i, 0].set_ylabel(name)
    return figure


@house_style
def pair_correlations(real, made):
    """Correlation of each pair of genes, in real and in other cells.

    Parameters
    ----------
    real : array, shape (pairs,)
    made : dict of str to array, shape (pairs,)
        Title of a panel -> its correlations.

    Returns
    -------
    Figure
    """
    figure, axes = panels(len(made), 2.9, sharey=True)
    for ax, (title, correlations) in zip(axes, made.items(), strict=True):
        ax.plot(
            as_array(real),
            as_array(correlations),
            ".",
            color=BLUE,
            markersize=1.5,
            linestyle="none",
            rasterized=True,
        )
        ax.axline((0, 0), slope=1, color=BLACK, linewidth=1, linestyle="-")
        ax.set(title=title, xlabel="real cells", xlim=(-0.6, 1), ylim=(-0.6, 1))
        ax.set_xticks([-0.5, 0, 0.5, 1], ["-0.5", "0", "0.5", "1"])
        ax.set_yticks([-0.5, 0, 0.5, 1], ["-0.5", "0", "0.5", "1"])
    axes[0].set(ylabel="these cells")
    return figure


@house_style
def noticed(table, marks):
    """Which check notices which set of cells.

    Parameters
    ----------
    table : DataFrame, shape (sets of cells, checks)
        What each check says.
    marks : DataFrame of bool, the same shape
        Whether it lies outside of what real cells show: a filled square with
        a bold number. The others are plain.

    Returns
    -------
    Figure
    """
    fills = np.where(as_array(marks).astype(bool), ORANGE, "white")
    return _squares(table, fills, fills == ORANGE)


@house_style
def beside_first(table, better, worse):
    """What each check says of sets of cells, beside the first of them.

    Parameters
    ----------
    table : DataFrame, shape (sets of cells, checks)
    better, worse : DataFrame of bool, the same shape
        Where a set is nearer to real cells than the first one, and where it
        is farther off: a blue square, and an orange one with a bold number.
        The others are white and plain.

    Returns
    -------
    Figure
    """
    better, worse = (as_array(marks).astype(bool) for marks in (better, worse))
    fills = np.where(worse, ORANGE, np.where(better, SKY, "white"))
    figure = _squares(table, fills, worse)
    for i, j in np.argwhere(better & ~worse):
        # Told apart without colour, too.
        figure.axes[0].plot(
            [j - 0.4, j + 0.4], [i + 0.38] * 2, color=BLACK, linestyle="-"
        )
    square = {"ec": GREY, "width": 1, "height": 1, "xy": (0, 0)}
    names = {"nearer than the first row": SKY, "farther": ORANGE}
    patches = [plt.Rectangle(fc=fill, **square) for fill in names.values()]
    key(figure, patches, list(names), ncols=2)
    return figure


def _squares(table, fills, bold):
    """A table whose squares are filled, with the rows' names."""
    n_rows, n_columns = table.shape
    figure, ax = plt.subplots(figsize=(WIDTH, 0.36 * n_rows + 1.2))
    for i in range(n_rows):
        for j in range(n_columns):
            fill = str(fills[i, j])
            ax.add_patch(
                plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fc=fill, ec=GREY)
            )
            value = table.iloc[i, j]
            ax.text(
                j,
                i,
                f"{value:.2f}".removeprefix("0") if value < 10 else "10+",
                ha="center",
                va="center",
                weight="bold" if bold[i, j] else "normal",
            )
    ax.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    ax.set_yticks(range(n_rows), table.index)
    ax.set_xticks(range(n_columns), table.columns, rotation=90)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


@house_style
def energies_of_codes(energies):
    """Prior energy of the codes of real cells, and of states drawn.

    Parameters
    ----------
    energies : dict of str to dict of str to array
        Title of a panel -> name of a set of states -> their energies. The
        first name of all is filled.

    Returns
    -------
    Figure
        A panel below the other, each with its own axis of energies.
    """
    figure, axes = panels(len(energies), 2.6, across=1)
    # One name, one style, in all panels.
    names = list(
        dict.fromkeys(name for sets in energies.values() for name in sets)
    )
    for ax, (title, sets) in zip(axes, energies.items(), strict=True):
        sets = {name: as_array(energy) for name, energy in sets.items()}
        everything = np.concatenate(list(sets.values()))
        edges = np.linspace(everything.min(), everything.max(), 40)
        for name, energy in sets.items():
            i = names.index(name)
            outline = {"color": SKY, "alpha": 0.6}
            if i > 0:
                outline = line_look(i - 1) | {"histtype": "step"}
            share = np.full(len(energy), 1 / len(energy))
            ax.hist(energy, edges, weights=share, label=name, **outline)
        ax.set_title(title, loc="left")
        ax.set_ylabel("share")
        if len(names) <= MOST_IN_PANEL:
            ax.legend(handlelength=1.6, borderpad=0)
    if len(names) > MOST_IN_PANEL:
        key(figure, *each_once(axes), handlelength=1.6)
    axes[-1].set_xlabel("energy (nats)")
    return figure
