"""The one style of all figures: colours, sizes, and how a figure is shown."""

from functools import wraps

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import NullLocator

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

#: Groups that are drawn each by itself; of more no reader keeps track.
MOST_GROUPS = 40

#: Names of a key that fit into a panel; more of them go below the figure.
MOST_IN_PANEL = 7

#: Inches of a figure's height that a key may take before the figure grows.
ROOM_FOR_KEY = 1.0

#: Width of a full figure in inches. Letters of 14 points on it are still
#: 10 pixels high on a phone that is 360 pixels wide.
WIDTH = 6.5


def line_look(i):
    """Colour and dashes of the i-th line, told apart from 97 others."""
    turn, colour = divmod(i, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "linestyle": DASHES[(colour + turn) % len(DASHES)],
        "linewidth": (2.0, 1.0)[turn // len(DASHES) % 2],
    }


def dot_look(i):
    """Colour and marker of the i-th group of dots, told apart likewise."""
    turn, colour = divmod(i, len(COLOURS))
    full = turn // len(MARKERS) % 2 == 0
    return {
        "color": COLOURS[colour],
        "marker": MARKERS[(colour + turn) % len(MARKERS)],
        "markerfacecolor": COLOURS[colour] if full else "white",
    }


LOOKS = [line_look(i) for i in range(98)]

STYLE = {
    "figure.figsize": (WIDTH, 3.2),
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "white",
    "axes.prop_cycle": plt.cycler(
        **{name: [look[name] for look in LOOKS] for name in LOOKS[0]}
    ),
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

    Whatever the reader has set for figures of their own neither shows here
    nor is changed. pyplot would show an open figure a second time at the end
    of the cell; one that was half drawn when an error came is closed as well.
    """

    @wraps(draw)
    def styled(*args, **kwargs):
        before = plt.get_fignums()
        with plt.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            try:
                return draw(*args, **kwargs)
            finally:
                for number in set(plt.get_fignums()) - set(before):
                    plt.close(number)

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


def panels(n, height, across=4, **how):
    """`n` panels, in rows of `across` where one row would be too crowded.

    Returns
    -------
    figure : Figure
    axes : array of Axes, shape (n,)
    """
    columns = min(n, across)
    rows = -(-n // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height * rows), squeeze=False, **how
    )
    for ax in axes.flat[n:]:
        ax.remove()
    return figure, axes.flat[:n]


def bare(ax):
    """No ticks and no frame: places on a map have no units."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def rows_named(ax, places, names):
    """Names of rows in place of ticks."""
    ax.set_yticks(places, names)
    ax.tick_params(axis="y", length=0)


def own_marks(axis, values, form="{:g}"):
    """Ticks of our own: matplotlib's crowd a short logarithmic axis."""
    axis.set_ticks(values, [form.format(value) for value in values])
    axis.set_minor_locator(NullLocator())


def interval(ax, y, mean, lower, upper, color=BLUE):
    """A mean and its interval, on the row `y`."""
    ax.plot([lower, upper], [y, y], color=color, linestyle="-")
    ax.plot(mean, y, "D", color=color, markersize=6)


def large_groups(groups, least=1, most=MOST_GROUPS):
    """Names of the groups of at least `least` members, the largest first."""
    names, counts = np.unique(groups, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return names[order][: min(most, (counts >= least).sum())]


def count_others(n):
    """What the key says of `n` groups that are drawn alike."""
    return f"{n} other{'s' * (n != 1)}"


def draw_groups(ax, places, groups, names, size):
    """Dots told apart by colour and marker; all other groups as grey crosses.

    Parameters
    ----------
    ax : Axes
    places : array, shape (n, 2)
    groups : array of str, shape (n,)
    names : sequence of str
        The groups that are drawn each by itself. How many others there are
        stands in the key.
    size : float
    """
    rest = ~np.isin(groups, names)
    if rest.any():
        label = count_others(len(np.unique(groups[rest])))
        cross = {"color": GREY, "ms": size + 1, "ls": "none", "label": label}
        ax.plot(*places[rest].T, "x", **cross)
    for i, name in enumerate(names):
        dots = dot_look(i) | {"ms": size, "ls": "none", "label": name}
        ax.plot(*places[groups == name].T, **dots)


#: Of a key for small dots.
CLOSE = {"handletextpad": 0.1, "columnspacing": 0.8, "labelspacing": 0.2}


def key(
    figure,
    *entries,
    where="lower center",
    ncols=3,
    dots=None,
    room=ROOM_FOR_KEY,
    **how,
):
    """One key for all panels, outside of them, which is never cut off.

    It has fewer columns where its names are long, and the figure grows where
    there are many.

    Parameters
    ----------
    figure : Figure
    *entries : (handles, labels), optional
        By default everything that has a label.
    where : str
    ncols : int
        At most.
    dots : float, optional
        Size of markers in the key, where those of the panels are small.
    room : float
        Inches that the key may take before the figure grows.

    Returns
    -------
    Legend
    """
    for columns in range(ncols, 0, -1):
        made = figure.legend(
            *entries, loc=f"outside {where}", ncols=columns, **how
        )
        if made.get_window_extent().width <= figure.bbox.width:
            break
        if columns > 1:
            made.remove()
    for handle in made.legend_handles if dots else ():
        handle.set_markersize(dots)
    more = made.get_window_extent().height / figure.dpi - room
    if more > 0:
        figure.set_figheight(figure.get_figheight() + more)
    return made


def each_once(axes):
    """Handles and labels of all panels, one of each name."""
    found = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    return list(found.values()), list(found)


def key_in(ax, **how):
    """A key in the panel, or below the figure where it would hide the rest."""
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) <= MOST_IN_PANEL:
        return ax.legend(**how)
    return key(ax.figure, handles, labels, handlelength=3, room=0)
