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


@torch.no_grad()
def follow(averages, weights, steps, *, longest=float("inf")):
    """Move averages towards the weights of the latest step, in place.

    Parameters
    ----------
    averages, weights : iterable of Tensor
    steps : int
        Steps done before this one.
    longest : float
        Steps that an average reaches back at most.
    """
    share = max(1 / (1 + SHARE * steps), 1 / longest)
    torch._foreach_lerp_(list(averages), list(weights), share)


class RunningAverage:
    """The average of a module's weights over its latest steps.

    Parameters
    ----------
    module : nn.Module
    longest : float
        See `follow`.
    """

    def __init__(self, module, longest=100):
        self.longest = longest
        self.steps = 0
        self._live = [p for p in module.parameters() if p.requires_grad]
        self.weights = [p.detach().clone() for p in self._live]

    def update(self):
        """Take in the weights after one more step."""
        follow(self.weights, self._live, self.steps, longest=self.longest)
        self.steps += 1

    @torch.no_grad()
    def settle(self):
        """Put the average into the module for good."""
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
