"""An annealer as a sampler at temperature 1."""

import hashlib
import math

import dimod
import numpy as np
import torch

from qbmvae_mini.checks import (
    check_real,
    check_seed,
    check_switch,
    check_whole,
)
from qbmvae_mini.estimates import effective_beta
from qbmvae_mini.hardware.budget import Cost, access_time
from qbmvae_mini.hardware.errors import DeviceError, device_error
from qbmvae_mini.hardware.tape import kind_of_answers
from qbmvae_mini.hardware.wires import Wires
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.base import Sampler, check_state

#: Expected step of log beta from call to call, where it is tracked.
DRIFT = 0.02

#: An answer with fewer different states may come twice by chance.
TELLING = 16


class Annealer(Sampler):
    r"""A D-Wave annealer, or a mock of one, behind `sample`.

    A device feels what is programmed at an inverse temperature beta of its
    own. To draw from exp(-E) the spin model is multiplied by 1 / beta, no more
    and no less: what is out of range then is refused, never clipped and never
    rescaled.

    Parameters
    ----------
    device : dimod.Structured
        For example ``MockAnnealer()`` or ``connect()``.
    embedding : dict of int to tuple of int
        Qubits of each unit, kept over all steps; see `embed` and
        `native_machine`. A unit's field is shared out over its qubits, a
        coupling over the couplers between two chains.
    beta : float
        Inverse temperature of the device, in programmed units; `calibrate`
        finds it.
    track : bool
        Follow beta from draw to draw by the draws themselves. Switch it off
        (`freeze`) before anything is judged; a `fork` has it off.
    chain_strength : float, optional
        Programmed coupling in a chain; by default the largest that the device
        allows. The usual rules are made for optimisation: at temperature 1
        small weights would come with chains that break.
    reversals : int
        Calls over which the reads are shared out, each with other units
        reversed (spin-reversal transforms), so that constant errors of the
        fields average out.
    max_broken : float
        Share of broken chains above which an answer is refused. Below it, a
        broken chain is read by the majority of its qubits.
    annealing_time : float, optional
        Microseconds.
    budget : Budget, optional
    draws : int
        States of a negative phase.
    seed : int
        Of the reversals and of ties, and of a simulated device.

    Attributes
    ----------
    beta : float
        Current estimate; ``beta_se`` is its standard error.
    report : dict
        Of the last draw: kind, scale, chain strength, share of broken chains,
        calls, seconds, and the `Estimate` of beta.

    Raises
    ------
    DeviceError
        If the device fails, gives fewer reads than asked for, breaks too many
        chains, gives one answer twice, or if the weights are out of its range.
    BudgetError
        Before a draw that would cost more than is left.
    """

    def __init__(
        self,
        device,
        embedding,
        *,
        beta=1.0,
        track=False,
        chain_strength=None,
        reversals=1,
        max_broken=0.1,
        annealing_time=None,
        budget=None,
        draws=256,
        seed=0,
    ):
        if not isinstance(device, dimod.Structured):
            raise TypeError(
                "device is a dimod sampler with a graph of qubits, such as "
                f"MockAnnealer(), not {type(device).__name__}"
            )
        self.device = device
        self.embedding = {
            check_whole("a unit of the embedding", i, 0): tuple(chain)
            for i, chain in embedding.items()
        }
        beta = check_real("beta", beta, above=0)
        self.track = check_switch("track", track)
        limits = device.properties  # on some devices wider for chains
        limit = -limits.get("extended_j_range", limits["j_range"])[0]
        if chain_strength is None:
            chain_strength = limit
        self.chain_strength = check_real(
            "chain_strength", chain_strength, above=0, most=limit
        )
        self.reversals = check_whole("reversals", reversals, 1)
        self.max_broken = check_real("max_broken", max_broken, least=0, most=1)
        if annealing_time is not None:
            annealing_time = check_real(
                "annealing_time", annealing_time, above=0
            )
        self.annealing_time = annealing_time
        self.budget = budget
        self.draws = check_whole("draws", draws, 1)
        self.seed = check_seed(seed)
        # Of log beta: where it starts, and its variance; known, or a guess.
        self._start = math.log(beta), 1.0 if track else 0.0
        self._wires = None
        self.reset()
        self.report = {}

    @property
    def beta(self):
        """Current estimate of the device's inverse temperature."""
        return math.exp(self._log_beta)

    @property
    def beta_se(self):
        """Its standard error."""
        return self.beta * math.sqrt(self._variance)

    def sample(self, machine, n):
        """Draw `n` states, shape (n, n_units)."""
        n = check_whole("n", n, 1)
        check_classical(machine, "Annealer")
        scale = 1 / self.beta
        states = self._draw(machine, n, scale)
        if self.track:
            self._follow(machine, states, scale)
        return states.to(machine.offset)

    def calibrate(self, machine, reads=4000):
        """Find beta by draws of `machine`, and start from there.

        Draw from machines of the training alone, then `freeze`: a temperature
        that is fitted to what is judged would flatter the device. A device
        limits the time of a call, some to 1 s: about 4,000 reads.

        Returns
        -------
        Estimate
            Of beta, by `qbmvae_mini.estimates.effective_beta`.
        """
        check_classical(machine, "Annealer")
        h, J, _ = self._program(machine, 1.0)
        scale = min(1 / self.beta, 1 / self._excess(h, J))
        states = self._draw(machine, check_whole("reads", reads, 2), scale)
        found = effective_beta(machine, states)
        if not found.value > 0:
            raise DeviceError(
                f"the draws look like beta = {found.value:.3g}: they do not "
                "follow this machine at any temperature"
            )
        beta = float(found.value / scale)
        se = float(found.standard_error / scale)
        self._start = math.log(beta), (se / beta) ** 2
        self._log_beta, self._variance = self._start
        self.report["beta"] = type(found)(beta, se)
        return self.report["beta"]

    def freeze(self):
        """Keep beta from now on; returns the sampler."""
        self.track = False
        return self

    def cost(self, n, steps=1):
        """What `steps` draws of `n` states cost by the timing model, a `Cost`.

        Nothing is asked of the device.
        """
        n, steps = check_whole("n", n, 1), check_whole("steps", steps, 1)
        batches = self._batches(n)
        seconds = steps * sum(map(self._seconds, batches))
        money = None if self.budget is None else self.budget.money(seconds)
        return Cost(steps * len(batches), steps * n, seconds, money)

    # One draw

    def _draw(self, machine, n, scale):
        """`n` states at a scale, checked and paid for, (n, n_units)."""
        h, J, wires = self._program(machine, scale)
        self._check_range(h, J)
        batches = self._batches(n)
        if self.budget is not None:
            self.budget.check(sum(map(self._seconds, batches)))
        rng = np.random.default_rng([self.seed, self._calls])
        states, broken, seconds = [], 0.0, 0.0
        for reads in batches:
            sign = np.ones(machine.n_units)
            if self.reversals > 1:
                sign = rng.choice([-1.0, 1.0], machine.n_units)
            spins, took = self._ask(wires.bqm(h, J, sign), reads, rng)
            chains, share = wires.read(spins, rng)
            states.append(chains * sign)
            broken += share * reads / n
            seconds += took
        self._calls += 1
        self.report = {
            "kind": kind_of_answers(self.device),
            "scale": scale,
            "chain_strength": self.chain_strength,
            "broken": broken,
            "calls": len(batches),
            "seconds": seconds,
        }
        if broken > self.max_broken:
            raise DeviceError(
                f"{broken:.1%} of the chains broke and max_broken is "
                f"{self.max_broken:.1%}; take a larger chain_strength or a "
                "native machine"
            )
        return torch.from_numpy((np.concatenate(states) + 1) / 2)

    def _ask(self, bqm, reads, rng):
        """One call: spins (reads, qubits) in the order of the model."""
        estimate = self._seconds(reads)
        if self.budget is not None:
            self.budget.charge(estimate)
        known = self.device.parameters
        asked = {
            "auto_scale": False,
            "answer_mode": "raw",
            "annealing_time": self.annealing_time,
            "seed": int(rng.integers(2**31)),
        }
        asked = {k: v for k, v in asked.items() if k in known and v is not None}
        who = type(self.device).__name__
        try:
            found = self.device.sample(bqm, num_reads=reads, **asked)
            found.resolve()
        except Exception as error:  # of whatever client; one sentence of it
            raise device_error(error, who) from None
        took = found.info.get("timing", {}).get("qpu_access_time")
        took = estimate if took is None else took / 1e6
        if self.budget is not None:
            self.budget.correct(estimate, took)
        record = found.record
        rows = np.repeat(np.arange(len(record)), record.num_occurrences)
        if len(rows) < reads:
            raise DeviceError(
                f"{who} returned {len(rows)} of {reads} reads; ask for fewer "
                "at once, or again"
            )
        self._refuse_repeated(record.sample, who)
        columns = [found.variables.index(v) for v in bqm.variables]
        rows = rng.permutation(rows)[:reads]
        return record.sample[np.ix_(rows, columns)], took

    def _refuse_repeated(self, sample, who):
        if len(np.unique(sample[: 8 * TELLING], axis=0)) < TELLING:
            return
        digest = hashlib.sha256(np.ascontiguousarray(sample)).digest()
        if digest == self._last:
            raise DeviceError(
                f"{who} gave the answer of the call before once more, read by "
                "read: it comes from a cache, and no new states were drawn"
            )
        self._last = digest

    def _batches(self, n):
        """Reads of each call: few enough for one, shared out over reversals."""
        most = self.device.properties.get("num_reads_range", (1, n))[1]
        calls = min(max(self.reversals, math.ceil(n / most)), n)
        return [len(part) for part in np.array_split(np.arange(n), calls)]

    def _seconds(self, reads):
        """Device time of one call; a replay and a solver without model: 0."""
        properties = self.device.properties
        if self.budget is None and not properties.get("problem_timing_data"):
            return 0.0
        qubits = sum(map(len, self.embedding.values()))
        time = access_time(properties, qubits, reads, self.annealing_time)
        return time / 1e6

    # The program

    def _program(self, machine, scale):
        """Fields and couplings of the spins, times `scale`, and the wires."""
        if self._wires is None or not self._wires.fit(machine):
            self._wires = Wires(
                self.device, self.embedding, machine, self.chain_strength
            )
        bqm = machine.to_bqm().change_vartype(dimod.SPIN, inplace=False)
        h = np.array([bqm.linear[i] for i in range(machine.n_units)])
        J = np.array(
            [bqm.get_quadratic(i, j) for i, j in machine.edges.T.tolist()]
        )
        return scale * h, scale * J, self._wires

    def _excess(self, h, J):
        """How many times out of range the program is, at most."""
        field, coupling, room = self._wires.loads(h, J)
        properties = self.device.properties
        h_most = min(-properties["h_range"][0], properties["h_range"][1])
        low, high = properties["j_range"]
        return max(1e-9, field / h_most, coupling / min(-low, high), room)

    def _check_range(self, h, J):
        excess = self._excess(h, J)
        if excess > 1 + 1e-9:
            raise DeviceError(
                f"at temperature 1 the weights are {excess:.2f} times out of "
                f"the range of {type(self.device).__name__}, whose beta is "
                f"{self.beta:.3g}; make them smaller, or take a colder device: "
                "nothing is clipped or rescaled"
            )

    def _follow(self, machine, states, scale):
        """A Kalman step of log beta, which has walked since the last draw."""
        self._variance += DRIFT**2
        try:
            found = effective_beta(machine, states)
        except ValueError:  # without weights every temperature looks right
            return
        ratio, se = found.value, found.standard_error
        self.report["beta"] = type(found)(ratio / scale, se / scale)
        if not ratio > 0 or not math.isfinite(se):
            return
        gain = self._variance / (self._variance + (se / ratio) ** 2)
        self._log_beta += gain * math.log(ratio)
        self._variance *= 1 - gain

    # The contract

    def fork(self, seed):
        """A copy with reversals of its own, whose beta is frozen."""
        twin = self.__deepcopy__({})
        twin.seed, twin._calls = check_seed(seed), 0
        return twin.freeze()

    def __deepcopy__(self, memo):
        """A copy that shares the device: a connection cannot be copied."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.report = dict(self.report)
        return twin

    def __reduce__(self):
        raise TypeError(
            "an Annealer holds a connection and is not pickled; keep its "
            "settings() and state_dict()"
        )

    def settings(self):
        """What decides the draws, beside the device's state and beta."""
        return {
            "device": str(self.device.properties.get("chip_id")),
            "kind of device": kind_of_answers(self.device),
            "embedding": [list(map(int, c)) for c in self.embedding.values()],
            "track": self.track,
            "chain_strength": self.chain_strength,
            "reversals": self.reversals,
            "annealing_time": self.annealing_time,
            "draws": self.draws,
            "seed": self.seed,
        }

    def state_dict(self):
        """Number of draws, log beta, its variance, seconds spent."""
        spent = 0.0 if self.budget is None else self.budget.spent
        state = [self._calls, self._log_beta, self._variance, spent]
        return {"annealer": torch.tensor(state, dtype=torch.float64)}

    def load_state_dict(self, state):
        """Go on from there; what is spent does not become less."""
        check_state(self, state, "annealer")
        numbers = state["annealer"].double().tolist()
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
            raise ValueError(
                "annealer of this state is four finite numbers, not "
                f"{numbers}; start anew with reset()"
            )
        calls, self._log_beta, self._variance, spent = numbers
        self._calls, self._last = int(calls), None
        if self.budget is not None:
            self.budget.spent = max(self.budget.spent, spent)

    def reset(self):
        """Start again from the given or calibrated beta."""
        self._calls, self._last = 0, None
        self._log_beta, self._variance = self._start
