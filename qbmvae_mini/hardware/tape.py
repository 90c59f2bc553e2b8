"""Answers of a device, recorded and played again."""

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path

import dimod
import numpy as np

from qbmvae_mini.hardware.errors import TapeError

#: Digits of a field or coupling that tell two problems apart.
DIGITS = 6

KINDS = ("simulated", "device")

#: What of a device's properties a replay needs, and nothing else of them.
_PROPERTIES = (
    "chip_id",
    "topology",
    "h_range",
    "j_range",
    "extended_j_range",
    "per_qubit_coupling_range",
    "num_reads_range",
)

#: Schedule of a call: what of its keywords decides the law.
_SCHEDULE = ("num_reads", "annealing_time", "anneal_schedule", "auto_scale")


def kind_of_answers(device):
    """Whether a device's answers are "simulated" or of a "device".

    A device is what D-Wave's own client talks to, and everything else is a
    simulation; a replay gives what its tape says.
    """
    kind = device.properties.get("kind")
    if kind in KINDS:
        return kind
    return "device" if type(device).__name__ == "DWaveSampler" else "simulated"


def problem_key(bqm, schedule):
    """A hash of h, J and the schedule, the same on every computer.

    Parameters
    ----------
    bqm : dimod.BinaryQuadraticModel
        Of the qubits.
    schedule : dict
        Keywords of the call.
    """
    spin = bqm.change_vartype(dimod.SPIN, inplace=False)
    h = sorted((int(q), _number(w)) for q, w in spin.linear.items())
    J = sorted(
        (*sorted((int(u), int(v))), _number(w))
        for (u, v), w in spin.quadratic.items()
    )
    asked = {k: schedule[k] for k in _SCHEDULE if schedule.get(k) is not None}
    text = json.dumps([h, J, asked], sort_keys=True, default=float)
    return hashlib.sha256(text.encode()).hexdigest()


def _number(weight):
    return f"{round(float(weight), DIGITS) + 0.0:.{DIGITS}f}"  # no minus zero


class Tape:
    """Problems and what a device answered to them, in order.

    Parameters
    ----------
    kind : {"simulated", "device"}
        Whose answers they are; a tape holds one kind.
    properties : dict
        Of the device.
    embedding : dict, optional
        Where the units of the machine sit.

    Attributes
    ----------
    answers : list of (dict, ndarray)
        Facts of each call (key, qubits, timing, kind) and its spins, int8 of
        shape (reads, qubits).
    """

    def __init__(self, kind, properties, embedding=None):
        if kind not in KINDS:
            raise TapeError(f"kind is one of {KINDS}, not {kind!r}")
        self.kind = kind
        self.properties = {
            k: properties[k] for k in _PROPERTIES if k in properties
        }
        self.embedding = embedding
        self.versions = _versions()
        self.couplers = set()
        self.answers = []

    def add(self, key, bqm, found, kind):
        """Record one answer.

        Raises
        ------
        TapeError
            If it is of another kind than the tape.
        """
        if kind != self.kind:
            raise TapeError(
                f"the tape holds answers of the kind {self.kind!r} and this "
                f"one is {kind!r}; record it on a tape of its own"
            )
        spin = found.change_vartype(dimod.SPIN, inplace=False)
        times = spin.record.num_occurrences
        spins = spin.record.sample.repeat(times, 0).astype(np.int8)
        facts = {
            "key": key,
            "kind": kind,
            "qubits": [int(q) for q in found.variables],
            "timing": {
                k: float(v) for k, v in found.info.get("timing", {}).items()
            },
        }
        self.couplers |= {
            tuple(sorted((int(u), int(v)))) for u, v in bqm.quadratic
        }
        self.answers.append((facts, spins))

    def save(self, path):
        """Write one .npz file, whole or not at all; nothing is pickled."""
        path = Path(path)
        about = {
            "kind": self.kind,
            "properties": self.properties,
            "versions": self.versions,
            "embedding": self.embedding
            and {str(i): list(map(int, c)) for i, c in self.embedding.items()},
            "couplers": sorted(self.couplers),
            "answers": [
                facts | {"reads": len(spins)} for facts, spins in self.answers
            ],
        }
        arrays = {
            f"spins{k}": np.packbits(spins > 0, axis=1)
            for k, (_, spins) in enumerate(self.answers)
        }
        text = json.dumps(about, sort_keys=True, default=float)
        beside = path.with_name(path.name + ".part")
        with beside.open("wb") as file:
            np.savez_compressed(
                file, about=text, digest=_digest(text, arrays), **arrays
            )
        os.replace(beside, path)

    @classmethod
    def load(cls, path):
        """Read a file that `save` wrote.

        Raises
        ------
        TapeError
            If it is damaged, changed, or no tape.
        """
        path = Path(path)
        try:
            with (
                path.open("rb") as opened,  # closed also where it is no zip
                np.load(opened, allow_pickle=False) as file,
            ):
                arrays = dict(file)
            text = str(arrays.pop("about"))
            if str(arrays.pop("digest")) != _digest(text, arrays):
                raise ValueError
            about = json.loads(text)
            tape = cls(about["kind"], about["properties"])
            tape.versions = about["versions"]
            if about["embedding"] is not None:
                tape.embedding = {
                    int(i): tuple(c) for i, c in about["embedding"].items()
                }
            tape.couplers = {tuple(pair) for pair in about["couplers"]}
            for k, facts in enumerate(about["answers"]):
                width = len(facts["qubits"])
                bits = np.unpackbits(arrays[f"spins{k}"], axis=1, count=width)
                tape.answers.append((facts, bits.astype(np.int8) * 2 - 1))
        except FileNotFoundError:
            raise TapeError(f"there is no tape {path.name}") from None
        except Exception:  # damage shows in many ways, and means one thing
            raise TapeError(
                f"{path.name} is no tape, or was damaged or changed since it "
                "was recorded; get it anew"
            ) from None
        return tape


