"""The one seam to dimod: annealers, classical or quantum, behind `sample`."""

import copy

import dimod
import numpy as np
import torch

from qbmvae_mini.checks import check_bits, check_seed, check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.numbered_calls import NumberedCalls

#: neal cools down and optimises unless told otherwise. Constant beta = 1
#: samples; heat-bath acceptance, because under its default Metropolis rule
#: near-zero weights make every bit flip at every sweep (period 2).
NEAL_DEFAULTS = {
    "beta_range": (1.0, 1.0),
    "proposal_acceptance_criteria": "Gibbs",
    "num_sweeps": 100,
}

#: More reads than this cannot be counted in 64 bits.
MAX_READS = 2**62


class DimodSampler(NumberedCalls):
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

    A deep copy shares the child, which may hold a lock or a connection.

    Raises
    ------
    TypeError
        If `child` is no dimod sampler, for an unknown keyword, or if the
        child returns no `dimod.SampleSet`.
    ValueError
        If the child returns fewer reads or other variables than asked for,
        no bits or spins, or numbers of reads that are none.
    """

    def __init__(self, child, *, seed=0, **kwargs):
        if not isinstance(child, dimod.Sampler):
            found = type(child).__name__
            if isinstance(child, type):
                found = f"the class {child.__name__}; make one first"
            raise TypeError(f"child is a dimod.Sampler, not {found}")
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

    def sample(self, machine, n):
        """Draw `n` states, shape (n, n_units)."""
        n = check_whole("n", n, 1)
        check_classical(machine, "DimodSampler")
        kwargs = dict(self.kwargs)
        if "seed" in self.child.parameters:
            kwargs["seed"] = self._next_seed(2**31)
        found = self.child.sample(machine.to_bqm(), num_reads=n, **kwargs)
        states, reads = self._checked(found, machine.n_units)
        picked = self._pick(reads, n)
        self._count()
        return states[picked].to(machine.offset)

    def __deepcopy__(self, memo):
        """A copy with calls of its own, that shares the child.

        A client of hardware holds a connection and a lock, which no copy has.
        """
        twin = copy.copy(self)
        twin.kwargs = dict(self.kwargs)
        return twin

    def settings(self):
        """The child's class, its keywords and the seed.

        A keyword that JSON does not know is given in words.
        """
        keywords = {name: _plain(value) for name, value in self.kwargs.items()}
        return {
            "child": type(self.child).__name__,
            "seed": self.seed,
            "keywords": keywords,
        }

    def _checked(self, found, n_units):
        """The bits of a `dimod.SampleSet` in unit order, and their reads."""
        who = type(self.child).__name__
        if not isinstance(found, dimod.SampleSet):
            raise TypeError(
                f"{who} returned a {type(found).__name__}, not a "
                "dimod.SampleSet"
            )
        missing = set(range(n_units)) - set(found.variables)
        if missing:
            raise ValueError(
                f"{who} returned no value for {len(missing)} of "
                f"{n_units} variables, the first is {min(missing)}"
            )
        columns = [found.variables.index(i) for i in range(n_units)]
        states = torch.from_numpy(found.record.sample[:, columns].copy())
        if found.vartype is dimod.SPIN:
            states = (states + 1) / 2
        check_bits(f"reads of {who}", states)
        return states, self._reads(found.record.num_occurrences)

    def _reads(self, times):
        """How often each state was read, as whole numbers."""
        times = np.asarray(times)
        whole = times.dtype.kind in "iuf" and (times >= 0).all()
        if not whole or (times != np.rint(times)).any():
            raise ValueError(
                f"num_occurrences of {type(self.child).__name__} are whole "
                f"numbers of at least 0, not {times[:5].tolist()}"
            )
        if times.sum(dtype=float) >= MAX_READS:
            raise ValueError(
                f"{type(self.child).__name__} counts {times.sum(dtype=float):g}"
                " reads, more than 64 bits hold"
            )
        return times.astype(np.int64)

    def _pick(self, reads, n):
        """Rows of `n` reads: all there are, or that many picked blindly.

        Some children sort by energy, so that the first ones are the lowest.
        Where a state was read a thousand million times, no row is repeated so
        often.
        """
        last = reads.cumsum()  # of each state's reads
        total = int(last[-1]) if len(last) else 0
        if total < n:
            raise ValueError(
                f"{type(self.child).__name__} returned {total} of {n} reads"
            )
        read = np.arange(n)
        if total > n:
            rng = np.random.default_rng(self._calls + 1)
            read = rng.choice(total, n, replace=False)
        return np.searchsorted(last, read, side="right")


def _plain(value):
    """`value` as JSON has it, or else in words."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    known = value is None or isinstance(value, (bool, str, int, float))
    return value if known else repr(value)
