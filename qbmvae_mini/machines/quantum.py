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

import math
import numbers

import torch
from torch import nn

from qbmvae_mini.checks import kind_of
from qbmvae_mini.machines.base import Machine
from qbmvae_mini.machines.states import _places, all_states

#: Matrices of 2^n rows: at 10 qubits a gradient takes seconds, at 12 minutes.
MAX_QUBITS = 10


#: exp(-x) is 0 in double precision beyond x = 745.
MAX_SPREAD = 700.0


class QuantumBoltzmannMachine(nn.Module):
    """A Boltzmann machine in a transverse field, all of its units visible.

    Parameters
    ----------
    classical : Machine
        Holds the energy E(z), its biases and its couplings.
    gamma : float
        Strength of the transverse field in nats, at least 0.

    Attributes
    ----------
    classical : Machine
    gamma : Parameter, shape ()
    n_units : int

    Notes
    -----
    What is exact is computed in double precision, whatever the precision of
    the parameters, and for at most 10 qubits. Gradients by autograd are those
    of the matrix exponential, so levels of equal energy do no harm.

    Raises
    ------
    TypeError
        If `classical` is no classical machine.
    ValueError
        If `gamma` is negative, NaN or infinite.

    References
    ----------
    Amin, Andriyash, Rolfe, Kulchytskyy and Melko 2018, Quantum Boltzmann
    machine (arXiv:1601.02036). Their spins are our bits by s = 2z - 1.
    """

    def __init__(self, classical, gamma):
        super().__init__()
        if not isinstance(classical, Machine):
            raise TypeError(
                "classical is a BoltzmannMachine or an RBM, not "
                f"{type(classical).__name__}"
            )
        self.classical = classical
        like = next(classical.parameters())
        gamma = torch.tensor(_checked_gamma(gamma), dtype=like.dtype)
        _checked_gamma(float(gamma))  # it may be too large for the precision
        self.gamma = nn.Parameter(gamma.to(like.device))

    @property
    def n_units(self):
        """Number of qubits."""
        return self.classical.n_units

    def check(self):
        """Raise ValueError if gamma or a weight is out of range."""
        self.classical.check()
        _checked_gamma(float(self.gamma.detach()))

    def energy(self, z):
        """The diagonal of H in nats, (..., n_units) -> (...)."""
        return self.classical.energy(z)

    @property
    def n_visible(self):
        """Units that see data: all of them."""
        return self.n_units

    def visible_energy(self, v):
        """What a visible state costs in the bound: the diagonal of H."""
        return self.energy(v)

    @property
    def coupling(self):
        """Couplings of the diagonal, in the order of the edges."""
        return self.classical.coupling

    def set_couplings(self, coupling):
        """Put other values on the edges of the diagonal."""
        self.classical.set_couplings(coupling)

    def settings(self):
        """Those of the diagonal, and the field."""
        return {
            "kind": kind_of(self),
            "classical": self.classical.settings(),
            "gamma": float(self.gamma.detach()),
        }

    def mean_energy(self, z):
        """Mean of the diagonal over `n` states, (n, n_units) -> a scalar."""
        return self.classical.mean_energy(z)

    def hamiltonian(self):
        """H in nats, shape (2^n, 2^n), states in the order of `all_states`.

        Raises
        ------
        ValueError
            For more than 10 qubits.
        """
        self.check()
        energy = self._listed_energy()
        flips = _flips(self.n_units).to(energy.device)
        return torch.diag(energy) - self.gamma.double() * flips

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
        place = _places(z, self.n_units)
        return self.density_matrix().diagonal().log()[place]

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
        _places(z, self.n_units)
        z = z.to(next(self.classical.parameters()))
        return -self.energy(z).double() - self.log_partition()

    def transverse_magnetisation(self):
        """Exact Tr(rho sum_i sigma^x_i) = d log Tr exp(-H) / d Gamma."""
        rho = self.density_matrix()
        return (rho * _flips(self.n_units).to(rho.device)).sum()

    def _listed_energy(self):
        n = self.n_units
        if n > MAX_QUBITS:
            raise ValueError(
                f"{n} qubits need matrices of 2^{n} rows; the limit is "
                f"{MAX_QUBITS}. Use PathIntegralSampler and "
                "integrated_log_partition."
            )
        like = next(self.classical.parameters())
        states = all_states(n, dtype=like.dtype).to(like.device)
        return self.energy(states).double()


def _checked_gamma(gamma):
    """`gamma` as a float, or a sentence that says what is wrong with it."""
    number = isinstance(gamma, numbers.Real) and not isinstance(gamma, bool)
    if not number or not math.isfinite(gamma) or gamma < 0:
        raise ValueError(
            "gamma, the transverse field, is a finite number of at least 0, "
            f"not {gamma!r}; the law does not depend on its sign"
        )
    return float(gamma)


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
