"""Figures of integration: batches on a map, biology against mixing."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.cells import large_types
from qbmvae_mini.plotting.style import (
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    WIDTH,
    as_array,
    house_style,
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
    figure, axes = plt.subplots(
        1, len(views), figsize=(WIDTH, 5), squeeze=False
    )
    for ax, (title, groups) in zip(axes.flat, views.items(), strict=True):
        groups = as_array(groups).astype(str)
        large = large_types(groups, least)[: len(COLOURS)]
        rest = ~np.isin(groups, large)
        if rest.any():
            cross = {"color": GREY, "ms": 3, "ls": "none", "label": "others"}
            ax.plot(*points[rest].T, "x", **cross)
        for name, colour, marker in zip(large, COLOURS, MARKERS, strict=False):
            ax.plot(
                *points[groups == name].T,
                marker,
                color=colour,
                markersize=2.5,
                linestyle="none",
                label=name,
            )
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=2,
            markerscale=2.5,
            handletextpad=0.1,
            columnspacing=0.6,
            labelspacing=0.2,
        )
    return figure


@house_style
def biology_and_mixing(scores, labels=("mixing", "biology")):
    """Two scores of each embedding, one against the other, never added.

    Parameters
    ----------
    scores : dict of str to (float, float)
        Name of an embedding -> its mixing and its biology, both in 0 to 1.
    labels : (str, str)
        What the two scores are.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4))
    for i, (name, place) in enumerate(scores.items()):
        ax.plot(
            *place,
            MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            markersize=10,
            linestyle="none",
            label=name,
        )
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    # Outside, so that it never lies on a model.
    figure.legend(
        loc="outside lower center",
        ncols=2,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    return figure


@house_style
def score_curves(x, curves, xlabel, ylabel, mark=None):
    """Scores along something that was varied.

    Parameters
    ----------
    x : array, shape (n,)
    curves : dict of str to array, shape (n,)
        Name of a line -> its values.
    xlabel, ylabel : str
    mark : float, optional
        Where the value that was fixed beforehand lies.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    if mark is not None:
        ax.axvline(mark, color=GREY, linewidth=1, linestyle="-")
    for i, (name, values) in enumerate(curves.items()):
        ax.plot(
            x,
            as_array(values),
            marker=MARKERS[i],
            color=COLOURS[i],
            linestyle=DASHES[i],
            label=name,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.03, 1.03))
    figure.legend(loc="outside lower center", ncols=3, columnspacing=1)
    return figure
