"""Tensors and facts in one file, which is whole or not there at all.

A file is written beside its place, put on the disk and renamed over the old
one, so a process that is killed, or a disk that is full, leaves either the old
or the new. A digest ties tensors and facts together: what is damaged, swapped
or edited is refused and not served. Nothing is pickled.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None

#: Format of the files; a reader of another one refuses them.
FORMAT = 2

#: The entry of a file's header that holds format, digest and facts.
NAME = "qbmvae_mini"


def write_tensors(path, tensors, facts):
    """Write tensors and JSON facts to one safetensors file, atomically.

    Parameters
    ----------
    path : path
        Folders above it are made.
    tensors : dict of Tensor
    facts : dict
        What JSON holds, and NumPy's numbers, which are made plain.

    Returns
    -------
    str
        The digest of what was written, as `digest` gives it.

    Raises
    ------
    OSError
        If nothing can be written there; an old file stays as it was.
    TypeError, ValueError
        If JSON cannot hold a fact, before anything is written.
    """
    content, found = packed(tensors, facts)
    write_file(path, content).close()
    return found


def read_tensors(path):
    """Tensors and facts of a file written by `write_tensors`.

    Returns
    -------
    tensors : dict of Tensor
    facts : dict

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If its content is not that which was written, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file")
    try:
        with open(path, "rb"):  # safetensors knows one error for all
            pass
    except OSError as error:
        raise type(error)(
            f"{str(path)!r} cannot be read ({error.strerror})"
        ) from error
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # `file` itself cannot be looped over
            # Copies: what is read is a window on the file, which may change.
            tensors = {name: file.get_tensor(name).clone() for name in names}
            about = json.loads((file.metadata() or {})[NAME])
        written, facts = about.get("format"), about["facts"]
        known = about.get("digest") == digest(tensors, facts)
    except (
        AttributeError,  # JSON, but no dictionary
        KeyError,
        RecursionError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise _damaged(path) from error
    if written != FORMAT:
        raise ValueError(
            f"{str(path)!r} has format {written}, and this version of "
            f"qbmvae_mini reads format {FORMAT}; use the version that wrote "
            "it, or name another file"
        )
    if not known or not isinstance(facts, dict):
        raise _damaged(path)
    return tensors, facts


def digest(tensors, facts):
    """SHA-256 of tensors and facts: names, kinds, shapes and all bytes."""
    found = hashlib.sha256(_json(facts).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        kind = [name, str(tensor.dtype), list(tensor.shape)]
        found.update(json.dumps(kind).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def plain(facts):
    """`facts` as they will be read again: lists for tuples, plain numbers.

    Raises
    ------
    TypeError, ValueError
        If JSON cannot hold one of them.
    """
    return json.loads(_json(facts))


def packed(tensors, facts):
    """The bytes of a file of `tensors` and `facts`, and their digest."""
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    found = digest(tensors, facts)
    about = {"format": FORMAT, "digest": found, "facts": facts}
    # One entry: safetensors writes several in an order of chance.
    return save(tensors, metadata={NAME: _json(about)}), found


def write_file(path, content):
    """Put `content` in the place of a file, all of it or nothing.

    Parameters
    ----------
    path : path
        A link stays, and the file that it names is replaced.
    content : bytes

    Returns
    -------
    file
        The new file, open and locked (see `lock`). Close it.

    Raises
    ------
    OSError
        With the path and one sentence; an old file stays as it was.
    """
    path = Path(os.path.realpath(path))
    try:
        if path.is_symlink():  # still, so it leads back to itself
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_debris(path)
        new = _open_beside(path)
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            if fcntl is None:  # Windows renames no file that is open
                new.close()
            os.replace(new.name, path)
        except BaseException:
            new.close()
            with contextlib.suppress(OSError):
                os.unlink(new.name)
            raise
        sync_folder(path.parent)
    except OSError as error:
        # Without a number, which Python would put before the sentence.
        raise type(error)(
            f"cannot be written ({error.strerror}); make room or name another "
            f"place: {str(path)!r}"
        ) from error
    return new


def lock(file, *, wait=False):
    """Hold an open file alone, until it is closed or the process ends.

    Raises
    ------
    BlockingIOError
        If somebody else holds it, unless `wait` asks to wait for them.
    OSError
        On a file system without locks.
    """
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def clear_debris(path):
    """Remove what killed runs have left beside `path`.

    A file that is being written is locked by its living writer.
    """
    path = Path(path)
    for name in os.listdir(path.parent):
        if name.startswith(_prefix(path)) and name.endswith(".new"):
            left = path.with_name(name)
            with contextlib.suppress(OSError), open(left, "rb") as file:
                lock(file)
                if fcntl is None:
                    file.close()
                left.unlink()


def sync_folder(folder):
    """Put the names in a folder on the disk, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folder
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _open_beside(path):
    """A new file beside `path`, under a name of its own, locked."""
    while True:
        name = f"{_prefix(path)}{secrets.token_hex(4)}.new"
        new = open(path.with_name(name), "xb")  # noqa: SIM115, it is returned
        with contextlib.suppress(OSError):  # a file system without locks
            lock(new, wait=True)
        if os.path.exists(new.name):
            return new
        new.close()  # taken for debris before it was locked


def _prefix(path):
    """How names of new files for `path` begin, short enough for any disk."""
    code = hashlib.sha256(path.name.encode(errors="surrogateescape"))
    return f".{path.name[:40]}.{code.hexdigest()[:8]}."


def _json(facts):
    return json.dumps(facts, allow_nan=False, sort_keys=True, default=_plain)


def _plain(value):
    """NumPy's numbers as Python's; `json` asks for what it does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"{value!r} cannot be saved; facts are plain numbers, words, lists "
        "and dictionaries"
    )


def _damaged(path):
    return ValueError(
        f"{str(path)!r} is damaged or was not written by qbmvae_mini; name "
        "another file or remove it"
    )
