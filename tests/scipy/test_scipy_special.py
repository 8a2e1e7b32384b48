"""`gradkit.scipy.special` against JAX: values, derivatives in both modes, second order, `vmap`."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as J
import jax.scipy.special as theirs
import numpy as np
import pytest
from references import by_jax

import gradkit
import gradkit.numpy as jnp
from gradkit.errors import MissingDependencyError
from gradkit.scipy import special as ours

REAL, POSITIVE, UNIT = (-2.0, 2.0), (0.3, 4.0), (0.05, 0.95)


@dataclass(frozen=True)
class Case:
    """A function by name, the ranges of its arguments, those that are differentiated, and what else it takes."""

    name: str
    intervals: tuple[tuple[float, float], ...] = (REAL,)
    argnums: tuple[int, ...] | None = None
    second: bool = True
    options: tuple[tuple[str, Any], ...] = ()
    tolerance: float = 1e-9
    part: int | None = None

    def of(self, library: Any) -> Callable[..., Any]:
        function = functools.partial(getattr(library, self.name), **dict(self.options))
        if self.part is None:
            return function
        return lambda *args: function(*args)[self.part]

    def arguments(self) -> list[np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [rng.uniform(*interval, size=(3, 4)) for interval in self.intervals]

    @property
    def differentiated(self) -> tuple[int, ...]:
        return tuple(range(len(self.intervals))) if self.argnums is None else self.argnums


CASES = [
    Case("beta", (POSITIVE, POSITIVE)),
    Case("betainc", (POSITIVE, POSITIVE, UNIT), (2,)),
    Case("betaln", (POSITIVE, POSITIVE)),
    Case("boxcox", (POSITIVE, REAL)),
    Case("boxcox1p", (POSITIVE, REAL)),
    Case("comb", ((4.0, 6.0), POSITIVE)),
    Case("dawsn", tolerance=1e-7),
    Case("digamma", (POSITIVE,)),
    Case("entr", (UNIT,)),
    Case("erf"),
    Case("erfc"),
    Case("erfcx", tolerance=1e-8),
    Case("erfinv", ((-0.9, 0.9),)),
    Case("exp1", (POSITIVE,), second=False),
    Case("expi", (POSITIVE,)),
    Case("expit"),
    Case("factorial", (POSITIVE,)),
    Case("fresnel", (POSITIVE,), part=0, tolerance=1e-7),
    Case("fresnel", (POSITIVE,), part=1, tolerance=1e-7),
    Case("gamma", (POSITIVE,)),
    Case("gammainc", (POSITIVE, POSITIVE), second=False, tolerance=1e-7),
    Case("gammainc", (POSITIVE, POSITIVE), (1,)),
    Case("gammaincc", (POSITIVE, POSITIVE), second=False, tolerance=1e-7),
    Case("gammaincc", (POSITIVE, POSITIVE), (1,)),
    Case("gammaln", (POSITIVE,)),
    Case("hyp1f1", (POSITIVE, POSITIVE, UNIT), (2,)),
    Case("hyp2f1", (POSITIVE, POSITIVE, POSITIVE, (0.05, 0.5)), (3,), tolerance=1e-7),
    Case("i0"),
    Case("i0e"),
    Case("i1"),
    Case("i1e"),
    Case("kl_div", (POSITIVE, POSITIVE)),
    Case("log_ndtr", ((-6.0, 6.0),), tolerance=1e-8),
    Case("log_softmax", options=(("axis", 1),)),
    Case("loggamma", (POSITIVE,)),
    Case("logit", (UNIT,)),
    Case("logsumexp", options=(("axis", 1),)),
    Case("multigammaln", ((3.0, 5.0),), options=(("d", 3),)),
    Case("ndtr"),
    Case("ndtri", (UNIT,)),
    Case("poch", (POSITIVE, POSITIVE)),
    Case("rel_entr", (POSITIVE, POSITIVE)),
    Case("sici", (POSITIVE,), part=0),
    Case("sici", (POSITIVE,), part=1),
    Case("softmax", options=(("axis", 1),)),
    Case("xlog1py", (REAL, POSITIVE)),
    Case("xlogy", (REAL, POSITIVE)),
    Case("zeta", ((1.5, 4.0), POSITIVE), (1,), second=False),
]
IDS = [f"{case.name}-{case.part or i}" for i, case in enumerate(CASES)]


def on(xp: Any, x: Any) -> gradkit.Array:
    return xp.asarray(np.asarray(x))


def close(got: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(gradkit.device_get(got), np.asarray(expected), rtol=tolerance, atol=tolerance)


def weighted(f: Callable[..., Any], weights: Any) -> Callable[..., Any]:
    return lambda *args: (f(*args) * weights).sum()


@by_jax
def expected(case: Case) -> Any:
    args, f, argnums = case.arguments(), case.of(theirs), case.differentiated
    with jax.enable_x64(True):
        value = f(*map(J.asarray, args))
        weights = J.asarray(np.cos(np.arange(1.0, 1 + value.size))).reshape(value.shape)
        tangents = [J.ones_like(args[p]) * (p + 1) for p in argnums]

        def along(*chosen: Any) -> Any:
            full = list(map(J.asarray, args))
            for position, array in zip(argnums, chosen, strict=True):
                full[position] = array
            return f(*full)

        primals = [J.asarray(args[p]) for p in argnums]
        jvp = jax.jvp(along, primals, tangents)[1]
        grad = jax.grad(weighted(f, weights), argnums)
        first = grad(*map(J.asarray, args))
        second = None
        if case.second:
            second = jax.grad(lambda *a: sum((g * g).sum() for g in grad(*a)), argnums)(*map(J.asarray, args))
        return tuple(map(np.asarray, (value, weights, jvp))), *(
            part if part is None else [np.asarray(g) for g in part] for part in (first, second)
        )


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_value_and_derivatives_are_jaxs(case: Case, xp: Any) -> None:
    args, f, argnums = [on(xp, arg) for arg in case.arguments()], case.of(ours), case.differentiated
    (value, weights, jvp), first, second = expected(case)
    close(f(*args), value, case.tolerance)
    grad = gradkit.grad(weighted(f, on(xp, weights)), argnums)
    for got, right in zip(grad(*args), first, strict=True):
        close(got, right, case.tolerance * 10)
    if second is not None:
        again = gradkit.grad(lambda *a: sum((g * g).sum() for g in grad(*a)), argnums)(*args)
        for got, right in zip(again, second, strict=True):
            close(got, right, case.tolerance * 1000)

    def along(*chosen: Any) -> Any:
        full = list(args)
        for position, array in zip(argnums, chosen, strict=True):
            full[position] = array
        return f(*full)

    primals = tuple(args[p] for p in argnums)
    tangents = tuple(on(xp, np.ones((3, 4)) * (p + 1)) for p in argnums)
    close(gradkit.jvp(along, primals, tangents)[1], jvp, case.tolerance * 10)


@pytest.mark.parametrize("case", [c for c in CASES if not c.options], ids=lambda case: case.name)
def test_vmap_gives_what_a_call_on_the_batch_gives(case: Case, xp: Any) -> None:
    args, f = [on(xp, arg) for arg in case.arguments()], case.of(ours)
    close(gradkit.vmap(f, in_axes=1, out_axes=1)(*args), gradkit.device_get(f(*args)), 1e-12)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_polygamma_and_expn(n: int, xp: Any) -> None:
    x = np.asarray([0.4, 1.3, 5.0])
    with jax.enable_x64(True):
        right = theirs.polygamma(n, x), jax.vmap(jax.grad(lambda x: theirs.polygamma(n, x)))(x)
        right_n = theirs.expn(n + 1, x), jax.vmap(jax.grad(lambda x: theirs.expn(n + 1, x)))(x)
    for f, values in ((lambda x: ours.polygamma(n, x), right), (lambda x: ours.expn(n + 1, x), right_n)):
        close(f(on(xp, x)), values[0], 1e-10)
        close(gradkit.grad(lambda x, f=f: f(x).sum())(on(xp, x)), values[1], 1e-10)


EDGES = [-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan]


@pytest.mark.parametrize("name", ["entr", "gammasgn", "i0e", "i1e", "erfc", "ndtr"])
def test_values_at_the_edges_are_jaxs(name: str, xp: Any) -> None:
    with jax.enable_x64(True):
        right = getattr(theirs, name)(np.asarray(EDGES))
    close(getattr(ours, name)(on(xp, EDGES)), right, 1e-12)


def test_x_times_a_logarithm_is_0_where_x_is(xp: Any) -> None:
    x, y = on(xp, [0.0, 0.0, 2.0, 0.0]), on(xp, [0.0, 3.0, 1.0, np.nan])
    close(ours.xlogy(x, y), [0.0, 0.0, 0.0, np.nan], 0)
    close(ours.xlog1py(x, y - 1), [0.0, 0.0, 0.0, np.nan], 0)
    slope = gradkit.grad(lambda x: ours.xlogy(x, 3.0).sum())(on(xp, [0.0, 1.0]))
    close(slope, np.log([3.0, 3.0]), 1e-12)
    close(ours.rel_entr(on(xp, [0.0, 1.0, -1.0]), on(xp, [2.0, -1.0, 1.0])), [0.0, np.inf, np.inf], 0)


def test_spence_and_owens_t_agree_with_central_differences(xp: Any) -> None:
    from gradkit.testing import check_grads

    x = on(xp, [0.3, 0.9996, 1.0, 1.5])  # JAX's own derivative is NaN at some of them
    check_grads(ours.spence, (x,), order=2, atol=1e-5)
    with jax.enable_x64(True):
        close(ours.spence(x), theirs.spence(np.asarray([0.3, 0.9996, 1.0, 1.5])), 1e-9)
    check_grads(ours.owens_t, (on(xp, [0.3, -1.0, 2.0]), on(xp, [0.5, 2.0, -0.7])), order=2)


def test_numbers_and_narrow_dtypes(xp: Any) -> None:
    assert ours.betaln(2.0, xp.asarray(3.0)).dtype == jnp.float32
    assert ours.betaln(1, 2).dtype == jnp.float32
    assert ours.gammaln(xp.asarray([2, 3])).dtype == jnp.float32
    assert ours.gamma(5).dtype == jnp.float32
    close(ours.gamma(5), 24.0, 1e-6)
    close(ours.comb(5, 2), 10.0, 1e-6)
    close(ours.comb(5, 2, repetition=True), 15.0, 1e-6)
    close(ours.factorial(xp.asarray([3, -1])), [6.0, 0.0], 1e-6)
    for n in (0, 1, 2, 10):
        close(ours.bernoulli(n), theirs.bernoulli(n), 1e-6)


def test_the_sign_of_logsumexp(xp: Any) -> None:
    x, b = on(xp, [1.0, 2.0, 3.0]), on(xp, [1.0, -2.0, 0.5])
    with jax.enable_x64(True):
        value, sign = theirs.logsumexp(np.asarray([1.0, 2.0, 3.0]), b=np.asarray([1.0, -2.0, 0.5]), return_sign=True)
    got, got_sign = ours.logsumexp(x, b=b, return_sign=True)
    close(got, value, 1e-12)
    close(got_sign, sign, 0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ours.betainc(x, 1.0, 0.5),
        lambda x: ours.zeta(x, 1.0),
        gradkit.grad(lambda x: ours.gammainc(x, 1.0)),
    ],
)
def test_a_derivative_that_nobody_has_is_an_error(f: Any, xp: Any) -> None:
    with pytest.raises(NotImplementedError, match="not supported"):
        gradkit.grad(f)(2.0)
    with pytest.raises(NotImplementedError, match="pass q"):
        ours.zeta(2.0)


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from gradkit.backend import scipy_special

    monkeypatch.setitem(sys.modules, "scipy.special", None)
    scipy_special.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"pip install 'gradkit\[scipy\]'"):
        scipy_special("gammaln")
    scipy_special.cache_clear()
