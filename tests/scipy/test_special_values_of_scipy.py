"""`gradkit.scipy` at NaN, infinities, zeros, the smallest and the largest numbers, and far out in the tails.

The functions are those that the modules list, so a new one is in the sweep by itself. Values are SciPy's.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from abilities import keeps_subnormals

import gradkit
from gradkit.scipy import special, stats

DTYPES = ("float32", "float64")
WITH_HALF = ("float16", *DTYPES)
TOLERANCE = {"float16": 2e-3, "float32": 2e-4, "float64": 1e-9}


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """Leave out NumPy's warnings, which special values are full of."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def specials(dtype: str) -> list[float]:
    limits = np.finfo(dtype)
    sizes = [float(limits.tiny), float(limits.max)]
    if keeps_subnormals():
        sizes.append(float(limits.smallest_subnormal))
    return [np.nan, np.inf, -np.inf, 0.0, -0.0, *sizes, *(-size for size in sizes)]


def close(got: Any, expected: np.ndarray, rows: np.ndarray, dtype: str, name: str) -> None:
    """Compare, and tell which arguments give something else."""
    found = np.asarray(gradkit.device_get(got), float)
    right = np.asarray(expected, dtype).astype(float)
    error = np.abs(found - right)
    same = (found == right) | (np.isnan(found) & np.isnan(right))
    # Close to the largest number the last digit decides.
    same |= (found == np.sign(right) * np.inf) & (np.abs(right) > 0.99 * np.finfo(dtype).max)
    same |= error <= TOLERANCE[dtype] * np.abs(right) + 8 * float(np.finfo(dtype).tiny)
    wrong = [f"{name}{tuple(map(float, rows[i]))} is {found[i]}, not {right[i]}" for i in np.flatnonzero(~same)]
    assert not wrong, f"{len(wrong)} of {len(right)} wrong\n" + "\n".join(wrong[:20])


def on(xp: Any, column: np.ndarray) -> gradkit.Array:
    return xp.asarray(np.ascontiguousarray(column))


# The distributions

SHAPES: dict[str, tuple[float, ...]] = {
    "bernoulli": (0.3,),
    "beta": (2.0, 3.0),
    "betabinom": (5.0, 1.5, 2.5),
    "binom": (5.0, 0.3),
    "cauchy": (),
    "chi2": (3.0,),
    "expon": (),
    "gamma": (2.5,),
    "gennorm": (1.5,),
    "geom": (0.3,),
    "gumbel_l": (),
    "gumbel_r": (),
    "laplace": (),
    "logistic": (),
    "nbinom": (3.0, 0.3),
    "norm": (),
    "pareto": (2.5,),
    "poisson": (2.5,),
    "t": (4.0,),
    "truncnorm": (-1.0, 1.5),
    "uniform": (),
    "vonmises": (1.5,),
    "wrapcauchy": (0.4,),
}
VECTORS = {"dirichlet", "multinomial", "multivariate_normal"}
KINDS = ("logpdf", "pdf", "logpmf", "pmf", "logcdf", "cdf", "logsf", "sf", "ppf", "isf", "entropy")
DISTRIBUTED = [(name, kind) for name in SHAPES for kind in KINDS if kind in vars(getattr(stats, name))]
LIMITS = {"pdf": 0.0, "pmf": 0.0, "logpdf": -np.inf, "logpmf": -np.inf}
"""What densities are at infinity, where SciPy has NaN for some (inf - inf): mpmath's limits."""
WITH_LIMITS = {"gennorm", "pareto", "t", "truncnorm"}
"""Distributions that still are some for an infinite shape parameter: where SciPy has NaN, the limit. Of all others the
mass goes to infinity, and where SciPy has NaN so has gradkit, on purpose."""
WITHOUT_DERIVATIVE = {("beta", "a"), ("beta", "b"), ("poisson", "entropy"), ("poisson", "loc")}


def parameters(name: str, kind: str) -> dict[str, float]:
    """Return the arguments by name, each with a usual value."""
    words = list(getattr(getattr(stats, name), kind).__signature__.parameters)
    usual = dict(zip(getattr(stats, name).shapes, SHAPES[name], strict=True)) | {"loc": 0.0, "scale": 1.0}
    usual |= {"x": 0.3, "k": 1.0, "q": 0.4}
    return {word: usual[word] for word in words}


