"""What rules run on: a backend's kernels on raw arrays, the primitives themselves on Arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradkit.backend import Backend, backend_of
from gradkit.core.array import Array, wrap

if TYPE_CHECKING:
    from gradkit.core.primitive import Primitive

__all__ = [
    "PLAIN",
    "PRIMITIVES",
    "KernelNamespace",
    "bound",
    "kernel_namespace",
    "lifted",
    "namespace_of",
    "set_bound_namespace",
    "unbroadcast",
]

PRIMITIVES: dict[str, Primitive] = {}
"""Every primitive by name."""


class KernelNamespace:
    """A backend's functions for rules on raw arrays: its kernel of each primitive, then its array-API namespace."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.library = backend.xp
        """The namespace alone, for a forward rule that calls the function of its own name."""

    def __getattr__(self, name: str) -> Any:
        primitive = PRIMITIVES.get(name)
        found = getattr(self.library, name) if primitive is None else primitive.kernel_of(self.backend)
        setattr(self, name, found)
        return found


@functools.cache
def kernel_namespace(backend: Backend) -> KernelNamespace:
    """Return the one kernel namespace of a backend."""
    return KernelNamespace(backend)


PLAIN: dict[type, KernelNamespace] = {}
"""By the type of a raw array, once one has been seen: the namespace that rules on it use."""

_bound: list[Any] = []


def bound() -> Any:
    """Return the namespace that rules use on Arrays: `gradkit.primitives`."""
    return _bound[0]


def set_bound_namespace(namespace: Any) -> None:
    """Say which module holds the bound primitives: what rules run on when their values are Arrays."""
    _bound.append(namespace)


def namespace_of(value: Any) -> Any:
    """Return the namespace that rules use on values like `value`."""
    kind = type(value)
    if kind is Array:
        return _bound[0]
    xp = PLAIN.get(kind)
    if xp is None:
        backend = backend_of(value)
        if backend is None:
            raise TypeError(f"expected an array of a known backend, got {kind.__name__}: {value!r}")
        xp = PLAIN[kind] = kernel_namespace(backend)
    return xp


def lifted(cotangent: Any, saved: Sequence[Any]) -> tuple[Any, Any, Sequence[Any]]:
    """Return the namespace that a rule runs on, and its operands: all raw, or all Arrays where one of them is."""
    if type(cotangent) is not Array and not any(type(value) is Array for value in saved):
        return namespace_of(cotangent), cotangent, saved
    return _bound[0], as_bound(cotangent), [as_bound(value) for value in saved]


def as_bound(value: Any) -> Any:
    """Return a raw array as an Array; numbers, and nodes that stand for what was not kept, as they are."""
    return wrap(value) if backend_of(value) is not None else value


def unbroadcast(xp: Any, cotangent: Any, shape: tuple[int, ...], target: tuple[int, ...]) -> Any:
    """Sum a cotangent of a result of `shape` over the axes along which an argument of shape `target` was broadcast.

    The cotangent may be smaller than `shape` as long as it broadcasts to it; so may the result be, as to `target`.
    """
    lead = len(shape) - len(target)
    missing = len(shape) - cotangent.ndim
    factor = 1
    axes = []
    for axis, size in enumerate(shape):
        if size != 1 and (axis < lead or target[axis - lead] == 1):
            if axis < missing or cotangent.shape[axis - missing] == 1:
                factor *= size
            else:
                axes.append(axis - missing)
    if axes:
        cotangent = xp.sum(cotangent, axis=tuple(axes), keepdims=True)
    surplus = cotangent.ndim - len(target)
    if surplus > 0:
        cotangent = xp.reshape(cotangent, cotangent.shape[surplus:])
    return cotangent if factor == 1 else cotangent * factor
