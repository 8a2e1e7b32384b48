"""Operations across the elements of a batch that `vmap` named, or across processes (`shard_map`, `pmap`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import General, Linear
from gradkit.core.array import Array
from gradkit.core.batching import BatchTrace, same_shape
from gradkit.core.binding import bind
from gradkit.core.namespace import PRIMITIVES
from gradkit.lax import across_processes
from gradkit.primitives import concat, expand_dims, reshape, take, where
from gradkit.primitives import max as largest
from gradkit.primitives import min as smallest
from gradkit.primitives import sum as total
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import arange, asarray, zeros_like
from gradkit.processes import ProcessAxis, axes_in_scope
from gradkit.transforms.arguments import as_array
from gradkit.transforms.vectorize import axis_frame
from gradkit.tree import flatten, unflatten

__all__ = [
    "all_gather", "all_to_all", "axis_index", "axis_size", "pmax", "pmean", "pmin", "ppermute", "psum", "psum_scatter",
    "pswapaxes",
]  # fmt: skip


def _across(reduce: Callable[..., Array]) -> Any:
    """Make the rule of an operation over a batch's elements; for another batch's axis it stays to be done."""

    def rule(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Array, int | None]:
        (x,), (axis,) = values, axes
        return bind(primitive, (x,), params), axis

    rule.across = reduce  # type: ignore[attr-defined]
    return rule


class Collective:
    """What collectives share: the batch whose axis they are over runs them itself."""

    def across(self, x: Array, axis: int) -> Array:
        """Reduce over the batch's axis."""
        reduce: Callable[..., Array] = self.batch_rule.across  # type: ignore[attr-defined]
        return reduce(x, axis=axis)


class LinearCollective(Collective, Linear):
    """A sum over a batch."""


class GeneralCollective(Collective, General):
    """An extremum over a batch."""


def _sum_over(g: Any, frame: BatchTrace) -> Any:
    """Sum a cotangent over a batch; a raw one is the same for every element."""
    return bind(PRIMITIVES["psum"], (g,), {"frame": frame}) if type(g) is Array else g * frame.size


_psum = LinearCollective(
    "psum",
    lambda xp, x, *, frame: x * frame.size,
    (lambda xp, g, _x, *, frame: _sum_over(g, frame),),
    batch=_across(total),
    shape=same_shape,
    leaf=True,
)


def _pull_extremum(xp: Any, g: Any, y: Any, x: Any, *, frame: BatchTrace) -> Any:
    # Equal ones share the gradient, as along an axis of an array.
    chosen = xp.astype(x == y, x.dtype)
    return chosen * (_sum_over(g, frame) / _sum_over(chosen, frame))


def _push_extremum(xp: Any, tangents: Any, y: Any, x: Any, *, frame: BatchTrace) -> Any:
    chosen = xp.astype(x == y, x.dtype)
    return _sum_over(chosen * tangents[0], frame) / _sum_over(chosen, frame)


_pmax, _pmin = (
    GeneralCollective(
        name,
        lambda xp, x, *, frame: x,
        (_pull_extremum,),
        _push_extremum,
        batch=_across(reduce),
        shape=same_shape,
        leaf=True,
    )
    for name, reduce in (("pmax", largest), ("pmin", smallest))
)


OF_PROCESSES = {"psum": across_processes.sums, "pmax": across_processes.maxima, "pmin": across_processes.minima}
Axis = BatchTrace | ProcessAxis


def _frames(axis_name: Any) -> list[Axis]:
    names = axis_name if isinstance(axis_name, tuple | list) else (axis_name,)
    return [_axis(name) for name in names]


def _axis(name: Any) -> Axis:
    """Return the innermost batch of that name, or else the axis of processes."""
    known = axes_in_scope()
    if name not in known:
        return axis_frame(name)
    try:
        return axis_frame(name)
    except NameError:
        return known[name]


def _position(frame: Axis, device: Any = None) -> Array:
    """Return the position of this element of a batch, or of this process."""
    if isinstance(frame, ProcessAxis):
        return asarray(frame.world.index, device=device)
    return frame.wrap(arange(frame.size, device=device), 0)


def _summed(x: Array, frame: Axis) -> Array:
    if isinstance(frame, ProcessAxis):
        return bind(across_processes.sums, (x,), {"axis": frame})
    return bind(_psum, (x,), {"frame": frame})


def _over(primitive: Any, x: Any, axis_name: Any) -> Any:
    frames = _frames(axis_name)
    leaves, treedef = flatten(x)
    results = []
    for leaf in leaves:
        array = as_array(leaf)
        for frame in frames:
            if isinstance(frame, ProcessAxis):
                array = bind(OF_PROCESSES[primitive.name], (array,), {"axis": frame})
            else:
                array = bind(primitive, (array,), {"frame": frame})
        results.append(array)
    return unflatten(treedef, results)


