"""The minibatches that processes share, each its part of them."""

from __future__ import annotations

from typing import Any, SupportsIndex

from gradkit import data
from gradkit.core.array import Array
from gradkit.data import Minibatches
from gradkit.devices import device_get
from gradkit.distributed.startup import world
from gradkit.errors import TooFewExamplesError
from gradkit.tree import leaves

__all__ = ["minibatches"]


def minibatches(
    arrays: Any,
    batch_size: SupportsIndex,
    key: Array | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    start: int = 0,
) -> Minibatches[Any]:
    """Go through all rows of some arrays once, a minibatch at a time, of which each process gets its part.

    Parameters
    ----------
    arrays, batch_size, key, shuffle, drop_last, start
        As for `gradkit.data.minibatches`, and the same in all processes. `batch_size` is that of all processes
        together: the same key gives the same minibatches whatever their number. `key` is needed where there is a
        shuffle.

    Returns
    -------
    iterable of pytree of Array
        The parts of this process, which alone are read. They are in the order of the processes, and as even as they can
        be: where a minibatch is no multiple of their number, the first processes have a row more, and of a last
        minibatch with fewer rows than processes some parts are empty.

    Raises
    ------
    TooFewExamplesError
        If there are fewer rows than processes, or `batch_size` is less than their number.
    ValueError
        If `key` is missing, or what `gradkit.data.minibatches` refuses.
    DistributedError
        In all processes, if their arguments differ: who has what. The numbers in the arrays are not compared.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> [rows.tolist() for rows in minibatches(jnp.arange(5), batch_size=3, shuffle=False)]
    [[0, 1, 2], [3, 4]]
    """
    here = world()
    if here.count > 1 and key is None and shuffle:
        raise ValueError(
            f"minibatches: key is missing. {here.count} processes share each minibatch, so they need one order: give "
            f"all the same key, or shuffle=False."
        )
    whole = data.minibatches(arrays, batch_size, key, shuffle, drop_last, start)
    if here.count > 1:
        here.meet("minibatches", _told(arrays, int(batch_size), key, shuffle, drop_last, start))
    for what, number in (("batch_size is", int(batch_size)), ("arrays have rows:", _rows(arrays))):
        if number < here.count:
            raise TooFewExamplesError(
                f"minibatches: {what} {number}, but {here.count} processes share each minibatch, so some would have "
                f"nothing to do. Give {here.count} at least, or start {number} processes (mpiexec -n {number})."
            )
    return whole.part(here.index, here.count)


def _told(arrays: Any, batch_size: int, key: Array | None, shuffle: bool, drop_last: bool, start: int) -> str:
    """Say what the minibatches of an epoch are made of, which has to be the same in all processes."""
    drawn = f"key={None if key is None else device_get(key).tolist()}" if shuffle else "shuffle=False"
    return f"{_rows(arrays)} rows, batch_size={batch_size}, {drawn}, drop_last={bool(drop_last)}, start={int(start)}"


def _rows(arrays: Any) -> int:
    rows: int = next((leaf.shape[0] for leaf in leaves(arrays) if getattr(leaf, "shape", ())), 0)
    return rows
