"""Functions of real numbers as LLVM text that LLVM's loop vectorizer takes: no branches, no calls but of intrinsics.

Each formula reduces its argument to a short interval, exactly or with the error known; there a polynomial of least
error (`coefficients`) gives what the first terms leave. They are at most 2 units in the last place off, for all
arguments, and have NumPy's values for zeros of either sign, infinities, NaN and subnormal numbers. The reductions are
those of W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980), and of FreeBSD's msun.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from gradkit_numpy.native.coefficients import COEFFICIENTS
from gradkit_numpy.native.words import FORMATS, Format, Text, Value

__all__ = ["NAMES", "function_text"]

LN2 = Fraction(0x2C5C85FDF473DE6AF278ECE600FCBDA3D0D3FF3D3, 1 << 162)
"""The natural logarithm of 2, to 162 bits."""
DTYPES = {form.name: dtype for dtype, form in FORMATS.items()}


def _coefficients(t: Text, name: str) -> tuple[float, ...]:
    return COEFFICIENTS[name][DTYPES[t.form.name]]


def _split(x: Fraction, form: Format) -> tuple[float, float]:
    """Return a number as the nearest one of the format, and what that leaves."""
    high = form.rounded(float(x))
    return high, form.rounded(float(x - Fraction(high)))


def _nearest_integer(t: Text, x: Value, factor: float) -> tuple[Value, Value]:
    """Return the integer nearest to ``factor x``, as a number and as an integer."""
    magic = t.form.magic
    sum_ = t.fma(x, factor, magic)
    return sum_ - magic, t.bits(sum_) - t.form.pattern(magic)


def _reduced_exponent(t: Text, x: Value) -> tuple[Value, Value]:
    """Return r and the integer k with x = k log(2) + r, and r between -log(2) / 2 and log(2) / 2."""
    number, k = _nearest_integer(t, x, float(1 / LN2))
    high, low = _split(LN2, t.form)
    return t.fma(number, -low, t.fma(number, -high, x)), k


def _exponential_less_one(t: Text, r: Value) -> Value:
    """Return exp(r) - 1 for r between -log(2) / 2 and log(2) / 2."""
    return t.fma(r * r, t.polynomial(r, _coefficients(t, "exp")), r)


def _scaled(t: Text, x: Value, k: Value) -> Value:
    """Return ``x 2**k``: in two steps, for the power may be no number of the format; the second alone rounds."""
    half = k >> 1
    return x * t.power_of_two(half) * t.power_of_two(k - half)


def _quotient_with_sum(t: Text, x: Value, large: float, small: Value) -> Value:
    """Return ``x / (large + small)``, what the sum loses being made up for.

    `large` is a power of two, and `small` not negative; it may be the larger, as long as the sum holds it all the same.
    """
    sum_ = small + large
    lost = small - (sum_ - large)
    reciprocal = 1.0 / sum_
    result = x * reciprocal
    return t.fma(t.fma(-result, lost, t.fma(-result, sum_, x)), reciprocal, result)


def _exp(t: Text, x: Value) -> Value:
    limit = 2.0 ** (t.form.bits - t.form.digits - 2)  # of exponents
    lowest, highest = -(limit + t.form.digits + 1) * math.log(2), limit * math.log(2)
    r, k = _reduced_exponent(t, t.between(x, lowest * (1 + 1e-3), highest * (1 + 1e-3)))
    return _scaled(t, _exponential_less_one(t, r) + 1.0, k)


def _sigmoid(t: Text, x: Value) -> Value:
    small = _exp(t, -t.magnitude(x))  # no overflow, and no cancellation on either side
    return _quotient_with_sum(t, t.select(x < 0.0, small, 1.0), 1.0, small)


def _tanh(t: Text, x: Value) -> Value:
    """(exp(2 x) - 1) / (exp(2 x) + 1), the numerator without cancellation."""
    size = t.between(t.magnitude(x), None, 9.1 if t.form.bits == 32 else 19.1)  # where it is 1
    r, k = _reduced_exponent(t, size + size)
    power = t.power_of_two(k)
    less_one = t.fma(_exponential_less_one(t, r), power, power - 1.0)
    return t.with_sign(_quotient_with_sum(t, less_one, 2.0, less_one), x)


def _log(t: Text, x: Value) -> Value:
    form = t.form
    least = 2.0 ** (2 - (1 << (form.bits - form.digits - 2)))  # of the normal numbers
    subnormal = x < least
    bits = t.bits(t.select(subnormal, x * 2.0**form.digits, x))
    # The exponent is taken so that the rest is between sqrt(1/2) and sqrt(2).
    k = (bits - form.pattern(math.sqrt(0.5))) >> form.digits
    f = t.number(bits - (k << form.digits)) - 1.0
    exponent = t.converted(k) - t.select(subnormal, float(form.digits), 0.0)
    high, low = _split(LN2, form)
    half_square = f * f * 0.5
    if form.bits == 32:
        rest = t.fma(f * f * f, t.polynomial(f, _coefficients(t, "log")), exponent * low) - half_square
    else:
        s = f / (f + 2.0)
        z = s * s
        tail = z * t.polynomial(z, _coefficients(t, "log_of_quotient"))
        rest = t.fma(s, half_square + tail, exponent * low) - half_square
    result = t.fma(exponent, high, f + rest)
    result = t.select(x < math.inf, result, x)  # infinity and NaN
    result = t.select(x < 0.0, math.nan, result)
    return t.select(t.equal(x, 0.0), -math.inf, result)


FORMULAS: dict[str, Callable[..., Value]] = {"exp": _exp, "log": _log, "sigmoid": _sigmoid, "tanh": _tanh}
NAMES = frozenset(FORMULAS)
"""The functions that there are."""


def function_text(name: str, dtype: str) -> str:
    """Return the LLVM text of a function of numbers of ``float32`` or ``float64``, and what it needs.

    It is ``@gk_{name}_f32`` or ``@gk_{name}_f64``. Several texts may declare the same intrinsics, which
    `gradkit_numpy.native.machine.compiled` allows.
    """
    form = FORMATS[dtype]
    t = Text(form)
    names = ["x", "y"][: FORMULAS[name].__code__.co_argcount - 1]
    result = FORMULAS[name](t, *(Value(t, f"%{letter}", "real") for letter in names))
    arguments = ", ".join(f"{form.name} %{letter}" for letter in names)
    head = f"define internal {form.name} @gk_{name}_{form.suffix}({arguments})"
    return "\n".join(
        [
            *sorted(t.declared),
            f"{head} alwaysinline nounwind willreturn {{",
            *t.lines,
            f"  ret {form.name} {result.name}",
            "}",
        ]
    )
