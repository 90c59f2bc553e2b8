"""The quantum machine against Kronecker products, and its bound below it."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from oracles import (
    KINDS,
    energies,
    listed,
    log_z,
    quantum,
    random_machine,
    randomise,
    relative_error,
)

from qbmvae_mini.machines import (
    RBM,
    BoltzmannMachine,
    QuantumBoltzmannMachine,
    all_states,
)
from qbmvae_mini.machines.quantum import MAX_QUBITS

FIELDS = (0.0, 0.1, 1.0, 3.0)


def dense(n_units, *, seed=1, scale=0.8):
    machine = BoltzmannMachine(n_units).double()
    return randomise(machine, seed=seed, scale=scale)


# Against the oracle


@pytest.mark.parametrize("gamma", FIELDS)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_exact_agrees_with_kronecker_products(kind, gamma):
    classical = random_machine(kind, dtype=torch.float64)
    machine = QuantumBoltzmannMachine(classical, gamma)
    oracle = quantum(classical, gamma)
    found = [
        machine.hamiltonian(),
        machine.density_matrix(),
        machine.log_prob(all_states(machine.n_units)).exp(),
        machine.log_partition(),
        machine.transverse_magnetisation(),
    ]
    for value, expected in zip(found, oracle, strict=True):
        assert value.dtype == torch.float64
        assert value.detach().numpy() == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("bias", [-3.0, 0.0, 0.5])
@pytest.mark.parametrize("gamma", [0.01, 0.7, 4.0])
def test_one_qubit_by_hand(bias, gamma):
    classical = BoltzmannMachine(1).double()
    classical.bias.data.fill_(bias)
    machine = QuantumBoltzmannMachine(classical, gamma)
    half_gap = math.sqrt(bias**2 / 4 + gamma**2)
    tilt = math.tanh(half_gap) / half_gap
    on = (1 + bias / 2 * tilt) / 2
    p = machine.log_prob(torch.tensor([[0.0], [1.0]])).exp().tolist()
    assert p == pytest.approx([1 - on, on], abs=1e-14)
    trace = bias / 2 + math.log(2 * math.cosh(half_gap))
    assert machine.log_partition().item() == pytest.approx(trace, abs=1e-13)
    flips = machine.transverse_magnetisation().item()
    assert flips == pytest.approx(gamma * tilt, abs=1e-11)


@pytest.mark.parametrize("scale", [0.8, 20.0])
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_field_the_law_is_the_classical_one(kind, scale):
    classical = random_machine(kind, scale=scale, dtype=torch.float64)
    machine = QuantumBoltzmannMachine(classical, 0.0)
    expected = -energies(classical) - log_z(classical)
    states = all_states(machine.n_units)
    for found in (machine.log_prob(states), machine.log_prob_bound(states)):
        assert found.detach().numpy() == pytest.approx(expected, abs=1e-11)
    assert machine.log_partition().item() == pytest.approx(
        log_z(classical), rel=1e-14
    )


def test_probabilities_far_below_rounding_are_still_right():
    """Independent qubits have a closed form for every state."""
    classical = BoltzmannMachine(4, []).double()
    bias = torch.tensor([100.0, -80.0, 60.0, 0.0], dtype=torch.float64)
    classical.bias.data.copy_(bias)
    found = QuantumBoltzmannMachine(classical, 0.05).log_prob(all_states(4))
    half_gap = (bias**2 / 4 + 0.05**2).sqrt()
    tilt = bias / 2 * half_gap.tanh() / half_gap
    # (1 - tilt) / 2 without cancellation
    rest = 0.05**2 / half_gap**2 / (1 + bias.abs() / 2 / half_gap) / 2
    rest = torch.where(bias == 0, 0.5, rest)
    likely = torch.where(bias >= 0, (1 + tilt) / 2, (1 - tilt) / 2)
    on = torch.where(bias >= 0, likely, rest)
    off = torch.where(bias >= 0, rest, likely)
    states = all_states(4)
    expected = torch.where(states == 1, on, off).log().sum(1)
    assert expected.min() < -40
    assert torch.allclose(found, expected, atol=1e-9)


def test_single_precision_parameters_keep_double_precision_results():
    classical = random_machine("dense")
    machine = QuantumBoltzmannMachine(classical, 0.7)
    found = machine.log_prob(all_states(6, dtype=torch.float32))
    assert machine.gamma.dtype == torch.float32
    expected = np.log(quantum(classical, float(machine.gamma.detach())).law)
    assert found.dtype == torch.float64
    assert found.detach().numpy() == pytest.approx(expected, abs=2e-6)
    found.sum().backward()
    assert machine.gamma.grad.dtype == torch.float32


# Gradients


def parameters_of(machine):
    return dict(machine.named_parameters())


def finite_differences(value, machine, step=1e-5):
    """Central differences of a float64 function of the parameters."""
    slopes = {}
    for name, parameter in parameters_of(machine).items():
        flat = parameter.data.view(-1)
        slopes[name] = torch.empty_like(flat)
        for k in range(len(flat)):
            here = flat[k].item()
            flat[k] = here + step
            above = value()
            flat[k] = here - step
            slopes[name][k] = (above - value()) / (2 * step)
            flat[k] = here
    return slopes


def oracle_log_likelihood(machine, states):
    p = quantum(machine.classical, float(machine.gamma.detach())).law
    worth = 2 ** np.arange(machine.n_units)[::-1]
    return np.log(p[(states.numpy() @ worth).astype(int)]).mean()


def six_qubits(scale=0.8):
    machine = QuantumBoltzmannMachine(dense(6, scale=scale), 0.9)
    generator = torch.Generator().manual_seed(2)
    data = torch.rand(20, 6, generator=generator).round().double()
    return machine, data


@pytest.mark.parametrize("scale", [0.8, 0.0])  # 0: every level degenerate
def test_gradient_of_the_likelihood_is_that_of_finite_differences(scale):
    machine, data = six_qubits(scale)
    machine.log_prob(data).mean().backward()
    expected = finite_differences(
        lambda: oracle_log_likelihood(machine, data), machine
    )
    assert set(expected) == {"classical.bias", "classical.coupling", "gamma"}
    for name, parameter in parameters_of(machine).items():
        found = parameter.grad.view(-1)
        if scale == 0 and name == "gamma":  # every field gives a flat law
            assert found.abs().max() < 1e-12
        else:
            assert relative_error(found, expected[name]) < 1e-5


def test_the_same_check_rejects_the_gradient_of_the_bound():
    machine, data = six_qubits()
    machine.log_prob_bound(data).mean().backward()
    expected = finite_differences(
        lambda: oracle_log_likelihood(machine, data), machine
    )
    for name, parameter in parameters_of(machine).items():
        assert relative_error(parameter.grad.view(-1), expected[name]) > 0.01


def test_equal_levels_would_break_the_gradient_of_eigenvectors():
    """Why log_prob does not go by eigenvectors."""
    machine, data = six_qubits(scale=0.0)
    levels, vectors = torch.linalg.eigh(machine.hamiltonian())
    weight = (-levels).softmax(0)
    p = (vectors**2 @ weight)[:20]
    p.log().mean().backward()
    assert not torch.isfinite(machine.classical.bias.grad).all()
    machine.zero_grad()
    machine.log_prob(data).mean().backward()
    assert torch.isfinite(machine.classical.bias.grad).all()


def test_the_slope_of_log_trace_is_the_transverse_magnetisation():
    machine, _ = six_qubits()
    machine.log_partition().backward()
    flips = machine.transverse_magnetisation().item()
    assert machine.gamma.grad.item() == pytest.approx(flips, rel=1e-12)
    expected = quantum(machine.classical, 0.9).magnetisation
    assert flips == pytest.approx(expected, rel=1e-12)


def test_gradient_of_log_trace_is_minus_the_mean_gradient_of_the_energy():
    machine, _ = six_qubits()
    machine.log_partition().backward()
    p = quantum(machine.classical, 0.9).law
    mean_on = p @ listed(6)
    assert machine.classical.bias.grad.numpy() == pytest.approx(mean_on)


# The bound


def test_the_bound_is_below_the_likelihood_of_every_state():
    rng = np.random.default_rng(3)
    gaps = []
    for seed in range(300):
        n = int(rng.integers(1, 7))
        classical = dense(n, seed=seed, scale=float(rng.uniform(0, 3)))
        gamma = float(rng.exponential())
        machine = QuantumBoltzmannMachine(classical, gamma)
        with torch.no_grad():
            states = all_states(n)
            gap = machine.log_prob(states) - machine.log_prob_bound(states)
        assert gap.min() > -1e-10, (seed, n, gamma)
        gaps.append(gap.max())
    assert max(gaps) > 1  # the check is not one of equal numbers


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_always_shrinks_gamma(seed):
    """Its slope is minus <sum sigma^x>, whatever the data are."""
    machine = QuantumBoltzmannMachine(dense(4, seed=seed), 0.5)
    data = all_states(4)[[seed, 15 - seed]]
    machine.log_prob_bound(data).mean().backward()
    flips = machine.transverse_magnetisation().item()
    assert machine.gamma.grad.item() == pytest.approx(-flips, rel=1e-12)
    assert flips > 0


def noisy_patterns():
    """Three patterns of four bits, each bit read wrongly one time in ten."""
    patterns = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 1], [1, 0, 1, 1]])
    wrong = (all_states(4)[:, None] != patterns).sum(-1).double()
    return (0.1**wrong * 0.9 ** (4 - wrong)).mean(1)  # (16,)


def best_classical(p):
    """The machine of the largest likelihood, for data with the law `p`."""
    machine, states = BoltzmannMachine(4).double(), all_states(4)
    steps = torch.optim.LBFGS(
        machine.parameters(), max_iter=300, line_search_fn="strong_wolfe"
    )

    def loss():
        steps.zero_grad()
        value = -p @ machine.energy(states).neg().log_softmax(0)
        value.backward()
        return value

    steps.step(loss)
    assert all(w.grad.abs().max() < 1e-4 for w in machine.parameters())
    return machine


def test_the_exact_likelihood_can_want_a_field_that_the_bound_refuses():
    """At the classical optimum, where no other parameter wants to move."""
    p, states = noisy_patterns(), all_states(4)
    machine = QuantumBoltzmannMachine(best_classical(p), 0.1)
    in_field = p @ machine.log_prob(states)
    in_field.backward()
    assert machine.gamma.grad > 0.001
    classical = p @ machine.energy(states).neg().log_softmax(0)
    assert in_field > classical + 1e-4
    machine.zero_grad()
    bound = p @ machine.log_prob_bound(states)
    bound.backward()
    assert machine.gamma.grad < -0.1
    assert bound < classical


def test_the_law_is_the_diagonal_of_the_density_matrix():
    machine = QuantumBoltzmannMachine(dense(4), 0.8)
    found = machine.law()
    assert found.numpy() == pytest.approx(quantum(dense(4), 0.8).law)
    assert not found.requires_grad


# A module like others


def test_a_saved_machine_is_restored_whole():
    machine = QuantumBoltzmannMachine(randomise(RBM(2, 2)), 0.4)
    other = QuantumBoltzmannMachine(RBM(2, 2), 0.0)
    other.load_state_dict(machine.state_dict())
    z = all_states(4, dtype=torch.float32)
    assert torch.equal(other.log_prob(z), machine.log_prob(z))
    twin = copy.deepcopy(machine).double()
    assert twin.gamma.dtype == torch.float64
    assert twin.n_units == 4


def test_the_energy_is_the_diagonal_and_keeps_its_gradient():
    machine = QuantumBoltzmannMachine(dense(4), 0.8)
    states = all_states(4)
    diagonal = machine.hamiltonian().diagonal()
    assert torch.allclose(machine.energy(states), diagonal)
    machine.energy(states).sum().backward()
    assert machine.gamma.grad is None
    assert machine.classical.bias.grad.abs().sum() > 0


def test_one_state_or_many_in_any_shape():
    machine = QuantumBoltzmannMachine(dense(3), 0.8)
    states = all_states(3)
    many = machine.log_prob(states.reshape(2, 4, 3))
    assert many.shape == (2, 4)
    assert torch.equal(many[1, 2], machine.log_prob(states[6]))
    assert machine.log_prob_bound(states[6]).shape == ()
    for log_prob in (machine.log_prob, machine.log_prob_bound):
        for other in (states.int(), states.numpy(), states.tolist()):
            assert torch.equal(log_prob(other), log_prob(states))
        with pytest.raises(TypeError, match="states is a dense array"):
            log_prob(None)


# Bad input ends in a sentence


@pytest.mark.parametrize("gamma", [-0.1, math.nan, math.inf, "1", None, True])
def test_a_field_that_is_none_is_refused(gamma):
    sentence = f"gamma, .*, is a finite number .*, not {re.escape(repr(gamma))}"
    with pytest.raises(ValueError, match=sentence):
        QuantumBoltzmannMachine(BoltzmannMachine(2), gamma)


@pytest.mark.parametrize("gamma", [-0.5, math.nan])
def test_a_field_that_training_spoiled_is_refused(gamma):
    machine = QuantumBoltzmannMachine(BoltzmannMachine(2), 0.5)
    machine.gamma.data.fill_(gamma)
    for use in (machine.check, machine.log_partition, machine.density_matrix):
        with pytest.raises(ValueError, match=f"not {gamma}"):
            use()


def test_nan_weights_are_refused():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(2), 0.5)
    machine.classical.bias.data[0] = math.nan
    with pytest.raises(ValueError, match="machine's bias holds NaN"):
        machine.log_prob(all_states(2))


def test_what_is_no_classical_machine_is_refused():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(2), 0.5)
    sentence = "QuantumBoltzmannMachine knows classical machines alone"
    with pytest.raises(TypeError, match=sentence):
        QuantumBoltzmannMachine(machine, 0.5)


def test_too_many_qubits_are_refused():
    n = MAX_QUBITS + 1
    machine = QuantumBoltzmannMachine(BoltzmannMachine(n), 0.5)
    sentence = rf"{n} qubits need matrices of 2\^{n} rows; the limit is 10"
    for use in (machine.hamiltonian, machine.log_partition):
        with pytest.raises(ValueError, match=sentence):
            use()


def test_energies_too_far_apart_are_refused():
    classical = BoltzmannMachine(2).double()
    classical.bias.data.fill_(500.0)
    machine = QuantumBoltzmannMachine(classical, 0.5)
    with pytest.raises(ValueError, match="lie 1000 nats apart"):
        machine.log_prob(all_states(2))
    assert 1000 < machine.log_partition() < 1001  # eigenvalues need no care


def test_states_of_another_width_and_spins_are_refused():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(3), 0.5)
    for log_prob in (machine.log_prob, machine.log_prob_bound):
        with pytest.raises(ValueError, match=r"3 bits .* not shape \(2, 4\)"):
            log_prob(torch.zeros(2, 4))
        with pytest.raises(ValueError, match="bits, 0 or 1, and not .* spins"):
            log_prob(torch.tensor([-1.0, 1.0, 1.0]))


def test_a_field_too_large_for_the_precision_is_refused():
    with pytest.raises(ValueError, match="gamma, .*, not inf"):
        QuantumBoltzmannMachine(BoltzmannMachine(2), 1e300)
