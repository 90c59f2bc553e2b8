"""Which temperature draws look like."""

import copy
import math

import torch
from scipy import optimize

from qbmvae_mini.estimates.laws import _bits
from qbmvae_mini.estimates.partition import Estimate
from qbmvae_mini.machines.base import check_classical


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
    states = _bits(states, machine.n_units)
    with torch.no_grad():
        machine = copy.deepcopy(machine).cpu().double()
        rise = machine.rise_if_flipped(states)
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
