"""Path-integral draws follow the quantum law, and their breaks the field."""

import numpy as np
import pytest
import torch
from oracles import judge, listed, quantum, random_machine, randomise

from qbmvae_mini.estimates import (
    integrated_log_partition,
    transverse_magnetisation,
)
from qbmvae_mini.learning import fit
from qbmvae_mini.machines import (
    RBM,
    BoltzmannMachine,
    QuantumBoltzmannMachine,
    all_states,
)
from qbmvae_mini.samplers import GibbsSampler, path_integral
from qbmvae_mini.samplers.path_integral import PathIntegralSampler

SWEEPS = 12  # beyond the mixing time of the machines here
#: Chains started apart, one draw each; a weak field needs more to be seen.
DRAWS = {0.5: 250_000, 1.0: 100_000, 2.0: 100_000}


@pytest.fixture(scope="module")
def paths():
    """States and breaks of a machine of 6 qubits at each field."""
    classical = random_machine("dense", dtype=torch.float64)
    drawn = {}
    for gamma, draws in DRAWS.items():
        machine = QuantumBoltzmannMachine(classical, gamma)
        sampler = PathIntegralSampler(SWEEPS, seed=1)
        drawn[gamma] = sampler.sample_paths(machine, draws)
    return classical, drawn


@pytest.mark.parametrize("gamma", DRAWS)
def test_draws_follow_the_quantum_law(paths, gamma):
    classical, drawn = paths
    states, _ = drawn[gamma]
    verdict = judge(states, classical, p=quantum(classical, gamma).law)
    assert verdict.accepted, verdict


@pytest.mark.parametrize("gamma", DRAWS)
def test_the_same_check_rejects_the_classical_law(paths, gamma):
    classical, drawn = paths
    assert not judge(drawn[gamma][0], classical).accepted


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("gamma", DRAWS)
def test_the_same_check_rejects_a_field_that_is_a_tenth_off(
    paths, gamma, factor
):
    classical, drawn = paths
    wrong = quantum(classical, factor * gamma).law
    assert not judge(drawn[gamma][0], classical, p=wrong).accepted


def test_the_same_check_rejects_too_few_sweeps():
    classical = random_machine("dense")
    machine = QuantumBoltzmannMachine(classical, 2.0)
    draws = PathIntegralSampler(2, seed=1).sample(machine, 100_000)
    assert not judge(draws, classical, p=quantum(classical, 2.0).law).accepted


def test_without_a_field_the_sampler_is_a_heat_bath():
    """And on a graph with a unit that is coupled to nobody."""
    classical = random_machine("sparse")
    machine = QuantumBoltzmannMachine(classical, 0.0)
    states, breaks = PathIntegralSampler(SWEEPS).sample_paths(machine, 100_000)
    verdict = judge(states, classical)
    assert verdict.accepted, verdict
    assert breaks.sum() == 0


# Breaks


@pytest.mark.parametrize("gamma", DRAWS)
def test_breaks_give_the_transverse_magnetisation(paths, gamma):
    classical, drawn = paths
    each = drawn[gamma][1].sum(1).double() / gamma
    error = each.std() / len(each) ** 0.5

    def z_score(field):
        exact = quantum(classical, field).magnetisation
        return abs(each.mean() - exact) / error

    assert z_score(gamma) < 5
    assert z_score(0.9 * gamma) > 5
    assert z_score(1.1 * gamma) > 5
    assert error < 0.02


def test_a_world_line_closes_on_itself(paths):
    _, drawn = paths
    for _, breaks in drawn.values():
        assert (breaks % 2 == 0).all()
        assert breaks.max() > 2


def test_estimated_magnetisation_is_within_its_error():
    classical = random_machine("rbm")
    machine = QuantumBoltzmannMachine(classical, 1.5)
    sampler = PathIntegralSampler(SWEEPS, seed=2)
    found = transverse_magnetisation(machine, sampler, 5000)
    exact = machine.transverse_magnetisation().item()
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error < 0.05
    still = QuantumBoltzmannMachine(classical, 0.0)
    assert transverse_magnetisation(still, sampler, 10) == (0.0, 0.0)


# Integration over the field


def test_integrated_log_partition_is_covered_by_its_error():
    """200 runs: no bias beyond sampling, and an error of the right size."""
    classical = randomise(BoltzmannMachine(4), scale=1.0).double()
    machine = QuantumBoltzmannMachine(classical, 1.5)
    exact = machine.log_partition().item()
    z_scores = []
    for seed in range(200):
        found = integrated_log_partition(
            machine, PathIntegralSampler(12, seed=seed), n=80, nodes=5
        )
        z_scores.append((found.value - exact) / found.standard_error)
    z_scores = np.array(z_scores)
    assert abs(z_scores.mean()) * 200**0.5 < 4
    assert 0.85 < z_scores.std() < 1.15
    assert 0.90 < (abs(z_scores) < 1.96).mean() < 0.99