def psum(x: Any, axis_name: Any, *, axis_index_groups: None = None) -> Any:
    """Sum over the elements of a batch.

    Parameters
    ----------
    x : pytree of arrays
        What to sum.
    axis_name : hashable or tuple of them
        The names of the axes, given to `vmap` as ``axis_name``.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.vmap(lambda x: x / gradkit.lax.psum(x, "i"), axis_name="i")(jnp.asarray([1.0, 3.0]))
    Array([0.25, 0.75], dtype=float32)
    """
    _no_groups(axis_index_groups, "psum")
    if isinstance(x, int | float) and not isinstance(x, bool):
        # A constant: the number of elements, as a Python number, as in JAX.
        for frame in _frames(axis_name):
            x = x * frame.size
        return x
    return _over(_psum, x, axis_name)


def pmean(x: Any, axis_name: Any, *, axis_index_groups: None = None) -> Any:
    """Average over the elements of a batch; see `psum`."""
    count = psum(1, axis_name, axis_index_groups=axis_index_groups)
    leaves, treedef = flatten(x)
    return unflatten(treedef, [psum(as_array(leaf), axis_name) / count for leaf in leaves])


def pmax(x: Any, axis_name: Any, *, axis_index_groups: None = None) -> Any:
    """Return the largest over the elements of a batch; see `psum`. Equal ones share its derivative, as in `max`.

    JAX has no derivative of it.
    """
    _no_groups(axis_index_groups, "pmax")
    return _over(_pmax, x, axis_name)


def pmin(x: Any, axis_name: Any, *, axis_index_groups: None = None) -> Any:
    """Return the smallest over the elements of a batch; see `pmax`."""
    _no_groups(axis_index_groups, "pmin")
    return _over(_pmin, x, axis_name)


def axis_index(axis_name: Any) -> Array:
    """Return the position in the batch."""
    return _position(_axis(axis_name))


def axis_size(axis_name: Any) -> int:
    """Return the number of elements of a batch."""
    return _axis(axis_name).size


def all_gather(x: Any, axis_name: Any, *, axis: int = 0, tiled: bool = False) -> Any:
    """Return, for every element of a batch, the values of all, stacked along a new axis (`tiled`: joined along it)."""
    frame = _axis(axis_name)
    leaves, treedef = flatten(x)
    return unflatten(treedef, [_gather(as_array(leaf), frame, axis, tiled) for leaf in leaves])


def _gather(x: Array, frame: Axis, axis: int, tiled: bool) -> Array:
    if isinstance(frame, ProcessAxis):
        gathered = bind(across_processes.gather, (x,), {"axis": frame})
    else:
        # A sum of one-hot rows: linear, so derivatives and other batches follow from psum's.
        position = _position(frame, x.device)
        numbers = reshape(arange(frame.size, device=x.device), (frame.size, *(1,) * x.ndim))
        row = expand_dims(x, axis=0)
        gathered = _summed(where(numbers == position, row, zeros_like(row)), frame)
    moved = moveaxis(gathered, 0, axis)
    if not tiled:
        return moved
    shape = x.shape
    return reshape(moved, (*shape[:axis], frame.size * shape[axis], *shape[axis + 1 :]))


def all_to_all(
    x: Any, axis_name: Any, split_axis: int, concat_axis: int, *, axis_index_groups: None = None, tiled: bool = False
) -> Any:
    """Exchange parts between the elements of a batch: the i-th gets the i-th part of each.

    Parameters
    ----------
    x : pytree of arrays
        What to divide.
    axis_name : hashable
        The name of the batch's axis.
    split_axis : int
        The axis that is divided. Its size is the batch's; with `tiled` a multiple of it.
    concat_axis : int
        Where the parts are stacked along a new axis; with `tiled`, joined along this one.
    axis_index_groups : None
        Not supported under `vmap`.
    tiled : bool
        Whether the axes stay.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.vmap(lambda x: gradkit.lax.all_to_all(x, "i", 0, 0), axis_name="i")(jnp.asarray([[1, 2], [3, 4]]))
    Array([[1, 3],
           [2, 4]], dtype=int32)
    """
    _no_groups(axis_index_groups, "all_to_all")
    frame = _axis(axis_name)
    leaves, treedef = flatten(x)
    return unflatten(treedef, [_exchange(as_array(leaf), frame, split_axis, concat_axis, tiled) for leaf in leaves])


def pswapaxes(x: Any, axis_name: Any, axis: int, *, axis_index_groups: None = None) -> Any:
    """Swap the axis of a batch with one of an array, of the same size; see `all_to_all`."""
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)


