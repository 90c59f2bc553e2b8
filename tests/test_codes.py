"""What couplings could save at most, against enumeration."""

import numpy as np
import pytest
import torch
from oracles import law, listed

from qbmvae_mini.estimates import (
    exact_log_z,
    multi_information,
    share_recovered,
)
from qbmvae_mini.machines import BoltzmannMachine

#: A bit whose posterior is as sure as it gets.
SURE = 30.0


def entropy(p):
    return -(p * np.log(np.where(p > 0, p, 1))).sum()


def total_correlation(p, states):
    """Sum of the bits' entropies minus that of the whole, by the list."""
    on = p @ states
    return sum(entropy(np.array([m, 1 - m])) for m in on) - entropy(p)


def aggregate(logits, states):
    """The mean law of the codes, one probability a state."""
    mean = 1 / (1 + np.exp(-logits))[:, None]
    return np.where(states == 1, mean, 1 - mean).prod(2).mean(0)


def known_machine(strength=2.0, n=6):
    machine = BoltzmannMachine(n)
    rng = np.random.default_rng(5)
    with torch.no_grad():
        machine.coupling.copy_(
            torch.from_numpy(strength * rng.normal(size=n * (n - 1) // 2))
        )
        # Half of the couplings' pull: no bit is always on.
        machine.bias.copy_(-machine.coupling_matrix().sum(0) / 2)
    return machine


def codes_of(machine, n, seed=0):
    """Independent draws, by the oracle's list, as sure logits."""
    p, states = law(machine, 1.0), np.array(listed(machine.n_units))
    index = np.random.default_rng(seed).choice(len(p), n, p=p / p.sum())
    return SURE * (2 * states[index] - 1.0)


def truth(machine):
    p = np.asarray(law(machine, 1.0))
    return total_correlation(p / p.sum(), np.array(listed(machine.n_units)))


def test_the_plug_in_is_the_total_correlation_of_the_mixture():
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(12, 6))
    states = np.array(listed(6))
    exact = total_correlation(aggregate(logits, states), states)
    found = multi_information(logits, draws=1000)
    assert found.at_most == pytest.approx(exact, abs=0.03)
    assert exact > 0.4


def test_both_ends_close_about_a_machine_that_is_known():
    machine = known_machine()
    exact = truth(machine)
    assert exact > 0.7
    found = multi_information(
        codes_of(machine, 1500), codes_of(machine, 1500, seed=1)
    )
    error = max(found.at_least_error, found.at_most_error)
    assert found.at_least == pytest.approx(exact, abs=4 * error)
    assert found.at_most == pytest.approx(exact, abs=4 * error)
    assert error < 0.04
    assert found.saved.mean() == pytest.approx(found.at_least)


def test_few_cells_leave_the_truth_between_the_ends():
    """The bias of either end, over many draws of the cells."""
    machine = known_machine()
    exact = truth(machine)
    ends = [
        multi_information(
            codes_of(machine, 60, seed=2 * i),
            codes_of(machine, 60, seed=2 * i + 1),
        )
        for i in range(30)
    ]
    least, most = (
        np.array([getattr(end, name) for end in ends])
        for name in ("at_least", "at_most")
    )
    error = least.std() / np.sqrt(30), most.std() / np.sqrt(30)
    assert least.mean() + 3 * error[0] < exact < most.mean() - 3 * error[1]
    left_out = [multi_information(codes_of(machine, 60, i)) for i in range(30)]
    without = np.array([end.at_least for end in left_out])
    assert without.mean() == pytest.approx(least.mean(), abs=4 * error[0])
    assert without.mean() < exact


def test_the_error_of_the_lower_end_is_its_spread_over_other_cells():
    machine = known_machine()
    known = codes_of(machine, 200)
    ends = [
        multi_information(known, codes_of(machine, 100, seed=i))
        for i in range(1, 41)
    ]
    spread = np.std([end.at_least for end in ends])
    said = np.mean([end.at_least_error for end in ends])
    assert said == pytest.approx(spread, rel=0.3)


def test_independent_bits_leave_nothing_to_save():
    rng = np.random.default_rng(0)
    codes = SURE * (2 * rng.integers(0, 2, (2, 1000, 6)) - 1.0)
    found = multi_information(*codes)
    assert found.at_least == pytest.approx(0, abs=0.04)
    assert found.at_most == pytest.approx(0, abs=0.04)
    vague = multi_information(np.zeros((50, 6)), np.zeros((50, 6)))
    assert vague[:4] == pytest.approx((0, 0, 0, 0), abs=1e-12)


def test_codes_that_all_differ_saturate_the_plug_in():
    """Wide codes without couplings: log N less than the bits' own cost."""
    rng = np.random.default_rng(0)
    codes = SURE * (2 * rng.integers(0, 2, (2, 200, 60)) - 1.0)
    found = multi_information(*codes)
    alone = 60 * np.log(2)
    assert found.at_most == pytest.approx(alone - np.log(200), rel=0.02)
    assert -0.1 < found.at_least < 0.1


def test_a_bit_that_other_cells_lack_costs_no_fortune():
    rng = np.random.default_rng(0)
    codes = SURE * (2 * rng.integers(0, 2, (100, 5)) - 1.0)
    codes[:, 4] = -SURE
    others = codes.copy()
    others[0, 4] = SURE
    for found in (multi_information(codes, others), multi_information(others)):
        assert abs(found.at_least) < 0.5


def test_the_true_machine_recovers_all_and_independent_bits_nothing():
    machine = known_machine().double()
    exact = truth(machine)
    states = np.array(listed(6))
    p = np.asarray(law(machine, 1.0))
    on = p @ states / p.sum()
    codes = codes_of(machine, 1000, seed=3)
    z = (codes > 0).astype(float)
    alone = z @ np.log(on) + (1 - z) @ np.log(1 - on)
    with torch.no_grad():
        log_p = -machine.energy(z) - exact_log_z(machine)
    full = share_recovered(log_p, alone, exact)
    assert full.value == pytest.approx(1, abs=4 * full.standard_error)
    assert share_recovered(alone, alone, exact) == (0, 0)
    assert full.standard_error < 0.1
    saved = multi_information(codes_of(machine, 1000), codes).saved
    paired = share_recovered(log_p, alone, saved)
    # The same cells in both: what is noise in one is noise in the other.
    assert paired.standard_error < full.standard_error / 2
    # The truth saves more than a mixture that learned from a thousand cells.
    assert 1 + 2 * paired.standard_error < paired.value < 1.15


GOOD = np.zeros((4, 3))
REFUSED = {
    "one cell": (lambda: multi_information(GOOD[:1]), "two or more, and a"),
    "no table": (lambda: multi_information(GOOD[0]), r"not the shape \(3,\)"),
    "nan": (lambda: multi_information(GOOD * np.nan), "logits holds NaN"),
    "widths": (
        lambda: multi_information(GOOD, GOOD[:, :2]),
        "held_out_logits has 2 bits a cell, and logits 3",
    ),
    "draws": (lambda: multi_information(GOOD, draws=0), "draws is a whole"),
    "nan prior": (
        lambda: share_recovered([1.0, np.nan], [1.0, 1.0], 1.0),
        "log_prior holds NaN or infinite values",
    ),
    "cells": (
        lambda: share_recovered([1.0, 2.0], [1.0], 1.0),
        r"one number a cell, of two cells or more, not \(2,\) and \(1,\)",
    ),
    "possible": (
        lambda: share_recovered([1.0, 2.0], [1.0, 1.0], [1.0] * 3),
        "possible is one number, or one for each of 2 cells",
    ),
    "nothing": (
        lambda: share_recovered([1.0, 2.0], [1.0, 1.0], 0.0),
        "possible is 0 nats a cell; a share is of something above 0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(case):
    attempt, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        attempt()
