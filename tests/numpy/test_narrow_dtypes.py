"""bfloat16 and the floats of 8 bits: they are computed in float32 and rounded once, as JAX does it on a CPU."""

from __future__ import annotations

import copy
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as J
import ml_dtypes
import numpy as np
import pytest
from parity.cases import CASES as PARITY
from parity.cases import DIFFERENT, WITHOUT_JAX
from parity.measure import weights
from primitive_cases import CASES
from references import kept

import gradkit
import gradkit.numpy as jnp
from gradkit.errors import TypePromotionError

NARROW = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
WIDE = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()
EPSILON = 2.0**-7
"""The distance from 1 to the next number of bfloat16."""

on_numpy = pytest.mark.backends("numpy")


def outcome(function: Any, *args: Any) -> str:
    """Return what a call gives as text, or the name of what it raises."""
    try:
        return str(function(*args))
    except ValueError as error:
        return type(error).__name__


# Values and gradients against JAX


def floats(m: Any, tree: Any) -> list[Any]:
    return [leaf for leaf in m.tree.leaves(tree) if "float" in str(leaf.dtype)]


def value_and_gradient(m: Any, f: Any, arrays: tuple[np.ndarray, ...]) -> list[Any]:
    """Return the floating results of a function, and the gradients of their weighted sum, with gradkit or jax as m."""
    given = [m.numpy.asarray(array) for array in arrays]

    def total(*args: Any) -> Any:
        results = floats(m, f(*args))
        return sum((part.astype("float32") * weights(part.shape).astype("float32")).sum() for part in results)

    moving = tuple(i for i, array in enumerate(given) if "float" in str(array.dtype))
    return [*floats(m, f(*given)), *m.grad(total, moving)(*given)]


def wide(leaves: list[Any]) -> list[np.ndarray]:
    return [np.asarray(gradkit.device_get(leaf)).astype("float32") for leaf in leaves]


