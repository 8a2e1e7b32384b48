"""Integers and bools in arithmetic: the dtypes that JAX has, and an error instead of a number that does not fit."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from references import by_jax, usual_widths

import gradkit
import gradkit.numpy as jnp

COUNTING = "power pow floor_divide remainder mod divmod left_shift right_shift fmod".split()
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name) for name in ("pow", "floordiv", "mod", "lshift", "rshift", "mul", "add", "truediv")
}
BESIDE: list[Any] = [True, 2, np.int8(2), np.uint8(2), 2.5]


def dtypes(value: Any) -> list[str]:
    return [str(part.dtype) for part in (value if isinstance(value, tuple) else (value,))]


def named(name: str, module: Any) -> Callable[..., Any]:
    return OPERATORS.get(name) or getattr(module, name)


@by_jax
def dtypes_by_jax(name: str, dtype: str) -> list[Any]:
    """Return JAX's dtypes for two arrays, and for what may stand beside an array: after it, before it, or neither."""
    call, x = named(name, J), J.asarray(np.asarray([1, 1]).astype(dtype))
    beside: list[Any] = []
    for other in BESIDE:
        try:
            after = dtypes(call(x, other))
        except TypeError:  # a shift by 2.5
            beside.append(None)
            continue
        beside.append([after, dtypes(call(other, x)) if type(other) in (bool, int) else None])
    return [dtypes(call(x, x)), beside, [str(f(x).dtype) for f in (J.square, J.positive)]]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32"])
@pytest.mark.parametrize("name", [*COUNTING, *OPERATORS])
def test_dtypes_of_arithmetic_with_bools_and_numbers_are_those_of_jax(
    name: str, dtype: str, xp: Any, backend: Any
) -> None:
    if dtype == "bool" and name in ("add", "mul", "fmod") and backend.name == "strict":
        pytest.skip("the array API standard has no arithmetic of bools")
    ours = jnp.asarray(np.asarray([1, 1]).astype(dtype))
    call, (both, beside, of_one) = named(name, jnp), dtypes_by_jax(name, dtype)
    assert dtypes(call(ours, ours)) == both
    for other, expected in zip(BESIDE, beside, strict=True):
        if expected is None:
            continue
        if type(other) in (np.int8, np.uint8) and name not in ("power", "pow"):
            continue  # of two integer dtypes the standard's result
        after, before = expected
        assert dtypes(call(ours, other)) == after, other
        if before is not None:
            assert dtypes(call(other, ours)) == before, other
    if name in ("pow", "power"):
        assert [str(f(ours).dtype) for f in (jnp.square, jnp.positive)] == of_one
        assert str((+ours).dtype) == of_one[1]
    assert dtypes(gradkit.eval_shape(call, ours, ours)) == both


@pytest.mark.parametrize("exponent", [-1, -3, np.int32(-1), np.int8(-2)], ids=repr)
@pytest.mark.parametrize("call", [operator.pow, jnp.power, jnp.pow], ids=["**", "power", "pow"])
def test_integers_have_no_negative_powers(call: Any, exponent: Any, xp: Any) -> None:
    words = r"Integers cannot be raised to negative powers, got integer_pow\(int32\[2\], -\d\)"
    x = jnp.asarray([1, 2])
    with usual_widths(), pytest.raises(TypeError, match=words):
        J.asarray([1, 2]) ** exponent
    for run in (call, lambda x, y: gradkit.make_jaxpr(lambda x: call(x, y))(x)):
        with pytest.raises(TypeError, match=words):
            run(x, exponent)
    with pytest.raises(TypeError, match=r"got integer_pow\(int32\[\], -\d\)"):
        gradkit.vmap(lambda x: call(x, exponent))(x)
    assert call(jnp.asarray([1.0, 2.0]), exponent).tolist() == [1.0, 2.0 ** int(exponent)]


def test_an_array_of_negative_powers_of_integers_is_the_same_error(backend: Any) -> None:
    if backend.name in ("cupy", "jax"):
        pytest.skip("the library does not look at values, which may be on a GPU")
    with pytest.raises(TypeError, match="Integers cannot be raised to negative powers"):
        2 ** jnp.asarray([-1, 2])
    with pytest.raises(gradkit.errors.ShapeError):
        jnp.asarray([1, 2]) ** jnp.asarray([1, 2, 3])


