"""`jit`: captured once for each signature, then a program; an operation under every transform; JAX's errors."""

from __future__ import annotations

import copy
import functools
import gc
import itertools
import logging
import operator
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from references import jaxs, usual_widths
from side_by_side import check_same
from test_compositions import TRANSFORMS, function_of

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.errors import ConcretizationTypeError, TracerBoolConversionError, UnexpectedTracerError
from gradkit.experimental import io_callback

X = np.asarray([0.3, -0.8, 1.2])


class Counting:
    """A function that counts its calls: how often `jit` has captured it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.function(*args, **kwargs)


def array(x: Any) -> Any:
    return gradkit.device_get(x)


# Captured once


def test_a_function_is_captured_once_for_each_signature(xp: Any) -> None:
    f = Counting(lambda x: x * 2)
    g = gradkit.jit(f)
    same = [jnp.ones(3), jnp.zeros(3), jnp.ones(3) * 2.0]
    for x in same:
        assert array(g(x)).tolist() == (array(x) * 2).tolist()
    assert f.count == 1
    for i, x in enumerate(
        [jnp.ones(4), jnp.ones((3, 1)), jnp.ones(3, dtype="int32"), 1, 1.0, True, {"a": jnp.ones(3)}]
    ):
        if not isinstance(x, dict):
            g(x), g(x)
            assert f.count == i + 2


def test_structures_names_and_trees_are_in_the_signature(xp: Any) -> None:
    f = Counting(lambda *args, **kwargs: gradkit.tree.leaves((args, kwargs)))
    g = gradkit.jit(f)
    x = jnp.ones(2)
    for i, (args, kwargs) in enumerate(
        [((x, x), {}), (((x, x),), {}), (({"b": x},), {}), ((), {"b": x}), ((x,), {"b": x}), (((x,), {"b": x}), {})]
    ):
        for _ in range(2):
            assert len(g(*args, **kwargs)) == len(gradkit.tree.leaves((args, kwargs)))
        assert f.count == i + 1


def test_jit_of_one_function_twice_captures_it_once(xp: Any) -> None:
    count = []

    def f(x: Any) -> Any:
        count.append(x)
        return x + 1

    for _ in range(3):
        gradkit.jit(f)(jnp.ones(2))
    assert len(count) == 1
    gradkit.jit(f, static_argnums=0)(2)
    assert len(count) == 2


@pytest.mark.parametrize("setting", [gradkit.enable_x64, gradkit.debug_nans])
def test_settings_are_in_the_signature(setting: Any, xp: Any) -> None:
    f = Counting(lambda x: x + jnp.asarray(0.5))
    g = gradkit.jit(f)
    x = jnp.ones(2, dtype="float32")
    assert g(x).dtype == "float32"
    with setting():
        assert g(x).dtype == (x + jnp.asarray(0.5)).dtype
        g(x)
        assert f.count == 2
    g(x)
    assert f.count == 2


def test_the_backend_is_in_the_signature() -> None:
    f = Counting(lambda x: x + jnp.ones(2))
    g = gradkit.jit(f)
    for name in ("numpy", "strict", "numpy", "strict"):
        with gradkit.use_backend(name):
            assert g(jnp.ones(2)).device.backend == name
    assert f.count == 2


def test_static_arguments_are_told_apart_by_type_and_value(xp: Any) -> None:
    f = Counting(lambda x, k: x * k)
    g = gradkit.jit(f, static_argnums=1)
    for k in (1, True, 1.0, 2, 1, True, 1.0, 2):
        g(jnp.ones(2), k)
    assert f.count == 4
    assert float(g(2.0, k=3)) == 6.0


def test_side_effects_happen_once_and_callbacks_at_every_run(xp: Any, capsys: Any) -> None:
    seen: list[Any] = []

    @gradkit.jit
    def f(x: Any) -> Any:
        print("captured")
        gradkit.debug.print("hello")
        gradkit.debug.print("x = {}", x)
        io_callback(lambda: seen.append(len(seen)) or np.float32(0), gradkit.ShapeDtypeStruct((), "float32"))
        gradkit.debug.callback(seen.append, jnp.asarray(3.0))
        return x * 2

    f(jnp.asarray(1.0))
    f(jnp.asarray(2.0))
    assert capsys.readouterr().out == "captured\nhello\nx = 1.0\nhello\nx = 2.0\n"
    assert [float(s) for s in seen] == [0.0, 3.0, 2.0, 3.0]
    gradkit.vmap(gradkit.grad(f))(jnp.asarray([3.0, 4.0]))
    assert capsys.readouterr().out == "hello\nx = 3.0\nx = 4.0\n"


def test_what_a_graph_closes_over_is_handed_over_at_each_call(xp: Any) -> None:
    w = jnp.ones(3)
    f = gradkit.jit(lambda x: x + w)
    assert array(f(jnp.ones(3))).tolist() == [2.0] * 3
    (program,) = f._programs.by_signature.values()
    assert [c.data is w.data for c in program.constants] == [True]
    assert gradkit.jit(lambda x: x * jnp.asarray(2.0)).trace(1.0).jaxpr.consts == []  # numbers are part of the graph


def test_what_is_closed_over_is_one_constant_however_often_it_is_transposed(xp: Any) -> None:
    numbers = np.sin(np.arange(24.0)).astype("float32").reshape(2, 3, 4)
    given, w = xp.asarray(numbers[0]), jnp.asarray(xp.asarray(numbers[1].T.copy()))
    cube = jnp.asarray(xp.asarray(numbers))

    def f(x: Any) -> Any:
        for _ in range(3):
            x = (x @ w) @ w.T
        return x, jnp.transpose(cube, (2, 0, 1)) * 2, cube.T + cube.T, cube[:, ::-1].T, cube

    closed = gradkit.make_jaxpr(f)(given)
    if gradkit.default_backend() == "numpy":
        assert sorted(x.shape for x in closed.consts) == [(2, 3, 4), (4, 2, 3), (4, 3)]
    x, w_ = numbers[0], numbers[1].T
    expected = x @ w_ @ w_.T @ w_ @ w_.T @ w_ @ w_.T, numbers.transpose(2, 0, 1) * 2, 2 * numbers.T, numbers[:, ::-1].T
    for _ in range(2):
        for out, wanted in zip(gradkit.jit(f)(given), (*expected, numbers), strict=True):
            np.testing.assert_allclose(np.asarray(gradkit.device_get(out)), wanted, rtol=1e-4)


@pytest.mark.parametrize("shape", [(3,), ()])
@pytest.mark.parametrize("use", [lambda x, c: x + c, lambda x, c: x + jnp.sin(jnp.asarray(c)), lambda x, c: c])
def test_a_program_keeps_the_value_of_what_it_closes_over(xp: Any, use: Any, shape: tuple[int, ...]) -> None:
    def by_memory(c: Any) -> None:
        c[...] = 7

    def by_items(c: Any) -> None:
        with gradkit.item_assignment():
            c[...] = 7

    def by_value(c: Any) -> None:
        c.data = jnp.full_like(c, 7).data

    ones, x = np.ones(shape, np.float32), jnp.zeros(shape)
    of_numpy = [(ones.copy(), by_memory), (np.ones((2, *shape), np.float32)[0, ...], by_memory)]
    is_numpy = type(jnp.zeros(1).data) is np.ndarray
    for c, change in [*(of_numpy if is_numpy else ()), (jnp.asarray(ones), by_items), (jnp.asarray(ones), by_value)]:
        f = gradkit.jit(lambda x, c=c: use(x, c))
        slope = gradkit.jit(gradkit.grad(lambda x, f=f: jnp.sum(f(x) ** 2)))
        before = array(f(x)), array(slope(x))
        change(c)
        assert np.array_equal(array(f(x)), before[0])
        assert np.array_equal(array(slope(x)), before[1])


def test_memory_that_nobody_can_write_is_closed_over_without_a_copy(tmp_path: Any) -> None:
    with gradkit.use_backend("numpy"):
        np.save(tmp_path / "table.npy", np.ones(3, np.float32))
        table = np.load(tmp_path / "table.npy", mmap_mode="r")
        f = gradkit.jit(lambda x: x + jnp.asarray(table))
        f(jnp.zeros(3))
        (program,) = f._programs.by_signature.values()
        assert np.shares_memory(program.constants[0].data, table)


def test_results_are_never_memory_that_the_program_keeps(xp: Any) -> None:
    f = gradkit.jit(lambda x: (jnp.zeros(2), x, x, jnp.asarray(1.0)))
    first = f(jnp.ones(2))
    first[0].data += 5.0
    second = f(jnp.ones(2))
    assert array(second[0]).tolist() == [0.0, 0.0]
    assert second[1] is not second[2]


def test_a_cache_that_is_cleared_captures_anew(xp: Any) -> None:
    f = Counting(lambda x: x)
    g = gradkit.jit(f)
    g(1.0), g.clear_cache(), g(1.0)
    assert f.count == 2
    gradkit.clear_caches()
    g(1.0)
    assert f.count == 3
    assert g._cache_size() == 1


def test_programs_die_with_the_function(xp: Any) -> None:
    def make() -> Any:
        w = jnp.ones(1000)

        def f(x: Any) -> Any:
            return jnp.sum(w * x)

        g = gradkit.jit(f)
        gradkit.grad(g)(2.0)
        (program,) = g._programs.by_signature.values()
        return weakref.ref(program.graph), weakref.ref(w)

    references = make()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_threads_capture_once_and_each_gets_its_own_result(xp: Any) -> None:
    def slow(x: Any) -> Any:
        time.sleep(0.02)
        return jnp.sin(x) * 2

    f = Counting(slow)
    g = gradkit.jit(f)
    results: dict[int, Any] = {}
    barrier = threading.Barrier(8)

    def work(i: int) -> None:
        barrier.wait()
        for k in range(20):
            results[i, k] = g(jnp.full((3,), float(i + k)))

    backend = gradkit.current_backend().name

    def with_backend(i: int) -> None:
        with gradkit.use_backend(backend):
            work(i)

    threads = [threading.Thread(target=with_backend, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert f.count == 1
    assert len(results) == 160
    for (i, k), result in results.items():
        assert np.allclose(array(result), 2 * np.sin(i + k), rtol=1e-5)


# Weak numbers

WEAK: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "product": lambda m, n, x, s: x * s,
    "function": lambda m, n, x, s: x * n.sin(s),
    "negative": lambda m, n, x, s: x * -s,
    "arithmetic": lambda m, n, x, s: (s * 2 + 1.0) * x,
    "astype": lambda m, n, x, s: x * s.astype("float32"),
    "asarray with a dtype": lambda m, n, x, s: x * n.asarray(s, "float32"),
    "where": lambda m, n, x, s: n.where(x > 0, x, s),
    "maximum": lambda m, n, x, s: n.maximum(x, s),
    "set": lambda m, n, x, s: x.at[0].set(s),
    "stack": lambda m, n, x, s: n.stack([x[0], s]) * x[0],
    "concatenate": lambda m, n, x, s: n.concatenate([x, s[None]]),
    "sum": lambda m, n, x, s: n.sum(s) * x,
    "power": lambda m, n, x, s: x**s,
    "cond": lambda m, n, x, s: m.lax.cond(s > 1, lambda s: x * s, lambda s: x - s, s),
    "carry of a scan": lambda m, n, x, s: m.lax.scan(lambda c, y: (c * y, None), s, x)[0],
    "carry of a loop": lambda m, n, x, s: m.lax.fori_loop(0, 3, lambda i, c: c * x[0], s),
    "grad": lambda m, n, x, s: m.grad(lambda s: n.sum(x * s))(s),
    "vmap": lambda m, n, x, s: m.vmap(lambda y: y * s)(x),
    "inner jit": lambda m, n, x, s: m.jit(lambda y, t: y * t)(x, s * 2),
    "clip": lambda m, n, x, s: n.clip(x, 0, s),
    "a whole number": lambda m, n, x, s: n.asarray([1, 2, 3], "int8") * s,
}


@pytest.mark.parametrize("name, number", [(n, k) for n in WEAK for k in (2.0, 2) if (n, k) != ("grad", 2)])
def test_a_python_number_gives_way_to_the_dtype_it_meets_as_in_jax(name: str, number: Any) -> None:
    def result(m: Any, n: Any) -> Any:
        return m.jit(lambda x, s: WEAK[name](m, n, x, s))(n.ones(3, "float16"), number)

    assert result(gradkit, jnp).dtype == jaxs(lambda: result(jax, jax.numpy)).dtype


# Under transforms

PROGRAMS = {
    "smooth": [("sin", 0, 0), ("multiply", 0, 1), ("matmul", 2, 1), ("tanh", 3, 0)],
    "with kinks": [("where", 0, 0), ("max", 1, 0), ("set", 1, 2), ("take", 3, 0), ("var", 4, 3)],
}
STACKS = [
    stack for length in (1, 2, 3) for stack in itertools.product(sorted(TRANSFORMS), repeat=length) if "jit" in stack
]


def of_stack(program: str, stack: Any, counting: bool = False) -> Any:
    f = function_of(PROGRAMS[program], jnp)
    f = counted = Counting(f)
    for name in stack:
        f = TRANSFORMS[name](gradkit, jnp, f)
    return (f, counted) if counting else f


def compare_stacks(program: str, stacks: Any) -> None:
    known: dict[Any, Any] = {}
    with gradkit.enable_x64():
        x = jnp.asarray(X)
        for stack in stacks:
            plain = tuple(name for name in stack if name != "jit")
            if plain not in known:
                known[plain] = array(of_stack(program, plain)(x))
            f = of_stack(program, stack)
            for _ in range(2):
                assert np.allclose(array(f(x)), known[plain], rtol=1e-10, atol=1e-12), stack


@pytest.mark.parametrize("program", PROGRAMS)
def test_stacks_of_transforms_with_jit_in_them_give_what_they_give_without(
    program: str, xp: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    compare_stacks(program, STACKS[:: 16 if program == "with kinks" else 11])


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
def test_all_stacks_of_three_transforms_give_what_they_give_without_jit(program: str, xp: Any) -> None:
    compare_stacks(program, STACKS)


@pytest.mark.parametrize("outer", ["grad", "jvp", "vmap", "linearize", "jacrev", "vjp", "checkpoint", "scan", "cond"])
@pytest.mark.parametrize("inner", ["grad", "jvp", "vmap", "jit"])
def test_a_function_that_is_jitted_first_is_captured_once_under_transforms(
    outer: str, inner: str, xp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")  # whatever runs the graph
    f, counted = of_stack("smooth", ("jit", inner, outer), counting=True)
    x = jnp.asarray(X)
    for _ in range(3):
        f(x)
    assert counted.count == 1


def test_rules_are_captured_once(xp: Any) -> None:
    count: list[str] = []

    @gradkit.custom_jvp
    def f(x: Any) -> Any:
        count.append("function")
        return jnp.sin(x)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        count.append("rule")
        return f(*primals), jnp.cos(primals[0]) * tangents[0]

    g = gradkit.grad(gradkit.jit(lambda x: f(x) * 2))
    for _ in range(3):
        assert abs(float(g(1.0)) - 2 * np.cos(1.0)) < 1e-6
    assert count.count("rule") == 1


def closures(m: Any, n: Any) -> Any:
    def program(x: Any) -> Any:
        def of(w: Any) -> Any:
            inner = m.jit(lambda y: n.sum(n.sin(y * w)))
            return m.grad(inner)(x) * w

        return (
            m.jacfwd(of)(x),
            m.jacrev(of)(x),
            m.vmap(of)(n.stack([x, x * 2])),
            m.jit(of)(x),
            m.hessian(lambda w: m.jit(lambda y: n.sum(y * w**3))(x))(x),
            m.jit(m.vmap(lambda w: m.jit(lambda y: y * w)(x)))(n.asarray([1.0, 2.0, 3.0])),
            m.jvp(lambda w: m.lax.scan(lambda c, s: (m.jit(lambda c: c * w)(c), s), w, x)[0], (x,), (x,)),
        )

    return program


def test_jitted_functions_may_close_over_what_transforms_follow(xp: Any) -> None:
    check_same(closures, X, tolerance=1e-9)


def rules(m: Any, n: Any) -> Any:
    @m.custom_vjp
    def clipped(x: Any) -> Any:
        return n.sin(x)

    clipped.defvjp(lambda x: (n.sin(x), x), lambda x, g: (n.clip(g, -0.5, 0.5) * n.cos(x),))

    @m.custom_jvp
    def doubled(x: Any) -> Any:
        return x * x

    doubled.defjvp(lambda p, t: (doubled(*p), 3.0 * p[0] * t[0]))

    def f(x: Any) -> Any:
        y = m.checkpoint(lambda x: n.tanh(clipped(x)) * 2)(doubled(x))
        y = m.lax.cond(y[0] > 0, lambda y: y * 2, lambda y: n.sin(y), y)
        y = m.lax.fori_loop(0, 3, lambda i, y: m.jit(lambda y: n.cos(y) + i)(y), y)
        return n.sum(m.lax.scan(lambda c, s: (c * s, c), n.sum(y), y)[1]) + n.sum(m.nn.softmax(y))

    g = m.jit(f)
    return lambda x: (
        g(x), m.grad(g)(x), m.jit(m.grad(g))(x), m.vmap(m.grad(g))(n.stack([x, 2 * x])), m.jit(m.value_and_grad(f))(x),
    )  # fmt: skip


def test_rules_checkpoints_and_control_flow_inside_give_jax_numbers(xp: Any) -> None:
    check_same(rules, X, tolerance=1e-7)


def test_a_checkpoint_inside_recomputes(xp: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.sin(jnp.sin(x))

    def sines(g: Any) -> int:
        return str(gradkit.make_jaxpr(gradkit.grad(g))(1.0)).count("= sin ")

    assert sines(gradkit.jit(lambda x: f(x) * 2.0)) == 2
    assert sines(gradkit.jit(lambda x: gradkit.checkpoint(f)(x) * 2.0)) > 2
    assert sines(gradkit.jit(lambda x: gradkit.checkpoint(gradkit.jit(f))(x) * 2.0)) > 2
    # A policy sees what is inside of a jitted function.
    named = gradkit.jit(lambda x: jnp.cos(gradkit.transforms.checkpoint_name(jnp.sin(x), "a")))
    for name, times in (("a", 2), ("b", 3)):  # the derivative of cos is a sine as well
        policy = gradkit.checkpoint_policies.save_only_these_names(name)
        assert sines(gradkit.checkpoint(named, policy=policy)) == times
    count: list[int] = []
    g = gradkit.jit(lambda x: gradkit.debug.callback(lambda: count.append(1)) or f(x))
    gradkit.grad(gradkit.checkpoint(g))(1.0)
    assert len(count) == 2


def test_axes_that_vmap_names_are_known_inside(xp: Any) -> None:
    f = gradkit.jit(lambda x: x / lax.psum(x, "i") + lax.psum(1, "i"))
    mean = gradkit.jit(lambda x: x / lax.psum(1, "i"))
    for size in (2, 3, 2):
        x = jnp.arange(1.0, size + 1.0)
        expected = array(x) / array(x).sum() + size
        assert np.allclose(array(gradkit.vmap(f, axis_name="i")(x)), expected, rtol=1e-6)
        assert np.allclose(array(gradkit.vmap(mean, axis_name="i")(x)), array(x) / size, rtol=1e-6)
        assert np.allclose(array(gradkit.jit(gradkit.vmap(f, axis_name="i"))(x)), expected, rtol=1e-6)


# The tape


def test_the_tape_differentiates_what_is_jitted(xp: Any) -> None:
    w = jnp.asarray([1.0, 2.0])
    w.requires_grad = True
    closed = jnp.asarray([0.5, -1.0])
    closed.requires_grad = True
    f = Counting(lambda w, x: jnp.sum(jnp.sin(w * x) * closed))
    g = gradkit.jit(f)
    for _ in range(2):
        w.grad = closed.grad = None
        g(w, jnp.asarray([3.0, 4.0])).backward()
        assert np.allclose(
            np.asarray(gradkit.device_get(jnp.asarray(w.grad))), np.cos([3.0, 8.0]) * [1.5, -4.0], rtol=1e-5
        )
        assert np.allclose(np.asarray(gradkit.device_get(jnp.asarray(closed.grad))), np.sin([3.0, 8.0]), rtol=1e-5)
    assert f.count == 1


def test_a_training_step_is_captured_once_and_keeps_no_tape(xp: Any) -> None:
    model = nn.MLP(3, [4, 1], key=gradkit.random.key(0))
    optimizer = gradkit.optim.SGD(0.1, momentum=0.9)

    def loss(model: Any, x: Any) -> Any:
        return jnp.mean(model(x) ** 2)

    def step(model: Any, state: Any, x: Any) -> Any:
        value, gradient = gradkit.value_and_grad(loss)(model, x)
        new, state = optimizer.update(model, gradient, state)
        return new, state, value

    x = jnp.ones((5, 3))
    expected, state = model, optimizer.init(model)
    for _ in range(3):
        expected, state, _ = step(expected, state, x)
    counted = Counting(step)
    jitted = gradkit.jit(counted)
    found, state = model, optimizer.init(model)
    for _ in range(3):
        found, state, value = jitted(found, state, x)
        assert not value.requires_grad
    assert counted.count == 1
    for a, b in zip(gradkit.tree.leaves(found), gradkit.tree.leaves(expected), strict=True):
        assert np.allclose(array(a), array(b), rtol=1e-5)
    gradkit.jit(loss)(model, x).backward()  # and this is recorded
    assert all(p.grad is not None for p in model.parameters())


def test_what_no_grad_hides_stays_hidden(xp: Any) -> None:
    @gradkit.jit
    def f(x: Any) -> Any:
        with gradkit.no_grad():
            hidden = x * 3.0
        return x * hidden

    x = jnp.asarray(2.0)
    x.requires_grad = True
    f(x).backward()
    assert float(x.grad) == 6.0
    assert float(gradkit.grad(f)(2.0)) == 12.0


# Errors, in JAX's words


@pytest.mark.parametrize(
    "function, error",
    [
        (lambda x: 1.0 if x > 0 else 2.0, TracerBoolConversionError),
        (lambda x: float(x), ConcretizationTypeError),
        (lambda x: x.item(), ConcretizationTypeError),
        (lambda x: np.asarray(x), TypeError),
        (lambda x: jnp.zeros(x), TypeError),
        (lambda x: range(x), TypeError),
        (lambda x: jnp.nonzero(jnp.stack([x, x])), ConcretizationTypeError),
        (lambda x: jnp.stack([x, x])[jnp.stack([x, x]) > 0], IndexError),
        (lambda x: "text", TypeError),
    ],
)
def test_what_needs_values_is_jax_s_error(function: Any, error: Any, xp: Any) -> None:
    with pytest.raises(error) as info:
        gradkit.jit(function)(1)
    theirs = {"jnp": jax.numpy}
    with pytest.raises(Exception) as expected:  # noqa: PT011
        jax.jit(type(function)(function.__code__, {**globals(), **theirs}))(1)
    assert {c.__name__ for c in type(expected.value).__mro__} & {type(info.value).__name__, "TypeError", "IndexError"}


def test_a_tracer_that_leaks_is_an_error(xp: Any) -> None:
    leaked: list[Any] = []
    gradkit.jit(lambda x: leaked.append(x) or x)(1.0)
    with pytest.raises(UnexpectedTracerError):
        leaked[0] + 1
    with pytest.raises(UnexpectedTracerError):
        gradkit.jit(lambda y: y + leaked[0])(1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.jit(lambda x: x, static_argnums=0)([1]),
        lambda m: m.jit(lambda x: x, static_argnums=3),
        lambda m: m.jit(lambda x: x, static_argnames="z"),
        lambda m: m.jit(lambda x: x, donate_argnames="z"),
        lambda m: m.jit(lambda x: x, static_argnums=0, donate_argnums=0),
        lambda m: m.jit(lambda x: x, static_argnums="a"),
        lambda m: m.jit(3),
        lambda m: m.jit(lambda x: x)("a"),
        lambda m: m.jit(lambda x: x)(m.ShapeDtypeStruct((3,), "float32")),
    ],
)
def test_mistakes_raise_what_jax_raises(make: Any, xp: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        make(jax)
    with pytest.raises(type(theirs.value)):
        make(gradkit)


def test_an_error_while_capturing_leaves_nothing_behind(xp: Any) -> None:
    fail = [True]

    @gradkit.jit
    def f(x: Any) -> Any:
        if fail[0]:
            raise ValueError("no")
        return x

    with pytest.raises(ValueError, match="no"):
        f(1.0)
    fail[0] = False
    assert float(f(1.0)) == 1.0


# Donated arguments


def test_a_donated_argument_is_deleted_where_a_result_is_like_it(xp: Any) -> None:
    f = gradkit.jit(lambda x, y: (x + y, jnp.sum(x)), donate_argnums=0)
    x, y = jnp.ones(3), jnp.ones(3)
    assert array(f(x, y)[0]).tolist() == [2.0] * 3
    assert x.is_deleted()
    assert not y.is_deleted()
    assert x.shape == (3,)
    assert x.dtype == "float32"
    for use in (
        lambda: x + 1,
        lambda: x[0],
        lambda: print(x),
        lambda: f(x, y),
        lambda: x.data,
        lambda: jnp.stack([y, x]),
    ):
        with pytest.raises(RuntimeError, match=r"Array has been deleted with shape=float32\[3\]"):
            use()
    with pytest.raises(ValueError, match="donated"):
        f(y, y)


def test_what_no_result_is_like_is_not_deleted_and_a_warning_says_so(xp: Any) -> None:
    x = jnp.ones(3)
    with pytest.warns(UserWarning, match="donated buffers were not usable"):
        gradkit.jit(lambda x: jnp.sum(x), donate_argnums=0)(x)
    assert not x.is_deleted()


def test_views_of_a_donated_argument_keep_their_values(xp: Any) -> None:
    update = gradkit.jit(lambda x: x * 2, donate_argnums=0)
    for _ in range(3):  # what runs a program is another thing from the second call on
        for view in (lambda x: x[1:], lambda x: x.reshape(2, 2)):
            x = jnp.arange(4.0) * 1
            seen = view(x)
            update(x)
            np.testing.assert_array_equal(array(seen), view(np.arange(4.0)))
            x = jnp.arange(4.0) * 1
            update(view(x))
            assert array(x).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_donated_arguments_memory_is_taken_from_the_first_call_on_and_where_shapes_take_turns() -> None:
    with gradkit.use_backend("numpy"):
        update = gradkit.jit(lambda x: x * 2 + 1, donate_argnums=0)
        for size in (30, 20, 30, 20, 20):
            x = jnp.ones(size) * 1
            address = x.data.ctypes.data
            assert update(x).data.ctypes.data == address


def test_under_a_transform_nothing_is_deleted(xp: Any) -> None:
    f = gradkit.jit(lambda x: x * 2, donate_argnames="x")
    x = jnp.ones(3)
    gradkit.grad(lambda x: jnp.sum(f(x)))(x)
    assert not x.is_deleted()


# The faces


def test_options_methods_partials_and_objects(xp: Any) -> None:
    @functools.partial(gradkit.jit, static_argnames="n")
    def repeated(x: Any, n: int = 2) -> Any:
        return jnp.stack([x] * n)

    assert repeated(1.0, n=3).shape == (3,)
    assert repeated(1.0).shape == (2,)
    assert repeated.__name__ == "repeated"
    assert repr(repeated).startswith("<PjitFunction of <function")

    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @functools.partial(gradkit.jit, static_argnums=0)
        def __call__(self, x: Any) -> Any:
            return x * self.factor

        @functools.partial(gradkit.jit, static_argnums=0)
        def twice(self, x: Any) -> Any:
            return 2 * x * self.factor

    assert float(Scale(3.0)(2.0)) == 6.0
    assert float(Scale(3.0).twice(2.0)) == 12.0
    assert float(gradkit.jit(Scale(4.0))(2.0)) == 8.0
    assert float(gradkit.jit(functools.partial(lambda a, b: a * b, 3.0))(2.0)) == 6.0
    assert gradkit.jit(lambda: None)() is None
    assert gradkit.jit(lambda x: {})(1) == {}
    assert weakref.ref(repeated)() is repeated


@gradkit.jit
def of_module(x: Any) -> Any:
    return x + 1


def test_a_jitted_function_is_pickled_and_copied(xp: Any) -> None:
    assert of_module.__reduce__() == "of_module"  # pickled by its name, as a function is
    assert copy.deepcopy(of_module) is of_module
    assert float(copy.copy(gradkit.jit(operator.neg))(2.0)) == -2.0


def test_stages_have_jax_s_names(xp: Any) -> None:
    def make(m: Any, n: Any) -> Any:
        return m.jit(lambda x, n, *, k=1.0: {"a": x * n * k}, static_argnums=1).trace(n.ones(3), 2, k=3.0)

    ours = make(gradkit, jnp)
    with usual_widths():
        theirs = make(jax, jax.numpy)
    assert str(ours.in_tree) == str(theirs.in_tree)
    assert str(ours.out_tree) == str(theirs.out_tree)
    assert ours.fun_name == theirs.fun_name
    lowered = ours.lower()
    assert "mul" in lowered.as_text()
    assert lowered.cost_analysis()["flops"] == 6.0
    compiled = lowered.compile()
    with usual_widths():
        expected = theirs.lower().compile().memory_analysis().argument_size_in_bytes
    assert compiled.memory_analysis().argument_size_in_bytes == expected
    assert ours.fun_name == lowered.fun_name == compiled.fun_name == "<lambda>"
    assert compiled.argument_names == ["x", "k"]
    assert array(compiled(jnp.ones(3), k=2.0)["a"]).tolist() == [4.0] * 3
    for call, words in (
        (lambda: compiled(jnp.ones(3), 2, k=2.0), "does not match"),
        (lambda: compiled(jnp.ones(3), k=jnp.ones(2)), "Argument 'k' compiled with"),
        (
            lambda: gradkit.grad(lambda x: compiled(x, k=1.0)["a"].sum())(jnp.ones(3)),
            "Cannot apply JAX transformations",
        ),
    ):
        with pytest.raises(TypeError, match=words):
            call()


def test_memory_has_all_fields_of_jax_s() -> None:
    jitted = {name: m.jit(lambda x, y: x * y + 1, donate_argnums=0) for name, m in (("ours", gradkit), ("theirs", jax))}
    ours = jitted["ours"].lower(jnp.ones(4), jnp.ones(4)).compile().memory_analysis()
    theirs = jitted["theirs"].lower(np.ones(4, "float32"), np.ones(4, "float32")).compile().memory_analysis()
    fields = {name for name in dir(theirs) if name.endswith("_in_bytes")}
    assert fields == {name for name in dir(ours) if name.endswith("_in_bytes")}
    for name in fields - {"generated_code_size_in_bytes", "peak_memory_in_bytes"}:
        assert getattr(ours, name) == getattr(theirs, name), name


def test_the_size_of_code_is_known_from_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    from gradkit_numpy.native import object_code

    monkeypatch.setattr(object_code, "folder", lambda: tmp_path)
    monkeypatch.setenv("GRADKIT_COMPILER", "native")
    sizes = []
    for _ in range(2):
        gradkit.clear_caches()
        with gradkit.use_backend("numpy"):
            compiled = gradkit.jit(lambda x: jnp.sin(x) + 1).lower(jnp.ones(4)).compile()
        sizes.append(compiled.memory_analysis().generated_code_size_in_bytes)
    (file,) = tmp_path.iterdir()
    assert sizes[0] == sizes[1]
    assert 0 < file.stat().st_size - sizes[0] < 100  # a checksum and its like


def test_shapes_are_enough_to_lower(xp: Any) -> None:
    f = gradkit.jit(lambda x: (x @ x.T, jnp.sin(x)))
    shape = gradkit.ShapeDtypeStruct((3, 4), "float32")
    assert f.eval_shape(shape)[0].shape == (3, 3) == gradkit.eval_shape(f, shape)[0].shape
    cost = f.lower(shape).cost_analysis()
    assert cost["flops"] == 2 * 3 * 4 * 3
    assert cost["transcendentals"] == 12
    assert array(f.lower(shape).compile()(jnp.ones((3, 4)))[0]).tolist() == [[4.0] * 3] * 3


PRINTED: dict[str, Callable[[Any, Any], Any]] = {
    "a call": lambda m, n: m.jit(lambda x, y: (n.sin(x) * y, {"a": x})),
    "a call among others": lambda m, n: lambda x, y: m.jit(lambda z: n.cos(z))(n.sin(x)) * y,
    "arguments twice": lambda m, n: lambda x, y: m.jit(lambda a, b: a * b)(x, x),
    "inline": lambda m, n: lambda x, y: m.jit(lambda z: n.cos(z) * z, inline=True)(n.sin(x)),
    "vmap": lambda m, n: m.vmap(m.jit(lambda x, y: n.sin(x) * y)),
    "jit of grad": lambda m, n: m.jit(m.grad(lambda x, y: n.sum(x * y))),
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_call_in_a_graph_prints_as_in_jax(name: str) -> None:
    ours = str(gradkit.make_jaxpr(PRINTED[name](gradkit, jnp))(jnp.ones(3), jnp.ones(3)))
    theirs = str(jax.make_jaxpr(PRINTED[name](jax, jax.numpy))(jax.numpy.ones(3), jax.numpy.ones(3)))
    if name == "jit of grad":  # the equations of the derivative are gradkit's own
        ours, theirs = ours[:60], theirs[:60]
    assert ours == theirs


def test_disable_jit_runs_the_function(xp: Any) -> None:
    f = Counting(lambda x: x if x > 0 else -x)
    g = gradkit.jit(f)
    with gradkit.disable_jit():
        assert float(g(jnp.asarray(-2.0))) == 2.0
        g(jnp.asarray(-2.0))
    assert f.count == 2
    with pytest.raises(TracerBoolConversionError):
        g(jnp.asarray(-2.0))


def test_the_log_says_what_is_compiled_and_what_is_new() -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("gradkit.jit").addHandler(handler)
    f = gradkit.jit(lambda x, n=1: x * n, static_argnames="n")
    f(jnp.ones(2))
    assert not lines
    gradkit.config.update("jax_log_compiles", True)
    try:
        f(jnp.ones(3)), f(jnp.ones(3)), f(jnp.ones(3), n=2)
        with gradkit.enable_x64():
            f(jnp.ones(3, "float32"))
    finally:
        gradkit.config.update("jax_log_compiles", False)
        logging.getLogger("gradkit.jit").removeHandler(handler)
    text = "\n".join(lines)
    assert "at x, now f32[3] and before f32[2]" in text
    assert "static arguments are now n: 2 and before none" in text
    assert "jax_enable_x64 is now True and before False" in text
    assert text.count("Finished tracing") == 3 == text.count("Finished compilation")


def test_a_hit_costs_microseconds() -> None:
    xs = [jnp.ones(3) for _ in range(10)]
    f = gradkit.jit(lambda *args: args[0] + 1)
    f(*xs)
    (program,) = f._programs.by_signature.values()

    def nothing(arrays: Any) -> Any:
        return [xs[0]]

    nothing.if_it_fits = None
    f._programs.latest, program._run = None, nothing
    times = []
    for _ in range(7):
        begin = time.process_time()
        for _ in range(2000):
            f(*xs)
        times.append((time.process_time() - begin) / 2000)
    assert min(times) < 12e-6  # 3 on a quiet machine


def test_float0_goes_in_and_out(xp: Any) -> None:
    f = gradkit.jit(gradkit.grad(lambda i, x: x * i, (0, 1), allow_int=True))
    zero, gradient = f(jnp.asarray(3), 2.0)
    assert zero.dtype == gradkit.dtypes.float0
    assert float(gradient) == 3.0
    g = gradkit.jit(lambda i, t: gradkit.jvp(lambda i: i * 2, (i,), (t,))[0])
    assert int(g(jnp.asarray(3), zero)) == 6


def test_results_may_have_no_elements(xp: Any) -> None:
    f = gradkit.jit(lambda x: [x[:3] * 2, x[3:], jnp.array_split(x, (3,)), jnp.broadcast_to(x, (0, 3))])
    for _ in range(2):
        assert [leaf.shape for leaf in gradkit.tree.leaves(f(jnp.ones(3)))] == [(3,), (0,), (3,), (0,), (0, 3)]


def test_nan_is_found_inside(xp: Any) -> None:
    f = gradkit.jit(lambda x: jnp.max(jnp.log(-x)))
    around = gradkit.jit(lambda x: f(x) * 2)
    with np.errstate(all="ignore"):
        for g in (f, around):
            assert np.isnan(array(g(jnp.ones(3))))
            with gradkit.debug_nans(), pytest.raises(FloatingPointError, match="encountered in log"):
                g(jnp.ones(3))


NUMBERS: list[Any] = [2, 2.5, True, 3, np.float32(1.5), np.int32(4), np.arange(3.0, dtype=np.float32), np.arange(3)]
LEFTS = [
    np.arange(6, dtype=np.int32).reshape(2, 3),
    np.ones((2, 3), np.float32),
    np.arange(6, dtype=np.float32).reshape(3, 2).T,
    np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
    np.ones((1, 3), np.float32),
]


def test_calls_that_follow_each_other_differ_in_the_kinds_of_their_arguments() -> None:
    with gradkit.use_backend("numpy"):
        f = gradkit.jit(lambda x, s: {"product": x * s, "turned": x.T + 1})
        calls = [(make(x), s) for s in NUMBERS for x in LEFTS for make in (jnp.asarray, np.asarray)]
        calls += [(jnp.asarray(x), jnp.asarray(s)) for s in NUMBERS[:3] for x in LEFTS]
        for i in np.random.default_rng(0).permutation(len(calls)).repeat(3):  # each is like the one before it, twice
            x, s = calls[i]
            found, expected = f(x, s), f.__wrapped__(jnp.asarray(x), s)
            for name, value in expected.items():
                assert found[name].dtype == value.dtype
                np.testing.assert_allclose(np.asarray(found[name]), np.asarray(value), 1e-6)


def test_a_donated_argument_is_deleted_whichever_way_a_call_takes() -> None:
    with gradkit.use_backend("numpy"):
        f = gradkit.jit(lambda p, s: (p - s, p.sum()), donate_argnums=0)
        turned = np.arange(6, dtype=np.float32).reshape(3, 2).T
        for s in (jnp.asarray(2.0), 0.5, np.float32(1), jnp.asarray(2.0), jnp.asarray(1, "int32"), 0.5):
            for raw in (np.ones((2, 3), np.float32), turned, np.arange(6, dtype=np.float32).reshape(2, 3)) * 2:
                p = jnp.asarray(raw.copy("K"))
                found, total = f(p, s)
                np.testing.assert_allclose(np.asarray(found), raw - np.asarray(s), 1e-6)
                np.testing.assert_allclose(float(total), raw.sum(), 1e-6)
                with pytest.raises(RuntimeError, match="deleted"):
                    f(p, s)
                with pytest.raises(RuntimeError, match="deleted"):
                    np.asarray(p)
        kept = jnp.ones(3)
        with pytest.raises(TypeError):
            f(kept, "a word")
        assert float(kept.sum()) == 3


def test_calls_with_a_modules_parameters_are_known_by_their_shapes_and_are_on_the_tape_or_not(xp: Any) -> None:
    model, other = (nn.MLP(2, [3, 1], key=gradkit.random.key(i)) for i in range(2))
    x = jnp.asarray(xp.asarray(np.sin(np.arange(8.0)).reshape(4, 2).astype("float32")))
    count = Counting(lambda model, x, factor: model(x * factor))
    predict = gradkit.jit(count)

    def gradients(model: Any, call: Any) -> list[Any]:
        model.zero_grad()
        call(model, x, 2.0).sum().backward()
        return [array(p.grad) for p in model.parameters()]

    for _ in range(3):
        for each in (model, other):
            expected = gradients(each, lambda model, x, factor: model(x * factor))
            for found, wanted in zip(gradients(each, predict), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
            with gradkit.no_grad():
                out = predict(each, x, 2.0)
            assert not out.requires_grad
            np.testing.assert_allclose(array(out), array(each(x * 2.0)), rtol=1e-5)
    assert count.count == 1
    tracked = x * 1.0
    tracked.requires_grad = True  # no parameter
    predict(model, tracked, 2.0).sum().backward()
    assert tracked.grad is not None


def test_a_function_is_captured_for_each_device_of_its_arguments() -> None:
    first, second, _ = gradkit.devices("strict")
    jitted = gradkit.jit(lambda x: x * 2 + jnp.arange(3.0, device=x.device))  # which the program keeps
    for device in (first, first, second, first, second):
        x = gradkit.device_put(jnp.ones(3), device)
        found = jitted(x)
        assert found.device == device
        assert found.tolist() == [2.0, 3.0, 4.0]
