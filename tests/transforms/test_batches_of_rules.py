"""`vmap` of functions with rules of their own: a result that is the same for every element is one, as in JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from side_by_side import check_same

import gradkit
import gradkit.numpy as jnp

X = np.asarray([1.0, 2.0, -0.5])
Y = np.asarray(3.0)


def forward_rule(m: Any, n: Any, mixed: bool = False) -> Any:
    @m.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return n.sin(x) * 2, y * y

    def push(primals: Any, tangents: Any) -> Any:
        (x, y), (x_t, y_t) = primals, tangents
        return f(x, y), (2 * n.cos(x) * x_t, 2 * y * y_t + (x_t if mixed else 0))

    f.defjvp(push)
    return f


def reverse_rule(m: Any, n: Any, mixed: bool = False) -> Any:
    @m.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return n.sin(x) * 2, y * y

    def backward(residuals: Any, g: Any) -> Any:
        x, y = residuals
        return 2 * n.cos(x) * g[0], 2 * y * g[1] + (x if mixed else 0)

    f.defvjp(lambda x, y: (f(x, y), (x, y)), backward)
    return f


def linear_solve(m: Any, n: Any) -> Any:
    def solve(a: Any, b: Any) -> Any:
        return m.lax.custom_linear_solve(lambda x: a * x, b, lambda _, b: b / a, lambda _, b: b / a)

    return lambda x, y: (solve(y, x), solve(y, y * y))


def batched(m: Any, f: Any) -> Any:
    return m.vmap(f, in_axes=(0, None), out_axes=(0, None))


@pytest.mark.parametrize("rule", [forward_rule, reverse_rule, linear_solve])
def test_a_result_that_is_the_same_for_every_element_is_one(rule: Any, xp: Any) -> None:
    check_same(lambda m, n: batched(m, rule(m, n)), X, Y)
    check_same(lambda m, n: m.vmap(rule(m, n), in_axes=(0, None)), X, Y)  # and is repeated where that is asked for
    check_same(
        lambda m, n: lambda x, y: m.vmap(batched(m, rule(m, n)), (0, None), (0, None))(x, y), np.stack([X, X]), Y
    )


@pytest.mark.parametrize("rule", [forward_rule, reverse_rule, linear_solve])
def test_its_derivative_is_counted_once(rule: Any, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def total(x: Any, y: Any) -> Any:
            a, b = batched(m, rule(m, n))(x, y)
            return n.sum(a * b) + n.sin(b)

        def derivatives(x: Any, y: Any) -> Any:
            first = m.grad(total, argnums=(0, 1))
            return first(x, y), m.jacrev(first, argnums=(0, 1))(x, y)

        return derivatives

    check_same(program, X, Y)


@pytest.mark.parametrize("rule", [forward_rule, linear_solve])
def test_its_tangent_is_one(rule: Any, xp: Any) -> None:
    check_same(lambda m, n: lambda x, y: m.jvp(batched(m, rule(m, n)), (x, y), (x + 1, y + 2)), X, Y)
    check_same(
        lambda m, n: m.vmap(lambda x, y: m.jvp(rule(m, n), (x, y), (x + 1, y)), (0, None), ((0, None), (0, None))), X, Y
    )


def test_a_derivative_that_is_not_the_same_makes_a_batch_of_it(xp: Any) -> None:
    check_same(
        lambda m, n: m.vmap(lambda x, y: m.jvp(forward_rule(m, n, True), (x, y), (x, y)), (0, None)),
        X,
        Y,
    )
    check_same(lambda m, n: m.vmap(lambda x, y: m.vjp(reverse_rule(m, n, True), x, y)[1]((x, y)), (0, None)), X, Y)
    with pytest.raises(ValueError, match="out_axes is None"):
        gradkit.jvp(batched(gradkit, forward_rule(gradkit, jnp, True)), (jnp.ones(3), 1.0), (jnp.ones(3), 1.0))


@pytest.mark.parametrize("rule", [forward_rule, reverse_rule])
def test_graphs_of_batches_compute_the_same(rule: Any, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any, y: Any) -> Any:
            a, b = m.vmap(rule(m, n), in_axes=(0, None))(x, y)
            return n.sum(a * b)

        g = m.grad(f, argnums=(0, 1))
        return lambda x, y: m.make_jaxpr(g)(x, y)(x, y) if m is gradkit else g(x, y)

    check_same(program, X, Y)
