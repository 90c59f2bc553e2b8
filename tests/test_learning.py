"""Learning rules have the gradient they claim, and learn what they can."""

import copy
import math

import dimod
import numpy as np
import pytest
import torch
from oracles import (
    KINDS,
    law,
    listed,
    listed_energy,
    log_z,
    pairs_of,
    random_machine,
    randomise,
    relative_error,
)
from scipy import sparse

from qbmvae_mini.estimates import Bracket, Estimate
from qbmvae_mini.learning import (
    bars_and_stripes,
    fit,
    log_likelihood,
    maximum_likelihood,
    negative_phase,
    positive_phase,
)
from qbmvae_mini.learning.averaging import SHARE
from qbmvae_mini.machines import (
    RBM,
    BoltzmannMachine,
    QuantumBoltzmannMachine,
    all_states,
)
from qbmvae_mini.samplers import (
    ContrastiveDivergence,
    ExactSampler,
    GibbsSampler,
    Sampler,
    TemperingSampler,
)

COPIES = 20_000


def some_data(machine, rows=7, seed=2):
    rng = np.random.default_rng(seed)
    bits = rng.random((rows, machine.n_visible)) < 0.4
    return torch.from_numpy(bits).to(next(machine.parameters()))


def machine_and_data(kind, scale=0.8):
    machine = random_machine(kind, dtype=torch.float64, scale=scale)
    return machine, some_data(machine)


def gradients(machine, loss):
    """One vector: all parameters, in their order."""
    found = torch.autograd.grad(loss, list(machine.parameters()))
    return torch.cat([g.flatten() for g in found])


def listed_visible(machine):
    """-log of the unnormalised p(v) of all v, differentiable, from oracles."""
    energy = listed_energy(machine).reshape(2**machine.n_visible, -1)
    return -energy.neg().logsumexp(1)


def place(states):
    """The number of each state in counting order."""
    return (np.asarray(states) @ 2 ** np.arange(states.shape[1])[::-1]).astype(
        int
    )


def likelihood_gradient(machine, data):
    """Gradient of the mean log-likelihood, through every state."""
    cost = listed_visible(machine)
    mean = -cost[place(data)].mean() - cost.neg().logsumexp(0)
    return gradients(machine, mean)


# --- the exact gradient -----------------------------------------------------


def exact_loss(machine, data, sign=-1):
    sampler = ExactSampler()
    negative = negative_phase(machine, sampler, data, 1)
    return positive_phase(machine, data) + sign * negative


@pytest.mark.parametrize("kind", KINDS)
def test_exact_gradient_is_that_of_the_likelihood(kind):
    machine, data = machine_and_data(kind)
    expected = -likelihood_gradient(machine, data)
    found = gradients(machine, exact_loss(machine, data))
    assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize("sign", [1, -0.5, -1.01])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_check_rejects_a_wrong_sign_or_factor(kind, sign):
    machine, data = machine_and_data(kind)
    expected = -likelihood_gradient(machine, data)
    found = gradients(machine, exact_loss(machine, data, sign))
    assert relative_error(found, expected) > 1e-3


def test_the_same_check_rejects_an_energy_of_hidden_means():
    """E at the hidden means has the value of neither F nor its gradient."""
    machine, data = machine_and_data("rbm")
    means = torch.sigmoid(machine.c + data @ machine.W)  # not held constant
    wrong = machine.energy(torch.cat([data, means], 1)).mean()
    negative = negative_phase(machine, ExactSampler(), data, 1)
    found = gradients(machine, wrong - negative)
    expected = -likelihood_gradient(machine, data)
    assert relative_error(found, expected) > 1e-3


# --- contrastive divergence -------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rbm_transition(machine):
    """p(next v | v) of one sweep, hidden first, by all (v, h, v')."""
    a, c, W = (p.detach().numpy() for p in (machine.a, machine.c, machine.W))
    v, h = listed(machine.n_left), listed(machine.n_right)
    on = sigmoid(c + v @ W)  # (v, hidden)
    to_h = np.where(h == 1, on[:, None], 1 - on[:, None]).prod(-1)
    on = sigmoid(a + h @ W.T)  # (h, visible)
    to_v = np.where(v == 1, on[:, None], 1 - on[:, None]).prod(-1)
    return to_h @ to_v


