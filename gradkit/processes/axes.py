"""Axes of processes that have names: what `lax.psum` and its relatives are over, besides the batches of `vmap`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gradkit.processes.world import World

__all__ = ["ProcessAxis", "axes_in_scope", "named_axes"]


class ProcessAxis(NamedTuple):
    """An axis of processes, as one of them sees it.

    Attributes
    ----------
    name : str
        Its name.
    world : World
        The processes along it.
    """

    name: str
    world: World

    @property
    def size(self) -> int:
        """How many processes are along it."""
        return self.world.count


NONE: Mapping[Any, ProcessAxis] = MappingProxyType({})
_scope: ContextVar[Mapping[Any, ProcessAxis]] = ContextVar("gradkit_process_axes", default=NONE)


def axes_in_scope() -> Mapping[Any, ProcessAxis]:
    """Return the axes whose names are known here."""
    return _scope.get()


@contextmanager
def named_axes(axes: Mapping[Any, ProcessAxis]) -> Iterator[None]:
    """Let the names of some axes be known inside a ``with`` block, in this thread or task."""
    token = _scope.set({**_scope.get(), **axes})
    try:
        yield
    finally:
        _scope.reset(token)
