"""Controls: what must be ruled out before a gain is the couplings' own.

Each is one line, and each gives a new model; the one handed in stays as it
is.

- `shuffle_couplings`, `randomise_couplings`: the same machine with its
  couplings on other pairs, or drawn anew. What is left of the likelihood
  shows how much *these* couplings matter to this decoder.
- `refit_prior`: other priors for the codes of a finished model. A Boltzmann
  machine fitted afterwards to Bernoulli codes shows what couplings are worth
  to codes that were not made for them.

Two more need no function: a prior without couplings is a `BernoulliLatent`,
and ``model.fit(kl_weight=0)`` leaves the prior out of training.
"""

import copy

import torch
from torch import nn

from qbmvae_mini.boltzmann import RBM
from qbmvae_mini.checks import check_seed


def shuffle_couplings(model, seed=0):
    """The model with its prior's couplings permuted among the pairs.

    Parameters
    ----------
    model : CellVAE
        Its latent is a `BoltzmannLatent`.
    seed : int

    Returns
    -------
    CellVAE
        Not trained again; log Z is worked out anew when it is asked for.

    Raises
    ------
    TypeError
        If the latent has no machine.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))

    def shuffled(coupling):
        order = torch.randperm(coupling.numel(), generator=generator)
        return coupling.flatten()[order].view_as(coupling)

    return _with_couplings(model, shuffled)


def randomise_couplings(model, seed=0):
    """The model with couplings drawn from a Gaussian of their mean and sd.

    Parameters, result and errors are those of `shuffle_couplings`.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))

    def random(coupling):
        noise = torch.randn(coupling.shape, generator=generator)
        return coupling.mean() + coupling.std() * noise

    return _with_couplings(model, random)


def refit_prior(model, latent, **fit):
    """The model with another prior, fitted to the codes that it has.

    Encoder, decoder and likelihood stay as they are.

    Parameters
    ----------
    model : CellVAE
    latent : Latent
        A new one, of the same codes: as many bits, or as many numbers.
    **fit
        Arguments of `CellVAE.fit`; there is no need of a warm-up.

    Returns
    -------
    CellVAE

    Raises
    ------
    ValueError
        If the codes of `latent` have another width or kind.
    """
    old = model.module.latent
    sizes = (latent.n_latent, latent.n_params)
    if sizes != (old.n_latent, old.n_params):
        raise ValueError(
            f"latent has {sizes[0]} units and {sizes[1]} parameters a cell, "
            f"the model's codes have {old.n_latent} and {old.n_params}; only "
            "codes of its own width and kind can be fitted by a prior"
        )
    refitted = copy.copy(model)
    refitted.module = copy.deepcopy(model.module).requires_grad_(False)
    refitted.module.latent = latent
    for part in refitted.module.modules():
        if isinstance(part, nn.Dropout):  # the codes are those of evaluation
            part.p = 0.0
    return refitted.fit(**{"kl_warmup": 0} | fit)


def _with_couplings(model, change):
    latent = model.module.latent
    if not hasattr(latent, "machine"):
        raise TypeError(
            f"a {type(latent).__name__} has no couplings to change; hand over "
            "a model whose latent is a BoltzmannLatent"
        )
    changed = copy.copy(model)
    changed.module = copy.deepcopy(model.module)
    machine = changed.module.latent.machine
    machine = getattr(machine, "classical", machine)
    weight = machine.W if isinstance(machine, RBM) else machine.coupling
    with torch.no_grad():
        weight.copy_(change(weight.detach().cpu()))
    return changed
