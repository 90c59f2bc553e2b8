"""Which fits the tables want, in which order, and which are missing."""

from typing import NamedTuple

import numpy as np

from qbmvae_mini.results.catalogue import MODELS, SOURCES, Recipe
from qbmvae_mini.results.searches import (
    picks,
    recipes_to_try,
    searched_rows,
    splits_of,
    takes_part,
)
from qbmvae_mini.results.studies import DATASETS, STUDIES


class Job(NamedTuple):
    """One fit: a model by a recipe, for a search or on one split of a study.

    ``split`` is None for a search, which gives all rows of the model. On a
    split, ``names`` are those of the rows that are wanted: the model's own, of
    priors fitted afterwards, or of controls.
    """

    study: str
    model: str
    recipe: Recipe
    split: int | None = None
    names: tuple = ()

    @property
    def searches(self):
        """Whether its rows are those of a search."""
        return self.split is None

    @property
    def rows(self):
        """Names of the rows that it gives."""
        return searched_rows(self.model) if self.searches else self.names

    @property
    def keys(self):
        """Keys of its rows in the table that they belong to."""
        words = self.recipe.words
        if self.searches:
            return [(self.study, row, words) for row in self.rows]
        return [(self.study, row, words, self.split) for row in self.rows]


def searches_wanted(searches):
    """All jobs of searches whose recipes are known by now."""
    return [
        Job(study, model, recipe)
        for study in DATASETS
        for model in MODELS
        if takes_part(study, model)
        for recipe in recipes_to_try(study, model, searches) or ()
    ]


def fits_wanted(searches):
    """All jobs that the searches have decided on by now, split 0 first.

    Rows that one fit can give are in one job.
    """
    fits = {}
    for study in STUDIES:
        for name, choice in picks(study, searches).items():
            for split in splits_of(study, name):
                fit = split, study, SOURCES[choice.row], choice.recipe
                fits.setdefault(fit, {})[choice.row] = None
    return [
        Job(study, model, recipe, split, tuple(names))
        for (split, study, model, recipe), names in sorted(
            fits.items(), key=lambda item: item[0][0]
        )
    ]


def wanted(searches):
    """All jobs that are known by now, searches first."""
    return searches_wanted(searches) + fits_wanted(searches)


def seconds(job, searches, scores):
    """What the training will take by the rows there are, or None.

    Seconds of one core, from the same study, or else from others. Scoring is
    not counted.
    """
    if not MODELS[job.model].trained:
        return 0.0
    recorded = [
        (key[0] == job.study, float(row["cpu_seconds"]))
        for rows in (searches, scores)
        for key, row in rows.items()
        if key[1] in job.rows and row.get("cpu_seconds")
    ]
    near = [cost for here, cost in recorded if here]
    costs = near or [cost for _, cost in recorded]
    return float(np.mean(costs)) if costs else None
