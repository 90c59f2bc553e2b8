"""Samplers draw exp(-E)/Z; a slightly warmer or a parallel one is caught."""

import copy
import json
import threading
import types

import dimod
import neal
import numpy as np
import pytest
import torch
from oracles import KINDS, judge, random_machine, randomise

from qbmvae_mini.estimates import check_sampler
from qbmvae_mini.machines import (
    RBM,
    BoltzmannMachine,
    Conditional,
    QuantumBoltzmannMachine,
    all_states,
    graphs,
)
from qbmvae_mini.samplers import (
    CoherentIsingMachine,
    ContrastiveDivergence,
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    PathIntegralSampler,
    Sampler,
    TemperingSampler,
    random_bits,
    sweep,
)

DRAWS = 100_000
SWEEPS = 40  # of the machines here, far beyond their mixing time


def neal_at(beta, seed=6):
    child = neal.SimulatedAnnealingSampler()
    hot = {} if beta == 1 else {"beta_range": (beta, beta)}
    return DimodSampler(child, seed=seed, **hot)


#: Every sampler that follows exp(-E) / Z or the law of a quantum machine. A
#: new one is entered here, once.
SAMPLERS = {
    "exact": lambda: ExactSampler(seed=3),
    "fresh Gibbs": lambda: GibbsSampler(
        sweeps=SWEEPS, persistent=False, seed=4
    ),
    # Fifty draws from each chain, far apart, after a burn-in.
    "persistent Gibbs": lambda: GibbsSampler(DRAWS // 50, SWEEPS, seed=5),
    "fresh tempering": lambda: TemperingSampler(
        temperatures=3, beta_min=0.3, sweeps=20, persistent=False, seed=4
    ),
    "persistent tempering": lambda: TemperingSampler(
        DRAWS // 50, 3, beta_min=0.3, sweeps=20, seed=4
    ),
    "annealing at beta 1": lambda: neal_at(1),
    "path integral": lambda: PathIntegralSampler(12, seed=1),
}
QUANTUM = {"path integral"}
CLASSICAL = [name for name in SAMPLERS if name not in QUANTUM]


def machine_for(name, kind, **options):
    """A machine of few units that the sampler of that name takes."""
    machine = random_machine(kind, **options)
    return QuantumBoltzmannMachine(machine, 1.0) if name in QUANTUM else machine


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_keeps_every_promise(name, kind):
    check_sampler(SAMPLERS[name](), machine_for(name, kind), draws=DRAWS)


def exact(machine):
    return SAMPLERS["exact"]().sample(machine, DRAWS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CLASSICAL)
def test_draws_follow_the_law_by_the_oracle(name, kind):
    machine = random_machine(kind)
    verdict = judge(SAMPLERS[name]().sample(machine, DRAWS), machine)
    assert verdict.accepted, verdict


@torch.no_grad()
def warmed(machine, beta=0.9):
    for parameter in machine.parameters():
        parameter *= beta
    return machine


def all_at_once(machine):
    """The same machine, whose units all look at the old state."""
    W = torch.zeros(machine.n_units, machine.n_units).to(machine.bias)
    W[tuple(machine.edges)] = machine.coupling.detach()
    everything = slice(None)
    step = Conditional(everything, everything, W + W.T, machine.bias.detach())
    machine.conditionals = types.MethodType(lambda self: [step], machine)
    return machine


class OfAnotherMachine(Sampler):
    """A sampler that keeps its promises, for a machine that was changed."""

    def __init__(self, name, change):
        self.name, self.change = name, change
        self.inner = SAMPLERS[name]()
        self.changed = None  # persistent chains know their machine

    def sample(self, machine, n):
        if self.changed is None:
            self.changed = self.change(copy.deepcopy(machine))
        return self.inner.sample(self.changed, n)

    def settings(self):
        return self.inner.settings()

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)

    def reset(self):
        self.inner.reset()
        self.changed = None

    def __deepcopy__(self, memo):
        twin = OfAnotherMachine(self.name, self.change)
        twin.inner = copy.deepcopy(self.inner)
        return twin