def rows_of(name: str, kind: str, dtype: str) -> np.ndarray:
    """Return rows of arguments: the special and distant values for each of them, the others usual or beside."""
    usual = parameters(name, kind)
    points = [0.3, 1.0, 2.0, 5.5, 6.0, 40.0, -0.7, -1.0, -6.0, -40.0, 1e-10]
    if "q" in usual:
        points = [1e-30, 1e-5, 0.05, 0.5, 0.9, 1.0, 1.2, -0.1]
    elif name not in ("chi2", "gamma", "beta", "nbinom", "betabinom", "binom", "poisson"):
        points += [1e4, -1e4, 1e25, -1e25]
    rows = []
    for word in usual:
        if word in "xkq":
            others = [usual]
            values = specials(dtype) + points
        else:
            beside = (
                {"q": [0.4]}
                if "q" in usual
                else {"k": [0.0, 1.0, -1.0]}
                if "k" in usual
                else {"x": [0.3, 1.0, 2.0, -1.0, np.inf]}
            )
            word_of, candidates = next(iter(beside.items()))
            others = [usual | {word_of: value} for value in candidates] if word_of in usual else [usual]
            values = (
                specials(dtype) + points[:9]
                if word in ("loc", "scale")
                else specials(dtype)[:5] + [0.5, 1.0, 1.5, -0.7]
            )
        rows += [list((other | {word: value}).values()) for other in others for value in values]
    return np.asarray(rows, dtype)


