"""Every figure of the book, in one style: one file a chapter.

Each function takes data, draws once and returns a closed
`matplotlib.figure.Figure`: in a notebook, a cell that ends with the call
shows it, once. Colours are those of Okabe and Ito (2008), which readers with
any kind of colour vision can tell apart; no figure relies on colour alone.
Where there are more groups than colours, markers or dashes change with each
round of them; groups that are not drawn apart are counted in the key.
"""

from importlib import import_module

#: File, named by the topic of its chapter -> its figures. Figures that
#: compare models stand in several chapters.
_FIGURES = {
    "energy": (
        "energy_levels",
        "landscape",
        "spin_states",
        "temperature",
    ),
    "sampling": (
        "approach",
        "chain_energies",
        "drawn_energies",
        "memory",
        "pseudolikelihood",
        "race",
        "walk",
    ),
    "learning": (
        "estimated_gradients",
        "gene_sets",
        "laws",
        "learning_curves",
        "moments",
        "pictures",
    ),
    "partition": (
        "bracket",
        "bridge",
        "drift",
        "peaks",
        "repeated",
    ),
    "quantum": (
        "laws_by_energy",
        "learned_field",
        "magnetisation_curve",
        "one_qubit",
        "sampled_laws",
        "world_lines",
    ),
    "vae": (
        "bound",
        "bounds",
        "clouds",
        "code_and_data",
        "code_prices",
        "gradient_draws",
        "map_by_type",
        "training_curve",
        "vae_parts",
    ),
    "discrete": (
        "bias_and_variance",
        "relaxed_bits",
        "shortfall",
    ),
    "boltzmann_prior": (
        "coupled_pair",
        "followed",
        "qbm_vae",
        "sampled_gradient",
    ),
    "couplings": (
        "saved_by_prior",
        "saved_by_strength",
    ),
    "counts": (
        "census",
        "heat_by_type",
        "leak",
        "log_changes",
        "mean_and_variance",
        "nats_by_mean",
        "rates_and_counts",
        "zeros",
    ),
    "cells": (
        "calibration",
        "couplings_and_programs",
        "energy_by_type",
        "map_by_groups",
        "map_of_cells",
        "marker_shares",
        "programs",
        "tightening",
    ),
    "integration": (
        "biology_and_mixing",
        "score_curves",
    ),
    "classification": (
        "f1_by_type",
        "few_label_curves",
        "inflated_scores",
        "probe_parts",
        "reliability",
    ),
    "trajectories": (
        "against_truth",
        "energy_and_nulls",
        "graph_times",
        "order_scores",
        "ordered_map",
    ),
    "generation": (
        "count_laws",
        "energies_of_codes",
        "gene_checks",
        "new_cell",
        "noticed",
        "beside_first",
        "pair_correlations",
    ),
    "audit": ("answer_grid",),
    "comparison": (
        "gain_curves",
        "minus_rivals",
        "model_differences",
        "paired_differences",
        "score_heat",
        "score_margins",
    ),
    "style": ("WIDTH",),
}
_HOME = {name: file for file, names in _FIGURES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted({*globals(), *_HOME})