def dense_transition(machine):
    """p(next z | z) when units are redrawn one after the other."""
    n = machine.n_units
    p, states = law(machine), listed(n)
    step = np.eye(2**n)
    for unit in range(n):
        other = place(np.abs(states - np.eye(n)[unit]))  # this unit flipped
        redraw = np.zeros((2**n, 2**n))
        rows = np.arange(2**n)
        redraw[rows, other] = p[other] / (p + p[other])
        redraw[rows, rows] = p / (p + p[other])
        step = step @ redraw
    return step


TRANSITIONS = {"rbm": rbm_transition, "dense": dense_transition}


def start_at(data, n):
    """Share of each visible state among the data, (2^n,)."""
    return np.bincount(place(data), minlength=2**n) / len(data)


def each_gradient(machine):
    """Gradient of every visible state's cost, (2^n_visible, n_weights)."""
    cost = listed_visible(machine)
    rows = []
    for one in cost:
        found = torch.autograd.grad(
            one, list(machine.parameters()), retain_graph=True
        )
        rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows).numpy()


def law_of_cd(machine, kind, data, k):
    """Law of the visible units after k sweeps from the data."""
    q = start_at(data, machine.n_visible)
    return q @ np.linalg.matrix_power(TRANSITIONS[kind](machine), k)


def worst_z(found, q, each, draws):
    """How far a mean over `draws` of law q is off, in standard errors."""
    mean = q @ each
    sd = np.sqrt(q @ (each - mean) ** 2)
    return np.abs((found - mean) / sd * math.sqrt(draws)).max()


@pytest.mark.parametrize("kind", TRANSITIONS)
def test_transitions_keep_the_law(kind):
    """The oracle of contrastive divergence is a sampler of the machine."""
    machine = random_machine(kind, dtype=torch.float64)
    p = law(machine).reshape(2**machine.n_visible, -1).sum(1)
    assert p @ TRANSITIONS[kind](machine) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("kind", TRANSITIONS)
def test_cd_k_has_the_mean_of_k_sweeps_from_the_data(kind, k):
    machine, data = machine_and_data(kind, scale=1.6)  # mixes slowly
    many = data.repeat(COPIES, 1)
    sampler = ContrastiveDivergence(k, seed=5)
    found = gradients(machine, negative_phase(machine, sampler, many, 1))
    each = each_gradient(machine)
    draws = len(many)
    for sweeps in (1, 2, 200):  # the last one is the machine's own law
        q = law_of_cd(machine, kind, data, sweeps)
        z = worst_z(found.numpy(), q, each, draws)
        assert (z < 5) == (sweeps == k), (sweeps, z)


@pytest.mark.parametrize("kind", TRANSITIONS)
def test_bias_of_cd_shrinks_with_k(kind):
    machine, data = machine_and_data(kind)
    each = each_gradient(machine)
    exact = likelihood_gradient(machine, data).numpy()
    start = start_at(data, machine.n_visible) @ each
    error = []
    for k in (1, 2, 4, 8, 200):
        cd = law_of_cd(machine, kind, data, k) @ each - start
        error.append(relative_error(cd, exact))
    assert error[0] > 0.01
    assert all(b < a for a, b in zip(error[:-1], error[1:], strict=True))
    assert error[-1] < 1e-8


# --- chains -----------------------------------------------------------------


def law_of_visible(machine):
    return law(machine).reshape(2**machine.n_visible, -1).sum(1)


CHAINS = [
    GibbsSampler(sweeps=30, persistent=False, seed=6),
    TemperingSampler(
        temperatures=2, beta_min=0.5, sweeps=20, persistent=False, seed=6
    ),
]


