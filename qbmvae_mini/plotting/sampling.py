"""Figures of sampling: walks, memory, modes, and how near draws come."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    SKY,
    WIDTH,
    YELLOW,
    as_array,
    dot_look,
    house_style,
    key,
    key_in,
    line_look,
    own_marks,
)


@house_style
def walk(path, labels, probability, shown=60):
    """A walk over a few states, and how often it visits each.

    Parameters
    ----------
    path : array of int, shape (n_steps,)
        Number of the state at each step.
    labels : sequence of str
        Names of the states.
    probability : array, shape (n_states,)
        Their law, drawn beside the frequencies of the whole path.
    shown : int
        Steps that are drawn.

    Returns
    -------
    Figure
    """
    path, probability = as_array(path), as_array(probability)
    place = np.arange(len(labels))
    frequency = np.bincount(path, minlength=len(labels)) / len(path)
    figure, (left, right) = plt.subplots(
        1, 2, sharey=True, width_ratios=[3, 2], figsize=(WIDTH, 3.2)
    )
    left.step(range(shown), path[:shown], where="post", color=BLUE, lw=1.5)
    left.set(xlabel="step", ylabel="state", title=f"the first {shown} steps")
    left.set_yticks(place, labels)
    right.barh(place, frequency, height=0.6, color=SKY, label="visits")
    right.plot(
        probability, place, "D", color=BLACK, label="$p$", linestyle="none"
    )
    right.set(xlabel="share", title=f"{len(path) - 1:,} steps", xlim=(0, 0.8))
    right.legend(handletextpad=0.4)
    return figure


@house_style
def approach(sweeps, exact, drawn, floor):
    """Distance to the exact law against the number of sweeps.

    Parameters
    ----------
    sweeps : array, shape (n_sweeps,)
        The same for all curves, rising.
    exact : dict of str to array, shape (n_sweeps,)
        Total variation of the law of one chain, a line each.
    drawn : dict of str to (array, array)
        Sweeps and total variation of drawn states, dots of the same colour
        as the line of that name.
    floor : (float, float)
        Mean and standard deviation of the distance of honest draws.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for k, (name, distance) in enumerate(exact.items()):
        style = line_look(k)
        ax.plot(as_array(sweeps), as_array(distance), label=name, **style)
        if name in drawn:
            at, found = map(as_array, drawn[name])
            ax.plot(at, found, **dot_look(k), ls="none", ms=5)
    mean, sd = floor
    ax.axhspan(mean - 2 * sd, mean + 2 * sd, color=GREY, alpha=0.35, lw=0)
    ax.text(0.01, mean, "noise floor", va="center", transform=_across(ax))
    ax.set(xlabel="sweeps", ylabel="total variation", yscale="log")
    low, high = ax.get_ylim()
    marks = [m for m in (0.003, 0.01, 0.03, 0.1, 0.3, 1) if low < m < high]
    own_marks(ax.yaxis, marks)
    ax.margins(x=0.02)
    key_in(ax, handlelength=3)
    return figure


def _across(ax):
    """Coordinates with x as a share of the axes and y in data."""
    return ax.get_yaxis_transform()


@house_style
def memory(traces, exact, measured):
    """One chain's numbers, step by step, and how long it remembers them.

    Parameters
    ----------
    traces : dict of str to array, shape (n_steps,)
        Name of a number -> its values along one chain; a panel each.
    exact, measured : dict of str to array, shape (n_lags,)
        Autocorrelation of the same numbers at lags 0, 1, ...: lines by
        enumeration, dots from chains.

    Returns
    -------
    Figure
    """
    rows = len(traces) + 1
    ratios = [1] * len(traces) + [1.8]
    figure, axes = plt.subplots(
        rows, 1, height_ratios=ratios, figsize=(WIDTH, 1.2 * rows + 1.8)
    )
    for k, (name, values) in enumerate(traces.items()):
        colour = line_look(k)["color"]
        axes[k].plot(as_array(values), color=colour, lw=1, linestyle="-")
        axes[k].set_title(f"{name}, one chain", loc="left")
        axes[k].margins(x=0)
    axes[-2].set_xlabel("sweep")
    ax = axes[-1]
    for k, name in enumerate(traces):
        lags = np.arange(len(exact[name]))
        style = line_look(k)
        ax.plot(lags, as_array(exact[name]), label=name, **style)
        # Close together at short lags, where a fast number forgets.
        some = np.unique(np.geomspace(1, len(lags), 16).astype(int)) - 1
        there = as_array(measured[name])[some]
        ax.plot(some, there, **dot_look(k), ls="none", ms=5)
    ax.axhline(0, color=GREY, linewidth=1, linestyle="-")
    ax.set(xlabel="lag (sweeps)", ylabel="autocorrelation")
    ax.margins(x=0.01)
    key_in(ax, handlelength=3)
    return figure


