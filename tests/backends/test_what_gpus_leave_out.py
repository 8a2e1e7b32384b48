"""What CuPy does otherwise than the standard, or not at all, and every backend here does alike."""

from __future__ import annotations

import ast
import pickle  # noqa: TID251 - arrays can be pickled; no file is read so
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit.backend import Backend
from gradkit.core import Array, Elementwise, calls
from gradkit.core.namespace import PRIMITIVES, kernel_namespace
from gradkit.primitives import linalg as layers
from gradkit.primitives.searching import running_sum

RNG = np.random.default_rng(0)


def host(x: Any) -> Any:
    return gradkit.device_get(x)


# Division with a whole quotient

DIVISIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "floor_divide": lambda xp, x, y: xp.floor_divide(x, y),
    "remainder": lambda xp, x, y: xp.remainder(x, y),
    "mod": lambda xp, x, y: xp.mod(x, y),
    "divmod": lambda xp, x, y: xp.divmod(x, y)[0] + 0 * xp.divmod(x, y)[1],
    "fmod": lambda xp, x, y: xp.fmod(x, y),
    "//": lambda _xp, x, y: x // y,
    "%": lambda _xp, x, y: x % y,
}
SPECIAL = np.asarray([0.0, -0.0, 1, -1, 0.1, -0.3, 5, -5, 7.5, 1e4, np.inf, -np.inf, np.nan])
FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int32", "int64", "uint8", "uint32")


