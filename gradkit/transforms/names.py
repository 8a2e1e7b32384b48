"""What JAX has for its compiler, and what has nothing to do where operations run at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from typing import Any

from gradkit.transforms.arguments import check_callable

__all__ = ["ensure_compile_time_eval", "named_call", "named_scope"]


class named_scope(ContextDecorator):
    """Name what runs inside a ``with`` block, or a decorated function, for JAX's profiler. Here it does nothing.

    Examples
    --------
    >>> import gradkit
    >>> with gradkit.named_scope("forward"):
    ...     pass
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"named_scope name argument must be a string, got {name!r}.")
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """Give a function a name in JAX's profiler: the same function."""
    check_callable(fun)
    scope = named_scope(getattr(fun, "__name__", str(fun)) if name is None else name)

    @functools.wraps(fun)
    def named(*args: Any, **kwargs: Any) -> Any:
        with scope:
            return fun(*args, **kwargs)

    return named


@contextmanager
def ensure_compile_time_eval() -> Iterator[None]:
    """Run operations at once inside a ``with`` block: which is how they run here, unless they have no values."""
    yield
