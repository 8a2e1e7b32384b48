"""Operands: what comes in as an Array, a raw array or a number, and the dtype in which operands meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gradkit.backend import DTYPE_NAMES, Backend, backend_of, current_backend, current_device
from gradkit.core.array import Array, innermost, place_of_array, weak_type, wrap
from gradkit.core.binding import PYTHON_NUMBERS, bind
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import NO_PARAMS
from gradkit.core.promotion import (
    FLOATING,
    INTEGER_LIMITS,
    canonical,
    default_dtype,
    is_inexact,
    is_of_numbers,
    promote,
    python_type_of,
    require_room_for,
)
from gradkit.core.stand_in import STAND_INS, Abstract, Batched
from gradkit.errors import TypePromotionError

__all__ = [
    "MAY_BE_WEAK", "Notes", "as_array", "as_operand", "cast", "cast_to_fit", "cast_weakly", "common_dtype",
    "dtype_name", "new_array", "note_fit", "note_weakness", "noting_fits_of", "noting_weakness", "of_one_dtype",
    "require_bool", "require_fit", "require_inexact", "strong", "wide_integers",
]  # fmt: skip

NOTHING: dict[Any, str] = {}
MAY_BE_WEAK = STAND_INS | {Array}
"""What an Array holds where it may stand for a Python number."""


def common_dtype(operands: Sequence[Any], floating: bool = False) -> str:
    """Return the name of the dtype in which Arrays and numbers meet; a floating one, if asked."""
    names, weak, gives_way = [], [], False
    for operand in operands:
        if type(operand) is not Array:
            weak.append(type(operand))
        elif type(operand._value) in MAY_BE_WEAK and (kind := weak_type(operand)) is not None:
            weak.append(kind)
            gives_way = True
        else:
            names.append(dtype_name(operand))
    target = promote(names, weak)
    if gives_way:
        note_weakness(target, operands)
    return default_dtype(FLOATING) if floating and not is_inexact(target) else target


Notes = list[tuple[str, Any]]
_notes: ContextVar[tuple[Notes, ...]] = ContextVar("gradkit_weakness", default=())


@contextmanager
def noting_weakness() -> Iterator[Notes]:
    """Note where it matters, inside a ``with`` block, that an Array stands for a Python number.

    Each note is a dtype, and what stands for an integer that has to fit it, or None.
    """
    found: Notes = []
    token = _notes.set((*_notes.get(), found))
    try:
        yield found
    finally:
        _notes.reset(token)


def note_weakness(target: str = "", operands: Sequence[Any] = ()) -> None:
    """Note that it matters, unless the operands meet in `target` as well where none of them gives way."""
    arrays = [operand for operand in operands if type(operand) is Array]
    numbers = [type(operand) for operand in operands if type(operand) is not Array]
    try:
        matters = not arrays or promote(map(dtype_name, arrays), numbers) != target
    except TypePromotionError:  # as an array of its dtype it would be refused
        matters = True
    if matters:
        for found in _notes.get():
            found.append((target, None))


def note_fit(array: Array, dtype: str) -> None:
    """Note, of an Array that stands for a Python integer, that a dtype has to hold it."""
    if type(array._value) in MAY_BE_WEAK and dtype in INTEGER_LIMITS and weak_type(array) is int:
        for found in _notes.get():
            found.append((dtype, innermost(array)))


def require_fit(dtype: str, value: Any, caller: str) -> None:
    """Raise OverflowError for a Python integer that has no value in a dtype of integers, of nested lists for each.

    Of what stands for one it is noted that it has to fit.
    """
    if type(value) is Array:
        note_fit(value, dtype)
    elif not isinstance(value, list | tuple):
        require_room_for(dtype, value, caller)
    elif dtype in INTEGER_LIMITS:
        for part in value:
            require_fit(dtype, part, caller)


@contextmanager
def noting_fits_of(forms: Sequence[Any], operands: Sequence[Array]) -> Iterator[None]:
    """Note of `operands` what is noted inside a ``with`` block of the Abstracts that stand for them there."""
    with noting_weakness() as notes:
        yield
    for dtype, number in notes:
        for form, operand in zip(forms, operands, strict=True):
            if number is form:
                note_fit(operand, dtype)


def cast_to_fit(array: Array, dtype: str, present: str | None = None) -> Array:
    """Convert an operand, which may stand for a Python integer that has to fit, to the dtype of others."""
    note_fit(array, dtype)
    return cast(array, dtype, present)


def of_one_dtype(arrays: Sequence[Array], dtype: str | None = None) -> Sequence[Array]:
    """Return Arrays in the dtype in which they meet, or in another one."""
    names = list(map(dtype_name, arrays))
    if names.count(dtype or names[0]) == len(names):
        return arrays
    target = common_dtype(arrays) if dtype is None else dtype
    return [
        array if name == target else cast_to_fit(array, target, name) for array, name in zip(arrays, names, strict=True)
    ]


def cast(array: Array, dtype: str, present: str | None = None) -> Array:
    """Convert an Array to the dtype of that name, by the `astype` primitive; real numbers have no imaginary part.

    `present` is the name of the dtype that it has, where that is known.
    """
    if not dtype.startswith("complex") and (present or dtype_name(array)).startswith("complex"):
        if dtype == "bool":
            return bind(PRIMITIVES["not_equal"], (array, 0), NO_PARAMS)
        array = bind(PRIMITIVES["real"], (array,), NO_PARAMS)
    primitive = PRIMITIVES["astype"] if is_inexact(dtype) else PRIMITIVES["astype_exact"]
    return bind(primitive, (array,), {"dtype": dtype})


def strong(array: Array) -> Array:
    """Return an Array whose dtype does not give way: one that stands for a Python number is converted to its dtype."""
    if weak_type(array) is None:
        return array
    name = dtype_name(array)
    return bind(PRIMITIVES["astype" if is_inexact(name) else "astype_exact"], (array,), {"dtype": name})


def cast_weakly(array: Array, dtype: str, present: str) -> Array:
    """Convert an operand to the dtype in which it meets others; what stands for a Python number goes on doing so."""
    result = cast_to_fit(array, dtype, present)
    kind = weak_type(array)
    if kind is not None:
        innermost(result).weak = python_type_of(dtype)
    return result


def dtype_name(array: Array) -> str:
    """Return the name of an Array's dtype."""
    value: Any = array
    while type(value) is Array or type(value) is Batched:
        value = value._value if type(value) is Array else value.array
    name = DTYPE_NAMES.get(type(value), NOTHING).get(value.dtype)
    if name is not None:
        return name
    if type(value) is Abstract:
        name = DTYPE_NAMES.setdefault(type(value), {})[value.dtype] = str(value.dtype.name)
        return name
    backend = backend_of(value)
    assert backend is not None
    return backend.dtype_name(value)


