"""Averages of weights along a training: less noise at no cost in steps.

Polyak and Juditsky 1992, Acceleration of stochastic approximation by
averaging. The gradient of a step is noisy, from the draw of cells, of codes
and of negative states; the weights wander about their optimum, and their
average lies nearer to it than where they happen to be.
"""

from contextlib import contextmanager

import torch

#: Weights are averaged over about this share of the steps done so far.
SHARE = 0.1

#: Steps between two looks of a `RunningAverage`: neighbours hardly differ.
EVERY = 8


@torch.no_grad()
def follow(averages, weights, steps, *, longest=float("inf"), looks_back=1):
    """Move averages towards the weights of the latest step, in place.

    The first step, with `steps` = 0, replaces what the averages were.

    Parameters
    ----------
    averages, weights : iterable of Tensor
    steps : int
        Steps done before this one.
    longest : float
        Steps that an average reaches back at most.
    looks_back : int
        Steps that these weights stand for, this one and those before it.
    """
    kept = 1.0
    for step in range(steps - looks_back + 1, steps + 1):
        kept *= 1 - max(1 / (1 + SHARE * step), 1 / longest)
    torch._foreach_lerp_(list(averages), list(weights), 1 - kept)


class RunningAverage:
    """The average of a module's weights over its latest steps.

    It looks at the weights of one step in `EVERY`, and whenever it is asked
    for; they stand for all steps since the look before.

    Parameters
    ----------
    module : nn.Module
    longest : float
        See `follow`.
    """

    def __init__(self, module, longest=100):
        self.longest = longest
        self.steps = 0  # done
        self.looked = 0  # of these, until the last look
        self._live = [p for p in module.parameters() if p.requires_grad]
        self.weights = [p.detach().clone() for p in self._live]

    def update(self):
        """Count one more step, and take in the weights if a look is due."""
        self.steps += 1
        if self.steps - self.looked >= EVERY:
            self.look()

    def look(self):
        """Take in the weights of the latest step now."""
        if self.steps == self.looked:
            return
        follow(
            self.weights,
            self._live,
            self.steps - 1,
            longest=self.longest,
            looks_back=self.steps - self.looked,
        )
        self.looked = self.steps

    @torch.no_grad()
    def settle(self):
        """Put the average into the module for good."""
        self.look()
        torch._foreach_copy_(self._live, self.weights)

    @contextmanager
    def in_place(self):
        """The module with averaged weights, as long as this lasts."""
        kept = [weight.detach().clone() for weight in self._live]
        self.settle()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, kept)
