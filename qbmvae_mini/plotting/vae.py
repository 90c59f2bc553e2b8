"""Figures of the chapter on variational autoencoders."""

import matplotlib.pyplot as plt
import numpy as np

from qbmvae_mini.plotting.style import (
    BLACK,
    BLUE,
    CLOSE,
    GREY,
    SKY,
    VERMILION,
    WIDTH,
    as_array,
    bare,
    draw_arrow,
    draw_box,
    draw_groups,
    house_style,
    key,
    key_in,
    large_groups,
    own_marks,
    panels,
)


@house_style
def vae_parts():
    """The parts of a VAE, its one random draw, and the two terms it pays.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.9))
    ax.set(xlim=(0, 10), ylim=(0, 6))
    ax.axis("off")
    for x, y, text, colour in [
        (0.7, 4.1, "$x$", BLACK),
        (2.7, 4.1, "encoder", BLUE),
        (5.2, 4.1, r"$z = \mu + \sigma \varepsilon$", BLACK),
        (7.8, 4.1, "decoder", BLUE),
        (9.4, 4.1, "$x$", BLACK),
        (5.2, 5.6, r"noise $\varepsilon$", VERMILION),
        (3.3, 1.0, "KL to the prior:\nprice of the code", BLACK),
        (8.2, 1.0, r"$\log p(x \mid z)$:" "\nfit", BLACK),
    ]:
        draw_box(ax, x, y, text, edgecolor=colour)
    for start, end in [
        ((1.05, 4.1), (1.75, 4.1)),
        ((3.65, 4.1), (4.1, 4.1)),
        ((6.3, 4.1), (6.85, 4.1)),
        ((8.75, 4.1), (9.05, 4.1)),
        ((5.2, 5.2), (5.2, 4.55)),
        ((2.9, 3.65), (3.2, 1.75)),
        ((8.0, 3.65), (8.15, 1.75)),
    ]:
        draw_arrow(ax, start, end)
    ax.text(2.85, 2.75, r"$\mu, \sigma$", ha="right", va="center")
    return figure


@house_style
def bound(mean, elbo, log_p):
    """The ELBO of Gaussian posteriors against their mean, a line a width.

    Parameters
    ----------
    mean : array, shape (n,)
    elbo : dict of str to array, shape (n,)
        Name of a width -> ELBO in nats.
    log_p : float
        What no ELBO exceeds.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.axhline(log_p, color=BLACK, linewidth=1.5, linestyle="-")
    ax.text(
        as_array(mean).min(), log_p, r" $\log p(x)$", va="bottom", ha="left"
    )
    for name, values in elbo.items():
        ax.plot(as_array(mean), as_array(values), label=name)
    ax.set(xlabel=r"mean $\mu$ of the posterior", ylabel="ELBO (nats)")
    ax.margins(x=0, y=0.12)
    key_in(ax, handlelength=3, loc="lower center")
    return figure


@house_style
def gradient_draws(draws, exact):
    """One-draw estimates of a gradient, a row an estimator.

    Parameters
    ----------
    draws : dict of str to array, shape (n,)
        Name of an estimator -> its estimates. All share one axis, which
        holds 99 in 100 of the widest.
    exact : float

    Returns
    -------
    Figure
    """
    draws = {name: as_array(values) for name, values in draws.items()}
    ends = [np.quantile(v, (0.005, 0.995)) for v in draws.values()]
    bins = np.linspace(
        min(low for low, _ in ends), max(high for _, high in ends), 60
    )
    figure, axes = plt.subplots(
        len(draws),
        1,
        sharex=True,
        figsize=(WIDTH, 1.15 * len(draws) + 0.7),
        squeeze=False,
    )
    for ax, (name, values) in zip(axes.flat, draws.items(), strict=True):
        ax.hist(values, bins, density=True, color=SKY)
        ax.axvline(exact, color=VERMILION, linestyle="--", label="exact")
        ax.set_title(name, loc="left")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    axes[0, 0].legend(loc="upper right", handlelength=2.5)
    axes[-1, 0].set_xlabel("gradient from one draw")
    return figure


@house_style
def code_and_data(codes, points, group, grid, decoded):
    """Codes and the points they come from, and a grid before and after.

    Parameters
    ----------
    codes, points : array, shape (n, 2)
    group : array of int, shape (n,)
    grid, decoded : array, shape (n_lines, n_steps, 2)
        Lines in the plane of codes, and what the decoder makes of them.

    Returns
    -------
    Figure
    """
    group = as_array(group)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.7))
    for ax, title, places, lines in [
        (left, "codes $z$", codes, grid),
        (right, "points $x$", points, decoded),
    ]:
        places = as_array(places)
        draw_groups(ax, places, group, np.sort(large_groups(group)), size=3)
        for line in as_array(lines):
            ax.plot(*line.T, "-", color=BLACK, linewidth=0.7, alpha=0.6)
        ax.set(title=title, aspect="equal")
        ax.set_xticks([-2, 0, 2])
        ax.set_yticks([-2, 0, 2])
    return figure