def test_the_same_integral_without_draws_is_exact():
    """Quadrature alone: its error is far below that of sampling."""

    class Exact(PathIntegralSampler):
        def sample_paths(self, machine, n):
            flips = machine.transverse_magnetisation().detach()
            return None, (machine.gamma * flips).expand(n, 1)

    machine = QuantumBoltzmannMachine(random_machine("dense").double(), 2.0)
    found = integrated_log_partition(machine, Exact(), n=2)
    assert found.value == pytest.approx(
        machine.log_partition().item(), abs=1e-7
    )
    assert found.standard_error < 1e-12


def test_a_machine_too_large_to_list_brings_the_error_of_its_bracket():
    classical = randomise(RBM(21, 21), scale=0.05)
    machine = QuantumBoltzmannMachine(classical, 0.0)
    found = integrated_log_partition(machine, PathIntegralSampler(1), nodes=1)
    assert 0 < found.standard_error < 0.1
    free = 42 * np.log(2) - 0.7  # offset 0.7, and weights near zero
    assert abs(found.value - free) < 2


# The negative phase of the bound


@pytest.mark.parametrize(
    "make", [lambda: BoltzmannMachine(5), lambda: RBM(3, 3)]
)
def test_the_sampled_gradient_of_the_bound_is_its_exact_gradient(make):
    machine = QuantumBoltzmannMachine(randomise(make()).double(), 1.2)
    data = all_states(machine.n_units)[[1, 5, 12]]
    weights = list(machine.classical.parameters())
    bound = machine.log_prob_bound(data).mean()
    exact = torch.cat(
        [g.flatten() for g in torch.autograd.grad(bound, weights)]
    )

    draws = PathIntegralSampler(SWEEPS, seed=3).sample(machine, 20_000)
    surrogate = machine.energy(draws).mean() - machine.energy(data).mean()
    sampled = torch.autograd.grad(surrogate, weights)
    sampled = torch.cat([g.flatten() for g in sampled])
    # Each entry of the negative phase is a mean of bits: sd at most 1/2.
    assert (sampled - exact).abs().max() < 4 * 0.5 / 20_000**0.5

    classical = torch.from_numpy(listed(machine.n_units))
    p = machine.energy(classical).neg().softmax(0).detach()
    wrong = p @ machine.energy(classical) - machine.energy(data).mean()
    wrong = torch.autograd.grad(wrong, weights)
    wrong = torch.cat([g.flatten() for g in wrong])
    assert (wrong - exact).abs().max() > 4 * 0.5 / 20_000**0.5


def test_fit_trains_the_bound_and_leaves_the_field_alone():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(4).double(), 1.0)
    data = torch.cat([all_states(4), all_states(4)[[3, 12]].repeat(12, 1)])
    data = data.repeat(6, 1)  # (240, 4)

    def bound():
        return machine.log_prob_bound(data).mean().item()

    before, sampler = bound(), PathIntegralSampler(6, seed=4)
    settings = {"epochs": 15, "batch_size": 60, "draws": 200, "lr": 1.0}
    fit(machine, data, sampler, progress=False, **settings)
    after = bound()
    assert after > before + 0.2
    assert machine.gamma.item() == 1.0

    def best():
        steps.zero_grad()
        value = -machine.log_prob_bound(data).mean()
        value.backward()
        return value

    weights = list(machine.classical.parameters())
    steps = torch.optim.LBFGS(
        weights, max_iter=100, line_search_fn="strong_wolfe"
    )
    steps.step(best)
    assert bound() - after < 0.1  # near the best that the bound allows


# A sampler like others


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_have_the_machines_precision_and_no_gradient(dtype):
    machine = QuantumBoltzmannMachine(random_machine("rbm", dtype=dtype), 1.0)
    z = PathIntegralSampler(2).sample(machine, 7)
    assert z.shape == (7, 8)
    assert z.dtype == dtype
    assert not z.requires_grad


