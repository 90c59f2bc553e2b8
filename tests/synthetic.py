"""Tiny simulated cells, and trainings of them that can be killed."""

import contextlib
import os
import signal

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from qbmvae_mini.models import QBMVAE
from qbmvae_mini.samplers import DimodSampler, GibbsSampler
from qbmvae_mini.vae import checkpoints, training

#: Enough to train tiny cells to something within a second.
FIT = {"max_epochs": 12, "batch_size": 50, "kl_warmup": 2, "progress": False}


def two_clusters(n_cells=120, n_genes=30, seed=0):
    """Counts of two kinds of cell, each high in one half of the genes."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n_cells) % 2
    high = np.arange(n_genes) % 2 == kind[:, None]
    mean = np.where(high, 4.0, 0.5) * rng.gamma(5, 0.2, (n_cells, 1))
    counts = rng.poisson(mean).astype(np.float32)
    counts[:, 0] += 1  # no empty cell
    counts[0] += 1  # no empty gene
    batch = np.where(np.arange(n_cells) % 3 == 0, "left", "right")
    return anndata.AnnData(
        scipy.sparse.csr_matrix(counts),
        obs=pd.DataFrame(
            {"kind": kind, "batch": batch},
            index=[f"cell{i}" for i in range(n_cells)],
        ),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
    )


def with_counts(adata, counts):
    """The same cells and genes with other counts."""
    return anndata.AnnData(counts, obs=adata.obs.copy(), var=adata.var.copy())


@contextlib.contextmanager
def unchanged(adata):
    """Check that the block leaves `adata` as it was, bit by bit."""
    before = _bits(adata)
    yield
    after = _bits(adata)
    for name, value in before.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, after[name])
        else:
            assert value == after[name], f"{name} has changed"
    assert before.keys() == after.keys()


def _bits(adata):
    found = {"obs": adata.obs.copy(), "var": adata.var.copy()}
    for name, matrix in {"X": adata.X, **adata.layers}.items():
        if scipy.sparse.issparse(matrix):
            parts = (matrix.data, matrix.indices, matrix.indptr)
        else:
            parts = (np.asarray(matrix),)
        kind = (type(matrix), *(part.dtype for part in parts))
        found[name] = kind, [part.tobytes() for part in parts]
    return found


def model_to_kill(sampler):
    """A small QBMVAE with the sampler of that name."""
    if sampler == "gibbs":
        made = GibbsSampler(chains=32, sweeps=2, seed=1)
    else:
        import neal

        made = DimodSampler(neal.SimulatedAnnealingSampler(), num_sweeps=5)
    return QBMVAE(two_clusters(), n_latent=8, sampler=made, seed=1)


def fit_to_kill(model, checkpoint=None):
    """Train with a checkpoint at each epoch."""
    training.VALIDATE_EVERY = 1
    return model.fit(
        max_epochs=16,
        batch_size=50,
        kl_warmup=3,
        validation=0.2,
        patience=100,
        resume=checkpoint,
        progress=False,
    )


def train_and_die(directory, sampler, moment, saves):
    """Train in a process of its own, which kills itself at the `moment`.

    Parameters
    ----------
    directory : Path
        Gets the checkpoint and, in the end, the model.
    sampler : {"gibbs", "neal"}
    moment : {"in the middle of writing", "before renaming", "after renaming",
            "in the middle of an epoch", None} or float
        A number is seconds of this process's own computing time, after which
        the kernel ends it wherever it may be.
    saves : int
        Checkpoints that this process writes before the fatal one.
    """
    count = iter(range(-saves, 10**6))
    write, rename = checkpoints.save_file, os.replace
    validate = training._validate

    def torn_write(tensors, path, **kwargs):
        write(tensors, path, **kwargs)
        if next(count) == 0:
            os.truncate(path, os.path.getsize(path) // 2)
            _die()

    def fatal_rename(new, path):
        fatal = next(count) == 0
        if moment == "after renaming":
            rename(new, path)
        if fatal:
            _die()
        if moment == "before renaming":
            rename(new, path)

    def fatal_validate(*args):
        if next(count) == 0:
            _die()
        return validate(*args)

    if moment == "in the middle of writing":
        checkpoints.save_file = torn_write
    elif moment == "in the middle of an epoch":
        training._validate = fatal_validate
    elif isinstance(moment, float):
        # By computing time, since a busy machine may stall the parent.
        signal.setitimer(signal.ITIMER_VIRTUAL, moment)
    elif moment is not None:
        checkpoints.os.replace = fatal_rename
    model = fit_to_kill(model_to_kill(sampler), directory / "run.safetensors")
    model.save(directory / "done")


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
