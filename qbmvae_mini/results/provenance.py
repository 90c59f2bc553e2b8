"""Which code made a row, and on what: a record that decides nothing."""

import datetime
import hashlib
import importlib.metadata
import platform
from pathlib import Path

import numpy as np
import torch

#: What `provenance` records, in the order of the table's last columns.
COLUMNS = (
    "made_by",
    "version",
    "python",
    "torch",
    "numpy",
    "processor",
    "date",
)


def provenance():
    """What a row that is made now records, as words.

    Returns
    -------
    dict
        ``made_by``, twelve digits of the sources' digest; ``version`` of the
        package; ``python``, ``torch`` and ``numpy``; ``processor``, its kind,
        which decides the last digits; ``date``.
    """
    return {
        "made_by": _digest(Path(__file__).parents[1]),
        "version": _version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": processor(),
        "date": datetime.date.today().isoformat(),
    }


def processor():
    """The kind of processor: architecture, vector width, and model if told."""
    try:
        facts = Path("/proc/cpuinfo").read_text().splitlines()
        named = [line for line in facts if line.startswith("model name")]
        model = named[0].partition(":")[2].strip()
    except (OSError, IndexError):
        model = platform.processor()
    width = torch.backends.cpu.get_cpu_capability()
    return " ".join([platform.machine(), width, model]).strip()


def _digest(root):
    """Twelve digits of the names and bytes of all sources."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _version():
    try:
        return importlib.metadata.version("qbmvae_mini")
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return ""
