"""Functions of every family on drawn shapes, dtypes, axes and broadcasting: NumPy's results, and central differences.

Sizes of 0 and arrays of no axes are among the shapes. ``GRADKIT_TEST_EXAMPLES`` says how many inputs each test draws;
without it they are half as many as elsewhere, or 6 without ``--long``, for there are hundreds of tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit.testing import check_grads

drawn = settings(
    max_examples=int(os.environ.get("GRADKIT_TEST_EXAMPLES", examples(long=50, short=6))),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FLOATING = ["float32", "float64"]
NUMERIC = [*FLOATING, "int8", "int32", "uint8", "int64"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def numbers(shape: tuple[int, ...], dtype: str, low: float, high: float, seed: int) -> np.ndarray:
    """Return distinct numbers in an interval: there are no ties at which a function has no derivative."""
    count = int(np.prod(shape))
    if np.dtype(dtype).kind in "iu":
        return np.random.default_rng(seed).integers(max(low, 0), max(high, 2) + 1, shape).astype(dtype)
    spread = np.linspace(low, high, count + 2)[1:-1]
    return np.random.default_rng(seed).permutation(spread).reshape(shape).astype(dtype)


def agrees(got: Any, expected: Any, caller: str) -> None:
    """Compare results, lists of results too, with NumPy's: shapes, and numbers to the dtype's precision."""
    if isinstance(expected, list | tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            agrees(one, other, caller)
        return
    ours = np.asarray(gradkit.device_get(got))
    theirs = np.asarray(expected)
    assert ours.shape == theirs.shape, caller
    single = ours.dtype.name in ("float32", "complex64")
    np.testing.assert_allclose(
        ours, theirs, rtol=2e-4 if single else 1e-9, atol=2e-4 if single else 1e-9, err_msg=caller
    )


def derivatives(function: Callable[..., Any], *args: np.ndarray) -> None:
    """Compare both modes with central differences, in float64."""
    check_grads(function, [jnp.asarray(arg.astype("float64")) for arg in args], order=1, atol=1e-4, rtol=1e-4)


def run(ours: Callable[..., Any], theirs: Callable[..., Any], arrays: list[np.ndarray], name: str, xp: Any) -> None:
    """Compare a call with NumPy's: the same result, or an error where NumPy has one; then the derivatives."""
    with np.errstate(all="ignore"):
        try:
            expected = theirs(*arrays)
        except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
            with pytest.raises((ValueError, TypeError, IndexError)):
                ours(*map(xp.asarray, arrays))
            return
        agrees(ours(*map(xp.asarray, arrays)), expected, name)
    results = expected if isinstance(expected, list | tuple) else [expected]
    if all(np.asarray(array).dtype.kind in "fc" for array in (*arrays, *results)):
        derivatives(ours, *arrays)


# Elementwise: (name, interval in which it is smooth)

UNARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys("sin cos tan arctan arcsinh sinh cosh tanh exp expm1 square negative sinc deg2rad exp2".split(), (-1.3, 1.3)),
    **dict.fromkeys("arcsin arccos arctanh".split(), (-0.9, 0.9)),
    **dict.fromkeys("log log1p log2 log10 sqrt cbrt reciprocal absolute sign".split(), (0.3, 2.0)),
    "arccosh": (1.2, 3.0),
    "floor": (0.1, 0.9),
    "nan_to_num": (-1.0, 1.0),
}  # fmt: skip
BINARY: dict[str, tuple[float, float]] = dict.fromkeys(
    "add subtract multiply divide power arctan2 hypot maximum minimum logaddexp copysign fmax".split(), (0.4, 2.1)
)


@pytest.mark.parametrize("name", UNARY)
@given(shape=SHAPES, dtype=st.sampled_from(FLOATING), seed=st.integers(0, 9))
@drawn
def test_elementwise_functions(name: str, shape: tuple[int, ...], dtype: str, seed: int, xp: Any) -> None:
    x = numbers(shape, dtype, *UNARY[name], seed)
    run(getattr(jnp, name), getattr(np, name), [x], name, xp)


