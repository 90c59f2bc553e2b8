"""The results table: models x studies x splits, one row each.

``make results`` makes the rows of ``data/results/scores.csv`` that are
missing. It may be stopped and started again, and rows that are there are kept
until others are asked for (``python -m qbmvae_mini.results --help``). Each
row records which code made it, and where. Chapters read the table, work one
row out again and compare.

A model of the table is an entry of `MODELS`, and that is all of it. Our
models train with the same encoder, decoder, likelihood, optimiser, patience
and budget; only the latent differs. scVI trains as scvi-tools has it. A split
is 70 / 10 / 20 per cent of the cells for training, early stopping and test.
The dropout of a model on a bundled set is the one that the validation cells
of split 0 like best; variants of a model take over its dropout, and so does
the model on a study that is made of that set. Test cells are scored once, by
what was chosen. One fit serves the likelihood and all tasks.

- `catalogue`: models and rivals; `rivals`: those that are none of ours.
- `studies`: which cells are compared, and what is asked of them.
- `jobs`: which fits are wanted; `workers`: the processes that make them.
- `rows`: one fit and its rows; `scores`: those of the tasks.
- `table`: read, written, compared; `provenance`: what a row records.
"""

from qbmvae_mini.results.catalogue import (
    DROPOUTS,
    MODELS,
    TASK_MODELS,
    Model,
)
from qbmvae_mini.results.rows import (
    SAMPLES,
    compute_row,
    compute_rows,
    fit_model,
)
from qbmvae_mini.results.studies import (
    DATASETS,
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
    holm,
    load,
    paired_interval,
    paired_p,
    table_path,
    verdict,
    with_best,
)

__all__ = [
    "DATASETS",
    "DROPOUTS",
    "MODELS",
    "SAMPLES",
    "SPLITS",
    "STUDIES",
    "TASK_MODELS",
    "TEST",
    "VALIDATION",
    "Model",
    "Study",
    "compute_row",
    "compute_rows",
    "fit_model",
    "holm",
    "load",
    "load_cells",
    "paired_interval",
    "paired_p",
    "split_cells",
    "split_study",
    "table_path",
    "verdict",
    "with_best",
]
