"""`bind`: how a primitive is run, under the transforms in progress or on raw arrays alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from gradkit.backend import NARROW_DTYPES, backend_of
from gradkit.core.array import Array, innermost, wrap
from gradkit.core.namespace import ARRAYS
from gradkit.core.narrow import kernel_for
from gradkit.core.node import Trace, branch, recording
from gradkit.core.primitive import Primitive
from gradkit.core.printing import describe
from gradkit.core.promotion import PYTHON_NUMBERS
from gradkit.core.stand_in import Abstract
from gradkit.errors import DeviceMismatchError, DistributedError, ShapeError

__all__ = [
    "KERNEL_ERRORS", "PYTHON_NUMBERS", "bind", "bind_several", "evaluate", "explain", "has_no_values", "highest_trace",
]  # fmt: skip

_new = object.__new__

KERNEL_ERRORS = (TypeError, ValueError, IndexError, RuntimeError)
"""What an array library raises when operands do not fit."""


def bind(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Array:
    """Run a primitive under the highest transform among its arguments, or evaluate it where there is none.

    For a primitive with several results see `bind_several`, which is the same.

    Parameters
    ----------
    primitive : Primitive
        The operation.
    args : sequence
        Arrays, raw arrays of one backend, or Python numbers, of dtypes that the operation takes as they are.
    params : mapping
        The static parameters.
    """
    # The plain case: raw values of one backend, and at most one transform, whose nodes they carry.
    values: list[Any] = []
    nodes: list[Any] = []
    kernels = primitive.kernels
    kernel: Any = None
    trace: Trace | None = None
    tracked = 0
    bit = 1
    is_narrow = False
    for arg in args:
        if type(arg) is Array:
            value = arg._value
            node = arg._node
            if node is not None:
                if trace is None:
                    trace = node.trace
                elif node.trace is not trace:
                    return bind_at_highest_level(primitive, args, params)  # type: ignore[no-any-return]
                tracked |= bit
        else:
            value, node = arg, None
        values.append(value)
        nodes.append(node)
        found = kernels.get(type(value))
        if bit == 1:
            kernel = found
        if (found is None or found is not kernel) and (kernel is None or type(value) not in PYTHON_NUMBERS):
            return bind_at_highest_level(primitive, args, params)  # type: ignore[no-any-return]
        if NARROW_DTYPES and found is not None and value.dtype in NARROW_DTYPES:
            is_narrow = True
        bit += bit
    if is_narrow:
        kernel = kernel_for(primitive, kernel, values)
    try:
        out = kernel(*values, **params)
    except KERNEL_ERRORS as error:
        raise explain(primitive, values, error) from error
    if trace is None or not (trace.level or recording()):
        array: Array = _new(Array)
        array._value = out
        array._node = None
        return array
    return primitive.record(trace, out, values, nodes, tracked, params, True)  # type: ignore[no-any-return]


def bind_several(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> tuple[Array, ...]:
    """Run a primitive with several results."""
    return cast("tuple[Array, ...]", bind_at_highest_level(primitive, args, params))


def bind_at_highest_level(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Run a primitive under the highest transform among its arguments: what `bind` does in general."""
    trace = highest_trace(args)
    if trace is None:
        out = evaluate(primitive, args, params)
        return tuple(map(wrap, out)) if primitive.multiple_results else wrap(out)
    return trace.process(primitive, args, params)


def highest_trace(args: Sequence[Any]) -> Trace | None:
    """Return the highest transform in progress among the arguments; the tape counts where it records."""
    trace: Trace | None = None
    for arg in args:
        node = arg._node if type(arg) is Array else None
        if node is not None and (trace is None or node.trace.level > trace.level):
            trace = node.trace
    return None if trace is None or not (trace.level or recording()) else _in_branch(trace, args)


def _in_branch(trace: Trace, args: Sequence[Any]) -> Trace:
    """Return the capture of a branch, if one is in progress above the trace and the arguments have no values.

    What a branch computes of what it closes over is part of it, not of what is captured around the choice.
    """
    capture = branch.get()
    if capture is None or not capture.level > trace.level:
        return trace
    return capture if has_no_values(args) else trace


def has_no_values(args: Iterable[Any]) -> bool:
    """Return whether one of the arguments stands in a graph, at whatever level."""
    return any(type(innermost(arg)) is Abstract for arg in args)


ARRAYS.bind = lambda primitive, *given: (bind_at_highest_level if primitive.multiple_results else bind)(
    primitive, *given
)


def evaluate(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Compute a primitive on raw arrays, or on Arrays that no transform follows; give a raw array."""
    raws = [arg._value if type(arg) is Array else arg for arg in args]
    kernel = None
    is_narrow = False
    for value in raws:
        if type(value) not in PYTHON_NUMBERS:
            found = primitive.kernel(value)
            if kernel is not None and found is not kernel:
                raise explain(primitive, raws, None)
            kernel = found
            if NARROW_DTYPES and value.dtype in NARROW_DTYPES:
                is_narrow = True
    if kernel is None:
        raise TypeError(f"{primitive.name} requires at least one array, got {', '.join(map(repr, args))}")
    if is_narrow:
        kernel = kernel_for(primitive, kernel, raws)
    try:
        return kernel(*raws, **params)
    except KERNEL_ERRORS as error:
        raise explain(primitive, raws, error) from error


def explain(primitive: Primitive, args: Sequence[Any], error: Exception | None) -> Exception:
    """Find out why operands do not fit: two backends, two devices, or shapes; else give the library's own error.

    An error of other processes says nothing of the operands: it is raised as it is, and told once.
    """
    if isinstance(error, DistributedError):
        raise error
    arrays = [arg for arg in args if type(arg) not in PYTHON_NUMBERS]
    owners = [backend_of(array) for array in arrays]
    places = {str(owner.device(array)) for owner, array in zip(owners, arrays, strict=True) if owner is not None}
    if len(places) > 1:
        what = " and ".join(describe(array) for array in arrays)
        return DeviceMismatchError(
            f"{primitive.name} got arrays in different places: {what}. Data never moves by itself: move one with "
            f"gradkit.device_put(x, y.device)."
        )
    shapes = [tuple(array.shape) for array in arrays]
    if primitive.broadcasts and not _broadcast(shapes):
        return ShapeError(
            f"{primitive.name} got incompatible shapes for broadcasting: {', '.join(map(str, shapes))}. Axes match "
            f"from the right, and sizes must be equal or 1."
        )
    if error is None:
        return TypeError(f"{primitive.name} got arguments that no backend takes together: {args}")
    kind = next(kind for kind in KERNEL_ERRORS if isinstance(error, kind))
    return kind(f"{primitive.name}({', '.join(map(describe, arrays))}): {error}")


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> bool:
    longest = max(map(len, shapes))
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    return all(len({size for size in sizes if size != 1}) <= 1 for sizes in zip(*padded, strict=True))
