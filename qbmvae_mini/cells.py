"""From AnnData to mini-batches of counts, with every check at the door.

Nothing is silently cast, clipped or dropped: data that are not counts end in
one sentence that says what was found and what to do.
"""

import numpy as np
import scipy.sparse
import torch

#: No log1p of a UMI count comes near this; raw counts nearly always exceed it.
LARGEST_LOG = 20


class Cells:
    """Counts of some cells, and the number of each cell's batch.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, shape (cells, genes)
    batch : ndarray of int, shape (cells,)
        -1 for a batch that the model has not seen.
    """

    def __init__(self, counts, batch):
        self.counts = counts
        self.batch = torch.from_numpy(batch)

    def __len__(self):
        return self.counts.shape[0]

    def __getitem__(self, index):
        """Some of the cells."""
        return Cells(self.counts[index], self.batch.numpy()[index])

    def minibatches(self, size, *, order=None, device="cpu"):
        """Yield ``(x, batch)``: counts (size, genes) and batch numbers (size,).

        Parameters
        ----------
        size : int
        order : ndarray of int, optional
            The cells to visit, in this order; by default all as they come.
        device : torch.device
        """
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), size):
            index = order[start : start + size]
            x = torch.from_numpy(self.counts[index].toarray())
            yield x.to(device), self.batch[index].to(device)


def read_cells(
    adata, *, layer=None, batch_key=None, genes=None, batches=None
):
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
    KeyError
        If the layer, the batch column or a gene is missing.
    ValueError
        If the numbers are not counts, or a cell or gene has none.
    """
    counts = _matrix(adata, layer)
    field = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    if counts.shape[0] == 0:
        raise ValueError(f"{field} holds no cells")
    _check_counts(counts, field)
    names = _gene_names(adata)
    training = genes is None
    if training:
        genes = names
        _check_genes(counts, genes, field)
    else:
        counts = counts[:, _places(names, genes)]
    _check_not_empty(counts, adata, field)
    batch, batches = _batch_numbers(adata, batch_key, batches)
    return Cells(counts, batch), list(genes), list(batches)


def _matrix(adata, layer):
    if layer is None:
        values = adata.X
    elif layer in adata.layers:
        values = adata.layers[layer]
    else:
        found = ", ".join(map(repr, adata.layers)) or "none"
        raise KeyError(
            f"adata has no layer {layer!r}; its layers are: {found}"
        )
    if values is None:
        raise ValueError("adata.X is empty; name the layer with the counts")
    if hasattr(values, "to_memory"):  # a file opened with backed="r"
        values = values.to_memory()
    return scipy.sparse.csr_matrix(values)


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
    counts.data = values.astype(np.float32)


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
            f"{len(empty)} genes of {field} have no count in any cell, the "
            f"first is {genes[empty[0]]!r}; drop them with "
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
            f"{len(empty)} cells of {field} have no count in the model's "
            f"genes, the first is {adata.obs_names[empty[0]]!r}; drop them "
            "with scanpy.pp.filter_cells(adata, min_counts=1)"
        )


def _batch_numbers(adata, batch_key, batches):
    """Number of each cell's batch, -1 where unseen; and the batches' names."""
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int64), [""]
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
    if batches is None:
        batches = sorted(column.unique())
    number = {name: i for i, name in enumerate(batches)}
    numbers = [number.get(name, -1) for name in column]
    return np.array(numbers, dtype=np.int64), batches