@pytest.mark.parametrize("name", BINARY)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_dims=3, max_side=3), dtype=st.sampled_from(FLOATING), seed=st.integers(0, 9))  # fmt: skip
@drawn
def test_elementwise_functions_of_two_broadcast(name: str, shapes: Any, dtype: str, seed: int, xp: Any) -> None:
    x, y = (numbers(shape, dtype, *BINARY[name], seed + i) for i, shape in enumerate(shapes.input_shapes))
    if name in ("maximum", "minimum", "fmax"):
        y = np.asarray(y + 0.01234, dtype)  # no ties
    run(getattr(jnp, name), getattr(np, name), [x, y], name, xp)


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_dims=3, max_side=3),
    name=st.sampled_from(["add", "subtract", "multiply", "less", "equal", "maximum", "floor_divide", "bitwise_and"]),
    dtype=st.sampled_from(["int8", "int32", "uint8", "int64"]),
    seed=st.integers(0, 9),
)
@drawn
def test_integers_broadcast_as_in_numpy(shapes: Any, name: str, dtype: str, seed: int, xp: Any) -> None:
    x, y = (numbers(shape, dtype, 1, 9, seed + i) for i, shape in enumerate(shapes.input_shapes))
    got = getattr(jnp, name)(xp.asarray(x), xp.asarray(y))
    expected = getattr(np, name)(x, y)
    assert got.dtype == expected.dtype
    agrees(got, expected, name)


# Reductions and running results

REDUCTIONS = "sum prod mean max min var std nansum nanmean ptp".split()
TRUTH = "any all count_nonzero argmax argmin".split()


@st.composite
def shapes_and_axes(draw: Any) -> tuple[tuple[int, ...], Any]:
    shape = draw(SHAPES)
    axes = [st.none()]
    if shape:
        axes += [st.integers(-len(shape), len(shape) - 1), hnp.valid_tuple_axes(len(shape))]
    return shape, draw(st.one_of(*axes))


@pytest.mark.parametrize("name", REDUCTIONS)
@given(case=shapes_and_axes(), keepdims=st.booleans(), dtype=st.sampled_from(FLOATING), seed=st.integers(0, 9))
@drawn
def test_reductions(name: str, case: Any, keepdims: bool, dtype: str, seed: int, xp: Any) -> None:
    shape, axis = case
    x = numbers(shape, dtype, 0.3, 1.9, seed)
    assume(x.size or name in ("sum", "prod", "max", "min", "nansum"))  # a mean of nothing is NaN, with a warning
    if name in ("var", "std"):
        reduced = np.mean(np.ones(shape), axis=axis).size
        assume(name == "var" or reduced < x.size)  # no derivative where there is one element
    run(
        lambda x: getattr(jnp, name)(x, axis=axis, keepdims=keepdims),
        lambda x: getattr(np, name)(x, axis=axis, keepdims=keepdims),
        [x],
        name,
        xp,
    )


@pytest.mark.parametrize("name", TRUTH)
@given(case=shapes_and_axes(), dtype=st.sampled_from([*NUMERIC, "bool"]), seed=st.integers(0, 9))
@drawn
def test_reductions_to_truth_values_and_places(name: str, case: Any, dtype: str, seed: int, xp: Any) -> None:
    shape, axis = case
    x = (numbers(shape, "float64", -1.0, 3.0, seed).round()).astype(dtype)
    if name.startswith("arg"):
        assume(x.size)
        assume(not isinstance(axis, tuple))
        assume(dtype != "bool")  # the standard has no argmax of truth values
    run(lambda x: getattr(jnp, name)(x, axis=axis), lambda x: getattr(np, name)(x, axis=axis), [x], name, xp)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cumulative_sum", "cumulative_prod", "nancumsum"])
