"""Dtypes of fewer bits than a library computes in: their arithmetic is that of float32, rounded once.

That is what JAX does with them on a CPU, sums included. What runs on raw arrays of such a dtype is wrapped: a kernel,
and the rules of a derivative. None of it is there until the first such array is: then two methods of the classes of
primitives are replaced, the one that finds a kernel and the one that runs the rules, and the tables of kernels that the
fast paths read are emptied, as `core.debugging` does. So a program without these dtypes pays nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import NARROW_SIZES, Backend, backend_of, when_first_used
from gradkit.config import config
from gradkit.core.array import Array, wrap
from gradkit.core.debugging import check_for_nans, original_methods
from gradkit.core.families import Parts
from gradkit.core.namespace import PRIMITIVES, forget_kernels
from gradkit.core.node import Node
from gradkit.core.primitive import Primitive
from gradkit.core.structured import View

__all__: list[str] = []

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


def _with_widened_kernel(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.cache
    def kernel_of(self: Primitive, backend: Backend) -> Callable[..., Any]:
        kernel = method(self, backend)
        if isinstance(self, View) or self.name in AS_THEY_ARE or not backend.computes_in_float32:
            return kernel  # type: ignore[no-any-return]
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

    return kernel_of


def _with_widened_rules(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def pull(self: Primitive, cotangent: Any, node: Node, saved: Sequence[Any]) -> Any:
        some = next(iter(cotangent.values())) if type(cotangent) is Parts else cotangent
        backend = None if not node.plain or type(some) is Array else backend_of(some)
        if backend is None or not backend.computes_in_float32:
            return method(self, cotangent, node, saved)
        widening = _widening_of(backend)
        parts = cotangent.values() if type(cotangent) is Parts else (cotangent,)
        if widening.narrow_in((*parts, *saved)) is None:
            return method(self, cotangent, node, saved)
        widened = widening.widened
        if type(cotangent) is Parts:
            cotangent = Parts({position: widened(part) for position, part in cotangent.items()})
        else:
            cotangent = widened(cotangent)
        shares = method(self, cotangent, node, [widened(value) for value in saved])
        return [
            (parent, widening.share(share, parent.dtype) if parent.dtype in widening.dtypes else share)
            for parent, share in shares
        ]

    return pull


def compute_in_float32() -> None:
    """Let the dtypes that a backend says so of be computed in float32 from now on, in every primitive."""
    is_checking = config.jax_debug_nans
    PRIMITIVES.load_all()
    check_for_nans(False)  # whose methods are put around these
    original_methods.clear()
    Primitive.kernel_of = _with_widened_kernel(Primitive.kernel_of)  # type: ignore[method-assign,assignment]
    known = [Primitive]
    for cls in known:
        known.extend(cls.__subclasses__())
    for cls in known:
        method = cls.__dict__.get("pull")
        if method is not None and not getattr(method, "__isabstractmethod__", False) and cls.has_kernels:
            cls.pull = _with_widened_rules(method)  # type: ignore[method-assign]
    forget_kernels()
    for primitive in PRIMITIVES.values():
        primitive.kernels.clear()
    if is_checking:
        check_for_nans(True)


when_first_used(compute_in_float32)
