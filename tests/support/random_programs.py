"""Random programs of arrays, for comparisons: each a function of a few arrays that gives several results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn

__all__ = ["arguments", "random_program", "wilder_arguments"]

DTYPES = ("float32", "float32", "float32", "float64", "int32", "bool", "uint8")
MORE_DTYPES = (*DTYPES, "float16", "complex64", "int8", "int16", "uint32")
SPECIAL = (np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38, -0.0, 65504.0)


_rounded: ContextVar[Callable[[Any], Any]] = ContextVar("rounded", default=lambda x: x)


def arguments(seed: int) -> list[Any]:
    """Return arrays of several shapes and dtypes, with a zero, a negative zero and repeated numbers among them."""
    generator = np.random.default_rng(seed)
    found = []
    for shape in ((4, 6), (6,), (4, 1), (3, 4, 6), (6, 6)):
        dtype = DTYPES[generator.integers(len(DTYPES))]
        numbers = np.round(generator.normal(size=shape) * 2, 2)
        numbers.reshape(-1)[:2] = 0.0, -0.0
        found.append((np.abs(numbers) if dtype == "uint8" else numbers).astype(dtype))
    return found


def wilder_arguments(seed: int) -> list[Any]:
    """Return arrays of more dtypes, some of them empty, some with NaN, infinities, subnormals and huge numbers."""
    generator = np.random.default_rng([seed, 2])
    found = []
    for shape in ((4, 6), (6,), (4, 1), (3, 4, 6), (6, 6), ((0, 6), (4, 0), (), (1, 1))[seed % 4]):
        dtype = MORE_DTYPES[generator.integers(len(MORE_DTYPES))]
        numbers = np.round(generator.normal(size=shape) * 2, 2)
        if dtype.startswith(("float", "complex")) and generator.random() < 0.3 and numbers.size:
            numbers.reshape(-1)[generator.integers(numbers.size, size=2)] = generator.choice(SPECIAL, 2)
        elif dtype.startswith(("int", "uint")) and numbers.size:
            limits = np.iinfo(dtype)
            numbers = np.abs(numbers) if dtype.startswith("u") else numbers
            numbers.reshape(-1)[:1] = generator.choice([limits.min, limits.max], 1)
        with np.errstate(all="ignore"):
            found.append(numbers.astype(dtype))
    return found


def random_program(
    seed: int, length: int = 14, wilder: bool = False, rounded: Callable[[Any], Any] = lambda x: x
) -> Callable[..., list[Any]]:
    """Return a function that combines results of earlier operations; it gives some of them, and a sum of all.

    With `wilder` there are derivatives of derivatives, batches of loops, complex numbers and integers that overflow.
    The result of each operation, and of each sum, goes through `rounded`, and so does a product within an operation.
    """
    operations = [*OPERATIONS, *WILDER] if wilder else OPERATIONS
    choices = np.random.default_rng([seed, 1]).integers(0, 2**31, 400).tolist()

    def program(*given: Any) -> list[Any]:
        numbers = iter(choices)
        values = list(given)

        def pick() -> Any:
            # What was made last is read more often.
            position = next(numbers) % (2 * len(values))
            return values[position if position < len(values) else -1 - (position % min(4, len(values)))]

        token = _rounded.set(rounded)
        for _ in range(length):
            operation = operations[next(numbers) % len(operations)]
            values.append(rounded(bounded(operation(numbers, pick))))
        _rounded.reset(token)
        made = values[len(given) :]
        total = sum((rounded(jnp.sum(as_float(v))) for v in made), jnp.zeros((), "float32"))
        return [made[-1], made[-4], made[0], total]

    return program


def bounded(x: Any) -> Any:
    """Keep numbers small, and arrays."""
    if x.size > 3000:
        x = x.reshape(-1)[:24]
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jnp.where(jnp.abs(x) < 50, x, jnp.zeros_like(x) + 1)
    return jnp.clip(x, -50, 50) if jnp.issubdtype(x.dtype, jnp.floating) else x


def as_float(x: Any) -> Any:
    """Return numbers as floats, without NaN and infinities."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.real(x) - jnp.imag(x)
    x = x.astype("float32") if not jnp.issubdtype(x.dtype, jnp.floating) else x
    return jnp.nan_to_num(x, nan=0.5, posinf=1.0, neginf=-1.0)


Numbers = Iterator[int]
Pick = Callable[[], Any]


def broadcast(function: Callable[..., Any]) -> Callable[[Numbers, Pick], Any]:
    """Apply a function of two arrays, where they broadcast."""

    def operation(numbers: Numbers, pick: Pick) -> Any:
        a, b = pick(), pick()
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            b = b.reshape(-1)[0] if b.size else a
        return function(a, b)

    return operation


