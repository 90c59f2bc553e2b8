"""Checks of generated cells: what they share with real ones, and what not.

Each compares two sets of cells and sees one kind of fault. `gene_errors` and
`correlation_error` look at one gene and at two. `real_or_generated` looks at
everything that its classifier can read. `coverage` asks whether every kind
of real cell is drawn, and `nearest_distance` whether cells were copied.
No value means much alone: work it out for other real cells too, and compare.
"""

import numpy as np

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.metrics.embeddings import read_codes

#: Parts of the cross-validation: a classifier scores what it was not fitted to.
FOLDS = 5

#: Genes whose correlations with all others are worked out together.
GENES = 512


def gene_errors(real, made):
    """How far mean, variance and zeros of each gene are off, as one number.

    Parameters
    ----------
    real, made : array, shape (cells, genes)
        Dense counts of the same genes.

    Returns
    -------
    dict
        ``mean`` and ``variance``: the median over genes of the distance of
        their logarithms to base 2, so that 1 is a factor of two, over genes
        with a count in `real`; infinite if most of these are silent in
        `made`. ``zeros``: mean distance of the share of cells without a
        count, over the same genes.

    Raises
    ------
    TypeError, ValueError
        If an argument is no table of counts, or they differ in genes.
    """
    real, made = _read_both(real, made, "genes")
    for name, counts in [("real", real), ("made", made)]:
        if (counts < 0).any():
            raise ValueError(
                f"{name} holds negative values, and counts are compared; "
                "give raw counts"
            )
    seen = real.any(0)
    if not seen.any():
        raise ValueError("real holds no count at all; there is nothing to meet")
    real, made = real[:, seen], made[:, seen]
    return {
        "mean": _median_fold(real.mean(0), made.mean(0)),
        "variance": _median_fold(real.var(0), made.var(0)),
        "zeros": float(
            np.abs((real == 0).mean(0) - (made == 0).mean(0)).mean()
        ),
    }


def correlation_error(real, made):
    """Mean distance of the correlations of all pairs of genes.

    Parameters
    ----------
    real, made : array, shape (cells, genes)
        Two genes or more, counts or their logarithms. A gene that never
        changes is taken to correlate with none.

    Returns
    -------
    float
        0 if all correlations agree; at most 2.

    Raises
    ------
    TypeError, ValueError
        If an argument is no table of numbers, or they differ in genes.
    """
    real, made = _read_both(real, made, "genes")
    if real.shape[1] < 2:
        raise ValueError("real has 1 gene, and pairs are compared; give more")
    real, made, total = _scaled(real), _scaled(made), 0.0
    n = real.shape[1]
    for start in range(0, n, GENES):
        block = slice(start, start + GENES)
        apart = np.abs(real[:, block].T @ real - made[:, block].T @ made)
        # A gene and itself are no pair.
        total += apart.sum() - apart.diagonal(start).sum()
    return float(total / (n * (n - 1)))


