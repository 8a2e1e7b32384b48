"""The backend for array-api-strict: the array API standard to the letter, on NumPy, with several pretended devices.

It stands in for a GPU in tests. What the standard does not promise fails here, and an array on ``device1`` is as
far from one on ``CPU_DEVICE`` as a GPU's memory is from the host's: it has to be moved by a call, and NumPy cannot
read it where it lies. The library's flags (``ARRAY_API_STRICT_API_VERSION`` and the like) are left as they are;
its default is the latest published version of the standard.

Examples
--------
>>> import gradkit.numpy as jnp
>>> from gradkit.backend import use_backend
>>> with use_backend("strict"):
...     jnp.ones(2).device
Device(backend='strict', platform='cpu', id=0)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gradkit.backend import Backend

__all__ = ["StrictBackend"]

# Those on which every dtype of the standard exists. The library's other devices mimic hardware without 64-bit types.
DEVICE_NAMES = ("CPU_DEVICE", "device1", "device2")


def _silent() -> np.errstate:
    silent = np.errstate(all="ignore")
    silent.__enter__()
    return silent


def _as_before(silent: np.errstate) -> None:
    silent.__exit__(None, None, None)


class StrictBackend(Backend):
    """array-api-strict, with three devices."""

    name: ClassVar[str] = "strict"
    library: ClassVar[str] = "array_api_strict"
    install: ClassVar[str] = "pip install array-api-strict"

    @cached_property
    def xp(self) -> Any:
        """The library's namespace; it needs no wrapper."""
        import array_api_strict  # optional

        return array_api_strict

    @cached_property
    def array_types(self) -> tuple[type[Any], ...]:
        """The type of the library's arrays; it has no public name."""
        return (type(self.xp.empty(0)),)

    silence = (_silent, _as_before)
    """What enters ``numpy.errstate(all="ignore")``, as the arrays are NumPy's, and what leaves it."""

    def to_host(self, value: Any) -> np.ndarray[Any, Any]:
        """Copy an array of any device to a NumPy array."""
        return np.array(self.to_device(value, self.raw_devices()[0]))

    def shares_memory(self, a: Any, b: Any) -> bool:
        """Return whether the NumPy arrays inside overlap in memory."""
        return np.may_share_memory(a._array, b._array)

    def raw_devices(self) -> Sequence[Any]:
        """List the devices on which every dtype exists; the first is the default one."""
        return [self.xp.Device(name) for name in DEVICE_NAMES]

    def is_on_host(self, device: Any) -> bool:
        """Return whether it is the first device: the others stand for GPUs."""
        return device is None or device == self.raw_devices()[0]

    def device_kind(self, raw: Any) -> str:
        """Return the device's name in the library."""
        return str(raw).partition("'")[2].partition("'")[0]

    def device_of(self, value: Any) -> Any:
        """Return the device of an array."""
        return value.device

    def to_device(self, value: Any, device: Any) -> Any:
        """Copy an array to another device."""
        return value.to_device(device)
