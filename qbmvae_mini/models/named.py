"""The models of the book: a `CellVAE` and a choice of its latent."""

import numbers

from qbmvae_mini.checks import check_whole
from qbmvae_mini.latents import BoltzmannLatent, GaussianLatent
from qbmvae_mini.latents.relaxations.names import RELAXATIONS
from qbmvae_mini.latents.relaxations.names import relaxation as find_relaxation
from qbmvae_mini.machines.rbm import RBM
from qbmvae_mini.models.cell_vae import CellVAE
from qbmvae_mini.samplers import GibbsSampler

__all__ = ["QBMVAE", "CellVAE", "GaussianVAE"]


class GaussianVAE(CellVAE):
    """`CellVAE` with a `GaussianLatent`.

    Parameters
    ----------
    adata : AnnData
    n_latent : int
    **kwargs
        `layer`, `batch_key`, `n_hidden`, `dropout`, `seed` of `CellVAE`.
    """

    def __init__(self, adata, *, n_latent=10, **kwargs):
        n_latent = check_whole("n_latent", n_latent, 1)
        super().__init__(adata, GaussianLatent(n_latent), **kwargs)

    @staticmethod
    def _make_latent(settings, *, n_latent):
        return GaussianLatent(n_latent)

    def _latent_settings(self):
        return {"n_latent": self.module.latent.n_latent}


class QBMVAE(CellVAE):
    """`CellVAE` with a `BoltzmannLatent`: half its bits left, half right.

    The prior is a *classical* Boltzmann machine; what makes the "Q" is a
    sampler that runs on quantum hardware. Any sampler of this package fits.

    Parameters
    ----------
    adata : AnnData
    n_latent : int
        Number of bits, even.
    sampler : object with ``sample(machine, n)``, optional
        By default `GibbsSampler` with 256 persistent chains.
    relaxation : str or Relaxation
        See `qbmvae_mini.latents.BitLatent`.
    negatives : int, optional
        See `qbmvae_mini.latents.BoltzmannLatent`.
    **kwargs
        `layer`, `batch_key`, `n_hidden`, `dropout`, `seed` of `CellVAE`.

    Raises
    ------
    ValueError
        If `n_latent` is odd or below 2.
    """

    def __init__(
        self,
        adata,
        *,
        n_latent=64,
        sampler=None,
        relaxation="straight-through",
        negatives=None,
        **kwargs,
    ):
        latent = self._make_latent(
            {"seed": check_whole("seed", kwargs.get("seed", 0), 0)},
            n_latent=n_latent,
            sampler=sampler,
            relaxation=relaxation,
            negatives=negatives,
        )
        super().__init__(adata, latent, **kwargs)

    @staticmethod
    def _make_latent(
        settings,
        *,
        n_latent,
        relaxation=None,
        sampler=None,
        negatives=None,
    ):
        whole = isinstance(n_latent, numbers.Integral)
        if not whole or n_latent < 2 or n_latent % 2:
            raise ValueError(
                f"n_latent is an even number of bits, at least 2, not "
                f"{n_latent!r}: half of them are left units, half right"
            )
        if relaxation is None:
            raise TypeError(
                "the file does not hold a relaxation of your own class; "
                "call QBMVAE.load(directory, adata, relaxation=...)"
            )
        if isinstance(relaxation, dict):  # as `_latent_settings` wrote it
            relaxation = find_relaxation(**relaxation)
        half = int(n_latent) // 2
        machine = RBM(half, half, seed=settings["seed"])
        if sampler is None:
            sampler = GibbsSampler(chains=256, sweeps=5, seed=settings["seed"])
        return BoltzmannLatent(
            machine,
            sampler,
            relaxation=relaxation,
            negatives=negatives,
        )

    def _latent_settings(self):
        latent = self.module.latent
        settings = {
            "n_latent": latent.n_latent,
            "negatives": latent.negatives,
        }
        relaxation = latent.relaxation
        if type(relaxation) in RELAXATIONS.values():
            named = {"choice": relaxation.name}
            settings["relaxation"] = named | relaxation.settings()
        return settings
