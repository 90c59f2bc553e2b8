"""Bars and stripes, digits and genes are the bits they are said to be."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from qbmvae_mini.cells import datasets
from qbmvae_mini.learning import bars_and_stripes, digits, genes_on


@pytest.mark.parametrize("side", [2, 3, 4])
def test_bars_and_stripes_are_all_there_once(side):
    pictures = bars_and_stripes(side).reshape(-1, side, side).numpy()
    assert len(pictures) == 2 ** (side + 1) - 2
    assert len(np.unique(pictures, axis=0)) == len(pictures)
    assert np.isin(pictures, (0, 1)).all()
    rows_alike = (pictures == pictures[:, :1]).all((1, 2))  # bars
    columns_alike = (pictures == pictures[:, :, :1]).all((1, 2))  # stripes
    assert (rows_alike | columns_alike).all()
    assert rows_alike.sum() == columns_alike.sum() == 2**side


def test_one_pixel_has_no_bars():
    with pytest.raises(ValueError, match="side is a whole number of at least"):
        bars_and_stripes(1)


def test_digits_are_black_and_white():
    bits, digit = digits()
    assert bits.shape == (1797, 64)
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert set(digit) == set(range(10))
    # A zero is hollow, a one is not.
    middle = bits.reshape(-1, 8, 8)[:, 3:5, 3:5].mean((1, 2))
    assert middle[digit == 1].mean() > 0.5 > middle[digit == 0].mean()


def small():
    """Gene b varies most, c never; totals count genes that are not there."""
    counts = np.array([[1, 9, 2], [1, 0, 2], [2, 9, 2], [2, 0, 2]], "f4")
    obs = pd.DataFrame({"n_counts": [100] * 4}, index=list("wxyz"))
    var = pd.DataFrame(index=["a", "b", "c"])
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


def test_genes_are_on_above_their_mean():
    bits, genes = genes_on(small(), 2)
    assert genes == ["b", "a"]
    assert bits.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]


def test_abundance_is_relative_to_the_total():
    cells = small()
    cells.obs["n_counts"] = [100, 100, 100_000, 100]  # y is a big one
    bits, genes = genes_on(cells, 3)
    assert bits[2, genes.index("b")] == 0


def test_genes_of_the_pancreas_tell_its_types_apart():
    cells = datasets.load("pancreas")
    bits, genes = genes_on(cells)
    assert bits.shape == (1937, 40)
    on = pd.DataFrame(bits.numpy(), columns=genes).groupby(
        cells.obs["cell_type"].to_numpy()
    )
    mean = on.mean()
    for gene, kind in [("INS", "beta"), ("GCG", "alpha"), ("SST", "delta")]:
        assert mean.loc[kind, gene] > 0.9
        assert mean.loc["endothelial", gene] < 0.5


def test_more_genes_than_there_are():
    with pytest.raises(ValueError, match="at most the 3 genes"):
        genes_on(small(), 4)


def test_totals_are_needed():
    cells = small()
    del cells.obs["n_counts"]
    with pytest.raises(ValueError, match='no column "n_counts"'):
        genes_on(cells, 2)


def test_dense_counts_are_as_good_as_sparse_ones():
    adata, dense = small(), small()
    dense.X = dense.X.toarray()
    bits, genes = genes_on(adata, 2)
    assert genes_on(dense, 2)[0].equal(bits)
    assert genes_on(dense, 2)[1] == genes


def test_cells_without_counts_are_refused():
    adata = small()
    adata.obs["n_counts"] = adata.obs["n_counts"].astype("f8")
    adata.obs.iloc[1, adata.obs.columns.get_loc("n_counts")] = 0.0
    name = adata.obs_names[1]
    with pytest.raises(ValueError, match=f"above 0 .* but not for {name}"):
        genes_on(adata, 2)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_what_is_no_count_is_refused(bad):
    adata = small()
    adata.X = adata.X.astype("f4")
    adata.X[0, 0] = bad
    with pytest.raises(ValueError, match="X holds counts, but some are neg"):
        genes_on(adata, 2)


@pytest.mark.parametrize("cells", [None, "cells.h5ad", [[1, 0]]])
def test_genes_on_wants_cells(cells):
    with pytest.raises(TypeError, match="adata is an AnnData, not"):
        genes_on(cells)
