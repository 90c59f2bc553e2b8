"""Diagnostics against closed forms, enumeration and another library."""

import math

import numpy as np
import pytest
import torch
from oracles import (
    KINDS,
    law,
    listed,
    listed_log_q,
    loop_energy,
    random_machine,
)
from scipy import optimize, stats
from torch import nn

from qbmvae_mini.estimates import (
    distance_to_exact,
    distance_to_law,
    effective_beta,
    effective_sample_size,
    r_hat,
)
from qbmvae_mini.latents.relaxations import (
    ScoreFunction,
    StraightThrough,
    gradient_bias,
)
from qbmvae_mini.machines import RBM, BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.samplers import ExactSampler

BETAS = (0.5, 1.0, 2.0)


def draws(machine, n, beta=1.0, seed=0):
    """Independent draws from exp(-beta E), by the oracle's list."""
    p = law(machine, beta)
    index = np.random.default_rng(seed).choice(len(p), n, p=p / p.sum())
    return torch.from_numpy(listed(machine.n_units)[index]).float()


# Effective temperature


def slow_pseudolikelihood(machine, states, beta):
    """Mean over states of sum_i log p(z_i | rest), by flipping every unit."""
    total = 0.0
    for z in states.tolist():
        here = loop_energy(machine, z)
        for i in range(len(z)):
            z[i] = 1 - z[i]
            there = loop_energy(machine, z)
            z[i] = 1 - z[i]
            total -= np.logaddexp(0, -beta * (there - here))
    return total / len(states)


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_maximises_the_pseudolikelihood(kind):
    machine = random_machine(kind)
    states = draws(machine, 40)
    best = optimize.minimize_scalar(
        lambda beta: -slow_pseudolikelihood(machine, states, beta),
        bracket=(0.5, 1.5),
        tol=1e-9,
    )
    found = effective_beta(machine, states)
    assert found.value == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_the_estimator_of_dwave_system(kind):
    temperatures = pytest.importorskip("dwave.system.temperatures")
    machine = random_machine(kind)
    states = draws(machine, 1000, beta=0.7)
    other, _ = temperatures.maximum_pseudolikelihood_temperature(
        machine.to_bqm(), (states.numpy().astype(int), range(machine.n_units))
    )
    found = effective_beta(machine, states)
    assert found.value == pytest.approx(1 / other, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", BETAS)
def test_exact_draws_have_the_beta_they_were_drawn_at(kind, beta):
    machine = random_machine(kind)
    found = effective_beta(machine, draws(machine, 50_000, beta))
    assert found.standard_error < 0.03
    assert abs(found.value - beta) < 4 * found.standard_error


@pytest.mark.parametrize("kind", KINDS)
def test_a_beta_of_nine_tenths_is_seen(kind):
    machine = random_machine(kind)
    found = effective_beta(machine, draws(machine, 50_000, beta=0.9))
    assert found.value < 1 - 5 * found.standard_error


@torch.no_grad()
def agreeing_pair():
    """Two units so alike that counting both as news halves the variance."""
    machine = BoltzmannMachine(2)
    machine.coupling.fill_(3.0)
    machine.bias.fill_(-1.5)
    return machine


@pytest.mark.parametrize(
    ("machine", "beta"),
    [
        (random_machine("dense"), 0.5),
        (random_machine("dense"), 2.0),
        (agreeing_pair(), 1.0),
    ],
    ids=["hot", "cold", "pair"],
)
def test_nineteen_of_twenty_intervals_hold_the_true_beta(machine, beta):
    runs = [
        effective_beta(machine, draws(machine, 400, beta, seed))
        for seed in range(200)
    ]
    values, errors = np.array(runs).T
    held = np.abs(values - beta) < 1.96 * errors
    assert 0.90 <= held.mean() <= 0.985
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)
    # The same test would not pass errors that are wrong by a third.
    for wrong in (0.67, 1.5):
        held = np.abs(values - beta) < 1.96 * wrong * errors
        assert not 0.90 <= held.mean() <= 0.985


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_any_scale_of_energies_will_do(scale):
    machine = random_machine("rbm", dtype=torch.float64)
    states = draws(machine, 500)
    found = effective_beta(machine, states)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter *= scale
    scaled = effective_beta(machine, states)
    assert scaled.value * scale == pytest.approx(found.value, rel=1e-6)
    assert scaled.standard_error * scale == pytest.approx(
        found.standard_error, rel=1e-6
    )


