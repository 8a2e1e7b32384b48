"""PyTorch's tensors: in and out without a copy, gradients beside torch.autograd's, devices, and what is refused."""

from __future__ import annotations

import importlib.util
import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.backend import Device, get_backend, load_backend
from gradkit.errors import BackendUnusableError
from gradkit.testing.variants import variant_named

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed: pip install 'gradkit[torch]'", allow_module_level=True)

import torch

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()
UNSIGNED = ("uint16", "uint32", "uint64")


@pytest.fixture(autouse=True)
def on_torch() -> Any:
    with gradkit.use_backend("torch"):
        yield


# In and out


def test_the_example_of_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text()
    (example,) = re.findall(r"^```python\n(import torch\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"gradkit": gradkit, "jnp": jnp}
    exec(example, names)
    assert names["gradient"].data.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats_are_pytorchs_own_and_keep_their_bits_on_the_way_to_numpy_and_back(dtype: str) -> None:
    pytest.importorskip("ml_dtypes")
    tensor = torch.tensor([[0.5, -1.5], [2.0, 0.0]]).to(getattr(torch, dtype))
    x = jnp.asarray(tensor)
    assert x.data is tensor
    assert x.dtype.name == dtype
    numbers = np.asarray(x)
    assert numbers.dtype.name == dtype
    np.testing.assert_array_equal(numbers.astype("float32"), tensor.to(torch.float32).numpy())
    back = jnp.asarray(numbers).data
    assert back.dtype is tensor.dtype
    assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))
    assert (x + x).data.dtype is tensor.dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_comes_in_and_goes_out_without_a_copy(dtype: str) -> None:
    tensor = torch.ones(2, 3, dtype=getattr(torch, dtype))
    x = jnp.asarray(tensor)
    assert x.data is tensor
    assert gradkit.Array(tensor).data is tensor
    assert x.dtype == np.dtype(dtype)
    assert type(x.shape) is tuple
    assert x.shape == (2, 3)


def test_views_of_a_tensor_share_its_memory() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    x = jnp.asarray(tensor)
    for view in (x.T, x[:, 1:], x.reshape(3, 2), jnp.broadcast_to(x, (4, 2, 3))):
        assert view.data.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    assert np.shares_memory(np.asarray(x, copy=None), tensor.numpy())
    assert torch.from_dlpack(x).data_ptr() == tensor.data_ptr()


def test_numpys_view_of_a_tensor_whose_elements_are_in_several_places_cannot_be_written() -> None:
    x = jnp.broadcast_to(jnp.asarray(torch.tensor([1.0, 2.0])), (3, 2))
    for numbers in (np.asarray(x), np.asarray(x.T)):
        assert not numbers.flags.writeable
    if importlib.util.find_spec("ml_dtypes") is not None:
        narrow = jnp.broadcast_to(jnp.asarray(torch.tensor([1.0], dtype=torch.bfloat16)), (3,))
        assert not np.asarray(narrow).flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 5.0
    assert np.asarray(jnp.asarray(torch.ones(2, 1))).flags.writeable


SORTED = np.sort(
    np.asarray([1 + 2j, 1 + 3j, 2 - 1j, 2 - 1j, 3, complex(3, np.nan), complex(np.nan, 1), complex(np.nan, np.nan)])
)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_found_in_numpys_order_of_them(side: Any, dtype: str) -> None:
    inside = SORTED.astype(dtype)
    values = np.asarray([*inside, 0, 1 + 2.5j, 2, complex(5, np.nan), complex(np.nan, 0), np.inf], dtype).reshape(2, 7)
    found = jnp.searchsorted(jnp.asarray(torch.tensor(inside)), jnp.asarray(torch.tensor(values)), side=side)
    np.testing.assert_array_equal(np.asarray(found), np.searchsorted(inside, values, side=side))
    bins = jnp.digitize(jnp.asarray(torch.tensor(values)), jnp.asarray(torch.tensor(inside[:4])), right=side == "left")
    np.testing.assert_array_equal(np.asarray(bins), np.searchsorted(inside[:4], values, side=side))


