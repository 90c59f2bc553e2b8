"""However many groups there are, a figure draws all of them or says how many
it does not, tells those that it draws apart, and cuts nothing off.
"""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from figures import check_figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from qbmvae_mini import plotting, results

RNG = np.random.default_rng(0)
X = np.arange(1.0, 6.0)
CURVE = np.linspace(0.2, 0.8, 5)


def names(n):
    return [f"group {i:02d}" for i in range(n)]


def each(n, value):
    """The same numbers under every name."""
    return dict.fromkeys(names(n), value)


def cells(n):
    """Points, a group and a number of `n` groups of 2 to n + 1 cells."""
    groups = np.repeat(names(n), np.arange(2, n + 2))
    return RNG.normal(size=(len(groups), 2)), groups, np.arange(len(groups))


def frame(n):
    return pd.DataFrame(np.eye(n, 3), index=names(n), columns=list("abc"))


def map_by_groups(n):
    points, groups, _ = cells(n)
    return plotting.map_by_groups(points, {"types": groups}, least=1)


def map_of_cells(n):
    points, groups, number = cells(n)
    return plotting.map_of_cells(points, groups, number, least=1)


def map_by_type(n):
    points, groups, _ = cells(n)
    return plotting.map_by_type(points, groups, least=1)


def ordered_map(n):
    points, groups, number = cells(n)
    return plotting.ordered_map(points, number, groups)


def against_truth(n):
    points, groups, number = cells(n)
    panels = {"energy": points[:, 0]}
    return plotting.against_truth(number, panels, groups, "time", "energy")


def energy_by_type(n):
    points, groups, number = cells(n)
    return plotting.energy_by_type(points[:, 0], groups, 50 + number)


def census_types(n):
    _, groups, number = cells(n)
    return plotting.census(groups, 100 + number, ["lib"] * len(groups))


def census_batches(n):
    _, groups, number = cells(n)
    return plotting.census(["type"] * len(groups), 100 + number, groups)


def f1_models(n):
    counts = pd.Series({"alpha": 3, "beta": 60})
    scores = pd.DataFrame(0.5, index=counts.index, columns=names(n))
    return plotting.f1_by_type(scores, counts)


def f1_types(n):
    counts = pd.Series(5, index=names(n))
    return plotting.f1_by_type(frame(n), counts)


def few_label_curves(n):
    scores = np.full((3, 2), 0.5)
    return plotting.few_label_curves({"set": each(n, scores)}, [1, 5, 20])


def few_label_panels(n):
    curves = each(n, {"PCA": np.full((3, 2), 0.5)})
    return plotting.few_label_curves(curves, [1, 5, 20])


def reliability(n):
    right = np.array([True, False, True])
    return plotting.reliability(each(n, (np.array([0.3, 0.9, 1.0]), right)))


def bias_and_variance(n):
    point = SimpleNamespace(bias=0.1, variance=1.0, floor=0.01)
    return plotting.bias_and_variance(each(n, {"0.5": point}))


def model_differences(n):
    name = next(iter(results.DATASETS))
    score = f"log_likelihood_{results.SAMPLES[-1]}"
    rows = [
        {"dataset": name, "model": model, "split": split, score: split + 0.1}
        for model in ("A", "B")
        for split in range(3)
    ]
    return plotting.model_differences(
        pd.DataFrame(rows), each(n, ("A", "B")), score
    )


def order_scores(n):
    table = pd.DataFrame({"model": names(n), "tau": 0.5})
    return plotting.order_scores(table, names(n), "tau")


def noticed(n):
    return plotting.noticed(frame(n), frame(n) > 0.5)


def beside_first(n):
    return plotting.beside_first(frame(n), frame(n) < 0.2, frame(n) > 0.5)


def gene_sets(n):
    activity = np.full((n, 3), 0.5)
    return plotting.gene_sets(np.eye(2, 3), ["INS", "GCG"], activity, names(n))


def coupled_pair(n):
    numbers = pd.Series(np.linspace(0.1, 1, n), index=names(n))
    return plotting.coupled_pair(numbers, pd.Series({"INS": 1.0}))


