"""Notebooks that the comparison has run are kept, and the site shows them.

A plugin of pytest, named on the command line of `make notebooks`. A notebook
whose cells have all passed goes into the cache of the site's build, which then
need not run it again.
"""

import sys
import time
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbval.plugin import IPyNbCell

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))

from offline_book import code_hash  # noqa: E402

#: Where the site's build looks for notebooks that this code has run.
CACHE = ROOT / "_build" / "executed" / code_hash(ROOT)

#: Path of a notebook -> outputs of those of its cells that have passed.
PASSED = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Keep the outputs of a cell that passes."""
    outcome = yield
    if isinstance(item, IPyNbCell):
        PASSED.setdefault(item.path, []).append(item.test_outputs)
    return outcome


def pytest_runtest_teardown(item, nextitem):
    """After its last cell, cache a notebook."""
    if nextitem is None or nextitem.path != item.path:
        outputs = PASSED.pop(item.path, [])
        notebook = nbformat.read(item.path, as_version=4)
        if add_outputs(notebook, outputs):
            cache(notebook, item.path)


def add_outputs(notebook, outputs):
    """Put the outputs of all code cells into a notebook.

    Returns
    -------
    bool
        Whether there are as many as cells; else nothing is changed.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(cells) != len(outputs):
        return False
    for count, (cell, found) in enumerate(zip(cells, outputs, strict=True), 1):
        cell.execution_count = count
        cell.outputs = [nbformat.from_dict(output) for output in found]
    return True


def cache(notebook, path, folder=CACHE):
    """Store an executed notebook for the site's build."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    folder.mkdir(parents=True, exist_ok=True)
    bundle = CacheBundleIn(notebook, str(path), data={"kept": time.time()})
    with FileLock(folder / ".lock"):  # two processes compare notebooks
        get_cache(str(folder)).cache_notebook_bundle(bundle, overwrite=True)
