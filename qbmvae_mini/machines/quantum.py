"""The quantum Boltzmann machine: an energy of bits and a transverse field.

The Hamiltonian of n qubits is the matrix

    H = diag E(z) - Gamma sum_i sigma^x_i,

where ``sigma^x_i`` flips bit i. Its density matrix is
``rho = exp(-H) / Tr exp(-H)``, and a measurement of all bits finds the state
z with probability ``p(z) = <z|rho|z>`` (Amin, Andriyash, Rolfe, Kulchytskyy
and Melko 2018, Quantum Boltzmann machine). At Gamma = 0 this is the
Boltzmann machine with energy E.

The Boltzmann prior of a "QBM-VAE" is *not* such a machine: it is classical,
and only drawn from by quantum hardware.
"""

import torch
from torch import nn

from qbmvae_mini.checks import check_real, dense, kind_of
from qbmvae_mini.machines.base import Machine, check_classical
from qbmvae_mini.machines.states import all_states, places

#: Matrices of 2^n rows: at 10 qubits a gradient takes seconds, at 12 minutes.
MAX_QUBITS = 10


#: exp(-x) is 0 in double precision beyond x = 745.
MAX_SPREAD = 700.0


class QuantumBoltzmannMachine(Machine):
    """A Boltzmann machine in a transverse field, all of its units visible.

    Parameters
    ----------
    classical : Machine
        Holds the energy E(z), its biases and its couplings.
    gamma : float
        Strength of the transverse field in nats, at least 0: the law does not
        depend on its sign.

    Attributes
    ----------
    classical : Machine
    gamma : Parameter, shape ()
    n_units : int
    is_classical : bool
        False: the law is not ``exp(-E) / Z``.

    Notes
    -----
    What is exact is computed in double precision and on the CPU, wherever the
    parameters are, and for at most 10 qubits. Gradients by autograd are those
    of the matrix exponential, so levels of equal energy do no harm.

    Raises
    ------
    TypeError
        If `classical` is no classical machine.
    ValueError
        If `gamma` is negative, NaN or infinite, or a weight is.

    References
    ----------
    Amin, Andriyash, Rolfe, Kulchytskyy and Melko 2018, Quantum Boltzmann
    machine (arXiv:1601.02036). Their spins are our bits by s = 2z - 1.
    """

    is_classical = False

    def __init__(self, classical, gamma):
        nn.Module.__init__(self)  # the graph is that of `classical`
        check_classical(classical, type(self).__name__)
        self.classical = classical
        like = next(classical.parameters())
        gamma = torch.tensor(_checked_gamma(gamma), dtype=like.dtype)
        _checked_gamma(float(gamma))  # it may be too large for the precision
        self.gamma = nn.Parameter(gamma.to(like.device))

    @property
    def n_units(self):
        """Number of qubits."""
        return self.classical.n_units

    @property
    def edges(self):
        """Coupled pairs of qubits, shape (2, n_edges)."""
        return self.classical.edges

    @property
    def offset(self):
        """Offset of the diagonal, shape ()."""
        return self.classical.offset

    @property
    def bias(self):
        """Biases of the diagonal, shape (n_units,)."""
        return self.classical.bias

    @property
    def coupling(self):
        """Couplings of the diagonal, in the order of the edges."""
        return self.classical.coupling

    def set_couplings(self, coupling):
        """Put other values on the edges of the diagonal."""
        self.classical.set_couplings(coupling)

    def check(self):
        """Raise ValueError if gamma or a weight is out of range."""
        self.classical.check()
        _checked_gamma(float(self.gamma.detach()))

    def settings(self):
        """Those of the diagonal, and the field."""
        return {
            "kind": kind_of(self),
            "classical": self.classical.settings(),
            "gamma": float(self.gamma.detach()),
        }

    def energy(self, z):
        """The diagonal of H in nats, (..., n_units) -> (...)."""
        return self.classical.energy(z)

    def mean_energy(self, z):
        """Mean of the diagonal over `n` states, (n, n_units) -> a scalar."""
        return self.classical.mean_energy(z)

    def field(self, z):
        """Minus the slope of the diagonal along each bit."""
        return self.classical.field(z)

    def conditionals(self):
        """Refused, as all that a transverse field does not have."""
        check_classical(self, "a sweep")

    def listing(self):
        """Refused: the states' weights are no exp(-E)."""
        check_classical(self, "a listing")

    def to_bqm(self):
        """Refused: a `dimod.BinaryQuadraticModel` has no transverse field."""
        check_classical(self, "dimod")

    @torch.no_grad()
    def law(self):
        """Probability of each state, (2^n_units,), in double precision."""
        return self.density_matrix().diagonal()

    def hamiltonian(self):
        """H in nats, shape (2^n, 2^n), states in the order of `all_states`.

        Raises
        ------
        ValueError
            For more than 10 qubits.
        """
        self.check()
        energy = self._listed_energy()
        gamma = self.gamma.cpu().double()
        return torch.diag(energy) - gamma * _flips(self.n_units)

    def density_matrix(self):
        """Normalised exp(-H) / Tr exp(-H), shape (2^n, 2^n).

        Raises
        ------
        ValueError
            As `hamiltonian`, or for energies more than 700 nats apart.
        """
        hamiltonian = self.hamiltonian()
        _check_spread(hamiltonian.detach().diagonal())
        weight = _shifted_exponential(hamiltonian)
        return weight / weight.trace()

    def log_prob(self, z):
        """Exact log p(z) = log <z|rho|z>, (..., n_units) -> (...)."""
        place = places(dense("states", z), self.n_units)
        return self.density_matrix().diagonal().log()[place.cpu()]

    def log_partition(self):
        """Exact log Tr exp(-H) in nats, by the eigenvalues of H.

        Only eigenvalues enter, so the gradient never divides by a gap
        between two of them.
        """
        return torch.linalg.eigvalsh(self.hamiltonian()).neg().logsumexp(0)

    def log_prob_bound(self, z):
        """-E(z) - log Tr exp(-H): a lower bound of `log_prob`.

        By the Golden-Thompson inequality (Amin 2018, bound-based training).
        Of the gradient, the positive phase is classical, and the negative
        phase needs draws of the diagonal alone. Gamma only ever lowers it.
        """
        places(dense("states", z), self.n_units)
        return -self.energy(z).cpu().double() - self.log_partition()

    def transverse_magnetisation(self):
        """Exact Tr(rho sum_i sigma^x_i) = d log Tr exp(-H) / d Gamma."""
        return (self.density_matrix() * _flips(self.n_units)).sum()

    def _listed_energy(self):
        n = self.n_units
        if n > MAX_QUBITS:
            raise ValueError(
                f"{n} qubits need matrices of 2^{n} rows; the limit is "
                f"{MAX_QUBITS}. Use PathIntegralSampler and "
                "integrated_log_partition."
            )
        return self.energy(all_states(n)).cpu().double()


def _checked_gamma(gamma):
    return check_real("gamma, the transverse field,", gamma, least=0)


def _flips(n_units):
    """Sum of sigma^x_i: 1 where two states differ in exactly one bit."""
    states = torch.arange(2**n_units)
    flips = torch.zeros(2**n_units, 2**n_units, dtype=torch.float64)
    for unit in range(n_units):
        flips[states, states ^ (1 << unit)] = 1
    return flips


def _check_spread(energy):
    spread = float(energy.max() - energy.min())
    if spread > MAX_SPREAD:
        raise ValueError(
            f"the machine's energies lie {spread:.0f} nats apart; beyond "
            f"{MAX_SPREAD:.0f} a probability is 0 in double precision, use "
            "smaller weights"
        )


def _shifted_exponential(hamiltonian):
    """exp(-(H - lowest level)): entries of at most 1, nothing overflows."""
    lowest = torch.linalg.eigvalsh(hamiltonian.detach())[0]
    shift = lowest * torch.eye(len(hamiltonian)).to(hamiltonian)
    return torch.linalg.matrix_exp(shift - hamiltonian)
