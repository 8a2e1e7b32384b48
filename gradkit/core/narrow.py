"""Dtypes of fewer bits than a library computes in: their arithmetic is that of float32, rounded once.

That is what JAX does with them on a CPU, sums included. What runs on raw arrays of such a dtype goes through here: a
kernel (`widened_kernel`), and the rules of a derivative (`widened_pull`). Whoever has a kernel in hand asks
`NARROW_DTYPES` first, which is empty until such a dtype is used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradkit.backend import NARROW_SIZES, Backend, backend_of
from gradkit.core.array import Array, wrap

if TYPE_CHECKING:
    from gradkit.core.node import Node
    from gradkit.core.primitive import Primitive

__all__ = ["kernel_for", "widened_kernel", "widened_pull"]

AS_THEY_ARE = frozenset("bitcast nextafter take transfer".split())
"""What libraries do with elements of any dtype, beside views; or what is about the dtype itself."""


class Widening:
    """A backend's dtypes that are computed in float32, and the way there and back."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.wide = backend.raw_dtype_named("float32")
        self.astype = backend.xp.astype
        self.types = backend.array_types

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The dtypes' names."""
        return frozenset(filter(self.backend.has_dtype, self.backend.computes_in_float32))

    @functools.cached_property
    def dtypes(self) -> frozenset[Any]:
        """The dtypes, as the library has them."""
        return frozenset(map(self.backend.raw_dtype_named, self.names))

    @functools.cached_property
    def of_8_bits(self) -> frozenset[Any]:
        """Those of them that have 8 bits, as the library has them."""
        return frozenset(self.backend.raw_dtype_named(name) for name in self.names if NARROW_SIZES[name] == 1)

    def narrow_in(self, values: Sequence[Any]) -> Any:
        """Return the first dtype to be widened among values, and None where there is none."""
        for value in values:
            if isinstance(value, self.types):
                if value.dtype in self.dtypes:
                    return value.dtype
            elif isinstance(value, list | tuple):
                found = self.narrow_in(value)
                if found is not None:
                    return found
        return None

    def widened(self, value: Any) -> Any:
        """Return an array in float32 if it is narrow; of a list or tuple each."""
        if isinstance(value, self.types):
            return self.astype(value, self.wide) if value.dtype in self.dtypes else value
        if type(value) in (list, tuple):
            return type(value)(map(self.widened, value))
        return value

    def rounded(self, value: Any, dtype: Any) -> Any:
        """Return an array of float32 in a narrow dtype; of a list or tuple each."""
        if isinstance(value, self.types):
            return self.astype(self.backend.asarray(value), dtype) if value.dtype == self.wide else value
        if type(value) in (list, tuple):
            return type(value)(self.rounded(part, dtype) for part in value)
        return value

    def share(self, value: Any, dtype: Any) -> Any:
        """Return a share of a cotangent in a narrow dtype; of 8 bits as an Array: no library need add such arrays."""
        rounded = self.rounded(value, dtype)
        return wrap(rounded) if dtype in self.of_8_bits and type(rounded) is not Array else rounded


@functools.cache
def _widening_of(backend: Backend) -> Widening:
    return Widening(backend)


def kernel_for(primitive: Primitive, kernel: Callable[..., Any], values: Iterable[Any]) -> Callable[..., Any]:
    """Return what computes a primitive on raw values of these dtypes, where `kernel` is its backend's kernel."""
    for value in values:
        backend = None if value is None else backend_of(value)
        if backend is not None:
            return widened_kernel(primitive, backend, kernel)
    return kernel


@functools.cache
def widened_kernel(primitive: Primitive, backend: Backend, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return a backend's kernel of a primitive, for arguments of any dtype: narrow ones are computed in float32."""
    moves = primitive.is_view or primitive.as_it_is or primitive.name in AS_THEY_ARE
    if moves or not backend.computes_in_float32:
        return kernel
    widening = _widening_of(backend)
    narrow_in, wide = widening.narrow_in, widening.wide

    @functools.wraps(kernel)
    def call(*args: Any, **params: Any) -> Any:
        narrow = narrow_in(args)
        if narrow is None:
            return kernel(*args, **params)
        result = kernel(*map(widening.widened, args), **params)
        beside = any(getattr(arg, "dtype", None) == wide for arg in args)
        return result if beside or "dtype" in params else widening.rounded(result, narrow)

    return call


def widened_pull(primitive: Primitive, cotangent: Any, node: Node, saved: Sequence[Any]) -> Any:
    """Run a primitive's rules on raw values of narrow dtypes: in float32, and the shares are rounded."""
    parts = list(cotangent.values()) if isinstance(cotangent, dict) else [cotangent]
    backend = None if not node.plain or type(parts[0]) is Array else backend_of(parts[0])
    if backend is None or not backend.computes_in_float32:
        return primitive.pull(cotangent, node, saved)
    widening = _widening_of(backend)
    if not primitive.has_kernels or widening.narrow_in((*parts, *saved)) is None:
        return primitive.pull(cotangent, node, saved)
    widened = widening.widened
    if isinstance(cotangent, dict):
        cotangent = type(cotangent)({position: widened(part) for position, part in cotangent.items()})
    else:
        cotangent = widened(cotangent)
    return [
        (parent, widening.share(share, parent.dtype) if parent.dtype in widening.dtypes else share)
        for parent, share in primitive.pull(cotangent, node, [widened(value) for value in saved])
    ]
