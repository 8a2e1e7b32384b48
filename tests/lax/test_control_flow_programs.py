"""Programs with loops and choices, as they are and as graphs: they compute what JAX does."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from references import usual_widths
from side_by_side import check_same
from test_control_flow_graphs import ARGS, XS, W, X, name

import gradkit
import gradkit.numpy as jnp


def training(m: Any, n: Any) -> Any:
    def loss(p: Any, x: Any) -> Any:
        return n.mean((n.tanh(p["w"] @ x) + p["b"]) ** 2)

    def step(p: Any, x: Any) -> Any:
        value, gradient = m.value_and_grad(loss)(p, x)
        return m.tree.map(lambda a, b: a - 0.1 * b, p, gradient), value

    return lambda w, x, xs: m.lax.scan(step, {"w": w, "b": x}, xs)


def noise(m: Any, n: Any) -> Any:
    def step(key: Any, e: Any) -> Any:
        key, own = m.random.split(key)
        return key, e * m.random.normal(own, (3,), dtype="float64")

    return m.grad(lambda xs: n.sum(m.lax.scan(step, m.random.PRNGKey(0), xs)[1] ** 2))


def sums_over_a_batch(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        return n.sum(m.lax.scan(lambda c, e: (m.lax.psum(n.sin(c), "i") * e, None), x, n.asarray(XS))[0])

    return m.vmap(m.grad(f), axis_name="i")


def choices_by_element(m: Any, n: Any) -> Any:
    return m.vmap(m.grad(lambda x: m.lax.cond(x[0] > 0, lambda: n.sum(n.sin(x)), lambda: n.prod(x))))


def complex_carry(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        return n.real(n.sum(m.lax.scan(lambda c, e: (n.exp(1j * c) * e, c), x + 0j, n.asarray(XS))[1]))

    return m.vmap(m.grad(f))


def steps_by_element(m: Any, n: Any) -> Any:
    def f(k: Any, x: Any) -> Any:
        return m.lax.fori_loop(0, k, lambda i, c: n.sin(c) + i, x)

    return lambda xs: m.jvp(lambda xs: m.vmap(f)(n.arange(4), xs), (xs,), (n.cos(xs),))


def nothing_to_run_over(m: Any, n: Any) -> Any:
    return m.grad(lambda xs: n.sum(m.lax.scan(lambda c, e: (c * e, c), xs[0], xs[:0])[0] ** 2))


PROGRAMS: dict[Any, tuple[Any, ...]] = {
    training: ARGS,
    lambda m, n: m.grad(lambda w, xs: n.sum(training(m, n)(w, n.asarray(X), xs)[1]), (0, 1)): (W, XS),
    noise: (XS,),
    sums_over_a_batch: (XS,),
    choices_by_element: (XS,),
    complex_carry: (XS,),
    steps_by_element: (XS,),
    nothing_to_run_over: (XS,),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=name)
def test_programs_and_their_graphs_compute_what_jax_does(program: Any, xp: Any) -> None:
    args = PROGRAMS[program]
    check_same(program, *args)
    check_same(lambda m, n: program(m, n) if m is jax else lambda *a: m.make_jaxpr(program(m, n))(*a)(*a), *args)


@pytest.mark.parametrize("loop", ["scan", "fori_loop", "cond"])
@pytest.mark.parametrize("transform", ["grad", "jacfwd"])
def test_a_rule_in_a_graph_may_not_close_over_what_is_differentiated(loop: str, transform: str, xp: Any) -> None:
    def f(y: Any) -> Any:
        @gradkit.custom_jvp
        def g(x: Any) -> Any:
            return x * y

        g.defjvp(lambda primals, tangents: (g(*primals), tangents[0] * y))
        if loop == "scan":
            return gradkit.lax.scan(lambda c, _: (g(c), None), y, None, length=3)[0]
        if loop == "fori_loop":
            return gradkit.lax.fori_loop(0, 3, lambda _, c: g(c), y)
        return gradkit.lax.cond(y > 0, g, lambda x: x, y)

    with pytest.raises(gradkit.errors.UnexpectedTracerError, match="closed-over value"):
        gradkit.make_jaxpr(getattr(gradkit, transform)(f))(2.0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from the logarithm, where it is not chosen
def test_the_derivative_of_what_an_element_does_not_choose_goes_nowhere(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            return m.lax.switch(n.where(x > 0, 1, 0), [lambda x: x * x, lambda x: n.log(x) * x], x)

        def derivatives(x: Any) -> Any:
            return m.grad(f)(x), m.grad(m.grad(f))(x), m.grad(lambda x: m.jvp(f, (x,), (x,))[1])(x)

        return m.vmap(derivatives)

    x = np.asarray([0.0, 1.5, -1.0])
    check_same(program, x)
    check_same(lambda m, n: program(m, n) if m is jax else lambda x: m.make_jaxpr(program(m, n))(x)(x), x)


def a_scan_in_a_scan(m: Any, n: Any, x: Any) -> Any:
    es = n.asarray([1.0, 2.0])
    return m.lax.scan(lambda c, e: (m.lax.scan(lambda d, e: (d * x * e, None), c, es)[0] * e, None), x, es)[0]


def a_choice_in_a_scan(m: Any, n: Any, x: Any) -> Any:
    def step(c: Any, e: Any) -> Any:
        return c + m.lax.cond(c > 0, lambda c: c * e * x, lambda c: x * c, c), x

    return m.lax.scan(step, x, n.asarray([1.0, -2.0, 3.0]))[0]


@pytest.mark.parametrize("program", [a_scan_in_a_scan, a_choice_in_a_scan], ids=name)
def test_what_a_loop_in_a_loop_computes_for_all_elements_is_no_batch(program: Any, xp: Any) -> None:
    def derivatives(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            return program(m, n, x)

        def g(x: Any) -> Any:
            return m.jacfwd(f)(x), m.hessian(f)(x), m.jacrev(m.jacfwd(f))(x), m.jacfwd(m.hessian(f))(x)

        return g if m is jax else lambda x: m.make_jaxpr(g)(x)(x)

    check_same(derivatives, np.asarray(1.5))


def test_a_graph_of_a_derivative_knows_the_shapes_of_its_constants(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            return n.sum(n.sin(n.ones(3) * x) * n.arange(6.0).reshape(2, 3))

        g = m.grad(f)
        return g if m is jax else lambda x: m.make_jaxpr(g)(x)(x)

    check_same(program, np.asarray(1.5))


@pytest.mark.dealt("jitted", "dtype")
@pytest.mark.parametrize("jitted", [False, True], ids=["values", "jit"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_a_choice_among_more_functions_than_its_index_can_count(xp: Any, dtype: str, jitted: bool) -> None:
    branches = [lambda i=i: i for i in range(300)]
    limits = np.iinfo(dtype)
    switch = (
        gradkit.jit(lambda i: gradkit.lax.switch(i, branches)) if jitted else lambda i: gradkit.lax.switch(i, branches)
    )
    for index in {limits.min, max(limits.min, -3), 0, 5, 127, min(limits.max, 250), limits.max}:
        assert int(switch(jnp.asarray(index, dtype))) == min(max(index, 0), 299)


BOUNDS = [
    (2, 5), (np.int8(2), np.int8(5)), (np.int8(2), 5), (2, np.int8(5)), (2, np.uint8(5)), (np.uint8(2), 5),
    (np.int8(2), np.int16(5)), (np.uint32(2), np.int32(5)), (np.int16(120), 127), (np.uint8(250), np.uint8(255)),
]  # fmt: skip


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("traced", [False, True])
def test_bounds_of_a_loop_are_of_one_dtype(xp: Any, bounds: Any, traced: bool) -> None:
    def steps_of(module: Any, asarray: Any) -> Any:
        """Return how many steps there are, and the dtype of their numbers; or the error."""
        seen: list[Any] = []

        def body(i: Any, steps: Any) -> Any:
            seen.append(i.dtype)
            return steps + 1

        def run(*arrays: Any) -> Any:
            rest = iter(arrays)
            lower, upper = (x if type(x) is int else next(rest) for x in bounds)
            return module.lax.fori_loop(lower, upper, body, 0)

        try:
            steps = (module.jit(run) if traced else run)(*(asarray(x) for x in bounds if type(x) is not int))
        except TypeError as error:
            return str(error).partition(", got")[0]
        return int(steps), seen[-1]

    with usual_widths():
        expected = steps_of(jax, jax.numpy.asarray)
    assert steps_of(gradkit, jnp.asarray) == expected


LOOPS = {
    "scan": lambda lax, step, init: lax.scan(lambda c, _: (step(c), None), init, None, 3)[0],
    "fori_loop": lambda lax, step, init: lax.fori_loop(0, 3, lambda _, c: step(c), init),
    "while_loop": lambda lax, step, init: lax.while_loop(
        lambda s: s[0] < 3, lambda s: (s[0] + 1, step(s[1])), (0, init)
    )[1],
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("jitted", [False, True], ids=["values", "jit"])
def test_a_truth_value_in_a_carry_does_not_become_a_number(xp: Any, loop: str, jitted: bool) -> None:
    def run(module: Any, step: Any) -> Any:
        return (module.jit if jitted else lambda f: f)(lambda: LOOPS[loop](module.lax, step, True))()

    for module in (jax, gradkit):
        with pytest.raises(TypeError, match="must have equal types"):
            run(module, lambda c: c + 1)
        assert run(module, lambda c: ~c).tolist() is False
