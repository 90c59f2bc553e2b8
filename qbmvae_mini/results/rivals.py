"""Rivals that are none of ours: scVI, principal components, Harmony, noise.

scvi-tools is wanted by `ScVI` alone and harmonypy by `Harmony`; both come
with the extra ``baselines``. Each rival answers like a `CellVAE`, as far as
it can.
"""

import logging
import warnings

import numpy as np

from qbmvae_mini.metrics.embeddings import read_groups
from qbmvae_mini.results.studies import TEST, VALIDATION


class ScVI:
    """scvi-tools' SCVI with a negative binomial, by its own trainer.

    Lopez et al. 2018. Everything is left at scvi-tools' defaults but the
    likelihood, which is that of all models here, early stopping, which is
    switched on, and what is named below.

    Parameters
    ----------
    cells : AnnData
        Training cells, those for early stopping among them.
    n_latent : int
    batch_key : str or None
    encoder_dropout : float
        scVI's decoder has none.
    seed : int
        Also picks the cells for early stopping, as `CellVAE.fit` does.
    """

    def __init__(self, cells, n_latent, *, batch_key, encoder_dropout, seed):
        self._batch_key = batch_key
        self._seed = seed
        self._genes = list(cells.var_names)
        scvi = _scvi(seed)
        cells = cells.copy()
        scvi.model.SCVI.setup_anndata(cells, batch_key=batch_key)
        self._model = scvi.model.SCVI(
            cells,
            n_latent=n_latent,
            dropout_rate=encoder_dropout,
            gene_likelihood="nb",
        )

    def fit(self):
        """Train until the ELBO of the cells for early stopping is flat."""
        n = self._model.adata.n_obs
        order = np.random.default_rng(self._seed).permutation(n)
        n_validation = round(VALIDATION / (1 - TEST) * n)
        parts = [np.sort(order[n_validation:]), np.sort(order[:n_validation])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning on workers and logs
            self._model.train(
                accelerator="cpu",
                early_stopping=True,
                enable_progress_bar=False,
                datasplitter_kwargs={"external_indexing": parts},
            )
        return self

    @property
    def history_(self):
        """Per epoch, minus the negative ELBO that scvi-tools recorded."""
        recorded = self._model.history["elbo_validation"].to_numpy().ravel()
        return [{"validation": -float(value)} for value in recorded]

    @property
    def module(self):
        """The network."""
        return self._model.module

    def get_latent_representation(self, adata=None):
        """Posterior means, (cells, n_latent)."""
        if adata is None:
            return self._model.get_latent_representation()
        adata = self._of_genes(adata)
        if self._batch_key is not None:
            # The encoder is not told the batch, so any known one will do.
            known = self._model.adata.obs[self._batch_key].iloc[0]
            adata.obs[self._batch_key] = known
        return self._model.get_latent_representation(adata)

    def get_log_likelihood(self, adata, n_samples=64):
        """Importance-weighted log p(x | library, batch), nats a cell.

        By scvi-tools' own estimator, Eq. 8 of Burda et al. 2016.
        """
        values = self._model.get_marginal_ll(
            self._of_genes(adata), n_mc_samples=n_samples, return_mean=False
        )
        return values.numpy()

    def get_normalized_expression(self, adata, n_samples=25):
        """Expected share of each gene in a cell's UMIs, (cells, genes)."""
        return self._model.get_normalized_expression(
            self._of_genes(adata), n_samples=n_samples, return_numpy=True
        )

    def get_elbo(self, adata):
        """Mean evidence lower bound in nats a cell."""
        return float(self._model.get_elbo(self._of_genes(adata)))

    def _of_genes(self, adata):
        return adata[:, self._genes].copy()


class PrincipalComponents:
    """Principal components of log1p of counts per median library.

    Parameters
    ----------
    cells : AnnData
        Training cells.
    n_latent : int
    """

    def __init__(self, cells, n_latent):
        from sklearn.decomposition import PCA

        self._cells = cells
        self._target = np.median(_library(cells))
        # Few cells: the exact decomposition is cheap, and has no seed.
        self._pca = PCA(n_latent, svd_solver="full").fit(self._logs(cells))

    def get_latent_representation(self, adata=None):
        """Scores of the cells, (cells, n_latent)."""
        adata = self._cells if adata is None else adata
        return self._pca.transform(self._logs(adata))

    def _logs(self, adata):
        counts = adata[:, self._cells.var_names].X.toarray()
        share = counts / counts.sum(axis=1, keepdims=True)
        return np.log1p(self._target * share)


class Harmony:
    """Principal components, their batches drawn together by Harmony.

    Korsunsky et al. 2019, by harmonypy at its defaults: cells are clustered
    softly so that every cluster holds all batches, and each batch's shift in
    a cluster is taken away. It moves the cells that it is given, all at once,
    and makes no map for others: `get_latent_representation` draws together
    what it is asked for, so two calls give codes that may not be compared.
    That suits integration, and no score of held-out cells.

    Parameters
    ----------
    cells : AnnData
        Training cells, which decide the components.
    n_latent : int
    batch_key : str
        Column of ``obs``.
    seed : int
        Seeds the clusters.
    """

    def __init__(self, cells, n_latent, *, batch_key, seed):
        self._cells = cells
        self._components = PrincipalComponents(cells, n_latent)
        self._batch_key = batch_key
        self._seed = seed

    def get_latent_representation(self, adata=None):
        """Scores of the cells without their batches' shifts.

        Parameters
        ----------
        adata : AnnData, optional
            Two batches or more; by default the training cells.

        Returns
        -------
        ndarray, shape (cells, n_latent)

        Raises
        ------
        ImportError
            If harmonypy is absent.
        ValueError
            If the cells are of one batch.
        """
        harmonypy = _harmonypy()
        adata = self._cells if adata is None else adata
        batches = read_groups(
            f"obs[{self._batch_key!r}]",
            adata.obs[self._batch_key],
            adata.n_obs,
            least=2,
        )
        found = harmonypy.run_harmony(
            self._components.get_latent_representation(adata),
            {"batch": batches},
            "batch",
            verbose=False,
            random_state=self._seed,
            ncores=1,
        )
        return found.Z_corr


class Noise:
    """Numbers that know nothing of the cells: the floor of every score.

    Parameters
    ----------
    cells : AnnData
        Training cells.
    n_latent : int
    seed : int
    """

    def __init__(self, cells, n_latent, seed):
        self._n_train = cells.n_obs
        self._n_latent = n_latent
        self._seed = seed

    def get_latent_representation(self, adata=None):
        """Standard normal numbers, (cells, n_latent)."""
        n = self._n_train if adata is None else adata.n_obs
        rng = np.random.default_rng([self._seed, n])
        return rng.normal(size=(n, self._n_latent))


def _library(adata):
    return np.asarray(adata.X.sum(axis=1)).ravel()


def _harmonypy():
    """The package, or a word on where it comes from."""
    try:
        import harmonypy
    except ImportError as error:
        raise ImportError(
            "harmonypy is not installed; it comes with the extra "
            "`baselines`: pip install 'qbmvae_mini[baselines]'"
        ) from error
    return harmonypy


def _scvi(seed):
    """The package, seeded and quiet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scvi

    scvi.settings.seed = seed
    scvi.settings.verbosity = logging.ERROR
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return scvi
