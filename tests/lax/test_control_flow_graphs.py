"""Loops and choices in captured graphs: every transform of one is one, and computes what JAX does."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from references import by_jax
from side_by_side import x64

import gradkit
import gradkit.numpy as jnp
from gradkit.core.graph import Graph

W = np.random.default_rng(0).standard_normal((3, 3)) / 2
X = np.asarray([0.3, -1.2, 0.7])
XS = np.random.default_rng(1).standard_normal((4, 3))
ARGS = (W, X, XS)

# Programs of (w, x, xs), with a scalar result


def scan(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        last, ys = m.lax.scan(lambda c, e: (n.tanh(w @ c + e), n.sin(c) * e), x, xs)
        return n.sum(last**2) + n.sum(ys * n.cos(xs))

    return f


def reverse_scan_of_trees(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        def step(carry: Any, e: Any) -> Any:
            return {"a": carry["a"] * n.sin(e[0]), "i": carry["i"] + 1, "b": n.ones(3) * 0.5}, {
                "y": carry["a"] + carry["b"]
            }

        last, ys = m.lax.scan(step, {"a": x, "i": 0, "b": n.zeros(3)}, xs, reverse=True)
        return n.sum(w @ last["a"]) + n.sum(ys["y"] ** 2) + last["i"]

    return f


def scan_that_depends_by_what_it_closes_over(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        last, _ = m.lax.scan(lambda c, _: (n.sin(w @ c), None), n.ones(3), None, length=4)
        return n.sum(last * x) + n.sum(xs)

    return f


def nested_scans(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        def inner(c: Any, e: Any) -> Any:
            return n.sin(c * e) + n.sum(x), c * x[0]

        def outer(c: Any, e: Any) -> Any:
            last, ys = m.lax.scan(inner, n.sum(c), e)
            return n.tanh(w @ c) * last, n.sum(ys)

        last, ys = m.lax.scan(outer, x, xs)
        return n.sum(last) + n.sum(ys**2)

    return f


def scan_of_checkpoint(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        step = m.checkpoint(lambda c, e: (n.tanh(w @ n.sin(c)) + e, n.exp(-(c**2))))
        last, ys = m.lax.scan(step, x, xs)
        return n.sum(last * last) + n.sum(ys)

    return f


def scan_of_checkpoint_with_policy(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        step = m.checkpoint(
            lambda c, e: (n.tanh(w @ n.sin(c)) + e, n.exp(-(c**2))), policy=m.checkpoint_policies.dots_saveable
        )
        last, ys = m.lax.scan(step, x, xs)
        return n.sum(last * last) + n.sum(ys)

    return f


def scan_of_custom_rules(m: Any, n: Any, reverse: bool = False) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        # The text has no derivative: who differentiates it instead of asking the rule is found out.
        @m.custom_jvp
        def product(c: Any, e: Any) -> Any:
            return n.sin(m.lax.stop_gradient(c)) * e

        product.defjvp(lambda p, t: (product(*p), n.cos(p[0]) * p[1] * t[0] + n.sin(p[0]) * t[1]))

        @m.custom_vjp
        def square(c: Any) -> Any:
            return m.lax.stop_gradient(c) ** 2

        square.defvjp(lambda c: (square(c), c), lambda c, g: (2.0 * c * g,))
        last, ys = m.lax.scan(lambda c, e: (product(w @ c, e), square(c) if reverse else c**2), x, xs)
        return n.sum(last) + n.sum(ys**2)

    return f


def scan_of_custom_reverse_rules(m: Any, n: Any) -> Any:
    return scan_of_custom_rules(m, n, reverse=True)


def fori_loop(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        return n.sum(m.lax.fori_loop(0, 4, lambda i, c: n.sin(w @ c) + xs[i] * i, x))

    return f


def choice(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        return m.lax.cond(
            x[0] > 0, lambda a, b: n.sum(n.sin(w @ a)), lambda a, b: n.sum(b**2 * a) + 1.0, x, xs
        ) + m.lax.cond(x[0] > 5, lambda: n.sum(w * 1.0), lambda: n.exp(x[1]))

    return f


def switch_in_scan(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        def step(i: Any, e: Any) -> Any:
            branches = [lambda a: n.sin(a) * x, lambda a: n.tanh(w @ a), lambda a: n.ones(3)]
            return i + 1, m.lax.switch(i % 3, branches, e)

        return n.sum(m.lax.scan(step, 0, xs)[1] ** 2)

    return f


def while_loop(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        def body(state: Any) -> Any:
            i, c, total = state
            return i + 1, n.sin(w @ c) + 0.2, total + n.sum(c * xs[0])

        i, c, total = m.lax.while_loop(lambda s: (s[2] < 1.5) & (s[0] < 9), body, (0, x, n.sum(x)))
        return total * n.sum(c) + i

    return f


LOOPS = [
    scan,
    reverse_scan_of_trees,
    scan_that_depends_by_what_it_closes_over,
    nested_scans,
    scan_of_checkpoint,
    scan_of_checkpoint_with_policy,
    scan_of_custom_rules,
    fori_loop,
    choice,
    switch_in_scan,
]

# Transforms of such programs


def grad(m: Any, n: Any, f: Any) -> Any:
    return m.grad(f, (0, 1, 2))


def jvp(m: Any, n: Any, f: Any) -> Any:
    return lambda *args: m.jvp(f, args, tuple(n.cos(a) for a in args))


def jvp_of_the_second_alone(m: Any, n: Any, f: Any) -> Any:
    return lambda w, x, xs: m.jvp(lambda x: f(w, x, xs), (x,), (n.cos(x),))


def batched(n: Any, *args: Any) -> Any:
    return [n.stack([a, a * 0.5, -a]) for a in args]


def vmap(m: Any, n: Any, f: Any) -> Any:
    return lambda *args: m.vmap(f)(*batched(n, *args))


def vmap_of_the_last_alone(m: Any, n: Any, f: Any) -> Any:
    return lambda w, x, xs: m.vmap(f, (None, None, 2))(w, x, n.stack([xs, -xs], 2))


def vmap_of_the_first_alone(m: Any, n: Any, f: Any) -> Any:
    return lambda w, x, xs: m.vmap(f, (1, None, None))(n.stack([w, -w], 1), x, xs)


def vmap_of_grad(m: Any, n: Any, f: Any) -> Any:
    return lambda *args: m.vmap(m.grad(f, (0, 1, 2)))(*batched(n, *args))


def grad_of_vmap(m: Any, n: Any, f: Any) -> Any:
    return m.grad(lambda *args: n.sum(m.vmap(f)(*batched(n, *args)) ** 2), (0, 1, 2))


def forward_over_reverse(m: Any, n: Any, f: Any) -> Any:
    return lambda *args: m.jvp(m.grad(f, (0, 1, 2)), args, tuple(n.cos(a) for a in args))


def reverse_over_forward(m: Any, n: Any, f: Any) -> Any:
    return m.grad(lambda *args: m.jvp(f, args, tuple(n.cos(a) for a in args))[1], (0, 1, 2))


def reverse_over_reverse(m: Any, n: Any, f: Any) -> Any:
    return m.grad(lambda *args: sum(n.sum(g**2) for g in m.grad(f, (0, 1, 2))(*args)), (0, 1, 2))


def checkpoint(m: Any, n: Any, f: Any) -> Any:
    return m.grad(m.checkpoint(f), (0, 1, 2))


def linearize(m: Any, n: Any, f: Any) -> Any:
    return lambda *args: m.linearize(f, *args)[1](*(n.cos(a) for a in args))


def vmap_of_linearize(m: Any, n: Any, f: Any) -> Any:
    return vmap(m, n, linearize(m, n, f))


def linearize_of_vmap(m: Any, n: Any, f: Any) -> Any:
    return linearize(m, n, vmap(m, n, f))


def jvp_of_linearize(m: Any, n: Any, f: Any) -> Any:
    return jvp(m, n, linearize(m, n, f))


FORWARD = [jvp, jvp_of_the_second_alone, vmap, vmap_of_the_first_alone, vmap_of_the_last_alone]
LINEAR = [linearize, vmap_of_linearize, linearize_of_vmap, jvp_of_linearize]
REVERSE = [grad, vmap_of_grad, checkpoint]
SECOND = [grad_of_vmap, forward_over_reverse, reverse_over_forward, reverse_over_reverse]
PAIRS = [
    *((program, t) for program in LOOPS for t in FORWARD + REVERSE),
    *((program, t) for program in (scan, nested_scans, scan_of_custom_rules, switch_in_scan) for t in SECOND),
    *((while_loop, t) for t in [*FORWARD, *LINEAR]),
    *((scan_of_custom_reverse_rules, t) for t in [*REVERSE, vmap, grad_of_vmap, reverse_over_reverse]),
]


def name(value: Any) -> str:
    return str(value.__name__)


def the_same_without_rules(m: Any, n: Any) -> Any:
    def f(w: Any, x: Any, xs: Any) -> Any:
        last, ys = m.lax.scan(lambda c, e: (n.sin(w @ c) * e, c**2), x, xs)
        return n.sum(last) + n.sum(ys**2)

    return f


@by_jax
def expected(program: Any, transform: Any) -> list[Any]:
    # (At the second order JAX's own scan differentiates the text of a function with a rule.)
    if program in (scan_of_custom_rules, scan_of_custom_reverse_rules):
        program = the_same_without_rules
    with jax.enable_x64(True):
        function = transform(jax, jax.numpy, program(jax, jax.numpy))
        return [np.asarray(leaf) for leaf in jax.tree.leaves(function(*map(jax.numpy.asarray, ARGS)))]


def check(program: Any, transform: Any, got: Any) -> None:
    for ours, theirs in zip(gradkit.tree.leaves(got), expected(program, transform), strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(gradkit.device_get(ours), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("program, transform", PAIRS, ids=name)
def test_the_graph_of_a_transformed_loop_computes_what_jax_does(program: Any, transform: Any, xp: Any) -> None:
    args = list(map(jnp.asarray, ARGS))
    with x64():
        jaxpr = gradkit.make_jaxpr(transform(gradkit, jnp, program(gradkit, jnp)))(*args)
        check(program, transform, jaxpr(*args))


@pytest.mark.parametrize("program, transform", PAIRS, ids=name)
def test_a_transform_of_a_captured_loop_computes_what_jax_does(program: Any, transform: Any, xp: Any) -> None:
    args = list(map(jnp.asarray, ARGS))
    with x64():
        jaxpr = gradkit.make_jaxpr(program(gradkit, jnp))(*args)
        check(program, transform, transform(gradkit, jnp, jaxpr)(*args))


@pytest.mark.parametrize("transform", FORWARD + REVERSE, ids=name)
def test_the_graph_of_a_transform_of_a_captured_loop_computes_what_jax_does(transform: Any, xp: Any) -> None:
    args = list(map(jnp.asarray, ARGS))
    with x64():
        jaxpr = gradkit.make_jaxpr(switch_in_scan(gradkit, jnp))(*args)
        again = gradkit.make_jaxpr(transform(gradkit, jnp, jaxpr))(*args)
        check(switch_in_scan, transform, again(*args))


def operations(graph: Graph) -> list[str]:
    found = []
    for equation in graph.equations:
        found.append(equation.primitive.name)
        for value in equation.params.values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Graph):
                    found.extend(operations(part))
    return found


@pytest.mark.parametrize("transform", FORWARD + REVERSE + SECOND, ids=name)
def test_a_transformed_scan_is_of_one_size_however_many_steps_it_has(transform: Any) -> None:
    def graph(steps: int) -> list[str]:
        function = transform(gradkit, jnp, scan(gradkit, jnp))
        xs = gradkit.ShapeDtypeStruct((steps, 3), "float64")
        return operations(gradkit.make_jaxpr(function)(*map(jnp.asarray, (W, X)), xs).jaxpr)

    assert "scan" in graph(5)
    assert graph(5) == graph(50)


def test_reverse_mode_of_a_while_loop_in_a_graph_is_jaxs_error() -> None:
    function = while_loop(gradkit, jnp)
    with pytest.raises(ValueError, match=r"Reverse-mode differentiation does not work for lax\.while_loop"):
        gradkit.make_jaxpr(gradkit.grad(function))(*map(jnp.asarray, ARGS))
    # What does not depend on the loop has its derivative.
    jaxpr = gradkit.make_jaxpr(
        gradkit.grad(lambda x: gradkit.lax.while_loop(lambda i: i < x, lambda i: i + 1, 0.0) + x)
    )
    assert float(jaxpr(2.5)(2.5)) == 1.0


def test_a_scan_keeps_what_is_the_same_in_every_step_once() -> None:
    def f(w: Any, x: Any, xs: Any) -> Any:
        return jnp.sum(gradkit.lax.scan(lambda c, e: (w @ c + e, None), x, xs)[0])

    jaxpr = gradkit.make_jaxpr(gradkit.grad(f, (0, 1, 2)))(*map(jnp.asarray, ARGS)).jaxpr
    shapes = [out.shape for equation in jaxpr.equations for out in equation.outputs]
    assert (4, 3, 3) not in shapes
