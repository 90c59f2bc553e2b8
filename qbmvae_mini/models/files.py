"""Files of a reader's own: .h5ad read with care, outputs written whole.

An output is made under another name beside its place and renamed when all is
well, so that a failure leaves everything as it was.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import scipy.sparse

from qbmvae_mini.models import saving
from qbmvae_mini.vae.storage import lock, sync_folder

#: How the names of folders begin in which an output is being made.
PREFIX = ".qbmvae_mini-"


def read_h5ad(path):
    """An AnnData, or one sentence on why not.

    Raises
    ------
    FileNotFoundError, MemoryError, ValueError
    """
    import anndata

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        adata = anndata.read_h5ad(path)
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, by h5py and by anndata
        if is_lack_of_memory(error):
            raise MemoryError from error
        raise ValueError(
            f"{str(path)!r} cannot be read as an .h5ad file; open it with "
            "anndata.read_h5ad to see why"
        ) from error
    raw = [] if adata.raw is None else [adata.raw.X]
    for matrix in (adata.X, *adata.layers.values(), *raw):
        # SciPy takes genes of such a matrix from memory that is none of its.
        if scipy.sparse.issparse(matrix) and len(matrix.data) != matrix.nnz:
            raise ValueError(
                f"{str(path)!r} holds a broken sparse matrix: of "
                f"{len(matrix.data)} stored numbers its rows name "
                f"{matrix.nnz}; make the file anew"
            )
    return adata


def find_counts(adata, place):
    """The cells and the layer of their counts, None for ``X``.

    Parameters
    ----------
    adata : AnnData
    place : str or None
        A layer; or "raw", which has genes of its own and becomes a layer of
        that name; or "X", as None.
    """
    if place in adata.layers:
        return adata, place
    if place == "raw":
        if adata.raw is None:
            raise KeyError("there is no adata.raw; name a layer, or X")
        cells = adata.raw.to_adata()
        cells.layers["raw"] = cells.X
        return cells, place
    return adata, None if place == "X" else place


def load_model(directory):
    """A saved model, to map cells and not to be trained.

    Any sampler may stand for one that the file does not hold.

    Parameters
    ----------
    directory : path

    Returns
    -------
    CellVAE

    Raises
    ------
    OSError, TypeError, ValueError
        If there is no model, or not one that can be loaded without Python.
    """
    # All shipped models are known to `CellVAE.load` once this is imported.
    from qbmvae_mini.models.named import CellVAE
    from qbmvae_mini.samplers import GibbsSampler

    facts, _ = saving.read_model(directory)
    absent = saving.absent_parts(facts["latent"])
    stand_in = {"sampler": GibbsSampler()} if "sampler" in absent else {}
    return CellVAE.load(directory, **stand_in)


@contextmanager
def new_folder(path, force=False):
    """A folder to save a model in, which can be written from the start.

    What else lies in it stays: `CellVAE.save` replaces a model's own files, in
    one step. A folder that was made for nothing goes again.

    Parameters
    ----------
    path : path
    force : bool
        Whether the folder may hold a model already.

    Raises
    ------
    OSError
        If it holds one without `force`, is no folder, or cannot be written.
    """
    path = _real(path)
    _check_folder(path, force)
    made = not path.exists()
    if made:
        with _said_to_be_unwritable(path.parent):
            path.mkdir()
    try:
        with _workplace(path):  # tried now, rather than after the training
            pass
        yield path
    finally:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()  # which an empty folder alone allows


def save_model(model, path, force=False):
    """Save into a folder of `new_folder`; else elsewhere, and say where.

    Raises
    ------
    OSError
        If it could not be saved there, naming the folder where it now is.
    """
    try:
        _check_folder(path, force)
        model.save(path)
    except OSError as error:
        elsewhere = tempfile.mkdtemp(prefix="qbmvae_mini-model-")
        try:
            model.save(elsewhere)
        except OSError:
            os.rmdir(elsewhere)
            raise error from None
        raise OSError(
            f"{sentence(error)}. The trained model is in {elsewhere!r}: move "
            "that folder"
        ) from error


@contextmanager
def new_file(path, force=False):
    """A file to write; it takes the name `path` in the end.

    Parameters
    ----------
    path : path
        Free, or with `force` an old file. A link stays, and what it names is
        replaced.
    force : bool

    Raises
    ------
    OSError
        If there is something else, or nothing can be written there.
    """
    path = _real(path)
    _check_file(path, force)
    with _workplace(path.parent) as place:
        new = place / path.name
        yield new
        with open(new, "r+b") as file:  # Windows syncs writable files alone
            os.fsync(file.fileno())
        _check_file(path, force)
        os.replace(new, path)
        sync_folder(path.parent)


def write_h5ad(adata, file, name):
    """Write cells to a file of `new_file`, or one sentence on why not.

    Parameters
    ----------
    adata : AnnData
    file : path
    name : str
        What the sentence calls the file.

    Raises
    ------
    OSError
    """
    import anndata

    try:
        raw = 0 if adata.raw is None else _size(adata.raw.X)
        _check_room(file, adata.__sizeof__() + raw)
        # Words as another version of pandas keeps them go out as they came.
        with anndata.settings.override(allow_write_nullable_strings=True):
            adata.write_h5ad(file)
    except OSError as error:
        found = re.search("error message = '(.*?)'", str(error))  # by HDF5
        why = found[1] if found else error.strerror or error
        raise OSError(
            f"{str(name)!r} cannot be written ({why}); make room or name "
            "another place"
        ) from error


def sentence(error):
    """What an exception says, on one line, with the file that it is about."""
    text = error.args[0] if isinstance(error, KeyError) else error
    if isinstance(error, OSError) and error.strerror:
        about = "" if error.filename is None else f"{error.filename!r}: "
        text = f"{about}{error.strerror}"
    return " ".join(str(text).split())


def is_lack_of_memory(error):
    """Whether an exception says so: each library has words of its own."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return "allocate" in text and ("memory" in text or "bytes" in text)


def _size(matrix):
    """Bytes of an array, or of a sparse one's parts."""
    import anndata

    return anndata.AnnData(matrix).__sizeof__()


def _check_room(file, size):
    """Refuse a disk too small for `size` bytes: HDF5 can crash on one."""
    if sys.platform != "linux":  # others have no call for it
        return
    with open(file, "wb") as trial:
        os.posix_fallocate(trial.fileno(), 0, max(1, size))


@contextmanager
def _workplace(folder):
    """A new folder in `folder`, for what is not yet whole; it goes again.

    It is locked while this process lives, so that what killed runs have left
    is known and cleared.
    """
    for left in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with _said_to_be_unwritable(folder):
        place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    try:
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):  # nothing can be locked here
                held.enter_context(_locked(place))
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _locked(folder):
    """Hold a folder, unless a living process holds it; Windows cannot."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        lock(opened)
        yield
    finally:
        os.close(opened)


@contextmanager
def _said_to_be_unwritable(folder):
    try:
        yield
    except OSError as error:
        raise PermissionError(
            f"nothing can be written in {str(folder)!r} ({error.strerror}); "
            "name another place"
        ) from error


def _real(path):
    """Where a path leads, through all links; its folder is there."""
    path = Path(os.path.realpath(path))
    if path.is_symlink():
        raise OSError(
            f"{str(path)!r} is a link that leads back to itself; name another "
            "place"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r}")
    return path


def _check_folder(path, force):
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{str(path)!r} is a file; name a folder")
    if not force and os.path.lexists(path / saving.FACTS_FILE):
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
