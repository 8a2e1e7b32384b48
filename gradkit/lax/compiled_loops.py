"""Loops on values that are long, or come again: they are captured and run by an executable, as they are in `jit`.

A short loop that runs once is Python's own: capturing and compiling it would take longer. So is one whose functions
look at values, which a graph has none of.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from gradkit.backend import Backend
from gradkit.compiler.keys import key_of
from gradkit.compiler.passes import new_variable
from gradkit.config import config
from gradkit.core.array import Array, backend_of_array, is_followed_outside
from gradkit.core.binding import highest_trace
from gradkit.core.capture import graph_of
from gradkit.core.graph import Equation, Graph, HigherOrder, Params, abstract_like
from gradkit.core.stand_in import Abstract
from gradkit.errors import JAXIndexError, JAXTypeError

__all__ = ["LONG", "captured", "may_be_compiled", "must_be_compiled", "pays", "run_compiled"]

LONG = 32
"""Steps from which on a loop is looked at."""
STEP_SECONDS, OPERATION_SECONDS = 15e-6, 8e-6
"""About what a step takes in Python, and each operation in it."""
COMPILE_SECONDS = 0.1
"""About what compiling a loop takes."""
MOST_SEEN = 4096

_seen: dict[Hashable, float] = {}
"""By the key of a step's graph: the seconds that its loops have taken so far, as estimated."""
_compiling: ContextVar[bool] = ContextVar("gradkit_compiling_loop", default=False)
"""Whether the rule of a loop that is compiled is running: the loops that it consists of are compiled as well."""


def may_be_compiled(values: Sequence[Array], steps: int) -> bool:
    """Return whether a loop over values is long enough, and its backend has what compiles it."""
    if steps < LONG or config.jax_disable_jit or config.jax_debug_nans or not values:
        return False
    from gradkit.compiler.executables import has_printer  # late: the compiler is large, and most loops are short

    backends: set[Backend] = {backend_of_array(value) for value in values}
    return len(backends) == 1 and has_printer(backends.pop())


def must_be_compiled(values: Sequence[Array]) -> bool:
    """Return whether a transform of the library's own follows one of the values, and its compiler takes loops."""
    followed = [value for value in values if is_followed_outside(value)]
    if not followed:
        return False
    from gradkit.compiler.executables import has_printer  # late: as above

    return has_printer(backend_of_array(followed[0]))


def captured(function: Callable[..., Sequence[Any]], forms: Sequence[Abstract]) -> tuple[Graph, list[Array]] | None:
    """Return the graph of a function of a loop, and what it closes over; None if it looks at values."""
    try:
        return graph_of(function, forms)
    except (JAXTypeError, JAXIndexError):
        return None


def pays(graph: Graph, steps: int) -> bool:
    """Return whether to compile a loop: by about what loops over this step have taken so far, this one with them."""
    if _compiling.get():
        return True
    try:
        key: Hashable = key_of(graph)[0]
    except TypeError:
        return False
    if len(_seen) >= MOST_SEEN:
        _seen.clear()
    spent = _seen[key] = _seen.get(key, 0.0) + steps * (STEP_SECONDS + len(graph.equations) * OPERATION_SECONDS)
    return spent > COMPILE_SECONDS


def run_compiled(operation: HigherOrder, operands: Sequence[Array], params: Mapping[str, Any]) -> list[Any]:
    """Run a loop as one operation: under the transform that follows its operands, or by an executable."""
    from gradkit.compiler.executables import executable_of  # late: as above

    trace = highest_trace(operands)
    token = _compiling.set(True)
    try:
        if trace is not None:
            return list(trace.call(operation, list(operands), params))
        inputs = [new_variable(abstract_like(operand)) for operand in operands]
        outs = operation.abstract(operands, params)
        outputs = tuple(map(new_variable, outs))
        graph = Graph(inputs, [], [Equation(operation, tuple(inputs), Params(params), outputs)], list(outputs))
        return executable_of(graph)(list(operands))
    finally:
        _compiling.reset(token)
