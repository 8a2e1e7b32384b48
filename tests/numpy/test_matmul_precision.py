"""How exactly products are computed: JAX's names, and the mode that is set on a GPU."""

from __future__ import annotations

import threading
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.settings import ALGORITHMS

NAMES = [
    None, "default", "high", "highest", "fastest", "bfloat16", "bfloat16_3x", "tensorfloat32", "float32", "DEFAULT",
    "single", *ALGORITHMS,
]  # fmt: skip


def accepts(update: Any, value: Any) -> bool:
    try:
        update("jax_default_matmul_precision", value)
    except ValueError:
        return False
    finally:
        update("jax_default_matmul_precision", None)
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_setting_takes_the_names_that_jaxs_takes(name: Any) -> None:
    assert accepts(gradkit.config.update, name) == accepts(jax.config.update, name)


def test_a_wrong_name_is_an_error_that_lists_the_right_ones() -> None:
    with pytest.raises(ValueError, match=r"default_matmul_precision: expected None or one of default, .*; got 'exact'"):
        gradkit.default_matmul_precision("exact")
    with pytest.raises(ValueError, match=r"matmul: precision must be None, .* got 'exact'"):
        jnp.matmul(jnp.ones((2, 2)), jnp.ones((2, 2)), precision="exact")


def test_blocks_nest_and_belong_to_their_thread() -> None:
    seen = []
    gradkit.config.update("jax_default_matmul_precision", "high")
    try:
        with gradkit.default_matmul_precision("float32"):
            thread = threading.Thread(target=lambda: seen.append(gradkit.config.jax_default_matmul_precision))
            thread.start()
            thread.join()
            with gradkit.default_matmul_precision(None):
                seen.append(gradkit.config.jax_default_matmul_precision)
            seen.append(gradkit.config.jax_default_matmul_precision)
        seen.append(gradkit.config.jax_default_matmul_precision)
    finally:
        gradkit.config.update("jax_default_matmul_precision", None)
    assert seen == ["high", None, "float32", "high"]


PRODUCTS = {
    "matmul": lambda m, x, **named: m.numpy.matmul(x, x, **named),
    "dot": lambda m, x, **named: m.numpy.dot(x, x, **named),
    "einsum": lambda m, x, **named: m.numpy.einsum("ij,jk->ik", x, x, **named),
    "tensordot": lambda m, x, **named: m.numpy.tensordot(x, x, 1, **named),
    "lax.dot": lambda m, x, **named: m.lax.dot(x, x, **named),
    "convolution": lambda m, x, **named: m.lax.conv_general_dilated(
        x[None, None], x[None, None, :2, :2], (1, 1), "VALID", **named
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_on_a_cpu_products_keep_all_bits_whatever_is_asked_for(name: str, backend: Any) -> None:
    if backend.product_modes:
        pytest.skip("it has modes to choose from")
    values = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    x, f = jnp.asarray(values), PRODUCTS[name]
    plain = f(gradkit, x)
    for precision in ("bfloat16", "tensorfloat32", "highest", lax.Precision.HIGH):
        assert jnp.array_equal(f(gradkit, x, precision=precision), plain)
    with gradkit.default_matmul_precision("tensorfloat32"):
        assert jnp.array_equal(f(gradkit, x), plain)
        assert jnp.array_equal(gradkit.jit(lambda x: f(gradkit, x))(x), gradkit.jit(lambda x: f(gradkit, x))(x))
    np.testing.assert_allclose(np.asarray(gradkit.device_get(plain)), f(jax, J.asarray(values)), rtol=1e-5, atol=1e-6)


def test_the_setting_is_part_of_what_jit_knows_a_program_by(backend: Any) -> None:
    traced = []

    @gradkit.jit
    def f(x: Any) -> Any:
        traced.append(gradkit.config.jax_default_matmul_precision)
        return x @ x

    x = jnp.ones((2, 2))
    f(x)
    with gradkit.default_matmul_precision("tensorfloat32"):
        f(x)
        f(x)
    f(x)
    assert traced == [None, "tensorfloat32"]


# On a GPU: what tests/cuda_on_cpu has been told when a product was started

TF32, FULL, ITS_OWN = 7, 4, 1


@pytest.fixture
def products(backend: Any) -> list[int]:
    """Return how each product was computed, in CuPy's numbers."""
    if backend.name != "cupy":
        pytest.skip("it has no mode to choose")
    ledger = getattr(pytest.importorskip("cupy"), "_ledger", None)
    if ledger is None:
        pytest.skip("modes are noted by tests/cuda_on_cpu, which this run does without")
    ledger.products.clear()
    return ledger.products


@pytest.mark.backends("cupy")
@pytest.mark.parametrize(
    "precision, mode",
    [
        (None, ITS_OWN), ("default", ITS_OWN), ("high", TF32), ("tensorfloat32", TF32), ("bfloat16", TF32),
        ("highest", FULL), ("float32", FULL), ("BF16_BF16_F32", TF32), ("BF16_BF16_F32_X3", FULL),
        ("TF32_TF32_F32", TF32), (lax.Precision.HIGHEST, FULL), (("high", "highest"), FULL),
    ],
)  # fmt: skip
def test_a_gpu_is_told_how_exactly_to_multiply(precision: Any, mode: int, products: list[int]) -> None:
    x = jnp.ones((3, 3))
    for f in PRODUCTS.values():
        products.clear()
        f(gradkit, x, precision=precision)
        assert set(products) == {mode}
    if precision is None or type(precision) is str:
        products.clear()
        with gradkit.default_matmul_precision(precision):
            x @ x
            gradkit.nn.Linear(3, 2, key=gradkit.random.key(0))(x)
        assert products == [mode, mode]
    products.clear()
    x @ x
    assert products == [ITS_OWN]


@pytest.mark.backends("cupy")
def test_the_derivative_of_a_product_is_computed_as_it_is(products: list[int]) -> None:
    w = jnp.ones((3, 3))

    def loss(w: Any) -> Any:
        with gradkit.default_matmul_precision("tensorfloat32"):
            return jnp.sum((w @ w) ** 2)

    for f in (
        gradkit.grad(loss),
        gradkit.jit(gradkit.grad(loss)),
        gradkit.hessian(loss),
        lambda w: gradkit.jvp(loss, (w,), (w,)),
    ):
        products.clear()
        f(w)
        assert products
        assert set(products) == {TF32}


@pytest.mark.backends("cupy")
def test_float64_has_no_mode(products: list[int]) -> None:
    with gradkit.default_matmul_precision("tensorfloat32"):
        jnp.ones((2, 2), "float64") @ jnp.ones((2, 2), "float64")
    assert products == [ITS_OWN]
