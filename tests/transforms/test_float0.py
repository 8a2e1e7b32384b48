"""Cotangents of whole numbers are float0, as in JAX: what `vjp` gives, `jvp` takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from jax.dtypes import float0
from references import usual_widths

import gradkit
import gradkit.numpy as jnp

X, WHOLE, B = np.asarray([1.0, 2.0, 3.0], np.float32), np.asarray([2, 0, 1], np.int32), np.asarray([True, False, True])
Z = np.zeros(3, float0)


def f(i: Any, x: Any) -> Any:
    return (x * i).sum()


def custom_vjp(g: Any, zero: Any) -> Any:
    h = g.custom_vjp(lambda i, x: x * i)
    h.defvjp(lambda i, x: (x * i, i), lambda r, c: (zero, c * r))
    return h


def custom_jvp(g: Any) -> Any:
    h = g.custom_jvp(lambda i, x: x * i)
    h.defjvp(lambda p, t: (p[0] * p[1], p[0] * t[1]))
    return h


CASES: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "vjp": lambda g, n, i, x: g.vjp(f, i, x)[1](1.0),
    "vjp of truth values": lambda g, n, i, x: g.vjp(lambda b, x: n.where(b, x, 0.0), n.asarray(B), x)[1](x),
    "vjp of a tree": lambda g, n, i, x: g.vjp(lambda d: d["x"] * d["i"], {"x": x, "i": i})[1](x),
    "vjp of a Python number": lambda g, n, i, x: g.vjp(lambda i, x: x * i, 3, x)[1](x),
    "vjp of nothing": lambda g, n, i, x: g.vjp(lambda i, x: x, i[:0], x)[1](x),
    "vjp to whole numbers": lambda g, n, i, x: g.vjp(lambda x, i: (x, i * 2), x, i)[1]((x, Z)),
    "grad": lambda g, n, i, x: g.grad(f, allow_int=True)(i, x),
    "grad of both": lambda g, n, i, x: g.grad(f, (0, 1), allow_int=True)(i, x),
    "value_and_grad": lambda g, n, i, x: g.value_and_grad(f, (0, 1), allow_int=True)(i, x),
    "jacrev": lambda g, n, i, x: g.jacrev(lambda i, x: x * i, (0, 1), allow_int=True)(i, x),
    "jacfwd to whole numbers": lambda g, n, i, x: g.jacfwd(lambda x: (x * 2, i))(x),
    "jvp of what vjp gives": lambda g, n, i, x: g.jvp(f, (i, x), g.vjp(f, i, x)[1](1.0)),
    "jvp of what grad gives": lambda g, n, i, x: g.jvp(f, (i, x), g.grad(f, (0, 1), allow_int=True)(i, x)),
    "jvp to whole numbers": lambda g, n, i, x: g.jvp(lambda i, x: (i + 1, x), (i, x), (Z, x)),
    "linearize": lambda g, n, i, x: g.linearize(lambda i, x: (i + 1, x * i), i, x)[1](Z, x),
    "linearize of what vjp gives": lambda g, n, i, x: g.linearize(f, i, x)[1](*g.vjp(f, i, x)[1](1.0)),
    "jit": lambda g, n, i, x: g.jit(g.grad(f, (0, 1), allow_int=True))(i, x),
    "jit of vjp": lambda g, n, i, x: g.jit(lambda i, x: g.vjp(f, i, x)[1](1.0))(i, x),
    "vmap": lambda g, n, i, x: g.vmap(g.grad(lambda i, x: x * i, (0, 1), allow_int=True))(i, x),
    "vmap of vjp": lambda g, n, i, x: g.vmap(lambda i, x: g.vjp(lambda i, x: x * i, i, x)[1](1.0))(i, x),
    "vmap of a pullback": lambda g, n, i, x: g.vmap(g.vjp(lambda i, x: x * i, i, x)[1])(n.stack([x, x])),
    "checkpoint": lambda g, n, i, x: g.vjp(g.checkpoint(f), i, x)[1](1.0),
    "scan": lambda g, n, i, x: g.vjp(lambda i, x: g.lax.scan(lambda c, e: (c * e[0] * e[1], c), 1.0, (i, x))[0], i, x)[
        1
    ](1.0),
    "cond": lambda g, n, i, x: g.vjp(lambda i, x: g.lax.cond(True, lambda i, x: x * i, lambda i, x: x, i, x), i, x)[1](
        x
    ),
    "custom_vjp": lambda g, n, i, x: g.vjp(custom_vjp(g, Z), i, x)[1](x),
    "custom_vjp with None": lambda g, n, i, x: g.vjp(custom_vjp(g, None), i, x)[1](x),
    "custom_jvp": lambda g, n, i, x: g.vjp(custom_jvp(g), i, x)[1](x),
    "jvp of custom_jvp": lambda g, n, i, x: g.jvp(custom_jvp(g), (i, x), (Z, x)),
    "grad of a pullback": lambda g, n, i, x: g.grad(lambda x: (g.vjp(f, i, x)[1](1.0)[1] * x).sum())(x),
    "vjp of vjp": lambda g, n, i, x: g.vjp(lambda x: g.vjp(f, i, x)[1](1.0)[1] * x, x)[1](x),
    "hessian": lambda g, n, i, x: g.hessian(lambda x: f(i, x * x))(x),
    "map over trees": lambda g, n, i, x: g.tree.map(lambda c, _: c, g.vjp(f, i, x)[1](1.0), (i, x)),
}


def described(result: Any) -> list[Any]:
    return [
        ("float0", leaf.shape) if getattr(leaf, "dtype", None) == float0 else np.asarray(leaf)
        for leaf in jax.tree.leaves(result)
    ]


@functools.cache
def of_jax(name: str) -> list[Any]:
    with usual_widths():
        return described(CASES[name](jax, J, J.asarray(WHOLE), J.asarray(X)))


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_whole_numbers_are_those_of_jax(name: str, xp: Any) -> None:
    ours = CASES[name](gradkit, jnp, xp.asarray(WHOLE), xp.asarray(X))
    theirs = of_jax(name)
    found = [gradkit.device_get(leaf) if type(leaf) is gradkit.Array else leaf for leaf in gradkit.tree.leaves(ours)]
    for one, other in zip(described(found), theirs, strict=True):
        if isinstance(other, tuple):
            assert one == other
        else:
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_shapes_without_values_are_of_float0_too(xp: Any) -> None:
    shapes = gradkit.eval_shape(lambda i, x: gradkit.vjp(f, i, x)[1](1.0), xp.asarray(WHOLE), xp.asarray(X))
    assert shapes[0].dtype == float0
    assert shapes[0].shape == shapes[1].shape == (3,)
    gradkit.make_jaxpr(lambda i, x: gradkit.vjp(f, i, x)[1](1.0))(xp.asarray(WHOLE), xp.asarray(X))
