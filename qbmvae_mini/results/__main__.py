"""``python -m qbmvae_mini.results``, which ``make results`` calls."""

import sys

# Not here itself: a new process could not find what `__main__` defines.
from qbmvae_mini.results.command import main

if __name__ == "__main__":
    sys.exit(main())
