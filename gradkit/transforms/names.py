"""What JAX has for its profiler and its compiler, and what has nothing to do here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from typing import Any

from gradkit.transforms.arguments import check_callable, named_like

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


def _name_of(fun: Any) -> str:
    name = getattr(fun, "__name__", None)
    return name if isinstance(name, str) else str(fun)


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """Give a function a name in JAX's profiler: the same function."""
    check_callable(fun)
    scope = named_scope(_name_of(fun) if name is None else name)

    @named_like(fun)
    def named(*args: Any, **kwargs: Any) -> Any:
        with scope:
            return fun(*args, **kwargs)

    return named


@contextmanager
def ensure_compile_time_eval() -> Iterator[None]:
    """Run operations on known values at once inside a ``with`` block: as they do here anyway, under `jit` as well."""
    yield
