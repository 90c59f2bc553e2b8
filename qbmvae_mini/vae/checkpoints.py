"""Checkpoints: everything that a killed training run needs to go on.

One safetensors file with JSON facts, written beside the old one and renamed
over it, so a killed process leaves either the old or the new state. Nothing
is pickled.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file


class TrainingState:
    """Weights, optimiser, chains, random numbers and the best so far.

    Parameters
    ----------
    vae : VAE
    optimizer : torch.optim.Optimizer
    average : RunningAverage
    run : dict
        JSON facts that tell one run from another.
    """

    def __init__(self, vae, optimizer, average, run):
        self.vae = vae
        self.optimizer = optimizer
        self.average = average
        self.run = run  # JSON facts that tell one run from another
        self.history = []
        self.best = None  # {name: tensor} of weights and chains
        self.best_score = None
        self.stale = 0  # validations since the best one

    def judge(self, score):
        """Keep these weights if they are the best so far."""
        if self.best_score is None or score > self.best_score:
            self.best_score, self.stale = score, 0
            self.best = {k: v.clone() for k, v in self._weights().items()}
        else:
            self.stale += 1

    def settle(self):
        """End with the best weights, or with the average if none was judged."""
        if self.best is None:
            self.average.settle()
        else:
            self._load_weights(self.best)

    def save(self, path):
        """Write atomically: a temporary file, fsync, rename."""
        tensors = {f"now.{k}": v for k, v in self._weights().items()}
        if self.best is not None:
            tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in slots.items()}
        self.average.look()
        for i, weight in enumerate(self.average.weights):
            tensors[f"average.{i}"] = weight
        tensors["random"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        facts = {
            "run": self.run,
            "history": self.history,
            "best_score": self.best_score,
            "stale": self.stale,
            "averaged steps": self.average.steps,
        }
        write_tensors(path, tensors, facts)

    def load(self, path):
        """Take up the state written by `save`."""
        tensors, facts = read_tensors(path)
        if "run" not in facts:
            raise ValueError(
                f"{str(path)!r} is no checkpoint of a training run; name "
                "another file"
            )
        run = facts["run"]
        differs = [
            f"{name} was {run.get(name)}, is {value}"
            for name, value in self.run.items()
            if run.get(name) != value
        ]
        if differs:
            raise ValueError(
                f"the checkpoint {str(path)!r} is of another run "
                f"({'; '.join(differs)}); name another file for this run, or "
                "remove that one to start anew"
            )
        self.history = facts["history"]
        self.best_score, self.stale = facts["best_score"], facts["stale"]
        self._load_weights(_below(tensors, "now."))
        self.best = _below(tensors, "best.") or None
        self.average.steps = self.average.looked = facts["averaged steps"]
        for i, weight in enumerate(self.average.weights):
            weight.copy_(tensors[f"average.{i}"])
        state = self.optimizer.state_dict()
        for name, value in _below(tensors, "optimizer.").items():
            i, slot = name.split(".")
            state["state"].setdefault(int(i), {})[slot] = value
        self.optimizer.load_state_dict(state)
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])

    def _weights(self):
        """Weights and sampler state, as one flat dict of tensors."""
        return state_tensors(self.vae)

    def _load_weights(self, tensors):
        load_state_tensors(tensors, self.vae)


def state_tensors(vae):
    """Weights of `vae` and the state of its latent's sampler, flat by name."""
    tensors = {f"vae.{k}": v for k, v in vae.state_dict().items()}
    return tensors | {f"sampler.{k}": v for k, v in vae.latent.state().items()}


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


def write_tensors(path, tensors, facts):
    """Write tensors and JSON facts to one safetensors file, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    save_file(tensors, new, metadata={"facts": json.dumps(facts)})
    with open(new, "r+b") as file:  # Windows syncs writable files alone
        os.fsync(file.fileno())
    os.replace(new, path)


def read_tensors(path):
    """Tensors and facts of a file written by `write_tensors`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # `file` itself cannot be looped over
            tensors = {name: file.get_tensor(name) for name in names}
            facts = (file.metadata() or {})["facts"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged or was not written by qbmvae_mini; "
            "name another file or remove it"
        ) from error
    return tensors, json.loads(facts)


def _below(tensors, prefix):
    """Entries under `prefix`, named without it."""
    n = len(prefix)
    return {k[n:]: v for k, v in tensors.items() if k.startswith(prefix)}
