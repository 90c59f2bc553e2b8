"""The VAE's bounds, against the sum over all codes of a tiny model."""

import math

import numpy as np
import pytest
import torch
from oracles import (
    energies,
    listed,
    listed_kl,
    listed_log_q,
    randomise,
)
from scipy import special, stats

from qbmvae_mini.cells.counts import Counts
from qbmvae_mini.latents import BernoulliLatent, BoltzmannLatent, GaussianLatent
from qbmvae_mini.latents.relaxations import (
    BinaryConcrete,
    OverlappingExponentials,
    ScoreFunction,
    SpikeAndExponential,
)
from qbmvae_mini.machines import RBM
from qbmvae_mini.samplers import ExactSampler, GibbsSampler
from qbmvae_mini.vae import VAE, network

DOUBLE = torch.float64
GENES = 5
X = torch.tensor([[4, 0, 1, 7, 2], [0, 0, 3, 0, 1]], dtype=DOUBLE)
BATCH = torch.tensor([0, 1])


def boltzmann_latent():
    return BoltzmannLatent(randomise(RBM(2, 2), scale=1.0), ExactSampler())


def bernoulli_latent():
    latent = BernoulliLatent(3)
    latent.bias.data.copy_(torch.tensor([1.0, -0.5, 0.2]))
    return latent


LATENTS = {
    "boltzmann": boltzmann_latent,
    "bernoulli": bernoulli_latent,
    "gaussian": lambda: GaussianLatent(1),
}


@pytest.fixture(params=LATENTS)
def vae(request):
    """A tiny model with each latent in turn, ready to be scored."""
    return make(LATENTS[request.param]())


def make(latent, n_batches=2):
    torch.manual_seed(21)
    vae = VAE(GENES, latent, n_batches=n_batches, n_hidden=8).double().eval()
    with torch.no_grad():
        vae.likelihood.log_r.copy_(torch.linspace(-1, 2, GENES))
        # A decoder that hardly listens to the code would prove little.
        vae.decoder[0].weight.mul_(5)
        vae.decoder[-1].weight.mul_(4)
    return vae


def codes(vae):
    """All codes with the log weight of each under the prior."""
    latent = vae.latent
    if isinstance(latent, GaussianLatent):
        z = torch.linspace(-9, 9, 6001, dtype=DOUBLE)[:, None]
        log_p = stats.norm.logpdf(z[:, 0].numpy()) + math.log(18 / 6000)
        return z, torch.from_numpy(log_p)
    z = listed(latent.n_latent)
    if isinstance(latent, BernoulliLatent):
        log_p = z @ latent.bias.detach().numpy()
    else:
        log_p = -energies(latent.machine)
    return torch.from_numpy(z), torch.from_numpy(
        log_p - special.logsumexp(log_p)
    )


@torch.no_grad()
def log_p_given_codes(vae, z):
    """By scipy, (codes, cells)."""
    output = vae.decode(z[:, None].expand(-1, len(X), -1), BATCH).numpy()
    r = vae.likelihood.log_r.exp().numpy()
    mean = X.sum(1).numpy()[:, None] * special.softmax(output, axis=-1)
    log_p = stats.nbinom.logpmf(X.numpy(), r, r / (r + mean))
    return torch.from_numpy(log_p.sum(-1))


def exact_log_p(vae):
    """Log p(x) of each cell by the sum over all codes, (cells,)."""
    z, log_prior = codes(vae)
    return (log_p_given_codes(vae, z) + log_prior[:, None]).logsumexp(0)


def exact_elbo(vae):
    z, log_prior = codes(vae)
    params = vae.encode(X).detach()
    if isinstance(vae.latent, GaussianLatent):
        mean, log_var = params.numpy().T
        log_q = stats.norm.logpdf(z.numpy(), mean, np.exp(log_var / 2))
        log_q = torch.from_numpy(log_q + math.log(18 / 6000)).T
        kl = (log_q.exp() * (log_q - log_prior)).sum(-1)
    else:
        log_q = listed_log_q(params)
        kl = listed_kl(params, -log_prior)
    reconstruction = (log_q.exp() * log_p_given_codes(vae, z).T).sum(-1)
    return reconstruction - kl


