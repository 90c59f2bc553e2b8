"""A belief network over bits: couplings that point one way."""

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.latents.explicit import ExplicitLatent
from qbmvae_mini.latents.relaxations.base import log_q


class SigmoidBeliefLatent(ExplicitLatent):
    r"""A fully visible sigmoid belief network as prior over bits.

    As many couplings as a Boltzmann machine with all pairs. They point from
    earlier bits to later ones, so that log p is exact and draws need no chain,

    .. math:: p(z) = \prod_i p(z_i \mid z_1 \ldots z_{i-1}), \qquad
        p(z_i = 1 \mid z_{<i}) = \sigma(b_i + \sum_{j<i} W_{ij} z_j)

    (Neal 1992, "Connectionist learning of belief networks"; without hidden
    units Frey, Hinton and Dayan 1996, "Does the wake-sleep algorithm produce
    good density estimators?"). The order of the bits is that of the code.

    Parameters
    ----------
    n_latent : int
    relaxation : str or Relaxation
        See `BitLatent`.
    draws : int
        See `ExplicitLatent`.

    Attributes
    ----------
    bias : Parameter, shape (n_latent,)
    coupling : Parameter, shape (n_latent * (n_latent - 1) / 2,)
        One value a pair, ``W_10, W_20, W_21, W_30, ...``; zero at first.
    """

    def __init__(self, n_latent, *, relaxation="straight-through", draws=4):
        super().__init__(n_latent, relaxation, draws)
        pairs = torch.tril_indices(self.n_latent, self.n_latent, -1)
        self.register_buffer("_pairs", pairs, persistent=False)
        single = {"dtype": torch.float32}
        self.bias = nn.Parameter(torch.zeros(self.n_latent, **single))
        self.coupling = nn.Parameter(torch.zeros(pairs.shape[1], **single))

    def log_prior(self, z):
        """Log probability of the network, (..., batch)."""
        return log_q(self.field(z), z)

    def field(self, z):
        """Logit of each bit given those before it, (..., n_latent)."""
        return self.bias + z @ self._matrix().T

    def rise_if_flipped(self, z):
        """Rise of log p if a bit is flipped, for each bit, (..., n_latent).

        A flip changes the bit's own term, and the fields of all later bits by
        their coupling to it.
        """
        change, matrix, field = 1 - 2 * z, self._matrix(), self.field(z)
        rise = change * (field + z @ matrix)
        for j in range(1, self.n_latent):  # a block that fits into the cache
            own = field[..., j : j + 1]
            moved = own + matrix[j, :j] * change[..., :j]
            rise[..., :j] -= F.softplus(moved) - F.softplus(own)
        return rise

    @torch.no_grad()
    def draw_prior(self, n):
        """`n` draws, bit after bit, (n, n_latent)."""
        z = self.bias.new_zeros(n, self.n_latent)
        matrix = self._matrix()
        for i in range(self.n_latent):
            field = self.bias[i] + z @ matrix[i]
            z[:, i] = torch.bernoulli(field.sigmoid())
        return z

    def change_couplings(self, change):
        """Put ``change(couplings)`` in their place."""
        with torch.no_grad():
            self.coupling.copy_(change(self.coupling.detach()))

    def _matrix(self):
        """``W``, (n_latent, n_latent), zero on and above the diagonal."""
        matrix = self.bias.new_zeros(self.n_latent, self.n_latent)
        return matrix.index_put(tuple(self._pairs), self.coupling)