def on_floats(function: Callable[[Any], Any]) -> Callable[[Numbers, Pick], Any]:
    return lambda numbers, pick: function(as_float(pick()))


def on_one(function: Callable[[Any], Any]) -> Callable[[Numbers, Pick], Any]:
    return lambda numbers, pick: function(pick())


def reduced(function: Callable[..., Any], floats: bool = True) -> Callable[[Numbers, Pick], Any]:
    def operation(numbers: Numbers, pick: Pick) -> Any:
        x = as_float(pick()) if floats else pick()
        if not x.ndim or not x.size:
            return x
        kind, axis = next(numbers) % 3, next(numbers) % x.ndim
        return function(x) if kind == 0 else function(x, axis=axis, keepdims=kind == 2)

    return operation


def difference(a: Any, b: Any) -> Any:
    return a ^ b if a.dtype == b.dtype == "bool" else a - b


def angle(a: Any, b: Any) -> Any:
    return jnp.arctan2(a, jnp.abs(as_float(b)) + 0.1)  # about 0 any angle may be the result of rounding


def power(a: Any, b: Any) -> Any:
    return jnp.abs(as_float(a)) ** jnp.clip(as_float(b), -3, 3)


def sliced(numbers: Numbers, pick: Pick) -> Any:
    x = pick()
    if not x.ndim or not x.size:
        return x
    kinds = (slice(None), slice(None, None, -1), slice(1, None), slice(None, None, 2), 0, -1, None, slice(0, 1))
    index: list[Any] = []
    for _ in range(x.ndim):
        kind = kinds[next(numbers) % len(kinds)]
        index.extend((None, slice(None)) if kind is None else (kind,))
    found = x[tuple(index)]
    return found if found.size else x


def moved(numbers: Numbers, pick: Pick) -> Any:
    x = pick()
    kind = next(numbers) % 5
    if kind == 0 or not x.ndim:
        return x.T
    if kind == 1:
        return x.reshape(-1)
    if kind == 2:
        return jnp.broadcast_to(x, (2, *x.shape))
    if kind == 3:
        return jnp.moveaxis(x, 0, -1)
    return x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2) if x.shape[-1] % 2 == 0 and x.shape[-1] else x[..., None]


def joined(numbers: Numbers, pick: Pick) -> Any:
    a, b = as_float(pick()), as_float(pick())
    if not a.ndim or not b.ndim or a.shape[1:] != b.shape[1:]:
        return jnp.stack([a, a * 2], axis=next(numbers) % (a.ndim + 1))
    return jnp.concatenate([a, b.astype(a.dtype)], axis=0)


def multiplied(numbers: Numbers, pick: Pick) -> Any:
    a, b = as_float(pick()), as_float(pick())
    if a.ndim < 2 or not a.size:
        return a
    if b.ndim and b.shape[0] == a.shape[-1] and b.ndim <= 2:
        return a @ b / 4
    x = a @ jnp.swapaxes(a, -1, -2) / 4
    return x if next(numbers) % 2 else x - 0.1 * _rounded.get()(x @ x)


def taken(numbers: Numbers, pick: Pick) -> Any:
    x = pick()
    if not x.ndim or not x.shape[0]:
        return x
    indices = jnp.asarray([next(numbers) % (x.shape[0] + 1) - 1 for _ in range(3)]) + jnp.sum(x != x).astype("int32")
    kind = next(numbers) % 4
    if kind == 0:
        return x[indices]
    if kind == 1:
        return x.at[indices].set(x[0])
    if kind == 2:
        return as_float(x).at[indices].add(1.5)
    return lax.dynamic_slice_in_dim(x, indices[0], 1, 0)


def looped(numbers: Numbers, pick: Pick) -> Any:
    x, y = as_float(pick()), as_float(pick())
    kind = next(numbers) % 4
    if not x.ndim or not x.shape[0]:
        return x
    if kind == 0:
        carry, rows = lax.scan(lambda c, r: (jnp.tanh(c + r), c - r), x[0], x, reverse=bool(next(numbers) % 2))
        return rows + carry
    if kind == 1:
        return lax.fori_loop(0, 3, lambda i, c: (c * 0.5 + i + jnp.sum(y) * 0.01).astype(c.dtype), x)
    if kind == 2:
        return lax.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, s[1][::-1] + 1), (0, x))[1]
    return lax.cond(jnp.sum(x) > 0, lambda x: jnp.sin(x) + 1, lambda x: x * 2, x)


def differentiated(numbers: Numbers, pick: Pick) -> Any:
    x = as_float(pick())
    kind = next(numbers) % 3

    def loss(v: Any) -> Any:
        return jnp.sum(jnp.tanh(v) * jnp.sin(v * v) + (jnp.max(v) if v.size else 0.0))

    if kind == 0:
        return gradkit.grad(loss)(x)
    if kind == 1:
        return gradkit.jvp(lambda v: jnp.exp(-v * v) * v, (x,), (jnp.ones_like(x),))[1]
    return gradkit.vmap(lambda v: v * jnp.sum(v) - jnp.mean(v))(x) if x.ndim else x


