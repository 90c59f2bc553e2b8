"""A mock annealer whose truth is known: every estimator gets an oracle."""

import itertools
import math

import dimod
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from qbmvae_mini.checks import check_real, check_seed, check_whole
from qbmvae_mini.hardware.budget import access_time
from qbmvae_mini.hardware.errors import NOT_INSTALLED, DeviceError
from qbmvae_mini.machines.states import all_states

#: Up to here all states are listed, and reads are exact and independent.
LISTED = 14

#: Spins coupled by more than this (times beta) also move together.
STRONG = 1.5

#: What can be made to go wrong at a call.
FAULTS = ("offline", "timeout", "fewer reads", "repeated answer")


class ThermalSpins(dimod.Sampler):
    """Spins of exp(-beta E) / Z: listed if few, else by Gibbs sweeps.

    After each sweep over single spins, sets of strongly coupled spins, such as
    the chains of an embedding, are flipped as a whole by the same rule, which
    leaves the law as it is and lets chains of 10 nats move.
    """

    parameters = None  # dimod.Sampler asks for both names in the class
    properties = None

    def __init__(self):
        self.properties = {}
        names = ("num_reads", "beta", "sweeps", "seed")
        self.parameters = {name: [] for name in names}

    def sample(self, bqm, *, num_reads=1, beta=1.0, sweeps=100, seed=None):
        """Draw `num_reads` states, each from random spins by `sweeps`."""
        num_reads = check_whole("num_reads", num_reads, 1)
        order = list(bqm.variables)
        spin = bqm.change_vartype(dimod.SPIN, inplace=False)
        h, (row, column, weight), _ = spin.to_numpy_vectors(order)
        n, rng = len(h), np.random.default_rng(seed)
        J = sparse.coo_array((weight, (row, column)), shape=(n, n)).tocsr()
        h, J = beta * h, beta * (J + J.T)
        draw = _listed if n <= LISTED else _swept
        spins = draw(h, J, num_reads, rng, sweeps)  # (n, reads)
        states = spins.T.astype(np.int8)
        if bqm.vartype is dimod.BINARY:
            states = (states + 1) // 2
        return dimod.SampleSet.from_samples_bqm((states, order), bqm)


class _Inside(ThermalSpins):
    """Inside D-Wave's mock, which hands its own keywords on."""

    def sample(self, bqm, *, num_reads, beta, sweeps, seed, **asked):
        own = {"beta": beta, "sweeps": sweeps, "seed": seed}
        return super().sample(bqm, num_reads=num_reads, **own)


def _listed(h, J, reads, rng, _):
    states = 2 * all_states(len(h)).numpy() - 1 if len(h) else np.ones((1, 0))
    energy = states @ h + (states * (J @ states.T).T).sum(1) / 2
    weight = np.exp(energy.min() - energy).cumsum()
    place = np.searchsorted(weight, rng.random(reads) * weight[-1], "right")
    return states[place].T


def _swept(h, J, reads, rng, sweeps):
    single = np.arange(len(h))
    strong = J.copy()
    strong.data = np.abs(strong.data) > STRONG
    strong.eliminate_zeros()
    _, chain = csgraph.connected_components(strong, directed=False)
    moves = _moves(h, J, single)
    if chain.max() + 1 < len(h):
        moves += _moves(h, J, chain)
    start = rng.integers(0, 2, (chain.max() + 1, reads)) * 2.0 - 1
    spins = start[chain].astype(np.float32)
    for _ in range(sweeps):
        for units, field, pull, member in moves:
            rise = -2 * member @ (spins[units] * (field + pull @ spins))
            with np.errstate(over="ignore"):
                flip = rng.random(rise.shape, np.float32) < 1 / (
                    1 + np.exp(rise)
                )
            spins[units] *= 1 - 2 * (member.T @ flip.astype(np.float32))
    return spins


