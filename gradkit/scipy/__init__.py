"""`jax.scipy`'s modules: `special`, `stats`, `linalg`; and `beyond_jax`, what SciPy's `special` has besides."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = frozenset({"beyond_jax", "linalg", "special", "stats"})


def __getattr__(name: str) -> Any:
    """Import a module of the package when it is first used."""
    if name in _MODULES:
        return importlib.import_module(f"gradkit.scipy.{name}")
    raise AttributeError(f"module 'gradkit.scipy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
