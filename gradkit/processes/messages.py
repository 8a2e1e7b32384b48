"""Arrays that travel by MPI, through memory that the backend chooses: what serves every backend that has no better."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gradkit.backend import Backend
from gradkit.backend.transport import Arriving, Processes
from gradkit.errors import DistributedError

__all__ = ["MpiTransport"]


class _Request:
    """An array that MPI brings."""

    def __init__(
        self,
        transport: MpiTransport,
        request: Any,
        sent: Any,
        received: Any,
        shape: tuple[int, ...],
        like: Any,
        call: str,
    ) -> None:
        self._transport = transport
        self._request = request
        self._sent = sent  # MPI reads it until the request is done
        self._received = received
        self._shape = shape
        self._like = like
        self._call = call
        self._is_done = request is None

    def done(self) -> bool:
        """Return whether it is there."""
        if not self._is_done:
            try:
                self._is_done = self._request.Test()
            except RuntimeError as error:  # what mpi4py's errors are
                raise DistributedError(
                    f"{self._call}: MPI says {error}, in process {self._transport.processes.index}, whose array has "
                    f"{self._sent.nbytes} bytes there. All processes have to come to the same operations in the same "
                    f"order, with arrays of one shape and dtype."
                ) from error
        return self._is_done

    def result(self) -> Any:
        """Wait for it and return it."""
        transport = self._transport
        transport.processes.wait_until(self.done, self._call)
        return transport.memory.array(self._received, self._shape, self._like)


class MpiTransport:
    """MPI, on host memory or on what else the backend has for messages.

    Parameters
    ----------
    backend : Backend
        Whose arrays travel.
    processes : Processes
        Between whom.
    exchanges, others : mpi4py.MPI.Comm
        The communicators of `exchange`, and of the rest: what leaves in each is in one order for all processes,
        whenever a process gets to the second of the two movements of a sum.
    """

    def __init__(self, backend: Backend, processes: Processes, exchanges: Any, others: Any) -> None:
        self.memory = backend.message_memory()
        self.how = f"MPI on {self.memory.where}"
        self.processes = processes
        self._exchanges = exchanges
        self._others = others

    def apart(self) -> AbstractContextManager[None]:
        """Do nothing: what is computed here is there when it has been computed."""
        return nullcontext()

    def exchange(self, parts: Any, call: str) -> Arriving:
        """Send row i of (processes, m) to process i."""
        told, sent = self.memory.told, self.memory.sent(parts)
        received = self.memory.empty(sent.size)
        request = self._exchanges.Ialltoall(told(sent), told(received)) if sent.size else None
        return _Request(self, request, sent, received, tuple(parts.shape), parts, call)

    def collect(self, part: Any, call: str) -> Arriving:
        """Send (m,) to all, which get (processes, m)."""
        told, sent = self.memory.told, self.memory.sent(part)
        received = self.memory.empty(self.processes.count * sent.size)
        request = self._others.Iallgather(told(sent), told(received)) if sent.size else None
        return _Request(self, request, sent, received, (self.processes.count, *part.shape), part, call)

    def broadcast(self, values: Any, source: int, call: str) -> Arriving:
        """Send (m,) of one process to all."""
        sent = self.memory.sent(values)
        moved = self.memory.empty(sent.size)
        moved[...] = sent
        request = self._others.Ibcast(self.memory.told(moved), root=source) if moved.size else None
        return _Request(self, request, moved, moved, tuple(values.shape), values, call)
