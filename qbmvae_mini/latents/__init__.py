r"""Latents: the posterior over a code and its prior, in one exchangeable part.

A `VAE` asks its latent for everything that depends on the prior, so that two
models differ in their latent and in nothing else. This is all that is asked
of a latent, and `Latent` declares it with defaults for simple cases:

==========================  ==================================================
``n_params, n_latent``      encoder outputs, and width of the code
``rsample(params)``         (batch, n_latent), for training
``expectation(f, params)``  (batch,) ``f`` at a draw, with a gradient for the
                            encoder, biased where ``is_biased`` says so
``sample(params, n)``       (n, batch, n_latent), exact draws, for evaluation
``log_q(params, z)``        log posterior of exact draws, (..., batch)
``mean(params)``            the embedding, (batch, n_latent)
``decoder_input(z)``        what the decoder reads, centred
``smooth(z, params)``       what the decoder reads for exact draws, and the log
                            weight that this adds; not the codes themselves
                            where ``smooths`` says so
``reads()``                 what the decoder reads, in words
``kl(params)``              (batch,) KL(q||p) in nats
``log_prior(z)``            log prior of exact draws, (..., batch)
``is_bound``                whether these two are bounds by their nature
``energy(params)``          (batch,) mean prior energy, without log Z
``sample_prior(n, seed)``   (n, n_latent); with a seed nothing else moves
``estimate_log_z(effort)``  (value, lower, upper), "full" or "rough"
``current_log_z()``         the last of them, while the weights are the same
``change_couplings(f)``     put ``f(couplings)`` in their place
``settings()``              what to build it with again, fit for JSON
``state(), load_state(s)``  chains and random numbers: flat, tensors
``reset()``                 forget these
``start_epoch(epoch)``      move what follows a schedule
``parts(), join(model)``    a latent and what it holds are parts of one model
==========================  ==================================================

`kl` and `log_prior` hold the full log Z, and so do their gradients, by the
prior's weights too. `check_latent` checks all this for a latent of your own.

Priors over numbers: `GaussianLatent`, `MixtureLatent`. Priors over bits:
`BernoulliLatent`, `BoltzmannLatent` (an RBM, or a machine on any graph) and
`QuantumLatent`, whose values are bounds; and two that need no sampler,
`BernoulliMixtureLatent` and `SigmoidBeliefLatent`. For a prior of your own:
`MultilinearLatent` if its energy is linear in each bit, as a Boltzmann
machine's is; `ExplicitLatent` if its log p is known; `BitLatent` for any other
prior over bits.
"""

from qbmvae_mini.latents.base import Latent
from qbmvae_mini.latents.belief_network import SigmoidBeliefLatent
from qbmvae_mini.latents.bernoulli_mixture import BernoulliMixtureLatent
from qbmvae_mini.latents.bits import (
    BernoulliLatent,
    BitLatent,
    MultilinearLatent,
)
from qbmvae_mini.latents.boltzmann import EFFORTS, BoltzmannLatent
from qbmvae_mini.latents.checking import check_latent
from qbmvae_mini.latents.explicit import ExplicitLatent
from qbmvae_mini.latents.gaussian import GaussianLatent, MixtureLatent
from qbmvae_mini.latents.quantum import QuantumLatent

__all__ = [
    "EFFORTS",
    "BernoulliLatent",
    "BernoulliMixtureLatent",
    "BitLatent",
    "BoltzmannLatent",
    "ExplicitLatent",
    "GaussianLatent",
    "Latent",
    "MixtureLatent",
    "MultilinearLatent",
    "QuantumLatent",
    "SigmoidBeliefLatent",
    "check_latent",
]
