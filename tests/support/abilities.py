"""What not every library's arrays can do: a test that needs it skips itself on the others, with the reason."""

from __future__ import annotations

import numpy as np
import pytest

import gradkit.numpy as jnp
from gradkit.backend import current_backend


def needs_changes_in_place() -> None:
    """Skip the test on a library whose arrays never change: there is no change to be seen."""
    if (backend := current_backend()).is_immutable:
        pytest.skip(f"the arrays of {backend.library} never change in place")


def keeps_subnormals() -> bool:
    """Return whether the library in use computes with numbers below the smallest normal one; XLA takes them for 0."""
    smallest = np.finfo(np.float32).smallest_subnormal
    return float(jnp.asarray(np.float32(smallest)) * 1.0) != 0.0


def told_apart(x: np.ndarray) -> np.ndarray:
    """Return where the library in use has these numbers: all, or those that it does not take for 0."""
    return (np.abs(x) >= np.finfo(x.dtype).tiny) | (x == 0) | np.isnan(x) | keeps_subnormals()


def needs_subnormals() -> None:
    """Skip the test on a library that has none."""
    if not keeps_subnormals():
        pytest.skip(f"{current_backend().library} takes numbers below the smallest normal one for 0")