@functools.cache
def values_of_scipy(name: str, kind: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rows = rows_of(name, kind, dtype)
    words = list(parameters(name, kind))
    columns = dict(zip(words, rows.astype(float).T, strict=True))
    keywords = {word: columns.pop(word) for word in ("loc", "scale") if word in columns}
    known = known_to_scipy(name, kind, dtype, columns, keywords)
    rows, columns = rows[known], {word: column[known] for word, column in columns.items()}
    keywords = {word: column[known] for word, column in keywords.items()}
    if (name, kind) == ("beta", "pdf"):  # an OverflowError in SciPy
        value = np.exp(scipy.stats.beta.logpdf(*columns.values(), **keywords))
    else:
        value = np.asarray(getattr(getattr(scipy.stats, name), kind)(*columns.values(), **keywords), float)
    if kind in LIMITS and name != "vonmises":
        y = columns.get("x", columns.get("k")) - keywords.get("loc", 0.0)
        infinite = np.isinf(y / keywords.get("scale", 1.0)) & ~(keywords.get("scale", 1.0) <= 0)
        if name not in WITH_LIMITS:
            infinite &= ~endless(name, columns) | (y < 0) | (name == "beta")
        value = np.where(infinite & ~np.isnan(rows).any(axis=1) & valid(name, columns), LIMITS[kind], value)
    if name in WITH_LIMITS:  # those of SciPy's NaN are in test_shape_parameters.py
        known = ~(np.isnan(value) & endless(name, columns) & valid(name, columns))
        rows, value, columns = rows[known], value[known], {word: column[known] for word, column in columns.items()}
    if name == "vonmises" and kind == "pdf":
        value = np.where(np.isinf(columns["x"]), np.nan, value)
    return rows, value


def known_to_scipy(name: str, kind: str, dtype: str, columns: dict[str, Any], keywords: dict[str, Any]) -> np.ndarray:
    """Return the rows that SciPy has a value for, in the same numbers."""
    first = next(iter(columns.values()))
    known = np.ones(first.shape, bool)
    if kind == "entropy":
        return np.isfinite(first) & (first < 1e6)  # beyond, SciPy sums without end
    if "scale" in keywords and "q" not in columns:
        # What overflows in float32 alone is another number there.
        y = (first - keywords["loc"]) / keywords["scale"]
        known &= (np.abs(y) <= np.finfo(dtype).max) | np.isinf(first) | np.isnan(y) | (keywords["scale"] == 0)
        if not keeps_subnormals():  # so is what is too small there
            known &= (np.abs(y) >= np.finfo(dtype).tiny) | (y == 0) | np.isnan(y)
    if dtype == "float16" and "loc" in keywords:
        # It is computed in float32, in which 1 less the smallest number of float16 is 1.
        known &= ~(np.abs(keywords["loc"]) < 1e-6) | (keywords["loc"] == 0)
    if name == "nbinom":
        known &= np.abs(first - keywords["loc"]) < 1e300  # inf - inf in SciPy
    return known


def endless(name: str, columns: dict[str, Any]) -> np.ndarray:
    """Return where a shape parameter is infinite."""
    shapes = [np.isinf(columns[shape]) for shape in getattr(stats, name).shapes]
    return np.any([np.zeros(next(iter(columns.values())).shape, bool), *shapes], axis=0)


def valid(name: str, columns: dict[str, np.ndarray]) -> Any:
    shapes = [columns[shape] for shape in getattr(stats, name).shapes]
    return np.asarray(getattr(scipy.stats, name)._argcheck(*shapes), bool)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", WITH_HALF)
@pytest.mark.parametrize("name, kind", DISTRIBUTED)
def test_values_of_distributions_are_scipys(name: str, kind: str, dtype: str, xp: Any) -> None:
    if dtype == "float16" and xp.ones(1).device.backend == "strict":
        pytest.skip("the array API standard has no float16")
    rows, right = values_of_scipy(name, kind, dtype)
    got = getattr(getattr(stats, name), kind)(*(on(xp, column) for column in rows.T))
    close(got, right, rows, dtype, f"{name}.{kind}")


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, kind", DISTRIBUTED)
def test_nan_gives_nan_and_a_derivative_that_is_nan(name: str, kind: str, dtype: str, xp: Any) -> None:
    usual = parameters(name, kind)
    rows = np.asarray([list((usual | {word: np.nan}).values()) for word in usual], dtype)
    columns = [on(xp, column) for column in rows.T]
    function = getattr(getattr(stats, name), kind)
    assert np.isnan(gradkit.device_get(function(*columns))).all()
    argnums = tuple(i for i, word in enumerate(usual) if (name, word) not in WITHOUT_DERIVATIVE)
    gradients = gradkit.grad(lambda *args: function(*args).sum(), argnums)(*columns)
    assert all(np.isnan(gradkit.device_get(gradient)).all() for gradient in gradients)


def test_the_sweep_has_every_distribution() -> None:
    assert {name for name in stats.__all__ if name != "Distribution"} == set(SHAPES) | VECTORS


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_gives_nan_in_distributions_of_vectors(dtype: str, xp: Any) -> None:
    def array(*values: Any) -> gradkit.Array:
        return on(xp, np.asarray(values, dtype))

    calls = [
        stats.dirichlet.logpdf(array(0.2, np.nan, 0.5), array(1.5, 2.0, 0.7)),
        stats.dirichlet.pdf(array(0.2, 0.3, 0.5), array(1.5, np.nan, 0.7)),
        stats.dirichlet.logpdf(array(0.2, 0.3, 0.9), array(1.5, np.nan, 0.7)),
        stats.multivariate_normal.logpdf(array(0.2, np.nan), array(0.0, 0.0), array([1.0, 0.0], [0.0, 1.0])),
        stats.multivariate_normal.logpdf(array(0.2, 0.1), array(np.nan, 0.0), array([1.0, 0.0], [0.0, 1.0])),
        stats.multivariate_normal.pdf(array(0.2, 0.1), array(0.0, 0.0), array(np.nan)[0]),
        stats.multinomial.logpmf(on(xp, np.asarray([1, 2])), 3, array(0.3, np.nan)),
        stats.multinomial.pmf(on(xp, np.asarray([1, 5])), 3, array(0.3, np.nan)),
    ]
    assert [bool(np.isnan(gradkit.device_get(call))) for call in calls] == [True] * len(calls)


# The special functions

ARGUMENTS = {
    "beta": (2.0, 3.0),
    "betainc": (2.0, 3.0, 0.3),
    "betaln": (2.0, 3.0),
    "boxcox": (2.0, 0.5),
    "boxcox1p": (2.0, 0.5),
    "comb": (5.0, 2.0),
    "expn": (2.0, 0.7),
    "gammainc": (2.0, 0.7),
    "gammaincc": (2.0, 0.7),
    "hyp1f1": (1.5, 2.5, 0.3),
    "hyp2f1": (1.5, 2.5, 3.5, 0.3),
    "kl_div": (2.0, 0.7),
    "multigammaln": (2.5, 2),
    "owens_t": (0.4, 0.7),
    "poch": (2.0, 0.7),
    "polygamma": (1, 0.7),
    "rel_entr": (2.0, 0.7),
    "xlog1py": (2.0, 0.7),
    "xlogy": (2.0, 0.7),
    "zeta": (2.5, 0.7),
}
"""Usual arguments of the functions that have several; an int is one that takes integers alone."""
OF_AXES = {"bernoulli", "log_softmax", "logsumexp", "softmax"}
FUNCTIONS = [name for name in special.__all__ if name not in OF_AXES]
HANGS = {"hyp1f1", "hyp2f1"}
"""SciPy's own code does not end at some infinities: only NaN is asked for."""
POINTS = [0.3, 1.0, 2.5, 3.0, -1.0, -0.7, 40.0, -40.0, 1e4, -1e4]


def special_rows(name: str, dtype: str) -> np.ndarray:
    usual = ARGUMENTS.get(name, (0.4,))
    real = [i for i, value in enumerate(usual) if isinstance(value, float)]
    values = specials(dtype) + POINTS
    if len(real) == 2 and name != "expn":
        return np.asarray([(x, y) for x in values for y in values], dtype)
    return np.asarray(
        [(*usual[:i], value, *usual[i + 1 :]) for i in real for value in values if (i, name) != (0, "expn")], dtype
    )


def call(library: Any, name: str, columns: list[Any], rows: np.ndarray) -> Any:
    if name == "multigammaln":
        return library.multigammaln(columns[0], 2)
    if name == "polygamma":
        return library.polygamma(1, columns[1])
    return getattr(library, name)(*columns)


@functools.cache
def special_values_of_scipy(name: str, dtype: str) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    rows = special_rows(name, dtype)
    if name == "multigammaln":  # SciPy raises an error where there is no value
        rows = rows[rows[:, 0] > 0.5]
    if name == "comb":  # of infinitely many things SciPy has NaN
        rows = rows[~np.isinf(rows[:, 0])]
    columns = list(rows.astype(float).T)
    result = call(scipy.special, name, columns, rows)
    if name == "loggamma":  # SciPy has a function of complex numbers, of which this is a part
        result = np.where(columns[0] < 0, np.nan, result)
    if name == "gammainc":  # SciPy has 0 for the smallest shapes, where it is 1
        result = np.where((columns[0] > 0) & (columns[0] < 1e-300) & (columns[1] > 0), 1.0, result)
    parts = result if isinstance(result, tuple) else (result,)
    # SciPy's comb, beta and a few more have numbers where an argument is NaN.
    return rows, tuple(np.where(np.isnan(rows).any(axis=1), np.nan, part) for part in parts)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in HANGS])
