"""Activations have the values and gradients of jax.nn, at any size of input."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import jaxs

import gradkit
import gradkit.numpy as jnp
from gradkit import nn
from gradkit.nn.activations import ACTIVATIONS
from gradkit.testing import check_grads

FUNCTIONS = sorted(set(ACTIVATIONS) - {"identity", "hard_swish", "swish"})
ELEMENTWISE = [name for name in FUNCTIONS if "softmax" not in name]
# In float32 the slope of the tail of gelu is a difference of rounded numbers.
pytestmark = pytest.mark.usefixtures("optimized_jax")

every_function = pytest.mark.parametrize("name", FUNCTIONS)
SMOOTH = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4)) * np.asarray([1, -1, 2, -2.0])
SIZES = np.asarray([0.3, -0.3, 4, -4, 20, -20, 88, -88, 300, -300, 1e4, -1e4], np.float32)
KINKS = {
    "celu": [0],
    "elu": [0],
    "hard_sigmoid": [-3, 3],
    "hard_silu": [-3, 3],
    "hard_tanh": [-1, 1],
    "leaky_relu": [0],
    "relu": [0],
    "relu6": [0, 6],
    "selu": [0],
    "soft_sign": [0],
}


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def theirs(name: str) -> Any:
    return getattr(jax.nn, name)


def by_jax(name: str, options: dict[str, Any], x: np.ndarray, weights: np.ndarray) -> Any:
    """Return the values, and the weighted sum's value and gradient."""
    function = theirs(name)
    loss = jax.value_and_grad(lambda x: (function(x, **options) * weights).sum())
    return function(x, **options), loss(x)


