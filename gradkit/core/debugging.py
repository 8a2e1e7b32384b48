"""The check for NaN that ``jax_debug_nans`` switches on.

While it is off it costs nothing: switching replaces two methods of the classes of primitives, the one that finds a
kernel and the one that runs the rules, and empties the tables of kernels that the fast paths read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradkit.backend import backend_of
from gradkit.config import config
from gradkit.core.families import Elementwise, General, Linear
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import is_inexact
from gradkit.core.several_results import MultipleResults

__all__ = ["check_for_nans"]

_FAMILIES = (Elementwise, Linear, General, MultipleResults)
_original: dict[tuple[type[Primitive], str], Callable[..., Any]] = {}


def check_for_nans(on: bool) -> None:
    """Switch the check on or off, for the families and for each primitive that runs its rules in a way of its own."""
    PRIMITIVES.load_all()
    classes = {cls for kind in (*_FAMILIES, *map(type, PRIMITIVES.values())) for cls in kind.__mro__}
    for cls in classes:
        for name, checked in _checked.items():
            method = cls.__dict__.get(name)
            if method is not None and not getattr(method, "__isabstractmethod__", False):
                method = _original.setdefault((cls, name), method)
                setattr(cls, name, checked(method) if on else method)
    for primitive in PRIMITIVES.values():
        primitive.kernels.clear()


@functools.cache
def _checked_kernel(primitive: Primitive, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel that looks at its result: one object for each kernel, as `bind` compares them."""

    @functools.wraps(kernel)
    def checked(*args: Any, **params: Any) -> Any:
        result = kernel(*args, **params)
        for part in result if primitive.multiple_results else (result,):
            _refuse_nans(part, primitive.name)
        return result

    return checked


def _with_checked_kernel(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def kernel(self: Primitive, value: Any) -> Callable[..., Any]:
        present = self.kernels.get(type(value))
        if present is None:
            present = _checked_kernel(self, method(self, value))
            if not self.multiple_results:
                self.kernels[type(value)] = present
        return present

    return kernel


def _with_checked_shares(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def pull(self: Primitive, *args: Any) -> Any:
        shares = method(self, *args)
        for _, share in shares:
            _refuse_nans(share, f"the derivative of {self.name}")
        return shares

    return pull


_checked: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "kernel": _with_checked_kernel,
    "pull": _with_checked_shares,
}


def _refuse_nans(value: Any, where: str) -> None:
    if not config.jax_debug_nans:  # it is on in another thread
        return
    backend = backend_of(value)
    if backend is None or not is_inexact(name := backend.dtype_name(value)):
        return
    if name in backend.computes_in_float32:
        value = backend.xp.astype(value, backend.raw_dtype_named("float32"))
    if bool(backend.xp.any(backend.xp.isnan(value))):
        raise FloatingPointError(f"invalid value (nan) encountered in {where}")


config.listen("jax_debug_nans", check_for_nans)
