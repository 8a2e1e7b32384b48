"""What `jit` says of its work where that is asked for: by ``GRADKIT_LOG_COMPILES=1`` or jax_log_compiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradkit.config import config

__all__ = ["compiling", "tracing"]


def _say(text: str) -> None:
    import logging  # late: most programs are not asked

    logging.getLogger("gradkit.jit").warning("%s", text)


@contextmanager
def tracing(name: str, why: Callable[[], list[str]]) -> Iterator[None]:
    """Say that a function is traced, why, and how long it took; `why` gives the lines that say what is new."""
    if not config.jax_log_compiles:
        yield
        return
    _say("\n".join([f"Tracing {name} for jit: {why()[0]}", *why()[1:]]))
    begin = time.perf_counter()
    yield
    _say(f"Finished tracing {name} for jit in {time.perf_counter() - begin:.6f} sec")


@contextmanager
def compiling(name: str, operations: int) -> Iterator[None]:
    """Say that a graph is compiled, and how long it took."""
    if not config.jax_log_compiles:
        yield
        return
    begin = time.perf_counter()
    yield
    plural = "s" * (operations != 1)
    _say(
        f"Finished compilation of jit({name}), {operations} operation{plural}, in {time.perf_counter() - begin:.6f} sec"
    )
