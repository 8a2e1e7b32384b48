"""How the calls of a library are written in Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gradkit.backend.plan import Buffer, Product, Statement, Store

if TYPE_CHECKING:
    from gradkit.backend.lists.nests import NestWriter
    from gradkit.backend.lists.text import Function, Sizes, Texts

__all__ = ["Library"]


class Library(ABC):
    """A library whose calls write into arrays that are there already.

    Expressions and lines are Python's. Arrays stand in them by name; other values by the name that `Texts.name` gives.

    Attributes
    ----------
    names : mapping from str to object
        What lines may use by these names.
    in_steps : frozenset of str
        Primitives that take several calls, or whose call does not allow it, so that what they write may not be in the
        place of one of their operands.
    takes_whole : frozenset of str
        Primitives whose operands have to have the result's shape.
    has_negative_strides : bool
        Whether a view may run backwards.
    ranks_alike : bool
        Whether a result has as many axes as the operand with the most: a call does not write into an array of more.
    """

    names: Mapping[str, Any]
    in_steps: frozenset[str] = frozenset()
    takes_whole: frozenset[str] = frozenset()
    has_negative_strides: ClassVar[bool] = True
    ranks_alike: ClassVar[bool] = False

    # Values

    @abstractmethod
    def dtype(self, name: str) -> Any:
        """Return the library's dtype of that name."""

    @abstractmethod
    def number(self, value: Any, dtype: str, axes: int) -> Any:
        """Return a number as an array that broadcasts with arrays of so many axes."""

    @abstractmethod
    def positions(self, shape: Sizes, axis: int, dtype: str) -> Any:
        """Return the positions along an axis, as an array of a shape with size 1 along the others."""

    # Expressions

    @abstractmethod
    def empty(self, texts: Texts, shape: Sizes, dtype: str) -> str:
        """Return what makes an array whose elements may be anything."""

    @abstractmethod
    def in_arena(self, texts: Texts, arena: str, dtype: str, start: int, sizes: Sizes, strides: Sizes) -> str:
        """Return what makes an array in a vector of bytes, from the byte `start` on."""

    @abstractmethod
    def view(self, texts: Texts, root: str, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Return what makes a view of an array whose elements lie row by row: in the cheapest way that there is."""

    def flip(self, array: str, axes: Sizes) -> str:
        """Return what makes a copy that runs backwards along axes, for a library without negative strides."""
        raise NotImplementedError

    @abstractmethod
    def element(self, array: str, index: str) -> str:
        """Return what makes a view of an element along the first axis."""

    @abstractmethod
    def item(self, array: str) -> str:
        """Return what gives the number of an array without axes."""

    # Lines

    @abstractmethod
    def copy(self, out: str, value: str, casts: bool = False) -> str:
        """Return what writes the elements of an array into another one; if it casts, of another dtype."""

    @abstractmethod
    def statement(
        self, writer: NestWriter, part: Statement, operands: Sequence[str], out: str, shape: Sizes
    ) -> Sequence[str]:
        """Return what writes a primitive of arrays that broadcast to that shape; a cast is a `copy`."""

    @abstractmethod
    def reduce(self, writer: NestWriter, store: Store) -> None:
        """Write a reduction: of the value that a store combines, over some axes, into its buffer."""

    @abstractmethod
    def product(self, function: Function, product: Product) -> None:
        """Write a product of matrices."""

    # The whole

    def called(self, texts: Texts, plan: str, count: int, written: Sequence[int]) -> str:
        """Return the name of what is called with so many arguments, and results, to run the function `plan`.

        It writes into the arguments `written` and the results. By default it is the function itself.
        """
        return plan
