"""NumPy with new arrays that cannot be changed in place: for test suites, ``numpy:readonly``.

Arrays that are memory-mapped, broadcast, or another library's are read-only too, and code that writes into what it was
given fails on them. What operations give is theirs, and as writable as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradkit.backend import Backend

__all__ = ["readonly"]

CREATION = (
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid",
    "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
)  # fmt: skip
"""The array API standard's creation functions."""


def frozen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a view that cannot be written to; the array itself is its owner's."""
    view = array.view()
    view.flags.writeable = False
    return view


def freezing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same creation function, giving read-only arrays."""

    @wraps(function)
    def create(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return tuple(map(frozen, made)) if isinstance(made, list | tuple) else frozen(made)

    return create


def readonly(kind: type[Backend]) -> Backend:
    """Return a backend for NumPy's arrays in the form that makes read-only ones."""

    class Readonly(kind):  # type: ignore[misc,valid-type]
        """NumPy on the CPU, new arrays read-only."""

        @cached_property
        def xp(self) -> Any:
            plain = super().xp
            return SimpleNamespace(**vars(plain) | {name: freezing(getattr(plain, name)) for name in CREATION})

        @property
        def variants(self) -> Mapping[str, Callable[[], Backend]]:
            return {}

        def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Any:
            return frozen(array)

    return Readonly()
