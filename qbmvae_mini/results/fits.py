"""What is compared: models, data sets, splits, and how one fit is scored."""

import time

import numpy as np

from qbmvae_mini import controls, datasets
from qbmvae_mini.boltzmann import RBM, BoltzmannMachine
from qbmvae_mini.cell_vae import CellVAE
from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
)
from qbmvae_mini.samplers import DimodSampler, GibbsSampler

#: Column of ``obs`` that the decoder is told, per data set.
DATASETS = {
    "pancreas": "batch",
    "marrow": "donor",
    "immune": None,
    "pbmc68k": None,
}

#: Labels that experts gave, for the embeddings' neighbours. The clusters of
#: marrow come from the same counts, so they are none.
LABELS = {"pancreas": "cell_type", "immune": "cell_type"}

SPLITS = range(5)

#: Shares of the cells; the rest trains.
TEST, VALIDATION = 0.2, 0.1

#: Tried by every model on every data set, where it is no variant of another.
DROPOUTS = (0.1, 0.3, 0.5)

#: Given to `CellVAE.fit` for every model alike.
FIT = {"max_epochs": 1000}

#: Importance samples a cell: the gap to log p(x) differs between latents.
SAMPLES = (64, 1000)

#: Neighbours of a cell whose labels are asked.
NEIGHBOURS = 15

#: Neighbours of a unit in the sparse machine: a quarter of the RBM's pairs.
DEGREE = 8


def _rbm(half, relaxation="straight-through"):
    def make(seed):
        sampler = GibbsSampler(chains=256, sweeps=5, seed=seed)
        machine = RBM(half, half, seed=seed)
        return BoltzmannLatent(machine, sampler, relaxation=relaxation)

    return make


def _on_graph(edges):
    def make(seed):
        # Coupled units are redrawn in turn, so a sweep costs more.
        sampler = GibbsSampler(chains=128, sweeps=2, seed=seed)
        machine = BoltzmannMachine(64, edges(), seed=seed)
        return BoltzmannLatent(machine, sampler)

    return make


def _regular_graph():
    import networkx

    return sorted(networkx.random_regular_graph(DEGREE, 64, seed=0).edges)


def _by_neal(seed):
    import neal

    sampler = DimodSampler(neal.SimulatedAnnealingSampler(), seed=seed)
    return BoltzmannLatent(RBM(32, 32, seed=seed), sampler, negatives=128)


#: Name of a model -> its latent, given a seed.
MODELS = {
    "Gaussian 10": lambda seed: GaussianLatent(10),
    "Gaussian 20": lambda seed: GaussianLatent(20),
    "Gaussian 32": lambda seed: GaussianLatent(32),
    "Gaussian 64": lambda seed: GaussianLatent(64),
    "Mixture 32": lambda seed: MixtureLatent(32, seed=seed),
    "Bernoulli 64": lambda seed: BernoulliLatent(64),
    "Boltzmann 32+32": _rbm(32),
    "Boltzmann dense 64": _on_graph(lambda: None),
    "Boltzmann sparse 64": _on_graph(_regular_graph),
    "Boltzmann 32+32, KL weight 0": _rbm(32),
    "Boltzmann 32+32, neal": _by_neal,
    "Boltzmann 32+32, score function": _rbm(32, "score function"),
    "Boltzmann 32+32, binary concrete": _rbm(32, "binary concrete"),
    "Boltzmann 32+32, spike-and-exponential": _rbm(32, "spike-and-exponential"),
    "Boltzmann 32+32, overlapping exponentials": _rbm(
        32, "overlapping exponentials"
    ),
}

#: Rows that a finished model gives beside its own, without its training.
DERIVED = {
    "Bernoulli 64": ("Bernoulli 64, RBM afterwards",),
    "Boltzmann 32+32": (
        "Boltzmann 32+32, shuffled W",
        "Boltzmann 32+32, random W",
    ),
}

#: Models of one kind, of which validation picks one; see `with_best`.
FAMILIES = {
    "best Gaussian": tuple(m for m in MODELS if m.startswith("Gaussian")),
}

#: Relaxations whose own model and discrete model have different scores.
SMOOTHED = (
    "binary concrete",
    "spike-and-exponential",
    "overlapping exponentials",
)

#: Where a kind of model, named after its comma, is trained if not everywhere:
#: relaxations other than straight-through, and neal, which costs several times
#: as much a step.
_ONLY_ON = {
    **dict.fromkeys(("neal", "score function", *SMOOTHED), ("pbmc68k",)),
    "KL weight 0": tuple(LABELS),
}


def jobs():
    """All (dataset, model, split) that are trained, split 0 first."""
    return [
        (dataset, model, split)
        for split in SPLITS
        for dataset in DATASETS
        for model in MODELS
        if dataset in _ONLY_ON.get(_kind(model), DATASETS)
    ]


def base_of(model):
    """The model that tells this one its dropout, if not itself."""
    boltzmann = model.startswith("Boltzmann")
    return "Boltzmann 32+32" if boltzmann else model.partition(", ")[0]


