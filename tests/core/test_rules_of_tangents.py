"""What the rule of a custom_jvp function does with its tangent is linear in it, or refused, in whatever runs it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import Array
from gradkit.errors import JAXTypeError


@pytest.mark.parametrize("rule", ["t * t", "t ** 3", "jnp.sin(t)", "jnp.abs(t)", "t / (1 + t)", "jnp.max(t) * t"])
def test_a_rule_that_is_not_linear_in_the_tangent_is_refused_where_it_is_transposed(rule: str, xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 1.0)
    f.defjvp(lambda primals, tangents: (primals[0], eval(rule, {"jnp": jnp, "t": tangents[0]})))
    x = xp.asarray(2.0)
    assert gradkit.jvp(f, (x,), (x,))[1] == eval(rule, {"jnp": jnp, "t": x})
    for reverse in (
        gradkit.grad(f),
        lambda x: gradkit.vjp(f, x),
        lambda x: gradkit.vmap(gradkit.grad(f))(jnp.stack([x, x])),
        lambda x: gradkit.grad(lambda x: gradkit.checkpoint(f)(x))(x),
    ):
        with pytest.raises(
            NotImplementedError, match="not implemented: the rule of a custom_jvp function is not linear"
        ):
            reverse(x)


@pytest.mark.parametrize(
    "rule",
    ["3 * t", "t / x", "-t + x * t", "jnp.where(x > 1, t, 0)", "jnp.sum(jnp.stack([t, t]))", "t.astype('float32')"],
)
def test_a_rule_that_is_linear_in_the_tangent_is_transposed(rule: str, xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 1.0)
    f.defjvp(lambda primals, tangents: (primals[0], eval(rule, {"jnp": jnp, "x": primals[0], "t": tangents[0]})))
    x = xp.asarray(2.0)
    assert gradkit.grad(f)(x) == gradkit.jvp(f, (x,), (xp.asarray(1.0),))[1]


def answered(name: str, t: Any) -> Any:
    """Return what a function of NumPy's names gives for one number, if that is a number as well, else None."""
    try:
        with np.errstate(all="ignore"):
            value = getattr(jnp, name)(t)
    except (TypeError, ValueError, IndexError, AttributeError):
        return None
    real = isinstance(value, Array) and value.shape == t.shape and value.dtype == t.dtype
    return value if real else None


# Their results are constants, which a rule may return.
CONSTANT = {"empty_like", "ones_like", "zeros_like"}


def test_every_function_of_one_number_is_linear_or_refused_as_the_rule_of_tangents(xp: Any) -> None:
    one, x = xp.asarray(1.0), xp.asarray(2.0)
    wrong, linear, refused = [], [], []
    for name in sorted(set(jnp.__all__) - CONSTANT):
        at_one = answered(name, one)
        if at_one is None:
            continue
        f = gradkit.custom_jvp(lambda x: x * 1.0)
        f.defjvp(lambda primals, tangents, name=name: (primals[0], getattr(jnp, name)(tangents[0])))
        try:
            with np.errstate(all="ignore"):
                slope = float(gradkit.grad(f)(x))
        except (NotImplementedError, JAXTypeError):
            refused.append(name)
            continue
        values = [float(answered(name, xp.asarray(t))) for t in (-2.5, 0.25, 1.0, 3.0)]
        (linear if values == pytest.approx([slope * t for t in (-2.5, 0.25, 1.0, 3.0)]) else wrong).append(name)
    assert not wrong
    assert {"negative", "sum", "real", "conj", "deg2rad"} <= set(linear)
    assert {"sign", "floor", "rint", "trunc", "exp", "abs", "nan_to_num", "spacing"} <= set(refused)


@pytest.mark.parametrize(
    "rule",
    [
        "t + jnp.sign(t)",
        "jnp.where(t > 0, t, 0)",
        "t * (t > 0)",
        "jnp.isfinite(t) * x",
        "jnp.argmax(jnp.stack([t, x])) * t",
        "jnp.copysign(x, t)",
        "jnp.nextafter(t, x)",
        "t % 1",
        "gradkit.lax.stop_gradient(t)",
        "t.detach()",
        "gradkit.lax.select(t > 0, t, 2 * t)",
        "t if t > 0 else 2 * t",
        "gradkit.lax.cond(t > 0, lambda t: t, lambda t: 2 * t, t)",
    ],
)
def test_what_has_no_derivative_is_not_linear_in_a_tangent_either(rule: str, xp: Any) -> None:
    names = {"jnp": jnp, "gradkit": gradkit}
    f = gradkit.custom_jvp(lambda x: x * 1.0)
    f.defjvp(lambda primals, tangents: (primals[0], eval(rule, {**names, "x": primals[0], "t": tangents[0]})))
    x = xp.asarray(2.0)
    assert gradkit.jvp(f, (x,), (x,))[1] == eval(rule, {**names, "x": x, "t": x})
    for reverse in (
        gradkit.grad(f),
        lambda x: gradkit.linearize(f, x)[1](x),
        lambda x: gradkit.vmap(gradkit.grad(f))(jnp.stack([x, x])),
        lambda x: gradkit.grad(lambda x: gradkit.grad(f)(x) * x)(x),
        lambda x: gradkit.make_jaxpr(gradkit.grad(f))(x)(x),
    ):
        with pytest.raises((NotImplementedError, JAXTypeError)):
            reverse(x)


