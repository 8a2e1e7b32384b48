"""Expansion: a graph of leaves computes what the graph of what the user called does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from text_cases import TEXTS, assert_same, dtypes, of_dtype, samples

import gradkit
import gradkit.numpy as jnp
from gradkit import nn
from gradkit.backend import Backend
from gradkit.compiler.expansion import clear_texts, expanded, text_graph
from gradkit.compiler.keys import key_of
from gradkit.core import bind
from gradkit.core.graph import Equation, Graph, HigherOrder
from gradkit.core.namespace import PRIMITIVES


def graph_of(function: Callable[..., Any], *args: Any) -> Graph:
    return gradkit.make_jaxpr(function)(*args).jaxpr


def nothing(equation: Equation) -> bool:
    return False


def operations(graph: Graph) -> Iterator[Equation]:
    for equation in graph.equations:
        yield equation
        for inner in equation.graphs:
            yield from operations(inner)


def names(graph: Graph) -> list[str]:
    return [equation.primitive.name for equation in operations(graph)]


def assert_leaves_alone(graph: Graph) -> None:
    for equation in operations(graph):
        primitive = equation.primitive
        assert primitive.leaf or (isinstance(primitive, HigherOrder) and primitive.calls is None), primitive.name
    for inner in (inner for equation in operations(graph) for inner in equation.graphs):
        assert not inner.constants


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_is_expanded_to_leaves_that_compute_what_its_kernel_does(
    name: str, xp: Any, backend: Backend
) -> None:
    primitive = PRIMITIVES[name]
    with gradkit.enable_x64(), np.errstate(all="ignore"):
        for values, params in samples(primitive):
            for dtype in dtypes(primitive, values, backend):
                args = of_dtype(values, dtype)
                graph = expanded(graph_of(lambda *xs, p=params: bind(primitive, xs, p), *args), nothing)
                assert_leaves_alone(graph)
                (found,) = graph.run(args)
                assert_same(name, found, bind(primitive, args, params), f"{name}, {dtype}, {params}")


def test_what_is_known_stays(xp: Any) -> None:
    def f(x: Any) -> Any:
        return nn.softplus(nn.relu(x))

    graph = graph_of(f, xp.ones(3))
    assert names(graph) == ["relu", "softplus"]
    known = expanded(graph, lambda equation: equation.primitive.name == "softplus")
    assert names(known) == ["broadcast_to", "maximum", "softplus"]
    assert_leaves_alone(expanded(graph, nothing))


def rowwise(x: Any) -> Any:
    return nn.softplus(gradkit.nn.relu(x))


@gradkit.custom_jvp
def with_jvp(x: Any) -> Any:
    return nn.relu(x)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), tangents[0]))

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "scan": lambda x: gradkit.lax.scan(lambda c, e: (rowwise(c * e), jnp.cumsum(jnp.stack([c, e]))), x[0], x),
    "while": lambda x: gradkit.lax.while_loop(lambda c: jnp.sum(rowwise(c)) < 9.0, lambda c: 2 * rowwise(c), x),
    "cond": lambda x: gradkit.lax.cond(x[0] > 0, rowwise, lambda x: jnp.cumsum(x), x),
    "keys in a scan": lambda x: gradkit.lax.scan(
        lambda k, e: (gradkit.random.split(k)[0], e + gradkit.random.uniform(k)), gradkit.random.PRNGKey(0), x
    )[1],
    "custom_jvp": lambda x: with_jvp(x) + gradkit.lax.scan(lambda c, e: (with_jvp(c + e), e), x[0], x)[0],
    "checkpoint": lambda x: gradkit.checkpoint(rowwise)(x),
    "jit": lambda x: gradkit.jit(rowwise)(x) + gradkit.jit(lambda x: gradkit.jit(rowwise)(x + 1))(x),
    "solve": lambda x: gradkit.lax.custom_linear_solve(
        lambda v: 2.0 * v, x, lambda _, b: nn.relu(b) / 2.0, transpose_solve=lambda _, b: b / 2.0
    ),
    "vmap of a choice": gradkit.vmap(lambda x: gradkit.lax.cond(x > 1.5, rowwise, lambda x: x * 2, x)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_functions_of_operations_are_expanded_and_calls_are_none(name: str, xp: Any) -> None:
    for x in (xp.asarray([1.0, 2.0, 3.0]), xp.asarray([-1.0, 2.0, 0.5])):
        graph = graph_of(PROGRAMS[name], x)
        leaves = expanded(graph, nothing)
        assert_leaves_alone(leaves)
        for found, expected in zip(leaves.run([x]), graph.run([x]), strict=True):
            np.testing.assert_allclose(gradkit.device_get(found), gradkit.device_get(expected), 1e-6, 1e-6)


def test_a_text_is_traced_once_for_a_shape(xp: Any) -> None:
    clear_texts()
    relu = PRIMITIVES["relu"]
    assert text_graph(relu, [xp.ones(3)], {}) is text_graph(relu, [2 * xp.ones(3)], {})
    assert text_graph(relu, [xp.ones(3)], {}) is not text_graph(relu, [xp.ones(4)], {})


def test_expansions_of_one_program_have_one_key(xp: Any) -> None:
    for f in (lambda x: gradkit.random.normal(gradkit.random.PRNGKey(0), (3,)) * x, PROGRAMS["scan"]):
        graph = graph_of(f, xp.ones(3))
        (one, arrays), (two, others) = (key_of(expanded(graph, nothing)) for _ in range(2))
        clear_texts()
        assert one == two == key_of(expanded(graph, nothing))[0]
        assert len(arrays) == len(others)


def test_the_graph_itself_stays_as_it_is(xp: Any) -> None:
    graph = graph_of(PROGRAMS["scan"], xp.ones(3))
    before = key_of(graph)[0]
    expanded(graph, nothing)
    assert key_of(graph)[0] == before