DOES_NOT_FIT: list[tuple[Any, str]] = [
    (300, "int8"),
    ([1, 300], "uint8"),
    (-1, "uint8"),
    ([[-1]], "uint32"),
    (1e10, "int32"),
    (float("nan"), "int32"),
    (2**40, "int32"),
    ([1, 2**70], "uint8"),
    (2**70, ""),
    (2**40, ""),
]


@pytest.mark.parametrize("value, dtype", DOES_NOT_FIT, ids=repr)
def test_a_number_that_its_dtype_does_not_hold_is_an_error(value: Any, dtype: str, xp: Any) -> None:
    with usual_widths(), pytest.raises((OverflowError, ValueError)):
        J.asarray(value, dtype or None)
    for make in (jnp.asarray, jnp.array):
        with pytest.raises((OverflowError, ValueError)):
            make(value, dtype or None)


@pytest.mark.parametrize(
    "value, dtype",
    [
        (2**70, "float32"),
        ([1.5, 2**70], "float32"),
        ([1.5, 2**70], None),
        ([1j, 2**70], None),
        (2**70, "bool"),
        (2.7, "int8"),
        ([True, 3], "float32"),
        (np.int64(300), "int8"),
        (np.asarray([300]), "int8"),
    ],
    ids=repr,
)
def test_what_fits_is_what_jax_makes_of_it(value: Any, dtype: Any, xp: Any) -> None:
    with usual_widths():
        expected = J.asarray(value, dtype)
    found = jnp.asarray(value, dtype)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(gradkit.device_get(found)), expected)


@pytest.mark.skip_backend("jax", reason="JAX's operations take such a number modulo the dtype's range")
@pytest.mark.parametrize(
    "call", [operator.add, operator.mul, jnp.maximum, jnp.add, lambda x, n: n - x, lambda x, n: x.at[0].set(n)]
)
def test_a_number_beside_an_array_whose_dtype_does_not_hold_it_is_an_error(call: Any, xp: Any) -> None:
    for dtype, number in (("int8", 300), ("uint8", -1), ("int32", 2**40)):
        with pytest.raises(OverflowError):
            call(jnp.asarray([1, 2], dtype), number)


# The angle of complex numbers


def test_the_angle_of_complex_numbers_and_its_derivatives_are_those_of_jax(xp: Any) -> None:
    x = np.asarray([1 + 1j, 2 - 3j, -1 + 0.5j, 0.3j, -2j])
    y = np.asarray([2, 1 - 1j, -2 + 1j, 1, 0.5 + 0j])
    with gradkit.enable_x64(), jax.enable_x64(True):
        np.testing.assert_allclose(np.asarray(jnp.arctan2(xp.asarray(x), xp.asarray(y))), J.arctan2(x, y), rtol=1e-12)
        for position in (0, 1):
            slopes = []
            for module, numpy in ((gradkit, jnp), (jax, J)):
                first = module.grad(numpy.arctan2, position, holomorphic=True)
                for other in (0, 1):
                    second = module.grad(first, other, holomorphic=True)
                    arguments = numpy.asarray(x), numpy.asarray(y)
                    slopes += [np.asarray(module.vmap(f)(*arguments)) for f in (first, second)]
            np.testing.assert_allclose(slopes[:4], slopes[4:], rtol=1e-10, atol=1e-12)
        assert jnp.arctan2(xp.asarray(x), 2.0).shape == x.shape
        assert jnp.arctan2(2.0, xp.asarray(y)).shape == y.shape


@pytest.mark.parametrize("how", ["eager", "jit", "jit of vmap"])
@pytest.mark.parametrize("name", ["gcd", "lcm"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "uint16"])
def test_common_divisors_are_numpys_in_programs_as_well(name: str, dtype: str, how: str, xp: Any) -> None:
    limits = np.iinfo(dtype)
    numbers = np.asarray([0, 1, 12, 18, 7, 120, limits.max, limits.min, limits.min + 1]).astype(dtype)
    x, y = (np.ascontiguousarray(part) for part in np.broadcast_arrays(numbers[:, None], numbers))
    function = getattr(jnp, name)
    run = {"eager": function, "jit": gradkit.jit(function), "jit of vmap": gradkit.jit(gradkit.vmap(function))}[how]
    found = run(xp.asarray(x), xp.asarray(y))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    if name == "lcm" and dtype.startswith("i"):  # the least multiple of the smallest number may not fit
        fits = (x != limits.min) & (y != limits.min)
        found, expected = np.asarray(found)[fits], expected[fits]
    np.testing.assert_array_equal(found, expected)