def integers(function: Callable[..., Any]) -> Callable[[Numbers, Pick], Any]:
    def operation(numbers: Numbers, pick: Pick) -> Any:
        x = (jnp.clip(as_float(pick()), -100, 100) * 3).astype(("int32", "int8", "uint8", "int16")[next(numbers) % 4])
        return function(x, x.reshape(-1)[:1] if x.size else x)

    return operation


def ordered(numbers: Numbers, pick: Pick) -> Any:
    """Positions and orders, of whole numbers: many are equal, and rounding changes none."""
    whole = jnp.clip(as_float(pick()) * 3, -100, 100).astype(("int32", "int8", "float32")[next(numbers) % 3])
    whole = jnp.floor(whole) if whole.dtype == "float32" else whole
    kind, reverse = next(numbers) % 7, bool(next(numbers) % 2)
    if not whole.ndim or not whole.size:
        return whole
    axis = next(numbers) % whole.ndim
    if kind < 2:
        return (jnp.argmax, jnp.argmin)[kind](whole, axis=axis, keepdims=reverse)
    if kind < 4:
        return (jnp.sort, jnp.argsort)[kind - 2](whole, axis=axis, descending=reverse)
    if kind < 6:
        return (lax.cumsum, lax.cummax)[kind - 4](whole, axis, reverse)
    return jnp.searchsorted(jnp.sort(whole.reshape(-1)), whole, side="right" if reverse else "left")


def solved(numbers: Numbers, pick: Pick) -> Any:
    """Linear algebra of matrices, or batches of them, that have inverses."""
    x = jnp.tanh(as_float(pick()))
    x = x.astype("float32") if x.dtype == "float16" else x  # which LAPACK does not know
    if x.ndim < 2 or not x.size:
        return jnp.tril(jnp.outer(x, x)) if x.ndim and x.size < 50 else x
    square = x @ jnp.swapaxes(x, -1, -2) + 5 * jnp.eye(x.shape[-2], dtype=x.dtype)
    kind = next(numbers) % 6
    if kind == 0:
        return jnp.linalg.solve(square, x)
    if kind == 1:
        return jnp.linalg.inv(square)
    if kind == 2:
        return jnp.linalg.cholesky(square)
    if kind == 3:
        return jnp.linalg.slogdet(square)[1] + jnp.linalg.det(square / 5)
    if kind == 4:
        return gradkit.grad(lambda s: jnp.sum(jnp.sin(jnp.linalg.solve(s, x))) + jnp.linalg.slogdet(s)[1].sum())(square)
    return jnp.triu(square, next(numbers) % 3 - 1)


