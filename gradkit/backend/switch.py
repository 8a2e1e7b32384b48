"""Which backend makes new arrays, and where: for the process, or inside a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from gradkit.backend.protocol import Backend, Device
from gradkit.backend.registry import get_backend
from gradkit.blocks import BlockValue
from gradkit.errors import BackendNotInstalledError, BackendUnusableError

__all__ = [
    "ENVIRONMENT_VARIABLE", "chosen_device", "current_backend", "current_device", "default_device", "openings",
    "set_backend", "use_backend", "use_everywhere",
]  # fmt: skip

ENVIRONMENT_VARIABLE = "GRADKIT_BACKEND"


class Openings:
    """What a thread or task may see otherwise than the process: whoever keeps what depends on it asks here first.

    Attributes
    ----------
    blocks : list
        An entry for each block that is open in any thread, and gives a setting, a backend or a device another value.
    generation : int
        How often the process's own value of one was changed.
    """

    def __init__(self) -> None:
        self.blocks: list[None] = []
        self.generation = 0


openings = Openings()

_process_default: Backend | None = None
_process_device: Device | None = None
_here: BlockValue[tuple[Backend, Device | None] | None] = BlockValue("gradkit_backend", None)


def current_backend() -> Backend:
    """Return the backend that makes new arrays."""
    here = _here.get()
    if here is not None:
        return here[0]
    global _process_default
    if _process_default is None:
        _process_default = _backend_of_environment()
    return _process_default


def _backend_of_environment() -> Backend:
    wish = os.environ.get(ENVIRONMENT_VARIABLE)
    if not wish:
        return get_backend("numpy")
    try:
        return get_backend(wish)
    except (ValueError, BackendNotInstalledError, BackendUnusableError) as error:
        raise type(error)(f"{ENVIRONMENT_VARIABLE}={wish}: {error}") from error


def set_backend(name: str) -> None:
    """Make new arrays on another backend from now on, in the whole process.

    Parameters
    ----------
    name : str
        ``"numpy"``, ``"cupy"``, ``"auto"`` or any other installed backend's name.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.set_backend("numpy")
    >>> gradkit.numpy.ones(2).device
    Device(backend='numpy', platform='cpu', id=0)
    """
    global _process_default, _process_device
    _process_default, _process_device = get_backend(name), None
    openings.generation += 1


@contextmanager
def use_everywhere(backend: Backend, device: Device | None = None) -> Iterator[None]:
    """Make new arrays on a backend, and a device of it, inside a ``with`` block, in all threads of the process.

    A thread or task that is inside a block of `use_backend` or `default_device` keeps to that. Afterwards the process
    has its own backend again, also where `set_backend` was called in the block.
    """
    global _process_default, _process_device
    before = _process_default, _process_device
    _process_default, _process_device = backend, device
    openings.generation += 1
    try:
        with nullcontext() if device is None else backend.placing(device.raw):
            yield
    finally:
        _process_default, _process_device = before
        openings.generation += 1


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Make new arrays on another backend inside a ``with`` block, in this thread or task alone.

    Examples
    --------
    >>> import gradkit
    >>> with gradkit.use_backend("strict"):
    ...     gradkit.numpy.ones(2).device.backend
    'strict'
    """
    openings.blocks.append(None)
    try:
        with _here.block((get_backend(name), None)):
            yield
    finally:
        openings.blocks.pop()


@contextmanager
def default_device(device: Device) -> Iterator[None]:
    """Make new arrays on `device` inside a ``with`` block, as `jax.default_device` does.

    Examples
    --------
    >>> import gradkit
    >>> with gradkit.default_device(gradkit.devices("numpy")[0]):
    ...     x = gradkit.numpy.zeros(3)
    """
    if not isinstance(device, Device):
        raise TypeError(
            f"default_device: expected a Device, one of gradkit.devices(), got {device!r} of type "
            f"{type(device).__name__}"
        )
    backend = get_backend(device.backend)
    openings.blocks.append(None)
    try:
        with _here.block((backend, device)), backend.placing(device.raw):
            yield
    finally:
        openings.blocks.pop()


def chosen_device() -> Device | None:
    """Return the device on which new arrays are made (None: the current backend's own default)."""
    here = _here.get()
    return _process_device if here is None else here[1]


def current_device() -> Any:
    """Return what the current backend's library takes as ``device=`` for a new array (None: its own default)."""
    device = chosen_device()
    return None if device is None else device.raw
