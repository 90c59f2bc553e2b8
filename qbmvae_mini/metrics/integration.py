"""Scores of integration: biology kept, batches mixed, twins found again.

Biology and mixing answer two questions and are never added: an embedding of
noise mixes batches perfectly, and an aggregate rewards it for that.
"""

import numpy as np
import pandas as pd

from qbmvae_mini.checks import check_seed
from qbmvae_mini.metrics.embeddings import (
    neighbour_graph,
    read_codes,
    read_groups,
)


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
    _check_resolution(resolution)
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
    _check_resolution(resolution)
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
    for resolution in resolutions:
        _check_resolution(resolution)
    graph, labels = _graph_and_labels(codes, labels, seed)
    rows = []
    for resolution in resolutions:
        found = _leiden(graph, resolution, seed)
        row = {"resolution": float(resolution), "clusters": found.max() + 1}
        rows.append(row | _agreement(found, labels))
    return pd.DataFrame(rows, columns=["resolution", "clusters", "nmi", "ari"])


def lisi(codes, groups, perplexity=30):
    """Number of groups among each cell's neighbours (Korsunsky 2019).

    The local inverse Simpson's index 1 / sum over groups of p^2, where p is
    the share of a group among the 3 x perplexity - 1 nearest cells, near ones
    weighing more. This calls harmonypy.

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
    if not (np.isscalar(perplexity) and 1 < perplexity < np.inf):
        raise ValueError(f"perplexity is a number above 1, not {perplexity!r}")
    if len(codes) < 3 * perplexity:
        raise ValueError(
            f"codes has {len(codes)} cells, and a perplexity of "
            f"{perplexity:g} looks at {3 * perplexity:g}; give more cells or "
            "a smaller perplexity"
        )
    from harmonypy.lisi import compute_lisi

    table = pd.DataFrame({"group": groups})
    return compute_lisi(codes, table, ["group"], perplexity)[:, 0]


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
        ``ilisi``: mean `lisi` of the batches, scaled so that 0 is neighbours
        of one batch and 1 is all batches in equal shares. Batches of unequal
        size cannot reach 1.
    """
    codes = read_codes("codes", codes)
    batches = read_groups("batches", batches, len(codes), least=2)
    mean = lisi(codes, batches).mean()
    return {"ilisi": float((mean - 1) / (len(np.unique(batches)) - 1))}


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
    from scipy.spatial.distance import cdist

    distance = cdist(codes, other)  # (cells, cells), twins on the diagonal
    return float((_farther(distance) + _farther(distance.T)) / 2)


def _farther(distance):
    """Mean share of each row's others beyond its diagonal entry."""
    twin = distance.diagonal()[:, None]
    others = len(distance) - 1
    equal = (distance == twin).sum(1) - 1  # the twin itself is no other
    return (((distance > twin).sum(1) + equal / 2) / others).mean()


def _check_resolution(resolution):
    if not (np.isscalar(resolution) and 0 < resolution < np.inf):
        raise ValueError(f"resolution is a number above 0, not {resolution!r}")


def _graph_and_labels(codes, labels, seed):
    graph = neighbour_graph(codes, seed)
    return graph, read_groups("labels", labels, graph.n_obs)


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
