"""Annealers behind the sampler contract, held against a mock's known truth."""

import ast
import json
import unittest
from pathlib import Path

import dimod
import numpy as np
import pytest
import torch
from dimod.testing.asserts import (
    assert_sampler_api,
    assert_sampleset_energies,
    assert_structured_api,
)
from oracles import judge, law, randomise
from synthetic import FIT, two_clusters

from qbmvae_mini import hardware
from qbmvae_mini.estimates import check_sampler, distance_to_exact
from qbmvae_mini.hardware import (
    Annealer,
    DeviceError,
    IsingSolver,
    MockAnnealer,
    Recorder,
    Replay,
    ThermalSpins,
    backend,
    embed,
    mock,
    native_machine,
)
from qbmvae_mini.latents import BoltzmannLatent
from qbmvae_mini.machines import RBM, BoltzmannMachine
from qbmvae_mini.models import CellVAE
from qbmvae_mini.samplers import DimodSampler, ExactSampler, GibbsSampler

BETA = 4.0  # of the mock device, unless a test says otherwise
GAIN = 1000.0  # whole numbers a nat, and temperature of the solver below
DRAWS = 100_000


@pytest.fixture(scope="module")
def device():
    return MockAnnealer(beta=BETA)


def weighted(machine, scale=0.8):
    return randomise(machine, scale=scale)


class Solver:
    """A vendor's client that samples exp(s'Ms / (2 T))."""

    def __init__(self, temperature=GAIN, at_once=1000):
        self.temperature, self.at_once, self.calls = temperature, at_once, 0

    def solve(self, matrix):
        assert matrix.dtype.kind == "i"
        assert (matrix == matrix.T).all()
        assert not matrix.diagonal().any()
        self.calls += 1
        n = len(matrix)
        pairs = {(i, j): -matrix[i, j] for i in range(n) for j in range(i)}
        bqm = dimod.BinaryQuadraticModel(
            dict.fromkeys(range(n), 0), pairs, 0, "SPIN"
        )
        found = ThermalSpins().sample(
            bqm,
            num_reads=self.at_once,
            beta=1 / self.temperature,
            seed=self.calls,
        )
        return found.record.sample


def native(warmer=1.0):
    device = MockAnnealer(beta=BETA)
    machine, embedding = native_machine(device, 8)
    return weighted(machine), Annealer(device, embedding, beta=BETA * warmer)


def embedded(warmer=1.0):
    machine = weighted(BoltzmannMachine(5))
    device = MockAnnealer("pegasus", beta=BETA)
    sampler = backend("mock", machine, device=device, beta=BETA * warmer)
    assert max(map(len, sampler.embedding.values())) > 1
    return machine, sampler


def solved(warmer=1.0):
    machine = weighted(RBM(3, 5))
    client = Solver(at_once=DRAWS)
    sampler = backend(
        "solve", machine, client=client, bits=14, gain=GAIN / warmer
    )
    return machine, sampler


ADAPTERS = {"native": native, "embedded": embedded, "solve": solved}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_backend_draws_the_machines_law(name):
    machine, sampler = ADAPTERS[name]()
    draws = sampler.draw(machine, DRAWS)
    verdict = judge(draws.numpy(), machine)
    assert verdict.accepted, verdict


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_law_test_sees_a_temperature_ten_percent_off(name):
    machine, sampler = ADAPTERS[name](warmer=1.1)
    verdict = judge(sampler.draw(machine, DRAWS).numpy(), machine)
    assert verdict.worst_z > 8, verdict
    assert not verdict.accepted


@pytest.mark.parametrize("name", ["native", "embedded"])
def test_an_annealer_keeps_every_promise_of_a_sampler(name):
    machine, sampler = ADAPTERS[name]()
    check_sampler(sampler, machine, draws=20_000)


def test_dimods_own_assertions_pass(device):
    replay = Replay(Recorder(device).tape)
    for sampler in (device, replay, ThermalSpins(), IsingSolver(Solver())):
        assert_sampler_api(sampler)
    for sampler in (device, Recorder(device), replay):
        assert_structured_api(sampler)


