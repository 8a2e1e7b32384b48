"""What the C library does with memory that is freed: it keeps some, so that large arrays take no page faults.

A training step frees arrays of megabytes and asks for the same again in the next. glibc gives free memory at the end of
its heap back to the system as soon as there are twice the largest array's bytes of it, 64 MiB at most, and then fetches
it page by page, each a fault: for networks of a million weights that is a quarter of an eager step. Here it is told
when to give back, once, before the first array is made. (What lies below memory in use is not given back by itself,
there or here: ``malloc_trim`` of C does that.) Other C libraries (macOS, Windows, musl) are left as they are.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

__all__ = ["KEPT", "SWITCH_VARIABLE", "keep_freed_memory"]

KEPT = 512 << 20
"""How many bytes of free memory may lie at the end of the heap."""
LARGEST = 32 << 20
"""Arrays of more bytes come from the system and go back to it one by one. It is what glibc gets to by itself."""

SWITCH_VARIABLE = "GRADKIT_KEEP_MEMORY"
OFF = frozenset({"0", "false", "no", "off"})
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")
_TUNABLES = ("trim_threshold", "mmap_threshold", "top_pad", "mmap_max")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep `KEPT` bytes of what is freed, and return whether it was told.

    It is not where the environment has ``GRADKIT_KEEP_MEMORY=0`` or ``off``, or says itself how glibc allocates
    (``MALLOC_TRIM_THRESHOLD_`` and its relatives, ``GLIBC_TUNABLES``).
    """
    if os.environ.get(SWITCH_VARIABLE, "").lower() in OFF or any(name in os.environ for name in _USERS_OWN):
        return False
    if any(f"glibc.malloc.{name}" in os.environ.get("GLIBC_TUNABLES", "") for name in _TUNABLES):
        return False
    try:
        library = ctypes.CDLL(None)
        told, _ = library.mallopt, library.gnu_get_libc_version
    except (OSError, TypeError, AttributeError):  # Windows has no library of that name; others are not glibc
        return False
    told.argtypes, told.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # Either ends glibc's own way of finding the other, so both are given.
    return bool(told(_M_MMAP_THRESHOLD, LARGEST) and told(_M_TRIM_THRESHOLD, KEPT))
