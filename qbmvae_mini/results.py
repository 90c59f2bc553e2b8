"""The results table: models x data sets x splits, one row each.

``make results`` fills ``data/results/likelihood.csv`` and may be stopped and
started again: rows that are there, and were made by the same code, are kept.
Chapters read the table, work one row out again and compare.

Every model of a row trains with the same encoder, decoder, likelihood,
optimiser, patience and budget; only the latent differs. A split is 70 / 10 /
20 per cent of the cells for training, early stopping and test. Test cells are
scored once.
"""

import ast
import datetime
import hashlib
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from qbmvae_mini import datasets
from qbmvae_mini.boltzmann import RBM
from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
)
from qbmvae_mini.models import CellVAE
from qbmvae_mini.samplers import DimodSampler, GibbsSampler

#: Column of ``obs`` that the decoder is told, per data set.
DATASETS = {"pancreas": "batch", "marrow": "donor", "pbmc68k": None}

SPLITS = range(5)

#: Shares of the cells; the rest trains.
TEST, VALIDATION = 0.2, 0.1

#: Given to `CellVAE.fit` for every model alike.
FIT = {"max_epochs": 1000}

#: Importance samples a cell: the gap to log p(x) differs between latents.
SAMPLES = (64, 1000)

#: Modules that decide the numbers. Figures and site do not.
_DECIDING = (
    "arrays",
    "boltzmann",
    "cells",
    "checks",
    "datasets",
    "graphs",
    "latents",
    "likelihoods",
    "models",
    "partition",
    "relaxations",
    "results",
    "samplers/chains",
    "samplers/dimod_adapter",
    "samplers/exact",
    "samplers/gibbs",
    "samplers/sweeps",
    "training",
    "vae",
)


def _boltzmann(seed):
    sampler = GibbsSampler(chains=512, sweeps=5, seed=seed)
    return BoltzmannLatent(RBM(32, 32, seed=seed), sampler)


def _boltzmann_by_neal(seed):
    import neal

    sampler = DimodSampler(neal.SimulatedAnnealingSampler(), seed=seed)
    return BoltzmannLatent(RBM(32, 32, seed=seed), sampler, negatives=128)


#: Name of a model -> its latent, given a seed.
MODELS = {
    "Gaussian 10": lambda seed: GaussianLatent(10),
    "Gaussian 32": lambda seed: GaussianLatent(32),
    "Bernoulli 64": lambda seed: BernoulliLatent(64),
    "Boltzmann 32+32": _boltzmann,
    "Boltzmann 32+32, neal": _boltzmann_by_neal,
}

#: Through neal a step costs several times as much, so one data set has to do.
_NEAL_DATASETS = ("pbmc68k",)


def jobs():
    """All (dataset, model, split) of the table."""
    return [
        (dataset, model, split)
        for split in SPLITS
        for dataset in DATASETS
        for model in MODELS
        if "neal" not in model or dataset in _NEAL_DATASETS
    ]


def split_cells(adata, split):
    """Training and test cells of one split.

    Genes without a count in the training cells are dropped from both: a
    model cannot learn them, and one without it would be refused.

    Parameters
    ----------
    adata : AnnData
    split : int
        Seeds the split.

    Returns
    -------
    train, test : AnnData
        `train` includes the cells for early stopping.
    """
    order = np.random.default_rng(split).permutation(adata.n_obs)
    n_test = round(TEST * adata.n_obs)
    train = adata[np.sort(order[n_test:])]
    seen = np.asarray(train.X.sum(axis=0)).ravel() > 0
    test = adata[np.sort(order[:n_test])]
    return train[:, seen].copy(), test[:, seen].copy()