@dimod.testing.load_sampler_bqm_tests(ThermalSpins, max_num_variables=8)
@dimod.testing.load_sampler_bqm_tests(
    lambda: IsingSolver(Solver(at_once=1)), max_num_variables=8
)
class TestDimodModels(unittest.TestCase):
    """Models of all kinds, as dimod makes them."""


def test_energies_are_those_of_the_model_that_was_asked_for(device):
    u, v = device.edgelist[0]
    bqm = dimod.BinaryQuadraticModel(
        {u: 0.4, v: 0.1}, {(u, v): -0.3}, 0.2, "BINARY"
    )
    noisy = MockAnnealer(noise=(0.1, 0.1), misread=0.1)
    for auto_scale in (True, False):
        found = noisy.sample(bqm, num_reads=50, auto_scale=auto_scale)
        assert_sampleset_energies(found, bqm)
        assert found.info["kind"] == "simulated"


def test_chains_far_stiffer_than_the_rest_follow_the_law(monkeypatch):
    rng = np.random.default_rng(0)
    h = dict(enumerate(rng.normal(0, 0.3, 8)))
    J = {(0, 1): -4, (2, 3): -4, (3, 4): -4, (1, 2): 0.4, (4, 5): -0.5}
    J |= {(5, 6): -3, (6, 7): 0.8, (0, 7): 0.3, (0, 5): 0.6}
    bqm = dimod.BinaryQuadraticModel.from_ising(h, J)
    machine = BoltzmannMachine.from_bqm(bqm)
    monkeypatch.setattr(mock, "LISTED", 0)
    found = ThermalSpins().sample(bqm, num_reads=DRAWS, sweeps=20, seed=1)
    spins = found.record.sample[:, [found.variables.index(i) for i in range(8)]]
    assert judge((spins + 1) / 2, machine).accepted
    kept = judge((spins + 1) / 2, machine, p=law(machine, 1.1))
    assert not kept.accepted


# Temperature


def cold_machine(beta, seed=0, **wrong):
    """Twelve native bits on a device of inverse temperature beta."""
    device = MockAnnealer(beta=beta, seed=seed, **wrong)
    machine, embedding = native_machine(device, 12)
    return randomise(machine, scale=2.0), device, embedding


def test_an_injected_temperature_is_recovered():
    machine, device, embedding = cold_machine(0.65)
    found = Annealer(device, embedding).calibrate(machine, 150_000)
    assert found.value == pytest.approx(0.65, abs=0.003)
    assert found.standard_error < 0.0012


def test_its_interval_covers_the_truth():
    machine, device, embedding = cold_machine(0.65)
    covered = []
    for seed in range(200):
        found = Annealer(device, embedding, seed=seed).calibrate(machine, 500)
        covered.append(abs(found.value - 0.65) < 1.96 * found.standard_error)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_the_law_is_right_after_the_correction_and_not_before():
    machine, device, embedding = cold_machine(2.6)
    sampler = Annealer(device, embedding, beta=2.0)
    before = distance_to_exact(machine, sampler.sample(machine, 50_000))
    sampler.calibrate(machine, 100_000)
    after = distance_to_exact(machine, sampler.sample(machine, 50_000))
    assert before.total_variation > 1.2 * before.floor
    assert after.total_variation < 1.2 * after.floor


def test_a_drifting_temperature_is_followed():
    machine, device, embedding = cold_machine(2.0, drift=0.03)
    followed = Annealer(device, embedding, beta=2.0, track=True)
    errors = []
    for _ in range(60):
        followed.sample(machine, 2000)
        errors.append(np.log(followed.beta / device.truth[-1]))
    walked = np.log(np.array(device.truth) / 2.0)
    assert np.std(walked) > 0.05
    assert np.sqrt(np.mean(np.square(errors))) < 0.02


def test_a_frozen_temperature_and_that_of_a_fork_stay():
    machine, device, embedding = cold_machine(2.0)
    sampler = Annealer(device, embedding, beta=1.5, track=True)
    fork = sampler.fork(3)
    fork.sample(machine, 2000)
    assert fork.beta == sampler.beta == pytest.approx(1.5)
    sampler.sample(machine, 2000)
    assert sampler.beta == pytest.approx(2.0, rel=0.05)
    kept = sampler.freeze().beta
    sampler.sample(machine, 2000)
    assert sampler.beta == kept


