"""What every score reads: checked codes and labels, and a graph of cells."""

import contextlib
import warnings

import numpy as np
import pandas as pd
import torch

from qbmvae_mini.checks import check_names, check_seed, dense

#: Neighbours of a cell in every graph, itself counted, as in scanpy.
NEIGHBOURS = 15


def read_codes(name, codes):
    """An embedding as float64, one row a cell.

    Parameters
    ----------
    name : str
        Names the argument in the sentence.
    codes : array, shape (cells, numbers)

    Returns
    -------
    ndarray of float64, shape (cells, numbers)

    Raises
    ------
    TypeError
        If it is not a dense array of numbers.
    ValueError
        If it is no table, is empty, or holds NaN or infinite values.
    """
    found = dense(name, codes).cpu().double().numpy()
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(
            f"{name} is a table of cells x numbers, not an array of shape "
            f"{found.shape}"
        )
    if not np.isfinite(found).all():
        bad = np.flatnonzero(~np.isfinite(found).all(1))
        raise ValueError(
            f"{name} holds NaN or infinite values in {len(bad)} of "
            f"{len(found)} rows, the first is row {bad[0]}; a model that gives "
            "them has not been trained well"
        )
    return found


def read_groups(name, groups, n_cells, least=1):
    """Each cell's group as a word, as `qbmvae_mini.checks.check_names` has it.

    Labels that came back as 1.0 are the labels that left as 1.

    Parameters
    ----------
    name : str
        Names the argument in the sentence.
    groups : sequence, length cells
        Words, numbers or booleans; a categorical column will do.
    n_cells : int
        How many there should be.
    least : int
        Fewer groups than this are refused.

    Returns
    -------
    ndarray of str, shape (cells,)

    Raises
    ------
    TypeError
        If one is no word or number.
    ValueError
        If their number is not that of the cells, one is missing, two of them
        would have one name, or there are fewer than `least` groups.
    """
    # As objects: NumPy would write a missing value in a list as "nan".
    found = np.asarray(groups, dtype=object)
    if found.shape != (n_cells,):
        raise ValueError(
            f"{name} has shape {found.shape} for {n_cells} cells; give one "
            "value a cell"
        )
    missing = pd.isna(found)
    if missing.any():
        raise ValueError(
            f"{name} is missing for {missing.sum()} of {n_cells} cells; give "
            "every cell a value or leave those cells out"
        )
    found = check_names(name, found).astype(str)
    groups = np.unique(found)
    if len(groups) < least:
        raise ValueError(
            f"{name} has {len(groups)} group ({str(groups[0])!r}); this score "
            f"compares at least {least}"
        )
    return found


@contextlib.contextmanager
def same_threads():
    """Leave PyTorch its number of threads.

    numba sets that of OpenMP, which is PyTorch's, too.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def neighbour_graph(codes, seed=0):
    """An AnnData with scanpy's graph of the nearest neighbours.

    Parameters
    ----------
    codes : array, shape (cells, numbers)
    seed : int

    Returns
    -------
    AnnData
        Its ``obsp["connectivities"]`` are those of UMAP (McInnes 2018).

    Raises
    ------
    ValueError
        If there are no more cells than neighbours.
    """
    codes = read_codes("codes", codes)
    seed = check_seed(seed)
    if len(codes) <= NEIGHBOURS:
        raise ValueError(
            f"codes has {len(codes)} cells; the graph joins each to "
            f"{NEIGHBOURS}, so give at least {NEIGHBOURS + 1}"
        )
    import anndata as ad
    import scanpy as sc

    graph = ad.AnnData(
        obs=pd.DataFrame(index=[str(i) for i in range(len(codes))]),
        obsm={"codes": codes.astype(np.float32)},
    )
    with warnings.catch_warnings(), same_threads():
        # Equal cells: distances of zero, and a graph that is still made.
        warnings.simplefilter("ignore")
        # Exact neighbours for any number of cells, so that one seed is one
        # graph.
        sc.pp.neighbors(
            graph,
            NEIGHBOURS,
            use_rep="codes",
            random_state=seed % 2**32,
            transformer="sklearn",
        )
    return graph
