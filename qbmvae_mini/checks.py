"""The checks that every room uses: one a kind of argument."""

import datetime
import itertools
import math
import numbers
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

_PACKAGE = Path(__file__).parent

#: PyTorch takes no larger seed.
MAX_SEED = 2**63 - 1


def warn(message):
    """Warn, and name the line outside this package that led here.

    A line of ours would tell readers nothing, and Python would show the
    warning once for all of theirs.
    """
    frame, outside = sys._getframe(1), 2
    for level in itertools.count(2):
        if frame is None:
            break
        # To the outermost of ours: decorators of others lie between them.
        if Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
            outside = level + 1
        frame = frame.f_back
    warnings.warn(message, stacklevel=outside)


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


def check_switch(name, value):
    """`value` as a bool, refused unless True or False.

    Raises
    ------
    TypeError
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return bool(value)


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


def check_names(name, values):
    """The name of each value: one value, one name, whatever holds it.

    A number that has become a float in a table with a gap is named as it was
    before: 1, 1.0 and ``np.int8(1)`` are "1". Categories, nullable columns and
    bytes are named by what they stand for.

    Parameters
    ----------
    name : str
        Names the argument in the sentence.
    values : sequence of str or number

    Returns
    -------
    ndarray of object, shape (n,)
        Plain strings.

    Raises
    ------
    TypeError
        If a value is neither a word nor a number, True, False or a date.
    ValueError
        If a value is missing, or two values would have one name.
    """
    import pandas as pd

    if np.ndim(values) != 1:
        raise ValueError(
            f"{name} has {np.ndim(values)} dimensions; give one value a row"
        )
    values = pd.Series(values)
    missing = values.isna().sum()
    if missing:
        raise ValueError(
            f"{name} is missing for {missing} of {len(values)}; fill these in"
        )
    if values.dtype == object:  # pandas takes True and 1 there for one value
        kinds = [(type(value), _hashable(name, value)) for value in values]
        place = {kind: i for i, kind in enumerate(dict.fromkeys(kinds))}
        code = [place[kind] for kind in kinds]
        found = [value for _, value in place]
    elif isinstance(values.dtype, np.dtype):
        found, code = np.unique(values.to_numpy(), return_inverse=True)
    else:
        code, found = pd.factorize(values)
        found = np.asarray(found)
    names = [_name(name, value) for value in found]
    _check_told_apart(name, names, found)
    return np.array(names, dtype=object)[code]


def _hashable(name, value):
    try:
        hash(value)
    except TypeError:
        raise _nameless(name, value) from None
    return value


def _name(name, value):
    """The one way to write a value, as a str."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, numbers.Real):
        whole = math.isfinite(value) and value == int(value)
        return str(int(value) if whole else value)
    if isinstance(value, np.datetime64):
        return str(value).replace("T", " ").removesuffix(".000000000")
    if not isinstance(value, (str, datetime.date)):
        raise _nameless(name, value)
    return str(value)


def _nameless(name, value):
    return TypeError(
        f"{name} holds {value!r}, a {type(value).__name__}; names are words, "
        "whole numbers or the like, so make words of these with astype(str)"
    )


def _check_told_apart(name, names, values):
    held = {}
    for word, value in zip(names, values, strict=True):
        other = held.setdefault(word, value)
        if other != value:
            raise ValueError(
                f"{name} holds {other!r} and {value!r}, which are not the same "
                f"but are both written {word!r}; make all of one kind"
            )


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
