"""Which cells are compared: bundled sets, subsets of them, simulated ones.

A study is a set of cells with a question. The bundled sets are asked for the
likelihood of held-out cells, and for their labels where experts gave some. The
others have an answer that is known, or a batch effect, and say which.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qbmvae_mini.cells import datasets, simulators

SPLITS = range(5)

#: Splits on which the families' choices are trained and scored.
FAMILY_SPLITS = range(3)

#: Training cells of the points of the learning curve, and its splits.
CURVE, CURVE_SPLITS = (250, 1000), range(3)

#: What may be asked of a study, beside the likelihood.
TASKS = ("classification", "integration", "trajectory")

#: Shares of the cells; the rest trains.
TEST, VALIDATION = 0.2, 0.1

#: Cells of the pancreas that get a twin, and the genes they keep.
TWINS, TWIN_GENES = 400, 1000

#: Cells and genes of a simulated set.
SIMULATED = 700, 400


@dataclass(frozen=True)
class Study:
    """A set of cells and what is asked of it.

    Parameters
    ----------
    load : callable
        Number of the split -> AnnData. Where the cells are simulated, each
        split has its own.
    tasks : tuple of str
        Of `TASKS`; likelihood always.
    batch_key : str, optional
        Column of ``obs`` that the decoder is told.
    labels : str, optional
        Column of ``obs`` with the types.
    types : str, optional
        Column of ``obs`` whose groups should keep their marker genes: the
        labels, or clusters where there are none.
    recipe_of : str, optional
        Bundled set whose searches chose the recipes; by default its own.
    held_out : sequence of str, optional
        Batches that are the test cells, one a split. Without it a fifth of
        the cells, at random.
    order : str, optional
        Column of ``obs`` that orders the cells; ``uns["root"]`` names the
        first.
    independent : bool
        Whether no cell stands in two splits: each has cells of its own.
    n_train : int, optional
        How many cells of the training part are kept: a point of a learning
        curve, where all models have one recipe.
    """

    load: Callable
    tasks: tuple = ()
    batch_key: str | None = None
    labels: str | None = None
    types: str | None = None
    recipe_of: str | None = None
    held_out: tuple = ()
    order: str | None = None
    independent: bool = False
    n_train: int | None = None

    @property
    def splits(self):
        """Numbers of the splits."""
        if self.n_train is not None:
            return CURVE_SPLITS
        return range(len(self.held_out)) if self.held_out else SPLITS


def _bundled(name):
    return lambda split: datasets.load(name)


def _healthy_marrow(split):
    marrow = datasets.load("marrow")
    return _with_counts(marrow[marrow.obs.donor != "AML1"])


def _erythroid_arm(split):
    marrow = datasets.load("marrow")
    arm = marrow[marrow.obs.erythroid_arm]
    held_out = marrow.var_names.isin(marrow.uns["haemoglobin_genes"])
    cells = _with_counts(arm[:, ~held_out])
    haemoglobin = np.asarray(arm[:, held_out].X.sum(axis=1)).ravel()
    cells.obs["haemoglobin"] = haemoglobin / arm.obs.n_counts.to_numpy()
    # The middle of the root cluster, in logs of shares that no model made.
    root = cells[cells.obs.cluster == cells.uns["erythroid_arm"][0]]
    share = root.X.toarray() / root.X.sum(axis=1)
    logs = np.log1p(1e4 * np.asarray(share))
    middle = np.square(logs - logs.mean(axis=0)).sum(axis=1).argmin()
    cells.uns["root"] = root.obs_names[middle]
    return cells


def _twin_pancreas(split):
    pancreas = datasets.load("pancreas")
    totals = np.asarray(pancreas.X.sum(axis=0)).ravel()
    genes = np.sort(np.argsort(-totals, kind="stable")[:TWIN_GENES])
    order = np.random.default_rng(split).permutation(pancreas.n_obs)
    cells = _with_counts(pancreas[np.sort(order[:TWINS]), genes])
    return _with_counts(simulators.split_into_twins(cells, seed=split))


def _gated_runs(split):
    """Cells whose type was told by their proteins, and not by these counts."""
    runs = datasets.load("protein_runs")
    return _with_counts(runs[runs.obs.cell_type != "ungated"])


def _with_counts(adata):
    """A copy without genes that no cell has."""
    seen = np.asarray(adata.X.sum(axis=0)).ravel() > 0
    return adata[:, seen].copy()


#: Name -> study. Clusters of marrow come from its own counts: they are labels
#: to look at, and no truth.
STUDIES = {
    "pancreas": Study(
        _bundled("pancreas"),
        ("classification",),
        "batch",
        "cell_type",
        types="cell_type",
    ),
    "marrow": Study(_bundled("marrow"), batch_key="donor", types="cluster"),
    "immune": Study(
        _bundled("immune"),
        ("classification",),
        labels="cell_type",
        types="cell_type",
    ),
    "pbmc68k": Study(_bundled("pbmc68k"), types="cell_type"),
    "pancreas libraries": Study(
        _bundled("pancreas"),
        ("classification",),
        "batch",
        "cell_type",
        recipe_of="pancreas",
        held_out=("lib1", "lib2", "lib3"),
    ),
    "healthy marrow": Study(
        _healthy_marrow,
        ("integration",),
        "donor",
        "cluster",
        recipe_of="marrow",
    ),
    "twin pancreas": Study(
        _twin_pancreas,
        ("integration",),
        "batch",
        "cell_type",
        recipe_of="pancreas",
    ),
    "simulated batches": Study(
        lambda split: simulators.simulate_batches(*SIMULATED, seed=split),
        ("integration",),
        "batch",
        "cell_type",
        recipe_of="pancreas",
        independent=True,
    ),
    "protein runs": Study(
        _gated_runs,
        ("classification", "integration"),
        "batch",
        "cell_type",
        recipe_of="pancreas",
    ),
    "erythroid arm": Study(
        _erythroid_arm,
        ("trajectory",),
        recipe_of="marrow",
        order="haemoglobin",
    ),
    "simulated tree": Study(
        lambda split: simulators.simulate_tree(*SIMULATED, seed=split),
        ("trajectory",),
        recipe_of="pancreas",
        order="time",
        independent=True,
    ),
}

STUDIES |= {
    f"cord blood, {n} cells": Study(_bundled("cord_blood"), n_train=n)
    for n in CURVE
}

#: The bundled sets, and the column of ``obs`` that the decoder is told. All
#: models are trained on these.
DATASETS = {
    name: study.batch_key
    for name, study in STUDIES.items()
    if study.recipe_of is None and study.n_train is None
}

#: The points of the learning curve.
CURVES = tuple(n for n, study in STUDIES.items() if study.n_train is not None)


def load_cells(study, split=0):
    """The cells of a study.

    Parameters
    ----------
    study : str
        Key of `STUDIES`.
    split : int
        Seeds what is simulated.

    Returns
    -------
    AnnData
    """
    if study not in STUDIES:
        raise ValueError(
            f"Unknown study {study!r}: choose one of {', '.join(STUDIES)}."
        )
    return STUDIES[study].load(split)


def split_study(study, split):
    """Training and test cells of one split of a study.

    Returns
    -------
    train, test : AnnData
        See `split_cells`. Where a batch is held out, it is the test.
    """
    adata = load_cells(study, split)
    held_out, n_train = STUDIES[study].held_out, STUDIES[study].n_train
    if n_train is not None:
        return split_cells(adata, split, n_train)
    if not held_out:
        return split_cells(adata, split)
    batch = adata.obs[STUDIES[study].batch_key]
    return _seen_genes(adata, (batch == held_out[split]).to_numpy())


def split_cells(adata, split, n_train=None):
    """Training and test cells of one split.

    Genes without a count in the training cells are dropped from both: a
    model cannot learn them, and one without it would be refused.

    Parameters
    ----------
    adata : AnnData
    split : int
        Seeds the split.
    n_train : int, optional
        How many of the training cells are kept; all by default. Fewer are
        some of the more.

    Returns
    -------
    train, test : AnnData
        `train` includes the cells for early stopping.
    """
    order = np.random.default_rng(split).permutation(adata.n_obs)
    n_test = round(TEST * adata.n_obs)
    if n_train is None:
        n_train = adata.n_obs - n_test
    chosen = np.sort(order[: n_test + n_train])
    is_test = np.isin(chosen, order[:n_test])
    return _seen_genes(adata[chosen], is_test)


def _seen_genes(adata, is_test):
    train = adata[~is_test]
    seen = np.asarray(train.X.sum(axis=0)).ravel() > 0
    return train[:, seen].copy(), adata[is_test, seen].copy()
