r"""Priors over bits whose log p(z) is known: a KL without a sampler."""

import torch

from qbmvae_mini.checks import check_whole
from qbmvae_mini.latents.bits import BitLatent


class ExplicitLatent(BitLatent):
    r"""A prior over bits with an exact log p(z), of any form.

    A child writes ``log_prior(z)``, normalised, and ``draw_prior(n)``. The
    mean of log p under the posterior has no closed form, so it is a mean over
    `draws` codes,

    .. math:: KL(q\|p) = -H(q) - E_q[\log p(z)]

    and so is its gradient. That by the prior's weights is the mean of their
    gradients at the codes. That by the logits is a *local expectation*
    (Titsias and Lazaro-Gredilla 2015, "Local expectation gradients for black
    box variational inference"): the sum over bit i is worked out, only the
    other bits are drawn,

    .. math:: \frac{d}{d l_i} E_q[f] = \mu_i (1 - \mu_i)
        E_q[f(z_i = 1, z_{-i}) - f(z_i = 0, z_{-i})]

    Both are unbiased, whatever the relaxation, which is the decoder's alone.

    Parameters
    ----------
    n_latent : int
    relaxation : str or Relaxation
        See `BitLatent`.
    draws : int
        Codes a cell for the mean of log p. They cost no decoding.
    """

    def __init__(self, n_latent, relaxation, draws):
        super().__init__(n_latent, relaxation)
        self.draws = check_whole("draws", draws, 1)

    def settings(self):
        """Those of the bits, and draws."""
        return super().settings() | {"draws": self.draws}

    def kl(self, params):
        """Minus the exact entropy, minus mean log p over draws, (batch,).

        Unbiased, and so are its gradients; it differs from call to call.
        """
        z = self.sample(params, self.draws)
        mean_log_p = self.log_prior(z).mean(0)
        if torch.is_grad_enabled() and params.requires_grad:
            slope = self._slope(params, z).mean(0)  # (batch, n_latent)
            moved = slope * (params - params.detach())  # exactly zero
            mean_log_p = mean_log_p + moved.sum(-1)
        return -self.entropy(params) - mean_log_p

    @torch.no_grad()
    def _slope(self, params, z):
        """The local expectation for each bit, (draws, batch, n_latent)."""
        mean = torch.sigmoid(params)
        # Up from zero to one, whichever of them was drawn.
        rise = (1 - 2 * z) * self.rise_if_flipped(z)
        return mean * (1 - mean) * rise

    def rise_if_flipped(self, z):
        """By how much log p rises if a bit is flipped, for each bit.

        By default from `log_prior` of all the codes with one bit flipped,
        which a child may work out faster.

        Parameters
        ----------
        z : Tensor, shape (..., n_latent)

        Returns
        -------
        Tensor, shape (..., n_latent)
        """
        eye = torch.eye(self.n_latent, dtype=z.dtype, device=z.device)
        flipped = (z[..., None, :] - eye).abs()  # (..., n_latent, n_latent)
        return self.log_prior(flipped) - self.log_prior(z)[..., None]
