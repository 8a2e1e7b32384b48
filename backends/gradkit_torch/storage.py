"""Who else has a tensor's memory. Tensors share a storage without holding each other: views, detached ones, slices.

PyTorch counts the tensors of a storage and says it under no public name; where it does not, any may be shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["is_shared"]

_count: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)


def _holders(tensor: torch.Tensor) -> int:
    assert _count is not None
    return int(_count(tensor.untyped_storage()._cdata))


_ALONE = _holders(torch.empty(1, device="cpu")) if _count is not None else 0
"""What PyTorch counts where a tensor alone has its storage."""


def is_shared(tensor: Any) -> bool:
    """Return whether more than this tensor has its storage, or memory that is not PyTorch's own.

    The memory of a NumPy array, of DLPack or of shared memory cannot change its size.
    """
    return _count is None or not tensor.untyped_storage().resizable() or _holders(tensor) > _ALONE