def test_a_beta_can_be_negative():
    """Draws that prefer high energies, as a wrong sign would give."""
    machine = random_machine("sparse")
    found = effective_beta(machine, draws(machine, 20_000, beta=-1.0))
    assert abs(found.value + 1) < 4 * found.standard_error


def test_the_machine_is_left_alone_and_gradients_may_be_off():
    machine = random_machine("rbm")
    states = draws(machine, 100)
    with torch.no_grad():
        off = effective_beta(machine, states)
    assert off == effective_beta(machine, states)
    assert machine.a.dtype == torch.float32
    assert all(p.grad is None for p in machine.parameters())


def test_a_single_state_has_no_error_bar():
    machine = random_machine("dense")
    found = effective_beta(machine, torch.tensor([[1.0, 0, 1, 0, 1, 1]]))
    assert math.isfinite(found.value)
    assert found.standard_error == math.inf


@pytest.mark.parametrize(
    ("sign", "said"), [(-1, "best beta is inf"), (1, "minus")]
)
def test_extreme_states_alone_have_no_finite_beta(sign, said):
    machine = random_machine("dense")
    best = (sign * torch.tensor(law(machine))).argmin()
    states = torch.from_numpy(listed(6))[best].repeat(10, 1)
    with pytest.raises(ValueError, match=said):
        effective_beta(machine, states)


def test_a_machine_without_weights_has_no_beta():
    machine = random_machine("rbm", scale=0.0)
    with pytest.raises(ValueError, match="no flip .* does the machine have"):
        effective_beta(machine, torch.ones(5, 8))


# Chains


