"""The one kernel of all simulated samplers: redraw units given the others.

Geman and Geman 1984, Stochastic relaxation, Gibbs distributions, and the
Bayesian restoration of images. Units that are not coupled to each other are
redrawn at once, a whole layer of an RBM for instance (block Gibbs); coupled
ones in turn, side by side in all chains.

Random numbers and fresh memory, not matrix products, are what a naive sweep
waits for. So memory is taken once for many sweeps, and a draw of a bit takes
16 random bits of its own. They alone would make every probability a multiple
of 2^-16; 7 further bits, shared by all draws of one sweep, move the grid. See
`uniforms` for what is left of the error.
"""

import math
import numbers

import torch

from qbmvae_mini.checks import check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.random_numbers import Uniforms


def sweep(machine, z, beta=1.0, *, sweeps=1, generator=None):
    """Redraw every unit of every chain, in place.

    It leaves exp(-beta E) / Z(beta) unchanged.

    Parameters
    ----------
    machine : Machine
    z : Tensor, shape (chains, n_units)
        Bits, overwritten with the new state.
    beta : float or Tensor, shape (chains, 1)
        Inverse temperature, of all chains or of each.
    sweeps : int
        How often to redraw every unit.
    generator : torch.Generator, optional

    Returns
    -------
    Tensor
        `z` itself.

    Raises
    ------
    TypeError
        If the machine is not classical.
    ValueError
        If its weights are no numbers, `z` is none of its states, or `beta`
        is negative or not finite; `z` is left as it was.
    """
    sweeps = check_whole("sweeps", sweeps, 1)
    check_classical(machine, "a sweep")
    _check_states(machine, z)
    _check_beta(beta, z)
    HeatBath(machine, z, generator=generator).sweep(beta, sweeps=sweeps)
    return z


class HeatBath:
    """Sweeps of one machine over one set of chains, at any temperature.

    Gibbs sampling, annealed importance sampling and tempering all use it. It
    holds memory for the random numbers and fields of a sweep, which costs
    more to take than to fill. The machine's weights are those of the moment
    when this object was made.

    Parameters
    ----------
    machine : Machine
    z : Tensor, shape (chains, n_units)
        Bits, overwritten by each sweep.
    generator : torch.Generator, optional

    Raises
    ------
    ValueError
        If `z` is no state of the machine.
    """

    @torch.no_grad()
    def __init__(self, machine, z, *, generator=None):
        _check_states(machine, z)
        self._generator = generator
        self._uniforms = Uniforms(z.numel(), z)
        self._steps = []
        start = 0
        for step in machine.conditionals():
            redraw = _at_once
            shape = (len(z), len(step.bias))
            if step.inner is not None:  # a unit's chains lie side by side
                redraw = _in_turn
                shape = shape[::-1]
            u = self._uniforms.u[start : start + math.prod(shape)].view(shape)
            views = [z[:, step.source], None]
            if isinstance(step.target, slice):
                views[1] = z[:, step.target]
            memory = (*views, u, torch.empty_like(u))
            self._steps.append((redraw, step, z, *memory))
            start += u.numel()

    @torch.no_grad()
    def sweep(self, beta=1.0, *, sweeps=1):
        """Redraw every unit `sweeps` times; `beta` as in `sweep`."""
        for _ in range(sweeps):
            self._uniforms.draw(self._generator)
            for redraw, *memory in self._steps:
                redraw(*memory, beta)


def _check_states(machine, z):
    """Refuse what cannot be overwritten with states of the machine."""
    like = next(machine.parameters())
    tensor = isinstance(z, torch.Tensor)
    if (
        not tensor
        or z.ndim != 2
        or z.shape[1] != machine.n_units
        or (z.dtype, z.device) != (like.dtype, like.device)
    ):
        found = type(z).__name__
        if tensor:
            found = f"{tuple(z.shape)} in {z.dtype} on {z.device}"
        raise ValueError(
            f"z is a tensor of shape (chains, {machine.n_units}) in "
            f"{like.dtype} on {like.device}, like the machine, not {found}"
        )


def _check_beta(beta, z):
    """Refuse what is no inverse temperature of these chains."""
    if isinstance(beta, torch.Tensor):
        shaped = beta.shape == (len(z), 1)
        known = shaped and bool(((beta >= 0) & (beta < math.inf)).all())
    else:
        known = isinstance(beta, numbers.Real) and 0 <= beta < math.inf
    if not known:
        raise ValueError(
            "beta is a finite number of at least 0, or a tensor of them of "
            f"shape ({len(z)}, 1), not {beta!r}"
        )


def _at_once(step, z, source, target, u, field, beta):
    """Redraw units that are not coupled to each other."""
    # (chains, n_source) @ (n_source, n_target) -> (chains, n_target)
    if type(beta) is float:  # checking for a tensor is slow
        torch.addmm(
            step.bias, source, step.weight, beta=beta, alpha=beta, out=field
        )
    else:
        torch.addmm(step.bias, source, step.weight, out=field).mul_(beta)
    on = field.sigmoid_()
    if target is None:
        z[:, step.target] = u.lt_(on)
    else:
        torch.lt(u, on, out=target)


def _in_turn(step, z, source, target, u, field, beta):
    """Redraw units one after the other, each in all chains."""
    # (n_target, n_source) @ (n_source, chains) -> (n_target, chains)
    torch.addmm(step.bias[:, None], step.weight.T, source.T, out=field)
    # u < sigmoid(beta f) is the same as logit(u) / beta < f.
    per_chain = beta.T if isinstance(beta, torch.Tensor) else beta
    field -= u.logit_().div_(per_chain)
    zero = field.new_zeros(())  # comparing with a Python number is slow
    rows = zip(field.unbind(), step.inner.unbind(), strict=True)
    for done, (unit, coupling) in enumerate(rows, 1):
        unit.gt_(zero)  # the margin becomes the bit
        # Units that are still to come see the new bit.
        field[done:].addr_(coupling[done:], unit)
    z[:, step.target] = field.T
