"""Checks of a function on every backend, under vmap and under jit: right ones pass, wrong ones do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.testing import assert_same_on_every_backend, check_grads, check_jit, check_vmap


def test_a_function_that_is_the_same_everywhere_passes(xp: Any) -> None:
    x = xp.asarray([0.5, -1.5])
    assert_same_on_every_backend(lambda p, n: {"y": jnp.tanh(p["w"]) * n, "z": [p["w"].sum()]}, {"w": x}, 3)
    assert_same_on_every_backend(lambda n: jnp.arange(n) * 2, 4)


def test_other_values_are_found_on_the_backend_that_has_them() -> None:
    def f(x: Any) -> Any:
        return x + (x.device.backend == "strict")

    with pytest.raises(AssertionError, match=r"2 of 2 elements differ[\s\S]*on strict, expected as on numpy"):
        assert_same_on_every_backend(f, jnp.asarray([0.5, -1.5]))
    assert_same_on_every_backend(f, jnp.asarray([0.5, -1.5]), backends=["numpy"])


def test_other_gradients_are_found() -> None:
    def f(x: Any) -> Any:
        return x * x if x.device.backend == "numpy" else gradkit.lax.stop_gradient(x) * x

    with pytest.raises(AssertionError, match="gradient on strict, expected as on numpy"):
        assert_same_on_every_backend(f, jnp.asarray([0.5, -1.5]), backends=["numpy", "strict"])
    assert_same_on_every_backend(f, jnp.asarray([0.5, -1.5]), gradients=False)


def test_another_dtype_is_found() -> None:
    def f(x: Any) -> Any:
        return x if x.device.backend == "numpy" else x.astype("float64")

    with pytest.raises(AssertionError, match="dtype is float64, expected float32"):
        assert_same_on_every_backend(f, jnp.asarray([0.5, -1.5]), gradients=False)


def test_no_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backends: expected the names of backends, got none"):
        assert_same_on_every_backend(lambda x: x, 1.0, backends=[])


def test_vmap_is_compared_with_a_loop(xp: Any) -> None:
    check_vmap(xp.dot, (xp.ones((3, 2)), xp.ones(2)), in_axes=(0, None))
    check_vmap(lambda t, n: {"a": t["x"] * n}, ({"x": xp.ones((2, 3))}, xp.arange(3.0)), in_axes=(1, 0))

    calls = []

    def counts(x: Any) -> Any:  # vmap calls it once, a loop each time
        calls.append(x)
        return x * len(calls)

    with pytest.raises(AssertionError, match=r"vmap\(f\), expected as in a loop"):
        check_vmap(counts, (xp.ones((3, 2)),))


def test_jit_is_compared_with_the_function(xp: Any) -> None:
    check_jit(lambda x, n: x**n, (xp.asarray([1.5, 2.0]), 3), static_argnums=1)
    calls = []

    def counts(x: Any) -> Any:
        calls.append(x)
        return x * len(calls)

    with pytest.raises(AssertionError, match=r"first call of jit\(f\), expected as without"):
        check_jit(counts, (xp.ones(2),))


@pytest.mark.parametrize(
    "args, in_axes, said",
    [
        (np.ones(2), 0, "args: expected a tuple of the arguments of f, got ndarray"),
        ((np.ones(2),), (0, 0), "in_axes: expected one for each of 1 arguments"),
        ((np.ones(2), np.ones(3)), 0, r"in_axes: expected arguments with one number of examples, got \[2, 3\]"),
        ((np.ones((0, 2)),), 0, "args: expected at least one example, got none"),
    ],
)
def test_bad_arguments(args: Any, in_axes: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        check_vmap(lambda *a: a, args, in_axes)


@pytest.mark.parametrize("check", [assert_same_on_every_backend, check_grads, check_jit, check_vmap])
def test_what_is_no_function_or_no_tuple_is_said_with_the_check(check: Any) -> None:
    with pytest.raises(TypeError, match=f"^{check.__name__}: f: expected a function, got 3"):
        check(3, (np.ones(2),))
    if check is not assert_same_on_every_backend:  # which takes the arguments themselves
        with pytest.raises(TypeError, match=f"^{check.__name__}: args: expected a tuple of the arguments of f"):
            check(np.sin, np.ones(2))
