"""Transfer guards: each way across between host and device, at each level, on devices that stand for GPUs."""

from __future__ import annotations

import copy
import io
import logging
import pickle  # noqa: TID251 - how it is refused
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.errors import TransferError

HOST, DEVICE, OTHER = gradkit.devices("strict")


@pytest.fixture(scope="module")
def x() -> Any:
    return gradkit.device_put(np.asarray([1.0, 2.0], "float32"), DEVICE)


TO_HOST: dict[str, Callable[[Any], Any]] = {
    "the __array__() method": np.asarray,
    "the `float` function": lambda x: float(x[0]),
    "the `int` function": lambda x: int(x[0]),
    "the `bool` function": lambda x: bool((x > 0).all()),
    "the `complex` function": lambda x: complex(x[0]),
    "the item() method": lambda x: x[0].item(),
    "the tolist() method": lambda x: x.tolist(),
    "the tobytes() method": lambda x: x.tobytes(),
    "the `str` function": print,
    "the `repr` function": repr,
    "the `format` function": lambda x: f"{x[0]:.3f}",
    "the __index__() method": lambda x: [1, 2, 3][x[0].astype(int)],
    "the __reduce__() method (pickling)": pickle.dumps,
}
TO_DEVICE: dict[str, Callable[[Any], Any]] = {
    "asarray of an array": lambda x: jnp.asarray(np.ones(2), device=DEVICE),
    "asarray of a list": lambda x: jnp.asarray([1.0, 2.0], device=DEVICE),
    "array": lambda x: jnp.array([[1.0]], device=DEVICE),
    "positions": lambda x: x[np.asarray([0, 1])],
    "values": lambda x: x.at[:].set(np.ones(2, "float32")),
}
STAYS: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda x: 2 * x + 1 - x / 3,
    "an element": lambda x: x[0],
    "a slice": lambda x: x[1:],
    "an update": lambda x: x.at[0].set(2.0),
    "a gradient": gradkit.grad(lambda x: jnp.sum(x**2)),
    "a batch": gradkit.vmap(jnp.sin),
    "compiled": gradkit.jit(lambda x: x @ x),
    "a norm": jnp.linalg.norm,
    "a deviation": jnp.std,
    "softmax": gradkit.nn.softmax,
    "sorting": jnp.argsort,
    "a copy": copy.deepcopy,
    "ones": lambda x: jnp.ones(2, device=DEVICE),
    "ones like": jnp.ones_like,
    "iterating": list,
    "NumPy's function": np.sin,
    "the shape": lambda x: (x.shape, x.dtype, len(x), x.device),
}
ASKED_FOR: dict[str, Callable[[Any], Any]] = {
    "device_get": gradkit.device_get,
    "device_get of a tree": lambda x: gradkit.device_get({"x": [x]}),
    "device_put": lambda x: gradkit.device_put(np.ones(2), DEVICE),
    "device_put of a list": lambda x: gradkit.device_put([1.0], DEVICE),
    "to another device": lambda x: gradkit.device_put(x, OTHER),
    "to the host": lambda x: x.to_device(HOST),
    "to another backend": lambda x: gradkit.device_put(x, gradkit.devices("numpy")[0]),
}


@pytest.mark.parametrize("name", TO_HOST)
def test_what_goes_to_the_host_is_refused(x: Any, name: str) -> None:
    TO_HOST[name](x)
    for guard in (gradkit.transfer_guard, gradkit.transfer_guard_device_to_host):
        with guard("disallow"), pytest.raises(TransferError) as caught:
            TO_HOST[name](x)
        assert str(caught.value).startswith("Disallowed device-to-host transfer: ")
        assert f"on strict:1, for {name}, at {__file__}:" in str(caught.value)
    with gradkit.transfer_guard_host_to_device("disallow"):
        TO_HOST[name](x)


