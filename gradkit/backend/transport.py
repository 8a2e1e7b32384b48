"""What a backend is asked for where its arrays travel between processes: three movements of flat arrays.

Everything else (sums, parts of sums, trees) is made of these in `gradkit.processes` and `gradkit.distributed`, so the
order of sums is the same whatever arrays travel by.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Arriving", "Processes", "Transport"]


class Processes(Protocol):
    """What a transport may know of the processes of a run."""

    @property
    def index(self) -> int:
        """The number of this process, from 0."""

    @property
    def count(self) -> int:
        """How many processes there are."""

    @property
    def local_index(self) -> int:
        """The number of this process among those of its machine."""

    @property
    def local_count(self) -> int:
        """How many processes there are on its machine."""

    def broadcast_bytes(self, content: bytes, call: str) -> bytes:
        """Return what process 0 gave, in every process."""

    def wait_until(self, done: Callable[[], bool], call: str) -> None:
        """Return when `done` is true, or raise where that takes too long or another process has left."""


class Arriving(Protocol):
    """An array on its way."""

    def done(self) -> bool:
        """Return whether it is there, without waiting."""

    def result(self) -> Any:
        """Wait for it and return it."""


class Transport(Protocol):
    """How flat raw arrays of one backend travel. Each call is made by all processes, in the same order."""

    how: str
    """What they travel by, in words."""

    def apart(self) -> AbstractContextManager[None]:
        """Let what is computed between two movements not be waited for, where they are not on the host's time."""

    def exchange(self, parts: Any, call: str) -> Arriving:
        """Send row i of (processes, m) to process i; what arrives has as row i what process i has sent here."""

    def collect(self, part: Any, call: str) -> Arriving:
        """Send an array of shape (m,) to all; what arrives has shape (processes, m)."""

    def broadcast(self, values: Any, source: int, call: str) -> Arriving:
        """Send the array of shape (m,) of one process to all."""
