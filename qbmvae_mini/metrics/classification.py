"""Scores of classification: labels read off an embedding by a plain model."""

import numpy as np

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.metrics.embeddings import read_codes, read_groups

#: Bins of the expected calibration error.
BINS = 10


def classify(train_codes, train_labels, codes):
    """Multinomial logistic regression of labels on standardised codes.

    scikit-learn's, at its default penalty, for every embedding alike: the
    scores compare embeddings, so the classifier is not tuned to any.

    Parameters
    ----------
    train_codes : array, shape (training cells, numbers)
    train_labels : sequence, length training cells
        Two classes or more.
    codes : array, shape (cells, numbers)
        The cells to classify.

    Returns
    -------
    classes : ndarray of str, shape (classes,)
        Sorted.
    probabilities : ndarray, shape (cells, classes)

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    train_codes, codes = _read_both(train_codes, codes)
    labels = read_groups("train_labels", train_labels, len(train_codes), 2)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(train_codes, labels)
    return model.classes_, model.predict_proba(codes)


def label_scores(classes, probabilities, labels):
    """Accuracy, macro-F1 and calibration of predicted labels.

    Parameters
    ----------
    classes : sequence of str, length classes
    probabilities : array, shape (cells, classes)
        Rows sum to 1.
    labels : sequence, length cells
        The truth. A label that is not among `classes` was never trained and
        counts as wrong.

    Returns
    -------
    dict
        ``accuracy``; ``macro_f1``, the mean F1 over the classes of the true
        labels, so that a rare one counts as much as a common one;
        ``calibration_error``, the expected calibration error (Guo 2017, Eq.
        3): the mean distance, over ten equal bins of the top class's
        probability weighted by their cells, of accuracy from confidence.

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use, or no cell's label is among `classes`.
    """
    probabilities = _read_probabilities(probabilities)
    classes = _read_classes(classes, probabilities.shape[1])
    labels = read_groups("labels", labels, len(probabilities))
    if not np.isin(labels, classes).any():
        raise ValueError(
            f"labels holds none of the classes: {str(labels[0])!r} for one, "
            f"where classes has {str(classes[0])!r}; give labels of one kind"
        )
    from sklearn.metrics import f1_score

    predicted = classes[probabilities.argmax(1)]
    macro = f1_score(
        labels,
        predicted,
        labels=np.unique(labels),
        average="macro",
        zero_division=0,
    )
    right = predicted == labels
    return {
        "accuracy": float(right.mean()),
        "macro_f1": float(macro),
        "calibration_error": _calibration_error(probabilities.max(1), right),
    }


def few_labels(train_codes, train_labels, codes, labels, per_class, seed=0):
    """Macro-F1 when only a few cells of each class are labelled.

    Parameters
    ----------
    train_codes : array, shape (training cells, numbers)
    train_labels : sequence, length training cells
    codes : array, shape (cells, numbers)
    labels : sequence, length cells
    per_class : int
        Labelled cells of each class; a class with fewer gives all it has.
    seed : int
        Chooses those cells.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is of no use.
    """
    train_codes, codes = _read_both(train_codes, codes)
    known = read_groups("train_labels", train_labels, len(train_codes), 2)
    chosen = _few(known, check_whole("per_class", per_class, 1), seed)
    predicted = classify(train_codes[chosen], known[chosen], codes)
    return label_scores(*predicted, labels)["macro_f1"]


def _few(labels, per_class, seed):
    """Numbers of at most `per_class` cells of each class, chosen evenly."""
    order = np.random.default_rng(check_seed(seed)).permutation(len(labels))
    shuffled = labels[order]
    found = [order[shuffled == name][:per_class] for name in np.unique(labels)]
    return np.sort(np.concatenate(found))


def _calibration_error(confidence, right):
    """Expected calibration error over `BINS` bins, the upper end included."""
    place = np.ceil(confidence * BINS).astype(int).clip(1, BINS)
    gap = np.bincount(place, right - confidence, BINS + 1)
    return float(np.abs(gap).sum() / len(confidence))


def _read_both(train_codes, codes):
    train_codes = read_codes("train_codes", train_codes)
    codes = read_codes("codes", codes)
    if train_codes.shape[1] != codes.shape[1]:
        raise ValueError(
            f"train_codes has {train_codes.shape[1]} numbers a cell and codes "
            f"{codes.shape[1]}; both come from one model"
        )
    return train_codes, codes


def _read_probabilities(probabilities):
    found = read_codes("probabilities", probabilities)
    if found.min() < 0 or np.abs(found.sum(1) - 1).max() > 1e-3:
        raise ValueError(
            "probabilities holds a row that is negative or does not sum to "
            "1; give those of `classify`"
        )
    return found


def _read_classes(classes, columns):
    found = read_groups("classes", classes, columns)
    if len(np.unique(found)) < columns:
        raise ValueError("classes names a class twice; give each once")
    return found
