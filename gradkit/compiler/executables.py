"""What runs a captured graph on values. One is made for each program: graphs with one key share it.

An executable takes the graph's constants and arguments, in this order, as Arrays that no transform follows, and gives
its results, as such. Literals are part of the program. It is what the first of the backend's printers makes of the
graph's plan. Where there is no printer the simplified graph is interpreted, operation by operation; where a plan fails,
the graph.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from gradkit.backend import Backend, CompileError, Device, backend_names, load_backend, why_not
from gradkit.backend.printers import CompiledPlan, KeepingPrinter, OperationPrinter, Printer
from gradkit.compiler.boxes import box_of_arrays
from gradkit.compiler.kept import facts_of
from gradkit.compiler.keys import key_of
from gradkit.compiler.outputs import LITERAL, Outputs, Run, kept_array, outputs_of, read_array, runner
from gradkit.compiler.passes import variables_in
from gradkit.compiler.resting import no_collections
from gradkit.core.array import Array, owner_of, renewed, wrap
from gradkit.core.graph import Graph, HigherOrder, Variable
from gradkit.core.sources import levels_to_user
from gradkit.core.values import host
from gradkit.errors import MissingDependencyError, unknown_name

if TYPE_CHECKING:
    from gradkit.backend.plan import Plan
    from gradkit.compiler.compiling import Made

__all__ = ["Executable", "clear_executables", "executable_of", "has_printer", "row_by_row"]

PRINTER, INTERPRETER = "GRADKIT_COMPILER", "interpreter"
"""The environment variable that names the printer to use, or ``interpreter``; by default the best that works."""

MOST_EXECUTABLES = 1024
"""How many are known at a time: a program that has others at each call would fill the memory."""

_executables: dict[Hashable, Executable] = {}
_lock = threading.RLock()

Key = tuple[Hashable, Sequence[bytes]]


class Executable:
    """A compiled graph.

    Parameters
    ----------
    graph : Graph
        The program, with nothing but inputs (`Graph.closed`).
    donated : sequence of int
        Inputs whose memory the results may take.
    key : tuple, optional
        The graph's key, and the elements of the arrays in it: what the program may be kept under.

    Attributes
    ----------
    graph : Graph
        The program as it was given.
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

    def __init__(self, graph: Graph, donated: Sequence[int] = (), key: Key | None = None) -> None:
        self.graph = graph
        self._plan: Callable[[], Plan | None] = lambda: None
        self.printer = INTERPRETER
        self.code_size = 0
        self.donated: tuple[int, ...] = ()
        self.run = _interpreter(graph)
        self.if_it_fits: Callable[[list[Array]], list[Array] | None] | None = None
        backend = _backend_of(graph)
        printer = None if backend is None else _printer_of(backend)
        if printer is not None and not isinstance(printer, OperationPrinter) and len(_devices_in(graph)) > 1:
            printer = None  # a plan is of one place
        if not graph.equations:
            return
        try:
            if backend is None or printer is None:
                from gradkit.compiler.simplify import simplified  # late: what is on disk is not compiled

                with nullcontext() if backend is None else backend.computing_now():
                    self.run = _interpreter(simplified(graph))
            elif isinstance(printer, OperationPrinter):
                self._compile_operations(backend, printer, donated)
            else:
                self._compile(backend, printer, donated, key)
        except Exception as error:  # noqa: BLE001 - whatever the compiler lacks, the graph can be interpreted
            if backend is None or all(map(backend.has_dtype, _dtypes_in(graph))):
                _warn_of(error)  # else the operation that asks for what is not there says so when it runs

    def __call__(self, arguments: list[Array]) -> list[Array]:
        """Run it."""
        return self.run(arguments)

    def _compile(self, backend: Backend, printer: Printer, donated: Sequence[int], key: Key | None) -> None:
        """Plan the graph and have it printed; where that fails, `run` stays what interprets it.

        What a printer has kept of another process is neither planned nor printed: there is a plan when it is asked for.
        """
        box = box_of_arrays()
        keeping = printer if isinstance(printer, KeepingPrinter) else None
        facts = None if key is None or keeping is None else facts_of(*key, donated, printer, box)
        if keeping is not None and facts is not None and (found := keeping.recalled(facts, box)) is not None:
            run, (taken, outputs, constants) = found
            self._plan = lambda: _made_of(self.graph, backend, printer, donated).plan
            self._use(backend, printer, run, taken, outputs, [read_array(kept, backend) for kept in constants])
            return
        made = _made_of(self.graph, backend, printer, donated)
        self._plan = lambda: made.plan
        run = printer.compiled(made.plan, box)
        self._use(backend, printer, run, made.donated, made.outputs, made.constants)
        if not made.graph.equations and made.outputs is not None:
            self.run, self.if_it_fits = _interpreter(made.graph), None
        elif keeping is not None and facts is not None and (others := _kept(made)) is not None:
            keeping.keep(facts, run, others)

    def _use(
        self,
        backend: Backend,
        printer: Printer,
        run: CompiledPlan,
        donated: Sequence[int],
        outputs: Outputs | None,
        constants: list[Array],
    ) -> None:
        self.printer, self.code_size, self.donated = printer.name, run.code_size, tuple(donated)
        interpreted = self.run
        compiled, self.if_it_fits = runner(run, outputs, list(map(row_by_row, constants)))
        self.run = compiled
        if type(backend).is_followed_now is not Backend.is_followed_now:
            self.run = lambda arguments: (interpreted if backend.is_followed_now else compiled)(arguments)

    @property
    def plan(self) -> Plan | None:
        """What is run; None where the graph is interpreted."""
        return self._plan()

    def _compile_operations(self, backend: Backend, printer: OperationPrinter, donated: Sequence[int]) -> None:
        """Have the graph's operations compiled as they are; where that fails, `run` stays what interprets it."""
        from gradkit.compiler.expansion import expanded  # late: what is on disk is not compiled
        from gradkit.compiler.operating import operations_of  # late: as above
        from gradkit.compiler.simplify import simplified  # late: as above

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
        self.run, self.if_it_fits = runner(run, outputs_of(graph, results), constants)


