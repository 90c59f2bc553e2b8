"""Samplers: draw states of a Boltzmann machine.

Every sampler has ``sample(machine, n) -> Tensor (n, n_units)`` of bits from
``exp(-E) / Z`` at temperature 1, or says which law it samples instead.

- `ExactSampler` enumerates: independent draws, small machines only.
- `GibbsSampler` runs many chains at once; the default everywhere.
- `DimodSampler` adapts any `dimod` sampler: neal, a mock QPU, a real one.
"""

from qbmvae_mini.samplers.dimod_adapter import DimodSampler
from qbmvae_mini.samplers.exact import ExactSampler
from qbmvae_mini.samplers.gibbs import GibbsSampler, random_bits, sweep

__all__ = [
    "DimodSampler",
    "ExactSampler",
    "GibbsSampler",
    "random_bits",
    "sweep",
]
