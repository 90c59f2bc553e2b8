"""Filling the table: nothing is lost, and it can be stopped at any time."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import filling
import pytest
from filling import table_of

from qbmvae_mini.cells import datasets
from qbmvae_mini.results import command, comparison, table
from qbmvae_mini.results.catalogue import (
    MODELS,
    RECIPES,
    Recipe,
    recipe_by_name,
)
from qbmvae_mini.results.jobs import Job, fits_wanted, seconds
from qbmvae_mini.results.searches import pick, picks, recipes_to_try
from qbmvae_mini.results.studies import FAMILY_SPLITS
from qbmvae_mini.results.table import SCORES, SEARCHES

ARM = ["--model", "PCA 32", "--dataset", "erythroid arm"]
NONE = Recipe(0, 0, 0)
HEADER = "dataset,model,recipe,split,elbo,made_by,date\n"
TORN = HEADER + "marrow,Gaussian 10,0/0/0,0,-1"


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

    def give(self, job):
        try:
            self._done.append((job, self._compute(job), None))
        except ImportError as error:
            self._done.append((job, None, str(error)))

    def finished(self, timeout=None):
        done, self._done = self._done[:1], self._done[1:]
        return done


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A data folder without tables, and fits that take no time."""
    monkeypatch.setattr(datasets, "data_directory", lambda: tmp_path)
    monkeypatch.setattr(command, "Workers", AtOnce)
    return tmp_path


def rows_of(job, best=RECIPES[0], elbo=-1.0):
    """What a fit gives; validation likes the recipe `best`."""
    facts = {"cpu_seconds": 2.0, "elbo": elbo, "marker_worst": 0.5}
    facts["validation"] = float(job.recipe == best) - 10
    keys = table_of(job).key
    return [dict(zip(keys, key, strict=True)) | facts for key in job.keys]


def run(*options, compute=rows_of):
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

    def compute(job):
        calls.append(job)
        return rows_of(job)

    named = "--dataset", "pancreas", "--dataset", "pancreas libraries"
    assert run(*named, compute=compute) == 0
    assert len(set(calls)) == len(calls)
    searches = SEARCHES.read()
    fits = [job for job in fits_wanted(searches) if job.study in named]
    assert {job for job in calls if not job.searches} == set(fits)
    assert set(SCORES.read()) == {key for job in fits for key in job.keys}
    assert {key[0] for key in searches} == {"pancreas"}
    calls.clear()
    assert run(*named, compute=compute) == 0
    assert not calls


def test_a_family_has_the_recipe_that_its_search_has_picked(here):
    made = []

    def compute(job):
        made.append(job)
        return rows_of(job, best=RECIPES[1])

    family = "--model", "Bernoulli mixture", "--dataset", "marrow"
    assert run(*family, compute=compute) == 0
    # What it needs is made as well, and nothing else.
    searched = [job for job in made if job.searches]
    names = "Bernoulli 64", "Bernoulli mixture 64"
    assert {job[:2] for job in searched} == {("marrow", n) for n in names}
    assert {job.recipe for job in searched} == {*RECIPES}
    fits = {job for job in made if not job.searches}
    assert {job.recipe for job in fits} == {RECIPES[1]}
    assert {job.split for job in fits} == {*FAMILY_SPLITS}


def test_a_model_by_its_own_name_waits_for_no_search(here):
    made = []

    def compute(job):
        made.append(job)
        return rows_of(job)

    neal = "Boltzmann 32+32, neal"
    assert run("--model", neal, compute=compute) == 0
    recipe = recipe_by_name("pbmc68k", neal)
    assert recipe == Recipe(0.5, 0.5, 0)
    assert made == [Job("pbmc68k", neal, recipe, n, (neal,)) for n in range(5)]


