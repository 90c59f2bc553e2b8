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


def compute(study, model, split, dropouts):
    """Split 0 at once; other splits as the environment says."""
    row = {"dataset": study, "model": model, "split": split}
    if split > 0:
        time.sleep(float(os.environ.get("SECONDS_A_FIT", "0")))
    if split == 3 and "KILLED" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    if model == os.environ.get("FAILING"):
        raise ImportError("scvi-tools is not installed")
    return [row | {"cpu_seconds": 1.25, "pid": os.getpid()}]


if __name__ == "__main__":
    # A shell without job control has its background processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place = Path(sys.argv[1])
    datasets.data_directory = lambda: place
    command.fill = functools.partial(command.fill, compute=compute, processes=2)
    sys.exit(command.main(sys.argv[2:]))
