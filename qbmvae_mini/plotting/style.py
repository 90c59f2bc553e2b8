"""The one style of all figures: colours, sizes, and how a figure is shown."""

from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import torch

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#767676"

#: Colours and dashes of lines in one panel, in this order.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))

#: Markers of groups, in the order of `COLOURS`: told apart without colour.
MARKERS = ("o", "^", "s", "D", "v", "P", "X")

#: Width of a full figure in inches. Letters of 14 points on it are still
#: 10 pixels high on a phone that is 360 pixels wide.
WIDTH = 6.5

STYLE = {
    "figure.figsize": (WIDTH, 3.2),
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "white",
    "axes.prop_cycle": plt.cycler(color=COLOURS, linestyle=DASHES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 14,
    "axes.labelsize": 14,
    "font.size": 13,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "legend.fontsize": 13,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "savefig.facecolor": "white",
}


def house_style(draw):
    """Make `draw` draw in the book's style and return its figure closed.

    pyplot would show an open figure a second time at the end of the cell.
    """

    @wraps(draw)
    def styled(*args, **kwargs):
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        plt.close(figure)
        return figure

    return styled


def as_array(values):
    """Values as a NumPy array, also of a tensor that carries a gradient."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def draw_box(ax, x, y, text, *, boxstyle="round,pad=0.45", edgecolor=BLACK):
    """A part of a diagram: text in a box about (x, y)."""
    box = {"boxstyle": boxstyle, "fc": "white", "ec": edgecolor, "lw": 1.5}
    ax.text(x, y, text, ha="center", va="center", bbox=box)


def draw_arrow(ax, start, end, color=BLACK):
    """What leads from one part of a diagram to another."""
    style = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0}
    ax.annotate("", end, start, arrowprops=style | {"shrinkB": 0})


def key_below(figure, ncols):
    """One key for groups of small dots, below all panels."""
    key = figure.legend(
        loc="outside lower center",
        ncols=ncols,
        handletextpad=0.1,
        columnspacing=0.8,
        labelspacing=0.2,
    )
    for handle in key.legend_handles:
        handle.set_markersize(8)
