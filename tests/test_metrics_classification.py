"""Scores of classification: hand-worked cases, and bare scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from qbmvae_mini import metrics


def corners(n=150, kinds=3, seed=0, apart=2.0, width=5):
    """Points about the corners of a simplex, and their names."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % kinds
    codes = apart * np.eye(width)[kind] + rng.normal(size=(n, width))
    return codes, np.array(["alpha", "beta", "delta"])[kind]


# The classifier


def test_it_is_logistic_regression_on_standardised_codes():
    (codes, labels), (new, _) = corners(), corners(60, seed=1)
    mean, sd = codes.mean(0), codes.std(0)
    plain = LogisticRegression(max_iter=2000).fit((codes - mean) / sd, labels)
    expected = plain.predict_proba((new - mean) / sd)
    classes, found = metrics.classify(codes, labels, new)
    assert list(classes) == ["alpha", "beta", "delta"]
    assert found == pytest.approx(expected, abs=1e-4)
    assert found.sum(1) == pytest.approx(np.ones(60))


def test_the_gradient_of_the_penalised_likelihood_vanishes():
    """Probabilities p satisfy X'(y - p) = w at the optimum, with penalty 1."""
    codes, labels = corners(60)
    x = (codes - codes.mean(0)) / codes.std(0)
    classes, p = metrics.classify(codes, labels, codes)
    y = (labels[:, None] == classes).astype(float)
    w = x.T @ (y - p)  # so the weights are known without asking for them
    assert (y - p).sum(0) == pytest.approx(np.zeros(3), abs=1e-2)
    scores = np.log(p) - x @ w  # intercepts, up to a constant a cell
    scores -= scores.mean(1, keepdims=True)
    spread = scores - scores.mean(0)
    assert np.abs(spread).max() < 0.05
    assert np.abs(np.log(p)).max() > 1  # far more than the tolerance


def test_units_of_a_code_do_not_matter():
    (codes, labels), (new, _) = corners(), corners(60, seed=1)
    scale, shift = np.array([1e3, 1e-3, 1, 10, 5]), 7.0
    one = metrics.classify(codes, labels, new)[1]
    other = metrics.classify(codes * scale + shift, labels, new * scale + shift)
    assert other[1] == pytest.approx(one, abs=1e-4)


def test_a_dead_number_does_no_harm():
    (codes, labels), (new, _) = corners(), corners(60, seed=1)
    one = metrics.classify(codes, labels, new)[1]
    dead = metrics.classify(
        np.c_[codes, np.ones(150)], labels, np.c_[new, np.ones(60)]
    )[1]
    assert dead == pytest.approx(one, abs=1e-4)


# Its scores


def test_scores_by_hand():
    """Four cells, two classes that were trained and one that was not.

    Predicted a, a, b, b for a, b, b, c. F1 of a: one right, one wrong among
    two predictions, 2/3. F1 of b: one right, one wrong, one missed, 1/2. F1
    of c: 0. Confidences 0.95, 0.85, 0.65, 0.65 lie in three bins: gaps are
    |1 - 0.95| / 4, |0 - 0.85| / 4 and |1/2 - 0.65| x 2 / 4.
    """
    p = np.array([[0.95, 0.05], [0.85, 0.15], [0.35, 0.65], [0.35, 0.65]])
    found = metrics.label_scores(["a", "b"], p, ["a", "b", "b", "c"])
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    gap = (0.05 + 0.85 + 2 * 0.15) / 4
    assert found["calibration_error"] == pytest.approx(gap)


def test_a_class_that_no_cell_has_is_not_averaged_over():
    p = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    found = metrics.label_scores(["a", "b", "c"], p, ["a", "b"])
    assert found["macro_f1"] == 1
    p = np.array([[0.9, 0.1, 0.0], [0.1, 0.1, 0.8]])
    found = metrics.label_scores(["a", "b", "c"], p, ["a", "b"])
    assert found["macro_f1"] == 0.5