def test_tracking_waits_for_weights(device):
    machine, embedding = native_machine(device, 8)
    for weight in machine.parameters():
        weight.data.zero_()
    sampler = Annealer(device, embedding, track=True)
    sampler.sample(machine, 100)
    assert sampler.beta == 1.0


# Range, chains, reversals, reads


def test_what_is_out_of_range_is_refused_and_not_clipped():
    device = MockAnnealer(beta=0.5)
    machine, embedding = native_machine(device, 6)
    weighted(machine, scale=5.0)
    with pytest.raises(DeviceError, match="times out of the range"):
        Annealer(device, embedding, beta=0.5).sample(machine, 10)
    assert device.calls == 0
    qubits = list(embedding[0] + embedding[1])
    with pytest.raises(DeviceError, match="out of range"):
        device.sample_ising({qubits[0]: 9.0}, {}, auto_scale=False)


def test_the_devices_own_rescaling_changes_the_law(device):
    machine, embedding = native_machine(device, 6)
    weighted(machine)
    bqm = machine.to_bqm()
    bqm.relabel_variables({i: chain[0] for i, chain in embedding.items()})
    found = device.sample(bqm, num_reads=DRAWS, seed=1, answer_mode="raw")
    order = [found.variables.index(embedding[i][0]) for i in range(6)]
    assert not judge(found.record.sample[:, order], machine).accepted


def test_the_program_costs_what_the_machine_costs(device):
    machine = weighted(RBM(4, 5))
    sampler = backend("mock", machine, device=device)
    h, J, wires = sampler._program(machine, 1.0)
    sign = np.array([1.0, -1, 1, 1, -1, -1, 1, 1, -1])
    program = wires.bqm(h, J, sign)
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, (20, 9))
    spins = ((2 * z - 1) * sign)[:, wires.chain]
    energy = program.energies((spins, list(program.variables)))
    gap = energy - machine.energy(z).detach().double().numpy()
    np.testing.assert_allclose(gap, gap[0], atol=1e-5)
    units, broken = wires.read(spins, rng)
    np.testing.assert_array_equal(units, (2 * z - 1) * sign)
    assert broken == 0


def test_reversals_average_out_fields_that_are_off():
    wrong = MockAnnealer(beta=BETA, offset=0.1)
    machine, embedding = native_machine(wrong, 8)
    weighted(machine)
    tv = {}
    for reversals in (1, 64):
        sampler = Annealer(wrong, embedding, beta=BETA, reversals=reversals)
        draws = sampler.sample(machine, 20_000)
        assert sampler.report["calls"] == max(2, reversals)
        tv[reversals] = distance_to_exact(machine, draws).total_variation
    assert tv[64] < 0.6 * tv[1]


def test_broken_chains_are_refused_and_few_are_outvoted():
    machine = weighted(RBM(8, 8))
    device = MockAnnealer("pegasus", beta=1.0)
    weak = backend("mock", machine, device=device, chain_strength=0.1)
    with pytest.raises(DeviceError, match="of the chains broke"):
        weak.sample(machine, 100)
    assert weak.report["broken"] > 0.1
    weak.max_broken = 1.0
    assert weak.draw(machine, 100).shape == (100, 16)


def test_a_broken_qubit_is_named_and_avoided():
    machine = RBM(4, 4)
    embedding = embed(machine, MockAnnealer())
    qubit = embedding[0][0]
    device = MockAnnealer(broken=[qubit])
    with pytest.raises(DeviceError, match=f"qubit {qubit}, which does not"):
        Annealer(device, embedding).sample(machine, 1)
    again = embed(machine, device)
    assert qubit not in {q for chain in again.values() for q in chain}


def test_an_embedding_of_another_machine_is_refused(device):
    embedding = embed(RBM(2, 2), device)
    with pytest.raises(
        DeviceError, match="holds 4 units and the machine has 6"
    ):
        Annealer(device, embedding).sample(RBM(3, 3), 1)
    alone = {0: (0,), 1: (device.nodelist[-1],)}
    with pytest.raises(DeviceError, match="no coupler"):
        Annealer(device, alone).sample(RBM(1, 1), 1)
    torn = {0: (0, device.nodelist[-1]), 1: (device.nodelist[-2],)}
    free = BoltzmannMachine(2, [])
    with pytest.raises(DeviceError, match="not connected to a chain"):
        Annealer(device, torn).sample(free, 1)


