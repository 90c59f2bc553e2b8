"""Checkpoints: everything that a killed training run needs to go on.

One file, whole or not there at all (see `qbmvae_mini.vae.storage`), of one
run: all that decides its numbers stands in it, and all of it is checked before
anything of the model changes.
"""

import hashlib
import itertools
import math
import os
from pathlib import Path

import numpy as np
import torch

from qbmvae_mini.checks import kind_of
from qbmvae_mini.learning.averaging import RunningAverage
from qbmvae_mini.vae.storage import (
    digest,
    lock,
    packed,
    plain,
    read_tensors,
    write_file,
)

#: Cells whose counts are read at once to tell them from others.
CELLS_AT_ONCE = 4096

#: Differences between two runs that are named; the rest is counted.
MOST_NAMED = 4

#: Of the names of a run's settings, those that new chains may change.
OF_THE_CHAINS = ("latent sampler", "latent negatives")

#: How names of tensors begin whose kinds the sampler alone knows.
CHAINS = ("now.sampler.", "best.sampler.")

#: What Adam keeps for each weight.
SLOTS = {"step", "exp_avg", "exp_avg_sq"}


class Checkpoint:
    """The file of one run, which no other run may write meanwhile.

    It is locked as long as the run lasts, and let go by the system when a
    process is killed. Use it in a ``with`` block.

    Parameters
    ----------
    path : path or None
        Without one, nothing is read and nothing is written.

    Raises
    ------
    OSError
        If there is something else, or another run writes it.
    """

    def __init__(self, path):
        self.path = None if path is None else _checked_path(path)
        self._file = None  # open and locked
        self._run = None  # facts of the run it belongs to
        self._found = None  # tensors and facts
        self._new_chains = False

    def __enter__(self):
        if self.path is not None and os.path.exists(self.path):
            self._file = open(self.path, "rb")  # noqa: SIM115, see __exit__
            try:
                lock(self._file)
            except BlockingIOError as error:
                self.__exit__()
                raise BlockingIOError(
                    error.errno,
                    "is being written by another run, which still goes on; "
                    "name another file",
                    str(self.path),
                ) from error
            except OSError:  # a file system without locks
                pass
        return self

    def __exit__(self, *error):
        if self._file is not None:
            self._file.close()

    def belong_to(self, vae, cells, validation, about, new_chains=False):
        """Say whose it is, and refuse a file that is of another run.

        Nothing of `vae` is changed.

        Parameters
        ----------
        vae : VAE
        cells, validation : Cells
        about : dict
            Settings of the model and of the training; names of genes and
            batches.
        new_chains : bool
            Whether the sampler may be another one than in the file, whose
            chains stay there.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read, is of another run, or not whole.
        TypeError
            If a setting is none that can be saved.
        """
        if self.path is None:
            return
        self._new_chains = new_chains
        self._run = describe(vae, cells, validation, about)
        if os.path.exists(self.path):
            tensors, facts = read_tensors(self.path)
            check_saved(self.path, tensors, facts, self._run, vae, new_chains)
            self._found = tensors, facts

    def start(self, state):
        """Load what was found into `state`, and show that one can write.

        Raises
        ------
        OSError
            See `write`; nothing is loaded then.
        """
        if self._found is None:
            self.write(state)
        else:
            self._put(*self._found)
            state.load(*self._found, new_chains=self._new_chains)
            self._found = None  # as large as the model, a few times over

    def write(self, state):
        """Put this state in the place of the last one.

        Raises
        ------
        OSError
            If nothing can be written there, or the file there is no longer
            the one that this run has read or written.
        """
        if self.path is not None:
            self._put(*state.saved(self._run))

    def _put(self, tensors, facts):
        if os.path.exists(self.path) and not self._is_ours():
            raise FileExistsError(
                f"another run has put its own file in the place of the "
                f"checkpoint {str(self.path)!r}; it stays, name another file "
                "for this run"
            )
        content, _ = packed(tensors, facts)
        file = write_file(self.path, content)
        self.__exit__()
        self._file = file

    def _is_ours(self):
        if self._file is None:
            return False
        if self._file.closed:  # Windows, see `write_file`
            return True
        mine = os.fstat(self._file.fileno())
        return os.path.samestat(mine, os.stat(self.path))


