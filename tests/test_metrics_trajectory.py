"""Scores of trajectories: a path and a tree whose order is known."""

import logging

import numpy as np
import pytest
import scanpy as sc
from scipy.linalg import eigh
from sklearn.metrics import adjusted_rand_score

from qbmvae_mini import metrics
from qbmvae_mini.metrics import trajectory
from qbmvae_mini.metrics.embeddings import neighbour_graph


def path(n=300, sd=0.02, width=6, seed=0):
    """Points along a bent line, and how far along they are."""
    rng = np.random.default_rng(seed)
    time = rng.uniform(size=n)
    codes = np.zeros((n, width))
    codes[:, 0], codes[:, 1] = np.cos(3 * time), np.sin(3 * time)
    return codes + sd * rng.normal(size=codes.shape), time


def tree(n=400, sd=0.02, width=5, seed=0):
    """A Y: a trunk and two branches, with time and branch of each point."""
    rng = np.random.default_rng(seed)
    time = rng.uniform(size=n)
    side = rng.choice(["left", "right"], n)
    branch = np.where(time < 0.4, "trunk", side)
    directions = {"trunk": (0, -1), "left": (-0.7, 0.7), "right": (0.7, 0.7)}
    ends = np.array([directions[name] for name in branch])
    codes = np.zeros((n, width))
    codes[:, :2] = ends * np.abs(time - 0.4)[:, None]
    return codes + sd * rng.normal(size=codes.shape), time, branch


def kendall(time, truth):
    """Tau-b by counting all pairs."""
    time = np.where(np.isinf(time), 1e9, time)
    a = np.sign(np.subtract.outer(time, time))
    b = np.sign(np.subtract.outer(truth, truth))
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


# Pseudotime


def transitions(codes):
    """The symmetric matrix of steps on the graph, dense."""
    W = neighbour_graph(codes).obsp["connectivities"].toarray().astype(float)
    W = W / np.outer(W.sum(0), W.sum(0))  # density divided out
    return W / np.sqrt(np.outer(W.sum(0), W.sum(0)))


def slow_pseudotime(codes, root):
    """All eigenvectors of the transition matrix, by dense algebra."""
    values, vectors = eigh(transitions(codes))
    values, vectors = values[-2:-11:-1], vectors[:, -2:-11:-1]
    steps = (vectors - vectors[root]) * values / (1 - values)
    distance = np.sqrt((steps**2).sum(1))
    return distance / distance.max()


@pytest.mark.parametrize("sd", [0.002, 0.02, 0.5])
def test_pseudotime_agrees_with_dense_algebra(sd):
    codes, time = path(sd=sd)
    root = int(time.argmin())
    found = metrics.pseudotime(codes, root)
    assert found == pytest.approx(slow_pseudotime(codes, root), abs=1e-5)
    assert found[root] == 0
    assert found.max() == 1


def test_where_scanpy_leaves_nothing_out_the_order_is_the_same():
    codes, time = path(sd=0.3)
    root = int(time.argmin())
    graph = neighbour_graph(codes)
    graph.uns["iroot"] = root
    sc.tl.diffmap(graph)
    assert graph.uns["diffmap_evals"][1] < 0.9994
    sc.tl.dpt(graph)
    theirs = graph.obs["dpt_pseudotime"].to_numpy()
    order = metrics.order_scores(metrics.pseudotime(codes, root), theirs)
    assert order["kendall"] > 0.95  # theirs adds the constant component


def test_weights_are_all_that_scanpy_does_otherwise_on_a_thin_path():
    """It gives eigenvalues of 0.9994 or more weight 1, the constant's too."""
    codes, time = path(sd=0.002)
    root = int(time.argmin())
    graph = neighbour_graph(codes)
    graph.uns["iroot"] = root
    sc.tl.diffmap(graph)
    sc.tl.dpt(graph)
    values, vectors = eigh(transitions(codes))
    values, vectors = values[:-11:-1], vectors[:, :-11:-1]
    slow = values >= 0.9994
    assert slow[1] and not slow.all()
    weights = np.where(slow, 1, values / (1 - values.clip(max=0.9994)))
    distance = np.linalg.norm((vectors - vectors[root]) * weights, axis=1)
    theirs = graph.obs["dpt_pseudotime"].to_numpy()
    assert distance / distance.max() == pytest.approx(theirs, abs=1e-3)


