"""The same text under gradkit and under JAX: what the tests of the transforms compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy
import numpy as np
from references import kept

import gradkit

__all__ = ["check_same"]


@contextmanager
def x64() -> Iterator[None]:
    """Let new numbers be of 64 bits inside a ``with`` block."""
    before = gradkit.config.jax_enable_x64
    gradkit.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        gradkit.config.update("jax_enable_x64", before)


def by_jax(program: Callable[[Any, Any], Callable[..., Any]], *args: Any) -> list[np.ndarray]:
    """Return the leaves of what a program gives under JAX."""
    with jax.enable_x64(True):
        expected = program(jax, jax.numpy)(*map(jax.numpy.asarray, args))
        return [np.asarray(leaf) for leaf in jax.tree.leaves(expected)]


def check_same(
    program: Callable[[Any, Any], Callable[..., Any]], *args: Any, tolerance: float = 1e-9, jitted: bool = False
) -> None:
    """Run ``program(m, n)(*args)`` with m gradkit and n gradkit.numpy, and with JAX's, in float64; compare every leaf.

    Arguments are NumPy arrays, which become arrays of the backend that the test runs on. If `jitted`,
    gradkit's program is also captured as a graph and compiled.
    """
    expected_leaves = kept(by_jax, program, *args)
    for jit in (False, True) if jitted else (False,):
        with x64():
            function = program(gradkit, gradkit.numpy)
            got = (gradkit.jit(function) if jit else function)(*map(gradkit.numpy.asarray, args))
        _compare(gradkit.tree.leaves(got), expected_leaves, tolerance)


def _compare(got: list[Any], expected: list[np.ndarray], tolerance: float) -> None:
    leaves = [np.asarray(gradkit.device_get(leaf)) for leaf in got]
    assert len(leaves) == len(expected)
    for ours, theirs in zip(leaves, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
