"""Fill a results table with made-up rows: ``python filling.py DIR [options]``.

A process of its own, to be stopped, killed or run twice at once.
"""

import functools
import os
import signal
import sys
import time
from pathlib import Path

from qbmvae_mini.cells import datasets
from qbmvae_mini.results import command
from qbmvae_mini.results.table import SCORES, SEARCHES


def compute(job):
    """Searches and split 0 at once; others as the environment says."""
    rows = [dict(zip(table_of(job).key, key, strict=True)) for key in job.keys]
    if not job.searches and job.split > 0:
        time.sleep(float(os.environ.get("SECONDS_A_FIT", "0")))
    if job.split == 3 and "KILLED" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.model == os.environ.get("FAILING"):
        raise ImportError("scvi-tools is not installed")
    facts = {"cpu_seconds": 1.25, "validation": -1.0, "pid": os.getpid()}
    return [row | facts for row in rows]


def table_of(job):
    """The table that takes the rows of a job."""
    return SEARCHES if job.searches else SCORES


if __name__ == "__main__":
    # A shell without job control has its background processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place = Path(sys.argv[1])
    datasets.data_directory = lambda: place
    command.fill = functools.partial(command.fill, compute=compute, processes=2)
    sys.exit(command.main(sys.argv[2:]))
