"""What the functions of this package do with their arguments before they compute: promote, move, refuse."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array
from gradkit.core.operands import (
    as_operand,
    cast_to_fit,
    common_dtype,
    dtype_name,
    new_array,
    of_one_dtype,
    require_fit,
)
from gradkit.core.promotion import has_room_for, require_room_for
from gradkit.primitives.new_arrays import asarray

__all__ = ["beside", "in_dtype_of", "promote_args", "refuse_out"]


def promote_args(caller: str, *values: Any, inexact: bool = False, compares: bool = False) -> list[Array]:
    """Return arrays and numbers as Arrays of the dtype in which they meet, numbers beside the first array.

    Parameters
    ----------
    caller : str
        The function, for the message of the TypeError about anything that is no array or number.
    *values : array or number
        The arguments.
    inexact : bool
        Whether integers become floating numbers.
    compares : bool
        Whether the function only compares: a Python integer that the arrays' dtype does not hold then counts as an
        array of its own dtype, where it is an error else.
    """
    operands = [as_operand(value, caller) for value in values]
    like = next((operand for operand in operands if type(operand) is Array), None)
    target = common_dtype(operands, inexact)
    arrays = [operand if type(operand) is Array else new_array(operand, like=like) for operand in operands]
    for operand in operands:
        if type(operand) is int and not has_room_for(target, operand):
            if not compares:
                require_room_for(target, operand, caller)
            target = common_dtype(arrays, inexact)
    return [*of_one_dtype(arrays, target)]


def beside(value: Any, like: Array) -> Array:
    """Return numbers, nested lists or an array as an Array on the device of `like`."""
    return value if type(value) is Array else asarray(value, device=like.device)


def in_dtype_of(array: Array, value: Any, caller: str) -> Array:
    """Return numbers, nested lists or an array as an Array of the dtype of `array`, and on its device.

    Raises
    ------
    OverflowError
        If the dtype does not hold a Python integer among them.
    """
    name = dtype_name(array)
    require_fit(name, value, caller)
    given = beside(value, array)
    return given if dtype_name(given) == name else cast_to_fit(given, name)


def refuse_out(out: Any, caller: str) -> None:
    """Raise where a result array is given: Arrays are immutable."""
    if out is not None:
        raise NotImplementedError(f"The 'out' argument to jnp.{caller} is not supported.")
