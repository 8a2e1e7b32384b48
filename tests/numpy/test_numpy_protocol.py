"""NumPy's functions on Arrays are gradkit's: they stay on the tape and on the device, or say that they would not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import Array
from gradkit.testing import check_grads

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "where": lambda np, x: np.where(x > 0, x, 0.1 * x),
    "concatenate": lambda np, x: np.concatenate([x, 2 * x, x[:1]]),
    "concatenate-axis": lambda np, x: np.concatenate((x, x * x), 1),
    "concatenate-flat": lambda np, x: np.concatenate([x, x], axis=None),
    "stack": lambda np, x: np.stack([x, x * x], axis=-1),
    "dot": lambda np, x: np.dot(x, x.T),
    "dot-vectors": lambda np, x: np.dot(x[0], x[1]),
    "dot-number": lambda np, x: np.dot(x, x[0, 0]),
    "dot-many-axes": lambda np, x: np.dot(x, np.reshape(np.concatenate([x] * 4), (4, 3, 2))),
    "dot-method": lambda np, x: x.dot(np.reshape(np.concatenate([x] * 4), (4, 3, 2))),
    "matmul": lambda np, x: np.matmul(x.T, x),
    "einsum": lambda np, x: np.einsum("ij,kj->ik", x, x),
    "linalg.norm": lambda np, x: np.linalg.norm(x, axis=1),
    "linalg.solve": lambda np, x: np.linalg.solve(x @ x.T, x),
    "fft": lambda np, x: np.fft.irfft(np.fft.rfft(x, 4)),
    "median": lambda np, x: np.median(x, 1),
    "std": lambda np, x: np.std(x, 0, None, None, 1),
    "split": lambda np, x: np.split(x, 3, 1)[1],
    "sum": lambda np, x: np.sum(x * x),
    "sum-axis": lambda np, x: np.sum(x * x, 0),
    "sum-all-arguments": lambda np, x: np.sum(x * x, 1, None, None, True),
    "mean": lambda np, x: np.mean(x * x, axis=(0, 1), dtype=None, out=None, keepdims=True),
    "max": lambda np, x: np.max(x, 1),
    "amin": lambda np, x: np.amin(x, axis=0),
    "reshape": lambda np, x: np.reshape(x, (3, 2), order="C"),
    "transpose": lambda np, x: np.transpose(x, (1, 0)),
    "expand_dims": lambda np, x: np.expand_dims(x, 1),
    "squeeze": lambda np, x: np.squeeze(x[:1], axis=0),
    "clip": lambda np, x: np.clip(x, -0.1, 0.2),
    "clip-above": lambda np, x: np.clip(x, None, 0.2),
    "clip-below": lambda np, x: np.clip(x, min=0.2),
    "broadcast_to": lambda np, x: np.broadcast_to(x, (4, 2, 3)),
    "broadcast_arrays": lambda np, x: np.broadcast_arrays(x[0], x)[0],
    "take": lambda np, x: np.take(x, np.argmax(x, axis=0), 1),
    "astype": lambda np, x: np.real(np.astype(x, "complex64")),
    "ones_like": lambda np, x: np.ones_like(x) * x,
    "full_like": lambda np, x: np.full_like(x, 3.0) * x,
    "rint": lambda np, x: np.rint(x) * x,
}
OPTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "dtype": lambda np, x: np.sin(x.astype("float64")) if np is J else np.sin(x, dtype="float64"),
    "dtype beside a number": lambda np, x: x.astype("float64") * 2 if np is J else np.multiply(x, 2, dtype="float64"),
    "what is so anyway": lambda np, x: np.add(x, x, **({} if np is J else {"where": True, "casting": "same_kind"})),
    "outer": lambda np, x: x[:, :, None] * x[0] if np is J else np.multiply.outer(x, x[0]),
    "outer of two matrices": lambda np, x: x[:, :, None, None] + x if np is J else np.add.outer(x, x),
}
UFUNC_METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "add": (lambda x: np.add.reduce(x), lambda x: J.sum(x, axis=0)),
    "add-all": (lambda x: np.add.reduce(x, axis=None, dtype="float32"), lambda x: J.sum(x)),
    "multiply": (lambda x: np.multiply.reduce(x, axis=1), lambda x: J.prod(x, axis=1)),
    "add-running": (lambda x: np.add.accumulate(x), lambda x: J.cumsum(x, axis=0)),
    "multiply-running": (lambda x: np.multiply.accumulate(x, axis=1), lambda x: J.cumprod(x, axis=1)),
    "maximum": (lambda x: np.maximum.reduce(x, 1, None, keepdims=True), lambda x: J.max(x, axis=1, keepdims=True)),
    "minimum": (lambda x: np.minimum.reduce(x, axis=-1), lambda x: J.min(x, axis=1)),
    "logaddexp": (lambda x: np.logaddexp.reduce(x), lambda x: jax.scipy.special.logsumexp(x, axis=0)),
}


def tracked() -> Array:
    x = jnp.asarray(X)
    x.requires_grad = True
    return x


def compare(ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> None:
    """Compare the value with JAX's, and the gradient that the tape finds."""
    x = tracked()
    expected, pullback = jax.vjp(theirs, J.asarray(X))
    cotangent = np.linspace(0.5, 1.5, expected.size, dtype=expected.dtype).reshape(expected.shape)
    result = ours(x)
    assert type(result) is Array
    assert result.device == x.device
    np.testing.assert_allclose(gradkit.device_get(result), expected, rtol=1e-6)
    result.backward(jnp.asarray(cotangent))
    np.testing.assert_allclose(gradkit.device_get(x.grad), pullback(J.asarray(cotangent))[0], rtol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_numpy_stay_on_the_tape(name: str, xp: Any) -> None:
    compare(lambda x: CALLS[name](np, x), lambda x: CALLS[name](J, x))


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_ufuncs_stay_on_the_tape(name: str, xp: Any) -> None:
    with gradkit.enable_x64(), jax.enable_x64(True):
        compare(lambda x: OPTIONS[name](np, x), lambda x: OPTIONS[name](J, x))


UFUNCS = {getattr(np, name) for name in np.__all__ if isinstance(getattr(np, name), np.ufunc)} - {np.isnat}


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("ufunc", sorted(UFUNCS, key=str), ids=str)
def test_every_ufunc_writes_into_memory_of_numpy_as_numpy_does(ufunc: np.ufunc) -> None:
    # A mask that is an Array is one for NumPy too, and the elements it leaves out stay as they are.
    x, mask = np.asarray([[3, 1], [2, 5]]), np.asarray([[True, False], [True, True]])
    values = (x, x + 1)[: ufunc.nin]
    options = {} if ufunc.signature else {"where": mask}
    results = ufunc(*values)
    expected = tuple(np.full_like(out, 7) for out in (results if ufunc.nout > 1 else (results,)))
    written = tuple(out.copy() for out in expected)
    ufunc(*values, out=expected, **options)
    ours = {name: jnp.asarray(value) for name, value in options.items()}
    ufunc(*map(jnp.asarray, values), out=written, **ours)
    for ours_written, theirs in zip(written, expected, strict=True):
        np.testing.assert_array_equal(ours_written, theirs)
    with pytest.raises(gradkit.errors.ConcretizationTypeError):
        gradkit.grad(lambda y: np.add(y, 1.0, out=np.zeros((2, 2))).sum())(jnp.asarray(x * 1.0))


def test_a_ufunc_adds_at_places_of_memory_of_numpy(xp: Any) -> None:
    if type(jnp.ones(1).data) is not np.ndarray:
        pytest.skip("memory of NumPy is not written into from another library")
    total, x = np.zeros(3), jnp.asarray([1.0, 2.0])
    np.add.at(total, [0, 0], x)
    assert total.tolist() == [3.0, 0.0, 0.0]
    with pytest.raises(gradkit.errors.ConcretizationTypeError, match=r"ufunc add\.at"):
        gradkit.grad(lambda x: (np.add.at(total, [0, 0], x), jnp.sum(x))[1])(x)


@pytest.mark.parametrize("name", UFUNC_METHODS)
def test_reductions_and_running_sums_by_a_ufunc_stay_on_the_tape(name: str, xp: Any) -> None:
    compare(*UFUNC_METHODS[name])


def test_functions_of_numpy_are_differentiated_by_transforms(xp: Any) -> None:
    x = jnp.asarray(X)
    ours = gradkit.grad(lambda x: np.sum(gradkit.grad(lambda x: np.sum(np.where(x > 0, x**3, x)))(x) ** 2))(x)
    theirs = jax.grad(lambda x: J.sum(jax.grad(lambda x: J.sum(J.where(x > 0, x**3, x)))(x) ** 2))(J.asarray(X))
    np.testing.assert_allclose(gradkit.device_get(ours), theirs, rtol=1e-5)


def test_questions_are_answered(xp: Any) -> None:
    x = tracked()
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, axis=1), np.iscomplexobj(x)) == ((2, 3), 2, 6, 3, False)
    assert np.allclose(x, x + 1e-12)
    assert not np.array_equal(x, x + 1)