@pytest.mark.parametrize("function", [jnp.nonzero, jnp.unique, lambda x: x[x > 0]])
def test_functions_that_read_the_values_are_refused(x: Any, function: Callable[[Any], Any]) -> None:
    function(x)
    with gradkit.transfer_guard("disallow"), pytest.raises(TransferError, match=r"device-to-host transfer: .* reads"):
        function(x)


@pytest.mark.parametrize("name", TO_DEVICE)
def test_what_comes_from_the_host_is_refused(x: Any, name: str) -> None:
    with gradkit.default_device(DEVICE):
        TO_DEVICE[name](x)
        for guard in (gradkit.transfer_guard, gradkit.transfer_guard_host_to_device):
            with guard("disallow"), pytest.raises(TransferError, match=r"^Disallowed host-to-device transfer: .* to "):
                TO_DEVICE[name](x)


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_on_the_device_is_not_guarded(x: Any, name: str) -> None:
    with gradkit.transfer_guard("disallow_explicit"):
        STAYS[name](x)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_what_is_asked_for_is_refused_by_the_last_level_alone(x: Any, name: str) -> None:
    with gradkit.transfer_guard("disallow"):
        ASKED_FOR[name](x)
    with gradkit.transfer_guard("disallow_explicit"), pytest.raises(RuntimeError, match=r"Disallowed .* transfer: "):
        ASKED_FOR[name](x)


def test_nothing_crosses_on_the_host() -> None:
    for backend in ("numpy", "strict"):
        with gradkit.use_backend(backend), gradkit.transfer_guard("disallow_explicit"):
            y = jnp.asarray(np.ones(2))
            assert float(y[0]) == 1.0
            assert gradkit.device_get(y).tolist() == [1.0, 1.0]
            repr(y)


class Lines(logging.Handler):
    """What the logger is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_log(x: Any) -> None:
    logger, handler = logging.getLogger("gradkit.transfers"), Lines()
    logger.addHandler(handler)
    logger.propagate, before = False, logger.propagate
    try:
        with gradkit.transfer_guard("log"):
            float(x[1])
            gradkit.device_get(x)
        (line,) = handler.lines
        assert line.startswith(
            f"device-to-host transfer: float32[] on strict:1, for the `float` function, at {__file__}"
        )
        with gradkit.transfer_guard("log_explicit"):
            gradkit.device_get(x)
        assert len(handler.lines) == 2
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def test_blocks_nest_and_belong_to_their_thread(x: Any) -> None:
    found: list[float] = []
    with gradkit.transfer_guard("disallow"):
        thread = threading.Thread(target=lambda: found.append(float(x[0])))
        thread.start()
        thread.join()
        with gradkit.transfer_guard("allow"):
            float(x[0])
        with pytest.raises(TransferError):
            float(x[0])
    assert found == [1.0]
    float(x[0])


def test_the_setting_is_the_processs(x: Any) -> None:
    names = ["jax_transfer_guard", *(f"jax_transfer_guard_{each}" for each in gradkit.transfers.DIRECTIONS)]
    gradkit.config.update("jax_transfer_guard", "disallow")
    try:
        assert {gradkit.config.values[name] for name in names} == {"disallow"}
        errors: list[Exception] = []

        def other_thread() -> None:
            try:
                float(x[0])
            except TransferError as error:
                errors.append(error)

        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        assert len(errors) == 1
        gradkit.config.update("jax_transfer_guard_device_to_host", "allow")
        float(x[0])
        assert gradkit.config.values["jax_transfer_guard"] is None
    finally:
        gradkit.config.update("jax_transfer_guard", "allow")


def test_bad_levels() -> None:
    said = "Unknown level 'forbid'. Known: allow, disallow, disallow_explicit, log, log_explicit."
    with pytest.raises(ValueError, match=f"transfer_guard: {said}"), gradkit.transfer_guard("forbid"):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match=r"config\.update"):
        gradkit.config.update("jax_transfer_guard", "forbid")


def test_saving_is_no_transfer_that_was_asked_for(x: Any) -> None:
    with gradkit.transfer_guard("disallow"), pytest.raises(TransferError):
        gradkit.save(io.BytesIO(), {"x": x})