LAW = "do not follow the machine's law: "


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_check_rejects_beta_of_nine_tenths(name, kind):
    warm = OfAnotherMachine(name, warmed)
    with pytest.raises(AssertionError, match=LAW):
        check_sampler(warm, machine_for(name, kind), draws=DRAWS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_check_rejects_annealing_at_beta_of_nine_tenths(kind):
    with pytest.raises(AssertionError, match=LAW):
        check_sampler(neal_at(0.9), random_machine(kind), draws=DRAWS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fresh Gibbs", "persistent Gibbs"])
def test_the_same_check_rejects_simultaneous_updates(name, kind):
    at_once = OfAnotherMachine(name, all_at_once)
    with pytest.raises(AssertionError, match=LAW):
        check_sampler(at_once, random_machine(kind), draws=DRAWS)


@pytest.mark.parametrize("shift", [-0.1, 0.1])
def test_the_same_check_names_the_mean_that_is_off(shift):
    def shifted(machine):
        with torch.no_grad():
            machine.bias[2] += shift
        return machine

    biased = OfAnotherMachine("exact", shifted)
    with pytest.raises(AssertionError, match="mean of unit.* 2.* standard err"):
        check_sampler(biased, random_machine("dense"), draws=DRAWS)


def test_the_same_check_sees_three_units_that_agree_though_no_two_do():
    class Parity(Honest):
        def sample(self, machine, n):
            z = super().sample(machine, n)
            z[:, 2] = (z[:, 0] - z[:, 1]).abs()
            return z

    flat = randomise(BoltzmannMachine(3), scale=0.0)
    with pytest.raises(AssertionError, match="total variation is 0.[45]"):
        check_sampler(Parity(), flat)


def test_the_same_check_rejects_an_optimiser():
    with pytest.raises(AssertionError, match=LAW):
        check_sampler(DimodSampler(CoherentIsingMachine(), round_trips=50))


class Honest(Sampler):
    """Exact draws by the sampler's own random numbers."""

    def sample(self, machine, n):
        listed = all_states(machine.n_units).to(machine.offset)
        p = machine.law()
        picked = torch.multinomial(
            p, n, replacement=True, generator=self.generator
        )
        return listed[picked]


class Spins(Honest):
    def sample(self, machine, n):
        return 2 * super().sample(machine, n) - 1


class TooFew(Honest):
    def sample(self, machine, n):
        return super().sample(machine, n)[: max(1, n - 1)]


class OfNumPy(Honest):
    def sample(self, machine, n):
        return super().sample(machine, n).numpy()


class Single(Honest):
    def sample(self, machine, n):
        return super().sample(machine, n).float()


class WithGradient(Honest):
    def sample(self, machine, n):
        return super().sample(machine, n) + 0 * machine.bias


class Global(Honest):
    def sample(self, machine, n):
        return ExactSampler(int(torch.randint(2**30, ()))).sample(machine, n)


class Repeating(Honest):
    def sample(self, machine, n):
        return ExactSampler(5).sample(machine, n)


class NoReset(Honest):
    def reset(self):
        pass


class LiveState(Honest):
    """Gives out the very tensor that it counts in."""

    def __init__(self):
        self.calls = torch.zeros((), dtype=torch.int64)

    def sample(self, machine, n):
        self.calls += 1
        return ExactSampler(int(self.calls)).sample(machine, n)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]

    def reset(self):
        self.calls = torch.zeros((), dtype=torch.int64)


class TakesAll(Honest):
    def load_state_dict(self, state):
        if "generator" in state:
            super().load_state_dict(state)


class Spoiled(Honest):
    """Changes first and checks then."""

    def load_state_dict(self, state):
        self.reset()
        super().load_state_dict(state)


class SharedCopy(Honest):
    def __deepcopy__(self, memo):
        return self


class NoCopy(Honest):
    def __init__(self):
        self.lock = threading.Lock()


class Wordy(Honest):
    def settings(self):
        return {"pair": (1, 2)}


class NoJson(Honest):
    def settings(self):
        return {"like": torch.zeros(2)}


class Meddler(Honest):
    def sample(self, machine, n):
        z = super().sample(machine, n)
        with torch.no_grad():
            machine.bias[0] += 1e-4
        return z


class Backward(Honest):
    def mean_energy(self, machine, draws=None):
        found = super().mean_energy(machine, draws)
        return 2 * found.detach() - found


class Doubled(Honest):
    def mean_energy(self, machine, draws=None):
        return 2 * super().mean_energy(machine, draws)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Spins, "hold bits, 0 and 1, and these hold"),
        (TooFew, r"sample\(machine, 7\) returns a tensor of shape"),
        (OfNumPy, "not a ndarray"),
        (Single, "have its precision and no gradient"),
        (WithGradient, "have its precision and no gradient"),
        (Global, "after load_state_dict"),
        (Repeating, "two calls give the same draws"),
        (NoReset, r"after reset\(\) other draws come"),
        (LiveState, "after load_state_dict"),
        (TakesAll, "takes the state of another kind"),
        (Spoiled, "refused has changed the sampler"),
        (SharedCopy, "a copy and the sampler do not go on"),
        (NoCopy, "deepcopy of the sampler fails"),
        (Wordy, "JSON gives"),
        (NoJson, "not fit for JSON"),
        (Meddler, "sampling changes the machine's bias"),
        (Backward, "the gradient of mean_energy is not"),
        (Doubled, "mean_energy is a scalar near"),
    ],
)
def test_every_broken_promise_is_named(broken, said):
    with pytest.raises(AssertionError, match=said):
        check_sampler(broken())


