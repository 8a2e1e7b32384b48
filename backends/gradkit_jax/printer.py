"""What hands programs to JAX's compiler: a function that applies their kernels, which JAX traces once."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import io_callback

from gradkit.backend.operations import Apply, Branches, Operations, Repeat, Step, Value, Walk
from gradkit.backend.printers import Box, OperationPrinter

__all__ = ["JaxPrinter"]


class JaxPrinter(OperationPrinter):
    """Prints programs as functions under `jax.jit`."""

    name = "jax"

    def why_unusable(self) -> str | None:
        """Return None: a JAX that runs compiles."""
        return None

    def compiled(self, program: Operations, box: Box, donated: Sequence[int]) -> Program:
        """Return what runs a program; JAX traces it now, and compiles it when it first runs on a device."""
        return Program(program, box, donated)


class Program:
    """A program under `jax.jit`.

    Parameters
    ----------
    program : Operations
        What it does.
    box : Box
        What its arguments come in.
    donated : sequence of int
        The arguments whose memory results may take.

    Attributes
    ----------
    jitted : callable
        The function of JAX's arrays.
    """

    code_size = 0  # JAX does not say

    def __init__(self, program: Operations, box: Box, donated: Sequence[int]) -> None:
        self._box = box
        self._calls_host = calls_host(program)
        self._forms = [(value.form.shape, np.dtype(value.form.dtype)) for value in program.arguments]
        devices = {value.form.device for value in program.arguments}
        self._device = devices.pop() if len(devices) == 1 and jax.local_device_count() > 1 else None
        self.jitted = jax.jit(lambda *arrays: run(program, arrays), donate_argnums=tuple(donated))
        # What cannot be traced shows here, where the graph can still be interpreted.
        self.jitted.trace(*(jax.ShapeDtypeStruct(*form) for form in self._forms))

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on boxes of arrays, and return arrays."""
        return self._ran(list(map(self._box.open, arguments)))

    def _ran(self, arrays: list[Any]) -> list[Any]:
        if not self._calls_host or any(isinstance(array, jax.core.Tracer) for array in arrays):
            return self.jitted(*arrays)  # type: ignore[no-any-return]
        try:
            found: list[Any] = self.jitted(*arrays)
            jax.effects_barrier()  # what a program does on the host is done when the call returns
        except jax.errors.JaxRuntimeError as error:
            raise _own_error(error) from None
        return found

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Run it if these are boxes of arrays of its shapes and dtypes that no transform of gradkit's follows."""
        value, node = self._box.attributes
        arrays = []
        for argument, (shape, dtype) in zip(arguments, self._forms, strict=True):
            if type(argument) is not self._box.kind or getattr(argument, node) is not None:
                return None
            array = getattr(argument, value)
            if not isinstance(array, jax.Array) or array.shape != shape or array.dtype != dtype:
                return None
            if self._device is not None and array.devices() != {self._device}:
                return None
            arrays.append(array)
        return list(map(self._box.close, self._ran(arrays)))


def calls_host(program: Operations) -> bool:
    """Return whether a program calls functions of the host, in itself or in its loops and branches."""
    return any(
        step.on_host if isinstance(step, Apply) else any(map(calls_host, parts_of(step))) for step in program.steps
    )


def parts_of(step: Walk | Repeat | Branches) -> Sequence[Operations]:
    """Return the programs that a loop or a choice runs."""
    if isinstance(step, Walk):
        return (step.step,)
    return (step.test, step.step) if isinstance(step, Repeat) else step.branches


def run(program: Operations, arrays: Sequence[Any]) -> list[Any]:
    """Apply a program's operations to arrays, or to what stands for arrays."""
    known: dict[Value, Any] = dict(zip(program.arguments, arrays, strict=True))

    def read(operands: Sequence[Any]) -> list[Any]:
        return [known[operand] if type(operand) is Value else operand for operand in operands]

    for step in program.steps:
        known.update(zip(step.results, results_of(step, read), strict=True))
    return _as_said(read(program.results), [x.form if type(x) is Value else None for x in program.results])