def compute_row(dataset, model, split, *, samples=SAMPLES, progress=False):
    """Train one model on one split and score the test cells.

    Parameters
    ----------
    dataset, model : str
        Keys of `DATASETS` and `MODELS`.
    split : int
    samples : sequence of int
        Importance samples a cell, for one score each.
    progress : bool
        Show the training bar.

    Returns
    -------
    dict
        ``log_likelihood_64`` and ``_1000`` are nats a test cell, with the
        pessimistic end of log Z; ``log_z_width`` is the bracket's width;
        ``cpu_seconds`` is training alone.
    """
    train, test = split_cells(datasets.load(dataset), split)
    vae = CellVAE(
        train, MODELS[model](split), batch_key=DATASETS[dataset], seed=split
    )
    start = time.process_time()
    validation = VALIDATION / (1 - TEST)
    vae.fit(validation=validation, progress=progress, **FIT)
    cpu_seconds = time.process_time() - start
    bracket = vae.module.latent.estimate_log_z()
    scored = [e for e in vae.history_ if e.get("validation") is not None]
    row = {
        "dataset": dataset,
        "model": model,
        "split": split,
        "seed": split,
        "n_test": test.n_obs,
        "n_genes": test.n_vars,
        "n_parameters": sum(p.numel() for p in vae.module.parameters()),
        "epochs": len(vae.history_),
        "validation": max(e["validation"] for e in scored),
        "elbo": vae.get_elbo(test),
        "log_z_width": bracket.upper - bracket.lower,
        "cpu_seconds": cpu_seconds,
    }
    for n in samples:
        score = vae.get_log_likelihood(test, n_samples=n).mean()
        row[f"log_likelihood_{n}"] = float(score)
    return row


def code_hash():
    """Twelve digits that change when code that decides the numbers does.

    Comments, docstrings, error messages and layout do not count.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for name in _DECIDING:
        tree = ast.parse((root / f"{name}.py").read_text())
        for node in ast.walk(tree):
            _drop_prose(node)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def table_path():
    """Where the table lives: in the source tree or in the installed wheel."""
    return datasets.data_directory() / "results" / "likelihood.csv"


def load():
    """The table as a pandas DataFrame, one row a fit."""
    import pandas

    path = table_path()
    if not path.exists():
        raise FileNotFoundError("there is no results table; run: make results")
    return pandas.read_csv(path)


def paired_interval(table, dataset, first, second, score=None, level=0.95):
    """Mean of `first` minus `second` over the splits, with an interval.

    The splits' training cells overlap, so their differences are not
    independent and the usual t interval is too short. The variance is
    corrected as in Nadeau and Bengio 2003, Inference for the generalization
    error, Eq. 9: ``(1/n + n_test/n_train) s^2``.

    Parameters
    ----------
    table : DataFrame
        See `load`.
    dataset, first, second : str
    score : str, optional
        Column; by default the likelihood at 1,000 samples.
    level : float

    Returns
    -------
    mean, lower, upper : float
    """
    from scipy import stats

    score = score or f"log_likelihood_{SAMPLES[-1]}"
    rows = table[table.dataset == dataset]
    scores = rows.pivot(index="split", columns="model", values=score)
    difference = (scores[first] - scores[second]).dropna()
    n = len(difference)
    ratio = TEST / (1 - TEST)
    error = difference.std() * np.sqrt(1 / n + ratio)
    reach = stats.t.ppf((1 + level) / 2, n - 1) * error
    mean = difference.mean()
    return mean, mean - reach, mean + reach


def main():
    """Fill the table, with one process a core."""
    import pandas
    from tqdm import tqdm

    path, code = table_path(), code_hash()
    rows = load().to_dict("records") if path.exists() else []
    rows = [row for row in rows if row["code"] == code]
    done = {(row["dataset"], row["model"], row["split"]) for row in rows}
    todo = [job for job in jobs() if job not in done]
    print(f"{len(done)} rows are there, {len(todo)} to go (code {code})")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), spawn, _one_thread) as pool:
        running = [pool.submit(compute_row, *job) for job in todo]
        for job in tqdm(as_completed(running), total=len(todo), unit="fit"):
            today = datetime.date.today().isoformat()
            rows.append(job.result() | {"code": code, "date": today})
            path.parent.mkdir(exist_ok=True)
            table = pandas.DataFrame(rows)
            table = table.sort_values(["dataset", "model", "split"])
            new = path.with_suffix(".new")
            table.to_csv(new, index=False, float_format="%.6g")
            os.replace(new, path)


def _one_thread():
    """Two processes of one thread beat one process of two."""
    import torch

    torch.set_num_threads(1)


def _drop_prose(node):
    """Remove what a node says to people: a docstring, an error's text."""
    if isinstance(node, ast.Raise):
        node.exc = None
    has_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef)
    if isinstance(node, has_docstring) and ast.get_docstring(node):
        del node.body[0]


if __name__ == "__main__":
    sys.exit(main())
