"""Choosing genes: against scanpy, and against the formula written out."""

import tracemalloc

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse
import torch
from synthetic import two_clusters, unchanged, with_counts

from qbmvae_mini.cells import genes
from qbmvae_mini.cells.genes import choose_genes, counted_genes


@pytest.fixture
def adata():
    """Sixty cells; thirty genes that vary ever more, from no more than chance.

    The depth of a batch's cells is its own.
    """
    rng = np.random.default_rng(0)
    rise = rng.normal(size=(60, 30)) * np.linspace(0, 1.5, 30)
    made = two_clusters(n_cells=60)
    deep = np.where(made.obs["batch"] == "left", 20, 5)[:, None]
    counts = rng.poisson(deep * np.exp(rise) * rng.gamma(5, 0.2, (60, 1)))
    return with_counts(made, counts.astype(np.float32) + 1)  # none is empty


def by_hand(counts):
    """Variance of clipped Pearson residuals with theta = 100, (genes,)."""
    x = counts.astype(np.float64)
    x = x[:, x.sum(axis=0) > 0]
    mean = np.outer(x.sum(axis=1), x.sum(axis=0)) / x.sum()
    residual = (x - mean) / np.sqrt(mean + mean**2 / 100)
    clip = np.sqrt(len(x))
    found = np.zeros(counts.shape[1])
    found[counts.sum(axis=0) > 0] = residual.clip(-clip, clip).var(axis=0)
    return found


def best(score, names, n):
    """The `n` names of highest score, in their order."""
    return [names[i] for i in sorted(np.argsort(-score)[:n])]


@pytest.mark.parametrize("n_genes", [1, 7, 29])
def test_without_batches_the_genes_are_those_of_scanpy(adata, n_genes):
    table = sc.experimental.pp.highly_variable_genes(
        adata, n_top_genes=n_genes, inplace=False
    )
    wanted = list(adata.var_names[table["highly_variable"].to_numpy()])
    with unchanged(adata):
        assert choose_genes(adata, n_genes) == wanted
    assert wanted == best(by_hand(adata.X), adata.var_names, n_genes)


def test_with_batches_it_is_the_mean_over_cells_within_batches(adata):
    batch = adata.obs["batch"].to_numpy()
    # Unequal batches: a mean over batches would be another.
    few = np.flatnonzero(batch == "left")[:12]
    adata = adata[np.r_[few, np.flatnonzero(batch == "right")]].copy()
    batch = adata.obs["batch"].to_numpy()
    adata.X[batch == "left", 25] = 0  # a gene that one batch never shows
    score = sum(
        (batch == name).mean() * by_hand(adata.X[batch == name])
        for name in ("left", "right")
    )
    for n_genes in (9, 10, 15):
        wanted = best(score, adata.var_names, n_genes)
        with unchanged(adata):
            found = choose_genes(adata, n_genes, batch_key="batch")
        assert found == wanted
        assert choose_genes(adata, n_genes) != wanted


def test_a_gene_that_only_differs_between_batches_is_not_chosen():
    rng = np.random.default_rng(1)
    adata = two_clusters(n_cells=200)
    counts = rng.poisson(5.0, (200, 30)).astype(np.float32)
    counts[:, 4] = rng.poisson(5.0 * rng.gamma(2, 0.5, 200))  # within
    counts[:, 9] = rng.poisson(
        np.where(adata.obs["batch"] == "left", 1.0, 15.0)
    )
    adata = with_counts(adata, counts + 1)
    assert choose_genes(adata, 1) == ["gene9"]
    assert choose_genes(adata, 1, batch_key="batch") == ["gene4"]


def test_a_batch_of_one_cell_hardly_matters(adata):
    """scanpy's own batch_key would give it as much to say as all others."""
    wanted = choose_genes(adata, 5)
    adata.obs["batch"] = ["alone", *["others"] * 59]
    assert len(set(choose_genes(adata, 5, batch_key="batch")) - set(wanted)) < 2


def test_genes_without_a_count_are_never_chosen(adata):
    adata.X[:, [2, 29]] = 0
    counted = [f"gene{i}" for i in range(29) if i != 2]
    for n_genes in (28, 29, 30, 2000):
        assert choose_genes(adata, n_genes) == counted
    assert set(choose_genes(adata, 27)) < set(counted)


