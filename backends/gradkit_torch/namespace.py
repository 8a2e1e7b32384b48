"""array-api-compat's namespace for PyTorch, and what it leaves unlike the standard.

Functions that are here stand for those of the same name there. All of them take unsigned integers as well
(`unsigned.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import array_api_compat.torch as compat
import torch
from torch import Tensor

from gradkit_torch import complex_order, linear_algebra, transforms
from gradkit_torch.unsigned import SIGNED, UNSIGNED, bridged, check_range

__all__ = ["Namespace"]

Raw = Any
Axis = int | tuple[int, ...] | None


class Namespace:
    """The namespace: what this module has, else what array-api-compat has."""

    def __init__(self) -> None:
        self.linalg = _Part(compat.linalg, linear_algebra.FUNCTIONS)
        self.fft = _Part(compat.fft, transforms.FUNCTIONS)

    def __getattr__(self, name: str) -> Any:
        found = FUNCTIONS.get(name)
        if found is None:
            found = getattr(compat, name)
            if not callable(found) or isinstance(found, type | torch.dtype):
                setattr(self, name, found)
                return found
        if name in OF_NUMBERS:
            found = _of_numbers(found)
        found = found if name in UNBRIDGED else bridged(found)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return dir(compat)


class _Part:
    """A namespace inside, as `linalg`."""

    def __init__(self, rest: Any, own: dict[str, Callable[..., Any]]) -> None:
        self.rest = rest
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rest, name)


# Making arrays: an unsigned dtype is that of signed integers with the same bits


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None
) -> Raw:
    if stop is None:
        start, stop = 0, start
    count = max(0, math.ceil((stop - start) / step))
    if count == 0:
        return torch.empty(0, dtype=dtype or torch.int64, device=device)
    if dtype in UNSIGNED:
        return torch.arange(start, stop, step, dtype=torch.int64, device=device).to(SIGNED[dtype]).view(dtype)
    if dtype is torch.bool:
        return torch.arange(start, stop, step, device=device).to(dtype)
    if dtype is not None and dtype.is_complex:
        return torch.arange(start, stop, step, dtype=torch.float64, device=device).to(dtype)
    return torch.arange(start, stop, step, dtype=dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Raw:
    if type(fill_value) is int and dtype is not None:
        check_range(fill_value, dtype)
    if dtype in UNSIGNED and type(fill_value) is int:
        return torch.full(shape, _in_range(fill_value, dtype), dtype=SIGNED[dtype], device=device).view(dtype)
    if isinstance(shape, int):
        shape = (shape,)
    return torch.full(shape, fill_value, dtype=dtype, device=device)


def full_like(x: Raw, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Raw:
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)


def _in_range(number: int, dtype: Any) -> int:
    bits = torch.iinfo(dtype).bits
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


def eye(rows: int, columns: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Raw:
    result = torch.zeros(rows, rows if columns is None else columns, dtype=dtype, device=device)
    if -rows < k < result.shape[1]:
        (result.view(SIGNED[dtype]) if dtype in UNSIGNED else result).diagonal(k).fill_(1)
    return result


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Raw:
    if isinstance(obj, Tensor):
        changed = obj.to(device=device or obj.device, dtype=dtype or obj.dtype, copy=bool(copy))
        return changed.contiguous() if copy and not changed.is_contiguous() else changed
    if type(obj) is int and dtype is not None:
        return full((), obj, dtype=dtype, device=device)
    return compat.asarray(obj, dtype=dtype, device=device, copy=copy)


def astype(x: Raw, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Raw:
    if x.dtype is dtype and not copy:
        return x
    if x.dtype.is_complex and not dtype.is_complex:
        x = x.real if dtype is not torch.bool else x != 0
    elif dtype in UNSIGNED and x.dtype.is_floating_point:
        # By way of int64: PyTorch leaves open what becomes of negative numbers otherwise.
        if dtype is torch.uint64:
            top = x >= 2.0**63
            low = torch.where(top, x - 2.0**63, x).to(torch.int64)
            return torch.where(top, low ^ -(1 << 63), low).view(dtype)
        return x.to(torch.int64).to(SIGNED[dtype]).view(dtype)
    return x.to(dtype, copy=copy)


# Reductions


def _over(x: Raw, axis: Axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _extremum(name: str) -> Callable[..., Raw]:
    function = getattr(torch, f"a{name}")

    def reduce(x: Raw, /, *, axis: Axis = None, keepdims: bool = False) -> Raw:
        axes = _over(x, axis)
        if x.dtype.is_complex and axes:
            return complex_order.extremum(function, x, axes, keepdims)
        return function(x, axes, keepdim=keepdims) if axes else x.clone()

    reduce.__name__ = name
    return reduce


def _larger(name: str) -> Callable[..., Raw]:
    function = getattr(compat, name)
    bound = "min" if name == "maximum" else "max"

    def choose(x: Raw, y: Raw, /) -> Raw:
        if not isinstance(x, Tensor):
            x, y = y, x
        if x.dtype.is_complex:
            return complex_order.larger(x, y, name == "maximum")
        return function(x, y) if isinstance(y, Tensor) or y != y else torch.clamp(x, **{bound: y})

    choose.__name__ = name
    return choose


def _comparison(name: str) -> Callable[..., Raw]:
    function = getattr(compat, name)

    def compare(x: Raw, y: Raw, /) -> Raw:
        if any(isinstance(z, complex) or (isinstance(z, Tensor) and z.dtype.is_complex) for z in (x, y)):
            return complex_order.comparison(name, x, y)
        return function(x, y)

    compare.__name__ = name
    return compare


def abs(x: Raw, /) -> Raw:
    return x.clone() if x.dtype is torch.bool else torch.abs(x)


def log1p(x: Raw, /) -> Raw:
    # PyTorch's is 0 at subnormal numbers.
    result = torch.log1p(x)
    return result if x.dtype.is_complex else torch.where(result == 0, x, result)


def pow(x: Raw, y: Raw, /) -> Raw:
    # To see whether a GPU's exponents are negative would wait for it.
    if isinstance(y, Tensor) and y.device.type == "cpu" and y.dtype in SIGNED_INTEGERS and bool((y < 0).any()):
        raise ValueError("Integers to negative integer powers are not allowed.")
    return compat.pow(x, y)


SIGNED_INTEGERS = frozenset({torch.int8, torch.int16, torch.int32, torch.int64})


def _truth(name: str) -> Callable[..., Raw]:
    function = getattr(torch, name)

    def reduce(x: Raw, /, *, axis: Axis = None, keepdims: bool = False) -> Raw:
        axes = _over(x, axis)
        x = x if x.dtype is torch.bool else x != 0
        return function(x, axes, keepdim=keepdims) if axes else x.clone()

    reduce.__name__ = name
    return reduce


def sum(x: Raw, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Raw:
    dtype = dtype or x.dtype
    axes = _over(x, axis)
    return torch.sum(x, axes, keepdim=keepdims, dtype=dtype) if axes else x.to(dtype, copy=True)


def prod(x: Raw, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Raw:
    result = x.to(dtype or x.dtype, copy=True)
    for one in sorted((one % x.ndim for one in _over(x, axis)), reverse=True):
        result = torch.prod(result, one, keepdim=keepdims, dtype=result.dtype)
    return result


def mean(x: Raw, /, *, axis: Axis = None, keepdims: bool = False) -> Raw:
    axes = _over(x, axis)
    return torch.mean(x, axes, keepdim=keepdims) if axes else x.clone()


def _position(name: str) -> Callable[..., Raw]:
    function = getattr(torch, name)
    largest = name == "argmax"

    def find(x: Raw, /, *, axis: int | None = None, keepdims: bool = False) -> Raw:
        if x.dtype.is_complex:
            best = complex_order.extremum(torch.amax if largest else torch.amin, x, _over(x, axis), True)
            x = (x == best) | (x != x) if largest else (x != best) & (x == x)
        x = x.to(torch.uint8) if x.dtype is torch.bool else x
        if axis is None:
            found = function(x.reshape(-1), 0)
            return found.reshape((1,) * x.ndim) if keepdims else found
        return function(x, axis, keepdim=keepdims)

    find.__name__ = name
    return find


def _running(name: str) -> Callable[..., Raw]:
    function = getattr(torch, name)

    def run(x: Raw, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Raw:
        axis = 0 if axis is None else axis
        dtype = dtype or x.dtype
        result = function(x, axis, dtype=dtype)
        if include_initial:
            shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
            result = torch.cat([torch.full(shape, name == "cumprod", dtype=dtype, device=x.device), result], axis)
        return result

    run.__name__ = name
    return run


# Element by element


def _of_numbers(function: Callable[[Raw], Raw]) -> Callable[[Any], Any]:
    """Return a function that takes a Python number as well, and gives one, which leaves the dtype to what is beside."""

    def run(x: Any, /) -> Any:
        if isinstance(x, Tensor):
            return function(x)
        return function(torch.tensor(x, dtype=torch.complex128 if isinstance(x, complex) else torch.float64)).item()

    return run


def _whole_division(name: str) -> Callable[..., Raw]:
    """Return a division that gives 0 for whole numbers by 0; PyTorch raises on a CPU, and gives anything on a GPU.

    Whole quotients of 16 bits are rounded once: PyTorch rounds the quotient before it is a whole number.
    """
    function = getattr(compat, name)

    def divide(x: Raw, y: Raw, /) -> Raw:
        dtype = (x if isinstance(x, Tensor) else y).dtype
        if name == "floor_divide" and dtype in NARROW:
            wide = (torch.as_tensor(part, dtype=dtype).to(torch.float32) for part in (x, y))
            return function(*wide).to(dtype)
        if dtype.is_floating_point or dtype in UNSIGNED:
            return function(x, y)
        by = y if isinstance(y, Tensor) else torch.full_like(x, y)
        none = by == 0
        return torch.where(none, 0, function(x, torch.where(none, 1, by)))

    divide.__name__ = name
    return divide


def sign(x: Raw, /) -> Raw:
    if x.dtype.is_complex:
        return compat.sign(x)
    return torch.where(x == x, torch.sign(x), x) if x.dtype.is_floating_point else torch.sign(x)


def _whole_result(name: str) -> Callable[..., Raw]:
    """Return a function that leaves whole numbers and truth values as they are."""
    function = getattr(torch, name)

    def run(x: Raw, /) -> Raw:
        if x.dtype.is_complex:
            if name != "round":
                raise TypeError(f"{name} takes no complex numbers, which have no order: got {x.dtype}")
            return torch.complex(function(x.real), function(x.imag))
        return function(x) if x.dtype.is_floating_point else x.clone()

    run.__name__ = name
    return run


# Order


def sort(x: Raw, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Raw:
    if x.dtype.is_complex:
        return torch.take_along_dim(x, complex_order.order(x, axis, descending), axis)
    return torch.sort(x, dim=axis, descending=descending, stable=stable)[0]


def argsort(x: Raw, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Raw:
    if x.dtype.is_complex:
        return complex_order.order(x, axis, descending)
    return torch.sort(x, dim=axis, descending=descending, stable=stable)[1]


def searchsorted(x: Raw, values: Raw, /, *, side: str = "left", sorter: Raw = None) -> Raw:
    x = x if sorter is None else x[sorter]
    if x.dtype is torch.bool:
        x, values = x.to(torch.uint8), values.to(torch.uint8)
    if x.dtype.is_complex:
        ranks = complex_order.ranks(torch.cat([x, values.reshape(-1)]))
        x, values = ranks[: x.shape[0]], ranks[x.shape[0] :].reshape(values.shape)
    if not x.dtype.is_floating_point:
        return torch.searchsorted(x.contiguous(), values.contiguous(), side=side)
    # NaN is larger than anything, but PyTorch's comparisons with it say no.
    lost = torch.isnan(x)
    count = torch.sum(~lost)
    found = torch.searchsorted(torch.where(lost, math.inf, x), values.contiguous(), side=side)
    return torch.where(torch.isnan(values), count if side == "left" else x.shape[0], torch.minimum(found, count))


# Moving elements


def reshape(x: Raw, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Raw:
    result = torch.reshape(x, shape)
    return result.clone() if copy and result.data_ptr() == x.data_ptr() else result


def take(x: Raw, indices: Raw, /, *, axis: int | None = None) -> Raw:
    axis = 0 if axis is None else axis
    positions = indices if indices.dtype in (torch.int64, torch.int32) else indices.to(torch.int64)
    return torch.index_select(x, axis, torch.where(positions < 0, positions + x.shape[axis], positions))


def take_along_axis(x: Raw, indices: Raw, /, *, axis: int = -1) -> Raw:
    positions = indices.to(torch.int64)
    return torch.take_along_dim(x, torch.where(positions < 0, positions + x.shape[axis], positions), dim=axis)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Raw:
    if axis is None:
        arrays, axis = [x.reshape(-1) for x in arrays], 0
    return torch.cat(list(arrays), dim=axis)


def matmul(x: Raw, y: Raw, /) -> Raw:
    if x.dtype is torch.bool:
        return torch.matmul(x.to(torch.uint8), y.to(torch.uint8)) != 0
    return torch.matmul(x, y)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    **{name: _comparison(name) for name in ("less", "less_equal", "greater", "greater_equal")},
    "maximum": _larger("maximum"),
    "minimum": _larger("minimum"),
    "pow": pow,
    "all": _truth("all"),
    "any": _truth("any"),
    "arange": arange,
    "argmax": _position("argmax"),
    "argmin": _position("argmin"),
    "argsort": argsort,
    "asarray": asarray,
    "astype": astype,
    "ceil": _whole_result("ceil"),
    "concat": concat,
    "cumulative_prod": _running("cumprod"),
    "cumulative_sum": _running("cumsum"),
    "eye": eye,
    "floor": _whole_result("floor"),
    "floor_divide": _whole_division("floor_divide"),
    "full": full,
    "full_like": full_like,
    "log1p": log1p,
    "matmul": matmul,
    "max": _extremum("max"),
    "mean": mean,
    "min": _extremum("min"),
    "prod": prod,
    "remainder": _whole_division("remainder"),
    "reshape": reshape,
    "round": _whole_result("round"),
    "searchsorted": searchsorted,
    "sign": sign,
    "sort": sort,
    "sum": sum,
    "take": take,
    "take_along_axis": take_along_axis,
    "trunc": _whole_result("trunc"),
}
NARROW = frozenset({torch.float16, torch.bfloat16})
OF_NUMBERS = frozenset(
    """
    acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 sin sinh sqrt tan tanh
    """.split()
)
"""Functions of one real number that texts may ask for that of a number, where an operand is one."""
UNBRIDGED = frozenset({"arange", "eye", "full"})