def test_what_is_computed_is_a_plain_tensor() -> None:
    x = jnp.asarray(torch.linspace(-1, 1, 5))
    results = [x + 1, jnp.sin(x), jnp.sum(x), x > 0, jnp.sort(x), x[::-1], gradkit.grad(lambda x: jnp.sum(x**3))(x)]
    for result in results:
        assert type(result.data) is torch.Tensor
        assert not result.data.requires_grad


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_integers_are_plain_tensors_of_their_dtype(dtype: str) -> None:
    x = jnp.asarray(np.arange(5, dtype=dtype))
    for result in (x + x, x >> 1, jnp.max(x), x // 2, x[::-1], jnp.sort(x), jnp.concatenate([x, x])):
        assert type(result.data) is torch.Tensor
        assert result.data.dtype is getattr(torch, dtype)


def test_a_subclass_of_tensors_is_taken_too() -> None:
    parameter = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    assert float(jnp.sum(jnp.asarray(parameter) * 2)) == 6


def test_the_result_of_a_lazy_conjugation_has_its_own_values() -> None:
    tensor = torch.tensor([1 + 2j, 3 - 1j]).conj()
    assert tensor.is_conj()
    assert np.asarray(jnp.asarray(tensor)).tolist() == [1 - 2j, 3 + 1j]


# Special values, beside NumPy's

SORTED = np.array([-np.inf, -1.5, -0.0, 0.0, 2.0, np.inf, np.nan, np.nan])
COMPLEX = np.array([1 + 2j, complex(np.inf, -1), complex(1, np.nan), complex(-np.inf, np.inf), 3j])
WHOLE = np.array([-128, -7, -1, 0, 1, 5, 127], np.int8)
SPECIAL: dict[str, tuple[Any, ...]] = {
    "searchsorted, left": (lambda xp, x: xp.searchsorted(x, x), SORTED),
    "searchsorted, right": (lambda xp, x: xp.searchsorted(x, x, side="right"), SORTED),
    "searchsorted, truth values": (lambda xp, x: xp.searchsorted(x, x), np.array([False, True, True])),
    "add": (lambda xp, x: x[:, None] + x, COMPLEX),
    "subtract": (lambda xp, x: x[:, None] - x, COMPLEX),
    "add a lazy conjugate": (lambda xp, x: x + xp.conj(x), COMPLEX),
    "argmax": (lambda xp, x: xp.argmax(x), COMPLEX),
    "argmin of rows": (lambda xp, x: xp.argmin(x[[[0, 1], [3, 4]]], axis=1), COMPLEX),
    "floor_divide": (lambda xp, x: x[:, None] // x, WHOLE),
    "remainder": (lambda xp, x: x[:, None] % x, WHOLE),
    "by the number 0": (lambda xp, x: x // 0 + x % 0, WHOLE),
    "of a number": (lambda xp, x: 7 // x + 7 % x, WHOLE),
    "gcd": (lambda xp, x: xp.gcd(x[:, None], x), WHOLE),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_give_what_they_give_on_numpy(name: str) -> None:
    function, numbers = SPECIAL[name]
    with np.errstate(all="ignore"):
        expected = function(np, numbers)
    np.testing.assert_array_equal(np.asarray(function(jnp, jnp.asarray(torch.from_numpy(numbers)))), expected)


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc"])
def test_complex_numbers_are_not_rounded_down_or_up(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} takes no complex numbers"):
        getattr(jnp, name)(jnp.asarray(torch.ones(2, dtype=torch.complex64)))


# Unsigned integers, beside NumPy's

BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "floor_divide": np.floor_divide,
    "remainder": np.remainder, "maximum": np.maximum, "minimum": np.minimum, "less": np.less,
    "greater_equal": np.greater_equal, "equal": np.equal, "bitwise_and": np.bitwise_and, "bitwise_xor": np.bitwise_xor,
    "bitwise_or": np.bitwise_or,
}  # fmt: skip


def numbers_of(dtype: str) -> np.ndarray:
    """Return numbers at both ends of the range, at its middle, and between."""
    largest = np.iinfo(dtype).max
    drawn = np.random.default_rng(0).integers(0, largest, 40, dtype=dtype, endpoint=True)
    edges = [0, 1, 2, 3, 7, largest // 2, largest // 2 + 1, largest // 2 + 2, largest - 1, largest]
    return np.concatenate([np.asarray(edges, dtype), drawn])


@pytest.mark.parametrize("name", sorted(BINARY))
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_arithmetic_of_unsigned_integers_is_that_of_numpy(dtype: str, name: str) -> None:
    numbers = numbers_of(dtype)
    x, y = np.broadcast_arrays(numbers[:, None], numbers[numbers > 0])
    expected = BINARY[name](x, y)
    got = getattr(jnp, name)(jnp.asarray(torch.from_numpy(x.copy())), jnp.asarray(torch.from_numpy(y.copy())))
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(got), expected)
    largest = int(np.iinfo(dtype).max)
    with_number = getattr(jnp, name)(jnp.asarray(torch.from_numpy(numbers)), largest)
    np.testing.assert_array_equal(np.asarray(with_number), BINARY[name](numbers, numbers.dtype.type(largest)))


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_order_shifts_sums_and_selection_of_unsigned_integers_are_those_of_numpy(dtype: str) -> None:
    numbers = numbers_of(dtype)
    x = jnp.asarray(torch.from_numpy(numbers))
    bits = numbers.dtype.itemsize * 8
    by = np.arange(len(numbers), dtype=dtype) % bits
    pairs = {
        "sort": (jnp.sort(x), np.sort(numbers)),
        "descending": (jnp.sort(x, descending=True), np.sort(numbers)[::-1]),
        "argsort": (jnp.argsort(x), np.argsort(numbers, stable=True)),
        "max": (jnp.max(x), numbers.max()),
        "argmin": (jnp.argmin(x), numbers.argmin()),
        "sum": (jnp.sum(x, dtype=dtype), numbers.sum(dtype=dtype)),
        "cumsum": (jnp.cumsum(x, dtype=dtype), numbers.cumsum(dtype=dtype)),
        "prod": (jnp.prod(x[1:9], dtype=dtype), numbers[1:9].prod(dtype=dtype)),
        "left": (x << jnp.asarray(by), numbers << by),
        "right": (x >> jnp.asarray(by), numbers >> by),
        "invert": (~x, ~numbers),
        "turned": (x[::-3], numbers[::-3]),
        "taken": (x[jnp.asarray([3, 0, -1])], numbers[[3, 0, -1]]),
        "searchsorted": (jnp.searchsorted(jnp.sort(x), x), np.searchsorted(np.sort(numbers), numbers)),
        "float": (x.astype("float64"), numbers.astype("float64")),
        "where": (jnp.where(x > 5, x, x + x), np.where(numbers > 5, numbers, numbers + numbers)),
    }
    for name, (got, expected) in pairs.items():
        np.testing.assert_array_equal(np.asarray(got), expected, err_msg=name)


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_updates_at_repeated_positions_add_up_in_unsigned_integers(dtype: str) -> None:
    numbers = np.asarray([1, np.iinfo(dtype).max, 3], dtype)
    expected = np.zeros(2, dtype)
    np.add.at(expected, [0, 1, 1], numbers)
    got = jnp.zeros(2, dtype=dtype).at[jnp.asarray([0, 1, 1])].add(jnp.asarray(numbers))
    np.testing.assert_array_equal(np.asarray(got), expected)


# Gradients, beside those of torch.autograd

FUNCTIONS: dict[str, tuple[Any, Any, tuple[tuple[int, ...], ...]]] = {
    "matmul and tanh": (
        lambda x, w: jnp.sum(jnp.tanh(x @ w) ** 2),
        lambda x, w: (torch.tanh(x @ w) ** 2).sum(),
        ((4, 3), (3, 5)),
    ),
    "slices": (
        lambda x: jnp.sum(x[::-1, 1::2] * x[:, ::2]),
        lambda x: (x.flip(0)[:, 1::2] * x[:, ::2]).sum(),
        ((3, 4),),
    ),
    "repeated positions": (
        lambda x: jnp.sum(x[jnp.asarray([0, 2, 0, 0])] ** 3),
        lambda x: (x[torch.tensor([0, 2, 0, 0])] ** 3).sum(),
        ((3, 2),),
    ),
    "logsumexp": (
        lambda x: jnp.sum(nn.logsumexp(x, axis=1) ** 2),
        lambda x: (torch.logsumexp(x, 1) ** 2).sum(),
        ((3, 4),),
    ),
    "sort": (
        lambda x: jnp.sum(jnp.sort(x) * jnp.arange(6.0)),
        lambda x: (torch.sort(x)[0] * torch.arange(6.0)).sum(),
        ((6,),),
    ),
    "solve": (
        lambda a, b: jnp.sum(jnp.linalg.solve(a + 9 * jnp.eye(3), b) ** 2),
        lambda a, b: (torch.linalg.solve(a + 9 * torch.eye(3), b) ** 2).sum(),
        ((3, 3), (3, 2)),
    ),
    "cumprod": (
        lambda x: jnp.sum(jnp.cumprod(x, axis=1)),
        lambda x: torch.cumprod(x, 1).sum(),
        ((2, 4),),
    ),
    "convolution": (
        lambda x, k: jnp.sum(lax.conv(x, k, (1, 1), "VALID") ** 2),
        lambda x, k: (torch.nn.functional.conv2d(x, k) ** 2).sum(),
        ((2, 3, 5, 5), (4, 3, 2, 2)),
    ),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_gradients_are_those_of_pytorchs_autograd(name: str) -> None:
    ours, theirs, shapes = FUNCTIONS[name]
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    got = gradkit.grad(ours, tuple(range(len(tensors))))(*map(jnp.asarray, tensors))
    followed = [tensor.clone().requires_grad_() for tensor in tensors]
    theirs(*followed).backward()
    for gradient, tensor in zip(got, followed, strict=True):
        torch.testing.assert_close(gradient.data, tensor.grad, rtol=1e-4, atol=1e-5)


def test_second_derivatives_are_those_of_pytorchs_autograd() -> None:
    tensor = torch.linspace(-1, 1, 4)
    got = gradkit.hessian(lambda x: jnp.sum(jnp.sin(x) ** 3) + jnp.prod(x))(jnp.asarray(tensor))
    expected = torch.autograd.functional.hessian(lambda x: (torch.sin(x) ** 3).sum() + x.prod(), tensor)
    torch.testing.assert_close(got.data, expected, rtol=1e-4, atol=1e-5)


def test_a_step_of_the_lecture_changes_the_users_tensor() -> None:
    tensor = torch.tensor([1.0, 2.0])
    w = jnp.asarray(tensor)
    w.requires_grad = True
    jnp.sum(w * w).backward()
    assert type(w.grad) is torch.Tensor
    w.data += -0.25 * w.grad
    assert tensor.tolist() == [0.5, 1.0]


# jit


def test_jit_computes_what_the_function_does_and_traces_it_once() -> None:
    traced = []

    @gradkit.jit
    def step(w: Any, x: Any) -> Any:
        traced.append(w)
        loss, gradient = gradkit.value_and_grad(lambda w: jnp.mean(jnp.tanh(x @ w) ** 2))(w)
        return w - 0.1 * gradient, loss

    w, x = jnp.asarray(torch.ones(3, 2)), jnp.asarray(torch.linspace(-1, 1, 12).reshape(4, 3))
    once, expected = step(w, x), step.__wrapped__(w, x)
    again = step(once[0], x)
    assert len(traced) == 2  # by jit, and above without it
    for got, right in zip(once, expected, strict=True):
        assert type(got.data) is torch.Tensor
        torch.testing.assert_close(got.data, right.data)
    assert float(again[1]) < float(once[1])


def test_a_result_of_jit_is_not_overwritten_by_the_next_call() -> None:
    f = gradkit.jit(lambda x: jnp.sin(x) * 2 + jnp.cos(x))
    first = f(jnp.asarray(torch.zeros(3)))
    kept = first.data.clone()
    f(jnp.asarray(torch.ones(3)))
    assert torch.equal(first.data, kept)


# Devices


def test_devices_are_those_of_pytorch() -> None:
    devices = gradkit.devices("torch")
    assert devices[0].raw == torch.device("cpu")
    assert len(devices) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()
    assert jnp.ones(2).data.device == torch.device("cpu")
    assert gradkit.device_put(np.ones(2), devices[0]).data.device == torch.device("cpu")


def test_new_arrays_are_on_pytorchs_default_device() -> None:
    with torch.device("cpu"):
        assert jnp.ones(2).device == gradkit.devices("torch")[0]


def test_results_are_made_on_the_device_of_the_operands() -> None:
    # The device "meta" computes shapes alone, and takes no operand of another one but numbers: so it finds every
    # kernel that makes an array somewhere else.
    from gradkit.core.namespace import PRIMITIVES

    backend = load_backend("torch")
    x = torch.ones(3, 4, device="meta")
    positions = torch.zeros(2, dtype=torch.int64, device="meta")
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "getitem": ((x,), {"index": (slice(None, None, -1), slice(None))}),
        "pad_index": ((x,), {"index": (slice(2, 5), slice(None)), "shape": (6, 4)}),
        "scatter_add": ((x[:2], positions), {"axis": 0, "size": 5}),
        "take": ((x, positions), {"axis": 0}),
        "masked": ((x, x > 0), {}),
        "random_bits": ((torch.zeros(2, dtype=torch.uint32, device="meta"),), {"shape": (3,), "bit_width": 32}),
        "one_hot": ((positions,), {"classes": 3, "dtype": "float32"}),
        "cumsum": ((x,), {"axis": 0, "reverse": True}),
        "relu": ((x,), {}),
        "sigmoid": ((x,), {}),
        "pow": ((x, 2.0), {}),
        "maximum": ((x, 1.0), {}),
        "label_cross_entropy": ((x, torch.zeros(3, dtype=torch.int64, device="meta")), {}),
        "tril": ((x,), {"k": 0}),
        "running_sum": ((x,), {}),
    }
    for name, (args, params) in calls.items():
        result = PRIMITIVES[name].kernel_of(backend)(*args, **params)
        assert result.device.type == "meta", name


# What is refused


def _result(function: Any) -> Any:
    """Return what hands a tensor out of a transformed function, where it was closed over."""
    return lambda t: function(lambda x: t)(jnp.ones(2))


TAKING = [
    jnp.asarray, gradkit.Array, jnp.sin, lambda t: jnp.ones(2) + jnp.asarray(t), gradkit.jit(lambda x: x),
    lambda t: gradkit.jit(lambda tree: tree["x"] * 2)({"x": t}), gradkit.vmap(lambda x: x),
    gradkit.grad(lambda x: x.sum()), gradkit.jacrev(lambda x: x), gradkit.jacfwd(lambda x: x),
    gradkit.checkpoint(lambda x: x), lambda t: gradkit.jvp(jnp.sin, (t,), (jnp.ones(2),))[0],
    lambda t: gradkit.jvp(jnp.sin, (jnp.ones(2),), (t,))[0], lambda t: gradkit.vjp(jnp.sin, jnp.ones(2))[1](t)[0],
    lambda t: gradkit.eval_shape(jnp.sin, t), _result(gradkit.jit), _result(gradkit.vmap), _result(gradkit.checkpoint),
]  # fmt: skip


@pytest.mark.parametrize("take", TAKING)
def test_a_tensor_that_pytorch_follows_is_refused(take: Any) -> None:
    tensor = torch.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match=r"requires grad.*t\.detach\(\)"):
        take(tensor)
    assert take(tensor.detach()).shape[:1] == (2,)


def test_a_tensor_without_elements_is_refused() -> None:
    with pytest.raises(TypeError, match=r"'meta'.*float32\[2,3\].*no elements"):
        jnp.asarray(torch.ones(2, 3, device="meta"))


def test_a_sparse_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"sparse_coo.*to_dense"):
        jnp.sin(torch.eye(3).to_sparse())


def test_a_tensor_of_a_dtype_without_arithmetic_is_refused_by_its_name() -> None:
    for function in (gradkit.Array, jnp.sin):
        with pytest.raises(TypeError, match="float4_e2m1fn_x2"):
            function(torch.empty(2, dtype=torch.float4_e2m1fn_x2))


def test_a_numpy_array_and_a_tensor_do_not_meet() -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.ones(2)
    with pytest.raises(gradkit.errors.DeviceMismatchError, match=r"numpy:0.*torch:0|torch:0.*numpy:0"):
        x + jnp.asarray(torch.ones(2))


def test_a_pytorch_that_is_too_old_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.1.0")
    with pytest.raises(BackendUnusableError, match=r"PyTorch 2\.1\.0 is too old, 2\.\d+ or newer is needed"):
        get_backend("torch")


def test_a_gpu_that_is_not_there_is_refused_with_pytorchs_reason() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    backend = load_backend("torch")
    try:
        torch.ones(2, device="cuda:0")
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
    device = Device("torch", "gpu", 1, raw=torch.device("cuda:0"))
    with pytest.raises(ValueError, match=rf"no device 'cuda:0'.*{re.escape(reason)}.*It has: cpu"):
        gradkit.device_put(jnp.ones(2), device)
    assert reason in str(variant_named("torch:1").why_not())
    assert backend.why_no_device() == reason


def test_importing_the_package_does_not_import_pytorch() -> None:
    import gradkit_torch

    assert isinstance(gradkit_torch, types.ModuleType)
    assert "torch" not in vars(gradkit_torch)
