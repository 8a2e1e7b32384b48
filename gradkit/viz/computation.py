"""What is drawn: the values of a computation and the operations between them, and the marks that stand for them.

A `Computation` is what the readers give (`viz.tape` for arrays on the tape, `viz.captured` for functions): the values
and operations as they are. A `Diagram` is what the writers take (`viz.dot`, `viz.layout`): marks with text in them,
and arrows. `Computation.diagram` makes one mark of each value and operation; `viz.folding` makes fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gradkit.viz.wording import printable, range_of

__all__ = ["Computation", "Diagram", "Mark", "Operation", "Quantity", "Role"]

Role = Literal["input", "constant", "result"]


@dataclass(eq=False)
class Quantity:
    """One value of a computation.

    Attributes
    ----------
    label : str
        Its name, or an empty string.
    shape, dtype : tuple of int or None, str
        Its shape and the name of its dtype; a plain number has none.
    role : str
        Whether it is an ``"input"``, a ``"constant"``, which nothing is differentiated by, or a ``"result"``.
    data, grad : raw array, number or None
        Its elements, and its gradient; None where they are not known.
    note : str
        What is to be said in place of the elements.
    """

    label: str
    role: Role
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    data: Any = None
    grad: Any = None
    note: str = ""

    @property
    def type(self) -> str:
        """Its dtype and shape as text, empty for a plain number."""
        return "" if self.shape is None else f"{self.dtype}[{','.join(map(str, self.shape))}]"

    def cells(self) -> tuple[str, ...]:
        """Return the cells of its record: of a number in a row, as in the lecture; of an array in two columns."""
        what = [self.label, self.type]
        numbers = [
            "" if self.data is None else f"data {range_of(self.data)}",
            "" if self.grad is None else f"grad {range_of(self.grad)}",
            self.note,
        ]
        lines = [*what, *numbers] if self.shape is None else [_stack(what), _stack(numbers)]
        return tuple(printable(line) for line in lines if line) or (" ",)

    def mark(self) -> Mark:
        """Return the record that stands for it."""
        return Mark("record", self.cells(), dashed=self.role == "constant")


def _stack(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if line)


@dataclass(eq=False)
class Operation:
    """One operation of a computation.

    Attributes
    ----------
    name : str
        What it is called: ``"+"``, ``"tanh"``.
    inputs, outputs : list of Quantity
        What it takes and gives.
    detail : str
        Its parameters as text.
    """

    name: str
    inputs: list[Quantity]
    outputs: list[Quantity]
    detail: str = ""

    def mark(self) -> Mark:
        """Return the oval that stands for it."""
        return Mark("oval", tuple(printable(line) for line in (self.name, self.detail) if line))


@dataclass
class Computation:
    """Values and operations.

    Attributes
    ----------
    quantities : list of Quantity
        The values.
    operations : list of Operation
        The operations, each after those that it depends on.
    outputs : list of Quantity
        The results: those of the values that all this is done for.
    """

    quantities: list[Quantity] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    outputs: list[Quantity] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of marks of the whole picture."""
        return len(self.quantities) + len(self.operations)

    def followed_by(self, other: Computation) -> Computation:
        """Return this and a computation that goes on from its values as one, with the results of both."""
        quantities = list(dict.fromkeys([*self.quantities, *other.quantities]))
        outputs = list(dict.fromkeys([*self.outputs, *other.outputs]))
        return Computation(quantities, [*self.operations, *other.operations], outputs)

    def diagram(self) -> Diagram:
        """Return a mark for each value and operation."""
        marks: dict[Quantity | Operation, Mark] = {}
        for operation in self.operations:
            items: list[Quantity | Operation] = [*operation.inputs, operation, *operation.outputs]
            marks.update((item, item.mark()) for item in items if item not in marks)
        # And those that no operation takes or gives.
        marks.update((quantity, quantity.mark()) for quantity in self.quantities if quantity not in marks)
        edges = [
            edge
            for operation in self.operations
            for edge in (
                *((marks[quantity], marks[operation]) for quantity in operation.inputs),
                *((marks[operation], marks[quantity]) for quantity in operation.outputs),
            )
        ]
        return Diagram(list(marks.values()), list(dict.fromkeys(edges)))


Shape = Literal["record", "oval", "group"]


@dataclass(eq=False)
class Mark:
    """One figure of a picture.

    Attributes
    ----------
    shape : str
        A ``"record"``, whose texts are its cells from left to right; an ``"oval"`` or a ``"group"`` (a box with a
        double border, for several operations or values), whose texts are its lines.
    texts : tuple of str
        What is written in it. A text may have line breaks.
    dashed : bool
        Whether its border is.
    """

    shape: Shape
    texts: tuple[str, ...]
    dashed: bool = False


@dataclass
class Diagram:
    """A picture's marks, and its arrows as pairs of marks."""

    marks: Sequence[Mark]
    edges: Sequence[tuple[Mark, Mark]]
    title: str = ""
