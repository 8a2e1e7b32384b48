"""How a special function is declared: by its text, or as the backend's own, with its local derivatives."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import current_backend, current_device
from gradkit.core import Array, Elementwise, bind
from gradkit.core.array import place_of_array, wrap
from gradkit.core.calls import unary
from gradkit.core.node import NO_PARAMS
from gradkit.core.operands import as_operand, cast, common_dtype, dtype_name

__all__ = ["ROOT_2PI", "ask_backend", "declare", "floating_together", "polynomial", "refuse"]

ROOT_2PI = math.sqrt(2 * math.pi)


def ask_backend(name: str, part: int | None = None) -> Callable[..., Any]:
    """Return the forward rule that asks the backend for `scipy.special`'s function of that name."""

    def forward(xp: Any, *args: Any) -> Any:
        result = xp.backend.special(name)(*args)
        if part is not None:
            result = result[part]
        dtype = next(arg.dtype for arg in args if hasattr(arg, "dtype"))
        result = result if result.dtype == dtype else xp.library.astype(result, dtype)
        if len(args) == 1:
            return result
        # Some of several arguments have a number (beta, betaln, poch, zeta) where one is NaN.
        unknown = functools.reduce(operator.or_, (arg != arg for arg in args))
        return xp.where(unknown, xp.full_like(result, math.nan), result)

    return forward


def refuse(what: str) -> Callable[..., Any]:
    """Return the rule for arguments by which there is no derivative."""

    def rule(xp: Any, _y: Any, *_: Any) -> Any:
        raise NotImplementedError(f"{what} is not supported.")

    return rule


NAMES = {
    "beta": ("a", "b"),
    "betainc": ("a", "b", "x"),
    "betaln": ("a", "b"),
    "expn": ("n", "x"),
    "gammainc": ("a", "x"),
    "gammaincc": ("a", "x"),
    "hyp1f1": ("a", "b", "x"),
    "hyp2f1": ("a", "b", "c", "x"),
    "owens_t": ("h", "a"),
    "poch": ("z", "m"),
    "xlog1py": ("x", "y"),
    "xlogy": ("x", "y"),
    "zeta": ("x", "q"),
}
"""What the arguments of functions of several are called."""


def declare(
    name: str, *rules: Any, forward: Any = None, leaf: bool = False, part: int | None = None, of: str = ""
) -> Any:
    """Declare a function of as many arguments as there are rules: by its text, or by the backend's own `of`."""
    primitive = Elementwise(name, forward or ask_backend(of or name, part), rules, leaf=leaf or forward is None)
    if len(rules) == 1:
        function: Any = unary(primitive, True)
    else:
        names = NAMES.get(name, ())

        def function(*args: Any, **named: Any) -> Array:
            args = (*args, *(named.pop(n) for n in names[len(args) :] if n in named))
            if named:
                raise TypeError(f"{name}() got an unexpected keyword argument {next(iter(named))!r}: it takes {names}")
            if len(args) != len(rules):
                raise TypeError(f"{name} takes {len(rules)} arguments, got {len(args)}")
            return bind(primitive, floating_together(args, name), NO_PARAMS)

        if names:
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            function.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
        function.primitive = primitive
    function.__doc__ = f"Compute `{name}` element by element; see `gradkit.scipy.special`."
    return function


def floating_together(args: Sequence[Any], caller: str) -> list[Array]:
    """Return operands as Arrays of one floating dtype, numbers among them too: not every library takes those."""
    operands = [as_operand(arg, caller) for arg in args]
    first = next((operand for operand in operands if type(operand) is Array), None)
    target = common_dtype(operands, floating=True)
    backend, device = (current_backend(), current_device()) if first is None else place_of_array(first)
    dtype = backend.raw_dtype_named(target)
    return [
        wrap(backend.xp.asarray(operand, dtype=dtype, device=device))
        if type(operand) is not Array
        else operand
        if dtype_name(operand) == target
        else cast(operand, target)
        for operand in operands
    ]


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Return a polynomial of `x`, the coefficient of the highest power first."""
    result = x * 0.0 + coefficients[0]
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result
