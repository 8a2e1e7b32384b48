"""What rules and texts run on: a backend's kernels on raw arrays, the primitives themselves on Arrays.

The two namespaces have the same names: `KernelNamespace` each primitive's kernel and the library's functions,
`ArrayNamespace` what binds each primitive and what makes arrays beside one. So one text runs on both.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradkit.backend import NARROW, Backend, backend_of
from gradkit.core.array import Array, wrap
from gradkit.core.promotion import dtype_named

if TYPE_CHECKING:
    from gradkit.core.primitive import Primitive

__all__ = [
    "ARRAYS", "PLAIN", "PRIMITIVES", "ArrayNamespace", "KernelNamespace", "LeafNamespace", "bound",
    "kernel_namespace", "leaf_namespace", "lift", "namespace_of", "publish", "unbroadcast",
]  # fmt: skip


class Primitives(dict[str, "Primitive"]):
    """Primitives by name; the file that declares one is loaded when its name is first asked for.

    Attributes
    ----------
    late : dict of str to str
        By name: the module that declares the primitive, or publishes the function.
    """

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[str, str] = {}

    def __missing__(self, name: str) -> Primitive:
        found = self.named(name)
        if found is None:
            raise KeyError(name)
        return found

    def named(self, name: str) -> Primitive | None:
        """Return the primitive of a name, or None."""
        if name in self.late:
            importlib.import_module(self.late[name])
        return self.get(name)

    def load_all(self) -> None:
        """Load what has not been asked for yet."""
        for module in set(self.late.values()):
            importlib.import_module(module)


PRIMITIVES = Primitives()
"""Every primitive by name."""


class KernelNamespace:
    """A backend's functions for texts on raw arrays: its kernel of each primitive, then its array-API namespace."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.kernel = backend.kernels.get
        """A kernel that not every backend has, or None."""
        self.device_of = backend.device_of
        """Where an array is, as ``device=`` takes it."""

    def __getattr__(self, name: str) -> Any:
        primitive = PRIMITIVES.named(name)
        found = getattr(self._backend.xp, name) if primitive is None else primitive.kernel_of(self._backend)
        setattr(self, name, found)
        return found


class LeafNamespace(KernelNamespace):
    """What the text of a leaf runs on: it alone may ask for the backend, and for the library's function of its name."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.backend = backend
        self.library = backend.xp


@functools.cache
def kernel_namespace(backend: Backend) -> KernelNamespace:
    """Return the one kernel namespace of a backend."""
    return KernelNamespace(backend)


@functools.cache
def leaf_namespace(backend: Backend) -> LeafNamespace:
    """Return the one namespace of a backend for leaves."""
    return LeafNamespace(backend)


class ArrayNamespace:
    """The functions of texts on Arrays.

    A module of primitives publishes its own (`publish`). A primitive without one is the function, called with arrays by
    position and parameters by name. Names of dtypes are NumPy's, as those of Arrays are.
    """

    bind: Callable[..., Any]
    """``bind(primitive, args, params)``, which `core.binding` puts here."""

    @staticmethod
    def device_of(x: Array) -> Any:
        """Return where an array is, as ``device=`` takes it."""
        return x.device

    def __getattr__(self, name: str) -> Any:
        primitive = PRIMITIVES.named(name)
        if name in vars(self):  # published by the file that has been loaded now
            return vars(self)[name]
        if primitive is None and name not in DTYPES and name not in NARROW:
            raise AttributeError(
                f"texts on Arrays have no {name!r}: it is no primitive, no function that a module of primitives "
                f"publishes, and no dtype. What asks for the library or the backend is a leaf (leaf=True)."
            )
        found = dtype_named(name) if primitive is None else primitive
        setattr(self, name, found)
        return found


DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()
)

ARRAYS = ArrayNamespace()
"""The one there is."""


def publish(functions: Mapping[str, Any], names: Iterable[str]) -> None:
    """Let texts on Arrays call functions by their names: those of a module are ``globals()`` and ``__all__``.

    What another function has made (`core.calls.unary`) is named as what it is published as, so that pickle finds it.
    """
    for name in names:
        function = functions[name]
        if "<locals>" in getattr(function, "__qualname__", ""):
            function.__name__ = function.__qualname__ = name
            function.__module__ = functions["__name__"]
        setattr(ARRAYS, name, function)


PLAIN: dict[type, KernelNamespace] = {}
"""By the type of a raw array, once one has been seen: the namespace that rules on it use."""


def bound() -> Any:
    """Return the namespace that rules use on Arrays."""
    return ARRAYS


def namespace_of(value: Any) -> Any:
    """Return the namespace that rules use on values like `value`."""
    kind = type(value)
    if kind is Array:
        return ARRAYS
    xp = PLAIN.get(kind)
    if xp is None:
        backend = backend_of(value)
        if backend is None:
            raise TypeError(f"expected an array of a known backend, got {kind.__name__}: {value!r}")
        xp = PLAIN[kind] = kernel_namespace(backend)
    return xp


def lift(cotangent: Any, saved: Sequence[Any]) -> tuple[Any, Any, Sequence[Any]]:
    """Return the namespace that a rule runs on, and its operands: all raw, or all Arrays where one of them is."""
    if type(cotangent) is not Array and not any(type(value) is Array for value in saved):
        return namespace_of(cotangent), cotangent, saved
    return ARRAYS, as_bound(cotangent), [as_bound(value) for value in saved]


def as_bound(value: Any) -> Any:
    """Return a raw array as an Array; numbers, and nodes that stand for what was not kept, as they are."""
    if type(value) is Array:
        return value
    return wrap(value) if backend_of(value) is not None else value


def unbroadcast(xp: Any, cotangent: Any, shape: tuple[int, ...], target: tuple[int, ...]) -> Any:
    """Sum a cotangent of a result of `shape` over the axes along which an argument of shape `target` was broadcast.

    The cotangent may be smaller than `shape` as long as it broadcasts to it; so may the result be, as to `target`.
    """
    lead = len(shape) - len(target)
    if cotangent.shape == shape and shape[lead:] == target:
        # As that of a bias: sums over the first axes alone, which some kernels have a better way for.
        return xp.sum(cotangent, axis=tuple(range(lead)), keepdims=False)
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
