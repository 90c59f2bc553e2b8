"""What may be asked of every sampler; one method is enough to write one.

::

    class CoinFlips(Sampler):
        def sample(self, machine, n):
            return torch.randint(2, (n, machine.n_units)).float()

Everything else has a default that is right for a sampler without a memory.
"""

from abc import ABC, abstractmethod

import dimod
import torch

from qbmvae_mini.checks import check_bits


class Sampler(ABC):
    """Draws states of a machine.

    Attributes
    ----------
    draws : int
        States to ask for where an average is wanted, as in a negative phase.
        A sampler of many chains has as many draws as chains.
    """

    draws = 256

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
        z, who = self.sample(machine, n), type(self).__name__
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
        return z.to(next(machine.parameters()))

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

    def kept_states(self):
        """Copies of the chains, near the law of their machine, or None.

        By default None: a sampler without chains.
        """
        return None

    def settings(self):
        """What to build it with again, fit for JSON; tells two runs apart."""
        return {}

    def state_dict(self):
        """What a run needs to go on to the same numbers, flat, tensors."""
        return {}

    def load_state_dict(self, state):
        """Restore what `state_dict` gave.

        Raises
        ------
        ValueError
            If the state is one of another kind of sampler; nothing is changed
            then.
        """
        if state:
            raise ValueError(
                f"a {type(self).__name__} keeps no state, and this one holds "
                f"{', '.join(sorted(state))}; start with new chains"
            )

    def reset(self):  # noqa: B027, there may be nothing to forget
        """Forget all draws so far: chains start anew, seeds at the first."""


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
