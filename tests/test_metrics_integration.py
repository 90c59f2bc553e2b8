"""Scores of integration: hand-worked cases, sklearn, floors and tops."""

import itertools
import math
import random
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq
from scipy.spatial.distance import cdist

from qbmvae_mini import metrics, results
from qbmvae_mini.metrics import integration
from qbmvae_mini.results.rivals import PrincipalComponents


def blobs(n=200, kinds=4, seed=0, apart=20.0):
    """Points about `kinds` corners, far apart, and their kinds."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % kinds
    return apart * np.eye(kinds)[kind] + rng.normal(size=(n, kinds)), kind


def noise(n=200, width=6, seed=1):
    return np.random.default_rng(seed).normal(size=(n, width))


def halves(n):
    """Two batches that know nothing of anything."""
    return np.random.default_rng(5).permutation(np.arange(n) % 2)


# Clusters and biology


def hand_nmi(one, other):
    """Mutual information over the mean of the two entropies, in nats."""
    one, other, n = list(one), list(other), len(one)
    share = {
        (a, b): sum(x == a and y == b for x, y in zip(one, other, strict=True))
        / n
        for a, b in itertools.product(set(one), set(other))
    }
    p = {a: one.count(a) / n for a in set(one)}
    q = {b: other.count(b) / n for b in set(other)}
    mutual = sum(
        s * math.log(s / (p[a] * q[b])) for (a, b), s in share.items() if s
    )
    entropies = [-sum(v * math.log(v) for v in d.values()) for d in (p, q)]
    return mutual / (sum(entropies) / 2)


def hand_ari(one, other):
    """Hubert and Arabie by counting all pairs of cells."""
    both = first = second = 0
    pairs = list(itertools.combinations(range(len(one)), 2))
    for i, j in pairs:
        same, alike = one[i] == one[j], other[i] == other[j]
        both, first, second = (
            both + (same and alike),
            first + same,
            second + alike,
        )
    chance = first * second / len(pairs)
    return (both - chance) / ((first + second) / 2 - chance)


def test_clusters_are_the_corners_the_largest_first():
    codes, kind = blobs(n=210)
    kind[:30] = 0
    codes[:30] = blobs(n=210, seed=3)[0][:120:4][:30]
    found = metrics.cluster(codes, 0.2)
    assert found.dtype == int
    table = pd.crosstab(kind, found)
    assert table.shape == (4, 4)
    assert (table > 0).sum().sum() == 4
    sizes = np.bincount(found)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_a_higher_resolution_gives_more_clusters():
    codes = noise()
    sizes = [metrics.cluster(codes, r).max() for r in (0.1, 1, 3)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_biology_agrees_with_counting_by_hand():
    codes, kind = blobs(n=120, apart=2.5)
    labels = np.where(kind == 3, 2, kind)
    found = metrics.biology(codes, labels)
    clusters = metrics.cluster(codes)
    assert 0.1 < found["nmi"] < 0.95
    assert found["nmi"] == pytest.approx(hand_nmi(clusters, labels))
    assert found["ari"] == pytest.approx(hand_ari(clusters, labels))


def test_biology_is_one_for_the_corners_and_nothing_in_noise():
    codes, kind = blobs()
    top = metrics.biology(codes, kind, resolution=0.2)
    assert top == pytest.approx({"nmi": 1, "ari": 1})
    floor = metrics.biology(noise(800), np.arange(800) % 4)
    assert abs(floor["ari"]) < 0.02
    assert floor["nmi"] < 0.05


def test_names_of_labels_do_not_matter_and_a_category_will_do():
    codes, kind = blobs(apart=3)
    names = pd.Categorical(np.array(["b", "a", "ductal", "T cell"])[kind])
    expected = metrics.biology(codes, kind)
    assert metrics.biology(codes, names) == pytest.approx(expected)
    tensor = torch.from_numpy(codes).float().requires_grad_()
    assert metrics.biology(tensor, pd.Series(kind)) == pytest.approx(expected)


def test_the_curve_is_biology_at_each_resolution():
    codes, kind = blobs(apart=3)
    curve = metrics.biology_curve(codes, kind, [2, 0.5], seed=3)
    assert list(curve) == ["resolution", "clusters", "nmi", "ari"]
    assert list(curve.resolution) == [2, 0.5]
    for row in curve.itertuples():
        scores = metrics.biology(codes, kind, row.resolution, seed=3)
        assert {"nmi": row.nmi, "ari": row.ari} == scores
        clusters = metrics.cluster(codes, row.resolution, seed=3)
        assert row.clusters == clusters.max() + 1


def test_seeds_decide_and_nothing_global_does():
    codes = noise(300)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    random.seed(0)
    one = metrics.cluster(codes, seed=4)
    random.seed(1)
    assert np.array_equal(metrics.cluster(codes, seed=4), one)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    others = [metrics.cluster(codes, seed=s) for s in range(5)]
    assert any(not np.array_equal(one, other) for other in others)


def test_equal_codes_are_one_cluster_or_so_and_score_nothing():
    found = metrics.biology(np.zeros((100, 3)), np.arange(100) % 2)
    assert abs(found["ari"]) < 0.05


# LISI and mixing


def slow_lisi(codes, groups, perplexity):
    """Simpson's index of Gaussian weights of the given perplexity."""
    distance, found = cdist(codes, codes), []
    for i, row in enumerate(distance):
        near = np.argsort(row)[1 : 3 * perplexity]
        assert i not in near
        d = row[near] - row[near].min()

        def weights(beta, d=d):
            return np.exp(-beta * d) / np.exp(-beta * d).sum()

        def entropy(beta, weights=weights):
            p = weights(beta) + 1e-300
            return -(p * np.log(p)).sum() - np.log(perplexity)

        p = weights(brentq(entropy, 1e-9, 1e6))
        share = [p[groups[near] == g].sum() for g in np.unique(groups)]
        found.append(1 / np.square(share).sum())
    return np.array(found)


