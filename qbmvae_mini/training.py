"""Training: one visible loop, and checkpoints that lose nothing.

Lightning Fabric brings device, precision and data-parallel launch; the loop
is ours. Checkpoints are one safetensors file, written beside the old one and
renamed over it, so a killed process leaves either the old or the new state.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from qbmvae_mini.checks import check_whole
from qbmvae_mini.latents import ROUGH_AIS

#: Epochs between two validations.
VALIDATE_EVERY = 10

#: Exact draws a cell for the validation likelihood.
VALIDATION_SAMPLES = 16

#: Width in nats at which a bracket of log Z is of no use to a validation.
WIDEST_BRACKET = 0.4

#: Gradient norm above which the step is scaled down.
MAX_GRADIENT_NORM = 20.0


def fit(
    vae,
    cells,
    validation,
    *,
    max_epochs=400,
    batch_size=128,
    lr=1e-3,
    kl_warmup=40,
    patience=6,
    seed=0,
    resume=None,
    progress=True,
):
    """Train `vae` on `cells` until `validation` stops improving.

    Parameters
    ----------
    vae : VAE
        Trained in place; ends with its best weights, in ``eval()``.
    cells, validation : Cells
        `validation` may be empty: then all epochs are run and the last
        weights stay.
    max_epochs, batch_size : int
    lr : float
        Learning rate of Adam.
    kl_warmup : int
        Epochs over which the KL weight rises to 1.
    patience : int
        Validations without improvement before training stops.
    seed : int
        Seeds torch's global generator, which is put back afterwards.
    resume : path, optional
        Checkpoint file. It is written at each validation; if it exists,
        training goes on from it to the same numbers.
    progress : bool
        Show a tqdm bar.

    Returns
    -------
    list of dict
        One entry an epoch: ``epoch``, ``loss`` (training, nats a cell, with
        the last estimate of log Z) and, where validated, ``validation``
        (log-likelihood, nats a cell; None while log Z is too vague).

    Raises
    ------
    ValueError
        If a setting is out of range, the loss or its gradient stops being
        finite, or `resume` is the checkpoint of another run.
    """
    from lightning_fabric import Fabric

    check_whole("max_epochs", max_epochs, 0)
    check_whole("batch_size", batch_size, 1)
    check_whole("kl_warmup", kl_warmup, 0)
    check_whole("patience", patience, 1)
    if not lr > 0:
        raise ValueError(f"lr, the learning rate, is above 0, not {lr!r}")
    fabric = Fabric(accelerator="auto", devices=1)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)
    module, optimizer = fabric.setup(vae, optimizer)
    if resume is not None:
        resume = Path(resume)
        if resume.is_dir():
            raise IsADirectoryError(
                f"resume is a file to write, but {str(resume)!r} is a directory"
            )
        # Now, rather than after the first epochs: the place may be read-only.
        resume.parent.mkdir(parents=True, exist_ok=True)
    run = {
        "seed": seed,
        "lr": lr,
        "batch_size": batch_size,
        "kl_warmup": kl_warmup,
        "latent": type(vae.latent).__name__,
        "weights": sum(weight.numel() for weight in vae.parameters()),
        "cells": len(cells),
        "UMIs": int(cells.counts.sum(dtype=np.float64)),
        "validation cells": len(validation),
    }
    state = _State(vae, optimizer, run)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if resume is not None and resume.exists():
            state.load(resume)
        epochs = range(len(state.history), max_epochs)
        bar = tqdm(epochs, disable=not progress, unit="epoch")
        for epoch in bar:
            if state.stale >= patience:
                break
            kl_weight = min(1.0, (epoch + 1) / kl_warmup) if kl_warmup else 1.0
            loss = _train_epoch(
                fabric, module, optimizer, cells, batch_size, kl_weight, epoch
            )
            entry = {"epoch": epoch, "loss": loss}
            due = (epoch + 1) % VALIDATE_EVERY == 0
            known = _refresh_log_z(vae) if due else False
            if due and len(validation):
                score = None
                if known:
                    score = _validate(vae, validation, batch_size)
                # Under a KL weight below 1 the score is not what is trained.
                if score is not None and kl_weight == 1:
                    state.judge(score)
                entry["validation"] = score
                bar.set_postfix(
                    loss=f"{loss:.1f}", validation=f"{score or 0:.1f}"
                )
            state.history.append(entry)
            if due and resume is not None:
                state.save(resume)
        bar.close()
    state.restore_best()
    vae.eval()
    return state.history


def _train_epoch(fabric, module, optimizer, cells, size, kl_weight, epoch):
    """One pass over the cells; the mean training loss, nats a cell."""
    module.train()
    # The order depends on nothing but the seed and the epoch.
    shuffle = np.random.default_rng([torch.initial_seed(), epoch])
    order = shuffle.permutation(len(cells))
    total = 0.0
    for x, batch in cells.minibatches(size, order=order, device=fabric.device):
        loss = module(x, batch, kl_weight).mean()
        fabric.backward(loss)
        norm = fabric.clip_gradients(
            module,
            optimizer,
            max_norm=MAX_GRADIENT_NORM,
            error_if_nonfinite=False,
        )
        if not (loss.isfinite() and norm.isfinite()):
            raise ValueError(
                f"training has diverged in epoch {epoch}: the loss is "
                f"{loss.item():.4g} and the gradient's norm {norm:.4g}; "
                "make the model anew and try a smaller learning rate (lr)"
            )
        optimizer.step()
        optimizer.zero_grad()
        total += float(loss.detach()) * len(x)
    return total / len(cells)


def _refresh_log_z(vae):
    """Estimate log Z anew; whether it is known well enough to score with."""
    if not hasattr(vae.latent, "sampler"):
        return True
    bracket = vae.latent.estimate_log_z(**ROUGH_AIS)
    return bracket.upper - bracket.lower <= WIDEST_BRACKET


def _validate(vae, cells, size):
    """Mean log-likelihood by exact draws, nats a cell."""
    vae.eval()
    device = next(vae.parameters()).device
    scores = [
        vae.log_likelihood(x, batch, VALIDATION_SAMPLES)
        for x, batch in cells.minibatches(size, device=device)
    ]
    return float(torch.cat(scores).mean())


class _State:
    """Everything that a killed training run needs to go on."""

    def __init__(self, vae, optimizer, run):
        self.vae = vae
        self.optimizer = optimizer
        self.sampler = getattr(vae.latent, "sampler", None)
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

    def restore_best(self):
        """Put the best weights back, where there was a validation."""
        if self.best is not None:
            self._load_weights(self.best)

    def save(self, path):
        """Write atomically: a temporary file, fsync, rename."""
        tensors = {f"now.{k}": v for k, v in self._weights().items()}
        if self.best is not None:
            tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in slots.items()}
        tensors["random"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        facts = {
            "run": self.run,
            "history": self.history,
            "best_score": self.best_score,
            "stale": self.stale,
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
        return state_tensors(self.vae, self.sampler)

    def _load_weights(self, tensors):
        load_state_tensors(tensors, self.vae, self.sampler)


def state_tensors(vae, sampler=None):
    """Weights of `vae` and the state of its sampler, flat by name."""
    tensors = {f"vae.{k}": v for k, v in vae.state_dict().items()}
    if hasattr(sampler, "state_dict"):
        chains = sampler.state_dict()
        tensors |= {f"sampler.{k}": v for k, v in chains.items()}
    return tensors


def load_state_tensors(tensors, vae, sampler=None):
    """Put back what `state_tensors` gave."""
    try:
        vae.load_state_dict(_below(tensors, "vae."))
    except RuntimeError as error:
        raise ValueError(
            "the saved weights do not fit this network; give the latent that "
            f"was trained, here is a {type(vae.latent).__name__} of width "
            f"{vae.latent.n_latent}"
        ) from error
    chains = _below(tensors, "sampler.")
    if chains and hasattr(sampler, "load_state_dict"):
        sampler.load_state_dict(chains)


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
