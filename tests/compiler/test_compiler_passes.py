"""Passes over graphs: what they say of small graphs that one can read, and of graphs that nobody chose."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit.compiler.compiling import _range
from gradkit.compiler.passes import (
    dependent,
    differentiable,
    last_use,
    marked,
    needed,
    reads,
    settled,
    without_dead_code,
)
from gradkit.core.graph import Graph, Variable


def graph_of(function: Callable[..., Any], *args: Any) -> Graph:
    return gradkit.make_jaxpr(function)(*args).jaxpr


def names(equations: Any) -> list[str]:
    return [equation.primitive.name for equation in equations]


# What results need


def test_what_nothing_reads_is_not_needed(xp: Any) -> None:
    def f(x: Any) -> Any:
        jnp.tanh(jnp.cos(x))
        return jnp.sin(x) + 1.0

    graph = graph_of(f, xp.ones(3))
    assert names(graph.equations) == ["cos", "tanh", "sin", "add"]
    assert names(needed(graph)) == names(without_dead_code(graph).equations) == ["sin", "add"]


def test_what_some_results_need_is_found(xp: Any) -> None:
    graph = graph_of(lambda x: (jnp.sin(x), jnp.cos(x)), xp.ones(3))
    assert names(needed(graph, [False, True])) == ["cos"]
    assert needed(graph, [False, False]) == []


def test_results_that_are_literals_or_arguments_need_nothing(xp: Any) -> None:
    graph = graph_of(lambda x: (x, jnp.asarray(1.0), 2.0, (jnp.sin(x), x)[1]), xp.ones(3))
    assert needed(graph) == []
    assert dependent(graph, [True]) == [True, False, False, True]


def test_dead_code_takes_its_constants_along(xp: Any) -> None:
    def f(x: Any) -> Any:
        _ = x * xp.arange(3.0)
        return x + xp.arange(3.0)

    graph = graph_of(f, xp.ones(3))
    assert len(graph.constants) == 2
    assert len(without_dead_code(graph).constants) == 1


EFFECTS: dict[str, Callable[[Any], Any]] = {
    "debug.print": lambda x: gradkit.debug.print("{}", x),
    "io_callback": lambda x: gradkit.experimental.io_callback(np.asarray, x, x),
    "inside a scan": lambda x: gradkit.lax.scan(lambda c, e: (gradkit.debug.print("{}", e), (c, e))[1], x[0], x),
    "inside a branch": lambda x: gradkit.lax.cond(x[0] > 0, lambda: gradkit.debug.print("{}", x), lambda: None),
    "inside a branch inside a loop": lambda x: gradkit.lax.scan(
        lambda c, e: (c, gradkit.lax.cond(e > 0, lambda: gradkit.debug.print("{}", e), lambda: None)), x[0], x
    ),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_what_is_done_for_its_effect_is_needed(name: str, xp: Any) -> None:
    def f(x: Any) -> Any:
        EFFECTS[name](jnp.sin(x))
        return x + 1.0

    found = names(needed(graph_of(f, xp.ones(3))))
    assert found[0] == "sin"
    assert len(found) >= 3


def test_a_pure_callback_that_nothing_reads_is_not_needed(xp: Any) -> None:
    def f(x: Any) -> Any:
        gradkit.pure_callback(np.asarray, x, x)
        return x + 1.0

    assert names(needed(graph_of(f, xp.ones(3)))) == ["add"]


def test_reads_counts_operands_and_results(xp: Any) -> None:
    graph = graph_of(lambda x, y: (x * x, x), xp.ones(3), xp.ones(3))
    (x, y), (product,) = graph.inputs, graph.equations[0].outputs
    assert dict(reads(graph)) == {x: 3, product: 1}
    assert reads(graph)[y] == 0


def test_last_use_is_the_place_of_the_last_operation_that_uses_it(xp: Any) -> None:
    def f(x: Any, unread: Any) -> Any:
        y = jnp.sin(x)
        jnp.cos(y)
        return y * x

    graph = graph_of(f, xp.ones(3), xp.ones(3))
    (x, _), outs = graph.inputs, [equation.outputs[0] for equation in graph.equations]
    assert last_use(graph) == {x: 2, outs[0]: 2, outs[1]: 1, outs[2]: 3}


# What marks reach


def test_a_mark_goes_where_the_rule_says(xp: Any) -> None:
    graph = graph_of(lambda x, y: (jnp.sin(x) + y, jnp.cos(x) * y), xp.ones(3), xp.ones(3))
    found = marked(graph, [True, False], lambda equation, _: [equation.primitive.name != "cos"])
    assert found == {graph.inputs[0], *graph.equations[0].outputs, *graph.equations[1].outputs}


def scan(x: Any, y: Any) -> Any:
    return gradkit.lax.scan(lambda c, e: ((c[1], c[0] * e), jnp.sin(c[0])), (x[0], y[0]), y)


PROGRAMS: dict[str, tuple[Callable[[Any, Any], Any], tuple[bool, ...], tuple[bool, ...]]] = {
    # By x alone: which results depend on it, and which may have a derivative.
    "plain": (lambda x, y: (x, y, x * y, jnp.sign(x)), (True, False, True, True), (True, False, True, False)),
    "through a whole number": (lambda x, y: (jnp.argmax(x) * y,), (True,), (False,)),
    "a carry that changes places": (
        lambda x, y: gradkit.lax.scan(lambda c, e: ((c[1], c[0] * e), c[0]), (x[0], y[0]), y),
        (True, True, True),
        (True, True, True),
    ),
    "a carry that stays": (
        lambda x, y: gradkit.lax.scan(lambda c, e: ((c[0] * e, c[1] * 2), e), (x[0], y[0]), y),
        (True, False, False),
        (True, False, False),
    ),
    "a while loop": (
        lambda x, y: gradkit.lax.while_loop(lambda c: c[1][0] < 9.0, lambda c: (c[0] * 2.0, c[1] * 2.0), (x, y)),
        (True, False),
        (True, False),
    ),
    "a while loop that x decides": (
        lambda x, y: gradkit.lax.while_loop(lambda c: c[0][0] < 9.0, lambda c: (c[0] * 2.0, c[1] * 2.0), (x, y)),
        (True, True),
        (True, False),
    ),
    "a choice": (
        lambda x, y: gradkit.lax.cond(y[0] > 0, lambda: (x, y), lambda: (y, y)),
        (True, False),
        (True, False),
    ),
    "a choice that x decides": (
        lambda x, y: gradkit.lax.cond(x[0] > 0, lambda: (x, y), lambda: (y, y)),
        (True, True),
        (True, False),
    ),
    "a checkpoint": (lambda x, y: gradkit.checkpoint(lambda a, b: (a * b, b))(x, y), (True, False), (True, False)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_depends_on_an_argument_and_has_a_derivative_by_it(name: str, xp: Any) -> None:
    function, depends, has_derivative = PROGRAMS[name]
    graph = graph_of(function, xp.ones(3), xp.ones(3))
    assert tuple(dependent(graph, [True, False])) == depends
    assert tuple(differentiable(graph, [True, False])) == has_derivative


def test_settled_goes_round_until_nothing_changes(xp: Any) -> None:
    graph = graph_of(lambda a, b, c: (b, c, c, a), *xp.ones(3))
    assert settled(graph, [], [False, False, True], [], dependent) == [True] * 4
    assert settled(graph, [], [True, False, False], [], dependent) == [True, False, False, True]


# Graphs that nobody chose: `steps` says of each operation which two values it multiplies

STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12)
CHOSEN = st.lists(st.integers(0, 30), min_size=1, max_size=3)


def products(steps: list[tuple[int, int]], results: list[int]) -> Callable[..., Any]:
    def function(*args: Any) -> Any:
        values = list(args)
        for a, b in steps:
            values.append(values[a % len(values)] * values[b % len(values)])
        return [values[i % len(values)] for i in results]

    return function


@given(STEPS, CHOSEN, st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3))
@settings(max_examples=examples(60), deadline=None)
def test_without_dead_code_a_graph_computes_the_same(steps: Any, results: Any, values: Any) -> None:
    graph = graph_of(products(steps, results), 1.0, 1.0, 1.0)
    args = [jnp.asarray(value) for value in values]
    less = without_dead_code(graph)
    assert [float(out) for out in less.run(args)] == [float(out) for out in graph.run(args)]
    read = reads(less)
    assert all(read[equation.outputs[0]] for equation in less.equations)  # nothing is left that nothing reads


@given(STEPS, CHOSEN)
@settings(max_examples=examples(60), deadline=None)
def test_results_that_depend_on_an_argument_are_those_that_it_moves(steps: Any, results: Any) -> None:
    function = products(steps, results)
    graph = graph_of(function, 1.0, 1.0, 1.0)
    for i in range(3):
        args = [1.0, 1.0, 1.0]
        args[i] = 1.5
        moves = [value != 1.0 for value in function(*args)]
        flags = [i == j for j in range(3)]
        assert dependent(graph, flags) == differentiable(graph, flags) == moves


@given(STEPS, CHOSEN)
@settings(max_examples=examples(60), deadline=None)
def test_values_can_be_forgotten_after_their_last_use(steps: Any, results: Any) -> None:
    graph = graph_of(products(steps, results), 1.0, 1.0, 1.0)
    last = last_use(graph)
    known: dict[Variable, float] = dict.fromkeys(graph.inputs, 1.0)
    for position, equation in enumerate(graph.equations):
        known[equation.outputs[0]] = np.prod([known[x] for x in equation.inputs])
        for variable in [v for v in known if last.get(v) == position]:
            del known[variable]
    assert set(known) - set(graph.inputs) == set(graph.outputs) - set(graph.inputs)


def test_a_constant_is_a_range_where_its_neighbours_are_as_far_apart_as_python_counts_them() -> None:
    candidates = [
        np.arange(start, start + step * size, step)[:size]
        for start in (-120, -3, 0, 100)
        for step in (-90, -1, 1, 7, 100)
        for size in (2, 3, 5)
    ]
    found = []
    for dtype in ("int8", "uint8", "int64", "uint64"):
        for values in (*candidates, np.asarray([0, 1, 2, 4]), np.asarray([5, 5, 5]), np.asarray([3]), np.zeros((2, 2))):
            array = values.astype(dtype)  # where it does not fit, it wraps around, and is no range
            numbers = array.reshape(-1).tolist()
            steps = {b - a for a, b in itertools.pairwise(numbers)}
            expected = (numbers[0], *steps) if array.ndim == 1 and len(steps) == 1 and steps != {0} else None
            assert _range(jnp.asarray(array)) == expected
            found.append(expected is not None)
    assert 100 < sum(found) < len(found) - 50
