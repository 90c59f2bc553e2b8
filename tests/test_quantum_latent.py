"""A quantum prior: its bounds and their gradients against scipy's `expm`."""

import copy
import math

import numpy as np
import pytest
import torch
from oracles import (
    judge,
    listed,
    listed_energy,
    listed_log_q,
    quantum,
    random_machine,
    randomise,
    relative_error,
)
from synthetic import FIT, two_clusters

from qbmvae_mini import latents
from qbmvae_mini.latents import BoltzmannLatent, QuantumLatent
from qbmvae_mini.machines import RBM, BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.models import CellVAE
from qbmvae_mini.samplers import ExactSampler, GibbsSampler
from qbmvae_mini.samplers.path_integral import PathIntegralSampler
from qbmvae_mini.vae import VAE

DOUBLE = torch.float64
TOLERANCE = 1e-5
FIELDS = (0.3, 1.5)
#: Rows count differently, so a mean over rows cannot pass for a sum.
ROWS = torch.tensor([1.0, -0.3, 2.5], dtype=DOUBLE)
CLASSICAL = {
    "dense": lambda: BoltzmannMachine(4),
    "ring": lambda: BoltzmannMachine(5, [(0, 1), (1, 2), (2, 3), (3, 0)]),
    "rbm": lambda: RBM(2, 4),
}


def classical(kind, seed=1):
    return randomise(CLASSICAL[kind]().double(), seed=seed)


def make(kind, gamma, sampler=None, **settings):
    machine = QuantumBoltzmannMachine(classical(kind), gamma)
    return QuantumLatent(machine, sampler, **settings)


def some_logits(n):
    generator = torch.Generator().manual_seed(12)
    return 1.5 * torch.randn(3, n, generator=generator, dtype=DOUBLE)


def log_trace(machine):
    """By the oracle, at the machine's own field."""
    return quantum(machine.classical, float(machine.gamma)).log_trace


def listed_bound(logits, machine):
    """-H(q) + E_q[E] + log Tr exp(-H), by the sum over all states."""
    log_q = listed_log_q(logits)
    terms = log_q.exp() * (log_q + listed_energy(machine.classical))
    return terms.sum(-1) + log_trace(machine)


@torch.no_grad()
def slopes_of_log_trace(machine, step=1e-4):
    """Its derivative by each weight, by central differences."""
    slopes = []
    for weight in machine.classical.parameters():
        slope = torch.zeros_like(weight)
        for place in range(weight.numel()):
            ends = []
            for move in (step, -step):
                weight.view(-1)[place] += move
                ends.append(log_trace(machine))
                weight.view(-1)[place] -= move
            slope.view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
        slopes.append(slope)
    return slopes


# The bound of the KL


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("gamma", FIELDS)
@pytest.mark.parametrize("kind", CLASSICAL)
def test_kl_is_the_bound_by_the_sum_over_states(kind, gamma, mode):
    latent = make(kind, gamma).train(mode == "train")
    logits = some_logits(latent.n_latent)
    found, expected = latent.kl(logits), listed_bound(logits, latent.machine)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gamma", FIELDS)
@pytest.mark.parametrize("kind", CLASSICAL)
def test_gradients_are_those_of_the_bound(kind, gamma):
    latent = make(kind, gamma)
    machine = latent.machine
    logits = some_logits(latent.n_latent).requires_grad_()
    weights = list(machine.classical.parameters())
    found = torch.autograd.grad(ROWS @ latent.kl(logits), [logits, *weights])

    log_q = listed_log_q(logits)
    terms = log_q.exp() * (log_q + listed_energy(machine.classical))
    expected = torch.autograd.grad(ROWS @ terms.sum(-1), [logits, *weights])
    expected = list(expected)
    slopes = slopes_of_log_trace(machine)
    for i, slope in enumerate(slopes, start=1):
        expected[i] = expected[i] + ROWS.sum() * slope
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(ours, theirs) <= TOLERANCE
    # The classical negative phase would be seen.
    energy = listed_energy(machine.classical)
    wrong = torch.autograd.grad(energy.neg().logsumexp(0), weights)
    assert max(map(relative_error, wrong, slopes)) > 100 * TOLERANCE


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_lies_above_the_kl_to_the_exact_law(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 7))
    machine = randomise(BoltzmannMachine(n).double(), seed=seed, scale=1.5)
    gamma = float(rng.uniform(0.2, 3))
    latent = QuantumLatent(QuantumBoltzmannMachine(machine, gamma)).eval()
    logits = torch.from_numpy(rng.normal(0, 2, (20, n)))
    log_q = listed_log_q(logits)
    log_p = torch.from_numpy(np.log(quantum(machine, gamma).law))
    exact = (log_q.exp() * (log_q - log_p)).sum(-1)
    gap = latent.kl(logits) - exact
    assert (gap > 1e-4).all()
    states = torch.from_numpy(listed(n))
    assert (latent.log_prior(states) < log_p - 1e-4).all()
    assert latent.is_bound


