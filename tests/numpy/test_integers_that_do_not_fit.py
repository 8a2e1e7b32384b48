"""A Python integer that the dtype of the integers beside it does not hold is an error, and never wraps around.

What computes with it exactly all the same, as a comparison does, gives what the same call gives with wider integers.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from function_calls import functions

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, tree

NUMBERS = {"int8": 300, "uint8": -1, "int32": -(2**31) - 7, "uint32": 2**32 + 5}
WRAPPED = {dtype: int(np.asarray(number).astype(dtype)) for dtype, number in NUMBERS.items()}
"""What they would be."""
SMALL = 5
"""A number that fits."""
REFUSALS = (OverflowError, TypeError)
OTHER_REFUSALS = (*REFUSALS, ValueError, IndexError, NotImplementedError)
"""A function that takes it for a size or an axis says so."""

OPERATORS = "add sub mul floordiv mod and_ or_ xor lshift rshift".split()
COMPARISONS = "lt le eq ne ge gt".split()
AT = "set add subtract multiply max min".split()

CALLS: dict[str, Callable[[Any, int], Any]] = {
    **{f"x {name} n": lambda x, n, name=name: getattr(operator, name)(x, n) for name in OPERATORS + COMPARISONS},
    **{f"n {name} x": lambda x, n, name=name: getattr(operator, name)(n, x) for name in OPERATORS + COMPARISONS},
    **{f"x.at[0].{name}": lambda x, n, name=name: getattr(x.at[0], name)(n) for name in AT},
    **{f"x.at[[0, 1]].{name}": lambda x, n, name=name: getattr(x.at[jnp.asarray([0, 1])], name)(n) for name in AT},
    "x.at[:2].set of a list": lambda x, n: x.at[:2].set([n, 1]),
    "x.at[mask].set": lambda x, n: x.at[x > 1].set(n),
    "x.at.get": lambda x, n: x.at[jnp.asarray([9])].get(mode="fill", fill_value=n),
    "x.clip": lambda x, n: x.clip(min(n, 0), max(n, 0)),
    "take": lambda x, n: jnp.take(x, jnp.asarray([9]), mode="fill", fill_value=n),
    "pad": lambda x, n: jnp.pad(x, 1, constant_values=n),
    "pad, a pair": lambda x, n: jnp.pad(x, 1, constant_values=(0, n)),
    "pad, a ramp": lambda x, n: jnp.pad(x, 2, mode="linear_ramp", end_values=n),
    "piecewise": lambda x, n: jnp.piecewise(x, [x > 1], [n, 2]),
    "piecewise, a function": lambda x, n: jnp.piecewise(x, [x > 1], [lambda v: v, lambda v: n]),
    "select": lambda x, n: jnp.select([x > 1], [x], n),
    "where": lambda x, n: jnp.where(x > 1, x, n),
    "put": lambda x, n: jnp.put(x, jnp.asarray([0]), n, inplace=False),
    "place": lambda x, n: jnp.place(x, x > 1, [n, 1], inplace=False),
    "fill_diagonal": lambda x, n: jnp.fill_diagonal(jnp.stack([x, x]), n, inplace=False),
    "put_along_axis": lambda x, n: jnp.put_along_axis(x, jnp.asarray([0]), n, 0, inplace=False),
    "unique": lambda x, n: jnp.unique(x, size=5, fill_value=n),
    "compress": lambda x, n: jnp.compress(x > 1, x, size=3, fill_value=n),
    "full": lambda x, n: jnp.full((2,), n, x.dtype),
    "lax.full": lambda x, n: lax.full((2,), n, x.dtype),
    "asarray": lambda x, n: jnp.asarray([n, 1], x.dtype),
    "astype": lambda x, n: jnp.astype(n, x.dtype),
    "hstack": lambda x, n: jnp.hstack([x, n], dtype=x.dtype),
    "max, initial": lambda x, n: jnp.max(x, initial=n),
    "sum, initial": lambda x, n: jnp.sum(x, initial=n),
    "isin": lambda x, n: (jnp.isin(x, n), jnp.isin(n, x)),
    "searchsorted": lambda x, n: (jnp.searchsorted(jnp.sort(x), n), jnp.digitize(n, jnp.sort(x))),
    "lax.reduce": lambda x, n: lax.reduce(x, n, lax.max, (0,)),
    "lax.reduce_window": lambda x, n: lax.reduce_window(x, n, lax.max, (2,), (1,), "SAME"),
    "lax.pad": lambda x, n: lax.pad(x, n, [(1, 1, 0)]),
    "ufunc.reduce": lambda x, n: jnp.frompyfunc(jnp.maximum, 2, 1).reduce(x, initial=n),
    "ufunc.at": lambda x, n: jnp.frompyfunc(jnp.maximum, 2, 1).at(x, jnp.asarray([0, 1]), n, inplace=False),
    "vmap": lambda x, n: gradkit.vmap(lambda row: (row + n, row < n))(x),
    "vmap, an argument": lambda x, n: gradkit.vmap(lambda row, n: row < n, in_axes=(0, None))(x, n),
    "jvp": lambda x, n: gradkit.jvp(lambda f: (f, x + n)[1], (1.0,), (1.0,))[0],
    "grad, aux": lambda x, n: gradkit.grad(lambda f, x, n: (f, x < n), has_aux=True)(1.0, x, n)[1],
    "cond": lambda x, n: lax.cond(x[0] > 0, lambda x: x + n, lambda x: x, x),
    "cond, comparisons": lambda x, n: lax.cond(x[0] > 0, lambda x, n: x < n, lambda x, n: x > n, x, n),
    "scan": lambda x, n: lax.scan(lambda c, row: (c + 1, row + n), 0, x),
    "scan, a carry": lambda x, n: lax.scan(lambda c, row: (row, c < row), n, x),
    "fori_loop": lambda x, n: lax.fori_loop(0, 2, lambda i, c: c * 0 + n, x),
    "fori_loop, a carry": lambda x, n: lax.fori_loop(0, 2, lambda i, c: x[0], n),
    "jit": lambda x, n: gradkit.jit(lambda x: (x + n, x < n))(x),
}

CONVERSIONS = "asarray", "astype"
"""An argument of a jitted function is an array there, whose conversion is asked for."""
WAYS: dict[str, Callable[[Any, Any, int], Any]] = {
    "eager": lambda call, x, n: call(x, n),
    "jit": lambda call, x, n: gradkit.jit(lambda x: call(x, n))(x),
    "jit, an argument": lambda call, x, n: gradkit.jit(call)(x, n),
}


def test_the_calls_take_numbers_that_fit() -> None:
    x = jnp.asarray([1, 2, 3], "int8")
    for name, call in CALLS.items():
        try:
            call(x, SMALL)
        except TypeError:
            assert name == "lax.pad"  # which does not promote


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_number_that_does_not_fit_is_an_error_or_counts_as_it_is(backend: Any, dtype: str, way: str) -> None:
    number, values = NUMBERS[dtype], [1, 2, WRAPPED[dtype]]
    faults = []
    for name, call in CALLS.items():
        if way == "jit, an argument" and name in CONVERSIONS:
            continue
        try:
            found = WAYS[way](call, jnp.asarray(values, dtype), number)
        except REFUSALS:
            continue
        with gradkit.use_backend("numpy"), gradkit.enable_x64():
            expected = call(jnp.asarray(values, "int64"), number)
        if not agree(found, expected):
            faults.append(f"{name}: {found}, expected {expected}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_comparisons_are_exact(backend: Any, dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = [int(limits.min), 0, WRAPPED[dtype], int(limits.max)]
    for number in (NUMBERS[dtype], int(limits.min) - 1, int(limits.max) + 1, -(2**70), 2**70):
        for name in COMPARISONS:
            compare = getattr(operator, name)
            for function in (lambda x, c=compare, n=number: (c(x, n), c(n, x)),):
                one, other = function(jnp.asarray(values, dtype))
                assert one.tolist() == [compare(value, number) for value in values], (name, number)
                assert other.tolist() == [compare(number, value) for value in values], (name, number)


@pytest.mark.parametrize("dtype", ["uint32", "int32", "uint64", "int64"])
def test_the_last_numbers_of_a_dtype_are_in_it(backend: Any, dtype: str) -> None:
    if not backend.has_dtype(dtype):
        pytest.skip(f"the backend has no {dtype} now")
    limits = np.iinfo(dtype)
    least, most = int(limits.min), int(limits.max)
    with gradkit.enable_x64():
        x = jnp.asarray([0, most], dtype)
        assert [(x <= most).tolist(), (x > most - 1).tolist()] == [[True, True], [False, True]]
        assert [(x + least).tolist()[0], jnp.maximum(x, most).tolist()] == [least, [most, most]]
        assert [x.at[0].set(most).tolist(), jnp.where(x > 0, x, least).tolist()] == [[most, most], [least, most]]
    assert (jnp.ones(2) * 2**40).tolist() == [2.0**40] * 2


def test_the_error_names_the_function_the_number_and_the_dtype(backend: Any) -> None:
    x = jnp.ones(3, "int8")
    for name, call in {"add": lambda: x + 300, "where": lambda: jnp.where(x > 0, x, 300)}.items():
        with pytest.raises(OverflowError, match=rf"{name}: Python integer 300 out of bounds for int8 \(-128 to 127\)"):
            call()


def agree(found: Any, expected: Any) -> bool:
    """Return whether results have the same numbers, whatever their dtypes."""
    one, other = ([gradkit.device_get(leaf) for leaf in tree.leaves(result)] for result in (found, expected))
    return len(one) == len(other) and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)
        for a, b in zip(one, other, strict=True)
        if np.asarray(a).dtype.kind in "biufc"
    )


# The functions of the namespaces, with what each is found to take

LIMITED = {"numpy.geomspace", "numpy.linspace", "numpy.logspace", "numpy.arange", "lax.iota", "lax.broadcasted_iota"}
"""Ranges in a dtype that is too small for them are as NumPy's."""


