"""Files of a reader's own: .h5ad read with care, outputs written whole.

An output is made under another name beside its place and renamed when all is
well, so that a failure leaves everything as it was.
"""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

#: What `CellVAE.save` writes.
MODEL_FILES = {"model.json", "weights.safetensors"}


def read_h5ad(path):
    """An AnnData, or one sentence on why not.

    Raises
    ------
    FileNotFoundError, ValueError
    """
    import anndata

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # of many kinds, by h5py and by anndata
        raise ValueError(
            f"{str(path)!r} cannot be read as an .h5ad file; open it with "
            "anndata.read_h5ad to see why"
        ) from error


def find_counts(adata, place):
    """The cells and the layer of their counts, None for ``X``.

    Parameters
    ----------
    adata : AnnData
    place : str or None
        A layer; or "raw", which has genes of its own; or "X", as None.
    """
    if place in adata.layers:
        return adata, place
    if place == "raw":
        if adata.raw is None:
            raise KeyError("there is no adata.raw; name a layer, or X")
        return adata.raw.to_adata(), None
    return adata, None if place == "X" else place


def load_model(directory):
    """A saved `QBMVAE` or `GaussianVAE` with one made-up cell in it.

    `CellVAE.load` wants cells; to map others, what they hold does not matter.

    Parameters
    ----------
    directory : path

    Returns
    -------
    model : CellVAE
    settings : dict
        As given in training: ``layer``, ``batch_key`` and so on.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no model, or not one that these two classes can load.
    """
    import anndata
    import numpy as np
    import pandas

    from qbmvae_mini.models.named import QBMVAE, GaussianVAE
    from qbmvae_mini.samplers import GibbsSampler

    directory = Path(directory)
    path = directory / "model.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(directory)!r} holds no saved model (no model.json)"
        )
    try:
        facts = json.loads(path.read_text())
        name, settings = facts["class"], facts["settings"]
        genes, sampler = facts["genes"], facts["sampler"]
        layer, key = settings["layer"], settings["batch_key"]
        first_batch = facts["batches"][0]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged or was not written by qbmvae_mini; "
            "train the model again"
        ) from error
    kinds = {"QBMVAE": QBMVAE, "GaussianVAE": GaussianVAE}
    if name not in kinds:
        raise ValueError(
            f"{str(directory)!r} holds a {name} whose latent is not in the "
            f"file; load it in Python with {name}.load"
        )
    ones = np.ones((1, len(genes)), dtype=np.float32)
    cell = anndata.AnnData(ones, var=pandas.DataFrame(index=genes))
    if key is not None:
        cell.obs[key] = [first_batch]
    if layer is not None:
        cell.layers[layer] = ones
    # Nothing will be trained, so any sampler may stand for one that is absent.
    absent = sampler not in (None, "GibbsSampler")
    more = {"sampler": GibbsSampler()} if absent else {}
    return kinds[name].load(directory, cell, **more), settings


@contextmanager
def new_folder(path, force=False):
    """A folder to save a model in; it takes the name `path` in the end.

    Parameters
    ----------
    path : path
        Free, or an empty folder; with `force` also one that holds a model
        and nothing else.
    force : bool

    Raises
    ------
    OSError
        If there is something else, or nothing can be written there.
    """
    path = Path(path).resolve()
    _check_folder(path, force)
    with _beside(path, Path.mkdir) as new:
        yield new
        _check_folder(path, force)
        if not path.exists():
            new.rename(path)
            return
        old = new.with_suffix(".old")
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old)


@contextmanager
def new_file(path, force=False):
    """A file to write; it takes the name `path` in the end.

    Parameters
    ----------
    path : path
        Free, or with `force` an old file.
    force : bool

    Raises
    ------
    OSError
        If there is something else, or nothing can be written there.
    """
    path = Path(path).resolve()
    _check_file(path, force)
    with _beside(path, Path.touch) as new:
        yield new
        with open(new, "r+b") as file:  # Windows syncs writable files alone
            os.fsync(file.fileno())
        _check_file(path, force)
        os.replace(new, path)


@contextmanager
def _beside(path, make):
    """Something new in the folder of `path`; what is left of it goes."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r}")
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        make(new)
    except OSError as error:
        raise PermissionError(
            f"nothing can be written in {str(path.parent)!r} "
            f"({error.strerror}); name another place"
        ) from error
    try:
        yield new
    finally:
        if new.is_dir():
            shutil.rmtree(new)
        new.unlink(missing_ok=True)


def _check_folder(path, force):
    if not path.exists():
        return
    if not path.is_dir():
        raise FileExistsError(f"{str(path)!r} is a file; name a folder")
    found = {entry.name for entry in path.iterdir()}
    others = sorted(found - MODEL_FILES)
    if others:
        raise FileExistsError(
            f"{str(path)!r} holds other things than a model, such as "
            f"{others[0]!r}; name another folder"
        )
    if found and not force:
        raise FileExistsError(
            f"{str(path)!r} holds a model; name another folder, or replace it "
            "with --force"
        )


def _check_file(path, force):
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; name a file")
    if path.exists() and not force:
        raise FileExistsError(
            f"{str(path)!r} exists; name another file, or replace it with "
            "--force"
        )
