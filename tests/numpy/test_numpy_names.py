"""The names that people use from jax.numpy beyond the standard, against JAX: one text runs on both."""

from __future__ import annotations

import functools
import inspect
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from compiled import compiled
from references import by_jax

import gradkit
import gradkit.numpy as jnp

REAL, POSITIVE, WIDE = (-2.0, 2.0), (0.2, 3.0), (-10.0, 10.0)
NAN = math.nan


@pytest.fixture(autouse=True)
def _wide_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new numbers 64-bit, as they are in JAX here."""
    monkeypatch.setattr(gradkit.config, "jax_enable_x64", True)


@dataclass(frozen=True)
class Case:
    """A function of a namespace and arrays, and the shapes and ranges of the arrays."""

    function: Callable[..., Any]
    shapes: tuple[Any, ...] = ((3, 4),)
    interval: tuple[float, float] = REAL
    vmap: bool = True
    second: bool = True


def of(function: Callable[..., Any], *shapes: Any, **options: Any) -> Case:
    return Case(function, shapes or ((3, 4),), **options)


def at(function: Callable[..., Any], *arrays: Any, **options: Any) -> Case:
    """Return a case at points that are given."""
    return Case(function, tuple(tuple(map(float, a)) if isinstance(a, list) else a for a in arrays), **options)


def holed(xp: Any, x: Any) -> Any:
    """Return x with NaN in some places, and one row of them."""
    mask = np.arange(12).reshape(3, 4) % 5 == 2
    mask[1] = True
    return xp.where(xp.asarray(mask), NAN, x)


def some(xp: Any, x: Any) -> Any:
    """Return x with NaN in some places."""
    return xp.where(xp.asarray(np.arange(12).reshape(3, 4) % 5 == 2), NAN, x)


def chosen(xp: Any) -> Any:
    return xp.asarray(np.arange(12).reshape(3, 4) % 3 > 0)


SPECIAL = [0.0, 0.05, -0.5, 1.0, -2.0, 3.5]
DIFFERENTIABLE: dict[str, list[Case]] = {
    # elementwise
    "exp2": [of(lambda xp, x: xp.exp2(x))],
    "cbrt": [of(lambda xp, x: xp.cbrt(x)), at(lambda xp, x: xp.cbrt(x), [-27.0, 64.0, 1e-30, 1e300], second=False)],
    "float_power": [of(lambda xp, x, y: xp.float_power(x, y), (3, 2), (2,), interval=POSITIVE)],
    "logaddexp2": [of(lambda xp, x, y: xp.logaddexp2(x, y), (3, 2), (2,))],
    "heaviside": [at(lambda xp, x, y: xp.heaviside(x, y), [-1.0, 0.0, 2.0], [0.3, 0.4, 0.5])],
    "sinc": [of(lambda xp, x: xp.sinc(x)), at(lambda xp, x: xp.sinc(x), SPECIAL)],
    "deg2rad": [of(lambda xp, x: xp.deg2rad(x) * xp.radians(x))],
    "rad2deg": [of(lambda xp, x: xp.rad2deg(x) * xp.degrees(x))],
    "angle": [of(lambda xp, x, y: xp.angle(x + 1j * y) + xp.angle(x - 1j * y, deg=True), (3, 2), (3, 2))],
    "fmax": [of(lambda xp, x, y: xp.fmax(x, y), (3, 2), (2,)), at(lambda xp, x: xp.fmax(x, NAN), SPECIAL)],
    "fmin": [of(lambda xp, x, y: xp.fmin(x, y), (3, 2), (2,)), at(lambda xp, x: xp.fmin(NAN, x), SPECIAL)],
    "fabs": [of(lambda xp, x: xp.fabs(x))],
    "mod": [of(lambda xp, x, y: xp.mod(x, y), (5,), (5,), interval=WIDE)],
    "fmod": [of(lambda xp, x, y: xp.fmod(x, y), (9,), (9,), interval=WIDE)],
    "divmod": [of(lambda xp, x, y: xp.divmod(x, y), (9,), (9,), interval=WIDE)],
    "round": [of(lambda xp, x: xp.round(x, 2) + xp.around(x, 1) + xp.rint(x) + xp.round(100 * x, -1))],
    "modf": [of(lambda xp, x: xp.modf(x))],
    "frexp": [at(lambda xp, x: xp.frexp(x)[0], [0.3, -4.0, 5.0, 1e-300, 0.5, 7e200], second=False)],
    "ldexp": [at(lambda xp, x: xp.ldexp(x, xp.asarray([3, -2, 0, 90])), [0.3, -4.0, 5.0, 1e-3])],
    "nan_to_num": [
        of(lambda xp, x: xp.nan_to_num(holed(xp, x), nan=2.0) * x),
        at(lambda xp, x: xp.nan_to_num(x, posinf=3.0), [1.0, math.inf, -2.0], second=False),
    ],
    "where": [of(lambda xp, x: xp.where(x > 0, xp.sinc(x), x))],
    # statistics
    "ptp": [of(lambda xp, x: xp.ptp(x, axis=1)), of(lambda xp, x: xp.ptp(x, keepdims=True))],
    "amax": [of(lambda xp, x: xp.amax(x, axis=1) - xp.amin(x, axis=1, keepdims=False))],
    "average": [
        of(lambda xp, x: xp.average(x, axis=1)),
        of(lambda xp, x, w: xp.average(x, axis=1, weights=w), (3, 4), (4,), interval=POSITIVE),
        of(lambda xp, x, w: xp.average(x, weights=w, returned=True), (3, 4), (3, 4), interval=POSITIVE),
        of(lambda xp, x, w: xp.average(x, (2, 0), w, keepdims=True), (2, 3, 4), (4, 2), interval=POSITIVE),
    ],
    "cov": [
        of(lambda xp, x: xp.cov(x)),
        of(lambda xp, x: xp.cov(x), (5,)),
        of(lambda xp, x, y: xp.cov(x, y, rowvar=False, bias=True), (5, 2), (5, 3)),
        of(lambda xp, x: xp.cov(x, fweights=xp.asarray([1, 2, 0, 3]), ddof=2)),
        of(lambda xp, x, w: xp.cov(x, aweights=w), (3, 4), (4,), interval=POSITIVE),
        of(lambda xp, x, y: xp.cov(x + 1j * y).real, (2, 4), (2, 4)),
    ],
    "corrcoef": [of(lambda xp, x: xp.corrcoef(x)), of(lambda xp, x, y: xp.corrcoef(x, y, rowvar=False), (5,), (5,))],
    "median": [
        of(lambda xp, x: xp.median(x)),
        of(lambda xp, x: xp.median(x, axis=0, keepdims=True) * x),
        of(lambda xp, x: xp.median(x, axis=(0, 2)), (2, 3, 4)),
        of(lambda xp, x: xp.median(holed(xp, x), axis=1), second=False),
    ],
    "quantile": [
        of(lambda xp, x: xp.quantile(x, 0.3, axis=1)),
        of(lambda xp, x, q: xp.quantile(x, q), (3, 4), (2,), interval=(0.1, 0.9)),
        of(lambda xp, x: xp.quantile(x, xp.asarray([0.0, 0.37, 1.0]), axis=(0, 1), keepdims=True), (3, 4, 2)),
        *(
            of(lambda xp, x, m=method: xp.quantile(x, xp.asarray([0.2, 0.5, 0.9]), axis=1, method=m))
            for method in ("lower", "higher", "midpoint", "nearest", "inverted_cdf")
        ),
        of(
            lambda xp, x: xp.quantile(
                x, xp.asarray([0.2, 0.6]), axis=1, method="inverted_cdf", weights=xp.asarray([1.0, 2.0, 0.5, 1.0])
            )
        ),
    ],
    "percentile": [of(lambda xp, x: xp.percentile(x, xp.asarray([10.0, 60.0]), axis=0))],
    "nanmedian": [of(lambda xp, x: xp.nanmedian(some(xp, x), axis=1)), of(lambda xp, x: xp.nanmedian(some(xp, x)))],
    "nanquantile": [
        of(lambda xp, x: xp.nanquantile(some(xp, x), 0.3, axis=1)),
        of(lambda xp, x: xp.nanquantile(some(xp, x), xp.asarray([0.3, 0.8]), axis=0, keepdims=True)),
        of(lambda xp, x: xp.nanquantile(holed(xp, x), xp.asarray([0.3, 0.8]), axis=1), second=False),
        of(lambda xp, x: xp.nanquantile(some(xp, x), 0.4, axis=1, method="inverted_cdf")),
    ],
    "nanpercentile": [of(lambda xp, x: xp.nanpercentile(some(xp, x), 35.0, axis=1))],
    # without NaN
    "nansum": [
        of(lambda xp, x: xp.nansum(holed(xp, x), axis=1) ** 2),
        of(lambda xp, x: xp.nansum(x, where=chosen(xp))),
    ],
    "nanprod": [of(lambda xp, x: xp.nanprod(holed(xp, x), axis=1)), of(lambda xp, x: xp.nanprod(x, initial=2.0))],
    "nanmean": [of(lambda xp, x: xp.nanmean(some(xp, x), axis=1) ** 2), of(lambda xp, x: xp.nanmean(some(xp, x)))],
    "nanvar": [
        of(lambda xp, x: xp.nanvar(some(xp, x), axis=1)),
        of(lambda xp, x: xp.nanvar(some(xp, x), ddof=1, keepdims=True)),
        of(lambda xp, x, y: xp.nanvar(some(xp, x) + 1j * y, axis=0), (3, 4), (3, 4)),
    ],
    "nanstd": [of(lambda xp, x: xp.nanstd(some(xp, x), axis=1))],
    "nanmax": [
        of(lambda xp, x: xp.nanmax(some(xp, x), axis=1) ** 2),
        of(lambda xp, x: xp.nanmax(holed(xp, x), axis=1), second=False),
        of(lambda xp, x: xp.nanmax(x, axis=0, initial=0.5, where=chosen(xp))),
    ],
    "nanmin": [of(lambda xp, x: xp.nanmin(some(xp, x), axis=1) ** 2), of(lambda xp, x: xp.nanmin(some(xp, x)))],
    "nancumsum": [of(lambda xp, x: xp.nancumsum(some(xp, x), axis=1)), of(lambda xp, x: xp.nancumsum(holed(xp, x)))],
    "nancumprod": [of(lambda xp, x: xp.nancumprod(some(xp, x), axis=1))],
    # sampled functions
    "convolve": [
        of(lambda xp, x, y, m=mode: xp.convolve(x, y, mode=m), shape, other)
        for mode in ("full", "same", "valid")
        for shape, other in (((7,), (3,)), ((4,), (5,)))
    ],
    "correlate": [
        of(lambda xp, x, y, m=mode: xp.correlate(x, y, mode=m), shape, other)
        for mode in ("full", "same", "valid")
        for shape, other in (((7,), (4,)), ((3,), (5,)))
    ],
    "interp": [
        of(lambda xp, x, f: xp.interp(x, xp.asarray([-1.5, -0.2, 0.9, 1.1]), f), (3, 4), (4,)),
        of(lambda xp, x, p, f: xp.interp(x, xp.sort(p), f, left=7.0, right="extrapolate"), (9,), (4,), (4,)),
        of(lambda xp, x, p, f: xp.interp(x, p, f, period=1.7), (9,), (4,), (4,)),
        of(lambda xp, x, f: xp.interp(x, xp.asarray([0.0, 0.0, 1.0]), f, left="extrapolate"), (9,), (3,)),
    ],
    "diff": [
        of(lambda xp, x: xp.diff(x) ** 2),
        of(lambda xp, x: xp.diff(x, n=2, axis=0, prepend=1.0, append=xp.ones((1, 4)))),
    ],
    "ediff1d": [of(lambda xp, x: xp.ediff1d(x, to_begin=xp.asarray([1.0, 2.0]), to_end=3.0) ** 2)],
    "gradient": [
        of(lambda xp, x: xp.gradient(x)),
        of(lambda xp, x: xp.gradient(x, 2.0, axis=1)),
        of(lambda xp, x, h: xp.gradient(x, xp.cumsum(h), axis=1), (3, 4), (4,), interval=POSITIVE),
        of(lambda xp, x, h: xp.gradient(x, 0.5, xp.cumsum(h)), (3, 4), (4,), interval=POSITIVE),
    ],
    "trapezoid": [
        of(lambda xp, x: xp.trapezoid(x) ** 2),
        of(lambda xp, x, y: xp.trapezoid(y, x, axis=0), (3,), (3, 4)),
        of(lambda xp, x, y: xp.trapezoid(y, x, axis=0), (3, 4), (3, 4)),
        of(lambda xp, x: xp.trapezoid(x, dx=xp.asarray([0.1, 0.2, 0.7]))),
    ],
    "unwrap": [
        of(lambda xp, x: xp.unwrap(x), (3, 6), interval=WIDE),
        of(lambda xp, x: xp.unwrap(x, axis=0, period=3.0, discont=2.0), (6, 2), interval=WIDE),
    ],
    # padding
    "pad": [
        of(lambda xp, x: xp.pad(x, 2)),
        of(lambda xp, x: xp.pad(x, ((1, 0), (0, 2)), constant_values=((1.0, 2.0), (3.0, 4.0)))),
        of(lambda xp, x, c: xp.pad(x, (1, 2), constant_values=c), (3, 4), ()),
        *(
            of(lambda xp, x, m=mode: xp.pad(x, ((2, 3), (5, 6)), mode=m))
            for mode in ("edge", "reflect", "symmetric", "wrap")
        ),
        *(of(lambda xp, x, m=mode: xp.pad(x, 3, mode=m, reflect_type="odd")) for mode in ("reflect", "symmetric")),
        *(of(lambda xp, x, m=mode: xp.pad(x, (2, 1), mode=m)) for mode in ("mean", "median", "maximum", "minimum")),
        *(of(lambda xp, x, m=mode: xp.pad(x, 2, mode=m, stat_length=((2, 3), (1, 2)))) for mode in ("mean", "maximum")),
        of(lambda xp, x: xp.pad(x, ((3, 2), (0, 4)), mode="linear_ramp", end_values=((1.0, 2.0), (0.0, -1.0)))),
        of(lambda xp, x: xp.pad(x, (2, 1), lambda v, w, axis, kw: xp.sin(v) * axis + xp.sum(v) * w[0])),
    ],
    # polynomials
    "polyval": [
        of(lambda xp, p, x: xp.polyval(p, x), (4,), (3, 2)),
        of(lambda xp, p, x: xp.polyval(p, x), (3, 2), (2,)),
    ],
    "polyadd": [of(lambda xp, p, q: xp.polyadd(p, q) ** 2, (2,), (4,))],
    "polysub": [of(lambda xp, p, q: xp.polysub(p, q) ** 2, (4,), (2,))],
    "polymul": [of(lambda xp, p, q: xp.polymul(p, q), (4,), (2,))],
    "polydiv": [of(lambda xp, p, q: xp.polydiv(p, q), (5,), (3,), interval=POSITIVE)],
    "polyder": [of(lambda xp, p: xp.polyder(p, 2) ** 2, (5,))],
    "polyint": [of(lambda xp, p, k: xp.polyint(p, 2, k), (3,), (2,)), of(lambda xp, p: xp.polyint(p, 3), (3,))],
    "poly": [of(lambda xp, z: xp.poly(z), (4,)), of(lambda xp, z: xp.poly(z).real, (3, 3), second=False, vmap=False)],
    "roots": [
        at(lambda xp, p: xp.abs(xp.roots(p)), [1.0, -2.0, 3.0, 0.5], vmap=False, second=False),
        at(lambda xp, p: xp.abs(xp.roots(p)), [1.0, -2.0, -3.0, 0.5], vmap=False, second=False),
    ],
    "polyfit": [
        of(lambda xp, x, y: xp.polyfit(x, y, 2), (7,), (7,)),
        of(lambda xp, x, y, w: xp.polyfit(x, y, 1, w=w), (7,), (7, 2), (7,), interval=POSITIVE),
    ],
    "vander": [of(lambda xp, x: xp.vander(x, 3), (4,)), of(lambda xp, x: xp.vander(x, increasing=True), (4,))],
    # histograms
    "histogram": [of(lambda xp, w: xp.histogram(xp.linspace(-1, 1, 5), bins=3, weights=w, density=True), (5,))],
    "bincount": [of(lambda xp, w: xp.bincount(xp.asarray([0, 2, 2, 9]), w, length=4) ** 2, (4,))],
    # ranges
    "linspace": [
        of(lambda xp, a, b: xp.linspace(a, b, 5, axis=-1), (3,), (2, 1)),
        of(lambda xp, a, b: xp.linspace(a, b, 4, endpoint=False, retstep=True, axis=1), (3,), ()),
    ],
    "logspace": [of(lambda xp, a, b: xp.logspace(a, b, 5, base=2.0), (), (2,))],
    "geomspace": [
        of(lambda xp, a, b: xp.geomspace(a, b, 5, axis=1), (3,), (), interval=POSITIVE),
        of(lambda xp, a: xp.geomspace(-a, -2.0, 4, endpoint=False), (), interval=POSITIVE),
    ],
    "meshgrid": [
        of(lambda xp, x, y, z: xp.meshgrid(x, y, z), (2,), (3,), (4,)),
        of(lambda xp, x, y: xp.meshgrid(x, y, sparse=True, indexing="ij"), (2,), (3,)),
    ],
    "r_": [of(lambda xp, x: xp.r_[x, 0, 1:3, x] ** 2, (3,))],
    "c_": [of(lambda xp, x, y: xp.c_[x, y, x] ** 2, (3,), (3,))],
    # joining
    "concatenate": [of(lambda xp, x: xp.concatenate(x, axis=0, dtype="float64"))],
    "stack": [of(lambda xp, x, y: xp.stack([x, y], axis=-1) ** 2, (3,), (3,))],
    "hstack": [of(lambda xp, x, y: xp.hstack([x, y]), (3, 1), (3, 2)), of(lambda xp, x: xp.hstack((x, x)), (3,))],
    "vstack": [of(lambda xp, x, y: xp.vstack([x, y]), (3,), (2, 3))],
    "dstack": [of(lambda xp, x, y: xp.dstack([x, y]), (3,), (1, 3, 2))],
    "column_stack": [of(lambda xp, x, y: xp.column_stack([x, y]), (3,), (3, 2))],
    "append": [of(lambda xp, x, y: xp.append(x, y), (3,), (2, 2)), of(lambda xp, x: xp.append(x, x, axis=1))],
    "block": [of(lambda xp, x, y: xp.block([[x, x], [y]]) ** 2, (2, 3), (1, 6))],
    "split": [of(lambda xp, x: xp.split(x, 2, axis=1)), of(lambda xp, x: xp.split(x, [1, 3], axis=1))],
    "array_split": [of(lambda xp, x: xp.array_split(x, 3, axis=1))],
    "hsplit": [of(lambda xp, x: xp.hsplit(x, 2))],
    "vsplit": [of(lambda xp, x: xp.vsplit(x, 3))],
    "dsplit": [of(lambda xp, x: xp.dsplit(x, 2), (2, 3, 4))],
    "delete": [of(lambda xp, x: xp.delete(x, np.asarray([0, -1]), axis=1) ** 2), of(lambda xp, x: xp.delete(x, 3))],
    "insert": [
        of(lambda xp, x, y: xp.insert(x, 1, y, axis=1) ** 2, (3, 4), (3,)),
        of(lambda xp, x, y: xp.insert(x, np.asarray([0, 2, 2]), y, axis=1) ** 2, (2, 4), (2, 3)),
        of(lambda xp, x, y: xp.insert(x, 5, y) ** 2, (2, 4), ()),
    ],
    # shapes
    "ravel": [of(lambda xp, x: xp.ravel(x, order="F") * xp.ravel(x))],
    "atleast_1d": [of(lambda xp, x, y: xp.atleast_1d(x, y), (), (2, 3))],
    "atleast_2d": [of(lambda xp, x, y: xp.atleast_2d(x, y), (3,), ())],
    "atleast_3d": [of(lambda xp, x, y, z: xp.atleast_3d(x, y, z), (3,), (2, 3), ())],
    "swapaxes": [of(lambda xp, x: xp.swapaxes(x, 0, -1) ** 2, (2, 3, 4))],
    "rollaxis": [
        of(lambda xp, x: xp.rollaxis(x, 2, 1) ** 2, (2, 3, 4)),
        of(lambda xp, x: xp.rollaxis(x, 0, 3), (2, 3, 4)),
    ],
    "fliplr": [of(lambda xp, x: xp.fliplr(x) * x), of(lambda xp, x: xp.flipud(x) * x)],
    "rot90": [of(lambda xp, x, k=k: xp.rot90(x, k) ** 2) for k in (1, 2, 3, 4)],
    "resize": [of(lambda xp, x: xp.resize(x, (2, 3, 4)) ** 2, (5,))],
    "trim_zeros": [at(lambda xp, x: xp.trim_zeros(x) ** 2, [0.0, 1.0, 0.0, 2.0, 0.0], vmap=False)],
    "diag": [of(lambda xp, x: xp.diag(x, -1) ** 2, (3,)), of(lambda xp, x: xp.diag(x, 1) ** 2)],
    "diagflat": [of(lambda xp, x: xp.diagflat(x, 2) ** 2, (2, 2))],
    "tril": [of(lambda xp, x: xp.tril(x, 1) + xp.triu(x, -1) ** 2, (2, 3, 4))],
    # choosing
    "select": [of(lambda xp, x, y: xp.select([x > 1, x < 0], [x * y, xp.sinc(x)], y), (3, 4), (4,))],
    "piecewise": [
        of(lambda xp, x: xp.piecewise(x, [x < -1, x > -1.5, x > 1], [lambda v: v * v, xp.sin, 3.0, lambda v: v])),
        of(lambda xp, x: xp.piecewise(x, [x < 0], [lambda v, a: a * v**3], 2.0)),
    ],
    "choose": [of(lambda xp, x, y: xp.choose(xp.asarray([0, 1, 3, 2]), [x, y, x * y], mode="clip"), (3, 4), (4,))],
    "compress": [
        of(lambda xp, x: xp.compress(xp.asarray([True, False, True]), x, axis=1) ** 2),
        of(lambda xp, x: xp.compress(x[0] > 0, x, axis=1, size=3, fill_value=2.0)),
    ],
    "extract": [of(lambda xp, x: xp.extract(x > 0, x, size=5))],
    "apply_along_axis": [
        of(lambda xp, x: xp.apply_along_axis(lambda v: v * xp.sum(v), 1, x), (2, 3, 4)),
        of(lambda xp, x: xp.apply_along_axis(xp.sum, 0, x) ** 2, (2, 3)),
    ],
    "apply_over_axes": [of(lambda xp, x: xp.apply_over_axes(xp.sum, x, [0, 2]) ** 2, (2, 3, 4))],
    "vectorize": [
        of(lambda xp, x, y: xp.vectorize(lambda a, b: a * xp.sin(b))(x, y), (3, 1), (2,)),
        of(lambda xp, x, y: xp.vectorize(lambda a, b: a @ b, signature="(n,m),(m)->(n)")(x, y), (2, 1, 3, 4), (5, 4)),
        of(lambda xp, x: xp.vectorize(lambda a, n: a**n, excluded={1})(x, 3), (3, 4)),
        of(lambda xp, x: xp.vectorize(lambda a: (a, xp.sum(a)), signature="(k)->(k),()")(x)),
    ],
    "unique": [of(lambda xp, x: xp.unique(x, size=12) ** 2)],
    "kaiser": [of(lambda xp, b: xp.kaiser(7, b), (), interval=POSITIVE)],
    "i0": [of(lambda xp, x: xp.i0(x), interval=WIDE), at(lambda xp, x: xp.i0(x), [0.0, 1e-3, -20.0])],
}
FLAT = [pytest.param(case, id=f"{name}-{i}") for name, cases in DIFFERENTIABLE.items() for i, case in enumerate(cases)]


def arguments(case: Case, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(zlib.crc32(repr((case.shapes, case.interval, seed)).encode()))
    given = [shape and isinstance(shape[0], float) for shape in case.shapes]
    return [
        np.asarray(shape) if points else rng.uniform(*case.interval, size=shape)
        for shape, points in zip(case.shapes, given, strict=True)
    ]


def leaves(result: Any) -> list[Any]:
    return [leaf for item in result for leaf in leaves(item)] if isinstance(result, list | tuple) else [result]


def weights(shape: tuple[int, ...]) -> np.ndarray:
    return np.cos(np.arange(1.0, 1.0 + np.prod(shape, dtype=int))).reshape(shape)


def loss(case: Case, namespace: Any) -> Callable[..., Any]:
    """Return a scalar function of the arguments. NaN counts nothing: there is none on either side, or on both."""

    def function(*args: Any) -> Any:
        results = leaves(case.function(namespace, *args))
        return sum(
            (namespace.where(namespace.isnan(r), 0.0, r) * namespace.asarray(weights(r.shape))).sum() for r in results
        )

    return function


def squared(grad: Any, f: Any, argnums: tuple[int, ...]) -> Callable[..., Any]:
    return lambda *args: sum((g * g * 0.5).sum() for g in grad(f, argnums)(*args))


def inputs(case: Case) -> list[list[Any]]:
    """Return what `results_of` takes: arguments, tangents, and batches of two."""
    args = arguments(case)
    tangents = [weights(np.shape(arg)) + 0.5 for arg in args]
    return [args, tangents, [np.stack(pair) for pair in zip(args, arguments(case, 1), strict=True)]]


def results_of(
    case: Case, namespace: Any, transforms: Any, args: list[Any], tangents: list[Any], pairs: list[Any]
) -> dict[str, list[Any]]:
    """Return value, both modes, second order and vmap of a case."""
    argnums = tuple(range(len(args)))
    f = loss(case, namespace)
    found = {"value": leaves(case.function(namespace, *args))}
    out, tangent = transforms.jvp(lambda *a: case.function(namespace, *a), tuple(args), tuple(tangents))
    found["jvp"] = [*leaves(out), *leaves(tangent)]
    found["grad"] = list(transforms.grad(f, argnums)(*args))
    if case.second:
        found["second"] = list(transforms.grad(squared(transforms.grad, f, argnums), argnums)(*args))
    if case.vmap:
        found["vmap"] = leaves(transforms.vmap(lambda *a: case.function(namespace, *a))(*pairs))
        found["vmap of grad"] = list(transforms.vmap(transforms.grad(f, argnums))(*pairs))
    return found


@functools.cache
def expected(case: Case) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = compiled(functools.partial(results_of, case, J, jax), *inputs(case))
    return found


@pytest.mark.parametrize("case", FLAT)
def test_values_and_derivatives_agree_with_jax(case: Case, xp: Any) -> None:
    args, tangents, pairs = ([xp.asarray(np.asarray(x)) for x in group] for group in inputs(case))
    found = results_of(case, xp, gradkit, args, tangents, pairs)
    for name, values in expected(case).items():
        tolerance = 1e-12 if name == "value" else 1e-9
        for got, value in zip(found[name], values, strict=True):
            close(got, value, tolerance, name)


def close(got: Any, value: np.ndarray, tolerance: float, name: str = "") -> None:
    array = np.asarray(gradkit.device_get(got))
    assert array.shape == value.shape, name
    assert array.dtype == value.dtype, (name, array.dtype, value.dtype)
    if array.dtype.kind != "V" and value.dtype.kind != "V":
        np.testing.assert_allclose(array, value, rtol=tolerance, atol=tolerance, err_msg=name)


# Values alone


NUMBERS = np.asarray([[3.5, -1.0, 0.0, 2.0], [NAN, 1e9, -0.5, math.inf], [2.0, -math.inf, -0.0, 3.5]])
WHOLE = np.asarray([[3, 1, 2, 3], [0, -7, 12, 5], [3, 1, 255, 100]])
TEXT_ENDS = np.asarray([4, 1, 3, 3, 9, 1])

VALUES: dict[str, Callable[[Any], Any]] = {
    "isclose": lambda xp: [
        xp.isclose(xp.asarray(NUMBERS), xp.asarray(NUMBERS) * (1 + 1e-6)),
        xp.isclose(xp.asarray(NUMBERS), xp.asarray(NUMBERS[::-1].copy()), equal_nan=True, atol=3.0),
        xp.isclose(xp.asarray(WHOLE), 3),
    ],
    "allclose": lambda xp: [
        xp.allclose(xp.asarray(NUMBERS), xp.asarray(NUMBERS), equal_nan=nan) for nan in (True, False)
    ],
    "array_equal": lambda xp: [
        xp.array_equal([1, 2], [1, 2]),
        xp.array_equal(xp.asarray(NUMBERS), xp.asarray(NUMBERS), equal_nan=True),
        xp.array_equal(xp.asarray(NUMBERS), xp.asarray(NUMBERS)),
        xp.array_equal(xp.asarray(WHOLE), xp.asarray([1])),
        xp.array_equiv(xp.ones((2, 3)), xp.ones(3)),
        xp.array_equiv(xp.ones((2, 3)), xp.ones(2)),
    ],
    "nan_to_num": lambda xp: [xp.nan_to_num(xp.asarray(NUMBERS)), xp.nan_to_num(xp.asarray(WHOLE))],
    "isposinf": lambda xp: [f(xp.asarray(NUMBERS)) for f in (xp.isposinf, xp.isneginf, xp.isreal, xp.iscomplex)],
    "iscomplex": lambda xp: [f(xp.asarray([1j, 2 + 0j])) for f in (xp.isreal, xp.iscomplex)],
    "kinds": lambda xp: [
        xp.isrealobj(xp.ones(2)),
        xp.iscomplexobj(1j),
        xp.isscalar(3.0),
        xp.isscalar(xp.ones(())),
        xp.iterable([1]),
        xp.isscalar(xp.ones(1)),
        xp.iterable(3),
        xp.ndim(xp.ones((2, 3))),
        xp.shape(xp.ones((1, 2))),
        xp.size(xp.ones((2, 3)), 1),
    ],
    "gcd": lambda xp: [
        xp.gcd(xp.asarray(WHOLE), xp.asarray([6, 14, 0, -15])),
        xp.lcm(xp.asarray(WHOLE), xp.asarray([6, 14, 0, -15])),
    ],
    "fmod": lambda xp: [xp.fmod(xp.asarray(WHOLE), xp.asarray([2, -3, 5, 0])), xp.mod(xp.asarray(WHOLE), 4)],
    "divmod": lambda xp: xp.divmod(xp.asarray(WHOLE), xp.asarray([2, -3, 5, 7])),
    "rint": lambda xp: [
        xp.rint(xp.asarray(WHOLE)),
        xp.rint(xp.asarray([0.5, 1.5, -2.5])),
        xp.round(xp.asarray([1.25 + 3.75j]), 1),
        xp.round(xp.asarray(WHOLE)),
    ],
    "frexp": lambda xp: xp.frexp(xp.asarray([0.0, 1.0, -0.75, 1e308, 1024.0, 0.1, 4.9e-300])),
    "ldexp": lambda xp: [
        xp.ldexp(xp.asarray([1.5, 1e-300, 3.0]), xp.asarray([-3, 1900, 2])),
        xp.ldexp(xp.asarray([1, 2]), 3),
    ],
    "modf": lambda xp: xp.modf(xp.asarray([-3.25, 2.5, 0.0])),
    "heaviside": lambda xp: xp.heaviside(xp.asarray(NUMBERS), 0.5),
    "fmax": lambda xp: [f(xp.asarray(NUMBERS), xp.asarray(NUMBERS[::-1].copy())) for f in (xp.fmax, xp.fmin)],
    "spacing": lambda xp: xp.spacing(xp.asarray([1.0, -3.0, 1e300])),
    "shift": lambda xp: [xp.left_shift(xp.asarray([1, 5]), 3), xp.right_shift(xp.asarray([-16, 5]), 2)],
    "bitwise_count": lambda xp: [
        xp.bitwise_count(xp.asarray(WHOLE)),
        xp.bitwise_count(xp.asarray([7, 255], dtype="uint8")),
    ],
    "packbits": lambda xp: [
        xp.packbits(xp.asarray(WHOLE % 2)),
        xp.packbits(xp.asarray(WHOLE % 2), axis=1, bitorder="little"),
    ],
    "unpackbits": lambda xp: [
        xp.unpackbits(xp.asarray([[5, 255]], dtype="uint8")),
        xp.unpackbits(xp.asarray([[5, 254]], dtype="uint8"), axis=1, count=11, bitorder="little"),
        xp.unpackbits(xp.asarray([5], dtype="uint8"), count=-3),
    ],
    "median": lambda xp: [xp.median(xp.asarray(WHOLE)), xp.quantile(xp.asarray(WHOLE), 0.3, axis=0)],
    "nanmax": lambda xp: [
        xp.nanmax(xp.asarray(NUMBERS), axis=1),
        xp.nanmin(xp.asarray(NUMBERS)),
        xp.nanmax(xp.asarray(WHOLE), axis=0),
        xp.nanmin(xp.asarray(WHOLE), where=xp.asarray(WHOLE) > 2, initial=50, axis=1),
    ],
    "nanarg": lambda xp: [
        xp.nanargmax(xp.asarray(NUMBERS), axis=1),
        xp.nanargmin(xp.asarray(NUMBERS)),
        xp.nanargmin(xp.asarray(NUMBERS), axis=0, keepdims=True),
        xp.nanargmax(xp.asarray([NAN, NAN])),
    ],
    "nansum": lambda xp: [
        xp.nansum(xp.asarray(WHOLE), axis=0),
        xp.nansum(xp.asarray([NAN])),
        xp.nanprod(xp.asarray(WHOLE)),
    ],
    "nanmean": lambda xp: [
        xp.nanmean(xp.asarray(WHOLE), axis=0),
        xp.nanvar(xp.asarray(WHOLE)),
        xp.nanmean(xp.asarray([NAN])),
    ],
    "bincount": lambda xp: [
        xp.bincount(xp.asarray(TEXT_ENDS)),
        xp.bincount(xp.asarray(TEXT_ENDS), minlength=12),
        xp.bincount(xp.asarray([-3, 2]), length=2),
        xp.bincount(xp.asarray(TEXT_ENDS), xp.asarray(TEXT_ENDS) * 0.5),
    ],
    "digitize": lambda xp: (
        [xp.digitize(xp.asarray(NUMBERS[0]), xp.asarray([-1.0, 0.0, 2.0]), right=right) for right in (True, False)]
        + [xp.digitize(xp.asarray(NUMBERS[0]), xp.asarray([2.0, 0.0, -1.0]))]
    ),
    "histogram": lambda xp: [
        xp.histogram(xp.asarray(WHOLE)),
        xp.histogram(xp.asarray(WHOLE), bins=4, range=(0, 20)),
        xp.histogram(xp.asarray(WHOLE), bins=xp.asarray([0, 1, 3, 12]), density=True),
        xp.histogram(xp.ones(3), 2),
        xp.histogram_bin_edges(xp.asarray(WHOLE), 3),
    ],
    "histogram2d": lambda xp: [
        xp.histogram2d(xp.asarray([0.1, 0.4, 0.9, 2.0]), xp.asarray([1.0, 0.0, 1.0, 0.5]), bins=3),
        xp.histogram2d(
            xp.asarray([0.1, 0.4, 0.9]),
            xp.asarray([1.0, 0.0, 1.0]),
            bins=[2, xp.asarray([0.0, 0.5, 1.5])],
            density=True,
        ),
    ],
    "histogramdd": lambda xp: xp.histogramdd(
        xp.asarray(WHOLE % 5 * 1.0),
        bins=(2, 3, 2, 1),
        range=[None, (0, 3), None, (1, 4)],
        weights=xp.asarray([1.0, 2.0, 0.5]),
    ),
    "diff": lambda xp: [xp.diff(xp.asarray(WHOLE) > 2), xp.diff(xp.asarray(WHOLE), axis=0)],
    "convolve": lambda xp: [xp.convolve(xp.asarray([1, 2, 3]), xp.asarray([0, 1]))],
    "correlate": lambda xp: [xp.correlate(xp.asarray([1j, 2, 3 + 1j]), xp.asarray([1 + 2j, 1j]), "full")],
    "pad": lambda xp: [
        xp.pad(xp.asarray(WHOLE), 2, mode=mode)
        for mode in ("constant", "edge", "reflect", "symmetric", "wrap", "mean", "maximum", "minimum", "median")
    ],
    "polynomials": lambda xp: [
        xp.polyval(xp.asarray([1, 2, 3]), xp.asarray([2, 5])),
        xp.polyadd(xp.asarray([1, 2]), xp.asarray([1, 2, 3])),
        xp.polymul(xp.asarray([0, 1]), xp.asarray([0, 2, 3]), trim_leading_zeros=True),
        xp.polyder(xp.asarray([1, 2, 3])),
        xp.polydiv(xp.asarray([1.0, 0.0, -1.0]), xp.asarray([1.0, 1.0]), trim_leading_zeros=True),
        xp.poly(xp.asarray([])),
        xp.polyder(xp.asarray([1.0]), 1),
    ],
    "roots": lambda xp: [
        xp.roots(xp.asarray([0.0, 0.0, 1.0, -3.0, 2.0])),
        xp.roots(xp.asarray([3.0])),
        xp.roots(xp.asarray([1.0, 0, 0, 1])),
    ],
    "polyfit": lambda xp: [
        xp.polyfit(xp.arange(6.0), xp.arange(6.0) ** 2 % 7, 2, full=True)[:4],
        xp.polyfit(xp.arange(6.0), xp.arange(6.0) ** 2 % 7, 2, cov=True),
        xp.polyfit(xp.arange(6.0), xp.arange(6.0) ** 2 % 7, 1, cov="unscaled"),
    ],
    "linspace": lambda xp: [
        xp.linspace(0, 1),
        xp.linspace(0, 10, 4, dtype="int32"),
        xp.linspace(1, 5, 1),
        xp.linspace(1, 5, 0),
        xp.linspace(1, 5, 4, endpoint=False),
        xp.linspace(1j, 5, 4, retstep=True),
        xp.linspace(0, -5, 3, dtype="int32"),
    ],
    "logspace": lambda xp: [xp.logspace(0, 2, 3), xp.logspace(0, 3, 4, base=2, dtype="int32")],
    "geomspace": lambda xp: [xp.geomspace(1, 1000, 4), xp.geomspace(1 + 1j, 100, 3), xp.geomspace(-1, -8, 4)],
    "meshgrid": lambda xp: [
        xp.meshgrid(xp.arange(3), xp.arange(2.0), indexing=i, sparse=s) for i in ("xy", "ij") for s in (True, False)
    ],
    "grids": lambda xp: [
        xp.mgrid[0:3, 1:2:4j],
        xp.mgrid[0:4],
        xp.ogrid[0:3, 0:2],
        xp.r_[1:4, 0, [4.0, 5]],
        xp.r_[1:2:3j],
        xp.r_["0,2", [1, 2], [3, 4]],
        xp.r_["1,2,0", [1, 2], [3, 4]],
        xp.c_[[1, 2], [3, 4]],
        xp.c_[[[1, 2]], 0, 0],
        xp.r_["-1", [[1, 2]], [[3]]],
    ],
    "tri": lambda xp: [xp.tri(3, 4, 1), xp.tri(2, dtype="int32"), xp.identity(3), xp.tril(xp.asarray(WHOLE), -1)],
    "diag": lambda xp: [
        xp.diag(xp.asarray([1, 2]), 1),
        xp.diag(xp.asarray(WHOLE), 2),
        xp.diagflat(xp.asarray([[1], [2]]), -1),
    ],
    "split": lambda xp: [
        xp.split(xp.arange(6), [2, 5]),
        xp.array_split(xp.arange(7), 3),
        xp.hsplit(xp.arange(6), [1, 3]),
        xp.array_split(xp.arange(2), 3),
    ],
    "joining": lambda xp: [
        xp.hstack([1, 2]),
        xp.vstack([xp.arange(2), xp.ones(2)]),
        xp.column_stack([xp.arange(2), xp.ones((2, 2))]),
        xp.dstack([xp.arange(2), xp.arange(2)]),
        xp.block([1, 2.0]),
        xp.concatenate([xp.arange(2), xp.ones(1)], dtype="int32"),
        xp.stack([xp.arange(2), xp.arange(2)], 1),
        xp.append(xp.arange(2), 3.5),
    ],
    "delete": lambda xp: [
        xp.delete(xp.asarray(WHOLE), 1),
        xp.delete(xp.asarray(WHOLE), slice(0, 2), axis=1),
        xp.delete(xp.asarray(WHOLE), np.asarray([True, False, True]), axis=0),
    ],
    "insert": lambda xp: [
        xp.insert(xp.asarray(WHOLE), 2, 9),
        xp.insert(xp.asarray(WHOLE), -1, 9, axis=1),
        xp.insert(xp.arange(5), slice(1, 4, 2), xp.asarray([7, 8])),
        xp.insert(xp.arange(3), np.asarray([1, 1]), xp.asarray([7, 8])),
        xp.insert(xp.asarray(WHOLE), np.asarray([1]), xp.asarray([[7], [8], [9]]), axis=1),
        xp.insert(xp.asarray(WHOLE), 1, xp.asarray([7, 8, 9]), axis=1),
    ],
    "shaping": lambda xp: [
        xp.ravel(xp.asarray(WHOLE), "F"),
        xp.flipud(xp.arange(3)),
        xp.resize(xp.arange(3), 7),
        xp.resize(xp.arange(3), (2, 0)),
        xp.trim_zeros(xp.asarray([0, 0, 1, 0, 2, 0])),
        xp.trim_zeros(xp.asarray([0, 0, 1, 0]), "b"),
        xp.trim_zeros(xp.zeros(3)),
        xp.trim_zeros(xp.asarray([[0, 0, 0], [0, 1, 0]])),
        xp.atleast_1d(3),
        xp.rot90(xp.ones((2, 3, 4)), axes=(2, 0)),
    ],
    "where": lambda xp: [
        xp.where(xp.asarray(WHOLE) > 2),
        xp.where(xp.asarray(WHOLE) > 2, size=3),
        xp.where(xp.asarray(WHOLE) > 2, 1.5, 2),
    ],
    "select": lambda xp: [xp.select([xp.asarray(WHOLE) > 2, xp.asarray(WHOLE) < 0], [xp.asarray(WHOLE), 7], -1)],
    "piecewise": lambda xp: [xp.piecewise(xp.arange(4.0), [xp.arange(4) < 2], [-1, 1])],
    "choose": lambda xp: [
        xp.choose(xp.asarray([2, 0, 1]), [xp.arange(3), xp.arange(3) * 10, 5]),
        xp.choose(xp.asarray([5, -1, 1]), [xp.arange(3), xp.arange(3) * 10], mode="wrap"),
    ],
    "compress": lambda xp: [
        xp.compress(xp.asarray([True, False, True]), xp.asarray(WHOLE), axis=0),
        xp.compress(xp.asarray([0, 1]), xp.asarray(WHOLE)),
        xp.extract(xp.asarray(WHOLE) > 3, xp.asarray(WHOLE)),
    ],
    "unique": lambda xp: [
        xp.unique(xp.asarray(WHOLE), return_index=True, return_inverse=True, return_counts=True),
        xp.unique(xp.asarray(NUMBERS)),
        xp.unique(xp.asarray([NAN, 1.0, NAN]), equal_nan=False),
        xp.unique(xp.asarray([[1, 2], [0, 5], [1, 2]]), axis=0, return_inverse=True, return_counts=True),
        xp.unique(xp.asarray([[1, 2, 1], [0, 5, 0]]), axis=1, return_index=True),
        xp.unique(xp.asarray(WHOLE), size=5, return_counts=True, return_index=True, return_inverse=True),
        xp.unique(xp.asarray(WHOLE), size=10, fill_value=-1, return_counts=True, return_index=True),
        xp.unique(xp.asarray([2j, 1 + 1j, 1, 1 + 1j, 2j])),
        xp.unique(xp.asarray([True, False, True])),
        xp.unique(xp.zeros(0)),
        xp.unique_values(xp.asarray(TEXT_ENDS)),
        xp.unique_counts(xp.asarray(TEXT_ENDS)),
        xp.unique_all(xp.asarray(TEXT_ENDS)),
        xp.unique_inverse(xp.asarray(TEXT_ENDS)),
    ],
    "sets": lambda xp: [
        f(xp.asarray(TEXT_ENDS), xp.asarray([1, 7, 4, 7]), **options)
        for f in (xp.union1d, xp.setdiff1d, xp.intersect1d, xp.setxor1d)
        for options in ({}, {"size": 3}, {"size": 5, "fill_value": -1})
    ],
    "intersect1d": lambda xp: [
        xp.intersect1d(xp.asarray(TEXT_ENDS), xp.asarray([7, 1, 4, 7, 1]), return_indices=True),
        xp.intersect1d(xp.asarray(TEXT_ENDS), xp.asarray([7, 1, 4, 7, 1]), return_indices=True, size=3, fill_value=0),
        xp.intersect1d(xp.asarray([5, 1, 4]), xp.asarray([4, 5, 6]), assume_unique=True),
    ],
    "isin": lambda xp: [
        xp.isin(xp.asarray(WHOLE), xp.asarray([3, 5])),
        xp.isin(xp.asarray(WHOLE), xp.arange(4, 50), invert=True),
        xp.isin(xp.asarray(NUMBERS), xp.asarray(NUMBERS)),
        xp.isin(xp.asarray(WHOLE), xp.zeros(0)),
    ],
    "windows": lambda xp: (
        [f(size) for f in (xp.bartlett, xp.blackman, xp.hamming, xp.hanning) for size in (0, 1, 2, 7)]
        + [xp.kaiser(size, 3.0) for size in (1, 6)]
    ),
    "dtypes": lambda xp: [
        str(xp.promote_types("int8", "uint8")),
        str(xp.promote_types("int64", "float32")),
        xp.issubdtype(xp.float32, xp.floating),
        xp.issubdtype("int8", xp.inexact),
        float(xp.euler_gamma),
    ],
    "host": lambda xp: [
        xp.frombuffer(b"\x01\x02\x03", "uint8"),
        xp.fromstring("1 2 3", sep=" "),
        xp.fromfunction(lambda i, j: i * 10 + j, (2, 3)),
        xp.copy(xp.arange(3)),
    ],
    "vectorize": lambda xp: [
        xp.vectorize(xp.convolve, signature="(n),(m)->(k)")(xp.ones((2, 3)), xp.ones(2)),
    ],
}
"""Some of JAX's results follow another order of LAPACK's or of summation, so that they are compared to 1e-10."""


@by_jax
def expected_values(name: str) -> list[Any]:
    with jax.enable_x64(True):
        return [np.asarray(value) for value in leaves(VALUES[name](J))]


@pytest.mark.parametrize("name", VALUES)
def test_values_agree_with_jax(name: str, xp: Any) -> None:
    for got, value in zip(leaves(VALUES[name](xp)), expected_values(name), strict=True):
        if value.dtype.kind == "U":
            assert str(got) == str(value)
        else:
            close(got if hasattr(got, "shape") else np.asarray(got), value, 1e-10, name)


# Signatures

LEFT_OUT = {"out_sharding", "precision", "preferred_element_type", "wrap_negative_indices"}
"""What is about XLA and sharding. (Some functions take `precision` all the same.)"""
DIFFERENT = {
    "argsort": "no dtype= for the positions",
    "array": "copy, order and ndmin can be given by position as well, as in NumPy",
    "fromfile": "JAX refuses to read files",
    "fromiter": "JAX refuses iterators",
    "set_printoptions": "NumPy's own; JAX names no parameters",
}


def names_of(function: Any) -> list[tuple[str, bool]]:
    """Return the parameters' names ("" where it cannot be used), and which can be given by name only."""
    parameters = inspect.signature(function).parameters.values()
    return [
        ("" if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) else p.name, p.kind is p.KEYWORD_ONLY)
        for p in parameters
        if p.name not in LEFT_OUT and not p.name.startswith("_")
    ]


def has_signature(name: str) -> bool:
    ours, theirs = getattr(jnp, name), getattr(J, name, None)
    return inspect.isfunction(ours) and callable(theirs) and not isinstance(theirs, J.ufunc) and name not in DIFFERENT


@pytest.mark.parametrize("name", sorted({name for name in jnp.__all__ if has_signature(name)}))
def test_signatures_are_those_of_jax(name: str) -> None:
    """Arrays may be positional-only where JAX names them, as in the standard; whatever JAX names has no other name."""
    ours, theirs = names_of(getattr(jnp, name)), names_of(getattr(J, name))
    assert len(ours) == len(theirs)
    for (our, named_only), (their, theirs_too) in zip(ours, theirs, strict=True):
        assert (
            our in ("", their) or not their
        )  # the elementwise functions are lax's and scipy.special's, which have names
        assert named_only == theirs_too
