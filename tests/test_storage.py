"""Files of tensors: whole, tied together, and readable by who may read."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qbmvae_mini.vae import storage
from qbmvae_mini.vae.storage import digest, read_tensors, write_tensors

TENSORS = {
    "weights": torch.arange(6.0).view(2, 3),
    "double": torch.tensor(1 / 3, dtype=torch.float64),
    "bits": torch.tensor([True, False]),
    "none": torch.zeros(0, 4),
}
FACTS = {"words": "γδ", "numbers": [1, 0.1, None], "more": {"b": 1, "a": 2}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    write_tensors(path, TENSORS, FACTS)
    return path


def test_what_was_written_is_read_again(path):
    tensors, facts = read_tensors(path)
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def test_what_was_read_does_not_change_with_the_file(path):
    tensors, _ = read_tensors(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(tensors["weights"], TENSORS["weights"])


def test_the_digest_is_that_of_the_content(path):
    found = write_tensors(path, TENSORS, FACTS)
    assert found == digest(*read_tensors(path)) == digest(TENSORS, FACTS)
    for name, other in {
        "value": TENSORS | {"weights": TENSORS["weights"] + 1e-6},
        "shape": TENSORS | {"weights": TENSORS["weights"].view(3, 2)},
        "kind": TENSORS | {"none": torch.zeros(0, 4, dtype=torch.int32)},
        "name": {f"{k}s": v for k, v in TENSORS.items()},
    }.items():
        assert digest(other, FACTS) != found, name
    assert digest(TENSORS, FACTS | {"words": "γ"}) != found


def test_no_flipped_bit_is_served(path):
    whole = path.read_bytes()
    for bit in random.sample(range(8 * len(whole)), 300):
        torn = bytearray(whole)
        torn[bit // 8] ^= 1 << bit % 8
        path.write_bytes(torn)
        try:
            tensors, facts = read_tensors(path)
        except ValueError as error:
            assert "is damaged" in str(error) or "reads format" in str(error)
        else:  # a space between the header's words means nothing
            assert digest(tensors, facts) == digest(TENSORS, FACTS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole + b"\0",
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:-20] + bytes(20),
        lambda whole: b"my notes",
    ],
)
def test_damage_is_one_sentence_and_the_file_stays(path, spoil):
    torn = spoil(path.read_bytes())
    path.write_bytes(torn)
    with pytest.raises(ValueError, match="file' is damaged.*remove it"):
        read_tensors(path)
    assert path.read_bytes() == torn


def test_another_format_is_named(path, monkeypatch):
    monkeypatch.setattr(storage, "FORMAT", 7)
    write_tensors(path, TENSORS, FACTS)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="format 7, and.*reads format 2"):
        read_tensors(path)
    for metadata in (
        None,
        {"facts": "{}"},
        {"qbmvae_mini": "[]"},
        {"qbmvae_mini": "[" * 100_000},
        {"qbmvae_mini": '{"format": 2}'},
    ):
        save_file(TENSORS, path, metadata=metadata)
        with pytest.raises(ValueError, match="not written by qbmvae_mini"):
            read_tensors(path)


def test_the_same_content_makes_the_same_file(path):
    before = path.read_bytes()
    write_tensors(path, *read_tensors(path))
    assert path.read_bytes() == before


def test_what_json_cannot_hold_is_refused_before_writing(path):
    before = path.read_bytes()
    for fact in (object(), float("nan"), {1, 2}):
        with pytest.raises((TypeError, ValueError)):
            write_tensors(path, TENSORS, {"fact": fact})
    assert path.read_bytes() == before
    write_tensors(path, {}, {"fact": np.float32(0.5), "n": np.int64(3)})
    assert read_tensors(path)[1] == {"fact": 0.5, "n": 3}


def test_the_umask_decides_who_may_read(tmp_path):
    for mask in (0o002, 0o027, 0o077):
        before = os.umask(mask)
        try:
            write_tensors(tmp_path / "file", TENSORS, FACTS)
        finally:
            os.umask(before)
        mode = stat.S_IMODE((tmp_path / "file").stat().st_mode)
        assert mode == 0o666 & ~mask


def test_file_and_folder_reach_the_disk_around_the_renaming(
    tmp_path, monkeypatch
):
    calls = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("folder" if is_folder else "file")
        fsync(descriptor)

    def watch_replace(*args):
        calls.append("rename")
        replace(*args)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    write_tensors(tmp_path / "file", TENSORS, FACTS)
    assert calls == ["file", "rename", "folder"]


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "a b", "-n", "%s{}"])
def test_names_of_all_kinds_can_be_written(tmp_path, name):
    write_tensors(tmp_path / "new" / name, TENSORS, FACTS)
    assert read_tensors(tmp_path / "new" / name)[1] == FACTS
    assert os.listdir(tmp_path / "new") == [name]


def test_a_link_stays_and_its_file_is_replaced(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    write_tensors(link, {}, {"new": 1})
    assert link.is_symlink()
    assert read_tensors(path)[1] == {"new": 1}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_alone(
    path, monkeypatch, error, call
):
    def fail(*args):
        if error is OSError:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise error

    before = path.read_bytes()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(error) as caught:
        write_tensors(path, {}, {})
    monkeypatch.undo()
    if error is OSError:
        assert str(path) in str(caught.value)
        assert "Errno" not in str(caught.value)
        words = "cannot be written .No space left on device.; make room"
        assert caught.match(words)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["file"]


def test_a_place_where_nothing_can_be_written_is_one_sentence(path):
    for place in (path / "in", "x" * 256, "/proc/nowhere/file", path.parent):
        with pytest.raises(OSError, match="cannot be written"):
            write_tensors(place, TENSORS, FACTS)
    loop = path.with_name("loop")
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="cannot be written"):
        write_tensors(loop, TENSORS, FACTS)


KILLED = """
import os, signal, sys
from qbmvae_mini.vae import storage
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
storage.write_tensors(sys.argv[1], {}, {})
"""


def test_what_a_killed_writer_leaves_goes_and_what_a_living_one_has_stays(path):
    command = [sys.executable, "-c", KILLED, str(path)]
    for _ in range(2):
        assert subprocess.run(command).returncode == -signal.SIGKILL
    left = set(os.listdir(path.parent)) - {"file"}
    assert len(left) == 1  # the second has cleared what the first one left
    with storage._open_beside(path) as living:
        other = path.with_name("file2")
        write_tensors(other, {}, {})
        write_tensors(path, {}, {})
        assert os.path.exists(living.name)
    os.unlink(living.name)
    assert set(os.listdir(path.parent)) == {"file", "file2"}
