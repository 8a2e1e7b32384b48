"""`gradkit.scipy.beyond_jax`: functions of `scipy.special` have SciPy's values, and the slopes of these."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats

import gradkit
import gradkit.numpy as jnp
from gradkit.scipy import beyond_jax, special
from gradkit.testing import check_grads

COUNTS = np.asarray([0.0, 1.0, 3.0, 2.0])
OUT_OF = np.asarray([2.0, 5.0, 4.0, 2.0])
SHARES = np.asarray([0.1, 0.45, 0.8, 0.97])
SIZES = np.asarray([0.3, 1.5, 4.0, 30.0])
SIGNED = np.asarray([-2.5, -0.2, 0.3, 4.0])
HALVES = np.asarray([0.5, 1.5, 2.5, 6.0])

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "bdtr": (COUNTS, OUT_OF, SHARES),
    "bdtrc": (COUNTS, OUT_OF, SHARES),
    "bdtri": (COUNTS[:3], OUT_OF[:3], SHARES[:3]),
    "betaincc": (HALVES, HALVES[::-1], SHARES),
    "betaincinv": (HALVES, HALVES[::-1], SHARES),
    "binom": (SIZES + 2, HALVES),
    "cbrt": (SIGNED,),
    "chdtr": (HALVES, SIZES),
    "chdtrc": (HALVES, SIZES),
    "chdtri": (HALVES, SHARES),
    "cosdg": (SIGNED * 100,),
    "cosm1": (SIGNED / 10,),
    "cotdg": (SIGNED * 30,),
    "ellipk": (np.asarray([-3.0, 1e-9, 0.0, 0.4, 0.95]),),
    "ellipkm1": (np.asarray([1e-6, 0.4, 1.0, 5.0]),),
    "exp10": (SIGNED,),
    "exp2": (SIGNED,),
    "exprel": (np.asarray([-20.0, -0.3, 0.0, 1e-9, 0.7, 30.0]),),
    "fdtr": (HALVES, HALVES[::-1], SIZES),
    "fdtrc": (HALVES, HALVES[::-1], SIZES),
    "fdtri": (HALVES + 1, HALVES[::-1] + 1, SHARES),
    "gammainccinv": (HALVES, SHARES),
    "gammaincinv": (HALVES, SHARES),
    "gdtr": (HALVES, HALVES[::-1], SIZES / 5),
    "gdtrc": (HALVES, HALVES[::-1], SIZES / 5),
    "huber": (HALVES, SIGNED),
    "inv_boxcox": (SIZES, np.asarray([0.5, 0.0, -0.1, 2.0])),
    "inv_boxcox1p": (SIZES, np.asarray([0.5, 0.0, -0.1, 2.0])),
    "j0": (SIGNED,),
    "j1": (np.asarray([-2.5, 0.0, 0.3, 20.0]),),
    "k0": (SIZES,),
    "k0e": (np.asarray([0.3, 4.0, 49.0, 51.0, 1e4]),),
    "k1": (SIZES,),
    "k1e": (np.asarray([0.3, 4.0, 49.0, 51.0, 1e4]),),
    "lpmv": (np.asarray([0.0, 1.0, 2.0]), np.asarray([1.0, 2.0, 4.0]), np.asarray([-0.7, 0.2, 0.6])),
    "nbdtr": (COUNTS, OUT_OF, SHARES),
    "nbdtrc": (COUNTS, OUT_OF, SHARES),
    "nbdtri": (COUNTS, OUT_OF, SHARES),
    "pdtr": (COUNTS, SIZES / 5),
    "pdtrc": (COUNTS, SIZES / 5),
    "pdtri": (COUNTS, SHARES),
    "pseudo_huber": (HALVES, SIGNED),
    "radian": (SIGNED, SIZES, HALVES),
    "rgamma": (np.asarray([-2.0, -1.5, 0.0, 0.4, 3.0, 40.0]),),
    "sinc": (SIGNED,),
    "sindg": (SIGNED * 100,),
    "stdtr": (HALVES, SIGNED),
    "tandg": (SIGNED * 30,),
    "y0": (SIZES,),
    "y1": (SIZES,),
    "yn": (np.asarray([0.0, 1.0, 2.0, 3.0]), SIZES),
}
"""Points of each function; its slope is that by the last argument."""

SHARING = {name for name, arguments in ARGUMENTS.items() if arguments[-1].min() > 0 and arguments[-1].max() < 1}


def test_every_function_has_its_points() -> None:
    assert set(ARGUMENTS) == set(beyond_jax.__all__) - set(special.__all__)


def theirs(name: str, *args: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(scipy.special, name)(*args)


def slope(name: str, *args: Any) -> Any:
    """Return the slope of SciPy's function by the last argument, from differences of the eighth order."""
    *rest, x = args
    step = np.minimum(np.maximum(np.abs(x), 1e-2), 5.0) / 100
    if name in SHARING:
        step = np.minimum(x, 1 - x) / 100
    elif name in ("ellipk", "ellipkm1"):
        step = np.abs(1 - x if name == "ellipk" else x) / 100
    weights = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    changes = (
        w * (theirs(name, *rest, x + k * step) - theirs(name, *rest, x - k * step)) for k, w in enumerate(weights, 1)
    )
    return sum(changes) / step


