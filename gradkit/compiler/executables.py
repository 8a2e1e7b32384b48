"""What runs a captured graph on values. One is made for each program: graphs with one key share it.

An executable takes the graph's constants and arguments, in this order, as Arrays that no transform follows, and gives
its results, as such. Literals are part of the program. It is what the first of the backend's printers makes of the
graph's plan. Where there is no printer the simplified graph is interpreted, operation by operation; where a plan fails,
the graph.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from traceback import format_exception
from typing import Any

from gradkit.backend import Backend, CompileError
from gradkit.backend.operations import OperationPrinter
from gradkit.backend.plan import Buffer, CompiledPlan, Plan, Printer
from gradkit.compiler.access import SCATTERS
from gradkit.compiler.boxes import box_of_arrays
from gradkit.compiler.expansion import clear_texts, expanded
from gradkit.compiler.keys import key_of
from gradkit.compiler.lowering import lowered
from gradkit.compiler.operating import operations_of
from gradkit.compiler.passes import variables_in
from gradkit.compiler.planning import planned
from gradkit.compiler.preparing import plannable
from gradkit.compiler.resting import no_collections
from gradkit.compiler.simplify import simplified
from gradkit.compiler.taking import is_taken
from gradkit.core.array import Array, as_wrapped, owner_of, renewed, wrap
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable
from gradkit.core.sources import levels_to_user
from gradkit.core.values import host
from gradkit.errors import MissingDependencyError, unknown_name

__all__ = ["Executable", "clear_executables", "executable_of", "has_printer", "row_by_row"]

PRINTER, INTERPRETER = "GRADKIT_COMPILER", "interpreter"
"""The environment variable that names the printer to use, or ``interpreter``; by default the best that works."""

MOST_EXECUTABLES = 1024
"""How many are known at a time: a program that has others at each call would fill the memory."""

_executables: dict[Hashable, Executable] = {}
_lock = threading.RLock()

Run = Callable[[list[Array]], list[Array]]


class Executable:
    """A compiled graph.

    Parameters
    ----------
    graph : Graph
        The program, with nothing but inputs (`Graph.closed`).
    donated : sequence of int
        Inputs whose memory the results may take.

    Attributes
    ----------
    graph : Graph
        The program as it was given.
    plan : Plan or None
        What is run; None where the graph is interpreted.
    printer : str
        The name of what has compiled it, or ``"interpreter"``.
    code_size : int
        The bytes of machine code.
    donated : tuple of int
        The inputs whose memory results have.
    run : callable
        Runs it on Arrays.
    if_it_fits : callable or None
        Runs it, if its arguments are Arrays of the graph's shapes and dtypes that no transform follows; else it gives
        None, and nothing has run.
    """

    def __init__(self, graph: Graph, donated: Sequence[int] = ()) -> None:
        self.graph = graph
        self.plan: Plan | None = None
        self.printer = INTERPRETER
        self.code_size = 0
        self.donated: tuple[int, ...] = ()
        self.run = _interpreter(graph)
        self.if_it_fits: Callable[[list[Array]], list[Array] | None] | None = None
        backend = _backend_of(graph)
        printer = None if backend is None else _printer_of(backend)
        if not graph.equations:
            return
        try:
            if backend is None or printer is None:
                with nullcontext() if backend is None else backend.computing_now():
                    self.run = _interpreter(simplified(graph))
            elif isinstance(printer, OperationPrinter):
                self._compile_operations(backend, printer, donated)
            else:
                self._compile(backend, printer, donated)
        except Exception as error:  # noqa: BLE001 - whatever the compiler lacks, the graph can be interpreted
            _warn_of(error)

    def __call__(self, arguments: list[Array]) -> list[Array]:
        """Run it."""
        return self.run(arguments)

    def _compile(self, backend: Backend, printer: Printer, donated: Sequence[int]) -> None:
        """Plan the graph and have it printed; where that fails, `run` stays what interprets it."""
        graph = expanded(
            self.graph,
            lambda equation: _stays(printer, equation),
            lambda leaf: lowered(printer, leaf),
        )
        graph = simplified(graph)
        made = {out for equation in graph.equations for out in equation.outputs}
        results = list(dict.fromkeys(out for out in graph.outputs if type(out) is Variable and out in made))
        # What passes have computed goes in front of the arguments.
        constants = [array for _, array in graph.constants]
        program = Graph(graph.closed().inputs, [], graph.equations, list(results))
        ranges = {variable: found for variable, array in graph.constants if (found := _range(array)) is not None}
        # An argument that is a result as it is keeps its memory.
        handed_on = set(variables_in(graph.outputs))
        free = [i + len(constants) for i in donated if graph.inputs[i] not in handed_on]
        plan = planned(plannable(program), printer, backend, free, ranges)
        run = printer.compiled(plan, box_of_arrays())
        self.plan, self.printer, self.code_size = plan, printer.name, run.code_size
        taken = [plan.memory.get(buffer) for buffer in plan.results]
        self.donated = tuple(plan.arguments.index(x) - len(constants) for x in taken if isinstance(x, Buffer))
        self.run, self.if_it_fits = _runner(run, graph, results, list(map(row_by_row, constants)))

    def _compile_operations(self, backend: Backend, printer: OperationPrinter, donated: Sequence[int]) -> None:
        """Have the graph's operations compiled as they are; where that fails, `run` stays what interprets it."""
        # Calls go; the texts of primitives stay what they are, since kernels are traced as well.
        with backend.computing_now():
            graph = simplified(expanded(self.graph, lambda equation: not isinstance(equation.primitive, HigherOrder)))
        results = list(dict.fromkeys(out for out in graph.outputs if type(out) is Variable))
        results = [out for out in results if out not in set(graph.inputs)]
        constants = [array for _, array in graph.constants]
        handed_on = set(variables_in(graph.outputs))
        free = [i + len(constants) for i in donated if graph.inputs[i] not in handed_on]
        program = Graph(graph.closed().inputs, [], graph.equations, list(results))
        run = printer.compiled(operations_of(program, backend), box_of_arrays(), free)
        self.printer, self.code_size = printer.name, run.code_size
        self.donated = tuple(i - len(constants) for i in free)
        self.run, self.if_it_fits = _runner(run, graph, results, constants)


