"""array-api-compat's namespace for NumPy, without the modules that NumPy loads when they are used first.

array-api-compat takes every name of NumPy's, which loads numpy.testing, numpy.f2py and others that no program needs:
0.12 of the processor's 0.25 seconds for NumPy and it. Meanwhile NumPy has modules in their place that load them when
they are asked for something.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["array_api_namespace"]

LATE = (
    "char", "core", "ctypeslib", "f2py", "ma", "matlib", "polynomial", "random", "rec", "strings", "testing",
)  # fmt: skip
"""Modules of NumPy's that it loads when they are used first."""
NAME = "array_api_compat.numpy"


class Later(ModuleType):
    """A module that is loaded when it is asked for something."""

    def __getattr__(self, name: str) -> Any:
        """Ask the module itself."""
        return getattr(importlib.import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))


def array_api_namespace() -> Any:
    """Return the namespace."""
    if NAME in sys.modules:
        return sys.modules[NAME]
    missing = {name: Later(f"numpy.{name}") for name in LATE if name not in vars(np)}
    vars(np).update(missing)
    try:
        return importlib.import_module(NAME)
    finally:
        for name, module in missing.items():
            if vars(np).get(name) is module:  # else it was loaded meanwhile
                delattr(np, name)
