r"""Gradients through a bit: estimators of the gradient of ``E_q[f(z)]``.

The bits of a code are independent given a cell, ``q(z_i = 1) = sigmoid(l_i)``
with logits ``l``. A drawn bit has no derivative, so a gradient for the
encoder has to be *estimated*, and every estimator pays somewhere:

=========================  ================================================
`ScoreFunction`            unbiased; noisy; two decodings a step
`StraightThrough`          true bits; biased
`BinaryConcrete`           numbers in (0, 1); biased, trains on a loss that
                           bounds no likelihood
`SpikeAndExponential`      zero or a number in (0, 1); unbiased, for a
                           model of its own
`OverlappingExponentials`  numbers in (0, 1); unbiased, for a model of its
                           own
=========================  ================================================

The last three *smooth* a bit z into a number zeta, ``r(zeta | z)``, which the
decoder reads. They define another model, whose importance weight is
``p(x|zeta) p(z) / q(z|x)``, and both its score and the score with true bits
in the decoder are worth knowing: see `Relaxation.smooth`.
"""

import math
import numbers
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


class Relaxation(nn.Module):
    """What every estimator offers; a child provides `rsample`.

    ``name`` is what `BoltzmannLatent` and `QBMVAE` know it by.
    """

    name = None

    def rsample(self, logits):
        """One code a row for training, of the shape of `logits`."""
        raise NotImplementedError

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

    def settings(self):
        """Arguments that build this relaxation again, fit for JSON."""
        return {}

    def start_epoch(self, epoch):
        """Move what follows a `Schedule`; called by `fit`."""


class ScoreFunction(Relaxation):
    r"""Score function estimator with the other draw as baseline.

    .. math:: \nabla E_q[f] = E_q[f(z) \nabla \log q(z)]

    (Williams 1992, REINFORCE). With two independent draws z, z' the estimate
    is ``(f(z) - f(z')) (grad log q(z) - grad log q(z')) / 2``: each draw's
    value is the baseline of the other, which leaves it unbiased (Kool, van
    Hoof and Welling 2019, leave-one-out baseline). It needs no derivative of
    `f`, and two of its values. Its noise grows with the number of bits.
    """

    name = "score function"

    def rsample(self, logits):
        """True bits, without a gradient."""
        return _bits(logits)

    def expectation(self, f, logits):
        """Mean of `f` at two draws, (batch,); see `Relaxation`."""
        first, second = _bits(logits), _bits(logits)
        here, there = f(first), f(second)
        advantage = (here - there).detach() / 2
        score = advantage * (log_q(logits, first) - log_q(logits, second))
        return (here + there) / 2 + (score - score.detach())


class StraightThrough(Relaxation):
    """True bits, with the gradient of their means.

    The forward value is exact. The gradient is biased unless `f` is linear in
    each bit (Bengio, Leonard and Courville 2013, 1308.3432, who use it both
    with the factor ``sigmoid'``, as here, and without).
    """

    name = "straight-through"

    def rsample(self, logits):
        """Bits, which pass on the gradient of ``sigmoid(logits)``."""
        mean = torch.sigmoid(logits)
        bits = (torch.rand_like(mean) < mean).to(mean.dtype)
        return bits + (mean - mean.detach())  # the bracket is exactly zero


class _Tuned(Relaxation):
    """A relaxation with one positive number, fixed or on a `Schedule`."""

    def __init__(self, what, value):
        super().__init__()
        self._what = what
        self._value = _checked(what, value)  # a float or a Schedule
        moves = isinstance(self._value, Schedule)
        first = self._value.first if moves else self._value
        # A buffer, so that it is kept and restored with the weights.
        self.register_buffer(what, torch.tensor(first))

    def start_epoch(self, epoch):
        """Move the number along its schedule, if it has one."""
        if isinstance(self._value, Schedule):
            getattr(self, self._what).fill_(self._value.at(epoch))

    def settings(self):
        """The number or its schedule, by name."""
        moves = isinstance(self._value, Schedule)
        return {self._what: list(self._value) if moves else self._value}


