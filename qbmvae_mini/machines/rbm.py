"""The restricted Boltzmann machine: two layers, coupled across."""

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_whole
from qbmvae_mini.machines.base import Machine, _as_bits, _small_random
from qbmvae_mini.machines.graphs import Conditional


class RBM(Machine):
    """A restricted Boltzmann machine: two layers, couplings only between.

    Parameters
    ----------
    n_left, n_right : int
        Sizes of the layers. In a machine alone, left is visible ``v`` and
        right is hidden ``h``; as a prior of a VAE both hold latent bits.
    seed : int
        Seeds the small random couplings.

    Attributes
    ----------
    a, c : Parameter, shape (n_left,) and (n_right,)
    W : Parameter, shape (n_left, n_right)

    References
    ----------
    Smolensky 1986, Information processing in dynamical systems; Hinton 2002,
    Training products of experts by minimizing contrastive divergence.
    """

    def __init__(self, n_left, n_right, *, seed=0):
        n_left = check_whole("n_left", n_left, 1)
        n_right = check_whole("n_right", n_right, 1)
        left = torch.arange(n_left).repeat_interleave(n_right)
        right = torch.arange(n_left, n_left + n_right).repeat(n_left)
        super().__init__(n_left + n_right, torch.stack([left, right]))
        self.n_left, self.n_right = n_left, n_right
        self.a = nn.Parameter(torch.zeros(n_left))
        self.c = nn.Parameter(torch.zeros(n_right))
        self.W = nn.Parameter(_small_random(n_left, n_right, seed=seed))

    @property
    def bias(self):
        """Biases of all units, ``[a, c]``, shape (n_units,)."""
        return torch.cat([self.a, self.c])

    @property
    def coupling(self):
        """Couplings in the order of `edges`, shape (n_left * n_right,)."""
        return self.W.flatten()

    def split(self, z):
        """The two layers of a state: (..., n_units) -> v, h."""
        return z[..., : self.n_left], z[..., self.n_left :]

    def energy(self, z):
        """Energy of each state in nats, (..., n_units) -> (...)."""
        v, h = self.split(z)
        pairs = ((v @ self.W) * h).sum(-1)
        return self.offset - v @ self.a - h @ self.c - pairs

    def mean_energy(self, z):
        """Mean energy of `n` states in nats, (n, n_units) -> a scalar.

        From the means of the units and of the pairs, which hold all that the
        weights' gradient depends on.
        """
        v, h = self.split(z)
        moments = torch.cat([z.mean(0), (v.T @ h).flatten() / len(z)])
        weights = torch.cat([self.a, self.c, self.W.flatten()])
        return self.offset - moments @ weights

    def free_energy(self, state, layer="left"):
        """-log of the sum of exp(-E) over the other layer, (..., n) -> (...).

        ``F(v) = offset - a.v - sum_j softplus(c_j + v.W_j)`` (Hinton 2012, A
        practical guide to training RBMs, section 16.1). It is *not*
        multilinear: do not put means in.

        Parameters
        ----------
        state : Tensor, shape (..., n_left) or (..., n_right)
            Bits of the layer that is kept.
        layer : {"left", "right"}
            Which layer `state` is; the other one is summed out.
        """
        if layer == "left":
            kept, other = state @ self.a, self.c + state @ self.W
        elif layer == "right":
            kept, other = state @ self.c, self.a + state @ self.W.T
        else:
            raise ValueError(f'layer is "left" or "right", not {layer!r}')
        return self.offset - kept - F.softplus(other).sum(-1)

    def log_ratio(self, z, now, then):
        """As of any `Machine`, with the right layer summed out, (n,).

        The law of the left one at inverse temperature beta is proportional
        to ``exp(beta (a.v - offset)) prod_j (1 + exp(beta (c_j + v.W_j)))``.
        """
        v, _ = self.split(z)
        field = torch.addmm(self.c, v, self.W)
        right = F.softplus(then * field) - F.softplus(now * field)
        return (then - now) * (v @ self.a - self.offset) + right.sum(-1)

    @property
    def n_visible(self):
        """Units that see data: the left layer."""
        return self.n_left

    def visible_energy(self, v):
        """The free energy of the left layer; the right one is hidden."""
        return self.free_energy(v)

    def settings(self):
        """Sizes of the two layers."""
        layers = {"n_left": self.n_left, "n_right": self.n_right}
        return {"kind": type(self).__name__, **layers}

    def conditionals(self):
        """Two steps of heat-bath, right layer then left (block Gibbs).

        A list of `qbmvae_mini.machines.Conditional`.
        """
        left, right = slice(0, self.n_left), slice(self.n_left, self.n_units)
        W = self.W.detach()
        return [
            Conditional(right, left, W, self.c.detach()),
            Conditional(left, right, W.T, self.a.detach()),
        ]

    def _assign(self, bias, coupling):
        self.a.copy_(bias[: self.n_left])
        self.c.copy_(bias[self.n_left :])
        self.W.copy_(coupling.reshape(self.n_left, self.n_right))

    @classmethod
    def from_bqm(cls, bqm, n_left):
        """An RBM with the energy of `bqm`; the first `n_left` are left units.

        Raises
        ------
        ValueError
            If the model couples two units of one layer.
        """
        n_left = check_whole("n_left", n_left, 1)
        bqm, order = _as_bits(bqm)
        left = set(order[:n_left])
        for u, v in bqm.quadratic:
            if (u in left) == (v in left):
                raise ValueError(
                    f"variables {u!r} and {v!r} are coupled but lie in one "
                    f"layer (the first {n_left} are left): not an RBM"
                )
        return cls(n_left, len(order) - n_left)._fill(bqm, order)
