"""Checks of generated cells see the fault that they are for, and no other."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from qbmvae_mini import metrics
from qbmvae_mini.metrics import (
    correlation_error,
    coverage,
    gene_errors,
    generation,
    nearest_distance,
    real_or_generated,
)

RNG = np.random.default_rng(0)
ONE = RNG.normal(size=(300, 4))
TWO = RNG.normal(size=(300, 4))


def pair(n, rho, seed):
    """Two numbers a row with correlation rho, each standard normal."""
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n)


# One gene


def test_gene_errors_by_hand():
    real = np.array([[0, 2, 0], [4, 2, 0], [8, 2, 0]])
    made = np.array([[2, 1, 9], [2, 1, 9], [2, 1, 9]])
    found = gene_errors(real, made)  # the third gene is silent in real
    assert found["mean"] == pytest.approx(1)  # log2 of 4/2 and of 2/1
    # Variances 32/3 and 0 in the first gene, 0 and 0 in the second.
    assert found["variance"] == np.inf
    assert found["zeros"] == pytest.approx((1 / 3 + 0) / 2)


def test_gene_errors_take_the_median_gene():
    real = np.ones((4, 5)) * [1, 2, 4, 8, 16]
    found = gene_errors(real, real * [1, 2, 4, 8, 2**10])
    assert found["mean"] == pytest.approx(2)
    assert found["variance"] == 0  # no gene varies in either
    assert gene_errors(real, real) == {"mean": 0, "variance": 0, "zeros": 0}


def test_gene_errors_do_not_depend_on_who_is_who():
    one, two = (np.random.default_rng(s).poisson(2, (50, 9)) for s in (1, 2))
    assert gene_errors(one, two) == pytest.approx(gene_errors(two, one))


def test_shuffling_a_gene_among_cells_is_not_seen_gene_by_gene():
    real = RNG.poisson(2 * RNG.gamma(1, 1, (400, 1)), (400, 6))
    shuffled = RNG.permuted(real, axis=0)
    found = gene_errors(real, shuffled)
    assert found == pytest.approx({"mean": 0, "variance": 0, "zeros": 0})
    assert correlation_error(real, shuffled) > 0.3


# Two genes


def test_correlations_are_those_of_numpy():
    pairs = np.triu_indices(4, 1)
    apart = np.corrcoef(ONE.T)[pairs] - np.corrcoef(TWO.T)[pairs]
    expected = np.abs(apart).mean()
    assert correlation_error(ONE, TWO) == pytest.approx(expected)


def test_correlations_of_many_genes_are_looked_at_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(2, 30, 11))
    pairs = np.triu_indices(11, 1)
    apart = np.corrcoef(real.T)[pairs] - np.corrcoef(made.T)[pairs]
    for genes in (1, 4, 11, 512):
        monkeypatch.setattr(generation, "GENES", genes)
        found = correlation_error(real, made)
        assert found == pytest.approx(np.abs(apart).mean())


def test_the_largest_error_is_two():
    line = np.arange(5.0)
    up, down = np.stack([line, line], 1), np.stack([line, -line], 1)
    assert correlation_error(up, down) == pytest.approx(2)
    assert correlation_error(up, 3 * up + 7) == pytest.approx(0)


def test_a_gene_that_never_changes_correlates_with_none():
    line = np.arange(5.0)
    still = np.stack([line, np.full(5, 0.1)], 1)
    both = np.stack([line, line], 1)
    assert correlation_error(both, still) == pytest.approx(1)
    assert correlation_error(still, still) == 0


# All at once


def test_two_sets_of_one_law_cannot_be_told_apart():
    for classifier in ("forest", "linear"):
        found = [
            real_or_generated(
                *np.random.default_rng(seed).normal(size=(2, 80, 3)),
                classifier,
            )
            for seed in range(6)
        ]
        # One AUC has a standard deviation of 0.05, and folds lower it a bit.
        assert np.mean(found) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("classifier", ["forest", "linear"])
def test_a_shift_gives_the_auc_that_theory_gives(classifier):
    from scipy.stats import norm

    real, made = np.random.default_rng(1).normal(size=(2, 1000, 1))
    found = real_or_generated(real, made + 1, classifier)
    best = norm.cdf(1 / np.sqrt(2))  # of the likelihood ratio, which is x
    sd = 0.011  # of an AUC of 0.76 with 1,000 of each
    room = {"linear": 4, "forest": 8}[classifier]  # a forest overfits
    assert best - room * sd < found < best + 4 * sd


def test_a_linear_classifier_is_blind_to_what_the_forest_sees():
    real, made = pair(1000, 0.9, 1), pair(1000, -0.9, 2)
    assert real_or_generated(real, made, "linear") == pytest.approx(
        0.5, abs=0.06
    )
    assert real_or_generated(real, made, "forest") > 0.85


def test_seeds_decide():
    first, again, other = (
        real_or_generated(ONE[:60], TWO[:60], seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other


# Near and far


def test_nearest_distance_is_the_least_of_all():
    expected = cdist(ONE, TWO).min(1)
    assert nearest_distance(ONE, TWO) == pytest.approx(expected)
    assert nearest_distance(ONE[:7], ONE) == pytest.approx(0)


def test_coverage_by_hand():
    real = np.array([[0.0], [1.0], [3.0], [10.0]])
    made = np.array([[0.5], [3.5]])
    # The nearest other real cells are 1, 1, 2 and 7 away; the nearest made
    # ones 0.5, 0.5, 0.5 and 6.5.
    assert coverage(real, made, 1) == 1
    assert coverage(real, made - 0.6, 1) == 0.5  # now 1.1 and 7.1 at the end
    assert coverage(real, np.array([[2.0]]), 1) == 0.5


def test_one_law_is_covered_as_its_formula_says():
    n, m, k = 40, 60, 3
    rng = np.random.default_rng(3)
    sets = [rng.normal(size=(n + m, 2)) for _ in range(100)]
    found = [coverage(both[:n], both[n:], k) for both in sets]
    missed = np.prod([(n - j) / (n + m - j) for j in (1, 2, 3)])
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(1 - missed, abs=4 * error)


def test_a_dropped_kind_of_cell_is_not_covered():
    real = np.concatenate([ONE, ONE + 20])
    assert coverage(real, np.concatenate([TWO, TWO])) < 0.5
    assert coverage(real, np.concatenate([TWO, TWO + 20])) > 0.9


# What is refused

PAIRED = [
    gene_errors,
    correlation_error,
    real_or_generated,
    coverage,
    nearest_distance,
]


@pytest.mark.parametrize("check", PAIRED)
def test_other_columns_are_refused(check):
    words = r"has 4 (genes|columns) and \w+ 3; give both the same ones, in the"
    with pytest.raises(ValueError, match=words):
        check(abs(ONE), abs(ONE[:, :3]))


@pytest.mark.parametrize("check", PAIRED)
def test_values_that_are_no_numbers_are_refused(check):
    bad = abs(ONE).copy()
    bad[3, 1] = np.nan
    words = "holds NaN or infinite values in 1 of 300 rows, the first is row 3"
    with pytest.raises(ValueError, match=words):
        check(bad, abs(TWO))
    with pytest.raises(ValueError, match="is a table of cells x numbers"):
        check(ONE[0], TWO)


def test_counts_are_not_negative_and_not_all_zero():
    with pytest.raises(ValueError, match="made holds negative values.*raw"):
        gene_errors(abs(ONE), ONE)
    with pytest.raises(ValueError, match="real holds no count at all"):
        gene_errors(np.zeros((3, 2)), np.ones((3, 2)))


def test_pairs_need_two_genes():
    with pytest.raises(ValueError, match="real has 1 gene, and pairs"):
        correlation_error(ONE[:, :1], TWO[:, :1])


def test_folds_need_cells():
    with pytest.raises(ValueError, match="made has 4 cells for 5 folds"):
        real_or_generated(ONE, TWO[:4])


def test_other_classifiers_are_pointed_to_scikit_learn():
    with pytest.raises(ValueError, match="'forest' or 'linear', not 'svm'"):
        real_or_generated(ONE, TWO, "svm")
    with pytest.raises(ValueError, match="seed is a whole number"):
        real_or_generated(ONE, TWO, seed=-1)


def test_neighbours_are_fewer_than_cells():
    with pytest.raises(ValueError, match="neighbours is 300 for 300 real"):
        coverage(ONE, TWO, 300)
    with pytest.raises(ValueError, match="neighbours is a whole number"):
        coverage(ONE, TWO, 0)


def test_checks_are_public():
    assert {check.__name__ for check in PAIRED} <= set(metrics.__all__)
