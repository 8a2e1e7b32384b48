"""The CUDA kernels of this backend, as text, in one table.

Kept apart from CuPy, which this module does not import, so that the text can be compiled where there is no GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CUDA_SOURCES", "OPTIONS", "CudaSource"]

OPTIONS = ("-std=c++17",)
"""What every source is compiled with."""


@dataclass(frozen=True)
class CudaSource:
    """One CUDA source.

    Attributes
    ----------
    code : str
        The text. It includes no header: NVRTC alone compiles it.
    kernels : tuple of str
        The kernels to make from it, as C++ expressions such as ``"update<float>"``.
    """

    code: str
    kernels: tuple[str, ...]


CUDA_SOURCES: dict[str, CudaSource] = {}
"""Each source by the name of what it computes."""
