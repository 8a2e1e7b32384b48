"""`Distribution`: the functions of a distribution, from formulas in standard form."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import cast, dtype_name
from gradkit.numpy import asarray, equal, exp, isinf, isnan, log, log1p, where
from gradkit.primitives import stop_gradient
from gradkit.primitives.scipy_special.declaring import floating_together

__all__ = ["OUTSIDE", "Distribution", "Standard", "in_double", "logarithm_of"]

Formula = Callable[..., Any]

KINDS = {
    "logpdf": "the logarithm of the probability density",
    "pdf": "the probability density",
    "logpmf": "the logarithm of the probability mass",
    "pmf": "the probability mass",
    "logcdf": "the logarithm of the cumulative distribution",
    "cdf": "the cumulative distribution",
    "logsf": "the logarithm of the survival function, 1 - cdf,",
    "sf": "the survival function, 1 - cdf,",
    "ppf": "the quantile, the inverse of the cumulative distribution,",
    "isf": "the inverse of the survival function",
    "entropy": "the entropy",
}
HALF = ("float16", "bfloat16")
QUANTILES = ("ppf", "isf")
OUTSIDE = {
    "logpdf": (-math.inf, -math.inf),
    "pdf": (0.0, 0.0),
    "logpmf": (-math.inf, -math.inf),
    "pmf": (0.0, 0.0),
    "logcdf": (-math.inf, 0.0),
    "cdf": (0.0, 1.0),
    "logsf": (0.0, -math.inf),
    "sf": (1.0, 0.0),
}
"""What a function is on the left of the support and on the right of it."""
DENSITIES = ("logpdf", "pdf", "logpmf", "pmf")
LOGARITHMS = (("pdf", "logpdf"), ("pmf", "logpmf"), ("cdf", "logcdf"), ("sf", "logsf"))


class Distribution:
    """A distribution's functions: ``norm.logpdf(x, loc, scale)``.

    What holds for all of them is here and nowhere else: NaN gives NaN, and so do parameters that are none; outside of
    the support a density is 0, and a formula never sees such a point, so nothing leaks out of it into a derivative.

    Parameters
    ----------
    name : str
        Its name.
    shapes : str
        The names of its shape parameters.
    support : pair of numbers, or callable
        Between which bounds the standard distribution lives, both included; ``support(*shapes)`` where they depend on
        the shapes.
    inside : number or callable
        A point between them at which all formulas and derivatives are finite, or ``inside(*shapes)``.
    valid : callable
        ``valid(*shapes)``: whether the shapes are parameters; by default where they are positive.
    indefinite : tuple of str
        The functions whose formula is a difference of infinities at infinity.
    reach : pair of numbers
        Beyond them the functions that have finite limits are at these in every digit, and formulas overflow.
    endless : bool
        Whether it is a distribution for infinite shapes as well. For the others a density is NaN there, as SciPy's is,
        but where all terms of its logarithm are minus infinity.
    **formulas : callable
        By the function's name: ``formula(y, *shapes)`` of the standard distribution, on Arrays of one dtype. A function
        and its logarithm follow from each other.
    """

    defaults: tuple[tuple[str, float], ...] = (("loc", 0), ("scale", 1))
    """By what a variable is shifted and stretched."""
    variable = "x"

    def __init__(
        self,
        name: str,
        shapes: str = "",
        support: Any = (-math.inf, math.inf),
        inside: Any = 0.5,
        valid: Callable[..., Any] | None = None,
        indefinite: tuple[str, ...] = (),
        reach: tuple[float, float] = (-math.inf, math.inf),
        endless: bool = False,
        **formulas: Formula,
    ) -> None:
        self.__name__ = name
        self.shapes = tuple(shapes.split())
        self.support = support
        self.inside = inside
        self.valid = valid or _all_positive
        self.indefinite = indefinite
        self.reach = reach
        self.endless = endless
        for plain, logarithm in LOGARITHMS:
            if logarithm in formulas and plain not in formulas:
                formulas[plain] = _exponential(formulas[logarithm])
            elif plain in formulas and logarithm not in formulas and self.defaults == Distribution.defaults:
                complement = formulas.get({"cdf": "sf", "sf": "cdf"}.get(plain, ""))
                formulas[logarithm] = logarithm_of(formulas[plain], complement)
        for kind, formula in formulas.items():
            setattr(self, kind, self._function(kind, formula))

    # The functions

    def _function(self, kind: str, formula: Formula) -> Callable[..., Array]:
        signature = self._signature(kind)
        evaluate = self._entropy if kind == "entropy" else self._quantile if kind in QUANTILES else self._at

        def function(*args: Any, **kwargs: Any) -> Array:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            arrays = floating_together(list(given.arguments.values()), f"{self.__name__}.{kind}")
            name = dtype_name(arrays[0])
            if name in HALF:
                # What is between an argument and a result is often beyond 65504, or has more digits than 8 bits are.
                arrays = [cast(array, "float32") for array in arrays]
            named = dict(zip(given.arguments, arrays, strict=True))
            shapes = [named[shape] for shape in self.shapes]
            valid = self.valid(*shapes)
            if "scale" in named:
                valid = valid & (named["scale"] > 0)
            for array in arrays:
                valid = valid & ~isnan(array)
            value, valid = evaluate(kind, formula, valid, named, shapes)
            result = where(valid, value, _nan_from(arrays, valid))
            return cast(result, name) if name in HALF else result

        return self._name(function, kind, signature)

    def _at(
        self, kind: str, formula: Formula, valid: Array, named: dict[str, Array], shapes: list[Array]
    ) -> tuple[Array, Array]:
        """Evaluate a function of a point: by the formula inside the support, else by the constants beside it."""
        y = stop_gradient(self._standard(named, False, 0.0, False)[0])
        valid = valid & ~isnan(y)
        low, high = self.support(*shapes) if callable(self.support) else self.support
        if kind in DENSITIES and not self.endless:
            # Where all of it has gone to infinity, what it is there has no limit.
            for shape in shapes:
                valid = valid & ~(isinf(shape) & equal(y, math.inf) & (y <= high))
        left, right = OUTSIDE[kind]
        below, above = y < low, y > high
        if math.isfinite(left) or kind in self.indefinite:
            below = below | (y <= (self.reach[0] if math.isfinite(left) else -math.inf))
        if math.isfinite(right) or kind in self.indefinite:
            above = above | (y >= (self.reach[1] if math.isfinite(right) else math.inf))
        # Beside the support the point is another one, and so are location and scale, through which an infinite point
        # would have 0 times infinity as derivative.
        beside = below | above | ~valid
        inside = self.inside(*shapes) if callable(self.inside) else self.inside
        safe, scale = self._standard(named, beside, inside, beside | isinf(named[self.variable]))
        result = formula(safe, *shapes)
        if "scale" in named and kind == "logpdf":
            result = result - log(scale)
        if "scale" in named and kind == "pdf":
            result = result / scale
        result = where(below, left, where(above, right, result))
        return self._at_integers(kind, y, result), valid

    def _standard(self, named: dict[str, Array], beside: Any, inside: Any, unscaled: Any) -> tuple[Array, Any]:
        """Return the standard variable, which is `inside` where a point is `beside` the support, and the scale."""
        y = where(beside, inside, named[self.variable])
        scale: Any = 1.0
        if "loc" in named:
            y = y - where(beside, 0.0, named["loc"])
        if "scale" in named:
            scale = where(unscaled, 1.0, named["scale"])
            y = y / scale
        return y + 0.0, scale  # -0.0 is 0.0: infinite derivatives have one sign there

    def _at_integers(self, kind: str, y: Array, result: Array) -> Array:
        return result

    def _quantile(
        self, kind: str, formula: Formula, valid: Array, named: dict[str, Array], shapes: list[Array]
    ) -> tuple[Array, Array]:
        """Evaluate a function of a probability."""
        q = named["q"]
        valid = valid & (q >= 0) & (q <= 1)
        low, high = self.support(*shapes) if callable(self.support) else self.support
        first, last = (low, high) if kind == "ppf" else (high, low)
        none, all_ = equal(q, 0) & isinf(first), equal(q, 1) & isinf(last)
        result = formula(where(valid & ~none & ~all_, q, 0.5), *shapes)
        # At infinity all derivatives are infinite, as those of log(q) at 0.
        sign = 1 if kind == "ppf" else -1
        result = where(none, sign * log(where(none, q, 0.5)), result)
        result = where(all_, -sign * log1p(-where(all_, q, 0.5)), result)
        if "scale" in named:
            result = named["scale"] * result
        return result + named["loc"] if "loc" in named else result, valid

    def _entropy(
        self, kind: str, formula: Formula, valid: Array, named: dict[str, Array], shapes: list[Array]
    ) -> tuple[Array, Array]:
        return formula(*(where(valid, shape, 1.0) for shape in shapes)), valid

    def _signature(self, kind: str) -> inspect.Signature:
        variables = () if kind == "entropy" else ("q",) if kind in QUANTILES else (self.variable,)
        position = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, position) for name in (*variables, *self.shapes)]
        parameters += [inspect.Parameter(name, position, default=default) for name, default in self._defaults_of(kind)]
        return inspect.Signature(parameters)

    def _defaults_of(self, kind: str) -> tuple[tuple[str, float], ...]:
        return self.defaults

    def _name(self, function: Any, kind: str, signature: inspect.Signature) -> Callable[..., Array]:
        function.__name__ = kind
        function.__qualname__ = f"{self.__name__}.{kind}"
        function.__signature__ = signature
        function.__doc__ = (
            f"Compute {KINDS[kind]} of the distribution `{self.__name__}`, element by element; the arguments broadcast."
        )
        return function  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Callable[..., Array]:
        raise AttributeError(f"the distribution {self.__name__} has no {name!r}")

    def __repr__(self) -> str:
        return f"<distribution {self.__name__}>"


class Standard(Distribution):
    """A distribution that has its standard form alone."""

    defaults = ()


def in_double(x: Array) -> Array:
    """Return numbers in float64, in which sums of terms that cancel in float32 keep its digits."""
    return cast(x, "float64")


def _exponential(formula: Formula) -> Formula:
    return lambda *args: exp(formula(*args))


def logarithm_of(formula: Formula, complement: Formula | None) -> Formula:
    """Return the logarithm of a formula; near 1 by what is missing to it, which says it more exactly."""

    def logarithm(*args: Array) -> Array:
        value = formula(*args)
        result = where(value > 0, log(where(value > 0, value, 1.0)), -math.inf)
        if complement is None:
            return result
        near_one = value > 0.5
        return where(near_one, log1p(-where(near_one, complement(*args), 0.0)), result)

    return logarithm


def _all_positive(*shapes: Array) -> Any:
    valid: Any = True
    for shape in shapes:
        valid = (shape > 0) & valid
    return valid


def _nan_from(arrays: list[Array], valid: Array) -> Array:
    """Return NaN, whose derivatives with respect to all of `arrays` are NaN; where `valid` they are 0."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return exp(where(valid, 0.0, total) * where(valid, 0.0, asarray(math.nan, dtype=total.dtype, device=total.device)))
