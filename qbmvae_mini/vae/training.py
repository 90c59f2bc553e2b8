"""Training: one visible loop.

Lightning Fabric brings device and precision; the loop is ours.
"""

import math

import numpy as np
import torch
from tqdm.auto import tqdm

from qbmvae_mini.checks import (
    check_real,
    check_seed,
    check_switch,
    check_whole,
    warn,
)
from qbmvae_mini.vae.checkpoints import Checkpoint, TrainingState
from qbmvae_mini.vae.surroundings import one_process, seeded

#: Epochs between two validations.
VALIDATE_EVERY = 10

#: Exact draws a cell for the validation likelihood.
VALIDATION_SAMPLES = 16

#: Width in nats at which a bracket of log Z is of no use to a validation.
WIDEST_BRACKET = 0.4

#: Of the prior of the decoder's last layer; see `fit`.
DECODER_PRECISION = 0.0

#: Gradient norm above which the step is scaled down.
MAX_GRADIENT_NORM = 20.0


@torch.enable_grad()
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
    decoder_precision=DECODER_PRECISION,
    patience=6,
    seed=0,
    device="auto",
    resume=None,
    new_chains=False,
    about=None,
    history=None,
    progress=True,
):
    """Train `vae` on `cells` until `validation` stops improving.

    However it ends, also by Ctrl-C or an error, `vae` is left in ``eval()``
    with its best weights so far and without a gradient, `history` holds the
    epochs that were done, and a checkpoint is whole. Ctrl-C asks for one last
    validation; a second one stops that too.

    Parameters
    ----------
    vae : VAE
        Trained in place, but for weights that ask for no gradient. What is
        validated and kept are averages over the latest steps: see
        `qbmvae_mini.learning.averaging`.
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
    decoder_precision : float
        Of a Gaussian prior with mean 0 on each weight w of the decoder's last
        layer, at whose mode training aims: ``decoder_precision / 2 * sum w^2``
        nats join the loss of all cells together. A gene with many counts
        hardly feels it, and a rare one keeps its mean share unless many cells
        speak against it. 0 is no prior.
    patience : int
        Validations without improvement before training stops.
    seed : int
        Seeds torch's global generator, which is put back afterwards.
    device : str or torch.device
        Where to train, and where `vae` stays: "auto" is a CUDA GPU where there
        is one and else the CPU; Apple's GPU is used when named, as "mps".
    resume : path, optional
        Checkpoint file. It is written at the start, so that a bad place is
        found at once, and at every tenth epoch; if it exists, training goes
        on from it to the same numbers.
    new_chains : bool
        Leave the sampler's chains in `resume` alone and start new ones. With
        them the sampler may be another one than before, for instance when an
        annealer is no longer there.
    about : dict, optional
        What else tells this run from others: settings, names of genes.
    history : list, optional
        Emptied when training begins, and filled as it goes.
    progress : bool
        Show a tqdm bar.

    Returns
    -------
    list of dict
        `history`, one entry an epoch: ``epoch``, ``kl_weight`` and ``loss``
        (training, nats a cell, with the last estimate of log Z and without
        the decoder's prior). After every tenth epoch also ``log_z_width``,
        the width in nats of the bracket of log Z. Where there are cells to
        validate, after the last epoch too, and with it ``validation``, nats a
        cell by exact draws: the log-likelihood or, for a `kl_weight` other
        than 1, the weighted bound; it is None where log Z is too vague. And
        ``candidate``: whether these weights may be chosen, which those of the
        warm-up may not.

    Raises
    ------
    ValueError
        If a setting is out of range, the loss or its gradient stops being
        finite, or `resume` is the checkpoint of another run.
    OSError
        If the checkpoint cannot be written.

    Warns
    -----
    UserWarning
        If log Z becomes too vague to choose weights by a validation.
    """
    max_epochs = check_whole("max_epochs", max_epochs, 0)
    settings = {
        "batch_size": check_whole("batch_size", batch_size, 1),
        "lr": check_real("lr", lr, above=0),
        "kl_warmup": check_whole("kl_warmup", kl_warmup, 0),
        "kl_weight": check_real("kl_weight", kl_weight, least=0),
        "decoder_precision": check_real(
            "decoder_precision", decoder_precision, least=0
        ),
        "patience": check_whole("patience", patience, 1),
        "seed": check_seed(seed),
    }
    check_switch("new_chains", new_chains)
    check_switch("progress", progress)
    _check_parts(vae, cells)
    fabric = one_process(device)
    history = [] if history is None else history
    with (
        seeded(settings["seed"], fabric.device),
        Checkpoint(resume) as checkpoint,
    ):
        checkpoint.belong_to(
            vae, cells, validation, (about or {}) | settings, new_chains
        )
        training = _Training(fabric, vae, cells, validation, **settings)
        checkpoint.start(training.state)
        # All has been checked, and from here on the model changes.
        history[:] = training.state.history
        training.state.history = history
        vae.kl_weight = settings["kl_weight"]
        try:
            training.run(max_epochs, checkpoint, progress)
        except KeyboardInterrupt:
            training.judge_the_last()
            raise
        finally:
            training.state.settle()
            vae.eval()
    return history


