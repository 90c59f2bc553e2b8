r"""Boltzmann machines: an energy for every state of n bits.

Units are bits ``z`` in {0, 1} and the law is ``p(z) = exp(-E(z)) / Z`` at
temperature 1, with energies in nats (Ackley, Hinton and Sejnowski 1985).

- `BoltzmannMachine`: ``E(z) = offset - b.z - sum_{i<j} W_ij z_i z_j``
- `RBM`: ``E(v, h) = offset - a.v - c.h - v'W h``, with ``z = [v, h]``

Both are multilinear: no bit is multiplied by itself. So the mean energy of
independent bits with means ``mu`` is exactly ``E(mu)``, the fact on which the
positive phase of the QBM-VAE rests.
"""

import math

import dimod
import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.graphs import Conditional, blocks, checked_edges, heat_bath

#: Enumerating 2^n states beyond this n asks for more memory than a laptop has.
MAX_ENUMERATED = 24

#: Couplings start small but not zero, so that left and right units can part.
INITIAL_COUPLING_SD = 0.01


def all_states(n_units, start=0, stop=None, *, dtype=torch.float64):
    """Every state of `n_units` bits, in counting order (last unit fastest).

    Parameters
    ----------
    n_units : int
        Number of bits, at most 24.
    start, stop : int, optional
        Range of states, to walk through 2^n of them piece by piece.

    Returns
    -------
    Tensor, shape (stop - start, n_units)

    Raises
    ------
    ValueError
        For more than 24 bits, or a range outside 0 to 2^n_units.
    """
    n_units = check_whole("n_units", n_units, 0)
    if n_units > MAX_ENUMERATED:
        raise ValueError(
            f"{n_units} units have 2^{n_units} states, too many to enumerate; "
            f"the limit is {MAX_ENUMERATED} units. Use a sampler or AIS."
        )
    stop = 2**n_units if stop is None else stop
    if not 0 <= start <= stop <= 2**n_units:
        raise ValueError(
            f"start and stop lie between 0 and 2^{n_units} in this order, "
            f"not at {start!r} and {stop!r}"
        )
    index = torch.arange(start, stop)
    place = torch.arange(n_units - 1, -1, -1)
    return (index[:, None] >> place & 1).to(dtype)


class Machine(nn.Module):
    """What every Boltzmann machine shares: a graph, an energy, a dimod twin.

    A child provides ``bias`` (n_units,), ``coupling`` (n_edges,), ``energy``,
    ``conditionals`` and ``_assign``. The graph and the offset are buffers, so
    ``state_dict`` restores the whole machine.
    """

    def __init__(self, n_units, edges):
        super().__init__()
        self.n_units = n_units
        self.register_buffer("edges", edges)  # (2, n_edges)
        self.register_buffer("offset", torch.zeros(()))

    def check(self):
        """Raise ValueError if a weight or the offset is NaN or infinite."""
        numbers = {**self._parameters, "offset": self.offset}
        # A finite sum clears all of them, in a third of the time.
        total = sum(value.detach().sum() for value in numbers.values())
        if math.isfinite(total):
            return
        for name, value in numbers.items():
            if not torch.isfinite(value).all():
                raise ValueError(
                    f"the machine's {name} holds NaN or infinite values; "
                    "training has diverged, try a smaller learning rate"
                )

    def mean_energy(self, z):
        """Mean energy of `n` states in nats, (n, n_units) -> a scalar."""
        return self.energy(z).mean()

    def to_bqm(self):
        """The same energy as a `dimod.BinaryQuadraticModel`, offset and all.

        Variables are the units' numbers 0 to n_units - 1.
        """
        self.check()
        row, column = self.edges.cpu().numpy()
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            -self.bias.detach().double().cpu().numpy(),
            (row, column, -self.coupling.detach().double().cpu().numpy()),
            float(self.offset),
            dimod.BINARY,
        )

    @torch.no_grad()
    def _fill(self, bqm, order):
        """Copy the numbers of `bqm` (binary) into this machine's tensors."""
        linear = [-bqm.get_linear(v) for v in order]
        pairs = [(order[i], order[j]) for i, j in self.edges.T.tolist()]
        quadratic = [-bqm.get_quadratic(u, v, default=0.0) for u, v in pairs]
        self._assign(
            torch.tensor(linear, dtype=torch.float64),
            torch.tensor(quadratic, dtype=torch.float64),
        )
        self.offset.copy_(torch.tensor(bqm.offset, dtype=torch.float64))
        numbers = (*self.parameters(), self.offset)
        if not all(torch.isfinite(value).all() for value in numbers):
            raise ValueError(
                "the model holds NaN or infinite weights, or some too large "
                "for float32; give finite ones"
            )
        return self


