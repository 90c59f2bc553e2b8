"""Bias and noise of a gradient through bits, against enumeration."""

import math
from typing import NamedTuple

import torch

from qbmvae_mini.checks import check_seed, check_whole, dense
from qbmvae_mini.latents.relaxations.base import log_q
from qbmvae_mini.latents.relaxations.names import relaxation as find_relaxation
from qbmvae_mini.machines.states import all_states
from qbmvae_mini.samplers.exact import MAX_STATES

#: Estimates of a gradient that are worked out at once.
ROWS_AT_ONCE = 2**15


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
        See `qbmvae_mini.latents.relaxations`.
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
