"""One fit, and the rows that it gives."""

import importlib.util
import time

import numpy as np

from qbmvae_mini.models.cell_vae import CellVAE
from qbmvae_mini.results import scores
from qbmvae_mini.results.catalogue import DROPOUTS, FIT, MODELS, entry_of
from qbmvae_mini.results.studies import (
    DATASETS,
    STUDIES,
    TEST,
    VALIDATION,
    load_cells,
    split_study,
)

#: Importance samples a cell: the gap to log p(x) differs between latents.
SAMPLES = (64, 1000)


def fit_model(cells, study, model, split, dropout, *, progress=False):
    """A model of `MODELS`, trained to its validation optimum.

    Returns
    -------
    CellVAE or rival
    """
    entry, batch_key = MODELS[model], STUDIES[study].batch_key
    if entry.rival is not None:
        return entry.rival(cells, batch_key, dropout, split)
    vae = CellVAE(
        cells,
        entry.latent(split),
        batch_key=batch_key,
        encoder_dropout=dropout,
        decoder_dropout=dropout,
        seed=split,
    )
    return vae.fit(
        validation=VALIDATION / (1 - TEST),
        kl_weight=entry.kl_weight,
        progress=progress,
        **FIT,
    )


def compute_row(study, model, split, dropout, *, samples=SAMPLES):
    """The row of one model alone: trained on one split, scored on its test.

    Parameters
    ----------
    study, model : str
        Keys of `STUDIES` and of `MODELS`.
    split : int
    dropout : float
    samples : sequence of int
        Importance samples a cell, for one score each.

    Returns
    -------
    dict
        See `compute_rows`.
    """
    check_packages(study, model)
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
        Keys of `STUDIES` and of `MODELS`.
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

    Raises
    ------
    ImportError
        If a package is absent that the model or its scores need.
    """
    check_packages(study, model)
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
        derived = MODELS[model].derived[name](vae, seed=split)
        seconds = time.process_time() - start
        rows.append(_row(derived, *common, name, split, SAMPLES, seconds))
    if not MODELS[model].trained:
        return rows
    return [row | {"dropout": dropout} for row in rows]


def rows_of(study, model):
    """Names of the rows that `model` gives on a study."""
    derived = MODELS[model].derived if study in DATASETS else ()
    return (model, *derived)


def check_packages(study, model):
    """Refuse a row before its training if a package for it is absent.

    Raises
    ------
    ImportError
    """
    needed = [(MODELS[model].package, "scvi-tools")]
    if "integration" in STUDIES[study].tasks:
        needed.append(("scib_metrics", "scib-metrics"))
    for module, package in needed:
        if module is not None and importlib.util.find_spec(module) is None:
            raise ImportError(
                f"{package} is not installed; it comes with the extra "
                "`baselines`: pip install 'qbmvae_mini[baselines]'"
            )


def best_validation(vae):
    """The best score of early stopping, nats a cell."""
    return max(
        entry["validation"]
        for entry in vae.history_
        if entry.get("validation") is not None
    )


def _row(vae, cells, test, study, model, split, samples, seconds):
    """The row of a finished model; `model` may be the name of a derived one."""
    row = {
        "dataset": study,
        "model": model,
        "split": split,
        "seed": split,
        "n_test": test.n_obs,
        "n_genes": test.n_vars,
    }
    entry = entry_of(model)
    latent = None if entry.latent is None else vae.module.latent
    if entry.trained:
        weights = vae.module.parameters()
        row["n_parameters"] = sum(weight.numel() for weight in weights)
        row["epochs"] = len(vae.history_)
        row["validation"] = best_validation(vae)
        row["cpu_seconds"] = seconds
    row |= _task_scores(vae, cells, test, study, split, entry)
    judged = entry.trained and entry.kl_weight > 0
    if judged and not STUDIES[study].held_out:
        row |= _likelihoods(vae, test, samples, latent)
    return row


def _likelihoods(vae, test, samples, latent):
    found = {}
    if latent is not None:
        bracket = latent.estimate_log_z()
        found["log_z_width"] = bracket.upper - bracket.lower
    found["elbo"] = vae.get_elbo(test)
    for n in samples:
        score = vae.get_log_likelihood(test, n_samples=n)
        found[f"log_likelihood_{n}"] = float(score.mean())
    if latent is not None and latent.smooths:
        n = samples[-1]
        score = vae.get_log_likelihood(test, n_samples=n, discrete=True)
        found[f"discrete_{n}"] = float(score.mean())
    return found


def _task_scores(vae, cells, test, study, split, entry):
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
        if entry.embeds:
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
        energy = vae.get_energy(everyone) if entry.energy else None
        found |= scores.null_orders(everyone.X, truth, energy)
    return found