def test_what_a_rule_asks_of_a_tangent_and_does_not_use_may_be_anything(xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 1.0)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        unused = jnp.sign(tangents[0]) + (tangents[0] > 0)
        assert unused.shape == ()
        return primals[0], 3 * tangents[0]

    assert float(gradkit.grad(f)(xp.asarray(2.0))) == 3.0


# What runs a function that a rule hands a tangent to: each is made by way(f), for a function f of one number

m = gradkit
lax = gradkit.lax


def with_own_rule(f: Any) -> Any:
    function = m.custom_jvp(lambda t: f(t))
    function.defjvp(lambda primals, tangents: m.jvp(f, primals, tangents))
    return function


def with_own_reverse_rule(f: Any) -> Any:
    function = m.custom_vjp(lambda t: f(t))
    function.defvjp(lambda t: (f(t), t), lambda t, g: m.vjp(f, t)[1](g))
    return function


WAYS = {
    "itself": lambda f: f,
    "jit": m.jit,
    "jit in jit": lambda f: m.jit(lambda t: m.jit(f)(t)),
    "checkpoint": m.checkpoint,
    "checkpoint in jit": lambda f: m.jit(m.checkpoint(f)),
    "policy": lambda f: m.checkpoint(f, policy=m.checkpoint_policies.nothing_saveable),
    "policy that keeps": lambda f: m.checkpoint(f, policy=m.checkpoint_policies.everything_saveable),
    "scan": lambda f: m.jit(lambda t: lax.scan(lambda c, _: (c, f(c)), t, None, 2)[1][0]),
    "scan of rows": lambda f: m.jit(lambda t: lax.scan(lambda c, t: (c, f(t)), 0.0, jnp.stack([t, t]))[1][0]),
    "scan's carry": lambda f: m.jit(lambda t: lax.scan(lambda c, _: (f(c), c), t, None, 1)[0]),
    "cond": lambda f: m.jit(lambda t: lax.cond(True, f, f, t)),
    "map": lambda f: m.jit(lambda t: lax.map(f, jnp.stack([t, t]))[1]),
    "vmap": lambda f: lambda t: m.vmap(m.jit(f))(jnp.stack([t, t]))[0],
    "custom_jvp": with_own_rule,
    "custom_vjp": with_own_reverse_rule,
    "custom_jvp in jit": lambda f: m.jit(with_own_rule(f)),
    "custom_vjp in jit": lambda f: m.jit(with_own_reverse_rule(f)),
}
ONE_WAY = {"custom_vjp", "custom_vjp in jit"}  # functions that forward mode cannot go through


def solved(a: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda y: a * y, b, lambda _, b: b / a, lambda _, b: b / a)


def root(a: Any) -> Any:
    return lax.custom_root(
        lambda y: y * y - a, a * 0 + 1, lambda f, y: jnp.sqrt(y - f(y) - y * (1 - y)), lambda g, y: y
    )


IN_RULES = {"jnp": jnp, "solved": solved, "root": root}


def function_with_rule(rule: Any) -> Any:
    f = m.custom_jvp(jnp.sin)
    f.defjvp(lambda primals, tangents: (f(*primals), rule(primals[0], tangents[0])))
    return f


def in_reverse(f: Any) -> list[Any]:
    return [
        m.grad(f),
        m.make_jaxpr(m.grad(f)),
        lambda x: m.linearize(f, x)[1](jnp.ones_like(x)),
        lambda x: m.vmap(m.grad(f))(jnp.stack([x, x]))[0],
    ]


def slope(reverse: Any, x: Any) -> float:
    found = reverse(x)
    return float(found(x) if callable(found) else found)