def test_lisi_agrees_with_the_definition_worked_out_slowly():
    codes = noise(150)
    groups = np.random.default_rng(2).choice(3, 150, p=[0.6, 0.3, 0.1])
    found = metrics.lisi(codes, groups, perplexity=10)
    assert found.shape == (150,)
    assert found == pytest.approx(slow_lisi(codes, groups, 10), abs=1e-6)


def test_lisi_by_hand():
    """One ring of equally near cells: 20 of batch A, 9 of batch B."""
    angle = 2 * np.pi * np.arange(29) / 29
    ring = np.c_[np.cos(angle), np.sin(angle)]
    far = 50 + noise(40, 2)
    codes = np.r_[[[0.0, 0.0]], ring, far]
    batches = np.array(["A"] + ["A"] * 20 + ["B"] * 9 + ["A"] * 40)
    by_hand = 1 / ((20 / 29) ** 2 + (9 / 29) ** 2)
    # 29 neighbours: themselves at most 29 effective ones, so all weigh alike.
    found = metrics.lisi(codes, batches, perplexity=10)[0]
    assert found == pytest.approx(by_hand, rel=1e-6)


def test_mixing_is_full_in_noise_and_nothing_when_batches_lie_apart():
    batches = halves(600)
    mixed = metrics.mixing(noise(600), batches)["ilisi"]
    assert 0.85 < mixed < 1
    apart = noise(600) + 100 * batches[:, None]
    assert metrics.mixing(apart, batches)["ilisi"] == pytest.approx(0, abs=1e-9)


def test_mixing_is_about_the_median_cell_by_hand():
    """Two batches in three places far apart, and one number decides.

    Thirty cells at each place, so that the 29 neighbours of a cell are its
    place's others, and all of them equally near: LISI is 1 / (p^2 + q^2) by
    counting. Where all thirty are of A it is 1. Of 15 A and 15 B, a cell has
    14 of its own and 15 others: 841 / 421. Of 20 A and 10 B, one of A has 19
    and 10, 841 / 461, and one of B 20 and 9, 841 / 481. Sorted: 30 ones, 10
    times 841 / 481, 20 times 841 / 461, 30 times 841 / 421. The 45th and the
    46th of 90 are 841 / 461.
    """
    places = np.repeat(100 * np.eye(3), 30, axis=0)
    codes = np.c_[places, np.eye(90)]  # equally far from each other
    batches = ["A"] * 30 + ["A"] * 15 + ["B"] * 15 + ["A"] * 20 + ["B"] * 10
    values = metrics.lisi(codes, batches, perplexity=10)
    assert values[:30] == pytest.approx(np.ones(30))
    assert values[30:60] == pytest.approx(np.full(30, 841 / 421))
    assert values[60:80] == pytest.approx(np.full(20, 841 / 461))
    assert values[80:] == pytest.approx(np.full(10, 841 / 481))
    assert np.median(values) == pytest.approx(841 / 461)


