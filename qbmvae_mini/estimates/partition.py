r"""Log of the partition function: exact, by AIS, and between two bounds.

Annealed importance sampling (Neal 2001; Salakhutdinov and Murray 2008) walks
from fair coin flips (beta = 0, Z = 2^n) to the machine (beta = 1). Its mean
weight is an unbiased estimate of Z, so by Jensen's inequality its logarithm
is too *low* on average. The same walk backwards from states of the machine
gives an unbiased estimate of 1/Z, so that of log Z is too *high* (Grosse,
Ghahramani and Adams 2015, Sandwiching the marginal likelihood using
bidirectional Monte Carlo). Together they bracket log Z.
"""

import copy
import math
from typing import NamedTuple

import torch

from qbmvae_mini.checks import check_bits, check_seed, check_whole, dense
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.machines.states import all_states
from qbmvae_mini.samplers import (
    ExactSampler,
    GibbsSampler,
    HeatBath,
    by_units,
    random_bits,
    sweep,
)
from qbmvae_mini.samplers.exact import MAX_STATES

#: States whose energy is worked out at once while enumerating.
CHUNK = 2**16

#: Sweeps that part copies of one state, and follow weights that have moved.
REFRESH = 50

#: Steps of a walk whose states are weighed at once.
WEIGHED = 8

#: Half-width of the bracket beyond the two estimates, in standard errors.
BRACKET_ERRORS = 2.0


class Estimate(NamedTuple):
    """An estimate and its standard error: of log Z in nats, for instance."""

    value: float
    standard_error: float


class Bracket(NamedTuple):
    """Log Z in nats: a value between a lower and an upper bound."""

    value: float
    lower: float
    upper: float


def enumerable(machine):
    """Whether the machine's states can be listed in about a second."""
    check_classical(machine, "enumerable")
    return machine.listing().n_units <= MAX_STATES


@torch.no_grad()
def exact_log_z(machine):
    """Log Z in nats by enumeration, in double precision.

    An RBM is summed over its smaller layer alone, 2^min(n_left, n_right)
    terms, with the other layer summed out in closed form.

    Raises
    ------
    ValueError
        If more than 24 units have to be listed.
    """
    check_classical(machine, "exact_log_z")
    machine = copy.deepcopy(machine).cpu().double()
    listing = machine.listing()
    n = listing.n_units
    all_states(n, 0, 0)  # refuses a machine that is too large
    log_z = torch.tensor(-math.inf, dtype=torch.float64)
    for start in range(0, 2**n, CHUNK):
        states = all_states(n, start, min(start + CHUNK, 2**n))
        log_weight = listing.log_weights(states)
        log_z = torch.logaddexp(log_z, log_weight.logsumexp(0))
    return float(log_z)


@torch.no_grad()
def ais(machine, *, chains=1000, temperatures=1000, seed=0):
    """Log Z by annealed importance sampling from beta = 0 to 1.

    Parameters
    ----------
    machine : Machine
    chains : int
        Independent walks.
    temperatures : int
        Steps of beta, equally spaced; one sweep at each.
    seed : int

    Returns
    -------
    Estimate
        ``value`` is too low on average; ``standard_error`` is by the delta
        method, and blind to states that no chain has found.
    """
    like, generator = _start(machine, chains, temperatures, seed)
    z = random_bits(chains, machine.n_units, generator=generator, like=like)
    log_weight = _walk(machine, z, _betas(temperatures), generator)
    estimate = _log_mean(log_weight)
    return estimate._replace(value=_log_z_at_zero(machine) + estimate.value)


@torch.no_grad()
def reverse_ais(machine, states, *, temperatures=1000, seed=0):
    """Log Z by the same walk backwards, from beta = 1 to 0.

    Parameters
    ----------
    machine : Machine
    states : Tensor, shape (chains, n_units)
        Draws from the machine's own law. The estimate is too high on average
        if they are exact draws, and worthless if they are not near that.
    temperatures, seed
        As in `ais`.

    Returns
    -------
    Estimate

    Raises
    ------
    TypeError, ValueError
        If the machine is not classical, or `states` are no bits of it.
    """
    states = _checked_states(machine, states)
    like, generator = _start(machine, len(states), temperatures, seed)
    z = states.to(like, copy=True)
    betas = _betas(temperatures)[::-1]
    log_weight = _walk(machine, z, betas, generator)
    estimate = _log_mean(log_weight)
    return estimate._replace(value=_log_z_at_zero(machine) - estimate.value)


