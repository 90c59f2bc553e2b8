"""Samplers: draw states of a Boltzmann machine.

Every sampler is a `Sampler`: ``sample(machine, n) -> Tensor (n, n_units)`` of
bits from ``exp(-E) / Z`` at temperature 1, or it says which law it samples
instead. What else may be asked of it has a default there.

- `ExactSampler` enumerates: independent draws, small machines only.
- `GibbsSampler` runs many chains at once; the default everywhere.
- `TemperingSampler` adds hot replicas, for machines that mix badly.
- `PathIntegralSampler` draws from a *quantum* Boltzmann machine.
- `DimodSampler` adapts any `dimod` sampler: neal, a mock QPU, a real one, or
  `CoherentIsingMachine`, a simulation that does not follow Boltzmann's law.
"""

from qbmvae_mini.samplers.base import Sampler
from qbmvae_mini.samplers.contrastive import ContrastiveDivergence
from qbmvae_mini.samplers.dimod_adapter import DimodSampler
from qbmvae_mini.samplers.exact import ExactSampler
from qbmvae_mini.samplers.gibbs import GibbsSampler
from qbmvae_mini.samplers.ising_machine import CoherentIsingMachine
from qbmvae_mini.samplers.path_integral import PathIntegralSampler
from qbmvae_mini.samplers.random_numbers import random_bits, uniforms
from qbmvae_mini.samplers.sweeps import HeatBath, by_units, sweep
from qbmvae_mini.samplers.tempering import TemperingSampler

__all__ = [
    "CoherentIsingMachine",
    "ContrastiveDivergence",
    "DimodSampler",
    "ExactSampler",
    "GibbsSampler",
    "HeatBath",
    "PathIntegralSampler",
    "Sampler",
    "TemperingSampler",
    "by_units",
    "random_bits",
    "sweep",
    "uniforms",
]
