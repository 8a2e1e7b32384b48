"""What DATA on the command line stands for: arrays to learn from, and what their targets are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradkit import data, random
from gradkit.cli.options import CommandError
from gradkit.core.array import Array
from gradkit.core.values import host
from gradkit.data.files import HostArray
from gradkit.data.origins import FAINT, ROUNDED, Faintness, Rounding, difference, origin_of
from gradkit.data.tables import Table, read_table

__all__ = [
    "CLASSIFICATION", "REGRESSION", "Asked", "Source", "among", "check_learnable", "hint", "read_inputs", "read_source",
]  # fmt: skip

CLASSIFICATION, REGRESSION = "classification", "regression"
MOONS = 1000
"""How many points 'moons' has."""
MANY_CLASSES = 30
"""From so many whole numbers on, a target looks like a number to predict. (There are 26 letters.)"""
FEW_VALUES, ROWS_OF_EACH = 10, 5
"""Up to so many different numbers, if there are so many rows of each, a target looks like classes."""


class Asked(NamedTuple):
    """What is to be read of some data.

    Attributes
    ----------
    target : str or None
        The column of a CSV file to learn.
    task : "classification", "regression" or None
        None: classes where the targets are whole numbers or text.
    delimiter : str
        Between the fields of a CSV file.
    names : sequence of str or None
        The columns of a CSV file to learn from; None: all but the target.
    origin : numpy.ndarray of float64, shape (columns,), or None
        What is subtracted from each column before it is rounded to float32; None: a value of its own.
    """

    target: str | None
    task: str | None
    delimiter: str
    names: Sequence[str] | None = None
    origin: HostArray | None = None


class Source(NamedTuple):
    """Data on the host.

    Attributes
    ----------
    title : str
        What they are called.
    x : numpy.ndarray of float32, shape (n, columns)
        What is learned from, less `origin`.
    y : numpy.ndarray
        What is learned: numbers, float64 of shape (n, outputs); or positions in `classes`, int32 of shape (n,).
    test : tuple of (x, y), or None
        The part to test with, where the data have one; the same origin.
    names : tuple of str or None
        The names of the columns.
    target : str
        The name of what is learned.
    classes : tuple of str or None
        The classes.
    measured : bool
        Whether the columns are measurements, each of a scale of its own; pixels have one scale.
    origin : numpy.ndarray of float64, shape (columns,), or 0.0
        What was subtracted from each column.
    """

    title: str
    x: HostArray
    y: HostArray
    test: tuple[HostArray, HostArray] | None
    names: tuple[str, ...] | None
    target: str
    classes: tuple[str, ...] | None
    measured: bool
    origin: HostArray | float = 0.0


def read_source(words: str, asked: Asked) -> Source:
    """Read what DATA names.

    Raises
    ------
    CommandError
        If there is no such data, or its targets are none for the task.
    FileFormatError
        If a file is damaged, or a row of it cannot be used.
    """
    path = Path(words)
    return _kind(words, path)(path, asked)


def read_inputs(words: str, asked: Asked) -> tuple[HostArray, HostArray | float]:
    """Read what DATA names, without targets, to predict them: ``(x, origin)``, as a `Source` has them."""
    path = Path(words)
    kind = _kind(words, path)
    if kind is _csv:
        # A model of data without names takes the columns as they come.
        table = _table(path, asked._replace(target=None, task=None))
        return table.x, table.origin
    if kind is _npz:
        return _inputs(_arrays(path), "x", path, asked.origin)
    if kind is _npy:
        return _inputs({"x": data.load_npy(path)}, "x", path, asked.origin)
    source = kind(path, asked)
    return (source.x if source.test is None else source.test[0]), source.origin


Reader = Callable[[Path, Asked], Source]


def _kind(words: str, path: Path) -> Reader:
    """Return what reads data of that name."""
    if words in NAMED:
        return NAMED[words]
    if path.is_dir():
        return _idx
    if not path.exists():
        raise CommandError(
            f"there is no {words}. DATA is {', '.join(map(repr, NAMED))}, a CSV file, an .npz file, or a folder of IDX "
            f"files."
        )
    return SUFFIXES.get(path.suffix.lower(), _csv)


# Data by name


def _digits(path: Path, asked: Asked) -> Source:
    x, y = map(host, data.load_digits())
    return _images("digits", x, y, None, asked)


def _moons(path: Path, asked: Asked) -> Source:
    x, y = map(host, data.moons(MOONS, key=random.key(0)))
    return _images("moons", x, y, None, asked)._replace(names=("x0", "x1"), measured=True)


def _idx(path: Path, asked: Asked) -> Source:
    train, test = data.load_mnist(path)
    return _images(path.resolve().name, host(train[0]), host(train[1]), (host(test[0]), host(test[1])), asked)


def _images(title: str, x: HostArray, y: HostArray, test: tuple[HostArray, HostArray] | None, asked: Asked) -> Source:
    if asked.task == REGRESSION:
        raise CommandError(f"argument --task: the targets of {title} are classes.")
    classes = tuple(map(str, range(int(y.max()) + 1)))
    return Source(title, x, y, test, None, "class", classes, measured=False)


NAMED: dict[str, Reader] = {"digits": _digits, "moons": _moons}

# Files


def _csv(path: Path, asked: Asked) -> Source:
    if asked.target is None:
        raise CommandError(f"argument --target: say which column of {path} is to be learned.")
    table = _table(path, asked)
    assert table.y is not None  # there is a target
    y = table.y if table.classes is not None else table.y.reshape(-1, 1)
    names, classes = table.names, table.classes
    return Source(path.name, table.x, y, None, names, asked.target, classes, measured=True, origin=table.origin)


def _table(path: Path, asked: Asked) -> Table:
    target, task, delimiter, names, origin = asked
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CommandError(
            f"argument --delimiter: expected one character that is no quote and no line end, got {delimiter!r}"
        )
    classify = None if task is None else task == CLASSIFICATION
    return read_table(path, target, classify, names, delimiter, origin=origin)


def _npz(path: Path, asked: Asked) -> Source:
    arrays = _arrays(path)
    x, origin = _inputs(arrays, "x", path, asked.origin)
    parts = [(x, _array(arrays, "y", path))]
    if "x_test" in arrays or "y_test" in arrays:
        parts.append((_inputs(arrays, "x_test", path, origin)[0], _array(arrays, "y_test", path)))
    for (inputs, targets), suffix in zip(parts, ("", "_test"), strict=False):
        if len(inputs) != len(targets):
            raise CommandError(
                f"{path}: x{suffix} has {len(inputs):,} rows and y{suffix} {len(targets):,}; there must be a target "
                f"for each example."
            )
        for name, part, first in (("x", inputs, parts[0][0]), ("y", targets, parts[0][1])):
            if part[0].size != first[0].size:
                raise CommandError(
                    f"{path}: {name} has {first[0].size} columns and {name}{suffix} {part[0].size}; there must "
                    f"be as many."
                )
        _refuse_unknown(targets.reshape(len(targets), -1), f"y{suffix}", path, "float64")
    every = _join([np.reshape(targets, (len(targets), -1)) for _, targets in parts])
    whole = every.shape[1] == 1 and bool((np.mod(every, 1) == 0).all())
    if asked.task == CLASSIFICATION and not whole:
        raise CommandError(f"{path}: y must be whole numbers, one for each example, to be classes.")
    if asked.task == CLASSIFICATION or (asked.task is None and parts[0][1].dtype.kind in "biu" and whole):
        values = np.unique(every)
        coded = [(a, np.searchsorted(values, b.reshape(-1)).astype(np.int32)) for a, b in parts]
        classes: tuple[str, ...] | None = tuple(str(int(value)) for value in values)
    else:
        if every.dtype.kind in "iuO":
            for i in range(every.shape[1]):
                _refuse_rounded(every[:, i], "y" if every.shape[1] == 1 else f"y[:, {i}]", path)
        coded = [(a, b.reshape(len(b), -1).astype(np.float64)) for a, b in parts]
        classes = None
    test = coded[1] if len(coded) > 1 else None
    return Source(path.name, *coded[0], test, None, "y", classes, measured=True, origin=origin)


def _npy(path: Path, asked: Asked) -> Source:
    raise CommandError(
        f"{path} holds one array, and there must be two: x, a row for each example, and y, what is to be learned of "
        f"it. Write both into one file: numpy.savez('data.npz', x=x, y=y)."
    )


SUFFIXES: dict[str, Reader] = {".npy": _npy, ".npz": _npz}


def _join(parts: Sequence[HostArray]) -> HostArray:
    """Put targets one after the other; whole numbers stay whole numbers, where NumPy would make them float64."""
    common = np.result_type(*parts)
    if common.kind == "f" and all(part.dtype.kind in "biu" for part in parts):
        return np.concatenate([part.astype(object) for part in parts])
    return np.concatenate(parts)


def _refuse_rounded(column: HostArray, name: str, path: Path) -> None:
    """Raise where whole numbers to predict differ by less than float64 holds of them."""
    rounding = Rounding()
    if np.abs(column.astype(np.float64)).max() >= ROUNDED:
        rounding.note(np.unique(column).tolist())
    if rounding.shows:
        raise CommandError(f"{path}: {rounding.refusal(name)}")


def _arrays(path: Path) -> dict[str, Array]:
    return data.load_npz(path)


def _array(arrays: dict[str, Array], name: str, path: Path) -> HostArray:
    if name not in arrays:
        raise CommandError(f"{path}: there is no array {name!r}. Its arrays: {', '.join(map(repr, arrays))}.")
    values = host(arrays[name])
    if not values.ndim or not values.size:
        lack = "columns" if values.ndim and len(values) else "rows"
        raise CommandError(f"{path}: the array {name!r} of shape {values.shape} has no {lack}.")
    if values.dtype.kind not in "biuf":
        raise CommandError(f"{path}: the array {name!r} must be of real numbers, got {values.dtype}.")
    return values


def _inputs(
    arrays: dict[str, Array], name: str, path: Path, origin: HostArray | float | None
) -> tuple[HostArray, HostArray | float]:
    """Return the rows of an array less `origin` (None: a value of each column's own), and that."""
    values = _array(arrays, name, path)
    rows = values.reshape(len(values), -1)
    _refuse_unknown(rows, name, path, "float64")
    faintness = Faintness() if origin is None else None
    if origin is None or np.shape(origin) != rows.shape[1:]:  # a model that takes other columns refuses them later
        origin = origin_of(rows)
    found = difference(rows, origin)
    _refuse_unknown(found, name, path, "float32")
    if faintness is not None:
        faintness.note(rows, origin, found)
        if faintness.columns:
            raise CommandError(f"{path}: the numbers of {name}[:, {faintness.columns[0]}] {FAINT}")
    return found, origin


def _refuse_unknown(values: HostArray, name: str, path: Path, kind: str) -> None:
    known = np.isfinite(values)
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise CommandError(
            f"{path}: {name}[{row}, {column}] is {values[row, column]}; every number must be known and finite in "
            f"{kind}."
        )


# What can be learned


def check_learnable(source: Source) -> None:
    """Raise CommandError where there is nothing that can be learned."""
    rows = len(source.x)
    if source.classes is None:
        if rows < 2:
            raise CommandError(f"{source.title} has {rows} row; to train and to test there must be two at least.")
        if (source.y == source.y[0]).all():
            raise CommandError(
                f"the target {source.target!r} of {source.title} is {source.y[0, 0]:.17g} in every row: there is "
                f"nothing to learn."
            )
        return
    if len(source.classes) == 1:
        raise CommandError(
            f"the target {source.target!r} of {source.title} is {source.classes[0]!r} in every row: there is one class "
            f"only, and nothing to learn."
        )
    if len(source.classes) >= rows:
        raise CommandError(
            f"the target {source.target!r} of {source.title} has {len(source.classes):,} classes in {rows:,} rows, so "
            f"no class can be learned from another example of it. Is it a number (--task regression), or another "
            f"column?"
        )


def hint(source: Source) -> str | None:
    """Return what to say where the targets were taken for classes and look like numbers to predict, or the reverse."""
    if source.classes is None:
        return _hint_of_classes(source)
    if len(source.classes) < MANY_CLASSES:
        return None
    if not all(name.lstrip("+-").isdigit() for name in source.classes):
        return None
    return (
        f"the target {source.target!r} of {source.title} has {len(source.classes):,} different whole numbers, and they "
        f"are learned as classes. If it is a number to predict: --task regression. (--task classification says that "
        f"they are classes.)"
    )


def _hint_of_classes(source: Source) -> str | None:
    values = np.unique(source.y)
    if source.y.shape[1] > 1 or len(values) > FEW_VALUES or len(values) * ROWS_OF_EACH > len(source.y):
        return None
    if np.mod(values, 1).any():
        # Classes are whole numbers or texts: these can only be marked as such where two do.
        if len(values) > 2:
            return None
        way_out = "write them as names or whole numbers"
    else:
        way_out = "--task classification"
    shown = ", ".join(f"{value:.6g}" for value in values.tolist())
    return (
        f"the target {source.target!r} of {source.title} has only {len(values)} different values ({shown}), and they "
        f"are learned as numbers. If they are classes: {way_out}. (--task regression says that they are numbers.)"
    )


def among(source: Source, classes: Sequence[str]) -> Source:
    """Return data whose targets are positions in the classes of a model, or raise CommandError for another class."""
    assert source.classes is not None
    for name in source.classes:
        if name not in classes:
            raise CommandError(
                f"the target {source.target!r} of {source.title} has the class {name!r}, which the model has not seen. "
                f"Its classes: {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}."
            )
    position = np.asarray([classes.index(name) for name in source.classes], np.int32)
    test = None if source.test is None else (source.test[0], position[source.test[1]])
    return source._replace(y=position[source.y], test=test, classes=tuple(classes))
