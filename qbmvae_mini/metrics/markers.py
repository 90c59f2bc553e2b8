r"""Marker fidelity: each type gets its markers by a model, and no others.

A likelihood is a sum over all genes, and forgives a model that paints the
strongest gene of a common type onto a rare one. So marker genes are chosen on
training cells, and the share of each in the held-out cells of *every* type is
compared with the model's: too little of a type's own markers is as wrong as
too much of another's.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from qbmvae_mini.checks import check_whole
from qbmvae_mini.metrics.embeddings import read_codes, read_groups

#: Marker genes a type.
MARKERS = 5

#: Held-out cells from which on a type is compared.
LEAST_CELLS = 10

#: UMIs added on both sides of a ratio. Noise of counting then moves its
#: logarithm to base 2 by at most 1 / (2 sqrt(10) ln 2) = 0.23, one standard
#: deviation, however rare the gene.
PSEUDO_COUNT = 10

#: Columns of the table of `marker_ratios`.
RATIOS = ["type", "gene", "own", "real", "model", "log2_ratio"]


def marker_genes(counts, labels, genes, n=MARKERS):
    """The `n` genes that tell each type best from all other cells.

    They are those of the highest t statistic of log1p of counts per 10,000,
    by scanpy's `rank_genes_groups`.

    Parameters
    ----------
    counts : array, shape (cells, genes)
        Raw counts of training cells.
    labels : sequence, length cells
        Two types or more. One of a single cell has no markers.
    genes : sequence of str, length genes
        Names of the columns.
    n : int

    Returns
    -------
    dict
        Type -> list of names, the best first.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    counts, labels, genes = _read(counts, labels, genes)
    n = check_whole("n", n, 1)
    types, cells = np.unique(labels, return_counts=True)
    types = [str(name) for name in types[cells > 1]]
    if len(types) < 2:
        raise ValueError(
            f"labels has {len(types)} type of two cells or more; markers tell "
            "a type from others, so give at least two"
        )
    import anndata
    import scanpy

    library = counts.sum(1, keepdims=True)
    adata = anndata.AnnData(np.log1p(1e4 * counts / library))
    adata.obs["type"] = pd.Categorical(labels)
    scanpy.tl.rank_genes_groups(adata, "type", groups=types, n_genes=n)
    found = adata.uns["rank_genes_groups"]["names"]
    return {
        name: [genes[int(column)] for column in found[name]] for name in types
    }


def marker_ratios(counts, shares, labels, genes, markers):
    r"""Each marker's share by the model against the real one, type by type.

    With :math:`L_c` the UMIs of cell :math:`c`, :math:`N_t = \sum_{c \in t}
    L_c` those of a type, :math:`x_{cg}` its counts and :math:`s_{cg}` the
    model's shares,

    .. math::

        \log_2 \frac{\sum_{c \in t} L_c s_{cg} + k}
        {\sum_{c \in t} x_{cg} + k}, \qquad k = 10,

    for every type :math:`t` of at least `LEAST_CELLS` cells and every marker
    :math:`g` of any of them. The pseudo-count :math:`k` is `PSEUDO_COUNT`.

    Parameters
    ----------
    counts : array, shape (cells, genes)
        Raw counts of held-out cells.
    shares : array, shape (cells, genes)
        Share of each gene in a cell's UMIs by the model; rows sum to 1. See
        `qbmvae_mini.models.CellVAE.get_normalized_expression`.
    labels : sequence, length cells
    genes : sequence of str, length genes
    markers : dict
        Type -> names of genes, as `marker_genes` gives them for training
        cells.

    Returns
    -------
    DataFrame
        One row a type and gene: ``type``, ``gene``; ``own``, whether it is a
        marker of this type; the shares ``real`` and ``model``; ``log2_ratio``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use, or no type has enough cells.
    """
    counts, labels, genes = _read(counts, labels, genes)
    shares = _read_shares(shares, counts.shape)
    if not isinstance(markers, Mapping):
        raise TypeError(
            "markers is a dictionary of types and their genes, as of "
            f"marker_genes, not {type(markers).__name__}"
        )
    types, cells = np.unique(labels, return_counts=True)
    known = np.isin(types, list(markers))
    types = [str(name) for name in types[known & (cells >= LEAST_CELLS)]]
    if not types:
        raise ValueError(
            f"no type with markers has {LEAST_CELLS} cells; give more cells, "
            "or labels and markers with the same names"
        )
    column = {name: i for i, name in enumerate(genes)}
    chosen = list(dict.fromkeys(g for name in types for g in markers[name]))
    absent = [gene for gene in chosen if gene not in column]
    if absent:
        raise ValueError(
            f"markers names {absent[0]!r}, which is not among the genes; "
            "choose markers from the same genes"
        )
    rows = []
    for name in types:
        mine = labels == name
        x, library = counts[mine], counts[mine].sum(1)
        real, model = x.sum(0), library @ shares[mine]  # UMIs
        for gene in chosen:
            a, b = real[column[gene]], model[column[gene]]
            ratio = np.log2((b + PSEUDO_COUNT) / (a + PSEUDO_COUNT))
            own = gene in markers[name]
            n = library.sum()
            rows.append((name, gene, own, a / n, b / n, float(ratio)))
    return pd.DataFrame(rows, columns=RATIOS)


