"""A function that knows how often it was called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Counting"]


class Counting:
    """A function that counts its calls: how often `jit` has captured it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.function(*args, **kwargs)
