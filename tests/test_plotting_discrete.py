"""Figures of the chapter on gradients through bits show what they were given.

The measured figure is also worked out again: the chapter's own cells are run,
and what they measure is compared with enumeration and with estimators written
in NumPy by the closed forms of the papers.
"""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from figures import check_figure
from matplotlib.colors import to_hex
from oracles import listed, listed_log_q
from scipy import special

from qbmvae_mini import plotting
from qbmvae_mini.latents.relaxations import (
    RELAXATIONS,
    GradientBias,
    gradient_bias,
)

CHAPTER = Path(__file__).parents[1] / "book" / "08_discrete.ipynb"

NUMBERS = {
    "concrete": {"t = 1": [0.1, 0.1, 0.9], "t = 2": torch.tensor([0.4, 0.6])},
    "spike": {"b = 8": np.array([0.0, 0.0, 0.0, 1.0])},
}
NO_GRADIENT = torch.zeros(2)
MEASURED = {
    "score function": {
        "": GradientBias(0.01, 0.02, 7.0, NO_GRADIENT, NO_GRADIENT)
    },
    "concrete, t": {
        "2": GradientBias(0.5, 0.001, 0.1, NO_GRADIENT, NO_GRADIENT),
        "0.1": GradientBias(0.05, 0.002, 10.0, NO_GRADIENT, NO_GRADIENT),
    },
}
CURVES = {"straight-through": [0.4, 0.1, 0.09], "concrete": [0.5, 0.05, 0.2]}

FIGURES = {
    "relaxed_bits": lambda: plotting.relaxed_bits(NUMBERS, bins=10),
    "bias_and_variance": lambda: plotting.bias_and_variance(MEASURED),
    "shortfall": lambda: plotting.shortfall([10, 20, 30], CURVES),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])


def test_shares_of_draws_add_up():
    concrete, spike = FIGURES["relaxed_bits"]().axes
    assert concrete.get_title(loc="left") == "concrete"
    first, second = concrete.lines
    assert first.get_label() == "t = 1"
    shares = first.get_ydata()
    assert len(shares) == 11
    assert shares[[1, 9]] == pytest.approx([2 / 3, 1 / 3])
    assert shares[:-1].sum() == pytest.approx(1)
    assert second.get_ydata()[[4, 6]] == pytest.approx([0.5, 0.5])
    (line,) = spike.lines
    assert line.get_ydata()[[0, 9]] == pytest.approx([0.75, 0.25])
    assert list(line.get_xdata()) == pytest.approx(np.linspace(0, 1, 11))


def test_every_estimator_has_its_point():
    figure = FIGURES["bias_and_variance"]()
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    points = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if len(line.get_xdata()) == 1 and line.get_linestyle() != ":"
    ]
    for settings in MEASURED.values():
        for one in settings.values():
            assert (one.variance, one.bias) in points
    (joined,) = (x for x in ax.lines if list(x.get_xdata()) == [0.1, 10.0])
    assert list(joined.get_ydata()) == [0.5, 0.05]
    labels = [text.get_text() for text in ax.texts]
    assert labels == ["", "2", "0.1"]
    assert [text.xy for text in ax.texts] == [(7, 0.01), (0.1, 0.5), (10, 0.05)]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == list(MEASURED)


def test_what_may_be_noise_is_hollow():
    (ax,) = FIGURES["bias_and_variance"]().axes
    faces = {
        (line.get_xdata()[0], line.get_ydata()[0]): line.get_markerfacecolor()
        for line in ax.lines
        if len(line.get_xdata()) == 1
    }
    assert to_hex(faces[7.0, 0.01]) == "#ffffff"
    assert to_hex(faces[0.1, 0.5]) != "#ffffff"


def test_each_run_has_its_curve():
    figure = FIGURES["shortfall"]()
    (ax,) = figure.axes
    for line, (name, nats) in zip(ax.lines, CURVES.items(), strict=True):
        assert line.get_label() == name
        assert list(line.get_xdata()) == [10, 20, 30]
        assert list(line.get_ydata()) == nats
    assert len({line.get_marker() for line in ax.lines}) == 2
    assert ax.get_yscale() == "log"
    marks = [text.get_text() for text in ax.get_yticklabels()]
    assert marks == ["0.05", "0.1", "0.2", "0.5"]


# The measured figure of the chapter, by other means


#: What the chapter's cells that define and measure the figure hold.
CELLS = ("W = torch.randn", "def network(", "families = {", "measured = {")


