"""The text of a plan says what is computed in which loop, and where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax


@pytest.fixture(autouse=True)
def _numpys_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    with gradkit.use_backend("numpy"):
        yield


def text(function: Callable[..., Any], *shapes: tuple[int, ...]) -> list[str]:
    arguments = [jnp.zeros(shape, "float32") for shape in shapes]
    return str(gradkit.jit(function).lower(*arguments).compile().as_text()).split("\n")


def test_a_nest_is_a_loop_with_expressions() -> None:
    assert text(lambda x, b: (2 * x + b, x.sum(0)), (4, 3), (3,)) == [
        "arguments a:f32[4,3] b:f32[3]",
        "results c:f32[4,3] d:f32[3]",
        "for i < 4, j < 3:",
        "  c[3*i + j] = (2.0 * a[3*i + j]) + b[j]",
        "  d[j] += a[3*i + j]",
    ]


def test_what_is_read_twice_is_written_once() -> None:
    found = text(lambda x: (jnp.sin(x), jnp.sin(x) ** 2), (4,))
    assert found[2:] == ["for i < 4:", "  v1 = sin(a[i])", "  b[i] = v1", "  c[i] = square(v1)"]


def test_views_are_positions() -> None:
    found = text(lambda x: x.T[::2, 1] - x[-1, ::-2], (3, 4))
    assert found[2:] == ["for i < 2:", "  b[i] = a[2*i + 4] - a[-2*i + 11]"]


def test_products_say_which_array_lies_column_by_column() -> None:
    assert text(lambda x, y: x.T @ y, (4, 3), (4, 2))[2:] == ["c = a.T @ b"]


def test_buffers_that_share_memory_begin_at_the_same_byte() -> None:
    _, _, arena, *_ = text(lambda x: jnp.cumsum(jnp.sin(jnp.cumsum(x) * 2)), (4,))
    assert arena == "arena of 64 bytes c:f32[4]@0 d:f32[4]@0"


def test_a_carry_is_where_it_was() -> None:
    found = text(lambda x: lax.while_loop(lambda c: c[0] < 5, lambda c: c * 2, x), (3,))
    (given,) = (line.split()[1] for line in found[found.index("  step:") :] if line.startswith("    arguments"))
    (given_back,) = (line.split()[1] for line in found[found.index("  step:") :] if line.startswith("    results"))
    assert given_back.endswith("@" + given.partition(":")[0])


def test_loops_and_choices_have_their_plans_below_them() -> None:
    def program(x: Any) -> Any:
        total, rows = lax.scan(lambda c, row: (c + row, c * 2), x[0], x)
        return (
            lax.while_loop(lambda c: c[0] < 5, lambda c: c * 2, total),
            rows,
            lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
        )

    found = "\n".join(text(program, (4, 3)))
    for part in (
        "loop of 4 steps, carrying ",
        "  step:\n    arguments ",
        "while, carrying ",
        "  test:\n    arguments ",
        "choose by ",
        "  0:\n    arguments ",
        "  1:\n    arguments ",
    ):
        assert part in found


def test_without_a_plan_the_graph_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    assert text(lambda x: 3 * x, (2,)) == ["{ lambda ; a:f32[2]. let b:f32[2] = mul 3.0:f32[] a in (b,) }"]
