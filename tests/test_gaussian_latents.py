"""Codes of numbers: against integrals and `torch.distributions`."""

import math

import numpy as np
import pytest
import torch
from oracles import relative_error
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
)

from qbmvae_mini.latents import GaussianLatent, MixtureLatent

DOUBLE = torch.float64
TOLERANCE = 1e-5
#: Rows count differently, so a mean over rows cannot pass for a sum.
ROWS = torch.tensor([1.0, -0.3, 2.5], dtype=DOUBLE)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(31)


def some_params(n_params, rows=3, scale=1.0):
    generator = torch.Generator().manual_seed(12)
    shape = (rows, n_params)
    return scale * torch.randn(shape, generator=generator, dtype=DOUBLE)


def mixture(n_latent=3, components=4, draws=4):
    """A mixture whose parts differ in weight, place and width."""
    latent = MixtureLatent(n_latent, components, draws=draws).double()
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for weight, scale in (
            (latent.means, 1.5),
            (latent.log_vars, 0.7),
            (latent.weight_logits, 1.0),
        ):
            draw = rng.normal(0, scale, tuple(weight.shape))
            weight.copy_(torch.from_numpy(draw))
    return latent


def by_library(latent):
    """The same prior, by torch.distributions."""
    parts = Normal(latent.means, (latent.log_vars / 2).exp())
    weights = Categorical(logits=latent.weight_logits)
    return MixtureSameFamily(weights, Independent(parts, 1))


def z_scores(rows, expected):
    """How many standard errors the mean of `rows` is from `expected`."""
    error = rows.std(0) / len(rows) ** 0.5
    return float(((rows.mean(0) - expected).abs() / error).max())


# Gaussian


def test_gaussian_kl_and_gradients_are_those_of_the_integral():
    latent = GaussianLatent(3)
    params = some_params(6).requires_grad_()
    grid = torch.linspace(-25, 25, 20_001, dtype=DOUBLE)
    mean, log_var = params[:, :3, None], params[:, 3:, None]
    log_q = -((grid - mean) ** 2) / log_var.exp() - log_var
    log_q = (log_q - math.log(2 * math.pi)) / 2
    log_p = (-(grid**2) - math.log(2 * math.pi)) / 2
    expected = torch.trapezoid(log_q.exp() * (log_q - log_p), grid).sum(-1)
    found = latent.kl(params)
    torch.testing.assert_close(found, expected)
    (ours,) = torch.autograd.grad(ROWS @ found, params)
    (theirs,) = torch.autograd.grad(ROWS @ expected, params)
    for part in (slice(3), slice(3, 6)):  # means, log variances
        assert relative_error(ours[:, part], theirs[:, part]) <= TOLERANCE


def test_gaussian_densities_are_those_of_the_library():
    latent, params = GaussianLatent(3), some_params(6)
    z = latent.sample(params, 5)
    law = Normal(params[:, :3], (params[:, 3:] / 2).exp())
    expected = law.log_prob(z).sum(-1)
    torch.testing.assert_close(latent.log_q(params, z), expected)
    prior = Normal(torch.zeros(3).double(), 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(latent.log_prior(z), prior)
    energy = (law.mean.square() + law.variance).sum(-1) / 2  # E[z^2] / 2
    torch.testing.assert_close(latent.energy(params), energy)


# Mixture: density


def test_the_density_is_that_of_the_library():
    latent = mixture()
    z = 3 * torch.randn(5, 7, 3, dtype=DOUBLE)
    found, expected = latent.log_prior(z), by_library(latent).log_prob(z)
    assert found.shape == (5, 7)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "name", ["means", "log_vars", "weight_logits", "codes"]
)
def test_its_gradients_are_those_of_the_library(name):
    latent = mixture()
    z = (2 * torch.randn(20, 3, dtype=DOUBLE)).requires_grad_()
    weight = z if name == "codes" else getattr(latent, name)
    factor = torch.linspace(-1, 2, 20, dtype=DOUBLE)
    (ours,) = torch.autograd.grad(factor @ latent.log_prior(z), weight)
    expected = factor @ by_library(latent).log_prob(z)
    (theirs,) = torch.autograd.grad(expected, weight)
    assert relative_error(ours, theirs) < 1e-10


