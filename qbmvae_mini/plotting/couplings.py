"""Figures of what couplings save: of codes, and of programs that are known."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    GREY,
    SKY,
    WIDTH,
    as_array,
    dot_look,
    house_style,
    interval,
    key_in,
    line_look,
    own_marks,
    rows_named,
)


@house_style
def saved_by_prior(saved, least, most):
    """What each prior saves over independent bits, and what could be saved.

    Parameters
    ----------
    saved : dict of str to (mean, lower, upper)
        Name of a prior -> its numbers, in nats a cell.
    least, most : float
        The two ends of `qbmvae_mini.estimates.multi_information`; the band
        between them is drawn.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.45 * len(saved) + 1.2))
    ax.axvspan(least, most, color=SKY, alpha=0.5, label="could be saved")
    ax.axvline(least, color=BLACK, linewidth=1, linestyle="--")
    ax.axvline(0, color=GREY, linewidth=1, linestyle="-")
    for y, numbers in enumerate(saved.values()):
        interval(ax, y, *numbers)
    rows_named(ax, range(len(saved)), saved)
    ax.set(
        xlabel="saved over independent bits\n(nats a cell)",
        ylim=(len(saved) - 0.5, -0.5),
    )
    ax.spines["left"].set_visible(False)
    figure.legend(loc="outside upper right")
    return figure


@house_style
def saved_by_strength(strengths, saved, truth):
    """What each prior saves, against the strength of the true couplings.

    Parameters
    ----------
    strengths : array, shape (n,)
    saved : dict of str to array, shape (n, 3)
        Name of a prior -> mean, lower and upper end at each strength, in nats
        a cell.
    truth : array, shape (n,)
        What the machine saves that drew the codes.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    x = as_array(strengths)
    truth = as_array(truth)
    ax.plot(x, truth, color=BLACK, linestyle=":", label="the truth")
    for i, (name, numbers) in enumerate(saved.items()):
        mean, lower, upper = as_array(numbers).T
        look = line_look(i) | dot_look(i) | {"markersize": 7}
        # Aside, so that level priors do not hide each other.
        aside = x * 1.03 ** (i - (len(saved) - 1) / 2)
        ax.plot(aside, mean, label=name, **look)
        ax.vlines(aside, lower, upper, color=look["color"])
    ax.axhline(0, color=GREY, linewidth=1, linestyle="-")
    ax.set(
        xscale="log",
        xlabel="strength of the couplings",
        ylabel="saved over independent bits\n(nats a cell)",
    )
    own_marks(ax.xaxis, np.sort(x))
    key_in(ax, handlelength=3)
    return figure
