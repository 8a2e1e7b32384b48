"""What `jit` says of its work where that is asked for: by ``GRADKIT_LOG_COMPILES=1`` or jax_log_compiles."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradkit.config import config

__all__ = ["compiling", "tracing"]

logger = logging.getLogger("gradkit.jit")


@contextmanager
def tracing(name: str, why: Callable[[], list[str]]) -> Iterator[None]:
    """Say that a function is traced, why, and how long it took; `why` gives the lines that say what is new."""
    if not config.jax_log_compiles:
        yield
        return
    logger.warning("%s", "\n".join([f"Tracing {name} for jit: {why()[0]}", *why()[1:]]))
    begin = time.perf_counter()
    yield
    logger.warning("Finished tracing %s for jit in %.6f sec", name, time.perf_counter() - begin)


@contextmanager
def compiling(name: str, operations: int) -> Iterator[None]:
    """Say that a graph is compiled, and how long it took."""
    if not config.jax_log_compiles:
        yield
        return
    begin = time.perf_counter()
    yield
    logger.warning(
        "Finished compilation of jit(%s), %d operation%s, in %.6f sec",
        name,
        operations,
        "s" * (operations != 1),
        time.perf_counter() - begin,
    )
