"""What the searches found, and which of their fits each rule picks.

A search trains on the training cells of split 0 and looks at no test cell. It
keeps every fit's scores. Two rules pick one of them for a family of models:

- *likelihood*: the highest validation;
- *markers*: the highest validation among the fits whose worst marker gene is
  within a factor of `WORST_FACTOR` of the raw counts. If there is none, the
  fit whose worst marker is the least wrong.
"""

import math
from typing import NamedTuple

from qbmvae_mini.results.catalogue import (
    CURVE_RECIPE,
    MODELS,
    SOURCES,
    Recipe,
    families,
)
from qbmvae_mini.results.studies import CURVES, DATASETS, STUDIES

#: A worst marker below it is let pass.
WORST_FACTOR = 2

#: The same of an absolute logarithm to base 2, as ``marker_worst`` is.
WORST_BOUND = math.log2(WORST_FACTOR)

#: Rule -> what is added to a family's name in the table.
RULES = {"likelihood": "", "markers": ", true markers"}


class Choice(NamedTuple):
    """A row of a search: which row of which model, by which recipe."""

    row: str
    recipe: Recipe


def recipes_to_try(study, model, searches):
    """The recipes of a model's search on a bundled set.

    Parameters
    ----------
    study, model : str
    searches : dict
        (study, row, recipe in words) -> row; see `table.read_rows`.

    Returns
    -------
    tuple of Recipe, or None
        None where the search of the model that it follows is not over.
    """
    entry = MODELS[model]
    if study in CURVES:
        return (CURVE_RECIPE,)
    if entry.recipes_of is None:
        return entry.recipes
    if not is_over(study, entry.recipes_of, searches):
        return None
    picked = (
        pick(study, [entry.recipes_of], searches, rule).recipe for rule in RULES
    )
    return tuple(dict.fromkeys(picked))


def takes_part(study, model):
    """Whether a model is searched on a study at all."""
    entry = MODELS[model]
    if entry.family is None:
        return False
    return entry.curve if study in CURVES else study in entry.datasets


def is_over(study, model, searches):
    """Whether all fits of a model's search are there."""
    recipes = recipes_to_try(study, model, searches)
    return recipes is not None and all(
        (study, row, recipe.words) in searches
        for recipe in recipes
        for row in searched_rows(study, model)
    )


def searched_rows(study, model):
    """Names of the rows that a fit of a search gives."""
    if study in CURVES:
        return (model,)
    return (model, *MODELS[model].afterwards)


def pick(study, names, searches, rule="likelihood"):
    """The fit that a rule picks among the rows of these names.

    Parameters
    ----------
    study : str
        A bundled set.
    names : sequence of str
        Of models, or of what is fitted afterwards.
    searches : dict
        See `recipes_to_try`.
    rule : str
        Key of `RULES`.

    Returns
    -------
    Choice
    """
    found = {
        Choice(row, Recipe.of(words)): scores
        for (where, row, words), scores in searches.items()
        if where == study and row in names
    }

    def validation(choice):
        return float(found[choice]["validation"])

    if rule == "likelihood":
        return max(found, key=validation)

    def error(choice):
        return float(found[choice]["marker_worst"] or math.inf)

    true = [choice for choice in found if error(choice) <= WORST_BOUND]
    return max(true, key=validation) if true else min(found, key=error)


def picks(study, searches):
    """Name in the table -> the fit that stands behind it, where it is known.

    On a bundled set, names are those of families by each rule; on all
    studies they are also those of models, by likelihood.

    Parameters
    ----------
    study : str
        Key of `STUDIES`.
    searches : dict
        See `recipes_to_try`.

    Returns
    -------
    dict of str to Choice
    """
    found = {}
    if study in DATASETS:
        for family, names in families().items():
            if all(_is_searched(study, name, searches) for name in names):
                for rule, suffix in RULES.items():
                    choice = pick(study, names, searches, rule)
                    found[family + suffix] = choice
    for name in _own_names(study):
        choice = _followed(STUDIES[study].recipe_of or study, name, searches)
        if choice is not None:
            found[name] = choice
    return found


def _is_searched(study, name, searches):
    model = SOURCES[name]
    return not takes_part(study, model) or is_over(study, model, searches)


def _own_names(study):
    """Names of models, and what derives from them, with rows of their own."""
    tasks = STUDIES[study].tasks
    for name, model in MODELS.items():
        if study in CURVES:
            if model.curve:
                yield name
        elif study not in DATASETS:
            if model.other_studies and set(model.tasks).intersection(tasks):
                yield name
        elif study in model.datasets:
            if model.family is None or model.embeds or model.every_split:
                yield from (name, *model.controls)
            for row, prior in model.afterwards.items():
                if prior.every_split:
                    yield row


def _followed(study, name, searches):
    """The choice of a name by itself or by the model that it follows."""
    model = SOURCES[name]
    entry = MODELS[model]
    if entry.family is None and entry.recipes_of is None:
        return Choice(name, entry.recipes[0])
    leader = model if entry.family is not None else entry.recipes_of
    if not is_over(study, leader, searches):
        return None
    row = name if name in entry.afterwards else leader
    return Choice(name, pick(study, [row], searches).recipe)