def new_cells(vae, n, library, batch):
    """What the model generates, dense."""
    return torch.from_numpy(vae.generate(n, library, batch).toarray())


def copies(cell, n):
    return X[[cell]].expand(n, -1), BATCH[[cell]].expand(n)


# Bounds


def test_the_elbo_of_one_draw_is_unbiased(vae):
    expected = exact_elbo(vae)
    for cell in range(len(X)):
        elbo = vae.elbo(*copies(cell, 40_000)).detach()
        error = elbo.std() / len(elbo) ** 0.5
        assert error > 0
        assert abs(elbo.mean() - expected[cell]) < 4.5 * error


def test_the_elbo_is_below_the_likelihood_by_the_posterior_gap(vae):
    assert (exact_elbo(vae) < exact_log_p(vae) - 0.01).all()


@pytest.mark.parametrize("n_samples", [1, 3, 20])
def test_importance_weights_average_to_the_likelihood(vae, n_samples):
    """Its exponential is unbiased at any number of samples."""
    expected = exact_log_p(vae)
    for cell in range(len(X)):
        found = vae.log_likelihood(*copies(cell, 20_000), n_samples)
        ratio = (found - expected[cell]).exp()
        error = ratio.std() / len(ratio) ** 0.5
        assert abs(ratio.mean() - 1) < 4.5 * error


def test_the_weighted_bound_rises_towards_the_likelihood(vae):
    exact, elbo = exact_log_p(vae), exact_elbo(vae)
    for cell in range(len(X)):
        means, errors = [], []
        for n_samples in (1, 4, 16, 64):
            found = vae.log_likelihood(*copies(cell, 4000), n_samples)
            means.append(found.mean().item())
            errors.append(found.std().item() / math.sqrt(4000))
        assert abs(means[0] - elbo[cell]) < 4.5 * errors[0]
        assert means == sorted(means)
        gap = exact[cell] - means[-1]
        assert -4.5 * errors[-1] < gap < 0.2 * (exact[cell] - elbo[cell])


@pytest.mark.parametrize("elements", [1, 10, 33, 10**9])
def test_many_samples_find_the_likelihood_in_pieces_or_at_once(
    vae, elements, monkeypatch
):
    monkeypatch.setattr(network, "MAX_ELEMENTS", elements * X.numel())
    n_samples = 1000 if elements == 1 else 20_000
    if 1 < elements < 100:
        n_samples = 5003  # the last piece is a short one
    found = vae.log_likelihood(X, BATCH, n_samples)
    tolerance = 10 / math.sqrt(n_samples)
    torch.testing.assert_close(found, exact_log_p(vae), atol=tolerance, rtol=0)


def test_training_loss_is_minus_the_elbo_with_its_weight(vae):
    torch.manual_seed(22)
    full, none = (
        vae(*copies(0, 20_000), kl_weight=weight).detach().mean()
        for weight in (1.0, 0.0)
    )
    kl = vae.latent.kl(vae.encode(X)).detach()[0]
    assert kl > 0.01
    assert abs(full - none - kl) < 0.2
    assert abs(full + exact_elbo(vae)[0]) < 0.2


def test_every_weight_of_the_model_gets_a_gradient(vae):
    vae.train()
    vae(X, BATCH).sum().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_dropout_is_silent_in_evaluation(vae):
    x, _ = copies(0, 50)
    assert torch.equal(vae.embed(x), vae.embed(x))
    noisy = [vae.train().embed(x) for _ in range(2)]
    assert not torch.equal(*noisy)


# Smoothed bits: another model, whose decoder reads numbers


NUMBERS = {
    BinaryConcrete: 0.7,
    SpikeAndExponential: 0.5,
    OverlappingExponentials: 4.0,
}


