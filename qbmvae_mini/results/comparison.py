"""The rows by the names that chapters use, and how two of them compare."""

import numpy as np

from qbmvae_mini.results.catalogue import families
from qbmvae_mini.results.rows import SAMPLES
from qbmvae_mini.results.searches import RULES, pick, picks, splits_of
from qbmvae_mini.results.studies import DATASETS, STUDIES, TEST
from qbmvae_mini.results.table import SCORES, SEARCHES, WORDS

#: Columns of words that no file has.
NAMES = ("chosen", "family", "rule")


def load():
    """The scores of test cells as a pandas DataFrame.

    One row a name and split. A name is a model's or a family's; see `searches`
    for what stands behind it. Columns are those of `compute_rows` and of
    `provenance`, and ``chosen``, the model whose row it is.

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
        for split in splits_of(study, name)
        if (key := (study, choice.row, choice.recipe.words, split)) in scores
    ]
    return _frame(rows)


def load_searches():
    """All fits of the searches, one row each, as a pandas DataFrame.

    Columns are those of `search` and of `provenance`.
    """
    return _frame(SEARCHES.read().values())


def load_choices():
    """What each rule of `RULES` picks for each family, as a pandas DataFrame.

    The rows are those of `load_searches` that were picked, with ``family`` and
    ``rule``. Only the choice by likelihood is scored on test cells.
    """
    searches = SEARCHES.read()
    rows = []
    for study in DATASETS:
        for family, names in families().items():
            for rule in RULES:
                row, recipe = pick(study, names, searches, rule)
                found = searches[study, row, recipe.words]
                rows.append(found | {"family": family, "rule": rule})
    return _frame(rows)


def _frame(rows):
    """A DataFrame with numbers in all columns but those of words."""
    import pandas

    table = pandas.DataFrame(list(rows))
    for name in table.columns.difference([*WORDS, *NAMES]):
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
        See `load`.
    dataset, first, second : str
    score : str, optional
        Column; by default the likelihood at 1,000 samples.
    level : float

    Returns
    -------
    mean, lower, upper : float
    """
    from scipy import stats

    mean, error, n = _difference(table, dataset, first, second, score)
    reach = stats.t.ppf((1 + level) / 2, n - 1) * error
    return mean, mean - reach, mean + reach


def paired_p(table, dataset, first, second, score=None):
    """P-value: how often a true difference of 0 would look this large.

    Parameters
    ----------
    table, dataset, first, second, score
        As in `paired_interval`.

    Returns
    -------
    float
        Two-sided, by the t distribution and the variance of
        `paired_interval`: below 0.05 where its 95% interval leaves out 0.
    """
    from scipy import stats

    mean, error, n = _difference(table, dataset, first, second, score)
    if error == 0:  # no chance in it
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / error, n - 1))


def holm(p):
    """P-values of many comparisons, raised for their number (Holm 1979).

    Where nothing differs, one comparison in twenty is below 0.05 all the
    same. So the smallest p of m is multiplied by m, the next by m - 1, and so
    on, and none may end below one that was smaller. Of pages whose claims are
    below 0.05 afterwards, at most one in twenty holds a false one, however
    the comparisons depend on each other.

    Parameters
    ----------
    p : sequence of float
        One a comparison, all that were made.

    Returns
    -------
    ndarray
        In the order of `p`, at most 1.

    Raises
    ------
    ValueError
        If a value is not between 0 and 1.
    """
    p = np.asarray(p, float)
    bad = ~((p >= 0) & (p <= 1))  # NaN is bad, too
    if bad.any():
        raise ValueError(
            f"p holds {p[bad][0]}, which is no p-value; leave out comparisons "
            "of fewer than two splits"
        )
    order = np.argsort(p)
    raised = np.arange(len(p), 0, -1) * p[order]
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return found


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


def _difference(table, dataset, first, second, score=None):
    """Mean, standard error and number of the splits' differences."""
    score = score or f"log_likelihood_{SAMPLES[-1]}"
    rows = table[table.dataset == dataset]
    scores = rows.pivot(index="split", columns="model", values=score)
    difference = (scores[first] - scores[second]).dropna()
    n = len(difference)
    error = difference.std() * np.sqrt(1 / n + _overlap(dataset))
    return difference.mean(), error, n


def _overlap(dataset):
    """Test cells over training cells, where splits share cells; else 0."""
    study = STUDIES.get(dataset)
    if study and study.independent:
        return 0
    share = 1 / len(study.held_out) if study and study.held_out else TEST
    return share / (1 - share)
