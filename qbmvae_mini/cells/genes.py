"""Which genes a model should read.

A file from a sequencer names 20,000 genes and more. Most of them are hardly
seen, or vary no more than chance makes counts vary. `choose_genes` keeps those
that vary most beyond that.
"""

import numpy as np

from qbmvae_mini.cells.reading import (
    batch_numbers,
    cells_a_gene,
    checked_counts,
    gene_names,
)
from qbmvae_mini.checks import check_whole

#: Genes to read unless another number is asked for.
N_GENES = 2000

#: Residuals that are computed together, so that few are in memory.
AT_ONCE = 2**17

#: Inverse dispersion that a gene has by chance.
THETA = 100


def choose_genes(adata, n_genes=N_GENES, *, layer=None, batch_key=None):
    r"""Names of the genes that vary most, judged by their counts.

    A gene's score is the variance over cells of its Pearson residuals

    .. math:: (x - \mu) / \sqrt{\mu + \mu^2 / 100},

    clipped at plus and minus the root of the number of cells, where the mean
    :math:`\mu` is the cell's library size times the gene's share of all UMIs
    (Lause 2021). It is computed within each batch, and averaged over batches
    weighted by their cells: a gene that only differs *between* batches is not
    chosen for that. Within one batch the genes are those of
    ``scanpy.experimental.pp.highly_variable_genes``, in much less memory.

    Parameters
    ----------
    adata : AnnData
        Whole-number counts of the training cells. It is not changed.
    n_genes : int
        If fewer genes have a count, all of those are given.
    layer : str, optional
        Layer with the counts; by default ``adata.X``.
    batch_key : str, optional
        Column of ``adata.obs``.

    Returns
    -------
    list of str
        In the order of ``adata.var_names``. Genes without a count are never
        among them.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `adata` does not hold counts, see `qbmvae_mini.cells.read_cells`;
        if `n_genes` is no whole number of at least 1; or if a cell has no
        count in the chosen genes.
    """
    check_whole("n_genes", n_genes, 1)
    counts, _ = checked_counts(adata, layer)
    names = np.array(gene_names(adata), dtype=object)
    batch, _, _ = batch_numbers(adata, batch_key)
    counted = cells_a_gene(counts) > 0
    if counted.sum() <= n_genes:
        return list(names[counted])
    score = np.where(counted, _residual_variance(counts, batch), -1)
    # Stable: of two genes with one score, the first in the file.
    best = np.sort(np.argsort(-score, kind="stable")[:n_genes])
    _refuse_empty(counts, best, adata.obs_names)
    return list(names[best])


def counted_genes(adata, *, layer=None):
    """Names of the genes that have a count in some cell.

    Parameters
    ----------
    adata : AnnData
    layer : str, optional
        Layer with the counts; by default ``adata.X``.

    Returns
    -------
    list of str
        In the order of ``adata.var_names``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `adata` does not hold counts, see `qbmvae_mini.cells.read_cells`.
    """
    counts, _ = checked_counts(adata, layer)
    names = np.array(gene_names(adata), dtype=object)
    return list(names[cells_a_gene(counts) > 0])


def _residual_variance(counts, batch):
    """Mean over cells of the residual variance within their batch, (genes,)."""
    score = np.zeros(counts.shape[1])
    for number in np.unique(batch):
        cells = np.flatnonzero(batch == number)
        score += len(cells) * _variance_within(counts, cells)
    return score / len(batch)


def _variance_within(counts, cells):
    """Variance over these cells of the clipped residuals, (genes,)."""
    n_genes = counts.shape[1]
    parts = np.array_split(cells, -(-len(cells) * n_genes // AT_ONCE))
    total = np.zeros(n_genes)
    for part in parts:
        block = counts[part]
        total += np.bincount(block.indices, block.data, n_genes)
    share = total / total.sum()
    clip = np.sqrt(len(cells))
    first, second = np.zeros(n_genes), np.zeros(n_genes)  # moments
    for part in parts:
        residual = _residuals(counts[part].toarray(), share)
        np.clip(residual, -clip, clip, out=residual)
        first += residual.sum(axis=0)
        second += (residual**2).sum(axis=0)
    # Residuals are about 0 on average: the difference loses no digits.
    return second / len(cells) - (first / len(cells)) ** 2


def _residuals(x, share):
    """Pearson residuals of some cells, 0 for a gene without any count."""
    x = x.astype(np.float64)  # (cells, genes)
    mean = np.outer(x.sum(axis=1), share)
    deviation = np.sqrt(mean + mean**2 / THETA)
    deviation[mean == 0] = 1
    return (x - mean) / deviation


def _refuse_empty(counts, chosen, cell_names):
    mark = np.zeros(counts.shape[1], dtype=np.float32)
    mark[chosen] = 1
    empty = np.flatnonzero(counts @ mark == 0)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(cell_names)} cells have no count in the "
            f"{len(chosen)} chosen genes, the first is "
            f"{str(cell_names[empty[0]])!r}; choose more genes, or leave these "
            "cells out"
        )
