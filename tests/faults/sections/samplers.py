"""Samplers that fail in the middle of a training."""

import contextlib
import threading
from pathlib import Path

import dimod
import neal
import numpy as np
import torch

from faults.harness import SHORT, case, cells, same_numbers, says
from qbmvae_mini import DimodSampler
from qbmvae_mini.models import QBMVAE, controls
from qbmvae_mini.samplers import GibbsSampler, Sampler, TemperingSampler

SECTION = "samplers"


class Annealer(dimod.Sampler):
    """neal, with a fault from the `after`-th call on."""

    properties = {}

    def __init__(self, fault=None, after=40):
        self.fault, self.after, self.calls = fault, after, 0
        self.lock = threading.Lock()  # as every client of a device holds

    @property
    def parameters(self):
        return {"num_reads": [], "seed": []}

    def sample(self, bqm, *, num_reads, seed=None):
        self.calls += 1
        found = neal.SimulatedAnnealingSampler().sample(
            bqm,
            num_reads=num_reads,
            seed=seed,
            beta_range=(1, 1),
            num_sweeps=3,
            proposal_acceptance_criteria="Gibbs",
        )
        if self.fault is None or self.calls < self.after:
            return found
        return self.fault(found)


def _raise(kind):
    def fault(found):
        raise kind("the line is down")

    return fault


def _some(found, **changes):
    record = {
        "samples": found.record.sample,
        "energy": found.record.energy,
        "num_occurrences": found.record.num_occurrences,
        "labels": list(found.variables),
    } | changes
    return dimod.SampleSet.from_samples(
        (record["samples"], record["labels"]),
        vartype=dimod.BINARY,
        energy=record["energy"],
        num_occurrences=record["num_occurrences"],
    )


FAULTS = {
    "returns None": lambda found: None,
    "returns a list": lambda found: [1, 0],
    "returns fewer reads": lambda found: found.slice(3),
    "returns none": lambda found: found.slice(0),
    "zero occurrences": lambda found: _some(
        found, num_occurrences=np.zeros(len(found), int)
    ),
    "negative occurrences": lambda found: _some(
        found, num_occurrences=-np.ones(len(found), int)
    ),
    "lacks a variable": lambda found: _some(
        found,
        samples=found.record.sample[:, 1:],
        labels=list(found.variables)[1:],
    ),
    "has labels of its own": lambda found: _some(
        found, labels=[f"q{v}" for v in found.variables]
    ),
}


def _model(child):
    sampler = DimodSampler(child, seed=1)
    return QBMVAE(cells(), n_latent=8, sampler=sampler, negatives=16)


@case(SECTION, "an annealer that", *FAULTS)
def broken_answer(kind):
    """One sentence; the checkpoint is whole, and goes on with a good one."""
    whole = _model(Annealer()).fit(24, **SHORT)
    model = _model(Annealer(FAULTS[kind]))
    says(lambda: model.fit(24, resume="ck", **SHORT))
    again = _model(Annealer()).fit(24, resume="ck", **SHORT)
    same_numbers(again, whole)


@case(
    SECTION,
    "an annealer that raises",
    ("RuntimeError", RuntimeError),
    ("ConnectionError", ConnectionError),
    ("TimeoutError", TimeoutError),
)
def raises(name, kind):
    whole = _model(Annealer()).fit(24, **SHORT)
    model = _model(Annealer(_raise(kind)))
    try:
        model.fit(24, resume="ck", **SHORT)
    except kind as error:
        assert "the line is down" in str(error)
    same_numbers(_model(Annealer()).fit(24, resume="ck", **SHORT), whole)


@case(SECTION, "one read that occurred 10^9 times")
def many_occurrences():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))

    def fault(found):
        return _some(
            found.slice(1), num_occurrences=np.array([10**9], dtype=np.int64)
        )

    _model(Annealer(fault, after=2)).fit(2, validation=0, **SHORT)


@case(SECTION, "spins, other order, twice the reads, NaN energies")
def harmless():
    def fault(found):
        order = list(found.variables)[::-1]
        samples = found.samples(sorted_by=None)[:, order]
        twice = np.concatenate([samples, samples])
        made = dimod.SampleSet.from_samples(
            (2 * twice - 1, order),
            vartype=dimod.SPIN,
            energy=np.full(len(twice), np.nan),
        )
        return made

    _model(Annealer(fault, after=2)).fit(3, validation=0, **SHORT)


class Wrong(Sampler):
    """A reader's own sampler that answers wrongly."""

    def __init__(self, answer):
        self.answer = answer

    def sample(self, machine, n):
        return self.answer(n, machine.n_units)


@case(
    SECTION,
    "a reader's own that returns",
    ("spins", lambda n, k: torch.ones(n, k) * -1),
    ("probabilities", lambda n, k: torch.rand(n, k)),
    ("NaN", lambda n, k: torch.full((n, k), torch.nan)),
    ("one fewer", lambda n, k: torch.zeros(n - 1, k)),
    ("transposed", lambda n, k: torch.zeros(k, n)),
    ("an array", lambda n, k: np.zeros((n, k))),
    ("None", lambda n, k: None),
)
def own_sampler(name, answer):
    model = QBMVAE(cells(), n_latent=8, sampler=Wrong(answer))
    said = says(lambda: model.fit(2, validation=0, **SHORT))
    assert "Wrong" in said, said


@case(SECTION, "what is no sampler", "text", "class", "dimod", "none at all")
def no_sampler(kind):
    made = {
        "text": "gibbs",
        "class": GibbsSampler,
        "dimod": neal.SimulatedAnnealingSampler(),
        "none at all": 3,
    }[kind]
    says(lambda: QBMVAE(cells(), n_latent=8, sampler=made), "sampler")


@case(SECTION, "controls of a model drawn by", "a lock", "tempering", "chains")
def controlled(kind):
    sampler = {
        "a lock": lambda: DimodSampler(Annealer(), seed=1),
        "tempering": lambda: TemperingSampler(8, 3, sweeps=2),
        "chains": lambda: GibbsSampler(16, 2),
    }[kind]()
    model = QBMVAE(cells(), n_latent=8, sampler=sampler, negatives=16)
    model.fit(2, validation=0, **SHORT)
    energy = model.get_energy()
    for control in (controls.shuffle_couplings, controls.randomise_couplings):
        changed = control(model)
        changed.generate(4)
        assert not np.array_equal(changed.get_energy(), energy)
    assert np.array_equal(model.get_energy(), energy)


@case(SECTION, "gone: the run goes on with another one")
def replaced():
    """An annealer that is no longer there does not end a run for ever."""
    model = _model(Annealer(_raise(ConnectionError)))
    with contextlib.suppress(ConnectionError):
        model.fit(24, resume="ck", **SHORT)
    other = QBMVAE(
        cells(), n_latent=8, sampler=GibbsSampler(16, 2), negatives=16
    )
    said = says(lambda: other.fit(24, resume="ck", **SHORT), "ck")
    assert "chains" in said or "sampler" in said, said
    other.fit(24, resume="ck", new_chains=True, **SHORT)
    assert len(other.history_) == 24
    assert Path("ck").exists()