def numbers_to_divide(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    if dtype in INTEGERS:
        few = np.asarray([1, 2, 3, 7, 100] if dtype[0] == "u" else [1, -1, 2, -3, 7, -100], dtype)
        return tuple(x.ravel() for x in np.meshgrid(few, few))  # type: ignore[return-value]
    x, y = (x.ravel() for x in np.meshgrid(SPECIAL, SPECIAL))
    x, y = np.concatenate([x, 100 * RNG.normal(size=500)]), np.concatenate([y, RNG.normal(size=500)])
    return x.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("name", DIVISIONS)
def test_quotients_and_remainders_are_exact(name: str, dtype: str, xp: Any, backend: Backend) -> None:
    if dtype == "float16" and backend.name == "strict":
        pytest.skip("the array API standard has no float16")
    x, y = numbers_to_divide(dtype)
    divide = DIVISIONS[name]
    with np.errstate(all="ignore"):
        expected = divide(np, x, y)
        got = host(divide(xp, xp.asarray(x), xp.asarray(y)))
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype


@pytest.mark.parametrize("name", [name for name in DIVISIONS if name != "divmod"])
def test_a_number_and_rows_are_divided_by_like_arrays(name: str, xp: Any) -> None:
    divide = DIVISIONS[name]
    x = np.asarray([[1.0, -2.5, 7.0], [0.3, 4.0, -9.5]], np.float32)
    row = np.asarray([0.1, -2.0, 3.0], np.float32)
    for one, other in ((x, row), (x.T, x.T[:, :1]), (x[0], x[:, :1])):
        np.testing.assert_array_equal(host(divide(xp, xp.asarray(one), xp.asarray(other))), divide(np, one, other))
    np.testing.assert_array_equal(host(divide(xp, xp.asarray(x), 0.3)), divide(np, x, np.float32(0.3)))
    np.testing.assert_array_equal(host(divide(xp, 1.0, xp.asarray(x))), divide(np, np.float32(1), x))


@pytest.mark.parametrize("x, y, quotient", [(1.0, 0.1, 9.0), (7.0, 2.0, 3.0), (-7.0, 2.0, -4.0), (5.0, np.inf, 0.0)])
def test_the_derivative_of_a_remainder_is_minus_the_quotient_that_was_taken(
    x: float, y: float, quotient: float, xp: Any
) -> None:
    x, y = xp.asarray(x, dtype="float64"), xp.asarray(y, dtype="float64")
    assert float(gradkit.grad(xp.remainder, 1)(x, y)) == -quotient
    assert float(gradkit.grad(xp.remainder)(x, y)) == 1.0


# Linear algebra

BATCHES = [((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((3, 3), (2, 3, 2)), ((2, 1, 3, 3), (4, 3, 2)), ((0, 3, 3), (3, 2))]


@pytest.mark.parametrize("shapes", BATCHES, ids=str)
def test_solve_broadcasts_leading_axes(shapes: tuple[tuple[int, ...], ...], xp: Any) -> None:
    a, b = (RNG.normal(size=shape) for shape in shapes)
    a = a + 3 * np.eye(3)
    solve = xp.linalg.solve
    expected = np.linalg.solve(a, b)
    np.testing.assert_allclose(host(solve(xp.asarray(a), xp.asarray(b))), expected, atol=1e-12)
    out, pull = gradkit.vjp(solve, xp.asarray(a), xp.asarray(b))
    assert [x.shape for x in pull(xp.ones_like(out))] == list(shapes)


INDEFINITE = np.asarray([[1.0, 2.0], [2.0, 1.0]])
DEFINITE = np.asarray([[2.0, 1.0], [1.0, 2.0]])


@pytest.mark.skip_backend("strict", reason="array_api_strict raises NumPy's LinAlgError")
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_the_cholesky_factor_of_a_matrix_that_has_none_is_nan(dtype: str, xp: Any) -> None:
    cholesky = xp.linalg.cholesky
    assert np.isnan(host(cholesky(xp.asarray(INDEFINITE.astype(dtype))))[np.tril_indices(2)]).all()
    both = host(cholesky(xp.asarray(np.stack([INDEFINITE, DEFINITE]).astype(dtype))))
    assert np.isnan(both[0][np.tril_indices(2)]).all()
    np.testing.assert_allclose(both[1], np.linalg.cholesky(DEFINITE), rtol=1e-6)


@pytest.mark.skip_backend("strict", reason="array_api_strict raises NumPy's LinAlgError")
@pytest.mark.parametrize("name", ["eigh", "eigvalsh", "svd", "svdvals", "eig", "eigvals", "cholesky"])
def test_a_matrix_of_nan_has_nan_for_its_decomposition_and_leaves_its_neighbours(name: str, xp: Any) -> None:
    if not hasattr(xp.linalg, name):
        pytest.skip(f"numpy.linalg has no {name}")
    stack = np.stack([np.full((2, 2), np.nan), DEFINITE])
    function = getattr(xp.linalg, name)
    results, alone = function(xp.asarray(stack)), function(xp.asarray(DEFINITE))
    for part, one in zip(*([r] if isinstance(r, Array) else r for r in (results, alone)), strict=True):
        got = host(part)
        assert np.isnan(got[0]).any()
        np.testing.assert_allclose(np.abs(got[1]), np.abs(host(one)), atol=1e-6)


@pytest.mark.parametrize("diagonal", [[1e8] * 4, [1e30, 1e30, 1e-30, 1e-30], [3, -5, 7, 11], [1e-9] * 4, [1, 0, 2, 3]])
def test_a_determinant_has_the_accuracy_of_its_dtype(diagonal: list[float], xp: Any) -> None:
    matrix = np.diag(diagonal).astype(np.float32)[[1, 0, 2, 3]]
    exact = -float(np.prod(np.asarray(diagonal, np.float64)))
    np.testing.assert_allclose(float(xp.linalg.det(xp.asarray(matrix))), exact, rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 0), (0, 2, 2), (3, 0, 0)], ids=str)
@pytest.mark.parametrize("name", ["eigvals", "eig", "det", "inv", "cholesky", "eigh", "svd"])
def test_linear_algebra_of_no_elements_has_the_usual_shapes_and_dtypes(
    name: str, shape: tuple[int, ...], xp: Any
) -> None:
    def parts(results: Any) -> list[Any]:
        return [results] if hasattr(results, "shape") else list(results)

    if not hasattr(xp.linalg, name):
        pytest.skip(f"numpy.linalg has no {name}")
    got = parts(getattr(xp.linalg, name)(xp.zeros(shape, dtype="float32")))
    expected = parts(getattr(np.linalg, name)(np.zeros(shape, np.float32)))
    kind = "c" if name.startswith("eigv") or name == "eig" else "f"
    assert [x.shape for x in got] == [x.shape for x in expected]
    assert all(x.dtype.kind == kind and x.dtype.itemsize == (8 if kind == "c" else 4) for x in got)


@pytest.mark.skip_backend("strict", reason="the array API standard has no float16")
@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "cholesky", "eig", "eigvals", "svd", "qr", "solve"])
def test_matrices_of_float16_are_an_error_that_says_so(name: str, xp: Any) -> None:
    matrix = xp.eye(2, dtype="float16")
    with pytest.raises(TypeError, match=rf"{name}\(float16\[2,2\].*float16 is unsupported"):
        getattr(xp.linalg, name)(*[matrix] * (1 + (name == "solve")))


