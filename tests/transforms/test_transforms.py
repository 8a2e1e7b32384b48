"""The transforms against JAX's: the same programs, alone and composed."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from references import usual_widths
from side_by_side import check_same

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

rng = np.random.default_rng(0)
X, W, V, S = rng.normal(size=(3, 2)), rng.normal(size=(2, 4)), rng.normal(size=(5, 3)), np.asarray([1.0, 3.0, 0.25])
SQUARE, INDEX = rng.normal(size=(3, 3)), np.asarray([[0, 1], [2, 2]])


def layer(n: Any) -> Callable[..., Any]:
    return lambda x, w: n.tanh(x @ w).sum(0) * n.max(x)


def loss(n: Any) -> Callable[..., Any]:
    return lambda x, w: (n.tanh(x @ w) ** 2).sum() + n.max(x)


def largest(m: Any, a: Any) -> Any:
    """Return the largest of a batch; JAX, which has no derivative of it, computes it another way."""
    return m.lax.pmax(a, "i") if m is gradkit else J.max(m.lax.all_gather(a, "i"))


def rnn(m: Any, n: Any) -> Callable[..., Any]:
    return lambda x, w: m.lax.scan(lambda c, x: (n.tanh(c @ w + x), c.sum()), n.zeros(3, dtype=x.dtype), x)


def with_own_rules(m: Any, n: Any) -> tuple[Any, Any]:
    """Return functions whose rules are wrong on purpose, so that it shows whether they are used."""

    @m.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return n.sin(x) * y

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), n.cos(x) * dx * y * 3.0 + n.sin(x) * dy

    @m.custom_vjp
    def g(x: Any, y: Any) -> Any:
        return n.sin(x) * y

    g.defvjp(
        lambda x, y: (n.sin(x) * y, (n.cos(x), n.sin(x), y)),
        lambda kept, c: (kept[0] * c * kept[2] * 2.0, kept[1] * c),
    )
    return f, g


def remat(m: Any, n: Any, w: Any) -> Callable[..., Any]:
    return m.checkpoint(lambda x: n.sin(n.sin(x) * w))


PROGRAMS: dict[str, tuple[Callable[[Any, Any], Any], tuple[Any, ...]]] = {
    "jvp": (lambda m, n: lambda x, w: m.jvp(layer(n), (x, w), (x * 2, w * 3)), (X, W)),
    "jvp of some arguments": (lambda m, n: lambda x, w: m.jvp(lambda x: layer(n)(x, w), (x,), (x,)), (X, W)),
    "jvp with aux": (lambda m, n: lambda x: m.jvp(lambda x: (x * x, {"y": x + 1}), (x,), (x,), has_aux=True), (X,)),
    "linearize": (lambda m, n: lambda x, w: m.linearize(layer(n), x, w)[1](x * 2, w * 3), (X, W)),
    "jacfwd": (lambda m, n: lambda x, w: m.jacfwd(layer(n), (0, 1))(x, w), (X, W)),
    "jacrev": (lambda m, n: lambda x, w: m.jacrev(layer(n), (0, 1))(x, w), (X, W)),
    "jacobian of trees": (
        lambda m, n: lambda x, w: m.jacrev(lambda p: {"a": p["x"] @ p["w"], "b": p["x"].sum()})({"x": x, "w": w}),
        (X, W),
    ),
    "hessian": (lambda m, n: lambda x, w: m.hessian(loss(n), (0, 1))(x, w), (X, W)),
    "vmap": (lambda m, n: lambda x, w: m.vmap(lambda r: n.tanh(r @ w) * n.max(r))(x), (X, W)),
    "vmap of grad": (
        lambda m, n: lambda x, w: m.vmap(m.grad(loss(n), (0, 1)), in_axes=(2, None))(x[None].mT, w),
        (X, W),
    ),
    "grad of vmap": (
        lambda m, n: lambda x, w: m.grad(lambda x: m.vmap(lambda r: n.tanh(r @ w).sum() * n.max(r))(x).sum())(x),
        (X, W),
    ),
    "vmap of vmap": (
        lambda m, n: lambda x, y: m.vmap(m.vmap(lambda a, b: a * n.sin(b), (0, None)), (None, 0))(x, y),
        (S, V[:, 0]),
    ),
    "vmap with trees of axes": (
        lambda m, n: (
            lambda x, w: m.vmap(
                lambda p, w: {"s": p["a"] * 2, "t": (p["b"] @ w).sum()},
                in_axes=({"a": 0, "b": 1}, None),
                out_axes={"s": 1, "t": 0},
            )({"a": x, "b": x.T}, w)
        ),
        (X, W),
    ),
    "vmap over keyword arguments": (lambda m, n: lambda x: m.vmap(lambda *, y: y.sum())(y=x), (X,)),
    "vmap with axis_size alone": (lambda m, n: lambda x: m.vmap(lambda: x, axis_size=3, in_axes=())(), (X,)),
    "vmap over indices": (lambda m, n: lambda x, i: m.vmap(lambda k: x[k])(i), (X, INDEX)),
    "vmap over what is indexed": (lambda m, n: lambda x, i: m.vmap(lambda c: c[i])(x.T), (X, INDEX)),
    "vmap over both": (lambda m, n: lambda x, i: m.vmap(lambda c, k: c[k])(x[:2], i), (X, INDEX[:, :1] % 2)),
    "forward over reverse": (lambda m, n: lambda x, w: m.jvp(m.grad(loss(n)), (x, w), (x, w)), (X, W)),
    "reverse over forward": (
        lambda m, n: lambda x, w: m.grad(lambda x: m.jvp(loss(n), (x, w), (x * x, w))[1])(x),
        (X, W),
    ),
    "forward over forward": (
        lambda m, n: lambda x, w: m.jvp(lambda x: m.jvp(loss(n), (x, w), (x * x, w))[1], (x,), (x,)),
        (X, W),
    ),
    "third order": (lambda m, n: lambda x: m.jacfwd(m.jacrev(m.grad(lambda x: n.sum(x**4) * n.max(x))))(x), (S,)),
    "scan": (lambda m, n: rnn(m, n), (V, SQUARE)),
    "scan backwards": (lambda m, n: lambda x: m.lax.scan(lambda c, x: (c * 2 + x, c), 0.0, x, reverse=True), (S,)),
    "scan of nothing": (lambda m, n: lambda x: m.lax.scan(lambda c, x: (c, x * 2), x[0] * 1.0, x[:0]), (V,)),
    "grad of scan": (
        lambda m, n: (
            lambda x, w: m.grad(lambda x, w: rnn(m, n)(x, w)[0].sum() + rnn(m, n)(x, w)[1].sum() ** 2, (0, 1))(x, w)
        ),
        (V, SQUARE),
    ),
    "jvp of scan": (lambda m, n: lambda x, w: m.jvp(rnn(m, n), (x, w), (x, w)), (V, SQUARE)),
    "vmap of scan": (
        lambda m, n: lambda x: m.vmap(lambda r: m.lax.scan(lambda c, x: (c * 2.0 + x, c), 0.0, r))(x),
        (X,),
    ),
    "hessian of scan": (lambda m, n: lambda x, w: m.hessian(lambda w: rnn(m, n)(x, w)[0].sum())(w), (V, SQUARE)),
    "vmap of while_loop": (
        lambda m, n: lambda s: m.vmap(lambda a: m.lax.while_loop(lambda v: v < 100.0, lambda v: v * 2.0 + 1.0, a))(s),
        (S,),
    ),
    "vmap of cond": (
        lambda m, n: lambda s: m.vmap(lambda a: m.lax.cond(a > 0.5, lambda x: x * 3.0, lambda x: -x, a))(s),
        (S,),
    ),
    "vmap of grad of cond": (
        lambda m, n: lambda s: m.vmap(m.grad(lambda a: m.lax.cond(a > 0.5, lambda x: x**3.0, lambda x: -x, a)))(s),
        (S,),
    ),
    "vmap of switch": (
        lambda m, n: (
            lambda s, i: m.vmap(lambda a, i: m.lax.switch(i, [lambda x: x * 3.0, lambda x: -x, lambda x: x * 0], a))(
                s, i
            )
        ),
        (S, np.asarray([0, 1, 5])),
    ),
    "fori_loop": (lambda m, n: lambda s: m.lax.fori_loop(0, 4, lambda i, v: v + i * s, s), (S,)),
    "vmap of fori_loop over its bound": (
        lambda m, n: lambda k: m.vmap(lambda k: m.lax.fori_loop(0, k, lambda i, v: v + i, 0))(k),
        (np.asarray([3, 5]),),
    ),
    "map": (lambda m, n: lambda s: m.lax.map(lambda a: {"y": n.sin(a)}, s), (S,)),
    "map in batches": (lambda m, n: lambda s: m.lax.map(lambda a: n.sin(a), s, batch_size=2), (S,)),
    "associative_scan": (lambda m, n: lambda x: m.lax.associative_scan(n.matmul, x), (rng.normal(size=(7, 2, 2)),)),
    "associative_scan backwards": (lambda m, n: lambda x: m.lax.associative_scan(n.add, x, reverse=True, axis=1), (V,)),
    "collectives": (
        lambda m, n: (
            lambda s: m.vmap(
                lambda a: a / m.lax.psum(a, "i") + m.lax.pmean(a, "i") * m.lax.pmax(a, "i") + m.lax.axis_index("i"),
                axis_name="i",
            )(s)
        ),
        (S,),
    ),
    "vmap of grad of psum": (
        lambda m, n: lambda s: m.vmap(m.grad(lambda a: m.lax.psum(a**2, "i")), axis_name="i")(s),
        (S,),
    ),
    "grad of vmap of psum": (
        lambda m, n: lambda s: m.grad(lambda s: m.vmap(lambda a: m.lax.psum(a**2, "i") * a, axis_name="i")(s).sum())(s),
        (S,),
    ),
    "vmap of grad of pmax": (
        lambda m, n: lambda s: m.vmap(m.grad(lambda a: n.sin(largest(m, a**2))), axis_name="i")(s),
        (np.asarray([1.0, -2.0, 0.5, 2.0]),),
    ),
    "vmap of jvp of pmax": (
        lambda m, n: lambda s: m.vmap(lambda a: m.jvp(lambda a: largest(m, a**3), (a,), (1 + a,)), axis_name="i")(s),
        (np.asarray([1.0, -2.0, 0.5, 1.0]),),
    ),
    "psum over two axes": (
        lambda m, n: (
            lambda x: m.vmap(
                m.vmap(
                    lambda a: m.lax.psum(a, "i") + 2 * m.lax.psum(a, "j") + 3 * m.lax.psum(a, ("i", "j")), axis_name="j"
                ),
                axis_name="i",
            )(x)
        ),
        (X,),
    ),
    "all_gather": (
        lambda m, n: (
            lambda x: m.vmap(lambda a: m.lax.all_gather(a, "i") @ m.lax.all_gather(a, "i").T, axis_name="i")(x)
        ),
        (X,),
    ),
    "ppermute": (
        lambda m, n: lambda s: m.vmap(lambda a: m.lax.ppermute(a, "i", [(0, 1), (1, 2), (2, 0)]), axis_name="i")(s),
        (S,),
    ),
    "checkpoint": (
        lambda m, n: lambda x, y: m.grad(lambda x, y: remat(m, n, y)(x).sum() ** 2, (0, 1))(x, y),
        (S, S[::-1]),
    ),
    "hessian of checkpoint": (
        lambda m, n: lambda x, y: m.hessian(lambda x, y: remat(m, n, y)(x).sum() ** 2, (0, 1))(x, y),
        (S, S[::-1]),
    ),
    "vmap of checkpoint": (
        lambda m, n: lambda x, y: m.grad(lambda x, y: m.vmap(remat(m, n, y[0]))(x).sum() ** 2, (0, 1))(x, y),
        (S, S[::-1]),
    ),
    "forward over checkpoint": (
        lambda m, n: lambda x, y: m.jvp(m.grad(lambda x, y: remat(m, n, y)(x).sum() ** 2), (x, y), (y, x)),
        (S, S[::-1]),
    ),
    "checkpoint of jvp": (
        lambda m, n: (
            lambda x, y: m.grad(lambda x, y: m.jvp(lambda x: remat(m, n, y)(x).sum() ** 2, (x,), (y,))[1])(x, y)
        ),
        (S, S[::-1]),
    ),
    "custom_gradient": (
        lambda m, n: lambda x: m.grad(m.custom_gradient(lambda x: (x**2, lambda g: g * x)))(x),
        (S[1],),
    ),
}
for kind, name in enumerate(("custom_jvp", "custom_vjp")):
    PROGRAMS |= {
        f"grad of {name}": (
            lambda m, n, k=kind: (
                lambda x, y: m.grad(lambda x, y: with_own_rules(m, n)[k](x, y).sum() ** 2, (0, 1))(x, y)
            ),
            (S, S[::-1]),
        ),
        f"vmap of grad of {name}": (
            lambda m, n, k=kind: (
                lambda x, y: m.vmap(m.grad(lambda x, y: with_own_rules(m, n)[k](x, y) ** 2, (0, 1)), (0, None))(x, y[0])
            ),
            (S, S[::-1]),
        ),
        f"grad of vmap of {name}": (
            lambda m, n, k=kind: (
                lambda x, y: m.grad(
                    lambda x, y: m.vmap(with_own_rules(m, n)[k], (0, None))(x, y[0]).sum() ** 2, (0, 1)
                )(x, y)
            ),
            (S, S[::-1]),
        ),
        f"reverse over reverse of {name}": (
            lambda m, n, k=kind: (
                lambda x, y: m.jacrev(m.grad(lambda x, y: with_own_rules(m, n)[k](x, y).sum() ** 2, (0, 1)))(x, y)
            ),
            (S, S[::-1]),
        ),
        f"hessian of {name}": (
            lambda m, n, k=kind: lambda x, y: m.hessian(lambda x, y: with_own_rules(m, n)[k](x, y).sum() ** 2)(x, y),
            (S, S[::-1]),
        ),
    }


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_give_what_they_give_under_jax(name: str, xp: Any) -> None:
    program, args = PROGRAMS[name]
    check_same(program, *args)


@pytest.mark.parametrize("outer, inner", [*itertools.product(("forward", "reverse"), repeat=2)])
def test_perturbations_are_not_confused(outer: str, inner: str, xp: Any) -> None:
    def derivative(mode: str) -> Callable[[Any], Any]:
        return gradkit.grad if mode == "reverse" else lambda f: lambda x: gradkit.jvp(f, (x,), (1.0,))[1]

    # d/dx (x * d/dy (x + y)) = 1: the classic case (Siskind and Pearlmutter, 2005).
    assert float(derivative(outer)(lambda x: x * derivative(inner)(lambda y: x + y)(1.0))(1.0)) == 1.0
    # d/dx (x * d/dy (x * y**2)) = 4 x y
    result = derivative(outer)(lambda x: x * derivative(inner)(lambda y: x * y * y)(3.0))(2.0)
    assert float(result) == 24.0


def test_checkpoint_keeps_less_memory() -> None:
    blocks, width = 16, 30_000
    x = jnp.ones(width)

    def block(x: Any) -> Any:
        for _ in range(8):
            x = jnp.sin(x)
        return x

    def peak(block: Callable[..., Any]) -> int:
        def loss(x: Any) -> Any:
            for _ in range(blocks):
                x = block(x)
            return x.sum()

        gc.collect()
        tracemalloc.start()
        gradkit.grad(loss)(x)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # 16 blocks of 8 values each, against 16 boundaries and one block of 8.
    assert peak(gradkit.checkpoint(block)) < 0.4 * peak(block)


def test_checkpoint_runs_the_function_twice(xp: Any) -> None:
    calls = []

    @gradkit.checkpoint
    def f(x: Any) -> Any:
        calls.append(x)
        return jnp.sin(x)

    gradkit.grad(lambda x: f(x) ** 2)(1.0)
    assert len(calls) == 2


def test_rules_are_used_on_the_tape(xp: Any) -> None:
    for f in (*with_own_rules(gradkit, jnp), gradkit.checkpoint(lambda x, y: jnp.sin(x) * y)):
        x = jnp.asarray(S)
        x.requires_grad = True
        f(x, jnp.full_like(x, 2.0)).sum().backward()
        expected = gradkit.grad(lambda x, f=f: f(x, jnp.full_like(x, 2.0)).sum())(jnp.asarray(S))
        np.testing.assert_allclose(np.asarray(gradkit.device_get(x.grad)), gradkit.device_get(expected), rtol=1e-6)


def test_a_linearized_function_runs_the_function_once(xp: Any) -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(x)
        return jnp.sin(x)

    _, f_jvp = gradkit.linearize(f, 0.5)
    assert [round(float(f_jvp(t)), 4) for t in (1.0, 2.0)] == [0.8776, 1.7552]
    assert len(calls) == 1


# Shapes and graphs


def test_shapes_are_those_of_jax_without_computing(xp: Any) -> None:
    computed = []
    original = gradkit.ShapeDtypeStruct((10**6, 10**6), "float32")

    def f(x: Any) -> Any:
        computed.append(type(x))
        return {"a": jnp.max(x, axis=0), "b": (x @ x)[..., None] == 1, "c": jnp.tanh(x).sum()}

    shapes = gradkit.eval_shape(f, original)
    assert {name: (s.shape, s.dtype.name) for name, s in shapes.items()} == {
        "a": ((10**6,), "float32"),
        "b": ((10**6, 10**6, 1), "bool"),
        "c": ((), "float32"),
    }


@pytest.mark.parametrize(
    "f, args",
    [
        (lambda n: lambda x: n.sin(x) * 2.0, (1.0,)),
        (lambda n: lambda x, y: x + n.exp(-y), (1.0, 2.0)),
        (lambda n: lambda x: n.tanh(x) - x * x, (np.ones((3, 2), np.float32),)),
    ],
)
def test_graphs_print_as_in_jax(f: Any, args: Any, xp: Any) -> None:
    with usual_widths():
        expected = str(jax.make_jaxpr(f(J))(*args))
    assert str(gradkit.make_jaxpr(f(jnp))(*args)) == expected


@pytest.mark.parametrize(
    "name", ["scan", "hessian", "grad of vmap", "vmap of cond", "grad of scan", "hessian of checkpoint"]
)
def test_graphs_run_and_give_what_the_function_gives(name: str, xp: Any) -> None:
    program, args = PROGRAMS[name]
    function = program(gradkit, jnp)
    arrays = [jnp.asarray(arg) for arg in args]
    expected, got = function(*arrays), gradkit.make_jaxpr(function)(*arrays)(*arrays)
    for a, b in zip(gradkit.tree.leaves(got), gradkit.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(gradkit.device_get(a), gradkit.device_get(b), rtol=1e-6, atol=1e-9)


def test_loops_and_choices_of_a_graph_are_operations_of_it(xp: Any) -> None:
    def f(x: Any) -> Any:
        total = lax.while_loop(lambda v: v < 100.0, lambda v: v * 2.0, x)
        return lax.cond(total > 150.0, lambda v: v - 1.0, lambda v: v + 1.0, total)

    graph = gradkit.make_jaxpr(f)(1.0)
    assert [equation.primitive.name for equation in graph.eqns if equation.primitive.name in ("while", "cond")] == [
        "while",
        "cond",
    ]
    assert float(graph(3.0)) == float(f(3.0)) == 191.0


# jit


def test_jit_returns_arrays_in_the_functions_own_tree(xp: Any) -> None:
    @gradkit.jit
    def f(x: Any, *, scale: float = 2.0) -> Any:
        return {"y": x * scale, "n": 3}

    result = f(jnp.ones(2))
    assert type(result["n"]) is gradkit.Array
    assert gradkit.device_get(result["y"]).tolist() == [2.0, 2.0]
    assert float(gradkit.grad(lambda x: f(x)["y"])(1.0)) == 2.0


def test_static_arguments_stay_what_they_are(xp: Any) -> None:
    seen = []

    def f(x: Any, n: Any, mode: str = "a") -> Any:
        seen.append((type(n), mode))
        return x * n

    gradkit.jit(f, static_argnums=1, static_argnames="mode")(1.0, 3, mode="b")
    gradkit.jit(f, static_argnames=("n", "mode"))(1.0, n=3, mode="c")
    assert seen == [(int, "b"), (int, "c")]
    with gradkit.disable_jit():
        gradkit.jit(f)(1.0, 3, "d")
    assert seen[-1] == (int, "d")


@pytest.mark.parametrize("transform", ["grad", "jacfwd", "hessian", "vmap"])
def test_captured_loops_and_choices_are_differentiated_and_batched(transform: str, xp: Any) -> None:
    def f(m: Any) -> Callable[..., Any]:
        def function(x: Any) -> Any:
            total = m.lax.scan(lambda c, s: (m.numpy.sin(c) * s + x, c), x, m.numpy.asarray([0.5, 2.0]))[0]
            total = m.lax.fori_loop(0, 3, lambda i, v: m.numpy.cos(v) * x, total)
            return m.lax.cond(total.sum() > 0.1, lambda v: (v**2).sum(), lambda v: v.sum(), total)

        return function

    points = rng.normal(size=(4, 3)) if transform == "vmap" else S
    with jax.enable_x64(True):
        expected = np.asarray(getattr(jax, transform)(f(jax))(J.asarray(points)))
    with gradkit.enable_x64():
        graph = gradkit.make_jaxpr(f(gradkit))(jnp.asarray(S))
        assert {"scan", "cond"} <= {equation.primitive.name for equation in graph.eqns}
        got = getattr(gradkit, transform)(graph)(jnp.asarray(points))
    np.testing.assert_allclose(gradkit.device_get(got), expected, rtol=1e-9, atol=1e-12)
