"""The whole path from a reader's file to scanpy, through the command."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import h5py
import neal
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from synthetic import FIT, two_clusters

from qbmvae_mini import __main__ as command
from qbmvae_mini.__main__ import main
from qbmvae_mini.cells.genes import choose_genes
from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    MixtureLatent,
    QuantumLatent,
)
from qbmvae_mini.machines import RBM, BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE, files
from qbmvae_mini.samplers import DimodSampler, ExactSampler
from qbmvae_mini.vae.storage import read_tensors

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


def weights(folder):
    """What a model has learned, by the bytes of its weights."""
    facts = json.loads((folder / "model.json").read_text())
    tensors, _ = read_tensors(folder / facts["weights"])
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


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
    assert contents(tmp_path / "mine").keys() == {
        tmp_path / "mine" / path.name for path in contents(place / "model")
    }
    assert weights(tmp_path / "mine") == weights(place / "model")
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
    fit(*words, 9, "--n-latent", 8, "--validation", 0)
    said = "0 held-out cells: not scored, since no epoch was"
    assert said in capsys.readouterr().out
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
    words = "1 of 50 cells have no count in the"
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
        assert weights(tmp_path / name) == weights(place / "model")


def test_counts_are_sought_where_they_were_in_training(place, new, tmp_path):
    """In raw as well, which keeps genes that `X` no longer has."""
    wanted = embedded(place, new, tmp_path)
    for name in ("cells", "new"):
        cells = anndata.read_h5ad(place / f"{name}.h5ad")
        logs = cells.X
        cells.X = cells.layers.pop("counts")
        cells.raw = cells
        cells.X = logs
        cells[:, :5].copy().write_h5ad(tmp_path / f"{name}.h5ad")
    words = [tmp_path / "cells.h5ad", tmp_path / "model", "--layer", "raw"]
    assert fit(*words, *WHERE[2:], *SHORT) == 0
    out = tmp_path / "mapped.h5ad"
    assert embed(tmp_path / "new.h5ad", tmp_path / "model", out) == 0
    found = anndata.read_h5ad(out)
    alike(found, wanted)
    assert found.shape == (50, 5) and not found.layers


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
    assert weights(model) == weights(place / "model")
    assert len(contents(model)) == 2  # and nothing of the old one


def test_what_else_lies_in_the_folder_of_a_model_stays(
    place, tmp_path, refused
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    words = [*WHERE, *SHORT]
    for more in ([], ["--force"]):
        argv = [place / "cells.h5ad", tmp_path / "mine", *words, *more]
        assert fit(*argv) == 0
        assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
        assert len(contents(tmp_path / "mine")) == 3
    (tmp_path / "file").write_text("mine")
    for more in ([], ["--force"]):
        argv = [place / "cells.h5ad", tmp_path / "file", *words, *more]
        refused("is a file; name a folder", "fit", *argv)


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
        if not Path(path).is_dir():
            Path(path).write_text("half of")
        raise OSError(28, "No space left on device", str(path))

    def stop(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(QBMVAE, "save", full)
    monkeypatch.setattr(anndata.AnnData, "write_h5ad", full)
    refused("No space left on device", *words)
    ask = ["embed", place / "new.h5ad", model, out, "--force"]
    refused("out.h5ad' cannot be written (No space left on device)", *ask)
    monkeypatch.setattr(QBMVAE, "fit", stop)
    monkeypatch.setattr(QBMVAE, "get_energy", stop)
    refused("stopped before it was done", *words, status=130)
    refused("stopped before it was done", *ask, status=130)


def test_a_trained_model_is_saved_elsewhere_if_its_place_is_full(
    place, tmp_path, refused, monkeypatch
):
    model, spare = tmp_path / "here" / "model", tmp_path / "spare"
    model.parent.mkdir()
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    save = QBMVAE.save

    def full(self, folder):
        if Path(folder) == model:
            raise OSError(28, "No space left on device", str(model))
        save(self, folder)

    monkeypatch.setattr(QBMVAE, "save", full)
    words = "No space left on device. The trained model is in"
    refused(words, "fit", place / "cells.h5ad", model, *WHERE, *SHORT)
    (saved,) = spare.iterdir()
    assert weights(saved) == weights(place / "model")


def test_a_disk_that_is_too_small_is_known_before_it_is_full(
    place, tmp_path, refused, monkeypatch
):
    def full(file, start, size):
        raise OSError(28, "No space left on device")

    def unasked(*args, **kwargs):
        raise AssertionError("HDF5 can crash on a full disk")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(anndata.AnnData, "write_h5ad", unasked)
    monkeypatch.setattr(sys, "platform", "linux")
    ask = ["embed", place / "new.h5ad", place / "model", tmp_path / "out.h5ad"]
    refused("cannot be written (No space left on device); make room", *ask)


def test_a_file_larger_than_it_may_be_is_one_sentence(place, tmp_path):
    """By the real call, in a process of its own."""
    resource = pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-m", "qbmvae_mini", "embed"]
        + [str(place / name) for name in ("new.h5ad", "model")]
        + [str(tmp_path / "out.h5ad")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (4096, 4096)
        ),
    )
    assert done.returncode == 2
    assert "out.h5ad' cannot be written (File too large)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    with (
        pytest.raises(FileExistsError, match="exists"),
        files.new_file(tmp_path / "out") as new,
    ):
        new.write_text("new")
        (tmp_path / "out").write_text("of somebody else")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    model = GaussianVAE(two_clusters(), n_latent=2)
    with (
        pytest.raises(OSError, match="holds a model.* model is in"),
        files.new_folder(tmp_path / "model") as folder,
    ):
        (tmp_path / "model" / "model.json").write_text("of somebody else")
        files.save_model(model, folder)
    for name in ("out", "model/model.json"):
        assert (tmp_path / name).read_text() == "of somebody else"
    assert len(list(tmp_path.iterdir())) == 3
    (saved,) = elsewhere.iterdir()
    GaussianVAE.load(saved)


def test_a_place_that_cannot_be_written_is_named(
    place, tmp_path, refused, monkeypatch
):
    ask = ["embed", place / "new.h5ad", place / "model"]
    train = ["fit", place / "cells.h5ad"]
    for words in (ask, train):
        refused("there is no folder", *words, tmp_path / "absent" / "out")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
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
    refused("--n-latent is an even number", *words, "--n-latent", 7)
    gaussian = [*words, "--latent", "gaussian"]
    refused("--n-latent is a whole number", *gaussian, "--n-latent", 0)
    refused("--max-epochs is a whole number", *words, "--max-epochs", -1)
    refused("--lr", *words, "--lr", 0)
    refused("--seed is a whole number", *words, "--seed", -1)
    refused("--seed is at most 2^63 - 1", *words, "--seed", 2**64)
    refused("--validation", *words, "--validation", 1)
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
    name = facts.pop("weights")
    for broken in ("", text[:100], "[]", json.dumps(facts), "[" * 100_000):
        (model / "model.json").write_text(broken)
        refused("train the model again", *ask)
    (model / "model.json").write_text(text)
    refused(f"{name}' is not a file", *ask)
    (model / name).write_bytes(b"x" * 99)
    refused(f"{name}' is damaged", *ask)
    whole = bytearray((place / "model" / name).read_bytes())
    whole[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    (model / name).write_bytes(whole)
    refused(f"{name}' is damaged", *ask)

    where = {"layer": "counts", "batch_key": "batch"}
    CellVAE(new, OwnLatent(4), **where).save(model)
    refused("pass latent=OwnLatent(...)", *ask)


class OwnLatent(BernoulliLatent):
    """A latent of a reader's own."""


