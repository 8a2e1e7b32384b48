"""Arrays that travel between GPUs by NCCL.

All that a lane has on its way is in one stream of the GPU, in the order of the program: so it has one order in all
processes, whenever each of them gets there, and nothing waits on the host. What is computed between the two movements
of a sum is computed in that stream as well (`apart`), and the arrays of the program wait for it where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradkit.backend import Arriving, Processes, own_device

__all__ = ["NcclTransport", "place", "why_no_nccl"]


def why_no_nccl() -> str | None:
    """Return None where CuPy finds NCCL, else why not."""
    try:
        from cupy.cuda import nccl  # optional
    except ImportError as error:
        return str(error)
    if not hasattr(nccl, "NcclCommunicator") or not getattr(nccl, "available", True):
        return "CuPy finds no NCCL library (pip install nvidia-nccl-cu13, or nvidia-nccl-cu12)"
    return None


def place(processes: Processes) -> None:
    """Make another GPU the current one of each process of a machine.

    Raises
    ------
    TooFewDevicesError
        If there are fewer GPUs than processes.
    """
    import cupy  # optional

    cupy.cuda.Device(own_device(processes, cupy.cuda.runtime.getDeviceCount())).use()


class _Arrived:
    """An array that the GPU will have when its stream gets there."""

    def __init__(self, sent: Any, received: Any, event: Any) -> None:
        self._sent = sent  # read until the event
        self._received = received
        self._event = event

    def done(self) -> bool:
        """Return True: what follows is asked for behind it in the stream."""
        return True

    def result(self) -> Any:
        """Return it, for whatever the current stream does from now on."""
        import cupy  # optional

        cupy.cuda.get_current_stream().wait_event(self._event)
        # A copy in the current stream's memory: that of the other stream may be used anew there when it is let go.
        return self._received.copy()


class NcclTransport:
    """NCCL between the GPUs of the processes.

    Parameters
    ----------
    processes : Processes
        Between whom.
    lane : str
        Whose messages; each lane has a communicator and a stream of its own.
    """

    how = "NCCL"

    def __init__(self, processes: Processes, lane: str) -> None:
        import cupy  # optional
        from cupy.cuda import nccl  # optional

        self._nccl = nccl
        self._count = processes.count
        own = json.dumps(list(nccl.get_unique_id()) if processes.index == 0 else None).encode()
        name = tuple(json.loads(processes.broadcast_bytes(own, f"NCCL's start for {lane}")))
        self._comm = nccl.NcclCommunicator(processes.count, name, processes.index)
        self._stream = cupy.cuda.Stream(non_blocking=True)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let what is computed inside a ``with`` block be in the messages' stream, behind them."""
        with self._stream:
            yield

    def exchange(self, parts: Any, call: str) -> Arriving:
        """Send row i of (processes, m) to process i."""
        import cupy  # optional

        sent, received = cupy.ascontiguousarray(parts), cupy.empty_like(parts)
        size = sent.nbytes // self._count
        with self._behind(sent) as stream:
            self._nccl.groupStart()
            for i in range(self._count):
                self._comm.send(sent.data.ptr + i * size, size, self._nccl.NCCL_UINT8, i, stream)
                self._comm.recv(received.data.ptr + i * size, size, self._nccl.NCCL_UINT8, i, stream)
            self._nccl.groupEnd()
        return _Arrived(sent, received, self._stream.record())

    def collect(self, part: Any, call: str) -> Arriving:
        """Send (m,) to all, which get (processes, m)."""
        import cupy  # optional

        sent = cupy.ascontiguousarray(part)
        received = cupy.empty((self._count, *part.shape), part.dtype)
        with self._behind(sent) as stream:
            self._comm.allGather(sent.data.ptr, received.data.ptr, sent.nbytes, self._nccl.NCCL_UINT8, stream)
        return _Arrived(sent, received, self._stream.record())

    def broadcast(self, values: Any, source: int, call: str) -> Arriving:
        """Send (m,) of one process to all."""
        import cupy  # optional

        sent = cupy.ascontiguousarray(values)
        received = cupy.empty_like(sent)
        with self._behind(sent) as stream:
            self._comm.broadcast(sent.data.ptr, received.data.ptr, sent.nbytes, self._nccl.NCCL_UINT8, source, stream)
        return _Arrived(sent, received, self._stream.record())

    @contextmanager
    def _behind(self, sent: Any) -> Iterator[int]:
        """Give the messages' stream, behind what the current one has been asked for."""
        import cupy  # optional

        current = cupy.cuda.get_current_stream()
        if current.ptr != self._stream.ptr:
            self._stream.wait_event(current.record())
        yield self._stream.ptr
