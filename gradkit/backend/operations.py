"""Programs of whole arrays, for a backend whose library compiles by itself what is called on stand-ins. Data alone.

`gradkit.compiler` makes `Operations` of a captured graph where a backend has an `OperationPrinter`; where it has a
`Printer`, the graph becomes a plan (`gradkit.backend.plan`), which says where elements are in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Apply", "Branches", "Form", "Operations", "Repeat", "Step", "Value", "Walk"]


@dataclass(frozen=True)
class Form:
    """The shape of an array, the name of its dtype, and where it is, as the library says it."""

    shape: tuple[int, ...]
    dtype: str
    device: Any = None


@dataclass(frozen=True, eq=False)
class Value:
    """An array of a program: an argument, or the result of a step.

    Attributes
    ----------
    form : Form
        Its shape and dtype.
    """

    form: Form


Operand = Any
"""A `Value`; or a raw array or a Python number, which is the same at each run."""


@dataclass(frozen=True, eq=False)
class Apply:
    """A kernel applied to arrays.

    Attributes
    ----------
    name : str
        The primitive.
    function : callable
        ``function(*arrays)``: an array, or a tuple of them if `several`.
    operands : tuple of Operand
        What it is given.
    results : tuple of Value
        What it gives.
    several : bool
        Whether it gives a tuple.
    on_host : bool
        Whether it calls a function of the host at each run, in the order of the program.
    """

    name: str
    function: Callable[..., Any]
    operands: tuple[Operand, ...]
    results: tuple[Value, ...]
    several: bool = False
    on_host: bool = False


@dataclass(frozen=True, eq=False)
class Walk:
    """A program run over the first axis of arrays: ``(*constants, *carry, *element of each) -> (*carry, *rows)``.

    Attributes
    ----------
    step : Operations
        The program.
    constants, carry, elements : tuple of Operand
        What is the same for each step, what the first one starts from, and what is gone through.
    results : tuple of Value
        The last carry, and the rows of all steps.
    length : int
        The number of steps.
    reverse : bool
        Whether the last element is the first.
    """

    step: Operations
    constants: tuple[Operand, ...]
    carry: tuple[Operand, ...]
    elements: tuple[Operand, ...]
    results: tuple[Value, ...]
    length: int
    reverse: bool


@dataclass(frozen=True, eq=False)
class Repeat:
    """A program run on a carry as long as another one gives True; each has constants in front of the carry."""

    test: Operations
    step: Operations
    test_constants: tuple[Operand, ...]
    constants: tuple[Operand, ...]
    carry: tuple[Operand, ...]
    results: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Branches:
    """One of several programs of the same arguments, by a whole number."""

    index: Operand
    branches: tuple[Operations, ...]
    operands: tuple[Operand, ...]
    results: tuple[Value, ...]


Step = Apply | Walk | Repeat | Branches


@dataclass(eq=False)
class Operations:
    """A program.

    Attributes
    ----------
    arguments : list of Value
        What it is given.
    steps : list of Step
        What it does, in order.
    results : list of Operand
        What it gives.
    """

    arguments: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    results: list[Operand] = field(default_factory=list)
