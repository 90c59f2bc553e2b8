"""A VAE of single cells: AnnData in, arrays out, one row a cell.

The methods are named as in scvi-tools.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from qbmvae_mini.cells.reading import read_cells
from qbmvae_mini.checks import check_whole
from qbmvae_mini.vae.checkpoints import (
    load_state_tensors,
    read_tensors,
    state_tensors,
    write_tensors,
)
from qbmvae_mini.vae.network import VAE
from qbmvae_mini.vae.training import fit

#: Cells scored at once; the draws per cell are chunked in `VAE`.
SCORED_AT_ONCE = 256


class CellVAE:
    """A variational autoencoder of UMI counts with the latent of your choice.

    Parameters
    ----------
    adata : AnnData
        Whole-number counts; every cell and every gene has at least one.
    latent : nn.Module
        See `qbmvae_mini.latents`.
    layer : str, optional
        Layer with the counts; by default ``adata.X``.
    batch_key : str, optional
        Column of ``adata.obs`` with the batch, told to the decoder alone.
    n_hidden : int
    dropout : float
    seed : int
        Seeds the initial weights, the order of cells and all noise.

    Attributes
    ----------
    module : VAE
    genes, batches : list of str
    history_ : list of dict
        One entry an epoch, after `fit`; see `qbmvae_mini.vae.fit`.

    Raises
    ------
    KeyError, ValueError
        If `adata` does not hold counts; see `qbmvae_mini.cells.read_cells`.
    """

    def __init__(
        self,
        adata,
        latent,
        *,
        layer=None,
        batch_key=None,
        n_hidden=128,
        dropout=0.1,
        seed=0,
    ):
        settings = {
            "layer": layer,
            "batch_key": batch_key,
            "n_hidden": check_whole("n_hidden", n_hidden, 1),
            "dropout": dropout,
            "seed": check_whole("seed", seed, 0),
        }
        self._set_up(adata, latent, settings)

    def _set_up(self, adata, latent, settings, genes=None, batches=None):
        """Read the cells and build the network, new or as it was saved."""
        self._settings = settings
        self._cells, self.genes, self.batches = read_cells(
            adata,
            layer=settings["layer"],
            batch_key=settings["batch_key"],
            genes=genes,
            batches=batches,
        )
        with self._seeded():
            self.module = VAE(
                len(self.genes),
                latent,
                n_batches=len(self.batches),
                n_hidden=settings["n_hidden"],
                dropout=settings["dropout"],
            )
        self.module.eval()
        self.history_ = []

    def fit(
        self,
        max_epochs=400,
        batch_size=128,
        lr=3e-3,
        kl_warmup=40,
        kl_weight=1.0,
        validation=0.1,
        patience=6,
        resume=None,
        progress=True,
    ):
        """Train to the optimum of the validation likelihood.

        Parameters
        ----------
        validation : float
            Share of the cells held out for early stopping, chosen by the
            model's seed; 0 trains on all of them for `max_epochs`.
        kl_weight : float
            1 is the bound. With 0 the model has codes, and no likelihood.
        max_epochs, batch_size, lr, kl_warmup, patience, resume, progress
            See `qbmvae_mini.vae.fit`.

        Returns
        -------
        CellVAE
            The model itself.
        """
        if not 0 <= validation < 1:
            raise ValueError(
                f"validation is a share from 0 to below 1, not {validation!r}"
            )
        self._refuse_unseen(self._cells)
        held_out, rest = self._split(validation)
        try:
            self.history_ = fit(
                self.module,
                self._cells[rest],
                self._cells[held_out],
                max_epochs=max_epochs,
                batch_size=batch_size,
                lr=lr,
                kl_warmup=kl_warmup,
                kl_weight=kl_weight,
                patience=patience,
                seed=self._settings["seed"],
                resume=resume,
                progress=progress,
            )
        finally:
            self.module.eval()  # also after Ctrl-C: no dropout in what is read
        return self

    def get_latent_representation(self, adata=None):
        """Mean code of each cell, (cells, n_latent). Any batch will do."""
        return self._each(lambda x, batch: self.module.embed(x), adata)

    def get_energy(self, adata=None):
        """Prior energy of each cell's mean code in nats, (cells,).

        Without log Z, so that only differences between cells mean anything.
        """
        latent = self.module.latent

        def energy(x, batch):
            return latent.energy(self.module.encode(x))

        return self._each(energy, adata)

    def get_log_likelihood(self, adata=None, n_samples=64, *, discrete=False):
        """Log p(x | library, batch) of each cell in nats, (cells,).

        Importance-weighted over `n_samples` exact draws, with the pessimistic
        end of the bracket of log Z: a lower bound on average.

        Parameters
        ----------
        adata : AnnData, optional
            By default the cells of training.
        n_samples : int
        discrete : bool
            Score true bits, also where the latent trains with smoothed ones;
            see `qbmvae_mini.vae.VAE.log_likelihood`.

        Raises
        ------
        ValueError
            If the model was trained with a KL weight of 0.
        """
        check_whole("n_samples", n_samples, 1)

        def score(x, batch):
            return self.module.log_likelihood(
                x, batch, n_samples, discrete=discrete
            )

        self._settle_log_z()
        return self._each(score, adata, decodes=True)

    def get_elbo(self, adata=None):
        """Mean evidence lower bound in nats a cell, one exact draw each."""
        self._settle_log_z()
        return float(self._each(self.module.elbo, adata, decodes=True).mean())

    def get_normalized_expression(self, adata=None, n_samples=25):
        """Expected share of each gene in a cell's UMIs, (cells, genes).

        Mean over `n_samples` exact draws of the code; rows sum to 1.
        """
        check_whole("n_samples", n_samples, 1)

        def shares(x, batch):
            return self.module.mean_expression(x, batch, n_samples)

        return self._each(shares, adata, decodes=True)

    def generate(self, n):
        """Draw `n` new cells.

        Library sizes and batches are those of training cells picked at
        random, since the model does not explain them.

        Returns
        -------
        AnnData
            Counts in ``X`` and, where the model knows batches, their column.
        """
        import anndata
        import pandas

        check_whole("n", n, 1)
        self._refuse_unseen(self._cells)
        self._refuse_without_prior()
        rng = np.random.default_rng(self._settings["seed"])
        picked = rng.integers(len(self._cells), size=n)
        library = torch.from_numpy(self._cells.library()[picked])
        batch = self._cells.batch[picked]
        with self._seeded():
            counts = self.module.generate(
                n, library.to(self._device), batch.to(self._device)
            )
        made = anndata.AnnData(
            counts.toarray(), var=pandas.DataFrame(index=self.genes)
        )
        if self._settings["batch_key"] is not None:
            names = np.array(self.batches)[batch.numpy()]
            made.obs[self._settings["batch_key"]] = names
        return made

    def save(self, directory):
        """Write ``weights.safetensors`` and ``model.json``; no pickle."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        latent = self.module.latent
        facts = {
            "class": type(self).__name__,
            "settings": self._settings,
            "latent": self._latent_settings(),
            "sampler": latent.settings().get("sampler", {}).get("kind"),
            "genes": self.genes,
            "batches": self.batches,
            "history": self.history_,
            "kl_weight": self.module.kl_weight,
        }
        text = json.dumps(facts, indent=1)
        (directory / "model.json").write_text(text)
        tensors = state_tensors(self.module)
        write_tensors(directory / "weights.safetensors", tensors, {})

    @classmethod
    def load(cls, directory, adata, **latent):
        """A saved model, with `adata` in the place of its training cells.

        Parameters
        ----------
        directory : path
            Where `save` wrote.
        adata : AnnData
            Cells with the model's genes, in any order.
        **latent
            What the file does not hold: ``latent`` for a `CellVAE`; for a
            `QBMVAE` its ``sampler`` unless that was a `GibbsSampler`, and its
            ``relaxation`` if that was of a class of your own.

        Raises
        ------
        FileNotFoundError
            If there is no saved model.
        TypeError
            If the model needs one of these and it is not given.
        ValueError
            If the model was saved by another class, or the weights do not fit
            `latent`.
        """
        path = Path(directory) / "model.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{str(directory)!r} holds no saved model (no model.json)"
            )
        facts = json.loads(path.read_text())
        if facts["class"] != cls.__name__:
            raise ValueError(
                f"{str(directory)!r} holds a {facts['class']}, not a "
                f"{cls.__name__}; call {facts['class']}.load"
            )
        model = cls.__new__(cls)
        model._set_up(
            adata,
            cls._make_latent(facts["settings"], **facts["latent"] | latent),
            facts["settings"],
            facts["genes"],
            facts["batches"],
        )
        tensors, _ = read_tensors(path.with_name("weights.safetensors"))
        found = model.module.latent.settings().get("sampler", {}).get("kind")
        if found != facts["sampler"]:
            if not latent:
                raise TypeError(
                    f"{str(directory)!r} was trained by {facts['sampler']}; "
                    f"pass sampler={facts['sampler']}(...), or another one"
                )
        # Chains of one kind of sampler mean nothing to another.
        same = found == facts["sampler"]
        load_state_tensors(tensors, model.module, chains=same)
        model.history_ = facts["history"]
        model.module.kl_weight = facts["kl_weight"]
        return model

    @staticmethod
    def _make_latent(settings, *, latent=None):
        if latent is None:
            raise TypeError(
                "a CellVAE's file does not hold the kind of its latent; call "
                "CellVAE.load(directory, adata, latent=...)"
            )
        return latent

    def _latent_settings(self):
        """What `_make_latent` needs to build the latent again."""
        return {}

    def _split(self, share):
        """Validation cells and the rest, by the model's seed."""
        rng = np.random.default_rng(self._settings["seed"])
        order = rng.permutation(len(self._cells))
        n = round(share * len(order))
        if n == len(order) or (share > 0 and n == 0):
            raise ValueError(
                f"validation={share} of {len(order)} cells leaves {n} to "
                f"validate and {len(order) - n} to train; choose another "
                "share, or 0 to train on all"
            )
        return np.sort(order[:n]), np.sort(order[n:])

    @torch.no_grad()
    def _each(self, function, adata, *, decodes=False):
        """`function` of (x, batch) over all cells, as one array."""
        cells = self._cells if adata is None else self._read(adata, decodes)
        if decodes:
            self._refuse_unseen(cells)
        with self._seeded():
            parts = [
                function(x, batch).cpu()
                for x, batch in cells.minibatches(
                    SCORED_AT_ONCE, device=self._device
                )
            ]
        return torch.cat(parts).numpy()

    def _refuse_unseen(self, cells):
        """Only cells of a batch that was in training can be decoded."""
        if (cells.batch < 0).any():
            raise ValueError(
                f"batch {cells.unseen[0]!r} of "
                f"adata.obs[{self._settings['batch_key']!r}] was not in "
                f"training ({', '.join(self.batches)}); its cells can be "
                "embedded but not decoded"
            )

    def _read(self, adata, decodes):
        """New cells. Only the decoder needs to know their batch."""
        cells, _, _ = read_cells(
            adata,
            layer=self._settings["layer"],
            batch_key=self._settings["batch_key"] if decodes else None,
            genes=self.genes,
            batches=self.batches if decodes else None,
        )
        return cells

    def _refuse_without_prior(self):
        if self.module.kl_weight == 0:
            raise ValueError(
                "this model was trained with kl_weight=0, so its prior knows "
                "nothing of its codes; it embeds cells, and has neither a "
                "likelihood nor new cells to offer"
            )

    def _settle_log_z(self):
        """What is reported deserves more than training's rough log Z."""
        self._refuse_without_prior()
        self.module.latent.estimate_log_z()

    @contextmanager
    def _seeded(self):
        """Seed torch's global generator, and put it back afterwards."""
        with torch.random.fork_rng():
            torch.manual_seed(self._settings["seed"])
            yield

    @property
    def _device(self):
        return next(self.module.parameters()).device
