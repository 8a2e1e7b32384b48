"""`linear_transpose` goes through everything that is linear, and products take JAX's options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as J
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

A = np.asarray([[2.0, 1.0, 0.5], [0.5, 3.0, 1.0], [0.25, 1.0, 4.0]], np.float32)
S = (A + A.T) / 2

LINEAR: dict[str, Callable[[Any, Any, Any], Any]] = {
    "solve": lambda g, n, x: n.linalg.solve(n.asarray(A), x),
    "solve of a vector": lambda g, n, x: n.linalg.solve(n.asarray(A), x[:, 0]),
    "solve of batches": lambda g, n, x: n.linalg.solve(n.stack([n.asarray(A), n.asarray(S)]), x),
    "triangular solve": lambda g, n, x: g.scipy.linalg.solve_triangular(n.asarray(A), x, lower=True),
    "cho_solve": lambda g, n, x: g.scipy.linalg.cho_solve((n.linalg.cholesky(n.asarray(S)), True), x),
    "lu_solve": lambda g, n, x: g.scipy.linalg.lu_solve(g.scipy.linalg.lu_factor(n.asarray(A)), x),
    "inv times": lambda g, n, x: n.linalg.inv(n.asarray(A)) @ x,
    "tensorsolve": lambda g, n, x: n.linalg.tensorsolve(n.asarray(A), x[:, 0]),
    "multi_dot": lambda g, n, x: n.linalg.multi_dot([n.asarray(A), x, n.asarray(A)]),
    "lstsq": lambda g, n, x: n.linalg.lstsq(n.asarray(A)[:, :2], x)[0],
    "lstsq of a vector": lambda g, n, x: n.linalg.lstsq(n.asarray(A), x[:, 0])[0],
    "pinv times": lambda g, n, x: n.linalg.pinv(n.asarray(A)[:, :2]) @ x,
    "a gradient": lambda g, n, x: g.grad(lambda y: n.sum(y * y) / 2)(x),
    "a product with a Hessian": lambda g, n, x: g.jvp(g.grad(lambda y: n.sum(n.sin(y) ** 2)), (n.asarray(A),), (x,))[1],
    "a pullback": lambda g, n, x: g.vjp(n.sin, n.asarray(A))[1](x)[0],
    "linearize": lambda g, n, x: g.linearize(lambda y: n.linalg.inv(y), n.asarray(A))[1](x),
    "what is computed beside it": lambda g, n, x: (x * x, n.exp(x), 2 * x)[2],
    "what a loop computes beside it": lambda g, n, x: (g.lax.map(n.sin, x), g.lax.map(lambda e: 2 * e, x))[1],
    "map": lambda g, n, x: g.lax.map(lambda e: n.linalg.solve(n.asarray(A), e), x),
    "fori_loop": lambda g, n, x: g.lax.fori_loop(0, 3, lambda i, c: n.asarray(A) @ c, x),
    "associative_scan": lambda g, n, x: g.lax.associative_scan(n.add, x),
    "checkpoint": lambda g, n, x: g.checkpoint(lambda y: n.asarray(A) @ y)(x),
    "custom_linear_solve": lambda g, n, x: g.lax.custom_linear_solve(
        lambda y: n.asarray(A) @ y,
        x,
        lambda _, b: n.linalg.solve(n.asarray(A), b),
        lambda _, b: n.linalg.solve(n.asarray(A).T, b),
    ),
    "lax.triangular_solve": lambda g, n, x: g.lax.linalg.triangular_solve(n.asarray(A), x, left_side=True, lower=True),
    "scipy solve": lambda g, n, x: g.scipy.linalg.solve(n.asarray(S), x, assume_a="pos"),
    "expm times": lambda g, n, x: g.scipy.linalg.expm(n.asarray(A) / 4) @ x,
    "toeplitz": lambda g, n, x: g.scipy.linalg.toeplitz(x[0]),
    "block_diag": lambda g, n, x: g.scipy.linalg.block_diag(x, 2 * x),
    "irfft": lambda g, n, x: n.fft.irfft(x),
    "fftn": lambda g, n, x: n.imag(n.fft.fftn(x)),
    "correlate": lambda g, n, x: n.correlate(x[0], n.asarray(A)[0]),
    "psum": lambda g, n, x: g.vmap(lambda e: g.lax.psum(e, "i"), axis_name="i")(x),
    "divide": lambda g, n, x: x / n.asarray(A),
    "multiply": lambda g, n, x: 3.0 * x * n.asarray(A) - x,
    "einsum": lambda g, n, x: n.einsum("ij,kj->ik", x, n.asarray(A)),
    "kron": lambda g, n, x: n.kron(x, n.asarray(A)),
    "tensordot": lambda g, n, x: n.tensordot(n.asarray(A), x, ([0], [1])),
    "outer": lambda g, n, x: n.outer(n.asarray(A)[0], x),
    "cross": lambda g, n, x: n.cross(x, n.asarray(A)),
    "sum": lambda g, n, x: n.sum(x, axis=0),
    "mean": lambda g, n, x: n.mean(x, axis=1),
    "average": lambda g, n, x: n.average(x, axis=1, weights=n.asarray([1.0, 2.0, 3.0])),
    "cumsum": lambda g, n, x: n.cumsum(x, axis=1),
    "diff": lambda g, n, x: n.diff(x, axis=0),
    "trace": lambda g, n, x: n.trace(x),
    "diagonal": lambda g, n, x: n.diagonal(x),
    "diag": lambda g, n, x: n.diag(x[0]),
    "tril": lambda g, n, x: n.tril(x),
    "convolve": lambda g, n, x: n.convolve(x[0], n.asarray(A)[0]),
    "pad": lambda g, n, x: n.pad(x, 1),
    "roll": lambda g, n, x: n.roll(x, 1, axis=0),
    "flip": lambda g, n, x: n.flip(x, axis=1),
    "transpose": lambda g, n, x: x.T,
    "reshape": lambda g, n, x: n.reshape(x, -1),
    "repeat": lambda g, n, x: n.repeat(x, 2, axis=0),
    "tile": lambda g, n, x: n.tile(x, (2, 1)),
    "concatenate": lambda g, n, x: n.concatenate([x, 2 * x], axis=0),
    "stack": lambda g, n, x: n.stack([x, -x]),
    "where": lambda g, n, x: n.where(n.asarray(A) > 1, x, 2 * x),
    "take": lambda g, n, x: n.take(x, n.asarray([2, 0, 2]), axis=1),
    "index": lambda g, n, x: x[1:, 0],
    "index by arrays": lambda g, n, x: x[n.asarray([0, 2]), n.asarray([1, 1])],
    "set": lambda g, n, x: x.at[0].set(x[1]),
    "add": lambda g, n, x: x.at[n.asarray([0, 0])].add(x[1]),
    "scatter": lambda g, n, x: n.zeros((5, 3)).at[n.asarray([4, 1, 4])].add(x),
    "fft": lambda g, n, x: n.real(n.fft.fft(x)),
    "rfft": lambda g, n, x: n.imag(n.fft.rfft(x)),
    "trapezoid": lambda g, n, x: n.trapezoid(x, axis=1),
    "gradient": lambda g, n, x: n.gradient(x[0]),
    "interp": lambda g, n, x: n.interp(n.asarray([0.5, 1.5]), n.asarray([0.0, 1.0, 2.0]), x[0]),
    "scan": lambda g, n, x: g.lax.scan(lambda c, e: (2 * c + e, c), x[0], x)[0],
    "cond": lambda g, n, x: g.lax.cond(True, lambda x: 2 * x, lambda x: x, x),
    "jit": lambda g, n, x: g.jit(lambda x: n.linalg.solve(n.asarray(A), x))(x),
    "vmap": lambda g, n, x: g.vmap(lambda v: n.linalg.solve(n.asarray(A), v))(x),
    "a tangent": lambda g, n, x: g.jvp(lambda y: n.linalg.solve(n.asarray(A), n.sin(y)), (n.asarray(S),), (x,))[1],
    "dynamic_slice": lambda g, n, x: g.lax.dynamic_slice(x, (1, 0), (2, 2)),
    "conv": lambda g, n, x: g.lax.conv_general_dilated(x[None, None], n.asarray(A)[None, None], (1, 1), "SAME"),
    "reduce_window": lambda g, n, x: g.lax.reduce_window(x, 0.0, g.lax.add, (2, 2), (1, 1), "VALID"),
    "astype": lambda g, n, x: x.astype("float64") * 2,
    "triu of a product": lambda g, n, x: n.triu(x @ n.asarray(A)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_the_transpose_of_a_linear_function(name: str, xp: Any) -> None:
    def function(x: Any) -> Any:
        return LINEAR[name](gradkit, jnp, x)

    x = xp.asarray(np.cos(np.arange(9, dtype=np.float32)).reshape(3, 3))
    y = gradkit.device_get(function(x))
    cotangent = np.sin(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
    (ours,) = gradkit.linear_transpose(function, x)(xp.asarray(cotangent, dtype=function(x).dtype))
    # <c, f(x)> = <f^T(c), x> for every x is what a transpose is.
    for point in (x, xp.asarray(A), xp.asarray(np.eye(3, dtype=np.float32))):
        left = (cotangent * gradkit.device_get(function(point))).sum(dtype=np.float64)
        right = (gradkit.device_get(ours) * gradkit.device_get(point)).sum(dtype=np.float64)
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("f", [jnp.sin, lambda x: x * x, lambda x: jnp.linalg.solve(x, jnp.asarray(A)), jnp.linalg.inv])
def test_what_is_not_linear_is_refused(f: Any, xp: Any) -> None:
    with pytest.raises(NotImplementedError, match="is not linear"):
        gradkit.linear_transpose(f, xp.asarray(A))


# In what runs functions


def twice(step: Any, x: Any) -> Any:
    """Apply a function twice by a `while` loop."""
    return gradkit.lax.while_loop(lambda c: c[1] < 2, lambda c: (step(c[0]), c[1] + 1), (x, 0))[0]


def with_rule(f: Any) -> Any:
    g = gradkit.custom_jvp(f)
    g.defjvp(lambda primals, tangents: gradkit.jvp(f, primals, tangents))
    return g


def with_rules(f: Any) -> Any:
    g = gradkit.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, cotangent: gradkit.vjp(f, x)[1](cotangent))
    return g


INSIDE: dict[str, Callable[[Any, Any], Any]] = {
    "scan": lambda f, x: gradkit.lax.scan(lambda c, e: (f(c) + e, f(e)), x[0], x)[0],
    "scan, what it stacks": lambda f, x: gradkit.lax.scan(lambda c, e: (c, f(e)), 0.0, x)[1],
    "scan, later in the carry": lambda f, x: gradkit.lax.scan(
        lambda c, _: ((f(c[1]), c[2], c[2]), None), (0.0 * x, 0.0 * x, x), None, 3
    )[0][0],
    "while": lambda f, x: twice(f, x),
    "while in a scan": lambda f, x: gradkit.lax.scan(lambda c, _: (twice(f, c), None), x, None, 2)[0],
    "fori_loop": lambda f, x: gradkit.lax.fori_loop(0, 2, lambda _, c: f(c), x),
    "cond": lambda f, x: gradkit.lax.cond(jnp.asarray(0) < 1, f, lambda x: x, x),
    "switch": lambda f, x: gradkit.lax.switch(jnp.asarray(1), [lambda x: x, f], x),
    "checkpoint": lambda f, x: gradkit.checkpoint(f)(x),
    "custom_jvp": lambda f, x: with_rule(f)(x),
    "custom_jvp in a scan": lambda f, x: gradkit.lax.scan(lambda c, _: (with_rule(f)(c), None), x, None, 2)[0],
    "custom_vjp": lambda f, x: with_rules(f)(x),
    "jit": lambda f, x: gradkit.jit(f)(x),
    "vmap": lambda f, x: gradkit.vmap(f)(x),
}
"""Ways to apply a function where a captured graph has it inside of an operation."""


@pytest.mark.parametrize(
    "f", [jnp.sin, lambda x: x * x, lambda x: x + 1.0 / (2.0 + x)], ids=["sin", "square", "inverse"]
)
@pytest.mark.parametrize("name", INSIDE)
def test_what_is_not_linear_inside_is_refused(name: str, f: Any, xp: Any) -> None:
    with pytest.raises(NotImplementedError, match="is not linear"):
        gradkit.linear_transpose(lambda x: INSIDE[name](f, x), xp.asarray([0.5, 1.0, 2.0]))


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_linear_inside_is_transposed(name: str, xp: Any) -> None:
    def function(x: Any) -> Any:
        return jnp.sum(INSIDE[name](lambda x: 2.0 * x, x) * jnp.asarray([1.0, 2.0, 3.0]))

    x = xp.asarray([0.5, 1.0, 2.0])
    (ours,) = gradkit.linear_transpose(function, x)(1.0)
    np.testing.assert_allclose(float(jnp.sum(ours * x)), float(function(x)), rtol=1e-6)


def test_a_loop_that_stops_by_the_argument_is_not_linear(xp: Any) -> None:
    with pytest.raises(NotImplementedError, match="is not linear"):
        gradkit.linear_transpose(
            lambda x: gradkit.lax.while_loop(lambda c: jnp.sum(c) < 9.0, lambda c: 2.0 * c, x), xp.ones(3)
        )


PRODUCTS: dict[str, Callable[..., Any]] = {
    "dot": lambda n, a, b, **options: n.dot(a, b, **options),
    "matmul": lambda n, a, b, **options: n.matmul(a, b, **options),
    "vdot": lambda n, a, b, **options: n.vdot(a, b, **options),
    "inner": lambda n, a, b, **options: n.inner(a, b, **options),
    "vecdot": lambda n, a, b, **options: n.vecdot(a, b, **options),
    "tensordot": lambda n, a, b, **options: n.tensordot(a, b, 1, **options),
    "einsum": lambda n, a, b, **options: n.einsum("i,i->", a, b, **options),
    "linalg.matmul": lambda n, a, b, **options: n.linalg.matmul(a, b, **options),
    "linalg.tensordot": lambda n, a, b, **options: n.linalg.tensordot(a, b, axes=1, **options),
    "linalg.vecdot": lambda n, a, b, **options: n.linalg.vecdot(a, b, **options),
    "Array.dot": lambda n, a, b, **options: a.dot(b, **options),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype, preferred", [("int8", "int32"), ("int8", "float32"), ("float16", "float32")])
def test_products_are_summed_in_the_preferred_dtype(
    name: str, dtype: str, preferred: str, backend: Any, xp: Any
) -> None:
    if dtype == "float16" and backend.name == "strict":
        pytest.skip("the array API standard has no float16")
    numbers = np.asarray([100, 50, 25]).astype(dtype)
    options = {"precision": "highest", "preferred_element_type": preferred}
    ours = PRODUCTS[name](jnp, xp.asarray(numbers), xp.asarray(numbers), **options)
    theirs = PRODUCTS[name](J, J.asarray(numbers), J.asarray(numbers), **options)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(gradkit.device_get(ours), np.asarray(theirs), rtol=1e-6)
