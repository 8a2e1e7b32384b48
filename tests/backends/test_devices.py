"""Where arrays are, in JAX's words: devices, device_put and its relatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import gradkit
from gradkit.backend import Backend, load_backend, why_not


def test_devices_are_those_of_the_backend_in_use(backend: Backend, xp: Any) -> None:
    devices = gradkit.devices()
    assert devices == gradkit.devices(backend.name) == gradkit.local_devices() == list(backend.devices)
    assert gradkit.device_count() == gradkit.local_device_count() == len(devices) >= 1
    assert [device.id for device in devices] == list(range(len(devices)))
    assert {device.platform for device in devices} == {gradkit.default_backend()} <= {"cpu", "gpu"}
    assert all(device.device_kind for device in devices)


def test_devices_of_another_backend_can_be_listed() -> None:
    assert [str(device) for device in gradkit.devices("strict")] == ["strict:0", "strict:1", "strict:2"]
    assert gradkit.local_devices(backend="strict") == gradkit.devices("strict")
    assert gradkit.device_count("strict") == 3


def test_devices_have_the_attributes_of_jax_devices() -> None:
    ours, theirs = gradkit.devices("numpy")[0], jax.devices("cpu")[0]
    assert (ours.platform, ours.id) == (theirs.platform, theirs.id)
    assert repr(ours) == "Device(backend='numpy', platform='cpu', id=0)"


def test_a_platform_names_its_devices_as_in_jax(backend: Backend, xp: Any) -> None:
    assert gradkit.devices(backend.platform) == list(backend.devices)
    assert {device.platform for device in gradkit.devices("cpu")} == {"cpu"}


def test_the_platform_gpu_gives_the_gpus_or_the_reason_why_there_are_none() -> None:
    reason = why_not(load_backend("cupy"))
    if reason is None:
        assert {device.platform for device in gradkit.devices("gpu")} == {"gpu"}
    else:
        with pytest.raises(type(reason), match="cupy"):
            gradkit.devices("gpu")


def test_new_arrays_are_on_the_first_device(backend: Backend, xp: Any) -> None:
    for array in (xp.ones(2), xp.asarray([1.0]), xp.arange(3), xp.asarray(np.ones(2)), gradkit.device_put(1.0)):
        assert array.device == gradkit.devices()[0]
        assert array.devices() == {array.device}


def test_default_device_says_where_new_arrays_are_made(backend: Backend, xp: Any) -> None:
    last = gradkit.devices()[-1]
    with gradkit.default_device(last):
        arrays = [xp.ones(2), xp.asarray([1.0]), xp.arange(3), xp.eye(2), xp.asarray(np.ones(2)), gradkit.device_put(1)]
        assert {array.device for array in arrays} == {last}
        assert gradkit.random.normal(gradkit.random.key(0), (2,)).device == last
        assert gradkit.grad(lambda x: x * x)(2.0).device == last
    assert xp.ones(2).device == gradkit.devices()[0]


def test_jit_makes_new_arrays_where_default_device_says(backend: Backend, xp: Any) -> None:
    function = gradkit.jit(lambda: xp.arange(3.0) + xp.zeros(3))
    for device in backend.devices:
        with gradkit.default_device(device):
            assert function().device == device
            assert function().tolist() == [0.0, 1.0, 2.0]


def test_default_device_of_another_backend_changes_the_backend_too() -> None:
    with gradkit.default_device(gradkit.devices("strict")[2]):
        assert gradkit.current_backend().name == "strict"
        assert str(gradkit.numpy.ones(1).device) == "strict:2"
    assert gradkit.current_backend().name == "numpy"


def test_results_stay_on_the_device_of_the_arguments(backend: Backend, xp: Any) -> None:
    last = gradkit.devices()[-1]
    x, w, b = (gradkit.device_put(np.ones(shape, np.float32), last) for shape in ((2, 3), (3, 2), (2,)))

    def loss(w: Any, b: Any) -> Any:
        y = xp.tanh(x @ w + b)[xp.asarray([1, 0], device=last)]
        return xp.mean(xp.where(y > 0, y, 0.0) ** 2) + xp.logsumexp(xp.concat([y, y]), axis=1).max()

    value, gradients = gradkit.value_and_grad(loss, (0, 1))(w, b)
    assert {array.device for array in (value, *gradients)} == {last}


def test_device_put_moves_every_array_of_a_tree(backend: Backend, xp: Any) -> None:
    tree = {"x": np.ones(2, np.float32), "y": [xp.zeros(3), 1.5]}
    for device in (*gradkit.devices(), gradkit.devices("numpy")[0]):
        moved = gradkit.device_put(tree, device)
        assert {leaf.device for leaf in gradkit.tree.leaves(moved)} == {device}
        np.testing.assert_array_equal(gradkit.device_get(moved["x"]), tree["x"])
        assert gradkit.device_get(moved["y"][1]) == 1.5


def test_device_put_returns_what_is_there_already(backend: Backend, xp: Any) -> None:
    x = xp.ones(3)
    assert gradkit.device_put(x, x.device) is x
    assert gradkit.device_put(x) is x


@pytest.mark.parametrize("target", ["numpy", "strict"])
def test_device_put_is_differentiated_and_the_gradient_comes_back(target: str, backend: Backend, xp: Any) -> None:
    x, there = xp.asarray([1.0, 2.0]), gradkit.devices(target)[-1]
    gradient = gradkit.grad(lambda x: xp.sum(gradkit.device_put(x, there) ** 3))(x)
    assert gradient.device == x.device
    np.testing.assert_allclose(gradkit.device_get(gradient), [3.0, 12.0])


def test_device_get_gives_numpy_arrays_of_their_own(backend: Backend, xp: Any) -> None:
    x = xp.ones(2)
    host = gradkit.device_get({"x": x, "n": 3})
    assert type(host["x"]) is np.ndarray
    assert host["n"] == 3
    host["x"][:] = 7
    np.testing.assert_array_equal(gradkit.device_get(x), [1.0, 1.0])


def test_block_until_ready_returns_what_it_waited_for(backend: Backend, xp: Any) -> None:
    tree = {"x": xp.ones(2), "n": 3}
    assert gradkit.block_until_ready(tree) is tree
    assert tree["x"].block_until_ready() is tree["x"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: gradkit.device_put(1.0, "numpy:0"),
        lambda: gradkit.default_device("numpy:0").__enter__(),
        lambda: gradkit.numpy.ones(2, device="numpy:0"),
    ],
    ids=["device_put", "default_device", "ones"],
)
def test_what_is_no_device_is_an_error_that_says_where_devices_are(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"[Dd]evice.*one of gradkit.devices\(\), got 'numpy:0'"):
        call()
