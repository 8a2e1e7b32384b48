"""What a backend is asked for where its arrays travel between processes: three movements of flat arrays.

Everything else (sums, parts of sums, trees) is made of these in `gradkit.processes` and `gradkit.distributed`, so the
order of sums is the same whatever arrays travel by.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradkit.errors import TooFewDevicesError

if TYPE_CHECKING:
    from gradkit.backend.protocol import Backend

__all__ = ["Arriving", "HostMemory", "MessageMemory", "Processes", "Transport", "own_device"]


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


def own_device(processes: Processes, count: int) -> int:
    """Return the number of this process's GPU, of which its machine has `count`.

    Raises
    ------
    TooFewDevicesError
        If there are fewer GPUs than processes.
    """
    if processes.local_count > count:
        error = TooFewDevicesError(
            f"gradkit.distributed: this machine has {count} GPU{'' if count == 1 else 's'} and {processes.local_count} "
            f"processes, and each needs one of its own. Start {count} on it at most (mpiexec --map-by "
            f"ppr:{count}:node ...), or compute on the CPU: GRADKIT_BACKEND=numpy."
        )
        error.everywhere = processes.local_count == processes.count
        raise error
    return processes.local_index


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


class MessageMemory(Protocol):
    """The memory that MPI reads and writes where a backend's arrays travel by it. MPI need not know their dtypes."""

    where: str
    """Whose memory it is, in words."""

    def sent(self, values: Any) -> Any:
        """Return an array's bytes, row by row, which nothing changes until they have been read."""

    def empty(self, size: int) -> Any:
        """Return memory for so many bytes."""

    def told(self, memory: Any) -> Any:
        """Return what MPI is given for such memory."""

    def array(self, received: Any, shape: tuple[int, ...], like: Any) -> Any:
        """Return what has arrived as a raw array, of the dtype and on the device of another."""


class HostMemory:
    """NumPy's arrays, which serve every backend that has nothing better.

    Parameters
    ----------
    backend : Backend
        Whose arrays travel.
    """

    where = "host memory"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def sent(self, values: Any) -> np.ndarray[Any, Any]:
        """Return the array's memory, or a copy on the host."""
        return np.ascontiguousarray(self.backend.to_host(values)).reshape(-1).view(np.uint8)

    def empty(self, size: int) -> np.ndarray[Any, Any]:
        """Return memory on the host."""
        return np.empty(size, np.uint8)

    def told(self, memory: np.ndarray[Any, Any]) -> Any:
        """Return the memory itself."""
        return memory

    def array(self, received: np.ndarray[Any, Any], shape: tuple[int, ...], like: Any) -> Any:
        """Return the array, copied to its device."""
        values = received.view(self.backend.dtype_of(like)).reshape(shape)
        return self.backend.from_host(values, self.backend.device_of(like))
