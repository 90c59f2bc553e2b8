"""CPU time of two things, taken in turn so that a noisy machine hits both."""

import argparse
import contextlib
import statistics
import sys
import time

import torch

torch.set_num_threads(1)


def old_checkout():
    """The path after ``--old``, or None: an older checkout to compare with."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", metavar="PATH")
    return parser.parse_args().old


@contextlib.contextmanager
def imported_from(path):
    """Imports of `qbmvae_mini` come from another checkout meanwhile.

    What is imported so stays usable beside the package of this checkout.
    """
    ours = {name: sys.modules.pop(name) for name in _of_the_package()}
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in _of_the_package():
            del sys.modules[name]
        sys.modules.update(ours)


def _of_the_package():
    return [name for name in sys.modules if name.split(".")[0] == "qbmvae_mini"]


def cpu_seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(functions, repeats=7):
    """Median CPU seconds of each function, and its ratio to the last one.

    Parameters
    ----------
    functions : dict of str to callable
        The last one is the peer.
    repeats : int
        Rounds; one more is run first and not counted.

    Returns
    -------
    dict of str to float
        The medians.
    """
    taken = {name: [] for name in functions}
    for round_ in range(repeats + 1):
        for name, function in functions.items():
            seconds = cpu_seconds(function)
            if round_:
                taken[name].append(seconds)
    peer = list(functions)[-1]
    medians = {name: statistics.median(s) for name, s in taken.items()}
    for name, seconds in taken.items():
        ratios = [a / b for a, b in zip(seconds, taken[peer], strict=True)]
        print(
            f"{name:40s} {1e3 * medians[name]:10.2f} ms "
            f"{statistics.median(ratios):8.2f} x"
        )
    return medians
