"""Codes of real numbers: the Gaussian VAE, and its mixture rival."""

import math

import torch
from torch import nn

from qbmvae_mini.checks import check_seed, check_whole, kind_of
from qbmvae_mini.estimates.partition import Bracket
from qbmvae_mini.latents.base import Latent


class GaussianLatent(Latent):
    """Diagonal Gaussian posterior, standard Gaussian prior.

    Kingma and Welling 2014, 1312.6114, appendix B. The encoder gives mean
    and log variance, ``n_params = 2 n_latent``.

    Parameters
    ----------
    n_latent : int
    """

    def __init__(self, n_latent):
        n_latent = check_whole("n_latent", n_latent, 1)
        super().__init__(n_latent, 2 * n_latent)

    def settings(self):
        """Width of the code."""
        return {"kind": kind_of(self), "n_latent": self.n_latent}

    def rsample(self, params):
        """One draw ``mean + sd * noise``, (batch, n_latent)."""
        return self._posterior(params).rsample()

    @torch.no_grad()
    def sample(self, params, n=1):
        """`n` draws, (n, batch, n_latent)."""
        return self._posterior(params).sample((n,))

    def kl(self, params):
        """``sum (mean^2 + var - log var - 1) / 2``, (batch,)."""
        mean, log_var = params.chunk(2, dim=-1)
        return (mean.square() + log_var.exp() - log_var - 1).sum(-1) / 2

    def log_q(self, params, z):
        """Log density of the posterior, (..., batch)."""
        return self._posterior(params).log_prob(z).sum(-1)

    def log_prior(self, z):
        """Log density of the prior, (..., batch)."""
        return -z.square().sum(-1) / 2 - self._log_z

    def mean(self, params):
        """Posterior mean, (batch, n_latent)."""
        return params.chunk(2, dim=-1)[0]

    def energy(self, params):
        """Half the mean of ``|z|^2``, ``sum (mean^2 + var) / 2``, (batch,)."""
        mean, log_var = params.chunk(2, dim=-1)
        return (mean.square() + log_var.exp()).sum(-1) / 2

    def draw_prior(self, n):
        """`n` draws from the prior, (n, n_latent)."""
        like = self._like
        return torch.randn(
            n, self.n_latent, dtype=like.dtype, device=like.device
        )

    def estimate_log_z(self, effort="full"):
        """``n_latent / 2 * log(2 pi)``, exactly."""
        return Bracket(self._log_z, self._log_z, self._log_z)

    @property
    def _log_z(self):
        return self.n_latent / 2 * math.log(2 * math.pi)

    def _posterior(self, params):
        mean, log_var = params.chunk(2, dim=-1)
        sd = (log_var / 2).exp()
        return torch.distributions.Normal(mean, sd, validate_args=False)


class MixtureLatent(GaussianLatent):
    r"""Diagonal Gaussian posterior, a learned mixture of Gaussians as prior.

    The classical rival of a Boltzmann prior: several modes, no sampler and
    an exact density,

    .. math:: p(z) = \sum_k w_k \prod_i N(z_i; m_{ki}, s_{ki}^2)

    (Dilokthanakul et al. 2016, 1611.02648, use such a prior for clustering;
    Tomczak and Welling 2018, VampPrior, 1705.07120, compare with it).

    Parameters
    ----------
    n_latent : int
    components : int
        Gaussians in the mixture.
    seed : int
        Seeds the first means, which are standard normal.
    draws : int
        Draws a cell for the mean of log p, which has no closed form. They
        cost a small product each, and no decoding.

    Attributes
    ----------
    means, log_vars : Parameter, shape (components, n_latent)
    weight_logits : Parameter, shape (components,)
        ``w = softmax(weight_logits)``.
    """

    def __init__(self, n_latent, components=50, *, seed=0, draws=4):
        super().__init__(n_latent)
        components = check_whole("components", components, 1)
        self.draws = check_whole("draws", draws, 1)
        self.seed = check_seed(seed)
        generator = torch.Generator().manual_seed(self.seed)
        shape = (components, self.n_latent)
        single = {"dtype": torch.float32}
        means = torch.randn(shape, generator=generator, **single)
        self.means = nn.Parameter(means)
        self.log_vars = nn.Parameter(torch.zeros(shape, **single))
        self.weight_logits = nn.Parameter(torch.zeros(components, **single))

    def settings(self):
        """Width, components, draws and the seed of the first means."""
        return super().settings() | {
            "components": len(self.means),
            "draws": self.draws,
            "seed": self.seed,
        }

    def kl(self, params):
        """Minus the exact entropy, minus mean log p over draws, (batch,).

        Unbiased; it differs from call to call.
        """
        entropy = self._posterior(params).entropy().sum(-1)
        return -entropy + self.energy(params) + self._log_z

    def log_prior(self, z):
        """Log density of the mixture, (..., batch)."""
        precision = (-self.log_vars).exp()
        # (z - m)^2 / s^2, multiplied out: two products, no array of
        # (..., batch, components, n_latent).
        distance = (
            z.square() @ precision.T
            - 2 * z @ (self.means * precision).T
            + (self.means.square() * precision).sum(-1)
        )
        log_scale = self.log_vars.sum(-1) / 2 + self._log_z
        log_weight = self.weight_logits.log_softmax(0) - log_scale
        return (log_weight - distance / 2).logsumexp(-1)

    def energy(self, params):
        """Mean of ``-log p`` over draws, without log Z, (batch,).

        Log Z is the Gaussians' common factor. Unbiased; it differs from call
        to call.
        """
        z = self._posterior(params).rsample((self.draws,))
        return -self.log_prior(z).mean(0) - self._log_z

    @torch.no_grad()
    def draw_prior(self, n):
        """`n` draws: a component, then a Gaussian, (n, n_latent)."""
        weights = self.weight_logits.softmax(0)
        k = torch.multinomial(weights, n, replacement=True)
        return torch.normal(self.means[k], (self.log_vars[k] / 2).exp())
