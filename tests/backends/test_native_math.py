"""The native backend's functions against mpmath, and against NumPy in a wider format, over all exponents."""

from __future__ import annotations

import ctypes
import math
import platform
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import minimax
import mpmath
import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="native code needs the extra jit")
pytest.importorskip("scipy", reason="native code needs the extra jit")

from gradkit_numpy.native import machine, object_code
from gradkit_numpy.native.coefficients import COEFFICIENTS
from gradkit_numpy.native.machine import compiled
from gradkit_numpy.native.math import NAMES, function_text
from gradkit_numpy.native.symbols import declared_once
from scipy import special

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "float64")
LLVM = {"float32": ("float", "f32"), "float64": ("double", "f64")}
ULPS = 2.0

# What NumPy and SciPy call them, and mpmath.
NUMPY: dict[str, Callable[..., Any]] = {
    "erf": special.erf,
    "sigmoid": special.expit,
    **{name: getattr(np, name) for name in "cos cosh exp exp2 expm1 log log10 log1p log2 sin sinh tanh".split()},
}
MPMATH: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log": lambda x: mpmath.log(x) if x > 0 else mpmath.nan,
    "log10": lambda x: mpmath.log(x, 10) if x > 0 else mpmath.nan,
    "log1p": lambda x: mpmath.log1p(x) if x > -1 else mpmath.nan,
    "log2": lambda x: mpmath.log(x, 2) if x > 0 else mpmath.nan,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    **{name: getattr(mpmath, name) for name in "cos cosh erf exp expm1 sin sinh tanh".split()},
}


def test_each_function_is_tested() -> None:
    assert NUMPY.keys() == MPMATH.keys() == NAMES - {"pow"}


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    object_code.keep_in(None)


def loop_text(name: str, dtype: str) -> str:
    """Return a program that computes a function of each element of arrays."""
    kind, suffix = LLVM[dtype]
    text = function_text(name, dtype)
    number = text.split(f"@gk_{name}_{suffix}(")[1].split(")")[0].count("%")
    loads = "".join(
        f"%p{i} = getelementptr {kind}, ptr %in{i}, i64 %i\n%x{i} = load {kind}, ptr %p{i}\n" for i in range(number)
    )
    return f"""{text}
    define void @loop(i64 %n, ptr noalias %out, {", ".join(f"ptr noalias %in{i}" for i in range(number))}) {{
    entry:
      br label %loop
    loop:
      %i = phi i64 [0, %entry], [%next, %loop]
      {loads}
      %y = call {kind} @gk_{name}_{suffix}({", ".join(f"{kind} %x{i}" for i in range(number))})
      %q = getelementptr {kind}, ptr %out, i64 %i
      store {kind} %y, ptr %q
      %next = add nuw nsw i64 %i, 1
      %more = icmp ne i64 %next, %n
      br i1 %more, label %loop, label %end
    end:
      ret void
    }}"""


@cache
def native(name: str, dtype: str) -> Callable[..., Array]:
    """Return a function of arrays that LLVM vectorizes."""
    code = compiled(loop_text(name, dtype), "loop")

    def run(*xs: Array) -> Array:
        arrays = [np.ascontiguousarray(x) for x in np.broadcast_arrays(*xs)]
        out = np.empty_like(arrays[0])
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (len(arrays) + 1))
        kind(code.address)(out.size, out.ctypes.data, *(x.ctypes.data for x in arrays))
        return out

    return run


def assert_within(y: Array, exact: Array, dtype: str, *args: Array) -> None:
    """Check that `y` is off by two units in the last place at most, `exact` being in a wider format."""
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        expected = exact.astype(dtype)
        look = np.flatnonzero((y != expected) & ~(np.isnan(y) & np.isnan(expected)))
        unit = np.ldexp(1.0, np.maximum(np.frexp(np.abs(exact[look]))[1] - 1, info.minexp) - info.nmant)
        off = np.abs(y[look].astype(exact.dtype) - exact[look]) / unit
    finite = np.isfinite(expected[look]) & np.isfinite(y[look])
    where = look[~finite | (off > ULPS)][:5]
    assert not where.size, [(*(x[i] for x in args), y[i], expected[i]) for i in where]


