"""The one check that every layer needs: a number that counts something."""

import numbers

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