def results_of(step: Step, read: Any) -> Sequence[Any]:
    """Return what a step gives; `read` gives the arrays of operands."""
    if isinstance(step, Apply):
        operands = read(step.operands)
        if step.on_host:
            return _on_host(step, operands)
        found = step.function(*operands)
        return found if step.several else (found,)
    if isinstance(step, Walk):
        return _walk(step, *map(read, (step.constants, step.carry, step.elements)))
    if isinstance(step, Repeat):
        return _repeat(step, *map(read, (step.test_constants, step.constants, step.carry)))
    assert isinstance(step, Branches)
    operands = read(step.operands)
    branches = [lambda *given, branch=branch: run(branch, given) for branch in step.branches]
    chosen: list[Any] = jax.lax.switch(read([step.index])[0], branches, *operands)
    return chosen


def _walk(step: Walk, constants: list[Any], carry: list[Any], elements: list[Any]) -> Sequence[Any]:
    count = len(carry)

    def body(before: Any, row: Any) -> Any:
        found = run(step.step, [*constants, *before, *row])
        return found[:count], found[count:]

    starts = _as_said(carry, [value.form for value in step.step.arguments[len(constants) :]][:count])
    last, rows = jax.lax.scan(body, starts, elements, length=step.length, reverse=step.reverse)
    return [*last, *rows]


def _repeat(step: Repeat, test_constants: list[Any], constants: list[Any], carry: list[Any]) -> Sequence[Any]:
    starts = _as_said(carry, [value.form for value in step.step.arguments[len(constants) :]])
    found: list[Any] = jax.lax.while_loop(
        lambda state: run(step.test, [*test_constants, *state])[0],
        lambda state: run(step.step, [*constants, *state]),
        starts,
    )
    return found


def _as_said(values: Sequence[Any], forms: Sequence[Any]) -> list[Any]:
    """Return values as arrays of the dtypes that the program says: numbers, and what JAX holds as weakly typed."""
    return [
        value if form is None else jax.lax.convert_element_type(value, np.dtype(form.dtype))
        for value, form in itertools.zip_longest(values, forms)
    ]


_raised: deque[BaseException] = deque(maxlen=16)
"""The newest errors of functions of the host. JAX passes on their text alone, in an error of its own."""


class _Noting:
    """Keeps an error that is raised inside a ``with`` block."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            _raised.append(error)


def _own_error(error: jax.errors.JaxRuntimeError) -> BaseException:
    """Return the error of a function of the host that JAX tells of, or JAX's."""
    text = str(error)
    found = next((own for own in reversed(_raised) if f"{type(own).__name__}: {str(own)[:200]}" in text), error)
    if found is not error:
        _raised.remove(found)
    return found


class _Untold(logging.Filter):
    """Leaves what the call of a program raises to whoever catches it: JAX would write it on the screen as well."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and any(record.exc_info[1] is error for error in _raised))


logging.getLogger("jax._src.callback").addFilter(_Untold())


def _on_host(step: Apply, operands: Sequence[Any]) -> Sequence[Any]:
    """Call a function of the host at each run, in order."""
    forms = [jax.ShapeDtypeStruct(value.form.shape, np.dtype(value.form.dtype)) for value in step.results]
    moving = [i for i, operand in enumerate(operands) if isinstance(operand, jax.Array)]

    def call(*arrays: Any) -> list[Any]:
        given = list(operands)
        for i, array in zip(moving, arrays, strict=True):
            given[i] = jax.numpy.asarray(array)
        with _Noting():
            found = step.function(*given)
        return list(map(np.asarray, found if step.several else (found,)))[: len(forms)]

    found: list[Any] = io_callback(call, forms, *(operands[i] for i in moving), ordered=True)
    return found
