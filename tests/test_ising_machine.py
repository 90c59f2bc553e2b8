"""The simulated coherent Ising machine: it optimises; it does not sample."""

import inspect
import math
import unittest

import dimod
import dimod.testing
import numpy as np
import pytest
import torch
from oracles import judge, law, random_machine

from qbmvae_mini.estimates import effective_beta
from qbmvae_mini.machines import BoltzmannMachine
from qbmvae_mini.samplers import DimodSampler, ising_machine
from qbmvae_mini.samplers.ising_machine import CoherentIsingMachine, rounded

DRAWS = 100_000


@dimod.testing.load_sampler_bqm_tests(CoherentIsingMachine)
class TestAgainstDimod(unittest.TestCase):
    """Dimod's own tests: no variable, one, few; every class of model."""

    def test_api(self):
        dimod.testing.assert_sampler_api(CoherentIsingMachine())


def run(bqm, **kwargs):
    kwargs.setdefault("seed", 1)
    return CoherentIsingMachine().sample(bqm, **kwargs)


def random_model(n, *, seed, vartype="SPIN", fields=True, labels=None):
    """Sherrington and Kirkpatrick's model, with fields or without."""
    rng = np.random.default_rng(seed)
    labels = labels or list(range(n))
    field = rng.normal(size=n) / 2 if fields else np.zeros(n)
    pair = rng.normal(size=(n, n)) / math.sqrt(n)
    bqm = dimod.BinaryQuadraticModel(vartype)
    bqm.offset = 0.25
    for label, bias in zip(labels, field, strict=True):
        bqm.add_linear(label, bias)
    for i in range(n):
        for j in range(i):
            bqm.add_quadratic(labels[i], labels[j], pair[i, j])
    return bqm


def ground_energy(bqm):
    """The lowest energy, by listing all states."""
    return dimod.ExactSolver().sample(bqm).first.energy


def ground_share(bqm, **kwargs):
    """The share of reads that end in a state of lowest energy."""
    found = run(bqm, num_reads=100, **kwargs).record.energy
    ground = ground_energy(bqm)
    return float((found < ground + 1e-9 * abs(ground)).mean())


# What comes back


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_energies_kinds_and_labels_are_the_callers(vartype):
    labels = ["b", "a", ("c", 1), 7]
    bqm = random_model(4, seed=2, vartype=vartype, labels=labels)
    before = bqm.copy()
    found = run(bqm, num_reads=30, precision=3)
    assert found.vartype is bqm.vartype
    assert set(found.variables) == set(labels)
    assert len(found) == 30
    dimod.testing.assert_response_energies(found, bqm)
    assert bqm == before


@pytest.mark.parametrize("sign", [-1, 1])
def test_fields_and_couplings_have_the_right_sign(sign):
    lone = dimod.BinaryQuadraticModel({"a": sign}, {}, 0, "SPIN")
    assert (run(lone, num_reads=50).record.sample == -sign).all()
    bits = dimod.BinaryQuadraticModel({"a": sign}, {}, 0, "BINARY")
    assert (run(bits, num_reads=50).record.sample == (sign < 0)).all()
    pair = dimod.BinaryQuadraticModel({}, {"ab": sign}, 0, "SPIN")
    spins = run(pair, num_reads=50).record.sample
    assert (spins[:, 0] == -sign * spins[:, 1]).all()
    assert len(np.unique(spins[:, 0])) == 2  # both of the two ground states


def test_variables_without_weights_are_fair_coins():
    free = dimod.BinaryQuadraticModel(
        dict.fromkeys("abc", 0), {}, 1.5, "BINARY"
    )
    found = run(free, num_reads=4000)
    _, times = np.unique(found.record.sample, axis=0, return_counts=True)
    assert times.min() > 400  # of 500 expected, standard deviation 21
    assert len(times) == 8


@pytest.mark.parametrize("readout", ["best", "last"])
def test_a_free_variable_stays_fair_when_its_light_has_died_out(readout):
    """After 5,000 round trips its amplitude is below the smallest float."""
    bqm = dimod.BinaryQuadraticModel({"a": 1.0, "b": 0.0}, {}, 0, "SPIN")
    found = run(bqm, num_reads=400, round_trips=5000, readout=readout)
    spins = found.record.sample
    assert (spins[:, found.variables.index("a")] == -1).all()
    assert abs(spins[:, found.variables.index("b")].mean()) < 0.25


def test_no_reads_are_lost_without_variables():
    found = run(dimod.BinaryQuadraticModel("SPIN"), num_reads=5)
    assert found.record.sample.shape == (5, 0)