def _stays(printer: Printer, equation: Equation) -> bool:
    """Return whether an operation is what a printer writes down or calls: updates by index are never their texts."""
    name = equation.primitive.name
    return is_taken(printer, equation) or printer.calls(name) or name in SCATTERS


def _warn_of(error: Exception) -> None:
    """Say once for a program why it is interpreted."""
    said = str(error) if isinstance(error, CompileError) else "".join(format_exception(error))
    warnings.warn(
        f"gradkit could not compile a function and runs it operation by operation: {said}\n"
        f"Please report this at https://github.com/gradkit/gradkit/issues, with this message and the function.",
        RuntimeWarning,
        stacklevel=levels_to_user(),
    )


def _interpreter(graph: Graph) -> Run:
    """Return what runs a graph operation by operation; a result that is an argument is an Array of its own."""

    def run(arguments: list[Array]) -> list[Array]:
        given = set(map(id, arguments))
        return [renewed(out) if id(out) in given else out for out in graph.run(arguments)]

    return run


def _runner(
    run: CompiledPlan, graph: Graph, results: Sequence[Variable], constants: list[Array]
) -> tuple[Run, Callable[[list[Array]], list[Array] | None] | None]:
    """Return what runs a compiled plan on Arrays, and on Arrays if they fit.

    Results that are arguments or literals are those.
    """

    def on_any(arguments: list[Array]) -> list[Array]:
        found = run.if_it_fits(arguments)
        return list(map(wrap, run(arguments))) if found is None else found

    if constants:
        given, fitting = (_after(constants, f) for f in (on_any, run.if_it_fits))
    else:
        given, fitting = on_any, run.if_it_fits
    if graph.outputs == results:
        return given, fitting
    if not graph.equations:
        return _interpreter(graph), None
    numbers = {variable: i for i, variable in enumerate(graph.inputs)}
    places = {variable: i for i, variable in enumerate(results)}
    outputs: list[tuple[Any, int | None, int | None]] = [
        (out, numbers.get(out), places.get(out)) if type(out) is Variable else (out, None, None)
        for out in graph.outputs
    ]

    def whole(arguments: list[Array], found: list[Array]) -> list[Array]:
        return [
            found[place] if place is not None else renewed(arguments[number]) if number is not None else as_wrapped(out)
            for out, number, place in outputs
        ]

    def whole_if_it_fits(arguments: list[Array]) -> list[Array] | None:
        found = fitting(arguments)
        return None if found is None else whole(arguments, found)

    return lambda arguments: whole(arguments, given(arguments)), whole_if_it_fits