class BinaryConcrete(_Tuned):
    """Numbers in (0, 1) near a bit: ``sigmoid((l + L) / temperature)``.

    L is logistic noise (Maddison, Mnih and Teh 2017, 1611.00712, appendix B;
    Jang, Gu and Poole 2017, 1611.01144). The number exceeds 1/2 exactly when
    the bit is one. Training pairs it with the KL of the *bits*, and then the
    loss is no bound of any likelihood: what the posterior's ``r(zeta | z)``
    says beyond the bit is not paid for. `smooth` pays, with a prior whose
    numbers have ``l = 0``.

    Parameters
    ----------
    temperature : float or Schedule
        Above 0. Towards 0 the numbers become bits and the gradient's
        variance grows without bound; at high temperatures all are near 1/2.

    Raises
    ------
    ValueError
        If `temperature` is not a finite number above 0.
    """

    name = "binary concrete"

    def __init__(self, temperature=0.5):
        super().__init__("temperature", temperature)

    def rsample(self, logits):
        """One relaxed draw, with the gradient of what was computed."""
        noise = torch.logit(_uniform(logits.shape, logits))
        return torch.sigmoid((logits + noise) / self.temperature)

    def smooth(self, z, logits):
        """Numbers given bits, and the log ratio; see `Relaxation`.

        Both ratios are those of logistic densities around 0 and around the
        logits, cut to the side of the bit: the temperature cancels.
        """
        side = 2 * z - 1
        towards = side * logits
        # How far l + L lies on the side of the bit. Its survival function
        # sigmoid(towards - far) / sigmoid(towards) is set to a uniform number
        # and solved for `far`, in a form that neither overflows nor cancels.
        u = _uniform(z.shape, z)
        far = F.softplus(towards + torch.log1p(-u)) - torch.log(u)
        prior = _log_logistic(far) + math.log(2)
        posterior = _log_logistic(far - towards) - F.logsigmoid(towards)
        zeta = torch.sigmoid(side * far / self.temperature)
        return zeta, (prior - posterior).sum(-1)


class SpikeAndExponential(_Tuned):
    r"""Exactly 0 for a zero; for a one, a number that leans towards 1.

    .. math:: r(\zeta|0) = \delta(\zeta), \quad
              r(\zeta|1) = \frac{b\, e^{b\zeta}}{e^b - 1}

    on [0, 1] (Rolfe 2016, 1609.02200, section 2.1). The gradient is that of
    the inverse distribution function; it vanishes wherever zeta is 0.

    Parameters
    ----------
    sharpness : float or Schedule
        b, above 0. A large b gives true bits and rare large gradients. At
        0.5, as in published code for single cells, a one is spread almost
        evenly over [0, 1].

    Raises
    ------
    ValueError
        If `sharpness` is not a finite number above 0.
    """

    name = "spike-and-exponential"

    def __init__(self, sharpness=8.0):
        super().__init__("sharpness", sharpness)

    def rsample(self, logits):
        """One relaxed draw, with the gradient of what was computed."""
        b, mean = self.sharpness, torch.sigmoid(logits.detach())
        # 1 - F(zeta) = mean (1 - R(zeta)) = u, with R that of r(zeta|1); a
        # u above the mean is the spike.
        u = _uniform(logits.shape, logits)
        one = u < mean
        rank = torch.where(one, 1 - u / mean, 0)
        # d zeta / d mean = (1 - R) / (mean r), times d mean / d logit
        density = b * (rank + 1 / torch.expm1(b))
        slope = (1 - mean) * (1 - rank) / density
        zeta = torch.where(one, _exponential(rank, b), 0)
        return _with_slope(zeta, torch.where(one, slope, 0), logits)

    def smooth(self, z, logits):
        """Numbers given bits, alike in prior and posterior."""
        zeta = z * _exponential(_uniform(z.shape, z), self.sharpness)
        return zeta, zeta.new_zeros(zeta.shape[:-1])


