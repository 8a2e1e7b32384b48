"""Tables: CSV files whose header names the columns, numbers to learn from and one column to learn.

A file is read a few thousand rows at a time by NumPy's reader, so that besides the float32 numbers themselves only one
such block is in memory. Numbers are read as float64, and a column's origin is taken off before they are rounded. Where
reading fails, the block is read again, slowly, to name the row and the column.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, TextIO

import numpy as np

from gradkit.data.delimited import COMMON_DELIMITERS, NUL, ONE_LINE, CsvFile, is_number
from gradkit.data.files import DAMAGED_GZIP, HostArray, PathLike, damaged_gzip
from gradkit.data.origins import FAINT, ROUNDED, Faintness, Rounding, difference, difference_of_texts, origin_of
from gradkit.errors import did_you_mean

__all__ = ["Table", "read_table"]

BLOCK = 8192
"""Rows that are read at once."""
LONGEST_TEXT = 256
"""Characters of a class's name."""
MOST_CLASSES = 10_000
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})
"""What stands in files where a value is not known, in lower case."""


class Table(NamedTuple):
    """What a table's file holds.

    Attributes
    ----------
    names : tuple of str
        The columns to learn from.
    x : numpy.ndarray of float32, shape (rows, columns)
        Their numbers, less `origin`.
    origin : numpy.ndarray of float64, shape (columns,)
        What was subtracted from each column.
    target : str or None
        The column to learn.
    y : numpy.ndarray or None
        Its numbers, float64; or the position of each row's class in `classes`, int32.
    classes : tuple of str or None
        The different values of a column of classes: in the order of their numbers where all are numbers, else of the
        alphabet.
    """

    names: tuple[str, ...]
    x: HostArray
    origin: HostArray
    target: str | None
    y: HostArray | None
    classes: tuple[str, ...] | None


def read_table(
    path: PathLike,
    target: str | None = None,
    classify: bool | None = None,
    names: Sequence[str] | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    origin: HostArray | float | None = 0.0,
) -> Table:
    r"""Read a CSV file with a header, plain or gzip.

    Parameters
    ----------
    path : str or path
        The file. Blank lines are passed over; fields may be quoted.
    target : str, optional
        The column to learn.
    classify : bool, optional
        Whether the target's values are classes, whatever they look like, or numbers. By default they are classes where
        they are whole numbers or text, as the first rows have it.
    names : sequence of str, optional
        The columns to learn from, in that order; others are not looked at. By default all but the target.
    delimiter : str
        The one character between fields.
    encoding : str
        The text's encoding.
    origin : numpy.ndarray of float64, shape (columns,), float or None
        What is subtracted from each column before it is rounded to float32. None: a value of the column's own, the
        median of the first rows.

    Raises
    ------
    FileFormatError
        If there is no header, a column is missing or two have one name, rows differ in length, a number is missing or
        is none, or there are no rows; the message names the row (its line in the file) and the column.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "iris.csv"
    >>> _ = path.write_text("petal length,petal width,species\n4.5,1.5,versicolor\n1.5,0.25,setosa\n")
    >>> table = read_table(path, "species")
    >>> table.names, table.classes, table.y.tolist()
    (('petal length', 'petal width'), ('setosa', 'versicolor'), [1, 0])
    """
    return _File(os.fspath(path), delimiter, encoding, origin).read(target, classify, names)


class _Block(NamedTuple):
    """Some rows: the numbers to learn from, and the targets; where these are classes, as positions among `classes`."""

    x: HostArray
    y: HostArray | None
    classes: list[str] | None


