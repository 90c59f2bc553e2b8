"""Gradients through a bit: what they claim, their laws and their bias.

Gradients are compared with enumeration where the decoder reads bits, and with
numerical integrals where it reads smoothed numbers; laws with closed forms and
with `torch.distributions`. Means of draws lie within five standard errors.
"""

import copy
import json
import math

import numpy as np
import pytest
import torch
from oracles import listed, listed_log_q
from scipy import special, stats
from torch.distributions import RelaxedBernoulli

from qbmvae_mini.latents.relaxations import (
    RELAXATIONS,
    BinaryConcrete,
    OverlappingExponentials,
    Relaxation,
    Schedule,
    ScoreFunction,
    SpikeAndExponential,
    StraightThrough,
    log_q,
    relaxation,
)

LOGITS = torch.tensor([-2.0, -1.5, -0.6, 0.0, 0.2, 0.9, 1.4, 2.0]).double()
DRAWS = 100_000
TUNED = [BinaryConcrete, SpikeAndExponential, OverlappingExponentials]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def in_double(kind, value):
    """A relaxation whose number is not rounded to single precision."""
    return kind(value).double()


def z_scores(rows, expected):
    """How many standard errors the mean of `rows` is from `expected`."""
    error = rows.std(0) / len(rows) ** 0.5
    return ((rows.mean(0) - expected).abs() / error).max()


def estimates(kind, f, logits=LOGITS, draws=DRAWS):
    """Values and gradients of independent draws, (draws,), (draws, n)."""
    rows = logits.expand(draws, -1).clone().requires_grad_()
    values = kind.expectation(f, rows)
    values.sum().backward()
    return values.detach(), rows.grad


# Bits, against a list of all 256 states


def network(z):
    """A small network of the spins, from codes (..., 8) to (...)."""
    rng = np.random.default_rng(3)
    w, c, a = rng.normal(size=(8, 6)), rng.normal(size=6), rng.normal(size=6)
    w, c, a = map(torch.from_numpy, (w, c, a))
    spins = 2 * z - 1
    bent = torch.nn.functional.softplus(spins @ w.flip(0)).mean(-1)
    return torch.tanh(spins @ w / 2 + c) @ a + bent


WEIGHT = torch.tensor([1.0, -2.0, 0.5, 1.5, 0.3, -0.7, 1.1, -0.2]).double()
FUNCTIONS = {
    "linear": lambda z: z @ WEIGHT + 5,
    "multilinear": lambda z: z[..., 0] * z[..., 1] - z[..., 1] * z[..., 3],
    "square": lambda z: (z - 0.45) ** 2 @ WEIGHT,
    "network": network,
}
EXACT_IF_STRAIGHT = {"linear", "multilinear"}


def enumerated(f, logits=LOGITS):
    """E_q[f] and its gradient by the logits, over all states."""
    states = torch.from_numpy(listed(len(logits)))
    logits = logits.clone().requires_grad_()
    mean = listed_log_q(logits[None])[0].exp() @ f(states)
    (gradient,) = torch.autograd.grad(mean, logits)
    return mean.detach(), gradient


@pytest.mark.parametrize("name", FUNCTIONS)
def test_score_function_is_unbiased(name):
    mean, gradient = enumerated(FUNCTIONS[name])
    values, found = estimates(ScoreFunction(), FUNCTIONS[name])
    assert z_scores(values[:, None], mean) < 5
    varies = found.std(0) > 0
    assert z_scores(found[:, varies], gradient[varies]) < 5
    assert z_scores(1.1 * found[:, varies], gradient[varies]) > 5


def test_score_function_of_one_bit_by_hand():
    """(f - f')(z - z')/2 is (f(1) - f(0))/2 if the draws differ, else 0."""
    logits = torch.tensor([0.8]).double()
    _, found = estimates(ScoreFunction(), lambda z: 7 + 3 * z[:, 0], logits)
    assert set(found.flatten().tolist()) == {0.0, 1.5}
    mu = special.expit(0.8)
    share = (found != 0).double()
    assert z_scores(share, 2 * mu * (1 - mu)) < 5


def test_score_function_does_not_care_about_an_offset():
    """Each draw's value is the baseline of the other."""
    torch.manual_seed(5)
    _, plain = estimates(ScoreFunction(), network, draws=100)
    torch.manual_seed(5)
    _, lifted = estimates(
        ScoreFunction(), lambda z: network(z) + 1e3, draws=100
    )
    torch.testing.assert_close(lifted, plain, atol=1e-9, rtol=1e-9)


