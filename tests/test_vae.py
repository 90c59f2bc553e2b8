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

from qbmvae_mini import vae as vae_module
from qbmvae_mini.boltzmann import RBM
from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
)
from qbmvae_mini.samplers import ExactSampler, GibbsSampler
from qbmvae_mini.vae import VAE

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
    monkeypatch.setattr(vae_module, "MAX_ELEMENTS", elements * X.numel())
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
    assert vae.encoder[0].in_features == GENES


def test_one_batch_has_no_label():
    vae = make(GaussianLatent(3), n_batches=1)
    assert vae.decoder[0].in_features == 3
    z = vae.latent.sample(vae.encode(X))
    zero, nine = (vae.decode(z, torch.full((2,), b)) for b in (0, 9))
    assert torch.equal(zero, nine)


def test_the_encoder_reads_counts_on_the_log_scale(vae):
    found = vae.encode(X)
    assert torch.equal(found, vae.encoder(torch.log(X + 1)))


def test_generated_cells_have_the_models_mean(vae):
    n, depth = 60_000, 30.0
    torch.manual_seed(23)
    batch = torch.arange(n) % 2
    library = torch.full((n,), depth, dtype=DOUBLE)
    x = vae.generate(n, library, batch)
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
    x = vae.generate(4000, library, torch.zeros(4000, dtype=torch.long))
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