def autoregression(rho, chains, n, seed=0):
    """Chains of unit variance whose autocorrelation is rho^t."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(chains, n))
    for t in range(1, n):
        series[:, t] *= math.sqrt(1 - rho**2)
        series[:, t] += rho * series[:, t - 1]
    return series


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_effective_sample_size_of_an_autoregression(rho):
    found = [
        effective_sample_size(autoregression(rho, 4, 10_000, seed))
        for seed in range(6)
    ]
    expected = 40_000 * (1 - rho) / (1 + rho)
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


def test_one_chain_has_an_effective_sample_size():
    found = effective_sample_size(autoregression(0.5, 1, 40_000))
    assert found == pytest.approx(40_000 / 3, rel=0.1)


def test_chains_of_one_law_agree():
    assert r_hat(autoregression(0.5, 4, 5000)) < 1.01


def test_chains_stuck_in_two_modes_disagree():
    stuck = autoregression(0.5, 4, 5000)
    stuck[:2] += 5
    assert r_hat(stuck) > 1.5
    assert effective_sample_size(stuck) < 10


def test_a_chain_that_still_drifts_disagrees_with_itself():
    drifting = autoregression(0.0, 4, 1000) + np.linspace(0, 2, 1000)
    assert r_hat(drifting) > 1.1


def test_chains_of_one_mean_and_two_spreads_disagree():
    """What folding is for: the plain R-hat compares means alone."""
    series = autoregression(0.0, 4, 5000)
    series[:2] *= 3
    assert r_hat(series) > 1.1


@pytest.mark.parametrize("check", [r_hat, effective_sample_size])
def test_quantities_are_judged_one_by_one(check):
    series = np.stack([autoregression(r, 3, 500) for r in (0, 0.8)], axis=-1)
    found = check(torch.from_numpy(series))
    assert found.shape == (2,)
    assert list(found) == [check(series[..., k]) for k in range(2)]


@pytest.mark.parametrize("check", [r_hat, effective_sample_size])
def test_what_never_changes_says_nothing(check):
    assert math.isnan(check(np.ones((4, 100))))
    series = np.stack([np.ones((4, 100)), autoregression(0, 4, 100)], -1)
    constant, moving = check(series)
    assert math.isnan(constant)
    assert math.isfinite(moving)


def test_chains_frozen_in_different_states_disagree_without_end():
    frozen = np.repeat([[0.0], [1.0], [1.0], [0.0]], 100, axis=1)
    assert r_hat(frozen) == math.inf
    assert effective_sample_size(frozen) < 5


@pytest.mark.parametrize("check", [r_hat, effective_sample_size])
def test_unusable_series_are_refused(check):
    with pytest.raises(ValueError, match=r"shape \(chains, draws\).*\(100,\)"):
        check(np.ones(100))
    with pytest.raises(ValueError, match="4 draws, not 4 of 3"):
        check(np.ones((4, 3)))
    with pytest.raises(ValueError, match="holds NaN"):
        check(np.full((4, 10), np.nan))


def test_one_chain_cannot_disagree_with_another():
    with pytest.raises(ValueError, match="at least 2 chains .* not 1 of 100"):
        r_hat(np.ones((1, 100)))


# Distance to the exact law


def mean_honest_distance(p, n):
    """Exactly: de Moivre's mean deviation of a binomial, a state at a time.

    Diaconis and Zabell 1991, Closed form summation for classical
    distributions: with k the next whole number above n p, the mean of
    |X - n p| is 2 k (1 - p) P(X = k).
    """
    k = np.floor(n * p) + 1
    deviation = 2 * k * (1 - p) * stats.binom.pmf(k, n, p)
    return deviation.sum() / n / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [50, 100_000])
def test_honest_draws_reach_the_floor(kind, n):
    machine = random_machine(kind)
    found = distance_to_exact(machine, draws(machine, n, seed=5))
    assert found.total_variation < found.floor + 4 * found.floor_sd
    assert found.total_variation > found.floor - 4 * found.floor_sd
    expected = mean_honest_distance(law(machine), n)
    assert abs(found.floor - expected) < 4 * found.floor_sd / math.sqrt(200)


@pytest.mark.parametrize("kind", KINDS)
def test_a_beta_of_nine_tenths_is_above_the_floor(kind):
    machine = random_machine(kind)
    found = distance_to_exact(machine, draws(machine, 100_000, beta=0.9))
    assert found.total_variation > found.floor + 5 * found.floor_sd


def test_the_spread_of_the_floor_is_that_of_honest_draws():
    machine = random_machine("dense")
    runs = [
        distance_to_exact(machine, draws(machine, 500, seed=seed))
        for seed in range(200)
    ]
    spread = np.std([run.total_variation for run in runs])
    assert spread == pytest.approx(runs[0].floor_sd, rel=0.25)


def test_one_state_alone_is_as_far_as_its_missing_probability():
    machine = random_machine("sparse")
    states = torch.from_numpy(listed(8))[[100]].repeat(30, 1)
    found = distance_to_exact(machine, states)
    expected = 1 - law(machine)[100]
    assert found.total_variation == pytest.approx(expected, abs=1e-6)


def test_a_law_of_some_units_is_compared_with_their_columns():
    machine = random_machine("dense")
    states = draws(machine, 20_000)
    p = law(machine).reshape([2] * 6).sum((1, 3, 4, 5)).ravel()
    found = distance_to_law(torch.from_numpy(p), states[:, [0, 2]])
    assert found.total_variation < found.floor + 4 * found.floor_sd
    swapped = distance_to_law(p, states[:, [2, 0]])
    assert swapped.total_variation > swapped.floor + 5 * swapped.floor_sd


def test_the_same_states_are_as_far_each_time():
    machine = random_machine("rbm")
    states = draws(machine, 100)
    state = torch.get_rng_state()
    found = distance_to_exact(machine, states)
    assert found == distance_to_exact(machine, states.long())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (torch.full((3,), 1 / 3), r"2\^k of them, not an array of shape \(3,"),
        (torch.full((2, 2), 1 / 4), r"not an array of shape \(2, 2\)"),
        (torch.tensor([1.0]), r"not an array of shape \(1,\)"),
        ([0.7, 0.7], "sum 1.4"),
        ([1.5, -0.5], "from -0.5 up"),
        ([math.nan, 1.0], "from nan up"),
    ],
)
def test_what_is_no_law_is_refused(p, said):
    with pytest.raises(ValueError, match=said):
        distance_to_law(p, torch.ones(4, 1))


def test_a_machine_too_large_to_list_is_refused():
    machine = RBM(11, 10)
    with pytest.raises(ValueError, match="21 units.*up to 20; give dist"):
        distance_to_exact(machine, torch.ones(4, 21))


# States and machines


@pytest.mark.parametrize("check", [effective_beta, distance_to_exact])
def test_states_are_bits_of_the_machine(check):
    machine = BoltzmannMachine(3)
    with pytest.raises(ValueError, match=r"\(n, 3\).* not \(4, 2\)"):
        check(machine, torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"\(n, 3\).* not \(3,\)"):
        check(machine, torch.ones(3))
    with pytest.raises(ValueError, match=r"\(n, 3\).* not \(0, 3\)"):
        check(machine, torch.ones(0, 3))
    with pytest.raises(ValueError, match="0 or 1, and not -1; if these are"):
        check(machine, -torch.ones(4, 3))
    with pytest.raises(ValueError, match="0 or 1, and not nan"):
        check(machine, torch.full((4, 3), math.nan))


@pytest.mark.parametrize("check", [effective_beta, distance_to_exact])
def test_nan_weights_and_other_objects_are_refused(check):
    machine = random_machine("rbm")
    machine.a.data[0] = math.nan
    with pytest.raises(ValueError, match="machine's a holds NaN"):
        check(machine, torch.ones(4, 8))
    with pytest.raises(TypeError, match="Linear"):
        check(nn.Linear(3, 3), torch.ones(4, 3))


@pytest.mark.parametrize("check", [effective_beta, distance_to_exact])
def test_a_transverse_field_is_refused(check):
    """Its law is not exp(-beta E) / Z at any beta."""
    quantum = QuantumBoltzmannMachine(random_machine("dense"), 0.5)
    with pytest.raises(TypeError, match="transverse field"):
        check(quantum, torch.ones(4, 6))


def test_the_law_of_a_quantum_machine_can_be_listed():
    quantum = QuantumBoltzmannMachine(random_machine("dense").double(), 1.0)
    p = quantum.log_prob(torch.from_numpy(listed(6))).exp()
    index = torch.multinomial(
        p,
        50_000,
        replacement=True,
        generator=torch.Generator().manual_seed(0),
    )
    states = torch.from_numpy(listed(6))[index]
    found = distance_to_law(p, states)
    assert found.total_variation < found.floor + 4 * found.floor_sd
    classical = distance_to_exact(quantum.classical, states)
    assert classical.total_variation > classical.floor + 5 * classical.floor_sd


@pytest.mark.parametrize("check", [effective_beta, distance_to_exact])
def test_states_may_come_from_inference_mode(check):
    machine = random_machine("dense")
    states = ExactSampler().sample(machine, 50)
    expected = check(machine, states)
    with torch.inference_mode():
        assert check(machine, states) == expected
        states = states.clone()
    assert check(machine, states) == expected


def test_a_law_is_left_as_it_was():
    for p in (
        np.full(4, 0.25000001),
        torch.full((4,), 0.25000001, dtype=torch.float64),
    ):
        distance_to_law(p, torch.tensor([[0.0, 1.0]]))
        assert (p == 0.25000001).all()


@pytest.mark.parametrize("bad", [None, "0101", [[0, 1], [1]]])
def test_what_is_no_array_is_refused(bad):
    machine = BoltzmannMachine(2)
    for check in (
        lambda: effective_beta(machine, bad),
        lambda: distance_to_exact(machine, bad),
        lambda: r_hat(bad),
        lambda: distance_to_law(bad, torch.zeros(1, 1)),
    ):
        with pytest.raises(TypeError, match="is a dense array of numbers, not"):
            check()


def test_series_of_short_floats_and_of_reversed_draws():
    series = torch.randn(4, 50).bfloat16()
    expected = r_hat(series.double())
    assert r_hat(series) == expected
    backwards = series.double().numpy()[::-1]  # the chains change places
    assert r_hat(backwards) == pytest.approx(expected)


# Gradients through bits


LOGITS = torch.tensor([-1.0, 0.3, 1.5]).double()


def curved(z):
    """A function of three bits that is no polynomial."""
    weight = torch.tensor([1.0, -0.7, 0.4], dtype=z.dtype)
    return torch.tanh((2 * z - 1) @ weight) + z[:, 0] * z[:, 2]


def listed_gradient():
    """The exact gradient of the mean of `curved`, and the law of states."""
    logits = LOGITS.clone().requires_grad_()
    p = listed_log_q(logits[None])[0].exp()
    mean = p @ curved(torch.from_numpy(listed(3)))
    return torch.autograd.grad(mean, logits)[0], p.detach()


def test_bias_and_variance_of_straight_through_by_enumeration():
    exact, p = listed_gradient()
    states = torch.from_numpy(listed(3)).requires_grad_()
    (slope,) = torch.autograd.grad(curved(states).sum(), states)
    mu = LOGITS.sigmoid()
    each = slope * mu * (1 - mu)  # (states, bits)
    mean = p @ each
    variance = (p @ (each - mean) ** 2).sum() / exact.norm() ** 2
    found = gradient_bias(StraightThrough(), curved, LOGITS, draws=200_000)
    torch.testing.assert_close(found.exact, exact)
    bias = float((mean - exact).norm() / exact.norm())
    assert bias > 20 * found.floor
    assert found.bias == pytest.approx(bias, abs=4 * found.floor)
    assert found.variance == pytest.approx(float(variance), rel=0.02)
    assert found.floor == pytest.approx((found.variance / 200_000) ** 0.5)


def test_an_unbiased_gradient_lies_near_its_floor():
    found = gradient_bias("score function", curved, LOGITS, draws=50_000)
    assert 0 < found.bias < 3 * found.floor
    # Exactly: over all pairs of states.
    exact, p = listed_gradient()
    z = torch.from_numpy(listed(3))
    gap = curved(z)[:, None] - curved(z)
    each = gap[..., None] * (z[:, None] - z) / 2  # (states, states, bits)
    pairs = (p[:, None] * p)[..., None]
    torch.testing.assert_close((pairs * each).sum((0, 1)), exact)
    variance = (pairs * each**2).sum() / exact.norm() ** 2 - 1
    assert found.variance == pytest.approx(float(variance), rel=0.03)


def test_bias_is_reproducible_and_leaves_the_generator_alone():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first = gradient_bias(ScoreFunction(), curved, LOGITS, draws=100)
    assert torch.equal(torch.get_rng_state(), before)
    again = gradient_bias(ScoreFunction(), curved, LOGITS.float(), draws=100)
    other = gradient_bias(ScoreFunction(), curved, LOGITS, draws=100, seed=1)
    assert first.variance == pytest.approx(again.variance, rel=1e-5)
    assert first.variance != other.variance


def test_a_function_in_single_precision_will_do():
    found = gradient_bias(
        StraightThrough(), lambda z: curved(z.float()), LOGITS, draws=1000
    )
    torch.testing.assert_close(
        found.exact, listed_gradient()[0], atol=1e-6, rtol=0
    )


def test_what_no_bias_can_be_measured_of():
    with pytest.raises(ValueError, match="whatever the logits"):
        gradient_bias(StraightThrough(), lambda z: 0 * z[:, 0], LOGITS)
    with pytest.raises(ValueError, match=r"here 8 of them.*\(8, 3\)"):
        gradient_bias(StraightThrough(), lambda z: z, LOGITS)
    with pytest.raises(ValueError, match="one code of 1 to 20 bits"):
        gradient_bias(StraightThrough(), curved, LOGITS[None])
    with pytest.raises(ValueError, match="one code of 1 to 20 bits"):
        gradient_bias(StraightThrough(), curved, torch.zeros(21))
    with pytest.raises(ValueError, match="logits hold NaN"):
        gradient_bias(StraightThrough(), curved, LOGITS / 0)
    with pytest.raises(ValueError, match="draws is a whole number of at lea"):
        gradient_bias(StraightThrough(), curved, LOGITS, draws=1)
    with pytest.raises(ValueError, match="no relaxation is called"):
        gradient_bias("gumbel", curved, LOGITS)
    with pytest.raises(TypeError, match="logits is a dense array"):
        gradient_bias(StraightThrough(), curved, "three")
