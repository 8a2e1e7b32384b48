"""Labels and indices in narrow dtypes mean what they say: nothing wraps around."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import nn


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "uint32", "int64"])
def test_labels_of_any_integer_dtype_give_the_loss_of_their_class(dtype: str, xp: Any) -> None:
    logits, labels = jnp.zeros((1, 300)), jnp.asarray(np.asarray([3], dtype))
    np.testing.assert_allclose(float(nn.softmax_cross_entropy(logits, labels)), np.log(300), rtol=1e-6)
    gradient = gradkit.grad(nn.softmax_cross_entropy)(logits, labels)
    assert np.argwhere(gradkit.device_get(gradient)[0] < 0).tolist() == [[3]]
    assert float(nn.one_hot(labels, 300).sum()) == 1.0


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_index_arrays_of_any_integer_dtype_choose_what_numpys_do(dtype: str, xp: Any) -> None:
    table = np.arange(400.0).reshape(20, 20)
    rows, columns = np.asarray([15, 19, 1], dtype), np.asarray([3, 19, 2], dtype)
    found = jnp.asarray(table)[jnp.asarray(rows), jnp.asarray(columns)]
    np.testing.assert_array_equal(gradkit.device_get(found), table[rows, columns])
    if dtype.startswith("int"):
        assert jnp.arange(200)[jnp.asarray(np.asarray([-1], dtype))].tolist() == [199]
