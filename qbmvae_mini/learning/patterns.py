"""Small sets of bits for a machine to learn; nothing is downloaded."""

import numpy as np
import torch
from scipy import sparse

from qbmvae_mini.checks import check_whole
from qbmvae_mini.machines.states import all_states

#: A pixel of a digit has 17 grey levels, 0 to 16; from here on it is on.
DIGIT_THRESHOLD = 8


def bars_and_stripes(side):
    """All pictures of bars or of stripes, each once.

    In a picture of stripes each row is all on or all off, in one of bars
    each column. All on and all off are both. A common test of learning rules
    (Fischer and Igel 2014, Training restricted Boltzmann machines).

    Parameters
    ----------
    side : int
        Pixels along a side.

    Returns
    -------
    Tensor, shape (2^(side + 1) - 2, side^2)
        Bits in float32, row by row. No law gives these pictures a higher mean
        log-likelihood than minus the log of their number.
    """
    side = check_whole("side", side, 2)
    lines = all_states(side, dtype=torch.float32)
    stripes = lines.repeat_interleave(side, dim=1)
    bars = lines.repeat(1, side)[1:-1]  # all off and all on are there already
    return torch.cat([stripes, bars])


def digits():
    """Handwritten digits of 8 x 8 pixels, black and white.

    scikit-learn carries them: the test part of the set of Alpaydin and
    Kaynak 1998 (UCI Machine Learning Repository). A pixel is on from grey
    level 8 of 16.

    Returns
    -------
    bits : Tensor, shape (1797, 64)
        Float32, row by row.
    digit : array of int, shape (1797,)
    """
    from sklearn.datasets import load_digits

    grey, digit = load_digits(return_X_y=True)
    return torch.from_numpy((grey >= DIGIT_THRESHOLD).astype("f4")), digit


def genes_on(adata, n_genes=40):
    """Which genes of each cell are on: more abundant than in the mean cell.

    A gene's abundance in a cell is ``log(1 + 10,000 count / total)``. The
    genes kept are those whose abundance varies most between the cells, the
    most variable first; each is on in the cells where its abundance lies
    above its mean. No label is looked at.

    Parameters
    ----------
    adata : AnnData
        Counts; ``obs["n_counts"]`` holds the totals of the cells.
    n_genes : int

    Returns
    -------
    bits : Tensor, shape (n_cells, n_genes)
        Float32.
    genes : list of str

    Raises
    ------
    TypeError
        If `adata` is no AnnData.
    ValueError
        If there are fewer genes than asked for, no totals, a cell without
        counts, or counts that are negative or no numbers.
    """
    from anndata import AnnData  # slow to import

    n_genes = check_whole("n_genes", n_genes, 1)
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata is an AnnData, not {type(adata).__name__}")
    if n_genes > adata.n_vars:
        raise ValueError(
            f"n_genes is at most the {adata.n_vars} genes of adata, "
            f"not {n_genes}"
        )
    if "n_counts" not in adata.obs:
        raise ValueError(
            'adata.obs has no column "n_counts"; put the total count of each '
            "cell there"
        )
    totals = adata.obs["n_counts"].to_numpy("f8")[:, None]
    counts = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    if not (totals > 0).all():
        cell = adata.obs_names[int(np.argmin(totals > 0))]
        raise ValueError(
            f'obs["n_counts"] is above 0 for every cell, but not for {cell}; '
            "leave out cells without counts"
        )
    if not ((counts >= 0) & (counts < np.inf)).all():
        raise ValueError(
            "adata.X holds counts, but some are negative, NaN or infinite; "
            "give raw counts"
        )
    abundance = np.log1p(1e4 * counts / totals)  # (cells, genes)
    kept = np.argsort(-abundance.var(0), kind="stable")[:n_genes]
    abundance = abundance[:, kept]
    on = abundance > abundance.mean(0)
    return torch.from_numpy(on.astype("f4")), list(adata.var_names[kept])
