"""Samplers draw exp(-E)/Z; a slightly warmer or a parallel one is caught."""

import copy
import types

import dimod
import neal
import numpy as np
import pytest
import torch
from oracles import KINDS, judge, random_machine, randomise

from qbmvae_mini.machines import RBM, BoltzmannMachine, Conditional, graphs
from qbmvae_mini.samplers import (
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    TemperingSampler,
    random_bits,
    sweep,
)

DRAWS = 100_000
SWEEPS = 40  # of the machines here, far beyond their mixing time


def exact(machine):
    return ExactSampler(seed=3).sample(machine, DRAWS)


def fresh_gibbs(machine):
    sampler = GibbsSampler(sweeps=SWEEPS, persistent=False, seed=4)
    return sampler.sample(machine, DRAWS)


def persistent_gibbs(machine):
    """Four draws from each chain, far apart, after as long a burn-in."""
    sampler = GibbsSampler(chains=DRAWS // 4, sweeps=SWEEPS, seed=5)
    sampler.sample(machine, 1)
    return sampler.sample(machine, DRAWS)


def fresh_tempering(machine):
    sampler = TemperingSampler(
        temperatures=3, beta_min=0.3, sweeps=20, persistent=False, seed=4
    )
    return sampler.sample(machine, DRAWS)


def neal_at(beta):
    child = neal.SimulatedAnnealingSampler()
    hot = {} if beta == 1 else {"beta_range": (beta, beta)}
    return DimodSampler(child, seed=6, **hot)


def simulated_annealing(machine):
    return neal_at(1).sample(machine, DRAWS)


SAMPLERS = [
    exact,
    fresh_gibbs,
    persistent_gibbs,
    fresh_tempering,
    simulated_annealing,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", SAMPLERS)
def test_draws_follow_the_law(draw, kind):
    machine = random_machine(kind)
    verdict = judge(draw(machine), machine)
    assert verdict.accepted, verdict


@torch.no_grad()
def warmed(machine, beta=0.9):
    for parameter in machine.parameters():
        parameter *= beta
    return machine


def all_at_once(machine):
    """The same machine, whose units all look at the old state."""
    W = torch.zeros(machine.n_units, machine.n_units)
    W[tuple(machine.edges)] = machine.coupling.detach()
    everything = slice(None)
    step = Conditional(everything, everything, W + W.T, machine.bias.detach())
    machine.conditionals = types.MethodType(lambda self: [step], machine)
    return machine


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "draw", [exact, fresh_gibbs, persistent_gibbs, fresh_tempering]
)
def test_the_same_check_rejects_beta_of_nine_tenths(draw, kind):
    draws = draw(warmed(random_machine(kind)))
    assert not judge(draws, random_machine(kind)).accepted


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_check_rejects_annealing_at_beta_of_nine_tenths(kind):
    machine = random_machine(kind)
    draws = neal_at(0.9).sample(machine, DRAWS)
    assert not judge(draws, machine).accepted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", [fresh_gibbs, persistent_gibbs])
def test_the_same_check_rejects_simultaneous_updates(draw, kind):
    draws = draw(all_at_once(random_machine(kind)))
    assert not judge(draws, random_machine(kind)).accepted


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_check_rejects_a_tenth_of_a_nat_on_one_bias(kind):
    machine, shifted = random_machine(kind), random_machine(kind)
    next(shifted.parameters()).data.view(-1)[0] += 0.1
    assert not judge(exact(shifted), machine).accepted


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_at_beta_keeps_the_law_at_beta(kind):
    machine = random_machine(kind)
    generator = torch.Generator().manual_seed(7)
    z = random_bits(DRAWS, machine.n_units, generator=generator)
    assert sweep(machine, z, 0.5, sweeps=15, generator=generator) is z
    verdict = judge(z, machine, beta=0.5)
    assert verdict.accepted, verdict
    assert not judge(z, machine).accepted


@pytest.mark.parametrize("groups", [(1, 32), (8, 3), (8, 32)], ids=str)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_one_sweep_leaves_exact_draws_exact(kind, groups, monkeypatch):
    """Invariance itself, without help from mixing, however units group."""
    monkeypatch.setattr(graphs, "AT_ONCE", groups[0])
    monkeypatch.setattr(graphs, "IN_TURN", groups[1])
    machine = random_machine(kind, scale=2.0)
    generator = torch.Generator().manual_seed(8)
    z = sweep(machine, exact(machine), generator=generator)
    verdict = judge(z, machine)
    assert verdict.accepted, verdict


@pytest.mark.parametrize("kind", KINDS)
def test_each_chain_may_have_a_temperature_of_its_own(kind):
    machine = random_machine(kind)
    beta = torch.tensor([0.0, 0.5, 1.0]).repeat(DRAWS)[:, None]
    generator = torch.Generator().manual_seed(8)
    z = random_bits(3 * DRAWS, machine.n_units, generator=generator)
    sweep(machine, z, beta, sweeps=15, generator=generator)
    for start, chosen in enumerate((0.0, 0.5, 1.0)):
        verdict = judge(z[start::3], machine, beta=chosen)
        assert verdict.accepted, (chosen, verdict)


def test_random_bits_are_fair():
    generator = torch.Generator().manual_seed(9)
    z = random_bits(DRAWS, 6, generator=generator)
    flat = randomise(BoltzmannMachine(6), scale=0.0)
    assert judge(z, flat).accepted


@pytest.mark.parametrize(("n_left", "n_right"), [(2, 6), (6, 2)])
def test_exact_draws_list_either_layer_of_an_rbm(n_left, n_right):
    machine = randomise(RBM(n_left, n_right))
    verdict = judge(exact(machine), machine)
    assert verdict.accepted, verdict


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sampler",
    [
        ExactSampler(),
        GibbsSampler(persistent=False),
        TemperingSampler(persistent=False),
        neal_at(1),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_draws_have_the_machines_precision_and_no_gradient(sampler, dtype):
    z = sampler.sample(random_machine("rbm", dtype=dtype), 7)
    assert z.shape == (7, 8)
    assert z.dtype == dtype
    assert not z.requires_grad


# Exact sampling of larger machines


def test_exact_draws_need_only_the_smaller_layer_listed():
    assert ExactSampler().sample(RBM(3, 40), 5).shape == (5, 43)


@pytest.mark.parametrize("machine", [RBM(21, 30), BoltzmannMachine(21)])
def test_too_many_units_for_listing_end_in_a_sentence(machine):
    sentence = r"exact sampling would list 2\^21 states; the limit is 20"
    with pytest.raises(ValueError, match=sentence):
        ExactSampler().sample(machine, 1)


def test_exact_mean_energy_needs_only_the_smaller_layer_listed():
    machine = randomise(RBM(3, 30, seed=2), scale=0.3)
    draws = exact(machine)
    with torch.no_grad():
        energy = machine.energy(draws)
        error = energy.std() / len(energy) ** 0.5
        gap = ExactSampler().mean_energy(machine) - energy.mean()
    assert abs(gap) < 4 * error


# Persistent chains


def test_persistent_chains_remember_and_fresh_ones_do_not():
    machine = RBM(1, 1)  # 00 and 11, with hardly a way between them
    with torch.no_grad():
        machine.a.fill_(-10)
        machine.c.fill_(-10)
        machine.W.fill_(20)
    for persistent, agreement in ((True, 1.0), (False, 0.5)):
        sampler = GibbsSampler(2000, sweeps=1, persistent=persistent)
        first, second = (sampler.sample(machine, 2000) for _ in range(2))
        same = (first[:, 0] == second[:, 0]).double().mean()
        assert abs(same - agreement) < 0.05


def test_more_draws_than_chains_come_from_more_sweeps():
    machine = random_machine("rbm")
    sampler, other = GibbsSampler(chains=40), GibbsSampler(chains=40)
    together = sampler.sample(machine, 100)
    apart = torch.cat([other.sample(machine, 40) for _ in range(3)])
    assert torch.equal(together, apart[:100])


def test_draws_are_copies_of_the_chains():
    machine, sampler = random_machine("rbm"), GibbsSampler(chains=8)
    z = sampler.sample(machine, 8)
    before = sampler.state_dict()["chains"].clone()
    z.fill_(5)
    assert torch.equal(sampler.state_dict()["chains"], before)


def test_persistent_chains_refuse_a_second_machine():
    sampler, machine = GibbsSampler(), random_machine("rbm")
    sampler.sample(machine, 3)
    with pytest.raises(ValueError, match="belong to another machine"):
        sampler.sample(random_machine("rbm"), 3)
    sampler.sample(machine, 3)  # and stay usable


def test_fresh_chains_serve_any_machine():
    sampler = GibbsSampler(persistent=False)
    assert sampler.sample(random_machine("rbm"), 3).shape == (3, 8)
    assert sampler.sample(random_machine("dense"), 3).shape == (3, 6)


def test_restored_chains_refuse_a_machine_of_another_size():
    sampler = GibbsSampler()
    sampler.sample(random_machine("rbm"), 3)
    other = GibbsSampler()
    other.load_state_dict(sampler.state_dict())
    with pytest.raises(ValueError, match="have 8 units, the machine has 6"):
        other.sample(random_machine("dense"), 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GibbsSampler(chains=30, sweeps=2),
        lambda: GibbsSampler(persistent=False, sweeps=2),
        lambda: TemperingSampler(30, 3, sweeps=1),
        ExactSampler,
        lambda: neal_at(1),
    ],
    ids=["persistent", "fresh", "tempering", "exact", "dimod"],
)
def test_a_restored_sampler_continues_with_the_same_draws(make):
    machine = random_machine("rbm")
    one, other = make(), make()
    beginning = one.sample(machine, 50)
    state = one.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    goes_on = [one.sample(machine, 50) for _ in range(2)]
    other.sample(machine, 20)  # its own past is overwritten
    other.load_state_dict(state)
    for expected in goes_on:
        assert torch.equal(other.sample(machine, 50), expected)
    assert not torch.equal(beginning, goes_on[0])


@pytest.mark.parametrize("name", ["chains", "sweeps"])
def test_no_chains_or_sweeps_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is a whole number .* not 0"):
        GibbsSampler(**{name: 0})


@pytest.mark.parametrize(
    "sampler",
    [ExactSampler(), GibbsSampler(), TemperingSampler(), neal_at(1)],
    ids=lambda sampler: type(sampler).__name__,
)
def test_nan_weights_stop_every_sampler(sampler):
    machine = random_machine("rbm")
    machine.W.data[1, 1] = np.nan
    with pytest.raises(ValueError, match="machine's W holds NaN"):
        sampler.sample(machine, 3)


def test_nan_weights_stop_the_exact_negative_phase():
    machine = random_machine("rbm")
    machine.W.data[1, 1] = np.nan
    with pytest.raises(ValueError, match="machine's W holds NaN"):
        ExactSampler().mean_energy(machine)


# dimod children


class Child(dimod.Sampler):
    """Answers with what the test prepared, and notes what it was asked."""

    parameters = {"num_reads": [], "seed": []}  # noqa: RUF012
    properties = {}  # noqa: RUF012

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def sample(self, bqm, **kwargs):
        self.asked.append(kwargs)
        return self.answer


def answer(states, variables, vartype="BINARY", **vectors):
    samples = (np.array(states, dtype=np.int8), variables)
    vectors.setdefault("energy", np.zeros(len(states)))
    return dimod.SampleSet.from_samples(samples, vartype, **vectors)


def test_a_childs_columns_counts_and_spins_become_bits_in_unit_order():
    spins = [[-1, 1, 1], [1, -1, -1]]
    child = Child(answer(spins, [2, 0, 1], "SPIN", num_occurrences=[2, 1]))
    z = DimodSampler(child).sample(BoltzmannMachine(3), 3)
    assert z.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_a_child_without_some_variables_is_refused():
    child = Child(answer([[0, 1]] * 5, [0, 3]))
    with pytest.raises(ValueError, match="no value for 2 of 4 var.*first is 1"):
        DimodSampler(child).sample(BoltzmannMachine(4), 5)


def test_a_child_with_too_few_reads_is_refused():
    child = Child(answer([[0, 1]] * 5, [0, 1]))
    with pytest.raises(ValueError, match="Child returned 5 of 6 reads"):
        DimodSampler(child).sample(BoltzmannMachine(2), 6)


def test_every_call_has_its_own_seed_unless_one_is_given():
    machine = BoltzmannMachine(2)
    child = Child(answer([[0, 1]], [0, 1]))
    for _ in range(3):
        assert len(DimodSampler(child, seed=12).sample(machine, 1)) == 1
    assert child.asked == [child.asked[0]] * 3
    sampler = DimodSampler(child)
    del child.asked[:]
    for _ in range(3):
        sampler.sample(machine, 1)
    assert len({kwargs["seed"] for kwargs in child.asked}) == 3
    DimodSampler(child, seed=1).sample(machine, 1)
    assert child.asked[-1] not in child.asked[:-1]


def test_a_misspelt_keyword_is_refused_before_any_call():
    child = neal.SimulatedAnnealingSampler()
    sentence = "has no parameter 'num_sweep'; it takes .*num_sweeps"
    with pytest.raises(TypeError, match=sentence):
        DimodSampler(child, num_sweep=10)


def test_neal_is_told_to_sample_and_not_to_optimise():
    machine = randomise(BoltzmannMachine(4), scale=0.0, offset=0.0)
    z = neal_at(1).sample(machine, 2000)
    assert abs(z.mean() - 0.5) < 0.05
    assert neal_at(1).kwargs["beta_range"] == (1, 1)
    assert neal_at(0.5).kwargs["beta_range"] == (0.5, 0.5)


def test_what_is_no_sampler_or_takes_no_reads_is_refused():
    with pytest.raises(TypeError, match="child is a dimod.Sampler, not str"):
        DimodSampler("neal")
    with pytest.raises(TypeError, match="ExactSolver takes no num_reads"):
        DimodSampler(dimod.ExactSolver())


def test_more_reads_than_asked_for_are_not_cut_off_at_the_best():
    """Annealers sort by energy: the first reads would be the lowest."""

    class Sorted(Child):
        def sample(self, bqm, **kwargs):
            kwargs["num_reads"] *= 10
            child = neal.SimulatedAnnealingSampler()
            found = child.sample(
                bqm, beta_range=(1, 1), num_sweeps=50, **kwargs
            )
            order = np.argsort(found.record.energy)
            return dimod.SampleSet(
                found.record[order], found.variables, {}, found.vartype
            )

    machine = randomise(RBM(3, 3))
    draws = DimodSampler(Sorted(lambda: None)).sample(machine, 400)
    energy = machine.energy(draws).detach()
    exact = ExactSampler().mean_energy(machine).item()
    error = energy.std().item() / 400**0.5
    assert abs(energy.mean().item() - exact) < 4 * error


def test_new_chains_burn_in_before_their_first_draw():
    machine = RBM(8, 8)
    torch.nn.init.normal_(machine.W, std=2.0)
    exact = ExactSampler().mean_energy(machine).item()
    draws = GibbsSampler(chains=2000, sweeps=1).sample(machine, 2000)
    energy = machine.energy(draws).detach()
    fresh = GibbsSampler(sweeps=1, persistent=False).sample(machine, 2000)
    near = abs(energy.mean().item() - exact)
    assert near < 0.5 * abs(machine.energy(fresh).mean().item() - exact)


def test_a_deep_copy_has_chains_of_its_own():
    machine = randomise(RBM(3, 3))
    sampler = GibbsSampler(chains=8)
    sampler.sample(machine, 8)
    twin, same_machine = copy.deepcopy(sampler), copy.deepcopy(machine)
    draws = twin.sample(same_machine, 8)
    assert torch.equal(draws, sampler.sample(machine, 8))
    assert not torch.equal(twin.sample(same_machine, 8), draws)


@pytest.mark.parametrize("n", [0, 2.5])
def test_a_number_of_draws_that_is_none_is_refused(n):
    machine = RBM(2, 2)
    annealer = DimodSampler(neal.SimulatedAnnealingSampler())
    for sampler in (GibbsSampler(), ExactSampler(), annealer):
        with pytest.raises(ValueError, match=f"n is a whole number .* not {n}"):
            sampler.sample(machine, n)


# What a sampler refuses, and what it then leaves as it was


CHAINS = [lambda: GibbsSampler(6), lambda: TemperingSampler(6, 3)]


@pytest.mark.parametrize("make", CHAINS)
def test_chains_go_on_after_inference_mode(make):
    machine, (one, other) = random_machine("rbm"), (make(), make())
    with torch.inference_mode():
        first = one.sample(machine, 6)
    assert torch.equal(first, other.sample(machine, 6))
    second = one.sample(machine, 6)
    assert torch.equal(second, other.sample(machine, 6))
    machine.energy(second).mean().backward()


@pytest.mark.parametrize("make", CHAINS)
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"calls": torch.tensor(1)}, "holds calls"),
        ({"generator": None}, "generator of this state is a tensor, not None"),
        ({"chains": [[0.0]]}, "chains of this state is a tensor, not list"),
        ({"chains": torch.zeros(0, 8)}, r"not of shape \(0, 8\)"),
        ({"chains": torch.zeros(8)}, r"not of shape \(8,\)"),
        ({"chains": torch.zeros(2, 3, 8)}, r"not of shape \(2, 3, 8\)"),
    ],
)
def test_states_that_are_no_chains_are_refused(make, bad, said):
    machine, sampler = random_machine("rbm"), make()
    sampler.sample(machine, 3)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=said):
        sampler.load_state_dict(before | bad)
    after = sampler.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert sampler.chains == 6
    sampler.sample(machine, 3)


