"""The coefficients of the native backend's functions: polynomials of least error, by Remez' algorithm in mpmath.

`python tests/support/minimax.py` prints backends/gradkit_numpy/native/coefficients.py. Each polynomial approximates
what is left of a function when its first terms, which are exact, are taken away; the weight is what an error of the
polynomial counts in the result. Rounding the coefficients costs little, as they are multiplied by something small.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
from mpmath import mp, mpf

DIGITS = {"float32": 24, "float64": 53}
PRECISION = 240
GRID = 700
TINY = mpf(2) ** -40


@dataclass(frozen=True)
class Fit:
    """A polynomial of least error: of what, from where to where, with which weight, and how many terms by format."""

    function: Callable[[Any], Any]
    low: Any
    high: Any
    terms: dict[str, int]
    weight: Callable[[Any], Any] = lambda x: mpf(1)


def from_series(function: Callable[[Any], Any], series: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that is computed by its first terms where it would be zero by zero."""
    return lambda x: series(x) if abs(x) < TINY else function(x)


def at_root(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of the square of its argument."""
    return lambda z: function(mp.sqrt(z))


def log2_rest(s: Any) -> Any:
    return ((2 * mp.atanh(s) / s - 2) / s**2 - mpf(2) / 3) / s**2 / mp.log(2)


def fits() -> dict[str, Fit]:
    logarithm = from_series(lambda f: mp.log1p(f) / f, lambda f: 1 - f / 2)
    half_log = mp.log(2) / 2 * mpf("1.0005")
    quarter = mp.pi / 4 * mpf("1.0005")
    low, high = mp.sqrt(mpf(1) / 2) - mpf("1.0001"), mp.sqrt(2) - mpf("0.9999")
    return {
        # exp(r) = 1 + r + r^2 q(r)
        "exp": Fit(
            from_series(lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: mpf(1) / 2 + r / 6),
            -half_log,
            half_log,
            {"float32": 5, "float64": 10},
            lambda r: r**2 + mpf("1e-3"),
        ),
        # 2^r = 1 + r q(r)
        "exp2": Fit(
            from_series(lambda r: (mpf(2) ** r - 1) / r, lambda r: mp.log(2) + r * mp.log(2) ** 2 / 2),
            -mpf("0.5001"),
            mpf("0.5001"),
            {"float32": 6, "float64": 11},
            lambda r: abs(r) + mpf("1e-3"),
        ),
        # log(1 + f) = f + f^2 (f q(f) - 1 / 2)
        "log": Fit(
            from_series(lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, lambda f: mpf(1) / 3 - f / 4),
            low,
            high,
            {"float32": 8},
            lambda f: f**2 + mpf("1e-3"),
        ),
        # log2(1 + f) = f q(f), and that of base 10
        "log2": Fit(lambda f: logarithm(f) / mp.log(2), low, high, {"float32": 10}),
        "log10": Fit(lambda f: logarithm(f) / mp.log(10), low, high, {"float32": 10}),
        # log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + z q(z)), s = f / (2 + f), z = s^2
        "log_of_quotient": Fit(
            at_root(from_series(lambda s: (2 * mp.atanh(s) / s - 2) / s**2, lambda s: mpf(2) / 3 + 2 * s**2 / 5)),
            mpf(0),
            (high / (2 + high)) ** 2,
            {"float64": 7},
            lambda z: z + mpf("1e-4"),
        ),
        # log2(1 + f) = s (2 + z (2 / 3 + z q(z))) / log(2), s = f / (2 + f), z = s^2
        "log2_of_quotient": Fit(
            at_root(from_series(log2_rest, lambda s: (mpf(2) / 5 + 2 * s**2 / 7) / mp.log(2))),
            mpf(0),
            (high / (2 + high)) ** 2,
            {"float32": 3, "float64": 8},
            lambda z: z**2 + mpf("1e-5"),
        ),
        # sin(r) = r + r z q(z), z = r^2
        "sin": Fit(
            at_root(from_series(lambda r: (mp.sin(r) / r - 1) / r**2, lambda r: -mpf(1) / 6 + r**2 / 120)),
            mpf(0),
            quarter**2,
            {"float32": 3, "float64": 6},
            lambda z: z + mpf("1e-4"),
        ),
        # cos(r) = 1 - z / 2 + z^2 q(z), z = r^2
        "cos": Fit(
            at_root(from_series(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4, lambda r: mpf(1) / 24 - r**2 / 720)),
            mpf(0),
            quarter**2,
            {"float32": 3, "float64": 6},
            lambda z: z**2 + mpf("1e-4"),
        ),
        # sinh(x) = x + x z q(z), z = x^2
        "sinh": Fit(
            at_root(from_series(lambda x: (mp.sinh(x) / x - 1) / x**2, lambda x: mpf(1) / 6 + x**2 / 120)),
            mpf(0),
            mpf("1.001"),
            {"float32": 4, "float64": 7},
            lambda z: z + mpf("1e-4"),
        ),
        # erf(x) = x + x q(x^2)
        "erf": Fit(
            at_root(from_series(lambda x: mp.erf(x) / x - 1, lambda x: 2 / mp.sqrt(mp.pi) * (1 - x**2 / 3) - 1)),
            mpf(0),
            mpf("0.8") ** 2,
            {"float32": 6, "float64": 11},
        ),
        # erf(x) = 1 - exp(-q(x))
        "erf_of_large_32": Fit(lambda x: -mp.log(mp.erfc(x)), mpf("0.79"), mpf("3.95"), {"float32": 7}, mp.erfc),
        "erf_of_large_64": Fit(lambda x: -mp.log(mp.erfc(x)), mpf("0.79"), mpf("5.95"), {"float64": 19}, mp.erfc),
    }


def remez(fit: Fit, terms: int) -> tuple[Any, list[Any]]:
    """Return the largest weighted error, and the coefficients, the constant term's first."""
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    points = [middle - half * mp.cos(mp.pi * i / GRID) for i in range(GRID + 1)]
    values = [(fit.function(x), fit.weight(x)) for x in points]
    chosen = [round(GRID * (2 * i + 1) / (2 * terms + 2)) for i in range(terms + 1)]
    for _ in range(40):
        matrix, right = mp.matrix(terms + 1, terms + 1), mp.matrix(terms + 1, 1)
        for row, i in enumerate(chosen):
            value, weight = values[i]
            for column in range(terms):
                matrix[row, column] = points[i] ** column if column else mpf(1)
            matrix[row, terms] = (-1) ** row / weight
            right[row] = value
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[column] for column in range(terms)]
        errors = [w * (v - evaluated(coefficients, x)) for x, (v, w) in zip(points, values, strict=True)]
        before, chosen = chosen, extrema(errors, terms + 1)
        if chosen == before:
            return max(map(abs, errors)), coefficients
    return max(map(abs, errors)), coefficients


