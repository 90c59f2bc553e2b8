"""The whole path from a reader's file to scanpy, through the command."""

import json
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import neal
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from synthetic import FIT, two_clusters

from qbmvae_mini.__main__ import main
from qbmvae_mini.cells.genes import choose_genes
from qbmvae_mini.latents import BernoulliLatent
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE, files
from qbmvae_mini.samplers import DimodSampler

#: Columns that embed adds to obs.
ADDED = ["qbmvae_energy", "qbmvae_log_likelihood"]
SHORT = ["--n-latent", "8", "--max-epochs", "30"]
WHERE = ["--layer", "counts", "--batch-key", "batch", "--n-genes", "20"]


def as_a_reader_has_it(adata):
    """Counts in a layer, logarithms in X, labels and a plot of their own."""
    made = adata.copy()
    made.layers["counts"] = made.X.copy()
    sc.pp.normalize_total(made, target_sum=1e4)
    sc.pp.log1p(made)
    made.obsm["X_pca"] = np.ones((made.n_obs, 2))
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with training cells, new cells and a trained model."""
    folder = tmp_path_factory.mktemp("own")
    adata = as_a_reader_has_it(two_clusters(n_cells=200))
    adata[:150].copy().write_h5ad(folder / "cells.h5ad")
    adata[150:].copy().write_h5ad(folder / "new.h5ad")
    assert fit(folder / "cells.h5ad", folder / "model", *WHERE, *SHORT) == 0
    return folder


@pytest.fixture
def new(place):
    """New cells, to be changed and written."""
    return anndata.read_h5ad(place / "new.h5ad")


def fit(*words):
    return main(["fit", *map(str, words)])


def embed(*words):
    return main(["embed", *map(str, words)])


def embedded(place, adata, tmp_path, *words):
    """What the command writes for these cells."""
    adata.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "out.h5ad"
    out.unlink(missing_ok=True)
    assert embed(tmp_path / "in.h5ad", place / "model", out, *words) == 0
    return anndata.read_h5ad(out)


def contents(folder):
    """Every file below `folder`, with what is in it."""
    paths = sorted(Path(folder).rglob("*"))
    return {p: p.read_bytes() if p.is_file() else None for p in paths}


@pytest.fixture
def refused(capsys):
    """Run a command that must end in one sentence and change nothing."""

    def run(words, *argv, status=2):
        argv = [str(word) for word in argv]
        folders = [Path(word).parent for word in argv if "/" in word]
        before = [contents(folder) for folder in folders if folder.is_dir()]
        capsys.readouterr()
        assert main(argv) == status
        sentence = capsys.readouterr().err
        assert sentence.startswith(f"python -m qbmvae_mini {argv[0]}: ")
        assert sentence.count("\n") == 1
        assert words in sentence
        after = [contents(folder) for folder in folders if folder.is_dir()]
        assert after == before

    return run


def alike(one, other):
    """Both files hold the same results."""
    np.testing.assert_array_equal(one.obsm["X_qbmvae"], other.obsm["X_qbmvae"])
    for name in ADDED:
        np.testing.assert_array_equal(one.obs[name], other.obs[name])


def test_the_real_command_from_file_to_file(place, tmp_path):
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "qbmvae_mini", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    # The same training as in `place`, so that it must give the same model.
    done = run("fit", str(place / "cells.h5ad"), "mine", *WHERE, *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].endswith("cells.h5ad: 150 cells, 30 genes")
    assert lines[1].endswith("the 20 most variable of 30 are read")
    assert lines[2] == "batches: left, right"
    assert lines[3].startswith("training: 30 epochs in ")
    assert lines[4].startswith("15 held-out cells: log-likelihood -")
    assert lines[5] == "saved in mine"
    files_of = {p.name for p in (tmp_path / "mine").iterdir()}
    assert files_of == {"model.json", "weights.safetensors"}

    name = "weights.safetensors"
    mine = (tmp_path / "mine" / name).read_bytes()
    assert mine == (place / "model" / name).read_bytes()
    done = run("embed", "absent.h5ad", "mine", "out.h5ad")
    assert done.returncode == 2
    assert done.stderr == (
        "python -m qbmvae_mini embed: there is no file 'absent.h5ad'\n"
    )


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "fit" in said and "embed" in said and "raw counts" in said


def test_the_model_is_that_of_python(place, new):
    cells = anndata.read_h5ad(place / "cells.h5ad")
    where = {"layer": "counts", "batch_key": "batch"}
    genes = choose_genes(cells, 20, **where)
    model = QBMVAE(cells[:, genes].copy(), n_latent=8, **where)
    model.fit(max_epochs=30, kl_warmup=10, progress=False)
    loaded = QBMVAE.load(place / "model", cells)
    assert loaded.genes == genes
    assert loaded.history_ == model.history_
    for name in ("get_latent_representation", "get_energy"):
        np.testing.assert_array_equal(
            getattr(loaded, name)(new), getattr(model, name)(new)
        )


def test_the_output_is_the_input_and_what_the_model_says(place, new, tmp_path):
    out = embedded(place, new, tmp_path)
    model = QBMVAE.load(place / "model", new)
    np.testing.assert_array_equal(
        out.obsm["X_qbmvae"], model.get_latent_representation()
    )
    np.testing.assert_array_equal(out.obs[ADDED[0]], model.get_energy())
    np.testing.assert_array_equal(out.obs[ADDED[1]], model.get_log_likelihood())
    pd.testing.assert_frame_equal(out.obs.drop(columns=ADDED), new.obs)
    pd.testing.assert_frame_equal(out.var, new.var)
    for one, other in [
        (out.X, new.X),
        (out.layers["counts"], new.layers["counts"]),
    ]:
        np.testing.assert_array_equal(one.toarray(), other.toarray())
    np.testing.assert_array_equal(out.obsm["X_pca"], new.obsm["X_pca"])
    assert set(out.obsm) == {"X_pca", "X_qbmvae"}


def test_the_printed_likelihood_is_that_of_the_cells_held_out(
    place, tmp_path, capsys
):
    fit(place / "cells.h5ad", tmp_path / "model", *WHERE, *SHORT)
    line = capsys.readouterr().out.splitlines()[4]
    printed = float(line.split("log-likelihood ")[1].split()[0])
    cells = anndata.read_h5ad(place / "cells.h5ad")
    model = QBMVAE.load(tmp_path / "model", cells)
    # By the seed of the model, as `CellVAE.fit` says.
    held_out = np.random.default_rng(0).permutation(150)[:15]
    again = model.get_log_likelihood(cells[held_out], n_samples=200).mean()
    assert printed == pytest.approx(again, abs=0.5)


def test_epochs_of_the_warm_up_are_not_reported(place, tmp_path, capsys):
    words = [place / "cells.h5ad", tmp_path / "model", *WHERE, "--max-epochs"]
    fit(*words, 9, "--n-latent", 8)
    assert "not scored, since too few epochs" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.json").exists()


# --- new cells ------------------------------------------------------------


def test_genes_in_another_order_and_further_genes_change_nothing(
    place, new, tmp_path
):
    rng = np.random.default_rng(0)
    more = np.hstack([new.layers["counts"].toarray(), rng.poisson(9, (50, 7))])
    wider = anndata.AnnData(
        more.astype(np.float32),
        obs=new.obs,
        var=pd.DataFrame(index=[*new.var_names, *"abcdefg"]),
    )
    wider.layers["counts"] = wider.X
    wider = wider[:, rng.permutation(37)].copy()
    wanted = embedded(place, new, tmp_path)
    alike(embedded(place, wider, tmp_path), wanted)


def test_a_missing_gene_is_refused_and_named(place, new, tmp_path, refused):
    gene = QBMVAE.load(place / "model", new).genes[3]
    new[:, new.var_names != gene].copy().write_h5ad(tmp_path / "in.h5ad")
    words = f"lacks 1 of the model's 20 genes, the first is {gene!r}"
    out = tmp_path / "out.h5ad"
    refused(words, "embed", tmp_path / "in.h5ad", place / "model", out)


@pytest.mark.parametrize("kind", [str, "category"])
@pytest.mark.parametrize("other", ["third", None])
def test_an_unseen_batch_is_embedded_but_not_decoded(
    place, new, tmp_path, kind, other, capsys
):
    wanted = embedded(place, new, tmp_path)
    batch = new.obs["batch"].astype(object)
    batch.iloc[[2, 5]] = other
    if kind is not str:
        batch = batch.astype(kind)
    new.obs["batch"] = batch
    capsys.readouterr()
    out = embedded(place, new, tmp_path)
    words = "no likelihood for 2 cells, since their batch was not in training"
    assert words in capsys.readouterr().out
    np.testing.assert_array_equal(out.obsm["X_qbmvae"], wanted.obsm["X_qbmvae"])
    absent = out.obs["qbmvae_log_likelihood"].isna()
    assert list(np.flatnonzero(absent)) == [2, 5]
    found = out.obs["qbmvae_log_likelihood"][~absent]
    other_draws = wanted.obs["qbmvae_log_likelihood"][~absent]
    assert (found - other_draws).abs().mean() < 0.5


def test_cells_of_unknown_batches_alone_have_no_likelihood(
    place, new, tmp_path, capsys
):
    wanted = embedded(place, new, tmp_path)
    new.obs["batch"] = "third"
    others = embedded(place, new, tmp_path)
    assert "no likelihood for 50 cells" in capsys.readouterr().out
    del new.obs["batch"]
    none = embedded(place, new, tmp_path)
    assert "no column 'batch'" in capsys.readouterr().out
    for out in (others, none):
        assert "qbmvae_log_likelihood" not in out.obs
        codes = [adata.obsm["X_qbmvae"] for adata in (out, wanted)]
        np.testing.assert_array_equal(*codes)
        np.testing.assert_array_equal(out.obs[ADDED[0]], wanted.obs[ADDED[0]])


def test_cells_without_a_count_are_refused(place, new, tmp_path, refused):
    genes = QBMVAE.load(place / "model", new).genes
    counts = new.layers["counts"].toarray()
    counts[4, new.var_names.isin(genes)] = 0  # it has counts in other genes
    new.layers["counts"] = counts
    new.write_h5ad(tmp_path / "in.h5ad")
    words = "no count in the model's genes for 1 of 50 cells, the first is "
    out = tmp_path / "out.h5ad"
    words += f"{new.obs_names[4]!r}"
    refused(words, "embed", tmp_path / "in.h5ad", place / "model", out)

    counts[4] = 0
    new.layers["counts"] = counts
    new.write_h5ad(tmp_path / "in.h5ad")
    refused(words, "fit", tmp_path / "in.h5ad", tmp_path / "m", *WHERE)


def test_counts_of_new_cells_may_stand_elsewhere(place, new, tmp_path, refused):
    wanted = embedded(place, new, tmp_path)
    plain = new.copy()
    plain.X = plain.layers["counts"]
    del plain.layers["counts"]
    alike(embedded(place, plain, tmp_path, "--layer", "X"), wanted)
    words = "no layer 'counts'; its layers are: none"
    out = tmp_path / "other.h5ad"
    refused(words, "embed", tmp_path / "in.h5ad", place / "model", out)

    raw = new.copy()
    raw.X = raw.layers["counts"]
    raw.raw = raw
    raw = raw[:, :5].copy()  # raw keeps all genes
    raw.X = raw.X.log1p()
    del raw.layers["counts"]
    out = embedded(place, raw, tmp_path, "--layer", "raw")
    alike(out, wanted)
    assert out.shape == raw.shape


def test_a_model_is_trained_on_raw_or_on_x(place, tmp_path):
    cells = anndata.read_h5ad(place / "cells.h5ad")
    logs = cells.X
    cells.X = cells.layers.pop("counts")
    cells.write_h5ad(tmp_path / "x.h5ad")
    cells.raw = cells
    cells.X = logs
    cells[:, :5].copy().write_h5ad(tmp_path / "raw.h5ad")
    for name in ("x", "raw"):
        words = ["--layer", name if name == "raw" else "X", *WHERE[2:], *SHORT]
        assert fit(tmp_path / f"{name}.h5ad", tmp_path / name, *words) == 0
    for name in ("x", "raw"):
        weights = tmp_path / name / "weights.safetensors"
        other = place / "model" / "weights.safetensors"
        assert weights.read_bytes() == other.read_bytes()


# --- what scanpy does with it ---------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scanpy_goes_on_from_the_output(place, new, tmp_path):
    out = embedded(place, new, tmp_path)
    sc.pp.neighbors(out, use_rep="X_qbmvae", n_neighbors=10)
    sc.tl.leiden(out, flavor="igraph", n_iterations=2, random_state=0)
    sc.tl.umap(out, maxiter=20)
    assert out.obsm["X_umap"].shape == (50, 2)
    # Two kinds of cell, and their clusters do not cross.
    kinds = out.obs.groupby("leiden", observed=True)["kind"]
    assert out.obs["leiden"].nunique() >= 2
    assert (kinds.nunique() == 1).all()
    sc.tl.rank_genes_groups(out, "leiden", method="wilcoxon")
    for name, kind in kinds.first().items():
        top = out.uns["rank_genes_groups"]["names"][name][:5]
        assert all(int(gene[4:]) % 2 == kind for gene in top)


# --- files ----------------------------------------------------------------


def test_a_model_is_not_overwritten_unless_forced(place, tmp_path, refused):
    model = tmp_path / "model"
    words = [place / "cells.h5ad", model, *WHERE, *SHORT]
    assert fit(*words, "--seed", 1) == 0
    old = contents(model)
    refused("holds a model; name another folder", "fit", *words)
    assert fit(*words, "--force") == 0
    assert contents(model) != old
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    one, other = (p / "weights.safetensors" for p in (model, place / "model"))
    assert one.read_bytes() == other.read_bytes()


def test_an_empty_folder_is_free_and_a_full_one_is_not(
    place, tmp_path, refused
):
    (tmp_path / "empty").mkdir()
    words = [*WHERE, *SHORT]
    assert fit(place / "cells.h5ad", tmp_path / "empty", *words) == 0
    (tmp_path / "empty" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, found in {
        "empty": "such as 'notes.txt'",
        "file": "is a file",
    }.items():
        for more in ([], ["--force"]):
            argv = [place / "cells.h5ad", tmp_path / name, *words, *more]
            refused(found, "fit", *argv)


def test_a_file_is_not_overwritten_unless_forced(place, new, tmp_path, refused):
    out = tmp_path / "out.h5ad"
    out.write_text("mine")
    words = [place / "new.h5ad", place / "model", out]
    refused("exists; name another file, or replace it", "embed", *words)
    assert embed(*words, "--force") == 0
    assert anndata.read_h5ad(out).obsm["X_qbmvae"].shape == (50, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]
    refused("is a folder; name a file", "embed", *words[:2], tmp_path)

    new.write_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "link.h5ad").symlink_to(tmp_path / "in.h5ad")
    for name in ("in.h5ad", "link.h5ad"):
        argv = [tmp_path / "in.h5ad", place / "model", tmp_path / name]
        refused("is the file to read", "embed", *argv, "--force")


def test_a_failure_at_the_last_moment_loses_nothing(
    place, tmp_path, refused, monkeypatch
):
    cells, model = place / "cells.h5ad", tmp_path / "model"
    words = ["fit", cells, model, *WHERE, *SHORT, "--force"]
    assert main(list(map(str, words))) == 0
    out = tmp_path / "out.h5ad"
    out.write_text("mine")

    def full(self, path, *args, **kwargs):
        path = Path(path)
        (path / "model.json" if path.is_dir() else path).write_text("half of")
        raise OSError(28, "No space left on device", str(path))

    def stop(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(QBMVAE, "save", full)
    monkeypatch.setattr(anndata.AnnData, "write_h5ad", full)
    refused("No space left on device", *words)
    ask = ["embed", place / "new.h5ad", model, out, "--force"]
    refused("No space left on device", *ask)
    monkeypatch.setattr(QBMVAE, "fit", stop)
    monkeypatch.setattr(QBMVAE, "get_energy", stop)
    refused("stopped before it was done", *words, status=130)
    refused("stopped before it was done", *ask, status=130)


def test_the_old_model_stays_if_the_new_one_cannot_take_its_place(
    tmp_path, monkeypatch
):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if self.suffix == ".new":
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    before = contents(tmp_path)
    with (
        pytest.raises(OSError, match="the disk is gone"),
        files.new_folder(tmp_path / "model", force=True) as new,
    ):
        (new / "model.json").write_text("new")
    assert contents(tmp_path) == before


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path):
    with (
        pytest.raises(FileExistsError, match="exists"),
        files.new_file(tmp_path / "out") as new,
    ):
        new.write_text("new")
        (tmp_path / "out").write_text("of somebody else")
    with (
        pytest.raises(FileExistsError, match="holds a model"),
        files.new_folder(tmp_path / "model"),
    ):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.json").write_text("of somebody else")
    for name in ("out", "model/model.json"):
        assert (tmp_path / name).read_text() == "of somebody else"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_named(
    place, tmp_path, refused, monkeypatch
):
    ask = ["embed", place / "new.h5ad", place / "model"]
    train = ["fit", place / "cells.h5ad"]
    for words in (ask, train):
        refused("there is no folder", *words, tmp_path / "absent" / "out")

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    for words in (ask, train):
        found = f"nothing can be written in {str(tmp_path)!r} (Permission"
        refused(found, *words, tmp_path / "out")


def test_what_is_no_file_of_cells_is_refused(place, tmp_path, refused):
    (tmp_path / "text.h5ad").write_text("cell,gene\n")
    (tmp_path / "nothing.h5ad").write_bytes(b"")
    whole = (place / "new.h5ad").read_bytes()
    (tmp_path / "half.h5ad").write_bytes(whole[: len(whole) // 2])
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["numbers"] = np.arange(3)
    for name in ("text", "nothing", "half", "other"):
        path = tmp_path / f"{name}.h5ad"
        words = f"{str(path)!r} cannot be read as an .h5ad file"
        refused(words, "fit", path, tmp_path / "model")
        refused(words, "embed", path, place / "model", tmp_path / "out")
    for path in (tmp_path / "absent.h5ad", tmp_path):
        words = f"there is no file {str(path)!r}"
        refused(words, "fit", path, tmp_path / "model")


def test_what_are_no_counts_is_refused(place, new, tmp_path, refused):
    cells = tmp_path / "in.h5ad"
    new.layers["scaled"] = new.X.toarray() - 1
    new.layers["holes"] = np.where(new.X.toarray() > 0, np.nan, 1)
    new.obs["half"] = [*["one"] * 49, None]
    new.write_h5ad(cells)
    where = [cells, tmp_path / "model", "--layer"]
    refused("looks log-transformed", "fit", *where, "X")
    refused("adata.layers['scaled'] holds negative", "fit", *where, "scaled")
    refused("adata.layers['holes'] holds NaN", "fit", *where, "holes")
    refused("no layer 'umi'; its layers are: 'counts'", "fit", *where, "umi")
    refused("there is no adata.raw", "fit", *where, "raw")
    batch = [*where, "counts", "--batch-key"]
    refused(
        "no column 'donor'; its columns are: 'kind'", "fit", *batch, "donor"
    )
    refused("is missing for 1 cells", "fit", *batch, "half")
    ask = ["embed", cells, place / "model", tmp_path / "out", "--layer"]
    refused("looks log-transformed", *ask, "X")


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_two_genes_of_one_name_are_refused_and_two_cells_are_not(
    place, new, tmp_path, refused
):
    wanted = embedded(place, new, tmp_path)
    new.obs_names = ["cell0", "cell0", *new.obs_names[2:]]
    alike(embedded(place, new, tmp_path), wanted)
    new.var_names = ["gene1", *new.var_names[1:]]
    cells = tmp_path / "twice.h5ad"
    new.write_h5ad(cells)
    words = "gene 'gene1' stands twice in adata.var_names"
    refused(words, "fit", cells, tmp_path / "model", *WHERE)
    refused(words, "embed", cells, place / "model", tmp_path / "out")


def test_settings_out_of_range_are_refused(place, tmp_path, refused, capsys):
    words = ["fit", place / "cells.h5ad", tmp_path / "model", *WHERE]
    refused("n_latent is an even number", *words, "--n-latent", 7)
    gaussian = [*words, "--latent", "gaussian"]
    refused("n_latent is a whole number", *gaussian, "--n-latent", 0)
    refused("max_epochs is a whole number", *words, "--max-epochs", -1)
    refused("learning rate, is above 0", *words, "--lr", 0)
    refused("seed is a whole number", *words, "--seed", -1)
    for value in ("0", "-3", "2.5", "few", ""):
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, words), "--n-genes", value])
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert f'of at least 1, or "all", not {value!r}' in error


def test_a_folder_without_a_whole_model_is_refused(
    place, new, tmp_path, refused
):
    model = tmp_path / "model"
    ask = ["embed", place / "new.h5ad", model, tmp_path / "out.h5ad"]
    refused("holds no saved model (no model.json)", *ask)
    model.mkdir()
    refused("holds no saved model (no model.json)", *ask)
    text = (place / "model" / "model.json").read_text()
    facts = json.loads(text)
    del facts["genes"]
    for broken in ("", text[:100], "[]", json.dumps(facts)):
        (model / "model.json").write_text(broken)
        refused("model.json' is damaged", *ask)
    (model / "model.json").write_text(text)
    refused("weights.safetensors' is not a file", *ask)
    (model / "weights.safetensors").write_bytes(b"x" * 99)
    refused("weights.safetensors' is damaged", *ask)

    where = {"layer": "counts", "batch_key": "batch"}
    CellVAE(new, BernoulliLatent(4), **where).save(model)
    refused("holds a CellVAE whose latent is not in the file", *ask)


# --- models ---------------------------------------------------------------


def test_a_gaussian_rival_has_no_energy(place, new, tmp_path):
    words = [place / "cells.h5ad", tmp_path / "model", *WHERE, "--latent"]
    assert fit(*words, "gaussian", "--max-epochs", 2) == 0
    out = embedded(tmp_path, new, tmp_path)
    assert out.obsm["X_qbmvae"].shape == (50, 32)
    assert "qbmvae_energy" not in out.obs
    model = GaussianVAE.load(tmp_path / "model", new)
    np.testing.assert_array_equal(
        out.obs["qbmvae_log_likelihood"], model.get_log_likelihood()
    )


def test_without_batches_and_a_choice_of_genes_all_is_read(
    place, new, tmp_path, capsys
):
    cells = anndata.read_h5ad(place / "cells.h5ad")
    counts = cells.layers["counts"].toarray()
    counts[:, [3, 8]] = 0
    cells.layers["counts"] = counts
    cells.write_h5ad(tmp_path / "cells.h5ad")
    for n_genes in ("all", "28", "2000"):
        words = [tmp_path / "cells.h5ad", tmp_path / "model", "--layer"]
        words += ["counts", "--n-genes", n_genes, "--max-epochs", "1"]
        assert fit(*words, "--force") == 0
        said = capsys.readouterr().out
        assert "2 without a count are left out, all other 28 are read" in said
        assert "\nbatches: " not in said
    new.obs["batch"] = "third"  # which no model without batches minds
    out = embedded(tmp_path, new, tmp_path)
    assert out.obsm["X_qbmvae"].shape == (50, 64)
    assert out.obs["qbmvae_log_likelihood"].notna().all()


def test_a_model_trained_by_another_sampler_maps_cells(place, new, tmp_path):
    where = {"layer": "counts", "batch_key": "batch"}
    sampler = DimodSampler(neal.SimulatedAnnealingSampler(), num_sweeps=2)
    model = QBMVAE(new, n_latent=8, sampler=sampler, **where)
    model.fit(**FIT | {"max_epochs": 2})
    model.save(tmp_path / "model")
    out = embedded(tmp_path, new, tmp_path)
    for name, ask in zip(ADDED, ("energy", "log_likelihood"), strict=True):
        found = getattr(model, f"get_{ask}")()
        np.testing.assert_array_equal(out.obs[name], found)


def test_a_training_that_was_killed_goes_on(
    place, tmp_path, monkeypatch, refused
):
    saved = tmp_path / "run.safetensors"
    words = ["fit", place / "cells.h5ad", tmp_path / "model", *WHERE, *SHORT]
    words += ["--checkpoint", saved]
    train = QBMVAE.fit

    def stop_after_20(self, max_epochs, **settings):
        train(self, 20, **settings)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(QBMVAE, "fit", stop_after_20)
        assert main(list(map(str, words))) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]
    assert main(list(map(str, words))) == 0
    one, other = (
        folder / "model" / "weights.safetensors" for folder in (tmp_path, place)
    )
    assert one.read_bytes() == other.read_bytes()
    other_run = [*words, "--seed", "1", "--force"]
    refused("is of another run", *other_run)