def test_without_a_field_nothing_is_a_bound():
    assert make("dense", 1e-6).is_bound
    assert not make("dense", 0.0).is_bound


def test_the_field_is_told_nothing_and_stays():
    latent = make("dense", 0.8)
    assert not latent.machine.gamma.requires_grad
    latent.kl(some_logits(4)).sum().backward()
    assert latent.machine.gamma.grad is None
    machine = QuantumBoltzmannMachine(BoltzmannMachine(4), 0.8)
    model = CellVAE(two_clusters(), QuantumLatent(machine))
    before = machine.classical.coupling.detach().clone()
    model.fit(**FIT)
    assert float(machine.gamma) == pytest.approx(0.8)
    assert (machine.classical.coupling.detach() - before).abs().min() > 0


@pytest.mark.parametrize("kind", CLASSICAL)
def test_without_a_field_it_is_a_boltzmann_latent(kind):
    ours = make(kind, 0.0)
    theirs = BoltzmannLatent(classical(kind), ExactSampler())
    for mode in (True, False):
        logits = [some_logits(ours.n_latent).requires_grad_() for _ in "ab"]
        kl = [
            latent.train(mode).kl(params)
            for latent, params in zip((ours, theirs), logits, strict=True)
        ]
        torch.testing.assert_close(*kl, rtol=1e-6, atol=1e-6)
    for latent, params in zip((ours, theirs), logits, strict=True):
        (ROWS @ latent.train().kl(params)).backward()
    torch.testing.assert_close(logits[0].grad, logits[1].grad)
    pairs = zip(
        ours.machine.classical.parameters(),
        theirs.machine.parameters(),
        strict=True,
    )
    for one, other in pairs:
        assert relative_error(one.grad, other.grad) <= TOLERANCE
    states = torch.from_numpy(listed(ours.n_latent))
    torch.testing.assert_close(ours.log_prior(states), theirs.log_prior(states))


# Log Tr exp(-H)


@pytest.mark.parametrize("gamma", FIELDS)
@pytest.mark.parametrize("sampler", [None, PathIntegralSampler()])
def test_a_small_trace_is_exact_and_new_for_new_weights(sampler, gamma):
    latent = make("dense", gamma, copy.deepcopy(sampler))
    for _ in range(2):
        bracket = latent.estimate_log_z()
        assert bracket.lower == bracket.value == bracket.upper
        assert bracket.value == pytest.approx(log_trace(latent.machine))
        with torch.no_grad():
            latent.machine.classical.coupling += 0.2
    with torch.no_grad():
        latent.machine.gamma += 0.5
    expected = log_trace(latent.machine)
    assert latent.current_log_z().value == pytest.approx(expected)


def uncoupled(n, gamma):
    """Qubits that know nothing of each other, and their log Tr exp(-H)."""
    machine = BoltzmannMachine(n, []).double()
    bias = torch.linspace(-1.5, 2.0, n, dtype=DOUBLE)
    machine.bias.data.copy_(bias)
    level = np.hypot(bias.numpy() / 2, gamma)
    expected = (bias.numpy() / 2 + np.log(2 * np.cosh(level))).sum()
    return QuantumBoltzmannMachine(machine, gamma), expected


def test_a_large_trace_is_bracketed_and_training_draws_are_left_alone(
    monkeypatch,
):
    few = {"rough": {"chains": 300, "temperatures": 1}}
    monkeypatch.setattr(latents.boltzmann, "EFFORTS", few)
    machine, expected = uncoupled(12, 1.3)
    sampler = PathIntegralSampler(sweeps=20, seed=2)
    latent = QuantumLatent(machine, sampler).eval()
    sampler.sample(machine, 3)
    bracket = latent.estimate_log_z("rough")
    # Twice the reach: two standard errors are left in one case of twenty.
    reach = bracket.upper - bracket.lower
    assert 0 < reach < 1
    assert abs(bracket.value - expected) < reach
    assert latent.current_log_z() is bracket
    assert int(sampler.state_dict()["calls"]) == 1
    params = torch.zeros(1, 12, dtype=DOUBLE)
    bias = machine.classical.bias.detach()
    by_hand = -12 * math.log(2) - bias.sum() / 2
    found = latent.kl(params).item() - bracket.upper
    assert found == pytest.approx(float(by_hand))


# Draws


@pytest.mark.parametrize("gamma", FIELDS)
def test_listed_draws_follow_the_quantum_law(gamma):
    torch.manual_seed(3)
    latent = make("rbm", gamma)
    machine = latent.machine.classical
    z = latent.sample_prior(100_000)
    assert z.dtype == DOUBLE
    assert judge(z, machine, p=quantum(machine, gamma).law).accepted
    assert not judge(z, machine).accepted  # the classical law
    wrong = quantum(machine, 1.2 * gamma + 0.2).law
    assert not judge(z, machine, p=wrong).accepted