def test_single_precision_is_enough_for_narrow_parts_far_out():
    """(z - m)^2 / s^2 is multiplied out, so it could cancel."""
    exact = mixture(10, 20)
    with torch.no_grad():
        exact.means *= 4
        exact.log_vars -= 4  # widths of about 0.13
    single = MixtureLatent(10, 20)
    single.load_state_dict(exact.state_dict())
    z = exact.sample_prior(1000)
    error = single.log_prior(z.float()).double() - exact.log_prior(z)
    assert error.abs().max() < 0.02  # nats


def test_far_from_every_part_the_density_is_finite():
    latent = mixture()
    z = torch.full((1, 3), 1e4, dtype=DOUBLE, requires_grad=True)
    value = latent.log_prior(z)
    assert value.isfinite().all()
    assert value < -1e7
    value.sum().backward()
    assert z.grad.isfinite().all()
    for weight in latent.parameters():
        assert weight.grad.isfinite().all()


# Mixture: KL


@pytest.mark.parametrize("draws", [1, 4])
def test_kl_and_gradients_at_its_draws_are_the_plain_formula(draws):
    latent = mixture(draws=draws)
    params = some_params(6).requires_grad_()
    inputs = [params, latent.means, latent.log_vars, latent.weight_logits]
    torch.manual_seed(7)
    found = latent.kl(params)
    ours = torch.autograd.grad(ROWS @ found, inputs)

    torch.manual_seed(7)
    mean, log_var = params[:, :3], params[:, 3:]
    noise = torch.normal(torch.zeros(draws, 3, 3).double(), 1.0)
    z = mean + (log_var / 2).exp() * noise
    entropy = (log_var + math.log(2 * math.pi * math.e)).sum(-1) / 2
    expected = -entropy - by_library(latent).log_prob(z).mean(0)
    theirs = torch.autograd.grad(ROWS @ expected, inputs)
    torch.testing.assert_close(found, expected)
    for one, other in zip(ours, theirs, strict=True):
        assert relative_error(one, other) < 1e-10


def integral(latent, params, points=400):
    """KL of one row on a grid of one or two dimensions, differentiable."""
    n = latent.n_latent
    axis = torch.linspace(-14, 14, points * (10 if n == 1 else 1)).double()
    grid = torch.cartesian_prod(*[axis] * n).view(-1, n)
    mean, log_var = params.view(2, n)
    log_q = Independent(Normal(mean, (log_var / 2).exp()), 1).log_prob(grid)
    log_p = by_library(latent).log_prob(grid)
    cell = (axis[1] - axis[0]) ** n
    return (log_q.exp() * (log_q - log_p)).sum() * cell


@pytest.mark.parametrize("n_latent", [1, 2])
def test_kl_and_every_gradient_are_unbiased_for_the_integral(n_latent):
    latent = mixture(n_latent, draws=2)
    row = torch.tensor([0.4, -1.1, -0.6, 0.3], dtype=DOUBLE)[: 2 * n_latent]
    row = row.clone().requires_grad_()
    prior = [latent.means, latent.log_vars, latent.weight_logits]
    exact = integral(latent, row)
    expected = torch.autograd.grad(exact, [row, *prior])

    params = row.detach().expand(100_000, -1).clone().requires_grad_()
    found = latent.kl(params)
    assert z_scores(found.detach()[:, None], exact.detach()) < 4.5
    (each,) = torch.autograd.grad(found.sum(), params)
    assert z_scores(each, expected[0]) < 4.5
    assert z_scores(1.1 * each, expected[0]) > 4.5

    pieces = params.detach().split(500)
    grads = [
        torch.autograd.grad(latent.kl(piece).mean(), prior) for piece in pieces
    ]
    for place, slope in enumerate(expected[1:]):
        rows = torch.stack([grad[place].flatten() for grad in grads])
        assert z_scores(rows, slope.flatten()) < 4.5
        assert z_scores(1.1 * rows, slope.flatten()) > 4.5


