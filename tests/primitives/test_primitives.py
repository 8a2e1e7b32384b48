"""Every primitive against finite differences to second order, and against JAX: one case each, on every backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from compiled import compiled
from primitive_cases import CASES, Case, arguments, loss, on, weights

import gradkit
import gradkit.numpy as jnp
from gradkit.core.namespace import PRIMITIVES
from gradkit.lax.started_sums import OnTheWay
from gradkit.primitives import (
    decompositions,
    fourier,
    gamma_differences,
    matrices,
    pivoting,
    power_transforms,
    relative_entropies,
    saddle_points,
    scipy_special,
    solvers,
)

WITHOUT_DERIVATIVE = frozenset(
    """
    all any argmax argmin argsort astype_exact bitcast bitwise_and bitwise_invert bitwise_left_shift bitwise_or
    bitwise_right_shift bitwise_xor ceil equal floor floor_divide fold_in gate_side greater greater_equal isfinite isinf
    isnan last_of_equal less less_equal logical_and logical_not logical_or logical_xor not_equal one_hot
    random_bits random_order round running_sum searchsorted sign signbit stop_gradient trunc
    """.split()
)
FLAT = [pytest.param(case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]


def jax_loss(case: Case) -> Callable[..., Any]:
    def function(*args: Any) -> Any:
        result = case.theirs(*args)
        return (result * weights(result.shape)).sum()

    return function


def squared_gradient(grad: Any, f: Any, argnums: tuple[int, ...]) -> Callable[..., Any]:
    """Return a scalar function whose gradient takes second derivatives."""

    def function(*args: Any) -> Any:
        return sum((g * g * 0.5).sum() for g in grad(f, argnums)(*args))

    return function


def central_differences(f: Callable[..., float], args: list[np.ndarray], step: float = 1e-6) -> list[np.ndarray]:
    gradients = []
    for position, arg in enumerate(args):
        gradient = np.zeros_like(arg)
        for index in np.ndindex(arg.shape):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in args]
                moved[position][index] += sign * step
                values.append(f(*moved))
            gradient[index] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def test_every_primitive_has_a_case_here() -> None:
    elsewhere = {name for name in PRIMITIVES if name in ELSEWHERE}
    assert set(PRIMITIVES) - WITHOUT_DERIVATIVE - elsewhere == set(CASES)


ELSEWHERE = {
    "without_tape": "test_jit_under_transforms.py",
    "astype": "test_core.py",
    "debug_callback": "test_config.py",
    "name": "test_rematerialization.py",
    "optimization_barrier": "test_rematerialization.py",
    "pure_callback": "test_jax_names.py",
    **dict.fromkeys(("pmax", "pmin", "psum"), "test_transforms.py"),
    **dict.fromkeys((name for name in PRIMITIVES if name.startswith("process_")), "test_across_processes.py"),
    **dict.fromkeys(
        (name for name, primitive in PRIMITIVES.items() if isinstance(primitive, OnTheWay)), "test_compiled_together.py"
    ),
    **dict.fromkeys(("dynamic_slice", "dynamic_update_slice"), "test_indexing.py"),
    **dict.fromkeys(scipy_special.__all__, "test_scipy_special.py"),
    **dict.fromkeys((*decompositions.__all__, *matrices.__all__), "test_linalg.py"),
    **dict.fromkeys((*pivoting.__all__, *solvers.__all__), "test_linalg.py"),
    **dict.fromkeys(fourier.__all__, "test_fft.py"),
    **dict.fromkeys(("power_log", "power_slope"), "test_pairs_in_tails.py"),
    **dict.fromkeys((*gamma_differences.__all__, *power_transforms.__all__), "test_pairs_in_tails.py"),
    **dict.fromkeys(relative_entropies.__all__, "test_pairs_in_tails.py"),
    **dict.fromkeys(("beta_mixed", "beta_slope"), "test_pairs_in_tails.py"),
    "sheltered_product": "test_reductions_in_tails.py",
    **dict.fromkeys(saddle_points.__all__, "test_densities_near_modes.py"),
    **dict.fromkeys(("overlap_add", "reduce_precision", "sliding_windows"), "test_lax.py"),
    **dict.fromkeys(("cbrt", "gcd", "sliding_product"), "test_numpy_names.py"),
}


@functools.cache
def expected_by_jax(case: Case) -> Any:
    """Return JAX's value, gradients, and gradients of half the squared gradients."""
    args = arguments(case)
    argnums = tuple(range(len(args)))

    def all_of_them(*arrays: Any) -> Any:
        first = jax.grad(jax_loss(case), argnums)(*arrays)
        second = jax.grad(squared_gradient(jax.grad, jax_loss(case), argnums), argnums)(*arrays)
        return case.theirs(*arrays), first, second

    return compiled(all_of_them, *args)


