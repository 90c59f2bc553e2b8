"""Scores of an embedding: what it keeps, what it mixes, how it orders.

An embedding is an array of codes, one row a cell, of any model or of none.

- `integration`: clusters against labels, batches mixed, twins found again.
- `classification`: labels read off by a plain classifier.
- `trajectory`: pseudotime and branches against a known truth.
- `generation`: no scores of codes, but checks of new cells against real ones.
- `markers`: none of codes either; marker genes of each type by the model.

Each calls a well-kept library where there is one. Biology and mixing are
never added up: noise mixes batches perfectly.
"""

from qbmvae_mini.metrics.classification import (
    classify,
    few_labels,
    label_scores,
)
from qbmvae_mini.metrics.generation import (
    correlation_error,
    coverage,
    gene_errors,
    nearest_distance,
    real_or_generated,
)
from qbmvae_mini.metrics.integration import (
    biology,
    biology_curve,
    cluster,
    lisi,
    mixing,
    twin_rank,
)
from qbmvae_mini.metrics.markers import (
    marker_fidelity,
    marker_genes,
    marker_ratios,
)
from qbmvae_mini.metrics.trajectory import (
    branch_agreement,
    order_scores,
    pseudotime,
)

__all__ = [
    "biology",
    "biology_curve",
    "branch_agreement",
    "classify",
    "cluster",
    "correlation_error",
    "coverage",
    "few_labels",
    "gene_errors",
    "label_scores",
    "lisi",
    "marker_fidelity",
    "marker_genes",
    "marker_ratios",
    "mixing",
    "nearest_distance",
    "order_scores",
    "pseudotime",
    "real_or_generated",
    "twin_rank",
]
