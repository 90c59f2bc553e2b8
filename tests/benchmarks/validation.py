"""The share of AIS in the CPU time of a fit with validations.

On marrow and pbmc68k, whose cells are few: log Z is estimated at every
validation, however many cells there are. ``--old PATH`` shows that of an
older checkout beside it.
"""

import contextlib
import time

from timing import cpu_seconds, imported_from, old_checkout

EPOCHS = 30
DATASETS = ("marrow", "pbmc68k")


def share_of_ais(dataset, path=None):
    """CPU seconds of a fit, and of the brackets of log Z in it."""
    with imported_from(path) if path else contextlib.nullcontext():
        from qbmvae_mini import QBMVAE
        from qbmvae_mini.latents import boltzmann

        if path:
            from qbmvae_mini import datasets
        else:
            from qbmvae_mini.cells import datasets

        model = QBMVAE(datasets.load(dataset))
        estimate, spent = boltzmann.log_z_bracket, []

        def timed(*args, **kwargs):
            start = time.process_time()
            found = estimate(*args, **kwargs)
            spent.append(time.process_time() - start)
            return found

        boltzmann.log_z_bracket = timed
        whole = cpu_seconds(lambda: model.fit(EPOCHS, progress=False))
    return whole, sum(spent)


def main():
    old = old_checkout()
    paths = {"now": None} | ({"old": old} if old else {})
    print(f"{EPOCHS} epochs, a validation every 10, CPU seconds")
    for dataset in DATASETS:
        for name, path in paths.items():
            whole, ais = share_of_ais(dataset, path)
            print(
                f"{dataset:10s} {name:5s} fit {whole:7.2f}  AIS {ais:6.2f}  "
                f"share {ais / whole:.1%}"
            )


if __name__ == "__main__":
    main()
