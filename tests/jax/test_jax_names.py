"""JAX's names beside the array functions: implicit functions, transposes, callbacks, collectives, ufuncs."""

from __future__ import annotations

from typing import Any

import jax
import jax.experimental
import numpy as np
import pytest
from side_by_side import check_same

import gradkit
import gradkit.experimental
import gradkit.numpy as jnp

RANDOM = np.random.default_rng(5)
A = RANDOM.standard_normal((3, 3)) + 4 * np.eye(3)
B = RANDOM.standard_normal(3)
XS = RANDOM.standard_normal((4, 3))


# Implicit functions


def by_iteration(m: Any, n: Any) -> Any:
    """A solver whose loop has no derivative in reverse mode."""

    def solve(matvec: Any, b: Any) -> Any:
        diagonal = n.asarray(np.diag(A))

        def step(x: Any) -> Any:
            return x + (b - matvec(x)) / diagonal

        def going(state: Any) -> Any:
            return n.sum((state[0] - state[1]) ** 2) > 1e-26

        return m.lax.while_loop(going, lambda s: (step(s[0]), s[0]), (b, b + 1.0))[0]

    return solve


def solution(m: Any, n: Any, symmetric: bool = False) -> Any:
    def x(a: Any, b: Any) -> Any:
        a = a + a.T if symmetric else a
        solve = by_iteration(m, n) if not symmetric else (lambda _, b: n.linalg.solve(a, b))
        transposed = None if symmetric else by_iteration(m, n)
        return m.lax.custom_linear_solve(lambda v: a @ v, b, solve, transposed, symmetric=symmetric)

    return x


TRANSFORMS: dict[str, Any] = {
    "value": lambda m, n, f: f,
    "grad": lambda m, n, f: m.grad(lambda a, b: n.sum(n.sin(f(a, b))), (0, 1)),
    "jvp": lambda m, n, f: lambda a, b: m.jvp(f, (a, b), (n.cos(a), n.cos(b))),
    "hessian": lambda m, n, f: m.hessian(lambda a, b: n.sum(n.sin(f(a, b))), (0, 1)),
    "vmap": lambda m, n, f: lambda a, b: m.vmap(f, (None, 0))(a, n.stack([b, 2 * b])),
    "vmap of grad": lambda m, n, f: (
        lambda a, b: m.vmap(m.grad(lambda a, b: n.sum(n.sin(f(a, b))), (0, 1)), (None, 0))(a, n.stack([b, 2 * b]))
    ),
    "graph": lambda m, n, f: f if m is jax else lambda a, b: m.make_jaxpr(f)(a, b)(a, b),
    "grad of a graph": lambda m, n, f: m.grad(
        lambda a, b: n.sum(n.sin((f if m is jax else m.make_jaxpr(f)(a, b))(a, b))), (0, 1)
    ),
    "graph of grad": lambda m, n, f: (
        (g := m.grad(lambda a, b: n.sum(n.sin(f(a, b))), (0, 1)))
        and (g if m is jax else lambda a, b: m.make_jaxpr(g)(a, b)(a, b))
    ),
}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_custom_linear_solve_agrees_with_jax(transform: str, symmetric: bool, xp: Any) -> None:
    check_same(lambda m, n: TRANSFORMS[transform](m, n, solution(m, n, symmetric)), A, B, tolerance=1e-8)


