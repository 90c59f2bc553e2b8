"""Learning a machine from bits: maximum likelihood, averages, patterns."""

from qbmvae_mini.learning.averaging import RunningAverage, follow
from qbmvae_mini.learning.maximum_likelihood import (
    fit,
    log_likelihood,
    negative_phase,
    positive_phase,
)
from qbmvae_mini.learning.patterns import bars_and_stripes, digits, genes_on

__all__ = [
    "RunningAverage",
    "bars_and_stripes",
    "digits",
    "fit",
    "follow",
    "genes_on",
    "log_likelihood",
    "negative_phase",
    "positive_phase",
]