@pytest.mark.parametrize(
    "latent",
    [
        lambda: MixtureLatent(4),
        lambda: BernoulliLatent(4),
        lambda: BoltzmannLatent(BoltzmannMachine(5), ExactSampler()),
    ],
)
def test_a_model_of_any_latent_maps_cells(latent, place, new, tmp_path):
    model = CellVAE(new, latent(), layer="counts", batch_key="batch")
    model.fit(**FIT | {"max_epochs": 2}).save(tmp_path / "model")
    out = embedded(tmp_path, new, tmp_path)
    for name, ask in zip(ADDED, ("energy", "log_likelihood"), strict=True):
        found = getattr(model, f"get_{ask}")()
        np.testing.assert_array_equal(out.obs[name], found)


def test_a_bound_is_printed_as_a_bound(place, new, tmp_path, capsys):
    machine = QuantumBoltzmannMachine(RBM(2, 2), 0.5)
    model = CellVAE(new, QuantumLatent(machine), layer="counts")
    model.fit(**FIT | {"max_epochs": 1}).save(tmp_path / "model")
    embedded(tmp_path, new, tmp_path)
    assert "50 cells, at least -" in capsys.readouterr().out
    embedded(place, new, tmp_path)
    assert "at least" not in capsys.readouterr().out


def test_a_model_without_a_prior_embeds_all_the_same(
    place, new, tmp_path, capsys
):
    where = {"layer": "counts", "batch_key": "batch"}
    model = QBMVAE(new, n_latent=8, **where)
    model.fit(**FIT | {"kl_weight": 0}).save(tmp_path / "model")
    out = embedded(tmp_path, new, tmp_path)
    codes = model.get_latent_representation()
    np.testing.assert_array_equal(out.obsm["X_qbmvae"], codes)
    assert not set(ADDED) & set(out.obs)
    assert "no energy and no likelihood, since" in capsys.readouterr().out


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
    assert weights(tmp_path / "model") == weights(place / "model")
    other_run = [*words, "--seed", "1", "--force"]
    refused("is of another run", *other_run)


