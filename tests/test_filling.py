"""Filling the table: nothing is lost, and it can be stopped at any time."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import filling
import pytest

from qbmvae_mini.cells import datasets
from qbmvae_mini.results import command, table
from qbmvae_mini.results.catalogue import MODELS
from qbmvae_mini.results.jobs import Job, seconds, wanted

ARM = ["--model", "PCA 32", "--dataset", "erythroid arm"]
HEADER = "dataset,model,split,elbo,dropout,made_by,date\n"


class AtOnce:
    """Works in this process, each job when it is given."""

    has_room = True

    def __init__(self, compute, count):
        self._compute = compute
        self._done = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    @property
    def busy(self):
        return len(self._done)

    def give(self, job, dropouts):
        try:
            self._done.append((job, self._compute(*job, dropouts), None))
        except ImportError as error:
            self._done.append((job, None, str(error)))

    def finished(self, timeout=None):
        done, self._done = self._done[:1], self._done[1:]
        return done


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A data folder without a table, and fits that take no time."""
    monkeypatch.setattr(datasets, "data_directory", lambda: tmp_path)
    monkeypatch.setattr(command, "Workers", AtOnce)
    return tmp_path


def rows_of_job(study, model, split, dropouts):
    """What a fit gives: the first dropout that is tried."""
    job = Job(study, model, split)
    row = {"cpu_seconds": 2.0, "elbo": -1.0}
    if MODELS[model].trained:
        row["dropout"] = dropouts[0]
    return [dict(zip(table.KEY, key, strict=True)) | row for key in job.keys]


def run(*options, compute=rows_of_job):
    """The command with made-up fits; its status."""
    fill = command.fill
    command.fill = functools.partial(fill, compute=compute)
    try:
        return command.main(list(options))
    finally:
        command.fill = fill


# What is made


def test_all_that_is_wanted_is_made_once_and_then_nothing(here):
    calls = []

    def compute(*job):
        calls.append(job[:3])
        return rows_of_job(*job)

    named = "--dataset", "pancreas", "--dataset", "pancreas libraries"
    jobs = [job for job in wanted() if job.study in named]
    assert run(*named, compute=compute) == 0
    assert sorted(calls) == sorted(tuple(job) for job in jobs)
    assert set(table.read_rows()) == {key for job in jobs for key in job.keys}
    calls.clear()
    assert run(*named, compute=compute) == 0
    assert not calls


def test_dropouts_are_those_that_the_search_has_chosen(here):
    tried = {}

    def compute(study, model, split, dropouts):
        tried[study, model, split] = dropouts
        return rows_of_job(study, model, split, dropouts[-1:])

    assert run("--model", "Boltzmann 32+32, neal", compute=compute) == 0
    # What it needs is made as well, and nothing else.
    assert tried.pop(("pbmc68k", "Boltzmann 32+32", 0)) == (0.1, 0.3, 0.5)
    assert set(tried.values()) == {(0.5,)}
    assert {job[1] for job in tried} == {"Boltzmann 32+32, neal"}


def test_one_new_model_costs_no_row_that_is_there(here, monkeypatch):
    run("--dataset", "marrow")
    before = table.read_rows()
    monkeypatch.setitem(MODELS, "Gaussian 7", MODELS["Gaussian 10"])
    monkeypatch.setitem(command.SOURCES, "Gaussian 7", "Gaussian 7")
    assert run("--model", "Gaussian 7", "--dataset", "marrow") == 0
    after = table.read_rows()
    assert after.items() >= before.items()
    assert {key[1] for key in after.keys() - before.keys()} == {"Gaussian 7"}


def test_again_replaces_a_row_when_its_replacement_is_there(here):
    run(*ARM)
    old = table.read_rows()

    def compute(study, model, split, dropouts):
        rows = table.read_rows()
        assert rows.keys() == old.keys()  # none is taken away beforehand
        assert rows[study, model, split] == old[study, model, split]
        if split == 2:
            raise ImportError("not today")
        return [rows_of_job(study, model, split, dropouts)[0] | {"elbo": -2.0}]

    assert run(*ARM, "--again", compute=compute) == 1
    new = table.read_rows()
    for key in old:
        assert new[key]["elbo"] == ("-1" if key[2] == 2 else "-2")


def test_a_search_that_chooses_anew_says_which_rows_are_old(here, capsys):
    pair = "--model", "Gaussian 10", "--dataset", "marrow"
    run(*pair)

    def compute(study, model, split, dropouts):
        return rows_of_job(study, model, split, dropouts[-1:])

    assert run(*pair, "--split", "0", "--again", compute=compute) == 0
    words = capsys.readouterr().err
    assert "Gaussian 10 on marrow now chooses dropout 0.5 and not 0.1" in words


