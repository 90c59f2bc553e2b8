"""Models, how each is trained on a study, and the row that it gives."""

import time

import numpy as np

from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
)
from qbmvae_mini.machines.boltzmann import BoltzmannMachine
from qbmvae_mini.machines.rbm import RBM
from qbmvae_mini.models import controls
from qbmvae_mini.models.cell_vae import CellVAE
from qbmvae_mini.results import scores
from qbmvae_mini.results.rivals import Noise, PrincipalComponents, ScVI
from qbmvae_mini.results.studies import (
    STUDIES,
    TEST,
    VALIDATION,
    load_cells,
    split_study,
)
from qbmvae_mini.samplers import DimodSampler, GibbsSampler

#: The bundled sets, and the column of ``obs`` that the decoder is told. All
#: models are trained on these.
DATASETS = {
    name: study.batch_key
    for name, study in STUDIES.items()
    if study.dropout_of is None
}

#: Tried by every model on every bundled set, where it is no variant of
#: another. scVI at its defaults keeps its own.
DROPOUTS = (0.1, 0.3, 0.5)

#: Given to `CellVAE.fit` for every model alike.
FIT = {"max_epochs": 1000}

#: Importance samples a cell: the gap to log p(x) differs between latents.
SAMPLES = (64, 1000)

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

#: Rivals that are none of ours, given cells, batch column, dropout and seed.
#: As many numbers a cell as the encoder of 64 bits gives, where no width is
#: scVI's own.
BASELINES = {
    "scVI 10": lambda cells, batch_key, dropout, seed: ScVI(
        cells, 10, batch_key=batch_key, dropout=dropout, seed=seed
    ).fit(),
    "scVI 32": lambda cells, batch_key, dropout, seed: ScVI(
        cells, 32, batch_key=batch_key, dropout=dropout, seed=seed
    ).fit(),
    "PCA 32": lambda cells, batch_key, dropout, seed: PrincipalComponents(
        cells, 32
    ),
    "Noise 32": lambda cells, batch_key, dropout, seed: Noise(cells, 32, seed),
}

#: What embeds cells for the tasks.
TASK_MODELS = (
    "Boltzmann 32+32",
    "Gaussian 32",
    "Mixture 32",
    *BASELINES,
)

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

#: Trained on bundled sets alone: elsewhere the width is matched.
_BUNDLED_ONLY = ("scVI 10",)

#: Where a kind of model, named after its comma, is trained if not everywhere:
#: relaxations other than straight-through, and neal, which costs several times
#: as much a step; and the prior's weight where experts gave labels.
_ONLY_ON = {
    **dict.fromkeys(("neal", "score function", *SMOOTHED), ("pbmc68k",)),
    "KL weight 0": ("pancreas", "immune"),
}

#: Trained nowhere: they have embeddings alone.
UNTRAINED = ("PCA 32", "Noise 32")


def jobs():
    """All (study, model, split) that are worked out, split 0 first."""
    return [
        (name, model, split)
        for split in range(max(len(study.splits) for study in STUDIES.values()))
        for name, study in STUDIES.items()
        for model in (*MODELS, *BASELINES)
        if split in study.splits and _is_wanted(name, model)
    ]


def _is_wanted(study, model):
    if study not in DATASETS:
        return model in TASK_MODELS and model not in _BUNDLED_ONLY
    if model in UNTRAINED:
        return bool(STUDIES[study].tasks)
    return study in _ONLY_ON.get(_kind(model), DATASETS)


def base_of(model):
    """The model that tells this one its dropout, if not itself."""
    boltzmann = model.startswith("Boltzmann")
    return "Boltzmann 32+32" if boltzmann else model.partition(", ")[0]


def dropouts_of(study, model, split, chosen):
    """The dropouts to try, or None where another job must choose first.

    Parameters
    ----------
    study, model : str
    split : int
    chosen : dict of (str, str) to float
        Bundled set and model -> what the search has chosen.
    """
    if model in UNTRAINED or model == "scVI 10":
        return (DROPOUTS[0],)
    base = base_of(model)
    if study in DATASETS and split == 0 and model == base:
        return DROPOUTS
    place = STUDIES[study].dropout_of or study, base
    return (chosen[place],) if place in chosen else None


def rows_of(study, model):
    """Names of the rows that `model` gives on a study."""
    derived = DERIVED.get(model, ()) if study in DATASETS else ()
    return (model, *derived)


def fit_model(cells, study, model, split, dropout, *, progress=False):
    """A model of `MODELS` or `BASELINES`, trained to its validation optimum.

    Returns
    -------
    CellVAE or what a baseline is
    """
    batch_key = STUDIES[study].batch_key
    if model in BASELINES:
        return BASELINES[model](cells, batch_key, dropout, split)
    vae = CellVAE(
        cells,
        MODELS[model](split),
        batch_key=batch_key,
        dropout=dropout,
        seed=split,
    )
    return vae.fit(
        validation=VALIDATION / (1 - TEST),
        kl_weight=0 if _kind(model) == "KL weight 0" else 1,
        progress=progress,
        **FIT,
    )