# Fourier transforms


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "ifft2", "rfft2", "irfft2"])
@pytest.mark.parametrize("shape", [(0, 4, 6), (3, 0, 4, 6)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_are_no_transforms_of_no_batches(name: str, shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    expected = getattr(np.fft, name)(np.zeros(shape, dtype))
    got = getattr(xp.fft, name)(xp.zeros(shape, dtype=dtype))
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)


# Sums whose order is promised


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 17, 255, 256, 257, 1000, 5000])
def test_a_running_sum_adds_in_the_order_of_xla(size: int, dtype: str, xp: Any) -> None:
    def added(x: np.ndarray) -> np.ndarray:
        if len(x) <= 16:
            return np.cumsum(x, dtype=x.dtype)  # one after the other
        rows = np.stack([added(row) for row in np.pad(x, (0, -len(x) % 16)).reshape(-1, 16)])
        rows[1:] += added(rows[:-1, -1])[:, None]
        return rows.ravel()[: len(x)]

    x = RNG.normal(size=size).astype(dtype)
    np.testing.assert_array_equal(host(running_sum(xp.asarray(x))), added(x))


# Raw arrays


def test_raw_arrays_come_to_the_host(xp: Any, backend: Backend) -> None:
    x = xp.asarray([1.0, 2.0])
    x.requires_grad = True
    (x * x).sum().backward()
    found = gradkit.device_get({"gradient": x.grad, "raw": x.detach().data, "number": 3, "word": "x", "none": None})
    assert type(found["gradient"]) is type(found["raw"]) is np.ndarray
    np.testing.assert_array_equal(np.asarray(found["gradient"]), [2.0, 4.0])
    assert (found["number"], found["word"], found["none"]) == (3, "x", None)
    assert gradkit.block_until_ready([x.detach().data, 1.0, "x"])[1:] == [1.0, "x"]


# Dtypes that are objects of their own, as those of arrays that were pickled


def unpickled(x: Any) -> Any:
    dtype = pickle.loads(pickle.dumps(np.dtype(x.dtype)))
    return np.frombuffer(x.tobytes(), dtype).reshape(x.shape)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "atan2"])
def test_arrays_of_an_unpickled_dtype_take_the_fast_path(
    name: str, xp: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.asarray([1.0, 2.0], np.float32)
    one, other = xp.asarray(x), Array(backend.from_host(unpickled(x)))
    getattr(xp, name)(one, one)  # the first call of all finds the kernel
    monkeypatch.setattr(calls, "apply", lambda *_: pytest.fail("not the fast path"))
    np.testing.assert_array_equal(host(getattr(xp, name)(one, other)), host(getattr(xp, name)(one, one)))


def test_a_layer_of_an_unpickled_dtype_takes_the_fast_path(
    xp: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.ones((2, 2), np.float32)
    weight, other = xp.asarray(x), Array(backend.from_host(unpickled(x)))
    row = other[0]
    layers.affine(weight, weight, weight[0])  # the first call of all finds the kernel
    monkeypatch.setattr(layers, "bind", lambda *_: pytest.fail("not the fast path"))
    np.testing.assert_array_equal(host(layers.affine(other, weight, row)), np.full((2, 2), 3.0))


@pytest.mark.skip_backend("strict", reason="the array API standard has no float16")
@pytest.mark.parametrize("name", ["mean", "mean_square"])
def test_float16_of_an_unpickled_dtype_does_not_overflow(name: str, backend: Backend) -> None:
    x = backend.from_host(unpickled(np.full(70_000, 4.0, np.float16)))
    zero = backend.from_host(np.zeros(70_000, np.float16))
    kernel = getattr(kernel_namespace(backend), name)
    got = kernel(x, axis=(0,), keepdims=False) if name == "mean" else kernel(x, zero)
    assert float(backend.to_host(got)) == (4.0 if name == "mean" else 16.0)


def dtypes_compared_by_identity(text: str) -> list[int]:
    """Return the lines that ask whether a dtype is an object, without asking whether it is equal."""

    def of_dtype(node: ast.expr) -> bool:
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        return name.endswith("dtype")

    tree = ast.parse(text)
    with_equality = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.BoolOp)
        and any(isinstance(p, ast.Compare) and isinstance(p.ops[0], ast.Eq | ast.NotEq) for p in node.values)
        for part in node.values
    }
    types = {"float", "int", "bool", "complex", "initial", "where", "out"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.Is | ast.IsNot)
        and id(node) not in with_equality
        and any(map(of_dtype, [node.left, *node.comparators]))
        and not any(
            isinstance(c, ast.Constant) or getattr(c, "id", "") in types for c in [node.left, *node.comparators]
        )
    ]


