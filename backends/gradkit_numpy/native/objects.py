"""Where native code finds what NumPy's arrays and Python's lists hold: the fields of their structures.

A call reads the addresses of its arrays itself, from a list, which is far cheaper than asking each array for its own in
Python. NumPy's fields are part of its binary interface; CPython's are compared with what Python says when this is
loaded (`why_unusable`), and where they differ addresses are asked for in Python.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from functools import cache
from typing import Any

import numpy as np

from gradkit.backend import as_numpy_dtype

__all__ = [
    "AXES", "DATA", "DTYPE", "FITS", "FLAGS", "ITEMS", "OWN", "REFERENCES", "SIZES", "TYPE", "WEAK_REFERENCES",
    "WRITEABLE", "dtype_symbol", "function_at", "layout_is_known", "symbols",
]  # fmt: skip

REFERENCES, TYPE = 0, 8
"""Of any object: how many references there are (32 bits), and its type."""
ITEMS = 24
"""Of a list: the address of its items."""
DATA, AXES, SIZES, DTYPE, FLAGS, WEAK_REFERENCES = 16, 24, 32, 56, 64, 72
"""Of an array: its elements, the number of axes (32 bits), their sizes, its dtype, flags (32 bits), and what refers to
it weakly."""
FITS = 0x101
"""The flags of an array whose elements lie row by row, each where the processor reads it fastest."""
WRITEABLE = 0x400
"""The flag of an array that may be written."""
OWN = FITS | WRITEABLE | 0x4
"""The flags of one whose memory is its own besides."""

DTYPES = ("bool", "float16", "float32", "float64", "complex64", "complex128") + tuple(
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
)


PYTHON = (
    "PyErr_CheckSignals", "PyEval_RestoreThread", "PyEval_SaveThread", "PyGILState_Ensure", "PyGILState_Release",
    "PyList_New", "PyList_SetItem", "PyLong_AsVoidPtr", "PyLong_FromLongLong", "PyLong_FromVoidPtr",
    "PyObject_Vectorcall", "PyType_GenericAlloc", "Py_DecRef", "Py_IncRef",
)  # fmt: skip
"""The functions of Python's own that programs call."""


class Definition(ctypes.Structure):
    """How Python's own functions are declared to it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


FASTCALL = 0x80
"""The flag of a function of an object, an array of arguments, and their number."""


def function_at(address: int) -> Any:
    """Return native code as a function of Python's own, whose call costs a tenth of one by ctypes.

    The code has to live as long as the function and its copies.
    """
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.POINTER(Definition), ctypes.py_object, ctypes.py_object], ctypes.py_object
    definition = Definition(b"enter", address, FASTCALL, None)
    return make(definition, definition, None)  # its first argument: so it keeps its declaration


@cache
def symbols(box: type) -> dict[str, int]:
    """Return the addresses of the objects and functions of Python that programs ask for, by their names there."""
    objects = {"object_ndarray": np.ndarray, "object_none": None, "object_false": False, "object_box": box}
    found = {name: id(value) for name, value in [*objects.items(), *((f"object_{n}", np.dtype(n)) for n in DTYPES)]}
    for name in PYTHON:
        found[name] = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
    return found


@cache
def dtype_symbol(name: str) -> dict[str, int]:
    """Return the address of a dtype that NumPy does not have itself, by its name in programs."""
    return {f"object_{name}": id(as_numpy_dtype(name))}


@cache
def layout_is_known() -> bool:
    """Return whether objects of this interpreter have their fields where they are expected."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    turned, listed = array.T, [array]

    def word(address: int) -> int:
        return ctypes.c_uint64.from_address(address).value

    def half(address: int) -> int:
        return ctypes.c_uint32.from_address(address).value

    # An array that a list alone holds counts one reference, and each further one counts: all bits mean references.
    alone = [np.zeros(2)]
    before = half(word(word(id(alone) + ITEMS)) + REFERENCES)
    held = alone * 5
    after = half(word(word(id(alone) + ITEMS)) + REFERENCES)
    unreferred = word(id(array) + WEAK_REFERENCES)
    weak = weakref.ref(array)
    return (
        (before, after) == (1, len(held) + 1)
        and unreferred == 0
        and word(id(array) + WEAK_REFERENCES) == id(weak)
        and word(id(array) + TYPE) == id(np.ndarray)
        and word(id(array) + DATA) == array.ctypes.data
        and half(id(array) + AXES) == 2
        and word(word(id(array) + SIZES) + 8) == 3
        and word(id(array) + DTYPE) == id(array.dtype)
        and half(id(turned) + FLAGS) & OWN != OWN
        and half(id(alone[0]) + FLAGS) & OWN == OWN
        and half(id(array) + FLAGS) & FITS == FITS
        and half(id(turned) + FLAGS) & FITS != FITS
        and word(word(id(listed) + ITEMS)) == id(array)
    )