@pytest.mark.parametrize("case", FLAT)
def test_value_and_gradients_agree_with_jax_to_second_order(case: Case, xp: Any) -> None:
    args = arguments(case)
    argnums = tuple(range(len(args)))
    ours = [on(xp, arg) for arg in args]
    value, first, second = expected_by_jax(case)
    close(case.ours(*ours), value, 1e-12)
    for got, expected in zip(gradkit.grad(loss(case, xp), argnums)(*ours), first, strict=True):
        assert got.dtype == "float64"
        close(got, expected, 1e-9)
    again = gradkit.grad(squared_gradient(gradkit.grad, loss(case, xp), argnums), argnums)(*ours)
    for got, expected in zip(again, second, strict=True):
        close(got, expected, 1e-8)


@pytest.mark.parametrize("case", FLAT)
def test_gradients_agree_with_central_differences_to_second_order(case: Case, xp: Any) -> None:
    args = arguments(case)
    argnums = tuple(range(len(args)))
    ours = [on(xp, arg) for arg in args]
    for function in (loss(case, xp), squared_gradient(gradkit.grad, loss(case, xp), argnums)):

        def value(*moved: np.ndarray, function: Any = function) -> float:
            return float(function(*(on(xp, arg) for arg in moved)))

        expected = central_differences(value, args)
        for got, difference in zip(gradkit.grad(function, argnums)(*ours), expected, strict=True):
            np.testing.assert_allclose(gradkit.device_get(got), difference, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", FLAT)
def test_the_tape_gives_what_grad_gives(case: Case, xp: Any) -> None:
    args = [on(xp, arg) for arg in arguments(case)]
    expected = gradkit.grad(loss(case, xp), tuple(range(len(args))))(*args)
    for arg in args:
        arg.requires_grad = True
    loss(case, xp)(*args).backward()
    for arg, gradient in zip(args, expected, strict=True):
        found = xp.zeros_like(arg) if arg.grad is None else arg.grad
        close(found, gradkit.device_get(gradient), 1e-14)


@pytest.mark.parametrize("name", sorted(WITHOUT_DERIVATIVE & set(jnp.__all__) - {"searchsorted"}))
def test_functions_without_derivative_agree_with_jax(name: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(1, 6, size=(3, 4)) if "bitwise" in name else rng.normal(size=(3, 4)).round(1) * 3
    y = np.roll(x, 1) * 1
    y[0] = x[0]
    binary = PRIMITIVES[name].rules[1:] != ()
    operands = (x, y) if binary else (x,)
    with jax.enable_x64(True):
        expected = getattr(J, name)(*map(J.asarray, operands))
    close(getattr(jnp, name)(*(on(xp, operand) for operand in operands)), expected, 0)


def close(got: Any, expected: Any, tolerance: float) -> None:
    got = gradkit.device_get(got)
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_the_derivative_of_a_power_of_0_is_0_everywhere(xp: Any) -> None:
    numbers = [0.0, -2.0, np.inf, -np.inf, np.nan]
    with jax.enable_x64(True):
        expected = jax.grad(lambda x: (x**0).sum())(J.asarray(numbers))
    close(gradkit.grad(lambda x: (x**0).sum())(xp.asarray(numbers)), expected, 0)
