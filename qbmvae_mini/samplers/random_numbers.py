"""Uniform numbers in (0, 1), the cheapest that sampling bits will bear.

A naive sweep waits for random numbers, not for matrix products. So a number
takes 16 random bits of its own. They alone would make every probability a
multiple of 2^-16; 7 further bits, shared by numbers that are made together,
move the grid. See `uniforms` for what is left of the error.
"""

import math

import numpy as np
import torch

#: Numbers that are made together, 1 MB of them: some sweeps of few chains.
TOGETHER = 2**18

#: Numbers in a word of 64 bits.
PER_WORD = 4


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
    generator : torch.Generator or words, optional
        By default PyTorch's global generator; see `words_of`.

    Returns
    -------
    Tensor
    """
    words = words_of(generator, like.device)
    ((u,),) = Uniforms(words, [shape], like).draws(1)
    return u


class Uniforms:
    """Many draws of `uniforms`, in memory that is used again.

    Parameters
    ----------
    words : FastWords or TorchWords
    shapes : list of tuple of int
        Of the tensors of one draw.
    like : Tensor
        Gives precision and device.
    """

    def __init__(self, words, shapes, like):
        self.words, self.shapes, self.like = words, shapes, like
        self._sizes = [math.prod(shape) for shape in shapes]
        shared = torch.arange(128, dtype=like.dtype, device=like.device)
        self._offsets = grid_offset(shared)
        self._draws = []  # views of the memory

    def draws(self, n):
        """Yield `n` draws, each a tuple of tensors for the caller to spoil.

        Draws that are made together share their 7 bits, as those of one call
        of `uniforms` do.
        """
        together = max(1, min(n, TOGETHER // max(1, sum(self._sizes))))
        if len(self._draws) != together:
            self._take_memory(together)
        while n > 0:
            self._fill()
            yield from self._draws[:n]
            n -= together

    def _take_memory(self, together):
        size = sum(self._sizes)
        self._n_words = -(-together * size // PER_WORD)
        self._numbers = self.like.new_empty(PER_WORD * self._n_words)
        rows = self._numbers[: together * size].view(together, size)
        parts = zip(rows.split(self._sizes, 1), self.shapes, strict=True)
        parts = [part.view(together, *shape).unbind() for part, shape in parts]
        self._draws = list(zip(*parts, strict=True))

    def _fill(self):
        offset = self.words.choice(self._offsets)
        self._numbers.copy_(self.words.draw(self._n_words).view(torch.int16))
        in_unit_interval(self._numbers, offset)


def words_of(generator, device):
    """A source of random words that hangs on a generator.

    On a CPU, SFC64 with a seed that is drawn from the generator: equal
    generators give equal words, and a used one gives others. Elsewhere the
    generator itself.

    Parameters
    ----------
    generator : torch.Generator, FastWords, TorchWords or None
        What gives words already is returned as it is. None is PyTorch's
        global generator.
    device : torch.device

    Returns
    -------
    FastWords or TorchWords
    """
    if isinstance(generator, (FastWords, TorchWords)):
        return generator
    if device.type != "cpu":
        return TorchWords(device, generator)
    seed = torch.empty((), dtype=torch.int64).random_(generator=generator)
    return FastWords(int(seed))


def seeded_words(seed, device):
    """The fastest source of random words for a device."""
    if device.type == "cpu":
        return FastWords(seed)
    return TorchWords(device, torch.Generator(device).manual_seed(seed))


def check_words_state(state, remedy):
    """Refuse what is no state of `FastWords` or of a GPU's generator.

    Parameters
    ----------
    state : Tensor
    remedy : str
        Ends the sentence.

    Raises
    ------
    ValueError
    """
    kind = (state.dtype, tuple(state.shape))
    if kind not in ((torch.int64, (4,)), (torch.uint8, (16,))):
        raise ValueError(
            "generator of this state is 4 words of SFC64 or 16 bytes of a "
            f"GPU's, not {kind[0]} of shape {kind[1]}: it is damaged or of "
            f"another kind; {remedy}"
        )


class FastWords:
    """Words of 64 random bits by NumPy's SFC64, on a CPU.

    It takes half the time of PyTorch's generator.

    Parameters
    ----------
    seed : int
    """

    device = torch.device("cpu")
    state_dtype = torch.int64

    def __init__(self, seed):
        self._generator = np.random.SFC64(seed)

    def draw(self, n):
        """`n` words, a Tensor of int64."""
        return torch.from_numpy(self._generator.random_raw(n).view(np.int64))

    def choice(self, table):
        """One number of a table of 2^k, each as likely."""
        return table[self._generator.random_raw() & (len(table) - 1)]

    def get_state(self):
        """The four words that SFC64 goes on from, a Tensor of int64."""
        words = self._generator.state["state"]["state"]
        return torch.from_numpy(words.view(np.int64).copy())

    def set_state(self, state):
        """Go on from what `get_state` gave."""
        whole = self._generator.state
        whole["state"]["state"] = state.numpy().view(np.uint64)
        self._generator.state = whole


class TorchWords:
    """Words of 64 random bits by a generator of PyTorch, on any device.

    Parameters
    ----------
    device : torch.device
    generator : torch.Generator, optional
        By default the device's global one.
    """

    state_dtype = torch.uint8

    def __init__(self, device, generator=None):
        self.device, self._generator = device, generator

    def draw(self, n):
        """`n` words, a Tensor of int64."""
        words = torch.empty(n, dtype=torch.int64, device=self.device)
        return words.random_(-(2**63), None, generator=self._generator)

    def choice(self, table):
        """One number of a table of 2^k, each as likely."""
        return table.take(self.draw(1) & (len(table) - 1)).squeeze()

    def get_state(self):
        """That of the generator, a Tensor of bytes."""
        return self._generator.get_state()

    def set_state(self, state):
        """Go on from what `get_state` gave."""
        self._generator.set_state(state)


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
    if like is None:
        like = torch.zeros((), dtype=torch.float32)
    return uniforms((n, n_units), like=like, generator=generator).round_()
