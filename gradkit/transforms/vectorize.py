"""`vmap`: a function of one element, run on a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gradkit.core.array import Array
from gradkit.core.assignment import keeping_arguments
from gradkit.core.batching import BatchTrace, moved_to_front
from gradkit.primitives import broadcast_to, permute_dims
from gradkit.processes import axes_in_scope
from gradkit.transforms.arguments import (
    array_among,
    as_array,
    as_array_leaf,
    check_callable,
    named_like,
    node_at,
    without_tape,
)
from gradkit.transforms.float0 import is_float0, zeros_of_float0
from gradkit.tree import broadcast_prefix, flatten, keystr, leaves_with_path, structure, unflatten

__all__ = ["axis_frame", "noting_axes", "vmap"]

_axes: ContextVar[tuple[BatchTrace, ...]] = ContextVar("gradkit_axes", default=())


_consulted: ContextVar[tuple[set[BatchTrace], ...]] = ContextVar("gradkit_consulted_axes", default=())


@contextmanager
def noting_axes() -> Iterator[set[BatchTrace]]:
    """Note the batches that are asked for by name inside a ``with`` block: what is captured there depends on them."""
    found: set[BatchTrace] = set()
    token = _consulted.set((*_consulted.get(), found))
    try:
        yield found
    finally:
        _consulted.reset(token)


@contextmanager
def named_axis(trace: BatchTrace) -> Iterator[None]:
    """Let `axis_frame` find a batch by its axis's name, inside a ``with`` block."""
    token = _axes.set((*_axes.get(), trace))
    try:
        yield
    finally:
        _axes.reset(token)


def axis_frame(name: Any) -> BatchTrace:
    """Return the innermost `vmap` in progress whose axis has that name."""
    for trace in reversed(_axes.get()):
        if trace.name == name:
            for consulted in _consulted.get():
                consulted.add(trace)
            return trace
    raise NameError(f"unbound axis name: {name}. The following axis names are available: {_names()}")


