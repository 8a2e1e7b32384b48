"""Reverse mode at its edges: arrays that outlive their transform, cotangents, threads, complex and infinite numbers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, nn
from gradkit.core.namespace import PRIMITIVES
from gradkit.errors import DeviceMismatchError, UnexpectedTracerError


def tracked(values: Any) -> Array:
    x = jnp.asarray(values)
    x.requires_grad = True
    return x


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


# Arrays that outlive their transform

RUNS: dict[str, Callable[[Any, Any], Any]] = {
    "grad": lambda f, x: gradkit.grad(f)(x),
    "value_and_grad": lambda f, x: gradkit.value_and_grad(f)(x),
    "vjp": lambda f, x: gradkit.vjp(f, x),
    "grad of grad": lambda f, x: gradkit.grad(lambda x: gradkit.grad(f)(x))(x),
}
USES: dict[str, Callable[[Any], Any]] = {
    "function": jnp.sin,
    "operator": lambda x: x * 2.0,
    "with itself": lambda x: x + x,
    "with another": lambda x: jnp.ones(()) - x,
    "reduction": lambda x: x.sum(),
    "reshape": lambda x: x.reshape(1),
    "NumPy": np.exp,
    "backward": lambda x: x.backward(),
    "grad": lambda x: gradkit.grad(lambda y: y * x)(1.0),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("use", USES)
def test_an_array_of_a_transform_that_has_returned_is_refused(run: str, use: str, xp: Any) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.extend([x, jnp.sin(x)])
        return x * x

    RUNS[run](f, jnp.asarray(0.5))
    for array in kept:
        with pytest.raises(UnexpectedTracerError, match=r"after the transform had finished.*has_aux=True"):
            USES[use](array)


def test_an_array_of_a_transform_that_has_returned_is_refused_by_the_first_operation_of_its_kind(
    xp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kept = gradkit.grad(lambda x: (x * x, [x]), has_aux=True)(1.0)
    assert float(jnp.sum(kept[0])) == 1.0  # has_aux gives plain arrays
    gradkit.grad(lambda x: (kept.append(x), x * x)[1])(1.0)
    kernels = PRIMITIVES["sum"].kernels
    for kind in list(kernels):
        monkeypatch.delitem(kernels, kind)
    with pytest.raises(UnexpectedTracerError):
        jnp.sum(kept[1])


def test_an_array_of_a_function_that_failed_is_refused(xp: Any) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        gradkit.grad(f)(1.0)
    with pytest.raises(UnexpectedTracerError):
        jnp.sin(kept[0])


def test_a_detached_array_of_a_transform_that_has_returned_is_a_plain_one(xp: Any) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 3)
        return x * x

    gradkit.grad(f)(jnp.asarray(2.0))
    assert float(kept[0].detach() + 1) == 7.0


def test_a_pullback_works_after_its_transform_has_returned(xp: Any) -> None:
    _, pullback = gradkit.vjp(lambda x: gradkit.grad(lambda y: y**3)(x), jnp.asarray(2.0))
    assert float(pullback(jnp.asarray(1.0))[0]) == 12.0


# What is assigned


@pytest.mark.parametrize("run", RUNS)
def test_data_cannot_be_assigned_inside_a_transform(run: str, xp: Any) -> None:
    def f(x: Any) -> Any:
        x.data = x.detach().data * 2
        return x * x

    with pytest.raises(ValueError, match=r"data: .* a transform \(grad, \.\.\.\) runs, .* jnp\.where"):
        RUNS[run](f, jnp.asarray(1.0))


def test_an_input_that_no_longer_requires_grad_is_a_constant(xp: Any) -> None:
    x = tracked([1.0, 2.0])
    before = (x * x).sum()
    (3 * x).sum().backward()
    x.requires_grad = False
    assert x.grad is None
    assert not (x * x).requires_grad
    before.backward()  # which was recorded when it did require one
    assert x.grad is None
    x.requires_grad = True
    (x * x).sum().backward()
    assert host(x.grad).tolist() == [2.0, 4.0]


# Cotangents


@pytest.mark.parametrize("order", [1, 2])
def test_the_result_of_backward_depends_on_the_gradient_that_it_is_given(order: int, xp: Any) -> None:
    values = jnp.asarray([1.0, 3.0])

    def f(seed: Any) -> Any:
        x = tracked(values.data)
        (x * x).backward(gradient=seed * seed)
        return (x.grad * jnp.asarray([1.0, 10.0])).sum()

    def expected(seed: Any) -> Any:
        return (2 * np.asarray([1.0, 3.0]) * seed * seed * np.asarray([1.0, 10.0])).sum()

    ours, theirs = gradkit.grad(f), jax.grad(expected)
    if order == 2:
        ours = gradkit.grad(lambda seed: (gradkit.grad(f)(seed) ** 2).sum())
        theirs = jax.grad(lambda seed: (jax.grad(expected)(seed) ** 2).sum())
    seed = np.float32([0.5, -2.0])
    np.testing.assert_allclose(host(ours(jnp.asarray(seed))), theirs(seed), rtol=1e-6)


def elsewhere(backend: Any) -> Any:
    """Return another device: of the same backend where it has one, else of another."""
    devices = gradkit.devices()
    return devices[-1] if len(devices) > 1 else gradkit.devices("strict" if backend.name == "numpy" else "numpy")[0]


def test_a_pullback_takes_cotangents_from_where_its_result_is(backend: Any, xp: Any) -> None:
    y, pullback = gradkit.vjp(jnp.sin, jnp.ones(2))
    other = elsewhere(backend)
    with pytest.raises(DeviceMismatchError) as caught:
        pullback(gradkit.device_put(jnp.ones(2), other))
    for word in (str(y.device), str(other), "gradkit.device_put"):
        assert word in str(caught.value)
    np.testing.assert_allclose(host(pullback(jnp.ones(2))[0]), np.cos([1.0, 1.0]), rtol=1e-6)


def test_backward_takes_gradients_from_where_the_array_is(backend: Any, xp: Any) -> None:
    y = jnp.sin(tracked([1.0, 2.0]))
    other = elsewhere(backend)
    with pytest.raises(TypeError) as caught:
        y.backward(gradkit.device_put(jnp.ones(2), other))
    for word in ("gradient", str(y.device), str(other)):
        assert word in str(caught.value)


# Arguments of transforms


@pytest.mark.parametrize("argnums", [(0, 0), (0, -2), (-1, 1, 0)])
def test_argnums_that_name_an_argument_twice_are_an_error(argnums: Any, xp: Any) -> None:
    with pytest.raises(ValueError, match=r"argnums: expected different positions, got \("):
        gradkit.grad(lambda x, y: x * y, argnums)(1.0, 2.0)


def test_holomorphic_functions_have_the_derivative_of_jax(xp: Any) -> None:
    z = np.complex64(0.5 - 1.5j)
    ours = gradkit.grad(lambda z: jnp.sin(z) * z**2, holomorphic=True)(jnp.asarray(z))
    np.testing.assert_allclose(host(ours), jax.grad(lambda z: J.sin(z) * z**2, holomorphic=True)(z), rtol=1e-5)


def test_holomorphic_with_real_numbers_is_an_error(xp: Any) -> None:
    with pytest.raises(TypeError, match="holomorphic=True requires inputs with complex dtype, but got float32"):
        gradkit.grad(lambda z: z * z, holomorphic=True)(jnp.asarray(1.0))
    with pytest.raises(TypeError, match="holomorphic=True requires outputs with complex dtype, but got float32"):
        gradkit.grad(lambda z: abs(z), holomorphic=True)(jnp.asarray(1j))


# Threads


def test_no_gradient_is_lost_where_threads_share_a_parameter(xp: Any) -> None:
    x = tracked(np.zeros(2_000, np.float32))
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(10)
        for _ in range(200):
            x.sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert set(host(x.grad).tolist()) == {1600.0}


# Complex and infinite numbers, and half precision

COMPLEX = np.asarray([1 + 2j, -0.5j, 0, 3 - 1j], np.complex64)


@pytest.mark.parametrize(
    "f",
    [
        lambda z: z.real,
        lambda z: z.imag,
        lambda z: z.conj(),
        lambda z: z.conj().real * z.imag,
        lambda z: abs(z),
        lambda z: (z * z.conj()).real ** 2,
        lambda z: z.real + 1j * z.real,
    ],
)
def test_parts_of_complex_numbers_are_differentiated_as_in_jax(f: Any, xp: Any) -> None:
    z = jnp.asarray(COMPLEX)
    value, pullback = gradkit.vjp(f, z)
    right, theirs = jax.vjp(f, J.asarray(COMPLEX))
    np.testing.assert_allclose(host(value), right, rtol=1e-6)
    cotangent = (np.arange(1.0, 5.0) * (1 - 2j if right.dtype.kind == "c" else 1)).astype(right.dtype)
    np.testing.assert_allclose(host(pullback(jnp.asarray(cotangent))[0]), theirs(cotangent)[0], rtol=1e-6)


def test_parts_of_real_numbers_are_themselves_and_zeros(xp: Any) -> None:
    x = jnp.asarray([1.0, -2.0])
    assert x.real is x
    assert host(x.conj()).tolist() == [1.0, -2.0]
    assert host(x.imag).tolist() == [0.0, 0.0]
    assert jnp.conjugate is jnp.conj


NUMBER = st.sampled_from([-np.inf, np.inf, np.nan, -1.0, 0.5, 2.0])
INFINITE = st.sampled_from([1, 3]).flatmap(lambda n: st.lists(NUMBER, min_size=n, max_size=n))
"""JAX compiles for each length."""


LOGSUMEXP = jax.jit(jax.value_and_grad(jax.scipy.special.logsumexp))


@given(INFINITE)
def test_logsumexp_of_infinite_numbers_is_that_of_jax(numbers: list[float]) -> None:
    x = np.asarray(numbers, np.float32)
    with np.errstate(all="ignore"):
        value, slope = gradkit.value_and_grad(jnp.logsumexp)(jnp.asarray(x))
    right = LOGSUMEXP(x)
    np.testing.assert_allclose(host(value), right[0], rtol=1e-6)
    np.testing.assert_allclose(host(slope), right[1], rtol=1e-5)


def test_hypot_has_the_slope_of_jax_at_the_origin(xp: Any) -> None:
    x, y = np.asarray([0.0, 3.0]), np.asarray([0.0, 4.0])
    slopes = gradkit.grad(lambda x, y: jnp.hypot(x, y).sum(), (0, 1))(jnp.asarray(x), jnp.asarray(y))
    expected = jax.grad(lambda x, y: J.hypot(x, y).sum(), (0, 1))(x, y)
    np.testing.assert_allclose([host(slope) for slope in slopes], expected, rtol=1e-6)


@pytest.mark.skip_backend("strict", reason="the array API standard has no float16")
def test_means_in_half_precision_do_not_overflow_on_the_way(xp: Any) -> None:
    x = jnp.asarray(np.full(70_000, 200, np.float16))
    zeros = jnp.zeros_like(x)
    for mean, slope in [(jnp.mean, 1 / 70_000), (lambda x: nn.mse(x, zeros), 400 / 70_000)]:
        value, gradient = gradkit.value_and_grad(mean)(x)
        assert value.dtype == gradient.dtype == "float16"
        assert float(value) == (200 if mean is jnp.mean else 40_000)
        np.testing.assert_allclose(host(gradient)[0], slope, rtol=2e-2)