def two_bit_vae(relaxation):
    machine = randomise(RBM(1, 1), scale=1.0)
    latent = BoltzmannLatent(machine, ExactSampler(), relaxation=relaxation)
    return make(latent)


@pytest.fixture(params=NUMBERS)
def smoothed(request):
    """A VAE of two bits, with each kind of smoothing in turn."""
    return two_bit_vae(request.param(NUMBERS[request.param]))


def points_of(relaxation, bit, logit=0.0, n=80):
    """Numbers and weights that stand for r(zeta | bit).

    The formulas are the papers'. Only the concrete's numbers know the logit.
    """
    number = NUMBERS[type(relaxation)]
    x, weight = np.polynomial.legendre.leggauss(n)
    rank, weight = (x + 1) / 2, weight / 2  # of the law given the bit
    if isinstance(relaxation, BinaryConcrete):
        low = special.expit(-logit)  # P(logit + noise < 0)
        u = low + rank * (1 - low) if bit else rank * low
        zeta = special.expit((logit + special.logit(u)) / number)
        return zeta, weight
    if isinstance(relaxation, SpikeAndExponential) and not bit:
        return np.zeros(1), np.ones(1)
    zeta = np.log1p(rank * np.expm1(number)) / number
    return (zeta if bit else 1 - zeta), weight


def smoothed_codes(vae):
    """Codes that the decoder reads and their log weights under the prior."""
    relaxation = vae.latent.relaxation
    bits = listed(2)
    log_p = -energies(vae.latent.machine)
    log_p -= special.logsumexp(log_p)
    codes, log_weights = [], []
    for (one, other), log_prior in zip(bits, log_p, strict=True):
        x, p = points_of(relaxation, one)
        y, q = points_of(relaxation, other)
        codes.append(np.stack(np.meshgrid(x, y, indexing="ij"), -1))
        log_weights.append(log_prior + np.log(np.outer(p, q)).ravel())
    codes = np.concatenate([c.reshape(-1, 2) for c in codes])
    return torch.from_numpy(codes), torch.from_numpy(np.hstack(log_weights))


def smoothed_log_p(vae):
    """Log p(x) of the model whose decoder reads numbers, (cells,)."""
    zeta, log_weight = smoothed_codes(vae)
    return (log_p_given_codes(vae, zeta) + log_weight[:, None]).logsumexp(0)


@pytest.mark.parametrize("n_samples", [1, 4])
@pytest.mark.parametrize("discrete", [False, True])
def test_either_score_is_unbiased_for_its_model(smoothed, discrete, n_samples):
    own, bits = smoothed_log_p(smoothed), exact_log_p(smoothed)
    expected, other = (bits, own) if discrete else (own, bits)
    assert ((own - bits).abs() > 0.05).all()
    for cell in range(len(X)):
        found = smoothed.log_likelihood(
            *copies(cell, 40_000), n_samples, discrete=discrete
        )
        ratio = (found - expected[cell]).exp()
        error = ratio.std() / len(ratio) ** 0.5
        assert error < 0.05
        assert abs(ratio.mean() - 1) < 4.5 * error
        wrong = (found - other[cell]).exp().mean()
        assert abs(wrong - 1) > 4.5 * error


def test_many_samples_find_either_likelihood(smoothed):
    torch.manual_seed(24)
    for discrete, exact in (
        (False, smoothed_log_p(smoothed)),
        (True, exact_log_p(smoothed)),
    ):
        found = smoothed.log_likelihood(X, BATCH, 100_000, discrete=discrete)
        torch.testing.assert_close(found, exact, atol=0.03, rtol=0)


def test_the_elbo_of_smoothed_codes_is_that_of_one_sample(smoothed):
    exact = smoothed_log_p(smoothed)
    for cell in range(len(X)):
        one = smoothed.log_likelihood(*copies(cell, 40_000), 1)
        elbo = smoothed.elbo(*copies(cell, 40_000)).detach()
        error = math.sqrt((one.var() + elbo.var()) / 40_000)
        assert abs(one.mean() - elbo.mean()) < 4.5 * error
        assert elbo.mean() < exact[cell]
        # The weight of the KL is that of the smoothing too: none is left.
        none = smoothed.elbo(*copies(cell, 40_000), kl_weight=0).detach()
        plain = reconstruction(smoothed, cell)
        error = none.std() / len(none) ** 0.5
        assert abs(none.mean() - plain) < 4.5 * error


