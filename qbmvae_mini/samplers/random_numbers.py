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

import torch

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
