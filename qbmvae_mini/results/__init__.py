"""Two tables of results, and the command that makes them.

``make results`` makes the rows that are missing. It may be stopped and started
again, and rows that are there are kept until others are asked for (``python
-m qbmvae_mini.results --help``). Each row records which code made it, and
where. Chapters read the tables, work one row out again and compare.

A model of the tables is an entry of `MODELS`, and that is all of it. Our
models train with the same encoder, decoder, likelihood, optimiser, patience
and budget; only the latent differs. A split is 70 / 10 / 20 per cent of the
cells for training, early stopping and test.

The tables hold two kinds of names.

- *Families* are compared by likelihood. ``searches.csv`` holds every fit of
  their searches, on the training cells of split 0: models by recipes. A
  family's first models try all recipes, the others the one that these like
  best. The highest validation picks a fit for each family; it is trained on
  `FAMILY_SPLITS` and scored once on the test cells of each. A second rule picks
  the highest validation among those that keep their marker genes, to tell what
  these cost.
- *Models* by their own name are compared by their embeddings in the tasks, and
  asked for controls, on all splits. They have dropout alone, and no prior of
  the decoder.

Both are scored in ``scores.csv``.

- `catalogue`: models and rivals; `rivals`: those that are none of ours.
- `studies`: which cells are compared, and what is asked of them.
- `searches`: what they try and what each rule picks.
- `jobs`: which fits are wanted; `workers`: the processes that make them.
- `rows`: one fit and its rows; `scores`: those of the tasks.
- `table`: files; `comparison`: rows by name, and intervals of differences.
- `provenance`: what a row records.
"""

from qbmvae_mini.results.catalogue import (
    MODELS,
    RECIPES,
    TASK_MODELS,
    TRAINED_WHEN,
    Afterwards,
    Model,
    Recipe,
    families,
)
from qbmvae_mini.results.comparison import (
    holm,
    load,
    load_choices,
    load_searches,
    paired_interval,
    paired_p,
    verdict,
)
from qbmvae_mini.results.rows import (
    SAMPLES,
    compute_row,
    compute_rows,
    fit_model,
)
from qbmvae_mini.results.searches import RULES, WORST_FACTOR
from qbmvae_mini.results.studies import (
    DATASETS,
    FAMILY_SPLITS,
    SPLITS,
    STUDIES,
    TEST,
    VALIDATION,
    Study,
    load_cells,
    split_cells,
    split_study,
)

__all__ = [
    "DATASETS",
    "FAMILY_SPLITS",
    "MODELS",
    "RECIPES",
    "RULES",
    "SAMPLES",
    "SPLITS",
    "STUDIES",
    "TASK_MODELS",
    "TEST",
    "TRAINED_WHEN",
    "VALIDATION",
    "WORST_FACTOR",
    "Afterwards",
    "Model",
    "Recipe",
    "Study",
    "compute_row",
    "compute_rows",
    "families",
    "fit_model",
    "holm",
    "load",
    "load_choices",
    "load_cells",
    "load_searches",
    "paired_interval",
    "paired_p",
    "split_cells",
    "split_study",
    "verdict",
]
