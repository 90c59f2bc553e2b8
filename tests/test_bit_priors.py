"""Priors over bits without a sampler: every law and slope by enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracles import listed, listed_log_q, relative_error
from synthetic import FIT, two_clusters

from qbmvae_mini.latents import (
    BernoulliLatent,
    BernoulliMixtureLatent,
    ExplicitLatent,
    SigmoidBeliefLatent,
)
from qbmvae_mini.latents.relaxations import ScoreFunction, StraightThrough
from qbmvae_mini.models import CellVAE
from qbmvae_mini.models.controls import randomise_couplings, shuffle_couplings

DOUBLE = torch.float64
N = 6
#: Standard errors that a mean over draws may be away, for all its entries.
ROOM = 4.5


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(41)


def filled(latent, scale=1.5):
    """The latent in double precision, with weights that matter."""
    rng = np.random.default_rng(4)
    with torch.no_grad():
        for weight in latent.double().parameters():
            draw = rng.normal(0, scale, tuple(weight.shape))
            weight.copy_(torch.from_numpy(draw))
    return latent


def mixture(**settings):
    return filled(BernoulliMixtureLatent(N, 4, **settings))


def network(**settings):
    return filled(SigmoidBeliefLatent(N, **settings))


BOTH = pytest.mark.parametrize("make", [mixture, network])


def some_logits(rows=1):
    generator = torch.Generator().manual_seed(12)
    shape = (rows, N)
    return 1.5 * torch.randn(shape, generator=generator, dtype=DOUBLE)


def states(n=N):
    return torch.from_numpy(listed(n))


def by_hand(latent):
    """Log p of each state, written with loops, differentiable."""
    if isinstance(latent, BernoulliMixtureLatent):
        ones = 1 / (1 + (-latent.logits).exp())
        weights = latent.weight_logits.exp() / latent.weight_logits.exp().sum()
        return torch.stack(
            [
                sum(
                    weight * torch.where(z == 1, one, 1 - one).prod()
                    for weight, one in zip(weights, ones, strict=True)
                ).log()
                for z in states()
            ]
        )
    pairs = [(i, j) for i in range(N) for j in range(i)]
    found = []
    for z in states():
        field = list(latent.bias)
        for coupling, (i, j) in zip(latent.coupling, pairs, strict=True):
            field[i] = field[i] + coupling * z[j]
        ones = [1 / (1 + (-x).exp()) for x in field]
        log_p = [
            (one if bit else 1 - one).log()
            for bit, one in zip(z, ones, strict=True)
        ]
        found.append(sum(log_p))
    return torch.stack(found)


def z_scores(rows, expected):
    """How many standard errors the mean of `rows` is from `expected`."""
    error = rows.std(0) / len(rows) ** 0.5
    return float(((rows.mean(0) - expected).abs() / error).max())


def exact_kl(latent, logits):
    """The KL of one row by the sum over all codes, differentiable."""
    log_q = listed_log_q(logits)[0]
    return (log_q.exp() * (log_q - by_hand(latent))).sum()


# Law


@BOTH
def test_log_prior_is_that_of_the_loops_and_adds_up_to_one(make):
    latent = make()
    found, expected = latent.log_prior(states()), by_hand(latent)
    torch.testing.assert_close(found, expected)
    total = float(found.detach().exp().sum())
    assert total == pytest.approx(1, abs=1e-12)
    slope = torch.linspace(-1, 2, 2**N, dtype=DOUBLE)
    weights = list(latent.parameters())
    ours = torch.autograd.grad(slope @ found, weights)
    theirs = torch.autograd.grad(slope @ expected, weights)
    for one, other in zip(ours, theirs, strict=True):
        assert relative_error(one, other) < 1e-10


@BOTH
@pytest.mark.parametrize("seed", [None, 3])
def test_prior_draws_follow_log_prior(make, seed):
    latent = make()
    z = latent.sample_prior(200_000, seed=seed)
    place = 2 ** torch.arange(N - 1, -1, -1)
    seen = torch.nn.functional.one_hot((z.long() @ place), 2**N).double()
    p = latent.log_prior(states()).exp().detach()
    often = p > 1e-4  # where counts are nearly Gaussian
    assert often.sum() > 20
    assert z_scores(seen[:, often], p[often]) < ROOM
    cooler = (p**1.1 / (p**1.1).sum())[often]
    assert z_scores(seen[:, often], cooler) > ROOM


def test_couplings_lie_on_pairs_from_earlier_bits_to_later_ones():
    latent = SigmoidBeliefLatent(3).double()
    with torch.no_grad():
        latent.coupling.copy_(torch.tensor([1.0, 2.0, 4.0]))
    # 0 -> 1, 0 -> 2, 1 -> 2
    field = latent.field(torch.tensor([1.0, 1.0, 1.0], dtype=DOUBLE))
    assert field.tolist() == [0, 1, 6]
    assert SigmoidBeliefLatent(64).coupling.shape == (64 * 63 / 2,)


@pytest.mark.parametrize(
    "start", [lambda: BernoulliMixtureLatent(N, 1), lambda: mixture(), network]
)
def test_without_couplings_or_with_equal_parts_it_is_bernoulli(start):
    latent, bernoulli = start().double(), BernoulliLatent(N).double()
    with torch.no_grad():
        bernoulli.bias.copy_(some_logits()[0])
        if isinstance(latent, SigmoidBeliefLatent):
            latent.bias.copy_(bernoulli.bias)
            latent.coupling.zero_()
        else:
            latent.logits.copy_(bernoulli.bias.expand_as(latent.logits))
    z, logits = states(), some_logits(3)
    torch.testing.assert_close(latent.log_prior(z), bernoulli.log_prior(z))
    rise = latent.rise_if_flipped(z)
    torch.testing.assert_close(rise, (1 - 2 * z) * bernoulli.bias)
    # Nothing is left to the draws in the slope: it is exact at each of them.
    slopes = []
    for one in (latent, bernoulli):
        inputs = logits.clone().requires_grad_()
        slopes.append(torch.autograd.grad(one.kl(inputs).sum(), inputs)[0])
    torch.testing.assert_close(*slopes)


# Flips


@BOTH
def test_a_rise_is_that_of_log_prior_with_one_bit_flipped(make):
    latent, z = make(), states().view(4, 16, N)
    found = latent.rise_if_flipped(z)
    assert found.shape == z.shape
    for i in range(N):
        flipped = z.clone()
        flipped[..., i] = 1 - flipped[..., i]
        expected = latent.log_prior(flipped) - latent.log_prior(z)
        torch.testing.assert_close(found[..., i], expected)
    default = ExplicitLatent.rise_if_flipped(latent, z)
    torch.testing.assert_close(found, default)


def sure(latent, largest):
    """The latent with its weights stretched."""
    with torch.no_grad():
        for weight in latent.parameters():
            weight *= largest / weight.abs().max()
    return latent


@BOTH
def test_single_precision_is_enough_for_a_sure_prior(make):
    found = sure(make().float(), 30).rise_if_flipped(states().float())
    exact = ExplicitLatent.rise_if_flipped(sure(make(), 30), states())
    assert exact.abs().max() > 20
    assert (found - exact).abs().max() < 1e-3


@BOTH
def test_a_prior_too_sure_for_single_precision_has_finite_rises(make):
    rise = sure(make().float(), 1000).rise_if_flipped(states().float())
    assert rise.isfinite().all()


# KL and its gradient


@BOTH
@pytest.mark.parametrize("draws", [1, 4])
def test_kl_and_every_gradient_are_unbiased_for_the_sum(make, draws):
    latent = make(draws=draws)
    row, prior = some_logits().requires_grad_(), list(latent.parameters())
    exact = exact_kl(latent, row)
    slope, *weights = torch.autograd.grad(exact, [row, *prior])

    rows = row.detach().expand(40_000, -1).clone().requires_grad_()
    found = latent.kl(rows)
    assert z_scores(found.detach()[:, None], exact.detach()) < ROOM
    (each,) = torch.autograd.grad(found.sum(), rows)
    assert z_scores(each, slope) < ROOM
    assert z_scores(1.1 * each, slope) > ROOM

    grads = [
        torch.autograd.grad(latent.kl(piece).mean(), prior)
        for piece in rows.detach().split(100)
    ]
    for place, expected in enumerate(weights):
        means = torch.stack([grad[place].flatten() for grad in grads])
        assert z_scores(means, expected.flatten()) < ROOM
        assert z_scores(1.1 * means, expected.flatten()) > ROOM


@BOTH
@pytest.mark.parametrize("relaxation", ["binary concrete", "score function"])
def test_the_slope_of_the_kl_does_not_depend_on_the_relaxation(
    make, relaxation
):
    rows = some_logits(50).requires_grad_()
    slopes = []
    for latent in (make(), make(relaxation=relaxation)):
        torch.manual_seed(2)
        slopes.append(torch.autograd.grad(latent.kl(rows).sum(), rows)[0])
    torch.testing.assert_close(*slopes, rtol=0, atol=0)


@BOTH
def test_a_straight_through_slope_of_log_p_would_be_biased(make):
    """The reason for local expectations: the mistake is seen by this test."""
    latent = make()
    row = some_logits().requires_grad_()
    (slope,) = torch.autograd.grad(exact_kl(latent, row), row)
    rows = row.detach().expand(40_000, -1).clone().requires_grad_()
    log_p = StraightThrough().expectation(latent.log_prior, rows)
    naive = -latent.entropy(rows) - log_p
    (each,) = torch.autograd.grad(naive.sum(), rows)
    assert z_scores(each, slope) > 20


@BOTH
def test_its_slope_is_far_less_noisy_than_that_of_the_score_function(make):
    latent = make(draws=1)
    rows = some_logits().expand(20_000, -1).clone().requires_grad_()
    log_p = ScoreFunction().expectation(latent.log_prior, rows)
    by_score = -latent.entropy(rows) - log_p
    ours, theirs = (
        torch.autograd.grad(kl.sum(), rows)[0].var(0).mean()
        for kl in (latent.kl(rows), by_score)
    )
    assert theirs > 3 * ours


@BOTH
def test_more_draws_make_kl_and_slope_less_noisy(make):
    noise = []
    for draws in (1, 16):
        rows = some_logits().expand(20_000, -1).clone().requires_grad_()
        kl = make(draws=draws).kl(rows)
        (slope,) = torch.autograd.grad(kl.sum(), rows)
        noise.append([kl.detach().var(), slope.var(0).sum()])
    for one, many in zip(*noise, strict=True):
        assert float(one / many) == pytest.approx(16, rel=0.1)


@BOTH
def test_without_gradients_the_kl_is_a_plain_number(make):
    with torch.no_grad():
        assert not make().kl(some_logits()).requires_grad
    latent = make()
    latent.requires_grad_(False)
    assert latent.kl(some_logits().requires_grad_()).requires_grad
    assert not latent.kl(some_logits()).requires_grad


# How they start, settings, couplings


def test_first_logits_follow_the_seed_alone_and_differ():
    random = torch.get_rng_state()
    one, again, other = (
        BernoulliMixtureLatent(8, 400, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(one.logits, again.logits)
    assert not torch.equal(one.logits, other.logits)
    assert len(one.logits.unique(dim=0)) == 400
    assert z_scores(one.logits.detach().flatten()[:, None], 0) < ROOM
    assert BernoulliMixtureLatent(2).logits.shape == (50, 2)
    assert SigmoidBeliefLatent(5).coupling.abs().max() == 0


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *itertools.product([BernoulliMixtureLatent], ["components"]),
        *itertools.product(
            [BernoulliMixtureLatent, SigmoidBeliefLatent],
            ["n_latent", "draws"],
        ),
    ],
)
def test_sizes_are_whole_numbers(kind, name, value):
    words = f"{name} is a whole number of at least 1, not {value!r}"
    with pytest.raises(ValueError, match=words):
        kind(**{"n_latent": 2} | {name: value})


def test_a_seed_is_a_whole_number():
    with pytest.raises(ValueError, match="seed is a whole number.*not -1"):
        BernoulliMixtureLatent(2, seed=-1)


@pytest.mark.parametrize("change", [shuffle_couplings, randomise_couplings])
def test_controls_change_couplings_of_a_belief_network(change):
    model = CellVAE(two_clusters(), filled(SigmoidBeliefLatent(N)).float())
    before = model.module.latent.coupling.detach().clone()
    changed = change(model)
    after = changed.module.latent.coupling.detach()
    assert torch.equal(model.module.latent.coupling, before)
    assert not torch.equal(after, before)
    if change is shuffle_couplings:
        assert torch.equal(after.sort().values, before.sort().values)
    assert math.isfinite(changed.get_elbo())


def test_a_mixture_has_no_couplings_to_change():
    model = CellVAE(two_clusters(), BernoulliMixtureLatent(4, 3))
    with pytest.raises(TypeError, match="BernoulliMixtureLatent has no coupl"):
        shuffle_couplings(model)


# They learn what they are made for


@pytest.mark.parametrize(
    ("make", "components"),
    [(lambda: BernoulliMixtureLatent(4, 5), 5), (SigmoidBeliefLatent, 0)],
)
def test_training_a_model_moves_all_their_weights(make, components):
    model = CellVAE(two_clusters(), make() if components else make(4))
    before = [w.detach().clone() for w in model.module.latent.parameters()]
    model.fit(**FIT, lr=5e-3)
    for old, new in zip(before, model.module.latent.parameters(), strict=True):
        assert not torch.equal(old, new)