def rows_of(model):
    """Names of the rows that training `model` gives."""
    return (model, *DERIVED.get(model, ()))


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


def fit_model(cells, dataset, model, split, dropout, *, progress=False):
    """A model of `MODELS`, trained on `cells` to its validation optimum.

    Returns
    -------
    CellVAE
    """
    vae = CellVAE(
        cells,
        MODELS[model](split),
        batch_key=DATASETS[dataset],
        dropout=dropout,
        seed=split,
    )
    return vae.fit(
        validation=VALIDATION / (1 - TEST),
        kl_weight=0 if _kind(model) == "KL weight 0" else 1,
        progress=progress,
        **FIT,
    )


def compute_row(dataset, model, split, dropout, *, samples=SAMPLES):
    """The row of one model alone: trained on one split, scored on its test.

    Parameters
    ----------
    dataset, model : str
        Keys of `DATASETS` and `MODELS`.
    split : int
    dropout : float
    samples : sequence of int
        Importance samples a cell, for one score each.

    Returns
    -------
    dict
        See `compute_rows`.
    """
    cells, test = split_cells(datasets.load(dataset), split)
    start = time.process_time()
    vae = fit_model(cells, dataset, model, split, dropout)
    seconds = time.process_time() - start
    return _row(vae, cells, test, dataset, model, split, samples, seconds)


def compute_rows(dataset, model, split, dropouts=DROPOUTS):
    """Train one model on one split, and score it and what derives from it.

    Parameters
    ----------
    dataset, model : str
        Keys of `DATASETS` and `MODELS`.
    split : int
    dropouts : sequence of float
        One model is trained with each, and the best on the cells for early
        stopping is kept.

    Returns
    -------
    list of dict
        ``log_likelihood_64`` and ``_1000`` are nats a test cell, with the
        pessimistic end of log Z, of the model that the latent defines;
        ``discrete_1000`` is that with true bits in the decoder, where the
        latent trains with smoothed ones.
        ``log_z_width`` is the bracket's width, ``neighbours`` the share of
        test cells whose nearest training cells' labels name their own.
        ``cpu_seconds`` is the training of the model that was kept.
    """
    cells, test = split_cells(datasets.load(dataset), split)
    kept = None
    for dropout in dropouts:
        start = time.process_time()
        vae = fit_model(cells, dataset, model, split, dropout)
        seconds = time.process_time() - start
        score = best_validation(vae)
        if kept is None or score > kept[0]:
            kept = score, dropout, seconds, vae
    _, dropout, seconds, vae = kept
    common = cells, test, dataset
    rows = [_row(vae, *common, model, split, SAMPLES, seconds)]
    for name in DERIVED.get(model, ()):
        start = time.process_time()
        derived = _derive(vae, name, split)
        seconds = time.process_time() - start
        rows.append(_row(derived, *common, name, split, SAMPLES, seconds))
    return [row | {"dropout": dropout} for row in rows]


def best_validation(vae):
    """The best score of early stopping, nats a cell."""
    return max(
        entry["validation"]
        for entry in vae.history_
        if entry.get("validation") is not None
    )


def _derive(vae, name, seed):
    kind = _kind(name)
    if kind == "shuffled W":
        return controls.shuffle_couplings(vae, seed=seed)
    if kind == "random W":
        return controls.randomise_couplings(vae, seed=seed)
    return controls.refit_prior(
        vae,
        MODELS["Boltzmann 32+32"](seed),
        validation=VALIDATION / (1 - TEST),
        progress=False,
        **FIT,
    )


def _row(vae, cells, test, dataset, model, split, samples, seconds):
    row = {
        "dataset": dataset,
        "model": model,
        "split": split,
        "seed": split,
        "n_test": test.n_obs,
        "n_genes": test.n_vars,
        "n_parameters": sum(p.numel() for p in vae.module.parameters()),
        "epochs": len(vae.history_),
        "validation": best_validation(vae),
        "cpu_seconds": seconds,
    }
    if dataset in LABELS:
        row["neighbours"] = _neighbours(vae, cells, test, LABELS[dataset])
    if _kind(model) == "KL weight 0":
        return row
    bracket = vae.module.latent.estimate_log_z()
    row["log_z_width"] = bracket.upper - bracket.lower
    row["elbo"] = vae.get_elbo(test)
    for n in samples:
        score = vae.get_log_likelihood(test, n_samples=n)
        row[f"log_likelihood_{n}"] = float(score.mean())
    if _kind(model) in SMOOTHED:
        n = samples[-1]
        score = vae.get_log_likelihood(test, n_samples=n, discrete=True)
        row[f"discrete_{n}"] = float(score.mean())
    return row


def _neighbours(vae, cells, test, label):
    from sklearn.neighbors import KNeighborsClassifier

    judge = KNeighborsClassifier(NEIGHBOURS)
    judge.fit(vae.get_latent_representation(), cells.obs[label])
    codes = vae.get_latent_representation(test)
    return float(judge.score(codes, test.obs[label]))


def _kind(model):
    """What stands after the comma of a model's name."""
    return model.partition(", ")[2]