def test_mixing_scales_the_median_lisi_by_the_number_of_batches():
    codes, batches = noise(200), np.arange(200) % 3
    values = metrics.lisi(codes, batches)
    assert abs(np.median(values) - values.mean()) > 0.02
    found = metrics.mixing(codes, batches)
    assert found == {"ilisi": pytest.approx((np.median(values) - 1) / 2)}


def test_mixing_is_the_ilisi_of_scib_metrics():
    """What scib-metrics gave for these codes is a number of the table."""
    study, model, split = "simulated batches", "PCA 32", 2
    train, _ = results.split_study(study, split)
    cells = results.load_cells(study, split)[:, train.var_names].copy()
    codes = PrincipalComponents(train, 32).get_latent_representation(cells)
    found = metrics.mixing(codes, cells.obs.batch)["ilisi"]
    assert found == pytest.approx(0.314666, abs=5e-6)
    table = results.load().set_index(["dataset", "model", "split"])
    row = table.loc[(study, model, split)]
    assert found == pytest.approx(row.ilisi, abs=5e-6)


def test_noise_mixes_better_than_codes_that_keep_the_biology():
    """Why mixing may not be added to biology."""
    codes, kind = blobs(400)
    # Each batch has two of the kinds more often, as donors do.
    batches = (np.random.default_rng(0).random(400) < (kind + 1) / 5).astype(
        int
    )
    kept = metrics.mixing(codes, batches)["ilisi"]
    assert metrics.mixing(noise(400), batches)["ilisi"] > kept + 0.05


# Twins


def slow_rank(codes, other):
    """Cell by cell, in both directions."""
    shares = []
    for a, b in ((codes, other), (other, codes)):
        for i in range(len(a)):
            to = [math.dist(a[i], b[j]) for j in range(len(b))]
            others = [d for j, d in enumerate(to) if j != i]
            half = sum(d == to[i] for d in others) / 2
            shares.append((sum(d > to[i] for d in others) + half) / len(others))
    return np.mean(shares)


def test_twin_rank_by_hand():
    """Cells at 0, 1, 10; their twins at 0.1, 5, 9.

    From the cells: 0 finds its twin first (1); from 1 the twin lies at 4,
    one other nearer, one farther (1/2); 10 finds it first (1). From the
    twins: 0.1 (1); 5 has 1 at 4, 0 at 5 and 10 at 5 (1); 9 (1).
    """
    codes, other = [[0.0], [1.0], [10.0]], [[0.1], [5.0], [9.0]]
    assert metrics.twin_rank(codes, other) == pytest.approx(5.5 / 6)
    assert metrics.twin_rank(other, codes) == pytest.approx(5.5 / 6)


def test_twin_rank_agrees_with_the_definition_worked_out_slowly():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (40, 2)).astype(float)  # with many ties
    other = codes + rng.integers(-1, 2, (40, 2))
    assert metrics.twin_rank(codes, other) == pytest.approx(
        slow_rank(codes, other)
    )


def test_twin_rank_is_the_same_number_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    codes, other = rng.integers(0, 4, (2, 41, 2)).astype(float)
    at_once = metrics.twin_rank(codes, other)
    for held in (1, 82, 41 * 7):  # one row at a time, two, and seven
        monkeypatch.setattr(integration, "MAX_DISTANCES", held)
        assert metrics.twin_rank(codes, other) == at_once


def test_twins_of_many_cells_need_no_table_of_all_distances():
    codes = noise(6000, 2)
    tracemalloc.start()
    assert metrics.twin_rank(codes, codes) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6  # all distances: 288 MB, and the comparisons 72 more