def test_values_of_special_functions_are_scipys(name: str, dtype: str, xp: Any) -> None:
    rows, right = special_values_of_scipy(name, dtype)
    got = call(special, name, [on(xp, column) for column in rows.T], rows)
    for mine, part in zip(got if isinstance(got, tuple) else (got,), right, strict=True):
        close(mine, part, rows, dtype, name)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_functions_of_nan_are_nan(name: str, dtype: str, xp: Any) -> None:
    usual = ARGUMENTS.get(name, (0.4,))
    real = [i for i, value in enumerate(usual) if isinstance(value, float)]
    rows = np.asarray([(*usual[:i], np.nan, *usual[i + 1 :]) for i in real], dtype)
    got = call(special, name, [on(xp, column) for column in rows.T], rows)
    for part in got if isinstance(got, tuple) else (got,):
        assert np.isnan(gradkit.device_get(part)).all()


# Small shape parameters, where all of the probability is next to 0 or far out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["beta", "chi2", "gamma", "t"])
def test_distributions_of_small_shape_parameters(name: str, dtype: str, xp: Any) -> None:
    largest = float(np.finfo(dtype).max)
    xs = [1e-30, 1e-16, 1e-8, 1e-3, 0.3, 0.9, 1.5, 30.0, 1e10, 0.9 * largest, -0.9 * largest]
    rows = np.asarray([(x, shape, 2.0) for x in xs for shape in (1e-5, 1e-3, 0.03, 0.3)], dtype)
    rows = rows[:, : 1 + len(getattr(stats, name).shapes)]
    for kind in set(KINDS[:8]) & set(vars(getattr(stats, name))):
        right = getattr(getattr(scipy.stats, name), kind)(*rows.T.astype(float))
        got = getattr(getattr(stats, name), kind)(*(on(xp, column) for column in rows.T))
        close(got, right, rows, dtype, f"{name}.{kind}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_complement_of_betainc_keeps_its_digits(dtype: str, xp: Any) -> None:
    source = np.random.default_rng(0)
    a, b = 10 ** source.uniform(-4, 3, (2, 3000))
    x = np.where(source.random(3000) < 0.5, 10 ** source.uniform(-25, 0, 3000), 0.99 * source.random(3000))
    rows = np.stack([x, a, b], axis=1).astype(dtype)
    right = scipy.special.betaincc(*rows[:, [1, 2, 0]].T.astype(float))
    kept = right > 1e-30  # the tail of float32 is that of its smallest numbers
    close(stats.beta.sf(*(on(xp, column) for column in rows[kept].T)), right[kept], rows[kept], dtype, "beta.sf")