def psum_scatter(
    x: Any, axis_name: Any, *, scatter_dimension: int = 0, axis_index_groups: None = None, tiled: bool = False
) -> Any:
    """Sum over the elements of a batch, and give each of them its part of the sum.

    Parameters
    ----------
    x : pytree of arrays
        What to sum.
    axis_name : hashable
        The name of the batch's axis.
    scatter_dimension : int
        The axis that is divided, and goes. Its size is the batch's; with `tiled` a multiple of it, and it stays.
    axis_index_groups : None
        Not supported under `vmap`.
    tiled : bool
        Whether the axis stays.
    """
    _no_groups(axis_index_groups, "psum_scatter")
    frame = _axis(axis_name)
    leaves, treedef = flatten(x)
    parts = [_sum_part(as_array(leaf), frame, scatter_dimension, tiled) for leaf in leaves]
    return unflatten(treedef, parts)


def _sum_part(x: Array, frame: Axis, axis: int, tiled: bool) -> Array:
    if not isinstance(frame, ProcessAxis):
        return _own_part(_summed(x, frame), frame, axis, "psum_scatter", tiled)
    stacked = moveaxis(_divided(x, frame, axis, "psum_scatter", tiled), axis % x.ndim, 0)
    part = bind(across_processes.sum_and_scatter, (stacked,), {"axis": frame})
    return part if tiled else _without(part, axis % x.ndim)


def _exchange(x: Array, frame: Axis, split_axis: int, concat_axis: int, tiled: bool) -> Array:
    split, joined = split_axis % x.ndim, concat_axis % x.ndim
    if isinstance(frame, ProcessAxis):
        stacked = moveaxis(_divided(x, frame, split, "all_to_all", tiled), split, 0)
        parts = bind(across_processes.exchange, (stacked,), {"axis": frame})
        if tiled:
            return concat([parts[i] for i in range(frame.size)], axis=joined)
        return moveaxis(_without(parts, split + 1), 0, joined)
    parts = _own_part(_gather(x, frame, 0, tiled=False), frame, split + 1, "all_to_all", tiled)
    if tiled:
        return concat([parts[i] for i in range(frame.size)], axis=joined)
    return moveaxis(parts, 0, joined)


def _without(x: Array, axis: int) -> Array:
    """Return an array without an axis of size 1."""
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :]))


def _divided(x: Array, frame: Axis, axis: int, name: str, tiled: bool) -> Array:
    """Return an array one of whose axes is two: the parts, and what is in each."""
    axis %= x.ndim
    size = x.shape[axis]
    if size % frame.size if tiled else size != frame.size:
        what = "a multiple of" if tiled else "equal to"
        raise ValueError(
            f"{name}: the size of the axis to divide, {size}, must be {what} that of the batch, {frame.size}"
        )
    shape = x.shape
    return reshape(x, (*shape[:axis], frame.size, size // frame.size, *shape[axis + 1 :]))


def _own_part(x: Array, frame: Axis, axis: int, name: str, tiled: bool) -> Array:
    """Return the part of an axis that has the position of the element in its batch."""
    axis %= x.ndim
    own = take(_divided(x, frame, axis, name, tiled), _position(frame, x.device), axis=axis)
    return own if tiled else _without(own, axis)


def ppermute(x: Any, axis_name: Any, perm: Sequence[tuple[int, int]]) -> Any:
    """Send values between elements of a batch, by pairs (from, to); what is sent nothing gets zeros."""
    frame = _axis(axis_name)
    leaves, treedef = flatten(x)
    if isinstance(frame, ProcessAxis):
        params = {"axis": frame, "perm": _checked(perm, frame.size)}
        return unflatten(treedef, [bind(across_processes.send, (as_array(leaf),), params) for leaf in leaves])
    sources = {target: source for source, target in perm}
    index = frame.wrap(asarray([sources.get(i, 0) for i in range(frame.size)]), 0)
    known = frame.wrap(asarray([i in sources for i in range(frame.size)]), 0)
    results = []
    for leaf in leaves:
        taken = take(_gather(as_array(leaf), frame, 0, tiled=False), index, axis=0)
        results.append(where(known, taken, zeros_like(taken)))
    return unflatten(treedef, results)


def _checked(perm: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs, or raise as JAX does where they are none between processes, or one stands twice."""
    pairs = tuple((int(source), int(target)) for source, target in perm)
    for what, numbers in (("sources", [s for s, _ in pairs]), ("destinations", [t for _, t in pairs])):
        if len(set(numbers)) != len(numbers) or any(not 0 <= number < size for number in numbers):
            raise ValueError(
                f"ppermute: the {what} of perm must be different numbers from 0 to {size - 1}, got {numbers}."
            )
    return pairs


def _no_groups(groups: Any, name: str) -> None:
    if groups is not None:
        raise NotImplementedError(f"{name}: axis_index_groups is not supported under vmap, as in JAX")
