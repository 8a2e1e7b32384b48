"""What DATA on the command line stands for: arrays to learn from, and what their targets are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradkit import data, random
from gradkit.cli.options import CommandError
from gradkit.core.array import Array, host
from gradkit.data.files import HostArray
from gradkit.data.tables import Table, read_table

__all__ = ["CLASSIFICATION", "REGRESSION", "Source", "among", "check_learnable", "read_inputs", "read_source"]

CLASSIFICATION, REGRESSION = "classification", "regression"
MOONS = 1000
"""How many points 'moons' has."""


class Source(NamedTuple):
    """Data on the host.

    Attributes
    ----------
    title : str
        What they are called.
    x : numpy.ndarray of float32, shape (n, columns)
        What is learned from.
    y : numpy.ndarray
        What is learned: numbers, float32 of shape (n, outputs); or positions in `classes`, int32 of shape (n,).
    test : tuple of (x, y), or None
        The part to test with, where the data have one.
    names : tuple of str or None
        The names of the columns.
    target : str
        The name of what is learned.
    classes : tuple of str or None
        The classes.
    measured : bool
        Whether the columns are measurements, each of a scale of its own; pixels have one scale.
    """

    title: str
    x: HostArray
    y: HostArray
    test: tuple[HostArray, HostArray] | None
    names: tuple[str, ...] | None
    target: str
    classes: tuple[str, ...] | None
    measured: bool


def read_source(
    words: str,
    target: str | None,
    task: str | None,
    delimiter: str,
    names: Sequence[str] | None = None,
) -> Source:
    """Read what DATA names.

    Parameters
    ----------
    words : str
        DATA.
    target : str or None
        The column of a CSV file to learn.
    task : "classification", "regression" or None
        None: classes where the targets are whole numbers or text.
    delimiter : str
        Between the fields of a CSV file.
    names : sequence of str, optional
        The columns of a CSV file to learn from; by default all but the target.

    Raises
    ------
    CommandError
        If there is no such data, or its targets are none for the task.
    FileFormatError
        If a file is damaged, or a row of it cannot be used.
    """
    path = Path(words)
    return _kind(words, path)(path, target, task, delimiter, names)


def read_inputs(words: str, names: Sequence[str] | None, delimiter: str) -> HostArray:
    """Read what DATA names, without targets, to predict them."""
    path = Path(words)
    kind = _kind(words, path)
    if kind is _csv:
        # A model of data without names takes the columns as they come.
        return _table(path, None, None, names, delimiter).x
    if kind is _npz:
        return _inputs(_arrays(path), "x", path)
    source = kind(path, None, None, delimiter, names)
    return source.x if source.test is None else source.test[0]


Reader = Callable[[Path, str | None, str | None, str, Sequence[str] | None], Source]


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
    return _npz if path.suffix.lower() == ".npz" else _csv


# Data by name


def _digits(path: Path, target: str | None, task: str | None, delimiter: str, names: Sequence[str] | None) -> Source:
    x, y = map(host, data.load_digits())
    return _images("digits", x, y, None, task)


def _moons(path: Path, target: str | None, task: str | None, delimiter: str, names: Sequence[str] | None) -> Source:
    x, y = map(host, data.moons(MOONS, key=random.key(0)))
    return _images("moons", x, y, None, task)._replace(names=("x0", "x1"), measured=True)


def _idx(path: Path, target: str | None, task: str | None, delimiter: str, names: Sequence[str] | None) -> Source:
    train, test = data.load_mnist(path)
    return _images(path.resolve().name, host(train[0]), host(train[1]), (host(test[0]), host(test[1])), task)


def _images(
    title: str, x: HostArray, y: HostArray, test: tuple[HostArray, HostArray] | None, task: str | None
) -> Source:
    if task == REGRESSION:
        raise CommandError(f"argument --task: the targets of {title} are classes.")
    classes = tuple(map(str, range(int(y.max()) + 1)))
    return Source(title, x, y, test, None, "class", classes, measured=False)


NAMED: dict[str, Reader] = {"digits": _digits, "moons": _moons}

# Files


def _csv(path: Path, target: str | None, task: str | None, delimiter: str, names: Sequence[str] | None) -> Source:
    if target is None:
        raise CommandError(f"argument --target: say which column of {path} is to be learned.")
    table = _table(path, target, None if task is None else task == CLASSIFICATION, names, delimiter)
    assert table.y is not None  # there is a target
    y = table.y if table.classes is not None else table.y.reshape(-1, 1)
    return Source(path.name, table.x, y, None, table.names, target, table.classes, measured=True)


def _table(path: Path, target: str | None, classify: bool | None, names: Sequence[str] | None, delimiter: str) -> Table:
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CommandError(
            f"argument --delimiter: expected one character that is no quote and no line end, got {delimiter!r}"
        )
    return read_table(path, target, classify, names, delimiter)


def _npz(path: Path, target: str | None, task: str | None, delimiter: str, names: Sequence[str] | None) -> Source:
    arrays = _arrays(path)
    x, y = _inputs(arrays, "x", path), _array(arrays, "y", path)
    parts = [(x, y)]
    if "x_test" in arrays or "y_test" in arrays:
        parts.append((_inputs(arrays, "x_test", path), _array(arrays, "y_test", path)))
    for (inputs, targets), suffix in zip(parts, ("", "_test"), strict=False):
        if len(inputs) != len(targets):
            raise CommandError(
                f"{path}: x{suffix} has {len(inputs):,} rows and y{suffix} {len(targets):,}; there must be a target "
                f"for each example."
            )
        for name, part, first in (("x", inputs, x), ("y", targets, y)):
            if part[0].size != first[0].size:
                raise CommandError(
                    f"{path}: {name} has {first[0].size} columns and {name}{suffix} {part[0].size}; there must "
                    f"be as many."
                )
    every = np.concatenate([np.reshape(targets, (len(targets), -1)) for _, targets in parts])
    whole = every.shape[1] == 1 and bool((np.mod(every, 1) == 0).all())
    if task == CLASSIFICATION and not whole:
        raise CommandError(f"{path}: y must be whole numbers, one for each example, to be classes.")
    if task == CLASSIFICATION or (task is None and y.dtype.kind in "biu" and whole):
        values = np.unique(every)
        coded = [(a, np.searchsorted(values, b.reshape(-1)).astype(np.int32)) for a, b in parts]
        classes: tuple[str, ...] | None = tuple(str(int(value)) for value in values)
    else:
        coded = [(a, b.reshape(len(b), -1).astype(np.float32)) for a, b in parts]
        _refuse_unknown(coded[0][1], "y", path)
        classes = None
    test = coded[1] if len(coded) > 1 else None
    return Source(path.name, *coded[0], test, None, "y", classes, measured=True)


def _arrays(path: Path) -> dict[str, Array]:
    return data.load_npz(path)


def _array(arrays: dict[str, Array], name: str, path: Path) -> HostArray:
    if name not in arrays:
        raise CommandError(f"{path}: there is no array {name!r}. Its arrays: {', '.join(map(repr, arrays))}.")
    values = host(arrays[name])
    if not values.ndim or not values.size:
        raise CommandError(f"{path}: the array {name!r} of shape {values.shape} has no rows.")
    if values.dtype.kind not in "biuf":
        raise CommandError(f"{path}: the array {name!r} must be of real numbers, got {values.dtype}.")
    return values


def _inputs(arrays: dict[str, Array], name: str, path: Path) -> HostArray:
    values = _array(arrays, name, path)
    rows = values.reshape(len(values), -1).astype(np.float32, copy=False)
    _refuse_unknown(rows, name, path)
    return rows


def _refuse_unknown(values: HostArray, name: str, path: Path) -> None:
    known = np.isfinite(values)
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise CommandError(
            f"{path}: {name}[{row}, {column}] is {values[row, column]}; every number must be known and finite in "
            f"float32."
        )


# What can be learned


def check_learnable(source: Source) -> None:
    """Raise CommandError where there is nothing that can be learned."""
    rows = len(source.x)
    if source.classes is None:
        if rows < 2:
            raise CommandError(f"{source.title} has {rows} row; to train and to test there must be two at least.")
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