class _Training:
    """The loop, and what its steps share."""

    def __init__(
        self,
        fabric,
        vae,
        cells,
        validation,
        *,
        batch_size,
        lr,
        kl_warmup,
        kl_weight,
        decoder_precision,
        patience,
        seed,
    ):
        self.fabric = fabric
        self.vae = vae
        self.cells = cells
        self.validation = validation
        self.batch_size = batch_size
        self.kl_warmup = kl_warmup
        self.kl_weight = kl_weight
        self.patience = patience
        self.seed = seed
        rest, last = vae.weight_groups()
        # Adam adds its "weight decay" times w to the gradient of w. (AdamW
        # does not, and would pull hardest where gradients are largest.)
        pull = decoder_precision / len(cells)  # the loss is a mean over cells
        adam = torch.optim.Adam(
            [{"params": rest}, {"params": last, "weight_decay": pull}],
            lr=lr,
            fused=True,
        )
        self.state = TrainingState(vae, adam, fabric.device)
        self.module, self.optimizer = fabric.setup(vae, adam)

    def run(self, max_epochs, checkpoint, progress):
        """Epoch after epoch, until validations get no better."""
        state, first = self.state, len(self.state.history)
        with tqdm(
            range(first, max_epochs), disable=not progress, unit="epoch"
        ) as bar:
            for epoch in bar:
                if state.stale >= self.patience:
                    break
                entry = self._train(epoch)
                regular = (epoch + 1) % VALIDATE_EVERY == 0
                last = epoch + 1 == max_epochs and len(self.validation)
                if regular or last:
                    entry |= self._judge(epoch)
                state.history.append(entry)
                # Not after an odd last epoch: a longer run has none there.
                if regular:
                    checkpoint.write(state)
                bar.set_postfix(_in_words(state.history))

    def judge_the_last(self):
        """Validate what has come since the last validation, if anything has.

        An interrupted run ends like one that was to end there; the average is
        that of the moment, also in the middle of an epoch.
        """
        history = self.state.history
        if history and "candidate" not in history[-1] and len(self.validation):
            history[-1] |= self._judge(history[-1]["epoch"])

    def _judge(self, epoch):
        """Validate the average, and keep it if it is the best so far."""
        with self.state.average.in_place():
            said = self._validate(epoch)
            self.state.judge(said)
        return said

    def _train(self, epoch):
        """One pass over the cells, and what is to be said of it."""
        self.vae.latent.start_epoch(epoch)
        kl_weight = self._risen(epoch) * self.kl_weight
        # The order depends on nothing but the seed and the epoch.
        shuffle = np.random.default_rng([self.seed, epoch])
        batches = self.cells.minibatches(
            self.batch_size,
            order=shuffle.permutation(len(self.cells)),
            device=self.fabric.device,
        )
        total = 0.0
        self.module.train()
        self.optimizer.zero_grad()  # whatever was left by whom
        for x, batch in batches:
            loss = self.module(x, batch, kl_weight).mean()
            self.fabric.backward(loss)
            self._clip(loss, epoch)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.state.average.update()
            total += float(loss.detach()) * len(batch)
        loss = total / len(self.cells)
        return {"epoch": epoch, "kl_weight": kl_weight, "loss": loss}

    def _risen(self, epoch):
        """The share of the KL weight that the warm-up has come to."""
        return min(1.0, (epoch + 1) / self.kl_warmup) if self.kl_warmup else 1.0

    def _clip(self, loss, epoch):
        """Scale a large gradient down; one that is no number ends it all."""
        weights = self.vae.parameters()
        gradients = [w.grad for w in weights if w.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g) for g in gradients])
        norm = torch.linalg.vector_norm(norms)
        if not (loss.isfinite() and norm.isfinite()):
            raise ValueError(
                f"training has diverged in epoch {epoch}: the loss is "
                f"{loss.item():.4g} and the gradient's norm {norm:.4g}; "
                "make the model anew and try a smaller learning rate (lr)"
            )
        if norm > MAX_GRADIENT_NORM:
            for gradient in gradients:
                gradient.mul_(MAX_GRADIENT_NORM / norm)

    @torch.no_grad()
    def _validate(self, epoch):
        """What is to be said of held-out cells, and of log Z."""
        # Also without cells to validate, for the loss that is reported.
        bracket = self.vae.latent.estimate_log_z("rough")
        width = float(bracket.upper - bracket.lower)
        said = {"log_z_width": width if math.isfinite(width) else None}
        if not len(self.validation):
            return said
        vague = not self.kl_weight * width <= WIDEST_BRACKET
        known = [e for e in self.state.history if "validation" in e]
        if vague and all(e["validation"] is not None for e in known):
            warn(_too_vague(epoch, width))
        score = None if vague else self._score(epoch)
        # During the warm-up the score is not what is trained.
        chosen = score is not None and self._risen(epoch) == 1
        return said | {"validation": score, "candidate": chosen}

    def _score(self, epoch):
        """Mean log-likelihood, or weighted bound, by exact draws, in nats."""
        self.vae.eval()

        def score(x, batch):
            if self.kl_weight == 1:
                return self.vae.log_likelihood(x, batch, VALIDATION_SAMPLES)
            return self.vae.elbo(x, batch, self.kl_weight)

        batches = self.validation.minibatches(
            self.batch_size, device=self.fabric.device
        )
        scores = torch.cat([score(x, batch) for x, batch in batches])
        if not scores.isfinite().all():
            raise ValueError(
                f"training has diverged in epoch {epoch}: "
                f"{int((~scores.isfinite()).sum())} of {len(scores)} held-out "
                "cells have no finite likelihood; make the model anew and try "
                "a smaller learning rate (lr)"
            )
        return float(scores.mean())


def _too_vague(epoch, width):
    return (
        f"in epoch {epoch} log Z is known to {width:.2g} nats, and above "
        f"{WIDEST_BRACKET:g} a validation chooses nothing: as long as this "
        "lasts training does not stop early; choose max_epochs by hand, or "
        "take fewer units or a smaller lr, which keeps couplings smaller"
    )


def _in_words(history):
    """The last loss and validation, for the bar."""
    scores = [e["validation"] for e in history if "validation" in e]
    said = {"loss": f"{history[-1]['loss']:.1f}"}
    if scores:
        vague = scores[-1] is None
        said["validation"] = "too vague" if vague else f"{scores[-1]:.1f}"
    return said


def _check_parts(vae, cells):
    """Refuse weights that mini-batches do not fit, and no cells at all."""
    for name, value in vae.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ValueError(
                f"{name} is {value.dtype}, and training works in "
                "torch.float32; call .float() on the module first"
            )
    if not len(cells):
        raise ValueError("there are no cells to train on; give at least one")
