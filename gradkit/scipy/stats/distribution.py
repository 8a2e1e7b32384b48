"""`Distribution`: the functions of a distribution, from formulas in standard form."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.numpy import exp, log, where
from gradkit.primitives.scipy_special import floating_together

__all__ = ["Distribution"]

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
LOGARITHMS = (("pdf", "logpdf"), ("pmf", "logpmf"), ("cdf", "logcdf"), ("sf", "logsf"))


class Distribution:
    """A distribution's functions: ``norm.logpdf(x, loc, scale)``.

    Parameters
    ----------
    name : str
        Its name.
    shapes : str
        The names of its shape parameters.
    **formulas : callable
        By the function's name: ``formula(y, *shapes)`` of the standard distribution, on Arrays of one dtype. A function
        and its logarithm follow from each other.
    """

    has_scale = True
    """Whether the functions take ``loc`` and ``scale``, by which a variable is shifted and stretched."""

    def __init__(self, name: str, shapes: str = "", **formulas: Formula) -> None:
        self.__name__ = name
        self.shapes = tuple(shapes.split())
        for plain, logarithm in LOGARITHMS:
            if logarithm in formulas and plain not in formulas:
                formulas[plain] = _exponential(formulas[logarithm])
            elif plain in formulas and logarithm not in formulas and self.has_scale:
                formulas[logarithm] = _logarithm(formulas[plain])
        for kind, formula in formulas.items():
            setattr(self, kind, self._function(kind, formula))

    def _function(self, kind: str, formula: Formula) -> Callable[..., Array]:
        variable = {"ppf": "q", "isf": "q"}.get(kind, "x")
        signature = self._signature(variable)

        def function(*args: Any, **kwargs: Any) -> Array:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            value, *shapes = floating_together(list(given.arguments.values()), f"{self.__name__}.{kind}")
            *shapes, loc, scale = shapes
            if variable == "q":
                return loc + scale * formula(value, *shapes)  # type: ignore[no-any-return]
            result = formula((value - loc) / scale, *shapes)
            if kind == "logpdf":
                # Outside of the support the result is -inf at any scale, and its derivative 0.
                return where(result > -math.inf, result - log(scale), result)  # type: ignore[no-any-return]
            return result / scale if kind == "pdf" else result  # type: ignore[no-any-return]

        return self._named(function, kind, signature)

    def _signature(self, variable: str, defaults: tuple[tuple[str, float], ...] = (("loc", 0), ("scale", 1))) -> Any:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in (variable, *self.shapes)]
        parameters += [inspect.Parameter(name, kind, default=default) for name, default in defaults]
        return inspect.Signature(parameters)

    def _named(self, function: Any, kind: str, signature: inspect.Signature) -> Callable[..., Array]:
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


def _exponential(formula: Formula) -> Formula:
    return lambda *args: exp(formula(*args))


def _logarithm(formula: Formula) -> Formula:
    def logarithm(*args: Array) -> Array:
        value = formula(*args)
        return where(value > 0, log(where(value > 0, value, 1.0)), -math.inf)

    return logarithm
