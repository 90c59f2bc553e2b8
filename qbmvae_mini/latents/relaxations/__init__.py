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

from qbmvae_mini.latents.relaxations.base import Relaxation, Schedule, log_q
from qbmvae_mini.latents.relaxations.bias import GradientBias, gradient_bias
from qbmvae_mini.latents.relaxations.concrete import BinaryConcrete
from qbmvae_mini.latents.relaxations.exponentials import (
    OverlappingExponentials,
    SpikeAndExponential,
)
from qbmvae_mini.latents.relaxations.names import RELAXATIONS, relaxation
from qbmvae_mini.latents.relaxations.score_function import ScoreFunction
from qbmvae_mini.latents.relaxations.straight_through import StraightThrough

__all__ = [
    "RELAXATIONS",
    "BinaryConcrete",
    "GradientBias",
    "OverlappingExponentials",
    "Relaxation",
    "Schedule",
    "ScoreFunction",
    "SpikeAndExponential",
    "StraightThrough",
    "gradient_bias",
    "log_q",
    "relaxation",
]