def real_or_generated(real, made, classifier="forest", seed=0):
    """How well a classifier tells generated from real cells, by its AUC.

    A classifier two-sample test (Lopez-Paz 2017). The AUC is the probability
    that a generated cell gets a higher score than a real one. It is worked
    out by five-fold cross-validation, and is 0.5 for two sets of one law.

    Parameters
    ----------
    real, made : array, shape (cells, numbers)
        Five cells or more of each, as the classifier is to see them, for
        example log counts of some genes.
    classifier : {"forest", "linear"}
        A forest of 50 extremely randomised trees (Geurts 2006), or logistic
        regression on standardised numbers, which compares means alone.
    seed : int
        Of the folds and the forest.

    Returns
    -------
    float
        Near 0.5 the classifier found no difference: another might. Below
        0.5 by chance, never by merit.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    real, made = _read_both(real, made, "columns")
    for name, cells in [("real", real), ("made", made)]:
        if len(cells) < FOLDS:
            raise ValueError(
                f"{name} has {len(cells)} cells for {FOLDS} folds; give at "
                f"least {FOLDS}"
            )
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    seed = check_seed(seed) % 2**32
    both = np.concatenate([real, made])
    is_made = np.repeat([0, 1], [len(real), len(made)])
    scores = cross_val_predict(
        _classifier(classifier, seed),
        both,
        is_made,
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
        method="predict_proba",
    )
    return float(roc_auc_score(is_made, scores[:, 1]))


def coverage(real, made, neighbours=5):
    """Share of real cells that have a generated one in their neighbourhood.

    The neighbourhood of a real cell reaches as far as the last of its
    `neighbours` nearest other real ones (coverage of Naeem 2020). A sampler
    that returns few kinds of cell covers few, however good each of them is.

    Parameters
    ----------
    real, made : array, shape (cells, numbers)
    neighbours : int
        Fewer than there are real cells.

    Returns
    -------
    float
        For n real and m generated cells of one law it is on average
        ``1 - prod (n - j) / (n + m - j)`` over j from 1 to k neighbours,
        since all orders of the distances are equally likely: 0.97 for
        ``k = 5`` and many cells, as many of either kind.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    real, made = _read_both(real, made, "columns")
    neighbours = check_whole("neighbours", neighbours, 1)
    if neighbours >= len(real):
        raise ValueError(
            f"neighbours is {neighbours} for {len(real)} real cells; give "
            f"fewer, or at least {neighbours + 1} cells"
        )
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=neighbours).fit(real)
    reach = tree.kneighbors()[0][:, -1]  # a cell is not its own neighbour
    return float((nearest_distance(real, made) <= reach).mean())


def nearest_distance(cells, training):
    """Distance of each cell to the nearest one of training.

    A model that has learned its training cells by heart returns them: its
    cells lie nearer to them than real cells that it has never seen do.

    Parameters
    ----------
    cells : array, shape (cells, numbers)
    training : array, shape (training cells, numbers)

    Returns
    -------
    ndarray, shape (cells,)

    Raises
    ------
    TypeError, ValueError
        If an argument is no table of numbers, or they differ in columns.
    """
    cells, training = _read_both(
        cells, training, "columns", names=("cells", "training")
    )
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=1).fit(training)
    return tree.kneighbors(cells)[0][:, 0]


def _read_both(one, other, what, names=("real", "made")):
    one, other = read_codes(names[0], one), read_codes(names[1], other)
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"{names[0]} has {one.shape[1]} {what} and {names[1]} "
            f"{other.shape[1]}; give both the same ones, in the same order"
        )
    return one, other


def _median_fold(real, made):
    """Median distance of the logarithms to base 2."""
    same = real == made  # also where both are zero
    with np.errstate(divide="ignore"):
        real, made = np.log2(real), np.log2(made)
    apart = np.zeros(len(real))
    np.subtract(real, made, out=apart, where=~same)
    return float(np.median(np.abs(apart)))


def _scaled(cells):
    """Columns of mean 0 and length 1: their products are correlations."""
    centred = cells - cells.mean(0)
    length = np.sqrt((centred**2).sum(0))
    # Rounding leaves a constant gene a length of 1e-16 times its value.
    still = np.ptp(cells, axis=0) == 0
    return np.where(still, 0, centred / np.where(still, 1, length))


def _classifier(name, seed):
    if name == "forest":
        from sklearn.ensemble import ExtraTreesClassifier

        return ExtraTreesClassifier(
            50, min_samples_leaf=3, random_state=seed, n_jobs=1
        )
    if name == "linear":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # A strong penalty: with many columns the default one overfits, slowly.
        model = LogisticRegression(C=0.1, max_iter=2000, random_state=seed)
        return make_pipeline(StandardScaler(), model)
    raise ValueError(
        f"classifier is 'forest' or 'linear', not {name!r}; for another one "
        "use scikit-learn's cross_val_predict"
    )
