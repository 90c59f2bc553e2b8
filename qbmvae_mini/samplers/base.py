"""What may be asked of every sampler; one method is enough to write one.

::

    class CoinFlips(Sampler):
        def sample(self, machine, n):
            u = torch.rand(n, machine.n_units, generator=self.generator)
            return u.round().to(machine.offset)

Everything else has a default that is right for a sampler whose only memory is
its random numbers. `qbmvae_mini.estimates.check_sampler` looks at all of it.
"""

import copy
from abc import ABC, abstractmethod

import dimod
import torch

from qbmvae_mini.checks import check_bits, check_whole
from qbmvae_mini.machines.base import check_is_machine


class Sampler(ABC):
    """Draws states of a machine.

    Attributes
    ----------
    draws : int
        States to ask for where an average is wanted, as in a negative phase.
        A sampler of many chains has as many draws as chains.
    seed : int
        Where `generator` begins.
    draws_paths : bool
        Whether it has ``sample_paths(machine, n)``, the world lines of a
        quantum machine; see `PathIntegralSampler`.
    """

    draws = 256
    draws_paths = False
    seed = 0
    _generator = None

    @abstractmethod
    def sample(self, machine, n):
        """Draw `n` states, bits of shape (n, n_units)."""

    def draw(self, machine, n):
        """`sample`, with its answer checked: `n` states of the machine.

        Raises
        ------
        TypeError, ValueError
            If the answer is no tensor, of another shape, or holds no bits.
        """
        who = type(self).__name__
        check_is_machine(machine, who)
        n = check_whole("n", n, 1)
        z = self.sample(machine, n)
        if not isinstance(z, torch.Tensor):
            raise TypeError(
                f"{who} returned a {type(z).__name__}; return the bits as a "
                "torch.Tensor"
            )
        if tuple(z.shape) != (n, machine.n_units):
            raise ValueError(
                f"{who} returned draws of shape {tuple(z.shape)}, asked for "
                f"{(n, machine.n_units)}"
            )
        check_bits(f"draws of {who}", z)
        return z.to(machine.offset)

    def mean_energy(self, machine, draws=None):
        """Mean energy under the machine's law, a scalar with a gradient.

        The gradient is the mean gradient of E, the negative phase: minus the
        gradient of log Z. By default over `draws` states (by default as many
        as the attribute says); a sampler that knows the law does better.
        """
        n = self.draws if draws is None else draws
        return machine.mean_energy(self.draw(machine, n))

    def visible_phase(self, machine, data, draws=None):
        """Mean visible energy under the machine's law, a scalar.

        As `mean_energy`, with hidden units summed out. `data` are what the
        machine learns from, for samplers that start there.
        """
        n = self.draws if draws is None else draws
        z = self.draw(machine, n)
        return machine.visible_energy(z[:, : machine.n_visible]).mean()

    def fork(self, seed):
        """A copy that draws on its own, by random numbers of `seed`.

        This sampler stays as it is. By default a deep copy whose ``seed`` is
        another one, reset; chains that are kept go on in the copy.
        """
        twin = copy.deepcopy(self)
        twin.seed = seed
        twin.reset()
        return twin

    @property
    def generator(self):
        """Random numbers of the sampler's own, on the CPU, from `seed` on."""
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self.seed)
        return self._generator

    def kept_states(self):
        """Copies of the chains, near the law of their machine, or None.

        By default None: a sampler without chains.
        """
        return None

    def settings(self):
        """What to build it with again, fit for JSON; tells two runs apart."""
        return {"seed": self.seed}

    def state_dict(self):
        """What a run needs to go on to the same numbers, flat, tensors."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state):
        """Restore what `state_dict` gave.

        Raises
        ------
        ValueError
            If the state is one of another kind of sampler; nothing is changed
            then.
        """
        check_state(self, state, "generator")
        generator = torch.Generator()
        try:
            generator.set_state(state["generator"].cpu())
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                "the generator of this state is no random state of a CPU; "
                "start anew with reset()"
            ) from error
        self._generator = generator

    def reset(self):
        """Forget all draws so far: chains start anew, seeds at the first."""
        self._generator = None


def check_state(sampler, state, name):
    """Refuse a state that is not `name` alone, a tensor.

    Raises
    ------
    ValueError
    """
    if not isinstance(state, dict) or set(state) != {name}:
        found = type(state).__name__
        if isinstance(state, dict):
            found = ", ".join(sorted(map(str, state))) or "nothing"
        raise ValueError(
            f"this state is none of a {type(sampler).__name__}: it holds "
            f"{found}, and not {name} alone; start anew with reset()"
        )
    if not isinstance(state[name], torch.Tensor):
        raise ValueError(
            f"{name} of this state is a tensor, not "
            f"{type(state[name]).__name__}"
        )


def check_is_sampler(sampler):
    """Refuse what is no `Sampler`, with a word on what to do.

    Raises
    ------
    TypeError
    """
    if isinstance(sampler, Sampler):
        return
    if isinstance(sampler, dimod.Sampler):
        name = type(sampler).__name__
        raise TypeError(
            f"{name} is a dimod sampler; hand it over as DimodSampler({name}())"
        )
    raise TypeError(
        "sampler is an object of a class derived from "
        "qbmvae_mini.samplers.Sampler, such as GibbsSampler(), not "
        f"{sampler!r}"
    )
