"""Disks that are full, read-only, or another user's; signals in a command."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

from faults.harness import (
    SHORT,
    Skipped,
    become_nobody,
    case,
    cells,
    check_sentence,
    command,
    copy_of_model,
    file_size_limit,
    no_debris,
    same_numbers,
    says,
)
from qbmvae_mini.models import QBMVAE

SECTION = "disk and signals"
FIT = ["fit", "c.h5ad", "M", "--n-latent", "8"]


@case(SECTION, "disk full at the first checkpoint", 0, 2000)
def full_at_first(size):
    model = QBMVAE(cells(), n_latent=8)
    with file_size_limit(size):
        says(lambda: model.fit(30, resume="ck", **SHORT), "ck")
    no_debris()
    assert not model.history_


@case(SECTION, "disk full at a later checkpoint")
def full_later():
    """What was found is kept; with room again it goes on to equal numbers."""
    whole = QBMVAE(cells(), n_latent=8).fit(40, **SHORT)
    model = QBMVAE(cells(), n_latent=8)
    model.fit(10, resume="ck", **SHORT)
    before = Path("ck").read_bytes()
    with file_size_limit(2000):
        try:
            model.fit(40, resume="ck", **SHORT)
        except OSError as error:
            check_sentence(str(error), "ck")
    assert len(model.history_) >= 10
    assert Path("ck").read_bytes() == before
    no_debris(".", "ck")
    same_numbers(
        QBMVAE(cells(), n_latent=8).fit(40, resume="ck", **SHORT), whole
    )


@case(SECTION, "disk full in save over an old model", 0, 500, 3000)
def full_in_save(size):
    old = QBMVAE(cells(), n_latent=8, seed=1)
    old.save("M")
    new = QBMVAE(cells(), n_latent=8, seed=2).fit(1, validation=0, **SHORT)
    with file_size_limit(size):
        says(lambda: new.save("M"))
    same_numbers(QBMVAE.load("M", cells()), old)
    new.save("M")
    same_numbers(QBMVAE.load("M", cells()), new)


@case(SECTION, "disk full in the command", "fit", "embed")
def full_in_command(which):
    """In a process of its own: HDF5 may end a process on a full disk."""
    model = copy_of_model("boltzmann", "old")
    cells().write_h5ad("c.h5ad")
    words = [*FIT, "--max-epochs", "3"]
    if which == "embed":
        words = ["embed", "c.h5ad", str(model), "o.h5ad"]
    code = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"
        "from qbmvae_mini.__main__ import main;"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True
    )
    assert done.returncode == 2, (done.returncode, done.stderr[-300:])
    check_sentence(done.stderr.strip().splitlines()[-1])
    no_debris(".", "old", "c.h5ad")


@case(SECTION, "a folder that cannot be written", "fit", "embed", "resume")
def read_only(which):
    model = copy_of_model("boltzmann", "old").resolve()
    cells().write_h5ad("c.h5ad")
    source = Path("c.h5ad").resolve()
    Path("ro").mkdir()
    Path("ro").chmod(0o555)
    become_nobody()
    if which == "fit":
        words = [source if w == "c.h5ad" else w for w in FIT]
        words[2] = "ro/M"
        command(*words, "--max-epochs", "3", status=2, says=["ro"])
    elif which == "embed":
        command("embed", source, model, "ro/o.h5ad", status=2, says=["ro"])
    else:
        built = QBMVAE(cells(), n_latent=8)
        says(lambda: built.fit(30, resume="ro/ck", **SHORT), "ro")
        assert not built.history_


@case(SECTION, "a checkpoint's name of letters", 252, 255, 300)
def long_name(n):
    model = QBMVAE(cells(), n_latent=8)
    try:
        model.fit(12, resume="c" * n, **SHORT)
    except OSError as error:
        check_sentence(str(error))
        assert not model.history_, "after the work"


@case(SECTION, "files are as readable as the user's mask says")
def modes():
    os.umask(0o022)
    model = QBMVAE(cells(), n_latent=8)
    model.fit(12, resume="ck", **SHORT).save("M")
    for path in [Path("ck"), *Path("M").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path


@case(SECTION, "a model that another user may not read")
def unreadable():
    model = copy_of_model("boltzmann")
    (weights,) = model.glob("*.safetensors")
    weights.chmod(0)
    cells().write_h5ad("c.h5ad")
    become_nobody()
    if os.access(weights, os.R_OK):
        raise Skipped("this user may read everything")
    said = says(lambda: QBMVAE.load(model, cells()))
    assert "is not a file" not in said and "No such file" not in said, said
    command("embed", "c.h5ad", model, "o.h5ad", status=2)


def _started(*words):
    """The command line in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "qbmvae_mini", *map(str, words)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _busy(process, seen, limit=60):
    """Wait until `seen()` holds, while the process lives."""
    end = time.monotonic() + limit
    while not seen() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