def test_a_family_waits_for_all_of_its_searches(here):
    seen = []

    def compute(job):
        if not job.searches and job.model == "Gaussian 10":
            seen.append(len(SEARCHES.read()))
        better = {"validation": -1.0} if job.model == "Gaussian 10" else {}
        return [row | better for row in rows_of(job)]

    family = "--model", "Gaussian", "--dataset", "marrow"
    assert run(*family, compute=compute) == 0
    assert seen == [len(SEARCHES.read())] * len(FAMILY_SPLITS)


def test_one_new_model_costs_no_row_that_is_there(here, monkeypatch):
    run("--dataset", "marrow")
    before = SCORES.read()
    new = replace(MODELS["Gaussian 10"], named=True)
    monkeypatch.setitem(MODELS, "Gaussian 7", new)
    monkeypatch.setitem(command.SOURCES, "Gaussian 7", "Gaussian 7")
    assert run("--model", "Gaussian 7", "--dataset", "marrow") == 0
    after = SCORES.read()
    assert after.items() >= before.items()
    assert {key[1] for key in after.keys() - before.keys()} == {"Gaussian 7"}


def test_rows_that_one_fit_can_give_are_made_by_one(here):
    """An RBM afterwards is fitted to the Bernoulli model of the same job."""

    def compute(job):
        late = {"validation": -1.0} if "Bernoulli" in job.model else {}
        return [row | late for row in rows_of(job)]

    run("--dataset", "marrow", compute=compute)
    jobs = [
        job
        for job in fits_wanted(SEARCHES.read())
        if job.study == "marrow" and job.model == "Bernoulli 64"
    ]
    assert {job.split for job in jobs} == {*FAMILY_SPLITS}
    assert len(jobs) == len(FAMILY_SPLITS)
    assert {"Bernoulli 64", "Bernoulli 64, RBM afterwards"} <= {*jobs[0].names}


def test_of_a_job_only_the_rows_that_are_missing_are_made(here):
    run("--dataset", "marrow")
    rows = SCORES.read()
    gone = next(key for key in rows if key[1].endswith("shuffled W"))
    SCORES.path.write_text(
        "".join(
            line
            for line in SCORES.path.read_text().splitlines(keepends=True)
            if not ("shuffled W" in line and f",{gone[3]}," in line)
        )
    )
    made = []

    def compute(job):
        made.append(job)
        return rows_of(job)

    run("--dataset", "marrow", compute=compute)
    assert [job.names for job in made] == [(gone[1],)]
    assert SCORES.read().keys() == rows.keys()


def test_again_replaces_a_row_when_its_replacement_is_there(here):
    run(*ARM)
    old = SCORES.read()

    def compute(job):
        rows = SCORES.read()
        assert rows.keys() == old.keys()  # none is taken away beforehand
        assert rows[job.keys[0]] == old[job.keys[0]]
        if job.split == 2:
            raise ImportError("not today")
        return rows_of(job, elbo=-2.0)

    assert run(*ARM, "--again", compute=compute) == 1
    new = SCORES.read()
    for key in old:
        assert new[key]["elbo"] == ("-1" if key[3] == 2 else "-2")


def test_again_the_splits_wait_for_the_new_choice(here):
    family = "--model", "Bernoulli", "--dataset", "marrow"
    run(*family)
    fits = []

    def compute(job):
        if not job.searches:
            fits.append(job.recipe)
        return rows_of(job, best=RECIPES[1])

    assert run(*family, "--again", compute=compute) == 0
    assert set(fits) == {RECIPES[1]}


def test_rows_are_told_by_the_choice_of_today(here):
    """Those of an earlier choice stay in the file and out of the way."""
    family = "--model", "Bernoulli", "--dataset", "marrow"
    run(*family)

    def compute(job):
        return rows_of(job, best=RECIPES[1], elbo=-2.0)

    run(*family, "--again", compute=compute)
    assert len(SCORES.read()) == 2 * len(FAMILY_SPLITS)
    rows = comparison.load()
    rows = rows[rows.model == "Bernoulli"]
    assert list(rows.recipe) == [RECIPES[1].words] * len(FAMILY_SPLITS)
    assert list(rows.elbo) == [-2.0] * len(FAMILY_SPLITS)


