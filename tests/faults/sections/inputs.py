"""What readers hand over: files, matrices, names, columns."""

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse

from faults.harness import SHORT, case, cells, command, copy_of_model, says
from qbmvae_mini.models import QBMVAE, GaussianVAE

SECTION = "inputs"


def _fit_words(path="c.h5ad", model="N"):
    return ["fit", path, model, "--n-latent", "8", "--max-epochs", "3"]


def _write(adata, path="c.h5ad"):
    adata.write_h5ad(path)
    return path


@case(SECTION, "an .h5ad cut to", 0, 1, 100, 2000, 10_000)
def cut_file(size):
    whole = Path(_write(cells())).read_bytes()
    Path("c.h5ad").write_bytes(whole[:size])
    command(*_fit_words(), status=2, says=["c.h5ad"])
    assert not Path("N").exists()


@case(SECTION, "an .h5ad with 200 bits flipped, seed", 0, 1, 2, 3)
def flipped_file(seed):
    rng = np.random.default_rng(seed)
    whole = bytearray(Path(_write(cells())).read_bytes())
    for place in rng.integers(len(whole), size=200):
        whole[place] ^= 1 << int(rng.integers(8))
    Path("c.h5ad").write_bytes(whole)
    try:
        command(*_fit_words(), status=2)
    except AssertionError as error:  # bits of no consequence, or still counts
        assert "status 0" in str(error), error


@case(SECTION, "no .h5ad", "text", "folder", "absent", "/dev/null", "")
def no_file(kind):
    path = Path("c.h5ad")
    if kind == "text":
        path.write_text("gene,cell\n1,2\n")
    elif kind == "folder":
        path.mkdir()
    command(
        *_fit_words(kind if kind in ("/dev/null", "") else "c.h5ad"), status=2
    )
    assert not Path("N").exists()


def _break_matrix(kind, file):
    x = file["X"]
    if kind == "every index one too high":
        x["indices"][:] += 1
    elif kind == "a negative index":
        x["indices"][5] = -1
    elif kind == "an index out of range":
        x["indices"][5] = 10**6
    elif kind == "indptr far beyond":
        x["indptr"][3] = 10**7
    elif kind == "indptr going back":
        x["indptr"][3] = 0
    elif kind == "negative indptr":
        x["indptr"][2] = -5
    elif kind == "last indptr short":
        x["indptr"][-1] -= 7
    elif kind == "data of another length":
        short = x["data"][:-9]
        del x["data"]
        x["data"] = short


@case(
    SECTION,
    "a sparse matrix with",
    "every index one too high",
    "a negative index",
    "an index out of range",
    "indptr far beyond",
    "indptr going back",
    "negative indptr",
    "last indptr short",
    "data of another length",
)
def broken_structure(kind):
    _write(cells())
    with h5py.File("c.h5ad", "r+") as file:
        _break_matrix(kind, file)
    command(*_fit_words(), status=2)
    assert not Path("N").exists()


@case(
    SECTION,
    "counts that are",
    ("NaN", np.nan),
    ("infinite", np.inf),
    ("negative", -1.0),
    ("fractions", 0.5),
    ("huge", 1e300),
    ("above 2^24", 2.0**24 + 2),
)
def no_counts(name, value):
    adata = cells()
    x = adata.X.toarray().astype("f8")
    x[3, 4] = value
    adata.X = x
    said = says(lambda: QBMVAE(adata, n_latent=8), "adata.X")
    assert len(said) < 300, said


@case(
    SECTION,
    "numbers of the type",
    "complex",
    "float16",
    "object",
    "text",
    "bool",
    "uint64",
    "big-endian",
)
def other_types(name):
    adata = cells()
    dense = adata.X.toarray()
    made = {
        "complex": dense.astype("c8"),
        "float16": dense.astype("f2"),
        "object": dense.astype(object),
        "text": dense.astype(str),
        "bool": (dense > 0),
        "uint64": dense.astype("u8"),
        "big-endian": dense.astype(">f4"),
    }[name]
    holder = anndata.AnnData(obs=adata.obs, var=adata.var)
    try:
        holder.layers["counts"] = made
    except (TypeError, ValueError):
        return  # anndata does not take it

    def build():
        QBMVAE(holder, n_latent=8, layer="counts").fit(2, validation=0, **SHORT)

    if name in ("bool", "uint64", "big-endian"):
        build()
    else:
        says(build, "counts")


@case(SECTION, "cells in all", 1, 2, 5)
def few_cells(n):
    adata = cells()[:n].copy()
    keep = np.asarray(adata.X.sum(0)).ravel() > 0
    _write(adata[:, keep].copy())
    command(*_fit_words(), status=2, says=["--validation"])
    command(*_fit_words(), "--validation", "0")


@case(SECTION, "empty", "cells", "genes", "all")
def empty(kind):
    adata = cells()
    some = {
        "cells": adata[:0],
        "genes": adata[:, :0],
        "all": adata[:0, :0],
    }[kind]
    says(lambda: QBMVAE(some.copy(), n_latent=8), "no")


