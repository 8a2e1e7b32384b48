"""Where a program's results are: of those of its plan, of its arguments, or written in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradkit.backend import Backend
from gradkit.backend.printers import CompiledPlan
from gradkit.core.array import Array, as_wrapped, renewed, wrap
from gradkit.core.graph import Graph, Variable
from gradkit.core.values import host

__all__ = ["Outputs", "Run", "kept_array", "outputs_of", "read_array", "runner"]

Run = Callable[[list[Array]], list[Array]]
Outputs = tuple[tuple[str, Any], ...]
RESULT, INPUT, LITERAL = "result", "input", "literal"


def outputs_of(graph: Graph, results: Sequence[Variable]) -> Outputs | None:
    """Return of each of a graph's results where it is, and its number there; None where they are the plan's `results`.

    A literal has itself for a number.
    """
    if graph.outputs == results:
        return None
    places = {variable: (INPUT, i) for i, variable in enumerate(graph.inputs)}
    places.update((variable, (RESULT, i)) for i, variable in enumerate(results))
    return tuple(places.get(out, (LITERAL, out)) if type(out) is Variable else (LITERAL, out) for out in graph.outputs)


def runner(
    run: CompiledPlan, outputs: Outputs | None, constants: list[Array]
) -> tuple[Run, Callable[[list[Array]], list[Array] | None]]:
    """Return what runs a compiled plan on Arrays, after `constants`, and what does so if they fit.

    Results that are arguments or literals are those.
    """

    def on_any(arguments: list[Array]) -> list[Array]:
        found = run.if_it_fits(arguments)
        return list(map(wrap, run(arguments))) if found is None else found

    given: Run = on_any
    fitting: Callable[[list[Array]], list[Array] | None] = run.if_it_fits
    if constants:
        given, fitting = _after(constants, on_any), _after(constants, run.if_it_fits)
    if outputs is None:
        return given, fitting

    def whole(arguments: list[Array], found: list[Array]) -> list[Array]:
        return [
            found[what] if where == RESULT else renewed(arguments[what]) if where == INPUT else as_wrapped(what)
            for where, what in outputs
        ]

    def whole_if_it_fits(arguments: list[Array]) -> list[Array] | None:
        found = fitting(arguments)
        return None if found is None else whole(arguments, found)

    return lambda arguments: whole(arguments, given(arguments)), whole_if_it_fits


def _after(constants: list[Array], run: Callable[[list[Array]], Any]) -> Callable[[list[Array]], Any]:
    """Return what runs on constants and then its arguments."""
    return lambda arguments: run([*constants, *arguments])


# What is kept of a program beside its code

KINDS = "biufc"


def kept_array(array: Array) -> tuple[str, tuple[int, ...], bytes] | None:
    """Return an array's dtype, shape and elements; None where it is of no dtype of NumPy's own."""
    values = host(array)
    if values.dtype.kind not in KINDS or not values.dtype.isnative:
        return None
    return values.dtype.str, tuple(map(int, values.shape)), values.tobytes()


def read_array(kept: tuple[str, tuple[int, ...], bytes], backend: Backend) -> Array:
    """Return the array that `kept_array` has taken apart."""
    dtype, shape, content = kept
    return wrap(backend.from_host(np.frombuffer(content, np.dtype(dtype)).reshape(shape).copy()))