@house_style
def drawn_energies(levels, exact, drawn):
    """How probable each energy is, by the law and among draws.

    Parameters
    ----------
    levels : array, shape (n_levels,)
        Energies in nats, rising.
    exact : array, shape (n_levels,)
        Probability of each level.
    drawn : dict of str to array, shape (n_levels,)
        Share of the draws of each sampler at each level.

    Returns
    -------
    Figure
    """
    levels = as_array(levels)
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    width = 0.8 * np.diff(levels).min(initial=1)
    ax.bar(levels, as_array(exact), width, color=SKY, label="exact law")
    for k, (name, share) in enumerate(drawn.items()):
        ax.plot(
            levels,
            as_array(share),
            MARKERS[k % len(MARKERS)],
            color=(BLACK, ORANGE, GREEN, YELLOW)[k % 4],
            markersize=6 + k // len(MARKERS),
            markeredgecolor=BLACK,
            linestyle="none",
            label=name,
        )
    ax.set(xlabel="energy $E$ (nats)", ylabel="share of draws")
    ax.set_ylim(bottom=0)
    key_in(ax)
    return figure


@house_style
def pseudolikelihood(beta, curves, best):
    r"""Log pseudolikelihood against beta, one curve a set of draws.

    Parameters
    ----------
    beta : array, shape (n_beta,)
    curves : dict of str to array, shape (n_beta,)
        Mean log pseudolikelihood of the draws, in nats a unit.
    best : dict of str to (float, float)
        Where each curve is highest, and how high, marked by a dot.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for k, (name, values) in enumerate(curves.items()):
        style = line_look(k)
        ax.plot(as_array(beta), as_array(values), label=name, **style)
        place = ([value] for value in best[name])
        ax.plot(*place, **dot_look(k), ls="none", ms=8)
    ax.set(xlabel=r"$\beta$", ylabel="log pseudolikelihood\n(nats a unit)")
    ax.margins(x=0)
    key_in(ax, handlelength=3)
    return figure


@house_style
def chain_energies(runs, exact):
    """Energies of several chains of several runs, a panel a run.

    Parameters
    ----------
    runs : dict of str to array, shape (chains, draws)
        Title of a panel -> energies in nats.
    exact : float
        Mean energy of the law, drawn as a line across all panels.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(
        len(runs),
        1,
        sharex=True,
        sharey=True,
        figsize=(WIDTH, 1.5 * len(runs) + 0.5),
        squeeze=False,
    )
    for ax, (title, energy) in zip(axes.flat, runs.items(), strict=True):
        for k, chain in enumerate(as_array(energy)):
            colour = COLOURS[k % len(COLOURS)]
            ax.plot(chain, lw=0.9, linestyle="-", color=colour, alpha=0.8)
        ax.axhline(exact, color=BLACK, linestyle="--", lw=2)
        ax.set_title(title, loc="left")
        ax.margins(x=0)
    axes[-1, 0].set_xlabel("draw")
    figure.supylabel("energy (nats)", fontsize=14)
    return figure


@house_style
def race(runs, reference):
    """Mean energy of samplers against the processor time they have used.

    Parameters
    ----------
    runs : dict of str to (array, array, array)
        Name -> seconds, mean energy over the chains, its standard error.
    reference : (float, float)
        Mean energy of a long run and its standard error, a grey band of two
        standard errors each way.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    mean, error = reference
    low, high = mean - 2 * error, mean + 2 * error
    ax.axhspan(low, high, color=GREY, alpha=0.4, lw=0, label="long run")
    for k, (name, run) in enumerate(runs.items()):
        seconds, energy, error = map(as_array, run)
        style = line_look(k)
        ax.plot(seconds, energy, label=name, **style)
        ax.fill_between(
            seconds,
            energy - 2 * error,
            energy + 2 * error,
            color=style["color"],
            alpha=0.25,
            lw=0,
        )
    ax.set(xlabel="processor time (s)", ylabel="mean energy (nats)")
    # Above the axes, so that it never lies on a band.
    key(figure, where="upper center", handlelength=2.5)
    return figure
