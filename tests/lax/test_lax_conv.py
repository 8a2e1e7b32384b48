"""Convolutions against `jax.lax`: strides, padding, dilation, groups, orders of the axes; both modes, vmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from lax_cases import Case, case, compare

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

NHWC = ("NHWC", "HWIO", "NHWC")


def general(*args: Any, **options: Any) -> Any:
    return lambda lax, jnp, x, w: lax.conv_general_dilated(x, w, *args, **options)


CASES: dict[str, Case] = {
    "conv": case(lambda lax, jnp, x, w: lax.conv(x, w, (1, 2), "SAME"), (2, 3, 5, 4), (4, 3, 3, 2)),
    "valid": case(general((1, 1), "VALID"), (2, 2, 5, 4), (3, 2, 2, 3)),
    "same-lower": case(general((2, 1), "SAME_LOWER"), (1, 2, 5, 4), (3, 2, 2, 2)),
    "pairs": case(general((2, 3), [(1, 2), (0, 3)]), (1, 2, 5, 4), (2, 2, 2, 3)),
    "negative-padding": case(general((1, 1), [(-1, 2), (1, -1)]), (1, 2, 5, 5), (2, 2, 2, 2)),
    "nhwc": case(general((1, 1), "SAME", dimension_numbers=NHWC), (2, 4, 5, 3), (3, 2, 3, 2)),
    "mixed": case(general((1, 2), "SAME", dimension_numbers=("HNCW", "IWOH", "CWNH")), (4, 2, 3, 5), (3, 2, 4, 3)),
    "dilated-kernel": case(general((1, 1), "SAME", rhs_dilation=(2, 1)), (1, 2, 6, 4), (2, 2, 3, 2)),
    "dilated-input": case(general((1, 2), [(2, 1), (1, 2)], lhs_dilation=(2, 3)), (1, 2, 3, 4), (2, 2, 2, 3)),
    "dilated-both": case(
        general((2, 1), [(2, 1), (1, 2)], lhs_dilation=(2, 1), rhs_dilation=(1, 2)), (2, 2, 3, 4), (2, 2, 2, 2)
    ),
    "feature-groups": case(general((1, 1), "SAME", feature_group_count=2), (2, 4, 3, 4), (6, 2, 2, 2)),
    "depthwise": case(general((1, 1), "VALID", feature_group_count=3), (2, 3, 4, 4), (3, 1, 2, 2)),
    "batch-groups": case(general((1, 1), "VALID", batch_group_count=2), (4, 3, 3, 4), (4, 3, 2, 2)),
    "one-by-one": case(general((1, 1), "VALID"), (2, 3, 4, 4), (5, 3, 1, 1)),
    "one-by-one-strides": case(general((2, 2), "VALID"), (2, 3, 4, 5), (5, 3, 1, 1)),
    "whole-image": case(general((1, 1), "VALID"), (2, 2, 4, 5), (3, 2, 4, 4)),
    "no-spatial-axis": case(general((), ()), (2, 3), (4, 3)),
    "one-axis": case(general((2,), "SAME"), (2, 3, 7), (4, 3, 3)),
    "three-axes": case(general((1, 2, 1), "SAME"), (1, 2, 3, 4, 3), (2, 2, 2, 2, 3)),
    "general-padding": case(
        lambda lax, jnp, x, w: lax.conv_with_general_padding(x, w, (1, 1), [(1, 1), (0, 0)], (1, 2), (2, 1)),
        (1, 2, 4, 4),
        (2, 2, 2, 2),
    ),
    "transpose-same": case(lambda lax, jnp, x, w: lax.conv_transpose(x, w, (2, 2), "SAME"), (1, 3, 4, 2), (3, 3, 2, 4)),
    "transpose-valid": case(
        lambda lax, jnp, x, w: lax.conv_transpose(x, w, (2, 3), "VALID", transpose_kernel=True),
        (1, 3, 4, 4),
        (2, 3, 2, 4),
    ),
    "transpose-pairs": case(
        lambda lax, jnp, x, w: lax.conv_transpose(x, w, (2,), ((1, 1),), (2,), use_consistent_padding=True),
        (1, 4, 2),
        (3, 2, 3),
    ),
    "patches": case(lambda lax, jnp, x: lax.conv_general_dilated_patches(x * x, (2, 3), (1, 2), "SAME"), (2, 3, 4, 5)),
    "patches-nhwc": case(
        lambda lax, jnp, x: lax.conv_general_dilated_patches(
            x * x, (2, 2), (1, 1), [(0, 1), (1, 0)], (1, 2), (2, 1), dimension_numbers=NHWC
        ),
        (2, 4, 5, 2),
    ),
    "local": case(
        lambda lax, jnp, x, w: lax.conv_general_dilated_local(x, w, (1, 1), "VALID", (2, 2)),
        (2, 3, 4, 3),
        (5, 12, 3, 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_convolutions_agree_with_jax(name: str, xp: Any) -> None:
    compare(CASES[name], xp)


@pytest.mark.parametrize("groups, batches", [(1, 1), (2, 1), (1, 2)])
def test_vmap_over_kernel_and_input(xp: Any, groups: int, batches: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 4, 4, 5)), rng.normal(size=(4, 4 // groups, 3, 3))

    def f(lax: Any) -> Any:
        return lambda x, w: lax.conv_general_dilated(
            x, w, (1,), "SAME", feature_group_count=groups, batch_group_count=batches
        )

    with jax.enable_x64(True):
        expected = jax.vmap(f(jax.lax), (0, 2), 1)(J.asarray(x), J.asarray(w))
    got = gradkit.vmap(f(lax), (0, 2), 1)(xp.asarray(x), xp.asarray(w))
    np.testing.assert_allclose(gradkit.device_get(got), expected, rtol=1e-10)


@pytest.mark.parametrize("dtype, preferred", [("float32", "float64"), ("int32", None), ("int8", "int32")])
def test_the_result_has_the_preferred_dtype(dtype: str, preferred: str | None, xp: Any) -> None:
    x, w = np.arange(-8, 8).reshape(1, 2, 8).astype(dtype), np.arange(12).reshape(2, 2, 3).astype(dtype)
    with jax.enable_x64(True):
        expected = jax.lax.conv(J.asarray(x), J.asarray(w), (1,), "SAME", preferred_element_type=preferred)
    gradkit.config.update("jax_enable_x64", True)
    try:
        got = lax.conv(xp.asarray(x), xp.asarray(w), (1,), "SAME", preferred_element_type=preferred)
    finally:
        gradkit.config.update("jax_enable_x64", False)
    assert got.dtype.name == expected.dtype.name
    np.testing.assert_allclose(gradkit.device_get(got), expected)


NUMBERS = [
    ((1, 2, 3), (1, 2, 3), None),
    ((1, 8, 8, 3), (2, 2, 3, 4), NHWC),
    ((1, 8, 3), (2, 3, 4), ("WNC", "IOW", "CWN")),
]


@pytest.mark.parametrize("left, right, numbers", NUMBERS)
def test_dimension_numbers_and_shapes_agree_with_jax(left: Any, right: Any, numbers: Any) -> None:
    assert tuple(lax.conv_dimension_numbers(left, right, numbers)) == tuple(
        jax.lax.conv_dimension_numbers(left, right, numbers)
    )
    strides = (2,) * (len(left) - 2)
    if numbers is None:
        numbers = ("NCW", "OIW", "NCW")
    for function in ("conv_general_shape_tuple", "conv_transpose_shape_tuple"):
        for padding in ("SAME", "VALID"):
            ours = getattr(lax, function)(left, right, strides, padding, numbers)
            assert ours == tuple(getattr(jax.lax, function)(left, right, strides, padding, numbers))


@pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER", "VALID", "same"])
@pytest.mark.parametrize("sizes", [((5,), (3,), (2,)), ((6, 7), (4, 1), (1, 3)), ((2,), (5,), (1,))])
def test_padding_by_name_agrees_with_jax(padding: str, sizes: tuple[Sequence[int], ...]) -> None:
    assert lax.padtype_to_pads(*sizes, padding) == [
        tuple(map(int, pair)) for pair in jax.lax.padtype_to_pads(*sizes, padding)
    ]


X, W = np.ones((1, 2, 5), np.float32), np.ones((3, 2, 3), np.float32)
MISTAKES = {
    "features": lambda lax, x, w: lax.conv(x, w[:, :1], (1,), "SAME"),
    "rank": lambda lax, x, w: lax.conv(x, w[:, :, 0], (1,), "SAME"),
    "strides": lambda lax, x, w: lax.conv(x, w, (1, 1), "SAME"),
    "padding": lambda lax, x, w: lax.conv(x, w, (1,), "FOO"),
    "dtypes": lambda lax, x, w: lax.conv(x, w.astype("int32"), (1,), "SAME"),
    "characters": lambda lax, x, w: lax.conv_general_dilated(
        x, w, (1,), "SAME", dimension_numbers=("NCH", "OIH", "NCW")
    ),
    "no-feature-axis": lambda lax, x, w: lax.conv_general_dilated(
        x, w, (1,), "SAME", dimension_numbers=("NHW", "OIH", "NCH")
    ),
    "length": lambda lax, x, w: lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=("NC", "OIH", "NCH")),
    "pairs": lambda lax, x, w: lax.conv_general_dilated(x, w, (1,), [(1, 1), (1, 1)]),
    "no-pairs": lambda lax, x, w: lax.conv_general_dilated(x, w, (1,), [1]),
    "dilation": lambda lax, x, w: lax.conv_general_dilated(x, w, (1,), "SAME", (2,)),
    "groups": lambda lax, x, w: lax.conv_general_dilated(x, w[:, :1], (1,), "SAME", feature_group_count=2),
    "no-groups": lambda lax, x, w: lax.conv_general_dilated(x, w, (1,), "SAME", feature_group_count=0),
    "batch-groups": lambda lax, x, w: lax.conv_general_dilated(x, w, (1,), "SAME", batch_group_count=2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_reported_as_jax_reports_them(mistake: str) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011
        MISTAKES[mistake](jax.lax, J.asarray(X), J.asarray(W))
    with pytest.raises(type(expected.value)) as got:
        MISTAKES[mistake](lax, jnp.asarray(X), jnp.asarray(W))
    assert str(got.value) == str(expected.value).partition("\n---")[0].rstrip()
