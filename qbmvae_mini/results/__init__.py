"""The results table: models x studies x splits, one row each.

``make results`` fills ``data/results/scores.csv`` and may be stopped and
started again: rows that are there, and were made by the same code, are kept.
Chapters read the table, work one row out again and compare.

Our models train with the same encoder, decoder, likelihood, optimiser,
patience and budget; only the latent differs. scVI trains as scvi-tools has
it. A split is 70 / 10 / 20 per cent of the cells for training, early stopping
and test. The dropout of a model on a bundled set is the one that the
validation cells of split 0 like best; variants of a model take over its
dropout, and so does the model on a study that is made of that set. Test cells
are scored once, by what was chosen. One fit serves the likelihood and all
tasks.
"""

from qbmvae_mini.results.fits import (
    BASELINES,
    DATASETS,
    DERIVED,
    DROPOUTS,
    FAMILIES,
    MODELS,
    SAMPLES,
    TASK_MODELS,
    compute_row,
    compute_rows,
    fit_model,
)
from qbmvae_mini.results.studies import (
    SPLITS,
    STUDIES,
    TEST,
    VALIDATION,
    Study,
    load_cells,
    split_cells,
    split_study,
)
from qbmvae_mini.results.table import (
    code_hash,
    load,
    paired_interval,
    table_path,
    verdict,
    with_best,
)

__all__ = [
    "BASELINES",
    "DATASETS",
    "DERIVED",
    "DROPOUTS",
    "FAMILIES",
    "MODELS",
    "SAMPLES",
    "SPLITS",
    "STUDIES",
    "TASK_MODELS",
    "TEST",
    "VALIDATION",
    "Study",
    "code_hash",
    "compute_row",
    "compute_rows",
    "fit_model",
    "load",
    "load_cells",
    "paired_interval",
    "split_cells",
    "split_study",
    "table_path",
    "verdict",
    "with_best",
]