def test_a_thin_path_keeps_its_order():
    """Scanpy alone loses it: its largest eigenvalues get no weight."""
    codes, time = path(n=800, sd=0.002)
    root = int(time.argmin())
    graph = neighbour_graph(codes)
    graph.uns["iroot"] = root
    sc.tl.diffmap(graph)
    sc.tl.dpt(graph)
    theirs = metrics.order_scores(graph.obs["dpt_pseudotime"], time)
    assert theirs["kendall"] < 0.6
    ours = metrics.order_scores(metrics.pseudotime(codes, root), time)
    assert ours["kendall"] > 0.95


def test_order_is_right_on_a_path_reversed_from_its_end_and_lost_in_noise():
    codes, time = path()
    first, last = int(time.argmin()), int(time.argmax())
    forth = metrics.order_scores(metrics.pseudotime(codes, first), time)
    back = metrics.order_scores(metrics.pseudotime(codes, last), time)
    assert forth["kendall"] > 0.9
    assert forth["spearman"] > 0.98
    assert back["kendall"] < -0.9
    noise = np.random.default_rng(0).normal(size=(300, 6))
    lost = metrics.order_scores(metrics.pseudotime(noise, first), time)
    assert abs(lost["kendall"]) < 4.5 * np.sqrt(2 * 605 / (9 * 300 * 299))


def test_cells_that_the_graph_does_not_reach_are_infinitely_late():
    codes, time = path()
    late = time > 0.6
    codes[late] += 100
    found = metrics.pseudotime(codes, int(time.argmin()))
    assert np.isinf(found[late]).all()
    assert found[~late].max() == 1
    scores = metrics.order_scores(found, time)
    assert scores["kendall"] == pytest.approx(kendall(found, time))
    assert 0.7 < scores["kendall"] < 0.95
    # The other way round, those cells hold the root.
    found = metrics.pseudotime(codes, int(time.argmax()))
    assert np.isfinite(found[late]).all()
    assert np.isinf(found[~late]).all()


def test_a_graph_in_many_parts_still_gives_an_answer():
    """Scanpy's own eigenvalues do not converge here."""
    rng = np.random.default_rng(0)
    part = np.arange(600) % 30
    codes = 50 * rng.normal(size=(30, 8))[part] + rng.normal(size=(600, 8))
    found = metrics.pseudotime(codes, 31)
    assert np.array_equal(np.isfinite(found), part == 1)
    score = metrics.branch_agreement(codes, 31, part % 3)
    assert abs(score) < 0.05


@pytest.mark.parametrize("points", [1, 3, 40])
def test_equal_codes_give_an_answer(points):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(points, 3))[np.arange(300) % points]
    time = rng.uniform(size=300)
    found = metrics.pseudotime(codes, 0)
    assert not np.isnan(found).any()
    assert abs(metrics.order_scores(found, time)["kendall"]) < 0.2
    branches = rng.choice(["left", "right"], 300)
    assert abs(metrics.branch_agreement(codes, 0, branches)) < 0.1


def test_few_cells_have_fewer_components():
    codes, time = path(n=16)
    assert np.isfinite(metrics.pseudotime(codes, int(time.argmin()))).all()


def test_scanpy_is_silent_and_stays_as_it_was(capsys):
    verbosity = sc.settings.verbosity
    level = logging.getLogger().level
    codes, time, branch = tree()
    metrics.branch_agreement(codes, int(time.argmin()), branch)
    assert capsys.readouterr() == ("", "")
    assert sc.settings.verbosity == verbosity
    assert logging.getLogger().level == level


# Order


def test_order_scores_by_hand():
    """1, 3, 2, 4: five of six pairs agree; squared rank gaps sum to 2."""
    found = metrics.order_scores([1, 3, 2, 4], [10, 20, 30, 40])
    assert found["kendall"] == pytest.approx((5 - 1) / 6)
    assert found["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert metrics.order_scores([4, 3, 2], [1, 2, 3]) == pytest.approx(
        {"kendall": -1, "spearman": -1}
    )


