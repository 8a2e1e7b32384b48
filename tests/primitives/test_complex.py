"""Complex numbers through the elementwise functions and the rest, in JAX's convention: transposes do not conjugate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as J
import jax.scipy.special
import numpy as np
import pytest
from pullbacks import Case, check, check_batches, close, numbers

import gradkit
import gradkit.nn
import gradkit.numpy as jnp
from gradkit.primitives import logsumexp

UNARY = """
abs acos angle asin asinh atan atanh conj cos cosh cumprod cumsum exp exp2 expm1 imag log log10 log1p log2 max
mean min nan_to_num negative positive prod real reciprocal sign sin sinc sinh sort sqrt square std sum tan tanh var
""".split()
BINARY = "add divide float_power logaddexp maximum minimum multiply pow subtract".split()
HOLOMORPHIC = "cos exp log reciprocal sin sqrt square tanh".split()
ACTIVATIONS = "sigmoid silu softplus softmax".split()


def nn(m: Any) -> Any:
    return jax.nn if m is J else gradkit.nn


def cases() -> Iterator[Case]:
    x, y = numbers(0, (3, 2), True), numbers(1, (2,), True)
    r = np.abs(numbers(2, (3, 2), False)) + 0.3
    for name in UNARY:
        yield Case(name, lambda m, a, name=name: getattr(m, name)(a), x)
    # Where the real part is negative JAX's derivative of acosh has the other sign.
    yield Case("acosh", lambda m, a: m.acosh(m.abs(m.real(a)) + 1j * m.imag(a)), x)
    for name in BINARY:
        yield Case(f"{name}_of_both", lambda m, a, b, name=name: getattr(m, name)(a, b), x, y)
        yield Case(f"{name}_with_real", lambda m, a, b, name=name: getattr(m, name)(a, b), x, r, order=1)
        yield Case(f"{name}_of_real", lambda m, a, b, name=name: getattr(m, name)(a, b), r, x, order=1)
    for k in (0, 1, 2, 3, -1, -2, 0.5, 2.5, 1 + 2j):
        yield Case(f"power_{k}", lambda m, a, k=k: a**k, x)
        yield Case(f"real_power_{k}", lambda m, a, k=k: a**k, r, order=1)
        if k:
            yield Case(f"power_of_{k}", lambda m, a, k=k: k**a, x)
    for kind, z in (("complex", x), ("real", r)):
        yield Case(f"numbers_beside_{kind}", lambda m, a: a / 2j + 3j * a - 1j + (2 - a) / (1j + a) + 1j / a, z)
    for name in ACTIVATIONS:
        options = {"axis": 0} if name == "softmax" else {}
        yield Case(name, lambda m, a, name=name, options=options: getattr(nn(m), name)(a, **options), x)
    yield Case("logsumexp", lambda m, a: (jax.scipy.special.logsumexp if m is J else logsumexp)(a, axis=0), x, order=1)
    yield Case("where", lambda m, a, b: m.where(m.real(a) > 0, a, b * a), x, y)
    yield Case("astype", lambda m, a: a.astype("complex128") * 1j, r)
    yield Case("matmul_with_real", lambda m, a, b: a @ b, x, numbers(3, (2, 3), False))
    yield Case("polar", lambda m, a: m.abs(a) * m.exp(1j * m.angle(a)), x)
    yield Case("update", lambda m, a, b: a.at[1:].set(b * a[0])[..., 0] * a.T[1], x, y)
    yield Case("take", lambda m, a: a[:, np.asarray([0, 0, 1])] * 1j, x)


# The standard has no order of complex numbers; NumPy and JAX compare real parts, then imaginary ones.
ORDERED = ("max", "min", "sort", "softmax")


def skip_order(case: Case, xp: Any) -> None:
    if case.name.startswith(ORDERED) and xp.ones(1).device.backend == "strict":
        pytest.skip("the standard has no order of complex numbers")


FLAT = [pytest.param(case, id=case.name) for case in cases()]


@pytest.mark.parametrize("case", FLAT)
def test_values_and_derivatives_are_those_of_jax(case: Case, xp: Any) -> None:
    skip_order(case, xp)
    check(case, xp)


@pytest.mark.parametrize("case", FLAT[::2])
def test_vmap_and_shapes(case: Case, xp: Any) -> None:
    skip_order(case, xp)
    check_batches(case, xp)


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_holomorphic_gradients(name: str, xp: Any) -> None:
    z = numbers(0, (3,), True)
    with jax.enable_x64(True):
        wanted = jax.grad(lambda z: getattr(J, name)(z).sum(), holomorphic=True)(J.asarray(z))
    close(
        gradkit.grad(lambda z: getattr(jnp, name)(z).sum(), holomorphic=True)(xp.asarray(z)), np.asarray(wanted), 1e-9
    )


AT_ZERO = {
    "abs": lambda m, z: m.abs(z),
    "angle": lambda m, z: m.angle(z),
    "square": lambda m, z: z**2,
    "power_0": lambda m, z: z**0,
    "power": lambda m, z: z ** (2 + 0 * z),
    "sign": lambda m, z: m.sign(z),
    "prod": lambda m, z: m.prod(z),
    "size": lambda m, z: z * m.conj(z),
    "norm_1": lambda m, z: m.linalg.norm(z, 1, axis=0),
    "norm_3": lambda m, z: m.linalg.norm(z, 3, axis=0),
    "norm_inf": lambda m, z: m.linalg.norm(z, np.inf, axis=0),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", AT_ZERO)
def test_derivatives_at_zero_are_those_of_jax(name: str, dtype: str, xp: Any) -> None:
    zeros = np.zeros(2, dtype)

    def total(m: Any) -> Any:
        return lambda z: m.real(AT_ZERO[name](m, z)).sum()

    with jax.enable_x64(True):
        (wanted,) = jax.vjp(total(J), J.asarray(zeros))[1](np.asarray(1.0))
    (got,) = gradkit.vjp(total(jnp), xp.asarray(zeros))[1](xp.asarray(np.asarray(1.0)))
    close(got, np.asarray(wanted), 0)
