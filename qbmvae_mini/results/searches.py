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
    TRAINED_WHEN,
    Recipe,
    families,
    recipe_by_name,
)
from qbmvae_mini.results.studies import (
    CURVES,
    DATASETS,
    FAMILY_SPLITS,
    STUDIES,
)

#: A worst marker below it is let pass.
WORST_FACTOR = 2

#: The same of an absolute logarithm to base 2, as ``marker_worst`` is.
WORST_BOUND = math.log2(WORST_FACTOR)

#: By which a fit is picked from a family's searches.
RULES = ("likelihood", "markers")


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
        (study, row, recipe in words) -> row; see `Table.read`.

    Returns
    -------
    tuple of Recipe, or None
        None where the search of the model that it follows is not over.
    """
    entry = MODELS[model]
    if entry.recipes_of is None:
        return entry.recipes
    if not is_over(study, entry.recipes_of, searches):
        return None
    return (pick(study, [entry.recipes_of], searches).recipe,)


def takes_part(study, model):
    """Whether a model is searched on a study at all."""
    entry = MODELS[model]
    return entry.family is not None and study in entry.datasets


def is_over(study, model, searches):
    """Whether all fits of a model's search are there."""
    recipes = recipes_to_try(study, model, searches)
    return recipes is not None and all(
        (study, row, recipe.words) in searches
        for recipe in recipes
        for row in searched_rows(model)
    )


def searched_rows(model):
    """Names of the rows that a fit of a search gives."""
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
        One of `RULES`.

    Returns
    -------
    Choice
    """
    # Sorted, so that the order of the rows decides no tie.
    found = {
        Choice(row, Recipe.of(words)): scores
        for (where, row, words), scores in sorted(searches.items())
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

    On a bundled set, names are those of families and of `TRAINED_WHEN`, by
    likelihood, once their search is over. On all studies they are those
    of models and of what these give without training.

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
            models = {SOURCES[name] for name in names}
            asked = [name for name in models if takes_part(study, name)]
            if all(is_over(study, name, searches) for name in asked):
                found[family] = pick(study, names, searches)
        if "Boltzmann" in found:
            for part, names in TRAINED_WHEN.items():
                found[part] = pick(study, names, searches)
    for model in _named(study):
        recipe = CURVE_RECIPE if study in CURVES else None
        recipe = recipe or recipe_by_name(study, model)
        rows = (model, *(MODELS[model].controls if study in DATASETS else ()))
        found |= {row: Choice(row, recipe) for row in rows}
    return found


def splits_of(study, name):
    """The splits on which a name of `picks` has rows."""
    return FAMILY_SPLITS if name not in SOURCES else STUDIES[study].splits


def _named(study):
    """The models that stand by their own name on a study."""
    tasks = STUDIES[study].tasks
    for name, model in MODELS.items():
        if study in CURVES:
            there = model.curve
        elif study in DATASETS:
            there = model.named and study in model.datasets
        else:
            there = model.other_studies and bool(
                set(model.tasks).intersection(tasks)
            )
        if there:
            yield name
