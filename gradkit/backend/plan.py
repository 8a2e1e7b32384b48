"""Plans: what a compiled program does, for a backend that prints it in some language. Data alone.

`gradkit.compiler` makes a plan of a captured graph. Its nodes, in order, are loops over elements (`Nest`), products of
matrices (`Product`), calls of kernels on whole arrays (`Call`), loops over plans (`Loop`, `While`) and choices between
them (`Choice`). All of them read and write buffers by layouts: which elements of which buffer, by strides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradkit.backend.narrow import NARROW_SIZES
from gradkit.backend.printers import ALIGNMENT

__all__ = [
    "Buffer", "Call", "Choice", "Index", "Layout", "Load", "Loop", "Nest", "Node", "Number", "Plan", "Product",
    "Statement", "Store", "While", "lies_row_by_row", "row_by_row",
]  # fmt: skip

Sizes = tuple[int, ...]

ITEM_SIZES = {"bool": 1, **NARROW_SIZES}


def row_by_row(shape: Sequence[int]) -> Sizes:
    """Return the strides of an array whose elements lie row by row."""
    strides, size = [], 1
    for length in reversed(shape):
        strides.append(size)
        size *= length
    return tuple(reversed(strides))


def lies_row_by_row(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether elements lie row by row by these strides; how far apart one element is does not matter."""
    pairs = zip(strides, row_by_row(shape), shape, strict=True)
    return all(stride == expected or size == 1 for stride, expected, size in pairs)