@pytest.mark.parametrize("name", ARGUMENTS)
def test_values_and_slopes_are_those_of_scipy(name: str, xp: Any) -> None:
    with gradkit.enable_x64():
        *rest, x = map(jnp.asarray, ARGUMENTS[name])
        value = getattr(beyond_jax, name)(*rest, x)
        assert type(value) is gradkit.Array
        np.testing.assert_allclose(gradkit.device_get(value), theirs(name, *ARGUMENTS[name]), rtol=1e-10, atol=1e-300)
        found = gradkit.grad(lambda x: jnp.sum(getattr(beyond_jax, name)(*rest, x)))(x)
        if not name.startswith("inv_boxcox"):  # by the exponent
            np.testing.assert_allclose(gradkit.device_get(found), slope(name, *ARGUMENTS[name]), rtol=2e-6, atol=1e-9)


TWICE = [
    "binom",
    "cosdg",
    "ellipk",
    "ellipkm1",
    "exprel",
    "huber",
    "j1",
    "k0e",
    "k1",
    "k1e",
    "lpmv",
    "pseudo_huber",
    "y1",
    "yn",
]


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives_agree_with_differences_of_the_first(name: str, xp: Any) -> None:
    near = {"ellipkm1": (np.asarray([0.4, 0.97, 5.0]),), "k0e": (SIZES,), "k1e": (SIZES,), "huber": (HALVES, SIGNED)}
    with gradkit.enable_x64():
        *rest, x = map(jnp.asarray, near.get(name, ARGUMENTS[name]))
        check_grads(lambda x: getattr(beyond_jax, name)(*rest, x), (x,), order=2)


@pytest.mark.parametrize("name", ["gammaincinv", "gammainccinv", "inv_boxcox", "binom"])
def test_the_slope_by_the_first_argument(name: str, xp: Any) -> None:
    first, second = (np.asarray(argument)[:2] for argument in ARGUMENTS[name])
    with gradkit.enable_x64():
        found = gradkit.grad(lambda a: jnp.sum(getattr(beyond_jax, name)(a, jnp.asarray(second))))(jnp.asarray(first))
    step = 1e-5
    expected = (theirs(name, first + step, second) - theirs(name, first - step, second)) / (2 * step)
    np.testing.assert_allclose(gradkit.device_get(found), expected, rtol=1e-6)


def test_what_has_no_slope_says_so() -> None:
    with pytest.raises(NotImplementedError, match="yn gradient with respect to n"):
        gradkit.grad(lambda n: beyond_jax.yn(n, 2.0))(2.0)


def test_the_distribution_function_of_t_has_its_density_as_the_slope_next_to_0_and_far_out(xp: Any) -> None:
    df, t = map(np.ravel, np.meshgrid([0.5, 3.0, 40.0], [0.0, 1e-300, -1e-13, 1e-9, -0.5, 2.0, -40.0, 1e5]))
    with gradkit.enable_x64():
        slopes = gradkit.vmap(gradkit.grad(beyond_jax.stdtr, 1))(jnp.asarray(df), jnp.asarray(t))
        np.testing.assert_allclose(gradkit.device_get(slopes), scipy.stats.t.pdf(t, df), rtol=1e-12)
        second = gradkit.grad(gradkit.grad(beyond_jax.stdtr, 1), 1)(jnp.asarray(3.0), jnp.asarray(1e-13))
        assert float(second) == pytest.approx(-4 / 3 * 1e-13 * scipy.stats.t.pdf(0.0, 3.0))


def test_the_distribution_function_of_f_reaches_1_and_its_tail_keeps_its_digits(xp: Any) -> None:
    x = np.asarray([0.0, 0.3, 1e4, 1e12, np.inf, np.nan, -1.0])
    with gradkit.enable_x64():
        for name in ("fdtr", "fdtrc"):
            found = getattr(beyond_jax, name)(jnp.asarray(3.0), jnp.asarray(5.0), jnp.asarray(x))
            expected = getattr(scipy.special, name)(3.0, 5.0, x)
            np.testing.assert_allclose(gradkit.device_get(found), expected, rtol=1e-12)
            slope = gradkit.grad(getattr(beyond_jax, name), 2)(jnp.asarray(3.0), jnp.asarray(5.0), jnp.asarray(np.inf))
            assert float(slope) == 0.0


def test_the_distribution_function_of_t_at_the_ends_of_the_degrees_of_freedom_is_scipys(xp: Any) -> None:
    ends = [-np.inf, -2.5, -0.0, 0.0, 1e-13, -1e-13, 0.5, 1e10, -1e200, np.inf, np.nan]
    df, t = map(np.ravel, np.meshgrid([*ends, 1e200], ends))
    with gradkit.enable_x64(), np.errstate(all="ignore"):
        found = gradkit.device_get(beyond_jax.stdtr(jnp.asarray(df), jnp.asarray(t)))
        np.testing.assert_allclose(found, scipy.special.stdtr(df, t), rtol=1e-10)
