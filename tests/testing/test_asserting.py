"""Assertions on arrays: what they let pass, and what they say of the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit.backend import Backend
from gradkit.testing import assert_close, assert_equal, assert_less

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "dtype, rtol, atol",
    [("float16", 1e-3, 1e-5), ("float32", 1.3e-6, 1e-5), ("float64", 1e-7, 1e-7), ("complex64", 1.3e-6, 1e-5)],
)
def test_tolerances_are_the_dtypes_own(dtype: str, rtol: float, atol: float) -> None:
    for size in (0.0, 1.0, 1000.0):
        desired = np.asarray([size], dtype)
        allowed = atol + rtol * size
        # float16 has a step of 0.5 at 1,000.
        if np.spacing(np.abs(desired))[0] < allowed / 4:
            assert_close(desired + np.asarray(0.8 * allowed, dtype), desired)
            with pytest.raises(AssertionError, match=r"1 of 1 elements differ"):
                assert_close(desired + np.asarray(1.3 * allowed, dtype), desired)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_whole_numbers_have_to_be_equal(xp: Any, dtype: str) -> None:
    x = xp.asarray([0, 1], dtype=dtype)
    assert_close(x, np.asarray([0, 1], dtype))
    with pytest.raises(AssertionError, match=re.escape("1 of 2 elements differ (rtol=0, atol=0)")):
        assert_close(x, np.asarray([1, 1], dtype))


def test_narrow_integers_do_not_wrap(xp: Any) -> None:
    with pytest.raises(AssertionError, match="greatest absolute difference: 255 at"):
        assert_close(xp.asarray([0], dtype="uint8"), np.asarray([255], "uint8"), atol=1)
    assert_close(xp.asarray([254], dtype="uint8"), np.asarray([255], "uint8"), atol=1)


@pytest.mark.parametrize(
    "actual, desired, passes",
    [
        ([NAN, 1.0], [NAN, 1.0], True),
        ([NAN, 1.0], [1.0, NAN], False),
        ([INF, -INF], [INF, -INF], True),
        ([INF], [-INF], False),
        ([INF], [1e30], False),
        ([1.0], [INF], False),
        ([1.0], [NAN], False),
        ([0.0], [-0.0], True),
        ([], [], True),
    ],
)
def test_special_numbers(xp: Any, actual: list[float], desired: list[float], passes: bool) -> None:
    for check in (assert_close, assert_equal):
        if passes:
            check(xp.asarray(actual), desired)
        else:
            with pytest.raises(AssertionError, match="elements differ"):
                check(xp.asarray(actual), desired)


def test_nan_may_differ_from_nan(xp: Any) -> None:
    with pytest.raises(AssertionError, match="1 of 2"):
        assert_close(xp.asarray([NAN, 1.0]), [NAN, 1.0], equal_nan=False)


@pytest.mark.parametrize("check", [assert_close, assert_equal, assert_less])
def test_arrays_of_different_kinds_differ(xp: Any, check: Callable[..., Any]) -> None:
    x = xp.asarray([1.0, 2.0])
    more = 1 if check is assert_less else 0  # so that the values are in order
    other = x + more
    check(x, other)
    for desired, said, switch in [
        (xp.astype(other, "float64"), "dtype is float32, expected float64", "check_dtype"),
        (np.asarray([1.0 + more, 2.0 + more]), "dtype is float32, expected float64", "check_dtype"),
        (other[None], r"shape is \(2,\), expected \(1, 2\)", "check_shape"),
        ([[1.0 + more, 2.0 + more]], r"shape is \(2,\), expected \(1, 2\)", "check_shape"),
    ]:
        with pytest.raises(AssertionError, match=said):
            check(x, desired)
        check(x, desired, **{switch: False})
    with pytest.raises(AssertionError, match="do not broadcast"):
        check(x, xp.ones(3), check_shape=False)
    with pytest.raises(AssertionError, match="namespace is NumPy's, expected gradkit's"):
        check(np.asarray([1.0, 2.0], "float32"), other)
    check(np.asarray([1.0, 2.0], "float32"), other, check_backend=False)


def test_backend_and_device_are_compared() -> None:
    with gradkit.use_backend("strict"):
        x = gradkit.numpy.ones(2)
        y = gradkit.device_put(x, gradkit.devices("strict")[1])
    z = gradkit.numpy.ones(2)
    with pytest.raises(AssertionError, match="backend is strict, expected numpy"):
        assert_close(x, z)
    assert_close(x, z, check_backend=False)
    with pytest.raises(AssertionError, match="device is strict:1, expected strict:0"):
        assert_close(y, x)
    assert_close(y, x, check_device=False)


def test_a_number_is_every_element_and_has_no_dtype(xp: Any) -> None:
    assert_close(xp.ones((2, 3)), 1.0)
    assert_equal(xp.ones((2, 3), dtype="int32"), 1)
    assert_less(xp.ones((2, 3)), 2)
    with pytest.raises(AssertionError, match="2 of 6 elements are not less"):
        assert_less(xp.asarray([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]), 1.0)


def test_the_message_says_where_and_by_how_much(xp: Any) -> None:
    x = xp.asarray([[1.0, 2.0], [3.0, 1e-3]])
    with pytest.raises(AssertionError) as caught:
        assert_close({"w": x, "b": 1.0}, {"w": [[1.0, 2.5], [3.0, 2e-3]], "b": 1.0}, err_msg="after one step")
    assert str(caught.value).splitlines() == [
        "assert_close: at ['w']: 2 of 4 elements differ (rtol=1.3e-06, atol=1e-05)",
        "greatest absolute difference: 0.5 at [0, 1]: 2.0, expected 2.5",
        "greatest relative difference: 0.5 at [1, 1]: 0.0010000000474974513, expected 0.002",
        "after one step",
    ]


def test_trees_have_to_be_alike(xp: Any) -> None:
    x = xp.ones(2)
    assert_equal([x, (x, None)], [x, (x, None)])
    with pytest.raises(AssertionError, match="assert_equal: the trees differ"):
        assert_equal({"a": x}, {"b": x})
    with pytest.raises(AssertionError, match="assert_equal: the trees differ"):
        assert_equal([x], [x, x])


def test_bad_arguments(xp: Any) -> None:
    with pytest.raises(ValueError, match="rtol: expected a number that is not negative, got -1"):
        assert_close(xp.ones(1), 1.0, rtol=-1)
    with pytest.raises(ValueError, match="atol: expected a number that is not negative, got nan"):
        assert_close(xp.ones(1), 1.0, atol=NAN)
    with pytest.raises(TypeError, match="assert_close: desired: expected arrays or numbers, got"):
        assert_close(xp.ones(1), ["a"])
    with pytest.raises(TypeError, match="complex numbers have no order"):
        assert_less(xp.ones(1), 1j)


def test_under_a_derivative(xp: Any, backend: Backend) -> None:
    def f(x: Any) -> Any:
        assert_close(x * 2, x + x)
        return xp.sum(x * x)

    assert_close(gradkit.grad(f)(xp.asarray([1.0, 2.0])), [2.0, 4.0])