@case(
    SECTION,
    "fit --force ended by",
    ("SIGINT", signal.SIGINT),
    ("SIGTERM", signal.SIGTERM),
    ("SIGKILL", signal.SIGKILL),
)
def ended_in_fit(name, number):
    """The old model is intact, and nothing left is in the way."""
    copy_of_model("boltzmann")
    old = QBMVAE.load("M", cells())
    cells().write_h5ad("c.h5ad")
    running = _started(
        *FIT, "--max-epochs", 3000, "--force", "--checkpoint", "ck"
    )
    _busy(running, Path("ck").exists)
    os.kill(running.pid, number)
    out, err = running.communicate()
    if number != signal.SIGKILL:
        assert running.returncode in (130, 143), (running.returncode, err)
        check_sentence(err.strip().splitlines()[-1])
        no_debris(".", "M", "c.h5ad", "ck")
    same_numbers(QBMVAE.load("M", cells()), old)
    command(*FIT, "--max-epochs", 12, "--force")
    no_debris(".", "M", "c.h5ad", "ck")


@case(
    SECTION,
    "embed --force ended by",
    ("SIGINT", signal.SIGINT),
    ("SIGTERM", signal.SIGTERM),
    ("SIGKILL", signal.SIGKILL),
)
def ended_in_embed(name, number):
    model = copy_of_model("boltzmann")
    cells(30_000).write_h5ad("c.h5ad")
    Path("o.h5ad").write_text("old")
    words = ("embed", "c.h5ad", model, "o.h5ad", "--force")
    running = _started(*words)
    # Once it holds a place for the output, it is at work.
    _busy(running, lambda: len(list(Path().iterdir())) > 3)
    os.kill(running.pid, number)
    running.communicate()
    assert Path("o.h5ad").read_text() == "old"
    if number != signal.SIGKILL:
        no_debris(".", "M", "c.h5ad", "o.h5ad")
        return
    cells().write_h5ad("c.h5ad")
    command(*words)
    no_debris(".", "M", "c.h5ad", "o.h5ad")


@case(SECTION, "stdout that is", "full", "closed", "ascii", "a broken pipe")
def odd_stdout(kind):
    """What is printed never decides over the work."""
    adata = cells()
    adata.obs["batch"] = adata.obs.batch.map({"left": "γδ T", "right": "β"})
    adata.write_h5ad("c.h5ad")
    words = [sys.executable, "-m", "qbmvae_mini", *FIT]
    words += ["--max-epochs", "12", "--batch-key", "batch"]
    how = {"stderr": subprocess.PIPE}
    line = " ".join(words)
    if kind == "full":
        done = subprocess.run(f"{line} > /dev/full", shell=True, **how)
    elif kind == "closed":
        done = subprocess.run(f"{line} >&-", shell=True, **how)
    elif kind == "ascii":
        env = dict(os.environ, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, **how)
    else:
        done = subprocess.run(f"{line} | true", shell=True, **how)
    assert b"Traceback" not in done.stderr, done.stderr[-300:]
    assert done.returncode == 0, (done.returncode, done.stderr[-300:])
    QBMVAE.load("M", adata)
