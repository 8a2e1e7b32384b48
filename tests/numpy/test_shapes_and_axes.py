"""Shapes and axes may be given as any sequence or array of whole numbers."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn, random

X = np.arange(24.0).reshape(2, 3, 4)

SHAPES: dict[str, Callable[[Any, Any], Any]] = {
    **{
        f"jnp.{name}": lambda x, shape, name=name: getattr(jnp, name)(shape)  # type: ignore[misc]
        for name in ("zeros", "ones", "indices")
    },
    **{
        f"jnp.{name}": lambda x, shape, name=name: getattr(jnp, name)(x, shape=shape)  # type: ignore[misc]
        for name in ("zeros_like", "ones_like")
    },
    **{
        f"random.{name}": lambda x, shape, name=name: getattr(random, name)(random.key(0), shape=shape)  # type: ignore[misc]
        for name in (
            "uniform",
            "normal",
            "gumbel",
            "exponential",
            "laplace",
            "cauchy",
            "logistic",
            "bits",
            "rademacher",
        )
    },
    "random.randint": lambda x, shape: random.randint(random.key(0), shape, 0, 9),
    "random.bernoulli": lambda x, shape: random.bernoulli(random.key(0), 0.5, shape),
    "random.truncated_normal": lambda x, shape: random.truncated_normal(random.key(0), -1.0, 1.0, shape),
    "random.choice": lambda x, shape: random.choice(random.key(0), 7, shape),
    "random.categorical": lambda x, shape: random.categorical(random.key(0), jnp.zeros(3), shape=shape),
    "jnp.full": lambda x, shape: jnp.full(shape, 2.0),
    "jnp.full_like": lambda x, shape: jnp.full_like(x, 2.0, shape=shape),
    "jnp.reshape": lambda x, shape: jnp.reshape(x, shape),
    "jnp.resize": lambda x, shape: jnp.resize(x, shape),
    "jnp.fromfunction": lambda x, shape: jnp.fromfunction(lambda *i: sum(i), shape),
    "Array.reshape": lambda x, shape: x.reshape(shape),
    "jnp.broadcast_to": lambda x, shape: jnp.broadcast_to(jnp.ones(3), shape),
    "jnp.broadcast_shapes": lambda x, shape: jnp.zeros(jnp.broadcast_shapes(shape, (4, 1, 3))),
    "jnp.tile": lambda x, shape: jnp.tile(x, shape),
    "jnp.unravel_index": lambda x, shape: jnp.unravel_index(5, shape),
    "jnp.ravel_multi_index": lambda x, shape: jnp.ravel_multi_index((1, 2), shape),
    "lax.broadcast": lambda x, shape: lax.broadcast(x, shape),
    "lax.broadcasted_iota": lambda x, shape: lax.broadcasted_iota("int32", shape, 0),
    "lax.full": lambda x, shape: lax.full(shape, 2.0),
    "lax.reshape": lambda x, shape: lax.reshape(x, shape),
    "nn.initializers.zeros": lambda x, shape: nn.initializers.zeros(random.key(0), shape),
    "nn.initializers.glorot_uniform": lambda x, shape: nn.initializers.glorot_uniform()(random.key(0), shape),
    "ShapeDtypeStruct": lambda x, shape: jnp.zeros(gradkit.ShapeDtypeStruct(shape, "float32").shape),
    "fft.fftn": lambda x, shape: jnp.real(jnp.fft.fftn(x, shape, (0, 1))),
    "fft.irfft2": lambda x, shape: jnp.fft.irfft2(x, shape),
}
AXES: dict[str, Callable[[Any, Any], Any]] = {
    **{
        f"jnp.{name}": lambda x, axis, name=name: getattr(jnp, name)(x, axis=axis)  # type: ignore[misc]
        for name in (
            "all any count_nonzero flip logsumexp max mean median min nanmax nanmean nanmin nansum prod std sum var "
            "expand_dims"
        ).split()
    },
    "jnp.squeeze": lambda x, axis: jnp.squeeze(jnp.ones((1, 2, 1)), axis=axis),
    "jnp.quantile": lambda x, axis: jnp.quantile(x, 0.3, axis=axis),
    "jnp.average": lambda x, axis: jnp.average(x, axis=axis),
    "jnp.roll": lambda x, axis: jnp.roll(x, (1, 1), axis=axis),
    "jnp.roll by": lambda x, axis: jnp.roll(x, axis, axis=(0, 1)),
    "jnp.rot90": lambda x, axis: jnp.rot90(x, axes=axis),
    "jnp.moveaxis": lambda x, axis: jnp.moveaxis(x, axis, (1, 2)),
    "jnp.moveaxis to": lambda x, axis: jnp.moveaxis(x, (1, 2), axis),
    "jnp.apply_over_axes": lambda x, axis: jnp.apply_over_axes(jnp.sum, x, axis),
    "jnp.tensordot": lambda x, axis: jnp.tensordot(x, x, (axis, axis)),
    "jnp.linalg.norm": lambda x, axis: jnp.linalg.norm(x, axis=axis),
    "jnp.linalg.vector_norm": lambda x, axis: jnp.linalg.vector_norm(x, axis=axis),
    "jnp.fft.fftshift": lambda x, axis: jnp.fft.fftshift(x, axes=axis),
    "jnp.fft.fftn": lambda x, axis: jnp.real(jnp.fft.fftn(x, axes=axis)),
    "lax.reduce_sum": lambda x, axis: lax.reduce_sum(x, axis),
    "lax.expand_dims": lambda x, axis: lax.expand_dims(x, axis),
    "lax.rev": lambda x, axis: lax.rev(x, axis),
    "nn.softmax": lambda x, axis: nn.softmax(x, axis=axis),
    "nn.standardize": lambda x, axis: nn.standardize(x, axis=axis),
    "Array.sum": lambda x, axis: x.sum(axis),
}
OTHERS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...]]] = {
    "jnp.transpose": (lambda x, axes: jnp.transpose(x, axes), (1, 0, 2)),
    "Array.transpose": (lambda x, axes: x.transpose(axes), (1, 0, 2)),
    "lax.transpose": (lambda x, axes: lax.transpose(x, axes), (1, 0, 2)),
    "jnp.split": (lambda x, places: jnp.split(x, places, axis=2), (1, 3)),
    "jnp.array_split": (lambda x, places: jnp.array_split(x, places, axis=2), (1, 3)),
    "jnp.pad": (lambda x, width: jnp.pad(x, width), (1, 2)),
    "lax.slice": (lambda x, starts: lax.slice(x, starts, (2, 3, 4)), (0, 1, 2)),
    "lax.dynamic_slice": (lambda x, sizes: lax.dynamic_slice(x, (0, 0, 0), sizes), (1, 2, 2)),
    "jnp.repeat": (lambda x, counts: jnp.repeat(x, counts, axis=1), (1, 0, 2)),
    "jnp.sum": (lambda x, axis: jnp.sum(x, axis=axis), (1,)),
    "jnp.zeros": (lambda x, shape: jnp.zeros(shape), ()),
}
FORMS: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "list": list,
    "NumPy array": lambda numbers: np.asarray(numbers, dtype=np.int64),
    "Array": lambda numbers: jnp.asarray(np.asarray(numbers, dtype=np.int32)),
    "raw array": lambda numbers: jnp.asarray(np.asarray(numbers, dtype=np.int32)).data,
    "deque": collections.deque,
    "tuple of Arrays": lambda numbers: tuple(map(jnp.asarray, numbers)),
}
CASES = {
    **{name: (f, (4, 2, 3)) for name, f in SHAPES.items()},
    "jnp.unravel_index": (SHAPES["jnp.unravel_index"], (4, 6)),
    "jnp.ravel_multi_index": (SHAPES["jnp.ravel_multi_index"], (4, 6)),
    "fft.fftn": (SHAPES["fft.fftn"], (4, 6)),
    "fft.irfft2": (SHAPES["fft.irfft2"], (4, 6)),
    **{name: (f, (0, 2)) for name, f in AXES.items()},
    **OTHERS,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_whole_numbers_come_in_any_sequence(name: str, form: str, xp: Any) -> None:
    f, numbers = CASES[name]
    x = xp.asarray(X)
    ours, expected = (gradkit.tree.leaves(f(x, value)) for value in (FORMS[form](numbers), numbers))
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(gradkit.device_get(one), gradkit.device_get(other))


@pytest.mark.parametrize("axis", [np.asarray(1), np.int8(1), np.asarray([1])])
def test_one_axis_may_be_an_array(axis: Any, xp: Any) -> None:
    assert jnp.sum(xp.asarray(X), axis=axis).shape == (2, 4)


@pytest.mark.parametrize("wrong", [np.asarray([2.0]), 1.5, "ab", (1.5,), np.asarray([[2]])])
def test_what_is_no_whole_number_is_an_error(wrong: Any, xp: Any) -> None:
    for f in (jnp.zeros, lambda shape: jnp.reshape(xp.asarray(X), shape), lambda a: jnp.sum(xp.asarray(X), axis=a)):
        with pytest.raises(TypeError):
            f(wrong)


def test_a_traced_shape_is_an_error(xp: Any) -> None:
    with pytest.raises(TypeError, match=r"concrete|no value to be a Python integer"):
        gradkit.vmap(jnp.zeros)(jnp.asarray([[1, 2], [2, 1]]))
