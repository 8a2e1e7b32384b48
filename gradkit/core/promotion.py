"""Which dtype an operation computes in: the array API standard's promotion within a kind, JAX's across kinds.

dtypes are handled by name here, so the table serves every backend. Python numbers are *weak*: they take the dtype
of the arrays they meet as long as that dtype can hold their kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradkit.backend import NARROW, as_numpy_dtype
from gradkit.config import config
from gradkit.errors import TypePromotionError

__all__ = [
    "INTEGER_LIMITS", "KIND_OF_PYTHON", "PYTHON_NUMBERS", "canonical", "complex_of", "default_dtype", "dtype_named",
    "has_room_for", "is_complex", "is_half", "is_inexact", "is_of_numbers", "kind_of", "letter_of", "limits_of",
    "promote", "python_type_of", "real_part_of", "requested_dtype", "require_room_for", "summed_in",
]  # fmt: skip

BOOL, INTEGER, FLOATING, COMPLEX = range(4)
PYTHON_NUMBERS = frozenset({int, float, bool, complex})

_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
_FLOATING = ("float16", "float32", "float64")
_COMPLEX = ("complex64", "complex128")
_OF_8_BITS = NARROW - {"bfloat16"}
_NAMES = frozenset({"bool", *_SIGNED, *_UNSIGNED, *_FLOATING, *_COMPLEX})


class _Kinds(dict[str, int]):
    def __missing__(self, dtype: str) -> int:
        raise TypeError(
            f"expected a dtype of numbers ({', '.join(self)}), got {dtype}. Convert with x.astype('float32')."
        )


_KIND = _Kinds(
    {
        "bool": BOOL,
        **dict.fromkeys((*_SIGNED, *_UNSIGNED), INTEGER),
        **dict.fromkeys((*_FLOATING, *sorted(NARROW)), FLOATING),
        **dict.fromkeys(_COMPLEX, COMPLEX),
    }
)
INTEGER_LIMITS = {name: (int(np.iinfo(name).min), int(np.iinfo(name).max)) for name in (*_SIGNED, *_UNSIGNED)}
"""The least and the greatest value of each dtype of integers."""
KIND_OF_PYTHON: dict[type, int] = {bool: BOOL, int: INTEGER, float: FLOATING, complex: COMPLEX}
_DEFAULT_32 = ("bool", "int32", "float32", "complex64")
_DEFAULT_64 = ("bool", "int64", "float64", "complex128")
_NARROWER = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}
_REAL_PART = {"complex64": "float32", "complex128": "float64"}
_COMPLEX_OF = {"float16": "complex64", "bfloat16": "complex64", "float32": "complex64", "float64": "complex128"}


def kind_of(dtype: str) -> int:
    """Return the kind of a dtype: `BOOL`, `INTEGER`, `FLOATING` or `COMPLEX`."""
    return _KIND[dtype]


def is_of_numbers(dtype: str) -> bool:
    """Return whether it is one of the dtypes that there are here: NumPy has more, such as object and str."""
    return dtype in _KIND


def is_inexact(dtype: str) -> bool:
    """Return whether values of this dtype have a derivative."""
    return _KIND[dtype] >= FLOATING


def is_half(dtype: Any) -> bool:
    """Return whether a dtype, as a library says it, is float16."""
    name = getattr(dtype, "name", None)
    return (str(dtype).rpartition(".")[2] if name is None else name) == "float16"


def is_complex(dtype: Any) -> bool:
    """Return whether a dtype, as a library says it, is a complex one."""
    kind = getattr(dtype, "kind", None)
    return "complex" in str(dtype) if kind is None else kind == "c"


def limits_of(dtype: Any) -> Any:
    """Return the limits of a floating dtype, as `numpy.finfo` states them, by its name or as what NumPy takes.

    Examples
    --------
    >>> limits_of("float32").nmant
    23
    """
    found = as_numpy_dtype(dtype)
    if found.name not in NARROW:
        return np.finfo(found)
    import ml_dtypes  # optional: it is there, since the dtype is

    return ml_dtypes.finfo(found)  # type: ignore[no-untyped-call]


def letter_of(dtype: Any) -> str:
    """Return NumPy's letter for the kind of a dtype: b, i, u, f or c. What packages add says "V" of itself, or "f".

    Examples
    --------
    >>> letter_of(np.dtype("float32")), letter_of(np.dtype("uint8"))
    ('f', 'u')
    """
    return "f" if dtype.name in NARROW else str(dtype.kind)


def real_part_of(dtype: str) -> str:
    """Return the dtype of the parts of complex numbers; any other dtype as it is."""
    return _REAL_PART.get(dtype, dtype)


def summed_in(dtype: str, result: str) -> str:
    """Return the dtype to sum in: the result's, where that holds what the factors hold."""
    if dtype == "bool":
        return "int32"
    return result if kind_of(result) >= kind_of(dtype) and promote([dtype, result]) == result else dtype


def complex_of(dtype: str) -> str:
    """Return the complex dtype whose parts are of a floating dtype; a complex one as it is."""
    return _COMPLEX_OF.get(dtype, dtype)