@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3), data=st.data(), seed=st.integers(0, 9))
@drawn
def test_running_results(name: str, shape: tuple[int, ...], data: Any, seed: int, xp: Any) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    options = {"include_initial": data.draw(st.booleans())} if name.startswith("cumulative") else {}
    x = numbers(shape, data.draw(st.sampled_from(FLOATING)), 0.4, 1.6, seed)
    run(
        lambda x: getattr(jnp, name)(x, axis=axis, **options),
        lambda x: getattr(np, name)(x, axis=axis, **options),
        [x],
        name,
        xp,
    )


# Manipulation: from a shape to the arguments after x


def _axes(data: Any, shape: tuple[int, ...]) -> int:
    assume(shape)
    axis: int = data.draw(st.integers(-len(shape), len(shape) - 1))
    return axis


def _offset(data: Any, shape: tuple[int, ...]) -> int:
    assume(len(shape) >= 2)  # of a vector NumPy makes a matrix, and JAX an error
    offset: int = data.draw(st.integers(-3, 3))
    return offset


MANIPULATIONS: dict[str, Callable[[Any, tuple[int, ...]], Callable[[Any, Any], Any]]] = {
    "reshape": lambda data, shape: lambda n, x: n.reshape(x, (-1, *shape[:1]) if 0 not in shape and shape else (x.size,)),
    "transpose": lambda data, shape: _with(data.draw(st.permutations(range(len(shape)))), lambda n, x, p: n.transpose(x, tuple(p))),
    "flip": lambda data, shape: _with(_axes(data, shape), lambda n, x, axis: n.flip(x, axis=axis)),
    "roll": lambda data, shape: _with((data.draw(st.integers(-4, 4)), _axes(data, shape)), lambda n, x, p: n.roll(x, p[0], axis=p[1])),
    "moveaxis": lambda data, shape: _with((_axes(data, shape), _axes(data, shape)), lambda n, x, p: n.moveaxis(x, *p)),
    "swapaxes": lambda data, shape: _with((_axes(data, shape), _axes(data, shape)), lambda n, x, p: n.swapaxes(x, *p)),
    "expand_dims": lambda data, shape: _with(data.draw(st.integers(-len(shape) - 1, len(shape))), lambda n, x, axis: n.expand_dims(x, axis=axis)),
    "squeeze": lambda data, shape: lambda n, x: n.squeeze(x),
    "broadcast_to": lambda data, shape: _with(data.draw(st.integers(0, 3)), lambda n, x, more: n.broadcast_to(x, (more, *shape))),
    "repeat": lambda data, shape: _with((data.draw(st.integers(0, 3)), _axes(data, shape)), lambda n, x, p: n.repeat(x, p[0], axis=p[1])),
    "tile": lambda data, shape: _with(data.draw(st.lists(st.integers(0, 2), max_size=4)), lambda n, x, reps: n.tile(x, tuple(reps))),
    "concatenate": lambda data, shape: _with(_axes(data, shape), lambda n, x, axis: n.concatenate([x, x * x, x], axis=axis)),
    "stack": lambda data, shape: _with(data.draw(st.integers(-len(shape) - 1, len(shape))), lambda n, x, axis: n.stack([x, x * x], axis=axis)),
    "split": lambda data, shape: _with((_axes(data, shape), data.draw(st.lists(st.integers(0, 3), max_size=2))), lambda n, x, p: n.split(x, sorted(p[1]), axis=p[0])),
    "array_split": lambda data, shape: _with((_axes(data, shape), data.draw(st.integers(1, 4))), lambda n, x, p: n.array_split(x, p[1], axis=p[0])),
    "pad": lambda data, shape: _with([(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape], lambda n, x, width: n.pad(x, width) if width else x),
    "tril": lambda data, shape: _with(_offset(data, shape), lambda n, x, k: n.tril(x, k)),
    "triu": lambda data, shape: _with(_offset(data, shape), lambda n, x, k: n.triu(x, k)),
    "diagonal": lambda data, shape: _with(data.draw(st.integers(-2, 2)), lambda n, x, k: n.diagonal(x, k)),
    "trace": lambda data, shape: _with(data.draw(st.integers(-2, 2)), lambda n, x, k: n.trace(x, k)),
    "rot90": lambda data, shape: _with(data.draw(st.integers(-3, 3)), lambda n, x, k: n.rot90(x, k)),
    "diff": lambda data, shape: _with((data.draw(st.integers(0, 2)), _axes(data, shape)), lambda n, x, p: n.diff(x, n=p[0], axis=p[1])),
    "where": lambda data, shape: lambda n, x: n.where(x > 0.71234, x * x, n.sin(x)),
    "clip": lambda data, shape: lambda n, x: n.clip(x, 0.55123, 1.15123),
    "ravel": lambda data, shape: lambda n, x: n.ravel(x),
    "atleast_2d": lambda data, shape: lambda n, x: n.atleast_2d(x),
    "take": lambda data, shape: _with((_axes(data, shape), data.draw(st.lists(st.integers(0, 2), max_size=4))), lambda n, x, p: n.take(x, n.asarray(p[1] if x.shape[p[0]] else [], dtype="int32") % max(1, x.shape[p[0]]), axis=p[0])),
}  # fmt: skip


def _with(parameters: Any, call: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda n, x: call(n, x, parameters)


@pytest.mark.parametrize("name", MANIPULATIONS)
@given(shape=SHAPES, data=st.data(), dtype=st.sampled_from(FLOATING), seed=st.integers(0, 9))
@drawn
def test_manipulation(name: str, shape: tuple[int, ...], data: Any, dtype: str, seed: int, xp: Any) -> None:
    call = MANIPULATIONS[name](data, shape)
    x = numbers(shape, dtype, 0.3, 1.9, seed)
    run(lambda x: call(jnp, x), lambda x: call(np, x), [x], name, xp)


# Sorting and searching

SORTING: dict[str, Callable[[Any, Any, int], Any]] = {
    "sort": lambda n, x, axis: n.sort(x, axis=axis),
    "argsort": lambda n, x, axis: n.argsort(x, axis=axis),
    "median": lambda n, x, axis: n.median(x, axis=axis),
    "quantile": lambda n, x, axis: n.quantile(x, 0.3, axis=axis),
    "unique": lambda n, x, axis: n.unique(x),
    "searchsorted": lambda n, x, axis: n.searchsorted(n.sort(n.ravel(x)), x),
    "partition": lambda n, x, axis: n.max(n.partition(x, 0, axis=axis), axis=axis) if x.size else x,
    "nonzero": lambda n, x, axis: n.nonzero(x > 0.9),
}


@pytest.mark.parametrize("name", SORTING)
@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), data=st.data(), seed=st.integers(0, 9))
@drawn
def test_sorting_and_searching(name: str, shape: tuple[int, ...], data: Any, seed: int, xp: Any) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbers(shape, data.draw(st.sampled_from(FLOATING)), 0.3, 1.9, seed)
    assume(x.size or name not in ("median", "quantile"))
    run(lambda x: SORTING[name](jnp, x, axis), lambda x: SORTING[name](np, x, axis), [x], name, xp)


