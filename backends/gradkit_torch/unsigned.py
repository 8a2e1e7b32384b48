"""Unsigned integers of 16, 32 and 64 bits, for which PyTorch stores elements and computes next to nothing.

`Unsigned` is a tensor that runs each of PyTorch's functions on the signed integers of the same bits, in the way that
gives the unsigned result: sums, products and what moves elements have the same bits either way; comparisons are those
of the numbers with the first bit turned; the rest is computed in a wider dtype. Texts and kernels run on it
(`bridged`), and it never leaves them: what is returned is a plain tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["UNSIGNED", "bridged", "check_range"]

UNSIGNED = frozenset({torch.uint16, torch.uint32, torch.uint64})
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
BITS = {torch.uint16: 16, torch.uint32: 32, torch.uint64: 64}
_BACK = {signed: unsigned for unsigned, signed in SIGNED.items()}

Rule = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], Any]


def bridged(kernel: Callable[..., Any], checks: bool = False) -> Callable[..., Any]:
    """Return a kernel that takes unsigned integers as well.

    With `checks` a Python integer is an operand, and refused where the dtype of the integers beside it does not hold
    it.
    """

    def run(*args: Any, **params: Any) -> Any:
        for arg in args:
            if isinstance(arg, Tensor):
                if arg.dtype in UNSIGNED:
                    return _on_unsigned(kernel, args, params, checks)
            elif checks and type(arg) is int:
                check_range(arg, next(arg.dtype for arg in args if isinstance(arg, Tensor)))
        try:
            return kernel(*args, **params)
        except NotImplementedError as error:  # of a dtype
            raise TypeError(str(error)) from error

    return functools.update_wrapper(run, kernel, assigned=("__name__", "__doc__"), updated=())


def _on_unsigned(kernel: Callable[..., Any], args: Sequence[Any], params: Mapping[str, Any], checks: bool) -> Any:
    if any(type(arg) is Unsigned for arg in args):  # a text's own call
        return _marked_all(kernel(*args, **params))
    for arg in args:
        if checks and type(arg) is int:
            check_range(arg, next(arg.dtype for arg in args if isinstance(arg, Tensor)))
    return _plain(kernel(*map(_marked, args), **params))


def check_range(number: int, dtype: Any) -> None:
    """Raise OverflowError where a dtype of integers does not hold a number: PyTorch would wrap some around."""
    if dtype is torch.bool or dtype.is_floating_point or dtype.is_complex:
        return
    limits = torch.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise OverflowError(f"Python integer {number} out of bounds for {str(dtype).rpartition('.')[2]}")


def _marked(value: Any) -> Any:
    if type(value) is not Unsigned and isinstance(value, Tensor) and value.dtype in UNSIGNED:
        return value.as_subclass(Unsigned)
    return value


def _plain(value: Any) -> Any:
    if type(value) is tuple or type(value) is list:
        return type(value)(map(_plain, value))
    return value.as_subclass(Tensor) if type(value) is Unsigned else value


class Unsigned(Tensor):  # type: ignore[misc]
    """A tensor of unsigned integers with all of PyTorch's functions."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one of PyTorch's functions on the signed integers of the same bits, where it has to."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            rule = RULES.get(getattr(func, "__name__", ""))
            if rule is None:
                return _marked_all(func(*args, **kwargs))
            dtype = _dtype_among([*args, *kwargs.values()])
            return _marked_all(func(*args, **kwargs) if dtype is None else rule(func, args, kwargs, dtype))


def _marked_all(result: Any) -> Any:
    if isinstance(result, tuple) and type(result) is not torch.Size:
        return tuple(map(_marked, result))
    return _marked(result)


