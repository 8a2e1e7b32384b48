"""Takes one step of a program, and imports nothing besides: `programs.py` times the process.

Run ``python benchmarks/first_result.py LIBRARY NAME``.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def load(library: str, name: str) -> tuple[Any, Any, Any]:
    """Return `jax`, or gradkit in its place, and the program's step and first state."""
    if library == "gradkit":
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        importlib.import_module("tests.support.gradkit_as_jax").install()
    jax = importlib.import_module("jax")
    return jax, *importlib.import_module(f"jax_programs.{name}").setup()


if __name__ == "__main__":
    jax, step, start = load(*sys.argv[1:])
    jax.block_until_ready(step(start))
