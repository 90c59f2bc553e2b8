r"""Are these draws what they claim? Temperature, mixing, distance to the law.

No single number can say so. Each function below looks at one thing:

- `effective_beta`: is every unit right given the others? It is a *local*
  check, blind to how often the chains visit each mode.
- `r_hat`, `effective_sample_size`: do the chains agree with each other, and
  how many independent draws are they worth? Blind to a mode that no chain
  has found.
- `distance_to_exact`: the whole law, where all states can be listed.

And for gradients through bits: `gradient_bias`, how far a relaxation's
estimates are from the gradient that a list of all states gives.
"""

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import optimize

from qbmvae_mini.arrays import check_bits, dense
from qbmvae_mini.boltzmann import all_states, check_classical
from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.partition import Estimate
from qbmvae_mini.relaxations import log_q
from qbmvae_mini.relaxations import relaxation as find_relaxation
from qbmvae_mini.samplers.exact import MAX_STATES

#: Sets of honest draws from which the noise floor of a distance is worked out.
HONEST_SETS = 200

#: Estimates of a gradient that are worked out at once.
ROWS_AT_ONCE = 2**15

#: Split R-hat halves each chain and needs a variance in every half.
LEAST_DRAWS = 4


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


class GradientBias(NamedTuple):
    """Estimates of the gradient of ``E_q[f(z)]``, beside the exact one.

    ``bias`` is the length of the error of the mean estimate, and ``floor``
    what it would be, as a root mean square, if only noise were in it: an
    unbiased estimator stays near the floor. ``variance`` is that of a single
    estimate, summed over the logits. ``bias`` and ``floor`` are in units of
    the exact gradient's length, ``variance`` in units of its square, so that
    a variance of 1 is as much noise as signal. ``exact`` and ``mean`` are the
    two gradients, float64, of the shape (n,).
    """

    bias: float
    floor: float
    variance: float
    exact: torch.Tensor
    mean: torch.Tensor


