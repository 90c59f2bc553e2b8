"""Marker fidelity: right shares score 0, smeared ones their known error."""

import numpy as np
import pandas as pd
import pytest

from qbmvae_mini import metrics
from qbmvae_mini.metrics import (
    marker_fidelity,
    marker_genes,
    marker_ratios,
    markers,
)

GENES = ["INS", "SST", "rest"]
MARKERS = {"beta": ["INS"], "delta": ["SST"]}
LABELS = np.repeat(["beta", "delta"], 10)


def two_types(umis=1000):
    """Ten cells of each type; every second one is twice as deep."""
    shares = np.repeat([[0.4, 0.02, 0.58], [0.01, 0.5, 0.49]], 10, axis=0)
    depth = np.tile([umis, 2 * umis], 10)
    return np.rint(shares * depth[:, None]), shares


def fidelity(counts, shares, labels=LABELS):
    return marker_fidelity(
        marker_ratios(counts, shares, labels, GENES, MARKERS)
    )


def test_right_shares_are_off_by_nothing():
    found = fidelity(*two_types())
    numbers = [v for k, v in found.items() if not k.startswith("worst_")]
    assert numbers == pytest.approx([0] * 5, abs=1e-9)


def test_insulin_smeared_onto_delta_cells_is_seen_and_named():
    counts, shares = two_types()
    shares[10:] = [0.4, 0.25, 0.35]  # insulin for 0.01, half of SST
    found = fidelity(counts, shares)
    n = 15_000  # UMIs of delta cells
    smeared = np.log2((0.4 * n + 10) / (0.01 * n + 10))
    lost = np.log2((0.5 * n + 10) / (0.25 * n + 10))
    assert found == {
        "own_worst": pytest.approx(lost),
        "own_median": pytest.approx(lost / 2),  # of 0 and of this
        "other_worst": pytest.approx(smeared),
        "other_median": pytest.approx(smeared / 2),
        "worst": pytest.approx(smeared),
        "worst_type": "delta",
        "worst_gene": "INS",
    }
    assert smeared > 5


def test_a_ratio_by_hand():
    """Deep cells weigh more, and ten UMIs stand on either side."""
    counts = np.zeros((10, 3))
    counts[:, 0] = [2] * 5 + [0] * 5
    counts[:, 2] = [98] * 5 + [300] * 5
    shares = np.zeros((10, 3))
    shares[:5, 0], shares[5:, 0] = 0.1, 0.02
    shares[:, 2] = 1 - shares[:, 0]
    labels = ["beta"] * 10
    row = marker_ratios(counts, shares, labels, GENES, MARKERS).iloc[0]
    assert list(row[["type", "gene", "own"]]) == ["beta", "INS", True]
    assert row.real == pytest.approx(10 / 2000)
    assert row.model == pytest.approx(80 / 2000)  # 500 x 0.1 + 1500 x 0.02
    assert row.log2_ratio == pytest.approx(np.log2(90 / 20))


def test_one_type_s_markers_are_looked_for_in_all_types():
    table = marker_ratios(*two_types(), LABELS, GENES, MARKERS)
    pairs = list(zip(table.type, table.gene, table.own, strict=True))
    assert pairs == [
        ("beta", "INS", True),
        ("beta", "SST", False),
        ("delta", "INS", False),
        ("delta", "SST", True),
    ]


def test_too_little_and_too_much_are_equally_wrong():
    counts, shares = two_types(100_000)
    for factor in (0.5, 2):
        off = shares.copy()
        off[:10, 1] *= factor
        off[:10, 2] = 1 - off[:10, :2].sum(1)
        assert fidelity(counts, off)["worst"] == pytest.approx(1, abs=1e-3)


def test_a_type_of_few_cells_is_left_out_with_its_markers():
    counts, shares = two_types()
    shares[10:] = [0.4, 0.25, 0.35]
    table = marker_ratios(counts[:-1], shares[:-1], LABELS[:-1], GENES, MARKERS)
    assert set(table.type) == {"beta"} and set(table.gene) == {"INS"}
    assert marker_fidelity(table)["worst"] == pytest.approx(0, abs=1e-9)


def test_a_type_without_markers_is_left_out():
    counts, shares = two_types()
    table = marker_ratios(counts, shares, LABELS, GENES, {"beta": ["INS"]})
    assert set(table.type) == {"beta"}


