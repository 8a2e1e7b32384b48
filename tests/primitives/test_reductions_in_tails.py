"""Reductions, running sums and softmax of huge, tiny and saturated rows, with two derivatives, against mpmath.

The functions are those of `gradkit.numpy`, its `linalg`, `gradkit.nn`, `gradkit.lax` and `gradkit.scipy.special` that
take a row with ``axis=`` and give a number, or a row each element of which depends on several: a new one fails here
until it has a formula. Where a value is beyond the dtype it is infinite, and derivatives are right or not finite.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from references import by_jax

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.scipy import special

mp = mpmath.mp.clone()
mp.dps = 1000
STEP = mp.mpf(10) ** -300
BEND = mp.mpf(10) ** -60
WEIGHTS = (1.0, -2.0, 3.0)
Row = list[Any]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def mean(x: Row) -> Any:
    return mp.fsum(x) / len(x)


def var(x: Row) -> Any:
    return mean([(v - mean(x)) ** 2 for v in x])


def softmax(x: Row) -> Row:
    parts = [mp.exp(v - max(x)) for v in x]
    return [p / mp.fsum(parts) for p in parts]


def logsumexp(x: Row) -> Any:
    return max(x) + mp.log(mp.fsum(mp.exp(v - max(x)) for v in x))


def running(f: Callable[[Row], Any]) -> Callable[[Row], Row]:
    return lambda x: [f(x[: i + 1]) for i in range(len(x))]


EXACT: dict[str, Callable[[Row], Any]] = {
    "sum": mp.fsum,
    "prod": mp.fprod,
    "mean": mean,
    "max": max,
    "min": min,
    "median": lambda x: sorted(x)[1],
    "ptp": lambda x: max(x) - min(x),
    "var": var,
    "std": lambda x: mp.sqrt(var(x)),
    "norm": lambda x: mp.sqrt(mp.fsum(v * v for v in x)),
    "trapezoid": lambda x: mp.fsum((a + b) / 2 for a, b in itertools.pairwise(x)),
    "logsumexp": logsumexp,
    "logmeanexp": lambda x: logsumexp(x) - mp.log(len(x)),
    "softmax": softmax,
    "log_softmax": lambda x: [v - logsumexp(x) for v in x],
    "cumsum": running(mp.fsum),
    "cumprod": running(mp.fprod),
    "cumlogsumexp": running(logsumexp),
    "cummax": running(max),
    "cummin": running(min),
    "sort": sorted,
}
OTHER = [1.0, -2.0, 4.0]
"""What is beside the row: labels, values, another variable."""


def correlation(x: Row) -> Any:
    def inner(u: Row, v: list[float]) -> Any:
        return mp.fsum(a * b for a, b in zip(u, v, strict=True))

    d, e = ([value - mean(row) for value in row] for row in (x, [mp.mpf(v) for v in OTHER]))
    return inner(d, e) / mp.sqrt(inner(d, d)) / mp.sqrt(inner(e, e))


def attention(x: Row) -> Any:
    return mp.fsum(w * v for w, v in zip(softmax(x), OTHER, strict=True))


def like(x: Any, values: Any) -> Any:
    return jnp.asarray(np.asarray(values), dtype=x.dtype, device=x.device)


def attended(x: Any) -> Any:
    """Let one query of one feature look at three keys."""
    query, keys, values = like(x, [[[1.0]]]), x[:, None, None], like(x, OTHER)[:, None, None]
    return nn.dot_product_attention(query, keys, values).sum()


COMPOSED: dict[str, tuple[Callable[..., Any], Callable[[Row], Any]]] = {
    "softmax_cross_entropy": (
        lambda x: nn.softmax_cross_entropy(x[None], like(x, [1]).astype("int32")),
        lambda x: logsumexp(x) - x[1],
    ),
    "softmax_cross_entropy of shares": (
        lambda x: nn.softmax_cross_entropy(x[None], like(x, [[0.25, 0.25, 0.5]])),
        lambda x: logsumexp(x) - (x[0] + x[1] + 2 * x[2]) / 4,
    ),
    "sigmoid_cross_entropy": (
        lambda x: nn.sigmoid_cross_entropy(x, like(x, [1.0, 0.0, 0.25])),
        lambda x: mean([mp.log1p(mp.exp(-abs(v))) + max(v, 0) - v * t for v, t in zip(x, (1, 0, 0.25), strict=True)]),
    ),
    "mse": (lambda x: nn.mse(x, like(x, OTHER)), lambda x: mean([(v - t) ** 2 for v, t in zip(x, OTHER, strict=True)])),
    "attention with softmax": (attended, attention),
    "hypot of hypot": (lambda x: jnp.hypot(jnp.hypot(x[0], x[1]), x[2]), EXACT["norm"]),
    "corrcoef": (lambda x: jnp.corrcoef(x, like(x, OTHER))[0, 1], correlation),
    "cov": (
        lambda x: jnp.cov(x, like(x, OTHER))[0, 1],
        lambda x: mp.fsum(v * (t - 1) for v, t in zip(x, OTHER, strict=True)) / 2,
    ),
    "cov of one": (jnp.cov, lambda x: 3 * var(x) / 2),
}
EXACT |= {name: formula for name, (_, formula) in COMPOSED.items()}

SAME_AS = {"amax": "max", "amin": "min", "average": "mean", "vector_norm": "norm"}
SAME_AS |= {"cumulative_sum": "cumsum", "cumulative_prod": "cumprod"}
ELSEWHERE = {"flip", "unique", "gradient", "standardize"}
"""Linear, or with a constant that is added to the variance."""


def formula_of(name: str) -> str:
    name = name.partition(".")[2].removeprefix("nan")
    return SAME_AS.get(name, name)


def functions() -> dict[str, Callable[..., Any]]:
    found, x = {}, jnp.asarray(np.asarray([2.0, 3.0, 0.5]))
    for module, name in ((m, name) for m in (jnp, jnp.linalg, nn, special, lax) for name in m.__all__):
        function = getattr(module, name)
        if isinstance(function, type) or not callable(function):
            continue
        try:
            if "axis" not in inspect.signature(function).parameters:
                continue
            result = function(x)
        except (TypeError, ValueError):
            continue
        if isinstance(result, gradkit.Array) and result.dtype.kind == "f" and result.shape in ((), (3,)):
            slopes = np.asarray(gradkit.device_get(gradkit.jacrev(function)(x)))
            if slopes.ndim == 1 or np.count_nonzero(slopes - np.diag(np.diag(slopes))):
                found[f"{module.__name__.rpartition('.')[2]}.{name}"] = function
    found |= {f"composed.{name}": function for name, (function, _) in COMPOSED.items()}
    for order in (3, 2.5):
        found[f"linalg.norm with ord={order}"] = functools.partial(jnp.linalg.norm, ord=order)
        EXACT[f"norm with ord={order}"] = lambda x, p=order: mp.fsum(abs(v) ** p for v in x) ** (1 / mp.mpf(p))
    return found


FUNCTIONS = functions()
SWEPT = {name: f for name, f in FUNCTIONS.items() if formula_of(name) in EXACT}


def test_every_reduction_has_a_formula_here() -> None:
    assert {formula_of(name) for name in set(FUNCTIONS) - set(SWEPT)} - ELSEWHERE == set()
    assert {formula_of(name) for name in SWEPT} == set(EXACT)


def rows(dtype: str) -> np.ndarray:
    """Return rows in which squares overflow and underflow, which saturate, with zeros, and ordinary ones."""
    huge, tiny = float(np.finfo(dtype).max) ** 0.65, float(np.finfo(dtype).tiny) ** 0.65
    unit = [[3.0, -2.0, 1.0], [1.0, 2.0, -4.0]]
    mixed = [[huge, 1.0, -2.0], [tiny, 1.0, -2.0], [huge, 2 * tiny, -tiny], [huge, -3 * huge, 1.0]]
    zeros = [[0.0, 2.0, 3.0], [2.0, 0.0, -3.0], [0.0, 2 * huge, huge], [1.5, 0.0, tiny]]
    saturated = [[50.0, 0.0, -30.0], [-800.0, 0.0, 800.0], [1e4, 1e4 + 2, 1e4 + 5]]
    scaled = [[scale * v for v in row] for scale in (1.0, huge, tiny) for row in unit]
    return np.asarray([*scaled, *mixed, *zeros, *saturated], dtype)


def weighted(result: Any) -> Any:
    return mp.fsum(w * v for w, v in zip(WEIGHTS, result, strict=True)) if isinstance(result, list) else result


def numbers(exact: Any) -> np.ndarray:
    values = np.ravel(np.asarray(exact, object))
    return np.asarray([float(v) if abs(v) < mp.mpf(10) ** 308 else float("inf") * int(mp.sign(v)) for v in values])


@by_jax
def right(formula: Callable[[Row], Any], dtype: str) -> list[list[np.ndarray]]:
    """Return values and derivatives: by differences, in so many digits that nothing is lost."""
    found = []
    for row in rows(dtype):
        point = [mp.mpf(float(v)) for v in row]

        def at(place: int, move: Any, point: Row = point) -> Any:
            return weighted(formula([v + move if i == place else v for i, v in enumerate(point)]))

        steps = [STEP * (abs(v) or mp.mpf(float(np.finfo(dtype).tiny))) for v in point]
        slopes = [(at(i, steps[i]) - at(i, -steps[i])) / (2 * steps[i]) for i in range(3)]
        found.append([numbers(at(0, 0)), numbers(slopes)])
    return found


LOGARITHMIC = ("log", "cross_entropy")
IN_SHORT = [(name, "float64") for name in SWEPT if not any(word in name for word in LOGARITHMIC)]
IN_LONG = [pair for pair in itertools.product(SWEPT, ["float32", "float64"]) if pair not in IN_SHORT]
"""Logarithms take mpmath a second each."""


@pytest.mark.parametrize("name,dtype", [*IN_SHORT, *(pytest.param(*pair, marks=pytest.mark.long) for pair in IN_LONG)])
def test_values_and_gradients_are_those_of_mpmath(name: str, dtype: str, xp: Any) -> None:
    function, batch = SWEPT[name], rows(dtype)
    weights, limits = xp.asarray(np.asarray(WEIGHTS, dtype)), np.finfo(dtype)

    def total(x: Any) -> Any:
        result = function(x)
        return (result * weights).sum() if result.ndim else result

    found = [gradkit.device_get(gradkit.vmap(f)(xp.asarray(batch))) for f in (total, gradkit.grad(total))]
    wrong = []
    for i, exact in enumerate(right(EXACT[formula_of(name)], dtype)):
        beyond = any(np.max(np.abs(part)) > float(limits.max) for part in exact)
        for order in range(2):
            ours = np.asarray(found[order][i], float).ravel()
            # What a sum of elements may lose; of logarithms of sums of exponentials, what it may beside 1.
            scale = (
                np.max(np.abs(exact[order]))
                if order
                else np.max(np.abs(batch[i])) + any(word in name for word in LOGARITHMIC)
            )
            if order and name == "lax.cumlogsumexp":  # its sums on the way are rounded
                scale *= np.max(np.abs(batch[i]))
            scale = max(scale, np.max(np.abs(exact[order])) if np.isfinite(exact[order]).all() else 0)
            near = np.abs(ours - exact[order]) <= 30 * float(limits.eps) * scale + 4 * float(limits.tiny)
            if not np.all(near | (beyond & ~np.isfinite(ours))):
                wrong.append(f"derivative {order} at {batch[i].tolist()}: {ours.tolist()}, not {exact[order].tolist()}")
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["norm", "std", "nanstd"])
def test_second_derivatives_of_roots_of_squares_are_of_their_scale(name: str, dtype: str, xp: Any) -> None:
    function = xp.linalg.norm if name == "norm" else getattr(xp, name)
    row = np.asarray([3.0, -2.0, 1.0], dtype)
    ordinary = np.asarray(gradkit.device_get(gradkit.hessian(function)(xp.asarray(row))))
    for exponent in (0.65, 0.9):
        for limit in (np.finfo(dtype).max, np.finfo(dtype).tiny):
            scale = np.asarray(2.0 ** round(exponent * float(np.log2(limit))), dtype)
            found = np.asarray(gradkit.device_get(gradkit.hessian(function)(xp.asarray(row * scale)))) * scale
            np.testing.assert_allclose(found, ordinary, rtol=1e-4, atol=1e-5)


@by_jax
def right_bends(formula: Callable[[Row], Any], dtype: str) -> list[np.ndarray]:
    """Return the matrices of second derivatives, by differences as well."""
    with mp.workdps(2000):
        return [np.reshape(numbers(bends), (3, 3)) for bends in _bends(formula, dtype)]


def _bends(formula: Callable[[Row], Any], dtype: str) -> list[list[Row]]:
    found = []
    for row in rows(dtype):
        point = [mp.mpf(float(v)) for v in row]
        steps = [BEND * (abs(v) or mp.mpf(float(np.finfo(dtype).tiny))) for v in point]

        def at(*moves: int, point: Row = point, steps: Row = steps) -> Any:
            return weighted(formula([v + m * h for v, m, h in zip(point, moves, steps, strict=True)]))

        bends = [[mp.mpf(0)] * 3 for _ in range(3)]
        for i, j in itertools.combinations_with_replacement(range(3), 2):
            e, f = [int(k == i) for k in range(3)], [int(k == j) for k in range(3)]
            if i == j:
                change = at(*e) - 2 * at(0, 0, 0) + at(*(-k for k in e))
                bends[i][i] = change / steps[i] ** 2
            else:
                both = [a + b for a, b in zip(e, f, strict=True)]
                change = at(*both) - at(*e) - at(*f) + 2 * at(0, 0, 0) - at(*(-k for k in e)) - at(*(-k for k in f))
                change += at(*(-k for k in both))
                bends[i][j] = bends[j][i] = change / (2 * steps[i] * steps[j])
        found.append(bends)
    return found


SLOW = ("log", "softmax", "ord=", "cross_entropy")
BENDS = [
    pytest.param(*pair, marks=[pytest.mark.long] * any(word in pair[0] for word in SLOW))
    for pair in itertools.product(SWEPT, ["float32", "float64"])
]


@pytest.mark.parametrize("name,dtype", BENDS)
def test_second_derivatives_are_those_of_mpmath(name: str, dtype: str, xp: Any) -> None:
    function, batch = SWEPT[name], rows(dtype)
    weights, limits = xp.asarray(np.asarray(WEIGHTS, dtype)), np.finfo(dtype)

    def total(x: Any) -> Any:
        result = function(x)
        return (result * weights).sum() if result.ndim else result

    wrong = []
    formula = EXACT[formula_of(name)]
    ours = np.asarray(gradkit.device_get(gradkit.vmap(gradkit.hessian(total))(xp.asarray(batch))), float)
    exactly = zip(right_bends(formula, dtype), right(formula, dtype), strict=True)
    for row, found, (exact, (_, slopes)) in zip(batch, ours, exactly, strict=True):
        inner = np.abs(exact) < float(limits.max)
        # What the derivatives of elements beside may have lost.
        scale = np.max(np.abs(exact), where=inner, initial=np.max(np.abs(slopes)) / np.max(np.abs(row)))
        # A sum of exponentials before another one is read off it again: digits of the logarithm are lost.
        digits = 100 * max(1.0, np.max(np.abs(row), where=np.abs(row) < 1e6, initial=0)) if "cumlog" in name else 100
        near = np.abs(found - exact) <= digits * float(limits.eps) * scale + 16 * float(limits.tiny)
        near |= (np.abs(exact) > 0.99 * float(limits.max)) & ~np.isfinite(found)
        if not near.all():
            wrong.append(f"{row.tolist()}: {found.tolist()}, not {exact.tolist()}")
    assert not wrong, f"{len(wrong)} of {len(batch)} wrong\n" + "\n".join(wrong)
