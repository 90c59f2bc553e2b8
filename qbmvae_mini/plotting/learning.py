"""Figures of learning: laws, curves, gradients, pictures, gene sets."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    COLOURS,
    GREY,
    WIDTH,
    as_array,
    dot_look,
    house_style,
    key,
    key_in,
    line_look,
    panels,
)

#: Bars of several laws are told apart without colour too.
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--", "||")


@house_style
def laws(states, probabilities):
    """Several laws over the same few states, as groups of bars.

    Parameters
    ----------
    states : sequence of str
        Names of the states.
    probabilities : dict of str to array, shape (n_states,)
        Name of a law -> its probabilities.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots()
    width = 0.8 / len(probabilities)
    places = np.arange(len(states))
    for i, (name, p) in enumerate(probabilities.items()):
        shift = (i - (len(probabilities) - 1) / 2) * width
        ax.bar(
            places + shift,
            as_array(p),
            width,
            color=COLOURS[i % len(COLOURS)],
            hatch=HATCHES[i % len(HATCHES)],  # of another length
            edgecolor="white",
            label=name,
        )
    ax.set(xlabel="state", ylabel="probability")
    ax.set_xticks(places, states)
    key_in(ax)
    return figure


@house_style
def learning_curves(epochs, curves, ceiling):
    """Log-likelihood of several rules against the epoch, panel by panel.

    Parameters
    ----------
    epochs : array, shape (n_points,)
    curves : dict of str to dict of str to array, shape (n_points,)
        Title of a panel -> name of a rule -> its mean log-likelihoods.
    ceiling : float
        The best that any law can reach, drawn as a grey line.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(
        len(curves),
        1,
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=(WIDTH, 0.8 + 2.4 * len(curves)),
    )
    for ax, (title, rules) in zip(axes.flat, curves.items(), strict=True):
        line = ax.axhline(ceiling, color=GREY, linewidth=1.5, linestyle="-")
        for i, (name, curve) in enumerate(rules.items()):
            look = dot_look(i) | line_look(i) | {"ms": 5, "label": name}
            ax.plot(as_array(epochs), as_array(curve), **look)
        ax.set_title(title, loc="left")
        ax.set_ylabel("log-likelihood")
    line.set_label("ceiling")
    axes[-1, 0].set_xlabel("epoch")
    handles, labels = axes[-1, 0].get_legend_handles_labels()
    order = [*range(1, len(labels)), 0]  # the ceiling comes last
    entries = [handles[i] for i in order], [labels[i] for i in order]
    key(figure, *entries, handlelength=3)
    return figure


@house_style
def estimated_gradients(exact, estimates):
    """Estimates of a gradient against the exact one, a panel a rule.

    A dot is the mean of the repeats and a bar two standard deviations long
    each way: a dot off the grey line is bias, a long bar is noise.

    Parameters
    ----------
    exact : array, shape (n_weights,)
    estimates : dict of str to array, shape (repeats, n_weights)

    Returns
    -------
    Figure
    """
    exact = as_array(exact)
    figure, axes = panels(len(estimates), 3.2, sharex=True, sharey=True)
    for i, (name, found) in enumerate(estimates.items()):
        ax, colour = axes[i], line_look(i)["color"]
        found = as_array(found)
        ax.axline((0, 0), slope=1, color=GREY, linewidth=1.5, linestyle="-")
        ax.errorbar(
            exact,
            found.mean(0),
            2 * found.std(0),
            fmt="o",
            color=colour,
            markersize=3,
            elinewidth=0.7,
            linestyle="none",
        )
        ax.set_title(name)
        ax.locator_params(nbins=4)
    axes[0].set_ylabel("estimate")
    figure.supxlabel("exact gradient", fontsize=14)
    return figure


@house_style
def pictures(rows, side):
    """Small black-and-white pictures, a row a source.

    Parameters
    ----------
    rows : dict of str to array, shape (n, side^2)
        Title of a row -> its bits; a bit that is on is black.
    side : int

    Returns
    -------
    Figure
    """
    n = max(len(states) for states in rows.values())
    figure, axes = plt.subplots(
        len(rows),
        n,
        squeeze=False,
        figsize=(WIDTH, len(rows) * (WIDTH / n + 0.3)),
    )
    for ax in axes.flat:
        ax.axis("off")
    for line, (title, states) in zip(axes, rows.items(), strict=True):
        used = line[: len(states)]
        for ax, state in zip(used, as_array(states), strict=True):
            ax.axis("on")
            ax.imshow(state.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color=GREY)
        line[0].set_title(title, loc="left")
    return figure


@house_style
def gene_sets(weights, genes, activity, types):
    """What each hidden unit holds, and in which cells it is on.

    Numbers are written into the cells, so that nothing hangs on colour.

    Parameters
    ----------
    weights : array, shape (n_genes, n_hidden)
        Couplings of the genes (top panel, rows) to the hidden units.
    genes : sequence of str
    activity : array, shape (n_types, n_hidden)
        Mean probability that a hidden unit is on (bottom panel).
    types : sequence of str

    Returns
    -------
    Figure
    """
    weights, activity = as_array(weights), as_array(activity)
    figure, axes = plt.subplots(
        2,
        1,
        sharex=True,
        figsize=(WIDTH, 1.2 + 0.29 * (len(genes) + len(types))),
        height_ratios=[len(genes), len(types)],
    )
    most = np.abs(weights).max()
    parts = [
        ("coupling", weights, genes, "PuOr", (-most, most), "{:+.0f}"),
        ("share of time on", activity, types, "Greys", (0, 1), "{:.1f}"),
    ]
    for ax, (title, values, names, cmap, ends, form) in zip(
        axes, parts, strict=True
    ):
        image = ax.imshow(
            values, cmap=cmap, vmin=ends[0], vmax=ends[1], aspect="auto"
        )
        for (i, j), value in np.ndenumerate(values):
            # White on dark cells, black on light ones.
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
            ax.text(
                j,
                i,
                form.format(value).replace("-0", "0").replace("+0", "0"),
                ha="center",
                va="center",
                color="black" if light else "white",
            )
        ax.set_yticks(range(len(names)), names)
        ax.set_title(title, loc="left")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    n_hidden = weights.shape[1]
    axes[1].set_xticks(range(n_hidden), range(1, n_hidden + 1))
    axes[1].set_xlabel("hidden unit")
    return figure


@house_style
def moments(kinds):
    """Statistics of drawn states against those of data, a panel a kind.

    Parameters
    ----------
    kinds : dict of str to (array, array)
        Title -> statistics of the data and of the draws, of one shape.

    Returns
    -------
    Figure
    """
    figure, axes = panels(len(kinds), 3.4)
    for i, (title, (data, draws)) in enumerate(kinds.items()):
        ax, colour = axes[i], line_look(i)["color"]
        ax.axline((0, 0), slope=1, color=BLACK, linewidth=1, linestyle="-")
        ax.plot(
            as_array(data).ravel(),
            as_array(draws).ravel(),
            "o",
            color=colour,
            markersize=3,
            linestyle="none",
        )
        ax.set(xlabel="data", ylabel="draws", title=title)
        ax.locator_params(nbins=4)
    return figure
