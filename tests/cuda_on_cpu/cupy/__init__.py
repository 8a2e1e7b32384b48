"""A `cupy` for machines without a GPU: NumPy's arithmetic behind CuPy's rules, and CUDA kernels compiled by g++.

It refuses what CuPy refuses: names and arguments that the installed CuPy does not have, NumPy's arrays as operands,
implicit conversion to NumPy, dtypes that CuPy has no loop for. `_ledger` counts launches and copies.

    PYTHONPATH=tests/cuda_on_cpu pytest --backend=cupy
"""

import types as _types

import numpy as _np
from numpy import (  # noqa: F401
    bool_,
    broadcast_shapes,
    can_cast,
    complex64,
    complex128,
    complexfloating,
    dtype,
    e,
    euler_gamma,
    finfo,
    float16,
    float32,
    float64,
    floating,
    generic,
    iinfo,
    inexact,
    inf,
    int8,
    int16,
    int32,
    int64,
    integer,
    intp,
    isscalar,
    issubdtype,
    nan,
    ndindex,
    newaxis,
    number,
    pi,
    promote_types,
    result_type,
    signedinteger,
    uint8,
    uint16,
    uint32,
    uint64,
    uintp,
    unsignedinteger,
)

from cupy import _creation, _functions, _ledger, cuda  # noqa: F401
from cupy._array import ndarray
from cupy._compiled import RawKernel, RawModule  # noqa: F401
from cupy._indexing import nonzero, take, take_along_axis  # noqa: F401
from cupy._table import table as _table
from cupy._ufunc import ufunc, ufuncs  # noqa: F401

__version__ = _table()["version"]
bool = bool_

globals().update(ufuncs(_table()["loops"], "", _np))
abs = absolute  # noqa: F821
bitwise_not = invert  # noqa: F821
for _module in (_creation, _functions):
    globals().update(_module.FUNCTIONS)
    globals().update(
        {
            name: thing
            for name, thing in vars(_module).items()
            if isinstance(thing, _types.FunctionType) and thing.__module__ == _module.__name__ and name[0] != "_"
        }
    )

from cupy import fft, linalg  # noqa: E402, F401

# What the real CuPy does not have, this has not either.
for _name in [_name for _name in globals() if _name[0] != "_" and _name not in _table()["names"][""]]:
    del globals()[_name]
for _name in [_name for _name in vars(ndarray) if _name[0] != "_" and _name not in _table()["names"]["ndarray."]]:
    delattr(ndarray, _name)
