"""What happens to be there decides nothing: devices, launchers, defaults."""

import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from faults.harness import SHORT, case, cells, copy_of_model, same_numbers
from qbmvae_mini.models import QBMVAE

SECTION = "surroundings"

SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "n1",
}
TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "3",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29511",
    "TORCHELASTIC_RUN_ID": "x",
    "GROUP_RANK": "0",
    "LOCAL_WORLD_SIZE": "4",
}
MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
LSF = {"LSB_JOBID": "1", "LSB_HOSTS": "a b", "JSM_NAMESPACE_RANK": "1"}
KUBEFLOW = {"MASTER_ADDR": "a", "KUBERNETES_PORT": "1", "RANK": "1"}


def _trained(seed=1):
    return QBMVAE(cells(), n_latent=8, seed=seed).fit(12, **SHORT)


@case(
    SECTION,
    "the variables of",
    ("SLURM, four tasks", SLURM),
    ("SLURM in bash", SLURM | {"SLURM_JOB_NAME": "bash"}),
    ("torchrun", TORCHRUN),
    ("MPI", MPI),
    ("LSF", LSF),
    ("Kubeflow", KUBEFLOW),
)
def launcher(name, variables):
    expected = _trained()
    with mock.patch.dict(os.environ, variables):
        same_numbers(_trained(), expected)


@case(SECTION, "a Mac's GPU that is there and was not named")
def macs_gpu():
    from lightning_fabric.accelerators.mps import MPSAccelerator

    there = mock.patch.object(
        MPSAccelerator, "is_available", staticmethod(lambda: True)
    )
    with (
        there,
        mock.patch.object(torch.backends.mps, "is_available", lambda: True),
    ):
        model = _trained()
    assert next(model.module.parameters()).device.type == "cpu"


@case(SECTION, "a default type of double precision")
def default_dtype():
    expected = _trained()
    torch.set_default_dtype(torch.float64)
    same_numbers(_trained(), expected)


@case(SECTION, "torch's global generator", "seeded otherwise", "left alone")
def generator(kind):
    expected = _trained()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    model = _trained()
    if kind == "left alone":
        model.get_log_likelihood(n_samples=4)
        model.generate(3)
        assert torch.equal(before, torch.get_rng_state())
        return
    same_numbers(model, expected)


@case(SECTION, "numpy's global generator, and gradients switched off")
def global_modes():
    expected = _trained()
    np.random.seed(5)  # noqa: NPY002, the global one is what is tested
    torch.set_grad_enabled(False)
    same_numbers(_trained(), expected)


@case(SECTION, "a clock that runs backwards")
def clock():
    expected = _trained()
    ticks = iter(range(10**9, 0, -1000))
    with mock.patch.object(time, "time", lambda: float(next(ticks))):
        same_numbers(_trained(), expected)


@case(
    SECTION,
    "Python started with",
    ("-O", ["-O"], {}),
    ("-X dev", ["-X", "dev"], {}),
    ("-bb", ["-bb"], {}),
    ("LC_ALL=C", [], {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    ("no HOME", [], {"HOME": "/nonexistent"}),
)
def interpreter(name, flags, variables):
    """The command line trains, saves and embeds."""
    cells().write_h5ad("c.h5ad")
    env = dict(os.environ, **variables)
    line = [sys.executable, *flags, "-m", "qbmvae_mini"]
    fit = [*line, "fit", "c.h5ad", "M", "--n-latent", "8", "--max-epochs", "3"]
    for words in (fit, [*line, "embed", "c.h5ad", "M", "o.h5ad"]):
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-300:]
    assert Path("o.h5ad").exists()


@case(SECTION, "the same command in a container: the same process number")
def same_pid():
    """A killed run's debris is not in the way of the next one."""
    cells().write_h5ad("c.h5ad")
    copy_of_model("boltzmann", "old")
    pid = os.getpid()
    with mock.patch.object(os, "getpid", lambda: pid):
        from faults.harness import command

        words = ["fit", "c.h5ad", "M", "--n-latent", "8", "--max-epochs", "3"]
        child = os.fork()
        if child == 0:
            _die_when_made()
            command(*words)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the first run was not killed"
        command(*words)
    assert Path("M").is_dir()


def _die_when_made():
    import signal

    def hook(event, arguments):
        if event == "os.mkdir":
            signal.raise_signal(signal.SIGKILL)  # `getpid` names the parent

    sys.addaudithook(hook)
