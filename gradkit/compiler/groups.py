"""What fusing gives: groups of operations that become one nest each, and single operations between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradkit.compiler.access import Access, Sizes
from gradkit.core.graph import Equation, Variable

__all__ = ["Group", "Kept", "Single"]


@dataclass(frozen=True)
class Kept:
    """What a group keeps of a value.

    Attributes
    ----------
    memory : Variable
        The array that has it.
    value : Variable, or a literal
        The value.
    strides, offset : tuple of int, int
        Where in the array, by the axes of the group.
    combine, identity : str or None, number
        How values for one place are reduced.
    reduced : tuple of int
        The axes that are reduced.
    scattered : tuple or None
        Positions that are values: the array of them, how it is read, the stride in elements, and how many there are.
    running : int or None
        The axis along which `combine` goes on, with its result at each place kept.
    """

    memory: Variable
    value: Any
    strides: Sizes
    offset: int = 0
    combine: str | None = None
    identity: Any = None
    reduced: Sizes = ()
    scattered: tuple[Any, Access, int, int] | None = None
    running: int | None = None


@dataclass(eq=False)
class Group:
    """Operations that become one nest.

    Attributes
    ----------
    space : tuple of int
        The nest's sizes.
    position : tuple of int
        Where it is among the others: the number of the operation that began it, and 1 where another group of the same
        operation, which says what is there before, comes first.
    entries : list of Equation
        Its operations, the last one first.
    accesses : dict from Variable to Access
        Their results, and by which access they are computed.
    kept : list of Kept
        What it keeps.
    """

    space: Sizes
    position: tuple[int, int]
    entries: list[Equation] = field(default_factory=list)
    accesses: dict[Variable, Access] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)


@dataclass(eq=False)
class Single:
    """An operation that is no part of a nest.

    Attributes
    ----------
    equation : Equation
        The operation.
    position : tuple of int
        Where it is among the groups and the others.
    alpha, adds : float, bool
        Of a product: what it is multiplied by, and whether it is added to what its result holds before.
    """

    equation: Equation
    position: tuple[int, int]
    alpha: float = 1.0
    adds: bool = False
