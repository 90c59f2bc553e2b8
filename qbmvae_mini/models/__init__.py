"""Models of cells: AnnData in, arrays out, and what to do with a finished one.

`QBMVAE` and `GaussianVAE` are a `CellVAE` and a choice of its latent.
"""

from qbmvae_mini.models.cell_vae import CellVAE
from qbmvae_mini.models.named import QBMVAE, GaussianVAE

__all__ = ["QBMVAE", "CellVAE", "GaussianVAE"]
