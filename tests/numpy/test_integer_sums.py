"""Sums of integers have JAX's dtypes on every backend, whatever the library sums in."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from references import usual_widths


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_sum_of_integers_has_jax_dtype(dtype: str, axis: int | None, xp: Any) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    with usual_widths():
        expected = jax.numpy.sum(values, axis=axis)
    got = xp.sum(xp.asarray(values), axis=axis)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(got), expected)


def test_sum_of_64_bit_integers_keeps_them(xp: Any) -> None:
    assert xp.sum(xp.asarray(np.arange(3))).dtype == "int64"


def test_sum_in_a_dtype_that_is_asked_for_has_it(xp: Any) -> None:
    assert xp.sum(xp.asarray(np.arange(3)), dtype="int32").dtype == "int32"
    assert xp.sum(xp.asarray(np.arange(3)), dtype="float64").dtype == "float64"