def _names() -> list[Any]:
    return [*axes_in_scope(), *(trace.name for trace in _axes.get())]


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
) -> Callable[..., Any]:
    """Make the function that applies `fun` to every element of a batch.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    in_axes : int, None, or a tree of them
        Which axis of each positional argument is the batch: one number for all, or a tuple or list with an entry per
        argument, each a number, None (the same value for every element), or a tree that is a prefix of the argument's.
        Arguments given by keyword are always batched along their first axis.
    out_axes : int, None, or a tree of them
        Where the batch's axis goes in the result; None for what is the same for every element.
    axis_name : hashable, optional
        A name for the axis, for `lax.psum` and its relatives.
    axis_size : int, optional
        The number of elements; needed where no argument is batched.
    spmd_axis_name : hashable, optional
        Accepted, and without a meaning here.

    Returns
    -------
    callable
        Takes batches of what `fun` takes.

    Raises
    ------
    ValueError
        By the returned function: if `in_axes` does not fit the arguments, or sizes of the batch differ.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.vmap(jnp.dot)(jnp.ones((3, 2)), jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    Array([ 3.,  7., 11.], dtype=float32)
    """
    check_callable(fun)
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not (in_axes is None or type(in_axes) in (int, tuple) or isinstance(in_axes, int)):
        raise TypeError(
            f"vmap in_axes must be an int, None, or a tuple of entries corresponding to the positional arguments "
            f"passed to the function, but got {in_axes}."
        )
    _check_axes("in_axes", in_axes)
    _check_axes("out_axes", out_axes)

    @named_like(fun)
    def batched(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ValueError(
                f"vmap in_axes must be an int, None, or a tuple of entries corresponding to the positional arguments "
                f"passed to the function, but got {len(in_axes)=}, {len(args)=}"
            )
        leaves, treedef = flatten((args, kwargs))
        axes = _flat_axes("in_axes", in_axes, args) + [0] * len(flatten(kwargs)[0])
        arrays = [
            leaf if axis is None else without_tape(as_array_leaf(leaf, (args, kwargs)))
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        axes = [_normal_axis(array, axis) for array, axis in zip(arrays, axes, strict=True)]
        trace = BatchTrace(_size(arrays, axes, axis_size, args, kwargs), axis_name)
        inputs = [trace.wrap(array, axis) for array, axis in zip(arrays, axes, strict=True)]
        with named_axis(trace):
            try:
                new_args, new_kwargs = unflatten(treedef, inputs)
                result = keeping_arguments(fun)(*new_args, **new_kwargs)
            finally:
                trace.end()
        outputs, out_tree = flatten(result)
        like = None if all(type(output) is Array for output in outputs) else array_among(arrays)
        out_axes_of_leaves = _flat_axes("out_axes", out_axes, result)
        return unflatten(
            out_tree,
            [
                _output_of_float0(trace, output, axis)
                if is_float0(output)
                else _output(trace, as_array(output, like), axis)
                for output, axis in zip(outputs, out_axes_of_leaves, strict=True)
            ],
        )

    return batched


def _check_axes(name: str, axes: Any) -> None:
    leaves = flatten(axes)[0]
    if any(not isinstance(leaf, int) or isinstance(leaf, bool) for leaf in leaves):
        raise TypeError(
            f"vmap {name} must be an int, None, or (nested) container with those types as leaves, got {axes}."
        )


def _flat_axes(name: str, axes: Any, tree: Any) -> list[int | None]:
    """Return an axis for each leaf of a tree, of a tree of axes that is its prefix."""
    try:
        return list(broadcast_prefix(axes, tree))
    except ValueError as error:
        what = "corresponding value" if name == "in_axes" else "function's result"
        raise ValueError(
            f"vmap {name} specification must be a tree prefix of the {what}, got specification {axes} for value tree "
            f"{structure(tree)}."
        ) from error


def _normal_axis(array: Any, axis: int | None) -> int | None:
    if axis is None:
        return None
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"vmap was requested to map its argument along axis {axis}, which implies that its rank should be at least "
            f"{axis + 1 if axis >= 0 else -axis}, but is only {array.ndim} (its shape is {array.shape})"
        )
    return int(axis % array.ndim)


def _size(arrays: Sequence[Any], axes: Sequence[int | None], given: int | None, args: Any, kwargs: Any) -> int:
    sizes = [array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None]
    if given is not None:
        sizes.append(given)
    if not sizes:
        if not arrays:
            raise ValueError(
                "vmap wrapped function must be passed at least one argument containing an array or axis_size must be "
                f"specified, got {args=} and {kwargs=}"
            )
        raise ValueError("vmap must have at least one non-None value in in_axes, or axis_size given")
    if len(set(sizes)) > 1:
        found = [
            f"  * argument{keystr(path)} has shape {array.shape}, mapped along axis {axis} of size {array.shape[axis]}"
            for (path, _), array, axis in zip(leaves_with_path((args, kwargs)), arrays, axes, strict=True)
            if axis is not None
        ]
        extra = [] if given is None else [f"  * axis_size is {given}"]
        raise ValueError("vmap got inconsistent sizes for array axes to be mapped:\n" + "\n".join([*found, *extra]))
    return int(sizes[0])


def _output_of_float0(trace: BatchTrace, output: Any, out_axis: int | None) -> Any:
    """Return cotangents of whole numbers, which are the same for every element, with the batch's axis."""
    if out_axis is None:
        return output
    sizes = list(output.shape)
    sizes.insert(out_axis % (len(sizes) + 1), trace.size)
    return zeros_of_float0(tuple(sizes))


def _output(trace: BatchTrace, output: Array, out_axis: int | None) -> Array:
    """Return a result as the levels below see it, with the batch's axis at `out_axis`."""
    if node_at(output, trace) is None:
        if out_axis is None:
            return output
        front = broadcast_to(output, (trace.size, *output.shape))
        axis = 0
    else:
        stand_in = output._value
        if out_axis is None:
            raise ValueError(
                "vmap has mapped output but out_axes is None: the result is not the same for every element of the batch"
            )
        front, axis = stand_in.array, stand_in.axis
    if not -front.ndim <= out_axis < front.ndim:
        raise ValueError(f"vmap out_axes: axis {out_axis} is out of bounds for a result of {front.ndim} dimensions")
    out_axis %= front.ndim
    if axis == out_axis:
        return front
    front = moved_to_front(front, axis)
    order = tuple(range(1, front.ndim))
    return permute_dims(front, (*order[:out_axis], 0, *order[out_axis:]))