WANTS_THE_OBJECT = {"gradkit_numpy/given.py"}
"""Native code knows dtypes by their addresses: an equal one is replaced here. PyTorch's are one object each."""


def test_no_dtype_is_compared_by_identity_alone() -> None:
    root = Path(gradkit.__file__).parents[1]
    files = [path for folder in ("gradkit", "backends") for path in (root / folder).rglob("*.py")]
    assert len(files) > 100
    found = {
        path for path in files if path.parent.name != "gradkit_torch" and dtypes_compared_by_identity(path.read_text())
    }
    assert {f"{path.parent.name}/{path.name}" for path in found} == WANTS_THE_OBJECT
    assert dtypes_compared_by_identity("if x.dtype is not dtype: pass\nif x.dtype is HALF: pass") == [1, 2]


# Python's numbers

OF_SEVERAL = sorted(
    name
    for name, primitive in PRIMITIVES.items()
    if isinstance(primitive, Elementwise) and len(primitive.masks) > 1 and primitive.masks[-1]
    if name != "gammainc_slope"  # the derivative of gammainc, whose arguments it has: arrays
)


@pytest.mark.skip_backend("strict", reason="the standard's functions take arrays alone; gradkit gives them no numbers")
@pytest.mark.parametrize("name", OF_SEVERAL)
def test_kernels_take_pythons_numbers_beside_arrays(name: str, backend: Backend) -> None:
    kernel = getattr(kernel_namespace(backend), name)
    count = len(PRIMITIVES[name].masks)
    array = backend.from_host(np.asarray([0.25, 0.5]))
    numbers: list[Any] = [2.0 if name in ("bessel_yn", "polygamma", "zeta", "expn") else 0.25] * (count - 1)
    if name in ("where", "masked"):
        condition = backend.from_host(np.asarray([True, False]))
        args = [(condition, array, 0.5), (condition, 0.5, array)] if name == "where" else []
    else:
        args = [(*numbers, array)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in args:
            spread = [array * 0 + x if isinstance(x, float) else x for x in given]
            got, expected = (backend.to_host(kernel(*operands)) for operands in (given, spread))
            np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("has_eig", [True, False], ids=["cuSOLVER has it", "older cuSOLVER"])
@pytest.mark.parametrize("name", ["eig", "eigvals"])
def test_general_eigenvalues_are_on_the_gpu_whether_cusolver_has_them_or_not(
    name: str, has_eig: bool, xp: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.name == "cupy":
        from gradkit_cupy import linear_algebra

        monkeypatch.setattr(linear_algebra, "_has_eig", lambda: has_eig)
    elif backend.name == "strict":
        pytest.skip("the array API standard has no general eigenvalues")
    several = RNG.normal(size=(2, 3, 3))
    several[1, 0, 0] = np.inf
    for values in (
        RNG.normal(size=(4, 3, 3)),
        several,
        np.zeros((0, 2, 2)),
        np.full((2, 2), np.nan),
        np.float32([[2]]),
    ):
        x = xp.asarray(values)
        found = getattr(xp.linalg, name)(x)
        w, v = (found, None) if name == "eigvals" else found
        assert w.device == x.device
        assert w.dtype == np.result_type(values.dtype, np.complex64)
        finite = np.isfinite(values).all((-2, -1))
        assert (np.isfinite(host(w)).all(-1) == finite).all()
        if v is not None:
            assert v.device == x.device
            kept = host(x)[finite].astype(w.dtype) @ host(v)[finite]
            np.testing.assert_allclose(kept, host(v)[finite] * host(w)[finite][..., None, :], atol=1e-6)
    slope = gradkit.grad(lambda x: xp.sum(xp.abs(xp.linalg.eigvals(x))))(xp.asarray([[2.0, 1.0], [0.0, 3.0]]))
    np.testing.assert_allclose(host(slope), [[1.0, 0.0], [0.0, 1.0]], atol=1e-6)
