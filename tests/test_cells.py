"""The door: what is not a count does not come in, and nothing is changed."""

import tracemalloc

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from synthetic import two_clusters, unchanged, with_counts

from qbmvae_mini.cells import reading
from qbmvae_mini.cells.counts import Cells, Counts, stacked
from qbmvae_mini.cells.reading import read_cells


@pytest.fixture
def adata():
    return two_clusters(n_cells=20, n_genes=8)


def dense(adata):
    return adata.X.toarray()


def put(value):
    def change(x):
        x[3, 2] = value
        return x

    return change


def empty_cell(x):
    x[5] = 0
    return x


def empty_gene(x):
    x[:, 6] = 0
    return x


def per_10_000(x):
    return 1e4 * x / x.sum(axis=1, keepdims=True)


#: What is done to the counts, and what the sentence must say.
NOT_COUNTS = {
    "negative": (put(-2), r"negative.*-2.*raw counts"),
    "scaled": (lambda x: x - x.mean(), r"negative.*scaled.*raw counts"),
    "half": (put(2.5), r"not whole numbers.*2\.5.*raw counts"),
    "log": (np.log1p, r"not whole numbers.*log-transformed.*raw counts"),
    "normalised": (per_10_000, r"not whole.*normalised.*raw counts"),
    "nan": (put(np.nan), r"NaN or infinite.*whole numbers"),
    "infinite": (put(np.inf), r"NaN or infinite.*whole numbers"),
    "minus infinite": (put(-np.inf), r"NaN or infinite.*whole numbers"),
    "too many": (put(2.0**24 + 2), r"16777218.*2\^24"),
    "empty cell": (
        empty_cell,
        r"no count.*1 of 20 cells.*'cell5'.*filter_cells",
    ),
    "empty gene": (
        empty_gene,
        r"no count for 1 of 8 genes.*'gene6'.*filter_genes",
    ),
}


@pytest.mark.parametrize("matrix", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("name", NOT_COUNTS)
def test_numbers_that_are_no_counts_are_refused(adata, name, matrix):
    change, words = NOT_COUNTS[name]
    broken = with_counts(adata, matrix(change(dense(adata))))
    broken.layers["counts"] = broken.X.copy()
    with unchanged(broken):
        with pytest.raises(ValueError, match=r"adata\.X.*" + words):
            read_cells(broken)
        with pytest.raises(ValueError, match=r"layers\['counts'\].*" + words):
            read_cells(broken, layer="counts")


@pytest.mark.parametrize("dtype", [np.float16, complex, object])
def test_number_types_that_cannot_hold_counts_are_refused(adata, dtype):
    broken = with_counts(adata, dense(adata).astype(dtype))
    words = r"adata\.X has dtype .*integers, float32 or float64"
    with unchanged(broken), pytest.raises(TypeError, match=words):
        read_cells(broken)


@pytest.mark.parametrize("index", [np.s_[5, :], np.s_[:, 6]])
def test_zeros_that_are_stored_count_as_nothing(adata, index):
    counts = dense(adata)
    stored = scipy.sparse.csr_matrix(np.ones_like(counts))
    counts[index] = 0
    stored.data = counts.ravel()
    broken = with_counts(adata, stored)
    with unchanged(broken), pytest.raises(ValueError, match="has no count"):
        read_cells(broken)


def test_a_cell_without_counts_in_the_genes_of_the_model_is_refused(adata):
    counts = dense(adata)
    counts[5] = 0
    counts[5, 7] = 9
    other = with_counts(adata, counts)
    words = "no count in the model's genes for 1 of 20.*'cell5'.*filter_cells"
    with unchanged(other), pytest.raises(ValueError, match=words):
        read_cells(other, genes=["gene0", "gene1"])


def test_a_gene_that_is_empty_in_new_cells_is_fine(adata):
    counts = dense(adata)
    counts[:, 6] = 0
    new = with_counts(adata, counts)
    cells, _, _ = read_cells(new, genes=list(adata.var_names))
    np.testing.assert_array_equal(cells.counts.toarray(), counts)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"layer": "raw"}, "no layer 'raw'.*layers are: none"),
        ({"batch_key": "donor"}, "no column 'donor'.*'kind', 'batch'"),
        ({"genes": ["gene0", "INS"]}, "lacks 1 of the model's 2.*'INS'"),
    ],
)
def test_what_is_missing_is_named_beside_what_is_there(adata, ask, words):
    with unchanged(adata), pytest.raises(KeyError, match=words):
        read_cells(adata, **ask)


