"""Log Z: exact where it can be, and a bracket that really holds it."""

import math
import types

import numpy as np
import pytest
import torch
from oracles import (
    KINDS,
    energies,
    listed,
    log_z,
    random_machine,
    randomise,
)

from qbmvae_mini.estimates import (
    ais,
    enumerable,
    exact_log_z,
    log_z_bracket,
    partition,
    reverse_ais,
)
from qbmvae_mini.machines import RBM, BoltzmannMachine, Machine
from qbmvae_mini.samplers import ExactSampler, GibbsSampler

# Exact


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_log_z_is_the_sum_over_states(kind, dtype):
    machine = random_machine(kind, dtype=dtype)
    assert exact_log_z(machine) == pytest.approx(log_z(machine), abs=1e-12)
    assert machine.bias.dtype == dtype  # the machine itself is left alone


@pytest.mark.parametrize(("n_left", "n_right"), [(2, 7), (7, 2), (4, 4)])
def test_exact_log_z_lists_the_smaller_layer(n_left, n_right, monkeypatch):
    listings = []
    states = partition.all_states
    monkeypatch.setattr(
        partition,
        "all_states",
        lambda n, *args: listings.append(n) or states(n, *args),
    )
    machine = randomise(RBM(n_left, n_right))
    assert exact_log_z(machine) == pytest.approx(log_z(machine), abs=1e-12)
    assert set(listings) == {min(n_left, n_right)}


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_exact_log_z_does_not_depend_on_the_pieces(chunk, monkeypatch):
    machine = random_machine("sparse")
    monkeypatch.setattr(partition, "CHUNK", chunk)
    assert exact_log_z(machine) == pytest.approx(log_z(machine), abs=1e-12)


def test_exact_log_z_of_more_states_than_one_piece():
    """Units without couplings: log Z = sum softplus(b) in closed form."""
    machine = randomise(BoltzmannMachine(18, [(0, 1)]), offset=2.0)
    machine.coupling.data.zero_()
    assert 2 * partition.CHUNK < 2**18
    bias = machine.bias.detach().double().numpy()
    expected = np.logaddexp(0, bias).sum() - 2.0
    assert exact_log_z(machine) == pytest.approx(expected, abs=1e-9)


def test_exact_log_z_survives_energies_of_a_thousand_nats():
    machine = randomise(RBM(3, 4), scale=400.0)
    expected = log_z(machine)
    assert expected > 1000
    assert exact_log_z(machine) == pytest.approx(expected, rel=1e-12)


def test_too_many_units_to_enumerate_end_in_a_sentence():
    assert enumerable(RBM(20, 200))
    assert enumerable(RBM(200, 20))
    assert not enumerable(RBM(25, 25))
    assert not enumerable(BoltzmannMachine(25))
    with pytest.raises(ValueError, match="25 units.*Use a sampler or AIS"):
        exact_log_z(BoltzmannMachine(25))


# Annealed importance sampling


@pytest.mark.parametrize("kind", KINDS)
def test_forward_and_reverse_walks_agree_with_the_sum(kind):
    machine = random_machine(kind)
    exact = log_z(machine)
    forward = ais(machine, chains=2000, temperatures=100)
    draws = ExactSampler().sample(machine, 2000)
    reverse = reverse_ais(machine, draws, temperatures=100)
    for estimate in (forward, reverse):
        assert 0 < estimate.standard_error < 0.05
        assert abs(estimate.value - exact) < 4 * estimate.standard_error


@pytest.mark.parametrize("temperatures", [1, 2, 4])
def test_walks_are_unbiased_for_z_and_so_biased_for_its_log(temperatures):
    """One chain and few steps; z-scores over 600 runs."""
    machine = random_machine("rbm", scale=1.2)
    exact, sampler = log_z(machine), ExactSampler()
    forward, reverse = [], []
    for seed in range(600):
        effort = {"temperatures": temperatures, "seed": seed}
        states = sampler.sample(machine, 1)
        forward.append(ais(machine, chains=1, **effort).value)
        reverse.append(reverse_ais(machine, states, **effort).value)
    for sign, found in ((1, forward), (-1, reverse)):
        gap = sign * (np.array(found) - exact)
        ratio = np.exp(gap)  # Z estimated over Z, or Z over Z estimated
        one_run = 1 / math.sqrt(len(gap))
        assert abs(ratio.mean() - 1) < 4 * ratio.std() * one_run
        # Jensen: forwards too low, backwards too high.
        assert gap.mean() < -2 * gap.std() * one_run


def test_the_standard_error_is_that_of_repeated_runs():
    machine = random_machine("dense", scale=0.6)
    runs = [ais(machine, chains=200, temperatures=5, seed=s) for s in range(80)]
    spread = np.std([run.value for run in runs])
    claimed = np.mean([run.standard_error for run in runs])
    assert 0.75 < claimed / spread < 1.3


