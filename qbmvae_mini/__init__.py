"""From a two-unit Boltzmann machine to a QBM-VAE on single cells.

A variational autoencoder whose *latent* is a part one can swap::

    CellVAE(adata, GaussianLatent(10))
    CellVAE(adata, BoltzmannLatent(RBM(32, 32), GibbsSampler()))

Every comparison of the book is that one line. Names are imported on first
use, so that ``import qbmvae_mini`` costs nothing that is not needed.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "BoltzmannMachine": "machines",
    "RBM": "machines",
    "all_states": "machines",
    "QuantumBoltzmannMachine": "machines",
    "ExactSampler": "samplers",
    "GibbsSampler": "samplers",
    "TemperingSampler": "samplers",
    "PathIntegralSampler": "samplers",
    "CoherentIsingMachine": "samplers",
    "DimodSampler": "samplers",
    "exact_log_z": "estimates",
    "ais": "estimates",
    "reverse_ais": "estimates",
    "log_z_bracket": "estimates",
    "BernoulliLatent": "latents",
    "BernoulliMixtureLatent": "latents",
    "BoltzmannLatent": "latents",
    "GaussianLatent": "latents",
    "MixtureLatent": "latents",
    "QuantumLatent": "latents",
    "SigmoidBeliefLatent": "latents",
    "VAE": "vae",
    "CellVAE": "models",
    "GaussianVAE": "models",
    "QBMVAE": "models",
}
_ROOMS = {*_HOME.values(), "cells", "learning", "metrics", "plotting"}
_ROOMS |= {"hardware", "results"}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME, *_ROOMS})