# --- places, signals, streams ----------------------------------------------


def test_the_checkpoint_may_lie_in_the_folder_of_the_model(
    place, tmp_path, refused
):
    model = tmp_path / "model"
    words = ["fit", place / "cells.h5ad", model, *WHERE, *SHORT]
    for name in (model, model / "model.json", model / "weights.safetensors"):
        where = "where the model goes; name another file, in that folder or"
        refused(where, *words, "--checkpoint", name)
    words += ["--checkpoint", model / "state.safetensors"]
    assert main(list(map(str, words))) == 0
    assert weights(model) == weights(place / "model")
    assert (model / "state.safetensors").exists()
    assert main([*map(str, words), "--force"]) == 0
    assert weights(model) == weights(place / "model")


def test_an_output_is_no_file_that_is_read(place, new, tmp_path, refused):
    model = tmp_path / "model"
    QBMVAE(new, n_latent=8, layer="counts").save(model)
    ask = ["embed", place / "new.h5ad", model]
    for path in contents(model):
        refused("is one of the model's own files", *ask, path, "--force")
    (tmp_path / "way").symlink_to(model, target_is_directory=True)
    out = tmp_path / "way" / "model.json"
    refused("is one of the model's own files", *ask, out, "--force")


def test_a_link_that_leads_back_to_itself_is_one_sentence(
    place, tmp_path, refused
):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for more in ([], ["--force"]):
        ask = ["embed", place / "new.h5ad", place / "model", tmp_path / "one"]
        refused("is a link that leads back to itself", *ask, *more)
        words = ["fit", place / "cells.h5ad", tmp_path / "two", *WHERE, *SHORT]
        refused("is a link that leads back to itself", *words, *more)


def test_a_link_is_kept_and_what_it_names_is_replaced(place, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out.h5ad").symlink_to(tmp_path / "real" / "out.h5ad")
    (tmp_path / "model").symlink_to(tmp_path / "real" / "model")
    for more in ([], ["--force"]):
        words = [place / "cells.h5ad", tmp_path / "model", *WHERE, *SHORT]
        assert fit(*words, *more) == 0
        ask = [place / "new.h5ad", tmp_path / "model", tmp_path / "out.h5ad"]
        assert embed(*ask, *more) == 0
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "out.h5ad").is_symlink()
    assert len(contents(tmp_path / "real")) == 4


@pytest.mark.parametrize("limit", [0.2, 0.5])
def test_few_cells_have_a_way_out_on_the_command_line(
    place, tmp_path, refused, limit
):
    cells = anndata.read_h5ad(place / "cells.h5ad")[:4].copy()
    cells.layers["counts"] = cells.layers["counts"].toarray() + 1
    cells.write_h5ad(tmp_path / "few.h5ad")
    words = [tmp_path / "few.h5ad", tmp_path / "model", *WHERE[:2], *SHORT]
    said = "--validation=0.1 of 4 cells leaves 0 to validate"
    refused(said, "fit", *words)
    assert fit(*words, "--validation", limit) == 0
    assert fit(*words, "--validation", 0, "--force") == 0


