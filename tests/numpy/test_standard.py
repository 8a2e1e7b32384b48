"""What the array API standard's namespace has besides arithmetic, against JAX: one text runs on both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from against_jax import Entry, check, check_vmap, close

import gradkit
import gradkit.numpy as jnp


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + 7 * len(shape)).uniform(-2.0, 2.0, shape)


def entry(function: Callable[..., Any], *arrays: np.ndarray, order: int = 2) -> Entry:
    return Entry(function, arrays, order)


COUNTS = np.asarray([2, 0, 3])
X, Y = array(3, 4), array(3, 4, seed=1)
CUBE = array(2, 3, 4)
TABLE: dict[str, list[Entry]] = {
    "copysign": [
        entry(lambda xp, x, y: xp.copysign(x, y) * x, X, Y),
        entry(lambda xp, x: xp.copysign(x, -2.0), np.asarray([0.0, -0.0, 1.0, -3.0]), order=1),
    ],
    "nextafter": [entry(lambda xp, x, y: xp.nextafter(x, y), X, Y, order=0)],
    "signbit": [entry(lambda xp, x: xp.signbit(x), np.asarray([0.0, -0.0, 1.0, -3.0]), order=0)],
    "flip": [
        entry(lambda xp, x: xp.flip(x) * x, X),
        entry(lambda xp, x: xp.flip(x, 1) * x + xp.flip(x, axis=(-1, 0)), X),
    ],
    "moveaxis": [
        entry(lambda xp, x: xp.moveaxis(x, 0, -1) ** 2, CUBE),
        entry(lambda xp, x: xp.moveaxis(x, (2, 0), (0, 1)) ** 2, CUBE),
        entry(lambda xp, x: xp.moveaxis(x, source=1, destination=2), CUBE),
    ],
    "unstack": [entry(lambda xp, x: xp.unstack(x, axis=-2), X), entry(lambda xp, x: xp.unstack(x), X)],
    "tile": [
        entry(lambda xp, x: xp.tile(x, 2) ** 2, X),
        entry(lambda xp, x: xp.tile(x, (2, 1, 3)) ** 2, X),
        entry(lambda xp, x: xp.tile(x, (2,)) + xp.tile(x, reps=(1, 2)), X),
        entry(lambda xp, x: xp.tile(x, (0, 2)), X),
    ],
    "roll": [
        entry(lambda xp, x: xp.roll(x, 2) * x, X),
        entry(lambda xp, x: xp.roll(x, -1, axis=1) * x + xp.roll(x, 9, 0), X),
        entry(lambda xp, x: xp.roll(x, (1, 2), axis=(0, 1)) * x, X),
        entry(lambda xp, x: xp.roll(x, (1, 2), axis=1) * x + xp.roll(x, 1, axis=(0, 1)), X),
        entry(lambda xp, x, n: xp.roll(x, n, axis=1) * x, X, np.asarray(-3)),
        entry(lambda xp, x, n: xp.roll(x, n, axis=(0, 1)) * x, X, np.asarray([1, 6], "int8")),
    ],
    "repeat": [
        entry(lambda xp, x: xp.repeat(x, 3) ** 2, X),
        entry(lambda xp, x: xp.repeat(x, 2, axis=1) ** 2, X),
        entry(lambda xp, x: xp.repeat(x, 0, axis=0), X),
        entry(lambda xp, x: xp.repeat(x, xp.asarray(COUNTS), axis=0) ** 2, X),
        entry(lambda xp, x: xp.repeat(x, COUNTS, axis=0) ** 2, X),
        entry(lambda xp, x, n: xp.repeat(x, n, axis=-2, total_repeat_length=7) ** 2, X, COUNTS),
        entry(lambda xp, x, n: xp.repeat(x, n, axis=0, total_repeat_length=3) ** 2, X, COUNTS),
    ],
    "tensordot": [
        entry(lambda xp, x, y: xp.tensordot(x, y), X, Y),
        entry(lambda xp, x, y: xp.tensordot(x, y, axes=1), CUBE, array(4, 2)),
        entry(lambda xp, x, y: xp.tensordot(x, y, axes=((2, 0), (1, 0))), CUBE, array(2, 4, 3)),
        entry(lambda xp, x, y: xp.tensordot(x, y, axes=0), array(2), array(3)),
        entry(lambda xp, x, y: xp.tensordot(x, y, axes=([-1], [-1])), X, Y),
    ],
    "vecdot": [
        entry(lambda xp, x, y: xp.vecdot(x, y), X, Y),
        entry(lambda xp, x, y: xp.vecdot(x, y, axis=-2), CUBE, Y),
        entry(lambda xp, x, y: xp.abs(xp.vecdot(x + 1j * y, y - 2j * x)), X, Y),
    ],
    "reshape": [entry(lambda xp, x: xp.reshape(x, (4, 3), "F") ** 2, X)],
    "clip": [
        entry(lambda xp, x, low: xp.clip(x, low, 1.0) ** 2, X, array(4)),
        entry(lambda xp, x: xp.clip(x, max=0.5) * xp.clip(x, min=-0.5) * xp.clip(x), X),
    ],
    "where": [entry(lambda xp, x, y: xp.where(x > y, x, y) ** 2, X, Y)],
    "methods": [
        entry(lambda xp, x: x.reshape(4, 3, order="F") ** 2 + x.flatten("F")[0] + x.ravel()[1], X),
        entry(lambda xp, x: x.repeat(2, axis=0) * x.swapaxes(0, 1).sum() + x.copy().round(1).sum(), X),
        entry(lambda xp, x: divmod(x, 0.7)[1] + divmod(7.0, x)[0] * x, X, order=1),
    ],
}
FLAT = [pytest.param(e, id=f"{name}-{i}") for name, entries in TABLE.items() for i, e in enumerate(entries)]
NOT_BATCHED = ("repeat-3", "repeat-4")


@pytest.mark.parametrize("case", FLAT)
def test_values_and_derivatives_agree_with_jax(case: Entry, xp: Any) -> None:
    check(case, xp)


@pytest.mark.parametrize("case", FLAT)
def test_vmap_agrees_with_jax(case: Entry, xp: Any) -> None:
    check_vmap(case, xp)


@pytest.mark.parametrize("seed", range(4))
def test_copysign_has_the_derivative_of_abs_at_zeros_of_either_sign(seed: int, xp: Any) -> None:
    signs = np.asarray([1.0, -1.0])
    x, y = np.asarray([0.0, -0.0])[seed % 2], signs[seed // 2]
    got = gradkit.grad(jnp.copysign)(xp.asarray(np.asarray(x)), xp.asarray(np.asarray(y)))
    assert float(got) == y


def test_every_function_of_the_standard_is_there() -> None:
    strict = pytest.importorskip("array_api_strict")
    own = ("ArrayAPIStrictFlags", "Device", "__version__")
    names = {name for name in strict.__all__ if not name.endswith("_strict_flags") and name not in own}
    assert sorted(names - set(dir(jnp))) == []
    assert sorted(names - set(jnp.__all__)) == []
    for extension in ("linalg", "fft"):
        missing = set(getattr(strict, extension).__all__) - set(dir(getattr(jnp, extension)))
        assert sorted(missing) == []


def test_the_namespace_tells_about_itself(xp: Any) -> None:
    info = jnp.zeros(2).__array_namespace__().__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_device() == jnp.zeros(2).device
    assert info.default_dtypes()["real floating"] == jnp.zeros(2).dtype == np.float32
    assert info.default_dtypes()["indexing"] == jnp.argmax(jnp.zeros(2)).dtype
    with gradkit.enable_x64():
        assert info.default_dtypes()["integral"] == jnp.arange(2).dtype == np.int64
    assert set(info.dtypes(kind="complex floating")) == {"complex64", "complex128"}
    assert info.capabilities()["data-dependent shapes"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_finfo_gives_python_numbers_that_jax_gives(dtype: str) -> None:
    ours, theirs = jnp.finfo(dtype), J.finfo(dtype)
    for name in ("bits", "eps", "max", "min", "smallest_normal", "tiny", "resolution"):
        assert type(getattr(ours, name)) in (int, float)
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.dtype == theirs.dtype
    assert jnp.finfo(jnp.zeros(2, dtype=jnp.float32)).eps == J.finfo("float32").eps


def test_iinfo_isdtype_and_can_cast_are_those_of_numpy() -> None:
    assert (jnp.iinfo(jnp.uint8).max, jnp.iinfo("int16").min, jnp.iinfo(jnp.arange(2)).bits) == (255, -32768, 32)
    assert jnp.isdtype(jnp.float32, ("integral", jnp.float32))
    assert not jnp.isdtype(jnp.arange(2).dtype, "unsigned integer")
    assert jnp.can_cast(jnp.int8, jnp.int16)
    assert not jnp.can_cast(jnp.zeros(2), jnp.int32)


def test_limits_of_a_dtype_of_another_kind_are_an_error() -> None:
    with pytest.raises(ValueError, match="int32"):
        jnp.finfo(jnp.int32)
    with pytest.raises(ValueError, match=r"[Ii]nvalid integer"):
        jnp.iinfo(jnp.float32)


def test_dlpack_brings_numpy_arrays_without_a_copy() -> None:
    values = np.arange(3.0)
    with gradkit.use_backend("numpy"):
        got = jnp.from_dlpack(values)
        assert np.shares_memory(got.data, values)
        assert np.shares_memory(np.from_dlpack(got), values)
        assert not np.shares_memory(jnp.from_dlpack(values, copy=True).data, values)


def test_dlpack_brings_arrays_of_other_libraries(xp: Any) -> None:
    with jax.enable_x64(True):
        theirs = J.linspace(0.0, 1.0, 5)
    close(jnp.from_dlpack(theirs), theirs)
    assert jnp.from_dlpack(theirs).dtype == np.float64


def test_asarray_that_may_not_copy_says_where_it_would() -> None:
    x = jnp.asarray([1.0])
    assert jnp.asarray(x, copy=False).data is x.data
    assert jnp.asarray(x, dtype=x.dtype, copy=False) is x
    with pytest.raises(ValueError, match="copy=False"):
        jnp.asarray([1.0], copy=False)
    with pytest.raises(ValueError, match="copy=False"):
        jnp.asarray(x, dtype=jnp.float16, copy=False)


def test_new_arrays_take_shape_dtype_and_device_of_another(xp: Any) -> None:
    for device in gradkit.devices():
        x = jnp.ones((2, 3), dtype="int16", device=device)
        for new in (jnp.zeros_like(x), jnp.ones_like(x), jnp.empty_like(x), jnp.full_like(x, 7)):
            assert (new.shape, new.dtype, new.device) == (x.shape, x.dtype, device)
        other = jnp.full_like(x, 2.5, dtype="float32", shape=(4,), device=gradkit.devices()[0])
        assert (other.shape, other.dtype, other.device) == ((4,), np.float32, gradkit.devices()[0])


def test_a_number_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OverflowError, match="int32"):
        jnp.full(2, 1 << 40)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: jnp.vecdot(x, x[:2, :2]), "one size"),
        (lambda x: jnp.tensordot(x, x, axes=1), "axes"),
        (lambda x: jnp.tensordot(x, x, axes=3), "exceeds"),
        (lambda x: jnp.repeat(x, jnp.asarray([1, 2]), axis=1), "repeats"),
        (lambda x: jnp.repeat(x, -1), "negative"),
        (lambda x: jnp.moveaxis(x, (0, 1), 0), "2 source axes"),
        (lambda x: jnp.broadcast_shapes((2,), (3,)), "Incompatible"),
        (lambda x: jnp.flip(x, axis=2), "out of bounds"),
        (lambda x: jnp.unstack(x[0, 0]), "at least one dimension"),
        (lambda x: jnp.arange(0, 3, 0), "step"),
    ],
)
def test_what_does_not_fit_is_an_error(call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        call(jnp.ones((3, 4)))


def test_repeats_need_values_unless_the_length_is_given() -> None:
    with pytest.raises(TypeError):
        gradkit.vmap(lambda x, n: jnp.repeat(x, n))(jnp.ones((2, 3)), jnp.asarray([[1, 2, 3], [1, 2, 3]]))


@pytest.mark.parametrize("dtype", ["int8", "int16", "float16", "int32", "float32", "int64", "uint8"])
def test_views_are_those_of_jax(dtype: str, xp: Any) -> None:
    x = np.asarray([[1.5, -2.0], [0.0, 3.25]], "float32")
    with jax.enable_x64(True):
        if dtype == "float16" and not hasattr(gradkit.backend.current_backend().xp, "float16"):
            pytest.skip("the standard has no float16")
        close(xp.asarray(x).view(dtype), J.asarray(x).view(dtype))
        assert xp.asarray(x).view(dtype).dtype == dtype


def test_elements_and_bytes_are_read_as_in_numpy(xp: Any) -> None:
    x = np.arange(6.0, dtype="float32").reshape(2, 3)
    ours = xp.asarray(x)
    assert (ours.item(4), ours.item(1, 2), ours.itemsize, ours.tobytes()) == (4.0, 5.0, 4, x.tobytes())


@pytest.mark.parametrize("shape, index", [((3, 2), [True, False]), ((0,), [False]), ((2, 3), (..., [True, False]))])
def test_a_mask_of_another_shape_is_an_error(shape: tuple[int, ...], index: Any, xp: Any) -> None:
    with pytest.raises(IndexError, match="boolean index did not match"):
        xp.ones(shape)[index]


def test_a_mask_of_no_axes_adds_one(xp: Any) -> None:
    x = xp.ones((2, 3))
    assert x[[]].shape == (0, 3)
    assert (x[xp.asarray(True)].shape, x[xp.asarray(False)].shape) == ((1, 2, 3), (0, 2, 3))


def test_complex_numbers_are_true_where_they_are_not_0_and_real_without_imaginary_parts(xp: Any) -> None:
    z = xp.asarray([0j, 1j, 2 + 1j])
    assert z.astype(bool).tolist() == [False, True, True]
    assert z.astype("float32").tolist() == [0.0, 0.0, 2.0]
    assert (int(jnp.count_nonzero(z)), bool(jnp.all(z))) == (2, False)
    close(jnp.sign(z), J.sign(J.asarray([0j, 1j, 2 + 1j])), 1e-6)
