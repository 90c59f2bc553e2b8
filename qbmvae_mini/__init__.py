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
    "BoltzmannMachine": "boltzmann",
    "RBM": "boltzmann",
    "all_states": "boltzmann",
    "QuantumBoltzmannMachine": "quantum",
    "ExactSampler": "samplers",
    "GibbsSampler": "samplers",
    "TemperingSampler": "samplers",
    "PathIntegralSampler": "samplers",
    "CoherentIsingMachine": "samplers",
    "DimodSampler": "samplers",
    "exact_log_z": "partition",
    "ais": "partition",
    "reverse_ais": "partition",
    "log_z_bracket": "partition",
    "BernoulliLatent": "latents",
    "BoltzmannLatent": "latents",
    "GaussianLatent": "latents",
    "MixtureLatent": "latents",
    "QuantumLatent": "latents",
    "VAE": "vae",
    "CellVAE": "cell_vae",
    "GaussianVAE": "models",
    "QBMVAE": "models",
}
_MODULES = {*_HOME.values(), "cells", "datasets", "diagnostics", "learning"}
_MODULES |= {"likelihoods", "patterns", "plotting", "relaxations", "results"}
_MODULES |= {"averaging", "checkpoints", "controls", "files", "genes"}
_MODULES |= {"metrics", "simulators", "training"}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME, *_MODULES})
