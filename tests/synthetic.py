"""Tiny simulated cells, and trainings of them that can be killed."""

import contextlib
import os
import signal
import stat

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    MixtureLatent,
)
from qbmvae_mini.machines import BoltzmannMachine
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE
from qbmvae_mini.samplers import (
    CoherentIsingMachine,
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    TemperingSampler,
)
from qbmvae_mini.vae import VAE, training

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


def _neal():
    import neal

    child = neal.SimulatedAnnealingSampler()
    return QBMVAE(
        two_clusters(),
        n_latent=8,
        sampler=DimodSampler(child, num_sweeps=5),
        seed=1,
    )


def _gibbs():
    sampler = GibbsSampler(chains=32, sweeps=2, seed=1)
    return QBMVAE(two_clusters(), n_latent=8, sampler=sampler, seed=1)


def _batches():
    return QBMVAE(two_clusters(), n_latent=8, batch_key="batch", seed=2)


def _wide():
    """Too wide to list its states, so AIS estimates log Z."""
    sampler = GibbsSampler(chains=32, sweeps=1)
    return QBMVAE(two_clusters(), n_latent=52, sampler=sampler)


def _gaussian():
    return GaussianVAE(two_clusters(), n_latent=4, encoder_dropout=0.3)


def _tempering():
    return QBMVAE(
        two_clusters(),
        n_latent=8,
        sampler=TemperingSampler(8, 3, sweeps=2),
        relaxation="overlapping exponentials",
    )


def _forgetful_tempering():
    return QBMVAE(
        two_clusters(),
        n_latent=8,
        sampler=TemperingSampler(8, 3, sweeps=2, persistent=False),
        relaxation="score function",
    )


def _mixture():
    return CellVAE(two_clusters(), MixtureLatent(3, components=4))


def _bernoulli():
    latent = BernoulliLatent(6, relaxation="binary concrete")
    return CellVAE(two_clusters(), latent)


def _ising_machine():
    child = CoherentIsingMachine()
    return QBMVAE(
        two_clusters(), n_latent=6, sampler=DimodSampler(child), negatives=4
    )


def _exact():
    return QBMVAE(
        two_clusters(),
        n_latent=8,
        sampler=ExactSampler(),
        relaxation="spike-and-exponential",
    )


def _ring():
    edges = [(i, (i + 1) % 7) for i in range(7)]
    machine = BoltzmannMachine(7, edges)
    sampler = GibbsSampler(chains=16, sweeps=1)
    return CellVAE(two_clusters(), BoltzmannLatent(machine, sampler))


#: Small models of all kinds, by what is particular about them.
TO_KILL = {
    "gibbs": _gibbs,
    "neal": _neal,
    "batches": _batches,
    "wide": _wide,
    "gaussian": _gaussian,
    "tempering": _tempering,
    "forgetful tempering": _forgetful_tempering,
    "mixture": _mixture,
    "bernoulli": _bernoulli,
    "ising machine": _ising_machine,
    "exact": _exact,
    "ring": _ring,
}


def fit_to_kill(model, checkpoint=None, every=1):
    """Train with a checkpoint at each epoch, or at `every` so many."""
    training.VALIDATE_EVERY = every
    return model.fit(
        max_epochs=16,
        batch_size=50,
        kl_warmup=3,
        validation=0.2,
        patience=100,
        resume=checkpoint,
        progress=False,
    )


def train_and_die(directory, name, moment, saves):
    """Train in a process of its own, which kills itself at the `moment`.

    Parameters
    ----------
    directory : Path
        Gets the checkpoint and, in the end, the model.
    name : str
        One of `TO_KILL`.
    moment : {"in the middle of writing", "before renaming", "after renaming",
            "in the middle of an epoch", None}
    saves : int
        How often this process passes the moment before it is fatal.
    """
    count = iter(range(-saves, 10**6))
    fsync, rename, score = os.fsync, os.replace, VAE.log_likelihood

    def torn_write(file):
        if stat.S_ISREG(os.fstat(file).st_mode) and next(count) == 0:
            os.truncate(file, os.fstat(file).st_size // 2)
            _die()
        fsync(file)

    def fatal_rename(new, path):
        fatal = next(count) == 0
        if moment == "after renaming":
            rename(new, path)
        if fatal:
            _die()
        if moment == "before renaming":
            rename(new, path)

    def fatal_score(*args):
        if next(count) == 0:
            _die()
        return score(*args)

    if moment == "in the middle of writing":
        os.fsync = torn_write
    elif moment == "in the middle of an epoch":
        VAE.log_likelihood = fatal_score
    elif moment is not None:
        os.replace = fatal_rename
    model = fit_to_kill(TO_KILL[name](), directory / "run.safetensors")
    model.save(directory / "done")


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