def test_score_function_needs_no_derivative():
    def steps(z):
        return (z.sum(-1) > 4).double()

    _, gradient = enumerated(steps)
    _, found = estimates(ScoreFunction(), steps)
    assert z_scores(found, gradient) < 5


@pytest.mark.parametrize("kind", [StraightThrough, ScoreFunction])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_true_bits_of_the_right_mean(kind, dtype):
    z = kind().rsample(LOGITS.to(dtype).expand(DRAWS, -1))
    assert z.dtype == dtype
    assert set(z.unique().tolist()) == {0.0, 1.0}  # to the last digit
    assert z_scores(z.double(), LOGITS.sigmoid()) < 5
    together = np.corrcoef(z.double().numpy().T) - np.eye(8)
    assert np.abs(together).max() < 5 / DRAWS**0.5  # independent bits


@pytest.mark.parametrize("name", FUNCTIONS)
def test_straight_through_is_the_slope_at_the_drawn_bits(name):
    """E[f'(z) mu'], which is the gradient if f is linear in each bit."""
    f = FUNCTIONS[name]
    mean, gradient = enumerated(f)
    states = torch.from_numpy(listed(8)).requires_grad_()
    (slope,) = torch.autograd.grad(f(states).sum(), states)
    mu = LOGITS.sigmoid()
    q = listed_log_q(LOGITS[None])[0].exp()
    expected = (q @ slope) * mu * (1 - mu)

    values, found = estimates(StraightThrough(), f)
    assert z_scores(values[:, None], mean) < 5
    varies = found.std(0) > 1e-12
    torch.testing.assert_close(
        found[0, ~varies], expected[~varies], atol=1e-12, rtol=1e-9
    )
    if varies.any():
        assert z_scores(found[:, varies], expected[varies]) < 5
    bias = (expected - gradient).norm() / gradient.norm()
    assert bias < 1e-12 if name in EXACT_IF_STRAIGHT else bias > 0.05


def test_straight_through_of_a_linear_function_has_no_noise():
    _, found = estimates(StraightThrough(), FUNCTIONS["linear"], draws=50)
    mu = LOGITS.sigmoid()
    expected = WEIGHT * mu * (1 - mu)
    torch.testing.assert_close(found, expected.expand(50, -1))


@pytest.mark.parametrize("name", RELAXATIONS)
def test_the_decoder_gets_the_gradient_of_what_it_read(name):
    """Weights inside f learn from both draws of the score function too."""
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    kind = relaxation(name)
    rows = LOGITS.expand(2 * DRAWS, -1)
    read = []

    def f(z):
        read.append(z.detach())
        return weight * z.sum(-1)

    kind.expectation(f, rows).mean().backward()
    torch.testing.assert_close(weight.grad, torch.stack(read).sum(-1).mean())


# Smoothed numbers, against integrals


def density_of_ones(zeta, b):
    """r(zeta|1), the same for both exponential relaxations."""
    return b * np.exp(b * (zeta - 1)) / -np.expm1(-b)


def rank_of_ones(zeta, b):
    """Its distribution function."""
    return np.expm1(b * zeta) / np.expm1(b)


def quadrature(kind, value, logit, points=601):
    """Numbers and weights that stand for the law of one relaxed bit."""
    if kind is BinaryConcrete:
        # Logistic noise: the plain sum is accurate for a smooth function.
        x = np.linspace(-40, 40, points)
        weight = special.expit(x) * special.expit(-x) * (x[1] - x[0])
        return special.expit((logit + x) / value), weight
    x, weight = np.polynomial.legendre.leggauss(100)
    x, weight = (x + 1) / 2, weight / 2
    mu = special.expit(logit)
    one = density_of_ones(x, value) * weight
    if kind is SpikeAndExponential:
        return np.r_[0.0, x], np.r_[1 - mu, mu * one]
    zero = density_of_ones(1 - x, value) * weight
    return x, mu * one + (1 - mu) * zero


def two_bits(z):
    """A curved function of two bits, (..., 2) -> (...)."""
    x, y = 2 * z[..., 0] - 1, 2 * z[..., 1] - 1
    return torch.tanh(1.5 * x - y) + torch.exp(0.5 * x * y) - y**2 + 0.3 * x


