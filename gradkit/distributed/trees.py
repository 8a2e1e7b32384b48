"""Collectives on trees of arrays, with nothing recorded: what a program does between its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from gradkit.backend import Backend, HostMemory
from gradkit.core.array import Array, backend_of_array, wrap
from gradkit.core.operands import dtype_name
from gradkit.core.values import values_of
from gradkit.distributed.startup import world
from gradkit.errors import ConcretizationTypeError, ShapeError, unknown_name
from gradkit.numpy import asarray
from gradkit.processes import OrderedSum, World, sum_of_all
from gradkit.tree import flatten, keystr, leaves_with_path, unflatten

__all__ = ["all_gather", "all_reduce", "broadcast", "reduce_scatter"]

Combine = Callable[[Any], Any]


def _mean(backend: Backend) -> Combine:
    added = sum_of_all(backend)
    return lambda values: added(values) / values.shape[0]


def _by(name: str) -> Callable[[Backend], Combine]:
    return lambda backend: lambda values: getattr(backend.xp, name)(values, axis=0)


OPERATIONS: dict[str, Callable[[Backend], Combine]] = {
    "max": _by("max"),
    "mean": _mean,
    "min": _by("min"),
    "sum": sum_of_all,
}
"""What `all_reduce` does along the axis of the processes."""


INSIDE = {
    "all_gather": "gradkit.lax.all_gather",
    "all_reduce": "gradkit.lax.psum, pmean, pmax or pmin",
    "broadcast": "a part of gradkit.lax.all_gather",
    "reduce_scatter": "gradkit.lax.psum_scatter",
}
"""What does the same where a transform follows the arrays."""


def broadcast(tree: Any, source: int = 0) -> Any:
    """Return a tree of arrays of one process, in all of them.

    Parameters
    ----------
    tree : pytree of arrays
        In every process, of the same structure, shapes and dtypes; the values are those of process `source`.
    source : int
        The number of the process.

    Returns
    -------
    pytree of Array
        On the backend and device of this process's arrays.

    Raises
    ------
    ValueError
        If there is no such process.
    DistributedError
        If the trees of the processes differ: who has what.

    Examples
    --------
    >>> import gradkit
    >>> model = gradkit.distributed.broadcast(gradkit.nn.MLP(2, [3]))  # process 0's, drawn without a key
    """
    here = world()
    if isinstance(source, bool) or not isinstance(source, int) or not 0 <= source < here.count:
        raise ValueError(
            f"broadcast: source must be the number of a process, from 0 to {here.count - 1}, got {source!r}."
        )
    return _each_bundle(
        "broadcast",
        tree,
        here,
        f"from process {source}, ",
        lambda flat, backend: here.transport(backend, "calls").broadcast(flat, source, "broadcast").result(),
    )


def all_reduce(tree: Any, op: str = "sum") -> Any:
    """Combine the arrays of all processes, element by element.

    Parameters
    ----------
    tree : pytree of arrays
        In every process, of the same structure, shapes and dtypes.
    op : "sum", "mean", "max" or "min"
        What is done. Sums are added in the order of the processes, so they are the same in all processes, and in each
        run of as many, to the last bit.

    Returns
    -------
    pytree of Array
        The same in all processes, of the dtypes of `tree` (a mean of integers is one of floating numbers).

    Raises
    ------
    ValueError
        If there is no such operation.
    DistributedError
        If the trees of the processes differ: who has what.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> all_reduce({"loss": jnp.asarray(2.0)})
    {'loss': Array(2., dtype=float32)}
    """
    if op not in OPERATIONS:
        raise unknown_name("op", op, OPERATIONS)
    here = world()

    def reduced(flat: Any, backend: Backend) -> Any:
        transport = here.transport(backend, "calls")
        return OrderedSum(flat, backend, transport, here.count, "all_reduce", OPERATIONS[op](backend)).result()

    if op == "mean":
        tree = unflatten(flatten(tree)[1], [_floating(asarray(leaf)) for leaf in flatten(tree)[0]])
    return _each_bundle("all_reduce", tree, here, f"{op} of ", reduced)


def all_gather(tree: Any) -> Any:
    """Return the arrays of all processes, stacked along a new first axis in the order of the processes.

    Parameters
    ----------
    tree : pytree of arrays
        In every process, of the same structure, shapes and dtypes.

    Returns
    -------
    pytree of Array, each of shape (process_count(), ...)

    Raises
    ------
    DistributedError
        If the trees of the processes differ: who has what.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> all_gather(jnp.asarray([1.0, 2.0]))
    Array([[1., 2.]], dtype=float32)
    """
    here = world()
    return _each_bundle(
        "all_gather",
        tree,
        here,
        "",
        lambda flat, backend: here.transport(backend, "calls").collect(flat, "all_gather").result(),
        stacked=True,
    )


def reduce_scatter(tree: Any, op: str = "sum") -> Any:
    """Combine the arrays of all processes, and give each process its part of the result.

    Parameters
    ----------
    tree : pytree of arrays
        In every process, of the same structure, shapes and dtypes. The first axes are divided between the processes, so
        their sizes must be multiples of `process_count()`.
    op : "sum", "mean", "max" or "min"
        As for `all_reduce`.

    Returns
    -------
    pytree of Array, each of shape (size / process_count(), ...)

    Raises
    ------
    ShapeError
        If a first axis cannot be divided evenly.
    DistributedError
        If the trees of the processes differ: who has what.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> reduce_scatter(jnp.asarray([1.0, 2.0]))
    Array([1., 2.], dtype=float32)
    """
    if op not in OPERATIONS:
        raise unknown_name("op", op, OPERATIONS)
    here = world()
    for path, leaf in leaves_with_path(tree):
        shape = tuple(asarray(leaf).shape)
        if not shape or shape[0] % here.count:
            raise ShapeError(
                f"reduce_scatter: tree{keystr(path)} has shape {shape}, and its first axis must be divided between "
                f"{here.count} processes. Give a size that is a multiple of {here.count}."
            )
    leaves, treedef = flatten(tree)
    arrays = [asarray(leaf) for leaf in leaves]
    if op == "mean":
        arrays = [_floating(array) for array in arrays]
    here.meet("reduce_scatter", f"{op} of {described(tree, arrays)}")
    results = []
    for array in arrays:
        backend = backend_of_array(array)
        value = _raw(array, "reduce_scatter")
        shape = (value.shape[0] // here.count, *value.shape[1:])
        if here.count > 1:
            parts = backend.xp.reshape(value, (here.count, prod(shape)))
            moved = here.transport(backend, "calls").exchange(parts, "reduce_scatter").result()
            value = backend.xp.reshape(OPERATIONS[op](backend)(moved), shape)
        results.append(wrap(value))
    return unflatten(treedef, results)


def _each_bundle(
    call: str,
    tree: Any,
    here: World,
    what: str,
    move: Callable[[Any, Backend], Any],
    stacked: bool = False,
) -> Any:
    """Move the leaves of a tree, those of one dtype and place together."""
    leaves, treedef = flatten(tree)
    arrays = [asarray(leaf) for leaf in leaves]
    values = [_raw(array, call) for array in arrays]
    here.meet(call, what + described(tree, arrays))
    lead = (here.count,) if stacked else ()
    results: list[Any] = [None] * len(arrays)
    bundles: dict[Any, list[int]] = {}
    for i, array in enumerate(arrays):
        bundles.setdefault((backend_of_array(array).name, str(array.device), dtype_name(array)), []).append(i)
    for positions in bundles.values():
        backend = backend_of_array(arrays[positions[0]])
        xp = backend.xp
        if here.count == 1:
            for i in positions:
                results[i] = wrap(xp.reshape(values[i], (*lead, *values[i].shape)))
            continue
        flat = [xp.reshape(values[i], (-1,)) for i in positions]
        moved = move(xp.concat(flat) if len(flat) > 1 else flat[0], backend)
        begin = 0
        for i in positions:
            end = begin + arrays[i].size
            results[i] = wrap(xp.reshape(moved[..., begin:end], (*lead, *arrays[i].shape)))
            begin = end
    return unflatten(treedef, results)


def _raw(array: Array, call: str) -> Any:
    backend = backend_of_array(array)
    if not backend.has_axes:
        raise TypeError(
            f"{call}: the arrays of the backend {backend.name!r} are single numbers, which do not travel between "
            f"processes. Make them on another backend."
        )
    try:
        return values_of(array, f"distributed.{call}")
    except ConcretizationTypeError as error:
        raise ConcretizationTypeError(
            f"{error}\ndistributed.{call} moves values between the steps of a program. Inside of a function that is "
            f"transformed, use {INSIDE[call]} under gradkit.distributed.shard_map."
        ) from None


def _floating(array: Array) -> Array:
    return array if array.dtype.kind in "fcV" else array.astype("float32")


def described(tree: Any, arrays: Sequence[Array]) -> str:
    """Say what a tree is like, so that two can be told apart."""
    paths = [keystr(path) for path, _ in leaves_with_path(tree)]
    places = [(backend_of_array(array), str(array.device)) for array in arrays]
    # Those of one place travel together, whatever it is called: of two processes' GPUs each has its own number.
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    on = [f" on {place[0].name}, place {numbers[place]}" if len(numbers) > 1 else "" for place in places]
    listed = (f"{p or 'array'} {dtype_name(a)}{list(a.shape)}{at}" for p, a, at in zip(paths, arrays, on, strict=True))
    ways = ways_to_travel(arrays)
    return (", ".join(listed) or "no arrays") + (f", by {ways}" if ways else "")


def ways_to_travel(arrays: Sequence[Array]) -> str:
    """Say by what arrays travel that do not by MPI on the host's memory, which is one for all backends that do."""
    backends = {backend_of_array(array) for array in arrays}
    others = (backend for backend in backends if not isinstance(backend.message_memory(), HostMemory))
    return ", ".join(sorted({backend.travel() for backend in others}))
