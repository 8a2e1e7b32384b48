"""Choices that differ between the elements of a batch, by functions that close over what is differentiated: as in JAX,
the derivative of the one that an element does not choose goes nowhere, be it infinite or NaN."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from side_by_side import check_same

import gradkit

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from a logarithm that is not chosen

X = np.asarray([0.0, 1.5, -1.0])

# Functions of a number, in JAX's words, whose first branch has no finite derivative at 0.


def cond(m: Any, n: Any) -> Any:
    return lambda x: m.lax.cond(x > 0, lambda: n.log(x) * x, lambda: x**3)


def cond_of_intermediates(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        y, z = n.sin(x), x * x
        return y * m.lax.cond(x > 0, lambda a: n.log(y) * a + z, lambda a: z * a, x)

    return f


def switch(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        branches = [lambda: x * x, lambda: n.log(x) * x, lambda: n.sqrt(x - 1), lambda: x]
        return m.lax.switch(n.where(x > 1, 2, n.where(x > 0, 1, 0)), branches)

    return f


def a_branch_without_operations(m: Any, n: Any) -> Any:
    return lambda x: m.lax.cond(x > 0, lambda: n.sqrt(x), lambda: x) ** 2


def trees(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        found = m.lax.cond(x > 0, lambda: {"a": n.log(x), "b": 1 / x}, lambda: {"a": x**2, "b": n.exp(x)})
        return found["a"] * found["b"]

    return f


def choices_in_choices(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        def inner() -> Any:
            return m.lax.cond(x > 1, lambda: n.sqrt(x - 1) * x, lambda: n.log(x))

        return m.lax.cond(x > 0, inner, lambda: x**3)

    return f


def in_a_scan(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        def step(carry: Any, e: Any) -> Any:
            carry = carry + m.lax.cond(carry > 0, lambda: n.log(carry) * e, lambda: x * carry * e)
            return carry, m.lax.cond(x > 0, lambda: n.sqrt(x) * e, lambda: x**2)

        carry, ys = m.lax.scan(step, x, n.asarray([1.0, 2.0, 3.0]))
        return carry + n.sum(ys**2)

    return f


def a_scan_in_a_branch(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        def true_fun() -> Any:
            return m.lax.scan(lambda c, e: (c + n.log(x) * e, None), x, n.asarray([1.0, 2.0]))[0]

        return m.lax.cond(x > 0, true_fun, lambda: x**2)

    return f


def a_rule_of_its_own(m: Any, n: Any) -> Any:
    @m.custom_jvp
    def logarithm(x: Any) -> Any:
        return n.log(x)

    logarithm.defjvp(lambda primals, tangents: (logarithm(*primals), tangents[0] / primals[0]))
    return lambda x: m.lax.cond(x > 0, lambda: logarithm(x) * x, lambda: x**3)


def a_reverse_rule_of_its_own(m: Any, n: Any) -> Any:
    @m.custom_vjp
    def logarithm(x: Any) -> Any:
        return n.log(x)

    logarithm.defvjp(lambda x: (n.log(x), x), lambda x, g: (g / x,))
    return lambda x: m.lax.cond(x > 0, lambda: logarithm(x) * x, lambda: x**3)


def several_results_of_an_operation(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        w = n.stack([n.stack([x + 2, x]), n.stack([x, 3 - x])])
        return m.lax.cond(x > 0, lambda: n.sum(n.linalg.eigh(w)[0] ** 2) / x, lambda: x**3)

    return f


def recomputed(m: Any, n: Any) -> Any:
    return lambda x: m.checkpoint(lambda x: m.lax.cond(x > 0, lambda: n.log(x) * x, lambda: x**3))(x)


def a_branch_that_recomputes(m: Any, n: Any) -> Any:
    return lambda x: m.lax.cond(x > 0, lambda: m.checkpoint(lambda x: n.log(x) * x)(x), lambda: x**3)


def a_derivative_in_a_branch(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        return m.lax.cond(x > 0, lambda: m.grad(lambda y: n.log(y) * y * x)(x), lambda: x**3)

    return f


def a_batch_in_a_branch(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        return m.lax.cond(x > 0, lambda: n.sum(m.vmap(lambda e: n.log(x) * e)(n.asarray([1.0, 2.0]))), lambda: x**3)

    return f


FUNCTIONS = [
    cond,
    cond_of_intermediates,
    switch,
    a_branch_without_operations,
    trees,
    choices_in_choices,
    in_a_scan,
    a_scan_in_a_branch,
    a_rule_of_its_own,
    several_results_of_an_operation,
    recomputed,
    a_branch_that_recomputes,
    a_derivative_in_a_branch,
    a_batch_in_a_branch,
]


def name(part: Any) -> str:
    return str(part.__name__)


def first_order(m: Any, f: Any) -> Any:
    return lambda x: (m.grad(f)(x), m.vjp(f, x)[1](1.0 + 0 * x), m.jacrev(f)(x))


def reverse_over_reverse(m: Any, f: Any) -> Any:
    return m.grad(m.grad(f))


def three_times(m: Any, f: Any) -> Any:
    return m.grad(m.grad(m.grad(f)))


def forward_over_reverse(m: Any, f: Any) -> Any:
    return lambda x: (m.jvp(m.grad(f), (x,), (x + 2,)), m.hessian(f)(x))


def reverse_over_forward(m: Any, f: Any) -> Any:
    return m.grad(lambda x: m.jvp(f, (x,), (x + 2,))[1])


def reverse_over_forward_over_reverse(m: Any, f: Any) -> Any:
    return m.grad(lambda x: m.jvp(m.grad(f), (x,), (x + 2,))[1])


TRANSFORMS = [
    first_order,
    reverse_over_reverse,
    three_times,
    forward_over_reverse,
    reverse_over_forward,
    reverse_over_forward_over_reverse,
]


@pytest.mark.dealt("transform", "function")
@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
def test_the_derivative_by_what_a_branch_closes_over_is_that_of_the_one_chosen(
    transform: Any, function: Any, xp: Any
) -> None:
    check_same(lambda m, n: m.vmap(transform(m, function(m, n))), X, jitted=transform is first_order)


@pytest.mark.dealt("function")
@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_a_graph_of_a_batch_that_is_differentiated_later_has_its_gates(function: Any, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        total = m.jit(lambda x: n.sum(n.sin(m.vmap(function(m, n))(x))))
        return lambda x: (m.grad(total)(x), m.jvp(m.grad(total), (x,), (x + 2,)))

    check_same(program, X)


def test_a_reverse_rule_in_a_branch_that_is_not_chosen_goes_nowhere(xp: Any) -> None:
    check_same(lambda m, n: m.vmap(first_order(m, a_reverse_rule_of_its_own(m, n))), X)
    check_same(lambda m, n: m.vmap(reverse_over_reverse(m, a_reverse_rule_of_its_own(m, n))), X)


@pytest.mark.parametrize("function", [cond, switch, in_a_scan], ids=name)
def test_batches_of_batches_choose_for_each_element(function: Any, xp: Any) -> None:
    check_same(lambda m, n: m.vmap(m.vmap(m.grad(function(m, n)))), np.stack([X, X[::-1]]), jitted=True)


@pytest.mark.parametrize("function", [cond, cond_of_intermediates, switch, trees, choices_in_choices], ids=name)
@pytest.mark.parametrize("transform", [first_order, reverse_over_reverse, forward_over_reverse], ids=name)
@pytest.mark.parametrize("x", [0.0, 1.5])
def test_a_graph_has_the_derivative_of_the_branch_that_is_chosen(
    x: float, transform: Any, function: Any, xp: Any
) -> None:
    def program(m: Any, n: Any) -> Any:
        f = transform(m, function(m, n))
        return f if m is jax else lambda x: m.make_jaxpr(f)(x)(x)

    check_same(program, np.asarray(x))


# In the body of a loop


def in_a_loop(m: Any, n: Any) -> Any:
    return lambda x: m.lax.fori_loop(0, 2, lambda i, c: c + m.lax.cond(c > 9, lambda: n.sqrt(x), lambda: x * x), x)


def in_a_map(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        each = m.lax.map(lambda e: m.lax.cond(e > 9, lambda: n.log(x) * n.log(x), lambda: x * e), n.asarray([1.0, 2.0]))
        return n.sum(each)

    return f


def choices_in_choices_in_a_scan(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        def inner(c: Any) -> Any:
            return m.lax.cond(c > 10, lambda: n.log(x), lambda: 1 / x)

        def step(c: Any, e: Any) -> Any:
            return c + m.lax.cond(c > 9, lambda: inner(c), lambda: x * x) * e, None

        return m.lax.scan(step, x, n.asarray([1.0, 2.0]))[0]

    return f


def a_scan_in_a_branch_in_a_scan(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        def inner() -> Any:
            return m.lax.scan(lambda c, e: (c + n.log(x) * e, None), 1 / x, n.asarray([1.0, 2.0]))[0]

        def step(c: Any, e: Any) -> Any:
            return c + m.lax.cond(c > 9, inner, lambda: x * x) * e, None

        return m.lax.scan(step, x, n.asarray([1.0, 2.0]))[0]

    return f


def recomputed_in_a_scan(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        def step(c: Any, e: Any) -> Any:
            return c + m.lax.cond(c > 9, lambda: m.checkpoint(lambda: n.log(x) * x)(), lambda: x * x) * e, None

        return m.lax.scan(step, x, n.asarray([1.0, 2.0]))[0]

    return f


def batch_of_first_order(m: Any, f: Any) -> Any:
    return lambda x: m.vmap(m.grad(f))(m.numpy.stack([x, x * 0.5]))


@pytest.mark.parametrize("how", ["as it is", "in a graph", "of a graph"])
@pytest.mark.parametrize(
    "function",
    [
        in_a_loop,
        in_a_map,
        choices_in_choices_in_a_scan,
        a_scan_in_a_branch_in_a_scan,
        recomputed_in_a_scan,
    ],
    ids=name,
)
def test_what_a_branch_in_a_loop_computes_by_closures_alone_goes_nowhere_if_it_is_not_chosen(
    function: Any, how: str, xp: Any
) -> None:
    def program(m: Any, n: Any) -> Any:
        def derivatives(x: Any) -> Any:
            f = function(m, n)
            if m is not jax and how == "of a graph":
                f = gradkit.make_jaxpr(f)(x)
            return [transform(m, f)(x) for transform in (batch_of_first_order, forward_over_reverse)]

        if m is jax or how != "in a graph":
            return derivatives
        return lambda x: gradkit.make_jaxpr(derivatives)(x)(x)

    check_same(program, np.asarray(0.0))


# Reverse mode from outside the batch


@pytest.mark.parametrize("function", [recomputed, a_branch_that_recomputes], ids=name)
@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
def test_a_checkpoint_in_a_branch_closes_over_the_value_at_every_order(transform: Any, function: Any, xp: Any) -> None:
    def closing_over(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            recomputing = m.checkpoint(lambda: n.log(x) * n.sqrt(x))
            return m.lax.cond(x > 0, lambda: recomputing() * x, lambda: m.checkpoint(lambda: x**3)())

        return lambda x: f(x) + function(m, n)(x)

    check_same(lambda m, n: m.vmap(transform(m, closing_over(m, n))), X)
    check_same(lambda m, n: lambda x: m.grad(lambda x: n.sum(m.vmap(transform_once(m, closing_over(m, n)))(x)))(x), X)


def transform_once(m: Any, f: Any) -> Any:
    return lambda x: f(x) ** 2 + m.grad(f)(x)


def test_two_batches_whose_branches_compute_of_one_of_them_alone_are_each_cut_off(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def element(x: Any, y: Any) -> Any:
            v = n.stack([y, y * y])
            return m.lax.cond(x > 0, lambda: n.log(y) * x + n.sum(n.sqrt(v)), lambda: x * v[0])

        def total(x: Any, y: Any, w: Any) -> Any:
            each = m.vmap(m.vmap(lambda x, y: element(x, y) + element(x, w * y), (0, None)))
            return n.sum(each(x, y))

        return lambda x, y, w: (m.grad(total, (0, 1, 2))(x, y, w), m.jacrev(m.grad(total, 1), (0, 1))(x, y, w))

    # The element of y that is 0 has a row of x that does not choose the branch with the logarithm.
    values = np.asarray([[-1.0, -2.0, -3.0], [0.5, -1.0, 2.0]]), np.asarray([0.0, 1.5]), np.asarray(0.7)
    check_same(program, *values, jitted=True)


def of_weights(m: Any, n: Any) -> Any:
    """Return a function of what is the same for all elements, and of what differs."""

    def f(w: Any, x: Any) -> Any:
        return m.lax.cond(x > 0, lambda: n.log(w * x) + n.sqrt(w) * x, lambda: (w + 2) * x**2)

    return f


def of_what_is_the_same_alone(m: Any, n: Any) -> Any:
    return lambda w, x: m.lax.cond(x > 9, lambda: n.log(w) * n.log(w), lambda: (w + 2) * x)


def of_operands(m: Any, n: Any) -> Any:
    return lambda w, x: m.lax.cond(x > 0, lambda w, x: n.log(w * x), lambda w, x: w * x, w, x)


def of_choices_in_choices(m: Any, n: Any) -> Any:
    return lambda w, x: w * choices_in_choices(m, n)(x) + m.lax.cond(x < 0, lambda: n.sqrt(w), lambda: x)


def of_rules(m: Any, n: Any) -> Any:
    return lambda w, x: w * a_rule_of_its_own(m, n)(x)


def of_derivatives(m: Any, n: Any) -> Any:
    return lambda w, x: m.grad(lambda x: w * cond(m, n)(x))(x) * m.grad(lambda w: n.sin(of_weights(m, n)(w, x)))(w)


def of_scans(m: Any, n: Any) -> Any:
    return lambda w, x: w * in_a_scan(m, n)(x)


@pytest.mark.dealt("function")
@pytest.mark.parametrize(
    "function",
    [
        of_weights,
        of_what_is_the_same_alone,
        of_operands,
        of_choices_in_choices,
        of_rules,
        of_derivatives,
        of_scans,
    ],
    ids=name,
)
def test_reverse_mode_from_outside_the_batch_is_cut_off_as_well(function: Any, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def total(w: Any, x: Any) -> Any:
            return n.sum(n.sin(m.vmap(function(m, n), in_axes=(None, 0))(w, x)))

        def derivatives(w: Any, x: Any) -> Any:
            first = m.grad(total, argnums=(0, 1))
            return first(w, x), m.jacrev(first, argnums=(0, 1))(w, x), m.jvp(first, (w, x), (w + 1, x + 2))

        return derivatives

    check_same(program, np.asarray(0.7), X, jitted=True)
    if function in (of_what_is_the_same_alone, of_operands):
        check_same(program, np.asarray(0.0), -np.abs(X) - 1)


def test_the_tape_is_cut_off_as_well(xp: Any) -> None:
    x = gradkit.numpy.asarray(X)
    x.requires_grad = True
    gradkit.numpy.sum(gradkit.vmap(cond(gradkit, gradkit.numpy))(x)).backward()
    np.testing.assert_allclose(gradkit.device_get(x.grad), [0.0, np.log(1.5) + 1, 3.0])


def test_a_checkpoint_in_a_branch_knows_what_of_its_arguments_the_branch_has_used(xp: Any) -> None:
    """What runs again gets its arguments as other objects; they are the ones that went through a gate before."""

    def program(m: Any, n: Any) -> Any:
        def f(x: Any, w: Any) -> Any:
            call = m.checkpoint(lambda mean, w: mean * n.sin(w[1] * x))
            return m.lax.cond(w[0] > 0, lambda a: a * call(n.sum(w), w), lambda a: a * a, x)

        return lambda x, w: (
            m.grad(lambda x, w: n.sum(m.vmap(m.vmap(f, (0, None)), (None, 0))(x, w)), (0, 1))(x, w),
            m.grad(lambda x, w: n.sum(m.vmap(m.vmap(f, (None, 0)), (0, None))(x, w)), (0, 1))(x, w),
            m.grad(lambda x, w: n.sum(m.vmap(m.grad(f, 1), (None, 0))(x[1], w)), (0, 1))(x, w),
            m.jvp(lambda w: m.grad(lambda w: n.sum(m.vmap(f, (None, 0))(x[1], w)))(w), (w,), (w,)),
        )

    check_same(program, X, np.asarray([[0.3, -0.2], [-0.4, 0.5]]))


@pytest.mark.parametrize("result", ["x", "u", "c"])
def test_a_checkpoint_in_a_branch_may_return_what_is_there_already(result: str, xp: Any) -> None:
    def f(x: Any) -> Any:
        def unchosen_twice(u: Any) -> Any:
            return m.checkpoint(lambda c: (x[0], {"x": x, "u": u, "c": c}[result]))(2 * x)[0]

        return jnp.sum(m.vmap(lambda a: m.lax.cond(a > 0, jnp.sum, unchosen_twice, x))(x))

    m, jnp = gradkit, gradkit.numpy
    x = xp.asarray([0.3, -0.4, 0.9])
    assert m.grad(f)(x).tolist() == [3.0, 2.0, 2.0]
    assert m.jvp(f, (x,), (x,))[1].tolist() == pytest.approx(0.3 + 2 * 0.8)
    assert m.grad(lambda x: jnp.sum(m.jvp(f, (x,), (x,))[1]))(x).tolist() == [3.0, 2.0, 2.0]


def test_a_checkpoint_in_a_choice_in_a_choice_goes_through_the_gates_of_both_again(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any, w: Any) -> Any:
            def inner(a: Any) -> Any:
                return lambda _: m.lax.cond(x > 1, m.checkpoint(n.sin), lambda a: a * x, a)

            a = n.sin(w)
            for _ in range(2):
                a = m.lax.cond(x > 0, inner(a), n.sin, w * w)
            return a

        return lambda x, w: (
            m.grad(lambda x, w: n.sum(m.vmap(m.grad(f, 1), (0, None))(x, w)), (0, 1))(x, w),
            m.grad(lambda w: n.sum(m.vmap(f, (0, None))(x, w)))(w),
            m.vmap(m.grad(m.grad(f, 1), 1), (0, None))(x, w),
        )

    check_same(program, X, np.asarray(0.4))
