"""`jit`: captured once for each signature, then a program; numbers that give way; JAX's errors."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from counting import Counting
from references import jaxs

import gradkit
import gradkit.numpy as jnp
from gradkit import nn
from gradkit.errors import ConcretizationTypeError, TracerBoolConversionError, UnexpectedTracerError
from gradkit.experimental import io_callback

X = np.asarray([0.3, -0.8, 1.2])


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
