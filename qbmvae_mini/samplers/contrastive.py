"""Contrastive divergence: sweeps that start at the data."""

import torch

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.machines.base import check_classical, checked_bits
from qbmvae_mini.samplers.base import Sampler
from qbmvae_mini.samplers.sweeps import sweep


class ContrastiveDivergence(Sampler):
    """The negative phase of CD-k: k sweeps that start at the data.

    Its draws do not follow the law of the machine, and the mean of the
    gradient is not that of the likelihood; the larger k, the nearer.

    Parameters
    ----------
    k : int
        Sweeps from the data.
    seed : int
        Seeds the random numbers of the sweeps.

    References
    ----------
    Hinton 2002, Training products of experts by minimizing contrastive
    divergence.
    """

    def __init__(self, k=1, seed=0):
        self.k = check_whole("k", k, 1)
        self.seed = check_seed(seed)

    def sample(self, machine, n):
        """Refused: without data there is nowhere to start.

        Raises
        ------
        TypeError
        """
        raise TypeError(
            "ContrastiveDivergence starts at data and so draws nothing from a "
            "machine alone; use GibbsSampler(), or sample_from(machine, data)"
        )

    def visible_phase(self, machine, data, draws=None):
        """Mean visible energy after k sweeps from each row of `data`."""
        z = self.sample_from(machine, data)
        return machine.visible_energy(z[:, : machine.n_visible]).mean()

    def settings(self):
        """Sweeps and seed."""
        return {"k": self.k, "seed": self.seed}

    def sample_from(self, machine, data):
        """One state for each row of `data`, shape (len(data), n_units).

        The hidden units of an RBM need no start, because a sweep draws them
        first.
        """
        check_classical(machine, "ContrastiveDivergence")
        data = checked_bits(machine, data)
        z = data.new_zeros(len(data), machine.n_units)
        z[:, : data.shape[1]] = data
        generator = self._generator_on(z.device)
        return sweep(machine, z, sweeps=self.k, generator=generator)

    def _generator_on(self, device):
        """The sampler's own, or on a GPU one that it seeds anew each call."""
        if device.type == "cpu":
            return self.generator
        seed = torch.randint(2**62, (), generator=self.generator)
        return torch.Generator(device).manual_seed(int(seed))
