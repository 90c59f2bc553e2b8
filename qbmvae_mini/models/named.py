"""The models of the book: a `CellVAE` and a choice of its latent."""

import numbers

from qbmvae_mini.checks import check_seed
from qbmvae_mini.latents import BoltzmannLatent, GaussianLatent
from qbmvae_mini.machines.rbm import RBM
from qbmvae_mini.models.cell_vae import CellVAE
from qbmvae_mini.samplers import GibbsSampler

__all__ = ["QBMVAE", "CellVAE", "GaussianVAE"]

#: Widths unless another is asked for. The encoder gives 64 numbers a cell
#: either way: a logit a bit, or a mean and a log variance a Gaussian number.
BITS, GAUSSIANS = 64, 32


class GaussianVAE(CellVAE):
    """`CellVAE` with a `GaussianLatent`.

    Parameters
    ----------
    adata : AnnData
    n_latent : int
    **kwargs
        `layer`, `batch_key`, `n_hidden`, `encoder_dropout`,
        `decoder_dropout`, `seed` of `CellVAE`.
    """

    def __init__(self, adata, *, n_latent=GAUSSIANS, **kwargs):
        super().__init__(adata, GaussianLatent(n_latent), **kwargs)


class QBMVAE(CellVAE):
    """`CellVAE` with a `BoltzmannLatent`: half its bits left, half right.

    The prior is a *classical* Boltzmann machine; what makes the "Q" is a
    sampler that runs on quantum hardware. Any sampler of this package fits.

    Parameters
    ----------
    adata : AnnData
    n_latent : int
        Number of bits, even.
    sampler : Sampler, optional
        By default `GibbsSampler` with 256 persistent chains and 5 sweeps
        between two draws.
    relaxation : str or Relaxation
        See `qbmvae_mini.latents.BitLatent`.
    negatives : int, optional
        See `qbmvae_mini.latents.BoltzmannLatent`.
    **kwargs
        `layer`, `batch_key`, `n_hidden`, `encoder_dropout`,
        `decoder_dropout`, `seed` of `CellVAE`.

    Raises
    ------
    ValueError
        If `n_latent` is odd or below 2.
    """

    def __init__(
        self,
        adata,
        *,
        n_latent=BITS,
        sampler=None,
        relaxation="straight-through",
        negatives=None,
        **kwargs,
    ):
        whole = isinstance(n_latent, numbers.Integral)
        if not whole or n_latent < 2 or n_latent % 2:
            raise ValueError(
                f"n_latent is an even number of bits, at least 2, not "
                f"{n_latent!r}: half of them are left units, half right"
            )
        half, seed = int(n_latent) // 2, check_seed(kwargs.get("seed", 0))
        if sampler is None:
            sampler = GibbsSampler(chains=256, sweeps=5, seed=seed)
        latent = BoltzmannLatent(
            RBM(half, half, seed=seed),
            sampler,
            relaxation=relaxation,
            negatives=negatives,
        )
        super().__init__(adata, latent, **kwargs)