class _File(CsvFile):
    """One file, while it is read."""

    def __init__(self, name: str, delimiter: str, encoding: str, origin: HostArray | float | None) -> None:
        super().__init__(name, delimiter, encoding)
        self.origin = origin
        self.header: list[str] = []
        self.rounding = Rounding()
        self.faintness = Faintness() if origin is None else None

    def read(self, target: str | None, classify: bool | None, names: Sequence[str] | None) -> Table:
        """Read all of it."""
        try:
            with self._open() as text:
                line, start = next(((i, line) for i, line in enumerate(text, 1) if line.strip()), (0, ""))
                self.header = self._header(start)
                goal = None if target is None else self._position(target, "target")
                if names is None:
                    features = [i for i in range(len(self.header)) if i != goal]
                else:
                    features = [self._position(name, "column") for name in names]
                if not features:
                    raise self._error("there is no column to learn from besides the target.")
                blocks = self._blocks(text, line, features, goal, classify)
                x, y, found = self._join(blocks, len(features))
        except UnicodeDecodeError as error:
            raise self._error(
                f"it is no {self.encoding.removesuffix('-sig').upper()} text ({error.reason}). Save it as UTF-8."
            ) from error
        except DAMAGED_GZIP as error:
            raise damaged_gzip(self.name, error) from error
        if not len(x):
            raise self._error("there are no rows in it, only a header.")
        if self.faintness is not None and self.faintness.columns:
            column = self.header[features[self.faintness.columns[0]]]
            raise self._error(f"the numbers of the column {column!r} {FAINT}")
        if self.rounding.shows:
            raise self._error(self.rounding.refusal(str(target)))
        classes = None
        if found is not None and y is not None:
            classes, y = _sort_classes(found, y)
            for number, names in _by_number(classes).items():
                if len(names) > 1:
                    shown = " and ".join(map(repr, names))
                    raise self._error(
                        f"the target {target!r} has the classes {shown}, which are one number, {number}. Write it in "
                        f"one way; or, if they are two classes, as texts with a letter."
                    )
        origin = np.zeros(len(features)) + self._origin(x)
        return Table(tuple(self.header[i] for i in features), x, origin, target, y, classes)

    # The header

    def _header(self, line: str) -> list[str]:
        if not line:
            raise self._error("it is empty. Expected a header with the columns' names, and rows.")
        if line.count('"') % 2:
            raise self._error(f"the header goes over the end of its line, in quotes. {ONE_LINE}")
        if "\0" in line:
            raise self._error(f"in the header {NUL}")
        names = [field.strip() for field in self._fields(line)]
        if all(map(is_number, names)):
            raise self._error(
                f"expected a header with the columns' names in the first line, got numbers: {line.strip()[:60]!r}."
            )
        for name in names:
            if names.count(name) > 1:
                raise self._error(f"the header has {names.count(name)} columns {name!r}. Rename all but one.")
        return names

    def _position(self, name: str, what: str) -> int:
        if name not in self.header:
            hint = did_you_mean(name, self.header)
            if len(self.header) == 1:
                seen = next((f", such as {mark!r}" for mark in COMMON_DELIMITERS if mark in self.header[0]), "")
                hint = f" If fields are not separated by {self.delimiter!r}, say by what (delimiter{seen})."
            raise self._error(f"there is no {what} {name!r}. Its columns: {', '.join(map(repr, self.header))}.{hint}")
        return self.header.index(name)

    # The rows

    def _blocks(
        self, text: TextIO, line: int, features: list[int], goal: int | None, classify: bool | None
    ) -> Iterator[_Block]:
        """Yield one block after the other."""
        fields: list[tuple[str, type, tuple[int, ...]]] = [("x", np.float64, (len(features),))]
        columns = [*features]
        if goal is not None:
            columns.append(goal)
        while lines := list(itertools.islice(text, BLOCK)):
            if goal is not None and len(fields) == 1:
                if classify is None:
                    classify = self._are_classes(lines, goal)
                fields.append(("y", np.dtype(f"U{LONGEST_TEXT}") if classify else np.float64, ()))  # type: ignore[arg-type]
            yield self._block(lines, line, np.dtype(fields), columns)
            line += len(lines)

    def _block(self, lines: list[str], line: int, dtype: np.dtype[np.void], columns: list[int]) -> _Block:
        if any("\0" in text for text in lines):
            # NumPy's texts end before it: "z\0" would be the class "z".
            number = next(i for i, text in enumerate(lines, line + 1) if "\0" in text)
            raise self._error(f"in line {number} {NUL}")
        for number, text in enumerate(lines, line + 1):
            # Such a text would take the next rows into itself, which may have as many delimiters as any other.
            if text.count('"') % 2 and self._is_open(text):
                raise self._error(f"in line {number} a quoted text has no end. {ONE_LINE}")
        ends = len(self.header) - 1
        filled = [text for text in lines if text.strip()]
        if any(text.count(self.delimiter) != ends for text in filled):
            self._check(lines, line, dtype, columns)  # it may still be right, with delimiters between quotes
        if not filled:
            return _Block(np.empty((0, dtype["x"].shape[0]), np.float32), None, None)
        try:
            # comments=None: no character hides the rest of a line.
            rows = np.loadtxt(
                filled, dtype, comments=None, delimiter=self.delimiter, quotechar='"', usecols=columns, ndmin=1
            )
        except ValueError as error:
            self._check(lines, line, dtype, columns)
            raise self._error(f"lines {line + 1} to {line + len(lines)}: NumPy cannot read them: {error}") from error
        numbers, y = rows["x"], rows["y"] if "y" in (dtype.names or ()) else None
        x = difference(numbers, self._origin(numbers))
        known = bool(np.isfinite(x).all())
        if known:
            self._mend_rounded(filled, columns, numbers, x)
            if self.faintness is not None:
                self.faintness.note(numbers, self._origin(numbers), x)
        classes: list[str] | None = None
        if y is not None and y.dtype.kind == "U":
            values, y = np.unique(y, return_inverse=True)
            classes = [value.strip() for value in values.tolist()]
            if any(len(value) >= LONGEST_TEXT for value in classes):
                raise self._error(f"a class of the target has a name of more than {LONGEST_TEXT - 1} characters.")
            known = known and all(classes)
            words = {value.lower() for value in classes if value.lower() in MISSING or not is_number(value)}
            if words and len(words) < len(classes) and words < MISSING:
                self._refuse_missing(lines, line, columns[-1])
        elif y is not None:
            known = known and bool(np.isfinite(y).all())
            if known:
                large = bool((np.abs(y) >= ROUNDED).any())
                self.rounding.note(self._column(filled, columns[-1]) if large else [float(y.min()), float(y.max())])
        if not known:
            self._check(lines, line, dtype, columns)
            raise self._error(f"lines {line + 1} to {line + len(lines)}: a number is beyond the range of float32.")
        return _Block(x, y, classes)

    def _mend_rounded(self, lines: list[str], columns: list[int], numbers: HostArray, x: HostArray) -> None:
        """Compute the differences of columns with numbers beyond 2**53 again, from their texts."""
        origin = np.zeros(x.shape[1]) + self._origin(numbers)
        for i in np.flatnonzero((np.abs(numbers) >= ROUNDED).any(axis=0)):
            x[:, i] = difference_of_texts(self._column(lines, columns[i]), origin[i])

    def _column(self, lines: list[str], column: int) -> list[str]:
        return [self._fields(line)[column].strip() for line in lines]

    def _origin(self, numbers: HostArray) -> HostArray | float:
        """Return what is subtracted from each column, which the first rows decide where it is not given."""
        if self.origin is None:
            self.origin = origin_of(numbers)
        return self.origin

    def _are_classes(self, lines: list[str], goal: int) -> bool:
        """Tell whether the target's values are text or whole numbers."""
        rows = [self._fields(line) for line in lines if line.strip()]
        values = [row[goal].strip() for row in rows if len(row) > goal]
        return any(not is_number(value) for value in values) or all(value.lstrip("+-").isdigit() for value in values)

    def _join(self, blocks: Iterator[_Block], width: int) -> tuple[HostArray, HostArray | None, dict[str, int] | None]:
        """Put blocks one after the other, classes as numbers in the order of their coming."""
        x = np.empty((0, width), np.float32)
        y: HostArray | None = None
        classes: dict[str, int] | None = None
        count = 0
        for block in blocks:
            end = count + len(block.x)
            if end > len(x):
                # Memory that the system moves and does not copy, and gives only where it is written.
                x.resize((max(end, 2 * len(x)), width), refcheck=False)
                if y is not None:
                    y.resize(len(x), refcheck=False)
            x[count:end] = block.x
            if block.y is not None:
                targets = block.y
                if block.classes is not None:
                    classes = {} if classes is None else classes
                    numbers = [classes.setdefault(value, len(classes)) for value in block.classes]
                    if len(classes) > MOST_CLASSES:
                        raise self._error(
                            f"the target has more than {MOST_CLASSES:,} different values, too many for classes. If "
                            f"they are numbers to predict, it is a regression."
                        )
                    targets = np.asarray(numbers, np.int32)[targets]
                if y is None:
                    y = np.empty(len(x), np.float64 if classes is None else np.int32)
                y[count:end] = targets
            count = end
        x.resize((count, width), refcheck=False)
        if y is not None:
            y.resize(count, refcheck=False)
        return x, y, classes

    # The slow second reading

    def _check(self, lines: list[str], line: int, dtype: np.dtype[np.void], columns: list[int]) -> None:
        """Raise for the first fault in some lines, the first of which comes after `line`."""
        numbers = dtype["x"].shape[0]
        is_text = len(columns) > numbers and dtype["y"].kind == "U"
        for number, text in enumerate(lines, line + 1):
            if not text.strip():
                continue
            row = self._fields(text)
            if len(row) != len(self.header):
                cause = f"Is a value missing, or is a delimiter ({self.delimiter!r}) too many?"
                if text.count('"') % 2:
                    cause = ONE_LINE
                raise self._error(
                    f"line {number} has {len(row)} fields, but the header names {len(self.header)} columns. {cause}"
                )
            for position, column in enumerate(columns):
                value = row[column].strip()
                where = f"line {number}, column {self.header[column]!r}"
                if is_text and position == numbers:
                    if not value:
                        raise self._error(f"{where}: the value is missing. Fill it in, or leave the row out.")
                    continue
                if value.lower() in MISSING:
                    raise self._error(
                        f"{where}: the value is missing (it is {value!r}). Fill it in, or leave the row out."
                    )
                if not is_number(value):
                    shown = value if len(value) <= 40 else value[:40] + "..."
                    raise self._error(
                        f"{where}: expected a number, got {shown!r}. Leave the column out, or encode its texts as "
                        f"numbers, a column of 0 and 1 for each."
                    )
                if not np.isfinite(np.float64(value)):
                    raise self._error(f"{where}: expected a finite number, got {value[:40]!r}.")

    def _refuse_missing(self, lines: list[str], line: int, goal: int) -> None:
        """Raise for the first class that is a word for a missing value, where the other classes are numbers."""
        for number, text in enumerate(lines, line + 1):
            value = self._fields(text)[goal].strip() if text.strip() else "0"
            if value.lower() in MISSING:
                raise self._error(
                    f"line {number}, column {self.header[goal]!r}: the value is missing (it is {value!r}, where others "
                    f"are numbers). Fill it in, or leave the row out."
                )

    # The text

    def _is_open(self, line: str) -> bool:
        """Tell whether a quoted text goes over the end of a line: whether a row takes the next line in as well."""
        rows = csv.reader([line, "next"], delimiter=self.delimiter)
        try:
            return len(list(rows)) == 1
        except csv.Error as error:
            raise self._error(f"a line that begins {line[:40]!r} is no CSV ({error}).") from error


def _by_number(classes: Iterable[str]) -> dict[Decimal, list[str]]:
    found: dict[Decimal, list[str]] = {}
    for name in classes:
        if is_number(name) and math.isfinite(float(name)):
            found.setdefault(Decimal(name), []).append(name)
    return found


def _sort_classes(classes: dict[str, int], y: HostArray) -> tuple[tuple[str, ...], HostArray]:
    """Return the classes in order, and the targets as positions in it."""
    numbers = all(is_number(name) and math.isfinite(float(name)) for name in classes)
    names = sorted(classes, key=Decimal if numbers else None)
    position = np.empty(len(names), np.int32)
    for i, name in enumerate(names):
        position[classes[name]] = i
    return tuple(names), position[y]