def test_a_number_is_written_with_six_digits_and_kept_as_it_is(here):
    def compute(job):
        facts = {"elbo": -123.456789, "n_parameters": 1234567}
        return [row | facts for row in rows_of(job)]

    run(*ARM, "--split", "0", compute=compute)
    first = SCORES.path.read_text()
    assert "-123.457" in first
    assert "1234567" in first
    run(*ARM, "--split", "1", compute=compute)
    assert set(first.splitlines()[1:]) < set(
        SCORES.path.read_text().split("\n")
    )
    row = comparison.load().iloc[0]
    assert row.torch
    assert row.processor
    assert row.date
    assert row.made_by


# What is picked


def made_up(model, scores):
    """Searches of a model on marrow: recipe -> validation, marker."""
    return {
        ("marrow", row, recipe.words): {
            "validation": str(validation),
            "marker_worst": str(marker),
        }
        for recipe, (validation, marker) in zip(RECIPES, scores, strict=True)
        for row in (model, *MODELS[model].afterwards)
    }


@pytest.mark.parametrize(
    ("scores", "likely", "true"),
    [
        ([(3, 2), (2, 0.9)], 0, 1),
        ([(3, 0.5), (2, 0.9)], 0, 0),
        ([(3, 5), (2, 4)], 0, 1),
    ],
    ids=["another one", "the same", "none is within a factor of two"],
)
def test_each_rule_picks_by_its_own_words(scores, likely, true):
    searches = made_up("Gaussian 32", scores)
    for rule, expected in (("likelihood", likely), ("markers", true)):
        found = pick("marrow", ["Gaussian 32"], searches, rule)
        assert found == ("Gaussian 32", RECIPES[expected])


def test_a_variant_tries_what_its_model_likes_best_and_nothing_else():
    searches = made_up("Gaussian 32", [(2, 0.5), (3, 2)])
    found = recipes_to_try("marrow", "Gaussian 10", searches)
    assert found == (RECIPES[1],)
    assert recipes_to_try("pancreas", "Gaussian 10", searches) is None


def test_a_family_has_no_row_before_its_search_is_over(here):
    run("--model", "Gaussian 32", "--dataset", "marrow")
    assert "Gaussian" not in picks("marrow", SEARCHES.read())
    run("--model", "Gaussian", "--dataset", "marrow")
    assert "Gaussian" in picks("marrow", SEARCHES.read())


def test_couplings_have_a_row_for_each_time_of_training(here):
    def compute(job):
        late = {"validation": -1.0} if "Bernoulli" in job.model else {}
        return [row | late for row in rows_of(job)]

    run("--model", "Boltzmann", "--dataset", "marrow", compute=compute)
    found = picks("marrow", SEARCHES.read())
    late = "Bernoulli 64, RBM afterwards"
    assert found["Boltzmann"].row == late
    assert found["Boltzmann, afterwards"].row == late
    assert found["Boltzmann, together"].row != late


# What is said


def test_list_says_what_is_there_what_is_missing_and_for_how_long(here, capsys):
    options = "--model", "Gaussian 32", "--dataset", "erythroid arm"
    run(*options, "--split", "1")
    capsys.readouterr()
    assert run(*options, "--list") == 0
    words = capsys.readouterr().out
    assert "splits 1 of 5 fits, 4 missing: 0.1 minutes" in words
    assert "1 fits are there, 4 are missing" in words


def test_what_a_fit_takes_is_read_off_the_nearest_rows():
    scores = {
        ("marrow", "Gaussian 10", "", 1): {"cpu_seconds": "10"},
        ("marrow", "Gaussian 10", "", 2): {"cpu_seconds": "20"},
        ("immune", "Gaussian 10", "", 1): {"cpu_seconds": "99"},
    }
    searches = {("marrow", "Gaussian 10", ""): {"cpu_seconds": "30"}}

    def took(study, name, split=1):
        return seconds(Job(study, name, NONE, split, (name,)), searches, scores)

    assert took("marrow", "Gaussian 10") == 20
    assert took("pbmc68k", "Gaussian 10") == pytest.approx(159 / 4)
    assert took("pbmc68k", "PCA 32") == 0
    assert took("pbmc68k", "scVI 10") is None
    assert took("marrow", "Boltzmann 32+32", None) is None


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


