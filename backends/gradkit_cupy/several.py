"""Machines with several GPUs: each function runs on the GPU where its arguments are.

CuPy runs what it is asked on the thread's *current* GPU, reading other GPUs' memory from there, and array-api-compat's
creation functions take no notice of ``device=`` for it. So here every function is called with the right one current.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

__all__ = ["NamespaceOfSeveral", "on_its_device"]

Function = Callable[..., Any]


class NamespaceOfSeveral:
    """A namespace whose functions run where their arguments are, or where ``device=`` says.

    Parameters
    ----------
    namespace : module
        The namespace.
    array_type : type
        The type of its arrays.
    """

    def __init__(self, namespace: Any, array_type: type[Any]) -> None:
        self._namespace = namespace
        self._array_type = array_type

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._namespace, name)
        if callable(found) and not isinstance(found, type):
            found = on_its_device(found, self._array_type)
        setattr(self, name, found)
        return found


def on_its_device(function: Function, array_type: type[Any]) -> Function:
    """Return `function`, run with its arguments' device as the current one.

    Raises
    ------
    ValueError
        By the returned function: if arrays of two devices come together.
    """

    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        wanted = kwargs.get("device")
        devices = {array.device.id: array.device for array in _arrays((*args, *kwargs.values()), array_type)}
        if len(devices) > 1 and wanted is None:
            raise ValueError(f"arrays of the devices {' and '.join(map(str, sorted(devices)))} in one operation")
        place = wanted if wanted is not None else next(iter(devices.values()), None)
        with nullcontext() if place is None else place:
            return function(*args, **kwargs)

    return call


def _arrays(values: Iterable[Any], array_type: type[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, array_type):
            yield value
        elif isinstance(value, list | tuple):
            yield from _arrays(value, array_type)
