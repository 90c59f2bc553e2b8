"""Figures that compare models over splits."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import COLOURS, GREY, WIDTH, house_style


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
        As `model_differences`.
    """
    ours = "Boltzmann 32+32"
    pairs = {f"{ours} minus {rival}": (ours, rival) for rival in rivals}
    return model_differences(table, pairs)
