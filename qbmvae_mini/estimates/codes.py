r"""What couplings could gain at most: the dependence among bits of codes.

A cell's code has the law :math:`q(z \mid x) = \prod_i q_i(z_i \mid x)`, and
all cells together have the mixture of these, the *aggregate posterior*
:math:`q(z)`. Averaged over cells (Hoffman and Johnson 2016, ELBO surgery),

.. math:: KL(q(z \mid x) \| p) = KL(q(z \mid x) \| q(z)) + KL(q(z) \| p),

and the prior stands in the last term alone. The best prior is q(z) itself,
the best one of independent bits has its means. Between them lies

.. math:: TC = KL\Big(q(z) \,\Big\|\, \prod_i q(z_i)\Big)
             = \sum_i H(q(z_i)) - H(q(z)),

the multi-information or total correlation (Watanabe 1960), in nats a cell: no
prior over these codes, with whatever couplings, can save more.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import softplus

from qbmvae_mini.checks import check_seed, check_whole, dense
from qbmvae_mini.estimates.partition import Estimate

#: Chances that a bit of a known cell's code is drawn anew from all cells'
#: mean; leave-one-out over the known cells picks one. At 1 nothing is saved.
NOISES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)

#: Probabilities, of draws by cells, that are worked out at once.
AT_ONCE = 2**22


class MultiInformation(NamedTuple):
    """What a prior could save over independent bits, in nats a cell."""

    at_least: float  #: by the mixture of the known cells' codes, on others
    at_least_error: float  #: standard error over the cells
    at_most: float  #: the plug-in, on the known cells themselves
    at_most_error: float  #: standard error over the cells
    saved: np.ndarray  #: each cell's share in `at_least`, (cells,)


@torch.no_grad()
def multi_information(logits, held_out_logits=None, *, draws=4, seed=0):
    r"""Estimate the total correlation of the aggregate posterior of codes.

    With codes :math:`z` drawn for each cell, and :math:`\bar q` the mean over
    the known cells' :math:`q(z \mid x_m)`, both ends are means of

    .. math:: \log \bar q(z) - \sum_i \log \bar q_i(z_i).

    ``at_most`` takes z of the known cells. Each of them is a component of the
    mixture, so no z of theirs has less than :math:`q(z \mid x_n) / N`: the
    end is too high, and with few cells it says no more than that N codes
    differ (about log N plus what the bits would cost alone). It is above the
    expected total correlation up to about n_bits / 2N, the bias of the
    marginals.

    ``at_least`` takes z of other cells, which makes the mixture a prior like
    any other, learned from the known cells: no more than the best. Its
    components are widened first, each bit drawn anew from its mean with one
    of the chances `NOISES`, the best by leave-one-out over the known cells.
    Without held-out cells each cell is left out of its own mixture, though
    not out of the means, which favours independent bits a little. The mixture
    learns slowly where codes are wide and rich. A fitted prior may save more
    than ``at_least``; then the gain is at least that.

    Parameters
    ----------
    logits : array, shape (cells, n_bits)
        Log odds of each bit of the known cells' codes: those of training.
    held_out_logits : array, shape (other cells, n_bits), optional
    draws : int
        Codes drawn a cell.
    seed : int

    Returns
    -------
    MultiInformation
        The errors take cells as independent and the known cells as given.

    Raises
    ------
    TypeError, ValueError
        If logits are no finite table, differ in width, or are of fewer than
        two cells.
    """
    draws, seed = check_whole("draws", draws, 1), check_seed(seed)
    logits = _table("logits", logits)
    if held_out_logits is not None:
        held_out = _table("held_out_logits", held_out_logits)
        if held_out.shape[1] != logits.shape[1]:
            raise ValueError(
                f"held_out_logits has {held_out.shape[1]} bits a cell, and "
                f"logits {logits.shape[1]}; both are of one model"
            )
    generator = torch.Generator().manual_seed(seed)
    z = _draw(logits, draws, generator)
    known = _saved(z, logits)
    noise = _best_noise(z[:1], logits)
    if held_out_logits is None:
        others = _saved(z, logits, noise, leave_out=True)
    else:
        others = _saved(_draw(held_out, draws, generator), logits, noise)
    saved = others.mean(0)
    return MultiInformation(
        *_mean_and_error(saved),
        *_mean_and_error(known.mean(0)),
        saved.numpy(),
    )


def share_recovered(log_prior, log_independent, possible):
    """The share of what could be saved that a fitted prior saves.

    ``(E_q log p - E_q log p_independent) / possible``.

    Parameters
    ----------
    log_prior, log_independent : array, shape (cells,)
        Each cell's mean log probability of its code, in nats, under a fitted
        prior and under independent bits.
    possible : float or array, shape (cells,)
        What could be saved: an end of `multi_information`, or its ``saved``
        of the same cells, with which the two ends share their noise.

    Returns
    -------
    Estimate
        Above 1 where the prior saves more than ``at_least``. The standard
        error is by the delta method over the cells.

    Raises
    ------
    TypeError, ValueError
        If the numbers are of no use, or nothing could be saved.
    """
    parts = [
        _finite(name, values).numpy()
        for name, values in (
            ("log_prior", log_prior),
            ("log_independent", log_independent),
            ("possible", possible),
        )
    ]
    n = parts[0].shape
    if len(n) != 1 or n[0] < 2 or parts[1].shape != n:
        raise ValueError(
            "log_prior and log_independent hold one number a cell, of two "
            f"cells or more, not {n} and {parts[1].shape}"
        )
    if parts[2].shape not in ((), n):
        raise ValueError(
            f"possible is one number, or one for each of {n[0]} cells, not an "
            f"array of shape {parts[2].shape}"
        )
    gain = parts[2].mean()
    if not gain > 0:
        raise ValueError(
            f"possible is {gain:g} nats a cell; a share is of something above 0"
        )
    saved = parts[0] - parts[1]
    share = saved.mean() / gain
    error = (saved - share * parts[2]).std(ddof=1) / (gain * math.sqrt(n[0]))
    return Estimate(float(share), float(error))


def _table(name, logits):
    logits = _finite(name, logits)
    if logits.ndim != 2 or len(logits) < 2 or not logits.shape[1]:
        raise ValueError(
            f"{name} has a row a cell, two or more, and a column a bit, not "
            f"the shape {tuple(logits.shape)}"
        )
    return logits


def _finite(name, values):
    values = dense(name, values).cpu().double()
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return values


def _draw(logits, draws, generator):
    """Bits of each cell, (draws, cells, n_bits)."""
    shape = (draws, *logits.shape)
    uniform = torch.rand(shape, generator=generator, dtype=logits.dtype)
    return (uniform < logits.sigmoid()).to(logits)


def _saved(z, logits, noise=0.0, leave_out=False):
    """Log probability by the cells' mixture, minus that by independent bits.

    Parameters
    ----------
    z : Tensor, shape (draws, cells of z, n_bits)
    logits : Tensor, shape (cells, n_bits)
    noise : float
        Widens the mixture's components, see `NOISES`.
    leave_out : bool
        The cells of z are those of the mixture, and each is left out.

    Returns
    -------
    Tensor, shape (draws, cells of z)
    """
    # A bit that no cell has, or every cell, is given half a cell of the other.
    half = 0.5 / len(logits)
    mean = logits.sigmoid().mean(0).clamp(half, 1 - half)
    if noise > 0:
        logits = torch.logit(noise * mean + (1 - noise) * logits.sigmoid())
    mixture = _log_mixture(z, logits, leave_out)
    return mixture - (z * mean.log() + (1 - z) * (1 - mean).log()).sum(-1)


def _best_noise(z, logits):
    """The chance of `NOISES` with which the left-out cells save most."""
    saved = {
        noise: float(_saved(z, logits, noise, leave_out=True).mean())
        for noise in NOISES
    }
    return max(saved, key=saved.get)


def _log_mixture(z, logits, leave_out=False):
    """Log of the mean of the cells' laws, (draws, cells of z).

    With `leave_out` the cells of z are those of the mixture, and each is left
    out of its own.
    """
    cost, n = softplus(logits).sum(1), len(logits)
    found = z.new_empty(z.shape[:2])
    rows = max(1, AT_ONCE // n)
    for i, codes in enumerate(z):
        for start in range(0, len(codes), rows):
            part = slice(start, start + rows)
            log_q = codes[part] @ logits.T - cost  # (rows, cells)
            if leave_out:
                log_q.diagonal(start).fill_(-math.inf)
            found[i, part] = log_q.logsumexp(1)
    return found - math.log(n - leave_out)


def _mean_and_error(values):
    """Mean and standard error of one number a cell."""
    error = values.std() / math.sqrt(len(values))
    return float(values.mean()), float(error)
