"""Memory of the processes of one machine, in which each writes its own part and reads those of the others.

A part is memory without a file name (Linux's ``memfd_create``), which the others open through ``/proc``. So nothing is
left of it when its processes end, however they do. Who may read when is said by barriers of MPI.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradkit.processes.world import World

__all__ = ["SHARED_MEMORY", "shared_memories"]

Values = np.ndarray[Any, Any]

SHARED_MEMORY = "GRADKIT_SHARED_MEMORY"
"""The environment variable that is 0 where the processes of a machine are to send each other messages."""

ALIGNMENT = 64
HEAD = 64
"""The bytes in front of a part, by which it is known."""

Form = tuple[tuple[int, ...], Any]
"""Of an array its shape and its dtype, NumPy's."""


def shared_memories(here: World, forms: Sequence[Form], call: str) -> list[list[Values]] | None:
    """Return memory for arrays in each process, of whom all call this: by process, the arrays.

    Those of the others can be read alone. None, in all, where the system has no such memory, or one process cannot see
    another's.
    """
    starts, size = [], 0
    for shape, dtype in forms:
        starts.append(size)
        size += -(-prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
    token = secrets.token_bytes(16)
    own = _made(token, HEAD + size)
    said = None if own is None else [os.getpid(), own[0], token.hex()]
    told = [json.loads(text) for text in here.gather_texts(json.dumps(said), call)]
    seen: list[Any] = [
        own[1] if own is not None and process == here.index else _opened(what, HEAD + size)
        for process, what in enumerate(told)
    ]
    complete = None not in seen
    everybody = all(json.loads(text) for text in here.gather_texts(json.dumps(complete), call))
    if own is not None:
        os.close(own[0])  # whoever was to see it has it
    if not everybody:
        return None
    return [
        [
            np.frombuffer(memory, dtype, prod(shape), HEAD + start).reshape(shape)
            for (shape, dtype), start in zip(forms, starts, strict=True)
        ]
        for memory in seen
    ]


def _made(token: bytes, size: int) -> tuple[int, mmap.mmap] | None:
    """Return a descriptor of new memory and the memory, zeros behind the token; None where it cannot be."""
    if not hasattr(os, "memfd_create") or os.environ.get(SHARED_MEMORY) == "0":
        return None
    try:
        descriptor = os.memfd_create("gradkit")
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, size)  # a page that is missing later would end the process
        memory = mmap.mmap(descriptor, size)
    except OSError:
        os.close(descriptor)
        return None
    memory[: len(token)] = token
    return descriptor, memory


def _opened(what: Any, size: int) -> mmap.mmap | None:
    """Return another process's memory, to be read; None where this one cannot see it."""
    if what is None or os.environ.get(SHARED_MEMORY) == "0":
        return None
    process, number, token = what
    try:
        # Where this is another process, by its number, the file may be anything, a pipe that nobody writes to as well.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(f"/proc/{process}/fd/{number}", flags)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_size != size:
            return None  # by its number it is another process: they do not see the same ones
        memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return memory if memory[: len(token) // 2] == bytes.fromhex(token) else None
