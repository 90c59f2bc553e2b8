"""Settings of every test: one thread a process, as in the Makefile."""

import os

# Two OpenMP threads on two busy cores are slower than one, by much.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
