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

from qbmvae_mini.boltzmann import check_classical
from qbmvae_mini.checks import check_whole

#: Sweeps whose shared bits are drawn together.
OFFSETS_AT_ONCE = 16


def uniforms(shape, *, like, generator=None):
    """Uniform numbers in (0, 1) from 16 random bits each and 7 shared ones.

    Every number alone is uniform on the 2^23 midpoints
    ``(2 k + 1) / 2^24``, so a comparison with a probability p is biased by at
    most 2^-24, as with `torch.rand` in float32. Two numbers of one call share
    7 bits: two bits drawn from them have a covariance of at most 2^-34.

    Parameters
    ----------
    shape : tuple of int
    like : Tensor
        Gives precision and device.
    generator : torch.Generator, optional

    Returns
    -------
    Tensor
    """
    return Uniforms(math.prod(shape), like).draw(generator).view(shape)


class Uniforms:
    """Memory for `uniforms`, filled anew at each draw.

    Parameters
    ----------
    count : int
    like : Tensor
        Gives precision and device.
    """

    def __init__(self, count, like):
        n_words = -(-count // 4)  # four numbers a word of 64 bits
        self._words = torch.empty(
            n_words, dtype=torch.int64, device=like.device
        )
        self._whole = self._words.view(torch.int16)
        self._numbers = like.new_empty(4 * n_words)
        self._offsets = []
        self.u = self._numbers[:count]

    def draw(self, generator=None):
        """Fill `u`, shape (count,), and return it."""
        if not self._offsets:
            self._offsets = self._draw_offsets(generator)
        self._words.random_(-(2**63), None, generator=generator)
        self._numbers.copy_(self._whole)
        return in_unit_interval(self.u, self._offsets.pop())

    def _draw_offsets(self, generator):
        """The shared bits of the next draws: one number costs as much."""
        words = self._words.new_empty(OFFSETS_AT_ONCE // 4)
        words.random_(-(2**63), None, generator=generator)
        shared = words.view(torch.int16).to(self.u.dtype).remainder_(128)
        return list(grid_offset(shared).unbind())


def grid_offset(shared):
    """Where the grid of `in_unit_interval` lies, by whole numbers 0 to 127."""
    return shared * 2.0**-23 + (0.5 + 2.0**-24)


def in_unit_interval(own, offset):
    """Numbers in (0, 1), in place of the whole numbers that they come from.

    Exact in float32: the results have 24 bits.

    Parameters
    ----------
    own : Tensor
        Whole numbers from -2^15 to 2^15 - 1.
    offset : Tensor of one number
        From `grid_offset`.
    """
    return torch.add(offset, own, alpha=2.0**-16, out=own)  # in one pass


def random_bits(n, n_units, *, generator=None, like=None):
    """Fair coin flips, shape (n, n_units), on the device of `like`."""
    like = torch.zeros(()) if like is None else like
    return uniforms((n, n_units), like=like, generator=generator).round_()


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