def gradient_bias(relaxation, f, logits, *, draws=100_000, seed=0):
    """Bias and variance of a gradient through bits, against enumeration.

    Parameters
    ----------
    relaxation : Relaxation or str
        See `qbmvae_mini.relaxations`.
    f : callable
        From codes (batch, n), in float64, to numbers (batch,), row by row.
    logits : Tensor, shape (n,)
        ``q(z_i = 1) = sigmoid(logits_i)``, of at most 20 bits.
    draws : int
        Estimates to take; the error of the bias falls with its square root.
    seed : int

    Returns
    -------
    GradientBias

    Raises
    ------
    ValueError
        For logits of another shape, not finite or too many; if the mean of
        `f` does not depend on them, or `f` gives another shape; for fewer
        than two draws.
    TypeError
        For a relaxation or logits that are none.
    """
    relaxation = find_relaxation(relaxation)
    draws = check_whole("draws", draws, 2)
    logits = _checked_logits(logits)
    exact = _listed_gradient(f, logits)
    if not exact.any():
        raise ValueError(
            "the mean of f has the same value whatever the logits, so an "
            "error cannot be measured against its gradient"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        starts = range(0, draws, ROWS_AT_ONCE)
        sizes = [min(ROWS_AT_ONCE, draws - start) for start in starts]
        each = [_estimates(relaxation, f, logits, n) for n in sizes]
    estimates = torch.cat(each)  # (draws, n)
    mean = estimates.mean(0)
    length = exact.norm()
    variance = estimates.var(0).sum() / length**2
    return GradientBias(
        float((mean - exact).norm() / length),
        math.sqrt(float(variance) / draws),
        float(variance),
        exact,
        mean,
    )


def effective_beta(machine, states):
    r"""The inverse temperature at which draws look most like exp(-beta E).

    Maximises the pseudolikelihood (Besag 1975), which replaces the law by the
    product of each unit's law given all the others, so that no partition
    function is needed:

    ``l(beta) = mean over states of sum_i log sigmoid(beta g_i)``,

    where ``g_i`` is the rise in energy if unit i is flipped. The sum is
    concave in beta. Raymond, Yarkoni and Andriyash 2016 measure annealers
    with this estimator and call what it finds a *local* temperature: draws
    from one mode of many look right to it.

    Parameters
    ----------
    machine : Machine
        Classical; its energy is that of beta = 1.
    states : Tensor, shape (n, n_units)
        Bits.

    Returns
    -------
    Estimate
        ``standard_error`` is the sandwich's, ``sd(score) / (sqrt(n) J)`` with
        J the mean curvature. It takes the states as independent, and is
        infinite for a single state.

    Raises
    ------
    TypeError
        If `machine` is not a classical machine, or states are no array.
    ValueError
        If states are not bits of this machine, or if the maximum lies at
        plus or minus infinity or is not defined.
    """
    check_classical(machine, "effective_beta")
    rise = _rise_if_flipped(machine, _bits(states, machine.n_units))
    _check_finite_maximum(rise)

    def score(beta):
        """Derivative of the pseudolikelihood, one number a state."""
        return (rise * torch.sigmoid(-beta * rise)).sum(1)

    bound = float(1 / rise.abs().max())
    while score(bound).sum() > 0 or score(-bound).sum() < 0:
        bound *= 2
    beta = optimize.brentq(
        lambda beta: float(score(beta).mean()), -bound, bound
    )
    on = torch.sigmoid(beta * rise)
    curvature = float((rise**2 * on * (1 - on)).sum(1).mean())
    n = len(rise)
    spread = float(score(beta).std()) if n > 1 else math.inf
    return Estimate(beta, spread / math.sqrt(n) / curvature)


def r_hat(series):
    """Do chains agree? Rank-normalised, folded split R-hat, by ArviZ.

    Near 1 if they do; Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021
    ask for less than 1.01, with at least four chains that start far apart.

    Parameters
    ----------
    series : array, shape (chains, draws) or (chains, draws, quantities)
        What each chain did, in order: an energy, a unit, any number.

    Returns
    -------
    float or array, shape (quantities,)
        NaN for a quantity that never changes, infinity if it changes from
        chain to chain but never within one.

    Raises
    ------
    ValueError
        For fewer than two chains or four draws, or values not finite.
    TypeError
        For a series that is no array of numbers.
    """
    series = _checked_series(series, "r_hat", least_chains=2)
    from arviz_stats.base import array_stats  # slow to import

    with np.errstate(divide="ignore", invalid="ignore"):
        found = array_stats.rhat(series, chain_axis=0, draw_axis=1)
    # Rounding would leave a variance of 1e-32 within chains that stand still.
    still = (np.ptp(series, axis=1) == 0).all(axis=0)
    found = np.where(still, np.inf, found)
    return _without_constants(found, series)


def effective_sample_size(series):
    """How many independent draws a mean over the series is worth, by ArviZ.

    The bulk effective sample size of Vehtari and others 2021. For a chain
    whose autocorrelation falls like rho^t it is n (1 - rho) / (1 + rho).

    Parameters
    ----------
    series : array, shape (chains, draws) or (chains, draws, quantities)
        What each chain did, in order.

    Returns
    -------
    float or array, shape (quantities,)
        NaN for a quantity that never changes.

    Raises
    ------
    ValueError
        For fewer than four draws, or values not finite.
    TypeError
        For a series that is no array of numbers.
    """
    series = _checked_series(series, "effective_sample_size", least_chains=1)
    from arviz_stats.base import array_stats  # slow to import

    found = array_stats.ess(series, chain_axis=0, draw_axis=1)
    return _without_constants(found, series)


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
    machine = copy.deepcopy(machine).double().cpu()
    with torch.no_grad():
        energy = machine.energy(all_states(machine.n_units))
    return distance_to_law(energy.neg().softmax(0), states)


def distance_to_law(p, states):
    """Total variation of draws from a law given as a list.

    For a law that no classical machine has, or for the marginal law of some
    units, with `states` their columns alone. With many more states than
    draws the floor is close to 1, and no draws can be told from honest ones.

    Parameters
    ----------
    p : array, shape (2^k,)
        Probability of each state, in the order of
        `qbmvae_mini.boltzmann.all_states`.
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
    p = dense("p", p).double().cpu().numpy()
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
    states = _bits(states, n_units).cpu().long()
    n = len(states)
    place = 2 ** torch.arange(n_units - 1, -1, -1)
    counts = np.bincount((states @ place).numpy(), minlength=2**n_units)

    def distance(counts):
        return float(np.abs(counts / n - p).sum() / 2)

    rng = np.random.default_rng(0)
    honest = [distance(rng.multinomial(n, p)) for _ in range(HONEST_SETS)]
    floor, floor_sd = float(np.mean(honest)), float(np.std(honest))
    return Distance(distance(counts), floor, floor_sd)


def _checked_logits(logits):
    logits = dense("logits", logits).detach().double().cpu()
    if logits.ndim != 1 or not 0 < len(logits) <= MAX_STATES:
        raise ValueError(
            f"logits are those of one code of 1 to {MAX_STATES} bits, not an "
            f"array of shape {tuple(logits.shape)}"
        )
    if not logits.isfinite().all():
        raise ValueError("logits hold NaN or infinite values")
    return logits


@torch.inference_mode(False)
@torch.enable_grad()
def _listed_gradient(f, logits):
    """Gradient of the mean of `f` by the logits, over all states."""
    states = all_states(len(logits))
    with torch.no_grad():
        values = _values(f, states)
    logits = logits.clone().requires_grad_()
    mean = log_q(logits, states).exp() @ values.double()
    (gradient,) = torch.autograd.grad(mean, logits)
    return gradient


@torch.inference_mode(False)
@torch.enable_grad()
def _estimates(relaxation, f, logits, n):
    """`n` independent estimates of the gradient, (n, bits)."""
    rows = logits.expand(n, -1).clone().requires_grad_()
    total = relaxation.expectation(lambda z: _values(f, z), rows).sum()
    (gradient,) = torch.autograd.grad(total, rows)
    return gradient


def _values(f, codes):
    values = f(codes)
    shape = tuple(getattr(values, "shape", ()))
    if shape != (len(codes),):
        raise ValueError(
            f"f gives one number a row, here {len(codes)} of them, not an "
            f"array of shape {shape}"
        )
    return values


@torch.inference_mode(False)
def _rise_if_flipped(machine, states):
    """E(z with unit i flipped) - E(z) for each state and unit, in float64."""
    machine = copy.deepcopy(machine).double()
    # A clone, since a tensor made in inference mode takes no gradient.
    z = states.to(next(machine.parameters())).clone().requires_grad_()
    with torch.enable_grad():
        # E is a straight line in each unit, so its slope is the difference.
        (slope,) = torch.autograd.grad(machine.energy(z).sum(), z)
    return (slope * (1 - 2 * z)).detach()


def _check_finite_maximum(rise):
    if not rise.any():
        raise ValueError(
            "no flip of any unit changes the energy of any state, so every "
            "beta fits: does the machine have weights?"
        )
    if not (rise < 0).any():
        raise ValueError(
            "in every state each flip costs energy, so the best beta is "
            "infinite: the states are all ground states or local minima; give "
            "more states, or draws that have not been cooled"
        )
    if not (rise > 0).any():
        raise ValueError(
            "in every state each flip frees energy, so the best beta is minus "
            "infinity: is the sign of the energy wrong?"
        )


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


def _checked_series(series, who, *, least_chains):
    """`series` as a float64 array of (chains, draws, ...)."""
    series = dense(f"{who}: the series", series).double().cpu().numpy()
    if series.ndim not in (2, 3):
        raise ValueError(
            f"{who} takes a series of shape (chains, draws) or (chains, "
            f"draws, quantities), not {series.shape}"
        )
    chains, draws = series.shape[:2]
    if chains < least_chains or draws < LEAST_DRAWS:
        raise ValueError(
            f"{who} needs at least {least_chains} chains of {LEAST_DRAWS} "
            f"draws, not {chains} of {draws}"
        )
    if not np.isfinite(series).all():
        raise ValueError(f"{who}: the series holds NaN or infinite values")
    return series


def _without_constants(found, series):
    """`found`, with NaN for quantities that never change."""
    constant = np.ptp(series, axis=(0, 1)) == 0
    found = np.where(constant, np.nan, found)
    return found if series.ndim == 3 else float(found)