@pytest.mark.dealt("way")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["jnp.sign(t)", "t * t", "x + t - t * (t > 0)", "solved(x + t, x)", "root(x + t)"])
def test_what_is_not_linear_in_a_tangent_is_refused_in_whatever_runs_it(rule: str, way: str, xp: Any) -> None:
    x = xp.asarray(0.5)
    f = function_with_rule(lambda x, t: WAYS[way](lambda t: eval(rule, {**IN_RULES, "x": x, "t": t}))(t))
    for reverse in in_reverse(f):
        with pytest.raises((NotImplementedError, JAXTypeError)):
            reverse(x)


@pytest.mark.dealt("way")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["x * t", "jnp.stack([x, t])[1]", "solved(x, t)"])
def test_what_is_linear_in_a_tangent_is_transposed_in_whatever_runs_it(rule: str, way: str, xp: Any) -> None:
    x = xp.asarray(0.5)
    f = function_with_rule(lambda x, t: WAYS[way](lambda t: eval(rule, {**IN_RULES, "x": x, "t": t}))(t))
    right = float(eval(rule, {**IN_RULES, "x": x, "t": xp.asarray(1.0)}))
    assert [slope(reverse, x) for reverse in in_reverse(f)] == [right] * 4


@pytest.mark.dealt("way")
@pytest.mark.parametrize("way", sorted(WAYS.keys() - ONE_WAY))
def test_a_rule_may_push_its_tangent_through_a_function_that_goes_on_with_its_value(way: str, xp: Any) -> None:
    inner = WAYS[way](jnp.sin)
    f = function_with_rule(lambda x, t: 2 * m.jvp(lambda x: jnp.exp(inner(x)) * inner(x), (x,), (t,))[1])
    x = xp.asarray(0.5)
    plain = m.grad(lambda x: jnp.exp(jnp.sin(x)) * jnp.sin(x))
    assert [slope(reverse, x) for reverse in in_reverse(f)] == pytest.approx([2 * float(plain(x))] * 4, rel=1e-5)
    assert float(m.grad(m.grad(f))(x)) == pytest.approx(2 * float(m.grad(plain)(x)), rel=1e-4)


def test_a_tangent_may_not_be_in_the_matrix_of_a_system(xp: Any) -> None:
    def rule(x: Any, t: Any) -> Any:
        return lax.custom_linear_solve(lambda y: (1 + t) * y, x, lambda _, b: b / (1 + t), lambda _, b: b / (1 + t))

    for reverse in in_reverse(function_with_rule(rule)):
        with pytest.raises(NotImplementedError, match="custom_linear_solve"):
            reverse(xp.asarray(0.5))


def test_a_rule_may_push_its_tangent_through_a_choice_that_differs_between_elements(xp: Any) -> None:
    def inner(x: Any) -> Any:
        def branch(y: Any) -> Any:
            return lax.cond(x > 1, jnp.sin, lambda y: y * x, y)

        return lax.cond(x > 0.6, m.checkpoint(branch), jnp.cos, x)

    f = m.custom_jvp(inner)
    f.defjvp(lambda primals, tangents: (f(*primals), 2 * m.jvp(inner, primals, tangents)[1]))
    x = xp.asarray([0.5, 0.7, 1.2])
    slopes = [2 * -math.sin(0.5), 2 * 1.4, 2 * math.cos(1.2)]
    for take in (m.grad(lambda x: jnp.sum(m.vmap(f)(x))), m.vmap(m.grad(f))):
        assert take(x).tolist() == pytest.approx(slopes, rel=1e-5)
        assert m.jit(take)(x).tolist() == pytest.approx(slopes, rel=1e-5)
    bends = [2 * -math.cos(0.5), 4.0, 2 * -math.sin(1.2)]
    for take in (m.grad(lambda x: jnp.sum(m.vmap(m.grad(f))(x))), m.vmap(m.grad(m.grad(f)))):
        assert take(x).tolist() == pytest.approx(bends, rel=1e-5)
        assert m.jit(take)(x).tolist() == pytest.approx(bends, rel=1e-5)


def test_a_rule_in_a_loop_has_the_second_derivative_that_it_has_without(xp: Any) -> None:
    f = function_with_rule(lambda x, t: t * jnp.cos(x) * x)

    def looped(x: Any) -> Any:
        return lax.scan(lambda c, _: (f(c) * jnp.sin(c), None), x, None, 2)[0]

    def unrolled(x: Any) -> Any:
        for _ in range(2):
            x = f(x) * jnp.sin(x)
        return x

    x = xp.asarray(0.4)
    for take in (lambda f: m.grad(m.grad(f)), lambda f: m.jacfwd(m.grad(f)), lambda f: m.jit(m.grad(m.grad(f)))):
        assert float(take(looped)(x)) == pytest.approx(float(take(unrolled)(x)), rel=1e-5)