def test_each_call_has_a_seed_of_its_own_and_a_restored_one_goes_on():
    machine = QuantumBoltzmannMachine(random_machine("rbm"), 1.0)
    one, other = PathIntegralSampler(3), PathIntegralSampler(3)
    first = one.sample(machine, 50)
    assert torch.equal(other.sample(machine, 50), first)
    state = one.state_dict()
    second = one.sample(machine, 50)
    assert not torch.equal(first, second)
    other.sample(machine, 50)
    other.load_state_dict(state)
    assert torch.equal(other.sample(machine, 50), second)
    elsewhere = PathIntegralSampler(3, seed=1).sample(machine, 50)
    assert not torch.equal(elsewhere, first)


def test_no_seed_is_the_one_that_the_kernel_takes_as_random(monkeypatch):
    """Seed 0 draws from a random device: nothing would be repeatable."""
    asked, kernel = [], path_integral.PathIntegralAnnealingSampler

    class Watched(kernel):
        def sample(self, *args, seed, **kwargs):
            asked.append(seed)
            return super().sample(*args, seed=seed, **kwargs)

    monkeypatch.setattr(path_integral, "PathIntegralAnnealingSampler", Watched)
    machine = QuantumBoltzmannMachine(RBM(1, 1), 0.5)
    for seed in (0, 1, 2**31 - 1, 2**40):
        PathIntegralSampler(1, seed=seed).sample(machine, 1)
        assert 0 < asked.pop() < 2**31


# Bad input ends in a sentence


def test_a_classical_machine_is_refused():
    sentence = "wants a QuantumBoltzmannMachine; RBM has no transverse field"
    with pytest.raises(TypeError, match=sentence):
        PathIntegralSampler().sample(RBM(2, 2), 3)


def test_a_spoiled_field_or_weight_is_refused():
    machine = QuantumBoltzmannMachine(RBM(2, 2), 0.5)
    machine.gamma.data.fill_(-0.25)
    with pytest.raises(
        ValueError, match="gamma, the transverse field, .* not -0.25"
    ):
        PathIntegralSampler().sample(machine, 3)
    machine.gamma.data.fill_(0.25)
    machine.classical.W.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="machine's W holds NaN"):
        PathIntegralSampler().sample(machine, 3)


@pytest.mark.parametrize("n", [0, 2.5])
def test_a_number_of_draws_that_is_none_is_refused(n):
    machine = QuantumBoltzmannMachine(RBM(2, 2), 0.5)
    with pytest.raises(ValueError, match=f"n is a whole number .* not {n}"):
        PathIntegralSampler().sample(machine, n)


def test_no_sweeps_and_no_nodes_are_refused():
    with pytest.raises(ValueError, match="sweeps is a whole number .* not 0"):
        PathIntegralSampler(sweeps=0)
    machine = QuantumBoltzmannMachine(RBM(2, 2), 0.5)
    with pytest.raises(ValueError, match="nodes is a whole number .* not 0"):
        integrated_log_partition(machine, PathIntegralSampler(), nodes=0)
    with pytest.raises(ValueError, match="n is a whole number of at least 2"):
        integrated_log_partition(machine, PathIntegralSampler(), n=1)


def test_many_qubits_come_with_a_warning_about_time():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(65), 0.5)
    with pytest.warns(UserWarning, match="of 65 qubits is slow: the time") as w:
        draws = PathIntegralSampler(1).sample(machine, 2)
    assert draws.shape == (2, 65)
    assert w[0].filename == __file__


def test_a_field_too_strong_for_the_slices_of_time():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(2), 1000.0)
    with pytest.raises(ValueError, match="gamma is 1000 nats; beyond 655"):
        PathIntegralSampler().sample(machine, 1)


@pytest.mark.parametrize("seed", [None, "0", 0.5, -1])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed is a whole number"):
        PathIntegralSampler(seed=seed)


def test_the_state_of_another_sampler_is_refused():
    sampler = PathIntegralSampler()
    with pytest.raises(ValueError, match="none of a Path.* generator, and no"):
        sampler.load_state_dict({"generator": torch.zeros(3)})


@pytest.mark.parametrize(
    "estimate", [transverse_magnetisation, integrated_log_partition]
)
def test_estimates_want_a_field_and_world_lines(estimate):
    machine = QuantumBoltzmannMachine(BoltzmannMachine(2), 1.0)
    with pytest.raises(TypeError, match="wants a Quantum.*; Boltz"):
        estimate(machine.classical, PathIntegralSampler())
    for sampler, said in [
        (GibbsSampler(), "draws world lines, as Path"),
        (PathIntegralSampler, "sampler is an object of a class"),
        (None, "sampler is an object of a class"),
    ]:
        with pytest.raises(TypeError, match=said):
            estimate(machine, sampler)