def as_operand(value: Any, caller: str) -> Any:
    """Return an operand as an Array or a Python number; anything else is an error in JAX's words."""
    if type(value) is Array or type(value) in PYTHON_NUMBERS:
        return value
    owner = backend_of(value)
    if owner is not None:
        if not is_of_numbers(name := owner.dtype_name(value)):
            raise TypeError(
                f"{caller} requires arrays of numbers as arguments, got one of dtype {name}: {value!r}. Convert it "
                f"first: x.astype('float32')."
            )
        return new_array(value) if owner.is_scalar(value) else wrap(owner.admit(value, caller))
    if hasattr(value, "__gradkit_array__"):
        return value.__gradkit_array__()
    raise TypeError(
        f"{caller} requires arrays or numbers as arguments, got {type(value).__name__}: {value!r}. "
        f"Make an array of it with gradkit.numpy.asarray."
    )


def as_array(value: Any, caller: str) -> Array:
    """Return the argument of a function that needs an array; numbers become arrays on the current backend."""
    operand = value if type(value) is Array else as_operand(value, caller)
    return operand if type(operand) is Array else new_array(operand)


def as_arrays(values: Sequence[Any], caller: str) -> list[Array]:
    """Return the arguments of a function that needs arrays; numbers become arrays beside the first array."""
    operands = [value if type(value) is Array else as_operand(value, caller) for value in values]
    like = next((operand for operand in operands if type(operand) is Array), None)
    return [operand if type(operand) is Array else new_array(operand, like) for operand in operands]


def new_array(value: Any, like: Array | None = None, place: tuple[Backend, Any] | None = None) -> Array:
    """Make a 0-d Array from a number, in the dtype of new numbers: where `like` is, else on the current backend.

    A `place` is a backend and what it takes as ``device=``.
    """
    if place is not None:
        backend, device = place
    elif like is None:
        backend, device = current_backend(), current_device()
    else:
        backend, device = place_of_array(like)
    name = getattr(getattr(value, "dtype", None), "name", None)
    dtype = promote([], [type(value)]) if name is None else canonical(name)
    number = value if name is None else value.item()
    return wrap(backend.xp.asarray(number, dtype=backend.raw_dtype_named(dtype), device=device))


def wide_integers(array: Array, largest: int = 0) -> Array:
    """Return integers in a dtype that holds every class or position up to `largest`: narrow ones would wrap around."""
    if largest >= 1 << 31:
        return cast(array, "int64")
    return cast(array, "int32") if dtype_name(array) in ("int8", "int16", "uint8", "uint16") else array


def require_bool(array: Array, caller: str) -> Array:
    """Return a condition as a bool Array: numbers are true where they are not 0."""
    return array if dtype_name(array) == "bool" else cast(array, "bool")


def require_inexact(array: Array) -> Array:
    """Return an Array of a dtype with a fractional part: integers are converted to the default floating dtype."""
    return array if is_inexact(dtype_name(array)) else cast(array, default_dtype(FLOATING))