@dataclass(eq=False)
class Buffer:
    """Memory for one array, its elements row by row.

    Attributes
    ----------
    shape : tuple of int
        The array's shape.
    dtype : str
        The name of its dtype.
    kind : str
        ``"argument"``, ``"result"`` or ``"temporary"``.
    """

    shape: Sizes
    dtype: str
    kind: str = "temporary"

    @property
    def item_size(self) -> int:
        """The bytes of an element."""
        return ITEM_SIZES.get(self.dtype) or int(self.dtype.lstrip("abcdefghijklmnopqrstuvwxyz")) // 8

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.item_size

    @property
    def room(self) -> int:
        """Its bytes in whole units of alignment: what it takes in an arena."""
        return -(-self.size // ALIGNMENT) * ALIGNMENT

    @property
    def whole(self) -> Layout:
        """The layout of all of it."""
        return Layout(self, self.shape, row_by_row(self.shape))


@dataclass(frozen=True, eq=False)
class Layout:
    """Elements of a buffer, as an array.

    Attributes
    ----------
    buffer : Buffer
        Where they are.
    shape, strides : tuple of int
        By axis: how many, and how many elements of the buffer lie between two neighbours.
    offset : int
        The position of the first one, in elements.
    """

    buffer: Buffer
    shape: Sizes
    strides: Sizes
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Number:
    """A number in a nest."""

    value: Any
    dtype: str


@dataclass(frozen=True, eq=False)
class Index:
    """The position along an axis of a nest."""

    axis: int
    dtype: str


@dataclass(frozen=True, eq=False)
class Load:
    """An element of a buffer, at a position in a nest.

    Attributes
    ----------
    layout : Layout
        Its shape is the nest's; a stride is 0 where the array is broadcast.
    gathered : tuple of (int, int, int)
        Positions that are values: which of the body, the stride in elements, and the number of positions. A position
        that is out of range is clamped.
    """

    layout: Layout
    gathered: tuple[tuple[int, int, int], ...] = ()

    @property
    def dtype(self) -> str:
        """The buffer's dtype."""
        return self.layout.buffer.dtype


@dataclass(frozen=True, eq=False)
class Statement:
    """A scalar operation of a nest.

    Attributes
    ----------
    name : str
        The elementwise primitive.
    operands : tuple of int
        Positions in the nest's body.
    dtype : str
        The result's.
    """

    name: str
    operands: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Store:
    """Where a value of a nest goes.

    Attributes
    ----------
    value : int
        Its position in the body.
    layout : Layout
        Its shape is the nest's; the strides of the axes that are reduced are 0.
    combine : str or None
        The primitive that reduces values for one place, as `add`.
    identity : number
        What that starts from.
    reduced : tuple of int
        The axes that are reduced.
    scattered : tuple of (int, int, int)
        Positions that are values, as those of a `Load`; a value whose position is out of range goes nowhere. What is
        there before is in the buffer already, `combine` says what is done with it, and the order of the steps matters.
    running : int or None
        The axis along which `combine` goes on: each place gets what it makes, in this order, of the values from the
        beginning of the axis up to there. None of the axes is reduced then.
    """

    value: int
    layout: Layout
    combine: str | None = None
    identity: Any = None
    reduced: Sizes = ()
    scattered: tuple[tuple[int, int, int], ...] = ()
    running: int | None = None


@dataclass(frozen=True, eq=False)
class Nest:
    """Loops over elements.

    Attributes
    ----------
    sizes : tuple of int
        The number of steps along each axis, the outermost first.
    body : tuple of (Load, Number, Index or Statement)
        What is computed at each position, in order.
    stores : tuple of Store
        What is kept.
    """

    sizes: Sizes
    body: tuple[Load | Number | Index | Statement, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True, eq=False)
class Product:
    """``out = alpha * left @ right``, or that added to `out`.

    Leading axes are batches, whose strides are 0 where they are broadcast.
    """

    out: Layout
    left: Layout
    right: Layout
    alpha: float = 1.0
    adds: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A function of whole arrays.

    Attributes
    ----------
    name : str
        The primitive.
    function : callable
        ``function(*arrays)``: an array, or a tuple of them for several results.
    operands : tuple of (Layout or number)
        What it is given.
    results : tuple of Buffer
        Where its results go.
    params : mapping
        The primitive's parameters, which `function` has already: for a printer that writes the function itself.
    scratch : Buffer or None
        The memory that such a printer has asked for (`Printer.room`).
    on_host : bool
        Whether it may run functions of the host at each call.
    in_place : mapping from int to int
        Results that are operands, in whose memory others have written meanwhile: by number, and which. Once buffers
        have their places, those that are where the operand is, which the function need not be given; its other results
        are copied.
    made_in : mapping from int to int
        Operands that may be made where another one is. Once buffers have their places, those that are: the function,
        which would copy them there, need be given neither.
    frees_memory : bool
        Whether others may write from then on in the memory of results that earlier calls have given in place.
    """

    name: str
    function: Callable[..., Any]
    operands: tuple[Any, ...]
    results: tuple[Buffer, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    scratch: Buffer | None = None
    on_host: bool = False
    in_place: Mapping[int, int] = field(default_factory=dict)
    made_in: Mapping[int, int] = field(default_factory=dict)
    frees_memory: bool = False

    @property
    def copied(self) -> list[int]:
        """The numbers of the results that are copied from where the function has them."""
        return [i for i in range(len(self.results)) if i not in self.in_place]


@dataclass(frozen=True, eq=False)
class Loop:
    """A plan run a number of times.

    Attributes
    ----------
    step : Plan
        Its arguments are `constants`, the carry, and one element of each of `elements`; its results the carry, and one
        element of each of `rows`.
    constants : tuple of Layout
        The same for every step.
    carry : tuple of Buffer
        It holds the start before, and the end after.
    elements, rows : tuple of Layout
        What is read and written step by step, along the first axis.
    length : int
        The number of steps.
    reverse : bool
        Whether the last element is the first.
    scratch : Buffer
        Memory for the step: the next carry where it is not written in place, and its arena.
    """

    step: Plan
    constants: tuple[Layout, ...]
    carry: tuple[Buffer, ...]
    elements: tuple[Layout, ...]
    rows: tuple[Layout, ...]
    length: int
    reverse: bool
    scratch: Buffer


@dataclass(frozen=True, eq=False)
class While:
    """A plan run as long as another one gives True; both take their constants and the carry."""

    test: Plan
    step: Plan
    test_constants: tuple[Layout, ...]
    constants: tuple[Layout, ...]
    carry: tuple[Buffer, ...]
    scratch: Buffer


@dataclass(frozen=True, eq=False)
class Choice:
    """One of several plans, by a whole number; all take the same operands and have the same results."""

    index: Layout
    plans: tuple[Plan, ...]
    operands: tuple[Layout, ...]
    results: tuple[Buffer, ...]
    scratch: Buffer


Node = Nest | Product | Call | Loop | While | Choice


@dataclass(eq=False)
class Plan:
    """A compiled program.

    Attributes
    ----------
    arguments, results : list of Buffer
        What it is given, and what it gives.
    nodes : list of Node
        What it does, in order.
    memory : mapping from Buffer to (int or Buffer)
        Of each temporary buffer, and of results that are no memory of their own: the byte in the arena where it begins,
        or the argument whose memory it has. Arguments that lose their memory have been donated.
    arena : int
        The bytes of memory for temporary buffers.
    device : object
        Where its arrays are, as the library says it. Plans in a plan do not say.
    """

    arguments: list[Buffer] = field(default_factory=list)
    results: list[Buffer] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    memory: Mapping[Buffer, int | Buffer] = field(default_factory=dict)
    arena: int = 0
    device: Any = None

    @property
    def frees_memory(self) -> bool:
        """Whether a call does, here or in a loop or choice."""
        for node in self.nodes:
            if isinstance(node, Call):
                if node.frees_memory:
                    return True
            elif isinstance(node, Loop | While | Choice):
                plans = node.plans if isinstance(node, Choice) else (node.step,)
                if any(plan.frees_memory for plan in plans):
                    return True
        return False

    @property
    def written(self) -> set[Buffer]:
        """The arguments in whose memory it writes."""
        calls = [node for node in self.nodes if isinstance(node, Call)]
        handed_on = {call.results[i] for call in calls for i in call.in_place}
        places = {place for buffer, place in self.memory.items() if buffer not in handed_on}
        return {place for place in places if isinstance(place, Buffer)}
