"""How elementwise primitives are called: the fast path for the plain case, and the general path.

The general path (`apply`) converts operands, promotes dtypes and binds. It is the definition. `unary` and `binary`
make functions that do the same inline for Arrays of one backend and one dtype (or a Python number) with at most one
transform between them, and fall back on `apply` for everything else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import INEXACT, NARROW_DTYPES
from gradkit.core.array import Array, weak_type
from gradkit.core.binding import KERNEL_ERRORS, PYTHON_NUMBERS, bind, explain
from gradkit.core.families import Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import NO_PARAMS, Node, recording
from gradkit.core.operands import (
    MAY_BE_WEAK,
    as_operand,
    cast,
    cast_weakly,
    dtype_name,
    new_array,
    note_weakness,
    of_one_dtype,
)
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import (
    BOOL,
    FLOATING,
    INTEGER,
    INTEGER_LIMITS,
    default_dtype,
    kind_of,
    promote,
    require_room_for,
)

__all__ = ["apply", "binary", "unary"]

General = Callable[[Any, Sequence[Any], int], Any]
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "equal": operator.eq,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
    "not_equal": operator.ne,
}
_new = object.__new__


def unary(
    primitive: Elementwise, floating: bool, doc: str | None = None, counts: bool = False
) -> Callable[[Any], Array]:
    """Make the function that calls a primitive of one argument.

    Parameters
    ----------
    primitive : Elementwise
        The primitive.
    floating : bool
        Whether it computes in a floating dtype, to which integers are converted first.
    doc : str, optional
        What the function says of itself.
    counts : bool
        Whether bools are converted to integers first.
    """
    kernels = primitive.kernels
    mask = primitive.masks[0]
    keeps_result = mask is not None and mask & 1
    keeps_argument = mask is not None and mask & 2
    least = FLOATING if floating else INTEGER if counts else BOOL

    def call(x: Any) -> Array:
        if type(x) is Array:
            value = x._value
            kernel = kernels.get(type(value))
            if kernel is not None and value.dtype in INEXACT[type(value)]:
                out = kernel(value)
                array: Array = _new(Array)
                array._value = out
                node = x._node
                if node is None or mask is None:
                    if node is not None and node.trace.is_linear:
                        return apply(primitive, (x,), least)
                    array._node = None
                    return array
                trace = node.trace
                if trace.level or recording():
                    saved = (out if keeps_result else None, value if keeps_argument else None)
                    array._node = Node(trace, out.shape, out.dtype, primitive, (node,), saved, NO_PARAMS, True)
                else:
                    array._node = None
                return array
        return apply(primitive, (x,), least)

    call.primitive = primitive  # type: ignore[attr-defined]
    call.__doc__ = doc
    return call


def binary(
    primitive: Primitive, floating: bool, doc: str | None = None, general: General | None = None, counts: bool = False
) -> Callable[[Any, Any], Array]:
    """Make the function that calls a primitive of two arguments; see `unary`. `general` stands for `apply`."""
    general = apply if general is None else general
    least = FLOATING if floating else INTEGER if counts else BOOL
    inexact_alone = least > BOOL  # on this path: others are converted where there are bools
    kernels = primitive.kernels
    first, second = primitive.masks[0] or 0, primitive.masks[-1] or 0
    differentiable = primitive.masks[0] is not None and primitive.masks[-1] is not None
    in_one_alone = not differentiable and primitive.masks != (None, None)
    masks = (0, first, second, first | second)

    def call(x: Any, y: Any) -> Array:
        # The operands' values and nodes, where they are plain enough; else the general path.
        if type(x) is Array:
            x_value = x._value
            x_node = x._node
            kernel = kernels.get(type(x_value))
            if kernel is None:
                return general(primitive, (x, y), least)
            dtype = x_value.dtype
            if type(y) is Array:
                y_value = y._value
                y_node = y._node
                # Dtypes that were unpickled are objects of their own: what is not the same may be equal.
                # The kernel first: a stand-in's dtype is NumPy's, which not every library compares its own with.
                if kernels.get(type(y_value)) is not kernel or (y_value.dtype is not dtype and y_value.dtype != dtype):
                    return general(primitive, (x, y), least)
                if inexact_alone and dtype not in INEXACT[type(x_value)]:
                    return general(primitive, (x, y), least)
                if NARROW_DTYPES and dtype in NARROW_DTYPES:
                    return general(primitive, (x, y), least)
                number = None
            elif (type(y) is float or type(y) is int) and dtype in INEXACT[type(x_value)]:
                y_value = y
                y_node = None
                number = y
            else:
                return general(primitive, (x, y), least)
        elif type(y) is Array and (type(x) is float or type(x) is int):
            x_value = x
            x_node = None
            y_value = y._value
            y_node = y._node
            kernel = kernels.get(type(y_value))
            if kernel is None or y_value.dtype not in INEXACT[type(y_value)]:
                return general(primitive, (x, y), least)
            number = x
        else:
            return general(primitive, (x, y), least)

        # The one transform that follows them, if any.
        if x_node is None:
            trace = None if y_node is None else y_node.trace
        else:
            trace = x_node.trace
            if y_node is not None and y_node.trace is not trace:
                return general(primitive, (x, y), least)
        if in_one_alone and trace is not None:
            return general(primitive, (x, y), least)

        if not differentiable and trace is not None and trace.is_linear:
            return general(primitive, (x, y), least)
        try:
            out = kernel(x_value, y_value)
        except KERNEL_ERRORS as error:
            raise explain(primitive, (x_value, y_value), error) from error
        array: Array = _new(Array)
        array._value = out
        if trace is None or not differentiable or not (trace.level or recording()):
            array._node = None
            return array
        mask = masks[(x_node is not None) + 2 * (y_node is not None)]
        saved = (out if mask & 1 else None, x_value if mask & 2 else x_node, y_value if mask & 4 else y_node)
        node = array._node = Node(trace, out.shape, out.dtype, primitive, (x_node, y_node), saved, NO_PARAMS, True)
        if number is not None:
            node.numbers = number
        return array

    call.primitive, call.options = primitive, {"floating": floating, "counts": counts}  # type: ignore[attr-defined]
    call.primitive = primitive  # type: ignore[attr-defined]
    call.__doc__ = doc
    return call


def apply(primitive: Primitive, args: Sequence[Any], least: int = BOOL, first: int = 0) -> Array:
    """Convert and promote the operands from position `first` on, and bind.

    Parameters
    ----------
    primitive : Elementwise
        The primitive.
    args : sequence
        Arrays, raw arrays, NumPy scalars or Python numbers.
    least : int
        The least kind of dtype that the primitive computes in: `BOOL` for all, `INTEGER` where bools are converted to
        the default integer dtype first, and `FLOATING` where integers are converted as well.
    first : int
        Operands before this position keep their dtype (the condition of `where`).
    """
    operands: list[Any] = []
    names: list[str | None] = []  # those of the dtypes; of numbers None
    gives_way = False  # whether an Array stands for a Python number
    kinds: list[type | None] = []
    found: list[str] = []  # the dtypes that count
    weak: list[type] = []
    for position, arg in enumerate(args):
        operand = arg if type(arg) is Array or type(arg) in PYTHON_NUMBERS else as_operand(arg, primitive.name)
        operands.append(operand)
        name = dtype_name(operand) if position >= first and type(operand) is Array else None
        names.append(name)
        if name is None:
            kind: type | None = type(operand) if position >= first else None
        else:
            kind = weak_type(operand) if type(operand._value) in MAY_BE_WEAK else None
        kinds.append(kind)
        if kind is not None:
            weak.append(kind)
            gives_way |= name is not None
        elif name is not None:
            found.append(name)
    if not any(names):
        operands[first] = new_array(operands[first], like=operands[0] if first else None)
        names[first] = dtype_name(operands[first])
        found.append(names[first] or "")
        del weak[0]
    target = found[0] if not weak and found.count(found[0]) == len(found) else promote(found, weak)
    if gives_way:
        if int in weak and primitive.name in COMPARISONS and target in INTEGER_LIMITS and all(names):
            return _compared_as_they_are(primitive, operands, target)
        note_weakness(target, operands[first:])
    kind_of_target = kind_of(target)
    if kind_of_target < least:
        target, kind_of_target = default_dtype(least), least
    if kind_of_target == INTEGER and int in weak:
        low, high = INTEGER_LIMITS[target]
        for operand in operands[first:]:
            if type(operand) is int and not low <= operand <= high:
                if primitive.name in COMPARISONS:
                    return _compared(primitive.name, operands)
                require_room_for(target, operand, primitive.name)
    for position in range(first, len(operands)):
        name = names[position]
        if name is not None:
            if name != target:
                convert = cast if kinds[position] is None else cast_weakly
                operands[position] = convert(operands[position], target, name)
        elif type(operands[position]) is bool and target != "bool":
            operands[position] = int(operands[position])
    return bind(primitive, operands, NO_PARAMS)


def _compared(name: str, operands: Sequence[Any]) -> Array:
    """Compare integers with a Python integer that their dtype does not hold: with all of them alike."""
    array = next(operand for operand in operands if type(operand) is Array)
    # Any number of the dtype stands for them: 0 is in each.
    x, y = (0 if type(operand) is Array else operand for operand in operands)
    always = COMPARISONS[name](x, y)
    return bind(PRIMITIVES["equal" if always else "not_equal"], (array, array), NO_PARAMS)


def _compared_as_they_are(primitive: Primitive, operands: Sequence[Array], target: str) -> Array:
    """Compare integers with what stands for a Python integer: nobody knows whether `target` holds it."""
    names = [dtype_name(operand) for operand in operands]
    wide = promote(names, ())
    if wide in names:
        return bind(primitive, of_one_dtype(operands, wide), NO_PARAMS)
    # No dtype is wide enough: as an unsigned number, and by its sign.
    note_weakness(target, operands)
    position = next(i for i, name in enumerate(names) if name != target)
    number = operands[position]
    found = bind(primitive, [cast(number, target) if x is number else x for x in operands], NO_PARAMS)
    is_negative = bind(PRIMITIVES["less"], (number, 0), NO_PARAMS)
    if COMPARISONS[primitive.name](*((-1, 0) if position == 0 else (0, -1))):
        return bind(PRIMITIVES["logical_or"], (found, is_negative), NO_PARAMS)
    is_none = bind(PRIMITIVES["logical_not"], (is_negative,), NO_PARAMS)
    return bind(PRIMITIVES["logical_and"], (found, is_none), NO_PARAMS)