def _moves(h, J, part):
    """Moves that flip whole parts, those that do not touch at once.

    Each is the units of these parts, their fields, their couplings to other
    parts, and which unit is in which part.
    """
    k = part.max() + 1
    J = J.tocoo()
    i, j = part[J.row], part[J.col]
    outside = i != j
    J = sparse.csr_array(
        (J.data[outside], (J.row[outside], J.col[outside])), shape=J.shape
    ).astype(np.float32)
    touching = [set() for _ in range(k)]
    for one, other in zip(i[outside], j[outside], strict=True):
        touching[one].add(int(other))
    colour = [-1] * k
    for one in range(k):
        taken = {colour[other] for other in touching[one]}
        colour[one] = next(c for c in itertools.count() if c not in taken)
    colour, moves = np.array(colour), []
    for c in range(max(colour) + 1):
        units = np.flatnonzero(colour[part] == c)
        parts, place = np.unique(part[units], return_inverse=True)
        shape = (len(parts), len(units))
        ones = np.ones(len(units), np.float32)
        member = sparse.csr_array((ones, (place, range(len(units)))), shape)
        field = h[units, None].astype(np.float32)
        moves.append((units, field, J[units], member))
    return moves


class MockAnnealer(dimod.Sampler, dimod.Structured):
    """D-Wave's mock device with a law inside, wrong in ways that are known.

    Parameters
    ----------
    topology : {"zephyr", "pegasus", "chimera"}
    shape : sequence of int, optional
        Size of the graph; by default D-Wave's small mock of the topology.
    beta : float
        Inverse temperature at which programmed fields and couplings are felt.
    drift : float
        Standard deviation of the step that log beta takes from call to call.
    noise : (float, float)
        Standard deviations of errors of the fields and of the couplings, new
        at each call, in programmed units.
    offset : float
        Standard deviation of a field's error that stays for good, one a qubit.
    misread : float
        Probability that a qubit is read as its opposite.
    broken : sequence of int
        Qubits that do not work.
    sweeps : int
        Of Gibbs sampling, where the problem is too large to list.
    faults : dict of int to str, optional
        What goes wrong at which call, counted from 0; one of `FAULTS`.
    seed : int

    Attributes
    ----------
    calls : int
    truth : list of float
        Beta of each call so far.

    Notes
    -----
    Answers say ``info["kind"] == "simulated"``, and their timing is that of
    the timing model of an Advantage system of 2022. Like a device it rescales
    what it is given to fill its ranges unless ``auto_scale=False``, which
    changes the temperature, and refuses then what is out of range. Unlike a
    device it takes a ``seed``.
    """

    parameters = None
    properties = None
    nodelist = None
    edgelist = None

    def __init__(
        self,
        topology="zephyr",
        shape=None,
        *,
        beta=4.0,
        drift=0.0,
        noise=(0.0, 0.0),
        offset=0.0,
        misread=0.0,
        broken=(),
        sweeps=50,
        faults=None,
        seed=0,
    ):
        try:
            from dwave.cloud.testing.mocks import qpu_problem_timing_data
            from dwave.system.testing import MockDWaveSampler
        except ImportError:
            raise DeviceError(NOT_INSTALLED) from None

        self.beta = check_real("beta", beta, above=0)
        self.drift = check_real("drift", drift, least=0)
        self.noise = tuple(check_real("noise", sd, least=0) for sd in noise)
        self.misread = check_real("misread", misread, least=0, most=0.5)
        self.sweeps = check_whole("sweeps", sweeps, 1)
        self.faults = dict(faults or {})
        unknown = set(self.faults.values()) - set(FAULTS)
        if unknown:
            raise ValueError(f"faults are {FAULTS}, not {min(unknown)!r}")
        self.seed = check_seed(seed)
        self.child = MockDWaveSampler(
            topology_type=topology,
            topology_shape=None if shape is None else list(shape),
            broken_nodes=list(broken),
            parameter_warnings=False,
            substitute_sampler=_Inside(),
            properties={
                "problem_timing_data": qpu_problem_timing_data(),
                "chip_id": f"mock {topology}",
                "kind": "simulated",
            },
        )
        self.nodelist, self.edgelist = self.child.nodelist, self.child.edgelist
        self.properties = self.child.properties
        self.parameters = self.child.parameters | {"seed": []}
        sd = check_real("offset", offset, least=0)
        errors = np.random.default_rng(seed).normal(0, sd, len(self.nodelist))
        self._offsets = dict(zip(self.nodelist, errors, strict=True))
        self.calls, self.truth, self._last = 0, [], None

    def to_networkx_graph(self):
        """The working graph, with the topology that it is part of."""
        return self.child.to_networkx_graph()

    @dimod.bqm_structured
    def sample(self, bqm, *, num_reads=1, auto_scale=True, seed=None, **kwargs):
        """Answer as a device would; `kwargs` as `DWaveSampler` takes them."""
        call, self.calls = self.calls, self.calls + 1
        rng = np.random.default_rng([self.seed, call])
        step = self.drift * rng.standard_normal() if call else 0.0
        self.truth.append((self.truth or [self.beta])[-1] * math.exp(step))
        fault = self.faults.get(call)
        _raise_if_fatal(fault)
        if fault == "repeated answer" and self._last is not None:
            return self._last.copy()
        if fault == "fewer reads":
            num_reads = num_reads // 2
        if seed is not None:
            rng = np.random.default_rng(seed)
        program = bqm.change_vartype(dimod.SPIN, inplace=False)
        scale = _largest_scale(program, self.properties)
        if auto_scale:
            program.scale(scale)
        elif scale < 1:
            raise DeviceError(
                f"a field or coupling is {1 / scale:.2f} times out of range, "
                "and auto_scale is off"
            )
        self._disturb(program, rng)
        self.child.substitute_kwargs = {
            "beta": self.truth[-1],
            "sweeps": self.sweeps,
            "seed": int(rng.integers(2**31)),
        }
        self._last = self._read(bqm, program, num_reads, rng, kwargs)
        return self._last

    def _disturb(self, program, rng):
        """Add the errors of the fields and of the couplings."""
        field, coupling = self.noise
        for qubit in program.variables:
            error = self._offsets[qubit] + field * rng.standard_normal()
            program.add_linear(qubit, error)
        for u, v in list(program.quadratic):
            program.add_quadratic(u, v, coupling * rng.standard_normal())

    def _read(self, bqm, program, num_reads, rng, kwargs):
        """Misread spins of the program, with the energies of the model."""
        asked = kwargs | {"num_reads": num_reads}
        found = self.child.sample(program, **asked | {"answer_mode": "raw"})
        spins = found.record.sample
        wrong = rng.random(spins.shape) < self.misread
        states = np.where(wrong, -spins, spins).astype(np.int8)
        if bqm.vartype is dimod.BINARY:
            states = (states + 1) // 2
        answer = dimod.SampleSet.from_samples_bqm(
            (states, list(found.variables)), bqm
        )
        if kwargs.get("answer_mode", "histogram") == "histogram":
            answer = answer.aggregate()
        microseconds = access_time(
            self.properties, len(bqm), num_reads, kwargs.get("annealing_time")
        )
        timing = {"qpu_access_time": microseconds}
        answer.info.update(found.info | {"kind": "simulated", "timing": timing})
        return answer


def _raise_if_fatal(fault):
    from dwave.cloud import exceptions

    if fault == "offline":
        raise exceptions.SolverOfflineError("solver is offline")
    if fault == "timeout":
        raise exceptions.PollingTimeout("polling timed out")


def _largest_scale(program, properties):
    """The factor that makes the largest weight fill its range."""
    room = [math.inf]
    for weights, limits in (
        (program.linear, properties["h_range"]),
        (program.quadratic, properties["extended_j_range"]),
    ):
        for weight in weights.values():
            if weight:
                room.append(limits[int(weight > 0)] / weight)
    return min(room) if min(room) < math.inf else 1.0
