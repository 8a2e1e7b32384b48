"""The memory that MPI reads and writes where arrays travel between GPUs without NCCL.

An MPI that knows CUDA takes the GPU's own memory. Any other reads and writes pinned memory of the host, which the GPU
copies from and to at the full speed of its link.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["GpuMemory", "PinnedMemory", "mpi_knows_cuda"]

_MPICH_CUDA = 0  # MPIX_GPU_SUPPORT_CUDA of MPICH's mpi.h


@cache
def mpi_knows_cuda() -> bool:
    """Return whether MPI takes the memory of GPUs: what Open MPI or MPICH says of itself; False where it says nothing.

    Open MPI answers ``MPIX_Query_cuda_support()``, MPICH ``MPIX_GPU_query_support(MPIX_GPU_SUPPORT_CUDA, &answer)``.
    The library is asked without starting MPI, which `gradkit info` is not to do.
    """
    with suppress(ImportError, OSError, TypeError, ValueError, RuntimeError):  # no mpi4py; no MPI library
        spec = find_spec("mpi4py.MPI")
        return spec is not None and _says_yes(ctypes.CDLL(spec.origin))  # it is linked to MPI, whose names it finds
    return False


def _says_yes(library: ctypes.CDLL) -> bool:
    with suppress(AttributeError):
        return bool(library.MPIX_Query_cuda_support())
    with suppress(AttributeError):
        answer = ctypes.c_int(0)
        failed = library.MPIX_GPU_query_support(_MPICH_CUDA, ctypes.byref(answer))
        return not failed and bool(answer.value)
    return False


class PinnedMemory:
    """Pinned memory of the host.

    Parameters
    ----------
    copied : callable
        Begins to copy an array into pinned memory, and returns what waits for it.
    """

    where = "pinned host memory"

    def __init__(self, copied: Callable[[Any], Callable[[], np.ndarray[Any, Any]]]) -> None:
        self._copied = copied

    def sent(self, values: Any) -> np.ndarray[Any, Any]:
        """Return a copy of the array's bytes."""
        import cupy  # optional

        return self._copied(cupy.ascontiguousarray(values))().reshape(-1).view(np.uint8)

    def empty(self, size: int) -> np.ndarray[Any, Any]:
        """Return pinned memory."""
        import cupy  # optional

        return np.frombuffer(cupy.cuda.alloc_pinned_memory(max(size, 1)), np.uint8, size)

    def told(self, memory: np.ndarray[Any, Any]) -> Any:
        """Return the memory itself."""
        return memory

    def array(self, received: np.ndarray[Any, Any], shape: tuple[int, ...], like: Any) -> Any:
        """Return the array, copied to the GPU."""
        import cupy  # optional

        with like.device:
            found = cupy.empty(shape, like.dtype)
            found.set(received.view(like.dtype).reshape(shape))
        return found


class _Address:
    """Memory of a GPU, as Numba's interface tells of it and no other."""

    def __init__(self, memory: Any) -> None:
        self.__cuda_array_interface__ = memory.__cuda_array_interface__


class GpuMemory:
    """The GPU's own memory, for an MPI that knows CUDA."""

    where = "GPU memory"

    def sent(self, values: Any) -> Any:
        """Return the array's memory, when it has been computed: MPI knows nothing of streams."""
        import cupy  # optional

        with values.device:
            found = cupy.ascontiguousarray(values).reshape(-1).view(np.uint8)
            cupy.cuda.get_current_stream().synchronize()
        return found

    def empty(self, size: int) -> Any:
        """Return memory of the current GPU, which nothing that was asked for before still uses."""
        import cupy  # optional

        found = cupy.empty(size, np.uint8)
        cupy.cuda.get_current_stream().synchronize()
        return found

    def told(self, memory: Any) -> Any:
        """Return where the memory is, and nothing that waits for a stream: what is on its way has been waited for."""
        return _Address(memory)

    def array(self, received: Any, shape: tuple[int, ...], like: Any) -> Any:
        """Return it as an array."""
        return received.view(like.dtype).reshape(shape)
