"""How far draws are from a law, where all states can be listed."""

from typing import NamedTuple

import numpy as np

from qbmvae_mini.checks import check_bits, dense
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.machines.states import places
from qbmvae_mini.samplers.exact import MAX_STATES

#: Sets of honest draws from which the noise floor of a distance is worked out.
HONEST_SETS = 200


class Distance(NamedTuple):
    """Total variation of draws from a law, beside what honest draws reach.

    ``total_variation`` is half the sum of ``|frequency - p|``: 0 if the
    frequencies are the law, 1 if they share no state. ``floor`` and
    ``floor_sd`` are its mean and standard deviation for equally many
    independent draws from the law itself.
    """

    total_variation: float
    floor: float
    floor_sd: float


def distance_to_exact(machine, states):
    """Total variation of draws from the machine's law, with its noise floor.

    Parameters
    ----------
    machine : Machine
        Classical, of at most 20 units.
    states : Tensor, shape (n, n_units)
        Bits.

    Returns
    -------
    Distance

    Raises
    ------
    TypeError
        If `machine` is not a classical machine, or states are no array.
    ValueError
        If it is too large to list, or states are not bits of this machine.
    """
    check_classical(machine, "distance_to_exact")
    if machine.n_units > MAX_STATES:
        raise ValueError(
            f"the machine has {machine.n_units} units, and the law is listed "
            f"up to {MAX_STATES}; give distance_to_law the law of a few units"
        )
    states = _bits(states, machine.n_units)
    return distance_to_law(machine.law(), states)


def distance_to_law(p, states):
    """Total variation of draws from a law given as a list.

    For a law that no classical machine has, or for the marginal law of some
    units, with `states` their columns alone. With many more states than
    draws the floor is close to 1, and no draws can be told from honest ones.

    Parameters
    ----------
    p : array, shape (2^k,)
        Probability of each state, in the order of
        `qbmvae_mini.machines.all_states`.
    states : Tensor, shape (n, k)
        Bits.

    Returns
    -------
    Distance

    Raises
    ------
    ValueError
        If `p` is not a law over the states of k bits, or states are not bits.
    TypeError
        If either is no array of numbers.
    """
    p = dense("p", p).cpu().double().numpy()
    n_units = len(p).bit_length() - 1 if p.ndim == 1 else 0
    if p.shape != (2**n_units,) or n_units < 1:
        raise ValueError(
            f"p holds one probability a state of k bits, 2^k of them, not an "
            f"array of shape {p.shape}"
        )
    if not ((p >= 0).all() and abs(p.sum() - 1) < 1e-6):
        raise ValueError(
            f"p is a law: no number below 0 and a sum of 1, not numbers from "
            f"{p.min():g} up with the sum {p.sum():g}"
        )
    p = p / p.sum()  # multinomial is strict about the last digits
    rows = places(_bits(states, n_units).cpu(), n_units).numpy()
    n, counts = len(rows), np.bincount(rows, minlength=2**n_units)

    def distance(counts):
        return float(np.abs(counts / n - p).sum() / 2)

    rng = np.random.default_rng(0)
    honest = [distance(rng.multinomial(n, p)) for _ in range(HONEST_SETS)]
    floor, floor_sd = float(np.mean(honest)), float(np.std(honest))
    return Distance(distance(counts), floor, floor_sd)


def _bits(states, n_units):
    """`states` as a tensor, refused unless bits of `n_units` units."""
    states = dense("states", states)
    if states.ndim != 2 or states.shape[1] != n_units or not len(states):
        raise ValueError(
            f"states have the shape (n, {n_units}) with n of at least 1, not "
            f"{tuple(states.shape)}"
        )
    check_bits("states", states)
    return states