def test_a_gene_seen_nowhere_is_off_by_counting_noise_at_most():
    """Poisson noise moves a ratio by 0.23 at most, whatever the share."""
    rng = np.random.default_rng(0)
    labels = ["beta"] * 10
    for mean in (0.01, 0.3, 1, 3, 30):
        found = []
        for _ in range(400):
            counts = np.column_stack([rng.poisson(mean, 10), [1] * 10])
            counts = np.column_stack([counts, 10_000 - counts.sum(1)])
            share = np.full((10, 3), [mean / 10_000, 1e-4, 0])
            share[:, 2] = 1 - share.sum(1)
            table = marker_ratios(counts, share, labels, GENES, MARKERS)
            found.append(table.log2_ratio.iloc[0])
        most = 1 / (2 * np.sqrt(markers.PSEUDO_COUNT) * np.log(2))
        assert np.std(found) < 1.15 * most  # 400 draws: 4 standard errors


# Which genes


def test_markers_are_the_genes_that_were_raised():
    rng = np.random.default_rng(1)
    mean = np.full((3, 30), 2.0)
    for i in range(3):
        mean[i, 4 * i : 4 * i + 4] = [40, 30, 20, 14]
    labels = np.repeat(["a", "b", "c"], 40)
    counts = rng.poisson(mean[np.repeat([0, 1, 2], 40)])
    genes = [f"gene{i}" for i in range(30)]
    found = marker_genes(counts, labels, genes, n=4)
    assert {t: set(names) for t, names in found.items()} == {
        t: {f"gene{4 * i + j}" for j in range(4)} for i, t in enumerate("abc")
    }
    assert found["a"][0] == "gene0"


def test_a_type_of_one_cell_has_no_markers():
    counts = np.random.default_rng(2).poisson(3, (21, 8)) + 1
    labels = ["a"] * 10 + ["b"] * 10 + ["c"]
    found = marker_genes(counts, labels, list("stuvwxyz"))
    assert list(found) == ["a", "b"]
    assert all(len(names) == markers.MARKERS for names in found.values())
    with pytest.raises(ValueError, match="labels has 1 type of two cells"):
        marker_genes(counts[10:], ["b"] * 10 + ["c"], list("stuvwxyz"))


def test_markers_of_real_types_are_their_hormones():
    from qbmvae_mini.cells import datasets

    cells = datasets.load("pancreas")
    found = marker_genes(
        cells.X.toarray(), cells.obs.cell_type, cells.var_names
    )
    hormones = {"beta": "INS", "alpha": "GCG", "delta": "SST", "gamma": "PPY"}
    for name, hormone in hormones.items():
        assert hormone in found[name]


# What is refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": -1.0}, "counts holds negative values; give raw counts"),
        ({"counts": 0.0}, "counts holds empty cells"),
        ({"shares": 0.5}, "shares holds rows that are no shares"),
        ({"shares": np.nan}, "shares holds NaN or infinite values"),
    ],
)
def test_values_of_no_use_are_refused(change, words):
    tables = dict(zip(("counts", "shares"), two_types(), strict=True))
    for name, value in change.items():
        tables[name][3] = value
    with pytest.raises(ValueError, match=words):
        marker_ratios(**tables, labels=LABELS, genes=GENES, markers=MARKERS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shares": np.full((19, 3), 1 / 3)}, r"shares has shape \(19, 3\)"),
        ({"genes": ["a", "b"]}, "genes has 2 different names for 3 columns"),
        ({"genes": ["a", "b", "b"]}, "genes has 2 different names for 3"),
        ({"labels": LABELS[:4]}, r"labels has shape \(4,\) for 20 cells"),
        ({"markers": {"alpha": ["GCG"]}}, "no type with markers has 10 cells"),
        ({"markers": {"beta": ["GCG"]}}, "markers names 'GCG', which is not"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, words):
    counts, shares = two_types()
    given = {"counts": counts, "shares": shares, "labels": LABELS}
    given |= {"genes": GENES, "markers": MARKERS}
    with pytest.raises(ValueError, match=words):
        marker_ratios(**given | change)


def test_a_number_of_markers_is_whole():
    with pytest.raises(ValueError, match="n is a whole number of at least 1"):
        marker_genes(two_types()[0], LABELS, GENES, n=0)


def test_markers_and_ratios_are_those_of_their_functions():
    with pytest.raises(TypeError, match="markers is a dictionary .* not list"):
        marker_ratios(*two_types(), LABELS, GENES, ["INS"])
    with pytest.raises(TypeError, match="^ratios is the table of marker_ratio"):
        marker_fidelity(pd.DataFrame({"type": ["beta"]}))


def test_fidelity_is_public():
    names = {"marker_fidelity", "marker_genes", "marker_ratios"}
    assert names <= set(metrics.__all__)
    assert isinstance(
        marker_ratios(*two_types(), LABELS, GENES, MARKERS), pd.DataFrame
    )