def integral(kind, value, logits):
    """E[two_bits] at two logits."""
    (x, p), (y, q) = (quadrature(kind, value, logit) for logit in logits)
    x, y = np.meshgrid(x, y, indexing="ij")
    grid = torch.from_numpy(np.stack([x, y], -1))
    return p @ two_bits(grid).numpy() @ q


def integrated(kind, value, logits, step=1e-4):
    """Its value and its gradient, by central differences."""
    logits = np.asarray(logits, dtype=float)
    gradient = [
        integral(kind, value, logits + move)
        - integral(kind, value, logits - move)
        for move in step * np.eye(2)
    ]
    mean = integral(kind, value, logits)
    return torch.tensor(mean), torch.tensor(gradient) / (2 * step)


@pytest.mark.parametrize("logits", [(-1.0, 0.3), (0.0, 1.5)])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (BinaryConcrete, 0.3),
        (BinaryConcrete, 1.0),
        (SpikeAndExponential, 0.5),
        (SpikeAndExponential, 5.0),
        (OverlappingExponentials, 0.5),
        (OverlappingExponentials, 6.0),
    ],
)
def test_smoothed_gradients_are_unbiased_for_their_own_model(
    kind, value, logits
):
    mean, gradient = integrated(kind, value, logits)
    logits = torch.tensor(logits).double()
    values, found = estimates(
        in_double(kind, value), two_bits, logits, 4 * DRAWS
    )
    assert z_scores(values[:, None], mean) < 5
    assert z_scores(found, gradient) < 5
    assert z_scores(found * 1.1, gradient) > 5
    # And they are biased for the bits.
    _, discrete = enumerated(two_bits, logits)
    assert (gradient - discrete).norm() > 0.02 * discrete.norm()
    assert z_scores(found, discrete) > 5


@pytest.mark.parametrize("kind", TUNED)
def test_sharper_numbers_are_less_biased_for_the_bits(kind):
    values = [4.0, 1.0, 0.1] if kind is BinaryConcrete else [1.0, 6.0, 36.0]
    logits = torch.tensor([-1.0, 0.3]).double()
    _, discrete = enumerated(two_bits, logits)
    bias = [
        (integrated(kind, value, logits)[1] - discrete).norm()
        for value in values
    ]
    assert bias[0] > 1.5 * bias[1] > 3 * bias[2]


@pytest.mark.parametrize("value", [0.2, 1.0])
def test_concrete_gradient_is_that_of_what_was_computed(value):
    _, found = estimates(
        in_double(BinaryConcrete, value),
        lambda z: z.sum(-1) + 0 * z.detach().sum(-1),
    )
    torch.manual_seed(11)
    zeta = in_double(BinaryConcrete, value).rsample(LOGITS.expand(DRAWS, -1))
    torch.testing.assert_close(found, zeta * (1 - zeta) / value)


def inverse(kind, value, u, logit):
    """The smoothed number at rank u, by the papers' closed forms."""
    mu = special.expit(logit)
    if kind is BinaryConcrete:
        return special.expit((logit + special.logit(u)) / value)
    grown = np.exp(value)
    if kind is SpikeAndExponential:
        rank = np.maximum(u - (1 - mu), 0) / mu
        return np.log1p(rank * (grown - 1)) / value
    # A quadratic in exp(b zeta) (DVAE++, appendix)
    middle = (1 - mu) * grown - mu - u * (grown - 1)
    root = np.sqrt(middle**2 + 4 * mu * (1 - mu) * grown)
    return np.log((root - middle) / (2 * mu)) / value


@pytest.mark.parametrize("kind", TUNED[1:])
@pytest.mark.parametrize("value", [0.5, 4.0])
def test_each_draw_has_the_slope_of_the_inverse(kind, value):
    """Not only on average: at the drawn number the slope is a function."""
    _, found = estimates(in_double(kind, value), lambda z: z.sum(-1))
    torch.manual_seed(11)
    zeta = in_double(kind, value).rsample(LOGITS.expand(DRAWS, -1)).numpy()
    logits = LOGITS.numpy()
    mu = special.expit(logits)
    rank = rank_of_ones(zeta, value)
    if kind is SpikeAndExponential:
        u = 1 - mu + mu * rank
    else:
        u = mu * rank + (1 - mu) * (1 - rank_of_ones(1 - zeta, value))
    np.testing.assert_allclose(inverse(kind, value, u, logits), zeta, atol=1e-7)
    up, down = (inverse(kind, value, u, logits + h) for h in (1e-5, -1e-5))
    on = zeta > 1e-3  # the difference would step over the kink at zero
    np.testing.assert_allclose(
        found.numpy()[on], ((up - down) / 2e-5)[on], rtol=1e-3, atol=1e-6
    )
    if kind is SpikeAndExponential:
        assert (found.numpy()[zeta == 0] == 0).all()


