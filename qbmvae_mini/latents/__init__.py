r"""Latents: the posterior over a code and its prior, in one exchangeable part.

A `VAE` asks its latent for everything that depends on the prior, so that two
models differ in their latent and in nothing else. Every latent has

==========================  ==================================================
``n_params, n_latent``      encoder outputs, and width of the code
``rsample(params)``         (batch, n_latent), for training
``expectation(f, params)``  (batch,) ``f`` at a draw, with a gradient for the
                            encoder
``sample(params, n)``       (n, batch, n_latent), exact draws, for evaluation
``smooth(z, params)``       what the decoder reads for exact draws, and the log
                            weight that this adds
``decoder_input(z)``        what the decoder reads, centred
``kl(params)``              (batch,) KL(q||p) in nats
``log_q(params, z)``        log posterior of exact draws, (..., batch)
``log_prior(z)``            log prior of exact draws, (..., batch)
``mean(params)``            the embedding, (batch, n_latent)
``energy(params)``          (batch,) prior energy of the mean code, no log Z
``sample_prior(n)``         (n, n_latent)
``estimate_log_z()``        (value, lower, upper)
==========================  ==================================================

Priors over numbers: `GaussianLatent`, `MixtureLatent`. Priors over bits:
`BernoulliLatent`, `BoltzmannLatent` (an RBM, or a machine on any graph) and
`QuantumLatent`, whose values are bounds.
"""

from qbmvae_mini.latents.base import Latent
from qbmvae_mini.latents.bits import BernoulliLatent, BitLatent
from qbmvae_mini.latents.boltzmann import EFFORTS, BoltzmannLatent
from qbmvae_mini.latents.gaussian import GaussianLatent, MixtureLatent
from qbmvae_mini.latents.quantum import QuantumLatent

__all__ = [
    "EFFORTS",
    "BernoulliLatent",
    "BitLatent",
    "BoltzmannLatent",
    "GaussianLatent",
    "Latent",
    "MixtureLatent",
    "QuantumLatent",
]