def _after(constants: list[Array], run: Callable[[list[Array]], Any]) -> Callable[[list[Array]], Any]:
    """Return what runs on constants and then its arguments."""
    return lambda arguments: run([*constants, *arguments])


def row_by_row(array: Array) -> Array:
    """Return an Array whose elements lie row by row, of the same: a copy, where those of this one do not.

    Arrays of a library that says nothing of it stay as they are: no printer is theirs.
    """
    value: Any = array._value
    flags = getattr(value, "flags", None)
    if flags is None or flags.c_contiguous:
        return array
    xp = owner_of(value).xp
    return wrap(xp.reshape(xp.asarray(xp.reshape(value, (-1,)), copy=True), value.shape))


def _range(array: Array) -> tuple[int, int] | None:
    """Return start and step of a vector of whole numbers whose neighbours are all as far apart."""
    values = host(array)
    if values.ndim != 1 or values.size < 2 or values.dtype.kind not in "iu":
        return None
    start, step, last = int(values[0]), int(values[1]) - int(values[0]), int(values[-1])
    # Differences wrap around as the numbers would, but then the last one is another.
    if not step or start + step * (values.size - 1) != last:
        return None
    return (start, step) if ((values[1:] - values[:-1]) == values[1:2] - values[:1]).all() else None


def _backend_of(graph: Graph) -> Backend | None:
    """Return the one backend of a graph's arrays."""
    variables = [*graph.inputs, *(out for equation in graph.equations for out in equation.outputs)]
    backends = {variable.form.backend for variable in variables}
    return backends.pop() if len(backends) == 1 else None


def _printer_of(backend: Backend) -> Printer | OperationPrinter | None:
    """Return the best printer of a backend that works, or the one that the environment asks for.

    Raises
    ------
    ValueError
        If it asks for one that is not known.
    MissingDependencyError
        If it asks for one that cannot work here.
    """
    printers = {printer.name: printer for printer in backend.printers}
    asked = os.environ.get(PRINTER)
    if not asked or not printers:
        return next((printer for printer in printers.values() if printer.why_unusable() is None), None)
    if asked == INTERPRETER:
        return None
    if asked not in printers:
        raise ValueError(f"{PRINTER}={asked}: {unknown_name('printer', asked, [*printers, INTERPRETER])}")
    if (reason := printers[asked].why_unusable()) is not None:
        raise MissingDependencyError(f"{PRINTER}={asked}: {reason}")
    return printers[asked]


def has_printer(backend: Backend) -> bool:
    """Return whether graphs of a backend's arrays are compiled."""
    return _printer_of(backend) is not None


def executable_of(graph: Graph, donated: Sequence[int] = ()) -> Executable:
    """Return what runs a graph, compiled once for all graphs that compute the same.

    Parameters
    ----------
    graph : Graph
        The program; its constants become the first inputs.
    donated : sequence of int
        Inputs of the closed graph whose memory the results may take.
    """
    with no_collections():
        form, arrays = key_of(graph)
        literals = tuple(host(array).tobytes() for array in arrays[len(graph.constants) :])
        key = form, literals, tuple(donated), os.environ.get(PRINTER)
        found = _executables.get(key)
        if found is None:
            with _lock:  # of several threads one compiles
                found = _executables.get(key)
                if found is None:
                    if len(_executables) >= MOST_EXECUTABLES:
                        del _executables[next(iter(_executables))]
                    found = _executables[key] = Executable(graph.closed(), donated)
    return found


def clear_executables() -> None:
    """Forget all of them."""
    with _lock:
        _executables.clear()
        clear_texts()


def _unlocked() -> None:
    """Let a child that was made while another thread compiled compile too: that thread is not in it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