# Linear algebra: batches, and matrices of no rows

BATCHES = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=2)


def _well(n: Any, x: Any) -> Any:
    """Return a matrix that is symmetric and positive definite, with its eigenvalues apart."""
    size = x.shape[-1]
    return x @ n.swapaxes(x, -1, -2) * 0.1 + n.diag(n.arange(1.0, size + 1.0, dtype=x.dtype))


SQUARE: dict[str, Callable[[Any, Any], Any]] = {
    "inv": lambda n, x: n.linalg.inv(_well(n, x)),
    "det": lambda n, x: n.linalg.det(_well(n, x)),
    "slogdet": lambda n, x: tuple(n.linalg.slogdet(_well(n, x))),
    "cholesky": lambda n, x: n.linalg.cholesky(_well(n, x)),
    "solve": lambda n, x: n.linalg.solve(_well(n, x), x),
    "eigvalsh": lambda n, x: n.linalg.eigvalsh(_well(n, x)),
    "svdvals": lambda n, x: n.linalg.svdvals(_well(n, x)),
    "pinv": lambda n, x: n.linalg.pinv(_well(n, x)),
    "qr": lambda n, x: n.abs(n.linalg.qr(_well(n, x))[1]),
    "matrix_power": lambda n, x: n.linalg.matrix_power(_well(n, x), 3),
    "matrix_norm": lambda n, x: n.linalg.matrix_norm(_well(n, x)),
    "vector_norm": lambda n, x: n.linalg.vector_norm(x, axis=-1),
    "trace": lambda n, x: n.linalg.trace(x),
    "matrix_transpose": lambda n, x: n.linalg.matrix_transpose(x),
}


