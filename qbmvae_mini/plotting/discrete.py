"""Figures of gradients through bits: relaxed bits, bias, variance, ascent."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke

from qbmvae_mini.plotting.style import (
    GREY,
    WIDTH,
    as_array,
    dot_look,
    house_style,
    key,
    line_look,
)

#: Where the labels of a family stand. The lines run side by side, so that
#: labels go to different sides of them.
RIGHT, BELOW, ABOVE = ((8, 4), "left"), ((-6, -16), "right"), ((-4, 8), "right")
PLACES = (RIGHT, RIGHT, BELOW, RIGHT, ABOVE)

#: An error of less than this many noise floors may be noise alone.
NOISY = 3


@house_style
def relaxed_bits(panels, bins=40):
    """How often smoothed numbers fall where, a panel a relaxation.

    Parameters
    ----------
    panels : dict of str to dict of str to array, shape (n,)
        Title of a panel -> name of a setting -> drawn numbers in [0, 1].
    bins : int

    Returns
    -------
    Figure
    """
    # As high as the names beside a panel.
    heights = [max(1.65, 0.27 * len(each) + 0.5) for each in panels.values()]
    figure, axes = plt.subplots(
        len(panels),
        1,
        sharex=True,
        figsize=(WIDTH, sum(heights) + 0.3),
        height_ratios=heights,
        squeeze=False,
    )
    edges = np.linspace(0, 1, bins + 1)
    for ax, (title, settings) in zip(axes.flat, panels.items(), strict=True):
        for name, numbers in settings.items():
            counts, _ = np.histogram(as_array(numbers), edges)
            share = counts / counts.sum()
            # The last value is repeated, so that its step is drawn.
            ax.step(edges, [*share, share[-1]], where="post", label=name)
        ax.set_title(title, loc="left")
        ax.set(yscale="log", xlim=(-0.01, 1.01), ylim=(1e-4, 2))
        ax.set_yticks([1e-3, 1e-1], ["0.001", "0.1"])
        ax.minorticks_off()
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.8)
    axes[-1, 0].set_xlabel(r"number $\zeta$")
    figure.supylabel("share of draws", fontsize=14)
    return figure


@house_style
def bias_and_variance(families):
    """Relative bias against relative variance, a line a family.

    A hollow marker is an error that noise alone may have made: the bias is
    at most about that large.

    Parameters
    ----------
    families : dict of str to dict of str to GradientBias
        Family -> name of a setting, written at its point -> what
        `qbmvae_mini.latents.relaxations.gradient_bias` measured.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 5.2))
    for i, (family, settings) in enumerate(families.items()):
        look = dot_look(i)
        colour, marker = look["color"], look["marker"]
        size = 9 if look["markerfacecolor"] == colour else 6
        measured = list(settings.values())
        x = [one.variance for one in measured]
        y = [one.bias for one in measured]
        ax.plot(x, y, "-", color=colour, linewidth=1.2)
        ax.plot([], [], marker, color=colour, ls="none", label=family, ms=size)
        for one in measured:
            sure = one.bias > NOISY * one.floor
            ax.plot(
                one.variance,
                one.bias,
                marker,
                color=colour,
                mfc=colour if sure else "white",
                markersize=size,
                markeredgewidth=1.8,
            )
        offset, side = PLACES[i % len(PLACES)]
        for name, one in settings.items():
            point = (one.variance, one.bias)
            text = ax.annotate(
                name, point, offset, textcoords="offset points", ha=side
            )
            # Legible where a line runs behind it.
            text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    ax.axvline(1, color=GREY, linewidth=1, linestyle=":")
    ax.set(xscale="log", yscale="log")
    ax.margins(x=0.1, y=0.08)
    ax.set_xlabel("variance of one estimate (signal squared = 1)")
    ax.set_ylabel("bias (signal = 1)")
    close = {"handletextpad": 0.1, "columnspacing": 1.0}
    key(figure, where="upper left", ncols=2, **close)
    return figure


@house_style
def shortfall(step, curves):
    """How far each run is below the best that can be reached, by step.

    Parameters
    ----------
    step : array, shape (n_steps,)
    curves : dict of str to array, shape (n_steps,)
        Name -> nats below the best.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4.4))
    for i, (name, nats) in enumerate(curves.items()):
        look = dot_look(i) | line_look(i) | {"markevery": 0.12, "ms": 7}
        ax.plot(as_array(step), as_array(nats), **look, label=name)
    ax.set(yscale="log", xlabel="step", ylabel="nats below the best")
    # Marks of our own: an axis of a decade or two has too few, or too many.
    low, high = ax.get_ylim()
    marks = [m * 10.0**k for k in range(-6, 4) for m in (1, 2, 5)]
    marks = [m for m in marks if low < m < high]
    ax.set_yticks(marks, [f"{m:g}" for m in marks])
    ax.minorticks_off()
    ax.margins(x=0)
    long = {"handlelength": 3, "columnspacing": 1.0}
    key(figure, where="upper left", ncols=2, **long)
    return figure
