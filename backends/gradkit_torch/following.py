"""Whether something of PyTorch's own follows its operations: out of memory that is there already it could not.

`torch.func`, forward-mode derivatives and what traces or counts operations take tensors of the plain type. What `torch`
says of that is not among its public names, so each is asked for with a way out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

__all__ = ["is_followed_now"]


def _nothing() -> Any:
    return None


_innermost: Callable[[], Any] = getattr(getattr(torch._C, "_functorch", None), "peek_interpreter_stack", _nothing)
_tracing: Callable[[], Any] = getattr(torch._C, "_get_tracing_state", _nothing)
_count_of_modes: Callable[[], Any] = getattr(torch._C, "_len_torch_dispatch_stack", _nothing)


def is_followed_now() -> bool:
    """Return whether a transform of `torch.func`, a level of forward mode, a trace or a mode of dispatch is open."""
    return (
        _innermost() is not None
        or getattr(forward_ad, "_current_level", -1) >= 0
        or _tracing() is not None
        or bool(_count_of_modes())
    )