def python_type_of(dtype: str) -> type:
    """Return the type of Python's numbers of that kind.

    Examples
    --------
    >>> python_type_of("float16")
    <class 'float'>
    """
    return (bool, int, float, complex)[kind_of(dtype)]


def has_room_for(dtype: str, number: Any) -> bool:
    """Return whether a dtype has a value for what may be a Python integer; others are rounded, or are no numbers."""
    if type(number) is not int or dtype not in INTEGER_LIMITS:
        return True
    least, most = INTEGER_LIMITS[dtype]
    return least <= number <= most


def require_room_for(dtype: str, number: Any, caller: str) -> None:
    """Raise OverflowError for a Python integer that has no value in a dtype of integers: it would wrap around."""
    if not has_room_for(dtype, number):
        least, most = INTEGER_LIMITS[dtype]
        raise OverflowError(
            f"{caller}: Python integer {number} out of bounds for {dtype} ({least} to {most}). Convert the array to a "
            f"wider dtype first, or make an array of the number: arrays promote."
        )


def dtype_named(name: Any) -> np.dtype[Any]:
    """Return NumPy's dtype object, which is what an Array's `dtype` is on every backend."""
    return as_numpy_dtype(name)


def default_dtype(kind: int) -> str:
    """Return the dtype of new numbers of a kind: 32-bit unless x64 is enabled."""
    return (_DEFAULT_64 if config.jax_enable_x64 else _DEFAULT_32)[kind]


def requested_dtype(dtype: Any) -> str:
    """Return the name of a dtype that was asked for. Python's float, int and complex mean the default width."""
    if type(dtype) is str and dtype in _NAMES:
        return dtype
    kind = KIND_OF_PYTHON.get(dtype) if type(dtype) is type else None
    name: str = dtype_named(dtype).name if kind is None else default_dtype(kind)
    return name


def canonical(dtype: str) -> str:
    """Return the dtype of a new number that arrives as `dtype`: its 32-bit relative unless x64 is enabled."""
    return dtype if config.jax_enable_x64 else _NARROWER.get(dtype, dtype)


def _promote_integers(a: str, b: str) -> str:
    if a in _UNSIGNED and b in _UNSIGNED:
        return max(a, b, key=_UNSIGNED.index)
    if a in _SIGNED and b in _SIGNED:
        return max(a, b, key=_SIGNED.index)
    signed, unsigned = (a, b) if a in _SIGNED else (b, a)
    level = max(_SIGNED.index(signed), _UNSIGNED.index(unsigned) + 1)
    # No integer dtype holds both int64 and uint64: JAX takes the default floating dtype.
    return _SIGNED[level] if level < len(_SIGNED) else default_dtype(FLOATING)


def _promote_floating(a: str, b: str) -> str:
    if not _OF_8_BITS.isdisjoint((a, b)):
        raise _no_way(a, b)
    if {a, b} == {"float16", "bfloat16"}:
        return "float32"
    if "bfloat16" in (a, b):
        return b if a == "bfloat16" else a
    return max(a, b, key=_FLOATING.index)


def _no_way(a: str, b: str) -> TypePromotionError:
    return TypePromotionError(
        f"Input dtypes ({a!r}, {b!r}) have no available implicit dtype promotion path. To avoid unintended promotion, "
        f"8-bit floats do not support implicit promotion. If you'd like your inputs to be promoted to another type, "
        f"you can do so explicitly using e.g. x.astype('float32')"
    )


def promote_pair(a: str, b: str) -> str:
    """Return the dtype that holds both.

    Examples
    --------
    >>> promote_pair("float32", "float64"), promote_pair("int64", "float32"), promote_pair("int8", "uint8")
    ('float64', 'float32', 'int16')
    """
    if a == b:
        return a
    low, high = sorted((a, b), key=_KIND.__getitem__)
    low_kind, high_kind = _KIND[low], _KIND[high]
    if low_kind == high_kind:
        if high_kind == INTEGER:
            return _promote_integers(a, b)
        return _promote_floating(a, b) if high_kind == FLOATING else "complex128"
    if high_kind == COMPLEX and low_kind == FLOATING:
        return _COMPLEX_OF[_promote_floating(low, _REAL_PART[high])]
    return high


def promote(dtypes: Iterable[str], weak: Iterable[type] = ()) -> str:
    """Return the dtype in which arrays of `dtypes` and Python numbers of the types `weak` meet.

    Examples
    --------
    >>> promote(["int32"], [float]), promote(["float64"], [int]), promote([], [int, float])
    ('float32', 'float64', 'float32')
    """
    result: str | None = None
    for dtype in dtypes:
        result = dtype if result is None else promote_pair(result, dtype)
    for python_type in weak:
        kind = KIND_OF_PYTHON[python_type]
        if result is None or _KIND[result] < kind:
            if kind == COMPLEX and result in _OF_8_BITS:
                raise _no_way(result, "complex")
            if kind == COMPLEX and result is not None and _KIND[result] == FLOATING:
                result = _COMPLEX_OF[result]
            else:
                result = default_dtype(kind)
    if result is None:
        raise ValueError("promote: expected at least one dtype or Python type, got none")
    return result
