"""Codes of bits: their posterior, and priors whose energy is multilinear."""

from abc import abstractmethod

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_whole, kind_of
from qbmvae_mini.estimates.partition import Bracket
from qbmvae_mini.latents.base import Latent
from qbmvae_mini.latents.relaxations.base import log_q
from qbmvae_mini.latents.relaxations.names import relaxation as find_relaxation


class BitLatent(Latent):
    """Factorised Bernoulli posterior over bits; a child adds the prior.

    A child writes ``kl``, ``log_prior`` and ``draw_prior`` of any prior over
    bits, ``estimate_log_z`` unless `log_prior` is normalised, and an
    ``energy`` where its mean has a closed form. If the energy is linear in
    each bit, derive from `MultilinearLatent` and write less; if log p is
    known and it is not, from `ExplicitLatent`.

    Parameters
    ----------
    n_latent : int
        Number of bits; the encoder gives one logit each.
    relaxation : str or Relaxation
        How a gradient passes a bit; a name of
        `qbmvae_mini.latents.relaxations.RELAXATIONS`, or such an object, of
        which the latent takes a copy: what follows a schedule is no other
        model's.
    """

    def __init__(self, n_latent, relaxation):
        n_latent = check_whole("n_latent", n_latent, 1)
        super().__init__(n_latent, n_latent)
        self.relaxation = find_relaxation(relaxation).copy()

    @property
    def smooths(self):
        """Whether the decoder reads numbers for bits: the relaxation's."""
        return self.relaxation.smooths

    @property
    def is_biased(self):
        """Whether the gradient of `expectation` is: the relaxation's."""
        return self.relaxation.is_biased

    def settings(self):
        """Number of bits and the relaxation, by class and numbers."""
        return {
            "kind": kind_of(self),
            "n_latent": self.n_latent,
            "relaxation": {
                "kind": kind_of(self.relaxation),
                **self.relaxation.settings(),
            },
        }

    def rsample(self, params):
        """One relaxed draw, (batch, n_latent)."""
        return self.relaxation.rsample(params)

    def expectation(self, f, params):
        """``f`` at a relaxed draw, as the relaxation has it, (batch,)."""
        return self.relaxation.expectation(f, params)

    @torch.no_grad()
    def sample(self, params, n=1):
        """`n` draws of true bits, (n, batch, n_latent)."""
        mean = torch.sigmoid(params)
        uniform = torch.rand(
            (n, *params.shape), dtype=params.dtype, device=params.device
        )
        return (uniform < mean).to(params.dtype)

    def smooth(self, z, params):
        """Numbers for bits where the relaxation is smooth, and log weights.

        See `qbmvae_mini.latents.relaxations.Relaxation.smooth`.
        """
        return self.relaxation.smooth(z, params)

    def reads(self):
        """What the decoder reads, in words: the relaxation's."""
        return self.relaxation.reads()

    def start_epoch(self, epoch):
        """Move a temperature or sharpness along its schedule."""
        self.relaxation.start_epoch(epoch)

    def decoder_input(self, z):
        """Spins ``2z - 1``: centred, and worth nats over bits."""
        return 2 * z - 1

    def log_q(self, params, z):
        """Log probability of the bits under the posterior, (..., batch)."""
        return log_q(params, z)

    def entropy(self, params):
        """Entropy of the posterior in nats, (batch,)."""
        mean = torch.sigmoid(params)
        return (F.softplus(params) - mean * params).sum(-1)

    def mean(self, params):
        """Mean spins ``2 sigmoid(logits) - 1``, (batch, n_latent)."""
        return 2 * torch.sigmoid(params) - 1


class MultilinearLatent(BitLatent):
    r"""A prior over bits whose energy is linear in each of them.

    A factorised posterior then has ``E_q[E(z)] = E(mu)`` exactly, with
    ``mu = sigmoid(logits)``, and

    .. math:: KL(q\|p) = -H(q) + E(\mu) + \log Z

    needs no draw of a code. **For any other energy this is false**: take an
    `ExplicitLatent` or a `BitLatent` then.

    A child writes ``prior_energy(z)``, ``log_z_upper()``, ``draw_prior`` and
    ``estimate_log_z``. Parameters are those of `BitLatent`.
    """

    @abstractmethod
    def prior_energy(self, z):
        """E(z), linear in each unit, (..., n_latent) -> (...), in nats."""

    @abstractmethod
    def log_z_upper(self):
        """Log Z at its pessimistic end, a scalar with its gradient."""

    def energy(self, params):
        """Mean prior energy ``E(mu)``, exact and with a gradient, (batch,)."""
        return self.prior_energy(torch.sigmoid(params))

    def kl(self, params):
        """``-H(q) + E(mu) + log Z`` of each row, (batch,)."""
        without_log_z = -self.entropy(params) + self.energy(params)
        return without_log_z + self.log_z_upper()

    def log_prior(self, z):
        """``-E(z) - log Z``, with log Z at its pessimistic (upper) end."""
        return -self.prior_energy(z) - self.log_z_upper()


class BernoulliLatent(MultilinearLatent):
    """Independent bits as prior: a Boltzmann machine without couplings.

    The control that isolates the couplings: the same bits, the same
    decoder, learned biases, W = 0.

    Parameters
    ----------
    n_latent : int
    relaxation : str or Relaxation
        See `BitLatent`.

    Attributes
    ----------
    bias : Parameter, shape (n_latent,)
        ``p(z_i = 1) = sigmoid(bias_i)``.
    """

    def __init__(self, n_latent, *, relaxation="straight-through"):
        super().__init__(n_latent, relaxation)
        self.bias = nn.Parameter(
            torch.zeros(self.n_latent, dtype=torch.float32)
        )

    def prior_energy(self, z):
        """``-b.z``, (..., n_latent) -> (...)."""
        return -z @ self.bias

    def log_z_upper(self):
        """``sum softplus(b)``, exactly."""
        return F.softplus(self.bias).sum()

    def draw_prior(self, n):
        """`n` draws from the prior, (n, n_latent)."""
        mean = torch.sigmoid(self.bias.detach())
        return torch.bernoulli(mean.expand(n, -1))

    def estimate_log_z(self, effort="full"):
        """``sum softplus(b)``, exactly."""
        value = float(F.softplus(self.bias.detach().double()).sum())
        return Bracket(value, value, value)
