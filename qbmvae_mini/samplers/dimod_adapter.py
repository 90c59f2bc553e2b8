"""The one seam to dimod: annealers, classical or quantum, behind `sample`."""

import copy

import dimod
import torch

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.base import Sampler

#: neal cools down and optimises unless told otherwise. Constant beta = 1
#: samples; heat-bath acceptance, because under its default Metropolis rule
#: near-zero weights make every bit flip at every sweep (period 2).
NEAL_DEFAULTS = {
    "beta_range": (1.0, 1.0),
    "proposal_acceptance_criteria": "Gibbs",
    "num_sweeps": 100,
}


class DimodSampler(Sampler):
    """Any `dimod.Sampler` as a sampler of this package.

    Parameters
    ----------
    child : dimod.Sampler
        For example ``neal.SimulatedAnnealingSampler()``.
    seed : int
        Seeds the child's draws, where the child takes a seed; each call gets
        the next one, since one seed would repeat the same draws.
    **kwargs
        Passed to ``child.sample`` at each call. Unlike neal itself, a
        keyword that the child does not list in ``child.parameters`` is
        refused.

    Notes
    -----
    For neal, ``beta_range=(1, 1)``, ``proposal_acceptance_criteria="Gibbs"``
    and 100 sweeps are set unless given: each read starts at random bits, so
    the law is that of a chain after 100 sweeps, not of an infinite one.
    Which law another child samples is the child's affair.

    Raises
    ------
    TypeError
        If `child` is no dimod sampler, or for an unknown keyword.
    ValueError
        If the child returns fewer reads or other variables than asked for.
    """

    def __init__(self, child, *, seed=0, **kwargs):
        if not isinstance(child, dimod.Sampler):
            raise TypeError(
                f"child is a dimod.Sampler, not {type(child).__name__}"
            )
        known = child.parameters
        if "num_reads" not in known:
            raise TypeError(
                f"{type(child).__name__} takes no num_reads, so it cannot be "
                "asked for a number of draws"
            )
        if "num_reads" in kwargs:
            raise TypeError(
                "num_reads is the n of sample(machine, n); leave it out here"
            )
        for name in kwargs:
            if name not in known:
                raise TypeError(
                    f"{type(child).__name__} has no parameter {name!r}; it "
                    f"takes {', '.join(sorted(known))}"
                )
        if "proposal_acceptance_criteria" in known:
            kwargs = NEAL_DEFAULTS | kwargs
        self.child = child
        self.seed = check_seed(seed)
        self.kwargs = kwargs
        self._calls = 0

    def sample(self, machine, n):
        """Draw `n` states, shape (n, n_units)."""
        n = check_whole("n", n, 1)
        check_classical(machine, "DimodSampler")
        kwargs = dict(self.kwargs)
        if "seed" in self.child.parameters and "seed" not in kwargs:
            kwargs["seed"] = (self.seed * 1_000_003 + self._calls) % 2**31
        found = self.child.sample(machine.to_bqm(), num_reads=n, **kwargs)
        states = self._bits(found, machine, n)
        self._calls += 1  # a call that failed repeats its seed
        return states

    def __deepcopy__(self, memo):
        """A copy with calls of its own, that shares the child.

        A client of hardware holds a connection and a lock, which no copy has.
        """
        twin = copy.copy(self)
        twin.kwargs = dict(self.kwargs)
        return twin

    def settings(self):
        """The child's class, its keywords in words, and the seed."""
        keywords = {name: repr(value) for name, value in self.kwargs.items()}
        return {
            "child": type(self.child).__name__,
            "seed": self.seed,
            **keywords,
        }

    def reset(self):
        """Start again with the first seed."""
        self._calls = 0

    def state_dict(self):
        """How many calls were made, which decides the next seed."""
        return {"calls": torch.tensor(self._calls)}

    def load_state_dict(self, state):
        """Continue with the seed that comes next."""
        if "calls" not in state:
            raise ValueError(
                "this state is none of a DimodSampler: it holds "
                f"{', '.join(sorted(state)) or 'nothing'}, and no calls"
            )
        self._calls = int(state["calls"])

    def _bits(self, found, machine, n):
        """Check a `dimod.SampleSet` and turn it into (n, n_units) bits."""
        who = type(self.child).__name__
        missing = set(range(machine.n_units)) - set(found.variables)
        if missing:
            raise ValueError(
                f"{who} returned no value for {len(missing)} of "
                f"{machine.n_units} variables, the first is {min(missing)}"
            )
        found = found.change_vartype(dimod.BINARY, inplace=False)
        columns = [found.variables.index(i) for i in range(machine.n_units)]
        states = torch.from_numpy(found.record.sample[:, columns].copy())
        times = torch.from_numpy(found.record.num_occurrences.copy())
        states = states.repeat_interleave(times.long(), dim=0)
        if len(states) < n:
            raise ValueError(f"{who} returned {len(states)} of {n} reads")
        if len(states) > n:  # some children sort by energy: pick blindly
            generator = torch.Generator().manual_seed(self._calls + 1)
            picked = torch.randperm(len(states), generator=generator)[:n]
            states = states[picked]
        return states.to(next(machine.parameters()))
