"""Bits smoothed by exponential laws on [0, 1]."""

import torch

from qbmvae_mini.latents.relaxations.base import (
    _bits,
    _tiny,
    _Tuned,
    _uniform,
    _with_slope,
)


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
    smooths = True

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
    smooths = True

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


def _exponential(rank, b):
    """Inverse distribution function of ``r(zeta|1)``, at any sharpness."""
    zeta = 1 + torch.log1p((rank - 1) * -torch.expm1(-b)) / b
    return zeta.clamp(0, 1)  # beyond by rounding, or log 0 at a large b


def _exponential_rank(zeta, b):
    """Distribution function of ``r(zeta|1)``."""
    return torch.exp(b * (zeta - 1)) * torch.expm1(-b * zeta) / torch.expm1(-b)


def _exponential_density(zeta, b):
    return b * torch.exp(b * (zeta - 1)) / -torch.expm1(-b)