def things(dtype: str, number: int) -> dict[str, Callable[[], Any]]:
    return {
        "x": lambda: jnp.asarray([1, 2, WRAPPED["int8"]], dtype),
        "n": lambda: number,
        "b": lambda: jnp.asarray([True, False, True]),
        "l": lambda: [jnp.asarray([1, 2, 3], dtype), number],
        "i": lambda: 1,
        "d": lambda: dtype,
    }


def called(function: Callable[..., Any], combination: str, option: str | None, dtype: str, number: int) -> Any:
    given = things(dtype, number)
    with contextlib.redirect_stdout(io.StringIO()):
        gradkit.random.seed(0)
        return function(*(given[letter]() for letter in combination), **({option: number} if option else {}))


@functools.cache
def calls_with_numbers() -> list[tuple[str, Any, str, str | None]]:
    """Return calls that take a number beside integers, whose results are the same for narrow integers and wide ones."""
    found: list[tuple[str, Any, str, str | None]] = []
    for path, function in itertools.chain.from_iterable(functions(n).items() for n in ("numpy", "lax", "nn")):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (ValueError, TypeError):
            continue
        if path in LIMITED or isinstance(function, type):
            continue
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        required = sum(p.default is p.empty and p.kind in kinds for p in parameters)
        required += 2 * any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        options = [p.name for p in parameters if p.default is not p.empty and p.name not in ("dtype", "axis", "out")]
        left = 4
        for letters in itertools.product("xnblid", repeat=required) if required <= 3 else ():
            combination = "".join(letters)
            if not {"x", "l", "d"} & set(letters) or not left:
                continue
            numbered = bool({"n", "l"} & set(letters))
            for option in [None] if numbered else options:
                try:
                    narrow = called(function, combination, option, "int8", SMALL)
                    wide = called(function, combination, option, "int32", SMALL)
                except Exception:  # noqa: BLE001 - it does not take this
                    continue
                if agree(narrow, wide):
                    found.append((path, function, combination, option))
                    left -= numbered
            left -= not numbered and left > 1
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning")  # powers overflow, as they do
def test_no_function_wraps_a_number_around(backend: Any) -> None:
    with gradkit.use_backend("numpy"):
        calls = calls_with_numbers()
    assert len({path for path, *_ in calls}) > 100
    faults = []
    for path, function, combination, option in calls:
        with gradkit.use_backend("numpy"):
            expected = outcome(function, combination, option, "int32")
            is_refused = outcome(function, combination, option, "int8") is None
        # What is not refused compiles a program or several where JAX computes: the others have compared it.
        if expected is None or (backend.name == "jax" and not is_refused):
            continue
        found = outcome(function, combination, option, "int8")
        if found is not None and not agree(found, expected):
            faults.append(f"{path}({', '.join(combination)}, {option}): {found}, expected {expected}")
    assert not faults, "\n".join(faults)


def outcome(function: Callable[..., Any], combination: str, option: str | None, dtype: str) -> Any:
    """Return what a call gives beside integers of a dtype, None if it refuses; NumPy has so many axes at most."""
    try:
        return [called(function, combination, option, dtype, NUMBERS["int8"])]
    except OTHER_REFUSALS:
        return None