@pytest.mark.parametrize("chains", CHAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_pcd_is_unbiased_at_equilibrium(kind, chains):
    machine, data = machine_and_data(kind)
    negative = negative_phase(machine, chains, data, 100_000)
    each, p = each_gradient(machine), law_of_visible(machine)
    found = gradients(machine, negative).numpy()
    assert worst_z(found, p, each, 100_000) < 5
    # The very same check sees the bias of a start at the data.
    many = data.repeat(15_000, 1)
    biased = negative_phase(machine, ContrastiveDivergence(), many, 1)
    found = gradients(machine, biased).numpy()
    assert worst_z(found, p, each, len(many)) > 5


def test_summing_hidden_units_out_removes_noise():
    machine, data = machine_and_data("rbm")
    exact = law_of_visible(machine) @ each_gradient(machine)
    sampler = ExactSampler(seed=7)
    drawn, summed = [], []
    for _ in range(200):
        z = sampler.sample(machine, 50)
        v = z[:, : machine.n_left]
        for kept, cost in [
            (drawn, machine.energy(z)),
            (summed, machine.visible_energy(v)),
        ]:
            kept.append(gradients(machine, cost.mean()).numpy() - exact)
    assert np.square(summed).sum() < 0.7 * np.square(drawn).sum()


class Draws(Sampler):
    """A sampler that notes what it is asked for."""

    def __init__(self, chains=None):
        if chains is not None:
            self.draws = chains
        self.asked = set()
        self.exact = ExactSampler()

    def sample(self, machine, n):
        self.asked.add(n)
        return self.exact.sample(machine, n)


@pytest.mark.parametrize(
    ("chains", "options", "asked"),
    [(None, {}, 256), (9, {}, 9), (9, {"draws": 4}, 4)],
)
def test_number_of_draws(chains, options, asked):
    machine, data = RBM(3, 2), torch.ones(5, 3)
    sampler = Draws(chains)
    quiet_fit(machine, data, sampler, epochs=1, batch_size=5, **options)
    assert sampler.asked == {asked}


# --- fit ---------------------------------------------------------------------


def quiet_fit(*args, **kwargs):
    return fit(*args, progress=False, **kwargs)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_exact_learning_matches_the_moments(kind):
    """Of a machine whose units are all visible: the maximum has no other."""
    machine = random_machine(kind, dtype=torch.float64, scale=0.1)
    rng = np.random.default_rng(3)
    data = torch.from_numpy(rng.random((40, machine.n_units)) < 0.5).double()
    quiet_fit(machine, data, ExactSampler(), epochs=400, batch_size=40, lr=0.8)
    p, states = law(machine), listed(machine.n_units)
    i, j = np.array(pairs_of(machine)).T
    for moment in (lambda z: z, lambda z: z[:, i] * z[:, j]):
        expected = moment(data.numpy()).mean(0)
        assert p @ moment(states) == pytest.approx(expected, abs=1e-3)


CEILING = -math.log(14)


@pytest.mark.parametrize(
    "sampler", [ExactSampler(), GibbsSampler(chains=64, sweeps=5)]
)
def test_bars_and_stripes_are_learned(sampler):
    pictures = bars_and_stripes(3)
    machine = RBM(9, 12, seed=1)
    options = {"epochs": 1000, "batch_size": 14, "lr": 1.0}
    quiet_fit(machine, pictures, sampler, **options)
    assert CEILING - 0.25 < log_likelihood(machine, pictures).mean() < CEILING


def weights(machine):
    return torch.cat([p.detach().flatten() for p in machine.parameters()])


def trained(seed=0, monitor=None, chains=8, **options):
    machine, data = RBM(4, 3), some_data(RBM(4, 3), rows=12)
    sampler = GibbsSampler(chains=chains, sweeps=1, seed=seed)
    history = quiet_fit(
        machine,
        data,
        sampler,
        epochs=5,
        batch_size=5,
        seed=seed,
        monitor=monitor,
        **options,
    )
    return weights(machine), history


def test_a_seed_repeats_a_run_and_torch_is_left_alone():
    before = torch.get_rng_state()
    first, again, other = trained()[0], trained()[0], trained(seed=1)[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_monitor_changes_nothing():
    def monitor(machine):
        with torch.no_grad():
            for parameter in machine.parameters():
                assert parameter.isfinite().all()
        GibbsSampler(chains=4).sample(machine, 4)
        torch.rand(3)
        return {"score": float(log_likelihood(machine, data).mean())}

    data = some_data(RBM(4, 3))
    watched, history = trained(monitor=monitor, every=2)
    assert torch.equal(watched, trained()[0])
    assert [row["epoch"] for row in history] == [0, 2, 4, 5]
    assert all(row["score"] < 0 for row in history)
    assert trained()[1] == []


def test_weights_are_averaged_as_documented():
    seen = []

    def monitor(machine):
        seen.append(weights(machine))
        return {}

    data = torch.tensor([[1.0, 0.0, 1.0]])
    one_step = {"batch_size": 1, "lr": 0.3, "every": 1, "epochs": 6}
    plain, averaged = RBM(3, 2), RBM(3, 2)
    last = {"average": False, "monitor": monitor}
    quiet_fit(plain, data, ExactSampler(), **last, **one_step)
    quiet_fit(averaged, data, ExactSampler(), **one_step)
    assert torch.equal(seen[-1], weights(plain))
    mean = seen[0]
    for step, now in enumerate(seen[1:]):
        mean = mean + (now - mean) / (1 + SHARE * step)
    assert torch.allclose(weights(averaged), mean, atol=1e-6)


def test_averaging_helps_noisy_learning():
    """The likelihood of the average beats that of the last step."""
    data = some_data(RBM(4, 3), rows=12)
    noisy = {"lr": 1.0, "chains": 4}
    scores = {}
    for average in (True, False):
        found = []
        for seed in range(10):
            machine = RBM(4, 3)
            flat, _ = trained(seed=seed, average=average, **noisy)
            torch.nn.utils.vector_to_parameters(flat, machine.parameters())
            found.append(float(log_likelihood(machine, data).mean()))
        scores[average] = np.mean(found)
    assert scores[True] > scores[False]


def test_gradients_may_be_off_outside():
    with torch.no_grad():
        quiet, _ = trained()
    assert torch.equal(quiet, trained()[0])


def test_no_epochs_change_nothing():
    machine = RBM(3, 2)
    before = weights(machine)
    history = quiet_fit(machine, torch.ones(2, 3), ExactSampler(), epochs=0)
    assert torch.equal(weights(machine), before)
    assert history == []


# --- a quantum machine ------------------------------------------------------


class QuantumEnumeration(Sampler):
    """The exact negative phase of a quantum machine, for a few qubits."""

    def visible_phase(self, machine, data, draws=None):
        p = machine.density_matrix().diagonal().detach()
        return p.to(machine.gamma) @ machine.energy(all_states(3))

    def sample(self, machine, n):
        raise AssertionError("not needed")


def test_a_quantum_machine_climbs_its_bound_and_keeps_its_field():
    classical = randomise(BoltzmannMachine(3).double(), scale=0.5)
    machine = QuantumBoltzmannMachine(classical, 0.8)
    data = some_data(classical)
    sampler = QuantumEnumeration()
    own = list(machine.classical.parameters())
    loss = positive_phase(machine, data) - negative_phase(
        machine, sampler, data, 1
    )
    found = torch.autograd.grad(loss, own)
    expected = torch.autograd.grad(-machine.log_prob_bound(data).mean(), own)
    for one, other in zip(found, expected, strict=True):
        assert relative_error(one, other) < 1e-8

    before = machine.log_prob_bound(data).mean().item()
    quiet_fit(machine, data, sampler, epochs=30, lr=0.5)
    assert machine.gamma.item() == 0.8
    assert machine.log_prob_bound(data).mean().item() > before + 0.1


# --- the likelihood ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihood_is_exact_where_it_can_be(kind):
    machine, data = machine_and_data(kind)
    cost = listed_visible(machine).detach().numpy()
    expected = -cost[place(data)] - log_z(machine)
    assert log_likelihood(machine, data).numpy() == pytest.approx(expected)
    given = log_likelihood(machine, data, log_z(machine) + 1).numpy()
    assert given == pytest.approx(expected - 1)


def test_log_likelihood_of_a_large_machine_is_pessimistic(monkeypatch):
    machine = randomise(RBM(10, 12))
    data = some_data(machine)
    exact = log_likelihood(machine, data).mean()
    monkeypatch.setattr(maximum_likelihood, "enumerable", lambda machine: False)
    found = log_likelihood(machine, data).mean()
    assert exact - 0.5 < found < exact


# --- bad input ---------------------------------------------------------------

GOOD = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (GOOD * 0.5, "row 0, column 0 is 0.5"),
        (GOOD * math.nan, "row 0, column 0 is nan"),
        (2 * GOOD - 3, "row 0, column 0 is -1"),
        (GOOD[:0], "has no rows"),
        (GOOD[:, :2], r"\(n, 3\), not \(4, 2\)"),
        (GOOD[0], r"\(n, 3\), not \(3,\)"),
    ],
)
def test_bad_data(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        quiet_fit(RBM(3, 2), data, ExactSampler())
    with pytest.raises(ValueError, match=sentence):
        log_likelihood(RBM(3, 2), data)


def test_sparse_data():
    with pytest.raises(TypeError, match="not csr_matrix .*; make a dense"):
        quiet_fit(RBM(3, 2), sparse.csr_matrix(GOOD.numpy()), ExactSampler())


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float64])
def test_bits_of_any_type(dtype):
    data = np.eye(3, dtype=dtype)
    expected = log_likelihood(RBM(3, 2), torch.eye(3))
    assert torch.equal(log_likelihood(RBM(3, 2), data), expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lr": 0}, "lr, the learning rate, is a finite number above 0, not 0"),
        ({"lr": -1.0}, "above 0, not -1.0"),
        ({"lr": math.nan}, "above 0, not nan"),
        ({"epochs": -1}, "epochs is a whole number"),
        ({"batch_size": 0}, "batch_size is a whole number"),
        ({"draws": 0}, "draws is a whole number"),
        ({"every": 0}, "every is a whole number"),
    ],
)
def test_bad_settings(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        quiet_fit(RBM(3, 2), GOOD, ExactSampler(), **options)


def test_what_is_no_sampler():
    with pytest.raises(TypeError, match="sampler is an object .*, not 'gibbs'"):
        quiet_fit(RBM(3, 2), GOOD, "gibbs")


def test_k_of_contrastive_divergence():
    with pytest.raises(ValueError, match="k is a whole number"):
        ContrastiveDivergence(0)


def test_classical_tools_refuse_a_quantum_machine():
    machine = QuantumBoltzmannMachine(BoltzmannMachine(3), 1.0)
    with pytest.raises(TypeError, match="ContrastiveDivergence knows class"):
        quiet_fit(machine, GOOD, ContrastiveDivergence())
    with pytest.raises(TypeError, match="log_likelihood knows classical"):
        log_likelihood(machine, GOOD)


@pytest.mark.parametrize(
    "sampler", [ContrastiveDivergence(), GibbsSampler(), ExactSampler()]
)
def test_weights_that_stop_being_finite(sampler):
    machine = RBM(3, 2)
    with torch.no_grad():
        machine.W[0, 0] = math.nan
    with pytest.raises(ValueError, match="W holds NaN .* smaller learning"):
        quiet_fit(machine, GOOD, copy.deepcopy(sampler))


def test_the_data_get_no_gradient_and_may_be_read_only():
    data = GOOD.clone().requires_grad_()
    quiet_fit(RBM(3, 2), data, ContrastiveDivergence())
    assert data.grad is None
    locked = GOOD.numpy().copy()
    locked.setflags(write=False)
    quiet_fit(RBM(3, 2), locked, ContrastiveDivergence())


def test_numbers_of_numpy_will_do():
    three = np.int64(3)
    options = {"batch_size": three, "draws": three, "every": three}
    found = [RBM(3, 2), RBM(3, 2)]
    quiet_fit(found[0], GOOD, GibbsSampler(4), epochs=three, seed=three)
    quiet_fit(found[1], GOOD, GibbsSampler(4), epochs=3, seed=3)
    assert torch.equal(found[0].W, found[1].W)
    quiet_fit(RBM(3, 2), GOOD, GibbsSampler(4), lr=np.float32(0.1), **options)


@pytest.mark.parametrize("seed", [None, "0", 0.5, -1])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed is a whole number"):
        ContrastiveDivergence(seed=seed)
    with pytest.raises(ValueError, match="seed is a whole number"):
        quiet_fit(RBM(3, 2), GOOD, ExactSampler(), seed=seed)


@pytest.mark.parametrize("lr", ["0.1", None, [0.1], True])
def test_a_learning_rate_is_a_number(lr):
    with pytest.raises(ValueError, match="rate, is a .* above 0, not"):
        quiet_fit(RBM(3, 2), GOOD, ExactSampler(), lr=lr)


def test_a_sampler_is_made_and_is_one_of_this_package():
    with pytest.raises(TypeError, match=r"such as GibbsSampler\(\), not <cl"):
        quiet_fit(RBM(3, 2), GOOD, GibbsSampler)
    child = dimod.RandomSampler()
    with pytest.raises(TypeError, match=r"as DimodSampler\(RandomSampler\(\)"):
        quiet_fit(RBM(3, 2), GOOD, child)


@pytest.mark.parametrize("machine", [None, "rbm", RBM, torch.nn.Linear(3, 2)])
def test_what_is_no_machine(machine):
    with pytest.raises(TypeError, match="fit wants a machine, an object"):
        quiet_fit(machine, GOOD, ExactSampler())


def test_frozen_weights_cannot_learn():
    machine = RBM(3, 2).requires_grad_(False)
    with pytest.raises(ValueError, match="weights of the machine are frozen"):
        quiet_fit(machine, GOOD, ExactSampler())


def test_a_monitor_returns_a_dict():
    machine = RBM(3, 2)
    before = machine.W.detach().clone()
    with pytest.raises(TypeError, match="monitor returns a dict .* NoneType"):
        quiet_fit(machine, GOOD, ExactSampler(), monitor=lambda machine: None)
    assert torch.equal(machine.W, before)


@pytest.mark.parametrize(
    "log_z", [Bracket(1.0, 0.0, 2.0), Estimate(1.0, 0.1), math.nan, "1", True]
)
def test_log_z_is_a_number(log_z):
    with pytest.raises(ValueError, match="log_z, .* is a finite number, not"):
        log_likelihood(RBM(3, 2), GOOD, log_z)


def test_contrastive_divergence_wants_bits_as_wide_as_the_left_layer():
    rule, machine = ContrastiveDivergence(), RBM(3, 2)
    assert rule.sample_from(machine, GOOD.long()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"\(n, 3\), not \(4, 5\)"):
        rule.sample_from(machine, torch.zeros(4, 5))
    with pytest.raises(ValueError, match="holds bits, 0 or 1, but row 0"):
        rule.sample_from(machine, 2 * GOOD - 3)


def test_phases_want_a_machine_and_a_sampler():
    with pytest.raises(TypeError, match="the positive phase wants a machine"):
        positive_phase(None, GOOD)
    with pytest.raises(TypeError, match="the negative phase wants a machine"):
        negative_phase("rbm", ExactSampler(), GOOD, 3)
    with pytest.raises(TypeError, match="sampler is an object of a class"):
        negative_phase(RBM(3, 2), None, GOOD, 3)
