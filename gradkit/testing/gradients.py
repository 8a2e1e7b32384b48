"""`check_grads`: derivatives against central differences, with the signature of `jax.test_util.check_grads`.

A gradient is right if it predicts how the function changes along a direction. One random direction finds a wrong
derivative as well as all of them do, at the price of two calls; which element is wrong is looked for only then.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradkit.core import Array, no_grad
from gradkit.core.promotion import letter_of
from gradkit.errors import unknown_name
from gradkit.numpy import asarray
from gradkit.transforms import jvp, vjp
from gradkit.tree import flatten, keystr, leaves, leaves_with_path, unflatten

__all__ = ["as_given", "check_grads"]

MODES = ("fwd", "rev")
STEP = 6e-6
"""The cube root of float64's rounding error: there the errors of rounding and of truncation are about equal."""
TOLERANCE = 1e-6

Arrays = Sequence[Array]
Function = Callable[..., list[Array]]


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check a function's derivatives against central differences.

    Parameters
    ----------
    f : callable
        A function of arrays, numbers or pytrees of them, with an array or a pytree of arrays as its result. It has to
        be smooth at `args` and around: there is no central difference at a kink.
    args : tuple
        The arguments. Floating ones are checked in float64 (complex ones in complex128), whatever dtype they come in;
        integers and bools are passed on. Arrays stay on their device.
    order : int
        Up to which order the derivatives are checked.
    modes : sequence of str
        The modes of differentiation: ``"fwd"``, ``"rev"`` or both. With both, each order is checked in every
        combination of them.
    atol, rtol : float, optional
        The absolute tolerance, and the one relative to the terms that are summed; 1e-6 each by default.
    eps : float, optional
        The step of the differences, 6e-6 by default. A function that computes in float32 inside needs about 1e-2, and
        tolerances to match.

    Raises
    ------
    AssertionError
        If a derivative is wrong; the message names the order, the argument, and where in it.
    TypeError, ValueError
        If an argument of this function is wrong.

    Notes
    -----
    For a cotangent c of the result and a direction t of the arguments, both random, reverse mode gives the left side
    of ``sum(pullback(c) * t) = sum(c * (f(x + eps * t) - f(x - eps * t)) / (2 * eps))``. The next order checks
    ``pullback(c)`` as a function of x in the same way. Forward mode gives the left side as ``sum(c * jvp(t))``, and the
    next order checks ``jvp(t)`` as a function of x.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> check_grads(lambda x: jnp.tanh(x) ** 2, (jnp.asarray([0.3, -1.2]),), order=3)
    >>> check_grads(lambda x: jnp.sin(x) + jnp.floor(x), (2.0,), eps=1.5)
    Traceback (most recent call last):
    ...
    AssertionError: check_grads: wrong derivative of order 1 with respect to args[0]: ...
    """
    comparison = Comparison(
        _positive("atol", atol, TOLERANCE), _positive("rtol", rtol, TOLERANCE), _positive("eps", eps, STEP)
    )
    order = _order(order)
    for mode in modes:
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
    args = as_given("check_grads", f, args)
    values, structure = flatten(args)
    arrays = [_widen(value) for value in values]
    inexact = [position for position, array in enumerate(arrays) if letter_of(array.dtype) in "fc"]
    if not inexact:
        raise TypeError(f"args: expected at least one argument of floating or complex dtype, got {args!r}")
    names = [f"args{keystr(path)}" for path, _ in leaves_with_path(args)]

    def flat(*given: Array) -> list[Array]:
        """Return the results of floating or complex dtype, given the arguments that are."""
        chosen = list(arrays)
        for position, array in zip(inexact, given, strict=True):
            chosen[position] = array
        results = [asarray(result) for result in leaves(f(*unflatten(structure, chosen)))]
        return [result for result in results if letter_of(result.dtype) in "fc"]

    with no_grad():
        Check([names[p] for p in inexact], comparison, modes, order).run(flat, [arrays[p] for p in inexact], 1)


def as_given(caller: str, f: Any, args: Any) -> tuple[Any, ...]:
    """Return the arguments that `caller` is to give to `f`, as a tuple; raise for what is no function or no tuple."""
    if not callable(f):
        raise TypeError(f"{caller}: f: expected a function, got {f!r}, which cannot be called")
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"{caller}: args: expected a tuple of the arguments of f, got {type(args).__name__}. For one argument "
            "write (x,)."
        )
    return tuple(args)


def _widen(value: Any) -> Array:
    """Return a leaf as an array that no tape follows, in double precision if it is floating or complex."""
    array = asarray(value).detach()
    wide = {"f": "float64", "c": "complex128"}.get(letter_of(array.dtype))
    return array if wide is None else asarray(array, dtype=wide)


def _positive(name: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not value > 0:
        raise ValueError(f"{name}: expected a number greater than 0, got {value!r}")
    return float(value)


def _order(order: int) -> int:
    try:
        number = operator.index(order)
    except TypeError as error:
        raise TypeError(f"order: expected an int, got {order!r}") from error
    if number < 1:
        raise ValueError(f"order: expected 1 or more, got {order!r}")
    return number


@dataclass(frozen=True)
class Comparison:
    """How the two sides are compared: the tolerances, and the step of the differences."""

    atol: float
    rtol: float
    eps: float


@dataclass(frozen=True)
class Sides:
    """What a mode and the differences say about one direction, and by how much they may differ."""

    by_derivative: float
    by_difference: float
    allowed: float

    @property
    def agree(self) -> bool:
        """Whether the derivative is right along this direction. One that is NaN is not."""
        return abs(self.by_derivative - self.by_difference) <= self.allowed


class Check:
    """A check of all orders in the given modes."""

    def __init__(self, names: Sequence[str], comparison: Comparison, modes: Sequence[str], order: int) -> None:
        self.names, self.comparison, self.modes, self.order = names, comparison, modes, order
        self.random = np.random.default_rng(0)

    def run(self, f: Function, args: Arrays, order: int) -> None:
        """Check the derivatives of a function of arrays that returns a list of arrays, from `order` on."""
        results, pullback = vjp(f, *args)
        if not results:
            raise TypeError("f: expected a result of floating or complex dtype, got none")
        cotangents = [_random_like(self.random, result) for result in results]
        if "fwd" in self.modes:
            direction = Direction(f, args, None, cotangents, self.comparison, self.random)
            self.compare(direction, order)
            if order < self.order:
                self.run(_tangent_function(f, direction.whole()), args, order + 1)
        if "rev" in self.modes:
            gradients = pullback(cotangents)
            for name, arg, gradient in zip(self.names, args, gradients, strict=True):
                if gradient.shape != arg.shape or gradient.dtype != arg.dtype:
                    raise AssertionError(
                        f"check_grads: the derivative of order {order} with respect to {name} is "
                        f"{gradient.dtype}{gradient.shape}, expected {arg.dtype}{arg.shape}"
                    )
            self.compare(Direction(f, args, gradients, cotangents, self.comparison, self.random), order)
            if order < self.order:
                self.run(_gradient_function(f, cotangents), args, order + 1)

    def compare(self, direction: Direction, order: int) -> None:
        """Raise AssertionError if the derivative is wrong along a direction."""
        if not direction.sides(0, direction.size).agree:
            raise AssertionError(direction.complaint(order, self.names))


def _tangent_function(f: Function, tangents: Arrays) -> Function:
    def tangent(*args: Array) -> list[Array]:
        return list(jvp(f, args, tuple(tangents))[1])

    return tangent


def _gradient_function(f: Function, cotangents: Arrays) -> Function:
    def gradient(*args: Array) -> list[Array]:
        return list(vjp(f, *args)[1](list(cotangents)))

    return gradient


def _random_like(random: np.random.Generator, array: Array) -> Array:
    return asarray(_standard_normal(random, array), dtype=array.dtype, device=array.device)


def _standard_normal(random: np.random.Generator, array: Array) -> Any:
    if letter_of(array.dtype) == "c":
        return random.standard_normal(array.shape) + 1j * random.standard_normal(array.shape)
    return random.standard_normal(array.shape)


class Direction:
    """A random direction in the space of all arguments, whose elements are counted through.

    Parameters
    ----------
    f : callable
        The function.
    args : sequence of Array
        Its arguments.
    gradients : sequence of Array or None
        The pullback of `cotangents`; None: forward mode is asked.
    cotangents : sequence of Array
        One for each result.
    comparison : Comparison
        The tolerances and the step.
    random : numpy.random.Generator
        What the direction is drawn from.
    """

    def __init__(
        self,
        f: Function,
        args: Arrays,
        gradients: Arrays | None,
        cotangents: Arrays,
        comparison: Comparison,
        random: np.random.Generator,
    ) -> None:
        self.f, self.args, self.gradients, self.cotangents = f, args, gradients, cotangents
        self.comparison = comparison
        self.tangents = [np.asarray(_standard_normal(random, arg)) for arg in args]
        self.offsets = np.cumsum([0, *(arg.size for arg in args)]).tolist()
        self.size = self.offsets[-1]

    def sides(self, start: int, stop: int) -> Sides:
        """Compare along the part of the direction from element `start` to below element `stop`."""
        eps = self.comparison.eps
        tangents = self.as_arrays(self.parts(start, stop))
        above = self.f(*(arg + eps * tangent for arg, tangent in zip(self.args, tangents, strict=True)))
        below = self.f(*(arg - eps * tangent for arg, tangent in zip(self.args, tangents, strict=True)))
        by_difference = sum(
            _real((c * (high - low)).sum()) for c, high, low in zip(self.cotangents, above, below, strict=True)
        ) / (2 * eps)
        terms = self.terms(tangents)
        by_derivative = sum(_real(term.sum()) for term in terms)
        scale = max(abs(by_difference), sum(_real(abs(term).sum()) for term in terms))
        return Sides(by_derivative, by_difference, self.comparison.atol + self.comparison.rtol * scale)

    def terms(self, tangents: Arrays) -> list[Array]:
        """Return what the derivative says, in arrays whose elements are to be summed."""
        if self.gradients is None:
            pushed = jvp(self.f, tuple(self.args), tuple(tangents))[1]
            return [c * p for c, p in zip(self.cotangents, pushed, strict=True)]
        return [gradient * tangent for gradient, tangent in zip(self.gradients, tangents, strict=True)]

    def whole(self) -> list[Array]:
        """Return the direction as arrays like the arguments."""
        return self.as_arrays(self.tangents)

    def as_arrays(self, parts: Sequence[Any]) -> list[Array]:
        """Return parts of the direction as arrays like the arguments."""
        return [asarray(part, dtype=arg.dtype, device=arg.device) for part, arg in zip(parts, self.args, strict=True)]

    def parts(self, start: int, stop: int) -> list[Any]:
        """Return the direction with zeros outside the elements from `start` to below `stop`."""
        parts = []
        for tangent, offset in zip(self.tangents, self.offsets[:-1], strict=True):
            part = np.zeros_like(tangent)
            inside = slice(max(start - offset, 0), max(stop - offset, 0))
            part.reshape(-1)[inside] = tangent.reshape(-1)[inside]
            parts.append(part)
        return parts

    def complaint(self, order: int, names: Sequence[str]) -> str:
        """Say what is wrong, and in which element: the one that halving leads to."""
        start, stop = 0, self.size
        sides = self.sides(start, stop)
        while stop - start > 1:
            middle = (start + stop) // 2
            halves = [(part, self.sides(*part)) for part in ((start, middle), (middle, stop))]
            wrong = next((half for half in halves if not half[1].agree), None)
            if wrong is None:  # each half is within its tolerance
                break
            (start, stop), sides = wrong
        where, factor = self.name_elements(start, stop, names)
        mode = "forward" if self.gradients is None else "reverse"
        return (
            f"check_grads: wrong derivative of order {order} with respect to {where}: {mode} mode gives "
            f"{sides.by_derivative / factor:.9g}, central differences give {sides.by_difference / factor:.9g} (for a "
            f"random cotangent of the result; eps={self.comparison.eps:g}, atol={self.comparison.atol:g}, "
            f"rtol={self.comparison.rtol:g})"
        )

    def name_elements(self, start: int, stop: int, names: Sequence[str]) -> tuple[str, float]:
        """Name the elements from `start` to below `stop`; for a real one also give the direction there."""
        ends = zip(names, self.offsets, self.offsets[1:], strict=False)
        if stop - start > 1:
            return " and ".join(name for name, low, high in ends if low < stop and start < high), 1.0
        position, name, low = next((i, name, low) for i, (name, low, high) in enumerate(ends) if low <= start < high)
        tangent = self.tangents[position]
        index = np.unravel_index(start - low, tangent.shape)
        where = f"{name}[{', '.join(str(int(i)) for i in index)}]" if index else name
        return where, 1.0 if tangent.dtype.kind == "c" else float(tangent[index])


def _real(value: Any) -> float:
    return complex(value).real
