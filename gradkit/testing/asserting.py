"""Assertions on arrays: their values, and that they are arrays of one kind, by tolerances that fit their dtype.

`numpy.testing` compares values: that an array of the wrong dtype, or on the wrong device, passes is how most faults
between backends stay unseen. What is expected may be an array of the same backend and device, or comes from the host:
NumPy arrays, numbers and nested lists. A tree of arrays is compared leaf by leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradkit.core.array import Array
from gradkit.core.promotion import letter_of
from gradkit.core.values import host
from gradkit.numpy import asarray
from gradkit.tree import keystr, leaves_with_path, structure

__all__ = ["assert_close", "assert_equal", "assert_less"]

TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
"""Relative and absolute tolerance by dtype: those of `torch.testing.assert_close`. Other dtypes have to be equal."""


def assert_close(
    actual: Any,
    desired: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    check_backend: bool = True,
    check_device: bool = True,
    check_dtype: bool = True,
    check_shape: bool = True,
    err_msg: str = "",
) -> None:
    """Check that arrays are equal up to rounding.

    An element may differ by ``atol + rtol * abs(desired)``.

    Parameters
    ----------
    actual : array or pytree of arrays
        What came.
    desired : array, number, nested list or pytree of them
        What was expected, in the same tree. An Array has to be on the same backend and device, of the same dtype and
        shape; a NumPy array of the same dtype and shape; a list, of the same shape. A number is every element.
    rtol, atol : float, optional
        By default those of the two dtypes that tell the numbers apart less: 1.3e-6 and 1e-5 for float32, 1e-7 and 1e-7
        for float64, 1e-3 and 1e-5 for float16, 1.6e-2 and 1e-5 for bfloat16, and 0 for integers and bools.
    equal_nan : bool
        Whether NaN is equal to NaN.
    check_backend, check_device, check_dtype, check_shape : bool
        False lets arrays differ in this; shapes have to broadcast then.
    err_msg : str
        What to say beside.

    Raises
    ------
    AssertionError
        If they differ; the message says in what, where, and by how much.
    TypeError, ValueError
        If an argument of this function is wrong.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> assert_close(jnp.asarray([0.1, 0.2]) * 3, [0.3, 0.6])
    >>> assert_close(jnp.asarray([1.0, 2.0]), [1.0, 2.5])
    Traceback (most recent call last):
    ...
    AssertionError: assert_close: 1 of 2 elements differ (rtol=1.3e-06, atol=1e-05)
    greatest absolute difference: 0.5 at [1]: 2.0, expected 2.5
    greatest relative difference: 0.2 at [1]: 2.0, expected 2.5
    """
    checks = _Checks(check_backend, check_device, check_dtype, check_shape)
    given = _tolerance("rtol", rtol), _tolerance("atol", atol)
    for pair in _pairs("assert_close", actual, desired, checks, err_msg):
        relative, absolute = _tolerances(pair, *given)
        a, b = pair.actual, pair.desired
        with np.errstate(all="ignore"):
            difference, size = _wide(a, b)
            same = (a == b) | (equal_nan & _is_nan(a) & _is_nan(b))
            wrong = ~(same | (np.isfinite(difference) & (difference <= absolute + relative * size)))
        if wrong.any():
            pair.fail(wrong, f"elements differ (rtol={relative:g}, atol={absolute:g})")


def assert_equal(
    actual: Any,
    desired: Any,
    *,
    check_backend: bool = True,
    check_device: bool = True,
    check_dtype: bool = True,
    check_shape: bool = True,
    err_msg: str = "",
) -> None:
    """Check that arrays are equal, element for element; NaN is equal to NaN, and 0.0 to -0.0.

    Parameters
    ----------
    actual, desired, check_backend, check_device, check_dtype, check_shape, err_msg
        As in `assert_close`.

    Raises
    ------
    AssertionError
        If they differ; the message says in what, where, and by how much.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> assert_equal(jnp.arange(3), [0, 1, 2])
    """
    checks = _Checks(check_backend, check_device, check_dtype, check_shape)
    for pair in _pairs("assert_equal", actual, desired, checks, err_msg):
        a, b = pair.actual, pair.desired
        wrong = ~((a == b) | (_is_nan(a) & _is_nan(b)))
        if wrong.any():
            pair.fail(wrong, "elements differ")


def assert_less(
    actual: Any,
    desired: Any,
    *,
    check_backend: bool = True,
    check_device: bool = True,
    check_dtype: bool = True,
    check_shape: bool = True,
    err_msg: str = "",
) -> None:
    """Check that each element of an array is less than the other's; NaN is not less than anything.

    Parameters
    ----------
    actual, desired, check_backend, check_device, check_dtype, check_shape, err_msg
        As in `assert_close`.

    Raises
    ------
    AssertionError
        If one is not; the message says where, and by how much.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> assert_less(jnp.asarray([0.5, 0.7]), 1.0)
    """
    checks = _Checks(check_backend, check_device, check_dtype, check_shape)
    for pair in _pairs("assert_less", actual, desired, checks, err_msg):
        if pair.actual.dtype.kind == "c" or pair.desired.dtype.kind == "c":
            raise TypeError("assert_less: complex numbers have no order. Compare their real parts or absolute values.")
        wrong = ~(pair.actual < pair.desired)
        if wrong.any():
            pair.fail(wrong, "elements are not less")


class _Checks(NamedTuple):
    """What arrays have to have in common beside their values."""

    backend: bool
    device: bool
    dtype: bool
    shape: bool


class _Pair(NamedTuple):
    """Two arrays that are compared, as NumPy arrays of one shape, and how messages begin."""

    caller: str
    where: str
    actual: np.ndarray[Any, Any]
    desired: np.ndarray[Any, Any]
    dtypes: tuple[str, str]
    err_msg: str

    def fail(self, wrong: Any, what: str) -> None:
        """Raise the error that says how many elements are wrong, and the worst of them."""
        number, size = int(wrong.sum()), wrong.size
        lines = [f"{self.caller}: {self.where}{number} of {size} {what}"]
        a, b = self.actual, self.desired
        with np.errstate(all="ignore"):
            difference, size = _wide(a, b)
            relative = np.where(wrong, difference / size, -1.0)
            difference = np.where(wrong, difference, -1.0)
        for name, values in {"absolute": difference, "relative": relative}.items():
            worst = np.where(np.isnan(values), np.inf, values)
            index = np.unravel_index(int(np.argmax(worst)), worst.shape)
            place = f" at [{', '.join(map(str, map(int, index)))}]" if index else ""
            lines.append(
                f"greatest {name} difference: {values[index]:.7g}{place}: {a[index].item()!r}, expected "
                f"{b[index].item()!r}"
            )
        if self.err_msg:
            lines.append(self.err_msg)
        raise AssertionError("\n".join(lines))


def _pairs(caller: str, actual: Any, desired: Any, checks: _Checks, err_msg: str) -> Iterator[_Pair]:
    """Yield the leaves of both trees, once they are arrays of one kind."""
    tree = structure(actual)
    try:
        others = tree.flatten_up_to(desired)
    except ValueError as error:
        raise AssertionError(f"{caller}: the trees differ: {error}{_beside(err_msg)}") from None
    for (path, leaf), other in zip(leaves_with_path(actual), others, strict=True):
        where = f"at {keystr(path)}: " if path else ""
        left, right = _as_array(caller, "actual", leaf), _as_array(caller, "desired", other)
        for fact, (one, two) in _facts(left, right, checks).items():
            if one != two:
                raise AssertionError(f"{caller}: {where}{fact} is {one}, expected {two}{_beside(err_msg)}")
        a, b = _on_host(left), _on_host(right)
        try:
            a, b = np.broadcast_arrays(a, b)
        except ValueError:
            raise AssertionError(
                f"{caller}: {where}shape is {a.shape}, expected {b.shape}, and they do not broadcast{_beside(err_msg)}"
            ) from None
        yield _Pair(caller, where, a, b, (a.dtype.name, b.dtype.name), err_msg)


def _beside(err_msg: str) -> str:
    return f"\n{err_msg}" if err_msg else ""


def _as_array(caller: str, name: str, value: Any) -> Any:
    """Return a leaf as an Array, or as a NumPy array where it comes from the host."""
    if type(value) is Array or isinstance(value, np.ndarray | np.generic):
        return value
    if isinstance(value, bool | int | float | complex | list | tuple):
        found = np.asarray(value)
        if letter_of(found.dtype) not in "biufc":
            raise TypeError(f"{caller}: {name}: expected arrays or numbers, got {value!r}")
        return value if isinstance(value, bool | int | float | complex) else found.tolist()
    return asarray(value)


def _facts(left: Any, right: Any, checks: _Checks) -> dict[str, tuple[Any, Any]]:
    """Return what two arrays have to have in common, as they have it."""
    facts: dict[str, tuple[Any, Any]] = {}
    if type(left) is Array and type(right) is Array:
        if checks.backend:
            facts["backend"] = left.device.backend, right.device.backend
        if checks.device and left.device.backend == right.device.backend:
            facts["device"] = str(left.device), str(right.device)
    elif type(left) is not Array and type(right) is Array and checks.backend:
        facts["namespace"] = "NumPy's" if isinstance(left, np.ndarray | np.generic) else "Python's", "gradkit's"
    if checks.dtype and hasattr(left, "dtype") and hasattr(right, "dtype"):
        facts["dtype"] = left.dtype.name, right.dtype.name
    if checks.shape and not isinstance(right, bool | int | float | complex):
        facts["shape"] = np.shape(left), np.shape(right)
    return facts


def _on_host(value: Any) -> np.ndarray[Any, Any]:
    return host(value, "an assertion", False) if type(value) is Array else np.asarray(value)


def _wide(a: Any, b: Any) -> tuple[Any, Any]:
    """Return how far numbers are apart, and how large the second are, in double precision: narrow integers wrap."""
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    return np.abs(a.astype(wide) - b.astype(wide)), np.abs(b.astype(wide))


def _is_nan(array: np.ndarray[Any, Any]) -> Any:
    return array != array


def _tolerance(name: str, value: float | None) -> float | None:
    if value is not None and not value >= 0:
        raise ValueError(f"{name}: expected a number that is not negative, got {value!r}")
    return value


def _tolerances(pair: _Pair, rtol: float | None, atol: float | None) -> tuple[float, float]:
    """Return the tolerances that were given, or those of the dtype that tells numbers apart less.

    A number or list from Python has no dtype of its own: float64 there says nothing.
    """
    known = [TOLERANCES.get(name, (0.0, 0.0)) for name in pair.dtypes]
    relative, absolute = (max(values) for values in zip(*known, strict=True))
    return relative if rtol is None else rtol, absolute if atol is None else atol