@pytest.mark.parametrize("genes", [None, ["gene0"]])
def test_two_genes_of_one_name_are_refused(adata, genes):
    adata.var_names = ["gene0", "same", "same", *adata.var_names[3:]]
    words = r"'same' stands twice.*var_names_make_unique"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        read_cells(adata, genes=genes)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("dtype", [object, "category"])
def test_cells_without_a_batch_are_refused(adata, missing, dtype):
    labels = adata.obs["batch"].astype(object)
    labels.iloc[[2, 4]] = missing
    adata.obs["batch"] = labels.astype(dtype)
    words = r"obs\['batch'\] is missing for 2 cells; give every cell a batch"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        read_cells(adata, batch_key="batch")


def test_no_cells_no_genes_and_no_matrix_are_refused(adata):
    with pytest.raises(ValueError, match="adata holds no cells"):
        read_cells(adata[:0])
    with pytest.raises(ValueError, match="adata holds no genes"):
        read_cells(adata[:, :0])
    bare = anndata.AnnData(obs=adata.obs, var=adata.var)
    with pytest.raises(ValueError, match=r"adata\.X is empty; name the layer"):
        read_cells(bare)


def test_a_bare_matrix_is_refused_with_the_way_to_wrap_it(adata):
    for matrix in (dense(adata), adata.X, adata.to_df()):
        with pytest.raises(TypeError, match=r"not \w+; .*anndata\.AnnData\("):
            read_cells(matrix)


def doubled(counts):
    """CSR that stores every count as two halves at one place."""
    once = scipy.sparse.csr_matrix(counts)
    halves = np.repeat(once.data / 2, 2)
    places = np.repeat(once.indices, 2), 2 * once.indptr
    return scipy.sparse.csr_matrix((halves, *places), once.shape)


def backwards(counts):
    """CSR whose rows list their columns from right to left."""
    matrix = scipy.sparse.csr_matrix(counts)
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        for part in (matrix.data, matrix.indices):
            part[start:stop] = part[start:stop][::-1].copy()
    matrix.has_sorted_indices = False
    return matrix


STORED_AS = {
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "CSR": scipy.sparse.csr_matrix,
    "CSC": scipy.sparse.csc_matrix,
    "CSR array": scipy.sparse.csr_array,
    "CSC array": scipy.sparse.csc_array,
    "two halves": doubled,
    "backwards": backwards,
    "float64": lambda x: x.astype(np.float64),
    "int64": lambda x: x.astype(np.int64),
    "uint8": lambda x: x.astype(np.uint8),
    "CSR of int32": lambda x: scipy.sparse.csr_matrix(x.astype(np.int32)),
}


@pytest.mark.parametrize("name", STORED_AS)
def test_however_counts_are_stored_they_are_the_same(adata, name):
    counts = dense(adata)
    stored = with_counts(adata, STORED_AS[name](counts))
    stored.layers["counts"] = STORED_AS[name](counts)
    with unchanged(stored):
        for layer in (None, "counts"):
            cells, _, _ = read_cells(stored, layer=layer)
            np.testing.assert_array_equal(cells.counts.toarray(), counts)
            assert cells.counts.dtype == np.float32


@pytest.mark.parametrize("name", ["dense", "CSR", "CSC"])
def test_a_file_opened_backed_gives_the_same(adata, name, tmp_path):
    counts = dense(adata)
    stored = with_counts(adata, STORED_AS[name](counts))
    stored.layers["counts"] = STORED_AS[name](counts)
    stored.write_h5ad(tmp_path / "cells.h5ad")
    before = (tmp_path / "cells.h5ad").read_bytes()
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for layer in (None, "counts"):
        cells, _, _ = read_cells(backed, layer=layer)
        np.testing.assert_array_equal(cells.counts.toarray(), counts)
    part, _, _ = read_cells(backed[5:9], genes=list(adata.var_names))
    np.testing.assert_array_equal(part.counts.toarray(), counts[5:9])
    backed.file.close()
    assert (tmp_path / "cells.h5ad").read_bytes() == before


def test_a_view_gives_its_own_cells_and_stays_a_view(adata):
    view = adata[::3]
    cells, _, _ = read_cells(view, genes=list(adata.var_names))
    np.testing.assert_array_equal(cells.counts.toarray(), dense(adata)[::3])
    assert view.is_view


