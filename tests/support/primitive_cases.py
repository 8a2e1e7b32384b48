"""Calls of every primitive that has a derivative, and JAX's functions of the same: the tables of several tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as J
import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import primitives
from gradkit.core.namespace import PRIMITIVES
from gradkit.primitives import special

__all__ = ["CASES", "Case", "arguments", "loss", "on", "weights"]

REAL, POSITIVE, UNIT, ABOVE_ONE = (-2.0, 2.0), (0.2, 3.0), (-0.9, 0.9), (1.2, 3.0)
INDEX = np.asarray([2, 0, 2])


@dataclass(frozen=True)
class Case:
    """One call of a primitive: our function, JAX's, and the shapes and ranges of its arguments."""

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((3, 2),)
    interval: tuple[float, float] = REAL
    id: str = ""


def same(name: str, *shapes: tuple[int, ...], interval: tuple[float, float] = REAL, jax_name: str = "") -> Case:
    return Case(getattr(jnp, name), getattr(J, jax_name or name), shapes or ((3, 2),), interval)


def both(f: Callable[..., Any], *shapes: tuple[int, ...], interval: tuple[float, float] = REAL) -> Case:
    """Return a case whose function takes the namespace first, so that one text serves both."""
    return Case(lambda *args: f(jnp, *args), lambda *args: f(J, *args), shapes or ((3, 2),), interval)


LABELS = np.asarray([0, 3, 1])


def jax_label_cross_entropy(logits: Any) -> Any:
    return -jax.nn.log_softmax(logits)[J.arange(3), LABELS]