def _versions():
    """Of the libraries between the program and the answer, if installed."""
    installed = {}
    for name in ("dimod", "dwave-system", "dwave-cloud-client", "numpy"):
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _digest(text, arrays):
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(
            name.encode() + np.ascontiguousarray(arrays[name]).tobytes()
        )
    return digest.hexdigest()


class Recorder(dimod.Sampler, dimod.Structured):
    """A device that also writes each answer on a tape.

    Parameters
    ----------
    device : dimod.Structured
    embedding : dict, optional
        Goes with the tape, for whoever replays it.
    """

    parameters = properties = nodelist = edgelist = None

    def __init__(self, device, embedding=None):
        self.device = device
        self.nodelist, self.edgelist = device.nodelist, device.edgelist
        self.parameters = device.parameters
        kind = kind_of_answers(device)
        self.properties = device.properties | {"kind": kind}
        self.tape = Tape(kind, device.properties, embedding)

    def to_networkx_graph(self):
        """The device's."""
        return self.device.to_networkx_graph()

    @dimod.bqm_structured
    def sample(self, bqm, **kwargs):
        """Ask the device, and keep its answer."""
        found = self.device.sample(bqm, **kwargs)
        found.resolve()
        kind = kind_of_answers(self.device)
        self.tape.add(problem_key(bqm, kwargs), bqm, found, kind)
        return found


class Replay(dimod.Sampler, dimod.Structured):
    """A device that gives the answers of a tape, each once, in their order.

    Parameters
    ----------
    tape : Tape
    """

    parameters = properties = nodelist = edgelist = None

    def __init__(self, tape):
        self.tape = tape
        qubits = {q for facts, _ in tape.answers for q in facts["qubits"]}
        self.nodelist, self.edgelist = sorted(qubits), sorted(tape.couplers)
        names = ("num_reads", "auto_scale", "answer_mode", "annealing_time")
        self.parameters = {name: [] for name in names}
        self.properties = tape.properties | {"kind": tape.kind}
        self.rewind()

    def rewind(self):
        """Begin again with the first answer to each problem."""
        self._asked = {}

    @dimod.bqm_structured
    def sample(self, bqm, **kwargs):
        """The next answer to this very problem.

        Raises
        ------
        TapeError
            If the tape holds none, or no more.
        """
        key = problem_key(bqm, kwargs)
        held = [a for a in self.tape.answers if a[0]["key"] == key]
        if not held:
            raise TapeError(
                "the tape holds answers to other problems, and none to this "
                "one with these weights, reads and schedule"
            )
        turn = self._asked.get(key, 0)
        if turn == len(held):
            raise TapeError(
                f"the tape holds {turn} answers to this problem, and all have "
                "been given; rewind() it"
            )
        self._asked[key] = turn + 1
        facts, spins = held[turn]
        states = spins if bqm.vartype is dimod.SPIN else (spins + 1) // 2
        found = dimod.SampleSet.from_samples_bqm((states, facts["qubits"]), bqm)
        info = {"kind": self.tape.kind, "replayed": True}
        found.info.update(info | {"timing": facts["timing"]})
        return found
