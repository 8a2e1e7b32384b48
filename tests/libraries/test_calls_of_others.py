"""Calls that other libraries make: NumPy's and SciPy's functions, einops, callables of all kinds."""

from __future__ import annotations

import functools
import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import einops
import numpy as np
import pytest
import scipy.special

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

X = np.linspace(0.1, 0.9, 24).reshape(2, 3, 4)

# NumPy's functions, in NumPy's spelling

NUMPY: dict[str, Callable[[Any], Any]] = {
    "pad": lambda x: np.pad(x, 1, constant_values=2.0),
    "pad with a ramp": lambda x: np.pad(x, 1, mode="linear_ramp", end_values=0.5),
    "pad with means": lambda x: np.pad(x, [(1, 0)] * 3, "mean", stat_length=2),
    "pad by reflection": lambda x: np.pad(x, 1, mode="reflect", reflect_type="odd"),
    "interp": lambda x: np.interp([0.2, 0.5], [0.0, 1.0], x[0, 0, :2]),
    "interp at an array": lambda x: np.interp(x, [0.0, 0.5, 1.0], (1.0, 2.0, 5.0)),
    "interp with a period": lambda x: np.interp(x, [0.0, 0.5], np.asarray([1.0, 2.0]), period=1.0),
    "searchsorted": lambda x: np.searchsorted([0.0, 0.5], x) + 0 * x,
    "average": lambda x: np.average(x, axis=2, weights=[1.0, 2.0, 3.0, 4.0]),
    "quantile": lambda x: np.quantile(x, [0.25, 0.5], axis=1),
    "polyval": lambda x: np.polyval([1.0, 2.0, 3.0], x),
    "convolve": lambda x: np.convolve(x[0, 0], [1.0, 0.5]),
    "dot": lambda x: np.dot(x, [1.0, 2.0, 3.0, 4.0]),
    "append": lambda x: np.append(x[0, 0], [1.0, 2.0]),
    "trapezoid": lambda x: np.trapezoid(x, [0.0, 1.0, 3.0, 4.0]),
    "outer": lambda x: np.outer(x, [1.0, 2.0]),
    "kron": lambda x: np.kron(x[0], [[1.0, 2.0]]),
    "gradient": lambda x: np.gradient(x[0, 0], [0.0, 1.0, 3.0, 4.0]),
    "sum": lambda x: np.sum(a=x, axis=(0, 1), keepdims=True),
    "take": lambda x: np.take(a=x, indices=[0, 1], axis=2),
    "reshape": lambda x: np.reshape(x, shape=(3, 8)),
    "clip": lambda x: np.clip(x, a_min=0.2, a_max=0.7),
    "transpose": lambda x: np.transpose(a=x, axes=(2, 0, 1)),
    "roll": lambda x: np.roll(a=x, shift=1, axis=2),
    "std": lambda x: np.std(x, ddof=1, axis=1),
    "var": lambda x: np.var(x, correction=1),
    "concatenate": lambda x: np.concatenate((x, x), axis=1),
    "tensordot": lambda x: np.tensordot(a=x, b=x, axes=([0, 1], [0, 1])),
    "einsum": lambda x: np.einsum("ijk,ijk->k", x, x),
    "diff": lambda x: np.diff(x, n=2),
    "broadcast_to": lambda x: np.broadcast_to(array=x, shape=(2, 2, 3, 4)),
    "moveaxis": lambda x: np.moveaxis(x, source=0, destination=-1),
    "where": lambda x: np.where(x > 0.5, x, 0.0),
    "repeat": lambda x: np.repeat(x, repeats=2, axis=0),
    "norm": lambda x: np.linalg.norm(x, ord=2, axis=2),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy_s_spelling_is_understood(name: str, xp: Any) -> None:
    with gradkit.enable_x64():
        x = xp.asarray(X)
        ours = NUMPY[name](x)
        assert type(ours) is gradkit.Array
        np.testing.assert_allclose(gradkit.device_get(ours), NUMPY[name](X), rtol=1e-6)
        gradkit.grad(lambda x: jnp.sum(NUMPY[name](x)))(x)


def test_out_of_another_library_says_what_to_do(backend: Any, xp: Any) -> None:
    buffer, x = np.zeros(2, np.float32), xp.asarray([1.0, 2.0], dtype="float32")
    if backend.name == "numpy":
        np.add(x, 1.0, out=buffer)
        assert buffer.tolist() == [2.0, 3.0]
        with pytest.raises(TypeError, match="out= is a gradkit Array, which is immutable"):
            np.add(x, 1.0, out=x)
    else:
        with pytest.raises(TypeError, match=r"out= is float32\[2\] on numpy:0.*Leave out= away.*device_get"):
            np.add(x, 1.0, out=buffer)
        assert not buffer.any()


# SciPy


def test_scipy_finds_the_special_functions() -> None:
    assert hasattr(jnp, "special")
    assert jnp.special is gradkit.scipy.beyond_jax
    assert all(
        getattr(jnp.special, name) is getattr(gradkit.scipy.special, name) for name in gradkit.scipy.special.__all__
    )
    assert jnp.ones(2).__array_namespace__().special.expit is gradkit.scipy.special.expit
    assert gradkit.scipy.special.psi is gradkit.scipy.special.digamma
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        jnp.nothing  # noqa: B018


COUNTING = {"bdtr", "bdtrc", "bdtri", "nbdtr", "nbdtrc", "nbdtri", "pdtri", "yn"}
"""Those of whole numbers, and warn of others."""
UFUNCS = sorted(
    name
    for name in set(dir(scipy.special)) - COUNTING
    if isinstance(getattr(scipy.special, name), np.ufunc) and hasattr(jnp.special, name)
)


@pytest.mark.parametrize("name", UFUNCS)
def test_scipy_s_ufuncs_are_gradkit_s(name: str, xp: Any) -> None:
    function = getattr(scipy.special, name)
    args = {"expn": [np.asarray([1, 2, 3])], "sph_harm_y": []}.get(name, [])
    values = [*args, *(np.asarray([0.3, 0.5, 0.7]) for _ in range(function.nin - len(args)))]
    with gradkit.enable_x64():
        ours = function(*map(xp.asarray, values))
        right = function(*values)
    for one, other in zip(*((part if isinstance(part, tuple) else (part,)) for part in (ours, right)), strict=True):
        assert type(one) is gradkit.Array
        np.testing.assert_allclose(gradkit.device_get(one), other, rtol=1e-9)


def test_there_are_many_of_them() -> None:
    assert {"expit", "psi", "gammaln", "erf", "ndtr", "xlogy", "betainc"} <= set(UFUNCS)


def test_one_that_is_not_there_is_an_error(xp: Any) -> None:
    with pytest.raises(TypeError, match="ufunc ellipe: gradkit has no such function"):
        scipy.special.ellipe(xp.asarray(0.5))


# einops

EINOPS: dict[str, Callable[[Any], Any]] = {
    "rearrange": lambda x: einops.rearrange(x, "a (b c) d -> d a c b", b=3),
    "rearrange a list": lambda x: einops.rearrange([x, x], "k a b c -> a (k b c)"),
    "reduce by mean": lambda x: einops.reduce(x, "a b c -> a c", "mean"),
    "reduce by max": lambda x: einops.reduce(x, "a b (c k) -> a c", "max", k=2),
    "reduce by min": lambda x: einops.reduce(x, "a b c -> b", "min"),
    "reduce by sum": lambda x: einops.reduce(x, "a b c -> () b ()", "sum"),
    "reduce by product": lambda x: einops.reduce(x, "a b c -> a", "prod"),
    "repeat": lambda x: einops.repeat(x, "a b c -> (a k) b (c 3)", k=2),
    "repeat a new axis": lambda x: einops.repeat(x, "a b c -> a k b c", k=2),
    "einsum": lambda x: einops.einsum(x, x, "a b c, a b d -> c d"),
    "pack": lambda x: einops.pack([x, x[:, :1]], "a * c")[0],
    "unpack": lambda x: einops.unpack(x, [[1], [2]], "a * c")[1],
}


@pytest.mark.parametrize("name", EINOPS)
def test_einops_takes_arrays_and_is_differentiated(name: str, xp: Any) -> None:
    with gradkit.enable_x64():
        x = xp.asarray(X)
        ours = EINOPS[name](x)
        np.testing.assert_allclose(gradkit.device_get(ours), EINOPS[name](X), rtol=1e-12)
        direction = np.cos(np.arange(X.size)).reshape(X.shape)
        slope = gradkit.device_get(gradkit.grad(lambda x: jnp.sum(EINOPS[name](x) ** 2))(x))
        ends = [np.sum(EINOPS[name](X + sign * 1e-6 * direction) ** 2) for sign in (1, -1)]
        np.testing.assert_allclose((slope * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-6)
        batch = gradkit.vmap(EINOPS[name])(jnp.stack([x, 2 * x]))
        np.testing.assert_allclose(gradkit.device_get(batch[0]), EINOPS[name](X), rtol=1e-12)
    assert einops.parse_shape(x, "a b c") == {"a": 2, "b": 3, "c": 4}
    assert type(einops.asnumpy(x)) is np.ndarray


@pytest.mark.parametrize(
    "program",
    [
        "import gradkit; import einops",
        "import einops; import gradkit",
        "import gradkit, sys; x = gradkit.numpy.ones((2, 3)); assert 'einops' not in sys.modules; import einops",
        "import einops.layers; import gradkit",
        "from gradkit import numpy; from einops import rearrange; import einops",
    ],
)
def test_einops_may_come_before_or_after(program: str) -> None:
    program += (
        "; import gradkit.numpy as jnp; assert einops.rearrange(jnp.ones((2, 3)), 'a b -> b a').shape == (3, 2)"
        "; import sys; assert not any('gradkit' in type(finder).__module__ for finder in sys.meta_path)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Callables


class Doubles:
    """A callable object, and one that has a bound method."""

    __slots__ = ()

    def __call__(self, x: Any) -> Any:
        return x * 2.0

    def method(self, x: Any) -> Any:
        return x * 2.0


class Named:
    """One whose name is no text."""

    def __init__(self) -> None:
        self.__name__ = self.__qualname__ = None

    def __call__(self, x: Any) -> Any:
        return x * 2.0


class Answers(Doubles):
    """One that has no other attributes."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


CALLABLES: dict[str, Callable[[Any], Any]] = {
    "partial": functools.partial(operator.mul, 2.0),
    "partial of an object": functools.partial(Doubles()),
    "object": Doubles(),
    "object whose name is no text": Named(),
    "object without attributes": Answers(),
    "bound method": Doubles().method,
    "method caller": operator.methodcaller("__mul__", 2.0),
    "jitted object": gradkit.jit(Doubles()),
    "vectorized object": jnp.vectorize(Doubles()),
    "dispatching function": functools.singledispatch(lambda x: x * 2.0),
}
TRANSFORMS: dict[str, Callable[[Any, Any], Any]] = {
    "grad": lambda f, x: gradkit.grad(f)(x),
    "value_and_grad": lambda f, x: gradkit.value_and_grad(f)(x)[1],
    "jvp": lambda f, x: gradkit.jvp(f, (x,), (x * 0 + 1,))[1],
    "vjp": lambda f, x: gradkit.vjp(f, x)[1](x * 0 + 1)[0],
    "linearize": lambda f, x: gradkit.linearize(f, x)[1](x * 0 + 1),
    "linear_transpose": lambda f, x: gradkit.linear_transpose(f, x)(x * 0 + 1)[0],
    "jacfwd": lambda f, x: gradkit.jacfwd(f)(x),
    "jacrev": lambda f, x: gradkit.jacrev(f)(x),
    "hessian": lambda f, x: gradkit.hessian(f)(x) + 2.0,
    "vmap": lambda f, x: gradkit.vmap(f)(x[None])[0] / x,
    "jit": lambda f, x: gradkit.jit(f)(x) / x,
    "checkpoint": lambda f, x: gradkit.checkpoint(f)(x) / x,
    "named_call": lambda f, x: gradkit.named_call(f)(x) / x,
    "make_jaxpr": lambda f, x: str(gradkit.make_jaxpr(gradkit.jit(f))(x)) and x * 0 + 2.0,
    "eval_shape": lambda f, x: jnp.full(gradkit.eval_shape(f, x).shape, 2.0),
    "closure_convert": lambda f, x: gradkit.closure_convert(f, x)[0](x) / x,
    "map": lambda f, x: lax.map(f, x[None])[0] / x,
    "cond": lambda f, x: lax.cond(True, f, f, x) / x,
    "fori_loop": lambda f, x: lax.fori_loop(0, 1, lambda _, x: f(x), x) / x,
    "vectorize": lambda f, x: jnp.vectorize(f)(x) / x,
    "apply_along_axis": lambda f, x: jnp.apply_along_axis(f, 0, x[None])[0] / x,
    "piecewise": lambda f, x: jnp.piecewise(x[None], [x[None] > 0], [f])[0] / x,
}


@pytest.mark.parametrize("kind", CALLABLES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_callable_needs_no_name(name: str, kind: str, xp: Any) -> None:
    slope = TRANSFORMS[name](CALLABLES[kind], xp.asarray(1.5))
    assert float(slope) == 2.0


# Names of arguments


@pytest.mark.parametrize(
    "name, values",
    [
        *((name, {"x": 2.0, "y": 3.0}) for name in "add sub mul div rem max min pow atan2 eq ne lt le gt ge".split()),
        ("igamma", {"a": 2.0, "x": 3.0}),
        ("igammac", {"a": 2.0, "x": 3.0}),
        ("betainc", {"a": 2.0, "b": 3.0, "x": 0.5}),
        ("nextafter", {"x1": 2.0, "x2": 3.0}),
        ("polygamma", {"m": 1.0, "x": 3.0}),
        ("zeta", {"x": 2.0, "q": 3.0}),
    ],
)
def test_lax_takes_arguments_by_jax_s_names(name: str, values: dict[str, float], xp: Any) -> None:
    function = getattr(lax, name)
    expected = function(*values.values())
    first, *rest = values
    assert function(**values).item() == expected.item()
    assert function(values[first], **{key: values[key] for key in rest}).item() == expected.item()
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        function(*values.values(), nothing=1.0)


@pytest.mark.parametrize("name", ["expit", "digamma", "erfc", "gammaln", "ndtr", "logit"])
def test_special_functions_take_x_by_name(name: str, xp: Any) -> None:
    function = getattr(gradkit.scipy.special, name)
    assert function(x=xp.asarray(0.5)).item() == function(xp.asarray(0.5)).item()
