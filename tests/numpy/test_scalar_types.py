"""`jnp.float32` and the other names of dtypes: JAX's meanings, with JAX as the reference."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

NAMES = "bool_ int8 int16 int32 uint8 uint16 uint32 float32 complex64".split()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_dtype_equals_what_it_equals_in_jax(name: str) -> None:
    ours, theirs = getattr(jnp, name), getattr(J, name)
    for other in (*(np.dtype(n.rstrip("_")) for n in NAMES), np.float32, np.int8, np.bool_, float, "float32"):
        assert (ours == other) == (theirs == other), other
        assert (other == ours) == (other == theirs), other
    assert np.dtype(ours) == np.dtype(theirs)
    assert {getattr(np, name): 1}[ours] == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 1.0, [1, 2], np.arange(3)])
def test_a_name_of_a_dtype_converts_as_in_jax(name: str, value: Any, xp: Any) -> None:
    ours, theirs = getattr(jnp, name)(value), getattr(J, name)(value)
    assert ours.dtype == theirs.dtype
    assert isinstance(ours, getattr(jnp, name))
    np.testing.assert_array_equal(gradkit.device_get(ours), np.asarray(theirs))


def test_a_conversion_keeps_the_derivative(xp: Any) -> None:
    def f(n: Any) -> Any:
        return lambda x: n.sum(n.float32(x) ** 2)

    x = np.asarray([1.0, -2.0], np.float32)
    expected = np.asarray(jax.grad(f(J))(x))
    np.testing.assert_allclose(gradkit.device_get(gradkit.grad(f(jnp))(jnp.asarray(x))), expected)
    assert gradkit.vmap(lambda v: jnp.int32(v))(jnp.asarray(x)).tolist() == [1, -2]
