"""The NumPy backend: arrays on the CPU, each operation by NumPy's cheapest call for it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradkit.backend import NARROW, Backend, as_numpy_dtype, scipy_special
from gradkit_numpy.allocator import keep_freed_memory
from gradkit_numpy.namespace import array_api_namespace
from gradkit_numpy.silence import SILENCE

if TYPE_CHECKING:
    from gradkit.backend.printers import Printer

__all__ = ["NumpyBackend"]

SHORT = 10_000
"""How many candidates to try before two arrays count as overlapping; two slices of an array take fewer than ten."""


class NumpyBackend(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    library = "numpy"
    install = "pip install numpy"

    @cached_property
    def xp(self) -> Any:
        """The namespace of array-api-compat. Whoever makes arrays takes it, so freed memory is kept from here on."""
        keep_freed_memory()
        return array_api_namespace()

    @property
    def array_types(self) -> tuple[type, ...]:
        """NumPy's arrays, and the scalars that its operations on 0-d arrays give."""
        return (np.ndarray, np.generic)

    @cached_property
    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """NumPy's cheapest calls."""
        from gradkit_numpy.kernels import KERNELS  # late: gradkit may be imported for another backend

        return KERNELS

    @cached_property
    def printers(self) -> Sequence[Printer]:
        """Native code by LLVM, where it is installed, and lists of NumPy's calls."""
        from gradkit_numpy.native.program import NativePrinter  # late: only compiling takes them
        from gradkit_numpy.ufuncs.printer import NumpyPrinter

        return NativePrinter(), NumpyPrinter()

    @property
    def variants(self) -> Mapping[str, Callable[[], Backend]]:
        """``readonly``: new arrays cannot be changed in place."""
        from gradkit_numpy.readonly import readonly  # late: test suites ask for it

        return {"readonly": lambda: readonly(NumpyBackend)}

    silence = SILENCE
    """What enters ``numpy.errstate(all="ignore")``, and what leaves it."""

    def special(self, name: str) -> Callable[..., Any]:
        """Return SciPy's function."""
        return scipy_special(name)

    def raw_dtype_named(self, name: str) -> Any:
        """Return NumPy's dtype of that name."""
        return as_numpy_dtype(name) if name in NARROW else np.dtype(name)

    def asarray(self, value: Any) -> Any:
        """Return a NumPy scalar as a 0-d array."""
        return value if isinstance(value, np.ndarray) else np.asarray(value)

    def one_like(self, value: Any) -> Any:
        """Return ones like `value`; for a scalar the cheapest way."""
        return value.dtype.type(1) if value.shape == () else np.ones(value.shape, value.dtype)

    def is_scalar(self, value: Any) -> bool:
        """Return whether `value` is a NumPy scalar."""
        return isinstance(value, np.generic)

    def shares_memory(self, a: Any, b: Any) -> bool:
        """Return whether two arrays overlap in memory; those that take long to tell count as overlapping."""
        if not np.may_share_memory(a, b):
            return False
        try:
            return np.shares_memory(a, b, max_work=SHORT)  # type: ignore[arg-type]
        except np.exceptions.TooHardError:
            return True

    shares_host_memory = True

    def on_memory(self, values: np.ndarray[Any, Any]) -> Any:
        """Return the array itself."""
        return values

    def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Any:
        """Return the array itself: it is there already."""
        return array

    def to_host(self, value: Any) -> np.ndarray[Any, Any]:
        """Return the array itself."""
        return np.asarray(value)

    def to_device(self, value: Any, device: Any) -> Any:
        """Return the array itself: there is one device."""
        return value

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the array's dtype."""
        dtype: np.dtype[Any] = value.dtype
        return dtype

    def device_kind(self, raw: Any) -> str:
        """Say which instructions the processor runs; its full name would take a process of its own to ask for."""
        return platform.machine()
