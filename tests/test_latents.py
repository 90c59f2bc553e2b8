"""Latents: every KL, and every gradient of it, against the sum over states."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from every_latent import LATENTS
from oracles import (
    KINDS,
    judge,
    listed,
    listed_energy,
    listed_kl,
    listed_log_q,
    log_z,
    random_machine,
    randomise,
    relative_error,
)
from synthetic import FIT, two_clusters
from torch.nn import functional as F

from qbmvae_mini import latents
from qbmvae_mini.estimates import Bracket
from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
    Latent,
    MixtureLatent,
    QuantumLatent,
)
from qbmvae_mini.latents.relaxations import (
    BinaryConcrete,
    Schedule,
    SpikeAndExponential,
)
from qbmvae_mini.machines import RBM, QuantumBoltzmannMachine
from qbmvae_mini.models import CellVAE
from qbmvae_mini.samplers import (
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    Sampler,
    TemperingSampler,
)
from qbmvae_mini.vae import VAE

DOUBLE = torch.float64
TOLERANCE = 1e-5
#: Rows count differently, so a mean over rows cannot pass for a sum.
ROWS = torch.tensor([1.0, -0.3, 2.5], dtype=DOUBLE)


def some_logits(n):
    generator = torch.Generator().manual_seed(12)
    return 1.5 * torch.randn(3, n, generator=generator, dtype=DOUBLE)


def boltzmann(kind, latent=BoltzmannLatent, sampler=None):
    machine = random_machine(kind, dtype=DOUBLE)
    return latent(machine, sampler or ExactSampler())


def bernoulli(latent=BernoulliLatent):
    latent = latent(6).double()
    latent.bias.data.copy_(some_logits(6)[0])
    return latent


def energy_of_independent_bits(bias):
    return -torch.from_numpy(listed(len(bias))) @ bias


def errors(latent, energy):
    """Relative gradient errors of `kl`: logits, then each parameter."""
    names = ["logits", *dict(latent.named_parameters())]
    logits = some_logits(latent.n_latent).requires_grad_()
    inputs = [logits, *latent.parameters()]
    found = torch.autograd.grad(ROWS @ latent.kl(logits), inputs)
    expected = torch.autograd.grad(ROWS @ listed_kl(logits, energy()), inputs)
    return dict(zip(names, map(relative_error, found, expected), strict=True))


# Values and gradients of the KL


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", KINDS)
def test_boltzmann_kl_is_the_sum_over_states(kind, mode):
    latent = boltzmann(kind).train(mode == "train")
    logits = some_logits(latent.n_latent)
    expected = listed_kl(logits, listed_energy(latent.machine))
    assert (expected > 0).all()
    torch.testing.assert_close(
        latent.kl(logits), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_boltzmann_kl_gradients_are_those_of_the_sum(kind):
    latent = boltzmann(kind)
    found = errors(latent, lambda: listed_energy(latent.machine))
    weights = ["a", "c", "W"] if kind == "rbm" else ["bias", "coupling"]
    assert list(found) == ["logits", *(f"machine.{w}" for w in weights)]
    assert max(found.values()) <= TOLERANCE, found


def test_bernoulli_kl_and_gradients_are_those_of_the_sum():
    latent = bernoulli()
    logits = some_logits(6)
    expected = listed_kl(logits, energy_of_independent_bits(latent.bias))
    torch.testing.assert_close(latent.kl(logits), expected)
    found = errors(latent, lambda: energy_of_independent_bits(latent.bias))
    assert list(found) == ["logits", "bias"]
    assert max(found.values()) <= TOLERANCE, found


class WrongLogZSign(BoltzmannLatent):
    def negative_phase(self):
        return -super().negative_phase()


class NoEnergyToEncoder(BoltzmannLatent):
    def energy(self, params):
        return super().energy(params.detach())


class WrongEntropySign(BoltzmannLatent):
    def entropy(self, params):
        return -super().entropy(params)


class MeanOverBits(BoltzmannLatent):
    def entropy(self, params):
        return super().entropy(params) / params.shape[-1]


class HalfTheLogZ(BoltzmannLatent):
    def negative_phase(self):
        return super().negative_phase() / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mistake", "where"),
    [
        (WrongLogZSign, "machine"),
        (HalfTheLogZ, "machine"),
        (NoEnergyToEncoder, "logits"),
        (WrongEntropySign, "logits"),
        (MeanOverBits, "logits"),
    ],
)
def test_the_same_check_rejects_a_mistake(mistake, where, kind):
    latent = boltzmann(kind, mistake)
    found = errors(latent, lambda: listed_energy(latent.machine))
    for name, error in found.items():
        assert (error > 0.1) == name.startswith(where), found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_likelihood_gradient_is_data_minus_negative_phase(kind, sign):
    machine = random_machine(kind, dtype=DOUBLE)
    generator = torch.Generator().manual_seed(13)
    data = torch.rand(20, machine.n_units, generator=generator).round().double()
    inputs = list(machine.parameters())
    negative = sign * ExactSampler().mean_energy(machine)
    likelihood = negative - machine.energy(data).mean()
    found = torch.autograd.grad(likelihood, inputs)

    energy = listed_energy(machine)
    place = 2 ** torch.arange(machine.n_units - 1, -1, -1)
    index = (data.long() @ place).numpy()
    exact = -energy[index].mean() - energy.neg().logsumexp(0)
    expected = torch.autograd.grad(exact, inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert (relative_error(ours, theirs) <= TOLERANCE) == (sign == 1)


def test_hidden_units_are_summed_out_of_the_likelihood_gradient():
    machine = random_machine("rbm", dtype=DOUBLE)
    v = torch.from_numpy(listed(machine.n_left))[[0, 3, 3, 6]]
    negative = ExactSampler().mean_energy(machine)
    likelihood = negative - machine.free_energy(v).mean()
    inputs = list(machine.parameters())
    found = torch.autograd.grad(likelihood, inputs)
    log_p = -listed_energy(machine).reshape(2**machine.n_left, -1)
    log_p = log_p.logsumexp(1) - log_p.logsumexp((0, 1))
    expected = torch.autograd.grad(log_p[[0, 3, 3, 6]].mean(), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(ours, theirs) <= TOLERANCE


# The sampled negative phase


class Sampled(Sampler):
    """Exact draws from a sampler that the latent does not recognise."""

    def __init__(self, beta=1.0):
        self.beta = beta
        self.exact = ExactSampler(seed=14)

    def sample(self, machine, n):
        machine = copy.deepcopy(machine)
        for parameter in machine.parameters():
            parameter.data *= self.beta
        return self.exact.sample(machine, n)


def negative_phase_z(sampler, kind, steps=400):
    """Worst z-score of the sampled gradient of log Z, over all weights."""
    latent = boltzmann(kind, sampler=sampler)
    latent.negatives = 200
    inputs = list(latent.machine.parameters())
    latent.negative_phase()  # burn-in of persistent chains
    grads = []
    for _ in range(steps):
        grad = torch.autograd.grad(-latent.negative_phase(), inputs)
        grads.append(torch.cat([g.flatten() for g in grad]))
    grads = torch.stack(grads)
    log_z = listed_energy(latent.machine).neg().logsumexp(0)
    expected = torch.autograd.grad(log_z, inputs)
    expected = torch.cat([g.flatten() for g in expected])
    z = (grads.mean(0) - expected) / (grads.std(0) / steps**0.5)
    return z.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampler",
    [
        lambda: Sampled(),
        lambda: GibbsSampler(sweeps=30, persistent=False),
        lambda: GibbsSampler(chains=200, sweeps=30),
    ],
    ids=["exact draws", "fresh Gibbs", "persistent Gibbs"],
)
def test_the_sampled_negative_phase_is_unbiased(sampler, kind):
    assert negative_phase_z(sampler(), kind) < 4.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.9, -1.0])
def test_the_same_check_rejects_a_warm_or_inverted_machine(beta, kind):
    assert negative_phase_z(Sampled(beta), kind) > 4.5


def test_the_sampler_is_asked_once_a_step_for_all_its_chains():
    asked = []

    class Counting(GibbsSampler):
        def sample(self, machine, n):
            asked.append(n)
            return super().sample(machine, n)

    latent = boltzmann("rbm", sampler=Counting(chains=30))
    latent.kl(some_logits(8))
    assert asked == [30]
    few = BoltzmannLatent(RBM(3, 5), Counting(chains=30), negatives=7)
    few.kl(some_logits(8).float())
    assert asked == [30, 7]


# The contract, for every latent


@pytest.fixture(params=LATENTS)
def latent(request):
    """Each latent in turn, in double precision, with weights that matter."""
    torch.manual_seed(15)
    latent = LATENTS[request.param]().double()
    with torch.no_grad():
        for weight in latent.parameters():
            if weight.requires_grad:
                weight += 0.6 * torch.randn_like(weight)
    return latent


def some_params(latent, rows=3):
    generator = torch.Generator().manual_seed(16)
    shape = (rows, latent.n_params)
    return torch.randn(shape, generator=generator, dtype=DOUBLE)


def every_code(latent):
    """All codes and the log volume that each stands for."""
    if isinstance(latent, GaussianLatent):
        axis = torch.linspace(-12, 12, 401, dtype=DOUBLE)
        return torch.cartesian_prod(axis, axis), 2 * math.log(24 / 400)
    return torch.from_numpy(listed(latent.n_latent)), 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_precision_are_those_of_the_contract(latent, dtype):
    latent = latent.to(dtype)
    params = some_params(latent).to(dtype).requires_grad_()
    n = latent.n_latent
    code = latent.rsample(params)
    value = latent.expectation(lambda z: z.square().sum(-1), params)
    z = latent.sample(params, 5)
    zeta, log_weight = latent.smooth(z, params)
    found = {
        "rsample": (code, (3, n)),
        "expectation": (value, (3,)),
        "sample": (z, (5, 3, n)),
        "smoothed": (zeta, (5, 3, n)),
        "log_weight": (log_weight, (5, 3)),
        "decoder_input": (latent.decoder_input(z), (5, 3, n)),
        "log_q": (latent.log_q(params, z), (5, 3)),
        "log_prior": (latent.log_prior(z), (5, 3)),
        "kl": (latent.kl(params), (3,)),
        "kl in eval": (latent.eval().kl(params), (3,)),
        "energy": (latent.energy(params), (3,)),
        "mean": (latent.mean(params), (3, n)),
    }
    for name, (tensor, shape) in found.items():
        assert tensor.shape == shape, name
        assert tensor.dtype == dtype, name
        assert tensor.isfinite().all(), name
    assert not z.requires_grad
    assert latent.sample(params).shape == (1, 3, n)
    prior = latent.sample_prior(7)
    assert prior.shape == (7, n)
    assert not prior.requires_grad
    value, lower, upper = latent.estimate_log_z()
    assert all(isinstance(end, float) for end in (value, lower, upper))
    assert lower <= value <= upper


def test_every_gradient_reaches_the_encoder(latent):
    for ask in (
        latent.kl,
        latent.eval().kl,
        lambda p: latent.expectation(lambda z: z.square().sum(-1), p),
        lambda p: latent.log_q(p, latent.sample(p)).sum(0),
    ):
        params = some_params(latent, rows=200).requires_grad_()
        ask(params).sum().backward()
        assert (params.grad.abs().max(0).values > 0)[: latent.n_latent].all()
    for name, weight in latent.named_parameters():
        latent.zero_grad()
        latent.train().kl(some_params(latent)).sum().backward()
        if weight.requires_grad:
            assert weight.grad.abs().max() > 0, name


def test_expectation_is_the_mean_of_what_training_reads(latent):
    weight = torch.linspace(-1, 2, latent.n_latent, dtype=DOUBLE)

    def f(z):
        return torch.tanh(z @ weight) + z[:, 0] * z[:, 1]

    params = some_params(latent, rows=1).expand(50_000, -1)
    values = latent.expectation(f, params).detach()
    plain = f(latent.rsample(params)).detach()
    error = ((values.var() + plain.var()) / 50_000).sqrt()
    assert abs(values.mean() - plain.mean()) < 4.5 * error
    # Where training reads what evaluation reads, that is E_q[f].
    z = latent.sample(params[:1], 50_000)
    exact, _ = latent.smooth(z, params[:1])
    exact = f(exact[:, 0])
    error = ((values.var() + exact.var()) / 50_000).sqrt()
    assert abs(values.mean() - exact.mean()) < 4.5 * error


def test_smoothed_codes_keep_the_importance_weights_unbiased(latent):
    params = some_params(latent, rows=2)
    z = latent.sample(params, 40_000)
    zeta, log_weight = latent.smooth(z, params)
    if latent.smooths:
        assert (zeta != z).any()
        assert zeta.min() >= 0
        assert zeta.max() <= 1
    else:
        assert zeta is z
    # r_prior / r_posterior has the mean one under the posterior
    weight = log_weight.exp()
    error = weight.std(0) / len(weight) ** 0.5
    assert ((weight.mean(0) - 1).abs() <= 4.5 * error + 1e-12).all()
    varies = "binary concrete" in latent.reads()
    assert bool(log_weight.abs().max() > 0) == varies


def test_posterior_and_prior_are_laws(latent):
    """And the quantum prior is a bound, so it adds up to less than one."""
    params = some_params(latent)
    z, log_volume = every_code(latent)
    log_q = latent.log_q(params, z[:, None].expand(-1, 3, -1)) + log_volume
    one = torch.ones(3, dtype=DOUBLE)
    torch.testing.assert_close(log_q.exp().sum(0), one)
    total = float((latent.log_prior(z).detach() + log_volume).exp().sum())
    if latent.is_bound:
        assert 0.01 < total < 0.99
    else:
        assert total == pytest.approx(1)


def test_mean_log_ratio_over_draws_is_the_kl(latent):
    params = some_params(latent, rows=1)
    z = latent.sample(params, 50_000)
    ratio = (latent.log_q(params, z) - latent.log_prior(z))[:, 0].detach()
    # A mixture's KL is itself a mean over draws.
    kl = latent.eval().kl(params.expand(50_000, -1)).detach()
    error = ((ratio.var() + kl.var()) / len(ratio)).sqrt()
    assert error > 0
    assert abs(ratio.mean() - kl.mean()) < 4.5 * error


def test_evaluation_draws_have_the_mean_that_is_embedded(latent):
    params = some_params(latent, rows=2)
    z = latent.decoder_input(latent.sample(params, 50_000))
    error = z.std(0) / len(z) ** 0.5
    assert ((z.mean(0) - latent.mean(params)) / error).abs().max() < 4.5


def test_energy_is_the_mean_over_the_posterior_without_log_z(latent):
    params = some_params(latent, rows=1)
    z = latent.sample(params, 50_000)
    log_z = latent.estimate_log_z().upper
    values = -latent.log_prior(z)[:, 0].detach() - log_z
    found = latent.energy(params.expand(20_000, -1)).detach()
    error = (values.var() / 50_000 + found.var() / 20_000).sqrt()
    assert abs(values.mean() - found.mean()) < 4.5 * error


@pytest.mark.parametrize("name", LATENTS)
def test_a_model_of_cells_takes_every_latent(name, tmp_path):
    adata = two_clusters()
    model = CellVAE(adata, LATENTS[name]())
    before = model.get_elbo()
    assert model.fit(**FIT, lr=5e-3) is model
    width = model.module.latent.n_latent
    assert model.get_latent_representation().shape == (120, width)
    assert model.get_energy().shape == (120,)
    assert model.get_elbo() > before + 1
    score = model.get_log_likelihood()
    assert score.shape == (120,)
    assert score.mean() > model.get_elbo()
    discrete = model.get_log_likelihood(discrete=True)
    same = np.array_equal(discrete, score)
    assert same != model.module.latent.smooths
    np.testing.assert_allclose(
        model.get_normalized_expression().sum(1), 1, atol=1e-5
    )

    model.save(tmp_path)
    loaded = CellVAE.load(tmp_path, adata, latent=LATENTS[name]())
    for ask in (
        "get_latent_representation",
        "get_energy",
        "get_log_likelihood",
        "get_normalized_expression",
    ):
        found, expected = (getattr(m, ask)() for m in (loaded, model))
        np.testing.assert_array_equal(found, expected, err_msg=ask)
    cells = loaded.generate(9)
    np.testing.assert_array_equal(cells.X.data, np.round(cells.X.data))
    assert cells.to_df().equals(model.generate(9).to_df())


@pytest.mark.parametrize("make", [bernoulli, lambda: boltzmann("rbm")])
def test_log_q_and_log_prior_of_bits_are_those_of_the_lists(make):
    latent = make()
    params = some_params(latent)
    states = torch.from_numpy(listed(latent.n_latent))[:, None]
    found = latent.log_q(params, states.expand(-1, 3, -1))
    torch.testing.assert_close(found.T, listed_log_q(params))
    if isinstance(latent, BernoulliLatent):
        energy = energy_of_independent_bits(latent.bias)
    else:
        energy = listed_energy(latent.machine)
    expected = -energy - energy.neg().logsumexp(0)
    torch.testing.assert_close(latent.log_prior(states)[:, 0], expected)
    entropy = -(listed_log_q(params).exp() * listed_log_q(params)).sum(-1)
    torch.testing.assert_close(latent.entropy(params), entropy)
    mean_energy = listed_log_q(params).exp() @ energy
    torch.testing.assert_close(latent.energy(params), mean_energy)


def test_training_draws_are_true_bits_and_the_decoder_reads_spins():
    latent = boltzmann("rbm")
    z = latent.rsample(some_params(latent, rows=100)).detach()
    assert set(z.unique().tolist()) == {0, 1}
    assert set(latent.decoder_input(z).unique().tolist()) == {-1, 1}


def test_prior_draws_follow_the_prior():
    latent = boltzmann("rbm")
    z = latent.sample_prior(100_000)
    assert judge(z, latent.machine).accepted
    torch.manual_seed(17)
    latent = bernoulli()
    z = latent.sample_prior(100_000)
    p = latent.bias.sigmoid().detach()
    error = (p * (1 - p) / len(z)).sqrt()
    assert ((z.mean(0) - p) / error).abs().max() < 4.5


def test_extreme_logits_leave_the_kl_finite():
    latent = boltzmann("rbm").float().eval()
    logits = torch.tensor([[-1e4, 1e4, -90, 90, -30, 30, 0, 17.0]])
    logits.requires_grad_()
    latent.kl(logits).sum().backward()
    assert logits.grad.isfinite().all()
    bits = torch.tensor([[0, 1, 0, 1, 0, 1, 0.5, 1]])
    expected = latent.machine.energy(bits) - math.log(2)
    found = latent.kl(logits) - latent.estimate_log_z().value
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


# Log Z inside the latent


def spied(monkeypatch, latent):
    """Count the enumerations of the machine."""
    calls = []
    exact = latents.boltzmann.exact_log_z
    monkeypatch.setattr(
        latents.boltzmann, "exact_log_z", lambda m: calls.append(m) or exact(m)
    )
    return calls


@torch.no_grad()
def nudge(parameter):
    parameter += 0.1


def test_log_z_is_worked_out_when_weights_change_and_not_otherwise(monkeypatch):
    latent = boltzmann("rbm").eval()
    calls = spied(monkeypatch, latent)
    params = some_params(latent)
    for _ in range(3):
        latent.kl(params)
        latent.log_prior(torch.zeros(8, dtype=DOUBLE))
    assert len(calls) == 1
    for i, parameter in enumerate(latent.machine.parameters()):
        nudge(parameter)
        latent.kl(params)
        assert len(calls) == 2 + i
        expected = log_z(latent.machine)
        assert latent.estimate_log_z().value == pytest.approx(expected)
    latent.machine.load_state_dict(
        random_machine("rbm", seed=5, dtype=DOUBLE).state_dict()
    )
    latent.kl(params)
    assert len(calls) == 5


@pytest.mark.parametrize("fused", [False, True])
def test_log_z_notices_every_kind_of_optimiser(fused):
    latent = boltzmann("rbm").eval()
    before = latent.estimate_log_z().value
    optimiser = torch.optim.Adam(latent.parameters(), lr=0.1, fused=fused)
    latent.machine.energy(torch.ones(8, dtype=DOUBLE)).backward()
    optimiser.step()
    after = latent.estimate_log_z().value
    assert after == pytest.approx(log_z(latent.machine))
    assert abs(after - before) > 0.1


def test_log_z_notices_another_offset():
    latent = boltzmann("rbm").eval()
    params = some_params(latent)
    before = latent.kl(params)
    latent.machine.offset += 3.0  # a probability does not know the offset
    torch.testing.assert_close(latent.kl(params), before)


def test_log_z_notices_another_graph():
    latent = boltzmann("sparse").eval()
    latent.estimate_log_z()
    state = latent.machine.state_dict()
    state["edges"] = (state["edges"] + 1) % 8
    latent.machine.load_state_dict(state)
    expected = log_z(latent.machine)
    assert latent.estimate_log_z().value == pytest.approx(expected)


def test_log_z_is_estimated_anew_after_a_reset():
    latent = boltzmann("rbm").train()
    before = latent.estimate_log_z("rough").value
    latent.reset()
    latent.kl(torch.zeros(1, latent.n_latent))
    assert float(latent.log_z) == pytest.approx(before)


@pytest.mark.parametrize(("width", "times"), [(0.1, 1), (0.5, 2)])
def test_a_wide_rough_bracket_is_made_anew(width, times, monkeypatch):
    asked = []

    def bracket(machine, *, chains, temperatures, states=None):
        asked.append(temperatures)
        return Bracket(0.0, 0.0, width / len(asked))

    monkeypatch.setattr(latents.boltzmann, "log_z_bracket", bracket)
    monkeypatch.setattr(latents.boltzmann, "enumerable", lambda machine: False)
    latent = boltzmann("rbm")
    assert latent.estimate_log_z("rough").upper == width / times
    few = latents.EFFORTS["rough"]["temperatures"]
    assert asked == [few, 2 * few][:times]


def test_training_reports_a_log_z_but_moves_it_by_gradient_alone():
    latent = boltzmann("rbm").eval()
    params = some_params(latent)
    found = latent.train().kl(params)
    expected = latent.eval().kl(params)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_the_pessimistic_end_enters_what_is_reported(monkeypatch):
    latent = BoltzmannLatent(randomise(RBM(30, 30)), GibbsSampler()).eval()
    bracket = Bracket(50.0, 40.0, 70.0)
    monkeypatch.setattr(
        latents.boltzmann, "log_z_bracket", lambda *a, **k: bracket
    )
    z = torch.zeros(60)
    assert latent.log_prior(z).item() == pytest.approx(-0.7 - 70)
    logits = torch.full((1, 60), -1e4)  # all bits surely zero
    assert latent.kl(logits).item() == pytest.approx(0.7 + 70)


@pytest.mark.parametrize("persistent", [True, False])
def test_kl_in_eval_never_touches_the_chains(persistent):
    sampler = GibbsSampler(chains=20, persistent=persistent)
    latent = boltzmann("rbm", sampler=sampler)
    params = some_params(latent)
    latent.kl(params)
    before = copy.deepcopy(sampler.state_dict())
    latent.eval()
    nudge(latent.machine.W)  # so that log Z has to be estimated anew
    latent.kl(params)
    latent.log_prior(latent.sample(params, 2))
    latent.estimate_log_z()
    after = sampler.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    latent.train().kl(params)
    after = sampler.state_dict()
    assert not all(torch.equal(before[key], after[key]) for key in before)


# What is refused


class Answers(Sampler):
    """A sampler that returns what it was given."""

    def __init__(self, z):
        self.z = z

    def sample(self, machine, n):
        return self.z


@pytest.mark.parametrize(
    ("draws", "sentence"),
    [
        (
            torch.zeros(10, 7),
            r"Answers returned .* \(10, 7\), asked for \(10, ",
        ),
        (torch.zeros(8, 10), r"returned draws of shape \(8, 10\)"),
        (torch.zeros(9, 8), r"returned draws of shape \(9, 8\)"),
        (2 * torch.eye(10)[:, :8] - 1, r"if these are spins s, pass the bits"),
        (torch.full((10, 8), 0.5), "bits, 0 or 1"),
        (torch.full((10, 8), np.nan), "bits, 0 or 1"),
    ],
)
def test_draws_of_a_wrong_shape_or_of_spins_are_refused(draws, sentence):
    latent = BoltzmannLatent(RBM(3, 5), Answers(draws), negatives=10)
    with pytest.raises(ValueError, match=sentence):
        latent.kl(torch.zeros(2, 8))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("sampler", [ExactSampler, GibbsSampler])
def test_nan_weights_end_in_a_sentence_in_either_mode(sampler, mode):
    latent = boltzmann("rbm", sampler=sampler())
    params = some_params(latent)
    latent.kl(params)  # log Z is known by now
    latent.machine.c.data[2] = math.nan
    with pytest.raises(ValueError, match="machine's c holds NaN"):
        latent.train(mode).kl(params)


def test_one_sampler_cannot_keep_the_chains_of_two_latents():
    sampler = GibbsSampler(chains=10)
    one, other = (boltzmann("rbm", sampler=sampler) for _ in range(2))
    one.kl(some_params(one))
    with pytest.raises(ValueError, match="belong to another machine"):
        other.kl(some_params(other))


@pytest.mark.parametrize("width", [0, -3, 2.0, "4"])
@pytest.mark.parametrize("latent", [GaussianLatent, BernoulliLatent])
def test_a_width_is_a_whole_number(latent, width):
    with pytest.raises(ValueError, match="n_latent is a whole number"):
        latent(width)


def test_sizes_may_be_numpys_whole_numbers():
    size = np.int64(3)
    assert GaussianLatent(size).n_params == 6
    latent = BoltzmannLatent(RBM(size, size), ExactSampler())
    assert latent.kl(torch.zeros(1, 6)).shape == (1,)


def test_the_exact_negative_phase_takes_any_machine_that_can_be_listed():
    """An RBM needs its smaller layer listed, as in `ExactSampler.sample`."""
    machine = randomise(RBM(3, 30), scale=0.3).double()
    latent = BoltzmannLatent(machine, ExactSampler())
    (found,) = torch.autograd.grad(-latent.negative_phase(), [machine.W])
    v = torch.from_numpy(listed(3))
    hidden = F.softplus(machine.c + v @ machine.W).sum(-1)
    log_z = (v @ machine.a + hidden).logsumexp(0)
    (expected,) = torch.autograd.grad(log_z, [machine.W])
    assert relative_error(found, expected) <= TOLERANCE


def test_no_negatives_are_refused_and_not_taken_for_the_default():
    with pytest.raises(ValueError, match="negatives is a whole number"):
        BoltzmannLatent(RBM(2, 2), GibbsSampler(), negatives=0)


# One gradient of log Z, everywhere


def prior_gradient_error(latent, energy):
    """Relative errors of the gradient of summed log priors, each weight."""
    weights = list(latent.parameters())
    states = torch.from_numpy(listed(latent.n_latent))[[0, 3, 3]]
    found = torch.autograd.grad(ROWS @ latent.log_prior(states), weights)
    log_p = -energy() - energy().neg().logsumexp(0)
    expected = torch.autograd.grad(ROWS @ log_p[[0, 3, 3]], weights)
    return max(map(relative_error, found, expected))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_log_prior_carries_the_gradient_of_log_z(kind, train):
    latent = boltzmann(kind).train(train)
    error = prior_gradient_error(latent, lambda: listed_energy(latent.machine))
    assert error <= TOLERANCE
    latent = bernoulli().train(train)
    error = prior_gradient_error(
        latent, lambda: energy_of_independent_bits(latent.bias)
    )
    assert error <= TOLERANCE


def test_three_rows_at_zero_bias_pull_by_one_and_a_half():
    latent = BernoulliLatent(2)
    latent.log_prior(torch.ones(3, 2)).sum().backward()
    torch.testing.assert_close(latent.bias.grad, torch.full((2,), 1.5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kl_of_evaluation_has_the_same_gradient(kind):
    latent = boltzmann(kind).eval()
    found = errors(latent, lambda: listed_energy(latent.machine))
    assert max(found.values()) <= TOLERANCE, found


def test_in_evaluation_the_gradient_is_by_a_fork_of_the_chains():
    sampler = GibbsSampler(chains=5000, sweeps=5)
    latent = boltzmann("rbm", sampler=sampler).eval()
    latent.sample_prior(3)
    before = copy.deepcopy(latent.state())
    error = prior_gradient_error(latent, lambda: listed_energy(latent.machine))
    assert 1e-4 < error < 0.1
    after = latent.state()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_where_no_gradient_is_asked_for_nothing_is_drawn(monkeypatch):
    latent = boltzmann("rbm")
    monkeypatch.setattr(latent.sampler, "mean_energy", None)
    z = torch.zeros(8, dtype=DOUBLE)
    with torch.no_grad():
        latent.log_prior(z)
    for weight in latent.parameters():
        weight.requires_grad_(False)
    latent.log_prior(z)


# Seeds


def test_a_seed_decides_and_leaves_everything_alone(latent):
    latent.sample_prior(4)
    chains, random = copy.deepcopy(latent.state()), torch.get_rng_state()
    one, again, other = (latent.sample_prior(400, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), random)
    assert chains.keys() == latent.state().keys()
    for name, value in latent.state().items():
        assert torch.equal(value, chains[name]), name
    # Without one, draws move on.
    assert not torch.equal(latent.sample_prior(400), latent.sample_prior(400))
    with pytest.raises(ValueError, match="seed is a whole number.*not -1"):
        latent.sample_prior(3, seed=-1)
    with pytest.raises(ValueError, match="n is a whole number.*not 0"):
        latent.sample_prior(0)


@pytest.mark.parametrize("persistent", [True, False])
def test_seeded_draws_follow_the_prior_too(persistent):
    sampler = GibbsSampler(100_000, sweeps=20, persistent=persistent)
    latent = boltzmann("rbm", sampler=sampler)
    assert judge(latent.sample_prior(100_000, seed=3), latent.machine).accepted
    latent = boltzmann("rbm")
    z = latent.sample_prior(100_000, seed=3)
    assert judge(z, latent.machine).accepted


def test_seeded_draws_go_on_from_burnt_in_chains():
    """A machine of two deep wells: a chain stays where it is."""
    machine = RBM(4, 4)
    with torch.no_grad():
        machine.W.fill_(6.0)
        machine.a.fill_(-12.0)
        machine.c.fill_(-12.0)
    sampler = GibbsSampler(chains=10)
    sampler.load_state_dict({"chains": torch.ones(10, 8)})
    latent = BoltzmannLatent(machine, sampler)
    assert latent.sample_prior(10, seed=1).mean() > 0.9
    sampler.load_state_dict({"chains": torch.zeros(10, 8)})
    assert latent.sample_prior(10, seed=1).mean() < 0.1


def test_a_sampler_that_uses_torchs_generator_is_seeded_too():
    class CoinFlips(Sampler):
        def sample(self, machine, n):
            return torch.randint(2, (n, machine.n_units)).float()

    latent = BoltzmannLatent(RBM(3, 4), CoinFlips())
    one, again = (latent.sample_prior(9, seed=1) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, latent.sample_prior(9, seed=2))


def test_a_child_that_holds_a_lock_is_shared_by_copies():
    import threading

    import neal

    child = neal.SimulatedAnnealingSampler()
    child.lock = threading.Lock()  # as a client of hardware has
    sampler = DimodSampler(child, num_sweeps=5)
    latent = BoltzmannLatent(RBM(3, 4), sampler, negatives=8)
    twin = copy.deepcopy(latent)
    assert twin.sampler is not sampler
    assert twin.sampler.child is child
    twin.sample_prior(3)
    assert int(sampler.state_dict()["calls"]) == 0
    one, again = (latent.sample_prior(9, seed=1) for _ in range(2))
    assert torch.equal(one, again)


def test_draws_of_the_prior_live_where_the_latent_does():
    for dtype in (torch.float32, torch.float64):
        assert GaussianLatent(2).to(dtype).sample_prior(3).dtype == dtype
    assert GaussianLatent(2).to("meta").sample_prior(3).device.type == "meta"


def test_the_default_precision_of_another_library_changes_nothing():
    def everything():
        torch.manual_seed(4)
        z = BernoulliLatent(3).sample(torch.zeros(2, 3, dtype=torch.float32))
        latent = MixtureLatent(2, 3)
        return z, latent.means.detach(), GaussianLatent(2).sample_prior(3)

    plain = everything()
    torch.set_default_dtype(torch.float64)
    try:
        other = everything()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, two in zip(plain, other, strict=True):
        assert one.dtype == two.dtype
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", LATENTS)
def test_parts_are_float32_whatever_another_library_has_set(name):
    def built():
        torch.manual_seed(4)
        vae = VAE(7, LATENTS[name](), n_batches=2)
        z = vae.latent.sample_prior(3, seed=1)
        return {**vae.state_dict(), "draws": z, "elbo": vae.eval()(x, batch)}

    x = torch.arange(21, dtype=torch.float32).reshape(3, 7)
    batch = torch.tensor([0, 1, 1])
    plain = built()
    torch.set_default_dtype(torch.float64)
    try:
        other = built()
    finally:
        torch.set_default_dtype(torch.float32)
    assert plain.keys() == other.keys()
    for what, value in plain.items():
        assert value.dtype == other[what].dtype, what
        assert torch.equal(value.nan_to_num(), other[what].nan_to_num()), what


# Parts of one model


def two_models(make):
    """A model with the first latent of `make`, then one with the second."""
    adata = two_clusters()
    return [CellVAE(adata, latent) for latent in make()]


@pytest.mark.parametrize(
    ("make", "who"),
    [
        (lambda: [BernoulliLatent(4)] * 2, "BernoulliLatent"),
        (
            lambda: [
                BoltzmannLatent(machine, ExactSampler())
                for machine in [RBM(2, 2)] * 2
            ],
            "RBM",
        ),
        (
            lambda: [
                BoltzmannLatent(RBM(2, 2), sampler)
                for sampler in [ExactSampler()] * 2
            ],
            "ExactSampler",
        ),
        (
            lambda: [
                QuantumLatent(QuantumBoltzmannMachine(machine, 0.5))
                for machine in [RBM(2, 2)] * 2
            ],
            "RBM",
        ),
    ],
)
def test_a_part_of_one_model_is_refused_by_another(make, who):
    words = f"this {who} is part of another model.*copy.deepcopy"
    with pytest.raises(ValueError, match=words):
        two_models(make)
    two_models(lambda: copy.deepcopy(make()[:1]) + copy.deepcopy(make()[:1]))


def test_a_part_is_free_when_its_model_is_gone():
    latent = BernoulliLatent(4)
    model = CellVAE(two_clusters(), latent).fit(**FIT | {"max_epochs": 1})
    model.cycle = model  # freed by the collector alone
    del model
    CellVAE(two_clusters(), latent)


def test_a_relaxation_in_two_latents_follows_two_schedules():
    relaxation = BinaryConcrete(Schedule(2.0, 0.5, 6))
    one, other = (BernoulliLatent(3, relaxation=relaxation) for _ in "ab")
    one.start_epoch(6)
    assert "temperature 0.5" in one.reads()
    assert "temperature 2" in other.reads()
    assert float(relaxation.temperature) == 2


# Settings


@pytest.mark.parametrize("name", LATENTS)
def test_settings_are_plain_and_tell_what_was_chosen(name):
    settings = LATENTS[name]().settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["kind"] == type(LATENTS[name]()).__name__
    assert settings["n_latent"] in (2, 5)


def test_settings_tell_runs_apart():
    sampler = GibbsSampler
    makes = [
        lambda: BernoulliLatent(4),
        lambda: BernoulliLatent(4, relaxation="score function"),
        lambda: BernoulliLatent(4, relaxation=BinaryConcrete(0.4)),
        lambda: BernoulliLatent(4, relaxation=BinaryConcrete(0.5)),
        lambda: MixtureLatent(2, 3),
        lambda: MixtureLatent(2, 3, draws=2),
        lambda: MixtureLatent(2, 3, seed=1),
        lambda: BoltzmannLatent(RBM(2, 2), sampler(5)),
        lambda: BoltzmannLatent(RBM(2, 2), sampler(5, sweeps=1)),
        lambda: BoltzmannLatent(RBM(2, 2), sampler(5), negatives=4),
        lambda: BoltzmannLatent(RBM(1, 3), sampler(5)),
        lambda: BoltzmannLatent(RBM(2, 2), ExactSampler()),
    ]
    settings = [json.dumps(make().settings()) for make in makes]
    assert len(set(settings)) == len(makes)


def test_numpy_numbers_are_plain_numbers():
    whole, real = np.int32, np.float32
    concrete = BinaryConcrete(Schedule(real(2), real(0.5), whole(6)))
    for latent in (
        GaussianLatent(np.int64(3)),
        MixtureLatent(np.int64(3), whole(4), seed=np.uint8(2), draws=whole(2)),
        BernoulliLatent(np.int64(3), relaxation=concrete),
        BernoulliLatent(3, relaxation=SpikeAndExponential(real(4))),
        BoltzmannLatent(RBM(2, 2), ExactSampler(), negatives=np.int16(5)),
    ):
        json.dumps(latent.settings())
        assert latent.sample_prior(np.int64(2), seed=np.int64(1)).shape[0] == 2


@pytest.mark.parametrize("bad", [True, np.bool_(True), "4", None, 0.5])
def test_what_is_no_whole_number_is_refused(bad):
    for make in (
        lambda: GaussianLatent(bad),
        lambda: BernoulliLatent(bad),
        lambda: MixtureLatent(2, bad),
        lambda: BoltzmannLatent(RBM(2, 2), ExactSampler(), negatives=bad or 0),
    ):
        with pytest.raises(ValueError, match="is a whole number of at least 1"):
            make()


@pytest.mark.parametrize("bad", [True, np.bool_(True), "4", None])
def test_what_is_no_number_is_no_sharpness(bad):
    with pytest.raises(ValueError, match="sharpness is a number above 0"):
        SpikeAndExponential(bad)


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("kind", [GibbsSampler, TemperingSampler])
def test_seeds_and_evaluation_work_in_inference_mode_too(kind, inference):
    latent = boltzmann("rbm", sampler=kind(20))
    latent.sample_prior(3)
    with torch.inference_mode(inference):
        z = latent.sample_prior(3, seed=1)
        assert torch.equal(z, latent.sample_prior(3, seed=1))
        latent.eval().log_prior(z)
        latent.train().kl(some_params(latent))
    latent.kl(some_params(latent)).sum().backward()
    latent.log_prior(torch.zeros(8, dtype=DOUBLE)).backward()


def test_an_effort_has_a_name():
    words = "effort is 'rough' or 'full', not 'medium'"
    with pytest.raises(ValueError, match=words):
        boltzmann("rbm").estimate_log_z("medium")


def test_the_mean_energy_by_draws_leaves_log_z_out():
    """The default of `Latent`, for a prior whose mean energy is known."""

    class ByDraws(BernoulliLatent):
        energy = Latent.energy

    torch.manual_seed(19)
    latent = bernoulli(ByDraws)
    params = some_params(latent, rows=1)
    expected = BernoulliLatent.energy(latent, params).detach()
    found = latent.energy(params.expand(2000, -1))
    assert not found.requires_grad
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - expected) < 4.5 * error
    assert latent.estimate_log_z().value > 10 * error