def test_again_the_other_splits_wait_for_the_new_choice(here):
    pair = "--model", "Gaussian 10", "--dataset", "marrow"
    run(*pair)
    tried = {}

    def compute(study, model, split, dropouts):
        tried[split] = dropouts
        return rows_of_job(study, model, split, dropouts[-1:])

    assert run(*pair, "--again", compute=compute) == 0
    assert tried == {0: (0.1, 0.3, 0.5)} | dict.fromkeys(range(1, 5), (0.5,))


def test_a_number_is_written_with_six_digits_and_kept_as_it_is(here):
    def compute(study, model, split, dropouts):
        row = rows_of_job(study, model, split, dropouts)[0]
        return [row | {"elbo": -123.456789, "n_parameters": 1234567}]

    run(*ARM, "--split", "0", compute=compute)
    first = table.table_path().read_text()
    assert "-123.457" in first
    assert "1234567" in first
    run(*ARM, "--split", "1", compute=compute)
    assert set(first.splitlines()[1:]) < set(
        table.table_path().read_text().splitlines()
    )
    row = table.load().iloc[0]
    assert row.torch
    assert row.processor
    assert row.date
    assert row.made_by


# What is said


def test_list_says_what_is_there_what_is_missing_and_for_how_long(here, capsys):
    run("--model", "Gaussian 32", "--dataset", "erythroid arm", "--split", "1")
    capsys.readouterr()
    options = "--model", "Gaussian 32", "--dataset", "erythroid arm", "--list"
    assert run(*options) == 0
    words = capsys.readouterr().out
    assert "Gaussian 32" in words
    assert "1 of 5 splits, missing 0, 2, 3, 4: 0.1 minutes" in words
    assert "1 rows are there, 4 fits are missing" in words


def test_what_a_fit_takes_is_read_off_the_nearest_rows():
    rows = {
        ("marrow", "Gaussian 10", 1): {"cpu_seconds": "10"},
        ("marrow", "Gaussian 10", 2): {"cpu_seconds": "20"},
        ("immune", "Gaussian 10", 1): {"cpu_seconds": "99"},
    }
    assert seconds(Job("marrow", "Gaussian 10", 3), rows) == 15
    assert seconds(Job("marrow", "Gaussian 10", 0), rows) == 45  # a search
    assert seconds(Job("pbmc68k", "Gaussian 10", 1), rows) == 43
    assert seconds(Job("pbmc68k", "PCA 32", 1), rows) == 0
    assert seconds(Job("pbmc68k", "scVI 10", 1), rows) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--model", "Gausian 32"],
            "there is no model 'Gausian 32': did you mean 'Gaussian 32'",
        ),
        (
            ["--dataset", "pancras"],
            "there is no dataset 'pancras': did you mean 'pancreas'",
        ),
        (
            ["--model", "Boltzmann 32+32, neal", "--dataset", "marrow"],
            "neal is not made on marrow; it is made on pbmc68k",
        ),
        (["--split", "7"], "there is no split 7: choose of 0, 1, 2, 3, 4"),
    ],
)
def test_an_unknown_name_ends_in_a_sentence(here, options, words, capsys):
    assert run(*options, compute=None) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_derived_row_is_asked_for_by_its_own_name(here):
    shuffled = "--model", "Boltzmann 32+32, shuffled W", "--dataset", "marrow"
    run(*shuffled, "--split", "0")
    assert {key[1] for key in table.read_rows()} == {
        "Boltzmann 32+32",
        "Boltzmann 32+32, shuffled W",
        "Boltzmann 32+32, random W",
    }


# Failures


def test_a_fit_that_fails_costs_no_other_row(here, capsys):
    def compute(study, model, split, dropouts):
        if model == "scVI 32":
            raise ImportError("scvi-tools is not installed")
        return rows_of_job(study, model, split, dropouts)

    assert run("--dataset", "erythroid arm", compute=compute) == 1
    there = {key[1] for key in table.read_rows() if key[0] == "erythroid arm"}
    ours = {"Boltzmann 32+32", "Gaussian 32", "Mixture 32"}
    assert there == ours | {"PCA 32", "Noise 32"}
    told = capsys.readouterr().err
    assert told.count("scvi-tools is not installed") == 1
    assert "scVI 32 on marrow, split 0 failed" in told
    assert "and 4 more failed: the fit that chooses its dropout" in told


