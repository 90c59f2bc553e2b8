"""Scores of integration: biology kept, batches mixed, twins found again.

Biology and mixing answer two questions and are never added: an embedding of
noise mixes batches perfectly, and an aggregate rewards it for that.
"""

import numpy as np
import pandas as pd

from qbmvae_mini.checks import check_real, check_seed
from qbmvae_mini.metrics.embeddings import (
    neighbour_graph,
    read_codes,
    read_groups,
)

#: Distances that are looked at together: 32 MB.
MAX_DISTANCES = 2**22

#: Reach and steps of the search for the weights of `lisi`.
LOG_BETA, BISECTIONS = 20.0, 50


def cluster(codes, resolution=1.0, seed=0):
    """Leiden clusters of the graph of nearest neighbours (Traag 2019).

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    resolution : float
        Higher gives more clusters. It is part of the score, so it is fixed
        before labels are seen.
    seed : int

    Returns
    -------
    ndarray of int, shape (cells,)
        Cluster 0 is the largest.

    Raises
    ------
    TypeError, ValueError
        If `codes` or `resolution` is of no use.
    """
    resolution = check_real("resolution", resolution, above=0)
    return _leiden(neighbour_graph(codes, seed), resolution, seed)


def biology(codes, labels, resolution=1.0, seed=0):
    """How well clusters of an embedding agree with labels.

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    labels : sequence, length cells
        What each cell is. They take no part in the clustering.
    resolution, seed
        Those of `cluster`.

    Returns
    -------
    dict
        ``nmi``, normalised mutual information in 0 to 1, and ``ari``, the
        adjusted Rand index (Hubert 1985): 1 for equal partitions, 0 on
        average for unrelated ones.
    """
    resolution = check_real("resolution", resolution, above=0)
    graph, labels = _graph_and_labels(codes, labels, seed)
    return _agreement(_leiden(graph, resolution, seed), labels)


def biology_curve(codes, labels, resolutions, seed=0):
    """The scores of `biology` at several resolutions.

    Parameters
    ----------
    codes, labels, seed
        Those of `biology`.
    resolutions : sequence of float

    Returns
    -------
    DataFrame
        Columns ``resolution``, ``clusters``, ``nmi``, ``ari``, one row each
        in the order given.
    """
    resolutions = [
        check_real("resolution", resolution, above=0)
        for resolution in np.ravel(resolutions).tolist()
    ]
    graph, labels = _graph_and_labels(codes, labels, seed)
    rows = []
    for resolution in resolutions:
        found = _leiden(graph, resolution, seed)
        row = {"resolution": resolution, "clusters": found.max() + 1}
        rows.append(row | _agreement(found, labels))
    return pd.DataFrame(rows, columns=["resolution", "clusters", "nmi", "ari"])


def lisi(codes, groups, perplexity=30):
    """Number of groups among each cell's neighbours (Korsunsky 2019).

    The local inverse Simpson's index 1 / sum over groups of p^2, where p is
    the share of a group among the 3 x perplexity - 1 nearest other cells. One
    at distance d weighs exp(-beta d), and beta is chosen for each cell so
    that these weights have the perplexity.

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    groups : sequence, length cells
        Batches or labels.
    perplexity : float
        Effective number of neighbours.

    Returns
    -------
    ndarray, shape (cells,)
        1 for neighbours of one group, up to the number of groups.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use, or there are too few cells.
    """
    codes = read_codes("codes", codes)
    groups = read_groups("groups", groups, len(codes))
    perplexity = check_real("perplexity", perplexity, above=1)
    if len(codes) < 3 * perplexity:
        raise ValueError(
            f"codes has {len(codes)} cells, and a perplexity of "
            f"{perplexity:g} looks at {3 * perplexity:g}; give more cells or "
            "a smaller perplexity"
        )
    from sklearn.neighbors import NearestNeighbors

    n_near = int(3 * perplexity) - 1
    distance, near = (
        NearestNeighbors(n_neighbors=n_near).fit(codes).kneighbors()
    )
    weights, near = _weights(distance, perplexity), groups[near]
    shares = [(weights * (near == group)).sum(1) for group in np.unique(groups)]
    return 1 / np.square(shares).sum(0)


