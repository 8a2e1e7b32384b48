"""Loops on values outside of `jit`: long ones are compiled, under every transform, and give what Python's give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.lax import compiled_loops

ROWS = np.sin(np.arange(1.0, 301.0)).reshape(60, 5).astype("float32")
W = np.cos(np.arange(25.0)).reshape(5, 5).astype("float32") / 4


@pytest.fixture(autouse=True)
def numpy_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let every loop that is long enough be compiled at once, and note which are."""
    ran: list[str] = []
    run = compiled_loops.run_compiled

    def noting(operation: Any, operands: Any, params: Any) -> Any:
        ran.append(operation.name)
        return run(operation, operands, params)

    monkeypatch.setattr(compiled_loops, "COMPILE_SECONDS", 0.0)
    for module in ("gradkit.lax.scan_rules", "gradkit.lax.while_rules"):
        monkeypatch.setattr(f"{module}.run_compiled", noting)
    with gradkit.use_backend("numpy"):
        yield ran


def scanned(w: Any, rows: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        new = jnp.tanh(carry @ w + row)
        return new, jnp.sum(new * carry)

    last, sums = lax.scan(step, rows[0], rows)
    return jnp.sum(last) + jnp.sum(sums**2)


def counted(w: Any, rows: Any) -> Any:
    return jnp.sum(lax.fori_loop(0, 50, lambda i, c: jnp.sin(c @ w + rows[1]) + 0.01 * i, rows[0]))


def mapped(w: Any, rows: Any) -> Any:
    return jnp.sum(lax.map(lambda row: jnp.tanh(row @ w) * row, rows))


def reversed_pair(w: Any, rows: Any) -> Any:
    (a, b), ys = lax.scan(lambda c, r: ((c[1], jnp.tanh(c[0] + r @ w)), c[0]), (rows[0], rows[1]), rows, reverse=True)
    return jnp.sum(a * b) + jnp.sum(ys)


FUNCTIONS = [scanned, counted, mapped, reversed_pair]
WAYS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "values": lambda f: f,
    "grad": lambda f: gradkit.grad(f, (0, 1)),
    "jvp": lambda f: lambda w, rows: gradkit.jvp(f, (w, rows), (jnp.ones_like(w), rows)),
    "vmap": lambda f: lambda w, rows: gradkit.vmap(f, (0, None))(jnp.stack([w, 2 * w]), rows),
    "jvp of grad": lambda f: lambda w, rows: gradkit.jvp(lambda w: gradkit.grad(f)(w, rows), (w,), (w,))[1],
    "vmap of grad": lambda f: lambda w, rows: gradkit.vmap(gradkit.grad(f), (0, None))(jnp.stack([w, -w]), rows),
    "grad of grad": lambda f: lambda w, rows: gradkit.grad(lambda w: jnp.sum(gradkit.grad(f)(w, rows) ** 2))(w),
    "checkpoint": lambda f: gradkit.grad(gradkit.checkpoint(f)),
}


@pytest.mark.dealt("way", "function")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_long_loops_are_compiled_and_give_what_they_gave(
    function: Callable[..., Any], way: str, numpy_alone: list[str]
) -> None:
    arguments = jnp.asarray(W), jnp.asarray(ROWS)
    found = gradkit.tree.leaves(WAYS[way](function)(*arguments))
    assert "scan" in numpy_alone
    numpy_alone.clear()
    with gradkit.disable_jit():
        expected = gradkit.tree.leaves(WAYS[way](function)(*arguments))
    assert not numpy_alone
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), 2e-4, 2e-4)


def test_the_lectures_tape_goes_through() -> None:
    grads = []
    for off in (False, True):
        w = jnp.asarray(W)
        w.requires_grad = True
        with gradkit.disable_jit(off):
            scanned(w, jnp.asarray(ROWS)).backward()
        grads.append(np.asarray(w.grad))
    np.testing.assert_allclose(*grads, 1e-4, 1e-4)


@pytest.mark.parametrize("steps", [3, 63, 64, 65, 200, 5000])
def test_a_while_goes_on_natively_from_where_it_is(steps: int, numpy_alone: list[str]) -> None:
    x = jnp.asarray(ROWS[0])
    count, last = lax.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, 0.5 * s[1] + s[0]), (0, x))
    expected = ROWS[0]
    for i in range(steps):
        expected = np.float32(0.5) * expected + np.float32(i)
    assert count.item() == steps
    np.testing.assert_allclose(np.asarray(last), expected, 1e-5)
    assert ("while" in numpy_alone) == (steps >= 64)


def test_a_step_that_looks_at_values_is_pythons(numpy_alone: list[str]) -> None:
    def step(carry: Any, row: Any) -> Any:
        return (carry + 1 if float(row[0]) > 0 else carry), row

    count, rows = lax.scan(step, 0, jnp.asarray(ROWS))
    assert count.item() == (ROWS[:, 0] > 0).sum()
    np.testing.assert_array_equal(np.asarray(rows), ROWS)
    assert not numpy_alone


def test_a_short_loop_is_pythons_and_so_is_one_that_runs_once(
    numpy_alone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lax.scan(lambda c, r: (c + r, c), jnp.asarray(ROWS[0]), jnp.asarray(ROWS[: compiled_loops.LONG - 1]))
    assert not numpy_alone
    monkeypatch.setattr(compiled_loops, "COMPILE_SECONDS", 0.1)
    monkeypatch.setattr(compiled_loops, "_seen", {})
    rounds = 0
    while not numpy_alone and rounds < 1000:  # what comes again is compiled in the end
        lax.scan(lambda c, r: (c * 0.25 + r, c), jnp.asarray(ROWS[0]), jnp.asarray(ROWS))
        rounds += 1
    assert 10 < rounds < 1000


def test_errors_are_those_of_pythons_loop() -> None:
    for off in (False, True):
        with gradkit.disable_jit(off):
            with pytest.raises(TypeError, match="equal types"):
                lax.scan(lambda c, r: (c.astype("float16"), r), jnp.asarray(ROWS[0]), jnp.asarray(ROWS))
            with pytest.raises(ZeroDivisionError):
                lax.scan(lambda c, r: (c, 1 // 0), 0, jnp.asarray(ROWS))
