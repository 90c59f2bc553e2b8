"""From AnnData to mini-batches of counts, with every check at the door.

Nothing is silently cast, clipped or dropped: data that are not counts end in
one sentence that says what was found and what to do.
"""

import numpy as np
import scipy.sparse

from qbmvae_mini.cells.counts import Cells
from qbmvae_mini.checks import NUMBERS, check_names

#: No log1p of a UMI count comes near this; raw counts nearly always exceed it.
LARGEST_LOG = 20

#: Numbers that are looked at together, so that a check takes little memory.
AT_ONCE = 2**20


def read_cells(adata, *, layer=None, batch_key=None, genes=None, batches=None):
    """Check an AnnData and take its counts.

    Parameters
    ----------
    adata : AnnData
    layer : str, optional
        Layer with the counts; by default ``adata.X``.
    batch_key : str, optional
        Column of ``adata.obs``. Batches are told by their values: 1 and 1.0
        are one batch, named "1".
    genes : sequence of str, optional
        The model's genes. They are matched by name and put in this order;
        further genes are left out. Without it the data are training data,
        and a gene without a single count is refused.
    batches : sequence of str, optional
        The model's batches. Without it they are the sorted names found.

    Returns
    -------
    cells : Cells
        A copy: what happens to `adata` later does not reach it.
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
    counts, lent = checked_counts(adata, layer)
    field = _field(layer)
    names = gene_names(adata)
    training = genes is None
    genes = names if training else list(check_names("genes", genes))
    if training:
        _check_genes(counts, genes, field)
    if genes != names:
        counts = counts[:, _places(names, genes)]
        counts.sort_indices()
    elif lent:
        counts = counts.copy()
    _check_not_empty(counts, adata, field)
    batch, batches, unseen = batch_numbers(adata, batch_key, batches)
    return Cells(counts, batch, unseen), genes, list(batches)


def check_adata(adata):
    """Refuse what is no AnnData, or an empty one.

    Raises
    ------
    TypeError, ValueError
    """
    import anndata

    if not isinstance(adata, anndata.AnnData):
        raise TypeError(
            f"adata is an AnnData, not {type(adata).__name__}; put a matrix "
            "of cells x genes into anndata.AnnData(matrix)"
        )
    for size, what in zip(adata.shape, ("cells", "genes"), strict=True):
        if size == 0:
            raise ValueError(f"adata holds no {what}")


def checked_counts(adata, layer=None):
    """Counts as they are stored, checked, without a copy where none is needed.

    Parameters
    ----------
    adata : AnnData
    layer : str, optional

    Returns
    -------
    counts : csr_matrix of float32, shape (cells, genes)
        Columns in order, each once, and no zero stored.
    lent : bool
        Whether `counts` may use memory of `adata`: it is not to be changed.

    Raises
    ------
    KeyError, TypeError, ValueError
        See `read_cells`.
    """
    check_adata(adata)
    field = _field(layer)
    stored = _stored(adata, layer)
    _check_dtype(stored, field)
    ours = adata.is_view  # which cuts its cells out anew at each look
    if hasattr(stored, "to_memory"):  # a sparse matrix in a file
        stored, ours = stored.to_memory(), True
    if scipy.sparse.issparse(stored):
        stored = stored if stored.format == "csc" else stored.tocsr()
        counts = _from_sparse(stored, field)
        ours |= not np.may_share_memory(counts.indices, stored.indices)
    else:
        counts, ours = _from_dense(stored), True
    _check_values(counts.data, field)
    counts.data = counts.data.astype(np.float32, copy=False)
    if not counts.data.all():  # a stored zero is no count
        counts, ours = counts.copy(), True
        counts.eliminate_zeros()
    return counts, not ours


def _field(layer):
    return "adata.X" if layer is None else f"adata.layers[{layer!r}]"


def _check_key(name, key, where):
    if not isinstance(key, str):
        raise TypeError(
            f"{name} is the name of one of {where}, not {key!r}; to use "
            "several, join them in a new one first"
        )


def _stored(adata, layer):
    """What `adata` holds as counts."""
    if layer is None:
        if adata.X is None:
            raise ValueError("adata.X is empty; name the layer with the counts")
        return adata.X
    _check_key("layer", layer, "adata.layers")
    if layer not in adata.layers:
        found = ", ".join(map(repr, adata.layers)) or "none"
        raise KeyError(f"adata has no layer {layer!r}; its layers are: {found}")
    return adata.layers[layer]


def _check_dtype(stored, field):
    if np.ma.is_masked(stored):
        raise ValueError(
            f"{field} has masked values; fill them with counts, or leave these "
            "cells or genes out"
        )
    kind = stored.dtype
    if kind.kind not in NUMBERS or kind == np.float16:
        raise TypeError(
            f"{field} has dtype {kind}; store the counts as integers, float32 "
            "or float64"
        )


def _native(array):
    """Numbers in this machine's order of bytes, the only one scipy takes."""
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _from_sparse(stored, field):
    """CSR with columns in order; the memory of `stored` where it is so."""
    kind = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix}
    parts = (_native(stored.data), stored.indices, stored.indptr)
    try:
        # The values are checked later; where they stand must be known before
        # anything is done with them, or memory is read that is none of theirs.
        if not all(part.dtype.kind in "iu" for part in parts[1:]):
            raise TypeError("its indices are no whole numbers")
        counts = kind[stored.format](parts, shape=stored.shape)
        counts.check_format(full_check=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{field} is a broken sparse matrix ({error}); make the file anew "
            "with the tool that wrote it"
        ) from error
    counts = counts.tocsr()
    if not counts.has_canonical_format:
        # Wide enough for any sum of what is stored for one place.
        counts = counts.astype(np.float64)
        counts.sum_duplicates()
    return counts


