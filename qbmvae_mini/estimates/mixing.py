"""Mixing: do chains agree, and how many independent draws are they worth."""

import numpy as np

from qbmvae_mini.checks import dense

#: Split R-hat halves each chain and needs a variance in every half.
LEAST_DRAWS = 4


def r_hat(series):
    """Do chains agree? Rank-normalised, folded split R-hat, by ArviZ.

    Near 1 if they do; Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021
    ask for less than 1.01, with at least four chains that start far apart.

    Parameters
    ----------
    series : array, shape (chains, draws) or (chains, draws, quantities)
        What each chain did, in order: an energy, a unit, any number.

    Returns
    -------
    float or array, shape (quantities,)
        NaN for a quantity that never changes, infinity if it changes from
        chain to chain but never within one.

    Raises
    ------
    ValueError
        For fewer than two chains or four draws, or values not finite.
    TypeError
        For a series that is no array of numbers.
    """
    series = _checked_series(series, "r_hat", least_chains=2)
    from arviz_stats.base import array_stats  # slow to import

    with np.errstate(divide="ignore", invalid="ignore"):
        found = array_stats.rhat(series, chain_axis=0, draw_axis=1)
    # Rounding would leave a variance of 1e-32 within chains that stand still.
    still = (np.ptp(series, axis=1) == 0).all(axis=0)
    found = np.where(still, np.inf, found)
    return _without_constants(found, series)


def effective_sample_size(series):
    """How many independent draws a mean over the series is worth, by ArviZ.

    The bulk effective sample size of Vehtari and others 2021. For a chain
    whose autocorrelation falls like rho^t it is n (1 - rho) / (1 + rho).

    Parameters
    ----------
    series : array, shape (chains, draws) or (chains, draws, quantities)
        What each chain did, in order.

    Returns
    -------
    float or array, shape (quantities,)
        NaN for a quantity that never changes.

    Raises
    ------
    ValueError
        For fewer than four draws, or values not finite.
    TypeError
        For a series that is no array of numbers.
    """
    series = _checked_series(series, "effective_sample_size", least_chains=1)
    from arviz_stats.base import array_stats  # slow to import

    found = array_stats.ess(series, chain_axis=0, draw_axis=1)
    return _without_constants(found, series)


def _checked_series(series, who, *, least_chains):
    """`series` as a float64 array of (chains, draws, ...)."""
    series = dense(f"{who}: the series", series).cpu().double().numpy()
    if series.ndim not in (2, 3):
        raise ValueError(
            f"{who} takes a series of shape (chains, draws) or (chains, "
            f"draws, quantities), not {series.shape}"
        )
    chains, draws = series.shape[:2]
    if chains < least_chains or draws < LEAST_DRAWS:
        raise ValueError(
            f"{who} needs at least {least_chains} chains of {LEAST_DRAWS} "
            f"draws, not {chains} of {draws}"
        )
    if not np.isfinite(series).all():
        raise ValueError(f"{who}: the series holds NaN or infinite values")
    return series


def _without_constants(found, series):
    """`found`, with NaN for quantities that never change."""
    constant = np.ptp(series, axis=(0, 1)) == 0
    found = np.where(constant, np.nan, found)
    return found if series.ndim == 3 else float(found)
