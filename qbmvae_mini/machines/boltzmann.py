"""Boltzmann machines: an energy for every state of n bits.

Units are bits ``z`` in {0, 1} and the law is ``p(z) = exp(-E(z)) / Z`` at
temperature 1, with energies in nats (Ackley, Hinton and Sejnowski 1985).

- `BoltzmannMachine`: ``E(z) = offset - b.z - sum_{i<j} W_ij z_i z_j``
- `RBM`: ``E(v, h) = offset - a.v - c.h - v'W h``, with ``z = [v, h]``

Both are multilinear: no bit is multiplied by itself. So the mean energy of
independent bits with means ``mu`` is exactly ``E(mu)``, the fact on which the
positive phase of the QBM-VAE rests.
"""

import torch
from torch import nn

from qbmvae_mini.checks import check_whole
from qbmvae_mini.machines.base import (
    Machine,
    _as_bits,
    _small_random,
    _zeros,
)
from qbmvae_mini.machines.graphs import checked_edges


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

    Notes
    -----
    On a sparse graph, such as an annealer's, energies and fields cost by the
    edge and not by the pair of units.

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
        super().__init__(n_units, edges, torch.float32)
        self.bias = nn.Parameter(_zeros(n_units))
        self.coupling = nn.Parameter(_small_random(edges.shape[1], seed=seed))

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