def _from_dense(stored):
    """CSR of an array in memory or in a file, by blocks of cells."""
    n_rows = max(1, AT_ONCE // stored.shape[1])
    blocks = [
        scipy.sparse.csr_matrix(_native(stored[start : start + n_rows]))
        for start in range(0, stored.shape[0], n_rows)
    ]
    return scipy.sparse.vstack(blocks, format="csr")


def _check_values(values, field):
    lowest, highest, broken = 0, 0, None
    for start in range(0, len(values), AT_ONCE):
        block = values[start : start + AT_ONCE]
        if not np.isfinite(block).all():
            raise ValueError(
                f"{field} holds NaN or infinite values; UMI counts are whole "
                "numbers of at least 0"
            )
        lowest = min(lowest, block.min())
        highest = max(highest, block.max())
        odd = block[block != np.rint(block)]
        broken = odd[0] if broken is None and len(odd) else broken
    if lowest < 0:
        raise ValueError(
            f"{field} holds negative values (the smallest is {lowest}); it "
            "looks scaled, use the raw counts"
        )
    if broken is not None:
        logs = highest < LARGEST_LOG
        looks = "log-transformed" if logs else "normalised"
        raise ValueError(
            f"{field} holds values that are not whole numbers (the first is "
            f"{broken}); it looks {looks}, use the raw counts"
        )
    if highest > 2**24:
        raise ValueError(
            f"{field} holds a count of {float(highest):.17g}; above 2^24 = "
            "16777216 float32 cannot tell neighbouring counts apart"
        )


def gene_names(adata):
    """Names of the genes, each once.

    Raises
    ------
    TypeError, ValueError
    """
    names = list(check_names("adata.var_names", adata.var_names))
    if len(set(names)) < len(names):
        seen = set()
        twice = next(n for n in names if n in seen or seen.add(n))
        raise ValueError(
            f"gene {twice!r} stands twice in adata.var_names; call "
            "adata.var_names_make_unique() first"
        )
    return names


def cells_a_gene(counts):
    """Number of cells that have a count of each gene, (genes,).

    As ``counts.getnnz(axis=0)``, which copies all indices into wider numbers.
    """
    cells = np.zeros(counts.shape[1], dtype=np.int64)
    for start in range(0, counts.nnz, AT_ONCE):
        part = counts.indices[start : start + AT_ONCE]
        cells += np.bincount(part, minlength=len(cells))
    return cells


def _check_genes(counts, genes, field):
    empty = np.flatnonzero(cells_a_gene(counts) == 0)
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
            f"{str(adata.obs_names[empty[0]])!r}; drop them with "
            "scanpy.pp.filter_cells(adata, min_counts=1) where adata holds "
            "these genes alone"
        )


def batch_numbers(adata, batch_key=None, batches=None):
    """Each cell's batch number, and the names that the numbers stand for.

    Parameters
    ----------
    adata : AnnData
    batch_key : str, optional
        Column of ``adata.obs``; by default all cells are of one batch.
    batches : sequence of str, optional
        The batches that are known, by default those found.

    Returns
    -------
    numbers : ndarray of int, shape (cells,)
        -1 for a batch that is not known.
    batches, unseen : list of str

    Raises
    ------
    KeyError, TypeError, ValueError
        See `read_cells`.
    """
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int64), [""], []
    _check_key("batch_key", batch_key, "the columns of adata.obs")
    stands = list(adata.obs.columns).count(batch_key)
    if stands > 1:
        raise KeyError(
            f"adata.obs has {stands} columns {batch_key!r}; rename all but one"
        )
    if not stands:
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
    names = check_names(f"adata.obs[{batch_key!r}]", column)
    found = sorted(set(names))
    batches = found if batches is None else batches
    number = {name: i for i, name in enumerate(batches)}
    numbers = [number.get(name, -1) for name in names]
    unseen = [name for name in found if name not in number]
    return np.array(numbers, dtype=np.int64), batches, unseen
