"""What Gibbs sampling and tempering share: chains that may be kept."""

import copy
import weakref

import torch

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.base import Sampler
from qbmvae_mini.samplers.random_numbers import random_bits

#: Sweeps from coin flips before persistent chains give their first draw.
BURN_IN = 100


class Chains(Sampler):
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
    _names = frozenset({"generator", "chains"})  # what a state may hold

    def __init__(self, chains, sweeps, persistent, seed):
        self.chains = check_whole("chains", chains, 1)
        self.sweeps = check_whole("sweeps", sweeps, 1)
        self.persistent = persistent
        self.seed = check_seed(seed)
        self._generator = None
        self._random_state = None  # restored, for the generator to come
        self._states = None  # (rows * chains, n_units)
        self._machine = None  # weak: the sampler does not keep it alive

    @torch.inference_mode(False)  # its tensors take no sweep outside of it
    @torch.no_grad()
    def sample(self, machine, n):
        """Draw `n` states.

        With persistent chains, up to `chains` draws come from different
        chains; further ones come from the same chains after more sweeps, and
        so are correlated with the earlier ones.

        Returns
        -------
        Tensor, shape (n, n_units)
        """
        n = check_whole("n", n, 1)
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

    @property
    def draws(self):
        """One state a chain."""
        return self.chains

    def settings(self):
        """Chains, sweeps, whether chains are kept, and the seed."""
        return {
            "chains": self.chains,
            "sweeps": self.sweeps,
            "persistent": self.persistent,
            "seed": self.seed,
        }

    def fork(self, seed):
        """A copy whose chains go on from here, by random numbers of `seed`."""
        twin = copy.deepcopy(self)
        twin.seed = seed
        twin._generator = twin._random_state = None
        return twin

    def reset(self):
        """Forget chains and random state; both start anew from the seed."""
        self._generator = self._random_state = None
        self._states = self._machine = None

    def state_dict(self):
        """Chains and random state, as a flat dict of tensors."""
        state = {}
        if self._generator is not None:
            state["generator"] = self._generator.get_state()
        elif self._random_state is not None:
            state["generator"] = self._random_state.clone()
        if self._states is not None:
            state["chains"] = self._states.clone()
        return state

    @torch.inference_mode(False)  # as in `sample`
    def load_state_dict(self, state):
        """Restore chains and random state; the next machine adopts them.

        The random state of a GPU cannot go on elsewhere, nor that of a CPU on
        a GPU: there the random numbers start from the seed, and the chains go
        on.

        Raises
        ------
        ValueError
            If the state is one of another kind of sampler; nothing is changed
            then.
        """
        self._check_state(state)
        copies = {name: state[name].detach().clone() for name in state}
        self._machine = self._generator = None
        self._states = copies.get("chains")
        if self._states is not None:
            self.chains = len(self._states) // self._rows
        self._random_state = copies.get("generator")
        if self._random_state is not None:
            self._random_state = self._random_state.cpu()

    def __getstate__(self):
        """What a pickle holds: the next machine adopts the chains."""
        kept = vars(self) | {"_generator": None, "_machine": None}
        if self._generator is not None:
            kept["_random_state"] = self._generator.get_state()
        return kept

    def __deepcopy__(self, memo):
        """A copy with chains of its own, for the copy of a machine."""
        twin = copy.copy(self)
        twin.load_state_dict(self.state_dict())
        return twin

    def _check_state(self, state):
        who = type(self).__name__
        unknown = set(state) - self._names
        if unknown:
            raise ValueError(
                f"this state is none of a {who}: it holds "
                f"{', '.join(sorted(unknown))}; start with new chains"
            )
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                raise ValueError(
                    f"{name} of this state is a tensor, not "
                    f"{type(value).__name__}"
                )
        if "chains" not in state:
            return
        shape = tuple(state["chains"].shape)
        if len(shape) != 2 or not shape[0] or shape[0] % self._rows:
            rows = f" of {self._rows} rows each" if self._rows > 1 else ""
            raise ValueError(
                f"the chains of a {who}{rows} are states, one a row, and not "
                f"of shape {shape}; start with new chains"
            )

    def _fresh(self, n, machine, like):
        return random_bits(
            self._rows * n,
            machine.n_units,
            generator=self._generator,
            like=like,
        )

    def _seed_on(self, device):
        if self._generator is not None and self._generator.device == device:
            return
        self._generator = torch.Generator(device).manual_seed(self.seed)
        known, self._random_state = self._random_state, None
        if known is not None and known.shape == (
            self._generator.get_state().shape
        ):
            self._generator.set_state(known)

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