@pytest.mark.parametrize("name", SQUARE)
@given(batch=BATCHES, size=st.integers(0, 3), dtype=st.sampled_from(FLOATING), seed=st.integers(0, 9))
@drawn
def test_linear_algebra_of_batches(
    name: str, batch: tuple[int, ...], size: int, dtype: str, seed: int, xp: Any
) -> None:
    x = numbers((*batch, size, size), dtype, 0.3, 1.9, seed)
    assume(size or "norm" not in name)  # a norm of nothing is 0, and has no derivative to compare
    run(lambda x: SQUARE[name](jnp, x), lambda x: SQUARE[name](np, x), [x], name, xp)


@given(
    shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=3, max_dims=2),
    dtype=st.sampled_from(FLOATING),
    seed=st.integers(0, 9),
)
@drawn
def test_matmul_of_batches_that_broadcast(shapes: Any, dtype: str, seed: int, xp: Any) -> None:
    x, y = (numbers(shape, dtype, 0.3, 1.9, seed + i) for i, shape in enumerate(shapes.input_shapes))
    run(jnp.matmul, np.matmul, [x, y], "matmul", xp)


PRODUCTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "outer": lambda n, x, y: n.outer(x, y),
    "kron": lambda n, x, y: n.kron(x, y),
    "inner": lambda n, x, y: n.inner(x, y),
    "dot": lambda n, x, y: n.dot(x, y),
    "tensordot": lambda n, x, y: n.tensordot(x, y, axes=1),
    "vdot": lambda n, x, y: n.vdot(x, y),
    "convolve": lambda n, x, y: n.convolve(x, y),
    "einsum": lambda n, x, y: n.einsum("...i,...i->...", x, y),
}


@pytest.mark.parametrize("name", PRODUCTS)
@given(shapes=st.tuples(SHAPES, SHAPES), dtype=st.sampled_from(FLOATING), seed=st.integers(0, 9))
@drawn
def test_products_of_any_shapes(name: str, shapes: Any, dtype: str, seed: int, xp: Any) -> None:
    assume(name != "convolve" or all(shapes))  # NumPy takes a number for a vector, JAX does not
    x, y = (numbers(shape, dtype, 0.3, 1.9, seed + i) for i, shape in enumerate(shapes))
    run(lambda x, y: PRODUCTS[name](jnp, x, y), lambda x, y: PRODUCTS[name](np, x, y), [x, y], name, xp)


# Fourier transforms


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fftn", "rfftn", "fftshift"])
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    data=st.data(),
    norm=st.sampled_from(["backward", "ortho", "forward"]),
    seed=st.integers(0, 9),
)
@drawn
def test_fourier_transforms(name: str, shape: tuple[int, ...], data: Any, norm: str, seed: int, xp: Any) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    length = data.draw(st.none() | st.integers(1, 5))
    options: dict[str, Any] = {"axis": axis, "n": length, "norm": norm}
    if name.endswith("n"):
        options = {"axes": (axis,), "norm": norm}
    elif name == "fftshift":
        options = {"axes": axis}
    x = numbers(shape, "float64", 0.3, 1.9, seed)

    def call(n: Any, x: Any) -> Any:
        found = getattr(n.fft, name)(x, **options)
        return [n.real(found), n.imag(found)]

    run(lambda x: call(jnp, x), lambda x: call(np, x), [x], name, xp)