def compute_row(study, model, split, dropout, *, samples=SAMPLES):
    """The row of one model alone: trained on one split, scored on its test.

    Parameters
    ----------
    study, model : str
        Keys of `STUDIES`, and of `MODELS` or `BASELINES`.
    split : int
    dropout : float
    samples : sequence of int
        Importance samples a cell, for one score each.

    Returns
    -------
    dict
        See `compute_rows`.
    """
    cells, test = split_study(study, split)
    start = time.process_time()
    vae = fit_model(cells, study, model, split, dropout)
    seconds = time.process_time() - start
    return _row(vae, cells, test, study, model, split, samples, seconds)


def compute_rows(study, model, split, dropouts=DROPOUTS):
    """Train one model on one split, and score it and what derives from it.

    One fit serves the likelihood and every task of the study.

    Parameters
    ----------
    study, model : str
        Keys of `STUDIES`, and of `MODELS` or `BASELINES`.
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
        latent trains with smoothed ones. ``validation`` is scVI's ELBO, and
        an importance-weighted likelihood for all others.
        ``log_z_width`` is the bracket's width, ``neighbours`` the share of
        test cells whose nearest training cells' labels name their own.
        ``cpu_seconds`` is the training of the model that was kept.
        The scores of the tasks are those of `qbmvae_mini.results.scores`.
    """
    cells, test = split_study(study, split)
    kept = None
    for dropout in dropouts:
        start = time.process_time()
        vae = fit_model(cells, study, model, split, dropout)
        seconds = time.process_time() - start
        score = best_validation(vae) if len(dropouts) > 1 else None
        if kept is None or score > kept[0]:
            kept = score, dropout, seconds, vae
    _, dropout, seconds, vae = kept
    common = cells, test, study
    rows = [_row(vae, *common, model, split, SAMPLES, seconds)]
    for name in rows_of(study, model)[1:]:
        start = time.process_time()
        derived = _derive(vae, name, split)
        seconds = time.process_time() - start
        rows.append(_row(derived, *common, name, split, SAMPLES, seconds))
    if model in UNTRAINED:
        return rows
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


def _row(vae, cells, test, study, model, split, samples, seconds):
    row = {
        "dataset": study,
        "model": model,
        "split": split,
        "seed": split,
        "n_test": test.n_obs,
        "n_genes": test.n_vars,
    }
    if model not in UNTRAINED:
        weights = vae.module.parameters()
        row["n_parameters"] = sum(weight.numel() for weight in weights)
        row["epochs"] = len(vae.history_)
        row["validation"] = best_validation(vae)
        row["cpu_seconds"] = seconds
    row |= _task_scores(vae, cells, test, study, model, split)
    without = model in UNTRAINED or _kind(model) == "KL weight 0"
    if not without and not STUDIES[study].held_out:
        row |= _likelihoods(vae, test, model, samples)
    return row


def _likelihoods(vae, test, model, samples):
    found = {}
    if model not in BASELINES:
        bracket = vae.module.latent.estimate_log_z()
        found["log_z_width"] = bracket.upper - bracket.lower
    found["elbo"] = vae.get_elbo(test)
    for n in samples:
        score = vae.get_log_likelihood(test, n_samples=n)
        found[f"log_likelihood_{n}"] = float(score.mean())
    if _kind(model) in SMOOTHED:
        n = samples[-1]
        score = vae.get_log_likelihood(test, n_samples=n, discrete=True)
        found[f"discrete_{n}"] = float(score.mean())
    return found


def _task_scores(vae, cells, test, study, model, split):
    """Scores of the study's tasks. Labels take no part in the training."""
    asked = STUDIES[study]
    found = {}
    if "classification" in asked.tasks:
        known, new = (
            part.obs[asked.labels].astype(str) for part in (cells, test)
        )
        codes = vae.get_latent_representation()
        pair = codes, known, vae.get_latent_representation(test), new
        found["neighbours"] = scores.neighbour_accuracy(*pair)
        if model in TASK_MODELS:
            found |= scores.classification(*map(np.asarray, pair))
    if not {"integration", "trajectory"}.intersection(asked.tasks):
        return found
    # Nothing is predicted here, so all cells are looked at.
    everyone = load_cells(study, split)
    everyone = everyone[:, cells.var_names].copy()
    codes = vae.get_latent_representation(everyone)
    obs = everyone.obs
    if "integration" in asked.tasks:
        batches = obs[asked.batch_key].astype(str).to_numpy()
        labels = obs[asked.labels].astype(str).to_numpy()
        found |= scores.integration(codes, labels, batches)
        if "twin" in obs:
            found |= scores.twins(codes, batches, obs.twin.to_numpy(str))
    if "trajectory" in asked.tasks:
        root = everyone.obs_names.get_loc(everyone.uns["root"])
        truth = obs[asked.order].to_numpy()
        branches = obs.branch.to_numpy(str) if "branch" in obs else None
        found |= scores.trajectory(codes, root, truth, branches)
        boltzmann = model.startswith("Boltzmann")
        energy = vae.get_energy(everyone) if boltzmann else None
        found |= scores.null_orders(everyone.X, truth, energy)
    return found


def _kind(model):
    """What stands after the comma of a model's name."""
    return model.partition(", ")[2]
