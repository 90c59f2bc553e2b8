"""Path-integral Monte Carlo: draws of a quantum Boltzmann machine.

``Tr exp(-H)`` is a sum over *world lines*: every qubit is a bit that flips an
even number of times while an imaginary time runs from 0 to 1 and closes on
itself. A flip is called a break. Weighted by ``Gamma`` a break and by the
mean energy along the way, the states at time 0 follow the quantum law
``<z|exp(-H)|z> / Tr exp(-H)``, with no minus sign anywhere: a transverse
field alone can be simulated on a classical computer.
"""

import dimod
import torch
from dwave.samplers import PathIntegralAnnealingSampler

from qbmvae_mini.checks import check_seed, check_whole, warn
from qbmvae_mini.machines.base import check_quantum
from qbmvae_mini.samplers.numbered_calls import NumberedCalls

#: Time of a draw (100 sweeps): 0.2 ms at 6 qubits, 13 ms at 64, 0.2 s at 256.
SLOW_QUBITS = 64

#: A hundredth of the kernel's 2^16 slices of time. Breaks share no slice, so
#: at Gamma = 655 half a per cent of them are missing, at 10,000 seven.
MAX_GAMMA = 655.0


class PathIntegralSampler(NumberedCalls):
    """Draws from a `QuantumBoltzmannMachine` by path-integral Monte Carlo.

    Each draw is a world line of its own, started at random bits without
    breaks and updated `sweeps` times at the machine's constant field: draws
    are independent, and their law is that of a chain after `sweeps` sweeps.
    At Gamma = 0 there are no breaks and this is Gibbs sampling of the
    classical machine.

    Parameters
    ----------
    sweeps : int
        Updates of each qubit, on average (qubits are picked at random). An
        update redraws the whole world line of a qubit from its law given
        those of the others.
    seed : int
        Seeds the draws; each call gets the next seed.

    Notes
    -----
    The kernel is ``dwave.samplers.PathIntegralAnnealingSampler`` with both
    of its schedules constant. Its ``Hp_field`` is the inverse temperature,
    here 1, and its ``Hd_field`` is Gamma itself, in the units of the energy.
    Time has 2^16 slices, which is continuous for Gamma far below 2^16.

    World lines are not continued from call to call: `dwave-samplers` 1.8
    reads a wrong number of breaks where it takes them up again
    (``localPIMC::reinitQuantum``).

    References
    ----------
    King et al. 2021, Scaling advantage over path-integral Monte Carlo in
    quantum simulation of geometrically frustrated magnets: the kernel.
    """

    draws_paths = True

    def __init__(self, sweeps=100, seed=0):
        self.sweeps = check_whole("sweeps", sweeps, 1)
        self.seed = check_seed(seed)

    def sample(self, machine, n):
        """Draw `n` states.

        Returns
        -------
        Tensor, shape (n, n_units)

        Raises
        ------
        TypeError
            For a machine without a transverse field.
        ValueError
            For a field above 655 nats, or weights that are no numbers.
        """
        return self.sample_paths(machine, n)[0]

    def sample_paths(self, machine, n):
        """Draw `n` states together with the breaks of their world lines.

        Returns
        -------
        states : Tensor, shape (n, n_units)
        breaks : Tensor of int, shape (n, n_units)
            How often each qubit flips along its world line.
        """
        n = check_whole("n", n, 1)
        _check_field(machine)
        found = PathIntegralAnnealingSampler().sample(
            machine.classical.to_bqm(),
            num_reads=n,
            beta_schedule_type="custom",
            Hp_field=[1.0] * self.sweeps,
            Hd_field=[float(machine.gamma.detach())] * self.sweeps,
            project_states=(True, False),  # start without breaks, return them
            # At least 1: the kernel takes 0 as "use a random device".
            seed=1 + self._next_seed(2**31 - 1),
        )
        self._count()
        found.change_vartype(dimod.BINARY, inplace=True)
        columns = [found.variables.index(i) for i in range(machine.n_units)]
        states = torch.from_numpy(found.record.sample[:, columns])
        breaks = torch.from_numpy(found.info["num_breaks"][:, columns])
        return states.to(machine.offset), breaks

    def settings(self):
        """Sweeps and seed."""
        return {"sweeps": self.sweeps, "seed": self.seed}


def _check_field(machine):
    check_quantum(machine, "PathIntegralSampler")
    gamma = float(machine.gamma.detach())
    if gamma > MAX_GAMMA:
        raise ValueError(
            f"gamma is {gamma:g} nats; beyond {MAX_GAMMA:g} "
            "the slices of time are too few for its breaks, use a weaker field"
        )
    if machine.n_units > SLOW_QUBITS:
        warn(
            f"path-integral Monte Carlo of {machine.n_units} qubits is slow: "
            f"the time of a draw grows as the square of their number, and "
            f"{SLOW_QUBITS} already take milliseconds"
        )
