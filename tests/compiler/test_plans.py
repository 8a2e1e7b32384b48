"""Plans: what each printer makes of a program gives what the program gives."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest
from references import jaxs

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn, random
from gradkit.backend import get_backend
from gradkit.backend.plan import Buffer
from gradkit.compiler.executables import Executable, executable_of

PRINTERS = [printer.name for printer in get_backend("numpy").printers]
X = np.sin(np.arange(1.0, 31.0)).reshape(5, 6).astype("float32")
INDICES = np.asarray([1, 0, 3, 1, 4])
KEY = np.asarray([0, 3], np.uint32)


def elementwise(x: Any) -> Any:
    return jnp.exp(x) * 2 + jnp.sin(x)[::-1], jnp.where(x > 0, x, -x), jnp.sign(x) * jnp.round(3 * x), x**3


def views(x: Any) -> Any:
    parts = x.T @ x, x.reshape(6, 5) * 2, x[1:, ::-2], x[None, 2] + x, x.T.reshape(-1), x.T
    return *parts, jnp.concatenate([x, x * 2], axis=1), jnp.stack([x[0], x[1]]), jnp.squeeze(x[:, 2:3]) + x[:, 0]


def reductions(x: Any) -> Any:
    cube = x.reshape(5, 2, 3)
    sums = x.sum(), x.sum(0), x.sum(1), cube.sum((0, 2)), cube.sum(1, keepdims=True) * cube, x.mean(0)
    return *sums, x.max(1), x.min(), (x > 0).any(0), (x > 0).all(), x.prod(1), (x > 0).sum(), x.var(0), x.std()


def casts(x: Any) -> Any:
    whole = jnp.arange(-6, 6)
    floats = x.astype("int32"), (3 * x).astype("int8"), (x > 0) * x, (x > 0).astype("int32").sum(), x.astype("float64")
    return *floats, whole // 4 + whole % 4, -whole // -5, whole >> 1, whole << 2, whole ^ 5, ~whole, abs(whole)


def updates(x: Any, i: Any) -> Any:
    taken = x[i], x[:, i], jnp.take_along_axis(x, i[:, None], axis=1), jnp.sin(x)[i] * 2
    added = x.at[i].add(2.0), x.at[:, i].set(x[:, :5]), x.at[i].max(x), x.at[i].multiply(3.0)
    return *taken, *added, x.at[0].set(1.0), x.at[1:3, ::2].add(1.0), jnp.pad(x, 1)


def products(x: Any) -> Any:
    cube = x.reshape(5, 2, 3)
    batches = jnp.einsum("bij,bkj->bik", cube, cube), cube @ jnp.swapaxes(cube, 1, 2)[0], jnp.einsum("ij,ij->i", x, x)
    vectors = x @ x[0], x.T @ x[:, 0], jnp.outer(x[0], x[1]), x[0] @ x[1]
    return *batches, *vectors, x[:, ::2] @ x[:, ::2].T, x - 0.5 * (x @ (x.T @ x)), (x.T @ x) @ x.T


def large_products(x: Any) -> Any:
    big = jnp.concatenate([x.T @ x] * 12, axis=0) @ jnp.concatenate([x.T] * 12, axis=1)
    return (
        big @ big.T,
        big.T @ big,
        big - 0.01 * (big.T[:60].T @ big[:60]) if big.shape[0] == 60 else big @ big[:60, :].T,
    )


def network(x: Any) -> Any:
    def loss(w: Any) -> Any:
        return jnp.mean((jnp.tanh(x @ w + w[0]) @ w.T - x) ** 2)

    value, slope = gradkit.value_and_grad(loss)(x.T[:, :4])
    return value, x.T[:, :4] - 0.1 * slope


def activations(x: Any) -> Any:
    names = "relu gelu silu softplus sigmoid elu log_softmax softmax leaky_relu".split()
    return [getattr(nn, name)(x) for name in names]


def losses(x: Any, i: Any) -> Any:
    return gradkit.value_and_grad(lambda x: nn.softmax_cross_entropy(x, i))(x), nn.one_hot(i, 6) * x


def scans(x: Any) -> Any:
    def turned(carry: Any, row: Any) -> Any:
        return (carry[1], jnp.tanh(carry[0] + row)), carry[0].sum()

    def kept(carry: Any, row: Any) -> Any:
        return jnp.tanh(carry + row), carry.sum()

    backwards = lax.scan(turned, (x[0], x[1]), x, reverse=True)
    slope = gradkit.grad(lambda x: lax.scan(kept, x[0], x)[1].sum())(x)
    return lax.scan(kept, x[0], x), backwards, slope, lax.scan(kept, x[0], x.T.reshape(5, 6)), lax.map(jnp.cumsum, x)


def loops(x: Any) -> Any:
    def going(state: Any) -> Any:
        return state[0] < 7

    inner = lax.fori_loop(0, 3, lambda i, c: lax.fori_loop(0, i, lambda j, d: d * 0.5 + j, c), x)
    return (
        lax.while_loop(going, lambda s: (s[0] + 2, s[1] * 2), (0, x)),
        lax.fori_loop(0, 3, lambda i, c: c * i + x, x),
        inner,
    )


def choices(x: Any) -> Any:
    def two(flag: Any) -> Any:
        return lax.cond(flag, lambda x: (x * 2, x.sum()), lambda x: (x, x[0, 0]), x)

    branches = [lambda x: x, lambda x: x + 1, lambda x: x * 3]
    which = (x[0, 0] > 0).astype("int32")
    return two(x[0, 0] > 0), two(x[0, 0] <= 0), lax.switch(which, branches, x), lax.switch(which + 5, branches, x)


def calls(x: Any) -> Any:
    square = x @ x.T + 5 * jnp.eye(5)
    solved = jnp.linalg.solve(square, x), jnp.linalg.cholesky(square), jnp.linalg.eigvalsh(square)
    return *solved, jnp.sort(x, axis=1) * 2, jnp.argsort(x[0]), jnp.cumsum(x, 0), jnp.argmax(x, 1), jnp.fft.fft(x[0])


def draws(key: Any) -> Any:
    numbers = random.uniform(key, (3, 4)), random.normal(key, (7,)), random.split(key, 3), random.bits(key, (3,))
    return *numbers, random.permutation(key, 7), random.fold_in(key, 4), random.randint(key, (5,), 0, 9)


def batches(x: Any) -> Any:
    outer = gradkit.vmap(lambda v: jnp.outer(v, v).sum(0) + jnp.where(v > 0, v, 0))(x)
    return outer, gradkit.hessian(lambda v: jnp.sum(jnp.tanh(v @ x.T) ** 2))(x[0]), gradkit.jacfwd(jnp.sin)(x[0])


def moving_starts(x: Any, i: Any) -> Any:
    start = i[0] + 1
    sliced = lax.dynamic_slice(x, (start, start), (3, 2)), lax.dynamic_index_in_dim(x, start, 0)
    return *sliced, lax.dynamic_update_slice(x, x[:2, :2] * 2, (start, start)), lax.dynamic_slice(x, (9, -1), (2, 2))


def same_results(x: Any) -> Any:
    y = x * 1.5
    return x, x, y, y, y.T, 3.0 * jnp.ones(3), jnp.zeros(2)


def nothing(x: Any) -> Any:
    sums = x[:0].sum(0), x[:0].sum(), x[:, :0].sum(1), x[:0].prod(0), x[:, :0] @ x[:0, :5].reshape(0, 5)
    inside = (
        lax.scan(lambda c, row: (c + row.sum(), row[:0]), x[0, 0], x),
        lax.scan(lambda c, r: (c + r, c), x[0], x[:0]),
    )
    chosen = lax.cond(x[0, 0] > 9, lambda x: x[:0], lambda x: x[:0] * 2, x)
    return *sums, x[:0], x[:0] * 2, jnp.concatenate([x[:0], x]), x[:0].at[:, 0].set(1.0), *inside, chosen


def convolution(x: Any) -> Any:
    return lax.conv(x.reshape(1, 1, 5, 6), x[:2, :2].reshape(1, 1, 2, 2), (1, 1), "SAME"), jnp.convolve(x[0], x[1, :3])


def sums(x: Any) -> Any:
    cube = jnp.stack([x, x * x, -x])
    turned = (x * 2.0).T
    return (
        [jnp.sum(cube * cube, axis) for axis in (0, 1, 2, (0, 1), (1, 2), (0, 2), None)],
        [jnp.sum(turned + 1, axis, keepdims=True) for axis in (0, 1, None)],
        jnp.sum(x.T, 0),
        jnp.sum(x + jnp.inf, 1),
        jnp.sum(jnp.broadcast_to(x[:1], x.shape) * 3, 1),
        jnp.sum(x > 0, 0),
    )


def sums_of_many(x: Any) -> Any:
    many = jnp.arange(30_000.0).reshape(3, 10_000) * x[0, 0]
    return jnp.sum(many * 2, 1), jnp.sum(many * many * 1e-9), jnp.sum(many + 1, 0)[:5]


def saturated_slopes(x: Any, y: Any) -> Any:
    far = jnp.concatenate([x * 10, jnp.full((1, 6), jnp.nan), jnp.zeros((1, 6))])
    slopes = [gradkit.grad(lambda x, f=f: f(x).sum())(far) for f in (jnp.tanh, gradkit.nn.sigmoid)]
    return slopes, gradkit.grad(lambda x: (jnp.tanh(x[:, None]) * y).sum())(x[:, 0])


def chains(x: Any, y: Any) -> Any:
    a = x - y
    b = a * x
    c = jnp.where(b > 0, b - a, y)
    d = (x - 2.0 * y) * (c + 1.0)
    return c, d, (0.5 * d).T, x + 0.1 * (d - c)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    function.__name__: (function, arguments)
    for function, arguments in [
        (elementwise, (X,)),
        (views, (X,)),
        (reductions, (X,)),
        (casts, (X,)),
        (updates, (X, INDICES)),
        (products, (X,)),
        (large_products, (X,)),
        (network, (X,)),
        (activations, (X,)),
        (losses, (X, INDICES)),
        (scans, (X,)),
        (loops, (X,)),
        (choices, (X,)),
        (calls, (X,)),
        (draws, (KEY,)),
        (batches, (X,)),
        (moving_starts, (X, INDICES)),
        (same_results, (X,)),
        (nothing, (X,)),
        (convolution, (X,)),
        (sums, (X,)),
        (sums_of_many, (X,)),
        (saturated_slopes, (X, X[::-1])),
        (chains, (X, X[::-1])),
    ]
}


def executable(function: Callable[..., Any], arguments: Any) -> tuple[Executable, list[Any]]:
    captured = gradkit.make_jaxpr(function)(*arguments).jaxpr
    return executable_of(captured), [constant for _, constant in captured.constants]


@pytest.mark.parametrize("printer", [*PRINTERS, "interpreter"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_printer_gives_what_the_program_gives(name: str, printer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if printer == "native":
        reason = get_backend("numpy").printers[0].why_unusable()
        if reason:
            pytest.skip(reason)
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    with gradkit.use_backend("numpy"):
        function, given = PROGRAMS[name]
        arguments = [jnp.asarray(x) for x in given]
        run, constants = executable(function, arguments)
        assert run.printer == printer
        for _ in range(2):  # the second time in memory of the first
            found = run([*constants, *arguments])
            expected = gradkit.tree.leaves(function(*arguments))
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                tolerance = 5e-5 if one.dtype.kind in "fc" else 0
                np.testing.assert_allclose(np.asarray(one), np.asarray(other), tolerance, tolerance)


def test_arguments_of_any_layout_are_read_right() -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        run, _ = executable(lambda x: (x * 2, x.sum(0)), [x])
        turned = np.asfortranarray(X)
        spread = np.zeros((10, 12), np.float32)[::2, ::2]
        spread[...] = X
        swapped = X.astype(">f4")
        unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(5, 6)
        for raw in (turned, spread, swapped, unaligned):
            found = run([gradkit.Array(raw)])
            np.testing.assert_array_equal(np.asarray(found[0]), X * 2)
            np.testing.assert_allclose(np.asarray(found[1]), X.sum(0), 1e-6)


def test_results_that_are_held_are_not_written_over() -> None:
    with gradkit.use_backend("numpy"):
        run, _ = executable(lambda x: x + 1, [jnp.asarray(X)])
        kept = [run([jnp.asarray(X * i)])[0] for i in range(5)]
        views = [np.asarray(run([jnp.asarray(X * i)])[0])[1:] for i in range(5)]
        for i in range(5):
            np.testing.assert_array_equal(np.asarray(kept[i]), X * i + 1)
            np.testing.assert_array_equal(views[i], (X * i + 1)[1:])


def test_what_becomes_a_result_is_in_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    with gradkit.use_backend("numpy"):
        x, w = jnp.asarray(X), jnp.asarray(X.T.copy() @ X)

        def chain(x: Any, w: Any) -> Any:
            gradient = jnp.sort(w - 0.1 * (x.T @ x))
            return gradient * 2 + w, jnp.sort(x)[::-1] * 3, x.sum(0) - 1

        run, _ = executable(chain, [x, w])
        plan = run.plan
        assert plan is not None
        inside = [b for b in plan.memory if b.kind == "temporary" and isinstance(plan.memory[b], Buffer)]
        assert {plan.memory[buffer] for buffer in inside} == {plan.results[0], plan.results[2]}
        for _ in range(2):
            for found, expected in zip(run([x, w]), chain(x, w), strict=True):
                np.testing.assert_allclose(np.asarray(found), np.asarray(expected), 1e-5)
        donating = executable_of(run.graph, donated=[1])
        assert donating.plan is not None
        assert plan.arena <= donating.plan.arena
        np.testing.assert_allclose(
            np.asarray(donating([x, jnp.asarray(np.array(w))])[0]), np.asarray(chain(x, w)[0]), 1e-5
        )


def test_a_donated_argument_gives_its_memory_to_a_result() -> None:
    with gradkit.use_backend("numpy"):
        x, y = jnp.asarray(X.copy()), jnp.asarray(X)
        captured = gradkit.make_jaxpr(lambda x, y: (x - 0.1 * y, (x * y).sum()))(x, y).jaxpr
        run = executable_of(captured, donated=[0])
        assert run.donated == (0,)
        address = np.asarray(x).ctypes.data
        found = run([x, y])
        assert np.asarray(found[0]).ctypes.data == address
        np.testing.assert_allclose(np.asarray(found[0]), X - 0.1 * X, 1e-6)
        np.testing.assert_allclose(np.asarray(found[1]), (X * X).sum(), 1e-6)


@pytest.mark.parametrize("printer", [*PRINTERS, "interpreter"])
def test_a_donated_argument_that_is_a_result_as_well_keeps_its_memory(
    printer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    with gradkit.use_backend("numpy"):
        for same in (lambda x: x, lambda x: x * 1.0, lambda x: x.astype("float32")):
            f = gradkit.jit(lambda x, same=same: (same(x), x + 1), donate_argnums=0)
            for _ in range(2):
                x = jnp.asarray(X.copy())
                first, second = f(x)
                np.testing.assert_array_equal(np.asarray(first), X)
                np.testing.assert_array_equal(np.asarray(second), X + 1)


def test_an_error_in_a_call_is_raised_as_it_is() -> None:
    def fail(x: Any) -> Any:
        raise ZeroDivisionError("by the callback")

    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        run, _ = executable(lambda x: gradkit.pure_callback(fail, x, x) + 1, [x])
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="by the callback"):
                run([x])


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 60))])
def test_random_programs_give_the_same_by_every_printer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with gradkit.use_backend("numpy"):
        function = random_program(seed)
        x = jnp.asarray(X)
        expected = function(x)
        for printer in PRINTERS:
            monkeypatch.setenv("GRADKIT_COMPILER", printer)
            run, constants = executable(function, [x])
            for one, other in zip(run([*constants, x]), expected, strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                np.testing.assert_allclose(np.asarray(one), np.asarray(other), 2e-4, 2e-4, err_msg=f"{seed} {printer}")


def random_program(seed: int) -> Callable[[Any], list[Any]]:
    """Return a function of an array that combines results of earlier operations, some of which it gives."""
    generator = np.random.default_rng(zlib.crc32(str(seed).encode()))
    choices = generator.integers(0, 2**31, 60)

    def program(x: Any) -> list[Any]:
        numbers = iter(choices.tolist())
        values = [x, x[0], x.T]

        def pick() -> Any:
            return values[next(numbers) % len(values)]

        for _ in range(12):
            kind, a, b = next(numbers) % 14, pick(), pick()
            if kind < 4:
                values.append(_matched(jnp.add if kind < 2 else jnp.multiply, a, b))
            elif kind < 6:
                values.append((jnp.tanh if kind == 4 else jnp.sin)(a))
            elif kind == 6:
                values.append(a.T)
            elif kind == 7:
                values.append(a.reshape(-1))
            elif kind == 8:
                values.append(a.mean(axis=0) if a.ndim else a)
            elif kind == 9:
                values.append(a[::-1] if a.ndim else a * 2)
            elif kind == 10:
                values.append(jnp.where(a > 0, a, -0.5 * a))
            elif kind == 11:
                values.append(a[1:] if a.ndim and a.shape[0] > 1 else a)
            elif kind == 12:
                values.append(a @ a.T if a.ndim == 2 else a)
            else:
                values.append(jnp.max(a, axis=-1, keepdims=True) if a.ndim else a)
        return [values[-1], values[-3], sum(jnp.sum(v) for v in values[3:])]

    return program


def _matched(function: Callable[..., Any], a: Any, b: Any) -> Any:
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return function(a, jnp.sum(b))
    return jnp.clip(function(a, b), -10, 10)


# What branches and steps return as it is


def _given_back(m: Any, n: Any) -> dict[str, Any]:
    lax, number = m.lax, n.float32
    return {
        "numbers": lambda h: lax.cond(h > 0.4, lambda h: 2.5, lambda h: 3.5, h) * h,
        "numbers of no argument": lambda h: lax.cond(h > 0.4, lambda: 2.0, lambda: 3.0) * h,
        "an argument or a number": lambda h: lax.cond(h > 0.4, lambda h: h, lambda h: number(3.5), h) * h,
        "an argument twice": lambda h: sum(
            lax.cond(h > 0.4, lambda h: (h, h, number(1)), lambda h: (number(2), number(2), h), h)
        ),
        "a truth value": lambda h: n.where(lax.cond(h > 0.4, lambda h: True, lambda h: False, h), h, 2 * h),
        "a number for the next step": lambda h: lax.scan(lambda c, _: (number(2.0), c * h), h, None, 3)[1].sum(),
        "a number of each step": lambda h: n.sum(lax.scan(lambda c, _: (c * h, number(3.0)), h, None, 3)[1]) * h,
        "a number of a while": lambda h: (
            lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, number(2)), (0, h))[1] * h
        ),
        "of several branches": lambda h: lax.switch(
            n.asarray(h * 4, "int32"), [lambda h: 1.0, lambda h: h, lambda h: 2.0], h
        ),
        "by what is closed over": lambda h: m.grad(
            lambda w: m.jit(lambda h: lax.cond(h > 0.4, lambda h: w * h, lambda h: w * h * 2, h))(h)
        )(h),
    }


@pytest.mark.dealt("value", "name")
@pytest.mark.parametrize("value", [0.6, 0.3])
@pytest.mark.parametrize("name", _given_back(gradkit, jnp))
def test_parts_may_return_literals_and_arguments(name: str, value: float, xp: Any) -> None:
    ours, theirs = _numbers(gradkit, jnp, name, value), jaxs(lambda: _numbers(jax, jax.numpy, name, value))
    assert [float(x) for x in ours] == pytest.approx([float(x) for x in theirs], rel=1e-6)


def _numbers(m: Any, n: Any, name: str, value: float) -> list[Any]:
    f, x = m.jit(_given_back(m, n)[name]), n.asarray(value, "float32")
    values = [f(x), m.vmap(f)(n.stack([x, x * 0.5])).sum()]
    if name != "a number of a while":  # which JAX does not differentiate
        values += [m.grad(f)(x), m.grad(m.grad(f))(x)]
    return values
