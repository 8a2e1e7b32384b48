"""A pytree as one vector: JAX's order, dtype and errors."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree as theirs

import gradkit
import gradkit.numpy as jnp
from gradkit.flatten_util import ravel_pytree

TREES: dict[str, Any] = {
    "nested": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.ones(2, np.float32), (np.zeros(()), 3.0)]},
    "dtypes": [np.arange(3, dtype=np.int32), np.ones(2, np.float32), np.array(True)],
    "empty": (),
    "sizeless": [np.zeros((0, 3), np.float32), np.ones(1, np.float32)],
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_becomes_jax_vector_and_comes_back(name: str, xp: Any) -> None:
    tree = TREES[name]
    ours = gradkit.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)
    with jax.enable_x64(True):
        flat = np.asarray(theirs(tree)[0])
    found, back = ravel_pytree(ours)
    np.testing.assert_array_equal(gradkit.device_get(found), flat)
    assert gradkit.tree.structure(back(found)) == gradkit.tree.structure(ours)
    for a, b in zip(gradkit.tree.leaves(back(found)), gradkit.tree.leaves(ours), strict=True):
        np.testing.assert_array_equal(gradkit.device_get(a), gradkit.device_get(jnp.asarray(b)))
        assert a.dtype == jnp.asarray(b).dtype


def test_both_ways_are_differentiable(xp: Any) -> None:
    tree = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray([[3.0]])}
    flat, unravel = ravel_pytree(tree)
    assert gradkit.grad(lambda v: jnp.sum(unravel(v)["a"] ** 2))(flat).tolist() == [2.0, 4.0, 0.0]
    assert gradkit.grad(lambda t: jnp.sum(ravel_pytree(t)[0] ** 2))(tree)["b"].tolist() == [[6.0]]
    assert gradkit.hessian(lambda v: jnp.sum(unravel(v)["b"] ** 2))(flat).shape == (3, 3)


def test_a_vector_that_does_not_fit_is_an_error(xp: Any) -> None:
    _, unravel = ravel_pytree([jnp.ones(2)])
    with pytest.raises(ValueError, match=r"expected a vector of shape \(2,\), got an array of shape \(3,\)"):
        unravel(jnp.ones(3))
    with pytest.raises(TypeError, match="expected a vector of dtype float32, got int32"):
        unravel(jnp.ones(2, dtype="int32"))
