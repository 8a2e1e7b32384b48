"""The data type functions of the array API standard: limits, kinds, casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.backend import NARROW
from gradkit.core import Array
from gradkit.core.array import weak_type
from gradkit.core.operands import as_operand, dtype_name, note_weakness
from gradkit.core.promotion import dtype_named, limits_of, promote, real_part_of

__all__ = ["can_cast", "finfo", "iinfo", "isdtype", "result_type"]


def _dtype_of(operand: Any, caller: str) -> np.dtype[Any]:
    """Return the dtype that an array has, or that a dtype or its name is."""
    if isinstance(operand, type | np.dtype | str):
        return dtype_named(operand)
    return dtype_named(dtype_name(array) if type(array := as_operand(operand, caller)) is Array else type(array))


class finfo:
    """The limits of a floating dtype, of an array's dtype, or of the parts of a complex one.

    Parameters
    ----------
    dtype : dtype or array
        What to tell about.

    Attributes
    ----------
    bits : int
        The size of a number.
    eps : float
        The distance from 1 to the next larger number.
    max, min : float
        The largest and the smallest finite number.
    smallest_normal : float
        The smallest positive number that has all its digits. NumPy's name for it, ``tiny``, works as well, as do the
        other attributes of `numpy.finfo`.
    dtype : dtype
        The dtype of the limits.

    Examples
    --------
    >>> finfo("float32").eps
    1.1920928955078125e-07
    """

    def __init__(self, dtype: Any) -> None:
        self._limits = limits_of(real_part_of(_dtype_of(dtype, "finfo").name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._limits, name)
        if not isinstance(value, np.generic):
            return value
        return float(value) if value.dtype.name in NARROW else value.item()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return repr(self._limits)


class iinfo:
    """The limits of an integer dtype, or of an array's.

    Parameters
    ----------
    type : dtype or array
        What to tell about.

    Attributes
    ----------
    bits, max, min : int
        The size of a number, the largest and the smallest one.
    dtype : dtype
        The dtype.

    Examples
    --------
    >>> iinfo("int8").min
    -128
    """

    def __init__(self, type: Any) -> None:
        limits = np.iinfo(_dtype_of(type, "iinfo"))
        self.bits, self.max, self.min = limits.bits, int(limits.max), int(limits.min)
        self.dtype, self.kind = limits.dtype, limits.kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _is_dtype(kind: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether what stands for a kind is this dtype."""
    words = ("bool", "signed integer", "unsigned integer", "integral", "complex floating")
    return kind not in words and dtype_named(kind) == dtype


def isdtype(dtype: Any, kind: Any) -> bool:
    """Return whether a dtype is of a kind.

    Parameters
    ----------
    dtype : dtype
        The dtype.
    kind : dtype, str or tuple of them
        Another dtype, or ``"bool"``, ``"signed integer"``, ``"unsigned integer"``, ``"integral"``,
        ``"real floating"``, ``"complex floating"`` or ``"numeric"``; of several one must fit.

    Examples
    --------
    >>> isdtype("float32", "real floating"), isdtype("int8", ("bool", "complex floating"))
    (True, False)
    """
    found = dtype_named(dtype)
    if found.name not in NARROW:
        return bool(np.isdtype(found, kind))
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return any(one in ("real floating", "numeric") or _is_dtype(one, found) for one in kinds)


def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    """Return whether every value of a dtype (or of an array's) is one of another.

    Parameters
    ----------
    from_ : dtype or array
        What is to be converted.
    to : dtype
        What to.
    casting : {"no", "equiv", "safe", "same_kind", "unsafe"}
        What is allowed, in NumPy's words.
    """
    return np.can_cast(_dtype_of(from_, "can_cast"), dtype_named(to), casting=casting)  # type: ignore[arg-type]


def result_type(*operands: Any) -> np.dtype[Any]:
    """Return the dtype in which arrays, dtypes and Python numbers meet.

    Examples
    --------
    >>> result_type("int32", 1.5), result_type("float32", "float64")
    (dtype('float32'), dtype('float64'))
    """
    names, weak = [], []
    for operand in operands:
        if isinstance(operand, bool | int | float | complex) and not hasattr(operand, "dtype"):
            weak.append(type(operand))
        elif (kind := weak_type(operand)) is not None:
            weak.append(kind)
            note_weakness()
        else:
            names.append(_dtype_of(operand, "result_type").name)
    return dtype_named(promote(names, weak))