# Laws


def law(kind, value, logit):
    """Distribution function of one relaxed bit, right of zero."""
    mu = special.expit(logit)

    def concrete(t):
        return special.expit(value * special.logit(t) - logit)

    def spike(t):
        return 1 - mu + mu * rank_of_ones(t, value)

    def overlapping(t):
        one = rank_of_ones(t, value)
        return mu * one + (1 - mu) * (1 - rank_of_ones(1 - t, value))

    functions = dict(zip(TUNED, (concrete, spike, overlapping), strict=True))
    return functions[kind]


def without_spike(kind, zeta):
    """The numbers above zero; only one relaxation has others."""
    return zeta[zeta > 0] if kind is SpikeAndExponential else zeta


def above_zero(kind, cdf):
    """`cdf` given that the number is above zero."""
    if kind is not SpikeAndExponential:
        return cdf
    return lambda t: (cdf(t) - cdf(0.0)) / (1 - cdf(0.0))


@pytest.mark.parametrize("kind", TUNED)
@pytest.mark.parametrize("value", [1.0, 8.0])
@pytest.mark.parametrize("logit", [-2.0, 1.0])
@pytest.mark.parametrize("way", ["rsample", "smooth"])
def test_relaxed_numbers_follow_their_law(kind, value, logit, way):
    """Drawn at once, or as an exact bit and a number given the bit."""
    logits = torch.full((DRAWS, 1), logit, dtype=torch.float64)
    relaxed = in_double(kind, value)
    if way == "rsample":
        zeta = relaxed.rsample(logits)
    else:
        bits = (torch.rand_like(logits) < logits.sigmoid()).double()
        zeta, _ = relaxed.smooth(bits, logits)
    zeta = zeta.flatten().numpy()
    assert zeta.min() >= 0
    assert zeta.max() <= 1
    if kind is SpikeAndExponential:
        ones = torch.from_numpy(zeta > 0).double()
        assert z_scores(ones[:, None], special.expit(logit)) < 5

    def p_value(wrong_value, wrong_logit):
        cdf = above_zero(kind, law(kind, wrong_value, wrong_logit))
        return stats.kstest(without_spike(kind, zeta), cdf).pvalue

    assert p_value(value, logit) > 1e-3
    assert p_value(value * 1.5, logit) < 1e-3
    if kind is not SpikeAndExponential:  # its spike was counted above
        assert p_value(value, logit + 0.4) < 1e-3


@pytest.mark.parametrize("kind", TUNED)
@pytest.mark.parametrize("bit", [0.0, 1.0])
def test_numbers_given_a_bit_follow_their_law(kind, bit):
    value, logit = 1.3, 0.7
    logits = torch.full((DRAWS, 1), logit, dtype=torch.float64)
    bits = torch.full_like(logits, bit)
    zeta, _ = in_double(kind, value).smooth(bits, logits)
    zeta = zeta.flatten().numpy()
    if kind is SpikeAndExponential and not bit:
        assert (zeta == 0).all()
        return
    if kind is BinaryConcrete:  # the law, cut at 1/2
        whole = law(kind, value, logit)
        half = whole(0.5)

        def cdf(t):
            if bit:
                return np.maximum(whole(t) - half, 0) / (1 - half)
            return np.minimum(whole(t), half) / half

        assert ((zeta > 0.5) == bit).all()
    else:

        def cdf(t):
            one = rank_of_ones(t if bit else 1 - t, value)
            return one if bit else 1 - one

    assert stats.kstest(zeta, cdf).pvalue > 1e-3
    assert stats.kstest(zeta, lambda t: cdf(t) ** 1.05).pvalue < 1e-3


@pytest.mark.parametrize("temperature", [0.01, 0.5, 5.0])
def test_a_concrete_number_exceeds_half_as_often_as_the_bit_is_one(temperature):
    zeta = BinaryConcrete(temperature).rsample(LOGITS.expand(DRAWS, -1))
    assert z_scores((zeta > 0.5).double(), LOGITS.sigmoid()) < 5


