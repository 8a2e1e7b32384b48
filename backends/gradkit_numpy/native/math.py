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
from typing import Any

from gradkit_numpy.native.coefficients import COEFFICIENTS
from gradkit_numpy.native.machine import vector_bits
from gradkit_numpy.native.words import FORMATS, Format, Text, Value

__all__ = ["NAMES", "function_text"]

LN2 = Fraction(0xB17217F7D1CF79ABC9E3B39803F2F6AF40F343267298B62D8A0D175B8BAB, 1 << 240)
LOG2_10 = Fraction(0xD49A784BCD1B8AFE492BF6FF4DAFDB4CD96C55FE37B3AD4E91B6AC8082E8, 1 << 238)
PI = Fraction(0xC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B14, 1 << 238)
"""log(2), log2(10) and pi, to 240 bits."""
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


def _digits(x: Fraction, form: Format, number: int) -> list[float]:
    """Return that many numbers of the format, all of them positive, whose sum is a little less than `x`."""
    parts = []
    for _ in range(number):
        unit = Fraction(2) ** (math.frexp(float(x))[1] - form.digits - 1)
        parts.append(float(x // unit * unit))
        x -= Fraction(parts[-1])
    return parts


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
    half = _half_of_expm1(t, size + size)
    return t.with_sign(_quotient_with_sum(t, half, 1.0, half), x)


def _expm1(t: Text, x: Value) -> Value:
    limit = 2.0 ** (t.form.bits - t.form.digits - 2)
    size = t.between(x, -(t.form.digits + 3) * math.log(2), (limit + 0.2) * math.log(2))
    result = _half_of_expm1(t, size) * 2.0  # half, as the power itself may be too large
    return t.select(t.magnitude(x) < 2.0 ** -(t.form.digits + 2), x, result)


def _half_of_expm1(t: Text, x: Value) -> Value:
    """Return (exp(x) - 1) / 2, where it is a number of the format."""
    number, k = _nearest_integer(t, x, float(1 / LN2))
    high, low = _split(LN2, t.form)
    r_alone = t.fma(number, -high, x)
    r = t.fma(number, -low, r_alone)
    power = t.power_of_two(k - 1)
    if t.form.bits == 32:
        return t.fma(_exponential_less_one(t, r), power, power - 0.5)
    # What r and the sum lose counts where k is 1, and the result half of what it is made of.
    beyond = r * r * t.polynomial(r, _coefficients(t, "exp"))
    less_one = r + beyond
    lost = (r - less_one) + beyond + t.fma(number, -low, r_alone - r)
    offset = power - 0.5
    result = t.fma(less_one, power, offset)
    return result + t.fma(lost, power, t.fma(less_one, power, offset - result))


def _quarter_of_exponential(t: Text, x: Value) -> Value:
    """Return exp(``|x|``) / 4, which is a number where half the exponential is one."""
    limit = 2.0 ** (t.form.bits - t.form.digits - 2)
    r, k = _reduced_exponent(t, t.between(t.magnitude(x), None, (limit + 1.2) * math.log(2)))
    power = t.power_of_two(k - 2)
    return t.fma(_exponential_less_one(t, r), power, power)


def _cosh(t: Text, x: Value) -> Value:
    quarter = _quarter_of_exponential(t, x)
    return t.fma(quarter, 2.0, 0.125 / quarter)


def _sinh(t: Text, x: Value) -> Value:
    quarter = _quarter_of_exponential(t, x)
    large = t.fma(quarter, 2.0, -0.125 / quarter)
    size = t.magnitude(x)
    z = x * x
    small = t.fma(size * z, t.polynomial(z, _coefficients(t, "sinh")), size)
    return t.with_sign(t.select(size < 1.0, small, large), x)


def _exp2_of_sum(t: Text, high: Value, low: Value | None) -> Value:
    """Return 2**(high + low)."""
    number, k = _nearest_integer(t, high, 1.0)
    r = high - number
    if low is not None:
        r = r + low
    return _scaled(t, t.fma(r, t.polynomial(r, _coefficients(t, "exp2")), 1.0), k)


def _exp2(t: Text, x: Value) -> Value:
    limit = 2.0 ** (t.form.bits - t.form.digits - 2)
    return _exp2_of_sum(t, t.between(x, -(limit + t.form.digits + 1), limit), None)


def _parts(t: Text, x: Value, subnormal: bool = True) -> tuple[Value, Value]:
    """Return f and k with ``x = 2**k (1 + f)``, and 1 + f between the roots of 1/2 and 2, for positive x."""
    form = t.form
    if subnormal:
        is_subnormal = x < 2.0 ** (2 - (1 << (form.bits - form.digits - 2)))
        x = t.select(is_subnormal, x * 2.0**form.digits, x)
    bits = t.bits(x)
    k = (bits - form.pattern(math.sqrt(0.5))) >> form.digits
    f = t.number(bits - (k << form.digits)) - 1.0
    return f, t.select(is_subnormal, k - form.digits, k) if subnormal else k


def _log_rest(t: Text, f: Value, more: Value) -> Value:
    """Return log(1 + f) - f + more."""
    if t.form.bits == 32:
        square = f * f
        return t.fma(square, t.fma(f, t.polynomial(f, _coefficients(t, "log")), -0.5), more)
    half_square = f * f * 0.5
    s = f / (f + 2.0)
    z = s * s
    return t.fma(s, t.fma(z, t.polynomial(z, _coefficients(t, "log_of_quotient")), half_square), more) - half_square


def _log_at_the_ends(t: Text, x: Value, result: Value, zero: float) -> Value:
    """Return `result`, with the values for infinity, for NaN, for `zero`, and below it."""
    result = t.select(x < math.inf, result, x)
    return t.select(x > zero, result, t.select(t.equal(x, zero), -math.inf, math.nan))


def _log(t: Text, x: Value) -> Value:
    f, k = _parts(t, x)
    exponent = t.converted(k)
    high, low = _split(LN2, t.form)
    result = t.fma(exponent, high, f + _log_rest(t, f, exponent * low))
    return _log_at_the_ends(t, x, result, 0.0)


def _log_to_base(t: Text, x: Value, log2_of_base: Fraction) -> Value:
    """Return a logarithm: that of 1 + f as a sum of two numbers, the first f - f^2 / 2, times a factor."""
    f, k = _parts(t, x)
    exponent = t.converted(k)
    half_square = f * f * 0.5
    high = f - half_square
    low = (f - high) - half_square
    low = low + _log_rest(t, f, half_square)
    factor, factor_rest = _split(1 / (LN2 * log2_of_base), t.form)
    unit, unit_rest = _split(1 / log2_of_base, t.form)
    product = high * factor
    rest = t.fma(low, factor, t.fma(high, factor_rest, t.fma(high, factor, -product)))
    whole = exponent * unit
    if unit_rest:
        rest = t.fma(exponent, unit_rest, rest + t.fma(exponent, unit, -whole))
    sum_ = whole + product
    return _log_at_the_ends(t, x, sum_ + ((whole - sum_) + product + rest), 0.0)


def _log2(t: Text, x: Value) -> Value:
    if t.form.bits == 64:
        return _log_to_base(t, x, Fraction(1))
    f, k = _parts(t, x)
    result = t.fma(f, t.polynomial(f, _coefficients(t, "log2")), t.converted(k))
    return _log_at_the_ends(t, x, result, 0.0)


def _log10(t: Text, x: Value) -> Value:
    if t.form.bits == 64:
        return _log_to_base(t, x, LOG2_10)
    f, k = _parts(t, x)
    exponent = t.converted(k)
    high, low = _split(1 / LOG2_10, t.form)
    logarithm = t.fma(f, t.polynomial(f, _coefficients(t, "log10")), exponent * low)
    return _log_at_the_ends(t, x, t.fma(exponent, high, logarithm), 0.0)


def _log1p(t: Text, x: Value) -> Value:
    """Return the logarithm of the sum 1 + x, and of what that loses."""
    sum_ = x + 1.0
    lost = t.select(x < 1.0, x - (sum_ - 1.0), 1.0 - (sum_ - x))
    f, k = _parts(t, sum_, subnormal=False)
    many = t.form.digits + 3  # a larger sum loses nothing that counts
    lost = lost * t.power_of_two(-t.select(k < many, k, many))
    whole = f + lost  # x itself, if k is 0
    lost = (f - whole) + lost
    lost = t.fma(lost, t.fma(whole, whole, -whole), lost)  # lost / (1 + f)
    exponent = t.converted(k)
    high, low = _split(LN2, t.form)
    result = t.fma(exponent, high, whole + _log_rest(t, whole, t.fma(exponent, low, lost)))
    return t.with_sign(_log_at_the_ends(t, x, result, -1.0), x)


def _erf(t: Text, x: Value) -> Value:
    size = t.magnitude(x)
    z = x * x
    small = t.fma(size, t.polynomial(z, _coefficients(t, "erf")), size)
    end = 3.93 if t.form.bits == 32 else 5.93
    minus_log = t.polynomial(t.between(size, 0.5, end), _coefficients(t, f"erf_of_large_{t.form.bits}"))
    r, k = _reduced_exponent(t, -minus_log)
    power = t.power_of_two(k)
    large = t.fma(-_exponential_less_one(t, r), power, 1.0 - power)
    return t.with_sign(t.select(size > 0.8, large, small), x)


def _quadrant(t: Text, x: Value) -> tuple[Value, Value, Value]:
    """Return sin(r), cos(r) and k with ``x = k pi / 2 + r``, for x up to `TURNS` quarters of a turn."""
    number, k = _nearest_integer(t, x, float(2 / PI))
    r = x
    for part in _digits(PI / 2, t.form, 3):  # of one sign, or -0 would become 0
        r = t.fma(number, -part, r)
    z = r * r
    sine = t.with_sign(t.fma(r * z, t.polynomial(z, _coefficients(t, "sin")), r), r)  # of a zero too
    cosine = t.fma(z * z, t.polynomial(z, _coefficients(t, "cos")), t.fma(z, -0.5, 1.0))
    return sine, cosine, k


def _sine_of_quadrant(t: Text, sine: Value, cosine: Value, k: Value) -> Value:
    odd = t.equal(k & 1, 1)
    return t.number(t.bits(t.select(odd, cosine, sine)) ^ ((k & 2) << (t.form.bits - 2)))


def _sin(t: Text, x: Value) -> Value:
    return _sine_of_quadrant(t, *_quadrant(t, x))


def _cos(t: Text, x: Value) -> Value:
    sine, cosine, k = _quadrant(t, x)
    return _sine_of_quadrant(t, sine, cosine, k + 1)


def _product(t: Text, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
    """Return the product of two numbers, each of which is a sum of two."""
    high = a[0] * b[0]
    return high, t.fma(a[0], b[1], t.fma(a[1], b[0], t.fma(a[0], b[0], -high)))


def _sum(a: Any, b: Value, more: Any) -> tuple[Value, Value]:
    """Return a + b + more as a sum of two; `a` is 0, or not smaller than `b`, and `more` is small."""
    high = a + b
    return high, (a - high) + b + more


def _log2_as_sum(t: Text, x: Value) -> tuple[Value, Value]:
    """Return log2(x) as a sum of two numbers, for positive x: 2 / log(2) (s + s^3 / 3 + ...), s = f / (2 + f)."""
    f, k = _parts(t, x)
    divisor = f + 2.0
    lost = f - (divisor - 2.0)
    reciprocal = 1.0 / divisor
    quotient = f * reciprocal
    s = quotient, t.fma(-quotient, lost, t.fma(-quotient, divisor, f)) * reciprocal
    z = _product(t, s, s)
    one, one_rest = _split(2 / LN2, t.form)
    third, third_rest = _split(2 / (3 * LN2), t.form)
    series = t.fma(z[0], t.polynomial(z[0], _coefficients(t, "log2_of_quotient")), third_rest)
    first = _product(t, z, _sum(third, series, 0.0))
    high, low = _product(t, s, _sum(one, first[0], first[1] + one_rest))
    return _sum(t.converted(k), high, low)


def _pow(t: Text, x: Value, y: Value) -> Value:
    form = t.form
    limit = 2.0 ** (form.bits - form.digits - 2)
    size = t.magnitude(x)
    log2 = _log2_as_sum(t, size)
    bound = 2.0 ** (form.digits + form.bits - form.digits + 2)  # beyond, any power but that of 1 is 0 or infinite
    factor = t.between(y, -bound, bound)
    exponent = factor * log2[0]
    rest = t.fma(factor, log2[0], -exponent) + factor * log2[1]
    in_range = t.magnitude(exponent) < 2 * limit
    result = _exp2_of_sum(t, t.between(exponent, -(limit + form.digits + 2), limit + 1), t.select(in_range, rest, 0.0))
    # Zero and infinity: the result is one of them too.
    extreme = t.equal(size * 0.5, size)
    grows = t.same(size > 1.0, y > 0.0)
    result = t.select(extreme, t.select(grows, math.inf, 0.0), result)
    # A negative number to an integer's power.
    half = y * 0.5
    integral = t.equal(t.intrinsic("rint", y), y)
    odd = t.both(integral, t.differs(t.intrinsic("rint", half), half))
    result = t.select(odd, t.with_sign(result, x), result)
    result = t.select(t.both(t.both(x < 0.0, x > -math.inf), t.differs(t.intrinsic("rint", y), y)), math.nan, result)
    result = t.select(t.unordered(x, y), math.nan, result)
    return t.select(t.either(t.equal(y, 0.0), t.equal(x, 1.0)), 1.0, result)


LARGEST = {"float32": 2.0**16, "float64": 2.0**30}
"""Up to here three parts of pi suffice for sine and cosine; for larger arguments C's library is asked."""
GUARDED = frozenset({"cos", "sin"})

FORMULAS: dict[str, Callable[..., Value]] = {
    "cos": _cos,
    "cosh": _cosh,
    "erf": _erf,
    "exp": _exp,
    "exp2": _exp2,
    "expm1": _expm1,
    "log": _log,
    "log10": _log10,
    "log1p": _log1p,
    "log2": _log2,
    "pow": _pow,
    "sigmoid": _sigmoid,
    "sin": _sin,
    "sinh": _sinh,
    "tanh": _tanh,
}
NAMES = frozenset(FORMULAS)
"""The functions that there are."""


def function_text(name: str, dtype: str) -> str:
    """Return the LLVM text of a function of numbers of ``float32`` or ``float64``, and what it needs.

    It is ``@gk_{name}_f32`` or ``@gk_{name}_f64``. Several texts may declare the same intrinsics, which
    `gradkit_numpy.native.machine.compiled` allows.
    """
    form = FORMATS[dtype]
    letters = ["x", "y"][: FORMULAS[name].__code__.co_argcount - 1]
    whole = f"gk_{name}_{form.suffix}"
    head = f"define internal {form.name} @{whole}({', '.join(f'{form.name} %{letter}' for letter in letters)})"
    head += " alwaysinline nounwind willreturn {"
    if name in GUARDED:
        lanes = [n for n in (vector_bits() // form.bits, vector_bits() // form.bits // 2) if n > 1]
        parts = [_guarded(name, dtype, 0), *(_guarded(name, dtype, number) for number in lanes)]
        # The vectorizer replaces the call by one of these; they have branches, which it could not make itself.
        variants = ",".join(f"_ZGV_LLVM_N{n}v_{whole}_1({whole}_{n})" for n in lanes)
        call = f'call {form.name} @{whole}_1({form.name} %x) "vector-function-abi-variant"="{variants}"'
        return "\n".join([*parts, head, f"  %y = {call}", f"  ret {form.name} %y", "}"])
    t = Text(form)
    result = FORMULAS[name](t, *(Value(t, f"%{letter}", "real") for letter in letters))
    return "\n".join([*sorted(t.declared), head, *t.lines, f"  ret {form.name} {result.name}", "}"])


def _guarded(name: str, dtype: str, lanes: int) -> str:
    """Return a function of a number, or of a vector (``lanes``), that asks C's library about large arguments."""
    form = FORMATS[dtype]
    t = Text(form, lanes)
    x = Value(t, "%x", "real")
    result = FORMULAS[name](t, x)
    large = t.magnitude(x) > LARGEST[dtype]
    function = f"gk_{name}_{form.suffix}_{lanes or 1}"
    library = name + ("f" if form.bits == 32 else "")
    linkage = "" if lanes else "internal"  # nobody calls those for vectors until the vectorizer does
    lines = [
        *sorted(t.declared),
        f"declare {form.name} @{library}({form.name}) nounwind willreturn readnone",
        f"define {linkage} {t.real} @{function}({t.real} %x) noinline nounwind willreturn readnone {{",
        *t.lines,
    ]
    if not lanes:
        lines += [
            f"  br i1 {large.name}, label %slow, label %done",
            "slow:",
            f"  %asked = call {form.name} @{library}({form.name} %x)",
            "  br label %done",
            "done:",
            f"  %result = phi {t.real} [{result.name}, %0], [%asked, %slow]",
        ]
    else:
        lines = [f"declare i1 @llvm.vector.reduce.or.v{lanes}i1({t.truth})", *lines]
        lines += [
            f"  %any = call i1 @llvm.vector.reduce.or.v{lanes}i1({t.truth} {large.name})",
            "  br i1 %any, label %lane, label %done",
            "lane:",
            "  %i = phi i32 [0, %0], [%next, %after]",
            f"  %now = phi {t.real} [{result.name}, %0], [%then, %after]",
            f"  %here = extractelement {t.truth} {large.name}, i32 %i",
            "  br i1 %here, label %ask, label %after",
            "ask:",
            f"  %one = extractelement {t.real} %x, i32 %i",
            f"  %asked = call {form.name} @{library}({form.name} %one)",
            f"  %with = insertelement {t.real} %now, {form.name} %asked, i32 %i",
            "  br label %after",
            "after:",
            f"  %then = phi {t.real} [%now, %lane], [%with, %ask]",
            "  %next = add i32 %i, 1",
            f"  %more = icmp ne i32 %next, {lanes}",
            "  br i1 %more, label %lane, label %done",
            "done:",
            f"  %result = phi {t.real} [{result.name}, %0], [%then, %after]",
        ]
    return "\n".join([*lines, f"  ret {t.real} %result", "}"])
