"""The command line that fills the table.

::

    python -m qbmvae_mini.results
    python -m qbmvae_mini.results --model "Gaussian 32" --dataset marrow --list
    python -m qbmvae_mini.results --model "scVI 32" --split 0 --again

Rows that are there stay until their replacement is made. Each fit's rows are
written as soon as they are there, so that the command may be stopped with
Ctrl-C and called again.
"""

import argparse
import csv
import difflib
import os
import signal
import sys

from tqdm import tqdm

from qbmvae_mini.results.catalogue import SOURCES
from qbmvae_mini.results.jobs import (
    choices,
    dropouts_of,
    seconds,
    wanted,
    with_choosers,
)
from qbmvae_mini.results.provenance import provenance
from qbmvae_mini.results.rows import compute_rows
from qbmvae_mini.results.studies import STUDIES
from qbmvae_mini.results.table import KEY, check_writable, merge, read_rows
from qbmvae_mini.results.workers import Workers

#: Statuses of a process that a signal has ended.
INTERRUPTED, TERMINATED = 130, 143


def main(argv=None):
    """Make what is missing of the table, or what is named.

    Parameters
    ----------
    argv : list of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        0 if all went well, 1 if a fit failed, 2 for bad input, 130 after
        Ctrl-C, 143 after SIGTERM.
    """
    arguments = _parser().parse_args(argv)
    try:
        jobs = _asked(arguments)
        rows = read_rows()
        if arguments.list:
            _list(jobs, rows)
            return 0
        todo = [job for job in jobs if arguments.again or _missing(job, rows)]
        check_writable()
    except (OSError, ValueError) as error:
        return _say(error, 2)
    todo = with_choosers(todo, rows)
    print(f"{len(rows)} rows are there, {len(todo)} fits to go", flush=True)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        return fill(todo, again=arguments.again) if todo else 0
    except KeyboardInterrupt:
        return _say("stopped; the rows that were done are written", INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def fill(todo, *, again=False, compute=compute_rows, processes=None):
    """Work the jobs out in processes, and write each one's rows at once.

    Parameters
    ----------
    todo : list of Job
    again : bool
        Whether jobs whose rows are there are made all the same.
    compute : callable
        See `Workers`.
    processes : int, optional
        By default one a core.

    Returns
    -------
    int
        0, or 1 if a job has failed; what failed is said.
    """
    todo, made_by, problems, unwritten = list(todo), provenance(), [], []
    rows = read_rows()
    before = choices(rows)
    # A choice that is made again counts when it is there.
    pending = {job[:2] for job in todo if job.searches}

    def keep(done):
        nonlocal rows
        for job, made, problem in done:
            if problem is not None:
                problems.append((job, problem))
            unwritten.extend(row | made_by for row in made or [])
            pending.discard(job[:2])
        try:
            rows = merge(unwritten)
            unwritten.clear()
        except (OSError, ValueError) as error:  # the next row tries again
            bar.write(f"not written yet: {error}", file=sys.stderr)
            rows |= {tuple(row[name] for name in KEY): row for row in unwritten}

    with (
        Workers(compute, processes or os.cpu_count()) as workers,
        tqdm(total=len(todo), unit="fit") as bar,
    ):
        try:
            while True:
                chosen = {
                    place: dropout
                    for place, dropout in choices(rows).items()
                    if place not in pending
                }
                if not again:  # another process may have made some
                    todo = [job for job in todo if _missing(job, rows)]
                for job in list(todo):
                    dropouts = dropouts_of(job, chosen)
                    if dropouts is not None and workers.has_room:
                        workers.give(job, dropouts)
                        todo.remove(job)
                if not workers.busy:
                    break
                done = workers.finished()
                keep(done)
                bar.update(len(done))
        finally:
            done = workers.finished(timeout=0) if workers.busy else []
            if done or unwritten:
                keep(done)
    problems += [
        (job, "the fit that chooses its dropout failed") for job in todo
    ]
    return _told(problems, unwritten, before, rows)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m qbmvae_mini.results",
        description="Fill the table of results: make the rows that are "
        "missing. Options may be given more than once.",
    )
    add = parser.add_argument
    add("--model", action="append", metavar="NAME", help="this model alone")
    add("--dataset", action="append", metavar="NAME", help="this study alone")
    add("--split", action="append", type=int, help="this split alone")
    add(
        "--again",
        action="store_true",
        help="make rows that are there, too; each stays until the new one is "
        "made",
    )
    add(
        "--list",
        action="store_true",
        help="say what is there, what is missing and how long it takes",
    )
    return parser