def sampled_laws(n):
    half = np.full(n, 0.5)
    return plotting.sampled_laws(names(n), half, half / 9, half, half / 9)


def pseudolikelihood(n):
    return plotting.pseudolikelihood(X, each(n, CURVE), each(n, (2, 0.4)))


def memory(n):
    return plotting.memory(each(n, CURVE), each(n, CURVE), each(n, CURVE))


def temperature(n):
    return plotting.temperature(X, np.tile(CURVE[:, None], n), names(n))


def learned_field(n):
    return plotting.learned_field(each(n, CURVE), each(n, CURVE))


def clouds(n):
    points = each(n, RNG.normal(size=(4, 2)))
    return plotting.clouds(points, each(n, np.array([True] + [False] * 3)))


FIGURES = {
    "map_by_groups": map_by_groups,
    "map_of_cells": map_of_cells,
    "map_by_type": map_by_type,
    "ordered_map": ordered_map,
    "against_truth": against_truth,
    "energy_by_type": energy_by_type,
    "programs": lambda n: plotting.programs(frame(n)),
    "heat_by_type": lambda n: plotting.heat_by_type(frame(n), "share"),
    "tightening": lambda n: plotting.tightening(
        pd.DataFrame(each(n, CURVE), index=[1, 2, 4, 8, 16])
    ),
    "census, types": census_types,
    "census, batches": census_batches,
    "zeros": lambda n: plotting.zeros(CURVE, each(n, CURVE)),
    "nats_by_mean": lambda n: plotting.nats_by_mean(X, each(n, CURVE)),
    "log_changes": lambda n: plotting.log_changes(X, each(n, CURVE), 0.5),
    "f1_by_type, models": f1_models,
    "f1_by_type, types": f1_types,
    "few_label_curves, models": few_label_curves,
    "few_label_curves, sets": few_label_panels,
    "reliability": reliability,
    "inflated_scores": lambda n: plotting.inflated_scores(
        pd.DataFrame({"honest": 0.3, "leaked": 0.9}, index=names(n))
    ),
    "paired_differences": lambda n: plotting.paired_differences(
        each(n, {"pancreas": (1.0, 0.5, 1.5)})
    ),
    "model_differences": model_differences,
    "score_margins, sets": lambda n: plotting.score_margins(
        each(n, {"PCA": (0.0, -0.1, 0.1)})
    ),
    "score_margins, rows": lambda n: plotting.score_margins(
        {"set": each(n, (0.0, -0.1, 0.1))}
    ),
    "relaxed_bits": lambda n: plotting.relaxed_bits({"bits": each(n, CURVE)}),
    "bias_and_variance": bias_and_variance,
    "shortfall": lambda n: plotting.shortfall(X, each(n, CURVE)),
    "gene_checks": lambda n: plotting.gene_checks(
        np.eye(3), each(n, np.eye(3))
    ),
    "pair_correlations": lambda n: plotting.pair_correlations(
        CURVE, each(n, CURVE)
    ),
    "noticed": noticed,
    "beside_first": beside_first,
    "energies_of_codes": lambda n: plotting.energies_of_codes(
        {"model": each(n, CURVE)}
    ),
    "biology_and_mixing": lambda n: plotting.biology_and_mixing(
        each(n, (0.5, 0.5))
    ),
    "score_curves": lambda n: plotting.score_curves(
        X, each(n, CURVE), "resolution", "NMI"
    ),
    "laws": lambda n: plotting.laws(["0", "1"], each(n, [0.4, 0.6])),
    "learning_curves": lambda n: plotting.learning_curves(
        X, {"rules": each(n, CURVE)}, 1.0
    ),
    "estimated_gradients": lambda n: plotting.estimated_gradients(
        CURVE, each(n, np.tile(CURVE, (2, 1)))
    ),
    "pictures": lambda n: plotting.pictures(each(n, np.eye(4)), 2),
    "gene_sets": gene_sets,
    "moments": lambda n: plotting.moments(each(n, (CURVE, CURVE))),
    "temperature": temperature,
    "repeated": lambda n: plotting.repeated(each(n, CURVE)),
    "peaks": lambda n: plotting.peaks(X, each(n, CURVE)),
    "drift": lambda n: plotting.drift(X, each(n, CURVE), each(n, CURVE)),
    "followed, runs": lambda n: plotting.followed(X, {"a": each(n, CURVE)}),
    "coupled_pair": coupled_pair,
    "learned_field": learned_field,
    "sampled_laws": sampled_laws,
    "approach": lambda n: plotting.approach(
        X, each(n, CURVE), each(n, (X, CURVE)), (0.1, 0.01)
    ),
    "memory": memory,
    "drawn_energies": lambda n: plotting.drawn_energies(
        X, CURVE, each(n, CURVE)
    ),
    "pseudolikelihood": pseudolikelihood,
    "chain_energies": lambda n: plotting.chain_energies(
        each(n, np.tile(CURVE, (2, 1))), 0.5
    ),
    "race": lambda n: plotting.race(
        each(n, (X, CURVE, CURVE / 9)), (0.5, 0.01)
    ),
    "energy_and_nulls": lambda n: plotting.energy_and_nulls(
        each(n, 0.5), CURVE
    ),
    "order_scores": order_scores,
    "bound": lambda n: plotting.bound(X, each(n, CURVE), 1.0),
    "bounds": lambda n: plotting.bounds(X, CURVE, each(n, 0.5)),
    "gradient_draws": lambda n: plotting.gradient_draws(each(n, CURVE), 0.5),
    "clouds": clouds,
    "code_prices": lambda n: plotting.code_prices(X, each(n, CURVE)),
}