def check_classical(machine, who):
    """Refuse what is no classical machine, and weights that are no numbers.

    Parameters
    ----------
    machine : Machine
    who : str
        Names the sampler or estimator in the sentence.

    Raises
    ------
    TypeError
        For a quantum machine, whose law is not exp(-E) / Z, or no machine.
    ValueError
        See `Machine.check`.
    """
    if isinstance(machine, Machine):
        machine.check()
    elif hasattr(machine, "gamma"):
        raise TypeError(
            f"{who} knows classical machines alone, and this one has a "
            "transverse field; use qbmvae_mini.quantum and PathIntegralSampler"
        )
    else:
        raise TypeError(
            f"{who} wants a machine, a BoltzmannMachine or an RBM, "
            f"not {type(machine).__name__}"
        )


class BoltzmannMachine(Machine):
    """A Boltzmann machine on any graph.

    Parameters
    ----------
    n_units : int
        Number of bits.
    edges : sequence of (int, int), optional
        Pairs of coupled units; without it, all pairs.
    seed : int
        Seeds the small random couplings.

    Attributes
    ----------
    bias : Parameter, shape (n_units,)
    coupling : Parameter, shape (n_edges,)
        One value per edge, in the order of `edges`.
    edges : Tensor, shape (2, n_edges)

    Raises
    ------
    ValueError
        For a self-coupling, an edge given twice, or a unit that is not there.

    References
    ----------
    Ackley, Hinton and Sejnowski 1985, A learning algorithm for Boltzmann
    machines.
    """

    def __init__(self, n_units, edges=None, *, seed=0):
        n_units = check_whole("n_units", n_units, 1)
        if edges is None:
            edges = torch.triu_indices(n_units, n_units, 1)
        else:
            edges = checked_edges(edges, n_units)
        super().__init__(n_units, edges)
        self.bias = nn.Parameter(torch.zeros(n_units))
        self.coupling = nn.Parameter(_small_random(edges.shape[1], seed=seed))
        self._group()
        # A loaded state may bring another graph of the same size.
        self.register_load_state_dict_post_hook(_group_anew)

    def _group(self):
        """Decide which units a sweep redraws together."""
        self._blocks = blocks(self.edges, self.n_units)

    def coupling_matrix(self):
        """Symmetric W with a zero diagonal, shape (n_units, n_units)."""
        upper = self.coupling.new_zeros(self.n_units, self.n_units)
        upper = upper.index_put(tuple(self.edges), self.coupling)
        return upper + upper.T

    def energy(self, z):
        """Energy of each state in nats, (..., n_units) -> (...)."""
        pairs = ((z @ self.coupling_matrix()) * z).sum(-1) / 2
        return self.offset - z @ self.bias - pairs

    def conditionals(self):
        """One sweep of heat-bath, a list of `qbmvae_mini.graphs.Conditional`.

        Large groups of uncoupled units are redrawn at once, others in turn.
        """
        matrix, bias = self.coupling_matrix().detach(), self.bias.detach()
        return [
            heat_bath(units, coupled, matrix, bias)
            for units, coupled in self._blocks
        ]

    def _assign(self, bias, coupling):
        self.bias.copy_(bias)
        self.coupling.copy_(coupling)

    @classmethod
    def from_bqm(cls, bqm):
        """A machine with the energy of a `dimod.BinaryQuadraticModel`.

        Spin models are changed to bits first. Unit i is the i-th variable,
        in sorted order where the variables can be sorted.
        """
        bqm, order = _as_bits(bqm)
        place = {variable: i for i, variable in enumerate(order)}
        edges = [sorted((place[u], place[v])) for u, v in bqm.quadratic]
        return cls(len(order), sorted(edges))._fill(bqm, order)


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
        pairs = v.T @ h / len(z)  # (n_left, n_right)
        left, right = v.mean(0), h.mean(0)
        return (
            self.offset
            - left @ self.a
            - right @ self.c
            - (pairs * self.W).sum()
        )

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

    def conditionals(self):
        """Two steps of heat-bath, right layer then left (block Gibbs).

        A list of `qbmvae_mini.graphs.Conditional`.
        """
        left, right = slice(0, self.n_left), slice(self.n_left, None)
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


def _group_anew(machine, _):
    """By name, for a nested function could not be pickled with the machine."""
    machine._group()


def _small_random(*shape, seed):
    generator = torch.Generator().manual_seed(check_seed(seed))
    return INITIAL_COUPLING_SD * torch.randn(shape, generator=generator)


def _as_bits(bqm):
    """The model over bits, and its variables in the order of the units."""
    if not isinstance(bqm, dimod.BinaryQuadraticModel):
        raise TypeError(
            f"bqm is a dimod.BinaryQuadraticModel, not {type(bqm).__name__}"
        )
    if not bqm.num_variables:
        raise ValueError("bqm has no variables; a machine has at least one")
    try:
        variables = sorted(bqm.variables)
    except TypeError:  # labels of mixed kinds keep the model's own order
        variables = list(bqm.variables)
    return bqm.change_vartype(dimod.BINARY, inplace=False), variables
