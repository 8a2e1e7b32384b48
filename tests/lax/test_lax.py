"""`gradkit.lax` against `jax.lax`: values, both modes, second order, vmap; and the errors for the same mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lax_cases import ABOVE_ONE, POSITIVE, REAL, UNIT, Case, case, compare

UNARY = {
    REAL: "abs asinh atan bessel_i0e bessel_i1e cbrt cos cosh erf erfc exp exp2 expm1 logistic neg sign sin sinh "
    "square tanh ceil floor is_finite round",
    POSITIVE: "digamma lgamma log log1p reciprocal rsqrt sqrt",
    UNIT: "acos asin atanh erf_inv tan",
    ABOVE_ONE: "acosh",
}
BINARY = {
    REAL: "add sub mul max min eq ne lt le gt ge atan2 complex rem",
    POSITIVE: "div pow",
}
CASES: dict[str, Case] = {
    **{
        name: case(lambda lax, jnp, x, name=name: getattr(lax, name)(x), interval=interval)
        for interval, names in UNARY.items()
        for name in names.split()
    },
    **{
        name: case(
            lambda lax, jnp, x, y, name=name: getattr(lax, name)(x, y),
            (3, 4),
            (3, 4),
            interval=interval,
        )
        for interval, names in BINARY.items()
        for name in names.split()
    },
    "zeta": case(lambda lax, jnp, x, y: lax.zeta(x, y), (4,), (4,), interval=ABOVE_ONE, has_derivative=False),
    "nextafter": case(lambda lax, jnp, x, y: lax.nextafter(x, y), (4,), (4,), has_derivative=False),
    **{
        name: case(
            lambda lax, jnp, x, name=name: getattr(lax, name)(jnp.asarray(np.full(4, 1.5)), x), (4,), interval=POSITIVE
        )
        for name in ("igamma", "igammac")
    },
    "betainc": case(
        lambda lax, jnp, x: lax.betainc(jnp.asarray(np.full((4,), 1.5)), jnp.asarray(np.full((4,), 0.7)), x),
        (4,),
        interval=UNIT,
    ),
    "polygamma": case(lambda lax, jnp, x: lax.polygamma(jnp.asarray(np.ones(4)), x), (4,), interval=POSITIVE),
    "add-sizes-of-one": case(lambda lax, jnp, x, y: lax.add(x, y), (3, 1), (3, 4)),
    "add-number": case(lambda lax, jnp, x: lax.add(lax.mul(x, 2.0), 1.0)),
    "pow-integers": case(lambda lax, jnp, x: lax.pow(x, 3) + lax.pow(x, jnp.asarray(np.int32(2)))),
    "integer_pow": case(lambda lax, jnp, x: lax.integer_pow(x, 3) + lax.integer_pow(x, -2) + lax.integer_pow(x, 0)),
    "real-imag-conj": case(
        lambda lax, jnp, x, y: lax.real(lax.conj(lax.complex(x, y)) * (1 + 2j)) + lax.imag(lax.complex(x, y) * 2j),
        (3,),
        (3,),
    ),
    "round-even": case(lambda lax, jnp, x: lax.round(x * 2, lax.RoundingMethod.TO_NEAREST_EVEN)),
    "clamp": case(lambda lax, jnp, x: lax.clamp(-0.5, x, 1.0) ** 2),
    "clamp-arrays": case(lambda lax, jnp, a, x, b: lax.clamp(a, x, b), (3,), (3,), (3,)),
    "select": case(lambda lax, jnp, x, y: lax.select(x > y, x * y, lax.sin(y)), (3,), (3,)),
    "select_n": case(
        lambda lax, jnp, x, y: lax.select_n(jnp.asarray(np.asarray([0, 2, 1], np.int32)), x, y * y, x * y), (3,), (3,)
    ),
    "stop_gradient": case(lambda lax, jnp, x: x * lax.stop_gradient(x) + lax.stop_gradient({"a": lax.sin(x)})["a"]),
    "reduce_precision": case(lambda lax, jnp, x: lax.reduce_precision(x, 5, 3) + lax.reduce_precision(x, 4, 60)),
    "convert_element_type": case(lambda lax, jnp, x: lax.convert_element_type(x * x, "float32")),
    # Shapes
    "broadcast": case(lambda lax, jnp, x: lax.broadcast(x * x, (2, 1))),
    "broadcast_in_dim": case(lambda lax, jnp, x: lax.broadcast_in_dim(x * x, (2, 3, 4), (1, 2))),
    "broadcast_in_dim-ones": case(lambda lax, jnp, x: lax.broadcast_in_dim(x * x, (3, 2, 5, 4), (0, 2)), (3, 1)),
    "broadcast_like": case(lambda lax, jnp, x, y: lax.broadcast_like(x, y) * y, (4,), (3, 4)),
    "broadcast_to_rank": case(lambda lax, jnp, x: lax.broadcast_to_rank(x * x, 4)),
    "collapse": case(lambda lax, jnp, x: lax.collapse(x * x, 1, 3), (2, 3, 2)),
    "reshape": case(lambda lax, jnp, x: lax.reshape(x * x, (2, 6))),
    "reshape-dimensions": case(lambda lax, jnp, x: lax.reshape(x * x, (2, 6), (1, 0))),
    "expand_dims": case(lambda lax, jnp, x: lax.expand_dims(x * x, (0, -1))),
    "squeeze": case(lambda lax, jnp, x: lax.squeeze(x * x, (0, -1)), (1, 3, 1)),
    "transpose": case(lambda lax, jnp, x: lax.transpose(x * x, (2, 0, 1)), (2, 3, 4)),
    "rev": case(lambda lax, jnp, x: lax.rev(x * x, (1,))),
    "slice": case(lambda lax, jnp, x: lax.slice(x * x, (1, 0), (3, 4), (1, 2))),
    "slice_in_dim": case(lambda lax, jnp, x: lax.slice_in_dim(x * x, 1, -1, 2, axis=1), (3, 7)),
    "index_in_dim": case(
        lambda lax, jnp, x: lax.index_in_dim(x * x, -1, 1) * lax.index_in_dim(x, 0, 1, False)[:, None]
    ),
    "split": case(lambda lax, jnp, x: tuple(p * p for p in lax.split(x, (1, 3), 1))),
    "unstack": case(lambda lax, jnp, x: tuple(p * p for p in lax.unstack(x, 1))),
    "concatenate": case(lambda lax, jnp, x, y: lax.concatenate([x * x, y, x], 1), (3, 2), (3, 1)),
    "stack": case(lambda lax, jnp, x, y: lax.stack([x * x, y], 1), (3, 2), (3, 2)),
    "tile": case(lambda lax, jnp, x: lax.tile(x * x, (2, 3))),
    "pad": case(lambda lax, jnp, x: lax.pad(x * x, 0.0, [(1, 2, 0), (0, 1, 2)])),
    "pad-negative": case(lambda lax, jnp, x: lax.pad(x * x, 0.0, [(-1, 2, 0), (-2, -1, 1)])),
    "pad-nothing-left": case(lambda lax, jnp, x: lax.pad(x * x, 0.0, [(-3, 2, 0), (0, 0, 0)])),
    "pad-value": case(lambda lax, jnp, x, v: lax.pad(x * x, v * v, [(1, 0, 1), (-1, 2, 1)]), (3, 4), ()),
    "dynamic_slice": case(lambda lax, jnp, x: lax.dynamic_slice(x * x, (1, 2), (2, 2))),
    "dynamic_slice_in_dim": case(lambda lax, jnp, x: lax.dynamic_slice_in_dim(x * x, 2, 3, axis=1)),
    "dynamic_update_slice": case(lambda lax, jnp, x, y: lax.dynamic_update_slice(x * x, y * y, (1, 2)), (3, 4), (2, 2)),
    "dynamic_update_index_in_dim": case(
        lambda lax, jnp, x, y: lax.dynamic_update_index_in_dim(x * x, y * y, 1, 0), (3, 4), (4,)
    ),
    # Products
    "dot-matrices": case(lambda lax, jnp, x, y: lax.dot(x, y), (3, 4), (4, 2)),
    "dot-vectors": case(lambda lax, jnp, x, y: lax.dot(x, y), (4,), (4,)),
    "dot-matrix-vector": case(lambda lax, jnp, x, y: lax.dot(x, y), (3, 4), (4,)),
    "dot_general": case(
        lambda lax, jnp, x, y: lax.dot_general(x, y, (((3, 1), (0, 2)), ((0,), (1,)))), (2, 3, 4, 5), (5, 2, 3, 3)
    ),
    "dot_general-outer": case(lambda lax, jnp, x, y: lax.dot_general(x, y, (((), ()), ((), ()))), (2, 3), (4,)),
    "dot_general-batches-last": case(
        lambda lax, jnp, x, y: lax.dot_general(x, y, (((0,), (1,)), ((2, 1), (2, 0)))), (2, 3, 4), (3, 2, 4, 5)
    ),
    "batch_matmul": case(lambda lax, jnp, x, y: lax.batch_matmul(x, y), (2, 3, 4), (2, 4, 2)),
    # Reductions
    "reduce_sum": case(lambda lax, jnp, x: lax.reduce_sum(x * x, (0, 2)), (2, 3, 4)),
    "reduce_prod": case(lambda lax, jnp, x: lax.reduce_prod(x, (1,))),
    "reduce_max": case(lambda lax, jnp, x: lax.reduce_max(x * x, (1,))),
    "reduce_min": case(lambda lax, jnp, x: lax.reduce_min(x * x, (0, 1))),
    "reduce-add": case(lambda lax, jnp, x: lax.reduce(x * x, np.float64(0), lax.add, (1,))),
    "reduce-max": case(lambda lax, jnp, x: lax.reduce(x * x, -np.inf, lax.max, (0, 1))),
    "cumsum": case(lambda lax, jnp, x: lax.cumsum(x * x, axis=1)),
    "cumprod": case(lambda lax, jnp, x: lax.cumprod(x, axis=1, reverse=True)),
    "cummax": case(lambda lax, jnp, x: lax.cummax(x * x, axis=1)),
    "cummin": case(lambda lax, jnp, x: lax.cummin(x * x, axis=0, reverse=True)),
    "cumlogsumexp": case(lambda lax, jnp, x: lax.cumlogsumexp(x, axis=1)),
    "argmax": case(lambda lax, jnp, x: lax.argmax(x, 1, "int32")),
    "argmin": case(lambda lax, jnp, x: lax.argmin(x, 0, "int32")),
    # Sorting
    "sort": case(lambda lax, jnp, x: lax.sort(x * x)),
    "sort-dimension": case(lambda lax, jnp, x: lax.sort(x * x, dimension=0)),
    "sort-several": case(lambda lax, jnp, x, y: lax.sort((x, y * y)), (3, 4), (3, 4)),
    "sort-two-keys": case(
        lambda lax, jnp, x, y: lax.sort((lax.floor(x), lax.floor(y), x * y), num_keys=2), (2, 6), (2, 6)
    ),
    "sort_key_val": case(lambda lax, jnp, x, y: lax.sort_key_val(x, y * y, 0), (3, 4), (3, 4)),
    "top_k": case(lambda lax, jnp, x: tuple(lax.top_k(x * x, 2))),
    "approx_max_k": case(lambda lax, jnp, x: tuple(lax.approx_max_k(x, 1))),
    "approx_min_k": case(lambda lax, jnp, x: tuple(lax.approx_min_k(x, 1))),
    # Windows
    "reduce_window-add": case(
        lambda lax, jnp, x: lax.reduce_window(x * x, 0.0, lax.add, (2, 2), (1, 2), "SAME"), (5, 6)
    ),
    "reduce_window-max": case(lambda lax, jnp, x: lax.reduce_window(x, -np.inf, lax.max, (2, 3), (2, 1)), (5, 6)),
    "reduce_window-min": case(
        lambda lax, jnp, x: lax.reduce_window(x, np.inf, lax.min, (2, 2), (1, 1), [(1, 0), (0, 1)]), (4, 3)
    ),
    "reduce_window-dilation": case(
        lambda lax, jnp, x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (2, 1), [(1, 2), (2, 1)], (2, 1), (1, 2)), (4, 5)
    ),
    "reduce_window-max-dilation": case(
        lambda lax, jnp, x: lax.reduce_window(x, -np.inf, lax.max, (2, 2), (1, 1), "VALID", None, (2, 2)),
        (4, 5),
        has_derivative=False,
    ),
    "reduce_window-ties": case(
        lambda lax, jnp, x: lax.reduce_window(lax.max(x, 0 * x), -np.inf, lax.max, (2,), (1,)), (8,)
    ),
    "reduce_window-few": case(lambda lax, jnp, x: lax.reduce_window(x * x, 0.0, lax.add, (4, 5), (1, 1)), (5, 6)),
}


def gather_cases() -> dict[str, Case]:
    """Return cases of `gather` and `scatter`, whose dimension numbers are each library's own."""
    rows = np.asarray([[0], [2], [7], [-1]], np.int32)
    pairs = np.asarray([[0, 1], [2, 3], [1, 9]], np.int32)
    batched = np.asarray([[[1]], [[0]], [[3]]], np.int32)

    def take_rows(lax: Any, jnp: Any, x: Any, mode: str = "fill") -> Any:
        numbers = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
        return lax.gather(x * x, jnp.asarray(rows), numbers, (1, 4), mode=mode, fill_value=0.0)

    def take_windows(lax: Any, jnp: Any, x: Any) -> Any:
        numbers = lax.GatherDimensionNumbers(offset_dims=(0, 2), collapsed_slice_dims=(), start_index_map=(1, 0))
        return lax.gather(x * x, jnp.asarray(pairs), numbers, (2, 3), mode="clip")

    def take_batched(lax: Any, jnp: Any, x: Any) -> Any:
        numbers = lax.GatherDimensionNumbers((2,), (), (1,), (0,), (0,))
        return lax.gather(x * x, jnp.asarray(batched), numbers, (1, 2), mode="clip")

    def put(name: str, mode: Any = None) -> Callable[..., Any]:
        def f(lax: Any, jnp: Any, x: Any, new: Any) -> Any:
            numbers = lax.ScatterDimensionNumbers((1,), (0,), (0,))
            return getattr(lax, name)(x * x, jnp.asarray(rows), new * new, numbers, mode=mode)

        return f

    def put_windows(lax: Any, jnp: Any, x: Any, new: Any) -> Any:
        numbers = lax.ScatterDimensionNumbers((0, 2), (), (1, 0))
        return lax.scatter_add(x, jnp.asarray(pairs), new * new, numbers, mode="clip")

    names = ("scatter", "scatter_add", "scatter_sub", "scatter_min", "scatter_max")
    return {
        "gather-rows": case(take_rows),
        "gather-rows-clip": case(lambda lax, jnp, x: take_rows(lax, jnp, x, "clip")),
        "gather-windows": case(take_windows, (4, 5)),
        "gather-batched": case(take_batched, (3, 4)),
        **{name: case(put(name), (3, 4), (4, 4)) for name in names},
        "scatter_add-clip": case(put("scatter_add", "clip"), (3, 4), (4, 4)),
        "scatter_add-windows": case(put_windows, (4, 5), (2, 3, 3)),
        "index_take": case(
            lambda lax, jnp, x: lax.index_take(
                x * x, [jnp.asarray(np.asarray([0, 2])), jnp.asarray(np.asarray([1, -1]))], (0, 2)
            ),
            (3, 2, 4),
        ),
    }


CASES |= gather_cases()


LOOSE = ("igamma", "igammac", "betainc", "convert_element_type")
"""JAX computes these to fewer digits, or in float32."""


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_and_batches_agree_with_jax(name: str, xp: Any) -> None:
    compare(CASES[name], xp, 1e-6 if name in LOOSE else 1e-8)
