"""Figures that compare models over splits."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    GREY,
    VERMILION,
    WIDTH,
    dot_look,
    house_style,
    interval,
    key,
    line_look,
    own_marks,
    panels,
    rows_named,
)


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
    for i, (title, rows) in enumerate(groups.items()):
        colour = line_look(i)["color"]
        # Titles lie in the panel: beside it they would take half the page.
        at_left = ax.get_yaxis_transform()
        heading = {"weight": "bold", "va": "center", "backgroundcolor": "white"}
        ax.text(0, y, title, transform=at_left, **heading)
        for label, (mean, lower, upper) in rows.items():
            y += 1
            places.append(y)
            labels.append(label)
            interval(ax, y, mean, lower, upper, colour)
            each = splits[title][label] if splits else []
            low = np.full(len(each), y + 0.35)
            ax.plot(each, low, "o", color=GREY, ms=2.5, linestyle="none")
        y += 1
    ax.set(xlabel="difference in nats a cell", ylim=(y - 0.3, -0.35))
    rows_named(ax, places, labels)
    ax.spines["left"].set_visible(False)
    return figure


@house_style
def model_differences(table, pairs, score=None):
    """Held-out likelihood of pairs of models on each data set, one row each.

    Parameters
    ----------
    table : DataFrame
        See `qbmvae_mini.results.load`.
    pairs : dict of str to (str, str)
        A title, and two models of the table: the first minus the second. A
        data set appears where both were trained.
    score : str, optional
        Column; by default the likelihood at 1,000 samples.

    Returns
    -------
    Figure
        As `paired_differences`.
    """
    from qbmvae_mini.results import DATASETS, SAMPLES, paired_interval

    score = score or f"log_likelihood_{SAMPLES[-1]}"
    groups, splits = {}, {}
    for title, (first, second) in pairs.items():
        groups[title], splits[title] = {}, {}
        for name in DATASETS:
            rows = table[table.dataset == name]
            scores = rows.pivot(index="split", columns="model", values=score)
            if {first, second} <= set(scores):
                each = (scores[first] - scores[second]).dropna()
                splits[title][name] = each.to_numpy()
                groups[title][name] = paired_interval(
                    table, name, first, second, score
                )
    return paired_differences(groups, splits)


def minus_rivals(table, first, rivals, margin=0.5, reach=8):
    """Held-out likelihood of one model against its rivals, a panel a data set.

    Parameters
    ----------
    table : DataFrame
        See `qbmvae_mini.results.load`.
    first : str
        Name of a model or family in the table.
    rivals : sequence of str
        Names of others.
    margin, reach : float
        Nats a cell; see `score_margins`.

    Returns
    -------
    Figure
        As `score_margins`.
    """
    from qbmvae_mini.results import DATASETS, paired_interval

    groups = {
        name: {
            rival: paired_interval(table, name, first, rival)
            for rival in rivals
        }
        for name in DATASETS
    }
    label = f"{first} minus rival, nats a cell"
    return score_margins(groups, margin, label, reach)


@house_style
def gain_curves(gains, label):
    """Differences with their intervals against the number of training cells.

    Parameters
    ----------
    gains : dict of str to dict of int to (mean, lower, upper)
        A model, and its numbers by the number of cells.
    label : str
        What the differences are of.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.axhline(0, color=GREY, linewidth=1)
    for i, (name, found) in enumerate(gains.items()):
        mean, lower, upper = np.array(list(found.values())).T
        # Side by side, not on each other.
        x = np.array(list(found)) * np.exp(0.05 * (i - (len(gains) - 1) / 2))
        look = dot_look(i) | line_look(i) | {"elinewidth": 1}
        ends = [mean - lower, upper - mean]
        ax.errorbar(x, mean, yerr=ends, **look, label=name)
    ax.set(xscale="log", xlabel="training cells", ylabel=label)
    own_marks(ax.xaxis, sorted({n for each in gains.values() for n in each}))
    handles, names = ax.get_legend_handles_labels()
    lines = [handle[0] for handle in handles]
    key(figure, lines, names, ncols=2, handlelength=2.6)
    return figure


