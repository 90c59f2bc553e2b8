"""One fit, and the rows that it gives."""

import importlib.util
import time
from dataclasses import replace

import numpy as np

from qbmvae_mini import metrics
from qbmvae_mini.models.cell_vae import CellVAE
from qbmvae_mini.models.controls import refit_prior
from qbmvae_mini.results import scores
from qbmvae_mini.results.catalogue import FIT, MODELS, SOURCES
from qbmvae_mini.results.searches import searched_rows
from qbmvae_mini.results.studies import (
    STUDIES,
    TEST,
    VALIDATION,
    load_cells,
    split_study,
)

#: Importance samples a cell: the gap to log p(x) differs between latents.
SAMPLES = (64, 1000)

#: Module of the extra ``baselines`` -> the package that it comes with.
PACKAGES = {
    "harmonypy": "harmonypy",
    "scib_metrics": "scib-metrics",
    "scvi": "scvi-tools",
}

#: The share of training cells for early stopping, of those that are no test.
HELD_OUT = VALIDATION / (1 - TEST)


def fit_model(cells, study, model, recipe, seed, *, progress=False):
    """A model of `MODELS`, trained to its validation optimum.

    Returns
    -------
    CellVAE or rival
    """
    entry, batch_key = MODELS[model], STUDIES[study].batch_key
    if entry.rival is not None:
        return entry.rival(cells, batch_key, recipe, seed)
    vae = CellVAE(
        cells,
        entry.latent(seed),
        batch_key=batch_key,
        encoder_dropout=recipe.encoder_dropout,
        decoder_dropout=recipe.decoder_dropout,
        seed=seed,
    )
    return vae.fit(
        validation=HELD_OUT,
        kl_weight=entry.kl_weight,
        decoder_precision=recipe.decoder_precision,
        progress=progress,
        **FIT,
    )


def fit_afterwards(vae, row, seed):
    """The finished model with the prior of a row ``afterwards``."""
    latent = MODELS[SOURCES[row]].afterwards[row].latent(seed)
    return refit_prior(vae, latent, validation=HELD_OUT, progress=False, **FIT)


def compute(job):
    """The rows of a `Job`, of a search or of a split.

    Raises
    ------
    ImportError
        If a package is absent that the model or its scores need.
    """
    check_packages(job.study, job.model)
    if job.searches:
        return search(job.study, job.model, job.recipe)
    return compute_rows(*job)


def search(study, model, recipe):
    """Train on split 0 for a search, and look at no test cell.

    Returns
    -------
    list of dict
        One of the model and one of each prior that is fitted afterwards.
        ``validation`` is the best score of early stopping: scVI's ELBO, an
        importance-weighted likelihood for all others. Columns
        ``marker_...`` are those of `metrics.marker_fidelity` on the
        *training* cells.
    """
    cells, _ = split_study(study, 0)
    vae, seconds = _timed(fit_model, cells, study, model, recipe, 0)
    rows = [_search_row(vae, cells, study, model, recipe, seconds)]
    for row in searched_rows(model)[1:]:
        other, seconds = _timed(fit_afterwards, vae, row, 0)
        rows.append(_search_row(other, cells, study, row, recipe, seconds))
    return rows


def _search_row(vae, cells, study, row, recipe, seconds):
    return {
        "dataset": study,
        "model": row,
        "recipe": recipe.words,
        **_training(vae, seconds),
        **_marker_scores(vae, cells, cells, study),
    }


def compute_row(study, name, recipe, split, *, samples=SAMPLES):
    """The row of one model alone: trained on one split, scored on its test.

    Parameters
    ----------
    study, name : str
        Key of `STUDIES`; of `MODELS` or a row fitted afterwards.
    recipe : Recipe
    split : int
    samples : sequence of int
        See `compute_rows`.

    Returns
    -------
    dict
    """
    model = SOURCES[name]
    (row,) = compute_rows(study, model, recipe, split, [name], samples=samples)
    return row


