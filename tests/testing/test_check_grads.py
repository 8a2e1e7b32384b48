"""`gradkit.testing.check_grads`: it passes what is right and finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.test_util
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradkit
from gradkit.core import Elementwise, Linear
from gradkit.core.batching import same_shape
from gradkit.core.binding import bind
from gradkit.core.calls import unary
from gradkit.core.namespace import PRIMITIVES
from gradkit.testing import check_grads

POINT = np.asarray([[0.3, -1.2], [2.0, 0.7]])


@pytest.fixture(autouse=True)
def table_of_primitives() -> Iterator[None]:
    """Take the wrong primitives of this file out of the table again."""
    before = dict(PRIMITIVES)
    yield
    PRIMITIVES.clear()
    PRIMITIVES.update(before)


def sine(derivative: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a sine with a derivative of the caller's choice."""
    return unary(Elementwise("test_sine", lambda xp, x: xp.sin(x), (derivative,)), floating=True)


# What is right


def test_right_derivatives_pass_to_third_order(xp: Any) -> None:
    def f(model: dict[str, Any], scale: float) -> Any:
        return {"y": xp.tanh(model["w"] @ model["x"]) * scale, "z": [xp.sum(model["w"] ** 2)]}

    check_grads(f, ({"w": xp.asarray(POINT), "x": xp.asarray([0.5, -0.25])}, 2.0), order=3)


def test_float32_arguments_are_checked_in_float64(xp: Any) -> None:
    seen = set()

    def f(x: Any) -> Any:
        seen.add(str(x.dtype))
        return xp.exp(x)

    check_grads(f, (xp.asarray(POINT, dtype="float32"),))
    assert seen == {"float64"}


def test_integers_are_passed_on(xp: Any) -> None:
    check_grads(lambda x, n: x**n + n, (xp.asarray(POINT), 3))
    check_grads(lambda x, i: x[i], (xp.asarray(POINT), xp.asarray([1, 0, 1])))


def test_results_that_are_integers_are_left_out(xp: Any) -> None:
    check_grads(lambda x: (xp.sin(x), xp.argmax(x)), (xp.asarray(POINT),))


def test_complex_arguments_follow_jax_convention(xp: Any) -> None:
    check_grads(lambda z: xp.exp(z * z), (xp.asarray(np.asarray([1 + 2j, 0.3j])),))


def test_arrays_stay_on_their_device(xp: Any) -> None:
    device = gradkit.devices()[-1]
    seen = set()

    def f(x: Any) -> Any:
        seen.add(x.device)
        return x * x

    check_grads(f, (gradkit.device_put(POINT, device),))
    assert seen == {device}


def test_the_tape_keeps_nothing(xp: Any) -> None:
    x = xp.asarray(POINT)
    x.requires_grad = True
    check_grads(lambda y: xp.sum(x * y), (x,))
    assert x.grad is None


def test_an_empty_argument_passes(xp: Any) -> None:
    check_grads(lambda x, y: xp.sum(x) * y, (xp.zeros((0, 2)), 1.5))


@given(st.sampled_from([1, 4]).flatmap(lambda n: st.lists(st.floats(-3, 3), min_size=n, max_size=n)))
def test_right_wherever_jax_says_right(values: list[float]) -> None:
    def f(xp: Any) -> Callable[[Any], Any]:
        return lambda x: xp.sin(x) * xp.exp(-x * x)

    x = np.asarray(values)
    with jax.enable_x64(True):
        jax.test_util.check_grads(f(jax.numpy), (jax.numpy.asarray(x),), order=2, modes=["rev"])
    check_grads(f(gradkit.numpy), (x,), order=2, modes=["rev"])


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_each_mode_is_checked_to_third_order(modes: tuple[str, ...], xp: Any) -> None:
    x = xp.asarray(POINT)
    check_grads(lambda x, y: {"a": xp.tanh(x * y), "b": (x / (2 + y * y)).sum()}, (x, x + 1), order=3, modes=modes)


def test_a_rule_that_is_wrong_in_one_mode_is_found_there(xp: Any) -> None:
    @gradkit.custom_jvp
    def sine(x: Any) -> Any:
        return xp.sin(x)

    sine.defjvps(lambda t, y, x: 2 * xp.cos(x) * t)
    for mode, name in (("fwd", "forward"), ("rev", "reverse")):
        with pytest.raises(AssertionError, match=f"{name} mode gives"):
            gradkit.test_util.check_grads(sine, (xp.asarray(POINT),), 1, modes=(mode,))


