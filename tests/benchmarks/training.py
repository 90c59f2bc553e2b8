"""Training on pancreas: cells per CPU-second by latent, in one run."""

from timing import compare

from qbmvae_mini import QBMVAE, CellVAE, GaussianVAE, datasets
from qbmvae_mini.latents import BernoulliLatent

EPOCHS = 3


def main():
    adata = datasets.load("pancreas")
    models = {
        "QBMVAE, 64 bits": QBMVAE(adata, batch_key="batch"),
        "Bernoulli, 64 bits": CellVAE(
            adata, BernoulliLatent(64), batch_key="batch"
        ),
        "GaussianVAE, 10": GaussianVAE(adata, batch_key="batch"),
    }
    print(f"{EPOCHS} epochs of {adata.n_obs} cells x {adata.n_vars} genes")
    compare(
        {
            name: lambda model=model: model.fit(
                max_epochs=EPOCHS, validation=0, progress=False
            )
            for name, model in models.items()
        }
    )


if __name__ == "__main__":
    main()