OPERATIONS: list[Callable[[Numbers, Pick], Any]] = [
    *map(broadcast, (jnp.add, jnp.multiply, difference, jnp.maximum, jnp.minimum, angle, power)),
    broadcast(lambda a, b: as_float(a) / (jnp.abs(as_float(b)) + 0.5)),
    broadcast(lambda a, b: jnp.where(a > b, a, b)),
    broadcast(lambda a, b: (a == b) | (a <= b)),
    *map(on_floats, (jnp.sin, jnp.cos, jnp.exp, jnp.tanh, jnp.sqrt, jnp.log1p, jnp.abs, jnp.floor, jnp.round)),
    on_floats(jnp.sign),
    *map(on_floats, (nn.sigmoid, nn.relu, nn.softplus, nn.gelu, jnp.square, jnp.negative, jnp.isfinite, jnp.expm1)),
    *map(reduced, (jnp.sum, jnp.mean, jnp.max, jnp.min, jnp.prod, jnp.var)),
    *(reduced(function, floats=False) for function in (jnp.any, jnp.all, jnp.sum)),
    sliced, sliced, moved, moved, joined, multiplied, multiplied, taken, looped, differentiated, ordered, solved,
    on_floats(lambda x: nn.softmax(x) if x.ndim and x.size else x),
    on_floats(lambda x: jnp.cumsum(x, axis=0) if x.ndim else x),
    on_floats(lambda x: jnp.sort(x, axis=-1) if x.ndim else x),
    on_one(lambda x: x.astype("float32")),
    on_one(lambda x: x.astype("int32") if not jnp.issubdtype(x.dtype, jnp.floating) else x > 0),
    *map(integers, (lambda x, y: x // y, lambda x, y: x % y, lambda x, y: x << 2, lambda x, y: x >> 1)),
    *map(integers, (lambda x, y: x & y, lambda x, y: ~x, lambda x, y: -x, lambda x, y: x * x + y)),
]  # fmt: skip


def of_higher_order(numbers: Numbers, pick: Pick) -> Any:
    """Derivatives of derivatives, forwards and backwards, and derivatives of batches and loops."""
    x = as_float(pick()).astype("float32")
    v = x.reshape(-1)[:4]
    if not v.size:
        return v
    kind = next(numbers) % 6

    def loss(v: Any) -> Any:
        return jnp.sum(jnp.tanh(v) * v**2) + jnp.prod(jnp.cos(v))

    def looped_loss(v: Any) -> Any:
        return jnp.sum(lax.scan(lambda c, r: (jnp.sin(c) * r, c * c), v[0], v)[1])

    if kind == 0:
        return gradkit.hessian(loss)(v)
    if kind == 1:
        return gradkit.grad(lambda v: jnp.sum(gradkit.grad(loss)(v) ** 2))(v)
    if kind == 2:
        return gradkit.jacfwd(gradkit.grad(looped_loss))(v)
    if kind == 3:
        return gradkit.vmap(gradkit.grad(loss))(jnp.stack([v, v * 0.5, v[::-1]]))
    if kind == 4:
        return gradkit.jvp(gradkit.grad(looped_loss), (v,), (jnp.cos(v),))[1]
    return gradkit.grad(lambda v: gradkit.checkpoint(loss)(jnp.sin(v)) + looped_loss(v))(v)


def batched_loops(numbers: Numbers, pick: Pick) -> Any:
    x = as_float(pick()).astype("float32")
    if not x.ndim or not x.size:
        return x
    kind = next(numbers) % 5
    rows = x.reshape(x.shape[0], -1)[:, :3]
    if kind == 0:
        return gradkit.vmap(lambda r: lax.scan(lambda c, e: (c * 0.5 + e, c - e), 0.0, r)[1])(rows)
    if kind == 1:
        bound = jnp.clip(rows[:, 0], 0, 5).astype("int32")

        def turned(r: Any, n: Any) -> Any:
            return lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, r))[1]

        return gradkit.vmap(turned)(rows, bound)
    if kind == 2:
        return gradkit.vmap(lambda r: lax.cond(r[0] > 0, lambda r: r * 2, lambda r: r - 1, r))(rows)
    if kind == 3:
        return gradkit.vmap(lambda r: lax.fori_loop(0, 3, lambda i, c: c.at[i % r.size].add(1.0) * 0.9, r))(rows)
    return gradkit.vmap(gradkit.grad(lambda r: jnp.sum(lax.scan(lambda c, e: (jnp.tanh(c + e), c), r[0], r)[1])))(rows)


def complex_numbers(numbers: Numbers, pick: Pick) -> Any:
    x = as_float(pick()).astype("float32")
    z = x + 1j * jnp.cos(x)
    kind = next(numbers) % 6
    if kind == 0:
        return jnp.abs(z)
    if kind == 1:
        return jnp.conj(z) * z
    if kind == 2:
        return jnp.exp(z * 0.1)
    if kind == 3:
        return jnp.real(z * z) + jnp.imag(z)
    if kind == 4:
        return jnp.angle(z)
    return gradkit.grad(lambda x: jnp.sum(jnp.abs(x + 2j) ** 2))(x)


def overflowing(numbers: Numbers, pick: Pick) -> Any:
    x = as_float(pick())
    dtype = ("int8", "uint8", "int16", "int32", "uint32")[next(numbers) % 5]
    whole = jnp.clip(x * 9, -100 if dtype.startswith("i") else 0, 100).astype(dtype)
    kind = next(numbers) % 6
    if kind == 0:
        return whole * whole * whole
    if kind == 1:
        return (whole << 5) - whole
    if kind == 2:
        return jnp.cumsum(whole.reshape(-1))
    if kind == 3:
        return jnp.sum(whole * whole)
    if kind == 4:
        return -whole + jnp.abs(whole)
    return (whole * 3).astype(("int8", "uint8", "int16", "uint32")[next(numbers) % 4])


def of_half_precision(numbers: Numbers, pick: Pick) -> Any:
    x = jnp.clip(as_float(pick()), -8, 8).astype("float16")
    kind = next(numbers) % 4
    if kind == 0:
        return x * 2 + 1
    if kind == 1:
        return jnp.where(x > 0, x, -x)[::-1] if x.ndim else x
    if kind == 2:
        return jnp.max(x) if x.size else x
    return (x.astype("float32") + 0.5).astype("float16")


WILDER: list[Callable[[Numbers, Pick], Any]] = [
    of_higher_order, of_higher_order, batched_loops, batched_loops, complex_numbers, overflowing, overflowing,
    of_half_precision,
]  # fmt: skip
"""What `random_program` has besides, where it is asked to."""