def test_later_changes_of_adata_do_not_reach_the_cells(adata):
    adata.X = backwards(dense(adata))
    counts = dense(adata)
    cells, _, _ = read_cells(adata)
    adata.X.sort_indices()  # in place: moves the columns' numbers
    np.testing.assert_array_equal(cells.counts.toarray(), counts)
    adata.X.data[:] = 0
    np.testing.assert_array_equal(cells.counts.toarray(), counts)


def test_genes_are_matched_by_name_and_further_ones_left_out(adata):
    wanted = ["gene5", "gene0", "gene3"]
    shuffled = adata[:, ::-1].copy()
    cells, genes, _ = read_cells(shuffled, genes=wanted)
    assert genes == wanted
    np.testing.assert_array_equal(
        cells.counts.toarray(), adata[:, wanted].X.toarray()
    )


def test_the_largest_count_that_float32_can_hold_is_taken(adata):
    counts = put(2.0**24)(dense(adata))
    cells, _, _ = read_cells(with_counts(adata, counts))
    assert cells.counts.max() == 2**24


def test_two_cells_of_one_name_are_two_cells(adata):
    adata.obs_names = ["same"] * adata.n_obs
    cells, _, _ = read_cells(adata)
    np.testing.assert_array_equal(cells.counts.toarray(), dense(adata))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a"] * 10, ["a", "b"]),
        ([2, 1] * 10, ["1", "2"]),
        ([2.0, 1.0] * 10, ["1", "2"]),
        ([b"b", b"a"] * 10, ["a", "b"]),
        (pd.array([2, 1] * 10, dtype="Int64"), ["1", "2"]),
        (pd.array(["b", "a"] * 10, dtype="string"), ["a", "b"]),
        (pd.array([True, False] * 10, dtype="boolean"), ["False", "True"]),
        (pd.Categorical([2.0, 1.0] * 10, [1.0, 2.0, 3.0]), ["1", "2"]),
        ([True, False] * 10, ["False", "True"]),
        (pd.Categorical(["b", "a"] * 10, ["b", "unused", "a"]), ["a", "b"]),
    ],
)
def test_batches_are_numbered_in_the_order_of_their_names(adata, labels, names):
    adata.obs["batch"] = labels
    cells, _, batches = read_cells(adata, batch_key="batch")
    assert batches == names
    assert cells.batch.tolist() == [1, 0] * 10
    assert list(cells.unseen) == []


def test_an_unseen_batch_is_numbered_minus_one_and_named(adata):
    cells, _, batches = read_cells(
        adata, batch_key="batch", batches=["right", "other"]
    )
    assert batches == ["right", "other"]
    seen = (adata.obs["batch"] == "right").to_numpy()
    assert cells.batch.tolist() == np.where(seen, 0, -1).tolist()
    assert list(cells.unseen) == ["left"]
    assert list(cells[:3].unseen) == ["left"]


def test_minibatches_visit_each_cell_once_in_the_order_given(adata):
    cells, _, _ = read_cells(adata[:13].copy(), batch_key="batch", genes=None)
    order = np.random.default_rng(0).permutation(13)
    parts = list(cells.minibatches(4, order=order))
    assert [len(x) for x, _ in parts] == [4, 4, 4, 1]
    x = np.concatenate([x.dense() for x, _ in parts])
    batch = np.concatenate([batch for _, batch in parts])
    np.testing.assert_array_equal(x, dense(adata)[order])
    np.testing.assert_array_equal(batch, cells.batch.numpy()[order])


def test_a_minibatch_may_be_larger_than_the_data(adata):
    cells, _, _ = read_cells(adata)
    assert isinstance(cells, Cells)
    ((x, batch),) = cells.minibatches(1000)
    np.testing.assert_array_equal(x.dense(), dense(adata))
    assert batch.tolist() == [0] * adata.n_obs


def indices_one_higher(x):  # as a writer that counts from 1
    x.indices += 1


def negative_index(x):
    x.indices[3] = -1


def pointer_out_of_range(x):
    x.indptr[3] = 10**7


def pointer_falls(x):
    x.indptr[3] = 0


def pointer_starts_late(x):
    x.indptr[0] = 2


def pointer_too_short(x):
    x.indptr = x.indptr[:-1]


def data_cut(x):
    x.data = x.data[:-3]


