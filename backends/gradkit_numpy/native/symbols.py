"""Where native code finds the routines of other libraries: BLAS and LAPACK as SciPy publishes them, and the C library.

Products are of NumPy's own library where it can be asked for them: the process has it already, with its threads, and
SciPy's, which is often an older one, is not loaded for them.

Addresses differ between processes, so text and object code have names, and the linker is told the addresses each time.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

__all__ = [
    "BLAS", "LAPACK", "LIBM", "OF_NUMPY", "address_of", "addresses_for", "declared", "declared_once",
    "numpy_has_products",
]  # fmt: skip

BLAS = frozenset(
    """
    sgemm dgemm cgemm zgemm sgemv dgemv cgemv zgemv sger dger cgeru zgeru ssyrk dsyrk csyrk zsyrk
    strsm dtrsm ctrsm ztrsm strmm dtrmm ctrmm ztrmm sdot ddot saxpy daxpy
    """.split()
)
"""Routines of BLAS that text may declare by these names, with Fortran's arguments: all of them pointers."""

OF_NUMPY = {"sgemm_64": "scipy_sgemm_64_", "dgemm_64": "scipy_dgemm_64_"}
"""Products whose whole numbers have 64 bits, by the names that text declares: what they are in NumPy's own library."""

LAPACK = frozenset(
    f"{letter}{name}" for letter in "sd" for name in ("gesdd", "geqrf", "gesv", "getrf", "orgqr", "potrf", "syevd")
)
"""Those of LAPACK."""

LIBM = frozenset(
    """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs floor fma fmax fmin
    fmod frexp hypot ilogb ldexp lgamma log log10 log1p log2 logb modf nearbyint nextafter pow remainder rint round sin
    sinh sqrt tan tanh tgamma trunc
    """.split()
)
"""Functions of C's library for double; for float their names end in ``f``."""

MEMORY = ("memcpy", "memmove", "memset", "memcmp", "bcmp")
HALVES = ("__extendhfsf2", "__truncsfhf2", "__truncdfhf2", "__gnu_h2f_ieee", "__gnu_f2h_ieee")
IMPLICIT = (*MEMORY, *HALVES, *sorted(LIBM), *(f"{name}f" for name in sorted(LIBM)))
"""What LLVM may call of its own accord: for its intrinsics, for loops that copy, and for float16 on old processors."""

LIBRARIES: Mapping[str, tuple[str | None, ...]] = {
    "darwin": (None, "/usr/lib/libSystem.B.dylib"),
    "win32": ("ucrtbase", "msvcrt"),
}
DECLARED = re.compile(r"^[ \t]*declare\b[^@\n]*@(?!llvm\.)([\w.$]+)\s*\(", re.MULTILINE)
DECLARATION = re.compile(r"^[ \t]*declare\b[^@\n]*@([\w.$]+).*$", re.MULTILINE)


@cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    found = []
    for name in LIBRARIES.get(sys.platform, (None, "libm.so.6", "libgcc_s.so.1")):
        try:
            found.append(ctypes.CDLL(name))
        except OSError:  # a system without it: the others are asked
            continue
    return tuple(found)


@cache
def _scipys(library: str) -> Any:
    """Return the module that publishes a library, without the rest of `scipy.linalg`, which takes ten times as long."""
    import scipy  # optional

    name = f"scipy.linalg.cython_{library}"
    spec = PathFinder.find_spec(name, [str(Path(scipy.__file__).parent / "linalg")])
    if "scipy.linalg" in sys.modules or spec is None or spec.loader is None:
        return importlib.import_module(name)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:  # it needs its package after all
        return importlib.import_module(name)
    if "scipy.linalg" not in sys.modules:
        sys.modules.pop(name, None)  # whoever imports it later gets the same module, as an attribute of its package too
    return module


def _published_by_scipy(routine: str) -> int | None:
    capsule = _scipys("blas" if routine in BLAS else "lapack").__pyx_capi__.get(routine)
    if capsule is None:
        return None
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, name(capsule)))


@cache
def _numpys() -> ctypes.CDLL | None:
    """Return the module of NumPy's that its BLAS is linked with: what asks it for a name asks that library too."""
    try:
        return ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None


@cache
def numpy_has_products() -> bool:
    """Return whether NumPy's own BLAS can be asked for products of matrices."""
    return all(address_of(name) is not None for name in OF_NUMPY)


@cache
def address_of(name: str) -> int | None:
    """Return where a routine of BLAS, LAPACK or C's library is in this process, or None where there is none."""
    if name in BLAS or name in LAPACK:
        return _published_by_scipy(name)
    if name in OF_NUMPY:
        library = _numpys()
        return None if library is None else _in([library], OF_NUMPY[name])
    return _in(_libraries(), name)


def _in(libraries: Iterable[ctypes.CDLL], name: str) -> int | None:
    for library in libraries:
        try:
            function = library[name]
        except AttributeError:  # this library lacks it
            continue
        return ctypes.cast(function, ctypes.c_void_p).value
    return None


@cache
def _implicit() -> dict[str, int]:
    found = {name: address_of(name) for name in IMPLICIT}
    return {name: address for name, address in found.items() if address is not None}


def declared(text: str) -> set[str]:
    """Return the names that a program, as LLVM text, declares."""
    return set(DECLARED.findall(text))


def addresses_for(names: Iterable[str], given: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Return the address of each symbol that a program may need, and the names that it declares and nobody has.

    Parameters
    ----------
    names : iterable of str
        Those that it declares.
    given : Mapping
        Addresses that the caller knows, such as those of callbacks; they come before all others.
    """
    found = {name: given[name] if name in given else address_of(name) for name in names}
    known = {name: address for name, address in found.items() if address is not None}
    return {**_implicit(), **known}, sorted(found.keys() - known.keys())


def declared_once(text: str) -> str:
    """Return a program without declarations that repeat a name: LLVM would refuse them."""
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        repeated = found[1] in seen
        seen.add(found[1])
        return "" if repeated else found[0]

    return DECLARATION.sub(once, text)