class OverlappingExponentials(_Tuned):
    r"""Two exponentials on [0, 1] that lean towards the bit.

    .. math:: r(\zeta|1) = \frac{b\, e^{b(\zeta - 1)}}{1 - e^{-b}}, \quad
              r(\zeta|0) = r(1 - \zeta|1)

    (Vahdat et al. 2018, DVAE++, 1802.04920, section 3). Their supports
    overlap, so that, unlike `SpikeAndExponential`, every draw has a gradient.

    Parameters
    ----------
    sharpness : float or Schedule
        b, above 0, the inverse temperature of the paper.

    Raises
    ------
    ValueError
        If `sharpness` is not a finite number above 0.
    """

    name = "overlapping exponentials"

    def __init__(self, sharpness=10.0):
        super().__init__("sharpness", sharpness)

    def rsample(self, logits):
        """One relaxed draw of the mixture over both bits.

        The gradient is that of the inverse distribution function F, without
        inverting it: ``d zeta / d mean = -(dF / d mean) / density``.
        """
        b, mean = self.sharpness, torch.sigmoid(logits.detach())
        # A bit, then a number given the bit, has the mixture's law.
        zeta, _ = self.smooth(_bits(logits), logits)
        one = _exponential_density(zeta, b)
        zero = _exponential_density(1 - zeta, b)
        apart = 1 - _exponential_rank(1 - zeta, b) - _exponential_rank(zeta, b)
        density = (mean * one + (1 - mean) * zero).clamp_min(_tiny(zeta))
        slope = mean * (1 - mean) * apart / density
        return _with_slope(zeta, slope, logits)

    def smooth(self, z, logits):
        """Numbers given bits, alike in prior and posterior."""
        towards = _exponential(_uniform(z.shape, z), self.sharpness)
        zeta = torch.where(z == 1, towards, 1 - towards)
        return zeta, zeta.new_zeros(zeta.shape[:-1])


#: Relaxations by the name that latents and `QBMVAE` take.
RELAXATIONS = {
    kind.name: kind
    for kind in (
        StraightThrough,
        ScoreFunction,
        BinaryConcrete,
        SpikeAndExponential,
        OverlappingExponentials,
    )
}


def relaxation(choice, **settings):
    """The relaxation of that name; a `Relaxation` passes through.

    Raises
    ------
    TypeError, ValueError
        For anything else, listing the names that exist.
    """
    if isinstance(choice, Relaxation):
        if settings:
            raise ValueError(
                f"{', '.join(settings)} would not reach a relaxation that is "
                f"already built; give it to {type(choice).__name__} itself"
            )
        return choice
    known = ", ".join(repr(name) for name in RELAXATIONS)
    if not isinstance(choice, str):
        raise TypeError(
            f"relaxation is a Relaxation or one of {known}, not {choice!r}"
        )
    if choice not in RELAXATIONS:
        raise ValueError(
            f"no relaxation is called {choice!r}; there are {known}"
        )
    return RELAXATIONS[choice](**settings)


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


def _exponential(rank, b):
    """Inverse distribution function of ``r(zeta|1)``, at any sharpness."""
    zeta = 1 + torch.log1p((rank - 1) * -torch.expm1(-b)) / b
    return zeta.clamp(0, 1)  # beyond by rounding, or log 0 at a large b


def _exponential_rank(zeta, b):
    """Distribution function of ``r(zeta|1)``."""
    return torch.exp(b * (zeta - 1)) * torch.expm1(-b * zeta) / torch.expm1(-b)


def _exponential_density(zeta, b):
    return b * torch.exp(b * (zeta - 1)) / -torch.expm1(-b)


def _log_logistic(x):
    """Log density of the standard logistic law."""
    return -F.softplus(x) - F.softplus(-x)


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