def test_accuracy_is_not_macro_f1():
    """Always the common class: right in 19 cells of 20."""
    labels = np.array(["common"] * 19 + ["rare"])
    p = np.tile([0.95, 0.05], (20, 1))
    found = metrics.label_scores(["common", "rare"], p, labels)
    assert found["accuracy"] == pytest.approx(0.95)
    guesses = np.full(20, "common")
    macro = f1_score(labels, guesses, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(macro)
    assert macro < 0.5
    assert found["calibration_error"] == pytest.approx(0, abs=1e-9)


def test_calibration_bins_include_their_upper_end():
    """Confidence 0.6 belongs to the bin (0.5, 0.6], 0.61 to the next."""
    p = np.array([[0.6, 0.4], [0.61, 0.39]])
    found = metrics.label_scores(["a", "b"], p, ["a", "b"])
    apart = (abs(1 - 0.6) + abs(0 - 0.61)) / 2
    assert found["calibration_error"] == pytest.approx(apart)
    p = np.array([[0.6, 0.4], [0.59, 0.41]])
    found = metrics.label_scores(["a", "b"], p, ["a", "b"])
    together = abs(1 - 0.6 + 0 - 0.59) / 2
    assert found["calibration_error"] == pytest.approx(together)


def test_honest_probabilities_are_calibrated_and_boasts_are_not():
    rng = np.random.default_rng(0)
    top = rng.uniform(0.5, 1, 40_000)
    labels = np.where(rng.random(40_000) < top, "a", "b")
    honest = metrics.label_scores(["a", "b"], np.c_[top, 1 - top], labels)
    assert honest["calibration_error"] < 0.01
    sure = np.tile([1.0, 0.0], (40_000, 1))
    boast = metrics.label_scores(["a", "b"], sure, labels)
    assert boast["calibration_error"] == pytest.approx(0.25, abs=0.01)


def test_top_on_clear_corners_and_floor_on_noise():
    (codes, labels), (new, truth) = corners(apart=30), corners(60, 3, 1, 30)
    top = metrics.label_scores(*metrics.classify(codes, labels, new), truth)
    assert top["accuracy"] == top["macro_f1"] == 1
    rng = np.random.default_rng(3)
    codes, new = rng.normal(size=(600, 5)), rng.normal(size=(900, 5))
    labels = np.array(["alpha", "beta", "delta"])
    floor = metrics.label_scores(
        *metrics.classify(codes, labels[np.arange(600) % 3], new),
        labels[np.arange(900) % 3],
    )
    assert floor["accuracy"] == pytest.approx(1 / 3, abs=0.06)
    assert floor["macro_f1"] < 0.4


# Few labels


def test_few_labels_are_as_many_as_asked_for():
    """Cells carry their own number, so that the chosen ones can be told."""
    codes, labels = corners(apart=0)
    labels[:2], labels[2:] = "rare", np.resize(["alpha", "beta"], 148)
    from qbmvae_mini.metrics.classification import _few

    chosen = _few(labels, 5, seed=1)
    names, counts = np.unique(labels[chosen], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {
        "alpha": 5,
        "beta": 5,
        "rare": 2,
    }
    assert len(np.unique(chosen)) == 12
    picks = np.concatenate([_few(labels, 5, s) for s in range(400)])
    times = np.bincount(picks, minlength=150)[2:]
    sd = np.sqrt(400 * 5 / 74 * (1 - 5 / 74))
    assert np.abs(times - 400 * 5 / 74).max() < 4.5 * sd


def test_few_labels_is_classify_on_those_cells():
    (codes, labels), (new, truth) = corners(), corners(60, seed=1)
    from qbmvae_mini.metrics.classification import _few

    chosen = _few(labels, 4, 7)
    expected = metrics.label_scores(
        *metrics.classify(codes[chosen], labels[chosen], new), truth
    )["macro_f1"]
    found = metrics.few_labels(codes, labels, new, truth, 4, seed=7)
    assert found == expected
    seeds = [
        metrics.few_labels(codes, labels, new, truth, 4, s) for s in (1, 2)
    ]
    assert seeds[0] != seeds[1]


def test_all_labels_are_few_when_more_are_asked_for():
    (codes, labels), (new, truth) = corners(), corners(60, seed=1)
    everything = metrics.label_scores(
        *metrics.classify(codes, labels, new), truth
    )["macro_f1"]
    found = metrics.few_labels(codes, labels, new, truth, 10**6)
    assert found == everything


def test_a_categorical_with_unused_classes_will_do():
    (codes, labels), (new, truth) = corners(), corners(60, seed=1)
    names = ["alpha", "beta", "delta", "ghost"]
    column = pd.Series(pd.Categorical(labels, categories=names))
    classes, p = metrics.classify(codes, column, new)
    assert list(classes) == names[:3]
    truth = pd.Categorical(truth, categories=names)
    assert metrics.label_scores(classes, p, truth)["macro_f1"] > 0.5


# Labels are what they are worth, however they are held

KINDS = np.arange(150) % 3
HELD = {
    "whole": KINDS,
    "unsigned": KINDS.astype(np.uint8),
    "floats": KINDS.astype(float),
    "float32": KINDS.astype(np.float32),
    "words": KINDS.astype(str),
    "objects": KINDS.astype(object),
    "mixed objects": np.array(
        [float(k) if i % 2 else k for i, k in enumerate(KINDS.tolist())],
        dtype=object,
    ),
    "a list": KINDS.tolist(),
    "bytes": KINDS.astype("S1"),
    "a category": pd.Categorical(KINDS, categories=[2, 0, 1]),
    "a category of floats": pd.Categorical(KINDS.astype(float)),
    "nullable": pd.Series(KINDS, dtype="Int64"),
    "nullable words": pd.Series(KINDS.astype(str), dtype="string"),
    "a tensor": torch.from_numpy(KINDS),
}


@pytest.mark.parametrize("held", HELD)
def test_equal_labels_are_one_class_however_they_are_held(held):
    codes, _ = corners(apart=30)
    for known, truth in ((KINDS, HELD[held]), (HELD[held], KINDS)):
        classes, p = metrics.classify(codes, known, codes)
        assert list(classes) == ["0", "1", "2"]
        assert metrics.label_scores(classes, p, truth)["accuracy"] == 1
        assert metrics.few_labels(codes, known, codes, truth, 5) == 1


def test_halves_and_wholes_stay_apart():
    values = [0.5, 1.5, 1, 0]
    found = metrics.label_scores(values, np.eye(4), values)
    assert found["accuracy"] == 1
    found = metrics.label_scores(values, np.eye(4), [0.5, 1.5, 1, 1])
    assert found["accuracy"] == 0.75


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, pd.NaT])
def test_a_gap_in_a_list_of_words_is_no_word(empty):
    with pytest.raises(ValueError, match="labels is missing for 1 of 2 cells"):
        metrics.label_scores(["a", "nan"], P[:2], ["a", empty])