def test_gibbs_chains_are_no_hot_replicas():
    hot, sampler = TemperingSampler(2, 3), GibbsSampler(6)
    hot.sample(random_machine("rbm"), 2)
    with pytest.raises(ValueError, match="none of a GibbsSampler: it holds be"):
        sampler.load_state_dict(hot.state_dict())


def test_rows_that_fill_no_ladder_are_refused():
    sampler = TemperingSampler(2, 3)
    state = sampler.state_dict() | {"chains": torch.zeros(7, 8)}
    with pytest.raises(ValueError, match=r"of 3 rows each .* shape \(7, 8\)"):
        sampler.load_state_dict(state)


def test_the_random_state_of_another_device_starts_anew():
    """As a state of a GPU that a file brings to a CPU: 16 bytes, not 5056."""
    machine, sampler = random_machine("rbm"), GibbsSampler(6, seed=3)
    sampler.sample(machine, 6)
    state = sampler.state_dict()
    state["generator"] = torch.zeros(16, dtype=torch.uint8)
    sampler.load_state_dict(state)
    assert torch.equal(sampler.state_dict()["generator"], state["generator"])
    assert torch.equal(sampler.state_dict()["chains"], state["chains"])
    again = GibbsSampler(6, seed=3)
    again.load_state_dict({"chains": state["chains"]})
    assert torch.equal(sampler.sample(machine, 6), again.sample(machine, 6))