def test_elements_are_written_by_numpy(xp: Any, tmp_path: Path) -> None:
    x = tracked()
    assert np.array2string(x) == np.array2string(X)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["x"], X)


def test_shapes_are_known_under_vmap(xp: Any) -> None:
    found = gradkit.vmap(lambda x: np.sum(x) / np.shape(x)[0] + np.ndim(x) + np.size(x))(jnp.asarray(X))
    np.testing.assert_allclose(gradkit.device_get(found), X.mean(axis=1) + 4, rtol=1e-5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: np.clip(x, 0, 1), ["numpy.clip", "tape", "numpy.asarray(x)"]),
        (lambda x: np.linalg.slogdet(x), ["numpy.linalg.slogdet", "tape", "numpy.asarray(x)"]),
        (lambda x: np.copyto(np.zeros((2, 3)), x), ["numpy.copyto", "tape", "numpy.asarray(x)"]),
        (lambda x: np.sum(x, initial=3.0), ["numpy.sum", "no argument initial", "axis"]),
        (lambda x: np.sum(x, 0, None, np.zeros(3)), ["numpy.sum", "no argument out", "axis"]),
        (lambda x: np.heaviside(x, 0.5), ["ufunc heaviside", "tape", "numpy.asarray(x)"]),
        (lambda x: np.add(x, x, where=np.ones((2, 3), bool)), ["ufunc add", "no argument where", "numpy.where"]),
        (lambda x: np.sin(x, dtype="int32"), ["ufunc sin", "float32", "dtype=int32", "astype"]),
        (lambda x: np.add.reduce(x, initial=1.0), ["ufunc add.reduce", "no argument initial"]),
        (lambda x: np.heaviside.outer(x, x), ["ufunc heaviside.outer", "numpy.asarray(x)"]),
        (lambda x: np.add.at(x, [0], 1.0), ["ufunc add.at", "immutable", "x.at[idx].add(y)"]),
        (lambda x: np.subtract.reduce(x), ["ufunc subtract.reduce", "numpy.asarray(x)"]),
        (lambda x: np.add(x, x, out=x), ["ufunc add", "out=", "immutable"]),
    ],
)
def test_what_would_leave_the_tape_is_an_error(
    call: Any, words: list[str], xp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("clip", "heaviside", "linalg"):
        monkeypatch.delattr(jnp, name, raising=False)
    monkeypatch.setattr(jnp, "sum", lambda x, /, *, axis=None, keepdims=False: x)
    with pytest.raises(TypeError) as caught:
        call(tracked())
    for word in words:
        assert word in str(caught.value)


def test_memory_to_write_to_is_not_taken_for_the_argument_in_its_place(xp: Any) -> None:
    # NumPy's `concatenate` has `out` where gradkit's has `dtype`.
    x = jnp.ones(2)
    with pytest.raises(TypeError, match=r"numpy.concatenate: gradkit's concatenate has no argument out"):
        np.concatenate([x, x], out=np.zeros(4))
    assert str(np.concatenate([x, x], dtype="float64").dtype) == "float64"


LISTS: dict[str, Callable[[Any], Any]] = {
    "a list beside an array, in a list": lambda v: np.concatenate([v, [1.0, 2.0]]),
    "a tuple there": lambda v: np.hstack((v, (1.0, 2.0))),
    "stacked": lambda v: np.stack([v, [1, 2, 3]], axis=1),
    "conditions": lambda v: np.select([[True, False, False], v > 0.5], [v, v * 2], default=0.0),
    "choices": lambda v: np.choose([0, 1, 0], [v, [1, 1, 1]]),
    "factors": lambda v: np.linalg.multi_dot([v, [[1.0, 0, 0], [0, 2, 0], [0, 0, 3]], [1.0, 2, 3]]),
    **{
        name: lambda v, name=name: getattr(np, name)([0.5, 0.7, 1.5], v)
        for name in "add arctan2 divide fmax fmin hypot logaddexp maximum minimum multiply power vecdot".split()
    },
    "nested": lambda v: np.multiply([[1.0], [2.0]], v),
    "the second": lambda v: np.hypot(v, [1, 2, 3]),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_numbers_are_arrays_to_numpys_functions(name: str, xp: Any) -> None:
    function, at = LISTS[name], np.asarray([0.3, 0.6, 0.9])
    x = jnp.asarray(at, dtype="float64")
    np.testing.assert_allclose(np.asarray(gradkit.device_get(function(x))), function(at), rtol=1e-6)
    check_grads(function, (x,), order=2)
