"""Mistakes under transforms are errors in JAX's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_transforms import with_own_rules

import gradkit
import gradkit.numpy as jnp
from gradkit import lax


def closing_over(kind: str) -> Any:
    def f(x: Any, w: Any) -> Any:
        g = getattr(gradkit, kind)(lambda x: x * w)
        if kind == "custom_jvp":
            g.defjvp(lambda primals, tangents: (primals[0] * w, tangents[0] * w))
        else:
            g.defvjp(lambda x: (x * w, w), lambda w, c: (c * w,))
        return g(x)

    return gradkit.grad(f, (0, 1))(1.0, 2.0)


def leaks() -> Any:
    kept = []

    def f(x: Any) -> Any:
        kept.append(x * 2)
        return x

    gradkit.vmap(f)(jnp.ones(2))
    return kept[0] + 1


MISTAKES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("a transform of a non-function", lambda: gradkit.vmap(3), TypeError, "Expected a callable value, got 3"),
    (
        "jvp with tangents of another structure",
        lambda: gradkit.jvp(jnp.sin, (1.0,), ((1.0,),)),
        TypeError,
        "tree structure",
    ),
    (
        "jvp with tangents of another dtype",
        lambda: gradkit.jvp(jnp.sin, (jnp.ones(2),), (jnp.ones(2, "int32"),)),
        TypeError,
        "dtypes must be equal",
    ),
    (
        "jvp with tangents of another shape",
        lambda: gradkit.jvp(jnp.sin, (jnp.ones(2),), (jnp.ones(3),)),
        ValueError,
        "different primal and tangent shapes",
    ),
    ("jvp without a tuple", lambda: gradkit.jvp(jnp.sin, 1.0, 1.0), TypeError, "must be tuples or lists"),
    (
        "argnums out of range",
        lambda: gradkit.jacfwd(jnp.sin, argnums=2)(1.0),
        TypeError,
        "requires at least 3 positional arguments",
    ),
    (
        "jacfwd of integers",
        lambda: gradkit.jacfwd(jnp.square)(jnp.arange(2)),
        TypeError,
        "requires real-valued inputs",
    ),
    (
        "vmap over sizes that differ",
        lambda: gradkit.vmap(jnp.add)(jnp.ones(2), jnp.ones(3)),
        ValueError,
        "inconsistent sizes for array axes to be mapped",
    ),
    (
        "vmap over an axis that is not there",
        lambda: gradkit.vmap(jnp.sin, in_axes=1)(jnp.ones(2)),
        ValueError,
        "rank should be at least 2, but is only 1",
    ),
    (
        "vmap over nothing",
        lambda: gradkit.vmap(lambda x: x, in_axes=None)(1.0),
        ValueError,
        "at least one non-None value in in_axes",
    ),
    (
        "vmap with axes for other arguments",
        lambda: gradkit.vmap(jnp.add, in_axes=(0,))(jnp.ones(2), jnp.ones(2)),
        ValueError,
        "len(in_axes)=1, len(args)=2",
    ),
    (
        "vmap with out_axes None for what differs",
        lambda: gradkit.vmap(jnp.sin, out_axes=None)(jnp.ones(2)),
        ValueError,
        "out_axes is None",
    ),
    (
        "vmap with a tree of axes that does not fit",
        lambda: gradkit.vmap(lambda x: x["a"], in_axes=({"b": 0},))({"a": jnp.ones(2)}),
        ValueError,
        "tree prefix",
    ),
    ("an unknown axis name", lambda: lax.psum(1.0, "i"), NameError, "unbound axis name: i"),
    (
        "Python's if under vmap",
        lambda: gradkit.vmap(lambda x: x if x > 0 else -x)(jnp.ones(2)),
        gradkit.errors.TracerBoolConversionError,
        "lax.cond",
    ),
    (
        "Python's float under vmap",
        lambda: gradkit.vmap(float)(jnp.ones(2)),
        gradkit.errors.ConcretizationTypeError,
        "Abstract tracer value encountered where concrete value is expected",
    ),
    (
        "a Python range under make_jaxpr",
        lambda: gradkit.make_jaxpr(lambda n: list(range(n)))(3),
        gradkit.errors.TracerIntegerConversionError,
        "The __index__() method was called on traced array",
    ),
    (
        "NumPy under vmap",
        lambda: gradkit.vmap(np.asarray)(jnp.ones(2)),
        gradkit.errors.TracerArrayConversionError,
        "would lose its derivative",
    ),
    ("a leaked array", leaks, gradkit.errors.UnexpectedTracerError, "leaked out by a side effect"),
    ("no rule", lambda: gradkit.custom_vjp(lambda x: x)(1.0), AttributeError, "No VJP defined for custom_vjp function"),
    (
        "a value that custom_jvp closes over",
        lambda: closing_over("custom_jvp"),
        TypeError,
        "differentiation of a custom_jvp function with respect to a closed-over value",
    ),
    (
        "a value that custom_vjp closes over",
        lambda: closing_over("custom_vjp"),
        TypeError,
        "differentiation of a custom_vjp function with respect to a closed-over value",
    ),
    (
        "no forward rule",
        lambda: gradkit.custom_jvp(lambda x: x)(1.0),
        AttributeError,
        "No JVP defined for custom_jvp function",
    ),
    (
        "forward mode of custom_vjp",
        lambda: gradkit.jvp(with_own_rules(gradkit, jnp)[1], (1.0, 2.0), (1.0, 0.0)),
        TypeError,
        "can't apply forward-mode autodiff (jvp) to a custom_vjp function",
    ),
    (
        "a carry that changes dtype",
        lambda: lax.scan(lambda c, x: (c.astype("int32"), x), jnp.ones(()), jnp.ones(2)),
        TypeError,
        "must have equal types",
    ),
    (
        "a carry that changes shape",
        lambda: lax.fori_loop(0, 2, lambda i, v: jnp.stack([v, v]), jnp.ones(2)),
        TypeError,
        "must have equal types",
    ),
    (
        "scan over sizes that differ",
        lambda: lax.scan(lambda c, x: (c, x), 0, (jnp.ones(2), jnp.ones(3))),
        ValueError,
        "different leading axis sizes",
    ),
    ("scan over nothing", lambda: lax.scan(lambda c, x: (c, x), 0), ValueError, "`length` not provided"),
    (
        "a scan body without a pair",
        lambda: lax.scan(lambda c, x: c, 0, jnp.ones(2)),
        TypeError,
        "scan body output must be a pair",
    ),
    (
        "a condition that is no scalar",
        lambda: lax.while_loop(lambda v: v > 0, lambda v: v, jnp.ones(2)),
        TypeError,
        "must return a boolean scalar",
    ),
    (
        "a pred that is no scalar",
        lambda: lax.cond(jnp.ones(2) > 0, lambda: 1, lambda: 2),
        TypeError,
        "Pred must be a scalar",
    ),
    (
        "branches that differ",
        lambda: gradkit.vmap(lambda x: lax.cond(x > 0, lambda: 1.0, lambda: 1))(jnp.ones(2)),
        TypeError,
        "must have equal output types",
    ),
    ("in-place assignment", lambda: jnp.ones(2).__setitem__(0, 1.0), TypeError, "x = x.at[idx].set(y)"),
    (
        "a static argument without hash",
        lambda: gradkit.jit(lambda x: x, static_argnums=0)([1]),
        ValueError,
        "Non-hashable static arguments",
    ),
    (
        "an argument of jit that is no array",
        lambda: gradkit.jit(lambda x: x)("a"),
        TypeError,
        "was passed to the function at path x",
    ),
]


@pytest.mark.parametrize("call, kind, words", [pytest.param(*m[1:], id=m[0]) for m in MISTAKES])
def test_mistakes_are_errors_in_jax_words(call: Any, kind: type[Exception], words: str, xp: Any) -> None:
    with pytest.raises(kind) as info:
        call()
    assert words in str(info.value)


def bad_vjp(fwd: Any, bwd: Any) -> Any:
    @gradkit.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defvjp(fwd, bwd)
    return gradkit.grad(f)(1.0, 2.0)


def bad_jvp(rule: Any) -> Any:
    f = gradkit.custom_jvp(lambda x: x)
    f.defjvp(rule)
    return gradkit.jvp(f, (1.0,), (1.0,))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: bad_vjp(lambda x, y: x, lambda r, g: (g, g)), "must produce a pair"),
        (lambda: bad_vjp(lambda x, y: (x, None), lambda r, g: (g,)), "same container (pytree) structure"),
        (lambda: bad_vjp(lambda x, y: (x, None), lambda r, g: g), "same container (pytree) structure"),
        (lambda: bad_jvp(lambda p, t: p[0]), "must produce a pair"),
        (lambda: bad_jvp(lambda p, t: (p[0], (t[0],))), "equal container (pytree) structures"),
        (lambda: bad_jvp(lambda p, t: (p[0], jnp.ones(2))), "equal shapes and dtypes"),
    ],
)
def test_custom_rules_of_the_wrong_structure_are_errors(call: Any, words: str, xp: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as info:
        call()
    assert words.partition("structure")[0] in str(info.value).replace("\n", " ")
