"""What programs are beside their code, on disk: what they take and give, and which object code is theirs.

A record is found by the graph that a program was made of, where object code is found by the text that was printed; so a
process that finds one plans and prints nothing. It is data alone, and kept as object code is (`object_code`): in the
same folder, with a checksum, ignored if anything is wrong with it.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
from functools import cache
from typing import Any

from gradkit_numpy.native import object_code
from gradkit_numpy.native.machine import made_for
from gradkit_numpy.native.objects import layout_is_known
from gradkit_numpy.native.symbols import numpy_has_products

__all__ = ["CODE", "load", "store"]

CODE = "code"
"""What ``GRADKIT_CACHE`` is where object code is kept and records are not: for work on what compiles."""

LARGEST = 1 << 20
"""Bytes of a record; what is larger holds large arrays, which would be read anew for each program."""
LIBRARIES = "scipy", "array_api_compat", "ml_dtypes"
"""What computes numbers while a plan is made, beside NumPy."""


def store(facts: bytes, record: tuple[Any, ...]) -> None:
    """Keep a record, if the folder can be written."""
    key = _key(facts) if _are_kept() else None
    if key is not None:
        content = marshal.dumps(record)
        if len(content) <= LARGEST:
            object_code.store(key, content, object_code.RECORD_SUFFIX)


def load(facts: bytes) -> Any:
    """Return the record of these facts; None where there is none that is whole."""
    key = _key(facts) if _are_kept() else None
    content = None if key is None else object_code.load(key, object_code.RECORD_SUFFIX)
    return None if content is None else marshal.loads(content)


def _are_kept() -> bool:
    return object_code.folder() is not None and os.environ.get(object_code.SWITCH_VARIABLE, "").lower() != CODE


def _key(facts: bytes) -> str | None:
    libraries = _libraries()
    if libraries is None:
        return None
    return object_code.key_of("program", facts, *made_for(), f"{layout_is_known()} {numpy_has_products()}", *libraries)


@cache
def _libraries() -> tuple[str, ...] | None:
    """Return what tells the versions of libraries that are not loaded for it; None where their files say nothing."""
    found = []
    for name in LIBRARIES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            found.append("")
            continue
        try:
            facts = os.stat(spec.origin or "")
        except OSError:
            return None
        found.append(f"{spec.origin} {facts.st_size} {facts.st_mtime_ns}")
    return tuple(found)
