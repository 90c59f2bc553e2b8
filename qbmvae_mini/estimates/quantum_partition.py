"""Log Tr exp(-H) of a quantum machine, by integration over its field."""

import math

import numpy as np
import torch

from qbmvae_mini.checks import check_whole
from qbmvae_mini.estimates.partition import (
    BRACKET_ERRORS,
    Estimate,
    enumerable,
    exact_log_z,
    log_z_bracket,
)
from qbmvae_mini.machines.base import check_quantum
from qbmvae_mini.machines.quantum import QuantumBoltzmannMachine
from qbmvae_mini.samplers.base import check_is_sampler


@torch.no_grad()
def transverse_magnetisation(machine, sampler, n=1000):
    """<sum_i sigma^x_i> from the breaks of sampled world lines.

    The mean number of breaks of all world lines, divided by Gamma: each
    break is one factor Gamma sigma^x of the path integral, so that
    ``<breaks> = Gamma d log Tr exp(-H) / d Gamma``.

    Parameters
    ----------
    machine : QuantumBoltzmannMachine
    sampler : PathIntegralSampler
    n : int
        Number of draws.

    Returns
    -------
    Estimate
        At Gamma = 0 exactly 0, without a draw: breaks are then impossible,
        and a diagonal rho has no overlap with a flip.

    Raises
    ------
    TypeError
        If the machine has no transverse field, or the sampler no world lines.
    """
    n = check_whole("n", n, 2)
    _check(machine, sampler)
    gamma = float(machine.gamma.detach())
    if gamma == 0:
        return Estimate(0.0, 0.0)
    _, breaks = sampler.sample_paths(machine, n)
    each = breaks.sum(1).double() / gamma  # (n,)
    return Estimate(float(each.mean()), float(each.std()) / math.sqrt(n))


def integrated_log_partition(machine, sampler, *, n=1000, nodes=8):
    r"""Log Tr exp(-H) in nats, by integration over the transverse field.

    ``log Tr exp(-H) = log Z + integral over g from 0 to Gamma of
    <sum_i sigma^x_i>_g``, with the classical log Z exact where its states can
    be listed and from `log_z_bracket` elsewhere, and the integral by
    Gauss-Legendre quadrature.

    Parameters
    ----------
    machine : QuantumBoltzmannMachine
    sampler : PathIntegralSampler
    n : int
        Draws at each node.
    nodes : int
        Number of fields g. The error of the quadrature is *not* in the
        standard error: double the nodes and look whether the value moves.

    Returns
    -------
    Estimate
        Its standard error joins those of the nodes and, where log Z had to
        be estimated, that of the bracket.

    Raises
    ------
    TypeError
        If the machine has no transverse field, or the sampler no world lines.
    """
    nodes = check_whole("nodes", nodes, 1)
    _check(machine, sampler)
    value, error = _classical_log_z(machine.classical)
    variance = error**2
    gamma = float(machine.gamma.detach())
    points, weights = np.polynomial.legendre.leggauss(nodes)  # on (-1, 1)
    for point, weight in zip(points, gamma / 2 * weights, strict=True):
        field = gamma / 2 * (1 + float(point))
        at_field = QuantumBoltzmannMachine(machine.classical, field)
        found = transverse_magnetisation(at_field, sampler, n)
        value += float(weight) * found.value
        variance += (float(weight) * found.standard_error) ** 2
    return Estimate(value, math.sqrt(variance))


def _check(machine, sampler):
    check_quantum(machine, "an integral over the field")
    check_is_sampler(sampler)
    if not sampler.draws_paths:
        raise TypeError(
            "sampler draws world lines, as PathIntegralSampler() does; a "
            f"{type(sampler).__name__} draws states alone"
        )


def _classical_log_z(classical):
    if enumerable(classical):
        return Estimate(exact_log_z(classical), 0.0)
    bracket = log_z_bracket(classical)
    half_width = (bracket.upper - bracket.lower) / 2
    return Estimate(bracket.value, half_width / BRACKET_ERRORS)