class TrainingState:
    """Weights, optimiser, chains, random numbers and the best so far.

    Parameters
    ----------
    vae : VAE
    optimizer : torch.optim.Optimizer
    device : torch.device

    Attributes
    ----------
    history : list of dict
        One entry an epoch; see `qbmvae_mini.vae.training.fit`.
    best : dict of Tensor or None
        Weights and chains of the best validation.
    """

    def __init__(self, vae, optimizer, device):
        self.vae = vae
        self.optimizer = optimizer
        self.device = device
        self.history = []
        self.average = RunningAverage(vae)
        self.best = None

    @property
    def stale(self):
        """Validations since the best one, of those that may be chosen."""
        scores = _candidates(self.history)
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def judge(self, entry):
        """Keep these weights if they are the best so far."""
        before = _candidates(self.history)
        if entry.get("candidate") and entry["validation"] > max(
            before, default=-math.inf
        ):
            now = state_tensors(self.vae)
            self.best = {name: value.clone() for name, value in now.items()}

    def settle(self):
        """End with the best weights, or with the average if none was judged.

        No gradient is left behind, which a next training would begin with.
        """
        self.optimizer.zero_grad()
        if self.best is None:
            self.average.settle()
        else:
            # After new chains the best weights have none of their own.
            chains = bool(_below(self.best, "sampler."))
            load_state_tensors(self.best, self.vae, chains=chains)

    def saved(self, run):
        """Tensors and facts that `load` goes on from, of the `run`."""
        tensors = self._tensors()
        facts = {
            "run": run,
            "history": self.history,
            "averaged steps": self.average.steps,
            "tensors": sorted(tensors),
        }
        return tensors, facts

    def load(self, tensors, facts, *, new_chains=False):
        """Take up a state that `check_saved` has let pass.

        If a part refuses its share, all is as it was.
        """
        before = state_tensors(self.vae)
        before = {name: value.clone() for name, value in before.items()}
        try:
            self._load_model(_below(tensors, "now."), new_chains)
        except Exception:
            self._load_model(before, False)
            raise
        self.best = _below(tensors, "best.") or None
        if new_chains and self.best is not None:
            self.best = _above("vae.", _below(self.best, "vae."))
        self.average.steps = self.average.looked = facts["averaged steps"]
        for i, weight in enumerate(self.average.weights):
            weight.copy_(tensors[f"average.{i}"])
        state = self.optimizer.state_dict()
        for name, value in _below(tensors, "optimizer.").items():
            i, slot = name.split(".")
            state["state"].setdefault(int(i), {})[slot] = value
        self.optimizer.load_state_dict(state)
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        self.history = facts["history"]

    def _load_model(self, tensors, new_chains):
        self.vae.latent.reset()
        chains = bool(_below(tensors, "sampler.")) and not new_chains
        load_state_tensors(tensors, self.vae, chains=chains)

    def _tensors(self):
        tensors = _above("now.", state_tensors(self.vae))
        tensors |= _above("best.", self.best or {})
        for i, slots in self.optimizer.state_dict()["state"].items():
            tensors |= _above(f"optimizer.{i}.", slots)
        self.average.look()  # steps that wait to be taken in are not kept
        for i, weight in enumerate(self.average.weights):
            tensors[f"average.{i}"] = weight
        tensors["random"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors


def describe(vae, cells, validation, about):
    """All that decides the numbers of a run, as plain facts.

    Parameters
    ----------
    vae : VAE
    cells, validation : Cells
    about : dict
        Settings of the model and of the training; names of genes and batches.

    Returns
    -------
    dict
    """
    learning = [w for w in vae.parameters() if w.requires_grad]
    return plain(
        about
        | {
            "latent": {
                "kind": kind_of(vae.latent),
                **vae.latent.settings(),
            },
            "number of weights": sum(w.numel() for w in learning),
            "what is fixed": digest(_fixed(vae), {}),
            "cells": len(cells),
            "counts of the cells": _digest_of_counts(cells),
            "validation cells": len(validation),
            "counts of the validation cells": _digest_of_counts(validation),
        }
    )


def check_saved(path, tensors, facts, run, vae, new_chains=False):
    """Refuse a checkpoint of another run, or one that is none, in a sentence.

    Parameters
    ----------
    path : path
        Names the file in the sentence.
    tensors, facts : dict
        As `qbmvae_mini.vae.storage.read_tensors` gives them.
    run : dict
        The run that asks, as `describe` has it.
    vae : VAE
        Compared with, and left alone.
    new_chains : bool
        Whether the sampler may be another one.

    Raises
    ------
    ValueError
    """
    if not isinstance(facts.get("run"), dict):
        raise ValueError(
            f"{str(path)!r} is no checkpoint of a training run; name another "
            "file"
        )
    _check_run(path, facts["run"], run, new_chains)
    wrong = _wrong_facts(facts) or _wrong_tensors(tensors, facts, vae)
    if wrong:
        raise ValueError(
            f"the checkpoint {str(path)!r} has been edited or is damaged: "
            f"{wrong}; name another file, or remove that one to start anew"
        )


def state_tensors(vae):
    """Weights of `vae` and the state of its latent's sampler, flat by name."""
    return _above("vae.", vae.state_dict()) | _above(
        "sampler.", vae.latent.state()
    )


def load_state_tensors(tensors, vae, *, chains=True):
    """Put back what `state_tensors` gave, chains where they are wanted."""
    try:
        vae.load_state_dict(_below(tensors, "vae."))
    except RuntimeError as error:
        raise ValueError(
            "the saved weights do not fit this network; give the latent that "
            f"was trained, here is a {type(vae.latent).__name__} of width "
            f"{vae.latent.n_latent}"
        ) from error
    if chains:
        vae.latent.load_state(_below(tensors, "sampler."))


def _checked_path(path):
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"resume is the path of a file, not {path!r}")
    path = Path(os.path.realpath(path))
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"resume is a file to write, but {str(path)!r} is a directory"
        )
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(
            f"resume is a file to write, but {str(path)!r} is a device or a "
            "pipe; name another file"
        )
    return path


