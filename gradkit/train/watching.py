"""Whether Python code that is run does anything but compute: a program made of it would do that once.

`watched` runs a function under a profile function, which is told of every function that is called. Code of gradkit and
of the libraries that it calls is trusted. All other code is looked at: what it is made of, and which functions of
libraries it calls.
"""

from __future__ import annotations

import dis
import functools
import gc
import math
import operator
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from gradkit.backend import backend_packages, library_packages
from gradkit.random.state import next_key

__all__ = ["Seen", "watched"]

STORES = frozenset({
    "DELETE_ATTR", "DELETE_GLOBAL", "DELETE_SUBSCR", "STORE_ATTR", "STORE_GLOBAL", "STORE_NAME", "STORE_SLICE",
    "STORE_SUBSCR",
})  # fmt: skip
"""Instructions that change what is not a variable of the function."""
STORES_OF_CLOSURES = frozenset({"DELETE_DEREF", "STORE_DEREF"})
"""Those that do where the variable is a function's around it."""

LIBRARIES = frozenset({*sys.stdlib_module_names, "array_api_compat", "numpy", "optree"})
"""What gradkit calls, besides the backends' libraries."""
HARMLESS = frozenset({"abc", "contextlib", "dataclasses", "enum", "functools", "typing"})
"""Of the standard library what changes nothing but its own objects."""

COMPUTING = frozenset({
    *(getattr(operator, name) for name in dir(operator) if not name.startswith(("_", "del", "set", "i"))),
    *(getattr(math, name) for name in dir(math) if not name.startswith("_")),
    abs, all, any, bool, callable, divmod, format, getattr, hasattr, isinstance, issubclass, iter, len, max, min, pow,
    repr, round, sorted, sum, functools.reduce, np.arange, np.array, np.asarray, np.empty, np.zeros,
})  # fmt: skip
"""Built-in functions that have no effect."""
READING = (str, bytes, int, float, complex, bool, tuple, range, frozenset)
"""Types whose methods change nothing."""
READING_METHODS = frozenset({"copy", "count", "get", "index", "items", "keys", "values"})
"""Methods of lists and dictionaries that change nothing."""


class Seen:
    """What was seen of the code that is not gradkit's.

    Attributes
    ----------
    some : bool
        Whether there was any.
    effect : str
        What it does besides computing, the first of it; empty if that is nothing.
    """

    def __init__(self) -> None:
        self.some = False
        self.effect = ""


def watched(function: Callable[[], Any]) -> tuple[Any, Seen]:
    """Run a function, and return what it gives and what was seen.

    Another profile function, such as a profiler's, is not told of this time.
    """
    seen = Seen()
    trusted: dict[FrameType, bool] = {}

    def is_trusted(frame: FrameType) -> bool:
        found = trusted.get(frame)
        if found is None:
            root = _root(frame)
            # A library's function is a part of what calls it: of gradkit, or of the code that is looked at.
            found = root in ours or ((root in libraries or root.startswith("namedtuple_")) and calls_it(frame))
            trusted[frame] = found
        return found

    def calls_it(frame: FrameType) -> bool:
        return frame.f_back is not None and is_trusted(frame.f_back)

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if seen.effect:
            return
        if event == "call":
            if frame.f_code is next_key.__code__:
                seen.effect = "random.next_key() is called: pass the key"
            elif not is_trusted(frame):
                seen.some = True
                seen.effect = _effect_of(frame.f_code)
        elif event == "c_call" and not is_trusted(frame) and not _only_computes(argument):
            seen.effect = f"{frame.f_code.co_qualname} calls {getattr(argument, '__qualname__', argument)}"
        elif event == "return":
            trusted.pop(frame, None)

    ours = {"gradkit", *backend_packages(), *HARMLESS}
    libraries = LIBRARIES | library_packages()
    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # what objects do that are collected is no part of this
    sys.setprofile(look)
    try:
        result = function()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return result, seen


def _root(frame: FrameType) -> str:
    """Return the package that code is of; its file would not do, which methods that a dataclass has written lack."""
    return str(frame.f_globals.get("__name__")).partition(".")[0]


@functools.lru_cache(maxsize=4096)
def _effect_of(code: CodeType) -> str:
    """Return what code does besides computing, or nothing."""
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in STORES or (name in STORES_OF_CLOSURES and instruction.argval in code.co_freevars):
            return f"{code.co_qualname} assigns to what is not its own ({name} {instruction.argval or ''})".rstrip()
    return ""


def _only_computes(function: Any) -> bool:
    try:
        if function in COMPUTING:
            return True
    except TypeError:  # a method of what does not hash
        pass
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if isinstance(owner, type):
        return name == "__new__"
    return isinstance(owner, READING) or (isinstance(owner, list | dict | set) and name in READING_METHODS)