@case(SECTION, "gene names that are", "nullable", "numbers", "twice", "long")
def gene_names(kind):
    adata = cells()
    names = list(adata.var_names)
    if kind == "nullable":
        adata.var.index = pd.Index(pd.array(names, dtype="string"))
    elif kind == "numbers":
        adata.var.index = [str(i) for i in range(len(names))]
    elif kind == "long":
        names[3] = "g" * 100_000
        adata.var.index = names
    else:
        names[3] = names[4]
        adata.var.index = names
        says(lambda: QBMVAE(adata, n_latent=8), "twice")
        return
    model = GaussianVAE(adata, n_latent=2).fit(2, validation=0, **SHORT)
    model.save("M")
    again = GaussianVAE.load("M", adata[:, ::-1].copy())
    assert np.allclose(
        again.get_latent_representation(),
        model.get_latent_representation(),
        atol=1e-5,
    )


_ONE_BATCH = {
    "floats": lambda x: x.astype(float),
    "int8": lambda x: x.astype("int8"),
    "nullable": lambda x: x.astype("Int64"),
    "categories": lambda x: x.astype("category"),
}


@case(SECTION, "batch numbers that became", *_ONE_BATCH)
def batches_by_value(kind):
    adata = cells()
    adata.obs["lane"] = np.tile([1, 2], adata.n_obs // 2)
    model = GaussianVAE(adata, n_latent=2, batch_key="lane")
    model.fit(2, validation=0, **SHORT)
    before = model.get_log_likelihood(adata, 4)
    adata.obs["lane"] = _ONE_BATCH[kind](adata.obs["lane"])
    assert np.allclose(model.get_log_likelihood(adata, 4), before)


@case(
    SECTION,
    "a batch column",
    ("missing", "nope"),
    ("of two names", ["batch", "kind"]),
    ("with a gap", "gap"),
    ("named by a number", 3),
)
def batch_column(name, key):
    adata = cells()
    adata.obs["gap"] = [None, *adata.obs.batch[1:]]
    says(lambda: QBMVAE(adata, n_latent=8, batch_key=key))


@case(SECTION, "out is in", "plain", "./", "a link", "a hard link")
def out_is_in(kind):
    model = copy_of_model("boltzmann")
    _write(cells())
    before = Path("c.h5ad").read_bytes()
    out = Path("c.h5ad")
    if kind == "./":
        out = Path(".") / "x" / ".." / "c.h5ad"
        Path("x").mkdir()
    elif kind == "a link":
        out = Path("l.h5ad")
        out.symlink_to("c.h5ad")
    elif kind == "a hard link":
        out = Path("l.h5ad")
        out.hardlink_to("c.h5ad")
    command("embed", "c.h5ad", model, out, "--force", status=2)
    assert Path("c.h5ad").read_bytes() == before


@case(SECTION, "embed --force onto the model's own file")
def onto_the_model():
    model = copy_of_model("boltzmann")
    _write(cells())
    before = {p: p.read_bytes() for p in model.iterdir()}
    for path in before:
        command("embed", "c.h5ad", model, path, "--force", status=2)
    assert before == {p: p.read_bytes() for p in model.iterdir()}


@case(SECTION, "a loop of links as", "in", "out", "model")
def loop_of_links(place):
    Path("loop").symlink_to("loop")
    model = copy_of_model("boltzmann")
    _write(cells())
    words = {"in": "c.h5ad", "model": model, "out": "o.h5ad"}
    words[place] = "loop"
    command("embed", words["in"], words["model"], words["out"], status=2)


@case(SECTION, "a path with", "space", "newline", "unicode", "dash", "percent")
def odd_paths(kind):
    model = copy_of_model("boltzmann")
    _write(cells())
    name = {
        "space": "a b.h5ad",
        "newline": "a\nb.h5ad",
        "unicode": "γδ T.h5ad",
        "dash": "./-o.h5ad",
        "percent": "%s{}.h5ad",
    }[kind]
    command("embed", "c.h5ad", model, name)
    assert "X_qbmvae" in anndata.read_h5ad(name).obsm


@case(SECTION, "identical cells, all ones, or one gene", "same", "ones", "gene")
def plain_counts(kind):
    adata = cells()
    if kind == "same":
        adata.X = scipy.sparse.csr_matrix(
            np.tile(np.arange(1.0, 31, dtype="f4"), (120, 1))
        )
    elif kind == "ones":
        adata.X = np.ones(adata.shape, "f4")
    else:
        adata = adata[:, :1].copy()
    model = QBMVAE(adata, n_latent=8).fit(4, **SHORT)
    assert np.isfinite(model.get_log_likelihood(n_samples=4)).all()


@case(SECTION, "counts of 2^24")
def large_counts():
    adata = cells(50, 20)
    adata.X = np.full(adata.shape, 2.0**24, "f4")
    for kind in (QBMVAE, GaussianVAE):
        model = kind(adata, n_latent=8).fit(3, **SHORT)
        assert np.isfinite(model.get_log_likelihood(n_samples=4)).all()
