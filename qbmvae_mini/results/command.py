"""The command line that fills the tables.

::

    python -m qbmvae_mini.results
    python -m qbmvae_mini.results --model "Gaussian 32" --dataset marrow --list
    python -m qbmvae_mini.results --model "scVI 32" --split 0 --again

Rows that are there stay until their replacement is made. Each fit's rows are
written as soon as they are there, so that the command may be stopped with
Ctrl-C and called again. What a search decides is known when it is over, so
fits come up as the work goes on.
"""

import argparse
import csv
import difflib
import os
import signal
import sys

from tqdm import tqdm

from qbmvae_mini.results.catalogue import (
    MODELS,
    SOURCES,
    TRAINED_WHEN,
    families,
)
from qbmvae_mini.results.jobs import seconds, wanted
from qbmvae_mini.results.provenance import provenance
from qbmvae_mini.results.rows import compute
from qbmvae_mini.results.studies import CURVES, DATASETS, STUDIES
from qbmvae_mini.results.table import SCORES, SEARCHES
from qbmvae_mini.results.workers import Workers

#: Statuses of a process that a signal has ended.
INTERRUPTED, TERMINATED = 130, 143


def main(argv=None):
    """Make what is missing of the tables, or what is named.

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
        asked = Asked(arguments)
        rows = Rows()
        if arguments.list:
            _list(asked, rows)
            return 0
        for table in (SEARCHES, SCORES):
            table.check_writable()
    except (OSError, ValueError) as error:
        return _say(error, 2)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        return fill(asked, again=arguments.again)
    except KeyboardInterrupt:
        return _say("stopped; the rows that were done are written", INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


class Asked:
    """Which of the wanted jobs the options name, and what these need.

    Parameters
    ----------
    arguments : argparse.Namespace

    Raises
    ------
    ValueError
        If a name is unknown, or nothing is made of what is named.
    """

    def __init__(self, arguments):
        members = families() | TRAINED_WHEN
        names = _known("model", arguments.model, [*SOURCES, *members])
        self._studies = _known("dataset", arguments.dataset, STUDIES)
        self._splits = arguments.split
        #: Rows that are fitted; a family is all of its members.
        self._rows = {
            row for name in names for row in members.get(name, [name])
        }
        models = {SOURCES[row] for row in self._rows}
        searched = {m for m in models if MODELS[m].family is not None}
        self._searched = searched | {MODELS[m].recipes_of for m in searched}
        made = {s: [m for m in models if _is_made(s, m)] for s in STUDIES}
        if not any(made[study] for study in self._studies):
            there = [study for study, some in made.items() if some]
            raise ValueError(
                f"{', '.join(arguments.model)} is not made on "
                f"{', '.join(arguments.dataset)}; it is made on "
                f"{', '.join(there)}"
            )
        known = {n for s in self._studies for n in STUDIES[s].splits}
        strange = set(self._splits or []) - known
        if strange:
            raise ValueError(
                f"there is no split {min(strange)}: choose of "
                f"{', '.join(map(str, sorted(known)))}"
            )

    def jobs(self, rows):
        """The jobs that are known by now, searches first."""
        return [job for job in wanted(rows.searches) if self._includes(job)]

    def _includes(self, job):
        if job.searches:
            return job.study in self._studies and job.model in self._searched
        return (
            job.study in self._studies
            and (self._splits is None or job.split in self._splits)
            and not self._rows.isdisjoint(job.rows)
        )


class Rows:
    """The rows of both tables, and those that could not be written yet."""

    def __init__(self):
        self.searches, self.scores = SEARCHES.read(), SCORES.read()
        self._unwritten = {SEARCHES: [], SCORES: []}

    def has(self, job):
        """Whether all rows of a job are there."""
        return all(key in self._rows_of(job) for key in job.keys)

    def lacking(self, job):
        """A job without the rows that are there; a search is made whole."""
        if job.searches:
            return job
        pairs = zip(job.names, job.keys, strict=True)
        rows = self._rows_of(job)
        return job._replace(
            names=tuple(n for n, key in pairs if key not in rows)
        )

    def _rows_of(self, job):
        return self.searches if job.searches else self.scores

    @property
    def unwritten(self):
        """Rows that no file has taken."""
        return [row for rows in self._unwritten.values() for row in rows]

    def add(self, job, made):
        """Keep the rows of a job until they are written."""
        self._unwritten[SEARCHES if job.searches else SCORES] += made

    def write(self):
        """Write what there is; what fails is there for the next time."""
        self.searches = self._written(SEARCHES, self.searches)
        self.scores = self._written(SCORES, self.scores)

    def _written(self, table, rows):
        waiting = self._unwritten[table]
        if not waiting:
            return rows
        try:
            rows = table.merge(waiting)
            waiting.clear()
        except (OSError, ValueError) as error:  # the next row tries again
            tqdm.write(f"not written yet: {error}", file=sys.stderr)
            rows = rows | {
                table.key_of(row): {k: str(v) for k, v in row.items()}
                for row in waiting
            }
        return rows


def fill(asked, *, again=False, compute=compute, processes=None):
    """Work the jobs out in processes, and write each one's rows at once.

    Parameters
    ----------
    asked : Asked
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
    rows, made_by = Rows(), provenance()
    begun, problems = set(), []

    def todo():
        jobs = asked.jobs(rows)
        if not again:
            jobs = [rows.lacking(job) for job in jobs if not rows.has(job)]
        jobs = [job for job in jobs if job not in begun]
        # No fit by a choice that a search is about to change.
        searches = [job for job in jobs if job.searches]
        pending = searches or any(job.searches for job in running)
        return searches if pending else jobs

    def keep(done):
        for job, made, problem in done:
            running.discard(job)
            if problem is not None:
                problems.append((job, problem))
            rows.add(job, [row | made_by for row in made or []])
        rows.write()

    running = set()
    count = processes or os.cpu_count()
    with Workers(compute, count) as workers, tqdm(unit="fit") as bar:
        try:
            while True:
                waiting = todo()
                for job in waiting:
                    if workers.has_room:
                        workers.give(job)
                        begun.add(job)
                        running.add(job)
                bar.total = len(begun.union(waiting))
                bar.refresh()
                if not workers.busy:
                    break
                done = workers.finished()
                keep(done)
                bar.update(len(done))
        finally:
            done = workers.finished(timeout=0) if workers.busy else []
            if done or rows.unwritten:
                keep(done)
    return _told(problems, rows.unwritten)


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