def marker_fidelity(ratios):
    """How far off markers are at worst, and in the middle.

    Parameters
    ----------
    ratios : DataFrame
        Of `marker_ratios`.

    Returns
    -------
    dict
        Absolute logarithms to base 2, so that 1 is a factor of two and 0 is
        right. ``own_worst`` and ``own_median`` are of markers in their own
        type: a type's error is that of its worst marker, and these are the
        worst and the median type. ``other_worst`` and ``other_median`` are
        the same of markers of other types, which a model that smears gives
        too much of; of one type alone these are NaN. ``worst`` is the larger
        of the two, in ``worst_type`` and of ``worst_gene``.

    Raises
    ------
    TypeError
        If `ratios` is no such table.
    """
    if not isinstance(ratios, pd.DataFrame) or not {*RATIOS} <= {*ratios}:
        raise TypeError(
            "ratios is the table of marker_ratios, with the columns "
            f"{', '.join(RATIOS)}"
        )
    error = ratios.log2_ratio.abs()
    found = {}
    for name, which in (("own", ratios.own), ("other", ~ratios.own)):
        worst = error[which].groupby(ratios.type[which]).max()
        found[f"{name}_worst"] = float(worst.max())
        found[f"{name}_median"] = float(worst.median())
    row = ratios.loc[error.idxmax()]
    return found | {
        "worst": float(error.max()),
        "worst_type": row.type,
        "worst_gene": row.gene,
    }


def _read(counts, labels, genes):
    counts = read_codes("counts", counts)
    empty = np.flatnonzero(counts.sum(1) <= 0)
    if (counts < 0).any() or len(empty):
        found = "negative values" if (counts < 0).any() else "empty cells"
        raise ValueError(f"counts holds {found}; give raw counts of cells")
    genes = [str(gene) for gene in genes]
    if len(genes) != counts.shape[1] or len(set(genes)) != len(genes):
        raise ValueError(
            f"genes has {len(set(genes))} different names for "
            f"{counts.shape[1]} columns; give each column one of its own"
        )
    return counts, read_groups("labels", labels, len(counts)), genes


def _read_shares(shares, shape):
    shares = read_codes("shares", shares)
    if shares.shape != shape:
        raise ValueError(
            f"shares has shape {shares.shape} and counts {shape}; give both "
            "the same cells and genes, in the same order"
        )
    off = np.abs(shares.sum(1) - 1).max()
    if (shares < 0).any() or off > 1e-3:
        raise ValueError(
            "shares holds rows that are no shares, negative or not adding up "
            "to 1; give get_normalized_expression, or counts over their sums"
        )
    return shares