def compute_rows(study, model, recipe, split, names, *, samples=SAMPLES):
    """Train a model on one split, and score it and what derives from it.

    One fit serves all rows, the likelihood and every task of the study.

    Parameters
    ----------
    study, model : str
        Key of `STUDIES` and of `MODELS`.
    recipe : Recipe
    split : int
    names : sequence of str
        The rows that are wanted: the model's own name, and those of its
        ``afterwards`` and its ``controls``.
    samples : sequence of int
        Importance samples a cell, for one score each.

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
        Columns ``marker_...`` are those of `metrics.marker_fidelity` on the
        test cells. ``cpu_seconds`` is the training. The scores of the tasks
        are those of `qbmvae_mini.results.scores`.

    Raises
    ------
    ImportError
        If a package is absent that the model or its scores need.
    """
    check_packages(study, model)
    parts = split_study(study, split)
    vae, seconds = _timed(fit_model, parts[0], study, model, recipe, split)
    rows = []
    for name in names:
        derived, more = _timed(_derived, vae, model, name, split)
        place = study, name, recipe, split
        rows.append(_row(derived, parts, place, samples, seconds + more))
    return rows


def _derived(vae, model, name, seed):
    """The model behind a row: the trained one, or what is made of it."""
    if name == model:
        return vae
    change = MODELS[model].controls.get(name)
    return change(vae, seed=seed) if change else fit_afterwards(vae, name, seed)


def _timed(fit, *arguments):
    start = time.process_time()
    vae = fit(*arguments)
    return vae, time.process_time() - start


def check_packages(study, model):
    """Refuse a row before its training if a package for it is absent.

    Raises
    ------
    ImportError
    """
    needed = [MODELS[model].package]
    if "integration" in STUDIES[study].tasks:
        needed.append("scib_metrics")
    for module in needed:
        if module and importlib.util.find_spec(module) is None:
            raise ImportError(
                f"{PACKAGES[module]} is not installed; it comes with the extra "
                "`baselines`: pip install 'qbmvae_mini[baselines]'"
            )


def best_validation(vae):
    """The best score of early stopping, nats a cell."""
    return max(
        entry["validation"]
        for entry in vae.history_
        if entry.get("validation") is not None
    )


def _row(vae, parts, place, samples, seconds):
    """The row of a finished model, or of what derives from it."""
    cells, test = parts
    study, name, recipe, split = place
    entry = MODELS[SOURCES[name]]
    row = {
        "dataset": study,
        "model": name,
        "recipe": recipe.words,
        "split": split,
        "seed": split,
        "n_test": test.n_obs,
        "n_genes": test.n_vars,
    }
    if entry.trained:
        row |= _training(vae, seconds)
    if name not in MODELS:  # what derives from one has no task of its own
        entry = replace(entry, embeds=False, energy=False)
    row |= _task_scores(vae, parts, study, split, entry)
    judged = entry.trained and entry.kl_weight > 0
    if judged and not STUDIES[study].held_out:
        row |= _likelihoods(vae, test, samples, entry.latent is not None)
        row |= _marker_scores(vae, cells, test, study)
    return row


def _training(vae, seconds):
    weights = vae.module.parameters()
    return {
        "n_parameters": sum(weight.numel() for weight in weights),
        "epochs": len(vae.history_),
        "validation": best_validation(vae),
        "cpu_seconds": seconds,
    }


def _marker_scores(vae, cells, seen, study):
    """Of the cells `seen`, by the markers that training `cells` give."""
    types = STUDIES[study].types
    if types is None:
        return {}
    genes = list(cells.var_names)
    known, labels = (
        part.obs[types].astype(str).to_numpy() for part in (cells, seen)
    )
    markers = metrics.marker_genes(cells.X.toarray(), known, genes)
    shares = vae.get_normalized_expression(seen)
    ratios = metrics.marker_ratios(
        seen.X.toarray(), np.asarray(shares), labels, genes, markers
    )
    found = metrics.marker_fidelity(ratios)
    return {f"marker_{name}": value for name, value in found.items()}


def _likelihoods(vae, test, samples, ours):
    found = {}
    if ours:
        bracket = vae.module.latent.estimate_log_z()
        found["log_z_width"] = bracket.upper - bracket.lower
    found["elbo"] = vae.get_elbo(test)
    for n in samples:
        score = vae.get_log_likelihood(test, n_samples=n)
        found[f"log_likelihood_{n}"] = float(score.mean())
    if ours and vae.module.latent.smooths:
        n = samples[-1]
        score = vae.get_log_likelihood(test, n_samples=n, discrete=True)
        found[f"discrete_{n}"] = float(score.mean())
    return found


def _task_scores(vae, parts, study, split, entry):
    """Scores of the study's tasks. Labels take no part in the training."""
    cells, test = parts
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
        found |= scores.mixing_ceilings(codes, labels, batches, split)
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