def compare(name: str, x: np.ndarray, **options: Any) -> None:
    """Compare value and gradient, weighted so that they differ from element to element."""
    weights = np.linspace(0.5, 1.5, x.size, dtype=x.dtype).reshape(x.shape)
    ours = getattr(nn, name)
    value, slope = gradkit.value_and_grad(lambda x: (ours(x, **options) * jnp.asarray(weights)).sum())(jnp.asarray(x))
    with jax.enable_x64(True):  # in float32 some of JAX's own cancel
        values, right = jaxs(by_jax, name, options, x.astype(np.float64), weights)
    np.testing.assert_allclose(host(ours(jnp.asarray(x), **options)), values, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(host(value), right[0], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(host(slope), right[1], rtol=2e-5, atol=1e-6)


@every_function
def test_values_and_gradients_equal_jax_from_small_to_huge(name: str, xp: Any) -> None:
    compare(name, SIZES)
    compare(name, SIZES.reshape(3, 4))


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(max_examples=20)
@given(st.lists(st.floats(-50, 50, width=32, allow_subnormal=False), min_size=1, max_size=6))
def test_values_equal_jax_on_any_numbers(name: str, numbers: list[float]) -> None:
    x = np.asarray(numbers, np.float32)
    right = theirs(name)(np.pad(x, (0, 6 - x.size)))[: x.size]  # of one shape: JAX compiles for each
    np.testing.assert_allclose(host(getattr(nn, name)(jnp.asarray(x))), right, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(KINKS))
def test_the_gradient_at_a_kink_is_the_one_jax_takes(name: str, xp: Any) -> None:
    compare(name, np.asarray(KINKS[name], np.float32))


@pytest.mark.parametrize("name", ["hard_sigmoid", "hard_silu", "hard_tanh", "relu6"])
def test_gradients_of_what_is_flat_at_the_ends_are_finite_there(name: str, xp: Any) -> None:
    ours = gradkit.grad(getattr(nn, name))(jnp.asarray(float("inf")))
    assert float(ours) == float(jaxs(lambda name: jax.grad(theirs(name))(float("inf")), name))


@every_function
def test_gradients_are_right_to_second_order(name: str, xp: Any) -> None:
    check_grads(ACTIVATIONS[name], (jnp.asarray(SMOOTH),))


@pytest.mark.parametrize(
    "name, options",
    [
        ("leaky_relu", {"negative_slope": 0.3}),
        ("elu", {"alpha": 0.7}),
        ("celu", {"alpha": 0.7}),
        ("gelu", {"approximate": False}),
        ("squareplus", {"b": 1.0}),
        ("softmax", {"axis": 0}),
        ("log_softmax", {"axis": (0, 1)}),
        ("log_softmax", {"axis": None}),
        ("logsumexp", {"axis": 1}),
    ],
)
def test_options_are_those_of_jax(name: str, options: dict[str, Any], xp: Any) -> None:
    if name == "logsumexp":
        ours = host(nn.logsumexp(jnp.asarray(SMOOTH), **options))
        right = jaxs(lambda x: jax.nn.logsumexp(x, **options), SMOOTH)
        np.testing.assert_allclose(ours, right, rtol=1e-6)
    else:
        compare(name, SMOOTH.astype(np.float32), **options)


def test_softmax_keeps_its_digits_at_huge_logits(xp: Any) -> None:
    # exp(x - logsumexp(x)) would have three digits here: logsumexp(x) is 10,000 and a bit.
    x = np.asarray([1e4, 1e4 - 0.5, 1e4 - 3], np.float32)
    exact = np.exp(x.astype(np.float64) - x.max())
    exact /= exact.sum()
    np.testing.assert_allclose(host(nn.softmax(jnp.asarray(x))), exact, rtol=1e-6)
    np.testing.assert_allclose(host(nn.log_softmax(jnp.asarray(x))), np.log(exact), rtol=1e-6)


def test_masked_logits_have_probability_zero_and_gradient_zero(xp: Any) -> None:
    x = jnp.asarray([1.0, float("-inf"), 2.0])
    assert host(nn.softmax(x))[1] == 0
    slope = gradkit.grad(lambda x: nn.softmax(x)[0])(x)
    right = jaxs(lambda x: jax.grad(lambda x: jax.nn.softmax(x)[0])(x), host(x))
    np.testing.assert_allclose(host(slope), right, rtol=1e-6)


def test_standardize_has_mean_zero_and_deviation_one(xp: Any) -> None:
    x = np.random.default_rng(0).normal(3, 2, (4, 50)).astype(np.float32)
    right = jaxs(lambda x: jax.nn.standardize(x), x)
    np.testing.assert_allclose(host(nn.standardize(jnp.asarray(x))), right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes_are_kept_and_integers_become_floating(name: str, xp: Any) -> None:
    for dtype in ("float32", "float64"):
        assert str(ACTIVATIONS[name](jnp.asarray([1.0, -2.0], dtype=dtype)).dtype) == dtype
    integers = np.asarray([1, -2], np.int32)
    if name not in ("relu", "relu6", "hard_tanh"):  # which are integers of integers, in JAX too
        result = ACTIVATIONS[name](jnp.asarray(integers))
        assert str(result.dtype) == "float32"
        right = jaxs(lambda name, x: theirs(name)(x), name, integers.astype(np.float32))
        np.testing.assert_allclose(host(result), right, rtol=1e-5, atol=1e-6)
    else:
        right = jaxs(lambda name, x: theirs(name)(x), name, integers)
        assert str(ACTIVATIONS[name](jnp.asarray(integers)).dtype) == right.dtype


def test_hard_swish_and_swish_are_silu_by_other_names() -> None:
    assert nn.swish is nn.silu
    assert nn.hard_swish is nn.hard_silu


def test_identity_returns_its_argument(xp: Any) -> None:
    x = jnp.asarray([1.0])
    assert nn.identity(x) is x


@pytest.mark.parametrize("labels", [[0, 2, 1], [[1], [0]], [-1, 3, 1], []])
def test_one_hot_rows_are_those_of_jax(labels: Any, xp: Any) -> None:
    labels = np.asarray(labels, np.int32)
    right = jaxs(lambda labels: jax.nn.one_hot(labels, 3), labels)
    np.testing.assert_array_equal(host(nn.one_hot(jnp.asarray(labels), 3)), right)
    assert str(nn.one_hot(jnp.asarray(labels), 3, dtype="float64").dtype) == "float64"


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: nn.one_hot([0.5], 3), TypeError, ["one_hot", "x", "integer", "float32"]),
        (lambda: nn.one_hot([0, 1], 3, axis=4), ValueError, ["one_hot", "axis 4", "2 dimensions"]),
        (lambda: nn.softmax(jnp.zeros((2, 3)), axis=2), ValueError, ["softmax", "axis 2", "2 dimensions"]),
        (lambda: nn.silu("x"), TypeError, ["arrays", "'x'", "asarray"]),
        (lambda: nn.tanh([1.0]), TypeError, ["tanh", "list", "asarray"]),
    ],
)
def test_bad_arguments_say_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
