"""The tables as files: read with care, and written whole."""

import csv
import io
import os
import secrets
from dataclasses import dataclass

from qbmvae_mini.cells import datasets
from qbmvae_mini.results.provenance import COLUMNS

#: Columns of words; all others hold numbers.
WORDS = {
    "dataset",
    "model",
    "recipe",
    "marker_worst_type",
    "marker_worst_gene",
    *COLUMNS,
}

#: Seconds to wait for another process that is writing the table.
PATIENCE = 60


@dataclass(frozen=True)
class Table:
    """A table of rows that a key tells apart.

    Parameters
    ----------
    name : str
        Of its file.
    key : tuple of str
        Its first columns. ``split`` is a whole number.
    """

    name: str
    key: tuple

    @property
    def path(self):
        """Where it lives: in the source tree or in the installed wheel."""
        folder = datasets.data_directory() / "results"
        return folder / f"{self.name}.csv"

    def key_of(self, row):
        """What tells a row from others."""
        return tuple(row[name] for name in self.key)

    def read(self):
        """Rows as they are written; none if there is no file.

        Returns
        -------
        dict
            Key -> dict of column to words, "" for nothing.

        Raises
        ------
        ValueError
            If the file is torn or no such table. It is left as it is.
        """
        if not self.path.exists():
            return {}
        try:
            return self._parsed(self.path.read_text(encoding="utf-8"))
        except (ValueError, csv.Error) as error:  # no UTF-8 is a ValueError
            raise ValueError(
                f"the results table {str(self.path)!r} cannot be used: "
                f"{error}; restore it, or move it away to begin a new one"
            ) from error

    def merge(self, made):
        """Put rows into the file, in the place of those that they replace.

        The file is read again and written in one step, under a lock, so that
        rows that another process has added meanwhile stay.

        Parameters
        ----------
        made : sequence of dict
            Column to number or words.

        Returns
        -------
        dict
            All rows, as of `read`.

        Raises
        ------
        OSError, ValueError
            If the file cannot be written, or is no such table. It is left as
            it is.
        """
        path = self.path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            rows = self.read()
            for row in made:
                words = {name: _written(row[name]) for name in row}
                rows[self.key_of(row)] = words
            _replace(path, self._as_text(rows))
        return rows

    def check_writable(self):
        """Find out before any work whether the file can be written.

        What a killed process has left beside it is removed.

        Raises
        ------
        OSError
        """
        path = self.path.resolve()
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

    def _parsed(self, text):
        """Rows of a text, or a ValueError that says where it is no table."""
        lines = csv.reader(io.StringIO(text))
        header = next(lines, [])
        absent = [name for name in self.key if name not in header]
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
                    f"{place} has {len(values)} values for {len(header)} "
                    "columns"
                )
            row = dict(zip(header, values, strict=True))
            _check_numbers(row, place)
            key = self.key_of(row | _split_of(row, place))
            if key in rows:
                raise ValueError(f"{place} is a second row of {key}")
            rows[key] = row
        return rows

    def _as_text(self, rows):
        """Rows in order; provenance stands in the last columns."""
        names = dict.fromkeys(self.key)
        for row in rows.values():
            names |= dict.fromkeys(row)
        columns = [name for name in names if name not in COLUMNS]
        file = io.StringIO()
        writer = csv.DictWriter(
            file, [*columns, *COLUMNS], restval="", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))
        return file.getvalue()


#: Fits of the searches, on split 0 and without a look at test cells.
SEARCHES = Table("searches", ("dataset", "model", "recipe"))

#: Fits whose test cells are scored.
SCORES = Table("scores", ("dataset", "model", "recipe", "split"))


def _check_numbers(row, place):
    for name, word in row.items():
        if name not in WORDS and not _is_number(word):
            raise ValueError(f"{place} has {word[:20]!r} as {name}")


def _split_of(row, place):
    """The split as a number, where there is one."""
    if "split" not in row:
        return {}
    if not row["split"].isdecimal():
        raise ValueError(f"{place} has {row['split']!r} as split")
    return {"split": int(row["split"])}


def _is_number(word):
    try:
        float(word or 0)
    except ValueError:
        return False
    return True


def _written(value):
    """A value as the table has it: six digits of what is no whole number."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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
