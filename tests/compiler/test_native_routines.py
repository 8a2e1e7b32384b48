"""What native code does itself, though it is neither a nest nor a product, gives what NumPy's kernels give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, random
from gradkit.backend import get_backend
from gradkit.compiler.boxes import box_of_arrays
from gradkit.compiler.executables import executable_of
from gradkit.core.namespace import ARRAYS

Program = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def on_numpy() -> Iterator[None]:
    reason = get_backend("numpy").printers[0].why_unusable()
    if reason:
        pytest.skip(reason)
    with gradkit.use_backend("numpy"):
        yield


def long(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.long("other sizes"))


def calls_of(function: Program, *args: Any) -> list[str]:
    """Return what a program, compiled, asks of Python."""
    from gradkit_numpy.native.printer import printed

    run = executable_of(gradkit.make_jaxpr(function)(*args).jaxpr)
    assert run.plan is not None
    return [call.name for call in printed(run.plan, box_of_arrays()).calls]


def check_native(function: Program, *args: Any, digits: float = 1.0) -> None:
    """Compare a jitted program with the same one run operation by operation, and look that it stays native."""
    arrays = [jnp.asarray(x) for x in args]
    assert calls_of(function, *arrays) == []
    jitted = gradkit.jit(function)
    for _ in range(2):  # the second time in memory of the first
        for number, (found, expected) in enumerate(zip(jitted(*arrays), function(*arrays), strict=True)):
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            one, other = np.asarray(found), np.asarray(expected)
            if other.dtype.kind != "f":
                np.testing.assert_array_equal(one, other, err_msg=str(number))
                continue
            tolerance = digits * 1e3 * float(np.finfo(other.dtype).eps)
            size = float(np.abs(other, where=np.isfinite(other), out=np.zeros_like(other)).max(initial=1))
            np.testing.assert_allclose(one, other, tolerance, tolerance * size, err_msg=str(number))


def matrices(dtype: str, size: int, batch: tuple[int, ...] = ()) -> Any:
    generator = np.random.default_rng([size, len(batch)])
    return (generator.normal(size=(*batch, size, size)) + 3 * np.eye(size)).astype(dtype)


def turned(x: Any) -> Any:
    return jnp.swapaxes(x, -1, -2)


def linear_algebra(a: Any, b: Any) -> list[Any]:
    """Return what is made of square matrices and right-hand sides, of views of them and of batches broadcast."""
    positive = a @ turned(a) + jnp.eye(a.shape[-1], dtype=a.dtype)
    first = a[:1] if a.ndim == 3 else a
    found = [jnp.linalg.solve(a, b), jnp.linalg.solve(turned(first), b[..., ::-1]), jnp.linalg.inv(turned(a))]
    found += [jnp.linalg.det(a / 3), *jnp.linalg.slogdet(turned(a)), jnp.linalg.cholesky(positive), *ARRAYS.lu(a)]
    # The other triangle is not read, and small elements keep solutions small.
    triangle = a / a.shape[-1] + 2 * jnp.eye(a.shape[-1], dtype=a.dtype)
    other = turned(triangle[:1] if a.ndim == 3 else triangle)
    for lower in (True, False):
        for unit_diagonal in (True, False):
            found.append(ARRAYS.triangular_solve(triangle, b, lower=lower, unit_diagonal=unit_diagonal))
            found.append(ARRAYS.triangular_solve(other, b[..., :1], lower=lower, unit_diagonal=unit_diagonal))
    return found


@pytest.mark.parametrize(
    "dtype, size, batch",
    [
        ("float32", 1, ()),
        ("float32", 4, ()),
        ("float64", 17, (2,)),
        long("float64", 2, (3,)),
        long("float32", 50, ()),
        *(long(dtype, size, ()) for dtype in ("float32", "float64") for size in (3, 5, 40, 47, 48, 130)),
        long("float32", 50, (2, 3)),
    ],
)
def test_linear_algebra_of_matrices_of_any_size_is_native(dtype: str, size: int, batch: tuple[int, ...]) -> None:
    a = matrices(dtype, size, batch)
    b = np.random.default_rng(1).normal(size=(*batch, size, 3)).astype(dtype)
    check_native(linear_algebra, a, b, digits=10)


def without_result(a: Any) -> list[Any]:
    b = jnp.ones_like(a)[..., :2]
    upper = ARRAYS.triangular_solve(a, b, lower=False, unit_diagonal=False)
    found = [jnp.linalg.solve(a, b), jnp.linalg.inv(a), jnp.linalg.det(a), *jnp.linalg.slogdet(a), upper]
    return [*found, jnp.linalg.cholesky(a), jnp.linalg.cholesky(-a), *ARRAYS.lu(a)]


@pytest.mark.parametrize(
    "dtype, size", [("float32", 3), *(long(*each) for each in [("float64", 6), ("float32", 60), ("float64", 48)])]
)
def test_matrices_without_a_result_are_nan_and_the_others_of_the_batch_are_not(dtype: str, size: int) -> None:
    a = matrices(dtype, size, (5,))
    a[0] = 1
    a[1] = 0
    a[2] = np.diag(np.arange(size))
    a[3] = np.eye(size)
    check_native(without_result, a, digits=10)
    assert np.isnan(np.asarray(gradkit.jit(without_result)(jnp.asarray(a))[0])).any((1, 2)).tolist()[:4] == [
        True
    ] * 3 + [False]


def test_pivots_are_the_first_of_equal_ones() -> None:
    a = np.asarray([[1, 2, 3], [-1, 4, 1], [1, 0, -5], [0.5, 1, 1]], np.float32)
    check_native(lambda a: [*ARRAYS.lu(a), *ARRAYS.lu(a.T), *ARRAYS.lu(jnp.stack([a, -a, a[::-1]]))], a, digits=10)


def test_nan_and_infinities_in_matrices_come_out_as_from_the_kernels() -> None:
    a = matrices("float64", 3, (3,))
    a[0, 1, 1] = np.nan
    a[1, 0, 2] = np.inf
    check_native(
        lambda a: [jnp.linalg.det(a), jnp.linalg.cholesky(a), *jnp.linalg.slogdet(a), jnp.isnan(ARRAYS.lu(a)[0])], a
    )


def test_linear_algebra_is_native_in_loops_batches_and_derivatives() -> None:
    def likelihood(a: Any, y: Any) -> Any:
        factor = jnp.linalg.cholesky(a @ a.T + jnp.eye(3))
        return jnp.sum(jnp.linalg.solve(a, y) ** 2) + jnp.sum(jnp.log(jnp.diagonal(factor))) + jnp.linalg.slogdet(a)[1]

    def program(a: Any, y: Any) -> list[Any]:
        step = lax.scan(lambda c, row: (jnp.linalg.inv(c + jnp.eye(3)), jnp.linalg.solve(c, row)), a, y.T)
        return [*step, *gradkit.grad(likelihood, (0, 1))(a, y), gradkit.vmap(lambda v: likelihood(a, v))(y.T)]

    check_native(program, matrices("float32", 3), np.ones((3, 5), np.float32), digits=10)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_what_no_routine_knows_is_a_call(dtype: str) -> None:
    a = jnp.asarray(matrices("float64", 4).astype(dtype))

    def program(a: Any) -> list[Any]:
        triangle = ARRAYS.triangular_solve(a + 9 * jnp.eye(4), a, lower=True, unit_diagonal=False)
        return [jnp.linalg.solve(a, a), jnp.fft.fft(a), triangle, ARRAYS.tril(a, k=0), jnp.cumsum(a, 0)]

    assert {"solve", "fftn", "triangular_solve", "tril", "cumsum"} <= {*calls_of(program, a)}
    for one, other in zip(gradkit.jit(program)(a), program(a), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-5)


NUMBERS = np.asarray([[3, -1, 3, 0, -0.0, 2, 3], [1, np.nan, 5, np.nan, -np.inf, np.inf, 5], [2] * 7], np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int32", "uint16", "bool"])
def test_positions_of_extrema_are_native(dtype: str) -> None:
    x = (
        np.stack([np.abs(NUMBERS), NUMBERS[::-1]]).astype(dtype)
        if dtype[0] == "f"
        else np.abs(NUMBERS[::2]).astype(dtype)
    )

    def program(x: Any) -> list[Any]:
        found = [
            f(x[..., ::-1] if axis == 0 else x, axis=axis) for f in (jnp.argmax, jnp.argmin) for axis in range(x.ndim)
        ]
        found += [f(y, axis=axis) for f in (jnp.max, jnp.min) for y in (x, x.T) for axis in range(x.ndim)]
        return [*found, jnp.argmax(x), jnp.argmin(x.T, axis=1, keepdims=True), gradkit.vmap(jnp.argmax)(x)]

    check_native(program, x)


@pytest.mark.parametrize("dtype", ["float32", "int16", "bool"])
def test_triangles_are_native(dtype: str) -> None:
    x = (np.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    if dtype[0] == "f":
        x[0, 0, 3] = np.nan  # what is not taken counts for nothing

    def program(x: Any) -> list[Any]:
        found = [f(y, k=k) for f in (ARRAYS.tril, ARRAYS.triu) for y in (x, turned(x)) for k in (-1, 0, 2, 9)]
        return [*found, jnp.tril(x), gradkit.vmap(jnp.triu)(x)]

    check_native(program, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logaddexp_is_native(dtype: str) -> None:
    special = [0.0, -0.0, 1, -1, 1e-30, 88, -88, 3e38, -3e38, np.inf, -np.inf, np.nan]
    x = np.asarray(special, dtype)
    check_native(lambda x: [jnp.logaddexp(x[:, None], x), jnp.logaddexp(x, 0.0)], x, digits=0.02)


@pytest.mark.parametrize("dtype, size", [("float32", 7), ("float64", 1), ("int32", 8), ("float32", 100)])
def test_searches_in_sorted_arrays_are_native(dtype: str, size: int) -> None:
    generator = np.random.default_rng(size)
    x = np.sort(generator.integers(0, 9, size)).astype(dtype)
    wanted = generator.integers(-1, 10, (3, 5)).astype(dtype)
    if dtype[0] == "f":
        x[-1] = wanted[0, 0] = np.nan
        wanted[0, 1] = np.inf
    check_native(lambda x, v: [jnp.searchsorted(x, v, side=side) for side in ("left", "right")], x, wanted)


def test_pools_and_convolutions_and_their_derivatives_are_native() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype("float32")
    w = np.random.default_rng(1).normal(size=(3, 2, 3, 4)).astype("float32")
    numbers = ("NHWC", "HWIO", "NHWC")

    def convolved(x: Any, w: Any, strides: tuple[int, int], padding: str, dilation: tuple[int, int]) -> Any:
        return lax.conv_general_dilated(x, w, strides, padding, rhs_dilation=dilation, dimension_numbers=numbers)

    def pooled(x: Any, sizes: tuple[int, int], strides: tuple[int, int], padding: str, largest: bool) -> Any:
        start, combine = (-jnp.inf, lax.max) if largest else (0.0, lax.add)
        return lax.reduce_window(x, start, combine, (1, *sizes, 1), (1, *strides, 1), padding)

    cases: list[Callable[[Any, Any], Any]] = [
        lambda x, w: convolved(x, w, (1, 1), "SAME", (1, 1)),
        lambda x, w: convolved(x, w, (2, 1), "VALID", (1, 2)),
        lambda x, w: pooled(x, (2, 2), (2, 2), "VALID", largest=True),
        lambda x, w: pooled(x, (3, 2), (2, 2), "SAME", largest=True),
        lambda x, w: pooled(x, (2, 3), (1, 1), "SAME", largest=False),
    ]

    def program(x: Any, w: Any) -> list[Any]:
        found = []
        for case in cases:
            found += [case(x, w), *gradkit.grad(lambda x, w, case=case: jnp.sum(jnp.sin(case(x, w))), (0, 1))(x, w)]
        return found

    check_native(program, x, w)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_running_sums_and_products_are_native(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 4, (2, 5, 1, 17)).astype(dtype)
    if dtype[0] == "f":
        x[0, 1, 0, 3], x[1, :, 0, 0], x[1, 2, 0, 5] = np.nan, -0.0, np.inf

    def program(x: Any) -> list[Any]:
        found = [
            f(x, axis, reverse) for f in (lax.cumsum, lax.cumprod) for axis in range(4) for reverse in (False, True)
        ]
        found += [lax.cumsum(x[0, :, 0].T * 2, 1) + 1, lax.cumsum(jnp.swapaxes(x, 1, 3)[::-1, ::2], 1)]
        return [*found, gradkit.vmap(lambda v: lax.cumsum(v, 0))(x), lax.map(lambda v: lax.cumsum(v, 2, True), x)]

    check_native(program, x)
    if dtype[0] == "f":
        signs = np.signbit(np.asarray(gradkit.jit(lambda x: lax.cumsum(x, 0))(jnp.asarray(x[1, :, 0, 0]))))
        assert signs.all()


def test_derivatives_of_running_sums_and_products_are_native() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")

    def loss(x: Any) -> Any:
        return jnp.sum(jnp.sin(jnp.cumsum(x, 0)) * jnp.cumprod(x, 1) + lax.cummax(x, 1) * lax.cumlogsumexp(x, 0))

    check_native(lambda x: [loss(x), gradkit.grad(loss)(x)], x)


def test_what_has_no_elements_is_no_call_where_its_dtype_is_native() -> None:
    x = np.ones((3, 0), np.float32)
    check_native(lambda x: [jnp.sin(x) * 2, x.T @ x, jnp.exp(x.T)[:0]], x)


def test_a_routine_without_elements_gives_none() -> None:
    def function(x: Any) -> list[Any]:
        return [jnp.sin(x), jnp.linalg.inv(x[:0]), jnp.sort(x, 0), jnp.fft.fft(x.T)[:0], x.T @ x]

    for dtype in (np.float32, np.complex64):
        x = jnp.asarray(np.ones((3, 0), dtype))
        for found, expected in zip(gradkit.jit(function)(x), function(x), strict=True):
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize(
    "dtype, size",
    [("float32", 7), ("uint8", 130), ("bool", 33), ("int64", 1)]
    + [long("float64", 40), long("int32", 16), long("float32", 1000)],
)
def test_sorts_are_native_and_stable_with_nan_at_the_end(dtype: str, size: int) -> None:
    x = np.random.default_rng(size).integers(-3, 9, (2, size, 3)).astype(dtype)
    if dtype[0] == "f":
        x[0, :: max(size // 7, 2), 1] = np.nan
        x[1, ::5], x[1, 1::5, 0] = np.inf, -0.0

    def program(x: Any) -> list[Any]:
        found = [
            f(x, axis=axis, descending=d) for f in (jnp.sort, jnp.argsort) for axis in (1, 2) for d in (False, True)
        ]
        found += [jnp.argsort(x[:, ::-1, 0].T, axis=0), lax.map(lambda v: jnp.argsort(v, axis=0), x)]
        return [*found, gradkit.vmap(jnp.sort)(x), jnp.argsort(x.reshape(-1)), *lax.top_k(x[0].T, 1)]

    check_native(program, x)


def test_what_sorts_is_native_with_its_derivatives() -> None:
    x = np.random.default_rng(0).normal(size=(3, 20)).astype("float32")
    key = np.asarray([1, 2], np.uint32)

    def program(x: Any, key: Any) -> list[Any]:
        loss = gradkit.grad(lambda x: jnp.sum(jnp.sort(x) * jnp.arange(20.0)) + jnp.median(x, axis=1).sum())
        shuffled = random.permutation(random.wrap_key_data(key), 20)
        return [loss(x), jnp.percentile(x, 30), shuffled, lax.sort((x, -x), num_keys=1)[1]]

    check_native(program, x, key)


def decompositions(a: Any) -> list[Any]:
    """Return decompositions of matrices that are square, tall and wide."""
    tall, symmetric = a[..., : a.shape[-1] // 2 + 1], a + turned(a)
    found = [jnp.linalg.eigvalsh(symmetric[..., ::-1, ::-1])]
    for x in (a, tall, turned(tall)):
        found += [*jnp.linalg.qr(x), *jnp.linalg.qr(x, mode="complete"), jnp.linalg.svd(x, compute_uv=False)]
    return found


@pytest.mark.parametrize(
    "dtype, size, batch",
    [
        ("float32", 1, ()),
        ("float64", 5, (2,)),
        long("float32", 17, ()),
        long("float64", 40, ()),
        long("float32", 130, (2,)),
    ],
)
def test_decompositions_are_native(dtype: str, size: int, batch: tuple[int, ...]) -> None:
    check_native(decompositions, matrices(dtype, size, batch), digits=10)


def test_values_of_matrices_with_nan_are_nan_and_those_of_the_others_of_the_batch_are_not() -> None:
    a = matrices("float64", 4, (3,))
    a[1, 2, 1] = np.nan

    def program(a: Any) -> list[Any]:
        return [jnp.isnan(jnp.linalg.svd(a, compute_uv=False)), jnp.isnan(jnp.linalg.eigvalsh(a))]

    check_native(program, a)
    assert np.asarray(gradkit.jit(program)(jnp.asarray(a))[0]).any(1).tolist() == [False, True, False]


def test_derivatives_of_qr_are_native() -> None:
    def loss(a: Any) -> Any:
        q, r = jnp.linalg.qr(a)
        return jnp.sum(q * jnp.cos(r))

    check_native(lambda a: [loss(a), gradkit.grad(loss)(a)], matrices("float64", 4), digits=10)
