"""The backend of Python's numbers: arrays of no axes, with every other backend's results."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.backend import load_backend

numbers = st.floats(-4, 4) | st.sampled_from([0.0, -0.0, 1.0, 2.0, 1000.0, -1000.0, math.inf, -math.inf, math.nan])
FUNCTIONS = """
    exp expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sqrt square abs negative
    sign floor ceil round trunc reciprocal
""".split()
OPERATORS = "add sub mul truediv pow mod floordiv lt le gt ge eq ne".split()


def both(function: Any, *points: float) -> tuple[Any, Any]:
    """Return what a function gives on Python's numbers and on NumPy's."""
    results = []
    for name in ("python", "numpy"):
        with gradkit.enable_x64(), gradkit.use_backend(name), np.errstate(all="ignore"):
            result = function(*map(jnp.asarray, points))
            assert result.device.backend == name
            results.append(result)
    assert results[0].dtype == results[1].dtype
    return results[0].item(), results[1].item()


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=examples(40), deadline=None)
@given(x=numbers)
def test_a_function_gives_what_numpy_gives(name: str, x: float) -> None:
    ours, theirs = both(getattr(jnp, name), x)
    assert ours == pytest.approx(theirs, rel=1e-14, nan_ok=True)


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=examples(60), deadline=None)
@given(x=numbers, y=numbers)
def test_an_operator_gives_what_numpy_gives(name: str, x: float, y: float) -> None:
    for function in (getattr(operator, name), lambda a, b: getattr(operator, name)(a, y)):
        ours, theirs = both(function, x, y)
        assert ours == pytest.approx(theirs, rel=1e-14, nan_ok=True)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "and_", "or_", "xor", "lshift", "floordiv", "mod", "truediv"])
def test_an_operator_on_integers_gives_what_numpy_gives(name: str) -> None:
    assert operator.eq(*both(getattr(operator, name), 13, 3))


def test_choices_and_truth_values_are_arrays_too() -> None:
    with gradkit.use_backend("python"):
        x = jnp.asarray(-0.5)
        assert (x > 0).dtype == np.dtype("bool")
        assert not (x > 0)
        assert bool(~(x > 0))
        assert jnp.where(x > 0, x, 2.0).item() == 2.0
        assert jnp.maximum(x, 0.0).item() == 0.0
        assert jnp.clip(x, -0.25, 1.0).item() == -0.25
        assert lax.cond(x > 0, lambda v: v, lambda v: -v, x).item() == 0.5
        assert jnp.isfinite(x / 0).item() is False


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.tanh(x) * x,
        lambda x: nn.relu(x) + nn.sigmoid(x),
        lambda x: jnp.where(x > 0, x**3, 1 / x),
        lambda x: x**x,
        lambda x: jnp.maximum(x, 0.5) * jnp.sum(x),
        lambda x: lax.fori_loop(0, 3, lambda i, v: v * x, x),
    ],
)
def test_derivatives_are_those_of_numpys_backend(function: Any) -> None:
    for transformed in (
        gradkit.grad(function),
        gradkit.grad(gradkit.grad(function)),
        gradkit.hessian(function),
        lambda x: gradkit.jvp(function, (x,), (x,))[1],
    ):
        ours, theirs = both(transformed, 0.75)
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_the_tape_works_and_data_is_a_float() -> None:
    with gradkit.use_backend("python"):
        x = jnp.asarray(2.0)
        x.requires_grad = True
        (x * x + jnp.sin(x)).backward()
        assert isinstance(x.grad, float)
        assert x.grad == pytest.approx(4 + math.cos(2.0))
        x.data += -0.5 * x.grad
        assert isinstance(x.data, float)


def test_whatever_width_is_asked_for_the_numbers_are_pythons() -> None:
    with gradkit.use_backend("python"):
        assert jnp.asarray(1.0, dtype="float32").dtype == np.dtype("float64")
        assert jnp.asarray(1).dtype == np.dtype("int64")
        assert jnp.asarray(1.7).astype("int8").item() == 1
        with pytest.raises(TypeError, match="complex64: the backend 'python' has float64, int64 and bool alone"):
            jnp.asarray(1.0).astype("complex64")


def test_an_array_with_axes_is_an_error_that_names_the_way_out() -> None:
    with gradkit.use_backend("python"):
        assert jnp.asarray(1.0)[...].item() == 1.0
        for make in (lambda: jnp.asarray([1.0, 2.0]), lambda: jnp.ones(3), lambda: jnp.asarray(1.0)[None]):
            with pytest.raises(ValueError, match=r"the backend 'python' holds single numbers.*Use the backend 'numpy'"):
                make()


def test_numbers_cross_to_the_host_and_back() -> None:
    backend = load_backend("python")
    for number in (np.asarray(0.5), np.asarray(3), np.asarray(True)):
        raw = backend.from_host(number)
        assert backend.dtype_of(raw) == number.dtype
        assert backend.to_host(raw) == number
        assert backend.to_host(raw).dtype == number.dtype
    moved = gradkit.device_put(jnp.asarray(0.5), gradkit.devices("python")[0])
    assert moved.device.backend == "python"
    assert gradkit.device_put(moved, gradkit.devices("numpy")[0]).device.backend == "numpy"
