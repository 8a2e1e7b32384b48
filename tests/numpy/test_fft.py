"""numpy.fft against JAX: every transform, length, axis and norm, with its derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pullbacks import Case, check, check_batches, close, numbers

import gradkit
import gradkit.numpy as jnp

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")
OF_REAL = ("rfft", "ihfft", "rfftn", "rfft2")


def call(name: str, **options: Any) -> Any:
    return lambda m, x: getattr(m.fft, name)(x, **options)


def cases() -> Iterator[Case]:
    for c in (False, True):
        kind = "complex" if c else "real"
        for name in (*ONE, *SEVERAL):
            if c and name in OF_REAL:
                continue
            axes: dict[str, Any] = {"axis": 1} if name in ONE else {"axes": (2, 0)}
            for size in (4, 5):
                x = numbers(size, (3, size, 3), c)
                yield Case(f"{name}-{kind}-{size}", call(name, **axes), x, order=2 if name in ONE else 1)
            for norm in ("ortho", "forward", "backward"):
                yield Case(f"{name}-{kind}-{norm}", call(name, norm=norm), numbers(0, (2, 3, 4), c), order=1)
            for size in (1, 3, 7):
                lengths = {"n": size} if name in ONE else {"s": (size, 6)}
                yield Case(f"{name}-{kind}-to-{size}", call(name, **axes, **lengths), numbers(1, (4, 4, 5), c), order=1)
        for name in ("fftshift", "ifftshift"):
            for places in (None, 1, (0, -1)):
                yield Case(f"{name}-{kind}-{places}", call(name, axes=places), numbers(2, (3, 4), c), order=1)


FLAT = [pytest.param(case, id=case.name) for case in cases()]


@pytest.mark.parametrize("case", FLAT)
def test_values_and_derivatives_are_those_of_jax(case: Case, xp: Any) -> None:
    check(case, xp)


@pytest.mark.parametrize("case", FLAT[::3])
def test_vmap_and_shapes(case: Case, xp: Any) -> None:
    check_batches(case, xp)


@given(size=st.integers(1, 12), length=st.integers(1, 12), seed=st.integers(0, 100))
def test_transposes_are_transposes(size: int, length: int, seed: int) -> None:
    """The real inner product of a result and its cotangent is that of the argument and the pulled one."""
    for name in ("fft", "ifft", "rfft", "irfft"):
        x = numbers(seed, (size,), name != "rfft")
        value, pullback = gradkit.vjp(lambda x, name=name: getattr(jnp.fft, name)(x, n=length), jnp.asarray(x))
        g = numbers(seed + 1, value.shape, value.dtype.kind == "c")
        (share,) = pullback(jnp.asarray(g))
        ours = np.sum(gradkit.device_get(value) * g).real
        np.testing.assert_allclose(ours, np.sum(gradkit.device_get(share) * x).real, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [1, 4, 5])
@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies(name: str, n: int, xp: Any) -> None:
    with jax.enable_x64(True):
        wanted = np.asarray(getattr(J.fft, name)(n, 0.3, dtype="float64"))
    close(getattr(jnp.fft, name)(n, 0.3, dtype="float64"), wanted, 1e-12)
    assert getattr(jnp.fft, name)(n).dtype == "float32"


def test_dtypes_follow_those_of_the_input(xp: Any) -> None:
    for given_dtype, result in (("int32", "complex64"), ("float32", "complex64"), ("float64", "complex128")):
        x = jnp.asarray(np.ones(4, given_dtype))
        assert jnp.fft.fft(x).dtype == result
        assert jnp.fft.rfft(x).dtype == result
        assert jnp.fft.irfft(x).dtype == ("float64" if given_dtype == "float64" else "float32")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jnp.fft.rfft(jnp.ones(3, dtype="complex64")), "only real valued inputs"),
        (lambda: jnp.fft.fft(jnp.ones(3), n=0), "Shape should be positive"),
        (lambda: jnp.fft.fft(jnp.ones(3), norm="x"), "Invalid norm value x"),
        (lambda: jnp.fft.fft(jnp.ones(3), axis=(0,)), "does not support multiple axes"),
        (lambda: jnp.fft.fftn(jnp.ones((3, 3)), axes=(0, 0)), "names an axis twice"),
        (lambda: jnp.fft.fftn(jnp.ones((3, 3)), s=(2,), axes=(0, 1)), "different lengths"),
        (lambda: jnp.fft.fft2(jnp.ones((3, 3)), axes=(0,)), "only supports 2 axes"),
        (lambda: jnp.fft.fft(jnp.ones((0,))), "Invalid number of FFT data points"),
    ],
)
def test_errors_say_what_came(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
