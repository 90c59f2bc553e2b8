"""Which fits the table wants, in which order, and which are missing."""

from typing import NamedTuple

import numpy as np

from qbmvae_mini.results.catalogue import MODELS
from qbmvae_mini.results.rows import rows_of
from qbmvae_mini.results.studies import DATASETS, STUDIES


class Job(NamedTuple):
    """One fit: a model on one split of a study."""

    study: str
    model: str
    split: int

    @property
    def keys(self):
        """(study, name, split) of the rows that it gives."""
        names = rows_of(self.study, self.model)
        return [(self.study, name, self.split) for name in names]

    @property
    def searches(self):
        """Whether it tries all dropouts, for itself and for others."""
        searched = MODELS[self.model].dropout_of is None
        return searched and self.study in DATASETS and self.split == 0

    @property
    def chooser(self):
        """The job that chooses its dropout; itself if it does so."""
        model = MODELS[self.model]
        if self.searches or len(model.dropouts) == 1:
            return self
        study = STUDIES[self.study].dropout_of or self.study
        return Job(study, model.dropout_of or self.model, 0)


def wanted():
    """All jobs of the table, split 0 first."""
    most = max(len(study.splits) for study in STUDIES.values())
    return [
        Job(name, model, split)
        for split in range(most)
        for name, study in STUDIES.items()
        for model in MODELS
        if split in study.splits and is_wanted(name, model)
    ]


def is_wanted(study, model):
    """Whether a model is made on a study at all."""
    if study in DATASETS:
        return study in MODELS[model].datasets
    return MODELS[model].other_studies


def with_choosers(jobs, rows):
    """The jobs, before them those whose choice they need and nobody has made.

    Parameters
    ----------
    jobs : list of Job
    rows : dict
        See `table.read_rows`.
    """
    chosen = choices(rows)
    needed = [job.chooser for job in jobs if dropouts_of(job, chosen) is None]
    return list(dict.fromkeys([*needed, *jobs]))


def choices(rows):
    """What the searches chose: (study, model) -> dropout.

    Parameters
    ----------
    rows : dict
        See `table.read_rows`.
    """
    return {
        (study, model): float(row["dropout"])
        for (study, model, split), row in rows.items()
        if model in MODELS
        and Job(study, model, split).searches
        and row.get("dropout")
    }


def dropouts_of(job, chosen):
    """The dropouts to try, or None where another job must choose first.

    Parameters
    ----------
    job : Job
    chosen : dict of (str, str) to float
        See `choices`.
    """
    if job.chooser == job:
        return MODELS[job.model].dropouts
    place = job.chooser.study, job.chooser.model
    return (chosen[place],) if place in chosen else None


def seconds(job, rows):
    """What the training will take by the rows there are, or None.

    Seconds of one core, from other splits of the same, or else from other
    studies. Scoring is not counted.
    """
    if not MODELS[job.model].trained:
        return 0.0
    names = rows_of(job.study, job.model)
    recorded = [
        (study == job.study, float(row["cpu_seconds"]))
        for (study, name, _), row in rows.items()
        if name in names and row.get("cpu_seconds")
    ]
    near = [cost for here, cost in recorded if here]
    costs = near or [cost for _, cost in recorded]
    if not costs:
        return None
    fits = len(MODELS[job.model].dropouts) if job.searches else 1
    return fits * len(names) * float(np.mean(costs))