def test_a_sampler_of_one_method_keeps_every_promise():
    sampler = Honest()
    before = sampler.state_dict()["generator"]
    check_sampler(sampler)
    assert torch.equal(sampler.state_dict()["generator"], before)


def test_what_cannot_be_checked_ends_in_a_sentence():
    with pytest.raises(TypeError, match="sampler is an object of a class"):
        check_sampler(ExactSampler)
    with pytest.raises(TypeError, match="check_sampler wants a machine"):
        check_sampler(ExactSampler(), 3)
    with pytest.raises(ValueError, match="law of 9 units is too long"):
        check_sampler(ExactSampler(), RBM(4, 5))
    with pytest.raises(ValueError, match="draws is a whole number"):
        check_sampler(ExactSampler(), draws=0)


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


@pytest.mark.parametrize("kind", [GibbsSampler, TemperingSampler])
def test_chains_are_kept_or_not(kind):
    assert kind(persistent=np.True_).settings()["persistent"] is True
    with pytest.raises(TypeError, match="^persistent is True or False, not"):
        kind(persistent="no")


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


# Children that misbehave, or hold what cannot be copied


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "Child returned a NoneType, not a dimod.SampleSet"),
        ([[0, 1]], "Child returned a list, not a dimod.SampleSet"),
        (answer([[0, 1]] * 2, [0, 1], num_occurrences=[3, -1]), r"\[3, -1\]"),
        (
            answer([[0, 1]] * 2, [0, 1], num_occurrences=[2.0, np.nan]),
            r"num_occurrences of Child .* not \[2.0, nan\]",
        ),
        (
            answer([[0, 1]] * 2, [0, 1], num_occurrences=[2.0, np.inf]),
            "more than 64 bits hold",
        ),
        (answer([[0, 1]], [0, 1], num_occurrences=[2.5]), r"not \[2.5\]"),
        (
            answer([[0, 1]] * 4, [0, 1], num_occurrences=[2**62 - 1] * 4),
            "more than 64 bits hold",
        ),
        (answer([[0, 1]], [0, 1], num_occurrences=[0]), "returned 0 of 2"),
        (answer(np.zeros((0, 2)), [0, 1]), "returned 0 of 2 reads"),
    ],
    ids=str,
)
def test_answers_that_are_none_end_in_a_sentence(found, said):
    sampler = DimodSampler(Child(found))
    with pytest.raises((TypeError, ValueError), match=said):
        sampler.sample(BoltzmannMachine(2), 2)
    assert sampler.state_dict()["calls"] == 0


def test_a_read_of_a_thousand_million_is_not_spelled_out():
    child = Child(
        answer([[0, 1], [1, 0]], [0, 1], num_occurrences=[10**9, 3 * 10**9])
    )
    z = DimodSampler(child).sample(BoltzmannMachine(2), 4000)
    assert z.shape == (4000, 2)
    assert abs(z[:, 0].mean() - 0.75) < 0.04


