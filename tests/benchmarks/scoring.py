"""Log-likelihoods of held-in pancreas cells at 1,000 draws, by model.

``--old PATH`` scores the same weights by an older checkout in the same run,
and prints how far the two are apart at the same seed.
"""

import contextlib

import torch
from timing import compare, imported_from, old_checkout

CELLS, DRAWS, EPOCHS = 256, 1000, 30

KINDS = {"QBMVAE": {}, "GaussianVAE": {"n_latent": 10}}


def model(kind, settings, path=None):
    """An untrained model of pancreas by the package at `path`, or by ours."""
    with imported_from(path) if path else contextlib.nullcontext():
        import qbmvae_mini

        if path:
            from qbmvae_mini import datasets
        else:
            from qbmvae_mini.cells import datasets
        adata = datasets.load("pancreas")
        return getattr(qbmvae_mini, kind)(adata, batch_key="batch", **settings)


def scorer(vae, x, batch):
    """Scores at a fixed seed, as `compare` calls it; the last are kept."""

    def score():
        torch.manual_seed(0)
        score.last = vae.log_likelihood(x, batch, DRAWS)

    return score


def take_weights(old, vae):
    """Put the weights of `vae` into an older one, whose encoder is dense."""
    weights = vae.state_dict()
    for name, weight in old.state_dict().items():
        if weights[name].shape != weight.shape:
            weights[name] = weights[name].t()
    old.load_state_dict(weights)
    old.eval()


def main():
    path = old_checkout()
    print(f"{CELLS} cells, {DRAWS} draws, {EPOCHS} epochs of training before")
    for kind, settings in KINDS.items():
        trained = model(kind, settings)
        trained.fit(EPOCHS, progress=False)
        x, batch = next(trained._cells.minibatches(CELLS))
        runs = {kind: scorer(trained.module, x, batch)}
        if path:
            old = model(kind, settings, path).module
            take_weights(old, trained.module)
            runs[f"old {kind}"] = scorer(old, x.dense(), batch)
        taken = list(compare(runs, repeats=2).values())
        print(f"{CELLS / taken[0]:.0f} cells per CPU-second")
        if path:
            new, old = (run.last for run in runs.values())
            apart = new - old
            # Each has estimated a log Z of its own, the same for all cells.
            apart = ((apart - apart.median()) / old).abs().max()
            print(f"{taken[1] / taken[0]:.2f} x the old; apart by {apart:.1e}")


if __name__ == "__main__":
    main()
