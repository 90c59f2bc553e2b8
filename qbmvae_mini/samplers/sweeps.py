"""The one kernel of all simulated samplers: redraw units given the others.

Geman and Geman 1984, Stochastic relaxation, Gibbs distributions, and the
Bayesian restoration of images. Units that are not coupled to each other are
redrawn at once, a whole layer of an RBM for instance (block Gibbs); coupled
ones in turn, side by side in all chains.

Random numbers and scattered memory, not matrix products, are what a naive
sweep waits for. So the numbers are cheap ones, made for many sweeps at once
(see `uniforms`), and a unit's bits in all chains lie side by side: those of a
layer are one piece of memory, and a neighbour's are one row.
"""

import itertools
import math
import numbers

import torch

from qbmvae_mini.checks import check_whole
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.random_numbers import Uniforms, words_of


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
    holds copies of the machine's weights, as they were when this object was
    made or `renew` was called, and memory for fields and random numbers,
    which costs more to take than to fill.

    Parameters
    ----------
    machine : Machine
    z : Tensor, shape (chains, n_units)
        Bits, overwritten by each sweep. They are swept where they lie if they
        come from `by_units`, and otherwise in a copy.
    generator : torch.Generator, FastWords or TorchWords, optional
        See `qbmvae_mini.samplers.random_numbers.words_of`.

    Raises
    ------
    ValueError
        If `z` is no state of the machine.
    """

    @torch.no_grad()
    def __init__(self, machine, z, *, generator=None):
        _check_states(machine, z)
        self.z = z
        self._units = by_units(z).T  # (n_units, chains)
        self._in_place = self._units.data_ptr() == z.data_ptr()
        self._uniforms = Uniforms(words_of(generator, z.device), [], z)
        self._blocks = []
        self.renew(machine)

    def renew(self, machine):
        """Take the weights that the machine has now."""
        steps = machine.conditionals()
        if len(steps) == len(self._blocks) and all(
            block.step.is_like(step)
            for block, step in zip(self._blocks, steps, strict=True)
        ):
            for block, step in zip(self._blocks, steps, strict=True):
                block.renew(step)
            return
        self._blocks = [
            (_AtOnce if step.inner is None else _InTurn)(step, self._units)
            for step in steps
        ]
        shapes = [(block.n_target, len(self.z)) for block in self._blocks]
        self._uniforms = Uniforms(self._uniforms.words, shapes, self.z)

    @torch.no_grad()
    def sweep(self, beta=1.0, *, sweeps=1):
        """Redraw every unit `sweeps` times; `beta` as in `sweep`."""
        if isinstance(beta, torch.Tensor):
            beta = beta.T  # (1, chains)
        self._follow(itertools.repeat(beta, sweeps), sweeps)

    @torch.no_grad()
    def anneal(self, betas):
        """Redraw every unit once at each inverse temperature, in order.

        Parameters
        ----------
        betas : list of float

        Returns
        -------
        Tensor, shape (len(betas), chains, n_units)
            The states after each sweep.
        """
        path = self._units.new_empty(len(betas), *self._units.shape)
        self._follow(betas, len(betas), path)
        return path.transpose(1, 2)

    def _follow(self, betas, n, path=None):
        """`n` sweeps; states are copied to `path`, (n, n_units, chains)."""
        if not self._in_place:
            self._units.copy_(self.z.T)
        draws = self._uniforms.draws(n)
        for step, (beta, draw) in enumerate(zip(betas, draws, strict=True)):
            for block, u in zip(self._blocks, draw, strict=True):
                block.redraw(u, beta)
            if path is not None:
                path[step] = self._units
        if not self._in_place:
            self.z.copy_(self._units.T)


def by_units(z):
    """The same states with each unit's bits side by side in memory.

    Parameters
    ----------
    z : Tensor, shape (chains, n_units)

    Returns
    -------
    Tensor, shape (chains, n_units)
        `z` itself if it lies so already.
    """
    return z.T.contiguous().T


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


class _AtOnce:
    """Units that are not coupled to each other, redrawn at once."""

    def __init__(self, step, units):
        self.step = step
        self.n_target = len(step.bias)
        self._fields = step.fields(units)
        self._in_place = self._fields.in_place
        self._units, self._target = units, step.target

    def renew(self, step):
        """Take other weights."""
        self._fields.renew(step)

    def redraw(self, u, beta):
        field = self._fields.now()  # (n_target, chains)
        if not (type(beta) is float and beta == 1.0):
            field.mul_(beta)
        bits = field.sigmoid_().gt_(u)
        if not self._in_place:
            self._units[self._target] = bits


class _InTurn:
    """Coupled units, redrawn one after the other, each in all chains."""

    def __init__(self, step, units):
        self.step = step
        self.n_target = len(step.bias)
        self._fields = step.fields(units)
        self._units, self._target = units, step.target
        self._inner = step.inner.unbind()
        self._zero = units.new_zeros(())  # a Python number is slow to compare

    def renew(self, step):
        """Take other weights."""
        self._fields.renew(step)
        self._inner = step.inner.unbind()

    def redraw(self, u, beta):
        # u < sigmoid(beta f) is the same as logit(u) / beta < f.
        field = self._fields.now().sub_(u.logit_().div_(beta))
        rows = zip(field.unbind(), self._inner, strict=True)
        for done, (unit, coupling) in enumerate(rows, 1):
            unit.gt_(self._zero)  # the margin becomes the bit
            # Units that are still to come see the new bit.
            field[done:].addr_(coupling[done:], unit)
        self._units[self._target] = field