def _dtype_among(values: Any) -> Any:
    for value in values:
        if isinstance(value, Tensor) and value.dtype in UNSIGNED:
            return value.dtype
        if type(value) in (tuple, list):
            found = _dtype_among(value)
            if found is not None:
                return found
    return None


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Change the tensors of unsigned integers, and the whole numbers that stand for one."""
    if type(value) in (tuple, list):
        return type(value)(_each(change, part) for part in value)
    return change(value)


def _as_signed(dtype: Any) -> Callable[[Any], Any]:
    bits = BITS[dtype]

    def change(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dtype is dtype:
            return value.as_subclass(Tensor).view(SIGNED[dtype])
        return value.as_subclass(Tensor) if type(value) is Unsigned else value

    def number(value: Any) -> Any:
        if type(value) is int and not -(1 << bits - 1) <= value < 1 << bits - 1:
            value &= (1 << bits) - 1
            return value - (1 << bits) if value >> bits - 1 else value
        return change(value)

    return number


def _as_unsigned(result: Any, dtype: Any) -> Any:
    signed = SIGNED[dtype]
    if isinstance(result, tuple):
        return tuple(_as_unsigned(part, dtype) for part in result)
    return result.view(dtype) if isinstance(result, Tensor) and result.dtype is signed else result


def _same_bits(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    """Run a function whose result has the same bits for signed integers: sums, products, and what moves elements."""
    change = _as_signed(dtype)
    args = [_each(change, arg) for arg in args]
    kwargs = {
        name: SIGNED.get(value, value) if isinstance(value, torch.dtype) else _each(change, value)
        for name, value in kwargs.items()
    }
    return _as_unsigned(func(*args, **kwargs), dtype)


def _in_place(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    """Run a function that changes its first argument, whose memory the signed integers share."""
    _same_bits(func, args, kwargs, dtype)
    return args[0]


def _by_order(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    """Run a function that compares: the numbers less half the range are in the same order."""
    bits, change = BITS[dtype], _as_signed(dtype)
    half = -(1 << bits - 1)

    def shifted(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dtype is dtype:
            return change(value) ^ half
        return change(value)

    def number(position: int, value: Any) -> Any:
        # A whole number is an operand in front and a setting (an axis) behind, where PyTorch's functions have both.
        is_operand = type(value) is int and func.__name__ in OPERANDS and position < OPERANDS[func.__name__]
        return value + half if is_operand else _each(shifted, value)

    named = {k: number(0, v) if k in ("other", "min", "max") else _each(shifted, v) for k, v in kwargs.items()}
    result = func(*(number(i, arg) for i, arg in enumerate(args)), **named)

    def back(part: Any) -> Any:
        return (part ^ half).view(dtype) if isinstance(part, Tensor) and part.dtype is SIGNED[dtype] else part

    if func.__name__ in INDEX_RESULTS:
        return result
    if isinstance(result, tuple):
        # Values, and where they were.
        return (back(result[0]), *result[1:])
    return back(result)


def _shift_right(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    bits, change = BITS[dtype], _as_signed(dtype)
    x, by = (change(arg) for arg in args)
    if not isinstance(x, Tensor):
        x = torch.full_like(by, x)
    if not isinstance(by, Tensor):
        by = torch.full_like(x, by)
    # Shifted by one with the sign cleared, it is not negative any more.
    once = x >> 1 & (1 << bits - 1) - 1
    rest = once >> (by - 1).clamp(0, bits - 1)
    result = torch.where(by == 0, x, torch.where((by < 0) | (by >= bits), torch.zeros_like(rest), rest))
    return result.view(dtype)


def _shift_left(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    bits, change = BITS[dtype], _as_signed(dtype)
    x, by = (change(arg) for arg in args)
    if isinstance(by, Tensor):
        outside = (by < 0) | (by >= bits)
        result = x << by.clamp(0, bits - 1)
        return torch.where(outside, torch.zeros_like(result), result).view(dtype)
    return (x << by if by < bits else torch.zeros_like(x)).view(dtype)


def _in_int64(args: Sequence[Any], dtype: Any) -> list[Any]:
    """Return numbers in int64, which holds those of less than 64 bits; of 64 bits it has the bits."""
    change = _as_signed(dtype)
    if dtype is torch.uint64:
        return list(map(change, args))
    return [change(arg).to(torch.int64) & (1 << BITS[dtype]) - 1 if isinstance(arg, Tensor) else arg for arg in args]


def _divided(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    """Divide with a whole quotient: in 64 bits, where the numbers have less."""
    kind = "remainder" if "rem" in func.__name__ or "mod" in func.__name__ else "quotient"
    x, y = _in_int64(args[:2], dtype)
    device = next(arg.device for arg in args if isinstance(arg, Tensor))
    x, y = (torch.as_tensor(n, dtype=torch.int64, device=device) for n in (x, y))
    if dtype is torch.uint64:
        quotient, rest = _divided_64(x, y)
    else:
        safe = torch.where(y == 0, torch.ones_like(y), y)
        quotient = torch.where(y == 0, torch.zeros_like(x), torch.floor_divide(x, safe))
        rest = torch.where(y == 0, torch.zeros_like(x), torch.remainder(x, safe))
    return (rest if kind == "remainder" else quotient).to(SIGNED[dtype]).view(dtype)


def _divided_64(x: Any, y: Any) -> tuple[Any, Any]:
    """Divide by half of what there is, which is not negative, and mend the quotient by one (Hacker's Delight, 9-3)."""
    half = -(1 << 63)
    safe = torch.where(y == 0, torch.ones_like(y), y)
    quotient = torch.floor_divide(x >> 1 & (1 << 63) - 1, torch.where(safe > 0, safe, torch.ones_like(safe))) << 1
    rest = x - quotient * safe
    more = (rest ^ half) >= (safe ^ half)
    quotient, rest = quotient + more, torch.where(more, rest - safe, rest)
    # By a number that is half of the range or more: the quotient is 1 or 0.
    above = (x ^ half) >= (safe ^ half)
    quotient = torch.where(safe > 0, quotient, above.to(torch.int64))
    rest = torch.where(safe > 0, rest, torch.where(above, x - safe, x))
    zero = torch.zeros_like(rest)
    return torch.where(y == 0, zero, quotient), torch.where(y == 0, zero, rest)


def _power(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    x, y = _in_int64(args[:2], dtype)
    result = torch.pow(x, y)
    return result.to(SIGNED[dtype]).view(dtype)


def _unchanged(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    return args[0].clone()


def _sign(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    return (_as_signed(dtype)(args[0]) != 0).to(SIGNED[dtype]).view(dtype)


def _summed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: Any) -> Any:
    """Sum or multiply in a dtype that was asked for: PyTorch would compute in int64."""
    wanted = kwargs.get("dtype")
    if wanted in SIGNED:
        signed = _in_int64(args[:1], dtype)[0]
        result = func(signed, *args[1:], **{**kwargs, "dtype": torch.int64})
        return result.to(SIGNED[wanted]).view(wanted)
    return func(*_in_int64(args[:1], dtype), *args[1:], **kwargs)


COMPARISONS = frozenset("lt le gt ge eq ne less less_equal greater greater_equal maximum minimum".split()) | frozenset(
    f"__{name}__" for name in ("lt", "le", "gt", "ge")
)
OPERANDS = {**dict.fromkeys(COMPARISONS, 2), "clamp": 3, "clip": 3, "clamp_min": 2, "clamp_max": 2, "clamp_min_": 2}
"""By the functions of which a whole number may be an operand: how many there are."""
INDEX_RESULTS = frozenset(["argmax", "argmin", "argsort", "searchsorted"])

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        """
        add sub subtract rsub mul multiply neg negative bitwise_not __invert__ bitwise_and bitwise_or bitwise_xor
        __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __radd__ __rmul__ __rsub__ square matmul mm bmm mv dot
        __matmul__ flip tril triu gather take take_along_dim roll index_select index_add index_copy index_fill
        index_put scatter scatter_add where cat concat stack clone flatten repeat_interleave masked_fill diag
        diagonal __getitem__
        """.split(),
        _same_bits,
    ),
    **dict.fromkeys(
        """
        add_ sub_ mul_ __iadd__ __isub__ __imul__ __iand__ __ior__ __ixor__ bitwise_and_ bitwise_or_ bitwise_xor_
        index_add_ index_put_ index_copy_ index_fill_ scatter_ scatter_add_ masked_fill_ __setitem__
        """.split(),
        _in_place,
    ),
    **dict.fromkeys(
        """
        max min amax amin argmax argmin sort argsort searchsorted cummax cummin clamp clamp_min clamp_max clip topk
        median unique
        """.split(),
        _by_order,
    ),
    **dict.fromkeys(sorted(COMPARISONS - {"eq", "ne"}), _by_order),
    **dict.fromkeys("floor_divide __floordiv__ __rfloordiv__ remainder fmod __mod__ __rmod__".split(), _divided),
    **dict.fromkeys(["pow", "__pow__"], _power),
    **dict.fromkeys(["bitwise_right_shift", "__rshift__"], _shift_right),
    **dict.fromkeys(["bitwise_left_shift", "__lshift__"], _shift_left),
    **dict.fromkeys("abs absolute positive floor ceil round trunc".split(), _unchanged),
    **dict.fromkeys("sum prod cumsum cumprod".split(), _summed),
    "sign": _sign,
}  # fmt: skip
"""By the name of a function of PyTorch's, or a method: how it is run. What is not here PyTorch has itself."""
