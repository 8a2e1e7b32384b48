"""What a backend compiles programs with: all that a process has to know of plans which finds its programs compiled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gradkit.backend.operations import Operations
    from gradkit.backend.plan import Call, Plan

__all__ = ["ALIGNMENT", "Box", "CompiledPlan", "KeepingPrinter", "OperationPrinter", "Printer"]

ALIGNMENT = 64
"""Bytes: of a line of the cache, and of the widest vector."""


class Box(NamedTuple):
    """Objects that hold one array each, in which compiled programs get their arguments.

    Attributes
    ----------
    kind : type
        Their type.
    open : callable
        Gives the array of one.
    close : callable
        Makes one of an array.
    attributes : tuple of str
        The attributes of one that have its array, and what a transform knows of it: None where no transform follows it.
    value, node : int or None
        Bytes from the beginning of such an object to these two; None if that is not known.
    """

    kind: type
    open: Callable[[Any], Any]
    close: Callable[[Any], Any]
    attributes: tuple[str, str]
    value: int | None
    node: int | None


class CompiledPlan(Protocol):
    """A plan that can be run."""

    @property
    def code_size(self) -> int:
        """The bytes of machine code; 0 where there is none."""
        ...

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on boxes of arrays of the plan's shapes and dtypes, and return arrays."""
        ...

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Run it if these are boxes of such arrays, which no transform follows, and return boxes; else return None."""
        ...


class Printer(Protocol):
    """What a backend compiles plans with."""

    @property
    def name(self) -> str:
        """How it is called."""
        ...

    def why_unusable(self) -> str | None:
        """Return None where it works on this machine, else why not, and what to install."""
        ...

    def takes(self, name: str, dtypes: Sequence[str]) -> bool:
        """Return whether a primitive of these dtypes, the result's last, may stand in a nest.

        Asked for `matmul`: whether it may be a product; for ``"product and sum"``: whether one may be added to what is
        there; for `take` and ``"scatter"``: whether positions may be values; for ``"running"``: whether stores may run
        along an axis.
        """
        ...

    def calls(self, name: str) -> bool:
        """Return whether a primitive is a call, though it is made of others or could be (`compiler.lowering`)."""
        ...

    def room(self, call: Call) -> int:
        """Return the bytes of memory that a call takes beside its operands and results."""
        ...

    def compiled(self, plan: Plan, box: Box) -> CompiledPlan:
        """Return what runs a plan, or raise CompileError."""
        ...


@runtime_checkable
class KeepingPrinter(Printer, Protocol):
    """One that keeps what it has compiled from process to process, so that no plan is made of a graph it knows."""

    def keep(self, facts: bytes, run: CompiledPlan, others: Sequence[Any]) -> None:
        """Keep what it has made of a plan, and with it tuples, numbers, strings and bytes, if it can.

        `facts` is what the program depends on, beside what the printer itself does.
        """
        ...

    def recalled(self, facts: bytes, box: Box) -> tuple[CompiledPlan, Sequence[Any]] | None:
        """Return what was kept under these facts, or None where that is nothing, or not whole."""
        ...


class OperationPrinter(ABC):
    """What a backend compiles such programs with.

    Attributes
    ----------
    name : str
        How it is called.
    """

    name: ClassVar[str]

    @abstractmethod
    def why_unusable(self) -> str | None:
        """Return None where it works on this machine, else why not, and what to install."""

    @abstractmethod
    def compiled(self, program: Operations, box: Box, donated: Sequence[int]) -> CompiledPlan:
        """Return what runs a program, or raise CompileError; results may take the memory of arguments `donated`."""
