"""The leaves of an optimizer's step: parameters, gradients and velocities, checked, taken as arrays and put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from gradkit import tree
from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.array import raw, wrap
from gradkit.core.node import Leaf
from gradkit.core.operands import as_array, cast, dtype_name
from gradkit.errors import ShapeError, TreeMismatchError
from gradkit.numpy import zeros_like
from gradkit.optim.update import sgd_update

__all__ = [
    "array_of", "assign", "cast_like", "check_shapes", "different_trees", "gradient_of", "like", "numbered",
    "parameters_of", "plain_values", "rate_of", "shapes_of", "zeros_of",
]  # fmt: skip


def numbered(i: int) -> str:
    """Say which parameter of a list it is, for messages."""
    return f"parameter {i}"


def cast_like(leaf: Any, number: Array) -> Array:
    """Return a 0-d Array in the dtype of a leaf."""
    name = dtype_name(leaf)
    return number if dtype_name(number) == name else cast(number, name)


def rate_of(value: Any) -> Any:
    """Return what a schedule gave as a float or an Array: a NumPy number would widen the parameters' dtype."""
    return float(value) if isinstance(value, Real) else as_array(value, "SGD (learning_rate)")


def array_of(leaf: Any) -> Array:
    """Return a leaf as an Array without the tape's history: an update begins a new one."""
    array = as_array(leaf, "SGD")
    return array if array._node is None or array._node.trace.level else wrap(array._value)


def zeros_of(leaf: Any) -> Array:
    """Return the velocity that a leaf begins with."""
    return zeros_like(array_of(leaf).detach())


def plain_values(
    params: Sequence[Any], grads: Sequence[Any], velocities: Sequence[Any] | None
) -> tuple[Any, list[Any], list[Any], list[Any] | None] | None:
    """Return the kernel and the raw arrays of each group, or None where they are not all plain ones of one kind."""
    if not params:
        return None
    first = raw(params[0])
    backend = backend_of(first)
    if backend is None or backend.is_scalar(first) or backend.dtype_name(first) in backend.computes_in_float32:
        return None
    kind, dtype = type(first), first.dtype
    groups: list[list[Any]] = []
    for group in (params, grads) if velocities is None else (params, grads, velocities):
        values = []
        for leaf in group:
            if type(leaf) is Array:
                node = leaf._node
                if node is not None and node.trace.level:
                    return None
                leaf = leaf._value
            if type(leaf) is not kind or (leaf.dtype is not dtype and leaf.dtype != dtype):
                return None
            values.append(leaf)
        groups.append(values)
    shapes = [value.shape for value in groups[0]]
    if any([value.shape for value in values] != shapes for values in groups[1:]):
        return None
    kernel = backend.placed(backend.kernels.get("sgd_update", sgd_update))
    return kernel, groups[0], groups[1], None if velocities is None else groups[2]


def like(
    params: Sequence[Array] | None, new: list[Array], velocities: list[Array] | None
) -> tuple[list[Array], list[Array] | None]:
    """Return new parameters and velocities in the parameters' own dtypes."""
    names = [dtype_name(parameter) for parameter in params or ()]

    def converted(arrays: list[Array]) -> list[Array]:
        return [a if dtype_name(a) == name else cast(a, name) for a, name in zip(arrays, names, strict=True)]

    return converted(new), None if velocities is None else converted(velocities)


def check_shapes(params: Sequence[Any], grads: Sequence[Any], name_of: Callable[[int], str]) -> None:
    """Raise where a gradient has not its parameter's shape."""
    for i, (parameter, gradient) in enumerate(zip(params, grads, strict=True)):
        if parameter.shape != gradient.shape:
            raise ShapeError(
                f"SGD: a gradient must have its parameter's shape, got {gradient.shape} for {name_of(i)} of shape "
                f"{parameter.shape}"
            )


def different_trees(params: Any, other: Any) -> TreeMismatchError:
    """Return the error that tells where two trees differ first."""
    ours, theirs = ({tree.keystr(path): None for path, _ in tree.leaves_with_path(one)} for one in (params, other))
    first = next((path for path in [*ours, *theirs] if (path in ours) != (path in theirs)), "the root")
    return TreeMismatchError(
        f"SGD.update: the gradients (and velocities) must have the structure of the parameters; they differ first at "
        f"{first}. Parameters: {tree.structure(params)}; got: {tree.structure(other)}."
    )


def shapes_of(params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return shapes and dtypes, by which a state is known to belong to parameters."""
    return [(parameter.shape, parameter.dtype) for parameter in map(array_of, params)]


def parameters_of(model: Any) -> Sequence[Any]:
    """Return the parameters of a model, or the list of them that is given."""
    params: Sequence[Any] = model if isinstance(model, list | tuple) else getattr(model, "parameters", tuple)()
    if not params or not all(type(parameter) is Array or is_value(parameter) for parameter in params):
        raise TypeError(f"SGD.step: expected a model or a list of its parameters (Arrays), got {model!r}")
    return params


def is_value(parameter: Any) -> bool:
    """Return whether it is a number of the lecture's engine, which turns into an Array where it is asked to."""
    return hasattr(type(parameter), "__gradkit_array__")


def assign(parameter: Any, new: Array) -> None:
    """Give a parameter, an Array or a Value, its new value."""
    if type(parameter) is Array:
        # A model that is changed in place holds values: what a transform follows would lose its derivative here.
        parameter._value = new._value if new._node is None else new.data
    else:
        parameter.data = new.data


def gradient_of(parameter: Any) -> Any:
    """Return what `backward` accumulated in a parameter, raw or an Array; None if that is nothing."""
    if type(parameter) is not Array:
        return zeros_of(parameter) + parameter.grad
    node = parameter._node
    gradient = node.grad if type(node) is Leaf else None
    return gradient if hasattr(gradient, "shape") else None
