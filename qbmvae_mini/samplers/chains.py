"""What Gibbs sampling and tempering share: chains that may be kept."""

import copy
import weakref

import torch

from qbmvae_mini.boltzmann import check_classical
from qbmvae_mini.checks import check_whole
from qbmvae_mini.samplers.sweeps import random_bits

#: Sweeps from coin flips before persistent chains give their first draw.
BURN_IN = 100


class Chains:
    """Many chains side by side, kept between calls or started anew.

    A child provides ``_advance(machine, z, sweeps)``, in place, and may hold
    several rows of state a chain: ``_rows`` of them, of which the first block
    of rows is drawn from.

    Persistent chains track a machine that changes slowly, as in persistent
    contrastive divergence (Tieleman 2008). They live outside the machine: a
    module's buffers would be broadcast and overwritten in data-parallel
    training.
    """

    _rows = 1

    def __init__(self, chains, sweeps, persistent, seed):
        self.chains = check_whole("chains", chains, 1)
        self.sweeps = check_whole("sweeps", sweeps, 1)
        self.persistent = persistent
        self.seed = seed
        self._generator = None
        self._states = None  # (rows * chains, n_units)
        self._machine = None  # weak: the sampler does not keep it alive

    def sample(self, machine, n):
        """Draw `n` states.

        With persistent chains, up to `chains` draws come from different
        chains; further ones come from the same chains after more sweeps, and
        so are correlated with the earlier ones.

        Returns
        -------
        Tensor, shape (n, n_units)
        """
        check_whole("n", n, 1)
        check_classical(machine, type(self).__name__)
        like = next(machine.parameters())
        self._seed_on(like.device)
        if not self.persistent:
            z = self._fresh(n, machine, like)
            self._advance(machine, z, self.sweeps)
            return z[:n]
        self._bind(machine, like)
        draws = []
        while sum(map(len, draws)) < n:
            self._advance(machine, self._states, self.sweeps)
            draws.append(self._states[: self.chains].clone())
        return torch.cat(draws)[:n]

    def state_dict(self):
        """Chains and random state, as a flat dict of tensors."""
        state = {}
        if self._generator is not None:
            state["generator"] = self._generator.get_state()
        if self._states is not None:
            state["chains"] = self._states.clone()
        return state

    def load_state_dict(self, state):
        """Restore chains and random state; the next machine adopts them."""
        self._machine = None
        self._states = self._generator = None
        if "chains" in state:
            self._states = state["chains"].clone()
            self.chains = len(self._states) // self._rows
        if "generator" in state:
            device = "cpu" if self._states is None else self._states.device
            self._seed_on(device)
            self._generator.set_state(state["generator"].cpu())

    def __deepcopy__(self, memo):
        """A copy with chains of its own, for the copy of a machine."""
        twin = copy.copy(self)
        twin.load_state_dict(self.state_dict())
        return twin

    def _fresh(self, n, machine, like):
        return random_bits(
            self._rows * n,
            machine.n_units,
            generator=self._generator,
            like=like,
        )

    def _seed_on(self, device):
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)

    def _bind(self, machine, like):
        """Start the chains, or make sure that they are this machine's."""
        if self._machine is None and self._states is not None:
            if self._states.shape[1] != machine.n_units:
                raise ValueError(
                    f"these chains have {self._states.shape[1]} units, the "
                    f"machine has {machine.n_units}; use a new "
                    f"{type(self).__name__}"
                )
        elif self._machine is None:
            self._states = self._fresh(self.chains, machine, like)
            self._advance(machine, self._states, BURN_IN)
        elif self._machine() is not machine:
            raise ValueError(
                "these persistent chains belong to another machine; use one "
                f"{type(self).__name__} a machine, or persistent=False"
            )
        self._machine = weakref.ref(machine)
        self._states = self._states.to(like)
