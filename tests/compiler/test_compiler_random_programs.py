"""Passes on programs that nobody chose: what they make of a graph computes the same, on special values as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from matrix_programs import ARGUMENTS, EXACT, STEPS, program, programs
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit.compiler.expansion import expanded
from gradkit.compiler.keys import key_of
from gradkit.compiler.pruning import pruned
from gradkit.compiler.simplify import simplified
from gradkit.core.graph import Graph


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def runs(steps: Any, values: Any) -> tuple[Graph, list[Any]]:
    args = [jnp.asarray(value) for value in values]
    return gradkit.make_jaxpr(program(steps))(*args).jaxpr, args


def results(graph: Graph, args: list[Any]) -> list[Any]:
    return [gradkit.device_get(out) for out in graph.run(args)]


def assert_same_bits(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(found, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(expected)[number])


@given(programs(list(EXACT)), ARGUMENTS)
@settings(max_examples=examples(200), deadline=None)
def test_a_simplified_graph_gives_the_same_bits(steps: Any, values: Any) -> None:
    graph, args = runs(steps, values)
    less = simplified(graph)
    for found, expected in zip(results(less, args), results(graph, args), strict=True):
        assert_same_bits(found, expected)
    assert key_of(simplified(runs(steps, values)[0]))[0] == key_of(less)[0]


@given(programs(list(STEPS)), ARGUMENTS)
@settings(max_examples=examples(60), deadline=None)
def test_a_graph_of_leaves_gives_the_same_but_for_the_order_of_sums(steps: Any, values: Any) -> None:
    finite = np.where(np.isfinite(values), values, np.float32(0.5))
    graph, args = runs(steps, finite)
    leaves = expanded(graph, lambda equation: equation.primitive.name in ("tanh_slope", "log_softmax"))
    expected = results(graph, args)
    if not all(np.isfinite(out).all() and (np.abs(out) < 1e6).all() for out in expected):
        return  # a difference of infinities in one order is one of large numbers in another
    for other in (leaves, simplified(leaves)):
        for found, wanted in zip(results(other, args), expected, strict=True):
            scale = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * scale)


@given(programs(list(STEPS)), ARGUMENTS)
@settings(max_examples=examples(40), deadline=None)
def test_what_is_simplified_stays_as_it_is(steps: Any, values: Any) -> None:
    graph, _ = runs(steps, values)
    less = simplified(graph)
    again = simplified(less)
    assert len(again.equations) <= len(less.equations)
    assert len(pruned(less).equations) == len(less.equations)
    assert simplified(graph) is not graph
