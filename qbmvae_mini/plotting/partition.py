"""Figures of log Z: bridges between laws, brackets, peaks, drift."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    MOST_IN_PANEL,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    each_once,
    house_style,
    key,
    key_in,
    own_marks,
)


@house_style
def bridge(energies):
    """Energies of the laws between fair coins and a machine, a row a law.

    Parameters
    ----------
    energies : dict of float to array, shape (draws,)
        Inverse temperature -> energies of states drawn there.

    Returns
    -------
    Figure
    """
    energies = {beta: as_array(e) for beta, e in energies.items()}
    every = np.concatenate(list(energies.values()))
    bins = np.linspace(every.min(), every.max(), 60)
    figure, axes = plt.subplots(
        len(energies),
        1,
        sharex=True,
        figsize=(WIDTH, 0.65 * len(energies) + 0.8),
        squeeze=False,
    )
    for ax, (beta, energy) in zip(axes.flat, energies.items(), strict=True):
        end = beta in (min(energies), max(energies))
        ax.hist(energy, bins, density=True, color=BLUE if end else SKY)
        ax.set_yticks([])
        ax.set_ylabel(
            rf"$\beta = {beta:g}$", rotation=0, ha="right", va="center"
        )
        ax.spines["left"].set_visible(False)
    axes[-1, 0].set_xlabel("energy $E$ (nats)")
    return figure


@house_style
def bracket(temperatures, forward, reverse, exact):
    """Forward and reverse estimates of log Z against the exact value.

    Parameters
    ----------
    temperatures : array, shape (n,)
    forward, reverse : array, shape (n, runs)
        Estimates of log Z in nats; a line joins the means over runs.
    exact : float

    Returns
    -------
    Figure
    """
    temperatures = as_array(temperatures)
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for name, estimates, marker, line, colour, aside in [
        ("reverse", reverse, "v", "--", VERMILION, 1.06),
        ("forward", forward, "^", "-", BLUE, 1 / 1.06),
    ]:
        estimates = as_array(estimates)
        # Aside, so that the two kinds do not hide each other.
        x = temperatures * aside
        ax.plot(
            np.repeat(x, estimates.shape[1]),
            estimates.ravel(),
            marker,
            color=colour,
            linestyle="none",
            markersize=5,
            alpha=0.5,
        )
        ax.plot(
            x,
            estimates.mean(1),
            marker,
            color=colour,
            linestyle=line,
            markersize=9,
            label=name,
        )
    ax.axhline(exact, color=BLACK, linewidth=1.2, linestyle="-", label="exact")
    ax.set(
        xscale="log", xlabel="number of temperatures", ylabel=r"$\log Z$ (nats)"
    )
    own_marks(ax.xaxis, temperatures, "{:,}")
    ax.legend(handlelength=3)
    return figure


@house_style
def repeated(runs):
    """Errors of many estimates of log Z, a panel a method.

    Parameters
    ----------
    runs : dict of str to array, shape (n_runs,)
        Name of a method -> estimate minus exact value, in nats.

    Returns
    -------
    Figure
    """
    runs = {name: as_array(errors) for name, errors in runs.items()}
    every = np.concatenate(list(runs.values()))
    bins = np.linspace(every.min(), every.max(), 40)
    figure, axes = plt.subplots(
        len(runs),
        1,
        sharex=True,
        figsize=(WIDTH, 1.6 * len(runs) + 0.6),
        squeeze=False,
    )
    for ax, (name, errors) in zip(axes.flat, runs.items(), strict=True):
        ax.hist(errors, bins, color=SKY)
        ax.axvline(0, color=BLACK, linestyle="-", label="exact")
        ax.axvline(
            errors.mean(), color=VERMILION, linestyle="--", label="mean of runs"
        )
        ax.set_title(name, loc="left")
        ax.set_ylabel("runs")
    axes[0, 0].legend(handlelength=2.5)
    axes[-1, 0].set_xlabel("error of $\\log Z$ (nats)")
    return figure


@house_style
def peaks(on, log_weight):
    """Weight of the states with so many units on, a line a temperature.

    Parameters
    ----------
    on : array, shape (n,)
        Numbers of units.
    log_weight : dict of str to array, shape (n,)
        Name of a law -> log of the summed weight, in nats; each is drawn
        from its own largest value downwards.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    for name, values in log_weight.items():
        values = as_array(values)
        ax.plot(as_array(on), values - values.max(), label=name)
    ax.set(xlabel="hidden units on", ylabel="log weight (nats)")
    ax.margins(x=0.02)
    key_in(ax, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=3)
    return figure


@house_style
def drift(step, log_z, error):
    """Log Z followed step by step, and what it is off by.

    Parameters
    ----------
    step : array, shape (n,)
    log_z : dict of str to array, shape (n,)
        Exact and followed values of one run, in nats.
    error : dict of str to array, shape (n,)
        Followed minus exact of several runs, in nats.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 5.4))
    panels = [
        (r"$\log Z$ (nats)", log_z),
        ("followed minus exact (nats)", error),
    ]
    for ax, (title, curves) in zip(axes, panels, strict=True):
        for name, values in curves.items():
            ax.plot(as_array(step), as_array(values), label=name)
        ax.set_title(title, loc="left")
        ax.margins(x=0)
        if len(curves) <= MOST_IN_PANEL:
            ax.legend(handlelength=3, loc="lower left")
    if max(len(log_z), len(error)) > MOST_IN_PANEL:
        key(figure, *each_once(axes), handlelength=3)
    axes[1].axhline(0, color=GREY, linewidth=1, linestyle="-")
    axes[1].set_xlabel("training step")
    return figure