def every(step: int, start: int = 0) -> Array:
    """Return float32's numbers in the order of their bits, each `step`-th."""
    return np.arange(start, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", sorted(set(NUMPY) & NAMES))
def test_float32_is_at_most_two_units_off(name: str) -> None:
    x = every(4001)
    with np.errstate(all="ignore"):
        exact = NUMPY[name](x.astype(np.float64))
    assert_within(native(name, "float32")(x), exact, "float32", x)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(NUMPY) & NAMES))
def test_each_64th_float32_is_at_most_two_units_off(name: str) -> None:
    for start in range(7, 1024, 64):
        x = every(1024, start)
        with np.errstate(all="ignore"):
            exact = NUMPY[name](x.astype(np.float64))
        assert_within(native(name, "float32")(x), exact, "float32", x)


PROCESSORS = [("x86-64", ""), ("haswell", "+avx2,+fma")]  # vectors of 128 bits and no fma; of 256


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of processors of this architecture")
@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("name", ["cos", "erf", "tanh", pytest.param("every", marks=pytest.mark.long)])
def test_code_for_other_processors_is_at_most_two_units_off(
    name: str, processor: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if processor[1] and "+avx2" not in machine._processor()[1]:
        pytest.skip("this processor has no AVX2")
    monkeypatch.setattr(machine, "_processor", lambda: processor)
    machine._machine.cache_clear()
    x = every(40_001)
    try:
        for function in sorted(NUMPY) if name == "every" else [name]:
            for dtype in DTYPES:
                with np.errstate(all="ignore"):
                    exact = NUMPY[function](x.astype(np.float64))
                    y = native.__wrapped__(function, dtype)(x.astype(dtype)).astype(np.float32)
                assert_within(y, exact, "float32", x)
    finally:
        machine._machine.cache_clear()


def off_by(y: float, exact: Any) -> float:
    """Return how many of float64's units `y` is off what mpmath found."""
    expected = float(exact)  # mpmath rounds to nearest
    if math.isnan(expected) or math.isinf(expected):
        return 0.0 if y == expected or (math.isnan(y) and math.isnan(expected)) else math.inf
    if not math.isfinite(y):
        return math.inf
    unit = mpmath.ldexp(1, max(mpmath.frexp(abs(exact))[1] - 1 if exact else -1100, -1022) - 52)
    return float(abs(mpmath.mpf(y) - exact) / unit)


@pytest.mark.parametrize("name", sorted(set(MPMATH) & NAMES))
def test_float64_is_at_most_two_units_off(name: str) -> None:
    rng = np.random.default_rng(0)
    bits = (np.arange(2048, dtype=np.uint64) << np.uint64(52)) | rng.integers(0, 2**52, 2048, dtype=np.uint64)
    x = np.concatenate(
        [bits.view(np.float64), rng.uniform(0, 750, 500), rng.uniform(0, 4, 1500), rng.uniform(0, 40, 500)]
    )
    x = np.concatenate([x, -x])
    with mpmath.workprec(200):
        for a, y in zip(x.tolist(), native(name, "float64")(x).tolist(), strict=True):
            exact = MPMATH[name](mpmath.mpf(a))
            assert off_by(y, exact) <= ULPS, (a, y, exact)


def powers(dtype: str, number: int) -> tuple[Array, Array]:
    """Return bases and exponents: whose powers are numbers, bases close to 1, negative ones, and any bits."""
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    bits = f"u{info.bits // 8}"
    bases = [
        np.exp2(rng.uniform(info.minexp - info.nmant, info.maxexp, number)),
        1 + rng.normal(size=number) * 1e-3,
        1 + rng.normal(size=number) * 100 * info.eps,
        -rng.integers(1, 100, number),
        rng.integers(0, 2**info.bits, number, dtype=bits).view(dtype),
    ]
    exponents = [
        rng.uniform(-3, 3, number),
        rng.normal(size=number) * 1e4,
        rng.normal(size=number) / info.eps / 10,
        rng.integers(-30, 30, number),
        rng.integers(0, 2**info.bits, number, dtype=bits).view(dtype),
    ]
    with np.errstate(all="ignore"):
        return np.concatenate([x.astype(dtype) for x in bases]), np.concatenate([y.astype(dtype) for y in exponents])


@pytest.mark.parametrize("number", [50_000, pytest.param(2_000_000, marks=pytest.mark.long)])
def test_powers_of_float32_are_at_most_two_units_off(number: int) -> None:
    x, y = powers("float32", number)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
    assert_within(native("pow", "float32")(x, y), exact, "float32", x, y)


def test_powers_of_float64_are_at_most_two_units_off() -> None:
    x, y = powers("float64", 1500)
    with np.errstate(all="ignore"):
        rough = np.power(x, y)
    with mpmath.workprec(200):
        for a, b, c, r in zip(*(v.tolist() for v in (x, y, native("pow", "float64")(x, y), rough)), strict=True):
            if 0 < abs(r) < math.inf:
                assert off_by(c, mpmath.mpf(a) ** mpmath.mpf(b)) <= ULPS, (a, b, c)
            else:  # NumPy knows which
                assert c == r or (c != c and r != r) or abs(c) < 1e-323, (a, b, c, r)


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_zeros_infinities_nan_and_ones_are_as_numpy_has_them(dtype: str) -> None:
    info = np.finfo(dtype)
    sizes = [0, 1, 0.5, 2, 3, 2.5, math.inf, math.nan, info.tiny, info.max, info.smallest_subnormal, 1e-30, 1e30]
    sizes += [2.0**info.nmant, 2.0**info.nmant + 1, 2.0 ** (info.nmant + 1), 2.0 ** (info.nmant + 2)]
    values = np.array([*sizes, *(-size for size in sizes)], dtype)
    x, y = (np.ravel(v) for v in np.meshgrid(values, values))
    z = native("pow", dtype)(x, y)
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    np.testing.assert_allclose(z, expected, rtol=2 * info.eps, atol=0)
    signed = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(z)[signed], np.signbit(expected)[signed])