def test_twin_rank_is_one_for_twins_and_half_by_chance():
    codes = noise(500)
    assert metrics.twin_rank(codes, codes) == 1
    assert metrics.twin_rank(codes, codes[::-1]) == pytest.approx(0.5, abs=0.03)
    chance = metrics.twin_rank(codes, noise(500, seed=2))
    assert chance == pytest.approx(0.5, abs=0.03)
    assert metrics.twin_rank(0 * codes, 0 * codes) == 0.5
    # The reverse of an order is worse than chance.
    line = np.linspace(-1, 1, 50)[:, None]
    assert metrics.twin_rank(line, -line) < 0.5


# The surroundings


def test_a_score_leaves_the_number_of_threads_alone():
    codes, kind = blobs(100)
    asked = {
        "biology": lambda: metrics.biology(codes, kind),
        "mixing": lambda: metrics.mixing(codes, kind),
        "pseudotime": lambda: metrics.pseudotime(codes, 0),
        "branches": lambda: metrics.branch_agreement(codes, 0, kind),
        "twins": lambda: metrics.twin_rank(codes, codes),
        "classes": lambda: metrics.classify(codes, kind, codes),
    }
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for name, ask in asked.items():
            ask()
            assert torch.get_num_threads() == 3, name
    finally:
        torch.set_num_threads(before)


def test_clusters_of_many_cells_are_found_and_are_those_of_their_seed():
    """More than 8,191: scanpy by itself takes another search for them."""
    codes, kind = blobs(8400, apart=30)
    found = metrics.cluster(codes, 0.01)
    assert (pd.crosstab(kind, found) > 0).sum().sum() == 4


# Input of no use


GOOD = noise(100)
LABELS = np.arange(100) % 2
BROKEN = GOOD.copy()
BROKEN[7, 0] = np.nan

REFUSED = {
    "a list": (
        lambda: metrics.cluster(GOOD[0]),
        r"codes is a table of cells x numbers, not an array of shape \(6,\)",
    ),
    "no cells": (
        lambda: metrics.cluster(GOOD[:0]),
        r"codes is a table of cells x numbers, .* shape \(0, 6\)",
    ),
    "nan": (
        lambda: metrics.biology(BROKEN, LABELS),
        "codes holds NaN or infinite values in 1 of 100 rows, the first is "
        "row 7; a model",
    ),
    "few cells": (
        lambda: metrics.cluster(GOOD[:15]),
        "codes has 15 cells; the graph joins each to 15, so give at least 16",
    ),
    "resolution": (
        lambda: metrics.cluster(GOOD, 0),
        "resolution is a finite number above 0, not 0",
    ),
    "resolution word": (
        lambda: metrics.biology(GOOD, LABELS, "high"),
        "resolution is a finite number above 0, not 'high'",
    ),
    "resolution nan": (
        lambda: metrics.biology_curve(GOOD, LABELS, [1, math.nan]),
        "resolution is a finite number above 0, not nan",
    ),
    "seed": (
        lambda: metrics.cluster(GOOD, seed=-1),
        "seed is a whole number of at least 0, not -1",
    ),
    "labels": (
        lambda: metrics.biology(GOOD, LABELS[1:]),
        r"labels has shape \(99,\) for 100 cells; give one value a cell",
    ),
    "missing label": (
        lambda: metrics.biology(GOOD, [None, *LABELS[1:]]),
        "labels is missing for 1 of 100 cells; give every cell a value",
    ),
    "perplexity": (
        lambda: metrics.lisi(GOOD, LABELS, 1),
        "perplexity is a finite number above 1, not 1",
    ),
    "few for lisi": (
        lambda: metrics.lisi(GOOD[:50], LABELS[:50]),
        "codes has 50 cells, and a perplexity of 30 looks at 90; give more",
    ),
    "one batch": (
        lambda: metrics.mixing(GOOD, ["A"] * 100),
        r"batches has 1 group \('A'\); this score compares at least 2",
    ),
    "twins": (
        lambda: metrics.twin_rank(GOOD, GOOD[:50]),
        r"codes has shape \(100, 6\) and other \(50, 6\); row i of both",
    ),
    "one twin": (
        lambda: metrics.twin_rank(GOOD[:1], GOOD[:1]),
        "codes has 1 cell; a rank needs at least 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(case):
    attempt, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        attempt()


def test_codes_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="codes is a dense array of numbers"):
        metrics.cluster([["a", "b"]])
