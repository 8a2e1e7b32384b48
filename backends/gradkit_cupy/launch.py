"""Compiling and launching the kernels of `sources`."""

from __future__ import annotations

import functools
from typing import Any

import cupy

from gradkit_cupy.sources import CUDA_SOURCES, OPTIONS

__all__ = ["C_TYPES", "grid_width", "kernel_function", "launch"]

C_TYPES = {"float32": "float", "float64": "double"}
"""What the kernels call the dtypes that they are made for."""
THREADS = 256
MOST_BLOCKS = 1 << 14
"""Enough to keep any GPU busy: the kernels walk on from there with the stride of the grid."""


@functools.cache
def kernel_function(source: str, kernel: str) -> Any:
    """Return a kernel by its name in the table; CuPy compiles it once for each GPU, and keeps it on disk."""
    text = CUDA_SOURCES[source]
    module = cupy.RawModule(code=text.code, options=OPTIONS, name_expressions=text.kernels)
    return module.get_function(kernel)


def grid_width(size: int) -> int:
    """Return how many blocks of threads go over `size` elements."""
    return max(1, min(MOST_BLOCKS, -(-size // THREADS)))


def launch(source: str, kernel: str, size: int, arguments: tuple[Any, ...], rows: int = 1) -> None:
    """Start a kernel on the current GPU.

    Parameters
    ----------
    source, kernel : str
        Its names in `CUDA_SOURCES`.
    size : int
        How many elements there are to go over; with none nothing is started.
    arguments : tuple
        Arrays, and numbers as NumPy scalars of exactly the kernel's types.
    rows : int
        The grid's second size.
    """
    if size:
        kernel_function(source, kernel)((grid_width(size), rows), (THREADS,), arguments)