def test_a_walk_from_the_wrong_states_is_found_out():
    """Reverse walks from coin flips are no estimate of log Z."""
    machine = random_machine("rbm", scale=1.5)
    coins = torch.rand(2000, 8, generator=torch.Generator().manual_seed(0))
    estimate = reverse_ais(machine, coins.round(), temperatures=100)
    assert abs(estimate.value - log_z(machine)) > 4 * estimate.standard_error


def test_the_same_seed_gives_the_same_bracket_and_spares_global_randomness():
    machine = random_machine("rbm")
    state = torch.get_rng_state()
    effort = {"chains": 20, "temperatures": 10}
    one, same, other = (
        log_z_bracket(machine, seed=seed, **effort) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["chains", "temperatures"])
def test_no_chains_or_temperatures_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is a whole number .* not 0"):
        ais(random_machine("rbm"), **{name: 0})


def test_nan_weights_are_refused():
    machine = random_machine("rbm")
    machine.a.data[0] = math.nan
    for estimate in (exact_log_z, ais, log_z_bracket):
        with pytest.raises(ValueError, match="machine's a holds NaN"):
            estimate(machine)


@pytest.mark.parametrize(("now", "then"), [(0.0, 0.3), (0.9, 0.4), (1.0, 0.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_of_a_state_at_two_temperatures(kind, now, then):
    """By listing what is summed out: an RBM's right layer, else nothing."""
    machine = random_machine(kind, dtype=torch.float64)
    states = torch.from_numpy(listed(machine.n_units))
    E = torch.from_numpy(energies(machine))
    if kind == "rbm":  # the right layer counts fastest
        E = E.view(2**3, 2**5)
        expected = (-then * E).logsumexp(1) - (-now * E).logsumexp(1)
        expected = expected.repeat_interleave(2**5)
    else:
        expected = (now - then) * E
    found = machine.log_ratio(states, now, then).detach()
    torch.testing.assert_close(found, expected)


def test_the_weight_of_a_state_of_a_large_layer_in_one_step():
    """No product of many units' factors leaves single precision."""
    machine = randomise(RBM(3, 1300), scale=30.0)
    v = torch.tensor([1.0, 0.0, 1.0])
    z = torch.cat([v, torch.zeros(1300)])[None]
    field = (machine.c + v @ machine.W).detach().double()
    zero = 1300 * math.log(2)
    expected = torch.nn.functional.softplus(field).sum() - zero
    expected += machine.a.detach().double() @ v.double()
    expected -= machine.offset.double()
    for sign, ends in ((1, (0.0, 1.0)), (-1, (1.0, 0.0))):
        found = machine.log_ratio(z, *ends).item()
        assert found == pytest.approx(sign * expected.item(), rel=1e-5)


def test_a_path_is_weighed_like_its_states_one_by_one():
    for kind in KINDS:
        machine = random_machine(kind, dtype=torch.float64)
        path = torch.rand(4, 5, machine.n_units).round().double()
        betas = torch.linspace(0.2, 0.7, 5, dtype=torch.float64)
        rungs = betas[:, None, None]
        found = machine.log_ratio(path, rungs[:-1], rungs[1:]).detach()
        for step, z in enumerate(path):
            ends = betas[step : step + 2].tolist()
            alone = machine.log_ratio(z, *ends).detach()
            torch.testing.assert_close(found[step], alone)


def test_summing_a_layer_out_halves_the_variance_of_a_walk_at_least():
    machine = randomise(RBM(20, 20), scale=0.4)
    by_layer = ais(machine, chains=2000, temperatures=50).standard_error
    machine.log_ratio = types.MethodType(Machine.log_ratio, machine)
    whole = ais(machine, chains=2000, temperatures=50).standard_error
    assert by_layer < 0.71 * whole


def test_a_bracket_from_chains_holds_log_z_and_leaves_them_alone(machines):
    held = 0
    for machine, exact in machines:
        chains = GibbsSampler(chains=64, sweeps=200, seed=5)
        chains.sample(machine, 1)
        before = chains.state_dict()
        for seed in range(10):
            states = chains.kept_states()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(partition, "enumerable", lambda machine: False)
                bracket = log_z_bracket(
                    machine,
                    chains=250,
                    temperatures=400,
                    seed=10 * seed,
                    states=states,
                )
            assert torch.equal(states, before["chains"])
            held += bracket.lower <= exact <= bracket.upper
        after = chains.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)
    assert held >= 34


def test_a_bracket_from_the_wrong_mode_is_wide(monkeypatch):
    """The two walks disagree where the states are of the lighter mode."""
    monkeypatch.setattr(partition, "enumerable", lambda machine: False)
    machine = RBM(6, 6)
    with torch.no_grad():  # all off: 0 nats; all on: 12 nats above
        machine.W.fill_(4.0)
        machine.a.fill_(-13.0)
        machine.c.fill_(-13.0)
    bracket = log_z_bracket(
        machine, chains=100, temperatures=100, states=torch.ones(20, 12)
    )
    assert bracket.upper - bracket.lower > 5


def test_a_machine_too_large_to_list_is_bracketed_from_long_chains():
    machine = randomise(RBM(25, 22), scale=0.1)
    assert min(machine.n_left, machine.n_right) > 20
    bracket = log_z_bracket(machine, chains=200, temperatures=60)
    exact = exact_log_z(machine)
    assert bracket.lower <= exact <= bracket.upper
    assert bracket.lower <= bracket.value <= bracket.upper
    assert bracket.upper - bracket.lower < 0.2


# Coverage


def bars_and_stripes():
    rows = listed(4)
    images = [np.tile(rows, 4), np.repeat(rows, 4, axis=1)]
    return torch.from_numpy(np.unique(np.vstack(images), axis=0)).float()


def random_patterns():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(12, 16, generator=generator).round()


def trained(data, seed):
    """A 16 x 16 RBM after 1,500 steps of persistent contrastive divergence."""
    machine = RBM(16, 16, seed=seed)
    sampler = GibbsSampler(chains=100, sweeps=2, seed=seed)
    optimiser = torch.optim.SGD(machine.parameters(), lr=0.1)
    for _ in range(1500):
        v, _ = machine.split(sampler.sample(machine, 100))
        loss = machine.free_energy(data).mean() - machine.free_energy(v).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return machine


def log_z_16(machine):
    """Log Z by numpy over one layer, for machines too large for loops."""
    a, c, W = (
        p.detach().double().numpy() for p in (machine.a, machine.c, machine.W)
    )
    v = listed(16)
    return np.logaddexp.reduce(v @ a + np.logaddexp(0, c + v @ W).sum(1))


@pytest.fixture(scope="module")
def machines():
    found = []
    for data in (bars_and_stripes(), random_patterns()):
        for seed in (3, 4):
            machine = trained(data, seed)
            exact = log_z_16(machine)
            assert exact == pytest.approx(exact_log_z(machine), abs=1e-9)
            # Structured, or the test would be easy: far above coin flips.
            likelihood = -machine.free_energy(data).mean().item() - exact
            assert likelihood > -16 * math.log(2) + 4
            assert exact > 16 * 2 * math.log(2) + 5
            found.append((machine, exact))
    return found


def test_the_bracket_holds_log_z_of_trained_machines(machines):
    held = 0
    for machine, exact in machines:
        for seed in range(50):
            bracket = log_z_bracket(
                machine, chains=500, temperatures=600, seed=10 * seed
            )
            holds = bracket.lower <= exact <= bracket.upper
            held += holds and bracket.upper - bracket.lower < 0.2
    assert held >= 180


def test_a_mode_that_no_walk_meets_is_seen_by_reverse_walks_from_it_alone():
    """Where the bracket ends: all weights alike, so Z is a sum of 25 terms."""
    trap = RBM(60, 24)
    with torch.no_grad():
        trap.c.fill_(-58.0)
        trap.W.fill_(1.0)
    on = np.arange(25)  # hidden units that are on
    ways = [math.log(math.comb(24, k)) for k in on]
    exact = np.logaddexp.reduce(ways - 58.0 * on + 60 * np.logaddexp(0, on))
    bracket = log_z_bracket(trap, chains=200, temperatures=200)
    assert bracket.upper < exact - 8
    assert bracket.upper - bracket.lower < 1
    far = GibbsSampler(chains=200, sweeps=50)
    far.load_state_dict({"chains": torch.ones(200, 84)})
    reverse = reverse_ais(trap, far.sample(trap, 200), temperatures=200)
    assert reverse.value > exact


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda z: 2 * z - 1, "states: a state holds bits, 0 or 1"),
        (lambda z: z * math.nan, "states: a state holds bits, 0 or 1"),
        (lambda z: z[:, 1:], r"\(chains, 8\), one .* not \(5, 7\)"),
        (lambda z: z[0], r"\(chains, 8\), one .* not \(8,\)"),
        (lambda z: z[:0], r"one chain or more, not \(0, 8\)"),
    ],
)
def test_reverse_walks_start_from_bits_of_the_machine(spoil, said, monkeypatch):
    states, machine = spoil(torch.zeros(5, 8)), random_machine("rbm")
    with pytest.raises(ValueError, match=said):
        reverse_ais(machine, states)
    monkeypatch.setattr(partition, "ais", None)  # refused before any walk
    with pytest.raises(ValueError, match=said):
        log_z_bracket(machine, states=states)


def test_reverse_walks_take_states_of_any_type():
    machine = random_machine("rbm")
    states = torch.ones(5, 8)
    expected = reverse_ais(machine, states, temperatures=10)
    for given in (states.long(), states.double(), states.numpy()):
        assert reverse_ais(machine, given, temperatures=10) == expected


@pytest.mark.parametrize("seed", [None, "0", 0.5, -1])
def test_a_seed_is_a_whole_number(seed):
    for estimate in (ais, log_z_bracket):
        with pytest.raises(ValueError, match="seed is a whole number"):
            estimate(random_machine("rbm"), seed=seed)
