"""Reading the table, comparing two models in it, and knowing its code."""

import ast
import hashlib
from pathlib import Path

import numpy as np

from qbmvae_mini.cells import datasets
from qbmvae_mini.results.fits import FAMILIES, SAMPLES
from qbmvae_mini.results.studies import STUDIES, TEST

#: Modules that decide the numbers. Figures and site do not.
_DECIDING = (
    "arrays",
    "averaging",
    "boltzmann",
    "cell_vae",
    "cells",
    "checkpoints",
    "checks",
    "controls",
    "datasets",
    "graphs",
    "latents/base",
    "latents/bits",
    "latents/boltzmann",
    "latents/gaussian",
    "likelihoods",
    "metrics/classification",
    "metrics/embeddings",
    "metrics/integration",
    "metrics/trajectory",
    "partition",
    "relaxations",
    "results/baselines",
    "results/fits",
    "results/scores",
    "results/studies",
    "samplers/chains",
    "samplers/dimod_adapter",
    "samplers/exact",
    "samplers/gibbs",
    "samplers/sweeps",
    "simulators",
    "training",
    "vae",
)


def code_hash():
    """Twelve digits that change when code that decides the numbers does.

    Comments, docstrings, error messages and layout do not count.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in _DECIDING:
        tree = ast.parse((root / f"{name}.py").read_text())
        for node in ast.walk(tree):
            _drop_prose(node)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def table_path():
    """Where the table lives: in the source tree or in the installed wheel."""
    return datasets.data_directory() / "results" / "scores.csv"


def load():
    """The table as a pandas DataFrame, one row a model and split.

    Columns are those of `compute_rows`, the hash of the code, and the date.
    """
    import pandas

    path = table_path()
    if not path.exists():
        raise FileNotFoundError("there is no results table; run: make results")
    return pandas.read_csv(path)


def with_best(table, families=None):
    """The table, with rows for the best of each family of models.

    Which model of a family is best is said by the validation cells of each
    data set and split, never by the test cells.

    Parameters
    ----------
    table : DataFrame
        See `load`.
    families : dict of str to sequence of str, optional
        Name of the new rows -> models; by default `FAMILIES`.

    Returns
    -------
    DataFrame
        ``chosen`` holds the model that a new row was taken from.
    """
    import pandas

    parts = [table]
    families = FAMILIES if families is None else families
    for name, models in families.items():
        rows = table[table.model.isin(models)]
        best = rows.groupby(["dataset", "split"]).validation.idxmax()
        rows = rows.loc[best]
        parts.append(rows.assign(chosen=rows.model, model=name))
    return pandas.concat(parts, ignore_index=True)


def paired_interval(table, dataset, first, second, score=None, level=0.95):
    """Mean of `first` minus `second` over the splits, with an interval.

    The splits' training cells overlap, so their differences are not
    independent and the usual t interval is too short. The variance is
    corrected as in Nadeau and Bengio 2003, Inference for the generalization
    error, Eq. 9: ``(1/n + n_test/n_train) s^2``. Splits that were simulated
    apart share no cell, and for them it is the usual ``s^2 / n``.

    Parameters
    ----------
    table : DataFrame
        See `load` and `with_best`.
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
    error = difference.std() * np.sqrt(1 / n + _overlap(dataset))
    reach = stats.t.ppf((1 + level) / 2, n - 1) * error
    mean = difference.mean()
    return mean, mean - reach, mean + reach


def verdict(lower, upper, margin=0.02):
    """An interval of a difference in one word; higher scores are better.

    Parameters
    ----------
    lower, upper : float
        Its ends, as from `paired_interval`.
    margin : float
        A loss that is let pass; it is fixed before the scores are seen.

    Returns
    -------
    str
        "higher" if the whole interval is above 0, "passes" if it is above
        minus the margin, "lower" if it is below that, else "undecided".
    """
    if lower > 0:
        return "higher"
    if lower > -margin:
        return "passes"
    return "lower" if upper < -margin else "undecided"


def _overlap(dataset):
    """Test cells over training cells, where splits share cells; else 0."""
    study = STUDIES.get(dataset)
    if study and study.independent:
        return 0
    share = 1 / len(study.held_out) if study and study.held_out else TEST
    return share / (1 - share)


def _drop_prose(node):
    """Remove what a node says to people: a docstring, an error's text."""
    if isinstance(node, ast.Raise):
        node.exc = None
    has_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef)
    if isinstance(node, has_docstring) and ast.get_docstring(node):
        del node.body[0]