def test_custom_linear_solve_of_trees_with_auxiliary_data(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(a: Any, b: Any) -> Any:
            def solve(matvec: Any, b: Any) -> Any:
                return {"x": n.linalg.solve(a, b["x"]), "y": b["y"] / a[0, 0]}, n.sum(b["x"])

            def solve_transposed(vecmat: Any, b: Any) -> Any:
                return {"x": n.linalg.solve(a.T, b["x"]), "y": b["y"] / a[0, 0]}, 0.0

            right = {"x": b, "y": b[0]}
            matvec = lambda v: {"x": a @ v["x"], "y": a[0, 0] * v["y"]}  # noqa: E731
            found, aux = m.lax.custom_linear_solve(matvec, right, solve, solve_transposed, has_aux=True)
            return n.sum(found["x"] ** 2) * found["y"] + aux * 0.0

        return lambda a, b: (f(a, b), m.grad(f, (0, 1))(a, b), m.jvp(f, (a, b), (a, b)))

    check_same(program, A, B)


def test_reverse_mode_of_custom_linear_solve_asks_for_transpose_solve() -> None:
    a, b = jnp.asarray(A), jnp.asarray(B)
    f = lambda b: gradkit.lax.custom_linear_solve(lambda x: a @ x, b, lambda _, b: jnp.linalg.solve(a, b)).sum()  # noqa: E731
    with pytest.raises(TypeError, match="transpose_solve required for backwards mode"):
        gradkit.grad(f)(b)


def root(m: Any, n: Any) -> Any:
    def solve(f: Any, guess: Any) -> Any:
        def step(state: Any) -> Any:
            x, _ = state
            return x - f(x) / 6, x

        return m.lax.while_loop(lambda s: n.sum((s[0] - s[1]) ** 2) > 1e-26, step, (guess, guess + 1.0))[0]

    def tangent_solve(g: Any, y: Any) -> Any:
        return n.linalg.solve(m.jacobian(g)(y), y)

    def x(a: Any, b: Any) -> Any:
        return m.lax.custom_root(lambda x: a @ x + n.tanh(x) - b, n.zeros(3), solve, tangent_solve)

    return x


@pytest.mark.parametrize("transform", [name for name in TRANSFORMS if name != "vmap of grad"])
def test_custom_root_agrees_with_jax(transform: str, xp: Any) -> None:
    check_same(lambda m, n: TRANSFORMS[transform](m, n, root(m, n)), A, B, tolerance=1e-8)


def test_custom_root_of_a_scalar(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def cube_root(a: Any) -> Any:
            def newton(f: Any, x: Any) -> Any:
                return m.lax.fori_loop(0, 30, lambda _, x: x - f(x) / m.grad(f)(x), x), a * 2

            return m.lax.custom_root(lambda x: x**3 - a, 1.0 + 0 * a, newton, lambda g, y: y / g(1.0), has_aux=True)[0]

        return lambda xs: [f(abs(xs[0])) for f in (cube_root, m.grad(cube_root), m.grad(m.grad(cube_root)))]

    check_same(program, B)


# Transposes and conversion


def test_linear_transpose_agrees_with_jax(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def transposes(a: Any, b: Any) -> Any:
            shape = m.ShapeDtypeStruct((3,), "float64")
            first = m.linear_transpose(lambda x: {"y": a @ x, "z": 2.0 * x[1:]}, shape)
            second = m.linear_transpose(
                lambda x, y: n.sum(x[::-1] * b) + y / 3, shape, m.ShapeDtypeStruct((), "float64")
            )
            return first({"y": b, "z": b[:2]}), second(b[0]), m.grad(lambda b: second(b[0])[0].sum())(b)

        return transposes

    check_same(program, A, B)


def loop_of(step: Any) -> Any:
    return lambda n, x: gradkit.lax.scan(lambda c, e: (step(n, c, e), c), x, x)


@pytest.mark.parametrize(
    "f",
    [
        lambda n, x: n.sin(x),
        lambda n, x: x * x,
        lambda n, x: n.exp(x),
        lambda n, x: n.sum(x**2),
        loop_of(lambda n, c, _: n.sin(c)),
        loop_of(lambda n, c, e: c * e),
        lambda n, x: gradkit.lax.cond(x[0] > 0, lambda x: x, lambda x: -x, x),
        lambda n, x: gradkit.checkpoint(n.sin)(x),
    ],
)
def test_what_is_not_linear_has_no_transpose(f: Any, xp: Any) -> None:
    with pytest.raises(NotImplementedError, match="Transpose rule"):
        gradkit.linear_transpose(lambda x: f(jnp, x), jnp.ones(3))
    with pytest.raises(TypeError, match="float or complex"):
        gradkit.linear_transpose(lambda x: x, 1)


def test_closure_convert_lets_a_reverse_rule_differentiate_what_a_function_closes_over(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def minimize(f: Any, x: Any) -> Any:
            converted, constants = m.closure_convert(f, x)
            return minimum(converted, x, *constants)

        def descend(f: Any, x: Any, *constants: Any) -> Any:
            return m.lax.fori_loop(0, 200, lambda _, x: x - 0.1 * m.grad(f)(x, *constants), x)

        minimum = m.custom_vjp(descend, nondiff_argnums=(0,))

        def forward(f: Any, x: Any, *constants: Any) -> Any:
            y = descend(f, x, *constants)
            return y, (y, constants)

        def backward(f: Any, kept: Any, g: Any) -> Any:
            y, constants = kept
            _, pullback = m.vjp(lambda *c: m.grad(f)(y, *c), *constants)
            return (n.zeros_like(y), *pullback(-g / m.grad(m.grad(f))(y, *constants)))

        minimum.defvjp(forward, backward)
        return m.grad(lambda b: minimize(lambda x: (x - n.sum(b**2)) ** 2, n.asarray(0.0)))

    check_same(program, B, tolerance=1e-7)


def test_closure_convert_hoists_what_is_followed_alone(xp: Any) -> None:
    scale = jnp.asarray([1.0, 2.0])
    converted, constants = gradkit.closure_convert(lambda x: x * scale, jnp.ones(2))
    assert constants == []
    assert converted(jnp.ones(2)).tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="structure of the example arguments"):
        converted((jnp.ones(2),))


# Callbacks


def test_pure_callback_is_called_with_values_under_transforms(xp: Any) -> None:
    calls: list[Any] = []

    def f(m: Any, n: Any, method: Any = None) -> Any:
        def on_host(x: Any, y: Any) -> Any:
            calls.append(np.shape(x))
            return {"z": np.asarray(x) ** 2 + np.asarray(y), "n": np.asarray(x).astype(np.int32)}

        def called(x: Any, y: Any) -> Any:
            shapes = {"z": m.ShapeDtypeStruct(x.shape, x.dtype), "n": m.ShapeDtypeStruct(x.shape, "int32")}
            return m.pure_callback(on_host, shapes, x, y, vmap_method=method)

        return called

    check_same(lambda m, n: lambda xs, b: f(m, n)(xs[0], b), XS, B)
    check_same(lambda m, n: m.jit(lambda xs, b: f(m, n)(xs[0], b)), XS, B)
    for method in ("sequential", "expand_dims", "broadcast_all"):
        check_same(lambda m, n, k=method: lambda xs, b: m.vmap(f(m, n, k), (0, None))(xs, b), XS, B)
    check_same(lambda m, n: lambda xs, b: m.vmap(f(m, n, "expand_dims"), (1, 0))(xs, xs.T), XS, B)
    calls.clear()
    gradkit.vmap(f(gradkit, jnp, "sequential"), (0, None))(jnp.asarray(XS), jnp.asarray(B))
    gradkit.vmap(f(gradkit, jnp, "expand_dims"), (0, None))(jnp.asarray(XS), jnp.asarray(B))
    assert calls == [(3,)] * 4 + [(4, 3)]
    jaxpr = gradkit.make_jaxpr(f(gradkit, jnp))(jnp.asarray(B), jnp.asarray(B))
    assert len(calls) == 5
    np.testing.assert_allclose(gradkit.device_get(jaxpr(jnp.asarray(B), jnp.asarray(B))["z"]), B**2 + B)


def test_errors_of_callbacks(xp: Any) -> None:
    shape = gradkit.ShapeDtypeStruct((), "float32")
    call = lambda x, **options: gradkit.pure_callback(lambda x: np.float32(x), shape, x, **options)  # noqa: E731
    with pytest.raises(NotImplementedError, match="vmap_method"):
        gradkit.vmap(call)(jnp.ones(3))
    for around in (
        lambda f: f,
        gradkit.jit,
        gradkit.checkpoint,
        lambda f: gradkit.jit(lambda x: gradkit.lax.cond(x > 0, f, lambda x: x, x)),
        lambda f: gradkit.jit(lambda x: gradkit.lax.fori_loop(0, 2, lambda i, c: c + f(x), x)),
    ):
        for differentiate in (gradkit.grad, gradkit.jacfwd, lambda f: lambda x: gradkit.linearize(f, x)):
            with pytest.raises(ValueError, match="Pure callbacks do not support JVP"):
                differentiate(around(call))(1.0)
    with pytest.raises(ValueError, match=r"expected a result of shape \(\), got \(2,\)"):
        gradkit.pure_callback(lambda x: np.ones(2, "float32"), shape, 1.0)
    with pytest.raises(ValueError, match="expected a result of dtype float32, got float64"):
        gradkit.pure_callback(lambda x: np.float64(1), shape, 1.0)
    with pytest.raises(ValueError, match="vmap_method must be"):
        call(1.0, vmap_method="all")


def test_io_callback_is_called_in_order(xp: Any) -> None:
    seen: list[float] = []

    def note(x: Any) -> Any:
        seen.append(float(x))
        return np.int32(len(seen))

    count = gradkit.ShapeDtypeStruct((), "int32")
    result = gradkit.vmap(lambda x: gradkit.experimental.io_callback(note, count, x))(jnp.asarray([3.0, 1.0, 2.0]))
    assert result.tolist() == [1, 2, 3]
    assert seen == [3.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="Cannot `vmap` ordered IO callback"):
        gradkit.vmap(lambda x: gradkit.experimental.io_callback(note, count, x, ordered=True))(jnp.ones(2))
    with pytest.raises(ValueError, match="IO callbacks do not support JVP"):
        gradkit.grad(lambda x: gradkit.experimental.io_callback(note, count, x))(1.0)


def test_callbacks_get_arrays_that_every_library_takes(xp: Any) -> None:
    import scipy.special

    def program(m: Any, n: Any) -> Any:
        def bessel(order: Any, z: Any) -> Any:
            on_host = lambda v, z: scipy.special.jv(v, z).astype(z.dtype)  # noqa: E731
            return m.pure_callback(on_host, m.ShapeDtypeStruct.like(z), order, z, vmap_method="broadcast_all")

        first = m.custom_jvp(lambda z: bessel(1, z))
        first.defjvp(lambda p, t: (first(*p), (bessel(0, p[0]) - bessel(2, p[0])) / 2 * t[0]))
        return lambda b: (first(b), m.vmap(m.grad(first))(b), m.jit(first)(b))

    check_same(program, B)


# Across batches


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("axes", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_exchanges_between_the_elements_of_a_batch_agree_with_jax(axes: tuple[int, int], tiled: bool, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            return (
                m.lax.all_to_all(x, "i", *axes, tiled=tiled),
                m.lax.psum_scatter(x * x, "i", scatter_dimension=axes[0], tiled=tiled),
                m.lax.pswapaxes(x, "i", axes[0]),
            )

        def loss(x: Any) -> Any:
            return sum(n.sum(n.sin(part) * n.cos(2 * part)) for part in m.vmap(f, axis_name="i")(x))

        return lambda x: (m.vmap(f, axis_name="i")(x), m.grad(loss)(x))

    size = 4 if tiled else 2
    x = np.random.default_rng(7).standard_normal((2, size, size))
    if tiled:  # pswapaxes needs the batch's size
        x = x[:, :2, :2]
    check_same(program, x)


def test_parts_that_do_not_fit_are_errors() -> None:
    for f in (lambda x: gradkit.lax.all_to_all(x, "i", 0, 0), lambda x: gradkit.lax.psum_scatter(x, "i")):
        with pytest.raises(ValueError, match="size of the axis to divide, 3, must be equal to that of the batch, 2"):
            gradkit.vmap(f, axis_name="i")(jnp.ones((2, 3)))
    with pytest.raises(NameError, match="unbound axis name"):
        gradkit.lax.pswapaxes(jnp.ones(2), "i", 0)


# Universal functions


def test_universal_functions_agree_with_jax(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def calls(xs: Any, b: Any) -> Any:
            mixed = n.frompyfunc(lambda x, y: x * n.sin(y) + 1, nin=2, nout=1)
            plus = n.frompyfunc(lambda x, y: x + y, nin=2, nout=1, identity=0)
            both = n.frompyfunc(lambda x: (x * 2, n.cos(x)), nin=1, nout=2)
            mask = xs > 0
            return (
                mixed(xs, b),
                both(b),
                mixed.reduce(xs),
                mixed.reduce(xs, axis=1, keepdims=True),
                plus.reduce(xs, axis=None),
                plus.reduce(xs, axis=-1, where=mask, initial=2.0),
                plus.reduce(xs[:0]),
                mixed.accumulate(xs, axis=1),
                mixed.accumulate(xs),
                plus.reduceat(xs, n.asarray([0, 2, 1, 3])),
                mixed.outer(b, xs[0, :2]),
                mixed.at(b, n.asarray([0, 2, 0]), xs[0], inplace=False),
                m.grad(lambda x: n.sum(mixed.reduce(x) ** 2))(xs),
            )

        return calls

    check_same(program, XS, B)


def test_errors_of_universal_functions() -> None:
    function = jnp.frompyfunc(lambda x, y: x + y, nin=2, nout=1)
    assert isinstance(function, jnp.ufunc)
    assert (function.nin, function.nout, function.nargs, function.identity) == (2, 1, 2, None)
    with pytest.raises(ValueError, match="has no identity"):
        function.reduce(jnp.ones(0))
    with pytest.raises(NotImplementedError, match="inplace=False"):
        function.at(jnp.ones(3), 0, 1.0)
    with pytest.raises(TypeError, match="takes 2 arguments, got 1"):
        function(1.0)
    with pytest.raises(ValueError, match="two arguments"):
        jnp.frompyfunc(jnp.sin, 1, 1).reduce(jnp.ones(3))


# By name


def test_names_that_are_about_jaxs_compiler_leave_functions_as_they_are(xp: Any) -> None:
    @gradkit.named_scope("scope")
    def f(x: Any) -> Any:
        with gradkit.named_scope("inner"), gradkit.ensure_compile_time_eval():
            return jnp.sin(x)

    named = gradkit.named_call(f, name="f")
    assert named.__name__ == "f"
    assert float(gradkit.grad(named)(0.0)) == 1.0
    squared = gradkit.lax.composite(lambda x, *, k: x**k, "my.power")
    assert float(gradkit.grad(lambda x: squared(x, k=3))(2.0)) == 12.0
    with pytest.raises(TypeError, match="must be a string"):
        gradkit.named_scope(3)  # type: ignore[arg-type]


def test_platform_dependent_takes_the_function_of_the_platform(xp: Any) -> None:
    functions = {"cpu": lambda x: x + 1, "cuda": lambda x: x + 1, "tpu": lambda x: x * 0}
    assert float(gradkit.lax.platform_dependent(jnp.asarray(1.0), **functions)) == 2.0
    assert gradkit.lax.platform_dependent(1.0, tpu=lambda x: x, default=lambda x: -x) == -1.0
    with pytest.raises(NotImplementedError, match="no function for"):
        gradkit.lax.platform_dependent(1.0, tpu=lambda x: x)


def test_typeof_is_the_shape_and_dtype_inside_transforms_as_well(xp: Any) -> None:
    found: list[Any] = []

    def f(x: Any) -> Any:
        found.append(gradkit.typeof(x))
        return x.sum()

    gradkit.vmap(gradkit.grad(f))(jnp.ones((2, 3)))
    gradkit.make_jaxpr(f)(jnp.ones(3))
    assert [str(t) for t in found] == ["float32[3]"] * 2
    assert repr(found[0]) == "ShapedArray(float32[3])"
    assert found[0].str_short(short_dtypes=True) == "f32[3]"
    assert str(gradkit.typeof(1)) == str(jax.typeof(jax.numpy.int32(1))) == "int32[]"


def test_rng_uniform_gives_other_numbers_at_every_call(xp: Any) -> None:
    first, second = (gradkit.lax.rng_uniform(jnp.float32(2.0), jnp.float32(3.0), (100,)) for _ in range(2))
    assert ((first >= 2) & (first < 3)).all()
    assert not (first == second).all()
    whole = gradkit.lax.rng_uniform(jnp.int32(2), jnp.int32(5), (100,))
    assert sorted(set(whole.tolist())) == [2, 3, 4]
    with pytest.raises(ValueError, match="identical dtypes"):
        gradkit.lax.rng_uniform(jnp.int32(2), jnp.float32(5), (2,))


def test_scatter_apply_agrees_with_jax(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        numbers = m.lax.ScatterDimensionNumbers((1,), (0,), (0,))

        def f(x: Any) -> Any:
            return m.lax.scatter_apply(x, n.asarray([[2], [0], [9]]), n.sin, numbers, update_shape=(3, 3))

        return f

    check_same(program, XS)
    derivative = gradkit.grad(lambda x: jnp.sum(program(gradkit, jnp)(x)))(jnp.asarray(XS))  # which JAX does not have
    expected = np.where(np.asarray([[1], [0], [1], [0]]), np.cos(XS), 1.0)
    np.testing.assert_allclose(gradkit.device_get(derivative), expected)


def test_hypot_at_the_origin_has_jaxs_derivatives(xp: Any) -> None:
    check_same(
        lambda m, n: m.grad(lambda x, y: n.sum(n.hypot(x, y)), (0, 1)),
        np.asarray([0.0, 3.0, 0.0]),
        np.asarray([0.0, 4.0, 2.0]),
    )


def test_expand_dims_of_no_axis_is_an_error() -> None:
    for n in (jax.numpy, jnp):
        with pytest.raises(TypeError):
            n.expand_dims(n.ones((2, 3)), None)
