"""Which fits the tables want, in which order, and which are missing."""

from typing import NamedTuple

import numpy as np

from qbmvae_mini.results.catalogue import (
    MODELS,
    SOURCES,
    Recipe,
    recipe_by_name,
)
from qbmvae_mini.results.searches import (
    picks,
    recipes_to_try,
    searched_rows,
    splits_of,
    takes_part,
)
from qbmvae_mini.results.studies import DATASETS, STUDIES


class Job(NamedTuple):
    """One fit: a row by a recipe, for a search or on one split of a study.

    ``name`` is a model's or, where a split is named, also that of a prior
    fitted afterwards. ``split`` is None for a search.
    """

    study: str
    name: str
    recipe: Recipe
    split: int | None = None

    @property
    def searches(self):
        """Whether its rows are those of a search."""
        return self.split is None

    @property
    def rows(self):
        """Names of the rows that it gives."""
        if self.searches:
            return searched_rows(self.name)
        return (self.name, *self.controls)

    @property
    def controls(self):
        """Rows that it gives without training, where it stands by its name."""
        bundled = self.name in MODELS and self.study in DATASETS
        if not bundled or not MODELS[self.name].controls:
            return {}
        by_name = recipe_by_name(self.study, self.name)
        return MODELS[self.name].controls if self.recipe == by_name else {}

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
    """All jobs that the searches have decided on by now, split 0 first."""
    found = [
        (split, Job(study, _fitted_as(choice.row), choice.recipe, split))
        for study in STUDIES
        for name, choice in picks(study, searches).items()
        for split in splits_of(study, name)
    ]
    found.sort(key=lambda pair: pair[0])
    return list(dict.fromkeys(job for _, job in found))


def _fitted_as(row):
    """The name of the job that gives a row; a control comes with its model."""
    model = SOURCES[row]
    return model if row in MODELS[model].controls else row


def wanted(searches):
    """All jobs that are known by now, searches first."""
    return searches_wanted(searches) + fits_wanted(searches)


def seconds(job, searches, scores):
    """What the training will take by the rows there are, or None.

    Seconds of one core, from the same study, or else from others. Scoring is
    not counted.
    """
    if not MODELS[SOURCES[job.name]].trained:
        return 0.0
    recorded = [
        (key[0] == job.study, float(row["cpu_seconds"]))
        for rows in (searches, scores)
        for key, row in rows.items()
        if key[1] in job.rows and row.get("cpu_seconds")
    ]
    near = [cost for here, cost in recorded if here]
    costs = near or [cost for _, cost in recorded]
    return len(job.rows) * float(np.mean(costs)) if costs else None