def _candidates(history):
    """Scores of the validations that may be chosen, in order."""
    return [entry["validation"] for entry in history if entry.get("candidate")]


def _fixed(vae):
    """Tensors that no training changes: a graph, weights that do not learn."""
    return {
        name: value
        for name, value in vae.state_dict(keep_vars=True).items()
        if not value.requires_grad
        and (
            isinstance(value, torch.nn.Parameter)
            or not value.is_floating_point()
        )
    }


def _digest_of_counts(cells):
    """SHA-256 of counts and batch numbers, a block of cells at a time."""
    found = hashlib.sha256(str(cells.counts.shape).encode())
    for start in range(0, len(cells), CELLS_AT_ONCE):
        block = cells.counts[start : start + CELLS_AT_ONCE]
        block.sort_indices()
        for part in (block.indptr, block.indices, block.data):
            found.update(np.ascontiguousarray(part, dtype=np.float64))
    found.update(cells.batch.numpy().astype(np.int64))
    return found.hexdigest()


# Whether it is the same run


def _check_run(path, was, run, new_chains):
    differs = dict(_differences(was, run))
    chains = {name for name in differs if name.startswith(OF_THE_CHAINS)}
    if new_chains:
        differs = {k: v for k, v in differs.items() if k not in chains}
    if not differs:
        return
    said = [f"{name} {words}" for name, words in differs.items()]
    if len(said) > MOST_NAMED:
        said[MOST_NAMED:] = [f"and {len(said) - MOST_NAMED} more"]
    other = ""
    if chains == differs.keys():
        other = "go on with another sampler by new_chains=True, "
    raise ValueError(
        f"the checkpoint {str(path)!r} is of another run "
        f"({'; '.join(said)}); {other}name another file for this run, or "
        "remove that one to start anew"
    )


def _differences(was, now, name=""):
    """Pairs of a name and words on how it differs."""
    if isinstance(was, dict) and isinstance(now, dict):
        if was.get("kind") != now.get("kind"):  # all else differs with it
            yield name, _words(was.get("kind"), now.get("kind"))
            return
        for key in sorted(was.keys() | now.keys()):
            inner = f"{name} {key}".lstrip()
            yield from _differences(was.get(key), now.get(key), inner)
    elif was != now:
        yield name, _words(was, now)


def _words(was, now):
    if isinstance(was, list) and isinstance(now, list):
        if len(was) != len(now):
            return f"were {len(was)}, are {len(now)}"
        place = next(i for i, a in enumerate(was) if a != now[i])
        return (
            f"differ, the first at place {place}: "
            f"was {_short(was[place])}, is {_short(now[place])}"
        )
    if isinstance(was, str) and isinstance(now, str) and len(was) == 64:
        return "differ"  # two digests say nothing to a reader
    return f"was {_short(was)}, is {_short(now)}"


