"""Samplers whose random numbers are another library's."""

import torch

from qbmvae_mini.samplers.base import Sampler, check_state


class NumberedCalls(Sampler):
    """Each call gets the next seed, since one seed would repeat the draws.

    A child calls ``_next_seed(modulus)`` and, when its draws are there,
    ``_count()``: a call that failed repeats its seed.
    """

    _calls = 0

    def _next_seed(self, modulus):
        """A seed below `modulus` for the call that is being made."""
        return (self.seed * 1_000_003 + self._calls) % modulus

    def _count(self):
        self._calls += 1

    def reset(self):
        """Start again with the first seed."""
        self._calls = 0

    def state_dict(self):
        """How many calls were made, which decides the next seed."""
        return {"calls": torch.tensor(self._calls)}

    def load_state_dict(self, state):
        """Continue with the seed that comes next.

        Raises
        ------
        ValueError
            If the state is one of another kind of sampler; nothing is changed
            then.
        """
        check_state(self, state, "calls")
        calls = state["calls"]
        whole = calls.numel() == 1 and not calls.is_complex()
        if not whole or calls < 0 or calls != calls.round():
            raise ValueError(
                "calls of this state is a whole number of at least 0, not "
                f"{calls.tolist()}; start anew with reset()"
            )
        self._calls = int(calls)
