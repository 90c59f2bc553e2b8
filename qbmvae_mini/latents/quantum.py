"""A quantum Boltzmann machine as prior, for a handful of bits."""

import torch

from qbmvae_mini.estimates.partition import BRACKET_ERRORS, Bracket
from qbmvae_mini.estimates.quantum_partition import integrated_log_partition
from qbmvae_mini.latents.boltzmann import EFFORTS, BoltzmannLatent
from qbmvae_mini.machines.base import check_quantum
from qbmvae_mini.machines.quantum import MAX_QUBITS
from qbmvae_mini.machines.states import all_states
from qbmvae_mini.samplers.base import Sampler


class QuantumLatent(BoltzmannLatent):
    r"""A machine in a transverse field as prior: every value is a bound.

    The exact ``p(z) = <z| exp(-H) |z> / Tr exp(-H)`` has no cheap gradient
    for the encoder, so its Golden-Thompson bound takes its place,

    .. math:: \log p(z) \ge -E(z) - \log \mathrm{Tr}\, e^{-H}

    (Amin et al. 2018; Khoshaman et al. 2018, QVAE, 1802.05779). So `kl` is an
    upper bound of the KL, `log_prior` and a likelihood made with it are lower
    bounds, and `estimate_log_z` is that of the trace. `energy` is exact: the
    mean of the diagonal of H. The bound can only lose from Gamma, which is
    therefore kept fixed.

    Parameters
    ----------
    machine : QuantumBoltzmannMachine
        Its ``gamma`` is excluded from training.
    sampler : PathIntegralSampler, optional
        Without it the trace and the negative phase are exact, by the matrix
        of at most 10 qubits.
    relaxation : str or Relaxation
        See `BitLatent`.
    negatives : int, optional
        See `BoltzmannLatent`.

    Raises
    ------
    TypeError
        If the machine is classical.
    ValueError
        Without a sampler, for more than 10 qubits.
    """

    def __init__(self, machine, sampler=None, **settings):
        listed = sampler is None
        super().__init__(
            machine, _ListedLaw() if listed else sampler, **settings
        )
        if listed and self.n_latent > MAX_QUBITS:
            raise ValueError(
                f"without a sampler a quantum prior has {MAX_QUBITS} qubits at "
                f"most, and this machine has {self.n_latent}; pass "
                "PathIntegralSampler()"
            )
        self.machine.gamma.requires_grad_(False)

    @property
    def is_bound(self):
        """Whether there is a field: without one, the bound is exact."""
        return float(self.machine.gamma) > 0

    def _check_machine(self, machine):
        check_quantum(machine, "QuantumLatent")

    @torch.no_grad()
    def _new_bracket(self, effort):
        if self.n_latent <= MAX_QUBITS:
            value = float(self.machine.log_partition())
            return Bracket(value, value, value)
        # By a fork: an evaluation does not move the draws of training.
        n = EFFORTS[effort]["chains"]
        found = integrated_log_partition(self.machine, self._fork(), n=n)
        reach = BRACKET_ERRORS * found.standard_error
        value = found.value
        return Bracket(value, value - reach, value + reach)


class _ListedLaw(Sampler):
    """The diagonal of the density matrix, state by state."""

    @torch.no_grad()
    def sample(self, machine, n):
        """`n` independent draws, (n, n_units)."""
        states, law = self._list(machine)
        drawn = torch.multinomial(
            law.cpu(), n, replacement=True, generator=self.generator
        )
        return states[drawn.to(states.device)]

    def mean_energy(self, machine, draws=None):
        """Exact mean of E, a scalar; its gradient is that of E alone."""
        states, law = self._list(machine)
        return law.to(states) @ machine.energy(states)

    @torch.no_grad()
    def _list(self, machine):
        like = next(machine.parameters())
        states = all_states(machine.n_units, dtype=like.dtype).to(like.device)
        return states, machine.log_prob(states).exp()