@torch.no_grad()
def posterior_codes(vae, cell):
    """Numbers and weights that stand for q(zeta | x) of one cell."""
    logits = vae.encode(X)[cell].numpy()
    codes, weights = [], []
    for bits in listed(2):
        points = [
            points_of(vae.latent.relaxation, bit, logit)
            for bit, logit in zip(bits, logits, strict=True)
        ]
        (x, p), (y, q) = points
        codes.append(np.stack(np.meshgrid(x, y, indexing="ij"), -1))
        of_bits = np.where(
            bits == 1, special.expit(logits), special.expit(-logits)
        )
        weights.append(of_bits.prod() * np.outer(p, q).ravel())
    codes = np.concatenate([c.reshape(-1, 2) for c in codes])
    return torch.from_numpy(codes), torch.from_numpy(np.hstack(weights))


def reconstruction(vae, cell):
    zeta, weight = posterior_codes(vae, cell)
    return float(weight @ log_p_given_codes(vae, zeta)[:, cell])


def test_codes_for_decoding_are_those_of_the_posterior(smoothed):
    """What `get_normalized_expression` averages: shares at smoothed codes."""
    n = 100_000
    for cell in range(len(X)):
        params = smoothed.encode(X)[[cell]].detach()
        z = smoothed.latent.sample(params, n)
        code, _ = smoothed.latent.smooth(z, params)
        label = BATCH[[cell]]
        shares = smoothed.decode(code, label).softmax(-1)[:, 0].detach()
        zeta, weight = posterior_codes(smoothed, cell)
        assert float(weight.sum()) == pytest.approx(1)
        output = smoothed.decode(zeta, label.expand(len(zeta))).detach()
        expected = weight @ output.softmax(-1)
        error = shares.std(0) / n**0.5
        assert ((shares.mean(0) - expected) / error).abs().max() < 4.5


def test_new_cells_come_from_smoothed_codes_of_the_prior(smoothed):
    n, depth = 100_000, 30.0
    torch.manual_seed(25)
    batch = torch.zeros(n, dtype=torch.long)
    x = new_cells(smoothed, n, torch.full((n,), depth).double(), batch)
    error = x.std(0) / n**0.5
    z_scores = []
    for code, log_weight in (smoothed_codes(smoothed), codes(smoothed)):
        label = torch.zeros(len(code), dtype=torch.long)
        shares = smoothed.decode(code, label).detach().softmax(-1)
        expected = depth * log_weight.exp() @ shares
        z_scores.append(((x.mean(0) - expected) / error).abs().max())
    assert z_scores[0] < 4.5
    assert z_scores[1] > 4.5  # true bits would give other cells


@pytest.mark.parametrize("relaxation", ["straight-through", ScoreFunction()])
def test_true_bits_have_one_score(relaxation):
    vae = two_bit_vae(relaxation)
    scores = []
    for discrete in (False, True):
        torch.manual_seed(26)
        scores.append(vae.log_likelihood(X, BATCH, 50, discrete=discrete))
    assert torch.equal(*scores)


def test_numbers_have_one_score():
    vae = make(GaussianLatent(2))
    scores = []
    for discrete in (False, True):
        torch.manual_seed(27)
        scores.append(vae.log_likelihood(X, BATCH, 50, discrete=discrete))
    assert torch.equal(*scores)