def _asked(arguments):
    """The jobs that the options name.

    Raises
    ------
    ValueError
        If a name is unknown, or nothing is made of what is named.
    """
    models = _known("model", arguments.model, SOURCES)
    studies = _known("dataset", arguments.dataset, STUDIES)
    models = {SOURCES[name] for name in models}
    named = [
        job for job in wanted() if job.model in models and job.study in studies
    ]
    if not named:
        there = dict.fromkeys(j.study for j in wanted() if j.model in models)
        raise ValueError(
            f"{', '.join(arguments.model)} is not made on "
            f"{', '.join(arguments.dataset)}; it is made on {', '.join(there)}"
        )
    splits = sorted({job.split for job in named})
    strange = set(arguments.split or []).difference(splits)
    if strange:
        raise ValueError(
            f"there is no split {min(strange)}: choose of "
            f"{', '.join(map(str, splits))}"
        )
    return [job for job in named if job.split in (arguments.split or splits)]


def _known(what, names, known):
    """The names, or all that are known if none is given."""
    for name in names or []:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            raise ValueError(
                f"there is no {what} {name!r}: did you mean "
                f"{' or '.join(map(repr, near or known))}?"
            )
    return names or list(known)


def _missing(job, rows):
    return any(key not in rows for key in job.keys)


def _list(jobs, rows):
    """A line a study and model, and the minutes that are missing."""
    there = missing = total = 0
    unknown = False
    for study, model in dict.fromkeys(job[:2] for job in jobs):
        splits = [job for job in jobs if job[:2] == (study, model)]
        absent = [job for job in splits if _missing(job, rows)]
        line = f"{study:20} {model:42} {len(splits) - len(absent)}"
        line += f" of {len(splits)} splits"
        costs = [seconds(job, rows) for job in absent]
        if absent:
            numbers = ", ".join(str(job.split) for job in absent)
            known = sum(cost or 0 for cost in costs) / 60
            line += f", missing {numbers}: {known:.1f} minutes"
            line += " and more" if None in costs else ""
            total += known
        print(line)
        unknown |= None in costs
        there += sum(key in rows for job in splits for key in job.keys)
        missing += len(absent)
    print(
        f"{there} rows are there, {missing} fits are missing: about "
        f"{total:.0f} minutes of one core's training"
        + (", and more that nobody has timed" if unknown else "")
    )


def _told(problems, unwritten, before, rows):
    """Say what went wrong, a sentence a cause; the status that this gives."""
    causes = {}
    for job, problem in problems:
        causes.setdefault(problem, []).append(job)
    for problem, jobs in causes.items():
        study, model, split = jobs[0]
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        _say(f"{model} on {study}, split {split}{more} failed: {problem}", 1)
    for place, dropout in choices(rows).items():
        if before.get(place, dropout) != dropout:
            _say(
                f"the search of {place[1]} on {place[0]} now chooses dropout "
                f"{dropout:g} and not {before[place]:g}: make its other rows "
                "and its variants --again, too",
                1,
            )
    if unwritten:
        _say(
            f"{len(unwritten)} rows could not be written; here they are, to "
            "be kept by hand",
            1,
        )
        writer = csv.writer(sys.stdout)
        writer.writerows(row.items() for row in unwritten)
    return 1 if problems or unwritten else 0


def _say(words, status):
    print(f"python -m qbmvae_mini.results: {words}", file=sys.stderr)
    return status