def keys(figure):
    """All legends of a figure."""
    inside = [ax.get_legend() for ax in figure.axes]
    return [*figure.legends, *(legend for legend in inside if legend)]


def accounted_for(figure):
    """Groups that are named somewhere, and those that are only counted."""
    texts = [text.get_text() for text in figure.findobj(Text)]
    named = set(re.findall(r"group \d\d", " ".join(texts)))
    counted = {re.fullmatch(r"(\d+) others?", text) for text in texts}
    return len(named), max((int(hit[1]) for hit in counted if hit), default=0)


def look(handle):
    """Everything by which a reader tells one entry of a key from another."""
    if isinstance(handle, Line2D):
        return (
            handle.get_color(),
            handle.get_marker(),
            handle.get_markersize(),
            handle.get_markerfacecolor(),
            handle.get_linestyle(),
            str(handle._dash_pattern),
            handle.get_linewidth(),
        )
    return (
        handle.get_facecolor(),
        handle.get_edgecolor(),
        handle.get_hatch(),
        str(handle._dash_pattern),
        handle.get_linewidth(),
    )


#: A group is a panel here, and a page of many panels takes long to arrange.
PANELS = {
    "zeros",
    "nats_by_mean",
    "few_label_curves, sets",
    "reliability",
    "score_margins, sets",
    "gene_checks",
    "pair_correlations",
    "estimated_gradients",
    "pictures",
    "moments",
    "repeated",
    "memory",
    "chain_energies",
    "gradient_draws",
    "clouds",
}
CASES = [
    (name, n)
    for name in FIGURES
    for n in (1, 2, 8, 9, 25, 60)
    if n < 10 or name not in PANELS
]


@pytest.mark.parametrize(("name", "n"), CASES)
def test_no_group_is_lost_or_looks_like_another(name, n):
    made = []

    def draw():
        made.append(FIGURES[name](n))
        return made[0]

    check_figure(name.split(",")[0], draw)
    named, counted = accounted_for(made[0])
    if name == "energy_by_type":  # a row for each, counted beside them
        counted = 0
    keyless = n == 1 and not keys(made[0])  # one alone is told from nothing
    assert named + counted == n or keyless
    for legend in keys(made[0]):
        looks = [look(handle) for handle in legend.legend_handles]
        assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("name", ["map_of_cells", "race", "shortfall"])
def test_long_names_in_a_key_are_not_cut_off(name, monkeypatch):
    monkeypatch.setitem(
        globals(), "names", lambda n: [f"group {i:02d} " * 4 for i in range(n)]
    )
    check_figure(name, lambda: FIGURES[name](9))
