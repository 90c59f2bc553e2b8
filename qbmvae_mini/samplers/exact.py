"""Exact sampling by enumeration: the oracle for every other sampler."""

import torch

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.machines.states import all_states
from qbmvae_mini.samplers.base import Sampler

#: Above this, an array over all states would not fit into memory.
MAX_STATES = 20


class ExactSampler(Sampler):
    """Independent draws from exp(-E) / Z, by listing all states.

    An RBM needs only its smaller layer listed: that layer is drawn from its
    marginal exp(-F), the other one from its conditional.

    Parameters
    ----------
    seed : int
        Seeds the sampler's own random numbers.

    Raises
    ------
    ValueError
        If more than 20 units have to be listed.
    """

    def __init__(self, seed=0):
        self.seed = check_seed(seed)

    @torch.no_grad()
    def sample(self, machine, n):
        """Draw `n` states, shape (n, n_units), in the machine's precision."""
        n = check_whole("n", n, 1)
        listing, states = _listed(machine)
        states = states[self._draw(listing.log_weights(states), n)]
        return listing.join(states, self._bits(listing.rest_means(states)))

    def mean_energy(self, machine, draws=None):
        """Mean energy under the machine's own law, by enumeration.

        The probabilities are held constant, so the gradient is the mean
        gradient of E: the negative phase, free of sampling noise. No state is
        drawn, however many are asked for.
        """
        listing, states = _listed(machine)
        with torch.no_grad():
            p = listing.log_weights(states).softmax(0)
            # E is multilinear: units summed out may enter by their means.
            states = listing.join(states, listing.rest_means(states))
        return p @ machine.energy(states)

    def visible_phase(self, machine, data, draws=None):
        """The same number: hidden units are summed out already."""
        return self.mean_energy(machine)

    def _draw(self, log_weights, n):
        """Indices of `n` draws from softmax(log_weights)."""
        cumulative = log_weights.cpu().double().softmax(0).cumsum(0)
        uniform = torch.rand(n, generator=self.generator, dtype=torch.float64)
        index = torch.searchsorted(cumulative, uniform)
        return index.clamp_(max=len(cumulative) - 1).to(log_weights.device)

    def _bits(self, p):
        uniform = torch.rand(p.shape, generator=self.generator, dtype=p.dtype)
        return (uniform.to(p.device) < p).to(p.dtype)


def _listed(machine):
    """The machine's listing, and the states that have to be listed."""
    check_classical(machine, "ExactSampler")
    listing = machine.listing()
    if listing.n_units > MAX_STATES:
        raise ValueError(
            f"exact sampling would list 2^{listing.n_units} states; the limit "
            f"is {MAX_STATES} units (an RBM's smaller layer). Use GibbsSampler."
        )
    states = all_states(listing.n_units, dtype=machine.offset.dtype)
    return listing, states.to(machine.offset.device)