@house_style
def score_margins(
    groups, margin=0.02, label="difference in macro-F1", reach=np.inf
):
    """Mean differences with their intervals beside a margin, a panel a set.

    Parameters
    ----------
    groups : dict of str to dict of str to (mean, lower, upper)
        A panel's title, the rows in it, and their numbers. A row that a
        panel lacks stays empty there.
    margin : float
        How much lower still passes; drawn as a dashed line at its minus.
    label : str
        What the differences are of.
    reach : float
        Rows whose mean lies further out are written, not drawn: a floor far
        away would leave the margin too narrow to be seen.

    Returns
    -------
    Figure
    """
    rows = list(dict.fromkeys(row for each in groups.values() for row in each))
    height = 0.36 * len(rows) + 1.4
    figure, axes = panels(len(groups), height, sharex=True, sharey=True)
    for ax, (title, numbers) in zip(axes, groups.items(), strict=True):
        ax.axvline(0, color=GREY, linewidth=1, linestyle="-")
        ax.axvline(-margin, color=VERMILION, linewidth=1.5, linestyle="--")
        for row, (mean, lower, upper) in numbers.items():
            y = rows.index(row)
            if abs(mean) > reach:
                # At the edge that it lies beyond, in the row's own height.
                right = mean > 0
                text = f"{mean:.2f} \u2192" if right else f"\u2190 {mean:.2f}"
                place = {"transform": ax.get_yaxis_transform(), "va": "center"}
                side = "right" if right else "left"
                ax.text(float(right), y, text, ha=side, **place)
                continue
            interval(ax, y, mean, lower, upper)
        ax.set(title=title)
        ax.locator_params(axis="x", nbins=3)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel(label, fontsize=14)
    return figure


@house_style
def score_heat(scores):
    """Scores by models, each with its interval, as a grid of shades.

    Parameters
    ----------
    scores : dict of str to dict of str to (mean, lower, upper)
        A model, its scores in 0 to 1, and their numbers. A score that a
        model lacks, or whose mean is NaN, leaves its cell empty.

    Returns
    -------
    Figure
        A row a model, a column a score. The second number in a cell is half
        of the interval's width.
    """
    columns = list(
        dict.fromkeys(name for each in scores.values() for name in each)
    )
    grid = np.full((len(scores), len(columns)), np.nan)
    figure, ax = plt.subplots(figsize=(WIDTH, 0.55 * len(scores) + 1.9))
    for row, numbers in enumerate(scores.values()):
        for name, (mean, _, _) in numbers.items():
            grid[row, columns.index(name)] = mean
    image = ax.imshow(grid, aspect="auto", cmap="cividis", vmin=0, vmax=1)
    for row, numbers in enumerate(scores.values()):
        for name, three in numbers.items():
            if np.isfinite(three[0]):
                _write(ax, columns.index(name), row, three, image)
    ax.set_xticks(range(len(columns)), columns, rotation=90)
    ax.xaxis.tick_top()
    rows_named(ax, range(len(scores)), scores)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


def _write(ax, x, y, numbers, image):
    """A mean and half its interval in a cell, in black or white."""
    mean, lower, upper = numbers
    half = (upper - lower) / 2
    text = f"{mean:.2f}"
    if np.isfinite(half):
        text += f"\n\u00b1{half:.2f}"
    shade = np.array(image.cmap(image.norm(mean))[:3])
    # Luminance; above this one black stands out more than white (WCAG).
    light = shade**2.2 @ (0.2126, 0.7152, 0.0722) > 0.18
    colour = BLACK if light else "white"
    # No leading zeros: nine columns of letters that a phone can show.
    text = text.replace("0.", ".")
    ax.text(x, y, text, ha="center", va="center", color=colour, linespacing=1)