BROADCAST = ((3, 2), (2,))
CASES: dict[str, list[Case]] = {
    "add": [same("add", *BROADCAST), same("add", (3, 1), (1, 2)), same("add", (), (2, 3))],
    "subtract": [same("subtract", *BROADCAST)],
    "multiply": [same("multiply", *BROADCAST), both(lambda xp, x: 3.0 * x * x)],
    "divide": [same("divide", *BROADCAST, interval=POSITIVE), both(lambda xp, x: 2 / x / 3, interval=POSITIVE)],
    "pow": [
        same("pow", *BROADCAST, interval=POSITIVE),
        both(lambda xp, x: x**3 + x**-1.5 + 2**x, interval=POSITIVE),
        both(lambda xp, x: xp.power(x, 3.0)),
    ],
    "remainder": [same("remainder", (4,), (4,), interval=POSITIVE)],
    "negative": [same("negative")],
    "positive": [same("positive")],
    "abs": [same("abs")],
    "copysign": [same("copysign", *BROADCAST), both(lambda xp, x: xp.copysign(x, -0.0) * x)],
    "reciprocal": [same("reciprocal", interval=POSITIVE)],
    "square": [same("square"), both(lambda xp, x: x**2)],
    "sqrt": [same("sqrt", interval=POSITIVE)],
    "exp": [same("exp")],
    "expm1": [same("expm1")],
    "log": [same("log", interval=POSITIVE)],
    "log1p": [same("log1p", interval=POSITIVE)],
    "log2": [same("log2", interval=POSITIVE)],
    "log10": [same("log10", interval=POSITIVE)],
    "logaddexp": [same("logaddexp", *BROADCAST)],
    "sin": [same("sin")],
    "cos": [same("cos")],
    "tan": [same("tan", interval=UNIT)],
    "asin": [same("asin", interval=UNIT)],
    "acos": [same("acos", interval=UNIT)],
    "atan": [same("atan")],
    "atan2": [same("atan2", *BROADCAST, interval=POSITIVE)],
    "hypot": [same("hypot", *BROADCAST)],
    "sinh": [same("sinh")],
    "cosh": [same("cosh")],
    "tanh": [same("tanh")],
    "softplus": [Case(primitives.softplus, jax.nn.softplus)],
    "erf": [Case(special.erf, jax.scipy.special.erf)],
    "erf_inv": [Case(special.erf_inv, jax.scipy.special.erfinv, interval=UNIT)],
    "fused_multiply_add": [Case(special.fused_multiply_add, lambda x, y, z: x * y + z, ((3, 2), (2,), (3, 1)))],
    "mean_square": [Case(primitives.mean_square, lambda x, y: J.mean((x - y) ** 2), ((3, 2), (3, 2)))],
    "log_softmax": [
        Case(lambda x: primitives.log_softmax(x, axis=(1,)) ** 2, lambda x: jax.nn.log_softmax(x, axis=1) ** 2)
    ],
    "label_cross_entropy": [
        Case(
            lambda x: primitives.label_cross_entropy(x, jnp.asarray(LABELS, device=x.device)),
            jax_label_cross_entropy,
            ((3, 4),),
        )
    ],
    "softmax_error": [
        Case(
            lambda x: primitives.softmax_error(x, jnp.asarray(LABELS, device=x.device)),
            lambda x: jax.nn.softmax(x) - jax.nn.one_hot(LABELS, 4, dtype=x.dtype),
            ((3, 4),),
        )
    ],
    "mean_label_cross_entropy": [
        Case(
            lambda x: primitives.mean_label_cross_entropy(x, jnp.asarray(LABELS, device=x.device)),
            lambda x: J.mean(jax_label_cross_entropy(x)),
            ((3, 4),),
        )
    ],
    "plus_squares": [
        Case(lambda t, x: primitives.plus_squares(t, x, 0.3), lambda t, x: t + 0.3 * J.sum(x * x), ((), (3, 2)))
    ],
    "asinh": [same("asinh")],
    "acosh": [same("acosh", interval=ABOVE_ONE)],
    "atanh": [same("atanh", interval=UNIT)],
    "sigmoid": [Case(primitives.sigmoid, jax.nn.sigmoid)],
    "acosh_slope": [Case(primitives.acosh_slope, lambda x: 1 / J.sqrt(x * x - 1), interval=ABOVE_ONE)],
    "asin_slope": [Case(primitives.asin_slope, lambda x: 1 / J.sqrt(1 - x * x), interval=UNIT)],
    "asinh_slope": [Case(primitives.asinh_slope, lambda x: 1 / J.sqrt(x * x + 1))],
    "atan2_slope": [Case(primitives.atan2_slope, lambda x, y: y / (x * x + y * y), BROADCAST, POSITIVE)],
    "atan_slope": [Case(primitives.atan_slope, lambda x: 1 / (1 + x * x))],
    "atanh_slope": [Case(primitives.atanh_slope, lambda x: 1 / (1 - x * x), interval=UNIT)],
    "hypot_slope": [Case(primitives.hypot_slope, lambda x, y: x / J.hypot(x, y), BROADCAST)],
    "tanh_slope": [Case(lambda x: primitives.tanh_slope(x, jnp.tanh(x)), lambda x: 1 - J.tanh(x) ** 2)],
    "sigmoid_slope": [
        Case(
            lambda x: primitives.sigmoid_slope(x, primitives.sigmoid(x)),
            lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x),
        )
    ],
    "gated": [Case(lambda x: primitives.gated(x, primitives.sigmoid(x)), jax.nn.silu)],
    "limited": [Case(lambda x: primitives.limited(x) ** 2, lambda x: J.clip(x, -800, 800) ** 2)],
    "normal_cdf": [Case(primitives.normal_cdf, jax.scipy.stats.norm.cdf)],
    "soft_sign": [Case(primitives.soft_sign, jax.nn.soft_sign)],
    "relu": [Case(primitives.relu, jax.nn.relu)],
    "maximum": [same("maximum", *BROADCAST), both(lambda xp, x: xp.maximum(x, 0.5))],
    "minimum": [same("minimum", *BROADCAST), both(lambda xp, x: xp.clip(x, -1.0, 1.0))],
    "where": [both(lambda xp, x, y: xp.where(x > 0.1, x * y, y * y), *BROADCAST)],
    "masked": [
        Case(lambda x: primitives.masked(x * x, x > 0), lambda x: J.where(x > 0, x * x, 0.0)),
    ],
    "sum": [
        same("sum"),
        both(lambda xp, x: xp.sum(x, axis=1) ** 2, (3, 2)),
        both(lambda xp, x: xp.sum(x, axis=(0, 2), keepdims=True) * x, (2, 3, 2)),
        both(lambda xp, x: x.sum(-1).sum() * x, (2, 3)),
    ],
    "mean": [both(lambda xp, x: xp.mean(x, axis=0) ** 2), both(lambda xp, x: xp.mean(x) * x)],
    "max": [both(lambda xp, x: xp.max(x, axis=1) ** 2, (3, 4)), both(lambda xp, x: xp.max(x) * x)],
    "min": [both(lambda xp, x: xp.min(x, axis=0, keepdims=True) ** 2, (3, 4))],
    "logsumexp": [
        Case(lambda x: primitives.logsumexp(x, axis=1) ** 2, lambda x: jax.scipy.special.logsumexp(x, axis=1) ** 2),
        Case(lambda x: primitives.logsumexp(x), lambda x: jax.scipy.special.logsumexp(x)),
    ],
    "root_of_squares": [
        Case(lambda x: primitives.root_of_squares(x, (0, 1)), lambda x: J.sqrt(J.sum(x * x))),
        Case(
            lambda x: primitives.root_of_squares(x, (1,), keepdims=True, divisor=2.0) * x,
            lambda x: J.sqrt(J.mean(x * x, axis=1, keepdims=True)) * x,
        ),
    ],
    "matmul_in_mode": [
        Case(lambda x, y: PRIMITIVES["matmul_in_mode"](x, y, mode="float32"), J.matmul, ((3, 2), (2, 4))),
        Case(lambda x, y: PRIMITIVES["matmul_in_mode"](x, y, mode="float32"), J.matmul, ((2, 1, 3, 2), (4, 2, 3))),
    ],
    "matmul": [
        same("matmul", (3, 2), (2, 4)),
        same("matmul", (3,), (3,)),
        same("matmul", (2, 3), (3,)),
        same("matmul", (3,), (3, 2)),
        same("matmul", (2, 1, 3, 2), (4, 2, 3)),
    ],
    "affine": [
        Case(primitives.affine, lambda x, w, b: x @ w + b, ((4, 3), (3, 2), (2,))),
        Case(primitives.affine, lambda x, w, b: x @ w + b, ((3,), (3, 2), (2,))),
        Case(primitives.affine, lambda x, w, b: x @ w + b, ((2, 2, 3), (3, 2), (2,))),
    ],
    "reshape": [
        both(lambda xp, x: xp.reshape(x, (2, 3)) ** 2),
        both(lambda xp, x: xp.squeeze(xp.expand_dims(x, axis=1) ** 2, axis=1)),
        both(lambda xp, x: x.reshape(3, -1, 1).ravel() ** 2),
    ],
    "permute_dims": [
        both(lambda xp, x: xp.permute_dims(x, (2, 0, 1)) ** 2, (2, 3, 4)),
        both(lambda xp, x: x.T @ x),
        both(lambda xp, x: x.mT * 2.0, (2, 3, 4)),
    ],
    "broadcast_to": [both(lambda xp, x, y: xp.broadcast_to(x, (4, 3, 2)) * y, (3, 1), (4, 1, 2))],
    "concatenate": [
        both(lambda xp, x, y: xp.concat([x, y, x], axis=1) ** 2, (3, 2), (3, 1)),
        both(lambda xp, x, y: xp.concat([x, y], axis=None) ** 2, (3, 2), (2,)),
        both(lambda xp, x, y: xp.stack([x, y], axis=1) ** 2, (3, 2), (3, 2)),
    ],
    "getitem": [
        both(lambda xp, x: x[1:, ::-1] ** 2),
        both(lambda xp, x: x[-1] * x[0, 1] + x[..., None, 0] ** 2, (3, 2)),
    ],
    "pad_index": [
        Case(
            lambda x: primitives.pad_index(x * x, index=(slice(0, 6, 2), 1), shape=(6, 2)),
            lambda x: J.zeros((6, 2)).at[0:6:2, 1].set(x * x),
            ((3,),),
        )
    ],
    "take": [
        both(lambda xp, x: xp.take(x, xp.asarray(INDEX), axis=0) ** 2, (3, 2)),
        both(lambda xp, x: x[xp.asarray(INDEX)] ** 2, (3, 2)),
        both(lambda xp, x: x[:, xp.asarray(INDEX)] ** 2, (2, 3)),
        both(lambda xp, x: x[xp.asarray(INDEX), xp.asarray([0, 1, -1])] ** 2, (3, 2)),
        both(lambda xp, x: x[xp.asarray([[0], [1]]), 1:, xp.asarray(INDEX)] ** 2, (2, 4, 3)),
        both(lambda xp, x: x[0, :, xp.asarray(INDEX), 1:] ** 2, (2, 4, 3, 2)),
        both(lambda xp, x: x[:, 1, xp.asarray(INDEX)] ** 2, (2, 4, 3)),
        both(lambda xp, x: x[xp.asarray([True, False, True])] ** 2, (3, 2)),
    ],
    "scatter_add": [
        Case(
            lambda x: primitives.scatter_add(x * x, jnp.asarray(INDEX), axis=1, size=4),
            lambda x: J.zeros((2, 4)).at[:, INDEX].add(x * x),
            ((2, 3),),
        )
    ],
    "set_index": [
        both(lambda xp, x, y: x.at[1:, ::-2].set(y**2) ** 2, (3, 4), (2, 1)),
        both(lambda xp, x, y: x.at[0, None, ..., 1].multiply(y) ** 2, (2, 3, 4), (1, 3)),
    ],
    "scatter_set": [
        both(lambda xp, x, y: x.at[:, xp.asarray(INDEX)].set(y**2) ** 2, (2, 4), (2, 3)),
        both(lambda xp, x, y: x.at[xp.asarray(INDEX), 1:, xp.asarray([0, 5, 1])].set(y) ** 2, (3, 3, 2), (3, 2)),
    ],
    "scatter_multiply": [
        Case(
            lambda x, y: x.at[:, jnp.asarray(INDEX, device=x.device)].multiply(y) ** 2,
            lambda x, y: (
                x.at[:, np.asarray([2, 0])].multiply(J.stack([y[:, 0] * y[:, 2], y[:, 1]], axis=1), unique_indices=True)
                ** 2
            ),
            ((2, 4), (2, 3)),
        )
    ],
    "scatter_min": [both(lambda xp, x, y: x.at[xp.asarray(INDEX)].min(y) ** 2, (4, 2), (3, 2))],
    "scatter_max": [both(lambda xp, x, y: x.at[xp.asarray(INDEX)].max(y) ** 2, (4, 2), (3, 1))],
    "take_along_axis": [both(lambda xp, x: xp.take_along_axis(x, xp.asarray([INDEX, INDEX]), axis=1) ** 2, (2, 4))],
    "add_along_axis": [
        Case(
            lambda x: primitives.add_along_axis(x**2, jnp.asarray([INDEX, INDEX], device=x.device), axis=1, size=4),
            lambda x: J.zeros((2, 4)).at[J.arange(2)[:, None], INDEX].add(x**2),
            ((2, 3),),
        )
    ],
    "sort": [both(lambda xp, x: xp.sort(x, axis=0) ** 3, (4, 2)), both(lambda xp, x: xp.sort(x, descending=True) ** 3)],
    "prod": [
        both(lambda xp, x: xp.prod(x, axis=1) ** 2, (2, 3, 2)),
        both(lambda xp, x: xp.prod(xp.trunc(x) * x, axis=(0, 2), keepdims=True), (2, 3, 2)),
    ],
    "cumsum": [both(lambda xp, x: xp.cumsum(x, axis=1) ** 2, (2, 4)), both(lambda xp, x: xp.cumsum(x**2))],
    "cumprod": [
        both(lambda xp, x: xp.cumprod(x, axis=0) ** 2, (5, 2)),
        both(lambda xp, x: xp.cumprod(xp.trunc(x) * x), (6,)),
    ],
    "conj": [both(lambda xp, x, y: abs(xp.conj(x + 1j * y) * (x - 2j)), (3, 2), (3, 2))],
    "real": [both(lambda xp, x, y: xp.real((x + 1j * y) * (2.0 + 0.5j) * x), (3, 2), (3, 2))],
    "imag": [both(lambda xp, x, y: xp.imag((x + 1j * y) * (2.0 + 0.5j) * y), (3, 2), (3, 2))],
    "nextafter": [Case(jnp.nextafter, lambda x, y: x + 0 * y, BROADCAST)],  # JAX has no derivative of it
    "transfer": [
        Case(
            lambda x: gradkit.device_put(gradkit.device_put(x, gradkit.devices()[-1]) ** 2, gradkit.devices()[0]),
            lambda x: x**2,
        )
    ],
}


def arguments(case: Case) -> list[np.ndarray]:
    rng = np.random.default_rng(zlib.crc32(repr((case.shapes, case.interval)).encode()))
    return [rng.uniform(*case.interval, size=shape) for shape in case.shapes]


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Return a cotangent that is not all ones, which would hide a wrong transpose."""
    return np.cos(np.arange(1.0, 1.0 + np.prod(shape, dtype=int))).reshape(shape)


def on(xp: Any, x: Any) -> gradkit.Array:
    return xp.asarray(np.asarray(x))


def loss(case: Case, xp: Any) -> Callable[..., Any]:
    def function(*args: Any) -> Any:
        result = case.ours(*args)
        return (result * on(xp, weights(result.shape))).sum()

    return function
