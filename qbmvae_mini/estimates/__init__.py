r"""What can be said of a law without knowing it whole.

- log Z, exact, by annealed importance sampling, and between two bounds:
  `exact_log_z`, `ais`, `reverse_ais`, `log_z_bracket`; of a quantum machine
  `integrated_log_partition`.
- Are draws what they claim? No single number can say so, and each of these
  looks at one thing. `effective_beta`: is every unit right given the others?
  A *local* check, blind to how often the chains visit each mode. `r_hat` and
  `effective_sample_size`: do the chains agree with each other, and how many
  independent draws are they worth? Blind to a mode that no chain has found.
  `distance_to_exact`: the whole law, where all states can be listed.
- What could a prior over codes of bits save at most? `multi_information`, and
  the share of it that a fitted prior saves: `share_recovered`.
- Is an object a sampler? `check_sampler`: every promise of the contract, and
  the law of a small machine.
"""

from qbmvae_mini.estimates.codes import (
    MultiInformation,
    multi_information,
    share_recovered,
)
from qbmvae_mini.estimates.laws import (
    Distance,
    distance_to_exact,
    distance_to_law,
)
from qbmvae_mini.estimates.mixing import effective_sample_size, r_hat
from qbmvae_mini.estimates.partition import (
    Bracket,
    Estimate,
    ais,
    enumerable,
    exact_log_z,
    log_z_bracket,
    reverse_ais,
)
from qbmvae_mini.estimates.quantum_partition import (
    integrated_log_partition,
    transverse_magnetisation,
)
from qbmvae_mini.estimates.sampler_check import check_sampler
from qbmvae_mini.estimates.temperature import effective_beta

__all__ = [
    "Bracket",
    "Distance",
    "Estimate",
    "MultiInformation",
    "ais",
    "check_sampler",
    "distance_to_exact",
    "distance_to_law",
    "effective_beta",
    "effective_sample_size",
    "enumerable",
    "exact_log_z",
    "integrated_log_partition",
    "log_z_bracket",
    "multi_information",
    "r_hat",
    "reverse_ais",
    "share_recovered",
    "transverse_magnetisation",
]