@house_style
def clouds(sets, far):
    """Clouds of points side by side; those far from all data are crosses.

    Parameters
    ----------
    sets : dict of str to array, shape (n, 2)
        Title -> points.
    far : dict of str to array of bool, shape (n,)

    Returns
    -------
    Figure
    """
    figure, axes = panels(len(sets), 2.9, sharex=True, sharey=True)
    for ax, (title, points) in zip(axes, sets.items(), strict=True):
        points, away = as_array(points), as_array(far[title])
        for chosen, marker, colour, size in [
            (~away, "o", BLUE, 1.5),
            (away, "x", VERMILION, 5),
        ]:
            ax.plot(
                *points[chosen].T,
                marker,
                color=colour,
                markersize=size,
                linestyle="none",
            )
        ax.set(title=title, aspect="equal", xticks=[-2, 0, 2])
        ax.set_yticks([-2, 0, 2])
    return figure


@house_style
def bounds(draws, values, levels):
    """A likelihood by more and more draws, and levels to compare with.

    Parameters
    ----------
    draws : array, shape (n,)
        Numbers of draws.
    values : array, shape (n,)
        Importance-weighted likelihoods in nats.
    levels : dict of str to float
        Name -> nats; drawn as horizontal lines.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(
        as_array(draws),
        as_array(values),
        "o-",
        color=BLUE,
        label="by $K$ draws",
    )
    values = as_array(values)
    styles = ((BLACK, "-"), (VERMILION, "--"), (GREY, "-."))
    for i, (name, level) in enumerate(levels.items()):
        colour, dash = styles[i % len(styles)]
        ax.axhline(level, color=colour, linestyle=dash, linewidth=1.5)
        # Where the curve is not: a level near its end is named at its start.
        near_end = abs(level - values[-1]) < 0.25 * np.ptp(values)
        x, side = (draws[0], "left") if near_end else (draws[-1], "right")
        ax.text(x, level, name, ha=side, va="bottom")
    ax.set(xscale="log", xlabel="draws $K$", ylabel="nats a point")
    own_marks(ax.xaxis, draws, "{:,}")
    ax.margins(y=0.15)
    return figure


@house_style
def training_curve(loss, epochs, validation, warmup):
    """Loss of each epoch and the validated likelihoods, in nats a cell.

    Parameters
    ----------
    loss : array, shape (n_epochs,)
        Training loss; minus it is drawn, so that up is better.
    epochs, validation : array, shape (n_validations,)
        When a likelihood of held-out cells was measured, and its value.
    warmup : int
        Epochs of KL warm-up, shaded.

    Returns
    -------
    Figure
    """
    loss, validation = as_array(loss), as_array(validation)
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    ax.axvspan(0, warmup, color=GREY, alpha=0.15, linewidth=0)
    ax.plot(np.arange(1, len(loss) + 1), -loss, label="minus training loss")
    ax.plot(as_array(epochs), validation, "o--", label="validation")
    top = max((-loss).max(), validation.max())
    ax.set_ylim(top - 90, top + 8)  # the first epochs are far below
    ax.set(xlabel="epoch", ylabel="nats a cell")
    ax.margins(x=0.02)
    ax.legend(loc="lower right", handlelength=3)
    return figure


@house_style
def map_by_type(points, types, least=20):
    """Cells on a plane, by type.

    Parameters
    ----------
    points : array, shape (n_cells, 2)
    types : sequence of str, one a cell
    least : int
        Types with fewer cells are drawn alike, as grey crosses; so are those
        beyond the 40 largest.

    Returns
    -------
    Figure
    """
    points, types = as_array(points), as_array(types).astype(str)
    figure, ax = plt.subplots(figsize=(WIDTH, 5.4))
    draw_groups(ax, points, types, large_groups(types, least), size=4)
    bare(ax)
    key(figure, ncols=2, dots=8, **CLOSE)
    return figure


@house_style
def code_prices(steps, prices):
    """KL of several trainings, step by step.

    Parameters
    ----------
    steps : array, shape (n,)
    prices : dict of str to array, shape (n,)
        Name of a training -> mean KL in nats a point. Below 0.01 it is
        drawn at 0.01.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    for name, kl in prices.items():
        ax.semilogy(as_array(steps), np.maximum(as_array(kl), 0.01), label=name)
    ax.set(xlabel="training step", ylabel="KL (nats a point)")
    own_marks(ax.yaxis, [0.01, 0.1, 1, 10])
    ax.margins(x=0.01)
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2}
    key_in(ax, **above, handlelength=3)
    return figure