@pytest.mark.parametrize("n_samples", [7, 12])
def test_smoothed_codes_are_scored_in_pieces_or_at_once(
    smoothed, n_samples, monkeypatch
):
    at_once = 5 * GENES
    monkeypatch.setattr(network, "MAX_ELEMENTS", at_once)
    shapes = []
    smooth = smoothed.latent.smooth

    def watch(z, params):
        shapes.append(z.shape)
        return smooth(z, params)

    monkeypatch.setattr(smoothed.latent, "smooth", watch)
    assert smoothed.log_likelihood(X, BATCH, n_samples).isfinite().all()
    pieces = [5] * (n_samples // 5) + [n_samples % 5]
    assert shapes == [(n, 2, 2) for n in pieces]


# Batches and new cells


def test_the_batch_changes_the_decoder_and_never_the_embedding(vae):
    z = vae.latent.sample(vae.encode(X), 3)
    one, other = (vae.decode(z, torch.full((2,), b)) for b in (0, 1))
    assert one.shape == (3, 2, GENES)
    assert (one - other).abs().max() > 0.01
    labels = vae.decoder[0].weight[:, -2:]  # one column a batch
    assert vae.decoder[0].in_features == vae.latent.n_latent + 2
    with torch.no_grad():
        labels[:, 1] = labels[:, 0]
    same = vae.decode(z, torch.ones(2, dtype=torch.long))
    assert torch.equal(one, same)
    assert len(vae.encoder[0].weight) == GENES


def test_one_batch_has_no_label():
    vae = make(GaussianLatent(3), n_batches=1)
    assert vae.decoder[0].in_features == 3
    z = vae.latent.sample(vae.encode(X))
    zero, nine = (vae.decode(z, torch.full((2,), b)) for b in (0, 9))
    assert torch.equal(zero, nine)


def test_the_encoder_reads_counts_on_the_log_scale(vae):
    first, *rest = vae.encoder
    hidden = torch.log(X + 1) @ first.weight + first.bias
    expected = torch.nn.Sequential(*rest)(hidden)
    torch.testing.assert_close(vae.encode(X), expected)


def test_generated_cells_have_the_models_mean(vae):
    n, depth = 60_000, 30.0
    torch.manual_seed(23)
    batch = torch.arange(n) % 2
    library = torch.full((n,), depth, dtype=DOUBLE)
    x = new_cells(vae, n, library, batch)
    assert x.shape == (n, GENES)
    assert torch.equal(x, x.round())
    assert x.min() >= 0

    z, log_prior = codes(vae)
    p = log_prior.exp()[:, None]
    for b in (0, 1):
        output = vae.decode(z, torch.full((len(z),), b)).detach()
        expected = (p * depth * output.softmax(-1)).sum(0)
        cells = x[batch == b]
        error = cells.std(0) / len(cells) ** 0.5
        assert ((cells.mean(0) - expected) / error).abs().max() < 4.5


def test_generated_cells_have_the_depth_they_are_asked_for(vae):
    library = torch.tensor([10.0, 1000.0], dtype=DOUBLE).repeat(2000)
    x = new_cells(vae, 4000, library, torch.zeros(4000, dtype=torch.long))
    depth = x.sum(1).reshape(-1, 2)
    error = depth.std(0) / len(depth) ** 0.5
    expected = torch.tensor([10.0, 1000.0], dtype=DOUBLE)
    assert ((depth.mean(0) - expected) / error).abs().max() < 4.5


def test_replacing_the_latent_is_all_it_takes():
    machine = RBM(8, 8)
    for latent in (
        GaussianLatent(10),
        BernoulliLatent(16),
        BoltzmannLatent(machine, GibbsSampler(chains=20)),
    ):
        vae = VAE(GENES, latent, n_batches=2, n_hidden=8)
        x = X.float()
        vae(x, BATCH).sum().backward()
        vae.eval()
        assert vae.elbo(x, BATCH).shape == (2,)
        assert vae.log_likelihood(x, BATCH).shape == (2,)
        assert vae.embed(x).shape == (2, latent.n_latent)
        assert vae.generate(2, x.sum(1), BATCH).shape == x.shape


# Counts without their zeros


def few_counts():
    """An empty cell, a cell of one gene, counts above the table and 2^24."""
    x = torch.zeros(4, GENES, dtype=DOUBLE)
    x[1, 3] = 2**24
    x[2] = torch.tensor([1, 0, 8, 9, 300])
    x[3] = 1
    return x


@pytest.mark.parametrize("x", [X, few_counts(), torch.zeros_like(X)])
def test_the_first_layer_is_a_dense_product(x):
    layer = network.CountsLinear(GENES, 3).double()
    weight = torch.linspace(-1, 2, 3 * len(x), dtype=DOUBLE).view(-1, 3)
    found, expected = layer(Counts.of(x)), x @ layer.weight + layer.bias
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad((found * weight).sum(), layer.parameters()),
        torch.autograd.grad((expected * weight).sum(), layer.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_first_layer_starts_as_a_linear_one():
    torch.manual_seed(30)
    layer = network.CountsLinear(GENES, 3)
    torch.manual_seed(30)
    linear = torch.nn.Linear(GENES, 3)
    assert torch.equal(layer.weight, linear.weight.T)
    assert torch.equal(layer.bias, linear.bias)


def test_the_first_layer_has_no_second_derivative():
    layer = network.CountsLinear(GENES, 3).double()
    (slope,) = torch.autograd.grad(
        layer(X).square().sum(), layer.weight, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_dense_and_sparse_counts_have_one_score(vae):
    x = few_counts()[2:]
    for ask in (vae.elbo, lambda *a: vae.log_likelihood(*a, 9)):
        found = []
        for counts in (x, Counts.of(x)):
            torch.manual_seed(31)
            found.append(ask(counts, BATCH).detach())
        assert torch.equal(*found)
    assert torch.equal(vae.embed(x), vae.embed(Counts.of(x)))


@pytest.mark.parametrize("cached", [1, 3 * GENES, 2**18])
@pytest.mark.parametrize("n_dead", [0, 3, 8])
def test_a_score_is_that_of_all_hidden_units(vae, monkeypatch, cached, n_dead):
    """Units that are zero at all draws are left out, whatever the blocks."""
    monkeypatch.setattr(network, "CACHED", cached)
    with torch.no_grad():
        vae.decoder[1].bias[:n_dead] = -50  # below zero after the LayerNorm
    torch.manual_seed(3)
    found = vae.log_likelihood(X, BATCH, 9)
    torch.manual_seed(3)
    params = vae.encode(X)
    z = vae.latent.sample(params, 9)
    joint = vae.log_prob(X, z, BATCH) + vae.latent.log_prior(z)
    terms = joint - vae.latent.log_q(params, z)
    expected = terms.logsumexp(0) - math.log(9)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_mean_expression_is_the_mean_of_shares(vae, monkeypatch):
    for elements in (7 * GENES, 10**6):  # in pieces, and at once
        monkeypatch.setattr(network, "MAX_ELEMENTS", elements)
        torch.manual_seed(32)
        found = vae.mean_expression(X, BATCH, 21)
        torch.manual_seed(32)
        params = vae.encode(X).detach()
        pieces = [vae.latent.sample(params, n) for n in (7, 7, 7)]
        z = torch.cat(pieces)
        if elements == 10**6:
            torch.manual_seed(32)
            z = vae.latent.sample(params, 21)
        expected = vae.decode(z, BATCH).softmax(-1).mean(0).detach()
        torch.testing.assert_close(found, expected)


def test_new_cells_in_pieces_keep_their_depth_and_batch(vae, monkeypatch):
    monkeypatch.setattr(network, "MAX_ELEMENTS", 3 * GENES)
    library = torch.tensor([10.0, 1e5], dtype=DOUBLE).repeat(50)
    batch = (torch.arange(100) >= 50).long()
    x = new_cells(vae, 100, library, batch)
    assert x.shape == (100, GENES)
    assert (x[::2].sum(1) < x[1::2].sum(1)).all()
    assert vae.generate(1, library[:1], batch[:1]).shape == (1, GENES)