BROKEN = {
    "empty": b"",
    "foreign": b"gene,cell\nINS,3\n",
    "without splits": b"dataset,model\na,b\n",
    "no UTF-8": b"\xff\xfe" + HEADER.encode(),
    "torn at the end": (HEADER + "marrow,Gaussian 10,0,-1").encode(),
    "torn after a line": (HEADER + "marrow,Gaussian 10,0,-1\n").encode(),
    "too many values": (HEADER + "a,b,0,-1,,x,2026-11-24,7\n").encode(),
    "words for a number": (HEADER + "a,b,0,high,,x,2026-11-24\n").encode(),
    "a split of words": (HEADER + "a,b,first,-1,,x,2026-11-24\n").encode(),
    "a row twice": (HEADER + 2 * "a,b,0,-1,,x,2026-11-24\n").encode(),
    "a column twice": b"dataset,model,split,elbo,elbo\n",
    "a long line": HEADER.encode() + b"a" * 200_000 + b"\n",
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_table_is_left_alone_and_named(here, case, capsys):
    path = table.table_path()
    path.parent.mkdir()
    path.write_bytes(BROKEN[case])
    assert run(*ARM, compute=None) == 2
    told = capsys.readouterr().err
    assert "scores.csv' cannot be used" in told
    assert told.count("\n") == 1
    with pytest.raises(ValueError, match="cannot be used"):
        table.load()
    with pytest.raises(ValueError, match="cannot be used"):
        table.merge(rows_of_job("marrow", "Gaussian 10", 0, (0.1,)))
    assert path.read_bytes() == BROKEN[case]


def test_a_full_disk_is_found_before_the_work(here, monkeypatch, capsys):
    def full(path, text):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "_write", full)
    assert run(*ARM, compute=None) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(here.glob("**/*.new"))


def test_a_disk_that_fills_up_costs_no_row(here, monkeypatch, capsys):
    replace, tries = table._replace, iter(range(100))

    def full_at_first(*args):
        if next(tries) < 3:
            raise OSError(28, "No space left on device")
        replace(*args)

    monkeypatch.setattr(table, "_replace", full_at_first)
    assert run(*ARM) == 0
    assert len(table.read_rows()) == 5
    tries = iter(range(-1000, 0))
    assert run("--model", "Noise 32", "--dataset", "erythroid arm") == 1
    printed = capsys.readouterr().out
    assert printed.count("Noise 32") == 5  # told, since it cannot be kept
    assert len(table.read_rows()) == 5


def test_a_killed_write_leaves_nothing_that_stays(here):
    path = table.table_path()
    path.parent.mkdir()
    (path.parent / ".scores.csv.0123.new").write_text("half")
    run(*ARM)
    assert not list(path.parent.glob(".*.new"))
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_rows_of_two_writers_are_all_there(here):
    def write(model):
        for split in range(5):
            table.merge(rows_of_job("marrow", model, split, (0.1,)))

    models = [f"Gaussian {n}" for n in (10, 20, 32)]
    threads = [threading.Thread(target=write, args=(m,)) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(table.read_rows()) == 15


# Processes


def start(place, *options, **environment):
    return subprocess.Popen(
        [sys.executable, Path(filling.__file__), place, *options],
        env=os.environ | environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(place):
    path = place / "results" / "scores.csv"
    return path.read_text().splitlines()[1:] if path.exists() else []


def wait_until(condition, limit=120):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_over(group):
    """Whether no process of the group is left, but for dead ones."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(found) == group and state != "Z":
            return False
    return True


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks in /proc")
@pytest.mark.parametrize(
    ("kind", "everyone", "status"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGKILL, False, -9),
    ],
)
def test_it_stops_at_once_keeps_what_is_done_and_leaves_no_process(
    tmp_path, kind, everyone, status
):
    """Two fits of ten minutes are running, and two have not begun."""
    process = start(tmp_path, *ARM, SECONDS_A_FIT="600")
    try:
        wait_until(lambda: len(lines(tmp_path)) == 1)
        time.sleep(0.5)  # the next fit has begun
        send = os.killpg if everyone else os.kill
        send(process.pid, kind)
        assert process.wait(20) == status
        wait_until(lambda: is_over(process.pid), 20)
        assert len(lines(tmp_path)) == 1
        told = process.communicate()[1]
        assert "Traceback" not in told
        assert ("stopped" in told) == (kind == signal.SIGINT)
    finally:
        if not is_over(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_a_process_that_is_killed_costs_its_own_row_alone(tmp_path):
    process = start(tmp_path, *ARM, KILLED="1")
    told = process.communicate(timeout=200)[1]
    assert process.returncode == 1
    assert len(lines(tmp_path)) == 4
    assert "split 3 failed: its process was ended (SIGKILL)" in told


def test_two_commands_at_once_lose_no_row(tmp_path):
    both = [
        start(tmp_path, "--model", model, "--dataset", "erythroid arm")
        for model in ("PCA 32", "Noise 32")
    ]
    for process in both:
        process.communicate(timeout=200)
        assert process.returncode == 0
    assert len(lines(tmp_path)) == 10


def test_a_failing_model_is_told_once_with_its_number_of_fits(tmp_path):
    options = [*ARM, "--model", "Noise 32"]
    process = start(tmp_path, *options, FAILING="Noise 32")
    told = process.communicate(timeout=200)[1]
    assert process.returncode == 1
    assert len(lines(tmp_path)) == 5
    assert told.count("scvi-tools is not installed") == 1
    assert "and 4 more failed" in told
