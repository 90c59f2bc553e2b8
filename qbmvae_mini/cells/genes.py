"""Which genes a model should read.

A file from a sequencer names 20,000 genes and more. Most of them are hardly
seen, or vary no more than chance makes counts vary. `choose_genes` keeps those
that vary most beyond that.
"""

import numpy as np

from qbmvae_mini.cells.reading import read_cells
from qbmvae_mini.checks import check_whole

#: Genes to read unless another number is asked for.
N_GENES = 2000


def choose_genes(adata, n_genes=N_GENES, *, layer=None, batch_key=None):
    r"""Names of the genes that vary most, judged by their counts.

    A gene's score is the variance over cells of its Pearson residuals

    .. math:: (x - \mu) / \sqrt{\mu + \mu^2 / 100},

    clipped at plus and minus the root of the number of cells, where the mean
    :math:`\mu` is the cell's library size times the gene's share of all UMIs
    (Lause 2021). scanpy computes it within each batch, and it is averaged over
    batches weighted by their cells: a gene that only differs *between* batches
    is not chosen for that.

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
    names = [str(name) for name in getattr(adata, "var_names", ())]
    cells, _, _ = read_cells(
        adata, layer=layer, batch_key=batch_key, genes=names
    )
    counted = np.flatnonzero(cells.counts.getnnz(axis=0))
    if len(counted) <= n_genes:
        return [names[i] for i in counted]
    counts, batch = cells.counts[:, counted], cells.batch.numpy()
    score = _residual_variance(counts, batch)
    # Stable: of two genes with one score, the first in the file.
    best = np.sort(np.argsort(-score, kind="stable")[:n_genes])
    chosen = [names[i] for i in counted[best]]
    _refuse_empty(counts[:, best], adata.obs_names, n_genes)
    return chosen


def _residual_variance(counts, batch):
    """Mean over cells of the residual variance within their batch, (genes,)."""
    import anndata
    import scanpy

    score = np.zeros(counts.shape[1])
    for number in np.unique(batch):
        # One batch at a time: scanpy's own `batch_key` counts a batch of
        # three cells as much as one of three thousand.
        part = anndata.AnnData(counts[batch == number])
        table = scanpy.experimental.pp.highly_variable_genes(
            part, n_top_genes=1, inplace=False
        )
        score += part.n_obs * table["residual_variances"].to_numpy()
    return score / len(batch)


def _refuse_empty(counts, cell_names, n_genes):
    empty = np.flatnonzero(counts.getnnz(axis=1) == 0)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(cell_names)} cells have no count in the "
            f"{n_genes} chosen genes, the first is {cell_names[empty[0]]!r}; "
            "choose more genes, or leave these cells out"
        )
