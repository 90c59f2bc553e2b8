"""What Gibbs sampling and tempering share: chains that may be kept."""

import copy
import weakref

import torch

from qbmvae_mini.checks import (
    check_bits,
    check_seed,
    check_switch,
    check_whole,
)
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.base import Sampler
from qbmvae_mini.samplers.random_numbers import (
    check_words_state,
    random_bits,
    seeded_words,
)
from qbmvae_mini.samplers.sweeps import HeatBath, by_units

#: Sweeps from coin flips before persistent chains give their first draw.
BURN_IN = 100

#: What to do about a state that cannot be taken up.
GO_ON = "to go on without it, start with new chains: fit(new_chains=True)"


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
        self.persistent = check_switch("persistent", persistent)
        self.seed = check_seed(seed)
        self._forget()

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
        sizes = [min(self.chains, n - k) for k in range(0, n, self.chains)]
        draws = [self._next(machine, size) for size in sizes]
        return draws[0] if len(draws) == 1 else torch.cat(draws)

    def _next(self, machine, n):
        """The states of `n` chains after more sweeps."""
        self._advance(machine, self._states, self.sweeps)
        return self._states[:n].clone()

    def draw(self, machine, n):
        """`sample`: these are states of the machine, without a check."""
        return self.sample(machine, n)

    @property
    def draws(self):
        """One state a chain."""
        return self.chains

    def kept_states(self):
        """Copies of the persistent chains, (chains, n_units), or None."""
        if self._states is None:
            return None
        return self._states[: self.chains].clone()

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
        twin._random_state = None
        return twin

    @torch.inference_mode(False)  # as in `sample`
    def reset(self):
        """Forget chains and random state; both start anew from the seed."""
        self._forget()

    def _forget(self):
        self._words = None  # random ones, on the device of the chains
        self._random_state = None  # restored, for the words to come
        self._states = None  # (rows * chains, n_units)
        self._heat_bath = None  # of these states, for its memory
        self._machine = None  # weak: the sampler does not keep it alive

    def state_dict(self):
        """Chains and random state, as a flat dict of tensors."""
        state = {}
        if self._words is not None:
            state["generator"] = self._words.get_state()
        elif self._random_state is not None:
            state["generator"] = self._random_state.clone()
        if self._states is not None:
            state["chains"] = self._states.clone()
        return state

    @torch.inference_mode(False)
    def load_state_dict(self, state):
        """Restore chains and random state; the next machine adopts them.

        The random state of a GPU cannot go on elsewhere, nor that of a CPU on
        a GPU: there the random numbers start from the seed, and the chains go
        on.

        Raises
        ------
        ValueError
            If the state is damaged or one of another kind of sampler; nothing
            is changed then.
        """
        self._check_state(state)
        self._forget()
        copies = {name: state[name].detach().clone() for name in state}
        if "chains" in copies:
            self._states = by_units(copies["chains"])
            self.chains = len(self._states) // self._rows
        if "generator" in copies:
            self._random_state = copies["generator"].cpu()

    def __getstate__(self):
        """For copies, and other processes: chains of their own.

        They are adopted by the next machine, such as the copy of this one.
        """
        state = self.state_dict()
        return vars(self) | {
            "_words": None,
            "_heat_bath": None,
            "_machine": None,
            "_random_state": state.get("generator"),
            "_states": state.get("chains"),
        }

    @torch.inference_mode(False)
    def __setstate__(self, state):
        for name, value in state.items():
            tensor = isinstance(value, torch.Tensor)
            setattr(self, name, value.clone() if tensor else value)

    def _check_state(self, state):
        who = type(self).__name__
        unknown = set(state) - self._names
        if unknown:
            raise ValueError(
                f"this state is none of a {who}: it holds "
                f"{', '.join(sorted(unknown))}; {GO_ON}"
            )
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                raise ValueError(
                    f"{name} of this state is a tensor, not "
                    f"{type(value).__name__}"
                )
        if "generator" in state:
            check_words_state(state["generator"], GO_ON)
        if "chains" not in state:
            return
        shape = tuple(state["chains"].shape)
        if len(shape) != 2 or not shape[0] or shape[0] % self._rows:
            rows = f" of {self._rows} rows each" if self._rows > 1 else ""
            raise ValueError(
                f"the chains of a {who}{rows} are states, one a row, and not "
                f"of shape {shape}; {GO_ON}"
            )
        check_bits(f"chains of a {who}", state["chains"])

    def _fresh(self, n, machine, like):
        """Coin flips that lie as sweeps want them."""
        chains = self._rows * n
        return random_bits(
            machine.n_units, chains, generator=self._words, like=like
        ).T

    def _seed_on(self, device):
        if self._words is not None and self._words.device == device:
            return
        self._words = seeded_words(self.seed, device)
        known, self._random_state = self._random_state, None
        if known is not None and known.dtype == self._words.state_dtype:
            self._words.set_state(known)

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

    def _heat_bath_of(self, machine, z):
        """Sweeps of `z` by the weights of now, in the memory of before."""
        known = self._heat_bath
        if known is not None and known.z is z:
            known.renew(machine)
            return known
        new = HeatBath(machine, z, generator=self._words)
        if z is self._states:
            self._heat_bath = new
        return new