def worst_z(latent, gamma, steps=40):
    """Z-score of sampled gradients of log Tr exp(-H) at another field."""
    weights = list(latent.machine.classical.parameters())
    grads = []
    for _ in range(steps):
        grad = torch.autograd.grad(-latent.negative_phase(), weights)
        grads.append(torch.cat([g.flatten() for g in grad]))
    grads = torch.stack(grads)
    machine = QuantumBoltzmannMachine(latent.machine.classical, gamma)
    expected = torch.cat([s.flatten() for s in slopes_of_log_trace(machine)])
    z = (grads.mean(0) - expected) / (grads.std(0) / steps**0.5)
    return float(z.abs().max())


@pytest.mark.parametrize("kind", ["dense", "rbm"])
def test_the_sampled_negative_phase_is_unbiased(kind):
    sampler = PathIntegralSampler(sweeps=20, seed=4)
    latent = make(kind, 1.0, sampler, negatives=1000)
    assert worst_z(latent, 1.0) < 4.5
    assert worst_z(latent, 0.5) > 4.5


def test_a_sampled_prior_asks_for_as_many_states_as_a_step_wants():
    sampler = PathIntegralSampler(sweeps=2)
    assert make("rbm", 1.0, sampler).negatives == 256
    latent = make("rbm", 1.0, sampler, negatives=7)
    latent.kl(some_logits(6))
    assert latent.sample_prior(5).shape == (5, 6)


# In a VAE


X = torch.tensor([[4, 0, 1, 7, 2], [0, 0, 3, 0, 1]], dtype=DOUBLE)
BATCH = torch.zeros(2, dtype=torch.long)


@pytest.fixture
def vae():
    torch.manual_seed(21)
    latent = make("dense", 1.2)
    vae = VAE(5, latent, n_hidden=8).double().eval()
    with torch.no_grad():  # a decoder that listens to the code
        vae.decoder[0].weight.mul_(5)
        vae.decoder[-1].weight.mul_(4)
    return vae


@torch.no_grad()
def log_p(vae, log_prior):
    """Log p(x) by the sum over all codes, (cells,)."""
    z = torch.from_numpy(listed(4))[:, None].expand(-1, len(X), -1)
    return (vae.log_prob(X, z, BATCH) + log_prior[:, None]).logsumexp(0)


def test_the_likelihood_is_a_lower_bound(vae):
    machine = vae.latent.machine
    found = quantum(machine.classical, float(machine.gamma))
    energy = listed_energy(machine.classical).detach()
    bound = log_p(vae, -energy - found.log_trace)
    exact = log_p(vae, torch.from_numpy(np.log(found.law)))
    assert (bound < exact - 0.05).all()
    torch.manual_seed(22)
    many = vae.log_likelihood(X, BATCH, 50_000)
    torch.testing.assert_close(many, bound, atol=0.05, rtol=0)
    # The exponential of a few samples is unbiased for the bound.
    for cell in (0, 1):
        few = vae.log_likelihood(
            X[[cell]].expand(20_000, -1), BATCH[[cell]].expand(20_000), 3
        )
        ratio = (few - bound[cell]).exp()
        error = ratio.std() / len(ratio) ** 0.5
        assert abs(ratio.mean() - 1) < 4.5 * error


# What is refused


@pytest.mark.parametrize("machine", [RBM(2, 2), BoltzmannMachine(3), "rbm"])
def test_a_classical_machine_is_refused(machine):
    words = "QuantumLatent wants a (QuantumB.*no transverse field|machine)"
    with pytest.raises(TypeError, match=words):
        QuantumLatent(machine)


def test_a_quantum_machine_is_no_classical_prior():
    machine = QuantumBoltzmannMachine(RBM(2, 2), 0.5)
    with pytest.raises(TypeError, match="has a transverse field"):
        BoltzmannLatent(machine, ExactSampler())


def test_more_than_ten_qubits_want_a_sampler():
    machine = QuantumBoltzmannMachine(RBM(5, 6), 0.5)
    words = r"10 qubits at most.*has 11; pass PathIntegralSampler\(\)"
    with pytest.raises(ValueError, match=words):
        QuantumLatent(machine)
    QuantumLatent(machine, PathIntegralSampler())
    QuantumLatent(QuantumBoltzmannMachine(RBM(5, 5), 0.5))


@pytest.mark.parametrize("sampler", [GibbsSampler(), ExactSampler()])
def test_a_classical_sampler_is_refused_when_it_is_asked(sampler):
    latent = make("dense", 1.0, sampler)
    with pytest.raises(
        TypeError, match="transverse field.*with PathIntegralSampler"
    ):
        latent.kl(some_logits(4))


def test_weights_that_are_no_numbers_are_refused():
    latent = make("dense", 1.0)
    latent.machine.classical.bias.data[1] = math.nan
    for mode in (True, False):
        with pytest.raises(ValueError, match="bias holds NaN"):
            latent.train(mode).kl(some_logits(4))
    machine = random_machine("dense")
    machine.coupling.data[0] = math.inf
    with pytest.raises(ValueError, match="coupling holds NaN or inf"):
        QuantumLatent(QuantumBoltzmannMachine(machine, 1.0))
