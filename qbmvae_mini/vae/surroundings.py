"""What decides a run: its settings, and not where it happens to run.

A launcher's variables, the default dtype of another library, a GPU that was
not asked for, threads that numba has reset: none of them changes the numbers
of one process.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def one_process(device="auto"):
    """A Fabric of one process on one device, whatever has launched it.

    Parameters
    ----------
    device : str or torch.device
        "auto" is the first CUDA GPU where there is one, and else the CPU.
        Apple's GPU has no float64 and is used only when named, as "mps".

    Returns
    -------
    lightning_fabric.Fabric

    Raises
    ------
    ValueError
        For what is no device, or none that is here.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    device = _found(device)
    # Fabric's own launcher puts its arguments above those of the caller.
    launcher = {k: v for k, v in os.environ.items() if k.startswith("LT_")}
    for name in launcher:
        del os.environ[name]
    try:
        return Fabric(
            accelerator=device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            num_nodes=1,
            # Not SLURM's, MPI's or torchrun's, of which there may be traces.
            plugins=LightningEnvironment(),
        )
    finally:
        os.environ.update(launcher)


@contextmanager
def seeded(seed, device="cpu"):
    """Seed torch's global generators, and put all back afterwards.

    While it lasts the default dtype is float32, and torch has as many threads
    as it was told to have: both decide random numbers or last digits, and
    other libraries change both.

    Parameters
    ----------
    seed : int
    device : torch.device
        The generator of this GPU is seeded too, and no other GPU is touched.
    """
    device = torch.device(device)
    gpus = [device] if device.type == "cuda" else []
    before = torch.get_default_dtype()
    torch.set_num_threads(_threads())
    with torch.random.fork_rng(gpus):
        torch.set_default_dtype(torch.float32)
        try:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.default_generators[device.index or 0].manual_seed(
                    seed
                )
            elif device.type == "mps":
                torch.mps.manual_seed(seed)
            yield
        finally:
            torch.set_default_dtype(before)


def _found(device):
    """`device` as a torch.device that is here."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda", "mps"):
        raise ValueError(
            "device is 'auto', 'cpu', 'cuda', 'cuda:1' and so on, or 'mps', "
            f"not {device!r}"
        )
    here = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }[found.type]
    if (found.index or 0) >= here:
        raise ValueError(
            f"device is {str(found)!r}, and PyTorch finds {here} of that kind "
            "here; leave it out to use what there is"
        )
    return found


def _threads():
    """Threads that torch was told to use, by its user or the environment.

    numba's first parallel loop resets those of the thread it runs in; a new
    thread starts with what torch was told.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()