def start(folder, *words):
    """The real command, in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "qbmvae_mini", *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send")
def test_sigterm_is_what_ctrl_c_is(place, tmp_path):
    words = [*WHERE, "--n-latent", 8, "--max-epochs", 10**6, "--validation", 0]
    running = start(tmp_path, "fit", place / "cells.h5ad", "model", *words)
    assert "150 cells" in running.stdout.readline()
    time.sleep(1)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.endswith("fit: stopped before it was done\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders")
def test_what_a_killed_run_left_goes_and_what_a_living_one_makes_stays(
    place, tmp_path
):
    """By locks: in a container the dead one may have had our own number."""
    out = tmp_path / "out.h5ad"
    with files.new_file(tmp_path / "other.h5ad") as living:
        living.write_text("half")
        script = (
            "import os, signal, sys; from qbmvae_mini.models import files\n"
            "with files.new_file(sys.argv[1]) as new:\n"
            "    new.write_text('half of it')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", script, str(out)])
        assert done.returncode == -signal.SIGKILL
        assert len(list(tmp_path.iterdir())) == 2
        assert embed(place / "new.h5ad", place / "model", out) == 0
        assert living.read_text() == "half"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["other.h5ad", "out.h5ad"]


def test_a_folder_that_was_made_for_nothing_goes(place, tmp_path, refused):
    words = [place / "cells.h5ad", tmp_path / "model", "--layer", "absent"]
    refused("no layer 'absent'", "fit", *words)
    (tmp_path / "empty").mkdir()
    words[1] = tmp_path / "empty"
    refused("no layer 'absent'", "fit", *words)
    assert (tmp_path / "empty").is_dir()


class Broken(io.TextIOWrapper):
    """A stream that fails, as a full disk or a broken pipe does."""

    def __init__(self, error):
        super().__init__(io.BytesIO())
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    "stream",
    [
        lambda: Broken(BrokenPipeError(32, "Broken pipe")),
        lambda: Broken(OSError(28, "No space left on device")),
        lambda: io.TextIOWrapper(io.BytesIO(), encoding="cp1252"),
        lambda: None,
    ],
)
def test_no_line_that_is_printed_decides_over_the_work(
    stream, place, new, tmp_path, monkeypatch
):
    cells = anndata.read_h5ad(place / "cells.h5ad")
    cells.obs["γ"] = cells.obs["batch"].astype(str) + " δ"
    cells.write_h5ad(tmp_path / "cells.h5ad")
    words = [tmp_path / "cells.h5ad", tmp_path / "model", "--layer", "counts"]
    words += ["--batch-key", "γ", *SHORT]
    monkeypatch.setattr(sys, "stdout", stream())
    assert fit(*words) == 0
    assert CellVAE.load(tmp_path / "model").batches == ["left δ", "right δ"]
    out = tmp_path / "out.h5ad"
    assert embed(tmp_path / "cells.h5ad", tmp_path / "model", out) == 0
    assert anndata.read_h5ad(out).obsm["X_qbmvae"].shape == (150, 8)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("kind", ["full", "closed"])
def test_the_real_command_works_without_a_place_to_print(place, tmp_path, kind):
    ask = [place / "new.h5ad", place / "model", tmp_path / "out.h5ad"]
    line = " ".join(["-m qbmvae_mini embed", *map(str, ask)])
    to = "> /dev/full" if kind == "full" else ">&- 2>&-"
    done = subprocess.run(f"{sys.executable} {line} {to}", shell=True)
    assert done.returncode == 0
    assert (tmp_path / "out.h5ad").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory"
        ),
        ValueError("Unable to allocate 3 bytes for an array"),
    ],
)
def test_too_little_memory_is_one_sentence(
    error, place, tmp_path, refused, monkeypatch
):
    def fail(*args, **kwargs):
        raise error

    ask = ["embed", place / "new.h5ad", place / "model", tmp_path / "out.h5ad"]
    for owner, name in ((QBMVAE, "get_energy"), (anndata, "read_h5ad")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            refused("there is not enough memory", *ask)


def test_a_fault_of_ours_is_not_dressed_up(place, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(QBMVAE, "get_energy", fail)
    with pytest.raises(ZeroDivisionError):
        embed(place / "new.h5ad", place / "model", tmp_path / "out.h5ad")
    assert list(tmp_path.iterdir()) == []


def test_flags_stand_for_arguments_and_quoted_words_stay():
    told = command._with_flags
    said = "n_latent is 7, not the 'seed of lr' (lr, seed=3); --lr, \"lr\""
    wanted = "--n-latent is 7, not the 'seed of lr' (--lr, --seed=3); --lr"
    assert told(said) == f'{wanted}, "lr"'
    for flag in command.FLAGS.values():
        with pytest.raises(SystemExit):
            main(["fit", "a", "b", flag])  # it is known and wants a value


def test_cells_with_words_as_newer_pandas_keeps_them(place, new, tmp_path):
    wanted = embedded(place, new, tmp_path)
    new.obs.index = pd.Index(pd.array(list(new.obs_names), dtype="string"))
    new.obs["batch"] = pd.array(list(new.obs["batch"]), dtype="string")
    new.obs.loc[new.obs_names[3], "batch"] = pd.NA
    with anndata.settings.override(allow_write_nullable_strings=True):
        new.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "mapped.h5ad"
    assert embed(tmp_path / "in.h5ad", place / "model", out) == 0
    found = anndata.read_h5ad(out)
    np.testing.assert_array_equal(
        found.obsm["X_qbmvae"], wanted.obsm["X_qbmvae"]
    )
    assert found.obs["qbmvae_log_likelihood"].isna().sum() == 1
    assert list(found.obs_names) == list(new.obs_names)
