"""Trainings killed at random moments, which must end as if never killed.

``python tests/faults/kills.py 100`` kills that many times (signal 9, from
another process) and prints a table; the exit status is 1 if a difference is
not exactly zero.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from synthetic import TO_KILL, fit_to_kill

from qbmvae_mini.vae.checkpoints import state_tensors
from qbmvae_mini.vae.storage import read_tensors, write_tensors

#: Epochs between two validations, where AIS makes them long.
EVERY = {"wide": 4}

#: Kills before a training is let alone, so that all kinds have their turn.
MOST = 5

#: Longest life of a process, as a share of the time of an unbroken training.
LONGEST_LIFE = 0.5


def train(name, directory, begun):
    """Train in a process of its own; leave all that is found in one file."""
    begun.set()
    checkpoint = directory / "run.safetensors"
    model = fit_to_kill(TO_KILL[name](), checkpoint, EVERY.get(name, 1))
    tensors = state_tensors(model.module)
    tensors["codes"] = torch.from_numpy(model.get_latent_representation())
    if name != "wide":  # whose log Z takes as long as its training
        tensors["scores"] = torch.from_numpy(model.get_log_likelihood())
    write_tensors(directory / "done", tensors, {"history": model.history_})


def start(context, name, directory):
    """A process that has begun to train, and when it did."""
    begun = context.Event()
    process = context.Process(target=train, args=(name, directory, begun))
    process.start()
    begun.wait()
    return process, time.perf_counter()


def difference(one, other):
    """The largest difference of any number; infinite if others are there."""
    (tensors, facts), (again, said) = (
        read_tensors(folder / "done") for folder in (one, other)
    )
    if facts != said or tensors.keys() != again.keys():
        return float("inf")
    largest = 0.0
    for name, value in tensors.items():
        if not torch.equal(value.isnan(), again[name].isnan()):
            return float("inf")
        apart = (value.double() - again[name].double()).abs().nan_to_num(0.0)
        largest = max(largest, float(apart.max()) if apart.numel() else 0.0)
    return largest


def trial(context, name, whole, seconds, chance, most):
    """Kill a training again and again until it ends.

    Returns
    -------
    kills : int
    difference : float
    """
    kills = 0
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        while True:
            process, _ = start(context, name, directory)
            if kills < most:
                process.join(chance.uniform(0, LONGEST_LIFE * seconds))
                process.kill()
            process.join()
            if process.exitcode == 0:
                break
            if process.exitcode != -9:
                raise RuntimeError(f"{name} ended with {process.exitcode}")
            kills += 1
        left = [path.name for path in directory.glob(".*")]
        if left:
            raise RuntimeError(f"{name} has left {left}")
        return kills, difference(whole, directory)


def run(kills, names=tuple(TO_KILL), seed=None):
    """Kill trainings of `names` in turn, `kills` times in all.

    Returns
    -------
    dict
        By name: trials, kills, and the largest difference.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["lightning_fabric", "anndata", "neal", "synthetic"]
    )
    chance, done = random.Random(seed), 0
    rows = {name: [0, 0, 0.0] for name in names}
    with tempfile.TemporaryDirectory() as place:
        took = {}
        for name in names:
            folder = Path(place) / name
            process, begun = start(context, name, folder)
            process.join()
            took[name] = time.perf_counter() - begun
        while done < kills:
            # The least killed so far is next.
            name = min(rows, key=lambda name: rows[name][1])
            killed, apart = trial(
                context,
                name,
                Path(place) / name,
                took[name],
                chance,
                min(MOST, kills - done),
            )
            row = rows[name]
            row[:] = row[0] + 1, row[1] + killed, max(row[2], apart)
            done += killed
    return rows


def main(kills=100):
    """Print what became of so many kills; 1 if a number differs."""
    begun = time.perf_counter()
    rows = run(kills)
    for name, (trials, killed, apart) in rows.items():
        print(f"{name:20} {trials:3} trials {killed:4} kills  {apart}")
    total = sum(killed for _, killed, _ in rows.values())
    print(f"{total} kills in {time.perf_counter() - begun:.0f} s")
    return int(any(apart for *_, apart in rows.values()))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
