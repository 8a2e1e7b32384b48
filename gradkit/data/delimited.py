"""CSV files of numbers.

NumPy's reader does the work. Where it fails, the file is read a second time, slowly, to name the place.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO, overload

import numpy as np
from numpy.typing import DTypeLike

from gradkit.core.array import Array
from gradkit.data.files import DAMAGED_GZIP, HostArray, PathLike, damaged_gzip, describe_start, open_binary, place
from gradkit.data.origins import ROUNDED
from gradkit.errors import FileFormatError, did_you_mean

__all__ = ["COMMON_DELIMITERS", "NUL", "ONE_LINE", "CsvFile", "is_number", "load_csv"]

Header = bool | Literal["auto"]

COMMON_DELIMITERS = (";", "\t", ",", "|", " ")

ONE_LINE = "A quoted text that goes over the end of a line is not read: put each row, and the header, in one line."


NUL = "is a character NUL, which no text has: the file is damaged, or has another encoding. Fetch or write it again."


@overload
def load_csv(
    path: PathLike,
    target: None = None,
    delimiter: str = ",",
    header: Header = "auto",
    dtype: DTypeLike = "float32",
    target_dtype: DTypeLike | None = None,
    encoding: str = "utf-8-sig",
) -> Array: ...


@overload
def load_csv(
    path: PathLike,
    target: str | int,
    delimiter: str = ",",
    header: Header = "auto",
    dtype: DTypeLike = "float32",
    target_dtype: DTypeLike | None = None,
    encoding: str = "utf-8-sig",
) -> tuple[Array, Array]: ...


def load_csv(
    path: PathLike,
    target: str | int | None = None,
    delimiter: str = ",",
    header: Header = "auto",
    dtype: DTypeLike = "float32",
    target_dtype: DTypeLike | None = None,
    encoding: str = "utf-8-sig",
) -> Array | tuple[Array, Array]:
    r"""Load a CSV file of numbers, plain or gzip.

    Parameters
    ----------
    path : str or path
        The file. Blank lines are passed over; fields may be quoted.
    target : str or int, optional
        The column to predict, by its name in the header or its position (from 0; from the end if negative).
    delimiter : str
        The one character between fields.
    header : bool or "auto"
        Whether the first line holds the columns' names. ``"auto"``: it does if none of its fields is a number.
        (Names that are numbers, ``0,1,2``, need True.)
    dtype : dtype
        What the numbers are returned as, a real floating or integer type. A number that an integer type cannot hold
        exactly, or that is beyond a floating type's range, is an error.
    target_dtype : dtype, optional
        The same for `target`: ``"int32"`` for class labels. `dtype` if left out.
    encoding : str
        The text's encoding. The default is UTF-8, with or without a byte-order mark.

    Returns
    -------
    x : Array
        Shape ``(rows, columns)``; on the current backend. Without `target`, this alone.
    y : Array
        The target column, of shape ``(rows,)``; `x` is then without it.

    Raises
    ------
    FileFormatError
        If a field is empty or no number, rows differ in length, there are no rows, or the text has another encoding;
        the message names the line and the column.
    ValueError
        If there is no column `target`, or `delimiter` or `header` is not one of the values above.
    TypeError
        If a dtype is not of real numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "iris.csv"
    >>> _ = path.write_text("petal length,petal width,species\n1.5,0.25,0\n4.5,1.5,1\n")
    >>> x, y = load_csv(path, target="species", target_dtype="int32")
    >>> x
    Array([[1.5 , 0.25],
           [4.5 , 1.5 ]], dtype=float32)
    >>> y
    Array([0, 1], dtype=int32)
    """
    x_dtype = _number_dtype("dtype", dtype)
    y_dtype = x_dtype if target_dtype is None else _number_dtype("target_dtype", target_dtype)
    if header is not True and header is not False and header != "auto":
        raise ValueError(f"header: expected True, False or 'auto', got {header!r}")
    file = _File(os.fspath(path), delimiter, header, encoding)
    try:
        return _arrays(file, target, x_dtype, y_dtype)
    except DAMAGED_GZIP as error:  # in the first reading, or in the second, which looks for what is wrong
        raise damaged_gzip(path, error) from error


def _arrays(
    file: _File, target: str | int | None, x_dtype: np.dtype[np.generic], y_dtype: np.dtype[np.generic]
) -> Array | tuple[Array, Array]:
    table = file.read()
    if target is None:
        return place(file.convert(table, x_dtype, range(table.shape[1])))
    column = file.column(target, table.shape[1])
    others = [i for i in range(table.shape[1]) if i != column]
    return (
        place(file.convert(table[:, others], x_dtype, others)),
        place(file.convert(table[:, [column]], y_dtype, [column])[:, 0]),
    )


def _number_dtype(argument: str, dtype: DTypeLike) -> np.dtype[np.generic]:
    result = np.dtype(dtype)
    if result.kind not in "fiu":
        raise TypeError(
            f"{argument}: a CSV file is read as real numbers, so expected a floating or integer dtype, got "
            f"{result.name}. Convert afterwards with astype."
        )
    return result


class CsvFile:
    """The text of a CSV file, plain or gzip."""

    def __init__(self, name: str, delimiter: str, encoding: str) -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ValueError(f"delimiter: expected one character that is no quote and no line end, got {delimiter!r}")
        self.name = name
        self.delimiter = delimiter
        self.encoding = encoding

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        with open_binary(self.name) as (stream, _), io.TextIOWrapper(stream, encoding=self.encoding) as text:
            yield text

    def _fields(self, line: str) -> list[str]:
        try:
            return next(csv.reader([line], delimiter=self.delimiter), [])
        except csv.Error as error:
            raise self._error(f"a line that begins {line[:40]!r} is no CSV ({error}).") from error

    def _error(self, message: str) -> FileFormatError:
        return FileFormatError(f"{self.name}: {message}")


class _File(CsvFile):
    """One file of numbers: `read` it fast, and find the place where that fails."""

    def __init__(self, name: str, delimiter: str, header: Header, encoding: str) -> None:
        super().__init__(name, delimiter, encoding)
        self.header = header
        self.names: list[str] | None = None

    def read(self) -> HostArray:
        """Read all rows as float64, and the header into `names`."""
        try:
            table = self._read_rows()
        except UnicodeDecodeError as error:
            raise self._undecodable() from error
        except FileFormatError:
            raise
        except ValueError as error:  # NumPy's reader does not know the line in the file
            raise self._error(self._find_fault() or f"NumPy cannot read it: {error}") from error
        if not len(table):
            raise self._error("there are no rows of numbers in it" + (", only a header." if self.names else "."))
        if self.names is not None and len(self.names) != table.shape[1]:
            raise self._error(
                f"the header names {len(self.names)} columns, but the rows have {table.shape[1]}. Is a delimiter "
                f"({self.delimiter!r}) missing, or is one too many, in the first line?"
            )
        return table

    def _read_rows(self) -> HostArray:
        with self._open() as text:
            lines = (line for line in text if self._check(line).strip())
            start = next(lines, "")
            fields = self._fields(start)
            if start.count('"') % 2:
                raise self._error(f"the first line goes over its end, in quotes. {ONE_LINE}")
            if self.header is True or (self.header == "auto" and not any(map(is_number, fields))):
                self.names = [field.strip() for field in fields]
                start = next(lines, "")
            if not start:
                return np.empty((0, 0))
            # comments=None: no character hides the rest of a line.
            rows = itertools.chain([start], lines)
            return np.loadtxt(rows, np.float64, comments=None, delimiter=self.delimiter, quotechar='"', ndmin=2)

    def column(self, target: str | int, width: int) -> int:
        """Return the position of the column `target`."""
        if isinstance(target, str):
            if self.names is None:
                raise ValueError(
                    f"target: {self.name} has no header, so there is no column {target!r}. Give the column's "
                    f"position, 0 to {width - 1}, or -1 for the last."
                )
            if target not in self.names:
                raise ValueError(
                    f"target: {self.name} has no column {target!r}. Its columns: "
                    f"{', '.join(map(repr, self.names))}.{did_you_mean(target, self.names)}"
                )
            return self.names.index(target)
        if not -width <= target < width:
            raise ValueError(f"target: {self.name} has {width} columns, so no column {target}.")
        return target % width

    def convert(self, table: HostArray, dtype: np.dtype[np.generic], columns: Sequence[int]) -> HostArray:
        """Convert to `dtype`, or name the first number that it cannot hold."""
        with np.errstate(over="ignore", invalid="ignore"):
            converted = table.astype(dtype)
            if dtype.kind == "f":
                held = np.isfinite(converted) == np.isfinite(table)
            else:
                held = (converted == table) & (np.abs(table) < ROUNDED)
        if held.all():
            return converted
        integers = dtype.kind in "iu"
        for row, (line, fields) in enumerate(self._rows()):
            for i in np.flatnonzero(~held[row]).tolist():
                field = fields[columns[i]].strip()
                # float64 rounds whole numbers from 2**53 on: the text has all of their digits.
                exact = int(field) if integers and field.lstrip("+-").isdigit() else None
                if exact is None or not _fits(exact, dtype):
                    raise self._error(
                        f"{self._position(line, columns[i])}: {dtype.name} cannot hold {float(table[row, i])!r}"
                        f"{' exactly' if integers else ''}. Choose a wider or a floating dtype, or correct the file."
                    )
                converted[row, i] = exact
        return converted

    def _check(self, line: str) -> str:
        if "\0" in line:
            raise self._error(f"in the line {line[:40]!r} {NUL}")
        return line

    # The slow second reading

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row's line number and fields, leaving out the header and blank lines."""
        with self._open() as text:
            rows = ((number, self._fields(line)) for number, line in enumerate(text, 1) if line.strip())
            yield from itertools.islice(rows, 0 if self.names is None else 1, None)

    def _find_fault(self) -> str | None:
        """Return what is wrong in the first faulty row, and where; None if nothing is found."""
        width = 0
        for line, fields in self._rows():
            for column, field in enumerate(fields):
                if not is_number(field):
                    return f"{self._position(line, column)}: {self._describe(line, field)}"
            width = width or len(fields)
            if len(fields) != width:
                return (
                    f"line {line} has {len(fields)} fields, but the rows before it have {width}. Is a value missing, "
                    f"or is a delimiter ({self.delimiter!r}) too many?"
                )
        return None

    def _describe(self, line: int, field: str) -> str:
        if not field.strip():
            return "the value is missing. Fill it in, write nan for an unknown one, or leave the row out."
        shown = field if len(field) <= 40 else field[:40] + "..."
        others = [mark for mark in COMMON_DELIMITERS if mark in field and mark != self.delimiter]
        if others:
            hint = f" If fields are separated by {others[0]!r}, pass delimiter={others[0]!r}."
        elif line == 1:
            hint = " If the first line holds the columns' names, pass header=True."
        else:
            hint = ""
        return f"expected a number, got {shown!r}.{hint}"

    def _undecodable(self) -> FileFormatError:
        """Say where decoding fails; the codec's own error counts from the last block that was read."""
        # The codec that strips a byte-order mark does not count it.
        decoder = codecs.getincrementaldecoder(codecs.lookup(self.encoding).name.removesuffix("-sig"))()
        position, line, reason = 0, 1, "not text"
        with open_binary(self.name) as (stream, _):
            start = stream.read(8)
            stream.seek(0)
            while True:
                block = stream.read(1 << 16)
                pending = decoder.getstate()[0]
                try:
                    line += decoder.decode(block, final=not block).count("\n")
                except UnicodeDecodeError as error:
                    position += error.start - len(pending)
                    line += (pending + block)[: error.start].count(b"\n")
                    reason = error.reason
                    break
                position += len(block)
        return self._error(
            f"line {line}, at byte {position:,} of the file, is no {self.encoding} text ({reason}). The file begins "
            f"with {describe_start(start)}. Pass its encoding=, perhaps 'latin-1' or 'utf-16'."
        )

    # Messages

    def _position(self, line: int, column: int) -> str:
        names = self.names or []
        return f"line {line}, column {column + 1}" + (f" ({names[column]!r})" if column < len(names) else "")


def _fits(number: int, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return int(limits.min) <= number <= int(limits.max)


def is_number(field: str) -> bool:
    """Tell whether NumPy's reader takes this field; Python's `float` also takes underscores and other scripts."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field
