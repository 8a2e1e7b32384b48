"""Pictures of plans: what was fused, which arrays share memory, bytes and operations of each node."""

from __future__ import annotations

from typing import Any

import pytest
from drawings import edges, lines, record

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.viz import draw, draw_plan
from gradkit.viz.folding import TIMES

pytest.importorskip("llvmlite", reason="the plans here are those of native code")


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GRADKIT_COMPILER", "native")
    with gradkit.use_backend("numpy"):
        yield


def nodes(drawing: gradkit.viz.Drawing) -> dict[str, tuple[str, ...]]:
    """The lines of text of each node of a plan, by the first one."""
    marks = (mark for mark in drawing._diagram.marks if mark.shape != "record")
    return {plain(first): tuple(map(plain, rest)) for first, *rest in map(lines, marks)}


def plain(text: str) -> str:
    return text.replace(TIMES, "x")


def layer(x: Any, w: Any, b: Any) -> Any:
    return jnp.sum(jnp.tanh(x @ w + b), axis=0)


def shapes(*sizes: tuple[int, ...]) -> list[Any]:
    return [gradkit.ShapeDtypeStruct(size, "float32") for size in sizes]


def test_a_nest_says_what_was_fused_and_what_it_costs() -> None:
    drawing = draw_plan(layer, *shapes((5, 2), (2, 3), (3,)))
    found = nodes(drawing)
    assert found["@"] == ("5 x 2 x 3", "60 operations", "124 bytes")
    # 15 additions, 15 tanh and 15 additions of the sum; 60 bytes of the product, 12 of b, and 12 of the result
    assert found["loops 5 x 3"] == ("+, tanh, sum", "45 operations", "84 bytes")
    assert drawing._diagram.title == ("layer: 2 nodes, 105 operations, 208 bytes, temporary arrays in 64 bytes")


def test_arrays_have_the_names_of_the_function_and_of_the_plan_s_text() -> None:
    drawing = draw_plan(gradkit.jit(layer), *shapes((5, 2), (2, 3), (3,)))
    assert record(drawing, "a: x") == ("float32[5,2]", "40 bytes")
    assert record(drawing, "d: out") == ("float32[3]", "12 bytes")
    assert record(drawing, "e") == ("float32[5,3]", "60 bytes at 0")
    assert {(plain(tail), plain(head)) for tail, head in edges(drawing)} == {
        *[("a: x", "@"), ("b: w", "@"), ("@", "e"), ("e", "loops 5 x 3"), ("c: b", "loops 5 x 3")],
        ("loops 5 x 3", "d: out"),
    }


def test_arrays_that_have_the_memory_of_others_say_so() -> None:
    def chain(x: Any) -> Any:
        for _ in range(3):
            x = jnp.sort(jnp.sin(x))
        return x

    drawing = draw_plan(chain, *shapes((8,)))
    texts = [lines(mark) for mark in drawing._diagram.marks if mark.shape == "record"]
    shared = {text[0]: text[3:] for text in texts if len(text) > 3}
    assert shared
    # What is named is in the picture: memory that a node has for itself alone is not.
    assert {line for text in shared.values() for line in text} <= {f"memory of {text[0]}" for text in texts}


def test_a_result_in_donated_memory_says_whose_it_is() -> None:
    update = gradkit.jit(lambda p, g: p - 0.1 * g, donate_argnums=0)
    assert record(draw_plan(update, *shapes((3,), (3,))), "c: out") == ("float32[3]", "12 bytes, memory of a")


def test_loops_and_choices_say_what_is_inside_and_count_their_steps() -> None:
    def steps(x: Any) -> Any:
        return lax.fori_loop(0, 7, lambda i, x: jnp.sin(x) + i, x)

    assert nodes(draw_plan(steps, *shapes((4,))))["loop of 7 steps"] == ("2 nests", "91 operations", "308 bytes")
    drawing = draw_plan(lambda x: lax.while_loop(lambda x: x[0] < 9, lambda x: x * 2, x), *shapes((4,)))
    assert nodes(drawing)["while"][:2] == ("test: 1 nest", "step: 1 nest")
    drawing = draw_plan(
        lambda i, x: lax.cond(i > 0, jnp.sin, jnp.sort, x), gradkit.ShapeDtypeStruct((), "int32"), *shapes((4,))
    )
    assert {"0: 1 call", "1: 1 nest"} <= set(nodes(drawing)["choice of 2"])


def test_calls_of_numpy_are_round_marks() -> None:
    drawing = draw_plan(jnp.sort, *shapes((4,)))
    assert nodes(drawing) == {"call sort": ("32 bytes",)}


def test_a_large_plan_is_folded_to_the_size_asked_for() -> None:
    def deep(x: Any, w: Any) -> Any:
        for _ in range(30):
            x = jnp.tanh(x @ w)
        return x

    assert len(draw_plan(deep, *shapes((4, 4), (4, 4)))._diagram.marks) > 60
    assert len(draw_plan(deep, *shapes((4, 4), (4, 4)), max_nodes=15)._diagram.marks) <= 15


def test_a_compiled_function_is_drawn_without_arguments() -> None:
    compiled = gradkit.jit(layer).lower(*shapes((5, 2), (2, 3), (3,))).compile()
    assert (
        draw_plan(compiled, title="a layer").dot == draw_plan(layer, *shapes((5, 2), (2, 3), (3,)), title="a layer").dot
    )
    with pytest.raises(TypeError, match="has its arguments' shapes already"):
        draw_plan(compiled, jnp.ones((5, 2)))


def test_the_graph_of_a_jitted_function_is_that_of_the_function() -> None:
    arguments = [jnp.ones(size) for size in ((5, 2), (2, 3), (3,))]
    assert draw(gradkit.jit(layer), *arguments).dot == draw(layer, *arguments).dot


def test_what_is_interpreted_has_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    with pytest.raises(ValueError, match=r"interpreted.*Draw its graph: draw\(function, \*arguments\)"):
        draw_plan(lambda x: jnp.sin(x) + 1, jnp.ones(3))


@pytest.mark.parametrize("value", [3, None, jnp.ones])
def test_what_is_no_function_has_no_plan(value: Any) -> None:
    with pytest.raises(TypeError):
        draw_plan(value)