def test_a_graph_that_is_too_large_is_refused_at_once(device):
    for machine in (RBM(100, 100), BoltzmannMachine(60)):
        with pytest.raises(DeviceError, match="were not fitted"):
            embed(machine, device, timeout=1)


def test_a_state_goes_on_to_the_same_draws(device):
    machine, embedding = native_machine(device, 8)
    weighted(machine)
    sampler = Annealer(device, embedding, track=True, reversals=3)
    sampler.sample(machine, 300)
    state = sampler.state_dict()
    expected = sampler.sample(machine, 300)
    other = Annealer(device, embedding, track=True, reversals=3)
    other.load_state_dict(state)
    assert torch.equal(other.sample(machine, 300), expected)
    assert json.dumps(sampler.settings()) == json.dumps(other.settings())


# Solvers of matrices


def test_a_solver_gets_whole_numbers_or_a_sentence():
    bqm = dimod.BinaryQuadraticModel(
        {0: 3.0, 1: 0.0}, {(0, 1): -1.0}, 0, "SPIN"
    )
    found = IsingSolver(Solver(), bits=8).sample(bqm, num_reads=5)
    assert found.info["gain"] == pytest.approx(127 / 3)
    assert 0 < found.info["rounding"] < 0.5 / found.info["gain"]
    with pytest.raises(DeviceError, match="becomes 150 and 8 bits hold 127"):
        IsingSolver(Solver(), bits=8, gain=50.0).sample(bqm)
    IsingSolver(Solver(), bits=14, gain=50.0).sample(bqm)


class Constant:
    def __init__(self, answer):
        self.answer = answer

    def solve(self, matrix):
        return self.answer


@pytest.mark.parametrize(
    "answer", [np.zeros(3), np.ones(2), np.ones((0, 3)), np.full(3, np.nan)]
)
def test_what_is_no_spin_of_the_matrix_is_refused(answer):
    bqm = dimod.BinaryQuadraticModel(
        {0: 1.0, 1: 0.0}, {(0, 1): -1.0}, 0, "SPIN"
    )
    with pytest.raises(DeviceError, match="solve returned an array"):
        IsingSolver(Constant(answer)).sample(bqm)


# Training


@pytest.mark.parametrize("kind", ["embedded", "native"])
def test_a_model_trains_end_to_end_through_the_mock(kind):
    device = MockAnnealer(beta=BETA, sweeps=20)
    machine, embedding = native_machine(device, 16)
    if kind == "embedded":
        machine = RBM(8, 8)
        device = MockAnnealer("pegasus", beta=BETA, sweeps=20)
        embedding = embed(machine, device)
    sampler = Annealer(device, embedding, beta=BETA, track=True, draws=64)
    model = CellVAE(two_clusters(), BoltzmannLatent(machine, sampler))
    model.fit(**FIT | {"max_epochs": 4})
    assert device.calls >= 8
    assert np.isfinite(model.get_log_likelihood(n_samples=4)).all()
    assert sampler.report["kind"] == "simulated"


def test_the_client_is_imported_when_it_is_used_and_not_before():
    for path in Path(hardware.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not ast.unparse(node).split()[1].startswith("dwave")


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="BACKEND is one of"):
        backend("quantum", RBM(2, 2))
    with pytest.raises(ValueError, match="wants client="):
        backend("solve", RBM(2, 2))
    with pytest.raises(ValueError, match="wants budget="):
        backend("dwave", RBM(2, 2))
    with pytest.raises(ValueError, match="wants tape="):
        backend("replay", RBM(2, 2))


def test_a_word_of_the_classical_kind_gives_that_sampler():
    machine = RBM(2, 2)
    assert isinstance(backend("exact", machine), ExactSampler)
    assert isinstance(backend("gibbs", machine, sweeps=3), GibbsSampler)
    assert isinstance(backend("neal", machine, seed=2), DimodSampler)