def log_z_bracket(
    machine, *, chains=1000, temperatures=1000, seed=0, states=None
):
    """Log Z between a forward and a reverse walk.

    The ends are the two estimates, each moved outwards by two standard
    errors; the value lies midway between the estimates. Reverse walks start
    from exact draws where the machine can be listed, and otherwise from the
    ends of long Gibbs chains: then the upper end is only as good as those
    chains' mixing. A bracket can be narrow and wrong by nats, if neither walk
    meets a mode far from coin flips; `reverse_ais` from other states, such as
    data, may tell. Where enumeration is possible, prefer `exact_log_z`.

    Parameters
    ----------
    machine : Machine
    chains, temperatures, seed
        As in `ais`.
    states : Tensor, shape (n, n_units), optional
        Draws that are near the machine's law, such as persistent chains. If
        the machine cannot be listed, reverse walks start from copies of them,
        repeated to as many as `chains` and moved by 50 sweeps, which is
        cheaper than long chains: then the upper end is only as good as these
        states.

    Returns
    -------
    Bracket

    Raises
    ------
    TypeError, ValueError
        If the machine is not classical, a number is out of range, or `states`
        are no bits of it.
    """
    seed = check_seed(seed)
    if states is not None:
        states = _checked_states(machine, states)
    forward = ais(machine, chains=chains, temperatures=temperatures, seed=seed)
    if enumerable(machine):
        starts = ExactSampler(seed=seed + 1).sample(machine, chains)
    elif states is None:
        sampler = GibbsSampler(
            sweeps=temperatures, persistent=False, seed=seed + 1
        )
        starts = sampler.sample(machine, chains)
    else:
        starts = _moved(machine, states, chains, seed + 1)
    reverse = reverse_ais(
        machine, starts, temperatures=temperatures, seed=seed + 2
    )
    ends = (
        forward.value - BRACKET_ERRORS * forward.standard_error,
        reverse.value + BRACKET_ERRORS * reverse.standard_error,
    )
    # Two estimates of one number may cross by chance; a bracket may not.
    middle = (forward.value + reverse.value) / 2
    return Bracket(middle, min(*ends, middle), max(*ends, middle))


def _checked_states(machine, states):
    """`states` as a tensor of bits, one state of the machine a row."""
    check_classical(machine, "annealed importance sampling")
    states = dense("states", states)
    shape = tuple(states.shape)
    if len(shape) != 2 or shape[1] != machine.n_units or not len(states):
        raise ValueError(
            f"states have the shape (chains, {machine.n_units}), one chain or "
            f"more, not {shape}"
        )
    check_bits("states", states)
    return states


def _moved(machine, states, chains, seed):
    """`chains` states that come from `states`, which are left alone."""
    rows = torch.arange(chains, device=states.device) % len(states)
    z = states[rows].to(next(machine.parameters()))
    generator = torch.Generator(z.device).manual_seed(seed)
    return sweep(machine, z, sweeps=REFRESH, generator=generator)


def _start(machine, chains, temperatures, seed):
    check_whole("chains", chains, 1)
    check_whole("temperatures", temperatures, 1)
    seed = check_seed(seed)
    check_classical(machine, "annealed importance sampling")
    like = next(machine.parameters())
    return like, torch.Generator(like.device).manual_seed(seed)


def _walk(machine, z, betas, generator):
    """Log weights of the chains `z` along the inverse temperatures `betas`.

    On the CPU where the device has no double precision, as Apple's.
    """
    device = "cpu" if z.device.type == "mps" else z.device
    first = machine.log_ratio(z, *betas[:2])
    log_weight = first.to(device).double()
    heat_bath = HeatBath(machine, by_units(z), generator=generator)
    for start in range(1, len(betas) - 1, WEIGHED):
        path = heat_bath.anneal(betas[start:-1][:WEIGHED])
        rungs = path.new_tensor(betas[start:][: len(path) + 1])
        rungs = rungs[:, None, None]  # (steps + 1, 1, 1)
        log_ratio = machine.log_ratio(path, rungs[:-1], rungs[1:])
        log_weight += log_ratio.to(device).double().sum(0)
    return log_weight


def _betas(temperatures):
    return torch.linspace(0, 1, temperatures + 1, dtype=torch.float64).tolist()


def _log_z_at_zero(machine):
    return machine.n_units * math.log(2)


def _log_mean(log_weight):
    """Log of the mean weight, with its standard error by the delta method."""
    n = len(log_weight)
    weight = (log_weight - log_weight.max()).exp()
    value = log_weight.logsumexp(0) - math.log(n)
    error = weight.std() / weight.mean() / math.sqrt(n) if n > 1 else math.inf
    return Estimate(float(value), float(error))
