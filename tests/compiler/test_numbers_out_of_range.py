"""A Python number that a dtype has no room for means under jit what it does without: none wraps around unseen."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend

COMPARISONS = [operator.lt, operator.le, operator.eq, operator.ne, operator.ge, operator.gt]
ARITHMETIC: dict[str, Callable[[Any, int], Any]] = {
    "add": lambda x, n: x + n,
    "multiply": lambda x, n: n * x,
    "and": lambda x, n: x & n,
    "shift": lambda x, n: x << n,
    "floor_divide": lambda x, n: x // n,
    "maximum": jnp.maximum,
    "clip": lambda x, n: jnp.clip(x, n, None),
}


@pytest.fixture(params=[printer.name for printer in get_backend("numpy").printers] + ["interpreter"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GRADKIT_COMPILER", request.param)
    with gradkit.use_backend("numpy"):
        yield request.param


@pytest.mark.parametrize("dtype, number", [("int8", 300), ("uint8", -1), ("int32", 2**31), ("uint32", 2**64)])
def test_comparisons_hold_for_the_number_itself(dtype: str, number: int) -> None:
    limits = np.iinfo(dtype)
    x = jnp.asarray([limits.min, 0, 44, limits.max], dtype)
    found = gradkit.jit(lambda x: [(compare(x, number), compare(number, x)) for compare in COMPARISONS])(x)
    for compare, (one, other) in zip(COMPARISONS, found, strict=True):
        assert one.tolist() == [compare(value, number) for value in x.tolist()]
        assert other.tolist() == [compare(number, value) for value in x.tolist()]


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("dtype, number", [("int8", 300), ("uint32", -1)])
def test_arithmetic_with_it_is_an_error(name: str, dtype: str, number: int) -> None:
    with pytest.raises(OverflowError, match="out of bounds"):
        gradkit.jit(lambda x: ARITHMETIC[name](x, number) * 2)(jnp.ones(3, dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32"])
def test_the_last_numbers_of_a_dtype_are_in_it(dtype: str) -> None:
    limits = np.iinfo(dtype)
    least, most = int(limits.min), int(limits.max)
    found = gradkit.jit(lambda x: (x + least, x * 0 + most, x <= most, x >= least))(jnp.zeros(2, dtype))
    assert [out.tolist() for out in found] == [[least] * 2, [most] * 2, [True] * 2, [True] * 2]
