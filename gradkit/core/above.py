"""What arrays and primitives ask of what stands above them, when they are called: whoever has it puts it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradkit.core.array import Array

__all__ = ["above"]


def _is_no_argument(array: Array) -> bool:
    """Return False: nothing has noted arguments yet, so no function is being run."""
    return False


class Above:
    """The hooks; whoever imports gradkit finds all of them registered."""

    is_argument: Callable[[Array], bool] = staticmethod(_is_no_argument)
    """Whether a function that is being run got an array as an argument (`gradkit.core.assignment`)."""
    require_linear: Callable[[Any, Any, Any, str], Any]
    """``require_linear(operation, inputs, params, what)``, for one with graphs (`gradkit.compiler.passes`)."""
    text_on_batches: Callable[..., tuple[Any, Any]]
    """How a primitive that states no rule for batches runs on one (`gradkit.core.batching`)."""
    stop_gradient: Callable[[Array], Array]
    """The primitive of that name (`gradkit.primitives.operators`)."""
    special: Callable[[], Any]
    """Give the module `gradkit.scipy.beyond_jax`, likewise."""
    numpy: Callable[[], Any]
    """Give the module `gradkit.numpy`, which is loaded when it is asked for (`gradkit`)."""


above = Above()
