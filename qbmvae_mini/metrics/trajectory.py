"""Scores of trajectories: cells in order, and on the right branch.

Order is judged against a *known* truth. An order that came out of another
embedding is no truth, only another answer.
"""

import numpy as np

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.metrics.embeddings import (
    neighbour_graph,
    read_codes,
    read_groups,
)

#: Diffusion components, as many as scanpy's dpt takes besides the constant one.
COMPONENTS = 9

#: Group of the cells that the graph does not join to the root.
UNREACHED = "unreached"


def pseudotime(codes, root):
    """Diffusion pseudotime of each cell from a root (Haghverdi 2016).

    scanpy's, on the part of the neighbour graph that holds the root, except
    that eigenvalues of 0.9994 or more keep their weight: scanpy takes it from
    them, which helps where they only part branches, and loses the order of
    cells on a thin path.

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    root : int
        Number of the cell where time starts.

    Returns
    -------
    ndarray, shape (cells,)
        0 at the root, 1 at the farthest cell. A cell that the graph does not
        join to the root has infinite time, as in scanpy: it comes last,
        together with all others like it. `order_scores` takes that as it is,
        and the cells do not agree with any order among themselves.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    graph, reached = _from_root(codes, root)
    time = np.full(len(reached), np.inf)
    time[reached] = _dpt(graph, "dpt_pseudotime")
    return time


def order_scores(time, truth):
    """Rank correlations of an order with the true one.

    Parameters
    ----------
    time : array, shape (cells,)
        A pseudotime; infinite values are equally late.
    truth : array, shape (cells,)

    Returns
    -------
    dict
        ``kendall``, tau-b, and ``spearman``, both 1 for the same order, -1
        for the reverse and 0 on average by chance. Times that are all equal
        order nothing and score 0.

    Raises
    ------
    ValueError
        If the arrays differ in length, hold NaN, or the truth is all equal.
    """
    time, truth = (np.asarray(values, np.float64) for values in (time, truth))
    if time.ndim != 1 or time.shape != truth.shape or len(time) < 2:
        raise ValueError(
            f"time has shape {time.shape} and truth {truth.shape}; give one "
            "number a cell in both, for at least 2 cells"
        )
    for name, values in (("time", time), ("truth", truth)):
        if np.isnan(values).any():
            raise ValueError(
                f"{name} is NaN for {np.isnan(values).sum()} of {len(values)} "
                "cells; leave those cells out"
            )
    if (truth == truth[0]).all():
        raise ValueError("truth is equal for all cells; it orders nothing")
    if (time == time[0]).all():
        return {"kendall": 0.0, "spearman": 0.0}
    from scipy.stats import kendalltau, spearmanr

    return {
        "kendall": float(kendalltau(time, truth).statistic),
        "spearman": float(spearmanr(time, truth).statistic),
    }


def branch_agreement(codes, root, branches, seed=0):
    """How well the branches of an embedding agree with the true ones.

    Branches are those that diffusion pseudotime finds at its first branching
    (Haghverdi 2016, scanpy's ``dpt`` with ``n_branchings=1``): three, and
    the cells near the fork that it leaves undecided. Agreement is the
    adjusted Rand index (Hubert 1985). No part of the truth, and not the
    number of its branches, is used to find them.

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    root : int
        Branches are sought in the part of the neighbour graph that holds this
        cell; all other cells are one more group.
    branches : sequence, length cells
        The true branch of each cell, the trunk among them.
    seed : int
        Of the graph.

    Returns
    -------
    float
        1 for the same branches, 0 on average for branches at random. Cells
        left undecided at the fork keep even a perfect embedding below 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    codes = read_codes("codes", codes)
    branches = read_groups("branches", branches, len(codes), least=2)
    graph, reached = _from_root(codes, root, seed)
    found = np.full(len(reached), UNREACHED, dtype=object)
    try:
        found[reached] = _dpt(graph, "dpt_groups", n_branchings=1)
    except ValueError:  # scanpy stops at a branch without cells: all are equal
        found[reached] = "all"
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(branches, found.astype(str)))


def _from_root(codes, root, seed=0):
    """Diffusion map of the root's part of the graph, and who is in that part.

    Given all parts at once, scanpy would spend a diffusion component of
    eigenvalue 1 on each, which leaves few to order by; with many parts the
    eigenvalues do not converge.
    """
    codes, root = read_codes("codes", codes), check_whole("root", root, 0)
    if root >= len(codes):
        raise ValueError(
            f"root is cell {root}, and codes has {len(codes)} cells; they are "
            "counted from 0"
        )
    graph = neighbour_graph(codes, seed)
    from scipy.sparse.csgraph import connected_components

    _, part = connected_components(graph.obsp["connectivities"])
    reached = part == part[root]
    graph = graph[reached].copy()
    graph.uns["iroot"] = int(reached[:root].sum())
    graph.obsm["X_diffmap"] = _diffusion_map(graph, check_seed(seed))
    # Already weighted: eigenvalue 1/2 has weight (1/2) / (1 - 1/2) = 1.
    graph.uns["diffmap_evals"] = np.full(COMPONENTS, 0.5)
    return graph, reached


def _diffusion_map(graph, seed):
    """Coordinates whose distances are those of diffusion pseudotime.

    Component j is the eigenvector of the transition matrix that belongs to
    the j-th largest eigenvalue lambda below 1, times lambda / (1 - lambda)
    (Haghverdi 2016). scanpy gives no such weight to eigenvalues of 0.9994 or
    more, since it stores them in float32, and has no order left for cells on
    a thin path. So they are worked out here, in float64.

    Returns
    -------
    ndarray, shape (cells, COMPONENTS)
        Zero where there are fewer cells than components.
    """
    import scanpy as sc
    from scipy.sparse.linalg import eigsh

    graph.obsp["connectivities"] = graph.obsp["connectivities"].astype(float)
    near = sc.Neighbors(graph)
    near.compute_transitions()
    n = min(COMPONENTS + 1, graph.n_obs - 1)
    start = np.random.default_rng(seed).standard_normal(graph.n_obs)
    values, vectors = eigsh(near.transitions_sym, n, which="LA", v0=start)
    # Sorted upwards, so the last is the stationary state.
    values, vectors = values[-2::-1], vectors[:, -2::-1]
    distance = np.maximum(1 - values, np.finfo(float).eps)
    found = np.zeros((graph.n_obs, COMPONENTS))
    found[:, : n - 1] = vectors * values / distance
    return found


def _dpt(graph, column, n_branchings=0):
    import scanpy as sc

    with sc.settings.verbosity.override(0):  # it would say where it hesitates
        sc.tl.dpt(graph, COMPONENTS, n_branchings=n_branchings)
    return graph.obs[column].to_numpy()
