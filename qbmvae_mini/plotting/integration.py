"""Figures of integration: biology against mixing, and what moves both."""

import matplotlib.pyplot as plt

from qbmvae_mini.plotting.style import (
    GREY,
    WIDTH,
    as_array,
    dot_look,
    house_style,
    key,
    line_look,
)


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
        ax.plot(*place, **dot_look(i), ms=10, linestyle="none", label=name)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    # Outside, so that it never lies on a model.
    key(figure, ncols=2, handletextpad=0.2, columnspacing=1.2)
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
        look = dot_look(i) | line_look(i)
        ax.plot(x, as_array(values), **look, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.03, 1.03))
    key(figure, columnspacing=1)
    return figure
