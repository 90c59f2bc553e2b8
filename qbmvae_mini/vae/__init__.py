"""The variational autoencoder of counts, its likelihood and its training."""

from qbmvae_mini.vae.likelihoods import NegativeBinomial
from qbmvae_mini.vae.network import VAE

__all__ = ["VAE", "NegativeBinomial"]
