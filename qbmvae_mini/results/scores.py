"""Scores of an embedding: the three tasks of the paper, each by itself."""

import numpy as np

from qbmvae_mini import metrics
from qbmvae_mini.metrics.embeddings import same_threads

#: Neighbours of a cell whose labels are asked.
NEIGHBOURS = 15

#: Labelled cells a type, and draws of them, where labels are few.
FEW, DRAWS = 5, 5

#: Types with fewer cells than this are rare.
RARE = 50

#: Neighbours that scib-metrics wants: for LISI and kBET, for kBET within a
#: label, and for the graph.
_WIDE, _MIDDLE, _NARROW = 90, 50, 15


def neighbour_accuracy(codes, labels, new_codes, new_labels):
    """Share of new cells that their nearest cells' labels name rightly."""
    from sklearn.neighbors import KNeighborsClassifier

    judge = KNeighborsClassifier(NEIGHBOURS).fit(codes, labels)
    return float(judge.score(new_codes, new_labels))


def classification(codes, labels, new_codes, new_labels):
    """Labels of new cells, read off their codes by a linear classifier.

    Parameters
    ----------
    codes, new_codes : ndarray, shapes (training cells, n), (cells, n)
    labels, new_labels : ndarray of str, shapes (training cells,), (cells,)

    Returns
    -------
    dict
        ``accuracy``, ``macro_f1``, ``calibration_error``; ``few_5``, macro-F1
        with five labelled cells a type, mean over five draws of them;
        ``rare_f1``, mean F1 of types with fewer than 50 cells in all.
    """
    from sklearn.metrics import f1_score

    classes, probabilities = metrics.classify(codes, labels, new_codes)
    few = [
        metrics.few_labels(codes, labels, new_codes, new_labels, FEW, seed=seed)
        for seed in range(DRAWS)
    ]
    names, sizes = np.unique([*labels, *new_labels], return_counts=True)
    rare = [name for name in names[sizes < RARE] if name in new_labels]
    guesses = classes[probabilities.argmax(axis=1)]
    rare_f1 = f1_score(
        new_labels, guesses, labels=rare, average="macro", zero_division=0
    )
    return metrics.label_scores(classes, probabilities, new_labels) | {
        "few_5": float(np.mean(few)),
        "rare_f1": float(rare_f1),
    }


def integration(codes, labels, batches):
    """Biology and mixing of an embedding, apart.

    ``nmi`` and ``ari`` are of Leiden clusters at resolution 1, ``ilisi`` is
    that of `metrics.mixing`; the rest is scib-metrics' (Luecken et al. 2022),
    of exact nearest neighbours. ``kbet`` asks whether a cell's neighbours
    hold the batches in the shares of all cells, ``kbet_per_label`` whether
    they do so among cells of its own label, in the shares of that label:
    where batches differ in their types, only the second can be high while
    biology is kept. `permuted` batches give the ceiling of both.

    Parameters
    ----------
    codes : ndarray, shape (cells, n)
    labels, batches : ndarray of str, shape (cells,)

    Returns
    -------
    dict
        ``biology``, the mean of ``nmi``, ``ari``, ``clisi``, ``silhouette``;
        ``mixing``, the mean of ``ilisi``, ``kbet``, ``connectivity``;
        ``kbet_per_label`` apart. All in 0 to 1, higher is better.
    """
    kept = metrics.biology(codes, labels)
    mixed = metrics.mixing(codes, batches)
    with same_threads():
        import scib_metrics

        wide, middle, narrow = (
            _nearest(codes, n) for n in (_WIDE, _MIDDLE, _NARROW)
        )
        kept["clisi"] = scib_metrics.clisi_knn(wide, labels)
        kept["silhouette"] = scib_metrics.silhouette_label(codes, labels)
        mixed["kbet"] = scib_metrics.kbet(wide, batches)[0]
        mixed["connectivity"] = scib_metrics.graph_connectivity(narrow, labels)
        apart = scib_metrics.kbet_per_label(middle, batches, labels)
    scores = kept | mixed
    scores["biology"] = np.mean(list(kept.values()))
    scores["mixing"] = np.mean(list(mixed.values()))
    scores["kbet_per_label"] = apart
    return {name: float(value) for name, value in scores.items()}


def permuted(batches, seed):
    """The batches of the same cells, dealt out anew at random.

    Scored on the same codes, they say what mixing could be at most with
    these codes and batches of these sizes: no batch then differs from any
    other but by chance. Codes of pure noise are no such ceiling, for they
    have another geometry.

    Parameters
    ----------
    batches : sequence, length cells
    seed : int

    Returns
    -------
    ndarray, shape (cells,)
    """
    return np.random.default_rng(seed).permutation(np.asarray(batches))


def mixing_ceilings(codes, labels, batches, seed):
    """Mixing of the same codes if batches were dealt out at random.

    Parameters are those of `integration` and of `permuted`.

    Returns
    -------
    dict
        ``ilisi_permuted``, ``kbet_permuted`` and so on: the scores that ask
        for batches.
    """
    found = integration(codes, labels, permuted(batches, seed))
    return {
        f"{name}_permuted": found[name]
        for name in ("ilisi", "kbet", "kbet_per_label", "mixing")
    }


def twins(codes, batches, names):
    """`metrics.twin_rank` of cells that stand in two batches.

    Parameters
    ----------
    codes : ndarray, shape (cells, n)
    batches, names : ndarray of str, shape (cells,)
        Twins share a name.

    Returns
    -------
    dict
        ``twin_rank``.
    """
    order = np.argsort(names, kind="stable")
    first, second = (
        codes[order][batches[order] == batch] for batch in np.unique(batches)
    )
    return {"twin_rank": metrics.twin_rank(first, second)}


def trajectory(codes, root, truth, branches=None):
    """Diffusion pseudotime against an order that is known.

    Parameters
    ----------
    codes : ndarray, shape (cells, n)
    root : int
        Number of the first cell.
    truth : ndarray, shape (cells,)
    branches : ndarray of str, optional
        The branch of each cell, where there are some.

    Returns
    -------
    dict
        ``kendall``, ``spearman`` and, with branches, ``branch_agreement``.
    """
    time = metrics.pseudotime(codes, root)
    scores = metrics.order_scores(time, truth)
    if branches is not None:
        agreement = metrics.branch_agreement(codes, root, branches)
        scores["branch_agreement"] = agreement
    return scores


def null_orders(counts, truth, energy=None):
    """What orders cells without a pseudotime: energy, and two dull things.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, shape (cells, genes)
    truth : ndarray, shape (cells,)
    energy : ndarray, shape (cells,), optional
        Of each cell's code, in nats.

    Returns
    -------
    dict
        ``depth_kendall`` and ``genes_kendall``, of a cell's counts and of its
        genes with a count; ``energy_kendall``. The sign says the direction.
    """
    orders = {
        "depth": np.asarray(counts.sum(axis=1)).ravel(),
        "genes": counts.getnnz(axis=1),
    }
    if energy is not None:
        orders["energy"] = energy
    return {
        f"{name}_kendall": metrics.order_scores(order, truth)["kendall"]
        for name, order in orders.items()
    }


def _nearest(codes, n):
    """The `n` nearest cells of each, itself among them, as scib-metrics likes.

    Exact, so that a row of the table has one value.
    """
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=n).fit(codes).kneighbors(codes)
    distances, indices = found
    return NeighborsResults(indices=indices, distances=distances)
