"""`gradkit.lax`: linear algebra, Fourier transforms, bits, general reductions, edge values, and JAX's errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from lax_cases import Case, case, compare, leaves
from references import kept, usual_widths

import gradkit
import gradkit.numpy as jnp
from gradkit import lax


def positive(lax: Any, jnp: Any, x: Any) -> Any:
    """Return positive definite matrices."""
    n = x.shape[-1]
    return lax.batch_matmul(x, jnp.matrix_transpose(x)) + jnp.asarray(2 * np.eye(n))


def invertible(jnp: Any, x: Any) -> Any:
    return x + jnp.asarray(3 * np.eye(x.shape[-1]))


SOLVERS = {
    f"triangular_solve-{left}-{lower}-{transpose}-{unit}": case(
        lambda lax, jnp, a, b, options=(left, lower, transpose, unit): lax.linalg.triangular_solve(
            invertible(jnp, a),
            b if options[0] else jnp.matrix_transpose(b),
            left_side=options[0],
            lower=options[1],
            transpose_a=options[2],
            unit_diagonal=options[3],
        ),
        (2, 3, 3),
        (2, 3, 2),
    )
    for left, lower, transpose, unit in [
        (True, True, False, False),
        (True, False, True, False),
        (False, True, False, False),
        (False, False, True, True),
    ]
}
CASES: dict[str, Case] = {
    **SOLVERS,
    "cholesky": case(lambda lax, jnp, x: lax.linalg.cholesky(positive(lax, jnp, x)), (2, 3, 3)),
    "eigh": case(
        lambda lax, jnp, x: abs(lax.linalg.eigh(positive(lax, jnp, x))[0]) + lax.linalg.eigh(positive(lax, jnp, x))[1],
        (3, 3),
    ),
    "qr": case(lambda lax, jnp, x: tuple(lax.linalg.qr(x, full_matrices=False)), (4, 3)),
    "svd": case(lambda lax, jnp, x: lax.linalg.svd(x, full_matrices=False)[1], (3, 4)),
    "svd-values": case(lambda lax, jnp, x: lax.linalg.svd(x, compute_uv=False), (3, 4)),
    "lu": case(lambda lax, jnp, x: tuple(lax.linalg.lu(invertible(jnp, x))), (3, 3)),
    "symmetric_product": case(
        lambda lax, jnp, a, c: lax.linalg.symmetric_product(
            a, c + jnp.matrix_transpose(c), alpha=2.0, beta=0.5, symmetrize_output=True
        ),
        (3, 2),
        (3, 3),
        has_derivative=False,
    ),
    "tridiagonal_solve": case(
        lambda lax, jnp, a, d, b: lax.linalg.tridiagonal_solve(a, d * d + 3, a * a, b),
        (4,),
        (4,),
        (4, 2),
        has_derivative=False,
    ),
    "fft": case(lambda lax, jnp, x: jnp.real(lax.fft(x + 0j, "FFT", (4,)) * (1 + 2j)), (3, 4)),
    "ifft": case(lambda lax, jnp, x: jnp.imag(lax.fft(x * (1 + 0.5j), "IFFT", (3, 4))), (2, 3, 4)),
    "rfft": case(lambda lax, jnp, x: jnp.real(lax.fft(x, "RFFT", (5,)) * (1 + 2j)), (3, 5)),
    "irfft": case(lambda lax, jnp, x: lax.fft(x * (1 + 2j), lax.FftType.IRFFT, (4,)), (2, 3)),
    "reduce-any-function": case(lambda lax, jnp, x: lax.reduce(x, np.float64(2), lambda a, b: a * b, (1,)), (3, 3)),
    "reduce-all-axes": case(lambda lax, jnp, x: lax.reduce(x, np.float64(0), lambda a, b: a + b, (0, 1)), (3, 5)),
    "reduce-tree": case(
        lambda lax, jnp, x, y: lax.reduce(
            (x, y), (np.float64(0), np.float64(1)), lambda a, b: (a[0] + b[0], a[1] * b[1]), (0,)
        ),
        (5, 2),
        (5, 2),
    ),
    "reduce_window-any-function": case(
        lambda lax, jnp, x: lax.reduce_window(x, 0.0, lambda a, b: a + b, (2, 2), (1, 2), "SAME"),
        (4, 5),
        has_derivative=False,
    ),
    "reduce_window-product": case(
        lambda lax, jnp, x: lax.reduce_window(x, 1.0, lax.mul, (2, 2), (2, 2)), (4, 4), has_derivative=False
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_and_batches_agree_with_jax(name: str, xp: Any) -> None:
    compare(CASES[name], xp)


# Integers and bits

INTEGERS = np.asarray([[0, 1, 2, 5, -1], [-7, 100, 127, -128, 31]])
ON_INTEGERS: dict[str, Callable[..., Any]] = {
    "population_count": lambda lax, x: lax.population_count(x),
    "clz": lambda lax, x: lax.clz(x),
    "mulhi": lambda lax, x: lax.mulhi(x, x[::-1]),
    "shift_left": lambda lax, x: lax.shift_left(x, x[::-1]),
    "shift_right_logical": lambda lax, x: lax.shift_right_logical(x, x[::-1]),
    "shift_right_arithmetic": lambda lax, x: lax.shift_right_arithmetic(x, x[::-1]),
    "div": lambda lax, x: lax.div(x, x[::-1]),
    "rem": lambda lax, x: lax.rem(x, x[::-1]),
    "bitwise": lambda lax, x: lax.bitwise_xor(lax.bitwise_and(x, x[::-1]), lax.bitwise_or(x, lax.bitwise_not(x[::-1]))),
    "reduce_and": lambda lax, x: lax.reduce_and(x, (1,)),
    "reduce_or": lambda lax, x: lax.reduce_or(x, (0,)),
    "reduce_xor": lambda lax, x: lax.reduce_xor(x, (0, 1)),
    "reduce_max-of-none": lambda lax, x: lax.reduce_max(x[:0], (0,)),
    "reduce_sum": lambda lax, x: lax.reduce_sum(x, (0,)),
    "integer_pow": lambda lax, x: lax.integer_pow(x, 3),
    "sign-neg-abs-square": lambda lax, x: lax.sign(x) + lax.neg(x) + lax.square(x),
    "pad": lambda lax, x: lax.pad(x, x[0, 1], [(1, 0, 0), (-1, 2, 1)]),
    "bitcast": lambda lax, x: lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}"),
    "bitcast-bytes": lambda lax, x: lax.bitcast_convert_type(x, "uint8"),
    "cumsum": lambda lax, x: lax.cumsum(x, 1),
}


def on_integers_by_jax(function: Callable[..., Any], x: np.ndarray) -> list[np.ndarray]:
    """Return what JAX gives for an array, and for two in a batch."""
    with jax.enable_x64(True):
        batched = jax.vmap(lambda x: function(jax.lax, x))(J.asarray(np.stack([x, x[::-1]])))
        return [np.asarray(function(jax.lax, J.asarray(x))), np.asarray(batched)]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("name", ON_INTEGERS)
def test_functions_of_integers_agree_with_jax(name: str, dtype: str, xp: Any) -> None:
    x = INTEGERS.astype(dtype)
    if name == "div":
        # What JAX's CPU backend makes of the one quotient that does not fit is undefined.
        x = np.where(x == np.iinfo(dtype).min, 3, x).astype(dtype)
    expected, batched = kept(on_integers_by_jax, ON_INTEGERS[name], x)
    gradkit.config.update("jax_enable_x64", True)
    try:
        got = ON_INTEGERS[name](lax, xp.asarray(x))
        ours = gradkit.vmap(lambda x: ON_INTEGERS[name](lax, x))(xp.asarray(np.stack([x, x[::-1]])))
    finally:
        gradkit.config.update("jax_enable_x64", False)
    assert got.dtype.name == expected.dtype.name
    np.testing.assert_array_equal(gradkit.device_get(got), expected)
    np.testing.assert_array_equal(gradkit.device_get(ours), batched)


EDGES = np.asarray(
    [1.1, 3.14159, 1e10, -1e-10, np.inf, np.nan, 65519.0, 65520.0, 6e-5, 5e-8, 0.5, -2.5, 0.49999997], "f"
)
ON_EDGES: dict[str, Callable[..., Any]] = {
    "reduce_precision-half": lambda lax, x: lax.reduce_precision(x, 5, 10),
    "reduce_precision-brain": lambda lax, x: lax.reduce_precision(x, 8, 7),
    # Without NaN, of which XLA makes an infinity on some machines: a format without a mantissa has none.
    "reduce_precision-0": lambda lax, x: lax.reduce_precision(x[6:], 3, 0),
    "round": lambda lax, x: lax.round(x),
    "round-even": lambda lax, x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "clamp": lambda lax, x: lax.clamp(-1.0, x, 2.0),
    "clamp-crossed": lambda lax, x: lax.clamp(2.0, x, 1.0),
    "bitcast": lambda lax, x: lax.bitcast_convert_type(x, "int32"),
    "bitcast-and-back": lambda lax, x: lax.bitcast_convert_type(lax.bitcast_convert_type(x, "uint8"), "float32"),
    "max": lambda lax, x: lax.max(x, x[::-1]),
    "top_k": lambda lax, x: tuple(lax.top_k(x, 4)),
    "sort": lambda lax, x: lax.sort(x),
    "argmax": lambda lax, x: lax.argmax(x, 0, "int32"),
    "reduce_max-of-none": lambda lax, x: lax.reduce_max(x[:0], (0,)),
    "reduce_and": lambda lax, x: lax.reduce_and(x > 1, (0,)),
    "reduce_xor": lambda lax, x: lax.reduce_xor(x > 1, (0,)),
    "gather-outside": lambda lax, x: lax.gather(
        x,
        lax.mul(lax.broadcasted_iota("int32", (2, 1), 0), 99),
        lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)),
        (1,),
    ),
    "gather-filled": lambda lax, x: lax.gather(
        x,
        lax.mul(lax.broadcasted_iota("int32", (2, 1), 0), 99),
        lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)),
        (1,),
        mode="fill",
    ),
    "iota": lambda lax, x: (lax.iota("float32", 3), lax.broadcasted_iota("int32", (2, 3), 1)),
    "full": lambda lax, x: (lax.full((2,), 1.5, "int32"), lax.full_like(x, 2), lax.full((), 3)),
    "reduce_window-empty": lambda lax, x: lax.reduce_window(x, 0.0, lax.add, (20,)),
    "convert": lambda lax, x: lax.convert_element_type(x[:2] * (1 + 2j), "float32"),
    "conj": lambda lax, x: lax.conj(x[:2]),
}


@pytest.mark.parametrize("name", ON_EDGES)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:Casting complex values")
def test_values_at_the_edges_agree_with_jax(name: str, xp: Any) -> None:
    with usual_widths():
        expected = leaves(ON_EDGES[name](jax.lax, J.asarray(EDGES)))
    got = leaves(ON_EDGES[name](lax, xp.asarray(EDGES)))
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "slope",
    [
        lambda lax, grad, x: grad(lambda x: lax.clamp(0.0, x, 1.0).sum())(x),
        lambda lax, grad, x: grad(lambda x: lax.max(x, 0.0 * x).sum())(x),
        lambda lax, grad, x: grad(lambda x: lax.reduce_window(x, -np.inf, lax.max, (2,), (1,)).sum())(x),
        lambda lax, grad, x: grad(lambda x: lax.cummax(x).sum())(x),
        lambda lax, grad, x: grad(lambda x: lax.reduce_max(x, (0,)))(x),
        lambda lax, grad, x: grad(lambda x: lax.abs(x).sum())(x),
        lambda lax, grad, x: grad(lambda x: lax.rem(x, 2.0 + 0 * x).sum())(x),
    ],
)
def test_slopes_at_kinks_and_ties_are_those_of_jax(slope: Callable[..., Any], xp: Any) -> None:
    x = np.asarray([0.0, 0.0, -1.0, 1.0, 1.0, 2.0], np.float32)
    with usual_widths():
        expected = slope(jax.lax, jax.grad, J.asarray(x))
    np.testing.assert_array_equal(gradkit.device_get(slope(lax, gradkit.grad, xp.asarray(x))), expected)


def test_stop_gradient_leaves_numbers_and_stops_both_modes(xp: Any) -> None:
    x = xp.asarray(2.0)
    assert lax.stop_gradient({"a": 1, "b": x})["a"] == 1
    assert gradkit.jvp(lambda x: x * lax.stop_gradient(x * x), (x,), (x,))[1] == 8.0
    assert gradkit.grad(gradkit.grad(lambda x: x**3 * lax.stop_gradient(x)))(x) == 24.0
    x.requires_grad = True
    (x * lax.stop_gradient(x)).backward()
    assert float(x.grad) == 2.0


def test_numbers_beside_arrays_of_64_bits_have_64_bits(xp: Any) -> None:
    x = xp.asarray(np.ones(2))
    assert lax.add(x, 1.0).dtype == "float64"
    assert lax.pad(x, 0.5, [(1, 1, 0)]).dtype == "float64"
    with pytest.raises(TypeError, match="same dtypes"):
        lax.add(x, 1)


# Errors: those of JAX for the same mistake

F, V = np.ones((2, 3), np.float32), np.ones(3, np.float32)
MISTAKES: dict[str, Callable[..., Any]] = {
    "dtypes": lambda lax, f, i, v: lax.add(f, i),
    "dtype-of-number": lambda lax, f, i, v: lax.mul(f, 1),
    "dtypes-of-comparison": lambda lax, f, i, v: lax.eq(f, i),
    "dtypes-of-bits": lambda lax, f, i, v: lax.bitwise_and(i, True),
    "rank": lambda lax, f, i, v: lax.add(f, v),
    "shapes": lambda lax, f, i, v: lax.add(f, f[:, :2]),
    "integers": lambda lax, f, i, v: lax.sin(i),
    "integers-of-two": lambda lax, f, i, v: lax.atan2(i, i),
    "bool": lambda lax, f, i, v: lax.neg(True),
    "bits-of-floats": lambda lax, f, i, v: lax.bitwise_not(f),
    "shift": lambda lax, f, i, v: lax.shift_left(i, f),
    "pow": lambda lax, f, i, v: lax.pow(i, f),
    "integer_pow": lambda lax, f, i, v: lax.integer_pow(i, -1),
    "real": lambda lax, f, i, v: lax.real(f),
    "complex": lambda lax, f, i, v: lax.complex(f, i),
    "select-dtypes": lambda lax, f, i, v: lax.select(f > 0, f, i),
    "select-shapes": lambda lax, f, i, v: lax.select(f > 0, f, 1.0),
    "select-pred": lambda lax, f, i, v: lax.select(f, f, f),
    "select-pred-shape": lambda lax, f, i, v: lax.select(v > 0, f, f),
    "clamp-dtypes": lambda lax, f, i, v: lax.clamp(0, f, 1),
    "clamp-shapes": lambda lax, f, i, v: lax.clamp(v, f, 1.0),
    "round": lambda lax, f, i, v: lax.round(i),
    "bitcast": lambda lax, f, i, v: lax.bitcast_convert_type(f, "bool"),
    "broadcast_in_dim-length": lambda lax, f, i, v: lax.broadcast_in_dim(v, (2, 3), ()),
    "broadcast_in_dim-size": lambda lax, f, i, v: lax.broadcast_in_dim(v, (2, 3), (0,)),
    "broadcast_in_dim-range": lambda lax, f, i, v: lax.broadcast_in_dim(v, (2, 3), (2,)),
    "broadcast_shapes": lambda lax, f, i, v: lax.broadcast_shapes((2, 3), (2,)),
    "iota-bool": lambda lax, f, i, v: lax.iota("bool", 3),
    "iota-negative": lambda lax, f, i, v: lax.iota("int32", -3),
    "iota-dimension": lambda lax, f, i, v: lax.broadcasted_iota("int32", (2, 3), 2),
    "full": lambda lax, f, i, v: lax.full((2,), v),
    "expand_dims": lambda lax, f, i, v: lax.expand_dims(f, (0, 0)),
    "squeeze": lambda lax, f, i, v: lax.squeeze(f, (0,)),
    "reshape-negative": lambda lax, f, i, v: lax.reshape(f, (-1,)),
    "reshape-dimensions": lambda lax, f, i, v: lax.reshape(f, (3, 2), (1, 1)),
    "transpose": lambda lax, f, i, v: lax.transpose(f, (1, 1)),
    "rev-twice": lambda lax, f, i, v: lax.rev(f, (0, 0)),
    "rev-range": lambda lax, f, i, v: lax.rev(f, (2,)),
    "concatenate-dtypes": lambda lax, f, i, v: lax.concatenate([f, i], 0),
    "concatenate-ranks": lambda lax, f, i, v: lax.concatenate([f, v], 0),
    "concatenate-shapes": lambda lax, f, i, v: lax.concatenate([f, f[:, :2]], 0),
    "concatenate-dimension": lambda lax, f, i, v: lax.concatenate([f, f], 2),
    "concatenate-nothing": lambda lax, f, i, v: lax.concatenate([], 0),
    "pad-dtype": lambda lax, f, i, v: lax.pad(v, 0, [(1, 2, 0)]),
    "pad-interior": lambda lax, f, i, v: lax.pad(v, 0.0, [(1, 2, -1)]),
    "pad-length": lambda lax, f, i, v: lax.pad(v, 0.0, [(1, 2, 0), (0, 0, 0)]),
    "pad-too-negative": lambda lax, f, i, v: lax.pad(v, 0.0, [(-5, 0, 0)]),
    "pad-value": lambda lax, f, i, v: lax.pad(v, v, [(1, 2, 0)]),
    "index_in_dim": lambda lax, f, i, v: lax.index_in_dim(f, 3, 1),
    "slice-limit": lambda lax, f, i, v: lax.slice_in_dim(f, 0, 8, axis=1),
    "tile": lambda lax, f, i, v: lax.tile(f, (2,)),
    "split": lambda lax, f, i, v: lax.split(f, (1, 1), axis=1),
    "dot": lambda lax, f, i, v: lax.dot(f, f),
    "dot_general-sizes": lambda lax, f, i, v: lax.dot_general(f, f, (((1,), (0,)), ((), ()))),
    "dot_general-range": lambda lax, f, i, v: lax.dot_general(f, f, (((5,), (1,)), ((), ()))),
    "dot_general-overlap": lambda lax, f, i, v: lax.dot_general(f, f, (((1,), (1,)), ((1,), (1,)))),
    "batch_matmul-ranks": lambda lax, f, i, v: lax.batch_matmul(f[None], f),
    "batch_matmul-vectors": lambda lax, f, i, v: lax.batch_matmul(v, v),
    "argmax-axis": lambda lax, f, i, v: lax.argmax(f, 2, "int32"),
    "argmax-dtype": lambda lax, f, i, v: lax.argmax(f, 0, "float32"),
    "argmax-empty": lambda lax, f, i, v: lax.argmax(f[:0], 0, "int32"),
    "cumsum-negative": lambda lax, f, i, v: lax.cumsum(f, axis=-1),
    "cumsum-range": lambda lax, f, i, v: lax.cumsum(f, axis=2),
    "cumsum-bool": lambda lax, f, i, v: lax.cumsum(f > 0),
    "reduce_sum-twice": lambda lax, f, i, v: lax.reduce_sum(f, (0, 0)),
    "reduce_sum-range": lambda lax, f, i, v: lax.reduce_sum(f, (2,)),
    "reduce_and": lambda lax, f, i, v: lax.reduce_and(f, (0,)),
    "reduce_window-length": lambda lax, f, i, v: lax.reduce_window(f, 0.0, lax.add, (2,), (1, 1), "SAME"),
    "sort-shapes": lambda lax, f, i, v: lax.sort((v, f)),
    "sort-keys": lambda lax, f, i, v: lax.sort((v, v), num_keys=3),
    "sort-dimension": lambda lax, f, i, v: lax.sort(f, dimension=2),
    "top_k-large": lambda lax, f, i, v: lax.top_k(f, 5),
    "top_k-negative": lambda lax, f, i, v: lax.top_k(f, -1),
    "triangular_solve-square": lambda lax, f, i, v: lax.linalg.triangular_solve(f, f),
    "triangular_solve-shapes": lambda lax, f, i, v: lax.linalg.triangular_solve(f[:, :2], v),
    "fft-real": lambda lax, f, i, v: lax.fft(v + 0j, "RFFT", (3,)),
    "fft-lengths": lambda lax, f, i, v: lax.fft(v, "RFFT", (4,)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_reported_as_jax_reports_them(mistake: str) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011
        MISTAKES[mistake](jax.lax, J.asarray(F), J.asarray(F.astype("int32")), J.asarray(V))
    with pytest.raises(type(expected.value)) as got:
        MISTAKES[mistake](lax, jnp.asarray(F), jnp.asarray(F.astype("int32")), jnp.asarray(V))
    assert str(got.value).rstrip() == str(expected.value).partition("\n---")[0].rstrip()


def test_a_map_in_batches_over_nothing_gives_nothing(xp: Any) -> None:
    result = lax.map(lambda x: {"a": x * 2, "b": x.sum()}, xp.zeros((0, 2)), batch_size=3)
    assert result["a"].shape == (0, 2)
    assert result["b"].shape == (0,)
