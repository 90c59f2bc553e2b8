"""Tempering: every rung keeps its law, swaps are right, modes are found."""

import copy
import pickle

import numpy as np
import pytest
import torch
from oracles import KINDS, energies, judge, law, random_machine

from qbmvae_mini.machines import RBM
from qbmvae_mini.samplers import GibbsSampler, TemperingSampler

DRAWS = 100_000


def rungs(sampler, machine, chains=DRAWS):
    """States of all rungs after one call, (temperatures, chains, units)."""
    sampler.sample(machine, 1)
    states = sampler.state_dict()["chains"]
    return states.view(sampler.temperatures, chains, machine.n_units)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rung_has_the_law_of_its_temperature(kind):
    machine = random_machine(kind)
    sampler = TemperingSampler(DRAWS, 3, beta_min=0.25, sweeps=5, seed=1)
    assert sampler.betas.tolist() == [1.0, 0.5, 0.25]
    for beta, states in zip(
        sampler.betas.tolist(), rungs(sampler, machine), strict=True
    ):
        verdict = judge(states, machine, beta)
        assert verdict.accepted, (beta, verdict)


def test_the_same_check_rejects_swaps_of_the_wrong_sign(monkeypatch):
    machine = random_machine("dense")
    energy = machine.energy
    monkeypatch.setattr(machine, "energy", lambda z: -energy(z))
    sampler = TemperingSampler(DRAWS, 3, beta_min=0.25, sweeps=5, seed=1)
    cold, *_ = rungs(sampler, machine)
    assert not judge(cold, random_machine("dense")).accepted


def test_swaps_are_made_as_often_as_metropolis_says():
    """The mean acceptance over both laws, by listing all pairs of states."""
    machine = random_machine("dense", scale=1.5)
    sampler = TemperingSampler(20_000, 3, beta_min=0.25, sweeps=10, seed=2)
    sampler.sample(machine, 1)
    E = energies(machine)
    for pair, (cold, hot) in enumerate([(1.0, 0.5), (0.5, 0.25)]):
        ratio = (cold - hot) * (E[:, None] - E)  # (cold state, hot state)
        expected = law(machine, cold) @ (
            torch.from_numpy(ratio).exp().clamp(max=1).numpy()
            @ law(machine, hot)
        )
        assert sampler.swap_rates[pair] == pytest.approx(expected, abs=0.01)


def test_swap_rates_are_not_a_number_before_any_swap():
    assert TemperingSampler(temperatures=4).swap_rates.isnan().all()


def test_tempering_finds_a_mode_that_gibbs_cannot_reach():
    """All chains start in one of two equal modes, 12 nats deep."""
    machine = RBM(4, 4)
    with torch.no_grad():
        machine.W.fill_(6.0)
        machine.a.fill_(-12.0)
        machine.c.fill_(-12.0)
    shares = {}
    for sampler in (
        GibbsSampler(chains=400, sweeps=200),
        TemperingSampler(chains=400, temperatures=8, beta_min=0.02, sweeps=200),
    ):
        sampler.sample(machine, 1)
        state = sampler.state_dict()
        state["chains"] = torch.zeros_like(state["chains"])
        sampler.load_state_dict(state)
        draws = sampler.sample(machine, 400)
        shares[type(sampler)] = draws.mean(1).gt(0.5).double().mean()
    assert shares[GibbsSampler] < 0.02
    assert abs(shares[TemperingSampler] - 0.5) < 0.1


@pytest.mark.parametrize("beta_min", [0, 1, -0.5, 2, float("nan"), "0.1"])
def test_a_ladder_outside_0_to_1_is_refused(beta_min):
    with pytest.raises(ValueError, match="beta_min is .* above 0 and below 1"):
        TemperingSampler(beta_min=beta_min)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("chains", 0, 1), ("temperatures", 1, 2), ("sweeps", 0, 1)],
)
def test_too_few_of_anything_are_refused(name, value, least):
    sentence = f"{name} is a whole number of at least {least}, not {value}"
    with pytest.raises(ValueError, match=sentence):
        TemperingSampler(**{name: value})


def test_replicas_refuse_a_second_machine_by_the_samplers_name():
    sampler = TemperingSampler(5, 2)
    sampler.sample(random_machine("rbm"), 3)
    with pytest.raises(ValueError, match="use one TemperingSampler a machine"):
        sampler.sample(random_machine("rbm"), 3)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (GibbsSampler(6), "none of a TemperingSampler: it holds chains, gen"),
        (TemperingSampler(2, 3), "ladder of 3 rungs .*, this sampler has 2"),
        (TemperingSampler(2, 2, 0.5), "down to beta 0.5, .* 2 down to 0.1"),
    ],
)
def test_other_states_are_refused_and_change_nothing(other, said):
    machine, sampler = random_machine("rbm"), TemperingSampler(3, 2)
    sampler.sample(machine, 3)
    other.sample(random_machine("rbm"), 3)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=said):
        sampler.load_state_dict(other.state_dict())
    after = sampler.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    sampler.sample(machine, 3)


def test_numbers_of_numpy_will_do():
    sampler = TemperingSampler(
        np.int64(3), np.int64(2), np.float32(0.5), np.int64(2)
    )
    assert sampler.sample(random_machine("rbm"), 3).shape == (3, 8)


SAMPLERS = [lambda: GibbsSampler(6), lambda: TemperingSampler(6, 3)]


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize(
    "generator",
    [
        torch.Generator().get_state(),  # of another kind of sampler
        torch.zeros(4),
        torch.zeros(3, dtype=torch.int64),
    ],
    ids=lambda state: f"{state.dtype} {len(state)}",
)
def test_random_states_of_another_kind_change_nothing(make, generator):
    machine, sampler = random_machine("rbm"), make()
    sampler.sample(machine, 6)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=r"damaged or of.*new_chains=True"):
        sampler.load_state_dict(before | {"generator": generator})
    after = sampler.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("make", SAMPLERS)
def test_chains_that_are_no_bits_are_refused(make):
    sampler = make()
    sampler.sample(random_machine("rbm"), 6)
    state = sampler.state_dict()
    state["chains"] = 2 * state["chains"] - 1
    with pytest.raises(ValueError, match="a state holds bits, 0 or 1"):
        sampler.load_state_dict(state)


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        copy.copy,
        lambda sampler: pickle.loads(pickle.dumps(sampler)),
    ],
)
def test_a_copy_goes_on_by_itself(make, copied):
    machine, sampler = random_machine("rbm"), make()
    sampler.sample(machine, 6)
    twin = copied(sampler)
    draws = [sampler.sample(machine, 6) for _ in range(2)]
    other = random_machine("rbm")
    assert all(torch.equal(twin.sample(other, 6), z) for z in draws)


@pytest.mark.parametrize("make", SAMPLERS)
def test_reset_begins_anew_with_any_machine(make):
    machine, sampler = random_machine("rbm"), make()
    first = sampler.sample(machine, 6)
    sampler.sample(machine, 6)
    sampler.reset()
    assert torch.equal(sampler.sample(random_machine("rbm"), 6), first)


def test_a_damaged_round_is_refused_before_anything_changes():
    sampler = TemperingSampler(3, 2)
    sampler.sample(random_machine("rbm"), 3)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match="round is one"):
        sampler.load_state_dict(before | {"round": torch.zeros(2)})
    after = sampler.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
