"""Assignment: ``x[idx] = y``, ``x += y`` and ``out=x``, for code by others that was written for arrays that change.

Nothing changes in memory: the object `x` gets the value and the history of a new array, so derivatives are right. So do
the Arrays that in NumPy share its memory (``row = x[0]``, ``x.T``; `parts.py`). Whose code may assign says
`may_be_assigned_to`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from sys import _getframe
from types import FrameType
from typing import Any

from gradkit.callers import ENTRANCE, OURS, whose
from gradkit.config import items
from gradkit.core import Array
from gradkit.core.above import above
from gradkit.core.node import Leaf
from gradkit.core.operands import dtype_name
from gradkit.primitives.indexing import getitem
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.parts import become, may_assign, place_of
from gradkit.primitives.updates import IndexUpdate

__all__ = [
    "IN_PLACE", "Flat", "assign", "change_or_refuse", "changed", "in_place", "may_be_assigned_to",
    "refuse_to_change", "setitem",
]  # fmt: skip


def may_be_assigned_to() -> bool:
    """Return whether the code that runs may assign to Arrays.

    All code may inside ``with gradkit.item_assignment():``. Without it, the packages of
    ``gradkit.config.gradkit_assigning_libraries`` may, since they are written for arrays that change, and a user whose
    function they call, or who calls them, may not.
    """
    frame: FrameType | None = _getframe(1)
    while frame is not None and whose[frame.f_globals.get("__name__", "")] in (OURS, ENTRANCE):
        frame = frame.f_back
    return may_assign(frame)


def _sharing(array: Array) -> list[Array]:
    """Return the Arrays that change with one, which is the first of them."""
    place = place_of(array)
    others = [] if place is None else place.memory.alive()
    return [array, *(other for other in others if other is not array)]


def _is_protected(array: Array) -> bool:
    """Return whether others see an Array that would not want it changed: a transform's input, or its function's."""
    return type(array._node) is Leaf or above.is_argument(array)


def refuse_to_change(array: Array, called: str = "x[idx] = y") -> None:
    """Raise where an Array, or one that shares its memory, cannot be changed."""
    for other in _sharing(array):
        it = "x" if other is array else "x shares memory, as a part of an array does, with what"
        if type(other._node) is Leaf:
            raise TypeError(
                f"{called}: {it} is what a derivative is taken with respect to, so it cannot be assigned to. Assign to "
                "a copy: gradkit.numpy.asarray(x, copy=True)."
            )
        if above.is_argument(other):
            raise TypeError(
                f"{called}: {it} is an argument of the function that a transform (grad, vmap, jit, ...) or a loop "
                "runs, so it cannot be assigned to: whoever else holds it would see it changed. Assign to a copy: "
                "gradkit.numpy.asarray(x, copy=True); array_api_extra's at makes one with copy=True."
            )


def setitem(self: Array, index: Any, value: Any) -> None:
    """Assign to items, for code by others that does: ``x[idx] = y`` stands for ``x = x.at[idx].set(y)``."""
    if not may_be_assigned_to():
        instead = ""
        if type(index) is int and type(value) in (int, float):
            instead = f" Here: x = x.at[{index}].set({value})."
        raise TypeError(
            "gradkit Arrays are immutable and do not support in-place item assignment. Instead of x[idx] = y, use "
            f"x = x.at[idx].set(y) or another .at[] method.{instead} (An input's raw array can be changed: "
            f"x.data[idx] = y. For code by others that assigns: with gradkit.item_assignment(): ...)"
        )
    refuse_to_change(self)
    assign(self, index, value)


def assign(array: Array, index: Any, value: Any) -> None:
    """Let an Array have new items, and those that share its memory; `refuse_to_change` has been asked."""
    become(array, lambda x: IndexUpdate(x, index).set(value))


IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    f"__i{name}__": getattr(operator, f"__{name}__")
    for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
}
"""The in-place operators, and what computes them."""


def in_place(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Make the method of an in-place operator: ``x += y`` is ``x = x + y``, and in code that may assign changes `x`.

    What others hold is left as it is, and so is an Array that would change its shape or dtype: NumPy's would not.
    """

    def method(self: Array, other: Any) -> Any:
        result = function(self, other)
        if not (whose[_getframe(1).f_globals.get("__name__", "")] or items.on):
            return result
        if type(result) is not Array or not may_be_assigned_to() or any(map(_is_protected, _sharing(self))):
            return result
        if result.shape != self.shape or dtype_name(result) != dtype_name(self):
            return result
        become(self, lambda _: result)
        return self

    return method


class Flat:
    """What ``x.flat`` is: the elements in one axis, to be read, iterated over, and assigned to as `setitem` has it."""

    def __init__(self, array: Array) -> None:
        self.base = array

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Array]:
        return iter(reshape(self.base, -1))

    def __getitem__(self, index: Any) -> Array:
        return getitem(reshape(self.base, -1), index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if not may_be_assigned_to():
            raise TypeError(
                "x.flat[idx] = y: gradkit Arrays are immutable. Use x = x.ravel().at[idx].set(y).reshape(x.shape). "
                "(For code by others that assigns: with gradkit.item_assignment(): ...)"
            )
        refuse_to_change(self.base, "x.flat[idx] = y")
        become(self.base, lambda x: reshape(IndexUpdate(reshape(x, -1), index).set(value), x.shape))


def change_or_refuse(array: Any, caller: str, compute: Callable[[], Array]) -> Array:
    """Let a function of `gradkit.numpy` change its argument, and return that, in code that may assign to Arrays."""
    if type(array) is not Array or not may_be_assigned_to():
        raise ValueError(
            f"gradkit.numpy.{caller} cannot modify arrays in-place, because gradkit Arrays are immutable. Pass "
            f"inplace=False to instead return an updated array."
        )
    refuse_to_change(array, caller)
    return changed(array, compute(), caller)


def changed(array: Array, new: Array, called: str) -> Array:
    """Let an Array take the elements of another one, in its own shape and dtype, and return it."""
    refuse_to_change(array, called)
    assign(array, ..., new)
    return array