def _dtypes_in(graph: Graph) -> set[str]:
    """Return the names of the dtypes of what a graph computes, and of what the functions in it do."""
    found = {result.dtype.name for equation in graph.equations for result in equation.outputs}
    return found.union(*(_dtypes_in(inner) for equation in graph.equations for inner in equation.graphs))


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


def _made_of(graph: Graph, backend: Backend, printer: Printer, donated: Sequence[int]) -> Made:
    from gradkit.compiler.compiling import made_of  # late: what is on disk is not compiled

    return made_of(graph, backend, printer, donated)


def _kept(made: Made) -> tuple[Any, ...] | None:
    """Return what is kept of a program beside its code; None where that is not all data."""
    arrays = tuple(map(kept_array, made.constants))
    outputs = made.outputs or ()
    if None in arrays or any(where == LITERAL for where, _ in outputs):
        return None
    return made.donated, made.outputs, arrays


def row_by_row(array: Array) -> Array:
    """Return an Array whose elements lie row by row, of the same: a copy, where those of this one do not."""
    value: Any = array._value
    flags = getattr(value, "flags", None)
    if flags is not None and flags.c_contiguous:
        return array
    found = owner_of(value).row_by_row(value)
    return array if found is value else wrap(found)


def _backend_of(graph: Graph) -> Backend | None:
    """Return the one backend of a graph's arrays."""
    variables = [*graph.inputs, *(out for equation in graph.equations for out in equation.outputs)]
    backends = {variable.form.backend for variable in variables}
    return backends.pop() if len(backends) == 1 else None


def _devices_in(graph: Graph) -> set[Device]:
    """Return the devices of a graph's arrays, and of those in the functions of its operations."""
    variables = [*graph.inputs, *(out for equation in graph.equations for out in equation.outputs)]
    found = {variable.form.device for variable in variables}
    return found.union(*(_devices_in(inner) for equation in graph.equations for inner in equation.graphs))


def _printer_of(backend: Backend) -> Printer | OperationPrinter | None:
    """Return the best printer of a backend that works, or the one that the environment asks for.

    What is asked for by the name of another backend's printer is said of that one's arrays.

    Raises
    ------
    ValueError
        If it asks for one that is not known.
    MissingDependencyError
        If it asks for one that cannot work here.
    """
    printers = {printer.name: printer for printer in backend.printers}
    asked = os.environ.get(PRINTER)
    if not asked or not printers or (asked not in printers and asked != INTERPRETER and _is_anothers(asked)):
        return next((printer for printer in printers.values() if printer.why_unusable() is None), None)
    if asked == INTERPRETER:
        return None
    if asked not in printers:
        raise ValueError(f"{PRINTER}={asked}: {unknown_name('printer', asked, [*printers, INTERPRETER])}")
    if (reason := printers[asked].why_unusable()) is not None:
        raise MissingDependencyError(f"{PRINTER}={asked}: {reason}")
    return printers[asked]


def _is_anothers(asked: str) -> bool:
    """Return whether a printer of that name is some backend's; those whose libraries are imported are asked first."""
    if asked not in _others:
        backends = sorted(map(load_backend, backend_names()), key=lambda backend: backend.library not in sys.modules)
        usable = (backend for backend in backends if why_not(backend) is None)
        if not any(printer.name == asked for backend in usable for printer in backend.printers):
            return False
        _others.add(asked)
    return True


_others: set[str] = set()
"""Names that are printers', of some backend."""


def has_printer(backend: Backend) -> bool:
    """Return whether graphs of a backend's arrays are compiled, and what is compiled may run now."""
    return _printer_of(backend) is not None and not backend.is_followed_now


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
                    found = _executables[key] = Executable(graph.closed(), donated, (form, literals))
    return found


def clear_executables() -> None:
    """Forget all of them."""
    with _lock:
        from gradkit.compiler.expansion import clear_texts  # late: what is on disk needs none

        _executables.clear()
        clear_texts()


def _unlocked() -> None:
    """Let a child that was made while another thread compiled compile too: that thread is not in it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
