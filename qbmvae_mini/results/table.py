"""The table: read with care, written whole, and compared within."""

import csv
import io
import os
import secrets

import numpy as np

from qbmvae_mini.cells import datasets
from qbmvae_mini.results.catalogue import families as families_of_the_table
from qbmvae_mini.results.provenance import COLUMNS
from qbmvae_mini.results.rows import SAMPLES
from qbmvae_mini.results.studies import STUDIES, TEST

#: What tells rows apart, and the table's first columns.
KEY = ("dataset", "model", "split")

#: Columns of words; all others hold numbers.
WORDS = {"dataset", "model", *COLUMNS}

#: Seconds to wait for another process that is writing the table.
PATIENCE = 60


def table_path():
    """Where the table lives: in the source tree or in the installed wheel."""
    return datasets.data_directory() / "results" / "scores.csv"


def load():
    """The table as a pandas DataFrame, one row a model and split.

    Columns are those of `compute_rows`, and those of `provenance`, which are
    empty where nobody recorded them.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is torn or no such table.
    """
    import pandas

    if not table_path().exists():
        raise FileNotFoundError("there is no results table; run: make results")
    rows = list(read_rows().values())
    table = pandas.DataFrame(rows)
    for name in table.columns.difference(list(WORDS)):
        table[name] = pandas.to_numeric(table[name])
    return table


def read_rows():
    """Rows of the table as they are written; none if there is no table.

    Returns
    -------
    dict
        (dataset, model, split) -> dict of column to words, "" for nothing.

    Raises
    ------
    ValueError
        If the file is torn or no such table. It is left as it is.
    """
    path = table_path()
    if not path.exists():
        return {}
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (ValueError, csv.Error) as error:  # no UTF-8 is a ValueError, too
        raise ValueError(
            f"the results table {str(path)!r} cannot be used: {error}; "
            "restore it, or move it away to begin a new one"
        ) from error


def merge(made):
    """Put rows into the table, in the place of those that they replace.

    The file is read again and written in one step, under a lock, so that
    rows that another process has added meanwhile stay.

    Parameters
    ----------
    made : sequence of dict
        Column to number or words.

    Returns
    -------
    dict
        All rows, as of `read_rows`.

    Raises
    ------
    OSError, ValueError
        If the file cannot be written, or is no such table. It is left as it
        is.
    """
    path = table_path().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        rows = read_rows()
        for row in made:
            key = row["dataset"], row["model"], row["split"]
            rows[key] = {name: _written(row[name]) for name in row}
        _replace(path, _as_text(rows))
    return rows


def check_writable():
    """Find out before any work whether the table can be written.

    What a killed process has left beside it is removed.

    Raises
    ------
    OSError
    """
    path = table_path().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        for left in path.parent.glob(f".{path.name}.*.new"):
            left.unlink()
        size = path.stat().st_size if path.exists() else 0
        trial = _beside(path)
        try:
            _write(trial, "0" * (size + 2**16))
        finally:
            trial.unlink(missing_ok=True)


def with_best(table, families=None):
    """The table, with rows for the best of each family of models.

    Which model of a family is best is said by the validation cells of each
    data set and split, never by the test cells.

    Parameters
    ----------
    table : DataFrame
        See `load`.
    families : dict of str to sequence of str, optional
        Name of the new rows -> models; by default those of the catalogue.

    Returns
    -------
    DataFrame
        ``chosen`` holds the model that a new row was taken from.
    """
    import pandas

    parts = [table]
    families = families_of_the_table() if families is None else families
    for name, models in families.items():
        rows = table[table.model.isin(models)]
        best = rows.groupby(["dataset", "split"]).validation.idxmax()
        rows = rows.loc[best]
        parts.append(rows.assign(chosen=rows.model, model=name))
    return pandas.concat(parts, ignore_index=True)


def paired_interval(table, dataset, first, second, score=None, level=0.95):
    """Mean of `first` minus `second` over the splits, with an interval.

    The splits' training cells overlap, so their differences are not
    independent and the usual t interval is too short. The variance is
    corrected as in Nadeau and Bengio 2003, Inference for the generalization
    error, Eq. 9: ``(1/n + n_test/n_train) s^2``. Splits that were simulated
    apart share no cell, and for them it is the usual ``s^2 / n``.

    Parameters
    ----------
    table : DataFrame
        See `load` and `with_best`.
    dataset, first, second : str
    score : str, optional
        Column; by default the likelihood at 1,000 samples.
    level : float

    Returns
    -------
    mean, lower, upper : float
    """
    from scipy import stats

    mean, error, n = _difference(table, dataset, first, second, score)
    reach = stats.t.ppf((1 + level) / 2, n - 1) * error
    return mean, mean - reach, mean + reach


