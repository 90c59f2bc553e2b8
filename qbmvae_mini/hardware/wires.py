"""How a machine's graph lies on the qubits: programs out, reads back."""

import dimod
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from qbmvae_mini.hardware.errors import DeviceError


class Wires:
    """How a machine's graph lies on the qubits.

    Parameters
    ----------
    device : dimod.Structured
    embedding : dict of int to tuple of int
    machine : Machine
    chain_strength : float
        Programmed coupling within a chain.

    Raises
    ------
    DeviceError
        If a unit has no chain, a chain is not connected, a qubit does not
        work, or two coupled chains have no coupler between them.
    """

    def __init__(self, device, embedding, machine, chain_strength):
        n = machine.n_units
        if set(embedding) != set(range(n)):
            raise DeviceError(
                f"the embedding holds {len(embedding)} units and the machine "
                f"has {n}; embed this machine"
            )
        self.edges = machine.edges.cpu().numpy()
        self.qubits = [q for i in range(n) for q in embedding[i]]
        dead = set(self.qubits) - set(device.nodelist)
        if dead or len(set(self.qubits)) < len(self.qubits):
            raise DeviceError(
                f"the embedding uses qubit {min(dead, default='twice over')}, "
                "which does not work on this device; embed the machine anew"
            )
        lengths = [len(embedding[i]) for i in range(n)]
        self.chain = np.repeat(np.arange(n), lengths)
        self.lengths = np.array(lengths)
        place = {q: k for k, q in enumerate(self.qubits)}
        pairs = map(sorted, self.edges.T.tolist())
        number = {tuple(pair): e for e, pair in enumerate(pairs)}
        ends, self.edge, inside = [], [], []
        for u, v in device.edgelist:
            if u not in place or v not in place:
                continue
            u, v = place[u], place[v]
            pair = tuple(sorted((self.chain[u], self.chain[v])))
            if pair[0] == pair[1]:
                inside.append((u, v))
            elif pair in number:
                ends.append((u, v))
                self.edge.append(number[pair])
        self.inside = np.array(inside, int).reshape(-1, 2)
        self.ends = np.array(ends, int).reshape(-1, 2)
        self.edge = np.array(self.edge, int)
        self.couplers = np.bincount(self.edge, minlength=len(number))
        self.strength = chain_strength
        self._check(device)

    def _check(self, device):
        missing = np.flatnonzero(self.couplers == 0)
        if len(missing):
            i, j = self.edges[:, missing[0]].tolist()
            raise DeviceError(
                f"units {i} and {j} are coupled, and no coupler of this device "
                "lies between their qubits; embed the machine anew"
            )
        inside = sparse.coo_array(
            (np.ones(len(self.inside)), self.inside.T),
            shape=(len(self.qubits), len(self.qubits)),
        )
        pieces, piece = csgraph.connected_components(inside, directed=False)
        if pieces > len(self.lengths):
            pairs = set(zip(self.chain.tolist(), piece.tolist(), strict=True))
            units = [unit for unit, _ in sorted(pairs)]
            torn = next(u for u in units if units.count(u) > 1)
            raise DeviceError(
                f"the qubits of unit {torn} are not connected to a chain; "
                "embed the machine anew"
            )
        pulls = self._sums(
            self.inside, np.full(len(self.inside), self.strength)
        )
        most = -device.properties.get("per_qubit_coupling_range", (-1e9, 0))[0]
        if pulls.max() >= most:
            raise DeviceError(
                f"the couplings of a qubit to its chain are {pulls.max():g} "
                f"together, and the device allows less than {most:g}; take a "
                "smaller chain_strength"
            )
        self.room = most - pulls  # for the other couplings of each qubit

    def _sums(self, pairs, weights):
        """Sum of the weights at each qubit."""
        both = np.repeat(weights, 2)
        return np.bincount(pairs.ravel(), both, minlength=len(self.qubits))

    def fit(self, machine):
        """Whether they are those of a machine."""
        return np.array_equal(self.edges, machine.edges.cpu().numpy())

    def loads(self, h, J):
        """Size of the largest field and coupling; share of a qubit's room."""
        each = np.abs(J / self.couplers)
        together = self._sums(self.ends, each[self.edge]) / self.room
        field = np.abs(h / self.lengths).max(initial=0)
        return field, each.max(initial=0), together.max(initial=0)

    def bqm(self, h, J, sign):
        """The program of the qubits, with units of `sign` -1 reversed."""
        J = J * sign[self.edges[0]] * sign[self.edges[1]]
        coupling = np.concatenate(
            [
                (J / self.couplers)[self.edge],
                np.full(len(self.inside), -self.strength),
            ]
        )
        row, column = np.concatenate([self.ends, self.inside]).T
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            (h * sign / self.lengths)[self.chain],
            (row, column, coupling),
            0.0,
            dimod.SPIN,
            variable_order=self.qubits,
        )

    def read(self, spins, rng):
        """Spins of the units by majority, and the share of broken chains."""
        starts = np.cumsum(self.lengths) - self.lengths
        sums = np.add.reduceat(spins.astype(int), starts, axis=1)
        broken = float((np.abs(sums) < self.lengths).mean())
        ties = rng.choice([-1, 1], sums.shape)
        return np.where(sums == 0, ties, np.sign(sums)), broken