@pytest.mark.parametrize("make", [ExactSampler, lambda: neal_at(1)])
def test_the_state_of_another_sampler_is_refused(make):
    with pytest.raises(ValueError, match="this state is none of a.* holds foo"):
        make().load_state_dict({"foo": torch.zeros(1)})


@pytest.mark.parametrize("seed", [None, "0", 0.5, True, -1, 2**64])
@pytest.mark.parametrize(
    "make",
    [
        GibbsSampler,
        TemperingSampler,
        ExactSampler,
        lambda seed: DimodSampler(neal.SimulatedAnnealingSampler(), seed=seed),
        lambda seed: RBM(2, 2, seed=seed),
        lambda seed: BoltzmannMachine(2, seed=seed),
    ],
)
def test_a_seed_is_a_whole_number(make, seed):
    with pytest.raises(ValueError, match="seed is (a whole number|at most 2)"):
        make(seed=seed)


def test_a_seed_may_come_from_numpy():
    machine = random_machine("rbm")
    one, other = GibbsSampler(6, seed=np.int64(3)), GibbsSampler(6, seed=3)
    assert torch.equal(one.sample(machine, 6), other.sample(machine, 6))


@pytest.mark.parametrize("name", ["chains", "sweeps"])
def test_true_is_no_number(name):
    with pytest.raises(ValueError, match=f"{name} is a whole number .* True"):
        GibbsSampler(**{name: True})


def test_the_number_of_reads_belongs_to_sample():
    child = neal.SimulatedAnnealingSampler()
    with pytest.raises(TypeError, match="num_reads is the n of sample"):
        DimodSampler(child, num_reads=5)


def test_a_call_that_a_child_refuses_uses_up_no_seed():
    machine = BoltzmannMachine(2)
    sampler = DimodSampler(Child(answer([[0, 1]], [0, 1])))
    with pytest.raises(ValueError, match="1 of 2 reads"):
        sampler.sample(machine, 2)
    assert sampler.state_dict()["calls"] == 0
    sampler.sample(machine, 1)
    assert sampler.state_dict()["calls"] == 1
    assert sampler.child.asked[0]["seed"] == sampler.child.asked[1]["seed"]