def paired_p(table, dataset, first, second, score=None):
    """P-value: how often a true difference of 0 would look this large.

    Parameters
    ----------
    table, dataset, first, second, score
        As in `paired_interval`.

    Returns
    -------
    float
        Two-sided, by the t distribution and the variance of
        `paired_interval`: below 0.05 where its 95% interval leaves out 0.
    """
    from scipy import stats

    mean, error, n = _difference(table, dataset, first, second, score)
    if error == 0:  # no chance in it
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / error, n - 1))


def holm(p):
    """P-values of many comparisons, raised for their number (Holm 1979).

    Where nothing differs, one comparison in twenty is below 0.05 all the
    same. So the smallest p of m is multiplied by m, the next by m - 1, and so
    on, and none may end below one that was smaller. Of pages whose claims are
    below 0.05 afterwards, at most one in twenty holds a false one, however
    the comparisons depend on each other.

    Parameters
    ----------
    p : sequence of float
        One a comparison, all that were made.

    Returns
    -------
    ndarray
        In the order of `p`, at most 1.

    Raises
    ------
    ValueError
        If a value is not between 0 and 1.
    """
    p = np.asarray(p, float)
    bad = ~((p >= 0) & (p <= 1))  # NaN is bad, too
    if bad.any():
        raise ValueError(
            f"p holds {p[bad][0]}, which is no p-value; leave out comparisons "
            "of fewer than two splits"
        )
    order = np.argsort(p)
    raised = np.arange(len(p), 0, -1) * p[order]
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return found


def verdict(lower, upper, margin=0.02):
    """An interval of a difference in one word; higher scores are better.

    Parameters
    ----------
    lower, upper : float
        Its ends, as from `paired_interval`.
    margin : float
        A loss that is let pass; it is fixed before the scores are seen.

    Returns
    -------
    str
        "higher" if the whole interval is above 0, "passes" if it is above
        minus the margin, "lower" if it is below that, else "undecided".
    """
    if lower > 0:
        return "higher"
    if lower > -margin:
        return "passes"
    return "lower" if upper < -margin else "undecided"


def _difference(table, dataset, first, second, score=None):
    """Mean, standard error and number of the splits' differences."""
    score = score or f"log_likelihood_{SAMPLES[-1]}"
    rows = table[table.dataset == dataset]
    scores = rows.pivot(index="split", columns="model", values=score)
    difference = (scores[first] - scores[second]).dropna()
    n = len(difference)
    error = difference.std() * np.sqrt(1 / n + _overlap(dataset))
    return difference.mean(), error, n


def _overlap(dataset):
    """Test cells over training cells, where splits share cells; else 0."""
    study = STUDIES.get(dataset)
    if study and study.independent:
        return 0
    share = 1 / len(study.held_out) if study and study.held_out else TEST
    return share / (1 - share)


def _parsed(text):
    """Rows of a table, or a ValueError that says where it is none."""
    lines = csv.reader(io.StringIO(text))
    header = next(lines, [])
    absent = [name for name in KEY if name not in header]
    if absent:
        raise ValueError(f"its first line lacks {', '.join(absent)}")
    if len(set(header)) < len(header):
        raise ValueError("its first line names a column twice")
    if not text.endswith("\n"):
        raise ValueError("its last line is torn")
    rows = {}
    for values in lines:
        place = f"line {lines.line_num}"
        if len(values) != len(header):
            raise ValueError(
                f"{place} has {len(values)} values for {len(header)} columns"
            )
        row = dict(zip(header, values, strict=True))
        for name in header:
            if name not in WORDS and not _is_number(row[name]):
                raise ValueError(f"{place} has {row[name][:20]!r} as {name}")
        if not row["split"].isdecimal():
            raise ValueError(f"{place} has {row['split']!r} as split")
        key = row["dataset"], row["model"], int(row["split"])
        if key in rows:
            raise ValueError(f"{place} is a second row of {key}")
        rows[key] = row
    return rows


def _is_number(word):
    try:
        float(word or 0)
    except ValueError:
        return False
    return True


def _written(value):
    """A value as the table has it: six digits of what is no whole number."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _as_text(rows):
    """Rows in order; provenance stands in the last columns."""
    names = dict.fromkeys(KEY)
    for row in rows.values():
        names |= dict.fromkeys(row)
    columns = [name for name in names if name not in COLUMNS] + list(COLUMNS)
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[key] for key in sorted(rows))
    return file.getvalue()


def _locked(path):
    from filelock import FileLock

    return FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE)


def _beside(path):
    """A name in the same folder that no other process takes."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")


def _replace(path, text):
    """The old file or the new one, whatever happens meanwhile."""
    new = _beside(path)
    try:
        _write(new, text)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _write(path, text):
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
