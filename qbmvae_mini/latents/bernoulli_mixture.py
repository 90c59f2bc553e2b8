"""A mixture of independent bits: several modes without a coupling."""

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.latents.explicit import ExplicitLatent

#: Spread of the first logits: components differ, and none is sure of a bit.
SPREAD = 0.5


class BernoulliMixtureLatent(ExplicitLatent):
    r"""A learned mixture of products of Bernoulli laws as prior over bits.

    The classical rival of a Boltzmann prior for the same bits: correlated,
    with several modes, and with an exact probability,

    .. math:: p(z) = \sum_k w_k \prod_i \sigma(l_{ki})^{z_i}
        (1 - \sigma(l_{ki}))^{1 - z_i}

    (a latent class model: Lazarsfeld 1950, "The logical and mathematical
    foundation of latent structure analysis"; Bishop 2006, "Pattern Recognition
    and Machine Learning", section 9.3.3).

    Parameters
    ----------
    n_latent : int
    components : int
        Products in the mixture.
    relaxation : str or Relaxation
        See `BitLatent`.
    draws : int
        See `ExplicitLatent`.
    seed : int
        Seeds the first logits, Gaussian and small, which tell the components
        apart: equal ones would stay equal.

    Attributes
    ----------
    logits : Parameter, shape (components, n_latent)
    weight_logits : Parameter, shape (components,)
        ``w = softmax(weight_logits)``.
    """

    def __init__(
        self,
        n_latent,
        components=50,
        *,
        relaxation="straight-through",
        draws=4,
        seed=0,
    ):
        super().__init__(n_latent, relaxation, draws)
        components = check_whole("components", components, 1)
        self.seed = check_seed(seed)
        generator = torch.Generator().manual_seed(self.seed)
        shape, single = (components, self.n_latent), {"dtype": torch.float32}
        logits = SPREAD * torch.randn(shape, generator=generator, **single)
        self.logits = nn.Parameter(logits)
        self.weight_logits = nn.Parameter(torch.zeros(components, **single))

    def settings(self):
        """Those of the bits, components, draws and the seed."""
        return super().settings() | {
            "components": len(self.logits),
            "seed": self.seed,
        }

    def log_prior(self, z):
        """Log probability of the mixture, (..., batch)."""
        return self._log_joint(z).logsumexp(-1)

    def rise_if_flipped(self, z):
        """Rise of log p if a bit is flipped, for each bit, (..., n_latent).

        A flip multiplies the part of component k by ``exp(l_ki)`` or by
        ``exp(-l_ki)``, so that two products give all the flips at once.
        """
        part = self._log_joint(z).softmax(-1)  # (..., components)

        def rise(logits):
            # The largest factor of a bit is taken out: none overflows.
            largest = logits.amax(0)
            factor = part @ (logits - largest).exp()  # (..., n_latent)
            return largest + factor.clamp_min(torch.finfo(z.dtype).tiny).log()

        return torch.where(z > 0, rise(-self.logits), rise(self.logits))

    @torch.no_grad()
    def draw_prior(self, n):
        """`n` draws: a component, then its bits, (n, n_latent)."""
        weights = self.weight_logits.softmax(0)
        k = torch.multinomial(weights, n, replacement=True)
        return torch.bernoulli(self.logits[k].sigmoid())

    def _log_joint(self, z):
        """Log probability of component and bits, (..., components)."""
        log_weight = self.weight_logits.log_softmax(0)
        log_scale = F.softplus(self.logits).sum(-1)
        return z @ self.logits.T + (log_weight - log_scale)