# The equations


def by_hand(bqm, reads, trips, *, correction, seed):
    """The same machine by loops over numbers; spins of the last trip."""
    dt, pump, feedback, target, noise = 0.4, 0.7, 0.4, 0.4, 0.2
    n = bqm.num_variables
    J = np.zeros((n + 1, n + 1))
    for i in range(n):
        J[0, i + 1] = J[i + 1, 0] = -bqm.get_linear(i)
        for j in range(n):
            if i != j:
                J[i + 1, j + 1] = -bqm.get_quadratic(i, j, default=0)
    typical = math.sqrt((J**2).sum() / (n + 1))
    rng = np.random.default_rng(seed)
    sigma = noise * math.sqrt(target)
    x = sigma * rng.standard_normal((n + 1, reads))
    e = np.ones((n + 1, reads))
    for trip in range(trips):
        p = pump * trip / (trips - 1)
        m = x + sigma * rng.standard_normal((n + 1, reads))
        spins = np.sign(m[1:] * m[0])
        for r in range(reads):
            for i in range(n + 1):
                field = sum(J[i, j] * m[j, r] for j in range(n + 1)) / typical
                light = (p - 1) * x[i, r] + feedback * e[i, r] * field
                x[i, r] = (x[i, r] + dt * light) / (1 + dt * x[i, r] ** 2)
                off = m[i, r] ** 2 - sigma**2 - target
                e[i, r] *= math.exp(-dt * correction * off)
                e[i, r] = min(max(e[i, r], 1 / 32), 32)
    return spins.T


def test_a_run_follows_the_equations_by_hand():
    bqm = random_model(5, seed=3)
    found = run(bqm, num_reads=200, round_trips=15, readout="last", seed=4)
    expected = by_hand(bqm, 200, 15, correction=0.5, seed=4)
    assert (found.record.sample == expected).all()
    other = by_hand(bqm, 200, 15, correction=0.6, seed=4)
    assert not (found.record.sample == other).all()


def test_pulses_without_couplings_have_no_part_in_the_typical_field():
    bqm = random_model(6, seed=12, fields=False)
    bqm.add_variable("free")
    J = ising_machine._couplings(bqm)
    sizes = (J**2).sum(axis=1)  # pulses: auxiliary, 6 coupled, 1 free
    assert sizes[0] == sizes[7] == 0
    assert sizes[1:7].mean() == pytest.approx(1)


def test_best_is_the_lowest_energy_that_was_measured():
    """A longer run of one seed sees more states, and forgets none."""
    bqm = random_model(12, seed=5)
    # With the pump off, a run is the beginning of a longer one.
    short, long = (
        run(bqm, num_reads=50, round_trips=trips, pump=0).record.energy
        for trips in (4, 40)
    )
    last = run(bqm, num_reads=50, round_trips=40, pump=0, readout="last")
    assert (long <= short + 1e-9).all()
    assert (long <= last.record.energy + 1e-9).all()
    assert (long < short - 1e-9).any()


# It optimises


