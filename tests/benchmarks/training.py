"""Training on pancreas: cells per CPU-second by model, in one run.

The peer is scvi-tools' SCVI with its own trainer: negative binomial counts,
128 hidden units, 10 latent ones, mini-batches of 128 as here. Progress bars,
logging and checkpoints are off everywhere, and no model is validated.
"""

import logging
import warnings

from timing import compare

from qbmvae_mini import QBMVAE, CellVAE, GaussianVAE
from qbmvae_mini.cells import datasets
from qbmvae_mini.latents import BernoulliLatent

EPOCHS = 3


def own(model):
    """One run of training, as `compare` calls it."""
    return lambda: model.fit(
        max_epochs=EPOCHS, batch_size=128, validation=0, progress=False
    )


def scvi_tools(adata):
    """A run of SCVI's training and its weights, or a sentence and None."""
    try:
        import scvi
    except ImportError:
        print(
            "scvi-tools is not installed, so SCVI is left out; install it by "
            "pip install 'qbmvae_mini[baselines]'"
        )
        return None
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    adata = adata.copy()
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    model = scvi.model.SCVI(
        adata, gene_likelihood="nb", n_hidden=128, n_latent=10
    )

    def train():
        model.train(
            max_epochs=EPOCHS,
            batch_size=128,
            accelerator="cpu",
            train_size=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    return train, weights(model.module)


def weights(module):
    return sum(weight.numel() for weight in module.parameters())


def main():
    adata = datasets.load("pancreas")
    models = {
        "QBMVAE, 64 bits": QBMVAE(adata, batch_key="batch"),
        "Bernoulli, 64 bits": CellVAE(
            adata, BernoulliLatent(64), batch_key="batch"
        ),
        "GaussianVAE, 10": GaussianVAE(adata, n_latent=10, batch_key="batch"),
    }
    runs = {name: own(model) for name, model in models.items()}
    sizes = {name: weights(model.module) for name, model in models.items()}
    peer = scvi_tools(adata)
    if peer is not None:
        runs["scvi-tools SCVI, 10"], sizes["scvi-tools SCVI, 10"] = peer
    print(f"{EPOCHS} epochs of {adata.n_obs} cells x {adata.n_vars} genes")
    taken = compare(runs)
    print(f"\n{'':24s} {'weights':>9s} {'cells per CPU-second':>22s}")
    for name, seconds in taken.items():
        speed = EPOCHS * adata.n_obs / seconds
        print(f"{name:24s} {sizes[name]:9d} {speed:22.0f}")
    ours = taken["QBMVAE, 64 bits"]
    for name, seconds in list(taken.items())[1:]:
        print(f"QBMVAE trains {seconds / ours:.2f} x the cells of {name}")


if __name__ == "__main__":
    main()