def test_labels_of_another_kind_are_refused_rather_than_all_wrong():
    truths = {"words": ["1.0", "0.0"], "truths": [True, False]}
    for truth in truths.values():
        with pytest.raises(ValueError, match="labels holds none of the class"):
            metrics.label_scores([0, 1], P[:2], truth)
    yes = metrics.label_scores([False, True], np.eye(2), [False, True])
    assert yes["accuracy"] == 1


# Input of no use

CODES, LABELS = corners()
P = np.full((4, 2), 0.5)
REFUSED = {
    "one class": (
        lambda: metrics.classify(CODES, ["beta"] * 150, CODES),
        r"train_labels has 1 group \('beta'\); this score compares",
    ),
    "width": (
        lambda: metrics.classify(CODES, LABELS, CODES[:, :3]),
        "train_codes has 5 numbers a cell and codes 3; both come from one",
    ),
    "labels": (
        lambda: metrics.classify(CODES, LABELS[:10], CODES),
        r"train_labels has shape \(10,\) for 150 cells",
    ),
    "codes": (
        lambda: metrics.classify(CODES, LABELS, CODES * np.inf),
        "codes holds NaN or infinite values in 150 of 150 rows",
    ),
    "probabilities": (
        lambda: metrics.label_scores(["a", "b"], 2 * P, list("abab")),
        "probabilities holds a row that is negative or does not sum to 1",
    ),
    "classes": (
        lambda: metrics.label_scores(["a"], P, list("abab")),
        r"classes has shape \(1,\) for 2 cells",
    ),
    "twice": (
        lambda: metrics.label_scores(["a", "a"], P, list("abab")),
        "classes names a class twice; give each once",
    ),
    "truth": (
        lambda: metrics.label_scores(["a", "b"], P, ["a", None, "b", "a"]),
        "labels is missing for 1 of 4 cells",
    ),
    "ragged": (
        lambda: metrics.label_scores(["a", "b"], P, [["a"], ["a", "b"], 1, 2]),
        r"labels holds \['a'\], a list; names are words, whole numbers",
    ),
    "few": (
        lambda: metrics.few_labels(CODES, LABELS, CODES, LABELS, 0),
        "per_class is a whole number of at least 1, not 0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(case):
    attempt, words = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=words):
        attempt()