@pytest.mark.parametrize("fields", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_most_reads_of_16_spins_reach_the_ground_state(seed, fields):
    bqm = random_model(16, seed=seed, fields=fields)
    assert ground_share(bqm) > 0.8


def test_without_amplitude_correction_far_more_reads_miss_it():
    models = [random_model(16, seed=seed, fields=False) for seed in range(8)]
    missed, missed_without = (
        np.mean([1 - ground_share(bqm, **without) for bqm in models])
        for without in ({}, {"correction": 0})
    )
    assert missed < 0.1
    assert missed_without > max(4 * missed, 0.15)


def test_the_light_stays_finite_at_any_strength():
    bqm = random_model(8, seed=6)
    for name in ("time_step", "feedback", "correction", "pump", "noise"):
        found = run(bqm, num_reads=20, round_trips=50, **{name: 1e3})
        dimod.testing.assert_response_energies(found, bqm)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_the_size_of_the_weights_does_not_matter(size):
    bqm = random_model(6, seed=7)
    bqm.offset = 0
    bqm.scale(size)
    assert ground_share(bqm) == 1


# It does not sample exp(-E)


def draw(machine, n, **kwargs):
    child = CoherentIsingMachine()
    return DimodSampler(child, round_trips=150, **kwargs).sample(machine, n)


def total_variation(z, machine):
    place = 2 ** np.arange(machine.n_units)[::-1]
    counts = np.bincount((z.numpy() @ place).astype(int))
    counts = np.pad(counts, (0, 2**machine.n_units - len(counts)))
    return np.abs(counts / len(z) - law(machine)).sum() / 2


def test_it_is_no_sampler_of_the_boltzmann_law_even_at_effective_beta_1():
    """The temperature fits, by the choice of the noise; the law does not."""
    machine = random_machine("dense", dtype=torch.float64)
    z = draw(machine, DRAWS, readout="last", noise=0.97)
    beta = effective_beta(machine, z)
    assert abs(beta.value - 1) < 0.2
    verdict = judge(z, machine)
    assert not verdict.accepted
    assert verdict.tv > 0.2
    assert verdict.tv > 20 * verdict.tv_floor
    for other in np.linspace(0.1, 4, 14):
        assert not judge(z, machine, other).accepted


@pytest.mark.parametrize("readout", ["best", "last"])
def test_with_default_noise_it_gives_little_but_the_ground_state(readout):
    machine = random_machine("dense")
    z = draw(machine, 1000, readout=readout)
    assert total_variation(z, machine) > 0.8
    assert len(np.unique(z.numpy(), axis=0)) < 10


def test_more_noise_means_a_lower_effective_beta():
    machine = random_machine("sparse", dtype=torch.float64)
    betas = [
        effective_beta(machine, draw(machine, 2000, readout="last", noise=s))
        for s in (0.5, 0.8, 1.5)
    ]
    assert betas[0].value > 2 * betas[1].value > 4 * betas[2].value > 0


def test_four_times_the_energy_gives_the_same_draws():
    """A Boltzmann law would be far colder: the scale of E is lost."""
    bqm = random_model(8, seed=8)
    colder = bqm.copy()
    colder.scale(4)  # exact in binary
    one, four = (run(m, num_reads=200, noise=1.0) for m in (bqm, colder))
    assert (one.record.sample == four.record.sample).all()


# Finite precision


def rounded_by_hand(bqm, precision):
    biases = [*bqm.linear.values(), *bqm.quadratic.values()]
    step = max(abs(b) for b in biases) / (2 ** (precision - 1) - 1)
    held = bqm.copy()
    for v, bias in bqm.linear.items():
        held.set_linear(v, round(bias / step) * step)
    for (u, v), bias in bqm.quadratic.items():
        held.set_quadratic(u, v, round(bias / step) * step)
    return held


@pytest.mark.parametrize("precision", [2, 4, 8, 14])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_fields_and_couplings_are_rounded_together_over_spins(
    vartype, precision
):
    bqm = random_model(7, seed=9, vartype=vartype)
    found = rounded(bqm, precision)
    expected = rounded_by_hand(
        bqm.change_vartype("SPIN", inplace=False), precision
    )
    dimod.testing.assert_bqm_almost_equal(found, expected, places=12)
    twice = rounded(found, precision)
    dimod.testing.assert_bqm_almost_equal(twice, found, places=12)
    assert found.num_interactions == bqm.num_interactions


def test_rounding_of_nothing_is_nothing():
    free = dimod.BinaryQuadraticModel({"a": 0}, {}, 2.0, "SPIN")
    assert rounded(free, 8) == free
    assert rounded(dimod.BinaryQuadraticModel("SPIN"), 8).num_variables == 0


def test_the_machine_runs_on_the_rounded_couplings():
    bqm = random_model(10, seed=10)
    largest = max(map(abs, bqm.linear.values()))
    bqm.add_linear(0, 7 / 4 - bqm.get_linear(0))  # so that one step is 1/4
    assert largest < 7 / 4
    assert bqm.quadratic.max() < 7 / 4
    options = {"num_reads": 300, "readout": "last", "noise": 1.0}
    found = run(bqm, precision=4, **options)
    expected = run(rounded_by_hand(bqm, 4), **options)
    assert (found.record.sample == expected.record.sample).all()
    assert not (found.record.sample == run(bqm, **options).record.sample).all()
    dimod.testing.assert_response_energies(found, bqm)  # of the caller's model


def test_too_few_bits_find_the_wrong_ground_state():
    """1.0 and 0.4 become 1 and 0, so the frustrated field is not seen."""
    bqm = dimod.BinaryQuadraticModel({"a": 1.0, "b": 0.4}, {}, 0, "SPIN")
    fine, coarse = (run(bqm, num_reads=400, precision=p) for p in (8, 2))
    b = fine.variables.index("b")
    assert (fine.record.sample[:, b] == -1).all()
    assert (
        abs(coarse.record.sample[:, coarse.variables.index("b")].mean()) < 0.3
    )


# Through DimodSampler


def test_it_runs_behind_the_seam_with_a_seed_a_call():
    machine = random_machine("rbm")
    sampler = DimodSampler(
        CoherentIsingMachine(), seed=5, noise=1.0, readout="last"
    )
    first = sampler.sample(machine, 40)
    assert first.shape == (40, 8)
    assert set(first.unique().tolist()) == {0, 1}
    state = sampler.state_dict()
    second = sampler.sample(machine, 40)
    assert not torch.equal(first, second)
    sampler.load_state_dict(state)
    assert torch.equal(sampler.sample(machine, 40), second)


def test_behind_the_seam_it_finds_the_most_probable_state():
    machine = random_machine("sparse")
    z = DimodSampler(CoherentIsingMachine()).sample(machine, 50)
    place = 2 ** np.arange(8)[::-1]
    assert ((z.numpy() @ place).astype(int) == law(machine).argmax()).all()


def test_a_misspelt_keyword_is_refused_behind_the_seam_and_before_it():
    with pytest.raises(
        TypeError, match="no parameter 'nois'; it takes .*noise"
    ):
        DimodSampler(CoherentIsingMachine(), nois=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nois'"):
        run(random_model(2, seed=0), nois=1)


def test_the_list_of_parameters_is_that_of_sample():
    names = list(inspect.signature(CoherentIsingMachine.sample).parameters)
    assert list(CoherentIsingMachine().parameters) == names[2:]


def test_a_seed_gives_the_same_run_and_none_a_new_one():
    bqm = random_model(8, seed=11)

    def states(seed):
        options = {"num_reads": 50, "noise": 1.0, "readout": "last"}
        return run(bqm, seed=seed, round_trips=30, **options).record.sample

    assert (states(1) == states(1)).all()
    assert not (states(1) == states(2)).all()
    assert not (states(None) == states(None)).all()


# Bad input


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("num_reads", 0, "num_reads is a whole number of at least 1, not 0"),
        ("num_reads", 2.5, "num_reads is a whole number .* not 2.5"),
        ("round_trips", 0, "round_trips is a whole number of at least 1"),
        ("precision", 0, "precision is a whole number of at least 2, not 0"),
        ("precision", 1, "precision is a whole number of at least 2, not 1"),
        ("seed", -1, "seed is a whole number of at least 0, not -1"),
        ("readout", "first", 'readout is "best" or "last", not \'first\''),
        ("time_step", 0, "time_step is a finite number above 0, not 0"),
        ("feedback", -1, "feedback is a finite number above 0, not -1"),
        ("target", 0, "target is a finite number above 0, not 0"),
        ("noise", 0.0, "noise is a finite number above 0, not 0.0"),
        ("noise", math.nan, "noise is a finite number above 0, not nan"),
        ("pump", -0.1, "pump is a finite number at least 0, not -0.1"),
        ("pump", "high", "pump is a finite number at least 0, not 'high'"),
        ("correction", math.inf, "correction is a finite number .* not inf"),
    ],
)
def test_a_value_out_of_range_ends_in_a_sentence(name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(random_model(3, seed=0), **{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["linear", "quadratic", "offset"])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
@pytest.mark.parametrize("precision", [None, 8])
def test_weights_that_are_no_numbers_are_refused(
    where, value, vartype, precision
):
    bqm = random_model(3, seed=0, vartype=vartype)
    if where == "linear":
        bqm.set_linear(0, value)
    elif where == "quadratic":
        bqm.set_quadratic(0, 1, value)
    else:
        bqm.offset = value
    with pytest.raises(ValueError, match="model holds NaN or infinite weights"):
        run(bqm, precision=precision)


def test_nan_weights_of_a_machine_are_refused_before_they_reach_it():
    machine = BoltzmannMachine(3)
    machine.bias.data[1] = math.nan
    with pytest.raises(ValueError, match="machine's bias holds NaN"):
        draw(machine, 3)


def test_planted_mistakes_are_seen(monkeypatch):
    """With the wrong sign of J the optimiser climbs."""
    right = ising_machine._couplings
    monkeypatch.setattr(ising_machine, "_couplings", lambda spin: -right(spin))
    assert ground_share(random_model(16, seed=0)) == 0


@pytest.mark.parametrize("model", [None, {}, {(0, 1): 1.0}, "SPIN"])
def test_what_is_no_model_is_refused(model):
    for use in (lambda m: run(m), lambda m: rounded(m, 4)):
        with pytest.raises(TypeError, match="bqm is a dimod.BinaryQuadratic"):
            use(model)


def test_true_is_no_strength():
    model = random_model(2, seed=0)
    with pytest.raises(ValueError, match="noise is a finite number above 0"):
        run(model, noise=True)