def by_jax(f: Any, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    return wide(value_and_gradient(jax, f, arrays))


PRIMITIVES = [
    pytest.param(case, id=f"{name}-{i}")
    for name, cases in CASES.items()
    for i, case in enumerate(cases)
    if name != "normal_cdf"  # JAX refuses bfloat16 there
]
OF_COMPLEX = {case.ours for name in ("conj", "imag", "real") for case in CASES[name]}
"""Those whose function makes complex numbers of its arguments."""


@on_numpy
@pytest.mark.parametrize("case", PRIMITIVES)
def test_a_primitive_in_bfloat16_is_jaxs_to_rounding(case: Any, backend: Any) -> None:
    draw = np.random.default_rng(1)
    arrays = tuple(draw.uniform(*case.interval, size=shape).astype(ml_dtypes.bfloat16) for shape in case.shapes)
    found = value_and_gradient(gradkit, case.ours, arrays)
    expected = kept(by_jax, case.theirs, arrays)
    gradients = found[-len(arrays) :]
    assert {str(leaf.dtype) for leaf in (found if case.ours not in OF_COMPLEX else gradients)} == {"bfloat16"}
    for one, other in zip(wide(found), expected, strict=True):
        scale = max(1.0, float(np.max(np.abs(other), initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=4 * EPSILON * scale)


OF_ITS_OWN_DTYPE = "astype fromfunction interp convert_element_type owens_t".split()
"""Cases that say the dtype themselves, or give JAX arrays of NumPy's; and what JAX gives in float32."""
COMPARED = [
    pytest.param(case, id=case.name)
    for case in PARITY
    if (case.name, "reverse") not in {**WITHOUT_JAX, **DIFFERENT}
    and case.name.rpartition(".")[2] not in OF_ITS_OWN_DTYPE
]


@pytest.mark.long
@on_numpy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", COMPARED)
def test_a_function_in_bfloat16_is_as_exact_as_jaxs(case: Any, backend: Any) -> None:
    def run(m: Any, dtype: Any) -> list[Any]:
        # The same numbers in each dtype: those that bfloat16 has.
        arrays = tuple(
            array.astype(ml_dtypes.bfloat16).astype(dtype) if array.dtype.kind == "f" else array
            for array in case.arguments()
        )
        return value_and_gradient(m, case.call(m), arrays)

    try:
        theirs = run(jax, ml_dtypes.bfloat16)
    except (NotImplementedError, TypeError, ValueError) as error:
        pytest.skip(f"JAX refuses it: {error}")
    ours = run(gradkit, ml_dtypes.bfloat16)
    with jax.enable_x64(True):
        exact = run(jax, np.float64)
    assert [str(leaf.dtype) for leaf in ours] == [str(leaf.dtype) for leaf in theirs]
    for one, other, truth in zip(wide(ours), wide(theirs), wide(exact), strict=True):
        known = np.isfinite(truth)
        np.testing.assert_array_equal(one[~known], other[~known])
        one, other, truth = one[known], other[known], truth[known]
        scale = max(1.0, float(np.max(np.abs(truth), initial=0)))
        jaxs = float(np.max(np.abs(other - truth), initial=0, where=np.isfinite(other)))
        np.testing.assert_allclose(one, truth, rtol=0, atol=max(3 * jaxs, 4 * EPSILON * scale))


FLOAT8 = {
    "sin": lambda xp, x: xp.sin(x),
    "product": lambda xp, x: x * x + 2,
    "sum": lambda xp, x: xp.sum(x, axis=0),
    "matmul": lambda xp, x: x @ x.T,
    "sort": lambda xp, x: xp.sort(x, axis=0) ** 2,
    "softmax": lambda xp, x: xp.exp(x) / xp.sum(xp.exp(x), axis=-1, keepdims=True),
}


def float8(xp: Any, f: Any, x: Any) -> Any:
    return f(xp, x)


@on_numpy
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("name", FLOAT8)
def test_a_function_in_float8_is_jaxs_to_rounding(name: str, dtype: str, backend: Any) -> None:
    x = np.random.default_rng(2).uniform(-1, 1, size=(4, 3)).astype(getattr(ml_dtypes, dtype))
    f = FLOAT8[name]
    found = value_and_gradient(gradkit, lambda x: f(jnp, x), (x,))
    expected = kept(by_jax, lambda x: f(J, x), (x,))
    assert {str(leaf.dtype) for leaf in found} == {dtype}
    for one, other in zip(wide(found), expected, strict=True):
        scale = max(1.0, float(np.max(np.abs(other), initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=2 * float(ml_dtypes.finfo(dtype).eps) * scale)


# Promotion


@pytest.mark.parametrize("dtype", NARROW)
def test_dtypes_meet_where_jaxs_do(dtype: str) -> None:
    for one, other in itertools.product([dtype], [*NARROW, *WIDE]):
        with gradkit.enable_x64(True), jax.enable_x64(True):
            assert outcome(jnp.promote_types, one, other) == outcome(J.promote_types, one, other), (one, other)
            assert outcome(jnp.promote_types, other, one) == outcome(J.promote_types, other, one), (other, one)


@on_numpy
@pytest.mark.parametrize("dtype", NARROW)
def test_python_numbers_and_weak_arrays_give_way_as_in_jax(dtype: str, backend: Any) -> None:
    for number in (True, 2, 1.5, 1j):

        def times(x: Any, number: Any = number) -> Any:
            return x * number

        ours = outcome(lambda f=times: gradkit.eval_shape(f, jnp.ones(2, dtype)).dtype)
        theirs = outcome(lambda f=times: jax.eval_shape(f, jax.ShapeDtypeStruct((2,), dtype)).dtype)
        assert ours == theirs, number
        ours = outcome(lambda n=number: gradkit.jit(lambda x, y: x + y)(jnp.ones(2, dtype), n).dtype)
        theirs = outcome(
            lambda n=number: jax.eval_shape(lambda x, y: x + y, jax.ShapeDtypeStruct((2,), dtype), n).dtype
        )
        assert ours == theirs, f"{number} as an argument"


@on_numpy
def test_float8_and_another_float_is_an_error_that_says_what_to_do(backend: Any) -> None:
    with pytest.raises(TypePromotionError, match=r"'float8_e5m2', 'float32'.* x\.astype\('float32'\)"):
        jnp.ones(2, "float8_e5m2") + jnp.ones(2, "float32")
    assert (jnp.ones(2, "float8_e5m2") + jnp.ones(2, "int32")).dtype == jnp.float8_e5m2


# What dtypes are


@pytest.mark.parametrize("dtype", NARROW)
def test_limits_and_kinds_are_jaxs(dtype: str) -> None:
    for name in "bits eps max min tiny smallest_normal smallest_subnormal nmant nexp maxexp minexp".split():
        assert float(getattr(jnp.finfo(dtype), name)) == float(getattr(J.finfo(dtype), name)), name
    for kind in "floating inexact number integer generic complexfloating".split():
        assert jnp.issubdtype(dtype, getattr(jnp, kind)) == J.issubdtype(dtype, getattr(J, kind))
    assert jnp.isdtype(dtype, "real floating")
    assert not jnp.isdtype(dtype, ("integral", "float32"))
    assert getattr(jnp, dtype) == np.dtype(dtype) == getattr(ml_dtypes, dtype)
    assert np.dtype(getattr(jnp, dtype)) == jnp.dtype(dtype)


@on_numpy
def test_numbers_are_converted_as_jax_converts_them(backend: Any) -> None:
    draw = np.random.default_rng(3)
    ordinary = draw.normal(size=200) * 10.0 ** draw.integers(-6, 7, 200)
    limits = [math.inf, -math.inf, math.nan, 0.0, -0.0, 448, 449, 464, 465, 480, 57344, 61440, 2**-9, 2**-10, 240, 248]
    values = np.concatenate([ordinary, limits]).astype("float32")
    for dtype in NARROW:
        ours, theirs = (np.asarray(m.asarray(values).astype(dtype)) for m in (jnp, J))
        # XLA makes NaN of a small negative number where there is no -0.
        known = ~(dtype.endswith("fnuz") & (values < 0) & (np.abs(values) < 1e-3))
        one, other = ours.astype("float32"), theirs.astype("float32")
        np.testing.assert_array_equal(one[known], other[known], err_msg=dtype)
        for other in NARROW:
            expected = ours.astype("float32").astype(getattr(ml_dtypes, other)).astype("float32")
            np.testing.assert_array_equal(
                np.asarray(jnp.asarray(ours).astype(other)).astype("float32"), expected, err_msg=f"{dtype} to {other}"
            )


@on_numpy
def test_sums_are_in_float32(backend: Any) -> None:
    ones = jnp.ones(600, jnp.bfloat16)  # in bfloat16 256 + 1 is 256
    found = [jnp.sum(ones), ones @ ones, jnp.cumsum(ones)[-1], jnp.mean(ones) * 600, jnp.einsum("i->", ones)]
    assert [float(number) for number in found] == [600.0] * 5
    assert jnp.arange(600, dtype=jnp.bfloat16)[-3:].tolist() == [596, 600, 600]
    assert float(gradkit.grad(lambda b: jnp.sum(jnp.ones((600, 1), jnp.bfloat16) * b))(jnp.bfloat16(1.0))) == 600.0
    assert float(gradkit.jit(jnp.sum)(ones)) == 600.0


@on_numpy
def test_arrays_print_pickle_and_show_their_bits_as_in_jax(backend: Any) -> None:
    for dtype in NARROW:
        ours, theirs = jnp.asarray([1.0, 0.3, 64.0], dtype), J.asarray([1.0, 0.3, 64.0], dtype)
        assert repr(ours) == repr(theirs)
        assert repr(copy.deepcopy(ours)) == repr(ours)
        bits = f"uint{8 * ours.dtype.itemsize}"
        whole = gradkit.lax.bitcast_convert_type(ours, bits)
        assert whole.tolist() == jax.lax.bitcast_convert_type(theirs, bits).tolist()
        assert gradkit.lax.bitcast_convert_type(whole, dtype).tolist() == ours.tolist()


@on_numpy
def test_numpys_arrays_of_these_dtypes_come_in_as_they_are(backend: Any) -> None:
    values = np.asarray([1.0, 2.0], ml_dtypes.bfloat16)
    assert jnp.asarray(values).data is values
    assert (jnp.sin(values)).dtype == jnp.bfloat16
    assert jnp.asarray(values[0]).dtype == jnp.asarray([values[0]]).dtype == jnp.bfloat16


# Random numbers


DRAWS = "uniform normal exponential gumbel laplace logistic".split()


def drawn(name: str, dtype: str) -> np.ndarray:
    return np.asarray(getattr(jax.random, name)(jax.random.key(3), (500,), dtype)).astype("float32")


@on_numpy
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_jaxs_bit_for_bit(name: str, dtype: str, backend: Any) -> None:
    ours = np.asarray(getattr(gradkit.random, name)(gradkit.random.key(3), (500,), dtype))
    assert ours.dtype.name == dtype
    np.testing.assert_array_equal(ours.astype("float32"), kept(drawn, name, dtype))


# Transforms


@on_numpy
def test_every_transform_keeps_the_dtype_and_the_numbers(backend: Any) -> None:
    x = jnp.asarray([0.5, -1.25, 2.0], jnp.bfloat16)

    def f(x: Any) -> Any:
        return jnp.sum(jnp.tanh(x) * x**2 * 1.5)

    exact = gradkit.grad(f)(x.astype("float32")).astype(jnp.bfloat16)
    found = {
        "grad": gradkit.grad(f)(x),
        "jit": gradkit.jit(gradkit.grad(f))(x),
        "vjp": gradkit.vjp(f, x)[1](jnp.bfloat16(1))[0],
        "jacfwd": gradkit.jacfwd(f)(x),
        "vmap": gradkit.vmap(gradkit.grad(f))(x[:, None])[:, 0],
        "checkpoint": gradkit.grad(gradkit.checkpoint(f))(x),
        "scan": gradkit.grad(lambda x: gradkit.lax.scan(lambda c, v: (c + f(v[None]), v), jnp.bfloat16(0), x)[0])(x),
        "hessian": jnp.diagonal(gradkit.hessian(lambda x: jnp.sum(x**3))(x)) / 6 * exact / x,
    }
    x.requires_grad = True
    f(x).backward()
    found["backward"] = x.grad
    for name, gradient in found.items():
        assert gradient.dtype == jnp.bfloat16, name
        np.testing.assert_allclose(
            np.asarray(gradient.astype("float32")), np.asarray(exact.astype("float32")), rtol=4 * EPSILON, err_msg=name
        )


@on_numpy
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_backward_gives_a_raw_gradient_and_adds_to_it(dtype: str, backend: Any) -> None:
    x = jnp.asarray([0.5, 1.0, 2.0], dtype)
    x.requires_grad = True
    for times in (1, 2):
        jnp.sum(x * x + x).backward()
        assert type(x.grad) is np.ndarray
        assert x.grad.dtype.name == dtype
        assert x.grad.tolist() == [2 * times, 3 * times, 5 * times]


@on_numpy
@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_tape_says_where_a_number_of_bfloat16_is_none(backend: Any) -> None:
    gradkit.config.update("jax_debug_nans", True)
    try:
        with pytest.raises(FloatingPointError, match="log"):
            jnp.log(jnp.asarray([-1.0], jnp.bfloat16))
    finally:
        gradkit.config.update("jax_debug_nans", False)
    assert gradkit.grad(jnp.log)(jnp.bfloat16(2)).dtype == jnp.bfloat16


@on_numpy
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2", "complex64"])
def test_a_program_has_constants_of_dtypes_that_it_moves_alone(dtype: str, backend: Any) -> None:
    def filled(x: Any) -> Any:
        def set_one(i: Any, carry: Any) -> Any:
            return carry[0].at[i].set(x[0]), carry[1] + 1

        return gradkit.lax.fori_loop(0, 2, set_one, (jnp.full((4,), -1.5, dtype), 0))[0]

    x = jnp.asarray([0.25], dtype)
    assert gradkit.jit(filled)(x).tolist() == filled(x).tolist() == [0.25, 0.25, -1.5, -1.5]


# Models


@on_numpy
def test_a_model_in_bfloat16_learns_and_its_run_resumes_bit_for_bit(backend: Any, tmp_path: Path) -> None:
    x, y = gradkit.data.moons(256, key=gradkit.random.key(1))
    data = x.astype(jnp.bfloat16), y

    def run(epochs: int, folder: str) -> tuple[Any, Any]:
        model = gradkit.nn.MLP(2, [16, 2], key=gradkit.random.key(0), dtype=jnp.bfloat16)
        return gradkit.fit(
            model, data, optimizer=gradkit.optim.SGD(0.1, momentum=0.9), epochs=epochs, batch_size=32,
            key=gradkit.random.key(2), checkpoint=tmp_path / folder, progress=False,
        )  # fmt: skip

    whole, history = run(12, "whole")
    run(5, "resumed")
    resumed, _ = run(12, "resumed")
    assert history["loss"][-1] < 0.3
    assert {str(parameter.dtype) for parameter in whole.parameters()} == {"bfloat16"}
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert one.tolist() == other.tolist()


@on_numpy
@pytest.mark.parametrize(
    "dtype, code",
    [("bfloat16", "BF16"), ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2")],
)
def test_files_have_the_formats_own_dtypes(dtype: str, code: str, backend: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weight = jnp.asarray([[1.0, -0.3], [64.0, 0.02]], dtype)
    gradkit.save(path, {"weight": weight})
    contents = path.read_bytes()
    assert f'"dtype":"{code}"'.encode() in contents
    assert contents.endswith(np.asarray(weight).tobytes())
    assert repr(gradkit.load(path)["weight"]) == repr(weight)
    assert repr(gradkit.load(path, like={"weight": jnp.zeros((2, 2), dtype)})["weight"]) == repr(weight)


# Where they are missing


@pytest.mark.backends("strict")
def test_strict_says_that_it_has_no_bfloat16(backend: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype bfloat16: the backend 'strict' does not have it.* Use float32"):
        jnp.ones(2, jnp.bfloat16)
    with pytest.raises(TypeError, match="the backend 'strict' does not have it"):
        jnp.ones(2).astype("float8_e5m2")


def test_pythons_numbers_say_that_they_have_no_bfloat16() -> None:
    with gradkit.use_backend("python"), pytest.raises(TypeError, match="the backend 'python' does not have it"):
        jnp.asarray(1.0, jnp.bfloat16)


WITHOUT = """
import sys
sys.modules["ml_dtypes"] = None  # as if it were not installed
import gradkit
import gradkit.numpy as jnp
gradkit.grad(lambda x: jnp.sum(jnp.sin(x)))(jnp.ones(3))
for ask in (lambda: jnp.ones(2, jnp.bfloat16), lambda: jnp.asarray([1.0]).astype("float8_e5m2"),
            lambda: jnp.finfo(jnp.bfloat16)):
    try:
        ask()
    except ImportError as error:
        print(error)
"""


@pytest.mark.dealt
def test_without_ml_dtypes_all_else_works_and_the_message_says_what_to_install(backend: Any) -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    lines = found.strip().splitlines()
    assert len(lines) == 3
    assert all("pip install 'gradkit[ml_dtypes]'" in line for line in lines)
