"""Gradients through a bit: what they claim, their laws and their bias."""

import pytest
import torch
from oracles import listed
from scipy import special, stats

from qbmvae_mini.relaxations import (
    RELAXATIONS,
    binary_concrete,
    relaxation,
    straight_through,
)

LOGITS = torch.tensor([-1.5, 0.0, 0.4, 2.0], dtype=torch.float64)
DRAWS = 100_000


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def many(logits=LOGITS):
    """Rows of independent copies of the logits."""
    return logits.expand(DRAWS, -1).clone().requires_grad_()


def z_scores(rows, expected):
    """How many standard errors the mean of `rows` is from `expected`."""
    error = rows.std(0) / len(rows) ** 0.5
    return ((rows.mean(0) - expected) / error).abs().max()


# Straight-through


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_straight_through_draws_true_bits_of_the_right_mean(dtype):
    z = straight_through(many(LOGITS.to(dtype))).detach()
    assert z.dtype == dtype
    assert set(z.unique().tolist()) == {0.0, 1.0}  # to the last digit
    assert z_scores(z.double(), LOGITS.sigmoid()) < 5


def test_straight_through_passes_the_gradient_of_the_mean():
    logits = LOGITS.clone().requires_grad_()
    c = torch.tensor([1.0, -2.0, 3.0, 4.0], dtype=torch.float64)
    (straight_through(logits) @ c).backward()
    mean = LOGITS.sigmoid()
    torch.testing.assert_close(logits.grad, c * mean * (1 - mean))


W = torch.tensor([1.0, -2.0, 0.5, 1.5], dtype=torch.float64)
FUNCTIONS = {
    "linear": lambda z: z @ W,
    "multilinear": lambda z: z[:, 0] * z[:, 1] - 2 * z[:, 1] * z[:, 3],
    "square": lambda z: (z - 0.45) ** 2 @ W,
    "tanh": lambda z: torch.tanh(z @ W),
}
UNBIASED = {"linear", "multilinear"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_straight_through_bias_is_what_enumeration_says(name):
    f = FUNCTIONS[name]
    states = torch.from_numpy(listed(4)).requires_grad_()
    logits = LOGITS.clone().requires_grad_()
    mean = logits.sigmoid()
    q = torch.where(states == 1, mean, 1 - mean).prod(-1)
    (true,) = torch.autograd.grad(q @ f(states).detach(), logits)
    (slope,) = torch.autograd.grad(f(states).sum(), states)
    expected = (q @ slope * mean * (1 - mean)).detach()  # E[f'(z)] mu'

    rows = many()
    f(straight_through(rows)).sum().backward()
    if name == "linear":  # every single draw is right
        torch.testing.assert_close(rows.grad, expected.expand(DRAWS, -1))
    else:
        varies = rows.grad.std(0) > 0
        assert z_scores(rows.grad[:, varies], expected[varies]) < 5
    bias = (expected - true).norm() / true.norm()
    assert bias < 1e-12 if name in UNBIASED else bias > 0.05


# Binary concrete


def law_of_concrete(logit, temperature):
    """P(z < t) in closed form (Maddison et al. 2017, appendix B)."""

    def cdf(t):
        return special.expit(temperature * special.logit(t) - logit)

    return cdf


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_binary_concrete_follows_its_closed_form(logit, temperature):
    logits = torch.full((DRAWS,), logit, dtype=torch.float64)
    z = binary_concrete(logits, temperature).numpy()
    assert 0 <= z.min() < z.max() <= 1
    right = stats.kstest(z, law_of_concrete(logit, temperature))
    wrong = stats.kstest(z, law_of_concrete(logit, temperature * 1.05))
    shifted = stats.kstest(z, law_of_concrete(logit + 0.05, temperature))
    assert right.pvalue > 1e-3
    assert wrong.pvalue < 1e-3
    assert shifted.pvalue < 1e-3


@pytest.mark.parametrize("temperature", [0.01, 0.5, 5.0])
def test_rounding_a_concrete_draw_gives_the_bit_at_any_temperature(temperature):
    z = binary_concrete(many().detach(), temperature)
    assert z_scores((z > 0.5).double(), LOGITS.sigmoid()) < 5


def test_towards_zero_temperature_concrete_draws_become_bits():
    z = binary_concrete(many().detach(), 1e-4)
    middling = ((z > 0.01) & (z < 0.99)).double().mean()
    assert middling < 1e-3
    assert z_scores(z, LOGITS.sigmoid()) < 5


def test_concrete_gradient_is_that_of_what_was_computed():
    logits = many()
    z = binary_concrete(logits, 0.7)
    z.sum().backward()
    z = z.detach()
    torch.testing.assert_close(logits.grad, z * (1 - z) / 0.7)


@pytest.mark.parametrize("temperature", [0, -0.5, float("nan")])
def test_a_temperature_is_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature is above 0, not"):
        binary_concrete(LOGITS, temperature)


@pytest.mark.parametrize("draw", RELAXATIONS.values())
def test_draws_stay_finite_and_in_range_for_extreme_logits(draw):
    logits = torch.tensor([-1e4, -90.0, 90.0, 1e4]).requires_grad_()
    z = draw(logits)
    z.sum().backward()
    assert z.tolist() == [0, 0, 1, 1]
    assert logits.grad.isfinite().all()


def test_a_relaxation_is_known_by_name_or_is_a_function():
    assert relaxation("straight-through") is straight_through
    assert relaxation("binary concrete") is binary_concrete
    assert relaxation(torch.sigmoid) is torch.sigmoid
    with pytest.raises(ValueError, match="'gumbel'; there are 'straight-thr"):
        relaxation("gumbel")