# What is wrong


def test_wrong_derivative_is_found_and_its_element_named(xp: Any) -> None:
    wrong = sine(lambda xp, _y, x: xp.where(x > 1, 1.001 * xp.cos(x), xp.cos(x)))
    with pytest.raises(AssertionError, match=r"order 1 with respect to args\[1\]\['x'\]\[1, 0\]: reverse mode gives "):
        check_grads(lambda n, d: n * wrong(d["x"]), (2.0, {"a": xp.ones(3), "x": xp.asarray(POINT)}), modes=["rev"])
    with pytest.raises(AssertionError, match=r"order 1 with respect to args\[1\]\['x'\]\[1, 0\]: forward mode gives "):
        check_grads(lambda n, d: n * wrong(d["x"]), (2.0, {"a": xp.ones(3), "x": xp.asarray(POINT)}), modes=["fwd"])


def test_wrong_derivative_with_respect_to_a_number_is_named_without_an_index(xp: Any) -> None:
    wrong = sine(lambda xp, _y, x: xp.sin(x))
    with pytest.raises(AssertionError, match=r"with respect to args\[0\]: forward"):
        check_grads(wrong, (xp.asarray(0.3),))


def test_a_rule_that_is_right_at_first_order_alone_is_found_at_the_second(xp: Any) -> None:
    wrong = sine(lambda xp, _y, x: xp.astype(xp.cos(x) > 2, x.dtype) + detached_cosine(x))
    check_grads(wrong, (xp.asarray(POINT),), order=1)
    with pytest.raises(AssertionError, match="derivative of order 2"):
        check_grads(wrong, (xp.asarray(POINT),), order=2)


def detached_cosine(x: Any) -> Any:
    """Return the cosine as a constant: what a rule must not do."""
    return gradkit.numpy.cos(gradkit.Array(x)).data if type(x) is not gradkit.Array else gradkit.numpy.cos(x.detach())


def test_a_derivative_that_is_nan_is_wrong(xp: Any) -> None:
    with pytest.raises(AssertionError, match="forward mode gives nan"):
        check_grads(sine(lambda xp, _y, x: x * float("nan")), (xp.asarray(POINT),))


def test_a_derivative_of_another_dtype_is_wrong(xp: Any) -> None:
    double = lambda xp, g, _x: xp.astype(g + g, xp.float32)  # noqa: E731
    primitive = Linear("test_double", lambda xp, x: x + x, (double,), shape=same_shape)
    with pytest.raises(AssertionError, match=r"args\[0\] is float32\(2, 2\), expected float64\(2, 2\)"):
        check_grads(lambda x: bind(primitive, (x,), {}), (xp.asarray(POINT),))


def test_a_tolerance_lets_a_small_error_pass(xp: Any) -> None:
    wrong = sine(lambda xp, _y, x: 1.001 * xp.cos(x))
    check_grads(wrong, (xp.asarray(POINT),), order=1, rtol=1e-2)


# Bad input


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            {"args": 1.0},
            TypeError,
            r"args: expected a tuple of the arguments of f, got float. For one argument .*\(x,\)",
        ),
        ({"args": (3,)}, TypeError, r"args: expected at least one argument of floating or complex dtype, got \(3,\)"),
        ({"order": 0}, ValueError, "order: expected 1 or more, got 0"),
        ({"order": 1.5}, TypeError, "order: expected an int, got 1.5"),
        ({"eps": -1e-3}, ValueError, "eps: expected a number greater than 0, got -0.001"),
        ({"atol": 0.0}, ValueError, "atol: expected a number greater than 0, got 0.0"),
        ({"modes": ["back"]}, ValueError, "Unknown mode 'back'. Known: fwd, rev."),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"f": lambda x: x * x, "args": (1.0,), **options}
    with pytest.raises(error, match=message):
        check_grads(**arguments)


def test_a_function_without_a_floating_result_is_an_error(xp: Any) -> None:
    with pytest.raises(TypeError, match="f: expected a result of floating or complex dtype, got none"):
        check_grads(lambda x: xp.argmax(x), (xp.asarray(POINT),))


def test_importing_gradkit_does_not_import_the_testing_tools() -> None:
    code = "import sys, gradkit; assert 'gradkit.testing' not in sys.modules; gradkit.testing.check_grads"
    subprocess.run([sys.executable, "-c", code], check=True)
