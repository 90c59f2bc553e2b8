"""Peak memory of what is done to many cells, above what was there before.

Each figure is taken in a process of its own, on Linux: the kernel's mark of
the most memory held is set back just before the work, after a small run of
the same kind that has imported what it needs.
"""

import re
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

SHORT = {"max_epochs": 1, "kl_warmup": 0, "progress": False}


def made_up(n_cells, n_genes, density=0.1):
    """Cells with that share of counts above zero, one a cell at least."""
    rng = np.random.default_rng(0)
    n = round(density * n_genes)
    starts = rng.integers(n_genes, size=(n_cells, 1))
    steps = rng.integers(1, n_genes // n, size=(n_cells, n)).cumsum(axis=1)
    places = np.sort((starts + steps) % n_genes, axis=1).astype(np.int32)
    counts = scipy.sparse.csr_matrix(
        (
            rng.geometric(0.5, places.size).astype(np.float32),
            places.ravel(),
            np.arange(0, places.size + 1, n, dtype=np.int32),
        ),
        shape=(n_cells, n_genes),
    )
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
    return anndata.AnnData(counts, obs=obs, var=var)


def size(counts):
    """Bytes of a matrix."""
    if scipy.sparse.issparse(counts):
        parts = (counts.data, counts.indices, counts.indptr)
        return sum(part.nbytes for part in parts)
    return counts.nbytes


def status(name):
    """A figure of this process in bytes, as the kernel keeps it."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", text)[1])


def peak(work):
    """What `work` returns, and the bytes it needed on the way."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the mark back
    before = status("VmRSS")
    done = work()
    return done, status("VmHWM") - before


def trained(n_cells, n_genes):
    from qbmvae_mini import QBMVAE

    model = QBMVAE(made_up(n_cells, n_genes), n_latent=64)
    return model.fit(**SHORT, validation=0)


def reading():
    from qbmvae_mini.cells import read_cells

    adata = made_up(40_000, 2_000)
    read_cells(adata[:100].copy(), genes=list(adata.var_names))
    _, extra = peak(lambda: read_cells(adata))
    return extra / size(adata.X), "x the counts"


def choosing():
    from qbmvae_mini.cells import choose_genes

    adata = made_up(20_000, 10_000)
    choose_genes(adata[:100].copy(), 50)
    _, extra = peak(lambda: choose_genes(adata, 2_000))
    return extra / size(adata.X), "x the counts"


def fitting():
    from qbmvae_mini import QBMVAE

    adata = made_up(60_000, 2_000)
    trained(1_000, 2_000)
    model = QBMVAE(adata, n_latent=64)
    _, extra = peak(lambda: model.fit(**SHORT, validation=0.1))
    return extra / size(adata.X), "x the counts"


def generating():
    model = trained(1_000, 2_000)
    model.generate(100)
    made, extra = peak(lambda: model.generate(100_000))
    return extra / size(scipy.sparse.csr_matrix(made.X)), "x its sparse result"


def expressing():
    model = trained(256, 20_000)
    few = made_up(8, 20_000)
    model.get_normalized_expression(few)
    _, extra = peak(model.get_normalized_expression)
    return extra / 1e6, "MB"


FIGURES = {
    "read_cells, 40,000 x 2,000": (reading, 1.1),
    "choose_genes, 20,000 x 10,000": (choosing, 1.0),
    "fit, 60,000 x 2,000": (fitting, 0.3),
    "generate(100,000) x 2,000": (generating, 1.5),
    "expression of 256 x 20,000": (expressing, 150),
}


def main():
    print(f"{'':32s}{'found':>8s}{'asked':>8s}")
    for name, (_, asked) in FIGURES.items():
        command = [sys.executable, __file__, name]
        told = subprocess.run(command, capture_output=True, text=True)
        if told.returncode:
            print(f"{name:32s} failed: {told.stderr.splitlines()[-1]}")
            continue
        found, unit = told.stdout.split(maxsplit=1)
        print(f"{name:32s}{float(found):8.2f}{asked:8g} {unit.strip()}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure, _ = FIGURES[sys.argv[1]]
        print(*measure())
    else:
        main()