def indices_of_floats(x):
    x.indices = x.indices + 0.5


BROKEN = [
    indices_one_higher,
    negative_index,
    pointer_out_of_range,
    pointer_falls,
    pointer_starts_late,
    pointer_too_short,
    data_cut,
    indices_of_floats,
]


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_sparse_matrix_whose_places_are_wrong_is_refused(adata, kind, damage):
    adata.X = adata.X.asformat(kind)
    adata.layers["counts"] = adata.X.copy()
    damage(adata.layers["counts"])
    words = r"^adata\.layers\['counts'\] is a broken sparse matrix \(.*anew"
    for genes in (None, list(adata.var_names)):
        with pytest.raises(ValueError, match=words):
            read_cells(adata, layer="counts", genes=genes)


def test_a_file_of_a_writer_that_counts_from_one_is_refused(adata, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad", "r+") as file:
        file["X/indices"][:] = file["X/indices"][:] + 1
    with pytest.raises(ValueError, match="is a broken sparse matrix"):
        read_cells(anndata.read_h5ad(tmp_path / "cells.h5ad"))


def wide_indices(counts):
    matrix = scipy.sparse.csr_matrix(counts)
    matrix.indices = matrix.indices.astype(np.int64)
    matrix.indptr = matrix.indptr.astype(np.int64)
    return matrix


def small_halves(counts):
    """Pieces of 100 in int8, whose sum is none of its numbers."""
    counts = np.where(counts > 0, 200, 0)
    once = scipy.sparse.csr_matrix(counts)
    pieces = np.full(2 * once.nnz, 100, dtype=np.int8)
    places = np.repeat(once.indices, 2), 2 * once.indptr
    return scipy.sparse.csr_matrix((pieces, *places), once.shape)


def other_order(counts):
    """CSR whose numbers have the bytes of another machine's."""
    matrix = scipy.sparse.csr_matrix(counts)
    matrix.data = matrix.data.astype(">f8")
    matrix.indices = matrix.indices.astype(">i8")
    return matrix


def room_to_spare(counts):
    """CSR whose arrays are longer than what is used of them."""
    matrix = scipy.sparse.csr_matrix(counts)
    matrix.indices = np.append(matrix.indices, [99, -5])
    matrix.data = np.append(matrix.data, [np.nan, -1])
    return matrix


CARRIERS = {
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian CSR": other_order,
    "uint64": lambda x: x.astype(np.uint64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "masked, nothing hidden": np.ma.masked_array,
    "int64 indices": wide_indices,
    "room to spare": room_to_spare,
}


@pytest.mark.parametrize("name", CARRIERS)
def test_whatever_carries_counts_they_are_the_same(adata, name):
    counts = dense(adata)
    adata.layers["counts"] = CARRIERS[name](counts)
    with unchanged(adata):
        cells, _, _ = read_cells(adata, layer="counts")
    np.testing.assert_array_equal(cells.counts.toarray(), counts)
    assert cells.counts.dtype == np.float32
    assert cells.counts.has_canonical_format


def test_pieces_of_a_count_are_added_in_wide_numbers(adata):
    adata.layers["counts"] = small_halves(dense(adata))
    cells, _, _ = read_cells(adata, layer="counts")
    assert set(cells.counts.data) == {200}


def test_bools_are_counts_of_one(adata):
    adata.layers["seen"] = dense(adata) > 0
    cells, _, _ = read_cells(adata, layer="seen")
    np.testing.assert_array_equal(cells.counts.toarray(), dense(adata) > 0)


def test_masked_values_are_no_counts(adata):
    counts = dense(adata)
    adata.X = np.ma.masked_array(counts, mask=counts > 9)
    with pytest.raises(ValueError, match=r"adata\.X has masked values; fill"):
        read_cells(adata)


def test_a_large_whole_number_is_refused_with_all_its_digits(adata):
    counts = dense(adata).astype(np.uint64)
    counts[2, 2] = 2**24 + 1
    with pytest.raises(ValueError, match="holds a count of 16777217; above"):
        read_cells(with_counts(adata, counts))


def test_the_first_odd_value_is_not_rounded_to_a_whole_one(adata):
    counts = dense(adata).astype(np.float64)
    counts[2, 2] = 4.00000001
    with pytest.raises(ValueError, match=r"the first is 4\.00000001\)"):
        read_cells(with_counts(adata, counts))


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_values_are_checked_in_every_block(adata, kind, monkeypatch):
    monkeypatch.setattr(reading, "AT_ONCE", 16)
    counts = dense(adata)
    adata.X = counts if kind == "dense" else adata.X.asformat(kind)
    cells, _, _ = read_cells(adata)
    np.testing.assert_array_equal(cells.counts.toarray(), counts)
    assert list(reading.cells_a_gene(cells.counts)) == list((counts > 0).sum(0))
    for value in (-1, 0.5, np.nan, 2.0**25):
        for place in ((0, 0), (19, 7)):
            broken = counts.copy()
            broken[place] = value
            with pytest.raises(ValueError, match=r"^adata\.X holds"):
                read_cells(with_counts(adata, broken))


LANES = {
    "int": [1, 2],
    "float": [1.0, 2.0],
    "int8": np.array([1, 2], dtype=np.int8),
    "float32": np.array([1, 2], dtype=np.float32),
    "words": ["1", "2"],
    "nullable": pd.array([1, 2], dtype="Int8"),
    "objects": np.array([1, 2.0], dtype=object),
    "categories": pd.Categorical([1.0, 2.0], [3.0, 2.0, 1.0]),
}


@pytest.mark.parametrize("name", LANES)
def test_a_batch_is_told_by_its_value_whatever_holds_it(adata, name):
    lanes = pd.Series(LANES[name])[[0, 1] * 10].set_axis(adata.obs_names)
    adata.obs["lane"] = lanes
    cells, _, batches = read_cells(
        adata, batch_key="lane", batches=["2", "1", "0"]
    )
    assert cells.batch.tolist() == [1, 0] * 10
    assert cells.unseen == []


def test_two_values_of_one_name_are_refused(adata):
    adata.obs["lane"] = np.array([1, "1"] * 10, dtype=object)
    words = r"obs\['lane'\] holds 1 and '1', which are not the same but"
    with pytest.raises(ValueError, match=words):
        read_cells(adata, batch_key="lane")


@pytest.mark.parametrize("value", [["a"], ("a", "b"), {"a": 1}])
def test_a_batch_is_no_list(adata, value):
    adata.obs["lane"] = pd.Series([value] * 20, index=adata.obs_names)
    with pytest.raises(TypeError, match=r"obs\['lane'\] holds .*astype\(str\)"):
        read_cells(adata, batch_key="lane")


@pytest.mark.parametrize("key", [["kind", "batch"], ("batch",), {"batch"}, 0])
def test_a_key_is_one_name(adata, key):
    with pytest.raises(TypeError, match=r"^batch_key is the name of one.*join"):
        read_cells(adata, batch_key=key)
    with pytest.raises(TypeError, match="^layer is the name of one .*join"):
        read_cells(adata, layer=key)


def test_a_column_that_stands_twice_is_refused(adata):
    adata.obs = pd.concat([adata.obs, adata.obs[["batch"]]], axis=1)
    with pytest.raises(KeyError, match="has 2 columns 'batch'"):
        read_cells(adata, batch_key="batch")


GENES = {
    "nullable strings": lambda names: pd.array(names, dtype="string"),
    "objects": lambda names: np.array(names, dtype=object),
    "categories": pd.Categorical,
}


@pytest.mark.parametrize("name", GENES)
def test_genes_are_matched_whatever_holds_their_names(adata, name):
    counts = dense(adata)
    wanted = list(adata.var_names[::-1])
    adata.var.index = pd.Index(GENES[name](list(adata.var_names)))
    cells, genes, _ = read_cells(adata, genes=wanted)
    assert genes == wanted
    assert all(type(gene) is str for gene in genes)
    np.testing.assert_array_equal(cells.counts.toarray(), counts[:, ::-1])


def test_genes_named_by_numbers_are_matched_by_value(adata):
    adata.var.index = pd.Index(np.arange(8.0))
    _, genes, _ = read_cells(adata, genes=np.arange(8)[::-1])
    assert genes == list("76543210")


def test_a_gene_without_a_name_is_refused(adata):
    adata.var.index = pd.Index([None, *adata.var_names[1:]])
    with pytest.raises(ValueError, match=r"^adata\.var_names is missing for 1"):
        read_cells(adata)


@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "view", "int32"])
@pytest.mark.parametrize("genes", ["all", "reversed"])
def test_the_cells_share_no_memory_with_adata(adata, kind, genes):
    if kind == "dense":
        adata.X = dense(adata)
    elif kind == "int32":
        adata.X = adata.X.astype(np.int32)
    elif kind != "view":
        adata.X = adata.X.asformat(kind)
    names = list(adata.var_names)
    source = adata[:] if kind == "view" else adata
    wanted = names if genes == "all" else names[::-1]
    cells, _, _ = read_cells(source, genes=wanted)
    before = cells.counts.toarray()
    for part in ("data", "indices", "indptr"):
        mine = getattr(cells.counts, part)
        theirs = getattr(adata.X, part, adata.X)
        assert not np.may_share_memory(mine, np.asarray(theirs))
    assert cells.counts.has_sorted_indices
    np.testing.assert_array_equal(cells.counts.toarray(), before)


