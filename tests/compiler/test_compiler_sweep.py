"""Passes on every primitive, its gradient, and every public function: the graph of leaves computes the same."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from function_calls import NAMESPACES, calls, functions
from primitive_cases import CASES, arguments, loss, on
from slopes import POINT

import gradkit
import gradkit.numpy as jnp
from gradkit.compiler.expansion import expanded
from gradkit.compiler.simplify import simplified
from gradkit.core.graph import Graph

Program = Callable[..., Any]


def captured(function: Program, args: Any) -> tuple[Graph, list[Any]] | None:
    """Return a graph and what it gives; None where the function asks for values, or has no arrays."""
    with contextlib.suppress(Exception):
        graph = gradkit.make_jaxpr(function)(*args).jaxpr
        return graph, list(map(jnp.asarray, graph.run(list(args))))
    return None


def difference(found: Any, expected: Any) -> str:
    """Return in what a result differs; nothing where it is the same but for rounding."""
    if type(found) is not gradkit.Array or (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"{found!r} for {expected.dtype}{expected.shape}"
    a, b = np.asarray(found), np.asarray(expected)
    if b.dtype.kind not in "fc":
        return "" if np.array_equal(a, b) else f"{a} for {b}"
    eps = 2e4 * float(jnp.finfo(b.dtype).eps)
    size = max(1.0, float(np.abs(np.where(np.isfinite(b), b, 0)).max(initial=0)))
    return "" if np.allclose(a, b, eps, eps * size, equal_nan=True) else f"{a} for {b}"


def wrong(programs: Iterator[tuple[str, Program, Any]]) -> tuple[int, list[str]]:
    """Return how many programs have a graph, and which of them passes change."""
    found: list[str] = []
    count = 0
    for name, function, args in programs:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            capture = captured(function, args)
            if capture is None:
                continue
            graph, expected = capture
            count += 1
            for less in (simplified(graph), simplified(expanded(graph, lambda equation: False))):
                differences = [difference(a, b) for a, b in zip(less.run(list(args)), expected, strict=True)]
                found.extend(f"{name}: {text}" for text in differences if text)
    return count, found


def test_passes_keep_what_primitives_and_their_gradients_give(xp: Any) -> None:
    def cases() -> Iterator[tuple[str, Program, Any]]:
        for name, kinds in CASES.items():
            for i, case in enumerate(kinds):
                args = [on(xp, x) for x in arguments(case)]
                yield f"{name}-{i}", case.ours, args
                yield f"grad of {name}-{i}", gradkit.grad(loss(case, xp), tuple(range(len(args)))), args

    with gradkit.enable_x64(True):
        count, found = wrong(cases())
    assert not found, "\n".join(found)
    assert count > 1.8 * sum(map(len, CASES.values()))


@pytest.mark.long
@pytest.mark.parametrize("name", NAMESPACES)
def test_passes_keep_what_functions_give(name: str, xp: Any) -> None:
    def programs() -> Iterator[tuple[str, Program, Any]]:
        for path, function in functions(name).items():
            for label, call in calls(path, function, None, 1, 120).items():
                yield label, call, (jnp.asarray(POINT),)

    with gradkit.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, found = wrong(programs())
    assert not found, "\n".join(found)
