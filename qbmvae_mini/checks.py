"""The one check that every layer needs: a number that counts something."""

import numbers


def check_whole(name, value, least):
    """`value` as an int, refused unless a whole number of at least `least`.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(
            f"{name} is a whole number of at least {least}, not {value!r}"
        )
    return int(value)
