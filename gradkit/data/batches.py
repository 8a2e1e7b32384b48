"""Random rows of arrays that belong together: one sample, the minibatches of an epoch, the two parts of a split.

Examples and their labels come as one pytree of arrays with equal first axes, and its container is what comes out. An
Array's rows are gathered on its device. A NumPy array, a `numpy.memmap` above all, is data on the host: of it only
the rows asked for are read, and they go to the current backend.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from typing import Any, Generic, SupportsIndex, TypeVar

import numpy as np

from gradkit import random, tree
from gradkit.backend import Device, backend_of
from gradkit.core.array import Array, raw, wrap
from gradkit.core.promotion import letter_of
from gradkit.core.values import host
from gradkit.data.chosen import ChosenRows
from gradkit.data.files import HostArray
from gradkit.numpy import arange, asarray
from gradkit.primitives.taking import take_flat

__all__ = ["Minibatches", "minibatches", "sample", "split"]

Tree = TypeVar("Tree")


class Minibatches(Generic[Tree]):
    """The minibatches of an epoch; `minibatches` makes it and documents it.

    Each pass over it yields them anew. Its length is the number of batches of a pass.
    """

    def __init__(
        self,
        arrays: Tree,
        batch_size: SupportsIndex,
        key: Array | None,
        shuffle: bool,
        drop_last: bool,
        start: int,
        order: Any,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._part = part
        self._rows = _Rows(arrays, "minibatches")
        self._key = key
        self._shuffle = shuffle
        self._size = _positive(batch_size, "minibatches: batch_size")
        self._order = None if order is None else _order(order, self._rows.n)
        self._n = n = self._rows.n if self._order is None else len(self._order)
        if drop_last and self._size > n:
            raise ValueError(
                f"minibatches: batch_size is {self._size:,}, but arrays have {n:,} rows, so with drop_last=True there "
                f"is no batch. Use a batch_size of {n:,} at most, or drop_last=False."
            )
        whole, rest = divmod(n, self._size)
        self._stop = whole + (rest > 0 and not drop_last)
        self._start = operator.index(start)
        if not 0 <= self._start <= self._stop:
            raise ValueError(
                f"minibatches: start, the number of batches to leave out, must be between 0 and {self._stop}, the "
                f"number of batches in an epoch, got {start}."
            )

    def __len__(self) -> int:
        return self._stop - self._start

    def order(self) -> Array:
        """Return the rows in the order of a pass, on the current backend; it is drawn anew where there is no key."""
        if self._order is not None:
            return self._order
        return random.permutation(_key_or_next(self._key), self._rows.n) if self._shuffle else arange(self._rows.n)

    def batch(self, number: int, order: Array) -> Tree:
        """Return the batch of that number, from 0, of the rows in an order."""
        begin, end = self.bounds(number)
        chosen = order[begin:end]
        return self._rows.gather(self._rows.bring_to_devices(chosen))  # type: ignore[no-any-return]

    def bounds(self, number: int) -> tuple[int, int]:
        """Return where in a pass the first row of a batch is that is yielded, and the one behind its last."""
        begin, end = number * self._size, min((number + 1) * self._size, self._n)
        index, count = self._part
        share, rest = divmod(end - begin, count)
        begin += index * share + min(index, rest)
        return begin, begin + share + (index < rest)

    def part(self, index: int, count: int) -> Minibatches[Tree]:
        """Return the same minibatches, of each only the part that one of several processes has.

        Their rows are divided in order, as evenly as they can be: where they are no multiple of `count`, the first
        processes have one row more. Only the rows of the part are read.

        Examples
        --------
        >>> import gradkit.numpy as jnp
        >>> batches = minibatches(jnp.arange(7), batch_size=5, shuffle=False)
        >>> [[rows.tolist() for rows in batches.part(i, 2)] for i in range(2)]
        [[[0, 1, 2], [5]], [[3, 4], [6]]]
        """
        if not 0 <= index < count:
            raise ValueError(f"part: index must be from 0 to below count, {count}, got {index}.")
        found = copy.copy(self)
        found._part = (index, count)
        return found

    def __iter__(self) -> Iterator[Tree]:
        rows = self._rows
        bounds = map(self.bounds, range(self._start, self._stop))
        if self._order is None and not self._shuffle:
            for begin, end in bounds:
                yield rows.between(begin, end)
            return
        order = rows.bring_to_devices(self.order())
        for begin, end in bounds:
            yield rows.gather([indices[begin:end] for indices in order])


def minibatches(
    arrays: Tree,
    batch_size: SupportsIndex,
    key: Array | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    start: int = 0,
    order: Any = None,
) -> Minibatches[Tree]:
    """Go through all rows of some arrays once, a minibatch at a time.

    Parameters
    ----------
    arrays : pytree of arrays
        Arrays of ``n`` rows each, ``(x, y)`` for example. An Array's batches are gathered on its device. A NumPy
        array is read batch by batch and its batches go to the current backend; so a `numpy.memmap` (`load_npy` with
        ``mmap=True``) may be larger than memory.
    batch_size : int
        Rows in a batch.
    key : Array, optional
        The random key of the order: the same key gives the same batches, on every backend and in every pass. Without
        it each pass takes a new key from the sequence of `gradkit.random.seed`.
    shuffle : bool
        Whether to go through the rows in random order; if not, an Array's batches are slices of it.
    drop_last : bool
        Whether to leave out the last batch where it is smaller than the others.
    start : int
        How many batches to leave out at the beginning of each pass: resumes an epoch in its midst.
    order : array of int, shape (m,), optional
        The rows to go through, in an order of one's own; then `key` and `shuffle` say nothing.

    Returns
    -------
    iterable of pytree of Array
        The batches, in the container of `arrays`, dtypes unchanged. Its length is their number.

    Raises
    ------
    ValueError
        If there are no rows, the arrays differ in their number, `batch_size` is less than 1 (or larger than the
        data, with `drop_last`), `start` is larger than the number of batches, or `order` is empty or no vector.
    TypeError
        If a leaf of `arrays` is no array, `batch_size` no integer, or `order` not of integers.
    IndexError
        If `order` has a row that is not there.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> x, y = jnp.reshape(jnp.arange(10), (5, 2)), jnp.arange(5)
    >>> for x_batch, y_batch in minibatches((x, y), batch_size=2, shuffle=False):
    ...     print(y_batch, x_batch.shape)
    [0 1] (2, 2)
    [2 3] (2, 2)
    [4] (1, 2)
    >>> len(minibatches((x, y), batch_size=2, key=gradkit.random.key(0), drop_last=True))
    2
    """
    return Minibatches(arrays, batch_size, key, shuffle, drop_last, start, order)


def sample(arrays: Tree, n: SupportsIndex, key: Array | None = None, replace: bool = False) -> Tree:
    """Take random rows of some arrays.

    Parameters
    ----------
    arrays : pytree of arrays
        Arrays with equal first axes, as for `minibatches`.
    n : int
        How many rows.
    key : Array, optional
        The random key; the same key gives the same rows on every backend. Without it, the next one of the sequence of
        `gradkit.random.seed`.
    replace : bool
        Whether a row may come more than once.

    Returns
    -------
    pytree of Array
        The rows, in the container of `arrays`: those that `gradkit.random.choice` chooses of ``arange(rows)``.

    Raises
    ------
    ValueError
        If there are no rows, the arrays differ in their number, or `n` is less than 1 or, without `replace`, larger
        than their number.
    TypeError
        If a leaf of `arrays` is no array, or `n` no integer.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> sample({"x": jnp.arange(1000)}, 3, key=gradkit.random.key(0))["x"].shape
    (3,)
    """
    rows = _Rows(arrays, "sample")
    count = _positive(n, "sample: n")
    if count > rows.n and not replace:
        raise ValueError(
            f"sample: n is {count:,}, but arrays have {rows.n:,} rows. Take {rows.n:,} at most, or pass replace=True."
        )
    chosen = random.choice(_key_or_next(key), rows.n, (count,), replace=replace)
    return rows.gather(rows.bring_to_devices(chosen))  # type: ignore[no-any-return]


def split(arrays: Tree, fraction: float, key: Array | None = None, shuffle: bool = True) -> tuple[Tree, Tree]:
    """Split the rows of some arrays into two parts, to train with and to test with.

    Parameters
    ----------
    arrays : pytree of arrays
        Arrays of ``n`` rows each, as for `minibatches`.
    fraction : float
        The part of the rows that the second part gets, between 0 and 1: ``round(n * fraction)`` of them.
    key : Array, optional
        The random key; the same key gives the same parts on every backend. Without it, the next one of the sequence
        of `gradkit.random.seed`.
    shuffle : bool
        Whether to draw the parts at random; if not, the second part is the last rows.

    Returns
    -------
    train, test : pytrees of Array
        The two parts, each in the container of `arrays`. Without `shuffle`, a `numpy.memmap` gives memmaps, and
        nothing is read; with it, its rows are read into memory.

    Raises
    ------
    ValueError
        If the arrays differ in their number of rows, or one of the parts would be empty.
    TypeError
        If a leaf of `arrays` is no array.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> train, test = split((jnp.arange(10.0), jnp.arange(10)), 0.2, key=gradkit.random.key(0))
    >>> train[0].shape, test[1].shape
    ((8,), (2,))
    """
    rows = _Rows(arrays, "split")
    if not 0 < fraction < 1:
        raise ValueError(f"split: fraction, the second part of the rows, must be between 0 and 1, got {fraction}.")
    n_train = rows.n - round(rows.n * fraction)
    if not 0 < n_train < rows.n:
        raise ValueError(
            f"split: with a fraction of {fraction} of {rows.n:,} rows, one part would be empty. Choose another "
            f"fraction, or take more rows."
        )
    if not shuffle:
        return tree.map(lambda leaf: leaf[:n_train], arrays), tree.map(lambda leaf: leaf[n_train:], arrays)
    order = rows.bring_to_devices(random.permutation(_key_or_next(key), rows.n))
    return rows.gather([i[:n_train] for i in order]), rows.gather([i[n_train:] for i in order])


def _key_or_next(key: Array | None) -> Array:
    return random.next_key() if key is None else key


def _order(order: Any, n: int) -> Array:
    """Return the rows to go through as an Array of integers from 0 to below n."""
    rows = np.asarray(order)
    if rows.dtype.kind not in "iu":
        raise TypeError(f"minibatches: order must be an array of integers, row numbers, got dtype {rows.dtype}.")
    if rows.ndim != 1 or not rows.size:
        raise ValueError(f"minibatches: order must be a vector of at least one row number, got shape {rows.shape}.")
    if rows.min() < 0 or rows.max() >= n:
        worst = rows.min() if rows.min() < 0 else rows.max()
        raise IndexError(f"minibatches: order has row {worst}, but arrays have the rows 0 to {n - 1:,}.")
    return asarray(rows)


def _positive(value: SupportsIndex, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer of 1 or more, got {value!r} of type {type(value).__name__}.")
    number = operator.index(value)
    if number < 1:
        raise ValueError(f"{name} must be 1 or more, got {number}.")
    return number


class _Rows:
    """The leaves of a pytree of arrays with equal first axes."""

    def __init__(self, arrays: Any, caller: str) -> None:
        paths, self._treedef = tree.flatten_with_path(arrays)
        if not paths:
            raise ValueError(f"{caller}: arrays is {arrays!r}, which has no array in it. Pass arrays, such as (x, y).")
        names = [f"arrays{tree.keystr(path)}" for path, _ in paths]
        self._leaves = [_source(leaf, f"{caller}: {name}") for name, (_, leaf) in zip(names, paths, strict=True)]
        self.n = len(self._leaves[0])
        for name, leaf in zip(names, self._leaves, strict=True):
            if len(leaf) != self.n:
                raise ValueError(
                    f"{caller}: {names[0]} has {self.n:,} rows, but {name} has {len(leaf):,}. Their first axes must "
                    f"be equal: one row for each example."
                )
        if self.n == 0:
            raise ValueError(f"{caller}: {names[0]} has shape {self._leaves[0].shape}, so there are no rows to take.")

    def between(self, begin: int, end: int) -> Any:
        """Return the rows from `begin` to below `end`."""
        # A slice of a memmap is still on the disk.
        return self._rebuild(lambda leaf: leaf[begin:end] if type(leaf) is Array else np.array(leaf[begin:end]))

    def bring_to_devices(self, indices: Array) -> list[Any]:
        """Bring indices to each leaf's device; return them raw, one for each leaf."""
        by_device: dict[Device | None, Any] = {}
        for leaf in self._leaves:
            device = _device(leaf)
            if device not in by_device:
                by_device[device] = host(indices) if device is None else raw(asarray(indices, device=device))
        return [by_device[_device(leaf)] for leaf in self._leaves]

    def gather(self, indices: list[Any]) -> Any:
        """Return the rows at `indices`, one raw array of them for each leaf."""
        each = iter(indices)
        return self._rebuild(
            lambda leaf: take_flat(leaf, wrap(next(each)), 0) if type(leaf) is Array else leaf.take(next(each), axis=0)
        )

    def _rebuild(self, rows: Callable[[Array | HostArray | ChosenRows], Any]) -> Any:
        parts = map(rows, self._leaves)
        return tree.unflatten(self._treedef, [part if type(part) is Array else asarray(part) for part in parts])


def _device(leaf: Array | HostArray | ChosenRows) -> Device | None:
    return leaf.device if type(leaf) is Array else None


def _source(leaf: Any, name: str) -> Array | HostArray | ChosenRows:
    """Return an Array for what is on a device, a plain NumPy array or its rows for what is on the host."""
    if isinstance(leaf, ChosenRows):
        return leaf
    if type(leaf) is not Array and backend_of(leaf) is None:
        raise TypeError(
            f"{name} is {leaf!r} of type {type(leaf).__name__}, but all leaves must be arrays. Convert lists and "
            f"numbers with gradkit.numpy.asarray."
        )
    if not leaf.shape:
        raise ValueError(f"{name} has shape (), so it has no rows. Its first axis must be that of the examples.")
    if not isinstance(leaf, np.ndarray):
        return leaf if type(leaf) is Array else wrap(leaf)
    if letter_of(leaf.dtype) not in "biufc":
        raise TypeError(f"{name} has dtype {leaf.dtype}, but batches are of numbers. Encode it as integers first.")
    return np.asarray(leaf)  # a memmap's rows are then plain arrays, and still read from the file when taken
