"""Every state of n bits, listed."""

import torch

from qbmvae_mini.checks import check_bits, check_whole

#: Enumerating 2^n states beyond this n asks for more memory than a laptop has.
MAX_ENUMERATED = 24


def all_states(n_units, start=0, stop=None, *, dtype=torch.float64):
    """Every state of `n_units` bits, in counting order (last unit fastest).

    Parameters
    ----------
    n_units : int
        Number of bits, at most 24.
    start, stop : int, optional
        Range of states, to walk through 2^n of them piece by piece.

    Returns
    -------
    Tensor, shape (stop - start, n_units)

    Raises
    ------
    ValueError
        For more than 24 bits, or a range outside 0 to 2^n_units.
    """
    n_units = check_whole("n_units", n_units, 0)
    if n_units > MAX_ENUMERATED:
        raise ValueError(
            f"{n_units} units have 2^{n_units} states, too many to enumerate; "
            f"the limit is {MAX_ENUMERATED} units. Use a sampler or AIS."
        )
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype is one of torch's, not {dtype!r}")
    start = check_whole("start", start, 0)
    stop = 2**n_units if stop is None else check_whole("stop", stop, 0)
    if not 0 <= start <= stop <= 2**n_units:
        raise ValueError(
            f"start and stop lie between 0 and 2^{n_units} in this order, "
            f"not at {start!r} and {stop!r}"
        )
    index = torch.arange(start, stop)
    place = torch.arange(n_units - 1, -1, -1)
    return (index[:, None] >> place & 1).to(dtype)


def places(z, n_units):
    """Row of each state in `all_states`, (..., n_units) -> (...)."""
    if z.shape[-1:] != (n_units,):
        raise ValueError(
            f"states have {n_units} bits in their last dimension, not shape "
            f"{tuple(z.shape)}"
        )
    check_bits("states", z)
    worth = 2 ** torch.arange(n_units - 1, -1, -1, device=z.device)
    return (z.long() * worth).sum(-1)
