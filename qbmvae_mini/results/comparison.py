"""The rows by the names that chapters use, and how two of them compare."""

import numpy as np

from qbmvae_mini.results.rows import SAMPLES
from qbmvae_mini.results.searches import picks
from qbmvae_mini.results.studies import STUDIES, TEST
from qbmvae_mini.results.table import SCORES, SEARCHES, WORDS


def load():
    """The scores of test cells as a pandas DataFrame.

    One row a name and split. A name is a model's, a family's, or a family's
    with ", true markers"; see `searches` for what stands behind it. Columns
    are those of `compute_rows` and of `provenance`, and ``chosen``, the model
    whose row it is.

    Raises
    ------
    FileNotFoundError
        If there is no table.
    ValueError
        If a file is torn or no such table.
    """
    if not SCORES.path.exists():
        raise FileNotFoundError("there is no results table; run: make results")
    scores, searches = SCORES.read(), SEARCHES.read()
    rows = [
        scores[key] | {"model": name, "chosen": choice.row}
        for study in STUDIES
        for name, choice in picks(study, searches).items()
        for split in STUDIES[study].splits
        if (key := (study, choice.row, choice.recipe.words, split)) in scores
    ]
    return _frame(rows)


def load_searches():
    """All fits of the searches, one row each, as a pandas DataFrame.

    Columns are those of `search` and of `provenance`.
    """
    return _frame(SEARCHES.read().values())


def _frame(rows):
    """A DataFrame with numbers in all columns but those of words."""
    import pandas

    table = pandas.DataFrame(list(rows))
    for name in table.columns.difference([*WORDS, "chosen"]):
        table[name] = pandas.to_numeric(table[name])
    return table


def paired_interval(table, dataset, first, second, score=None, level=0.95):
    """Mean of `first` minus `second` over the splits, with an interval.

    The splits' training cells overlap, so their differences are not
    independent and the usual t interval is too short. The variance is
    corrected as in Nadeau and Bengio 2003, Inference for the generalization
    error, Eq. 9: ``(1/n + n_test/n_train) s^2``. Splits that were simulated
    apart share no cell, and for them it is the usual ``s^2 / n``.

    Parameters
    ----------
    table : DataFrame
        See `load` and `with_best`.
    dataset, first, second : str
    score : str, optional
        Column; by default the likelihood at 1,000 samples.
    level : float

    Returns
    -------
    mean, lower, upper : float
    """
    from scipy import stats

    score = score or f"log_likelihood_{SAMPLES[-1]}"
    rows = table[table.dataset == dataset]
    scores = rows.pivot(index="split", columns="model", values=score)
    difference = (scores[first] - scores[second]).dropna()
    n = len(difference)
    error = difference.std() * np.sqrt(1 / n + _overlap(dataset))
    reach = stats.t.ppf((1 + level) / 2, n - 1) * error
    mean = difference.mean()
    return mean, mean - reach, mean + reach


def verdict(lower, upper, margin=0.02):
    """An interval of a difference in one word; higher scores are better.

    Parameters
    ----------
    lower, upper : float
        Its ends, as from `paired_interval`.
    margin : float
        A loss that is let pass; it is fixed before the scores are seen.

    Returns
    -------
    str
        "higher" if the whole interval is above 0, "passes" if it is above
        minus the margin, "lower" if it is below that, else "undecided".
    """
    if lower > 0:
        return "higher"
    if lower > -margin:
        return "passes"
    return "lower" if upper < -margin else "undecided"


def _overlap(dataset):
    """Test cells over training cells, where splits share cells; else 0."""
    study = STUDIES.get(dataset)
    if study and study.independent:
        return 0
    share = 1 / len(study.held_out) if study and study.held_out else TEST
    return share / (1 - share)
