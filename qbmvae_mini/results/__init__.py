"""The results table: models x data sets x splits, one row each.

``make results`` fills ``data/results/likelihood.csv`` and may be stopped and
started again: rows that are there, and were made by the same code, are kept.
Chapters read the table, work one row out again and compare.

Every model trains with the same encoder, decoder, likelihood, optimiser,
patience and budget; only the latent differs. A split is 70 / 10 / 20 per cent
of the cells for training, early stopping and test. The dropout of a model on
a data set is the one that the validation cells of split 0 like best; variants
of a model take over its dropout. Test cells are scored once, by what was
chosen.
"""

from qbmvae_mini.results.fits import (
    DATASETS,
    DERIVED,
    DROPOUTS,
    FAMILIES,
    MODELS,
    SAMPLES,
    SPLITS,
    TEST,
    VALIDATION,
    compute_row,
    compute_rows,
    fit_model,
    split_cells,
)
from qbmvae_mini.results.table import (
    code_hash,
    load,
    paired_interval,
    table_path,
    with_best,
)

__all__ = [
    "DATASETS",
    "DERIVED",
    "DROPOUTS",
    "FAMILIES",
    "MODELS",
    "SAMPLES",
    "SPLITS",
    "TEST",
    "VALIDATION",
    "code_hash",
    "compute_row",
    "compute_rows",
    "load",
    "paired_interval",
    "fit_model",
    "split_cells",
    "table_path",
    "with_best",
]
