"""Figures of machines: energies, probabilities, spins."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    WIDTH,
    as_array,
    house_style,
    key_in,
)


@house_style
def landscape(energy, probability, labels):
    """Energy and probability of a few states, side by side.

    Parameters
    ----------
    energy, probability : array, shape (n_states,)
    labels : sequence of str
        Names of the states.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(1, 2)
    panels = [
        ("energy $E$ (nats)", energy, BLUE, "{:g}"),
        ("probability $p$", probability, ORANGE, "{:.3f}"),
    ]
    for ax, (title, values, colour, form) in zip(axes, panels, strict=True):
        bars = ax.bar(labels, as_array(values), color=colour)
        ax.bar_label(bars, fmt=form, padding=2)
        ax.axhline(0, color=BLACK, linewidth=0.8, linestyle="-")
        ax.set(title=title, xlabel="state")
        ax.locator_params(axis="y", nbins=5)
        ax.margins(y=0.15)
    axes[1].set_ylim(bottom=0)
    return figure


@house_style
def energy_levels(energy, probability):
    """How many states have each energy, and how probable they are together.

    The number of states is drawn on a logarithmic scale.

    Parameters
    ----------
    energy, probability : array, shape (n_states,)
        Energies closer than 1e-6 nats count as one level.

    Returns
    -------
    Figure
    """
    energy = as_array(energy).round(6)
    levels, place = np.unique(energy, return_inverse=True)
    count = np.bincount(place)
    mass = np.bincount(place, weights=as_array(probability))
    width = 0.8 * np.diff(levels).min(initial=1)
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 4.2))
    axes[0].plot(levels, count, "o", color=BLUE)
    axes[0].set(ylabel="states", yscale="log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].grid(axis="y", linewidth=0.5)
    axes[1].bar(levels, mass, width, color=ORANGE)
    axes[1].set(ylabel="probability", xlabel="energy $E$ (nats)")
    return figure


@house_style
def temperature(beta, probability, labels):
    r"""Probability of each state against the inverse temperature.

    Parameters
    ----------
    beta : array, shape (n_beta,)
    probability : array, shape (n_beta, n_states)
    labels : sequence of str
        Names of the states.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots()
    lines = ax.plot(as_array(beta), as_array(probability))
    ax.axvline(1, color=GREY, linewidth=1, linestyle="-")
    ax.set(
        xlabel=r"inverse temperature $\beta$",
        ylabel="probability",
        ylim=(0, 1),
    )
    ax.margins(x=0)
    for line, label in zip(lines, labels, strict=True):
        line.set_label(label)
    # Beside the axes, so that it never lies on a line.
    beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    key_in(ax, title="state", handlelength=3, **beside)
    return figure


@house_style
def spin_states(bqm, spins):
    """States of a few coupled spins, each drawn as a ring of arrows.

    A pair is content if its term ``J_ij s_i s_j`` is negative, and is then
    joined by a solid line; a discontent pair is joined by a dashed one.

    Parameters
    ----------
    bqm : dimod.BinaryQuadraticModel
        Over spins 0 to n - 1.
    spins : array, shape (n_states, n)
        Values -1 and 1; four states a row.

    Returns
    -------
    Figure
    """
    spins = as_array(spins)
    n = spins.shape[1]
    energies = bqm.energies((spins, range(n)))
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    x, y = np.cos(angle), np.sin(angle)
    rows = -(-len(spins) // 4)
    figure, axes = plt.subplots(
        rows, 4, figsize=(WIDTH, 1.7 * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
        ax.set(aspect="equal", xlim=(-1.4, 1.4), ylim=(y.min() - 0.4, 1.4))
    used = axes.flat[: len(spins)]
    for ax, state, energy in zip(used, spins, energies, strict=True):
        for (i, j), coupling in bqm.quadratic.items():
            content = coupling * state[i] * state[j] < 0
            ax.plot(
                x[[i, j]],
                y[[i, j]],
                color=BLUE if content else VERMILION,
                linestyle="-" if content else "--",
                zorder=1,
            )
        for spin, *place in zip(state, x, y, strict=True):
            ax.text(
                *place,
                "\N{UPWARDS ARROW}" if spin > 0 else "\N{DOWNWARDS ARROW}",
                ha="center",
                va="center",
                fontsize=15,
                bbox={"boxstyle": "circle", "fc": "white", "ec": BLACK},
            )
        ax.set_title(f"$E = {energy:g}$")
    return figure