def mixing(codes, batches):
    """How well batches are mixed, whatever becomes of the biology.

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    batches : sequence, length cells
        Two batches or more.

    Returns
    -------
    dict
        ``ilisi``: `lisi` of the batches about the median cell (Luecken 2022),
        scaled so that 0 is neighbours of one batch and 1 is all batches in
        equal shares. Batches of unequal size cannot reach 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use, or there are too few cells.
    """
    codes = read_codes("codes", codes)
    batches = read_groups("batches", batches, len(codes), least=2)
    middle = np.median(lisi(codes, batches))
    return {"ilisi": float((middle - 1) / (len(np.unique(batches)) - 1))}


def twin_rank(codes, other):
    """How near a cell seen in two batches lies to itself.

    One minus the fraction of samples closer than the true match, FOSCTTM
    (Liu 2019, "jointly embedding multiple single-cell omics measurements"):
    the mean share of the other batch's cells that lie farther from a cell
    than its twin does, over both directions. A cell as far as the twin
    counts one half, so that an embedding of one point scores 0.5.

    Parameters
    ----------
    codes, other : array, shape (cells, numbers)
        Row i of both is the same cell, seen in one batch and in another.

    Returns
    -------
    float
        1 if every twin is the nearest of its batch, 0.5 by chance.

    Raises
    ------
    TypeError, ValueError
        If the arrays are of no use, or differ in shape.
    """
    codes, other = read_codes("codes", codes), read_codes("other", other)
    if codes.shape != other.shape:
        raise ValueError(
            f"codes has shape {codes.shape} and other {other.shape}; row i of "
            "both is the same cell"
        )
    if len(codes) < 2:
        raise ValueError("codes has 1 cell; a rank needs at least 2")
    shares = [_farther(codes, other), _farther(other, codes)]
    return float(np.mean(shares, axis=1).mean())


def _farther(codes, other):
    """Each cell's share of others that lie farther than its twin, (cells,)."""
    from scipy.spatial.distance import cdist

    shares, n = np.empty(len(codes)), len(codes)
    rows = max(1, MAX_DISTANCES // n)
    for start in range(0, n, rows):
        distance = cdist(codes[start : start + rows], other)  # (rows, cells)
        twin = distance.diagonal(start)[:, None]
        equal = (distance == twin).sum(1) - 1  # the twin itself is no other
        farther = (distance > twin).sum(1) + equal / 2
        shares[start : start + rows] = farther / (n - 1)
    return shares


def _weights(distance, perplexity):
    """Weights exp(-beta d) of that perplexity; each row sums to 1.

    The entropy falls as beta rises, so log beta is found by bisection. Where
    too many cells are equally near, no beta will do and those weigh alike.
    """
    unit = distance.mean(1, keepdims=True)
    distance = (distance - distance[:, :1]) / np.where(unit > 0, unit, 1)
    low = np.full(unit.shape, -LOG_BETA)
    high = -low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        weights = np.exp(-np.exp(middle) * distance)
        total = weights.sum(1, keepdims=True)
        mean = (weights * distance).sum(1, keepdims=True) / total
        entropy = np.log(total) + np.exp(middle) * mean
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    return weights / total


def _graph_and_labels(codes, labels, seed):
    labels = read_groups("labels", labels, len(read_codes("codes", codes)))
    return neighbour_graph(codes, seed), labels


def _leiden(graph, resolution, seed):
    import scanpy as sc

    sc.tl.leiden(
        graph,
        resolution,
        random_state=check_seed(seed) % 2**32,
        flavor="igraph",
        n_iterations=2,
        directed=False,
    )
    return graph.obs["leiden"].to_numpy().astype(int)


def _agreement(found, labels):
    from sklearn.metrics import (
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    return {
        "nmi": float(normalized_mutual_info_score(labels, found)),
        "ari": float(adjusted_rand_score(labels, found)),
    }
