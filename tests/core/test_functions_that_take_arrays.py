"""Every public function, with a followed array in the place of each of its arguments: the slope is right, or it raises.

The functions are found by walking the package, what each takes by trying, and the slope is that of central differences
on plain values. So a new function, or a new argument, is in the sweep by itself. So are Python's and NumPy's.
"""

from __future__ import annotations

import builtins
import cmath
import copy
import math
import operator
import pkgutil
import statistics
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from function_calls import FORMS, NAMESPACES, NOT_SWEPT, OUTSIDE, Function, calls, functions
from slopes import swept

import gradkit


@pytest.fixture(autouse=True)
def in_float64(backend: Any) -> Iterator[None]:
    with gradkit.enable_x64(True):
        yield


def sweep(name: str, forms: Any, most: int, tries: int, transforms: Any) -> tuple[int, list[str]]:
    tried, lost = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path, function in functions(name).items():
            took, found = swept(calls(path, function, forms, most, tries), transforms)
            tried += took
            lost += found
    return tried, lost


@pytest.mark.dealt("name")  # what a function loses it loses of Arrays, wherever they lie
@pytest.mark.parametrize("name", NAMESPACES)
def test_every_argument_of_every_function_is_followed_or_raises(name: str, xp: Any) -> None:
    _, lost = sweep(name, None, 1, 120, ("grad",))
    assert not lost, "\n".join(lost)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMESPACES)
def test_every_argument_of_every_function_is_followed_or_raises_in_more_forms(name: str, xp: Any) -> None:
    _, lost = sweep(name, FORMS, 6, 700, ("jvp around grad", "grad"))
    assert not lost, "\n".join(lost)


def test_functions_that_want_arguments_in_order_are_followed(xp: Any) -> None:
    tried, lost = swept(OUTSIDE)
    assert not lost, "\n".join(lost)
    assert tried == len(OUTSIDE)


def test_every_module_is_swept_or_said_not_to_be() -> None:
    found = {module.name for module in pkgutil.iter_modules(gradkit.__path__)}
    assert found == {name.split(".")[0] for name in NAMESPACES if name != "."} | set(NOT_SWEPT)


# Python's and NumPy's

NOT_CALLED_OUTSIDE = {
    "builtins": """breakpoint compile copyright credits delattr dir eval exec exit globals help input license
        locals open print quit setattr vars""",
    "numpy": """empty empty_like errstate fromfile genfromtxt info loadtxt memmap ndarray printoptions save savetxt
        savez savez_compressed set_printoptions setbufsize seterr seterrcall show_config show_runtime test""",
}
"""What asks the user, reads and writes files, changes settings, or gives memory as it is."""


def outside_calls(module: Any) -> dict[str, Function]:
    """Return a call of each function of a module with an array, its elements, and several of them."""
    left_out = NOT_CALLED_OUTSIDE.get(module.__name__, "").split()
    found: dict[str, Function] = {}
    for name in getattr(module, "__all__", None) or dir(module):
        f = getattr(module, name)
        if name.startswith("_") or name in left_out or not callable(f):
            continue
        found |= {
            f"{name}(x)": lambda x, f=f: f(x),
            f"{name}(x[0])": lambda x, f=f: f(x[0]),
            f"{name}(*x)": lambda x, f=f: f(*x),
            f"{name}(x[0], x[1])": lambda x, f=f: f(x[0], x[1]),
            f"{name}(0.5, x[1])": lambda x, f=f: f(0.5, x[1]),
            f"{name}(x, 0.25)": lambda x, f=f: f(x, 0.25),
            f"{name}(x, 1)": lambda x, f=f: f(x, 1),
            f"{name}(x, x)": lambda x, f=f: f(x, x),
            f"{name}(list(x))": lambda x, f=f: f(list(x)),
        }
    return found


OUTSIDE_MODULES = [builtins, math, cmath, statistics, operator, copy, np, np.linalg, np.fft]


@pytest.mark.dealt("module")
@pytest.mark.parametrize("module", OUTSIDE_MODULES, ids=lambda module: module.__name__)
def test_every_function_of_python_and_numpy_is_followed_or_raises(module: Any, xp: Any) -> None:
    _, lost = swept(outside_calls(module), ("grad",))
    assert not lost, "\n".join(lost)
