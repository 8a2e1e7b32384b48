"""`vmap`'s trace, and how the families of primitives run on whole batches.

A batching rule is ``rule(primitive, values, axes, size, params) -> (result, axis)``: `values` are the arguments with
the batch's axis where they have one, `axes` says which that is (None: the same value for every element), `size` is the
number of elements. It binds the primitive again, one level lower.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gradkit.core.above import above
from gradkit.core.array import Array, wrap
from gradkit.core.binding import bind
from gradkit.core.namespace import as_bound, bound
from gradkit.core.node import NO_PARAMS, Node, Trace
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import PYTHON_NUMBERS
from gradkit.core.stand_in import Batched

if TYPE_CHECKING:
    from gradkit.core.graph import HigherOrder

__all__ = [
    "BatchTrace", "Gating", "aligned", "along_axes", "broadcast_shape", "broadcast_sizes", "broadcasting_leading",
    "composed", "elementwise", "leading", "moved_to_front", "one_by_one", "reduction", "same_shape", "text_on_batches",
    "with_shape",
]  # fmt: skip

Axes = Sequence[int | None]
Params = Mapping[str, Any]


class Gating(Protocol):
    """What the arguments of a batch's operations go through (`lax.gates`)."""

    def __call__(self, array: Any) -> Any:
        """Return an argument as the operation is to see it."""

    def copy(self, before: int, again: Sequence[tuple[int, Any]] = (), copies: dict[Any, Any] | None = None) -> Gating:
        """Return one that knows what it has made before a position in the order of making.

        `again` has arrays that stand for others from then, each with the identity of the one that it stands for. What
        it goes on to is copied with it; `copies` has what has been copied together with it.
        """