def test_a_spike_is_as_frequent_as_a_zero():
    zeta = SpikeAndExponential(2.0).rsample(LOGITS.expand(DRAWS, -1))
    assert z_scores((zeta > 0).double(), LOGITS.sigmoid()) < 5


@pytest.mark.parametrize("kind", TUNED)
def test_sharp_numbers_are_bits(kind):
    sharp = kind(1e-4) if kind is BinaryConcrete else kind(1e5)
    zeta = sharp.rsample(LOGITS.expand(DRAWS, -1))
    middling = ((zeta > 0.01) & (zeta < 0.99)).double().mean()
    assert middling < 1e-3
    assert z_scores(zeta.round(), LOGITS.sigmoid()) < 5


@pytest.mark.parametrize("kind", TUNED)
def test_smoothing_keeps_shapes(kind):
    bits = torch.zeros(5, 3, 8)
    zeta, log_ratio = kind().smooth(bits, torch.zeros(3, 8))
    assert zeta.shape == (5, 3, 8)
    assert log_ratio.shape == (5, 3)
    assert zeta.dtype == log_ratio.dtype == torch.float32


@pytest.mark.parametrize("kind", [StraightThrough, ScoreFunction])
def test_where_nothing_is_smooth_the_bits_stay(kind):
    bits = torch.tensor([[[0.0, 1.0]]])
    zeta, log_ratio = kind().smooth(bits, torch.zeros(1, 2))
    assert torch.equal(zeta, bits)
    assert torch.equal(log_ratio, torch.zeros(1, 1))


# Weights of smoothed numbers


def log_concrete(zeta, bits, logits, temperature):
    """log r(zeta|z) by `torch.distributions`, summed over the bits."""
    whole = RelaxedBernoulli(temperature, logits=logits).log_prob(zeta)
    side = torch.nn.functional.logsigmoid((2 * bits - 1) * logits)
    return (whole - side).sum(-1)


def test_the_weight_of_concrete_numbers_by_another_library():
    logits = torch.tensor([-3.0, 0.5, 2.0]).double().expand(1000, -1)
    bits = (torch.rand_like(logits) < logits.sigmoid()).double()
    zeta, log_ratio = in_double(BinaryConcrete, 0.8).smooth(bits, logits)
    temperature = torch.tensor(0.8).double()
    expected = log_concrete(zeta, bits, torch.zeros_like(logits), temperature)
    expected = expected - log_concrete(zeta, bits, logits, temperature)
    torch.testing.assert_close(log_ratio, expected, atol=1e-6, rtol=1e-6)


def test_the_weight_of_concrete_numbers_is_one_on_average():
    logits = torch.tensor([-1.0, 0.4, 1.2]).double().expand(4 * DRAWS, -1)
    for bits in (torch.zeros_like(logits), torch.ones_like(logits)):
        _, log_ratio = BinaryConcrete(0.5).smooth(bits, logits)
        assert z_scores(log_ratio.exp()[:, None], 1.0) < 5
        assert z_scores(1.05 * log_ratio.exp()[:, None], 1.0) > 5


def test_codes_of_the_prior_have_no_weight():
    bits = torch.randint(2, (1000, 4)).double()
    for kind in TUNED:
        _, log_ratio = kind().smooth(bits, torch.zeros_like(bits))
        assert log_ratio.abs().max() < 1e-12


@pytest.mark.parametrize("kind", TUNED)
def test_importance_weights_give_the_likelihood_of_the_smoothed_model(kind):
    """One bit, p(z=1) = 0.3, and a likelihood that bends in zeta."""
    value, logit, prior = 0.7, 1.1, special.logit(0.3)

    def likelihood(zeta):
        return np.exp(1.2 * zeta - 3 * (zeta - 0.6) ** 2)

    # The prior's numbers given the bit are those of l = 0, whatever its bias.
    true = 0.0
    for bit, p in ((0, 0.7), (1, 0.3)):
        if kind is BinaryConcrete:
            x, weight = quadrature(kind, value, 0.0, points=40_001)
            weight = 2 * weight * ((x > 0.5) + 0.5 * (x == 0.5))
            weight = weight if bit else weight[::-1]
            x = x if bit else 1 - x[::-1]
        else:
            x, weight = quadrature(kind, value, 800.0 if bit else -800.0)
        true += p * weight @ likelihood(x)

    logits = torch.full((4 * DRAWS, 1), logit, dtype=torch.float64)
    bits = (torch.rand_like(logits) < logits.sigmoid()).double()
    zeta, log_ratio = in_double(kind, value).smooth(bits, logits)
    log_prior = log_q(torch.full_like(logits, prior), bits)
    weight = (log_prior - log_q(logits, bits) + log_ratio).exp()
    found = weight * torch.from_numpy(likelihood(zeta[:, 0].numpy()))
    assert z_scores(found[:, None], true) < 5
    assert z_scores(found[:, None], 1.02 * true) > 5