def test_reading_needs_little_more_memory_than_its_copy():
    cells = two_clusters(n_cells=4000, n_genes=400)
    size = 2 * cells.X.data.nbytes
    read_cells(cells[:10].copy(), genes=list(cells.var_names))
    tracemalloc.start()
    read_cells(cells)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.7 * size


# Counts without their zeros


def some_counts(dtype=torch.float64):
    """Dense counts: an empty cell, an empty gene, one cell of one gene."""
    x = torch.tensor(
        [[0, 3, 0, 1], [0, 0, 0, 0], [0, 0, 2**24, 0], [0, 1, 9, 70]]
    )
    return x.to(dtype)


def test_counts_without_zeros_are_the_counts():
    x = some_counts()
    found = Counts.of(x)
    assert found.shape == (4, 4)
    assert len(found.count) == 6
    assert torch.equal(found.dense(), x)
    assert torch.equal(found.library, x.sum(1, keepdim=True))
    assert torch.equal(found.log1p().dense(), x.log1p())
    assert Counts.of(found) is found
    assert torch.equal(found[1:3].dense(), x[1:3])
    assert torch.equal(found[3:9].dense(), x[3:])


def test_counts_know_their_order_by_gene():
    x = some_counts()
    found = Counts.of(x)
    starts, cell, order = found.by_gene
    turned = Counts(starts, cell, found.count[order], len(x))
    assert torch.equal(turned.dense(), x.T)