@pytest.fixture(scope="module")
def chapter():
    """Names after those cells of the chapter were run."""
    names = {"torch": torch, "gradient_bias": gradient_bias}
    names |= {kind.__name__: kind for kind in RELAXATIONS.values()}
    cells = nbformat.read(CHAPTER, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    for mark in CELLS:
        (source,) = (text for text in code if mark in text)
        exec(source, names)
    return names


def slopes(chapter, zeta):
    """The network's derivatives at codes (rows, 8), by the chain rule."""
    W, c, a = (chapter[name].numpy() for name in "Wca")
    bent = 1 - np.tanh((2 * zeta - 1) @ W + c) ** 2
    return 2 * (bent * a) @ W.T


def inverse(family, value, u, logit):
    """The smoothed number at rank u, by the papers' closed forms."""
    mu = special.expit(logit)
    if family == "concrete, t":
        return special.expit((logit + special.logit(u)) / value)
    grown = np.exp(value)
    if family == "spike-and-exp., b":
        rank = np.maximum(u - (1 - mu), 0) / mu
        return np.log1p(rank * (grown - 1)) / value
    middle = (1 - mu) * grown - mu - u * (grown - 1)
    root = np.sqrt(middle**2 + 4 * mu * (1 - mu) * grown)
    return np.log((root - middle) / (2 * mu)) / value


def compare(measured, mean, variance, draws, relative):
    """Measured bias and variance are those of this mean and variance.

    `mean` and `variance` are (8,) and may be estimates from `draws` draws.
    """
    exact = measured.exact.numpy()
    length = np.linalg.norm(exact)
    error = np.sqrt(variance * (1 / 200_000 + 1 / draws))
    assert np.abs((measured.mean.numpy() - mean) / error).max() < 5
    bias = np.linalg.norm(mean - exact) / length
    slack = 4 * np.linalg.norm(error) / length
    assert measured.bias == pytest.approx(bias, abs=slack)
    total = variance.sum() / length**2
    assert measured.variance == pytest.approx(total, rel=relative)


def exact_gradient(chapter):
    logits = chapter["logits"].clone().requires_grad_()
    q = listed_log_q(logits[None])[0].exp()
    values = chapter["network"](torch.from_numpy(listed(8)))
    (gradient,) = torch.autograd.grad(q @ values, logits)
    return q.detach().numpy(), values.numpy(), gradient.numpy()


def test_the_chapter_measures_against_the_exact_gradient(chapter):
    _, _, gradient = exact_gradient(chapter)
    settings = [s for family in chapter["measured"].values() for s in family]
    assert len(settings) == 15
    for family in chapter["measured"].values():
        for one in family.values():
            np.testing.assert_allclose(one.exact.numpy(), gradient)


def test_the_chapters_straight_through_equals_enumeration(chapter):
    q, _, _ = exact_gradient(chapter)
    mu = special.expit(chapter["logits"].numpy())
    each = slopes(chapter, listed(8)) * mu * (1 - mu)
    mean = q @ each
    variance = q @ (each - mean) ** 2
    measured = chapter["measured"]["straight-through"][""]
    compare(measured, mean, variance, np.inf, 0.02)


def test_the_chapters_score_function_equals_enumeration(chapter):
    q, values, gradient = exact_gradient(chapter)
    z = listed(8)
    gap = (values[:, None] - values) / 2
    pairs = q[:, None] * q
    mean = [(pairs * gap * (z[:, None, i] - z[:, i])).sum() for i in range(8)]
    np.testing.assert_allclose(mean, gradient, atol=1e-12)
    square = [
        (pairs * (gap * (z[:, None, i] - z[:, i])) ** 2).sum() for i in range(8)
    ]
    variance = np.array(square) - gradient**2
    measured = chapter["measured"]["score function"][""]
    compare(measured, gradient, variance, np.inf, 0.03)


@pytest.mark.parametrize(
    "family", ["concrete, t", "spike-and-exp., b", "overlapping exp., b"]
)
def test_the_chapters_smoothed_gradients_equal_the_papers(chapter, family):
    draws, step = 200_000, 1e-5
    logits = chapter["logits"].numpy()
    rng = np.random.default_rng(5)
    for name, measured in chapter["measured"][family].items():
        value = float(name)
        u = rng.uniform(size=(draws, 8))
        up, down = (
            inverse(family, value, u, logits + h) for h in (step, -step)
        )
        each = slopes(chapter, inverse(family, value, u, logits))
        each = each * (up - down) / (2 * step)
        # Single draws decide the variance of the sharpest: exp(b) of them.
        sharp = family != "concrete, t" and value > 5
        rough = 0.5 if sharp else 0.05
        compare(measured, each.mean(0), each.var(0), draws, rough)
