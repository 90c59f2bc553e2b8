"""A VAE of single cells: AnnData in, arrays out, one row a cell.

The methods are named as in scvi-tools.
"""

import numpy as np
import torch
from tqdm import tqdm  # not a widget: a page that holds one asks the network

from qbmvae_mini.cells.reading import read_cells
from qbmvae_mini.checks import check_real, check_seed, check_whole
from qbmvae_mini.latents.base import check_is_latent
from qbmvae_mini.models import saving
from qbmvae_mini.vae.checkpoints import load_state_tensors
from qbmvae_mini.vae.network import (
    DECODER_DROPOUT,
    ENCODER_DROPOUT,
    VAE,
)
from qbmvae_mini.vae.surroundings import seeded
from qbmvae_mini.vae.training import DECODER_PRECISION, fit

#: Cells scored at once; the draws per cell are chunked in `VAE`.
SCORED_AT_ONCE = 256

#: Seconds of scoring after which a bar shows how much is left.
BAR_AFTER = 20

#: New cells are an array below this many numbers (64 MB), and CSR above.
SPARSE_FROM = 2**24


class CellVAE:
    """A variational autoencoder of UMI counts with the latent of your choice.

    Parameters
    ----------
    adata : AnnData
        Whole-number counts; every cell and every gene has at least one.
    latent : Latent
        See `qbmvae_mini.latents`.
    layer : str, optional
        Layer with the counts; by default ``adata.X``.
    batch_key : str, optional
        Column of ``adata.obs`` with the batch, told to the decoder alone.
    n_hidden : int
    encoder_dropout, decoder_dropout : float
        Share of the hidden units that a training step leaves out.
    seed : int
        Seeds the initial weights, the order of cells and all noise.

    Attributes
    ----------
    module : VAE
    genes, batches : list of str
    history_ : list of dict
        One entry an epoch, after `fit`; see `qbmvae_mini.vae.training.fit`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `adata` does not hold counts, see `qbmvae_mini.cells.read_cells`;
        if `latent` is none, or a number is out of range.
    """

    def __init__(
        self,
        adata,
        latent,
        *,
        layer=None,
        batch_key=None,
        n_hidden=128,
        encoder_dropout=ENCODER_DROPOUT,
        decoder_dropout=DECODER_DROPOUT,
        seed=0,
    ):
        check_is_latent(latent)
        settings = {
            "layer": layer,
            "batch_key": batch_key,
            "n_hidden": check_whole("n_hidden", n_hidden, 1),
            "encoder_dropout": check_real(
                "encoder_dropout", encoder_dropout, least=0, below=1
            ),
            "decoder_dropout": check_real(
                "decoder_dropout", decoder_dropout, least=0, below=1
            ),
            "seed": check_seed(seed),
        }
        cells, genes, batches = read_cells(
            adata, layer=layer, batch_key=batch_key
        )
        self._build(latent, settings, genes, batches)
        self._cells_or_none = cells
        self._depths = _depths(cells)

    def _build(self, latent, settings, genes, batches):
        """The network, with fresh weights and without cells."""
        self._settings, self.genes, self.batches = settings, genes, batches
        self._cells_or_none = None
        with seeded(settings["seed"]):
            self.module = VAE(
                len(genes),
                latent,
                n_batches=len(batches),
                n_hidden=settings["n_hidden"],
                encoder_dropout=settings["encoder_dropout"],
                decoder_dropout=settings["decoder_dropout"],
            )
        self.module.eval()
        self.history_ = []

    @property
    def _cells(self):
        if self._cells_or_none is None:
            raise ValueError(
                "this model was loaded without cells; hand over adata, or "
                "load it with them: load(directory, adata)"
            )
        return self._cells_or_none

    @property
    def layer(self):
        """Where it looks for counts; None is ``adata.X``."""
        return self._settings["layer"]

    @property
    def batch_key(self):
        """The column of ``adata.obs`` with the batch, or None."""
        return self._settings["batch_key"]

    @property
    def is_bound(self):
        """Whether its likelihoods are bounds from below, whatever the draws.

        So it is where the prior is a quantum machine; see `QuantumLatent`.
        """
        return self.module.latent.is_bound

    def fit(
        self,
        max_epochs=400,
        batch_size=128,
        lr=3e-3,
        kl_warmup=40,
        kl_weight=1.0,
        decoder_precision=DECODER_PRECISION,
        validation=0.1,
        patience=6,
        device="auto",
        resume=None,
        new_chains=False,
        progress=True,
    ):
        """Train to the optimum of the validation likelihood.

        However it ends, also by Ctrl-C, the model has its best weights so
        far, and `history_` the epochs that were done.

        Parameters
        ----------
        validation : float
            Share of the cells held out for early stopping, chosen by the
            model's seed; 0 trains on all of them for `max_epochs`.
        kl_weight : float
            1 is the bound. With 0 the model has codes, and no likelihood.
        max_epochs, batch_size, lr, kl_warmup, decoder_precision, patience
            See `qbmvae_mini.vae.training.fit`.
        device : str or torch.device
            Where to train; the model stays there.
        resume, new_chains, progress
            See `qbmvae_mini.vae.training.fit`.

        Returns
        -------
        CellVAE
            The model itself.
        """
        share = check_real("validation", validation, least=0, below=1)
        self._refuse_unseen(self._cells)
        held_out, rest = self._split(share)
        history = list(self.history_)  # not that of an earlier training
        try:
            fit(
                self.module,
                self._cells[rest],
                self._cells[held_out],
                max_epochs=max_epochs,
                batch_size=batch_size,
                lr=lr,
                kl_warmup=kl_warmup,
                kl_weight=kl_weight,
                decoder_precision=decoder_precision,
                patience=patience,
                seed=self._settings["seed"],
                device=device,
                resume=resume,
                new_chains=new_chains,
                about={
                    "model": type(self).__name__,
                    "settings": self._settings,
                    "genes": self.genes,
                    "batches": self.batches,
                },
                history=history,
                progress=progress,
            )
        finally:
            self.history_ = history  # also of what Ctrl-C has ended
            self._depths = _depths(self._cells)
        return self

    def get_latent_representation(self, adata=None):
        """Mean code of each cell, (cells, n_latent). Any batch will do."""
        return self._each(lambda x, batch: self.module.embed(x), adata)

    def get_energy(self, adata=None):
        """Prior energy of each cell's mean code in nats, (cells,).

        Without log Z, so that only differences between cells mean anything.

        Raises
        ------
        ValueError
            If the model was trained with a KL weight of 0.
        """
        self._refuse_without_prior()
        latent = self.module.latent

        def energy(x, batch):
            return latent.energy(self.module.encode(x))

        return self._each(energy, adata)

    def get_log_likelihood(
        self, adata=None, n_samples=64, *, discrete=False, progress=True
    ):
        """Log p(x | library, batch) of each cell in nats, (cells,).

        Importance-weighted over `n_samples` exact draws, with the pessimistic
        end of the bracket of log Z: a lower bound on average. Where
        `is_bound`, it is one however many draws there are.

        Parameters
        ----------
        adata : AnnData, optional
            By default the cells of training.
        n_samples : int
        discrete : bool
            Score true bits, also where the latent trains with smoothed ones;
            see `qbmvae_mini.vae.VAE.log_likelihood`.
        progress : bool
            Show a tqdm bar, where it takes long.

        Raises
        ------
        ValueError
            If the model was trained with a KL weight of 0.
        """
        n_samples = check_whole("n_samples", n_samples, 1)

        def score(x, batch):
            return self.module.log_likelihood(
                x, batch, n_samples, discrete=discrete
            )

        self._settle_log_z()
        return self._each(score, adata, decodes=True, progress=progress)

    def get_elbo(self, adata=None):
        """Mean evidence lower bound in nats a cell, one exact draw each."""
        self._settle_log_z()
        return float(self._each(self.module.elbo, adata, decodes=True).mean())

    def get_normalized_expression(
        self, adata=None, n_samples=25, *, progress=True
    ):
        """Expected share of each gene in a cell's UMIs, (cells, genes).

        Mean over `n_samples` exact draws of the code; rows sum to 1. A tqdm
        bar shows the `progress` where it takes long.
        """
        n_samples = check_whole("n_samples", n_samples, 1)

        def shares(x, batch):
            return self.module.mean_expression(x, batch, n_samples)

        return self._each(shares, adata, decodes=True, progress=progress)

    def generate(self, n, seed=0):
        """Draw `n` new cells.

        Library sizes and batches are those of training cells picked at
        random, since the model does not explain them. A saved model holds
        them.

        Parameters
        ----------
        n : int
        seed : int
            The same seed gives the same cells, another one other cells. The
            chains of training stay where they are.

        Returns
        -------
        AnnData
            Counts in ``X``, and in the layer where the model looks for them;
            where it knows batches, their column. They are an array up to
            `SPARSE_FROM` numbers, and CSR from there on.

        Raises
        ------
        ValueError
            If the model was trained with a KL weight of 0.
        """
        import anndata
        import pandas

        n, seed = check_whole("n", n, 1), check_seed(seed)
        self._refuse_without_prior()
        library, batch = self._depths["library"], self._depths["batch"]
        picked = np.random.default_rng(seed).integers(len(library), size=n)
        batch = batch[picked]
        with seeded(seed, self._device):
            counts = self.module.generate(
                n,
                library[picked].to(self._device),
                batch.to(self._device),
                seed,
            )
        if n * len(self.genes) < SPARSE_FROM:
            counts = counts.toarray()
        made = anndata.AnnData(counts, var=pandas.DataFrame(index=self.genes))
        if self.layer is not None:
            made.layers[self.layer] = made.X
        if self.batch_key is not None:
            made.obs[self.batch_key] = np.array(self.batches)[batch.numpy()]
        return made

    def save(self, directory):
        """Write ``model.json`` and weights into a folder; nothing is pickled.

        Whatever happens meanwhile, the folder holds the old model or the new
        one. Of the cells there are the names of genes and batches, and the
        library size and batch of each training cell for `generate`: no
        counts, no names of cells.

        Parameters
        ----------
        directory : path
            Made where there is none.

        Raises
        ------
        OSError
            If nothing can be written there; an old model stays as it was.
        ValueError
            If a weight is NaN or infinite.
        """
        facts = {
            "class": type(self).__name__,
            "settings": self._settings,
            "latent": saving.latent_settings(self.module.latent),
            "genes": self.genes,
            "batches": self.batches,
            "history": self.history_,
            "kl_weight": self.module.kl_weight,
        }
        saving.write_model(directory, self.module, facts, self._depths)

    @classmethod
    def load(cls, directory, adata=None, **parts):
        """A saved model, of this class or of one derived from it.

        Parameters
        ----------
        directory : path
            Where `save` wrote.
        adata : AnnData, optional
            Cells with the model's genes, in any order, to train on and to
            read where no others are given. Without it the model reads what
            its methods are given, generates, and does not train.
        **parts
            What the file does not hold, by name. A sampler that stands on
            somebody else's, as a `DimodSampler` does, is given as ``sampler``
            (to embed and to score any will do, such as a `GibbsSampler`);
            parts of classes of your own as ``sampler``, ``relaxation``,
            ``machine`` or, whole, as ``latent``.

        Raises
        ------
        FileNotFoundError
            If there is no saved model.
        TypeError
            If the model needs one of these and it is not given.
        ValueError
            If the file is damaged or of another version, the model is of
            another class, or the weights do not fit `latent`.
        """
        facts, tensors = saving.read_model(directory)
        where = repr(str(directory))
        model = object.__new__(saving.find_class(facts["class"], cls, where))
        latent = saving.build_latent(facts["latent"], tensors, parts, where)
        settings, genes = facts["settings"], facts["genes"]
        model._build(latent, settings, genes, facts["batches"])
        same = saving.same_sampler(latent, facts["latent"])
        load_state_tensors(tensors, model.module, chains=same)
        saving.check_weights(model.module, where)
        model.history_ = facts["history"]
        model.module.kl_weight = facts["kl_weight"]
        model._depths = {
            name: tensors[f"cells.{name}"] for name in ("library", "batch")
        }
        if adata is not None:
            model._cells_or_none = model._read(adata, decodes=True)
        return model

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
    def _each(self, function, adata, *, decodes=False, progress=False):
        """`function` of (x, batch) over all cells, as one array."""
        cells = self._cells if adata is None else self._read(adata, decodes)
        if decodes:
            self._refuse_unseen(cells)
        bar = tqdm(
            total=len(cells),
            disable=not progress,
            delay=BAR_AFTER,
            unit="cell",
        )
        blocks = cells.minibatches(SCORED_AT_ONCE, device=self._device)
        found, start = None, 0
        with seeded(self._settings["seed"], self._device), bar:
            for x, batch in blocks:
                part = function(x, batch).cpu().numpy()
                if found is None:  # one array, and not all parts beside it
                    shape = (len(cells), *part.shape[1:])
                    found = np.empty(shape, dtype=part.dtype)
                found[start : start + len(part)] = part
                start += len(part)
                bar.update(len(part))
        return found

    def _refuse_unseen(self, cells):
        """Only cells of a batch that was in training can be decoded."""
        if (cells.batch < 0).any():
            raise ValueError(
                f"batch {cells.unseen[0]!r} of "
                f"adata.obs[{self.batch_key!r}] was not in "
                f"training ({', '.join(self.batches)}); its cells can be "
                "embedded but not decoded"
            )

    def _read(self, adata, decodes):
        """New cells. Only the decoder needs to know their batch."""
        cells, _, _ = read_cells(
            adata,
            layer=self.layer,
            batch_key=self.batch_key if decodes else None,
            genes=self.genes,
            batches=self.batches if decodes else None,
        )
        return cells

    def _refuse_without_prior(self):
        if self.module.kl_weight == 0:
            raise ValueError(
                "this model was trained with kl_weight=0, so its prior knows "
                "nothing of its codes; it embeds cells, and has no energy, no "
                "likelihood and no new cells to offer"
            )

    def _settle_log_z(self):
        """What is reported deserves more than training's rough log Z."""
        self._refuse_without_prior()
        self.module.latent.estimate_log_z()

    @property
    def _device(self):
        return next(self.module.parameters()).device


def _depths(cells):
    """Library size and batch of each cell."""
    library = cells.library().astype(np.float32)
    return {"library": torch.from_numpy(library), "batch": cells.batch}