def test_more_draws_make_the_kl_less_noisy():
    params = some_params(6)[:1].expand(20_000, -1)
    few, many = (
        mixture(draws=draws).kl(params).detach().var() for draws in (1, 16)
    )
    assert float(few / many) == pytest.approx(16, rel=0.1)


# Mixture: draws, energy, and the Gaussian as a special case


def test_prior_draws_have_the_moments_of_the_mixture():
    latent = mixture()
    z = latent.sample_prior(200_000)
    assert not z.requires_grad
    w = latent.weight_logits.softmax(0).detach()
    m, var = latent.means.detach(), latent.log_vars.exp().detach()
    assert z_scores(z, w @ m) < 4.5
    assert z_scores(z**2, w @ (m**2 + var)) < 4.5
    assert z_scores(z**3, w @ (m**3 + 3 * m * var)) < 4.5
    i, j = [0, 0, 1], [1, 2, 2]
    both = w @ (m[:, i] * m[:, j])  # needs whole vectors of one part
    assert z_scores(z[:, i] * z[:, j], both) < 4.5
    assert z_scores(z[:, i] * z[:, j], (w @ m)[i] * (w @ m)[j]) > 4.5


def test_one_part_at_rest_is_the_gaussian_latent():
    latent, gaussian = MixtureLatent(3, 1).double(), GaussianLatent(3)
    latent.means.data.zero_()
    params = some_params(6)
    z = latent.sample(params, 10)
    torch.testing.assert_close(latent.log_prior(z), gaussian.log_prior(z))
    torch.testing.assert_close(latent.mean(params), gaussian.mean(params))
    assert latent.estimate_log_z() == gaussian.estimate_log_z()
    for row in params:
        rows = row.expand(50_000, -1)
        for ask, theirs in (
            (latent.kl, gaussian.kl),
            (latent.energy, gaussian.energy),
        ):
            found = ask(rows).detach()[:, None]
            assert z_scores(found, theirs(row[None])) < 4.5
    draws = latent.sample_prior(100_000)
    assert z_scores(draws, 0) < 4.5
    assert z_scores(draws**2, 1) < 4.5


def test_energy_is_the_mean_of_minus_the_density_without_log_z():
    latent, params = mixture(), some_params(6)[:1]
    log_z = latent.estimate_log_z()
    assert log_z.lower == log_z.value == log_z.upper
    z = latent.sample(params, 200_000)[:, 0]
    exact = -by_library(latent).log_prob(z).detach() - log_z.value
    found = latent.energy(params.expand(50_000, -1)).detach()
    error = (exact.var() / len(exact) + found.var() / len(found)).sqrt()
    assert abs(found.mean() - exact.mean()) < 4.5 * error


# How it starts, and what is refused


def test_first_means_follow_the_seed_alone():
    state = torch.get_rng_state()
    one, again, other = (MixtureLatent(8, 400, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.means, again.means)
    assert not torch.equal(one.means, other.means)
    means = one.means.detach().flatten()[:, None]
    assert z_scores(means, 0) < 4.5
    assert z_scores(means**2, 1) < 4.5
    assert MixtureLatent(2).means.shape == (50, 2)
    assert MixtureLatent(2).log_vars.abs().max() == 0
    assert MixtureLatent(2).weight_logits.abs().max() == 0


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True])
@pytest.mark.parametrize("name", ["n_latent", "components", "draws"])
def test_sizes_are_whole_numbers(name, value):
    words = f"{name} is a whole number of at least 1, not {value!r}"
    with pytest.raises(ValueError, match=words):
        MixtureLatent(**{"n_latent": 2} | {name: value})


def test_a_seed_is_a_whole_number():
    with pytest.raises(ValueError, match="seed is a whole number.*not -1"):
        MixtureLatent(2, seed=-1)
