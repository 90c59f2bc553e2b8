"""Figures of the quantum machine: fields, world lines, what is sampled."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    house_style,
    key,
    key_in,
    rows_named,
)


@house_style
def one_qubit(bias, probability, fields):
    r"""Probability that one qubit is on, against its bias.

    Parameters
    ----------
    bias : array, shape (n_bias,)
    probability : array, shape (n_fields, n_bias)
    fields : sequence of float
        Transverse field of each line.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots()
    for field, line in zip(fields, as_array(probability), strict=True):
        ax.plot(as_array(bias), line, label=rf"$\Gamma = {field:g}$")
    ax.axhline(0.5, color=GREY, linewidth=0.8, linestyle="-", zorder=0)
    ax.set(xlabel="bias $b$ (nats)", ylabel="$p(1)$", ylim=(0, 1))
    ax.margins(x=0)
    key_in(ax, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=3)
    return figure


@house_style
def laws_by_energy(energy, classical, quantum, field):
    r"""Probability of each state against its energy, without and with a field.

    Parameters
    ----------
    energy, classical, quantum : array, shape (n_states,)
        Energies in nats, and the two laws.
    field : float
        The transverse field of the quantum law.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    energy = as_array(energy)
    order = np.argsort(energy)
    ax.plot(
        energy[order],
        as_array(classical)[order],
        "-",
        color=BLUE,
        label=r"$\Gamma = 0$: a straight line",
    )
    ax.plot(
        energy,
        as_array(quantum),
        "o",
        color=VERMILION,
        markersize=5,
        label=rf"$\Gamma = {field:g}$",
    )
    ax.set(xlabel="energy $E(z)$ (nats)", ylabel="$p(z)$", yscale="log")
    ax.legend(loc="lower left", handlelength=2)
    return figure


@house_style
def learned_field(paths, divergences):
    r"""Transverse field and KL divergence, step by step of training.

    Parameters
    ----------
    paths : dict of str to array, shape (n_steps,)
        The field under each way of training.
    divergences : dict of str to array, shape (n_steps,)
        KL divergence from the data in nats, under the same names.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 4.8))
    panels = [(r"field $\Gamma$", paths), ("KL (nats)", divergences)]
    for ax, (label, lines) in zip(axes, panels, strict=True):
        for name, values in lines.items():
            ax.plot(as_array(values), label=name)
        ax.set(ylabel=label)
        ax.margins(x=0)
    axes[0].set_ylim(bottom=0)
    axes[1].set(xlabel="step", yscale="log")
    axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].yaxis.set_minor_formatter(NullFormatter())
    entries = axes[0].get_legend_handles_labels()
    key(figure, *entries, where="upper center", ncols=2, handlelength=3)
    return figure


@house_style
def world_lines(paths):
    """World lines of a few qubits: on or off along imaginary time.

    Time closes on itself, so each line ends as it began. A dot is a break.
    The shaded column is time 0, the only slice that a measurement sees.

    Parameters
    ----------
    paths : array, shape (n_qubits, n_slices)
        Bits.

    Returns
    -------
    Figure
    """
    paths = as_array(paths)
    n_qubits, n_slices = paths.shape
    closed = np.hstack([paths, paths[:, :1]])
    slices = np.arange(n_slices + 1)
    figure, ax = plt.subplots(figsize=(WIDTH, 0.7 + 0.8 * n_qubits))
    ax.axvspan(0, 1, color=SKY, alpha=0.35, linewidth=0)
    for qubit, bits in enumerate(closed):
        foot = n_qubits - 1 - qubit
        colour = COLOURS[qubit % len(COLOURS)]
        line = {"color": colour, "linestyle": "-", "clip_on": False}
        ax.step(slices, foot + 0.6 * bits, where="post", **line)
        breaks = np.flatnonzero(np.diff(bits)) + 1
        if len(breaks):
            dot = {"color": BLACK, "markersize": 5, "clip_on": False}
            ax.plot(breaks, np.full(len(breaks), foot + 0.3), "o", **dot)
    ax.set(
        xlabel="slice of imaginary time",
        xlim=(0, n_slices),
        ylim=(-0.25, n_qubits - 0.1),
        yticks=[n_qubits - 1 - qubit + 0.3 for qubit in range(n_qubits)],
        yticklabels=[f"qubit {qubit}" for qubit in range(n_qubits)],
    )
    ax.tick_params(axis="y", length=0)
    return figure


@house_style
def magnetisation_curve(field, exact, nodes, found, error):
    r"""Transverse magnetisation against the field: exact, and sampled.

    The area under the curve is the rise of log Tr exp(-H). Bars are two
    standard errors.

    Parameters
    ----------
    field, exact : array, shape (n_fields,)
        The exact curve.
    nodes, found, error : array, shape (n_nodes,)
        Fields, estimates and standard errors.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots()
    field, exact = as_array(field), as_array(exact)
    ax.plot(field, exact, "-", color=BLUE, label="exact")
    ax.fill_between(field, exact, color=SKY, alpha=0.35, linewidth=0)
    ax.errorbar(
        as_array(nodes),
        as_array(found),
        2 * as_array(error),
        fmt="o",
        color=VERMILION,
        capsize=4,
        label="from breaks",
    )
    ax.set(
        xlabel=r"field $g$",
        ylabel=r"$\langle\, \sum_i \sigma^x_i \,\rangle_g$",
        ylim=(0, None),
    )
    ax.margins(x=0)
    ax.legend(loc="lower right")
    return figure


@house_style
def sampled_laws(names, distance, floor, own, own_floor):
    r"""How far each sampler's draws are from two laws.

    Left, from the law at inverse temperature 1; right, from the law at the
    inverse temperature that fits the draws best. Bars are total variation, a
    line across a bar is what honest draws reach.

    Parameters
    ----------
    names : sequence of str
    distance, floor : array, shape (n_samplers,)
        Total variation from the law at 1, and its floor.
    own, own_floor : array, shape (n_samplers,)
        The same at the inverse temperature of the draws; NaN where that is
        infinite.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(
        1, 2, sharey=True, figsize=(WIDTH, 1.2 + 0.42 * len(names))
    )
    place = np.arange(len(names))[::-1]
    panels = [
        (r"from the law at $\beta = 1$", distance, floor, ORANGE),
        (r"from the law at their $\beta$", own, own_floor, GREEN),
    ]
    for ax, (title, values, honest, colour) in zip(axes, panels, strict=True):
        values, honest = as_array(values), as_array(honest)
        ax.barh(place, values, color=colour)
        ax.vlines(honest, place - 0.4, place + 0.4, color=BLACK, linestyle="-")
        for at, value in zip(place, values, strict=True):
            if np.isnan(value):
                ax.text(0.03, at, r"$\beta$ infinite", va="center")
        ax.set(xlim=(0, 1), xlabel="total variation")
        ax.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        ax.tick_params(axis="y", length=0)
        ax.set_title(title, fontsize=13)
    rows_named(axes[0], place, names)
    return figure
