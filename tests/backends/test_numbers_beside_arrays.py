"""A Python number goes where the arrays beside it are, whichever backend and device make new arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, tree


def product(x: Any, s: Any) -> Any:
    return jnp.sin(x) * s


def loss(x: Any, s: Any) -> Any:
    return jnp.sum(jnp.sin(x) * s)


def summed(x: Any) -> Any:
    return lax.scan(lambda c, r: (c + r, c * r), 0.0, x)


def by_vjp(x: Any, s: Any) -> Any:
    function = gradkit.custom_vjp(lambda x, s: x * s)
    function.defvjp(lambda x, s: (x * s, (x, s)), lambda kept, g: (g * kept[1], (g * kept[0]).sum()))
    return function(x, s)


def by_jvp(x: Any, s: Any) -> Any:
    function = gradkit.custom_jvp(lambda x, s: x * s)
    function.defjvp(lambda primals, t: (primals[0] * primals[1], t[0] * primals[1] + primals[0] * t[1]))
    return function(x, s)


def linearized(x: Any) -> Any:
    value, push = gradkit.linearize(product, x, 2.0)
    return value, push(x, 1.0)


CASES: dict[str, Callable[[Any], Any]] = {
    "jit": lambda x: [gradkit.jit(product)(x, 2.0) for _ in range(3)],
    "jit, number first": lambda x: [gradkit.jit(lambda s, x: x * s)(2, x) for _ in range(3)],
    "jit, in a dict": lambda x: gradkit.jit(lambda d: d["a"] * d["b"])({"a": x, "b": True}),
    "jit, by name": lambda x: gradkit.jit(product)(x, s=2.0),
    "jit, NumPy's number": lambda x: gradkit.jit(product)(x, np.float32(2.0)),
    "jit, compiled": lambda x: gradkit.jit(product).lower(x, 2.0).compile()(x, 3.0),
    "jit, results": lambda x: gradkit.jit(lambda s, x: (s + 1, x, 1.0))(0, x),
    "grad": lambda x: gradkit.grad(loss)(x, 2.0),
    "grad by the number": lambda x: gradkit.value_and_grad(loss, argnums=(0, 1))(x, 2.0),
    "vjp": lambda x: gradkit.vjp(loss, x, 2.0)[1](1.0),
    "jvp": lambda x: gradkit.jvp(product, (x, 2.0), (x, 1.0)),
    "linearize": linearized,
    "vmap": lambda x: gradkit.vmap(lambda r, s: (r * s, 1.0), in_axes=(0, None))(x, 2.0),
    "hessian": lambda x: gradkit.hessian(loss, argnums=(0, 1))(x, 2.0),
    "jacfwd": lambda x: gradkit.jacfwd(product, argnums=(0, 1))(x, 2.0),
    "jacrev": lambda x: gradkit.jacrev(product, argnums=(0, 1))(x, 2.0),
    "checkpoint": lambda x: gradkit.grad(lambda x: gradkit.checkpoint(loss)(x, 2.0))(x),
    "custom_vjp": lambda x: (by_vjp(x, 2.0), gradkit.grad(lambda x: by_vjp(x, 2.0).sum())(x)),
    "custom_jvp": lambda x: (by_jvp(x, 2.0), gradkit.grad(lambda x: by_jvp(x, 2.0).sum())(x)),
    "make_jaxpr": lambda x: gradkit.make_jaxpr(product)(x, 2.0)(x, 3.0),
    "scan": lambda x: (summed(x), gradkit.jit(summed)(x), gradkit.grad(lambda x: summed(x)[0])(x)),
    "scan of a pair": lambda x: lax.scan(lambda c, r: ((c[0] + r, c[1] + 1), (r, 0)), (x[0], 0), x),
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, c: c * i + x, x),
    "fori_loop in jit": gradkit.jit(lambda x: lax.fori_loop(0, 3, lambda i, c: c * i + x, x)),
    "while_loop": lambda x: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2), (0, x)),
    "cond": lambda x: lax.cond(True, lambda x, s: (x * s, 1.0), lambda x, s: (x + s, s), x, 2.0),
    "cond in jit": gradkit.jit(lambda x: lax.cond(x[0] > 0, lambda x, s: (x * s, 1.0), lambda x, s: (x, s), x, 2.0)),
    "switch": lambda x: lax.switch(1, [lambda x, s: x * s, lambda x, s: x + s], x, 2.0),
    "a callback": lambda x: gradkit.pure_callback(
        lambda a, b: np.asarray(a) * np.asarray(b), gradkit.ShapeDtypeStruct((3,), "float32"), x, 2.0
    ),
    "stack": lambda x: jnp.stack([x[0], 1.0]),
    "append": lambda x: (jnp.append(x, 1.0), jnp.insert(x, 1, 5.0), jnp.hstack([x, 1.0])),
    "broadcast_arrays": lambda x: jnp.broadcast_arrays(x, 1.0),
    "atleast_1d": lambda x: jnp.atleast_1d(x, 1.0),
    "dot": lambda x: (jnp.dot(x, 2.0), jnp.outer(2.0, x), jnp.inner(x, 2.0)),
    "quantile": lambda x: (jnp.quantile(x, 0.5), jnp.percentile(x, 50), jnp.median(x)),
    "searchsorted": lambda x: (jnp.searchsorted(x, 1.5), jnp.digitize(1.5, x), jnp.interp(1.5, x, x)),
    "choices": lambda x: (jnp.where(x > 1, x, 0.0), jnp.clip(x, 0, 2.0), jnp.select([x > 1], [x], 0.0)),
    "meshgrid": lambda x: jnp.meshgrid(x, 1.0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_number_beside_arrays_goes_where_they_are(name: str) -> None:
    pytest.importorskip("array_api_strict")
    for current, device in (("numpy", 0), ("numpy", 1), ("strict", 2)):
        place = gradkit.devices("strict")[device]
        with gradkit.use_backend(current):
            x = gradkit.device_put(np.float32([1, 2, 3]), place)
            found = [leaf for leaf in tree.leaves(CASES[name](x)) if isinstance(leaf, gradkit.Array)]
        assert found
        assert {leaf.device for leaf in found} == {place}, (current, device)
        with gradkit.use_backend("numpy"):
            expected = tree.leaves(CASES[name](jnp.asarray(np.float32([1, 2, 3]))))
        for one, other in zip(found, [e for e in expected if isinstance(e, gradkit.Array)], strict=True):
            np.testing.assert_allclose(gradkit.device_get(one), gradkit.device_get(other), rtol=1e-6)


def test_a_number_goes_beside_an_array_of_the_current_backend_where_there_is_one() -> None:
    pytest.importorskip("array_api_strict")
    with gradkit.use_backend("strict"):
        other = jnp.ones(2)
    with gradkit.use_backend("numpy"):
        host, number = gradkit.jit(lambda o, x, s: (x * s, s))(other, jnp.ones(2), 3.0)
        assert {host.device.backend, number.device.backend} == {"numpy"}
        alone = gradkit.jit(lambda s: s * 2)(1.0)
        assert alone.device.backend == "numpy"
