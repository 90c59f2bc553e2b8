r"""The quantum Boltzmann machine: an energy of bits and a transverse field.

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

import numpy as np
import torch
from torch import nn

from qbmvae_mini.arrays import check_bits
from qbmvae_mini.boltzmann import Machine, all_states
from qbmvae_mini.checks import check_whole
from qbmvae_mini.partition import (
    BRACKET_ERRORS,
    Estimate,
    enumerable,
    exact_log_z,
    log_z_bracket,
)

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


@torch.no_grad()
def transverse_magnetisation(machine, sampler, n=1000):
    """<sum_i sigma^x_i> from the breaks of sampled world lines.

    The mean number of breaks of all world lines, divided by Gamma: each
    break is one factor Gamma sigma^x of the path integral, so that
    ``<breaks> = Gamma d log Tr exp(-H) / d Gamma``.

    Parameters
    ----------
    machine : QuantumBoltzmannMachine
    sampler : PathIntegralSampler
    n : int
        Number of draws.

    Returns
    -------
    Estimate
        At Gamma = 0 exactly 0, without a draw: breaks are then impossible,
        and a diagonal rho has no overlap with a flip.

    Raises
    ------
    TypeError
        If the machine has no transverse field, or the sampler no world lines.
    """
    n = check_whole("n", n, 2)
    _check_quantum(machine, sampler)
    gamma = float(machine.gamma.detach())
    if gamma == 0:
        return Estimate(0.0, 0.0)
    _, breaks = sampler.sample_paths(machine, n)
    each = breaks.sum(1).double() / gamma  # (n,)
    return Estimate(float(each.mean()), float(each.std()) / math.sqrt(n))


def integrated_log_partition(machine, sampler, *, n=1000, nodes=8):
    r"""Log Tr exp(-H) in nats, by integration over the transverse field.

    ``log Tr exp(-H) = log Z + integral over g from 0 to Gamma of
    <sum_i sigma^x_i>_g``, with the classical log Z exact where its states can
    be listed and from `log_z_bracket` elsewhere, and the integral by
    Gauss-Legendre quadrature.

    Parameters
    ----------
    machine : QuantumBoltzmannMachine
    sampler : PathIntegralSampler
    n : int
        Draws at each node.
    nodes : int
        Number of fields g. The error of the quadrature is *not* in the
        standard error: double the nodes and look whether the value moves.

    Returns
    -------
    Estimate
        Its standard error joins those of the nodes and, where log Z had to
        be estimated, that of the bracket.

    Raises
    ------
    TypeError
        If the machine has no transverse field, or the sampler no world lines.
    """
    nodes = check_whole("nodes", nodes, 1)
    _check_quantum(machine, sampler)
    value, error = _classical_log_z(machine.classical)
    variance = error**2
    gamma = float(machine.gamma.detach())
    points, weights = np.polynomial.legendre.leggauss(nodes)  # on (-1, 1)
    for point, weight in zip(points, gamma / 2 * weights, strict=True):
        field = gamma / 2 * (1 + float(point))
        at_field = QuantumBoltzmannMachine(machine.classical, field)
        found = transverse_magnetisation(at_field, sampler, n)
        value += float(weight) * found.value
        variance += (float(weight) * found.standard_error) ** 2
    return Estimate(value, math.sqrt(variance))


def _check_quantum(machine, sampler):
    if not isinstance(machine, QuantumBoltzmannMachine):
        raise TypeError(
            "machine is a QuantumBoltzmannMachine, not "
            f"{type(machine).__name__}; for a classical one see "
            "qbmvae_mini.partition"
        )
    if isinstance(sampler, type) or not hasattr(sampler, "sample_paths"):
        raise TypeError(
            "sampler draws world lines, as PathIntegralSampler() does; "
            f"{sampler!r} does not"
        )
    machine.check()


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


def _places(z, n_units):
    """Row of each state in `all_states`, (..., n_units) -> (...)."""
    if z.shape[-1:] != (n_units,):
        raise ValueError(
            f"states have {n_units} bits in their last dimension, not shape "
            f"{tuple(z.shape)}"
        )
    check_bits("states", z)
    worth = 2 ** torch.arange(n_units - 1, -1, -1, device=z.device)
    return (z.long() * worth).sum(-1)


def _classical_log_z(classical):
    if enumerable(classical):
        return Estimate(exact_log_z(classical), 0.0)
    bracket = log_z_bracket(classical)
    half_width = (bracket.upper - bracket.lower) / 2
    return Estimate(bracket.value, half_width / BRACKET_ERRORS)
