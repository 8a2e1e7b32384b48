"""What the array API standard lets code ask about a namespace: ``xp.__array_namespace_info__()``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.backend import Device, current_backend, current_device
from gradkit.core.promotion import COMPLEX, FLOATING, INTEGER, default_dtype
from gradkit.numpy.data_types import isdtype

__all__ = ["__array_api_version__", "__array_namespace_info__"]

__array_api_version__ = "2025.12"

DTYPES = """
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
""".split()


class __array_namespace_info__:
    """What this namespace can do, and what it makes by default, on the current backend.

    Examples
    --------
    >>> __array_namespace_info__().default_dtypes()["real floating"]
    dtype('float32')
    """

    def capabilities(self) -> dict[str, Any]:
        """Return what results may depend on: the values (they may not under `vmap` and in graphs)."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Return where new arrays are made."""
        backend, raw = current_backend(), current_device()
        return next((device for device in backend.devices if device.raw == raw), backend.devices[0])

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the backend that makes new arrays."""
        return current_backend().devices

    def default_dtypes(self, *, device: Device | None = None) -> dict[str, np.dtype[Any]]:
        """Return the dtypes of new numbers, by kind: 64-bit ones if x64 is enabled."""
        kinds = {
            "real floating": FLOATING,
            "complex floating": COMPLEX,
            "integral": INTEGER,
            "indexing": INTEGER,
        }
        return {kind: np.dtype(default_dtype(number)) for kind, number in kinds.items()}

    def dtypes(self, *, device: Device | None = None, kind: Any = None) -> dict[str, np.dtype[Any]]:
        """Return the standard's dtypes by name, all or those of a kind (see `isdtype`)."""
        return {name: np.dtype(name) for name in DTYPES if kind is None or isdtype(name, kind)}
