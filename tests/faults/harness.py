"""A fault made on purpose is a case; a case holds, or it falls.

A case is a function that makes a fault and asserts what must be so in spite
of it. It runs in an empty folder and a process of its own, forked from one
that has imported everything, so that a crash, a signal or a limit ends the
case alone::

    @case("saved models", "model.json is torn")
    def torn_facts():
        model = copy_of_model("boltzmann")
        ...
        says(lambda: QBMVAE.load(model), "damaged")
"""

import contextlib
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from synthetic import two_clusters

#: Every case, in the order in which the matrix prints them.
CASES = []

#: Seconds until a case that hangs is ended, and falls. The slowest takes 60 of
#: an idle processor (``-O`` compiles all libraries anew); a busy one is shared.
LIMIT = 600

#: Words that Python, and libraries under ours, say in the place of a sentence.
RAW = re.compile(
    r"Traceback|object has no attribute|not subscriptable|unhashable|Errno"
    r"|unexpected keyword|positional argument|'NoneType'|invalid literal"
    r"|list index|Expecting value|codec can't|SafetensorError|h5py|::"
    r"|not iterable|could not convert|shapes .* not aligned|size mismatch"
)


class Case(NamedTuple):
    """A fault, and the function that makes it."""

    section: str
    name: str
    run: callable


class Result(NamedTuple):
    """What became of a case."""

    case: Case
    verdict: str  # "held", "FELL" or "skipped"
    said: str
    seconds: float


class Skipped(Exception):  # noqa: N818, it is no error
    """The machine lacks what a case needs."""


def case(section, name, *variants):
    """Enter a function as a case, or as one for each of `variants`.

    A variant is a tuple of arguments; its first one names it.
    """

    def enter(run):
        if not variants:
            CASES.append(Case(section, name, run))
        for variant in variants:
            words = variant if isinstance(variant, tuple) else (variant,)
            full = f"{name}: {words[0]}"
            CASES.append(Case(section, full, lambda w=words: run(*w)))
        return run

    return enter


# -- what cases use ---------------------------------------------------------


def says(call, *words):
    """`call` is refused in one sentence of ours, which holds `words`.

    Returns
    -------
    str
        The sentence.
    """
    try:
        call()
    except (ValueError, TypeError, KeyError, OSError) as error:
        text = str(error.args[0] if isinstance(error, KeyError) else error)
        return check_sentence(text, *words)
    raise AssertionError("nothing was refused")


def check_sentence(text, *words):
    """One line that a reader understands, with `words` in it."""
    assert text.strip(), "it says nothing"
    assert "\n" not in text.strip(), f"several lines: {text!r}"
    assert len(text) < 600, f"{len(text)} letters: {text[:100]!r}..."
    raw = RAW.search(text)
    assert raw is None, f"Python's words ({raw.group()}): {text!r}"
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"
    return text


def command(*words, status=0, says=()):
    """Run the command line in this process; its status is `status`.

    Returns
    -------
    out, err : str
    """
    from qbmvae_mini.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            found = main([str(word) for word in words])
        except SystemExit as stopped:  # of the parser
            found = stopped.code
    out, err = out.getvalue(), err.getvalue()
    assert found == status, f"status {found}, said {err.strip()!r}"
    if status:
        check_sentence(err.strip().splitlines()[-1], *says)
        assert len(err.strip().splitlines()) < 4, err
    return out, err


def no_debris(folder=".", *expected):
    """Nothing lies in `folder` but what is expected."""
    found = {entry.name for entry in Path(folder).iterdir()}
    assert found == set(expected), f"there lies {sorted(found - set(expected))}"


def cells(n_cells=120, n_genes=30, seed=0):
    """Counts of two kinds of cell in two batches."""
    return two_clusters(n_cells, n_genes, seed)


#: Arguments of a short fit that says nothing.
SHORT = {"batch_size": 50, "kl_warmup": 2, "progress": False}

_SHARED = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}"


def copy_of_model(kind, name="M"):
    """A saved model of that kind in this folder, and its path."""
    shutil.copytree(_SHARED / kind, name)
    return Path(name)


def prepare():
    """Train once, before the cases, what many of them read."""
    from qbmvae_mini.models import QBMVAE, GaussianVAE

    _SHARED.mkdir()
    for kind, model in {
        "boltzmann": lambda: QBMVAE(cells(), n_latent=8, seed=1),
        "gaussian": lambda: GaussianVAE(cells(), n_latent=4, seed=1),
    }.items():
        model().fit(12, **SHORT).save(_SHARED / kind)


@contextlib.contextmanager
def file_size_limit(n_bytes):
    """No file grows beyond this, as on a disk that is full."""
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def become_nobody():
    """Give up the rights of root, who may write anywhere."""
    if os.geteuid() == 0:
        Path.cwd().chmod(0o777)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def same_numbers(one, other):
    """Two models give the same codes, bit for bit."""
    assert np.array_equal(
        one.get_latent_representation(), other.get_latent_representation()
    ), "the codes differ"


# -- running them -----------------------------------------------------------


def run_all(chosen, at_once=2):
    """Run cases in processes of their own; yield a `Result` each."""
    waiting, running = list(chosen), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                started = _start(waiting.pop(0))
                running[started[0]] = started
            yield from _finished(running)
            time.sleep(0.01)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)


def _start(case):
    out = tempfile.TemporaryFile()  # noqa: SIM115, `_finished` reads it
    folder = tempfile.mkdtemp(prefix="fault-")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(case, folder, out)
    return pid, case, folder, out, time.monotonic()


def _child(case, folder, out):
    """Run one case and leave, whatever it did."""
    os.setpgid(0, 0)
    os.chdir(folder)
    status, said = 0, ""
    sink = os.open("/dev/null", os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.run()
    except Skipped as why:
        status, said = 3, str(why)
    except BaseException as error:  # a case may end in anything
        status = 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({last.name})"
    os.write(out.fileno(), said.encode(errors="replace"))
    os._exit(status)


def _finished(running):
    for pid, case, folder, out, start in list(running.values()):
        seconds = time.monotonic() - start
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done and seconds < LIMIT:
            continue
        if not done:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        del running[pid]
        out.seek(0)
        said = " ".join(out.read().decode(errors="replace").split())
        shutil.rmtree(folder, ignore_errors=True)
        verdict = "FELL"
        if not done:
            said = f"still running after {LIMIT} s"
        elif os.WIFSIGNALED(status):
            said = f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
        else:
            code = os.waitstatus_to_exitcode(status)
            verdict = {0: "held", 3: "skipped"}.get(code, "FELL")
        yield Result(case, verdict, said, seconds)


def clean_up():
    """Remove what `prepare` made."""
    shutil.rmtree(_SHARED, ignore_errors=True)