def test_variables_that_the_machine_does_not_have_are_left_out():
    child = Child(answer([[1, 0, 1]], [7, 1, 0]))
    z = DimodSampler(child).sample(BoltzmannMachine(2), 1)
    assert z.tolist() == [[1, 0]]


class Connected(dimod.Sampler):
    """As a client of a service: a lock, and draws of another library."""

    parameters = {"num_reads": [], "seed": []}  # noqa: RUF012
    properties = {}  # noqa: RUF012

    def __init__(self):
        self.lock = threading.Lock()

    def sample(self, bqm, num_reads, seed):
        with self.lock:
            return neal.SimulatedAnnealingSampler().sample(
                bqm, **neal_at(1).kwargs, num_reads=num_reads, seed=seed
            )


def test_a_child_with_a_lock_is_shared_by_copies():
    sampler = DimodSampler(Connected())
    twin = copy.deepcopy(sampler)
    assert twin.child is sampler.child
    twin.sample(BoltzmannMachine(2), 1)
    assert sampler.state_dict()["calls"] == 0
    check_sampler(sampler)


def test_keywords_of_a_child_are_settings_fit_for_json():
    child = neal.SimulatedAnnealingSampler()
    start = np.float64(0.5)
    sampler = DimodSampler(child, seed=3, beta_range=(start, 1.0))
    settings = sampler.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["seed"] == 3
    assert settings["keywords"]["beta_range"] == [0.5, 1.0]
    other = DimodSampler(child, seed=3, beta_range=(0.6, 1.0))
    assert other.settings() != settings


def test_a_class_of_a_child_is_no_child():
    with pytest.raises(TypeError, match="class RandomSampler; make one first"):
        DimodSampler(dimod.RandomSampler)


# States that are restored


@pytest.mark.parametrize(
    ("make", "bad", "said"),
    [
        (ExactSampler, {"generator": None}, "is a tensor, not NoneType"),
        (ExactSampler, {"generator": torch.zeros(3)}, "no random state"),
        (
            ExactSampler,
            {"generator": torch.zeros(16, dtype=torch.uint8)},
            "no random state",
        ),
        (ExactSampler, {}, "holds nothing"),
        (ExactSampler, None, "holds NoneType"),
        (ContrastiveDivergence, {"generator": torch.zeros(3)}, "no random st"),
        (ContrastiveDivergence, {"calls": torch.tensor(1)}, "holds calls"),
        (lambda: neal_at(1), {"calls": torch.tensor(-1)}, "not -1"),
        (lambda: neal_at(1), {"calls": torch.tensor(1.5)}, "not 1.5"),
        (lambda: neal_at(1), {"calls": torch.zeros(2)}, "at least 0, not"),
        (lambda: neal_at(1), {"calls": 3}, "is a tensor, not int"),
        (PathIntegralSampler, {"calls": torch.tensor(np.nan)}, "not nan"),
    ],
)
def test_a_state_that_is_none_changes_nothing(make, bad, said):
    sampler = make()
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=said):
        sampler.load_state_dict(bad)
    after = sampler.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_contrastive_divergence_goes_on_from_its_state():
    machine, data = random_machine("rbm"), torch.ones(50, 3)
    one, other = ContrastiveDivergence(), ContrastiveDivergence()
    first = one.sample_from(machine, data)
    state = one.state_dict()
    second = one.sample_from(machine, data)
    assert not torch.equal(first, second)
    other.load_state_dict(state)
    assert torch.equal(other.sample_from(machine, data), second)
    other.reset()
    assert torch.equal(other.sample_from(machine, data), first)
    twin = copy.deepcopy(one)
    assert torch.equal(
        twin.sample_from(machine, data), one.sample_from(machine, data)
    )


@pytest.mark.parametrize("machine", [None, RBM, 3, "rbm"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_no_machine_is_not_sampled(name, machine):
    sampler = SAMPLERS[name]()
    for draw in (sampler.sample, sampler.draw):
        with pytest.raises(TypeError, match=" wants a machine, an object"):
            draw(machine, 3)


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