def _short(value):
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# Whether it is whole


def _wrong_facts(facts):
    """What is wrong with the facts, in words, or None."""
    known = {"run", "history", "averaged steps", "tensors"}
    if facts.keys() != known:
        odd = sorted(facts.keys() ^ known)
        return f"facts are missing or unknown ({', '.join(odd)})"
    if type(facts["averaged steps"]) is not int or facts["averaged steps"] < 0:
        return "averaged steps is no number of steps"
    if not isinstance(facts["history"], list):
        return "history is no list"
    names = facts["tensors"]
    if not isinstance(names, list) or not all(type(n) is str for n in names):
        return "tensors is no list of names"
    for epoch, entry in enumerate(facts["history"]):
        if not _is_entry(entry, epoch):
            return f"history is no record of epoch {epoch}"
    return None


def _is_entry(entry, epoch):
    """Whether `entry` is what `fit` would have said of an epoch."""
    if not isinstance(entry, dict):
        return False
    always = {"epoch", "loss", "kl_weight"}
    validated = {"log_z_width", "validation", "candidate"}
    if not always <= entry.keys() <= always | validated:
        return False
    if entry["epoch"] is True or entry["epoch"] != epoch:
        return False
    score = entry.get("validation")
    chosen = entry.get("candidate", False)
    return (
        _is_finite(entry["loss"])
        and _is_finite(entry["kl_weight"], 0)
        and (score is None or _is_finite(score))
        and isinstance(chosen, bool)
        and not (chosen and score is None)
        and _is_finite(entry.get("log_z_width") or 0, 0)
    )


def _is_finite(value, least=-math.inf):
    number = type(value) in (int, float)
    return number and math.isfinite(value) and value >= least


def _wrong_tensors(tensors, facts, vae):
    """What is wrong with the tensors, in words, or None."""
    judged = bool(_candidates(facts["history"]))
    kinds, weights = _expected(tensors, vae, judged)
    free = [name for name in tensors if name.startswith(CHAINS)]
    odd = sorted(
        (tensors.keys() ^ {*kinds, *free}) | (tensors.keys() ^ facts["tensors"])
    )
    if odd:
        return f"tensors are missing or unknown ({', '.join(odd[:3])})"
    for name, kind in kinds.items():
        if (tensors[name].dtype, tensors[name].shape) != kind:
            return f"{name} has another shape or dtype"
    for name in itertools.chain(weights, free):
        if not tensors[name].isfinite().all():
            return f"{name} holds NaN or infinite values"
    for name in weights:
        if name.endswith(("exp_avg_sq", "step")) and (tensors[name] < 0).any():
            return f"{name} holds negative values"
    try:
        torch.Generator().set_state(tensors["random"])
    except RuntimeError:
        return "random is no state of a generator"
    return None


def _expected(tensors, vae, judged):
    """Kinds of the tensors to be found, and names of those to be finite."""
    kinds, weights = {}, []

    def expect(name, like, learns=True):
        kinds[name] = like.dtype, like.shape
        if learns:
            weights.append(name)

    live = dict(vae.named_parameters())
    for prefix in ("now.", "best.") if judged else ("now.",):
        for name, value in vae.state_dict().items():
            expect(f"{prefix}vae.{name}", value, name in live)
    learning = [w for w in live.values() if w.requires_grad]
    for i, weight in enumerate(learning):
        expect(f"average.{i}", weight)
    count = torch.zeros((), dtype=torch.float32)  # of steps
    for i, weight in enumerate(itertools.chain(*vae.weight_groups())):
        slots = {f"optimizer.{i}.{slot}" for slot in SLOTS} & tensors.keys()
        # None before the first step, and for what the loss does not reach.
        for slot in SLOTS if slots else ():
            like = count if slot == "step" else weight
            expect(f"optimizer.{i}.{slot}", like)
    expect("random", torch.get_rng_state(), learns=False)
    if "random.cuda" in tensors:
        expect("random.cuda", tensors["random.cuda"], learns=False)
    return kinds, weights


def _above(prefix, tensors):
    """Entries named with `prefix` before their names."""
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _below(tensors, prefix):
    """Entries under `prefix`, named without it."""
    n = len(prefix)
    return {k[n:]: v for k, v in tensors.items() if k.startswith(prefix)}
