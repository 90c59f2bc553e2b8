"""Every figure of the book, in one style.

Each function takes data, draws once and returns a closed
`matplotlib.figure.Figure`: in a notebook, a cell that ends with the call
shows it, once. Colours are those of Okabe and Ito (2008), which readers with
any kind of colour vision can tell apart; no figure relies on colour alone.
"""

from qbmvae_mini.plotting.cells import (
    calibration,
    couplings_and_programs,
    energy_by_type,
    map_by_groups,
    map_of_cells,
    programs,
    tightening,
)
from qbmvae_mini.plotting.classification import (
    f1_by_type,
    few_label_curves,
    inflated_scores,
    probe_parts,
    reliability,
)
from qbmvae_mini.plotting.comparison import (
    boltzmann_minus_rivals,
    model_differences,
    paired_differences,
    score_margins,
)
from qbmvae_mini.plotting.counts import (
    census,
    heat_by_type,
    leak,
    log_changes,
    mean_and_variance,
    nats_by_mean,
    rates_and_counts,
    zeros,
)
from qbmvae_mini.plotting.discrete import (
    bias_and_variance,
    relaxed_bits,
    shortfall,
)
from qbmvae_mini.plotting.generation import (
    count_laws,
    energies_of_codes,
    gene_checks,
    new_cell,
    noticed,
    pair_correlations,
)
from qbmvae_mini.plotting.integration import biology_and_mixing, score_curves
from qbmvae_mini.plotting.learning import (
    estimated_gradients,
    gene_sets,
    laws,
    learning_curves,
    moments,
    pictures,
)
from qbmvae_mini.plotting.machines import (
    energy_levels,
    landscape,
    spin_states,
    temperature,
)
from qbmvae_mini.plotting.partition import (
    bracket,
    bridge,
    drift,
    peaks,
    repeated,
)
from qbmvae_mini.plotting.prior import (
    coupled_pair,
    followed,
    qbm_vae,
    sampled_gradient,
)
from qbmvae_mini.plotting.quantum import (
    laws_by_energy,
    learned_field,
    magnetisation_curve,
    one_qubit,
    sampled_laws,
    world_lines,
)
from qbmvae_mini.plotting.sampling import (
    approach,
    chain_energies,
    drawn_energies,
    memory,
    pseudolikelihood,
    race,
    walk,
)
from qbmvae_mini.plotting.style import WIDTH
from qbmvae_mini.plotting.trajectories import (
    against_truth,
    energy_and_nulls,
    graph_times,
    order_scores,
    ordered_map,
)
from qbmvae_mini.plotting.vae import (
    bound,
    bounds,
    clouds,
    code_and_data,
    code_prices,
    gradient_draws,
    map_by_type,
    training_curve,
    vae_parts,
)

__all__ = [
    "WIDTH",
    "against_truth",
    "approach",
    "bias_and_variance",
    "biology_and_mixing",
    "boltzmann_minus_rivals",
    "bound",
    "bounds",
    "bracket",
    "bridge",
    "calibration",
    "census",
    "chain_energies",
    "clouds",
    "code_and_data",
    "code_prices",
    "count_laws",
    "coupled_pair",
    "couplings_and_programs",
    "drawn_energies",
    "drift",
    "energies_of_codes",
    "energy_and_nulls",
    "energy_by_type",
    "energy_levels",
    "estimated_gradients",
    "f1_by_type",
    "few_label_curves",
    "followed",
    "gene_checks",
    "gene_sets",
    "gradient_draws",
    "graph_times",
    "heat_by_type",
    "inflated_scores",
    "landscape",
    "laws",
    "laws_by_energy",
    "leak",
    "learned_field",
    "learning_curves",
    "log_changes",
    "magnetisation_curve",
    "map_by_groups",
    "map_by_type",
    "map_of_cells",
    "mean_and_variance",
    "memory",
    "model_differences",
    "moments",
    "nats_by_mean",
    "new_cell",
    "noticed",
    "one_qubit",
    "order_scores",
    "ordered_map",
    "pair_correlations",
    "paired_differences",
    "peaks",
    "pictures",
    "probe_parts",
    "programs",
    "pseudolikelihood",
    "qbm_vae",
    "race",
    "rates_and_counts",
    "relaxed_bits",
    "reliability",
    "repeated",
    "sampled_gradient",
    "sampled_laws",
    "score_curves",
    "score_margins",
    "shortfall",
    "spin_states",
    "temperature",
    "tightening",
    "training_curve",
    "vae_parts",
    "walk",
    "world_lines",
    "zeros",
]