def test_the_order_of_cells_and_genes_changes_nothing(adata):
    rng = np.random.default_rng(2)
    mixed = adata[rng.permutation(60), rng.permutation(30)].copy()
    found = choose_genes(mixed, 8, batch_key="batch")
    assert found == [name for name in mixed.var_names if name in found]
    assert set(found) == set(choose_genes(adata, 8, batch_key="batch"))


def test_counts_may_stand_in_a_layer(adata):
    wanted = choose_genes(adata, 8)
    adata.layers["counts"], adata.X = adata.X, np.log1p(adata.X)
    with unchanged(adata):
        assert choose_genes(adata, 8, layer="counts") == wanted
    with pytest.raises(ValueError, match="adata.X holds .*log-transformed"):
        choose_genes(adata, 8)


def test_a_cell_that_shows_none_of_the_chosen_genes_is_refused(adata):
    assert "gene0" not in choose_genes(adata, 5)
    adata.X[7] = 0
    adata.X[7, 0] = 3
    words = "1 of 60 cells have no count in the 5 chosen .* first is 'cell7'"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        choose_genes(adata, 5)


@pytest.mark.parametrize("n_genes", [0, -1, 2.5, "all", None, True])
def test_the_number_of_genes_is_a_whole_number(adata, n_genes):
    with pytest.raises(ValueError, match="n_genes is a whole number of at"):
        choose_genes(adata, n_genes)


def test_what_is_no_set_of_counts_is_refused(adata):
    with pytest.raises(TypeError, match="adata is an AnnData, not ndarray"):
        choose_genes(adata.X)
    with pytest.raises(KeyError, match="no column 'donor'"):
        choose_genes(adata, batch_key="donor")
    twice = adata.copy()
    twice.var_names = ["gene0", *adata.var_names[:-1]]
    with pytest.raises(ValueError, match="'gene0' stands twice"):
        choose_genes(twice)
    with pytest.raises(ValueError, match="holds no genes"):
        choose_genes(anndata.AnnData(np.zeros((3, 0), dtype=np.float32)))


@pytest.mark.parametrize("at_once", [1, 100, 2**17])
def test_the_score_is_that_of_scanpy_in_blocks_of_any_size(
    adata, at_once, monkeypatch
):
    monkeypatch.setattr(genes, "AT_ONCE", at_once)
    adata.X[:, 3] = 0
    adata.X[7, 11] = 5000  # one cell is clipped
    counts = scipy.sparse.csr_matrix(adata.X)
    table = sc.experimental.pp.highly_variable_genes(
        anndata.AnnData(adata.X.astype(np.float64)),
        n_top_genes=1,
        inplace=False,
    )
    score = genes._residual_variance(counts, np.zeros(60, dtype=int))
    wanted = table["residual_variances"].to_numpy()
    np.testing.assert_allclose(score, wanted, rtol=1e-12)
    assert score[3] == 0


def test_counted_genes_are_those_with_a_count(adata):
    adata.X[:, [2, 29]] = 0
    wanted = [f"gene{i}" for i in range(29) if i != 2]
    with unchanged(adata):
        assert counted_genes(adata) == wanted
    adata.layers["counts"], adata.X = adata.X, np.log1p(adata.X)
    assert counted_genes(adata, layer="counts") == wanted
    with pytest.raises(ValueError, match="adata.X holds .*log-transformed"):
        counted_genes(adata)


def test_choosing_needs_less_memory_than_the_counts():
    adata = two_clusters(n_cells=6000, n_genes=400)
    size = 2 * adata.X.data.nbytes
    choose_genes(adata[:50].copy(), 10, batch_key="batch")
    tracemalloc.start()
    choose_genes(adata, 100, batch_key="batch")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size


def test_choosing_leaves_the_threads_of_torch_alone(adata):
    before = torch.get_num_threads()
    choose_genes(adata, 5)
    assert torch.get_num_threads() == before


def test_a_broken_matrix_is_refused_before_it_is_used(adata):
    adata.X = scipy.sparse.csr_matrix(adata.X)
    adata.X.indices += 1
    with pytest.raises(ValueError, match="is a broken sparse matrix"):
        choose_genes(adata, 5)


def test_batches_of_one_value_are_one_batch(adata):
    adata.obs["lane"] = (adata.obs["batch"] == "left").astype(int)
    wanted = choose_genes(adata, 8, batch_key="lane")
    adata.obs["lane"] = adata.obs["lane"].astype(float).astype(object)
    adata.obs.loc["cell0", "lane"] = int(adata.obs.loc["cell0", "lane"])
    assert choose_genes(adata, 8, batch_key="lane") == wanted
