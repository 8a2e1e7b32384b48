"""Reductions of segments, with JAX as the reference."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import gradkit
import gradkit.numpy as jnp
from gradkit import ops
from gradkit.test_util import check_grads

NAMES = ("segment_sum", "segment_prod", "segment_max", "segment_min")
JITTED = {name: jax.jit(getattr(jax.ops, name), static_argnums=2) for name in NAMES}
SIZES = [(6, 3, 5), (5, 1, 2), (1, 2, 4), (0, 3, 5), (6, 0, 5), (3, 1, 0)]
"""Rows, columns and segments: JAX compiles for each."""


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_segments_are_reduced_as_in_jax(name: str, data: Any) -> None:
    rows, columns, count = data.draw(st.sampled_from(SIZES))
    ids = np.asarray(data.draw(st.lists(st.integers(-2, 7), min_size=rows, max_size=rows)), np.int32)
    dtype = data.draw(st.sampled_from([np.float32, np.int32, np.uint8]))
    x = (np.arange(rows * columns).reshape(rows, columns) % 7 - (0 if dtype == np.uint8 else 3)).astype(dtype)
    got = getattr(ops, name)(jnp.asarray(x), jnp.asarray(ids), count)
    expected = np.asarray(JITTED[name](x, ids, count))
    assert got.dtype == expected.dtype
    assert got.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["segment_sum", "segment_max", "segment_min"])
def test_segments_are_differentiated_and_batched_as_in_jax(name: str, xp: Any) -> None:
    x = np.asarray([[1.0, -2.0, 3.0, 0.5, 4.0], [2.0, 1.0, -1.0, 3.0, 5.0]], np.float32)
    ids = np.asarray([0, 2, 0, 1, 9], np.int32)

    def loss(o: Any, n: Any) -> Any:
        return lambda x: n.sum(n.sin(n.where(n.isfinite(y := getattr(o, name)(x, n.asarray(ids), 3)), y, 0.0)))

    got = gradkit.vmap(gradkit.value_and_grad(loss(ops, jnp)))(jnp.asarray(x))
    expected = jax.vmap(jax.value_and_grad(loss(jax.ops, J)))(x)
    for a, b in zip(got, expected, strict=True):
        assert_allclose(gradkit.device_get(a), np.asarray(b), rtol=1e-5)


def test_products_of_segments_are_differentiated(xp: Any) -> None:
    x = jnp.asarray(np.asarray([1.0, -2.0, 3.0, 0.5]))
    check_grads(lambda x: ops.segment_prod(x, jnp.asarray([0, 1, 0, 1]), 3), (x,), order=2)


def test_the_number_of_segments_is_found_from_their_names(xp: Any) -> None:
    assert ops.segment_sum(jnp.ones(3), jnp.asarray([0, 3, 3])).tolist() == [1, 0, 0, 2]
    with pytest.raises(gradkit.errors.ConcretizationTypeError, match="num_segments"):
        gradkit.vmap(lambda ids: ops.segment_sum(jnp.ones(2), ids))(jnp.zeros((2, 2), dtype="int32"))


def test_segments_that_do_not_fit_are_errors(xp: Any) -> None:
    with pytest.raises(ValueError, match=r"segment_sum: segment_ids .* data of shape \(3,\) and .* \(2,\)"):
        ops.segment_sum(jnp.ones(3), jnp.asarray([0, 1]))
    with pytest.raises(TypeError, match="segment_ids must be integers"):
        ops.segment_sum(jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="num_segments must not be negative, got -1"):
        ops.segment_sum(jnp.ones(2), jnp.asarray([0, 1]), -1)