def evaluated(coefficients: Sequence[Any], x: Any) -> Any:
    """Return a polynomial's value; mpmath's own function wants them in an order that depends on its version."""
    result = mpf(0)
    for coefficient in reversed(coefficients):
        result = result * x + coefficient
    return result


def extrema(errors: Sequence[Any], number: int) -> list[int]:
    """Return the places of that many largest errors, whose signs alternate."""
    found = [0]
    for i, error in enumerate(errors):
        if (error > 0) != (errors[found[-1]] > 0):
            found.append(i)
        elif abs(error) > abs(errors[found[-1]]):
            found[-1] = i
    while len(found) > number:
        del found[0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1]
    return found


def tables(only: Sequence[str] = ()) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return the coefficients by name and format, rounded to that; the errors go to stderr."""
    with mp.workprec(PRECISION):
        result: dict[str, dict[str, tuple[float, ...]]] = {}
        for name, fit in fits().items():
            if only and name not in only:
                continue
            for dtype, terms in fit.terms.items():
                error, coefficients = remez(fit, terms)
                print(f"{name} {dtype}: error 2^{mpmath.nstr(mp.log(error, 2), 4)}", file=sys.stderr)
                with mp.workprec(DIGITS[dtype]):
                    result.setdefault(name, {})[dtype] = tuple(float(+c) for c in coefficients)
        return result


HEAD = '''"""Coefficients of polynomials of least error, the constant term's first: made by tests/support/minimax.py."""

from __future__ import annotations

__all__ = ["COEFFICIENTS"]

'''


def main() -> None:
    print(HEAD + "COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {")
    for name, by_format in tables().items():
        print(f'    "{name}": {{')
        for dtype, coefficients in by_format.items():
            print(f'        "{dtype}": (')
            for coefficient in coefficients:
                print(f"            {coefficient!r},")
            print("        ),")
        print("    },")
    print("}")


if __name__ == "__main__":
    main()
