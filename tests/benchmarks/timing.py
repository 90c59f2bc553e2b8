"""CPU time of two things, taken in turn so that a noisy machine hits both."""

import statistics
import time

import torch

torch.set_num_threads(1)


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
