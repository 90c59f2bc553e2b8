"""Models on a disk: torn, edited, swapped, of other versions."""

import json
import os
import pickle
import shutil
import signal
import struct
import sys
from pathlib import Path

import numpy as np

from faults.harness import (
    SHORT,
    case,
    cells,
    command,
    copy_of_model,
    same_numbers,
    says,
)
from qbmvae_mini.models import QBMVAE, GaussianVAE

SECTION = "saved models"


def _embed(model, status, *words):
    cells().write_h5ad("c.h5ad")
    command("embed", "c.h5ad", model, "o.h5ad", status=status, says=words)
    assert Path("o.h5ad").exists() == (status == 0)


def _weights(model):
    (path,) = model.glob("*.safetensors")
    return path


def _refused(model):
    """Neither Python nor the command line takes it."""
    says(lambda: QBMVAE.load(model, cells()))
    _embed(model, 2)


@case(SECTION, "model.json cut to", 0, 1, 100, 400)
def torn_facts(size):
    model = copy_of_model("boltzmann")
    path = model / "model.json"
    path.write_bytes(path.read_bytes()[:size])
    _refused(model)


@case(
    SECTION,
    "model.json that is",
    ("a list", b"[1, 2]"),
    ("a number", b"7"),
    ("no UTF-8", b"\xff\xfe{}"),
    ("empty facts", b"{}"),
    ("100,000 deep", b"[" * 100_000 + b"]" * 100_000),
)
def other_facts(name, text):
    model = copy_of_model("boltzmann")
    (model / "model.json").write_bytes(text)
    _refused(model)


def _edited(model, change):
    path = model / "model.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def _drop(name):
    return lambda facts: facts.pop(name)


@case(
    SECTION,
    "facts without",
    "settings",
    "genes",
    "batches",
    "latent",
    "class",
    "history",
)
def missing_facts(name):
    model = copy_of_model("boltzmann")
    _edited(model, _drop(name))
    _refused(model)


@case(
    SECTION,
    "a fact of a wrong type or size",
    ("genes a number", lambda f: f.update(genes=7)),
    ("genes too few", lambda f: f["genes"].pop()),
    ("genes twice", lambda f: f["genes"].__setitem__(0, f["genes"][1])),
    ("batches a text", lambda f: f.update(batches="ab")),
    ("n_hidden -1", lambda f: f["settings"].update(n_hidden=-1)),
    ("n_hidden 10^9", lambda f: f["settings"].update(n_hidden=10**9)),
    ("n_hidden 64", lambda f: f["settings"].update(n_hidden=64)),
    (
        "dropout a word",
        lambda f: f["settings"].update(decoder_dropout="much"),
    ),
    ("seed a list", lambda f: f["settings"].update(seed=[1])),
    ("settings a list", lambda f: f.update(settings=[])),
    ("latent a list", lambda f: f.update(latent=[])),
    ("class a list", lambda f: f.update({"class": ["QBMVAE"]})),
    ("class a path", lambda f: f.update({"class": "../../etc/passwd"})),
    ("history a number", lambda f: f.update(history=3)),
)
def wrong_facts(name, change):
    model = copy_of_model("boltzmann")
    _edited(model, change)
    _refused(model)


@case(SECTION, "of a later version, or a much older one", 999, 0, -1, "x")
def other_version(number):
    model = copy_of_model("boltzmann")
    _edited(model, lambda facts: facts.update(format=number))
    _refused(model)


@case(SECTION, "weights cut to", 0, 7, 1000, 5000)
def torn_weights(size):
    model = copy_of_model("boltzmann")
    path = _weights(model)
    path.write_bytes(path.read_bytes()[:size])
    _refused(model)


@case(SECTION, "second half of the weights is zeros")
def zeroed_weights():
    model = copy_of_model("boltzmann")
    path = _weights(model)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    path.write_bytes(whole)
    _refused(model)


@case(SECTION, "forty single bits of the weights, one after the other")
def flipped_weights():
    model = copy_of_model("boltzmann")
    path = _weights(model)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        says(lambda: QBMVAE.load(model, cells()))
    path.write_bytes(whole)
    QBMVAE.load(model, cells())


@case(SECTION, "weights of another model beside the facts")
def swapped_weights():
    model = copy_of_model("boltzmann")
    other = QBMVAE(cells(), n_latent=8, seed=2)
    other.save("O")
    old = _weights(model)
    shutil.copy(_weights(Path("O")), old)
    _refused(model)


@case(SECTION, "no weights at all")
def no_weights():
    model = copy_of_model("boltzmann")
    _weights(model).unlink()
    _refused(model)


@case(
    SECTION,
    "a header of safetensors that claims",
    ("10 GB", struct.pack("<Q", 10**10)),
    ("2^64 bytes", struct.pack("<Q", 2**64 - 1)),
    ("nothing", struct.pack("<Q", 0)),
)
def lying_header(name, head):
    model = copy_of_model("boltzmann")
    path = _weights(model)
    path.write_bytes(head + path.read_bytes()[8:])
    _refused(model)


@case(SECTION, "weights that are a pickle")
def pickled():
    model = copy_of_model("boltzmann")
    bomb = b"cos\nsystem\n(S'touch bang'\ntR."
    _weights(model).write_bytes(bomb)
    _refused(model)
    _weights(model).write_bytes(pickle.dumps({"a": 1}))
    _refused(model)
    assert not Path("bang").exists()


@case(SECTION, "loaded as another class")
def other_class():
    model = copy_of_model("boltzmann")
    says(lambda: GaussianVAE.load(model, cells()), "QBMVAE")


@case(SECTION, "saved over an old model, killed at every write")
def killed_in_save():
    """Each kill leaves the old model or the new one, whole."""
    old = QBMVAE(cells(), n_latent=8, seed=1).fit(1, validation=0, **SHORT)
    new = QBMVAE(cells(), n_latent=8, seed=2).fit(2, validation=0, **SHORT)
    met = set()
    for point in range(60):
        shutil.rmtree("M", ignore_errors=True)
        old.save("M")
        pid = os.fork()
        if pid == 0:
            _kill_at(point)
            new.save("M")
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        found = QBMVAE.load("M", cells())
        model = {1: old, 2: new}[len(found.history_)]
        same_numbers(found, model)
        met.add(len(found.history_))
        new.save("M")  # what a kill left is in nobody's way
        same_numbers(QBMVAE.load("M", cells()), new)
        if not os.WIFSIGNALED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert point > 3, "hardly a call was met"
    assert met == {1, 2}, met


def _kill_at(point):
    """SIGKILL for this process at the n-th call that changes the disk."""
    seen = iter(range(10**6))
    names = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
    names |= {"shutil.rmtree", "os.chmod", "os.truncate"}

    def hook(event, arguments):
        if event in names and next(seen) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