def test_order_scores_take_ties_as_counting_pairs_does():
    rng = np.random.default_rng(0)
    time = rng.integers(0, 5, 80).astype(float)
    time[time == 4] = np.inf
    truth = rng.integers(0, 6, 80)
    found = metrics.order_scores(time, truth)
    assert found["kendall"] == pytest.approx(kendall(time, truth))
    ranks = np.argsort(np.argsort(truth, kind="stable"))
    assert metrics.order_scores(ranks, ranks) == pytest.approx(
        {"kendall": 1, "spearman": 1}
    )


def test_times_that_are_all_equal_order_nothing():
    for value in (0.0, np.inf):
        scores = metrics.order_scores(np.full(5, value), np.arange(5))
        assert scores == {"kendall": 0, "spearman": 0}


# Branches


@pytest.mark.parametrize("n", [300, 1000])
def test_branches_of_a_tree_are_found_and_those_of_noise_are_not(n):
    codes, time, branch = tree(n, sd=0.005)
    root = int(time.argmin())
    assert metrics.branch_agreement(codes, root, branch) > 0.9
    noise = np.random.default_rng(1).normal(size=codes.shape)
    assert abs(metrics.branch_agreement(noise, root, branch)) < 0.03


def test_branches_blur_with_noise():
    scores = []
    for sd in (0.01, 0.06, 0.5):
        codes, time, branch = tree(sd=sd)
        root = int(time.argmin())
        scores.append(metrics.branch_agreement(codes, root, branch))
    assert scores[0] > scores[1] > scores[2]


def test_branches_of_a_path_do_not_agree_with_sides_at_random():
    codes, time = path()
    side = np.random.default_rng(0).choice(["left", "right"], 300)
    branch = np.where(time < 0.4, "trunk", side)
    found = metrics.branch_agreement(codes, int(time.argmin()), branch)
    assert found < 0.6


def test_a_branch_cut_off_is_one_group():
    codes, time, branch = tree(sd=0.005)
    codes[branch == "left"] += 100
    root = int(time.argmin())
    _, reached = trajectory._from_root(codes, root)
    assert np.array_equal(~reached, branch == "left")
    # The rest is a path now; its parts count, but no cell of it is lost.
    found = metrics.branch_agreement(codes, root, branch)
    two = adjusted_rand_score(branch, reached)
    assert found > two - 0.2


# Input of no use

CODES, TIME = path()
REFUSED = {
    "root": (
        lambda: metrics.pseudotime(CODES, 300),
        "root is cell 300, and codes has 300 cells; they are counted from 0",
    ),
    "root name": (
        lambda: metrics.pseudotime(CODES, "cell0"),
        "root is a whole number of at least 0, not 'cell0'",
    ),
    "codes": (
        lambda: metrics.pseudotime(CODES * np.nan, 0),
        "codes holds NaN or infinite values in 300 of 300 rows",
    ),
    "length": (
        lambda: metrics.order_scores(TIME, TIME[:9]),
        r"time has shape \(300,\) and truth \(9,\); give one number a cell",
    ),
    "one cell": (
        lambda: metrics.order_scores([1], [1]),
        r"time has shape \(1,\) and truth \(1,\); .* at least 2 cells",
    ),
    "nan": (
        lambda: metrics.order_scores([1, np.nan, 2], [1, 2, 3]),
        "time is NaN for 1 of 3 cells; leave those cells out",
    ),
    "truth": (
        lambda: metrics.order_scores([1, 2, 3], [1, 1, 1]),
        "truth is equal for all cells; it orders nothing",
    ),
    "branches": (
        lambda: metrics.branch_agreement(CODES, 0, TIME[:9]),
        r"branches has shape \(9,\) for 300 cells",
    ),
    "one branch": (
        lambda: metrics.branch_agreement(CODES, 0, ["trunk"] * 300),
        r"branches has 1 group \('trunk'\); this score compares",
    ),
    "seed": (
        lambda: metrics.branch_agreement(CODES, 0, TIME > 0.5, seed=1.5),
        "seed is a whole number of at least 0, not 1.5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(case):
    attempt, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        attempt()