class BatchTrace(Trace):
    """`vmap` at one level.

    Attributes
    ----------
    size : int
        The number of elements in the batch.
    name : hashable
        The axis's name, for `lax.psum` and its relatives.
    gate : Gating or None
        What the arguments of each operation go through, while a branch runs that some elements alone choose.
    """

    __slots__ = ("gate", "name", "node", "size")

    def __init__(self, size: int, name: Any = None) -> None:
        super().__init__()
        self.size = size
        self.name = name
        self.gate: Gating | None = None
        self.node = Node(self, (), None, None, (), None, NO_PARAMS, False)

    def wrap(self, array: Array, axis: int | None) -> Array:
        """Return one element of the batch, as the function under `vmap` sees it."""
        return array if axis is None else wrap(Batched(array, axis), self.node)

    def process(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        """Run the operation on the whole batch, one level lower."""
        values, axes = self.unwrap(args)
        if params.get("frame") is self:  # an operation across this batch's elements
            return primitive.across(values[0], axes[0])  # type: ignore[attr-defined]
        if self.size:
            out, axis = primitive.batch(values, axes, self.size, params)
        else:
            # Nothing is computed: a batching rule may fold the batch into another axis, whose size 0 then hides.
            out, axis = _empty(primitive, values, axes, params)
        if primitive.multiple_results:
            axes_of_results = axis if isinstance(axis, tuple) else (axis,) * len(out)
            return tuple(self.wrap(o, a) for o, a in zip(out, axes_of_results, strict=True))
        return self.wrap(out, axis)

    def call(self, operation: HigherOrder, args: list[Any], params: Mapping[str, Any]) -> list[Any]:
        """Ask the operation."""
        return operation.in_batch(self, args, **params)

    def unwrap(self, args: Sequence[Any]) -> tuple[list[Any], list[int | None]]:
        """Return whole arrays, and where the batch's axis is in each."""
        values: list[Any] = []
        axes: list[int | None] = []
        if self.gate is not None:
            args = [self.gate(arg) for arg in args]
        for arg in args:
            if type(arg) is Array and arg._node is not None and arg._node.trace is self:
                values.append(arg._value.array)
                axes.append(arg._value.axis)
            else:
                # Reverse mode hands down what it saves: raw arrays, whose axes count as those of Arrays do.
                values.append(arg if type(arg) in PYTHON_NUMBERS else as_bound(arg))
                axes.append(None)
        return values, axes


def moved_to_front(x: Array, axis: int) -> Array:
    """Return an array whose axis `axis` is the first."""
    if axis == 0:
        return x
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    return bound().permute_dims(x, order)  # type: ignore[no-any-return]


def at_front(x: Any, axis: int | None, size: int) -> Any:
    """Return an array whose first axis is the batch, repeated where it had none."""
    if axis is None:
        return bound().broadcast_to(x, (size, *x.shape))
    return moved_to_front(x, axis)


def elementwise(primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, int]:
    """Run an operation whose arguments broadcast: the batch comes first, and axes are added behind it to fit."""
    ranks = [0 if type(v) is not Array else v.ndim - (a is not None) for v, a in zip(values, axes, strict=True)]
    rank = max(ranks)
    found = {axis for axis in axes if axis is not None}
    if len(found) == 1 and all(r == rank if a is not None else r == 0 for r, a in zip(ranks, axes, strict=True)):
        return bind(primitive, values, params), found.pop()
    return bind(primitive, [aligned(v, a, rank) for v, a in zip(values, axes, strict=True)], params), 0


def aligned(x: Any, axis: int | None, rank: int) -> Any:
    """Return an array with the batch's axis first, and axes of size 1 behind it up to `rank` axes besides it."""
    if axis is None:
        return x
    front = moved_to_front(x, axis)
    missing = rank + 1 - front.ndim
    return bound().reshape(front, (front.shape[0], *(1,) * missing, *front.shape[1:])) if missing else front


def broadcast_shape(*args: Any, **_: Any) -> tuple[int, ...]:
    """Return the shape to which arguments broadcast."""
    return broadcast_sizes([arg.shape for arg in args if type(arg) is Array])


def broadcast_sizes(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape to which shapes that are known to fit broadcast."""
    longest = max(map(len, shapes))
    padded = [(1,) * (longest - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True))


def same_shape(x: Any, *_: Any, **__: Any) -> tuple[int, ...]:
    """Return the shape of the first argument."""
    return tuple(x.shape)


def leading(primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, int]:
    """Run an operation on the last axes of its arguments, which takes any leading ones as a batch itself."""
    if len(values) == 1 and axes[0] is not None:
        return bind(primitive, [moved_to_front(values[0], axes[0])], params), 0
    return bind(primitive, [at_front(v, a, size) for v, a in zip(values, axes, strict=True)], params), 0


def broadcasting_leading(
    primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params
) -> tuple[Any, int]:
    """Do as `leading` does for arguments whose leading axes broadcast against each other (`matmul`)."""
    rank = max(v.ndim - (a is not None) for v, a in zip(values, axes, strict=True))
    return bind(primitive, [aligned(v, a, rank) for v, a in zip(values, axes, strict=True)], params), 0


def reduction(primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, int]:
    """Reduce over ``axis``, a sorted tuple, with ``keepdims``."""
    (x,), (batch,) = values, axes
    assert batch is not None
    shifted = tuple(a + (a >= batch) for a in params["axis"])
    out_axis = batch if params.get("keepdims") else batch - sum(a < batch for a in shifted)
    return bind(primitive, (x,), {**params, "axis": shifted}), out_axis


def along_axes(primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, int]:
    """Run an operation along ``axis``, a number or a tuple, none negative, that keeps the axes where they are."""
    axis = params["axis"]
    if len(values) == 1 and axes[0] is not None:
        batch = axes[0]
    else:
        values, batch = [at_front(v, a, size) for v, a in zip(values, axes, strict=True)], 0
    shifted = axis + (axis >= batch) if isinstance(axis, int) else tuple(a + (a >= batch) for a in axis)
    return bind(primitive, values, {**params, "axis": shifted}), batch


def with_shape(primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, int]:
    """Run an operation of one argument whose parameter ``shape`` is that of the result."""
    front = at_front(values[0], axes[0], size)
    return bind(primitive, (front,), {**params, "shape": (size, *params["shape"])}), 0


def composed(function: Callable[..., Array]) -> Callable[..., tuple[Any, Any]]:
    """Make the rule of a primitive that is, on batches, better computed by a function of other primitives."""

    def rule(_: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, Any]:
        trace = BatchTrace(size)
        out = function(*(trace.wrap(v, a) for v, a in zip(values, axes, strict=True)), **params)
        (value,), (axis,) = trace.unwrap((out,))
        return value, axis

    return rule


def text_on_batches(primitive: Primitive, *batch: Any) -> tuple[Any, Any]:
    """Run the text of a primitive under `vmap`: the batching rule of one that states no other."""
    assert primitive.forward is not None
    return composed(functools.partial(primitive.forward, bound()))(primitive, *batch)


above.text_on_batches = text_on_batches


def one_by_one(primitive: Primitive, values: Sequence[Any], axes: Axes, size: int, params: Params) -> tuple[Any, Any]:
    """Run an operation on one element of the batch after another: what a primitive without a batching rule does."""
    xp = bound()

    def element(i: int) -> list[Any]:
        return [v if a is None else xp.getitem(v, (slice(None),) * a + (i,)) for v, a in zip(values, axes, strict=True)]

    results = [bind(primitive, element(i), params) for i in range(size)]
    if primitive.multiple_results:
        return tuple(xp.stack(parts, axis=0) for parts in zip(*results, strict=True)), 0
    return xp.stack(results, axis=0), 0


def _empty(primitive: Primitive, values: Sequence[Any], axes: Axes, params: Params) -> tuple[Any, Any]:
    trace = BatchTrace(0)
    found = primitive.abstract([trace.wrap(v, a) for v, a in zip(values, axes, strict=True)], params)

    def zeros(result: Any) -> Array:
        shape = (0, *result.shape)
        dtype = result.backend.raw_dtype_named(result.dtype.name)
        return wrap(result.backend.xp.zeros(shape, dtype=dtype, device=result.device.raw))

    return (tuple(map(zeros, found)) if primitive.multiple_results else zeros(found)), 0
