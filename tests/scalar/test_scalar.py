"""Value: the lecture's figures, micrograd's tests, and what its operations compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit import Value

# The lecture's figures


def expression(a: Any, b: Any, c: Any, f: Any) -> Any:
    return (a * b + c) * f


def neuron(x1: Any, x2: Any, w1: Any, w2: Any, b: Any) -> Any:
    n = x1 * w1 + x2 * w2 + b
    return n.tanh() if isinstance(n, Value) else jnp.tanh(n)


FIGURES = pytest.mark.parametrize(
    "function, numbers, result, gradients",
    [
        pytest.param(expression, (2.0, -3.0, 10.0, -2.0), -8.0, (6.0, -4.0, -2.0, 4.0), id="expression"),
        pytest.param(
            neuron, (2.0, 0.0, -3.0, 1.0, 6.8813735870195432), math.sqrt(0.5), (-1.5, 0.5, 1.0, 0.0, 0.5), id="neuron"
        ),
    ],
)


@FIGURES
def test_the_lectures_figures_by_value(function: Any, numbers: Any, result: float, gradients: Any) -> None:
    values = [Value(number) for number in numbers]
    out = function(*values)
    out.backward()
    assert out.data == pytest.approx(result, abs=1e-12)
    assert [value.grad for value in values] == pytest.approx(gradients, abs=1e-12)


@FIGURES
def test_the_lectures_figures_by_array(function: Any, numbers: Any, result: float, gradients: Any, xp: Any) -> None:
    arrays = [xp.asarray(number) for number in numbers]
    for array in arrays:
        array.requires_grad = True
    out = function(*arrays)
    out.backward()
    assert out.item() == pytest.approx(result, rel=1e-6)
    assert [float(array.grad) for array in arrays] == pytest.approx(gradients, abs=1e-5)


@FIGURES
@pytest.mark.parametrize("kind", [float, Value])
def test_the_lectures_figures_by_grad(kind: Any, function: Any, numbers: Any, result: float, gradients: Any) -> None:
    value, found = gradkit.value_and_grad(function, argnums=tuple(range(len(numbers))))(*map(kind, numbers))
    assert float(value) == pytest.approx(result, rel=1e-6)
    assert list(map(float, found)) == pytest.approx(gradients, abs=1e-5)
    assert all(isinstance(g, Value) for g in [value, *found]) == (kind is Value)


# micrograd's own tests, with PyTorch's numbers


def test_micrograds_first_test() -> None:
    x = Value(-4.0)
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    y.backward()
    assert (y.data, x.grad) == (-20.0, 46.0)


def test_micrograds_second_test() -> None:
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    assert g.data == pytest.approx(24.70408163265306, rel=1e-14)
    assert a.grad == pytest.approx(138.83381924198252, rel=1e-14)
    assert b.grad == pytest.approx(645.5772594752186, rel=1e-14)


# Operations

X, Y = 0.75, 1.5
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x / y": lambda x, y: x / y,
    "x ** y": lambda x, y: x**y,
    "-x": lambda x, y: -x,
    "abs(-x)": lambda x, y: abs(-x),
}
FUNCTIONS = "exp log tanh sigmoid sin cos tan sinh cosh sqrt relu".split()


def in_jax(name: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = getattr(jax.nn if name in ("relu", "sigmoid") else J, name)
    return found


@pytest.mark.parametrize("kinds", [(Value, Value), (Value, float), (float, Value), (Value, int), (int, Value)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operator_is_jaxs_on_values_and_numbers(name: str, kinds: tuple[Any, Any]) -> None:
    numbers = X, Y
    if int in kinds:
        numbers = 3, 2
    x, y = (kind(number) for kind, number in zip(kinds, numbers, strict=True))
    function = OPERATIONS[name]
    out = function(x, y)
    if not isinstance(out, Value):
        assert kinds[0] is not Value
        return
    out.backward()
    with jax.enable_x64(True):
        expected, slopes = jax.value_and_grad(function, argnums=(0, 1))(*map(float, numbers))
    assert out.data == pytest.approx(float(expected), rel=1e-12)
    for operand, slope in zip((x, y), slopes, strict=True):
        if isinstance(operand, Value):
            assert operand.grad == pytest.approx(float(slope), rel=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_jaxs_to_second_order(name: str) -> None:
    def ours(x: Any) -> Any:
        return getattr(x, name)()

    x = Value(X)
    ours(x).backward()
    with jax.enable_x64(True):
        theirs = in_jax(name)
        expected = [float(f(X)) for f in (theirs, jax.grad(theirs), jax.grad(jax.grad(theirs)))]
    assert [ours(Value(X)).data, x.grad] == pytest.approx(expected[:2], rel=1e-12)
    by_transforms = [ours, gradkit.grad(ours), gradkit.grad(gradkit.grad(ours))]
    assert [f(Value(X)).data for f in by_transforms] == pytest.approx(expected, rel=1e-12)
    assert [part.data for part in gradkit.jvp(ours, (Value(X),), (Value(2.0),))] == pytest.approx(
        [expected[0], 2 * expected[1]], rel=1e-12
    )
    assert gradkit.hessian(ours)(Value(X)).data == pytest.approx(expected[2], rel=1e-12)


def test_sum_max_and_sorted_take_values() -> None:
    values = [Value(2.0), Value(-1.0), Value(0.5)]
    total = sum(values)
    total.backward()
    assert (total.data, [v.grad for v in values]) == (1.5, [1.0, 1.0, 1.0])
    assert max(values) is values[0]
    assert [v.data for v in sorted(values)] == [-1.0, 0.5, 2.0]


def test_comparisons_compare_the_numbers_and_sets_tell_values_apart() -> None:
    x, y = Value(1.0), Value(2.0)
    assert x < y
    assert x <= 1
    assert y > 1.5
    assert y >= x
    assert x == 1.0
    assert x == Value(1.0)
    assert x != y
    assert x != "1.0"
    assert 0.5 < x < np.float64(2)
    assert len({x, Value(1.0), y}) == 3


NOT_A_NUMBER = math.nan


@pytest.mark.parametrize(
    "compute, result, slope",
    [
        (lambda x: 1 / x, math.inf, -math.inf),
        (lambda x: x.log(), -math.inf, math.inf),
        (lambda x: (x + 1000).exp(), math.inf, math.inf),
        (lambda x: (x - 1).log(), NOT_A_NUMBER, -1.0),
        (lambda x: (x - 8) ** (1 / 3), NOT_A_NUMBER, NOT_A_NUMBER),
        (lambda x: (x - 1000).sigmoid(), 0.0, 0.0),
        (lambda x: (x + 10.0) ** 1000, math.inf, math.inf),
        (lambda x: x**0, 1.0, 0.0),
        (lambda x: x.relu(), 0.0, 0.0),
    ],
)
def test_where_python_refuses_the_numbers_are_ieees(compute: Callable[[Any], Any], result: float, slope: float) -> None:
    x = Value(0.0)
    out = compute(x)
    out.backward()
    assert out.data == pytest.approx(result, nan_ok=True)
    assert x.grad == pytest.approx(slope, nan_ok=True)


def test_numpys_numbers_and_functions_work_on_values() -> None:
    x = Value(2.0)
    for out in (np.float64(3) * x, x * np.float32(3), np.int64(3) * x, np.float64(5) - x + x * 2 - 1):
        assert isinstance(out, Value)
    assert (np.float64(3) * x).data == 6.0
    products = np.array([1.0, 2.0]) * x
    assert [p.data for p in products] == [2.0, 4.0]
    dot = np.dot(products, np.array([1.0, 10.0]))
    dot.backward()
    assert (dot.data, x.grad) == (42.0, 21.0)
    assert np.exp(x).data == math.exp(2.0)


# Expressions that nobody chose

numbers = st.floats(-2, 2).map(lambda x: round(x, 3))
leaves = st.sampled_from("abc") | numbers
expressions = st.recursive(
    leaves,
    lambda inner: (
        st.tuples(st.sampled_from("+-*/"), inner, inner)
        | st.tuples(st.sampled_from(["tanh", "sigmoid", "relu", "exp", "sin", "abs"]), inner)
        | st.tuples(st.just("**"), inner, st.sampled_from([2, 3, -1, 0.5]))
        | st.tuples(st.just("**"), st.sampled_from([0.5, 2.0, 3]), inner)
    ),
    max_leaves=12,
)
OPERATORS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
}


def calculate(tree: Any, names: dict[str, Any], call: Callable[[str, Any], Any]) -> Any:
    """Compute an expression; `call` applies a function by name."""
    if isinstance(tree, str):
        return names[tree]
    if not isinstance(tree, tuple):
        return tree
    name, *inner = tree
    values = [calculate(part, names, call) for part in inner]
    return call(name, values[0]) if len(values) == 1 else OPERATORS[name](*values)


def on_values(name: str, x: Any) -> Any:
    x = x if isinstance(x, Value) else Value(x)
    return getattr(x, name)()


def on_arrays(name: str, x: Any) -> Any:
    return getattr(gradkit.nn if name in ("relu", "sigmoid") else jnp, name)(x)


def on_jax(name: str, x: Any) -> Any:
    return in_jax(name)(x)


@settings(max_examples=examples(150), deadline=None)
@given(expressions, st.tuples(numbers, numbers, numbers))
def test_values_agree_with_arrays_and_with_jax(tree: Any, point: tuple[float, float, float]) -> None:
    values = [Value(number) for number in point]
    try:
        out = calculate(("+", tree, "a"), dict(zip("abc", values, strict=True)), on_values)
    except (ArithmeticError, TypeError):  # two plain numbers: Python's own arithmetic
        assume(False)
    out.backward()
    found = [out.data, *(value.grad for value in values)]
    assume(all(math.isfinite(number) and abs(number) < 1e6 for number in found))

    def function(call: Any) -> Callable[..., Any]:
        return lambda *args: calculate(("+", tree, "a"), dict(zip("abc", args, strict=True)), call)

    with gradkit.enable_x64(), np.errstate(all="ignore"):
        value, gradients = gradkit.value_and_grad(function(on_arrays), argnums=(0, 1, 2))(*point)
    # Behind a relu that is 0 a Value hands nothing on, where 0 times an infinite derivative is NaN on Arrays.
    assume(all(map(math.isfinite, gradients)))
    np.testing.assert_allclose(found, [float(value), *map(float, gradients)], rtol=1e-9, atol=1e-9)
    by_transform, transformed = gradkit.value_and_grad(function(on_values), argnums=(0, 1, 2))(*map(Value, point))
    np.testing.assert_allclose(found, [by_transform.data, *(g.data for g in transformed)], rtol=1e-9, atol=1e-9)
    with jax.enable_x64(True):
        theirs, slopes = jax.value_and_grad(function(on_jax), argnums=(0, 1, 2))(*map(J.float64, point))
    np.testing.assert_allclose(found, [float(theirs), *map(float, slopes)], rtol=1e-9, atol=1e-9)


def test_a_relu_that_is_zero_hands_nothing_on_where_arrays_and_jax_have_nan() -> None:
    # What the test above leaves out: the root has an infinite slope at 0, and 0 times that is NaN.
    a = Value(0.0)
    (a**0.5).relu().backward()
    assert a.grad == 0.0
    with np.errstate(all="ignore"):
        assert math.isnan(gradkit.grad(lambda a: gradkit.nn.relu(a**0.5))(0.0))
    assert math.isnan(jax.grad(lambda a: jax.nn.relu(a**0.5))(0.0))
