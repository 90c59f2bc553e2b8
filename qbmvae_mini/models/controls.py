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

from qbmvae_mini.checks import check_seed
from qbmvae_mini.models.cell_vae import CellVAE


def shuffle_couplings(model, seed=0):
    """The model with its prior's couplings permuted among the pairs.

    Parameters
    ----------
    model : CellVAE
        Its prior has couplings, as a `BoltzmannLatent` or a
        `SigmoidBeliefLatent`.
    seed : int

    Returns
    -------
    CellVAE
        Not trained again; log Z is worked out anew when it is asked for.

    Raises
    ------
    TypeError
        If the prior has no couplings.
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
        noise = torch.randn(
            coupling.shape, generator=generator, dtype=torch.float32
        )
        return coupling.mean() + coupling.std(correction=0) * noise.to(coupling)

    return _with_couplings(model, random)


def refit_prior(model, latent, **fit):
    """The model with another prior, fitted to the codes that it has.

    Encoder, decoder and likelihood stay as they are, learn no more and drop
    no units. That they are frozen is not saved: in a model that was saved and
    loaded they learn again, and dropout is what the first model had.

    Parameters
    ----------
    model : CellVAE
    latent : Latent
        A new one, of the same codes: as many bits, smoothed alike, or as many
        numbers. It is trained in place.
    **fit
        Arguments of `CellVAE.fit`; there is no need of a warm-up.

    Returns
    -------
    CellVAE

    Raises
    ------
    ValueError
        If the codes of `latent` have another width or kind, or it has nothing
        to fit, or it is part of a model.
    """
    _check_codes(model.module.latent, latent)
    in_place_of = {id(model.module.latent): latent}
    module = copy.deepcopy(model.module, in_place_of)
    latent.join(module)
    refitted = _beside(model, module, CellVAE)  # a child has its own latent
    for part in (module.encoder, module.decoder, module.likelihood):
        part.requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.Dropout):  # the codes are those of evaluation
            part.p = 0.0
    return refitted.fit(**{"kl_warmup": 0} | fit)


def _check_codes(old, new):
    """Refuse a prior that the codes of `old` cannot be given to."""
    if new is old:
        raise ValueError(
            "latent is the model's own; hand over a new one, or a deep copy, "
            "so that the model stays as it is"
        )
    sizes = (new.n_latent, new.n_params)
    if sizes != (old.n_latent, old.n_params):
        raise ValueError(
            f"latent has {sizes[0]} units and {sizes[1]} parameters a cell, "
            f"the model's codes have {old.n_latent} and {old.n_params}; only "
            "codes of its own width and kind can be fitted by a prior"
        )
    if new.reads() != old.reads():
        raise ValueError(
            f"the model's decoder reads {old.reads()}, with latent it would "
            f"read {new.reads()}; give latent the relaxation that the model "
            "has ended with"
        )
    if not any(weight.requires_grad for weight in new.parameters()):
        raise ValueError(
            f"a {type(new).__name__} has nothing to fit; hand over a prior "
            "with weights"
        )


def _with_couplings(model, change):
    module = copy.deepcopy(model.module)
    module.latent.join(module)
    module.latent.change_couplings(change)
    return _beside(model, module, type(model))


def _beside(model, module, kind):
    """A model of the same cells with another network; nothing is shared."""
    beside = kind.__new__(kind)
    vars(beside).update(vars(model), module=module)
    beside.history_ = copy.deepcopy(model.history_)
    return beside
