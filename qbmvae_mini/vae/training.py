"""Training: one visible loop.

Lightning Fabric brings device, precision and data-parallel launch; the loop
is ours.
"""

import math
import numbers
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from qbmvae_mini.checks import check_whole
from qbmvae_mini.learning.averaging import RunningAverage
from qbmvae_mini.vae.checkpoints import TrainingState

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
    lr=3e-3,
    kl_warmup=40,
    kl_weight=1.0,
    patience=6,
    seed=0,
    resume=None,
    progress=True,
):
    """Train `vae` on `cells` until `validation` stops improving.

    Parameters
    ----------
    vae : VAE
        Trained in place, but for weights that ask for no gradient; ends with
        its best weights, in ``eval()``. What is validated and kept are
        averages over the latest steps: see `qbmvae_mini.learning.averaging`.
    cells, validation : Cells
        `validation` may be empty: then all epochs are run and the last
        average stays.
    max_epochs, batch_size : int
    lr : float
        Learning rate of Adam.
    kl_warmup : int
        Epochs over which the KL weight rises to `kl_weight`.
    kl_weight : float
        1 is the bound. 0 leaves the prior out: then the codes are those of an
        autoencoder with noise, and no likelihood is defined.
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
        the last estimate of log Z) and, where validated, ``validation``:
        nats a cell by exact draws, of the log-likelihood or, for a
        `kl_weight` other than 1, of the weighted bound. It is None while
        log Z is too vague.

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
    real = isinstance(kl_weight, numbers.Real)
    if not real or not 0 <= kl_weight < math.inf:
        raise ValueError(
            f"kl_weight is a finite number of at least 0, not {kl_weight!r}"
        )
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
        "kl_weight": float(kl_weight),
        "latent": type(vae.latent).__name__,
        "weights": sum(
            weight.numel()
            for weight in vae.parameters()
            if weight.requires_grad
        ),
        "cells": len(cells),
        "UMIs": int(cells.library().sum(dtype=np.float64)),
        "validation cells": len(validation),
    }
    average = RunningAverage(vae)
    state = TrainingState(vae, optimizer, average, run)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if resume is not None and resume.exists():
            state.load(resume)
        vae.kl_weight = float(kl_weight)  # not before all is checked
        epochs = range(len(state.history), max_epochs)
        bar = tqdm(epochs, disable=not progress, unit="epoch")
        for epoch in bar:
            if state.stale >= patience:
                break
            risen = min(1.0, (epoch + 1) / kl_warmup) if kl_warmup else 1.0
            weight = risen * kl_weight
            vae.latent.start_epoch(epoch)
            loss = _train_epoch(
                fabric,
                module,
                optimizer,
                average,
                cells,
                batch_size,
                weight,
                epoch,
            )
            entry = {"epoch": epoch, "loss": loss}
            due = (epoch + 1) % VALIDATE_EVERY == 0
            if due:
                with average.in_place():
                    score = _validate(vae, validation, batch_size, kl_weight)
                    # During the warm-up the score is not what is trained.
                    if score is not None and risen == 1:
                        state.judge(score)
            if due and len(validation):
                entry["validation"] = score
                bar.set_postfix(
                    loss=f"{loss:.1f}", validation=f"{score or 0:.1f}"
                )
            state.history.append(entry)
            if due and resume is not None:
                state.save(resume)
        bar.close()
    state.settle()
    vae.eval()
    return state.history


def _train_epoch(
    fabric, module, optimizer, average, cells, size, kl_weight, epoch
):
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
        average.update()
        optimizer.zero_grad()
        total += float(loss.detach()) * len(x)
    return total / len(cells)


@torch.no_grad()
def _validate(vae, cells, size, kl_weight):
    """Mean log-likelihood, or weighted bound, by exact draws, nats a cell.

    None without cells, and where log Z is not known well enough to score.
    """
    # Also without cells to validate, for the loss that is reported.
    bracket = vae.latent.estimate_log_z("rough")
    if bracket.upper - bracket.lower > WIDEST_BRACKET:
        return None
    if not len(cells):
        return None
    vae.eval()
    device = next(vae.parameters()).device

    def score(x, batch):
        if kl_weight == 1:
            return vae.log_likelihood(x, batch, VALIDATION_SAMPLES)
        return vae.elbo(x, batch, kl_weight)

    batches = cells.minibatches(size, device=device)
    return float(torch.cat([score(x, batch) for x, batch in batches]).mean())
