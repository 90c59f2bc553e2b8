"""From AnnData to mini-batches of counts, with every check at the door.

Nothing is silently cast, clipped or dropped: data that are not counts end in
one sentence that says what was found and what to do.
"""

import numpy as np
import scipy.sparse

from qbmvae_mini.cells.counts import Cells

#: No log1p of a UMI count comes near this; raw counts nearly always exceed it.
LARGEST_LOG = 20


def read_cells(adata, *, layer=None, batch_key=None, genes=None, batches=None):
    """Check an AnnData and take its counts.

    Parameters
    ----------
    adata : AnnData
    layer : str, optional
        Layer with the counts; by default ``adata.X``.
    batch_key : str, optional
        Column of ``adata.obs``.
    genes : sequence of str, optional
        The model's genes. They are matched by name and put in this order;
        further genes are left out. Without it the data are training data,
        and a gene without a single count is refused.
    batches : sequence of str, optional
        The model's batches. Without it they are the sorted names found.

    Returns
    -------
    cells : Cells
    genes : list of str
    batches : list of str

    Raises
    ------
    TypeError
        If `adata` is no AnnData, or its numbers are of no use as counts.
    KeyError
        If the layer, the batch column or a gene is missing.
    ValueError
        If the numbers are not counts, or a cell or gene has none.
    """
    _check_adata(adata)
    field = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    counts = _matrix(adata, layer, field)
    _check_counts(counts, field)
    names = _gene_names(adata)
    training = genes is None
    if training:
        genes = names
        _check_genes(counts, genes, field)
    else:
        counts = counts[:, _places(names, genes)]
    _check_not_empty(counts, adata, field)
    batch, batches, unseen = _batch_numbers(adata, batch_key, batches)
    return Cells(counts, batch, unseen), list(genes), list(batches)


def _check_adata(adata):
    if not (hasattr(adata, "X") and hasattr(adata, "var_names")):
        raise TypeError(
            f"adata is an AnnData, not {type(adata).__name__}; put a matrix "
            "of cells x genes into anndata.AnnData(matrix)"
        )
    for size, what in zip(adata.shape, ("cells", "genes"), strict=True):
        if size == 0:
            raise ValueError(f"adata holds no {what}")


def _matrix(adata, layer, field):
    """A CSR copy: what happens to `adata` later does not reach the model."""
    if layer is None:
        values = adata.X
    elif layer in adata.layers:
        values = adata.layers[layer]
    else:
        found = ", ".join(map(repr, adata.layers)) or "none"
        raise KeyError(f"adata has no layer {layer!r}; its layers are: {found}")
    if values is None:
        raise ValueError("adata.X is empty; name the layer with the counts")
    if hasattr(values, "to_memory"):  # a file opened with backed="r"
        values = values.to_memory()
    if values.dtype.kind not in "biuf" or values.dtype == np.float16:
        raise TypeError(
            f"{field} has dtype {values.dtype}; store the counts as integers, "
            "float32 or float64"
        )
    if not scipy.sparse.issparse(values):
        values = np.asarray(values)  # h5py.Dataset
    counts = scipy.sparse.csr_matrix(values, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()  # a stored zero is no count
    return counts


def _check_counts(counts, field):
    values = counts.data
    if not np.isfinite(values).all():
        raise ValueError(
            f"{field} holds NaN or infinite values; UMI counts are whole "
            "numbers of at least 0"
        )
    if (values < 0).any():
        raise ValueError(
            f"{field} holds negative values (the smallest is "
            f"{values.min():.3g}); it looks scaled, use the raw counts"
        )
    broken = values != np.round(values)
    if broken.any():
        first = values[broken][0]
        if values.max() < LARGEST_LOG:
            advice = "it looks log-transformed, use the raw counts"
        else:
            advice = "it looks normalised, use the raw counts"
        raise ValueError(
            f"{field} holds values that are not whole numbers (the first is "
            f"{first:.4g}); {advice}"
        )
    if values.size and values.max() > 2**24:
        raise ValueError(
            f"{field} holds a count of {values.max():.0f}; above 2^24 = "
            "16777216 float32 cannot tell neighbouring counts apart"
        )
    counts.data = values.astype(np.float32, copy=False)


def _gene_names(adata):
    names = adata.var_names.astype(str)
    if not names.is_unique:
        twice = names[names.duplicated()][0]
        raise ValueError(
            f"gene {twice!r} stands twice in adata.var_names; call "
            "adata.var_names_make_unique() first"
        )
    return list(names)


def _check_genes(counts, genes, field):
    empty = np.flatnonzero(counts.getnnz(axis=0) == 0)
    if len(empty):
        raise ValueError(
            f"{field} has no count for {len(empty)} of {len(genes)} genes, "
            f"the first is {genes[empty[0]]!r}; drop them with "
            "scanpy.pp.filter_genes(adata, min_cells=1)"
        )


def _places(names, genes):
    """Columns of `genes` among `names`; a missing gene is refused."""
    place = {name: i for i, name in enumerate(names)}
    missing = [gene for gene in genes if gene not in place]
    if missing:
        raise KeyError(
            f"adata lacks {len(missing)} of the model's {len(genes)} genes, "
            f"the first is {missing[0]!r}; the model cannot guess them"
        )
    return [place[gene] for gene in genes]


def _check_not_empty(counts, adata, field):
    empty = np.flatnonzero(counts.getnnz(axis=1) == 0)
    if len(empty):
        raise ValueError(
            f"{field} has no count in the model's genes for {len(empty)} of "
            f"{adata.n_obs} cells, the first is "
            f"{adata.obs_names[empty[0]]!r}; drop them with "
            "scanpy.pp.filter_cells(adata, min_counts=1) where adata holds "
            "these genes alone"
        )


def _batch_numbers(adata, batch_key, batches):
    """Each cell's batch number, -1 if unseen; known and unseen names."""
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int64), [""], []
    if batch_key not in adata.obs:
        found = ", ".join(map(repr, adata.obs.columns)) or "none"
        raise KeyError(
            f"adata.obs has no column {batch_key!r}; its columns are: {found}"
        )
    column = adata.obs[batch_key]
    if column.isna().any():
        raise ValueError(
            f"adata.obs[{batch_key!r}] is missing for {column.isna().sum()} "
            "cells; give every cell a batch or leave batch_key out"
        )
    column = column.astype(str)
    found = sorted(column.unique())
    batches = found if batches is None else batches
    number = {name: i for i, name in enumerate(batches)}
    numbers = [number.get(name, -1) for name in column]
    unseen = [name for name in found if name not in number]
    return np.array(numbers, dtype=np.int64), batches, unseen
