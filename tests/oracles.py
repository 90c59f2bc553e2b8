"""Small machines worked out the slow way: every state, every pair, float64.

Nothing here calls the library's arithmetic. Parameters are read as plain
numbers, so that an oracle and the code it judges share no mistake.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import expm

from qbmvae_mini.machines import RBM, BoltzmannMachine

#: An odd ring needs three colours; unit 7 is coupled to nobody.
SPARSE_EDGES = [(0, 1), (1, 2), (2, 3), (3, 4), (5, 4), (5, 6), (0, 6), (2, 5)]
KINDS = ("rbm", "dense", "sparse")


def random_machine(kind, *, seed=1, scale=0.8, dtype=torch.float32):
    """A machine of at most 8 units with weights that matter."""
    machine = {
        "rbm": lambda: RBM(3, 5),
        "dense": lambda: BoltzmannMachine(6),
        "sparse": lambda: BoltzmannMachine(8, SPARSE_EDGES),
    }[kind]()
    return randomise(machine.to(dtype), seed=seed, scale=scale)


@torch.no_grad()
def randomise(machine, *, seed=1, scale=0.8, offset=0.7):
    """Fill a machine with Gaussian weights and an offset."""
    rng = np.random.default_rng(seed)
    for parameter in machine.parameters():
        draws = rng.normal(0, scale, tuple(parameter.shape))
        parameter.copy_(torch.from_numpy(draws))
    machine.offset.fill_(offset)
    return machine


def listed(n_units):
    """All states in counting order, shape (2^n, n)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n_units)))


def pairs_of(machine):
    """The coupled pairs, in the order of the machine's own weights."""
    if isinstance(machine, RBM):
        left, right = range(machine.n_left), range(machine.n_right)
        return [(i, machine.n_left + j) for i in left for j in right]
    return [tuple(edge) for edge in machine.edges.T.tolist()]


def weights_of(machine):
    """Bias and couplings as differentiable tensors, in float64."""
    if isinstance(machine, RBM):
        bias = torch.cat([machine.a, machine.c])
        return bias.double(), machine.W.reshape(-1).double()
    return machine.bias.double(), machine.coupling.double()


def loop_energy(machine, z):
    """Energy of one state, by a loop over units and a loop over pairs."""
    bias, coupling = (w.detach().tolist() for w in weights_of(machine))
    energy = float(machine.offset)
    for b, z_i in zip(bias, z, strict=True):
        energy -= b * z_i
    for (i, j), weight in zip(pairs_of(machine), coupling, strict=True):
        energy -= weight * z[i] * z[j]
    return energy


def energies(machine):
    """Energies of all states, shape (2^n,)."""
    return np.array([loop_energy(machine, z) for z in listed(machine.n_units)])


def log_z(machine, beta=1.0):
    """Log of the sum of exp(-beta E), term by term."""
    return np.logaddexp.reduce(-beta * energies(machine))


def law(machine, beta=1.0):
    """Probability of every state, shape (2^n,)."""
    return np.exp(-beta * energies(machine) - log_z(machine, beta))


class Quantum(NamedTuple):
    """A Boltzmann machine in a transverse field, in float64."""

    hamiltonian: np.ndarray
    rho: np.ndarray
    law: np.ndarray  # the diagonal of rho
    log_trace: float
    magnetisation: float  # <sum of sigma^x>


def quantum(machine, gamma):
    """H from Kronecker products, its exponential by scipy."""
    n = machine.n_units
    flip = np.array([[0.0, 1.0], [1.0, 0.0]])
    flips = sum(
        np.kron(np.kron(np.eye(2**i), flip), np.eye(2 ** (n - 1 - i)))
        for i in range(n)
    )
    hamiltonian = np.diag(energies(machine)) - gamma * flips
    weight = expm(-hamiltonian)
    rho = weight / np.trace(weight)
    return Quantum(
        hamiltonian,
        rho,
        np.diag(rho),
        float(np.log(np.trace(weight))),
        float(np.trace(rho @ flips)),
    )


def listed_energy(machine):
    """Energies of all states, differentiable in the machine's weights."""
    states = torch.from_numpy(listed(machine.n_units))
    bias, coupling = weights_of(machine)
    i, j = np.array(pairs_of(machine)).T
    both = states[:, i] * states[:, j]  # (states, pairs)
    return machine.offset.double() - states @ bias - both @ coupling


def listed_log_q(logits):
    """Log q of every state for each row of logits, (batch, 2^n)."""
    states = torch.from_numpy(listed(logits.shape[-1]))
    mean = 1 / (1 + (-logits[:, None, :]).exp())
    return torch.where(states == 1, mean, 1 - mean).log().sum(-1)


def listed_kl(logits, energy):
    """KL(q||p) of each row by the sum over all states, (batch,)."""
    log_q = listed_log_q(logits)
    log_p = -energy - energy.neg().logsumexp(0)
    return (log_q.exp() * (log_q - log_p)).sum(-1)


def relative_error(found, expected):
    """Distance of two arrays over the norm of the second."""
    found, expected = (torch.as_tensor(x).detach() for x in (found, expected))
    return float((found - expected).norm() / expected.norm())


class Verdict(NamedTuple):
    """How draws compare with the law that they claim to follow."""

    worst_z: float  # first and second moments and the mean energy
    tv: float
    tv_floor: float  # what that many honest draws reach on average
    tv_z: float

    @property
    def accepted(self):
        """Nothing is five standard errors away."""
        return self.worst_z < 5 and self.tv_z < 5


def judge(draws, machine, beta=1.0, *, p=None):
    """Compare independent draws with exp(-beta E) / Z, or with the law `p`."""
    draws = np.asarray(draws, dtype=float)
    n_draws, n = draws.shape
    assert n_draws >= 100_000
    assert n == machine.n_units
    assert np.isin(draws, (0, 1)).all()
    place = 2 ** np.arange(n)[::-1]
    counts = np.bincount((draws @ place).astype(int), minlength=2**n)
    p, found = law(machine, beta) if p is None else p, counts / n_draws

    states = listed(n)
    i, j = np.triu_indices(n, 1)
    moments = [states, states[:, i] * states[:, j], energies(machine)[:, None]]
    moments = np.hstack(moments)
    moments = moments[:, np.ptp(moments, axis=0) > 0]
    mean = p @ moments
    sd = np.sqrt(p @ (moments - mean) ** 2 / n_draws)
    worst_z = np.abs((found @ moments - mean) / sd).max()

    def distance(frequency):
        return np.abs(frequency - p).sum(-1) / 2

    honest = np.random.default_rng(0).multinomial(n_draws, p, size=300)
    floor = distance(honest / n_draws)
    tv_z = (distance(found) - floor.mean()) / floor.std()
    return Verdict(worst_z, distance(found), floor.mean(), tv_z)
