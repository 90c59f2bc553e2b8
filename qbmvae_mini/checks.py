"""The checks that every room uses: one a kind of argument."""

import math
import numbers

import numpy as np
import torch

#: PyTorch takes no larger seed.
MAX_SEED = 2**63 - 1


def check_whole(name, value, least):
    """`value` as an int, refused unless a whole number of at least `least`.

    Raises
    ------
    ValueError
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            f"{name} is a whole number of at least {least}, not {value!r}"
        )
    return int(value)


def check_real(name, value, *, least=None, above=None, most=None, below=None):
    """`value` as a float, refused unless finite and within the limits.

    A NumPy scalar or a fraction becomes a plain float, which can be saved. A
    bool is no number, and neither is a word that spells one.

    Parameters
    ----------
    name : str
        Names the argument in the sentence.
    value : float
    least, above : float, optional
        The lower limit: one that is allowed itself, or one that is not.
    most, below : float, optional
        The same for the upper limit.

    Raises
    ------
    ValueError
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        number = float(value) if real else math.nan
    except OverflowError:  # an int of 400 digits
        number = math.inf
    if not (
        math.isfinite(number)
        and (least is None or number >= least)
        and (above is None or number > above)
        and (most is None or number <= most)
        and (below is None or number < below)
    ):
        limits = {"at least": least, "above": above}
        limits |= {"at most": most, "below": below}
        said = " and ".join(
            f"{word} {limit:g}"
            for word, limit in limits.items()
            if limit is not None
        )
        wanted = f"a finite number {said}".rstrip()
        raise ValueError(f"{name} is {wanted}, not {value!r}")
    return number


def check_seed(seed):
    """`seed` as an int that every generator takes.

    Raises
    ------
    ValueError
    """
    seed = check_whole("seed", seed, 0)
    if seed > MAX_SEED:
        raise ValueError(f"seed is at most 2^63 - 1, not {seed}")
    return seed


#: Letters of `numpy.dtype.kind`: bool, int, unsigned, float.
NUMBERS = "biuf"


def dense(name, value):
    """`value` as a tensor without a gradient; what is no tensor is copied.

    Takes what NumPy takes: lists, data frames, arrays that are read-only or
    reversed, which `torch.as_tensor` warns about or refuses.

    Parameters
    ----------
    name : str
        Names the argument in the sentence.
    value : array

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If it is sparse, complex, ragged, or holds no numbers.
    """
    if isinstance(value, torch.Tensor):
        found, usable = str(value.dtype), not value.is_complex()
        if value.layout is not torch.strided:
            found, usable = str(value.layout), False
        array = value.detach()
    else:
        try:
            array = np.array(value)
        except (TypeError, ValueError, RuntimeError):  # ragged, for instance
            array = np.array(None)
        found, usable = str(array.dtype), array.dtype.kind in NUMBERS
    if not usable:
        raise TypeError(
            f"{name} is a dense array of numbers, not {type(value).__name__} "
            f"({found}); make a dense array of it first"
        )
    if isinstance(array, np.ndarray):  # torch knows the machine's order alone
        array = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    return array


def check_bits(who, z):
    """Refuse a tensor that holds anything but zeros and ones.

    Parameters
    ----------
    who : str
        Names the argument, or who made it, in the sentence.
    z : Tensor

    Raises
    ------
    ValueError
    """
    if not torch.equal(z * z, z):  # z (1 - z) = 0; NaN equals nothing
        other = z[(z != 0) & (z != 1)]
        raise ValueError(
            f"{who}: a state holds bits, 0 or 1, and not "
            f"{float(other.flatten()[0]):g}; if these are spins s, pass the "
            "bits (s + 1) / 2"
        )


def kind_of(part):
    """The class of a part, by which a file knows it again.

    Of a class that is not this package's own the module is named as well: a
    reader's ``GibbsSampler`` is another one than ours.
    """
    kind = type(part)
    ours = kind.__module__.split(".")[0] == __name__.split(".")[0]
    if ours:
        return kind.__name__
    return f"{kind.__module__}.{kind.__qualname__}"
