"""Where arrays are, in JAX's words."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from gradkit.backend import Backend, Device, backend_of, current_backend, current_device, first_on_gpu, get_backend
from gradkit.core import Array
from gradkit.core.array import is_followed
from gradkit.core.values import host
from gradkit.primitives.new_arrays import asarray
from gradkit.transfers import explicitly, guards

__all__ = [
    "block_until_ready", "default_backend", "device_count", "device_get", "device_put", "devices", "local_device_count",
    "local_devices",
]  # fmt: skip


def devices(backend: str | None = None) -> list[Device]:
    """List the devices of a backend.

    Parameters
    ----------
    backend : str, optional
        The backend's name, or a platform as in JAX: ``"cpu"`` or ``"gpu"``. By default the one that makes new arrays.

    Examples
    --------
    >>> devices("numpy")
    [Device(backend='numpy', platform='cpu', id=0)]
    """
    return list(_backend_named(backend).devices)


def _backend_named(word: str | None) -> Backend:
    """Return the backend of a name or platform; of a platform's backends the current one, else the usual one."""
    current = current_backend()
    if word is None or word == current.platform:
        return current
    if word == "cpu":
        return get_backend("numpy")
    return first_on_gpu() if word == "gpu" else get_backend(word)


def local_devices(process_index: int | None = None, backend: str | None = None) -> list[Device]:
    """List the devices of this process: all of them."""
    return devices(backend)


def device_count(backend: str | None = None) -> int:
    """Return how many devices a backend has."""
    return len(devices(backend))


def local_device_count(backend: str | None = None) -> int:
    """Return how many devices this process has."""
    return len(devices(backend))


def default_backend() -> str:
    """Return the platform of the device that new arrays are made on: ``"cpu"`` or ``"gpu"``."""
    backend, raw = current_backend(), current_device()
    if raw is None:
        return backend.platform
    return next((device.platform for device in backend.devices if device.raw == raw), backend.platform)


def device_put(x: Any, device: Device | None = None) -> Any:
    """Copy the arrays of a pytree to a device.

    Parameters
    ----------
    x : pytree
        Arrays, NumPy arrays and numbers.
    device : Device, optional
        Where to; by default the current backend's default device.

    Returns
    -------
    pytree of Array
        Arrays that are there already are returned as they are. The copy is differentiable: the gradient travels back.

    Examples
    --------
    >>> import numpy, gradkit
    >>> gradkit.device_put({"x": numpy.ones(2, "float32")})
    {'x': Array([1., 1.], dtype=float32)}
    """
    if device is not None and not isinstance(device, Device):
        raise TypeError(f"device_put: device must be a Device, one of gradkit.devices(), got {device!r}")
    backend = current_backend()
    raw_device = current_device()
    target = device or next((d for d in backend.devices if d.raw == raw_device), backend.devices[0])
    # late: importing gradkit needs no pytrees
    from gradkit.tree import map

    with explicitly() if guards.is_on else nullcontext():
        return map(lambda leaf: asarray(leaf, device=target), x)


def device_get(x: Any) -> Any:
    """Copy the arrays of a pytree to the host, as NumPy arrays, raw ones too; other leaves stay as they are.

    Inside of a function that a transform runs, the arrays that it follows stay as they are too, as in JAX: they keep
    their derivative, and raise where NumPy asks them for values.
    """
    # late: importing gradkit needs no pytrees
    from gradkit.tree import map

    def get(leaf: Any) -> Any:
        if type(leaf) is Array:
            return leaf if is_followed(leaf) else np.array(host(leaf))
        backend = None if isinstance(leaf, np.ndarray) else backend_of(leaf)
        return leaf if backend is None or not backend.has_axes or backend.is_scalar(leaf) else backend.to_host(leaf)

    with explicitly() if guards.is_on else nullcontext():
        return map(get, x)


def block_until_ready(x: Any) -> Any:
    """Wait until every array of a pytree has been computed, and return the pytree."""
    # late: importing gradkit needs no pytrees
    from gradkit.tree import leaves

    for leaf in leaves(x):
        if type(leaf) is Array:
            leaf.block_until_ready()
        elif (backend := backend_of(leaf)) is not None:
            backend.wait(leaf)
    return x