def test_log_q_is_that_of_the_list():
    states = torch.from_numpy(listed(8))
    expected = listed_log_q(LOGITS[None])[0]
    torch.testing.assert_close(log_q(LOGITS, states), expected)


# Extremes


EXTREME = [
    StraightThrough(),
    ScoreFunction(),
    *(BinaryConcrete(t) for t in (1e-3, 0.5, 1e4)),
    *(SpikeAndExponential(b) for b in (1e-3, 8.0, 88.0, 1e4)),
    *(OverlappingExponentials(b) for b in (1e-3, 10.0, 88.0, 1e4)),
]


@pytest.mark.parametrize("kind", EXTREME, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_stay_finite_and_in_range(kind, dtype):
    logits = torch.tensor([-200.0, -30, -17, 0, 17, 30, 200]).to(dtype)
    rows = logits.expand(DRAWS, -1).clone().requires_grad_()
    zeta = kind.rsample(rows)
    assert zeta.dtype == dtype
    assert zeta.min() >= 0
    assert zeta.max() <= 1
    value = kind.expectation(lambda z: (z**2).sum(-1), rows)
    value.sum().backward()
    assert value.isfinite().all()
    assert rows.grad.isfinite().all()
    bits = (torch.rand_like(rows) < torch.sigmoid(rows)).to(dtype).detach()
    # A bit that the posterior thinks impossible may come from elsewhere.
    for z in (bits, 1 - bits):
        smoothed, log_ratio = kind.smooth(z, logits)
        assert smoothed.min() >= 0
        assert smoothed.max() <= 1
        assert log_ratio.isfinite().all()
    if isinstance(kind, BinaryConcrete) and kind.temperature < 100:
        right = torch.where(z == 1, smoothed >= 0.5, smoothed <= 0.5)
        assert right.all()


def test_uniform_numbers_at_the_ends_do_no_harm(monkeypatch):
    """Generators return 0 now and then; none of ours is let through."""
    logits = torch.tensor([[-200.0, -2, 0, 2, 200]])
    for at in (0.0, 1 - 2**-24):

        def uniform(shape, at=at, **kwargs):
            return torch.full(tuple(shape), at, **kwargs)

        monkeypatch.setattr(torch, "rand", uniform)
        monkeypatch.setattr(
            torch, "rand_like", lambda x, at=at: torch.full_like(x, at)
        )
        for kind in EXTREME:
            rows = logits.clone().requires_grad_()
            kind.expectation(lambda z: (z**2).sum(-1), rows).sum().backward()
            assert rows.grad.isfinite().all(), kind
            for z in (torch.zeros(1, 5), torch.ones(1, 5)):
                smoothed, log_ratio = kind.smooth(z, logits)
                assert smoothed.min() >= 0, kind
                assert smoothed.max() <= 1, kind
                assert log_ratio.isfinite().all(), kind


# Schedules


def test_a_schedule_moves_by_equal_factors():
    schedule = Schedule(8.0, 0.5, 4)
    found = [schedule.at(epoch) for epoch in range(6)]
    assert found == pytest.approx([8, 4, 2, 1, 0.5, 0.5])
    assert Schedule(1.0, 100.0, 2).at(1) == pytest.approx(10)


@pytest.mark.parametrize("kind", TUNED)
def test_the_number_follows_its_schedule(kind):
    relaxed = kind(Schedule(2.0, 0.5, 10))
    (name,) = relaxed.state_dict()
    assert float(getattr(relaxed, name)) == 2
    for epoch, value in [(0, 2.0), (5, 1.0), (10, 0.5), (50, 0.5)]:
        relaxed.start_epoch(epoch)
        assert float(getattr(relaxed, name)) == pytest.approx(value)


@pytest.mark.parametrize("kind", TUNED)
def test_without_a_schedule_nothing_moves(kind):
    relaxed = kind(0.7)
    before = copy.deepcopy(relaxed.state_dict())
    relaxed.start_epoch(30)
    for name, value in relaxed.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("kind", TUNED)
def test_where_a_schedule_stands_is_kept_with_the_weights(kind):
    trained = kind(Schedule(2.0, 0.5, 10))
    trained.start_epoch(7)
    again = kind(Schedule(2.0, 0.5, 10))
    again.load_state_dict(trained.state_dict())
    (name,) = again.state_dict()
    assert torch.equal(getattr(again, name), getattr(trained, name))


def test_the_temperature_is_that_of_the_draws():
    """A moved number is the one that is used."""
    relaxed = BinaryConcrete(Schedule(5.0, 1e-4, 3))
    relaxed.start_epoch(3)
    zeta = relaxed.rsample(torch.zeros(1000, 1))
    assert ((zeta < 0.01) | (zeta > 0.99)).double().mean() > 0.99


@pytest.mark.parametrize(
    "original",
    [
        StraightThrough(),
        ScoreFunction(),
        BinaryConcrete(0.1),
        BinaryConcrete(np.float32(0.25)),
        BinaryConcrete(Schedule(1.0, 0.1, np.int64(40))),
        SpikeAndExponential(3),
        OverlappingExponentials([5, 20.0, 7]),
    ],
    ids=repr,
)
def test_settings_build_the_same_relaxation_again(original):
    settings = json.loads(json.dumps(original.settings()))
    again = relaxation(original.name, **settings)
    assert type(again) is type(original)
    assert again.settings() == original.settings()
    for epoch in (0, 3, 1000):
        original.start_epoch(epoch)
        again.start_epoch(epoch)
        assert again.state_dict() == original.state_dict()


# Bad input


@pytest.mark.parametrize("kind", TUNED)
@pytest.mark.parametrize(
    "bad",
    [0, -0.5, math.nan, math.inf, -math.inf, True, "0.5", None, 1j, 1e-50]
    + [10**400, torch.tensor(0.5)],
    ids=repr,
)
def test_an_impossible_number_is_refused(kind, bad):
    (name,) = kind().state_dict()
    sentence = f"^{name} is a number above 0 and finite"
    with pytest.raises(ValueError, match=sentence):
        kind(bad)
    with pytest.raises(ValueError, match=f"^first {name} of a schedule is a"):
        kind(Schedule(bad, 1.0, 5))
    with pytest.raises(ValueError, match=f"^last {name} of a schedule is a"):
        kind(Schedule(1.0, bad, 5))


@pytest.mark.parametrize("epochs", [0, -3, 2.5, True, "5", None, math.nan])
@pytest.mark.parametrize("kind", TUNED)
def test_a_schedule_has_whole_epochs(kind, epochs):
    sentence = "epochs of a schedule of .* is a whole number of at least 1, not"
    with pytest.raises(ValueError, match=sentence):
        kind(Schedule(2.0, 1.0, epochs))


@pytest.mark.parametrize("bad", [[], [1.0, 0.5], (1.0, 0.5, 3, 4)])
@pytest.mark.parametrize("kind", TUNED)
def test_a_schedule_has_three_parts(kind, bad):
    with pytest.raises(ValueError, match="is \\(first, last, epochs\\), not"):
        kind(bad)


def test_a_relaxation_is_known_by_name_or_is_one():
    names = ["straight-through", "score function", "binary concrete"]
    names += ["spike-and-exponential", "overlapping exponentials"]
    assert list(RELAXATIONS) == names
    for name in names:
        found = relaxation(name)
        assert isinstance(found, Relaxation)
        assert found.name == name
        assert relaxation(found) is found
    sharp = relaxation("spike-and-exponential", sharpness=0.5)
    assert float(sharp.sharpness) == 0.5


def test_an_unknown_relaxation_is_refused():
    with pytest.raises(ValueError, match="'gumbel'; there are 'straight-thr"):
        relaxation("gumbel")
    for bad in (None, 3, StraightThrough, torch.sigmoid):
        with pytest.raises(TypeError, match="relaxation is a Relaxation or"):
            relaxation(bad)
    with pytest.raises(TypeError, match="temperature"):
        relaxation("straight-through", temperature=1.0)
    with pytest.raises(ValueError, match="temperature would not reach"):
        relaxation(BinaryConcrete(), temperature=1.0)