def _is_made(study, model):
    """Whether a model has rows of its own on a study, or takes part there."""
    entry, tasks = MODELS[model], STUDIES[study].tasks
    if study in CURVES:
        return entry.curve
    if study in DATASETS:
        searched = entry.family is not None
        return (searched or entry.named) and study in entry.datasets
    return entry.other_studies and bool(set(entry.tasks).intersection(tasks))


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


def _list(asked, rows):
    """A line a study and model, and the minutes that are missing."""
    there = missing = total = 0
    unknown = False
    groups = {}
    for job in asked.jobs(rows):
        what = "search" if job.searches else "splits"
        groups.setdefault((job.study, job.model, what), []).append(job)
    for (study, name, what), jobs in groups.items():
        absent = [job for job in jobs if not rows.has(job)]
        line = f"{study:20} {name:42} {what} {len(jobs) - len(absent)}"
        line += f" of {len(jobs)} fits"
        costs = [seconds(job, rows.searches, rows.scores) for job in absent]
        if absent:
            known = sum(cost or 0 for cost in costs) / 60
            line += f", {len(absent)} missing: {known:.1f} minutes"
            line += " and more" if None in costs else ""
            total += known
        print(line)
        unknown |= None in costs
        there += len(jobs) - len(absent)
        missing += len(absent)
    print(
        f"{there} fits are there, {missing} are missing: about "
        f"{total:.0f} minutes of one core's training"
        + (", and more that nobody has timed" if unknown else "")
    )


def _told(problems, unwritten):
    """Say what went wrong, a sentence a cause; the status that this gives."""
    causes = {}
    for job, problem in problems:
        causes.setdefault(problem, []).append(job)
    for problem, jobs in causes.items():
        first = jobs[0]
        where = "search" if first.searches else f"split {first.split}"
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        _say(
            f"{first.model} on {first.study}, {where}{more} failed: {problem}",
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