def test_some_rows_of_a_matrix_come_in_the_order_asked_for():
    x = some_counts(torch.float32)
    rows = np.array([3, 0, 3])
    found = Counts.of_rows(scipy.sparse.csr_matrix(x.numpy()), rows)
    assert torch.equal(found.dense(), x[rows])


def test_pieces_are_stacked_to_one_matrix():
    x = some_counts(torch.float32)
    pieces = (Counts.of(part) for part in x.split([1, 1, len(x) - 2]))
    made = stacked(pieces, len(x))
    assert made.nnz == len(made.data) == len(made.indices)
    np.testing.assert_array_equal(made.toarray(), x)


def test_pieces_may_hold_more_than_the_first_foretell():
    x = torch.eye(6)[:, :4] + torch.arange(6)[:, None].clamp(max=3)
    pieces = (Counts.of(part) for part in x.split(2))
    made = stacked(pieces, len(x))
    np.testing.assert_array_equal(made.toarray(), x)


def test_what_is_no_matrix_of_counts_is_refused():
    with pytest.raises(ValueError, match=r"cells x genes, not \(4,\)"):
        Counts.of(some_counts()[0])
    with pytest.raises(ValueError, match="data and get no gradient.*detach"):
        Counts.of(some_counts().requires_grad_())


def test_some_of_the_cells_are_a_view(adata):
    cells, _, _ = read_cells(adata, batch_key="batch")
    rows = np.array([7, 2, 11, 4])
    some = cells[rows]
    assert len(some) == 4
    np.testing.assert_array_equal(some.counts.toarray(), dense(adata)[rows])
    np.testing.assert_array_equal(some.batch, cells.batch[rows])
    np.testing.assert_array_equal(some.library(), dense(adata)[rows].sum(1))
    ((x, batch),) = some[1:].minibatches(9, order=np.array([2, 0]))
    np.testing.assert_array_equal(x.dense(), dense(adata)[rows[[3, 1]]])
    np.testing.assert_array_equal(batch, cells.batch[rows[[3, 1]]])
    held = [a for a in vars(some).values() if scipy.sparse.issparse(a)]
    assert all(a is cells.counts for a in held)