def test_a_control_is_asked_for_by_its_own_name(here):
    shuffled = "--model", "Boltzmann 32+32, shuffled W", "--dataset", "marrow"
    run(*shuffled, "--split", "0")
    assert {key[1] for key in SCORES.read()} == {
        "Boltzmann 32+32",
        "Boltzmann 32+32, shuffled W",
        "Boltzmann 32+32, random W",
    }


# Failures


def test_a_fit_that_fails_costs_no_other_row(here, capsys):
    def compute(job):
        if job.model == "scVI 32":
            raise ImportError("scvi-tools is not installed")
        return rows_of(job)

    assert run("--dataset", "erythroid arm", compute=compute) == 1
    there = {key[1] for key in SCORES.read() if key[0] == "erythroid arm"}
    ours = {"Boltzmann 32+32", "Gaussian 32", "Mixture 32"}
    assert there == ours | {"PCA 32", "Noise 32"}
    told = capsys.readouterr().err
    assert told.count("scvi-tools is not installed") == 1
    assert "scVI 32 on erythroid arm, split 0 and 4 more failed" in told


BROKEN = {
    "empty": b"",
    "foreign": b"gene,cell\nINS,3\n",
    "without splits": b"dataset,model,recipe\na,b,c\n",
    "no UTF-8": b"\xff\xfe" + HEADER.encode(),
    "torn at the end": TORN.encode(),
    "torn after a line": (TORN + "\n").encode(),
    "too many values": (HEADER + "a,b,r,0,-1,x,2026-11-24,7\n").encode(),
    "words for a number": (HEADER + "a,b,r,0,high,x,2026-11-24\n").encode(),
    "a split of words": (HEADER + "a,b,r,first,-1,x,2026-11-24\n").encode(),
    "a row twice": (HEADER + 2 * "a,b,r,0,-1,x,2026-11-24\n").encode(),
    "a column twice": b"dataset,model,recipe,split,elbo,elbo\n",
    "a long line": HEADER.encode() + b"a" * 200_000 + b"\n",
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_table_is_left_alone_and_named(here, case, capsys):
    SCORES.path.parent.mkdir()
    SCORES.path.write_bytes(BROKEN[case])
    assert run(*ARM, compute=None) == 2
    told = capsys.readouterr().err
    assert "scores.csv' cannot be used" in told
    assert told.count("\n") == 1
    with pytest.raises(ValueError, match="cannot be used"):
        comparison.load()
    with pytest.raises(ValueError, match="cannot be used"):
        SCORES.merge(rows_of(Job("marrow", "PCA 32", NONE, 0, ("PCA 32",))))
    assert SCORES.path.read_bytes() == BROKEN[case]


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
    assert len(SCORES.read()) == 5
    tries = iter(range(-1000, 0))
    assert run("--model", "Noise 32", "--dataset", "erythroid arm") == 1
    printed = capsys.readouterr().out
    assert printed.count("Noise 32") == 5  # told, since it cannot be kept
    assert len(SCORES.read()) == 5


def test_a_killed_write_leaves_nothing_that_stays(here):
    folder = SCORES.path.parent
    folder.mkdir()
    (folder / ".scores.csv.0123.new").write_text("half")
    run(*ARM)
    assert not list(folder.glob(".*.new"))
    assert SCORES.path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_rows_of_two_writers_are_all_there(here):
    def write(model):
        for split in range(5):
            job = Job("marrow", model, NONE, split, (model,))
            SCORES.merge(rows_of(job))

    models = [f"Gaussian {n}" for n in (10, 32, 64)]
    threads = [threading.Thread(target=write, args=(m,)) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(SCORES.read()) == 15


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
