"""The restricted Boltzmann machine: two layers, coupled across."""

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_whole, kind_of
from qbmvae_mini.machines.base import (
    Machine,
    _as_bits,
    _small_random,
    _zeros,
)
from qbmvae_mini.machines.graphs import Conditional
from qbmvae_mini.machines.listing import LayerListing

#: Factors between 1/2 and 2 that single precision can multiply.
PRODUCT = 100


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
        edges = torch.stack([left, right])
        super().__init__(n_left + n_right, edges, torch.float32)
        self.n_left, self.n_right = n_left, n_right
        self.a = nn.Parameter(_zeros(n_left))
        self.c = nn.Parameter(_zeros(n_right))
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
        z = self._as_states(z)
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
        z = self._as_states(z)
        v, h = self.split(z)
        moments = torch.cat([z.mean(0), (v.T @ h).flatten() / len(z)])
        weights = torch.cat([self.a, self.c, self.W.flatten()])
        return self.offset - moments @ weights

    def field(self, z):
        """Minus the slope of E along each unit, (..., n_units) -> the same."""
        v, h = self.split(z)
        across = [
            self.layer_field(h, "right"),
            self.layer_field(v, "left"),
        ]
        return torch.cat(across, dim=-1)

    def layer_field(self, state, layer="left"):
        """Fields on the *other* layer's units, (..., n) -> (..., n_other).

        ``c + v W`` for the left layer, ``a + W h`` for the right one: a
        unit is on with the probability ``sigmoid(field)``.

        Parameters
        ----------
        state : Tensor, shape (..., n_left) or (..., n_right)
        layer : {"left", "right"}
            Which layer `state` is.
        """
        if self._is_left(layer):
            return self.c + self._as_states(state, self.n_left) @ self.W
        return self.a + self._as_states(state, self.n_right) @ self.W.T

    def free_energy(self, state, layer="left", *, beta=1.0):
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
        beta : float
            Inverse temperature: the sum is over exp(-beta E).
        """
        own, n = (self.c, self.n_right)
        if self._is_left(layer):
            own, n = (self.a, self.n_left)
        state = self._as_states(state, n)
        kept = self.offset - state @ own
        other = self.layer_field(state, layer)
        return beta * kept - F.softplus(beta * other).sum(-1)

    def _is_left(self, layer):
        if layer not in ("left", "right"):
            raise ValueError(f'layer is "left" or "right", not {layer!r}')
        return layer == "left"

    def log_ratio(self, z, now, then):
        """As of any `Machine`, with the right layer summed out, (...).

        The law of the left one at inverse temperature beta is proportional
        to ``exp(beta (a.v - offset)) prod_j (1 + exp(beta (c_j + v.W_j)))``.
        """
        v, _ = self.split(z)
        field = self.c + v @ self.W
        # log(1 + exp(x)) = max(x, 0) - log(sigmoid(|x|)), and one logarithm
        # does for many units: this is where a walk spends its time.
        linear = v @ self.a - self.offset + field.relu().sum(-1)
        size = field.abs()
        factors = (now * size).sigmoid() / (then * size).sigmoid()
        log_products = [
            part.prod(-1).log() for part in factors.split(PRODUCT, -1)
        ]
        linear = ((then - now) * linear[..., None]).squeeze(-1)
        return linear + sum(log_products)

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
        return {"kind": kind_of(self), **layers}

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

    def listing(self):
        """The smaller layer listed, the other one summed out."""
        return LayerListing(self)

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