EDGES = [0.0, 1.0, 0.5, 2.0, math.inf, math.nan]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(NUMPY) & NAMES))
def test_zeros_infinities_nan_and_subnormals_are_as_numpy_has_them(name: str, dtype: str) -> None:
    info = np.finfo(dtype)
    sizes = [*EDGES, info.max, info.tiny, info.smallest_subnormal, 3 * info.smallest_subnormal, info.eps]
    x = np.array([*sizes, *(-size for size in sizes)], dtype)
    y = native(name, dtype)(x)
    with np.errstate(all="ignore"):
        expected = NUMPY[name](x)
    np.testing.assert_allclose(y, expected, rtol=2 * info.eps, atol=0)
    signed = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(y)[signed], np.signbit(expected)[signed])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_loop_vectorizer_takes_each_function(name: str, dtype: str) -> None:
    import llvmlite.binding as llvm
    from gradkit_numpy.native import machine

    assert machine.why_unusable() is None
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(machine._machine(), options)
    with llvm.parse_assembly(declared_once(loop_text(name, dtype)), llvm.create_context()) as module:
        builder.getModulePassManager().run(module, builder)
        assert re.search(rf"store <\d+ x {LLVM[dtype][0]}>", str(module))


def test_a_text_may_stand_beside_others_and_itself() -> None:
    texts = [function_text(name, dtype) for name in sorted(NAMES) for dtype in DTYPES]
    compiled("\n".join([*texts, "define void @f() { ret void }"]), "f")


@pytest.mark.long
def test_the_coefficients_are_those_of_the_polynomials_of_least_error() -> None:
    assert minimax.tables() == COEFFICIENTS
