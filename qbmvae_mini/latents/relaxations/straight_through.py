"""Straight-through: true bits with the gradient of their means."""

import torch

from qbmvae_mini.latents.relaxations.base import Relaxation


class StraightThrough(Relaxation):
    """True bits, with the gradient of their means.

    The forward value is exact. The gradient is biased unless `f` is linear in
    each bit (Bengio, Leonard and Courville 2013, 1308.3432, who use it both
    with the factor ``sigmoid'``, as here, and without).
    """

    name = "straight-through"
    is_biased = True

    def rsample(self, logits):
        """Bits, which pass on the gradient of ``sigmoid(logits)``."""
        mean = torch.sigmoid(logits)
        bits = (torch.rand_like(mean) < mean).to(mean.dtype)
        return bits + (mean - mean.detach())  # the bracket is exactly zero
