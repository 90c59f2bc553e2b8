"""What every relaxation offers, and what several of them use."""

import copy
import numbers
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_whole


class Schedule(NamedTuple):
    """A temperature or sharpness that moves while a model trains.

    From `first` at epoch 0 to `last` at epoch `epochs`, by equal factors, and
    constant from then on.
    """

    first: float
    last: float
    epochs: int

    def at(self, epoch):
        """The value at `epoch`."""
        share = min(1.0, epoch / self.epochs)
        return self.first * (self.last / self.first) ** share


class Relaxation(nn.Module, ABC):
    """What every estimator offers; a child provides `rsample`.

    ``name`` is what latents of bits and `QBMVAE` know it by.
    """

    name = None

    #: Whether the decoder reads numbers in the place of drawn bits.
    smooths = False

    #: Whether the gradient of `expectation` is biased for its own mean.
    is_biased = False

    @abstractmethod
    def rsample(self, logits):
        """One code a row for training, of the shape of `logits`."""

    def expectation(self, f, logits):
        """``f`` at a draw, with a gradient that estimates that of its mean.

        Parameters
        ----------
        f : callable
            From codes (batch, n) to numbers (batch,), row by row.
        logits : Tensor, shape (batch, n)

        Returns
        -------
        Tensor, shape (batch,)
        """
        return f(self.rsample(logits))

    def smooth(self, z, logits):
        """What the decoder reads where the bits are `z`, and its weight.

        Parameters
        ----------
        z : Tensor, shape (..., batch, n)
            Exact draws of bits.
        logits : Tensor, shape (batch, n)
            Of the posterior; zeros for codes from the prior.

        Returns
        -------
        zeta : Tensor, shape (..., batch, n)
            Exact draws from ``r(zeta | z)``; the bits where nothing is smooth.
        log_ratio : Tensor, shape (..., batch)
            Log of ``r(zeta | z)`` of the prior over that of the posterior, a
            factor of the importance weight; zeros where they are the same.
        """
        return z, logits.new_zeros(z.shape[:-1])

    def reads(self):
        """What the decoder reads, in words: the same words, the same codes."""
        if not self.smooths:
            return "codes as they are drawn"
        numbers = [f"{name} {value:g}" for name, value in self.named_buffers()]
        return f"{self.name} codes of {', '.join(numbers)}"

    def settings(self):
        """Arguments that build this relaxation again, fit for JSON."""
        return {}

    def copy(self):
        """One of its own for each latent: a schedule moves what it holds."""
        return copy.deepcopy(self)

    def start_epoch(self, epoch):
        """Move what follows a `Schedule`; called by `fit`."""


class _Tuned(Relaxation):
    """A relaxation with one positive number, fixed or on a `Schedule`."""

    def __init__(self, what, value):
        super().__init__()
        self._what = what
        self._value = _checked(what, value)  # a float or a Schedule
        moves = isinstance(self._value, Schedule)
        first = self._value.first if moves else self._value
        # A buffer, so that it is kept and restored with the weights.
        self.register_buffer(what, torch.tensor(first, dtype=torch.float32))

    def start_epoch(self, epoch):
        """Move the number along its schedule, if it has one."""
        if isinstance(self._value, Schedule):
            getattr(self, self._what).fill_(self._value.at(epoch))

    def settings(self):
        """The number or its schedule, by name."""
        moves = isinstance(self._value, Schedule)
        return {self._what: list(self._value) if moves else self._value}


def log_q(logits, z):
    """Log probability of bits under the posterior, (..., n) -> (...)."""
    # log sigmoid(l) = l - softplus(l) for a one, -softplus(l) for a zero
    return (z * logits - F.softplus(logits)).sum(-1)


def _bits(logits):
    mean = torch.sigmoid(logits.detach())
    return (torch.rand_like(mean) < mean).to(mean.dtype)


def _uniform(shape, like):
    """Uniform numbers in the open interval (0, 1)."""
    uniform = torch.rand(shape, dtype=like.dtype, device=like.device)
    return uniform.clamp(_tiny(like), 1 - torch.finfo(like.dtype).eps)


def _tiny(like):
    return torch.finfo(like.dtype).tiny


def _with_slope(value, slope, logits):
    """`value`, with `slope` as its derivative by the logits."""
    step = slope * (logits - logits.detach())  # exactly zero
    return value + step


def _checked(what, value):
    """`value` as a float or a `Schedule` of plain numbers."""
    if not isinstance(value, (list, tuple)):  # `settings` writes a list
        return _positive(what, value)
    if len(value) != 3:
        raise ValueError(
            f"a schedule of {what} is (first, last, epochs), not {value!r}"
        )
    first, last, epochs = value
    return Schedule(
        _positive(f"first {what} of a schedule", first),
        _positive(f"last {what} of a schedule", last),
        check_whole(f"epochs of a schedule of {what}", epochs, 1),
    )


def _positive(what, value):
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # As the buffer holds it: 1e-50 would be a zero there.
    single = torch.finfo(torch.float32)
    if not real or not single.tiny <= value <= single.max:
        raise ValueError(
            f"{what} is a number above 0 and finite in single precision, "
            f"not {value!r}"
        )
    return float(value)
