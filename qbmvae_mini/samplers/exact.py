"""Exact sampling by enumeration: the oracle for every other sampler."""

import torch

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.machines.rbm import RBM
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
        self._generator = torch.Generator().manual_seed(self.seed)

    @torch.no_grad()
    def sample(self, machine, n):
        """Draw `n` states, shape (n, n_units), in the machine's precision."""
        n = check_whole("n", n, 1)
        check_classical(machine, "ExactSampler")
        if isinstance(machine, RBM):
            return self._sample_rbm(machine, n)
        states = _states(machine.n_units, machine.bias)
        return states[self._draw(-machine.energy(states), n)]

    def mean_energy(self, machine, draws=None):
        """Mean energy under the machine's own law, by enumeration.

        The probabilities are held constant, so the gradient is the mean
        gradient of E: the negative phase, free of sampling noise. No state is
        drawn, however many are asked for.
        """
        check_classical(machine, "ExactSampler")
        if isinstance(machine, RBM):
            with torch.no_grad():
                kept, log_weights, layer = _smaller_layer(machine)
                # E is multilinear: the other layer may enter by its means.
                states = _join(kept, _other_means(machine, kept, layer), layer)
            return log_weights.softmax(0) @ machine.energy(states)
        states = _states(machine.n_units, machine.bias)
        energy = machine.energy(states)
        return energy.detach().neg().softmax(0) @ energy

    def visible_phase(self, machine, data, draws=None):
        """The same number: hidden units are summed out already."""
        return self.mean_energy(machine)

    def _sample_rbm(self, machine, n):
        states, log_weights, layer = _smaller_layer(machine)
        kept = states[self._draw(log_weights, n)]
        other = self._bits(_other_means(machine, kept, layer))
        return _join(kept, other, layer)

    def _draw(self, log_weights, n):
        """Indices of `n` draws from softmax(log_weights)."""
        cumulative = log_weights.double().softmax(0).cumsum(0)
        uniform = torch.rand(n, generator=self._generator, dtype=torch.float64)
        index = torch.searchsorted(cumulative.cpu(), uniform)
        return index.clamp_(max=len(cumulative) - 1).to(log_weights.device)

    def _bits(self, p):
        uniform = torch.rand(p.shape, generator=self._generator, dtype=p.dtype)
        return (uniform.to(p.device) < p).to(p.dtype)

    def settings(self):
        """The seed."""
        return {"seed": self.seed}

    def reset(self):
        """Start the random numbers anew from the seed."""
        self._generator.manual_seed(self.seed)

    def state_dict(self):
        """Random state, as a dict of tensors."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state):
        """Continue with the random state of `state_dict`."""
        if "generator" not in state:
            raise ValueError(
                "this state is none of an ExactSampler: it holds "
                f"{', '.join(sorted(state)) or 'nothing'}, and no generator"
            )
        self._generator.set_state(state["generator"].cpu())


def _smaller_layer(machine):
    """Its states, their log weights -F, and which layer of the RBM it is."""
    layer = "left" if machine.n_left <= machine.n_right else "right"
    size = min(machine.n_left, machine.n_right)
    states = _states(size, machine.a)
    return states, -machine.free_energy(states, layer), layer


def _other_means(machine, kept, layer):
    """Means of the other layer's bits, given those of `layer`."""
    if layer == "left":
        return torch.sigmoid(machine.c + kept @ machine.W)
    return torch.sigmoid(machine.a + kept @ machine.W.T)


def _join(kept, other, layer):
    left_first = (kept, other) if layer == "left" else (other, kept)
    return torch.cat(left_first, dim=1)


def _states(n_units, like):
    if n_units > MAX_STATES:
        raise ValueError(
            f"exact sampling would list 2^{n_units} states; the limit is "
            f"{MAX_STATES} units (an RBM's smaller layer). Use GibbsSampler."
        )
    return all_states(n_units, dtype=like.dtype).to(like.device)
