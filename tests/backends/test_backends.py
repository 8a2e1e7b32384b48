"""The switch: which backend makes new arrays, what it brings along, and what it says when it cannot run."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import Backend, get_backend, load_backend, registry, switch, use_backend
from gradkit.cli import main
from gradkit.core.binding import bind
from gradkit.core.namespace import PRIMITIVES
from gradkit.errors import BackendNotInstalledError, BackendUnusableError, DeviceMismatchError
from gradkit.testing import assert_same_on_every_backend


class Pretended(Backend):
    """A GPU that is there or not, as a test needs it."""

    name: ClassVar[str] = "pretended"
    library: ClassVar[str] = "math"
    install: ClassVar[str] = "pip install pretended-gpu"
    platform: ClassVar[str] = "gpu"
    reason: str | None = None

    @property
    def array_types(self) -> tuple[type, ...]:
        return ()

    def why_unusable(self) -> str | None:
        return self.reason


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """A usable GPU, found by name, and no real one."""
    backend = Pretended()
    monkeypatch.setattr(registry, "INCLUDED", {name: registry.INCLUDED[name] for name in ("numpy", "strict")})
    monkeypatch.setattr(registry, "_entry_points", dict)
    monkeypatch.delitem(registry._loaded, "cupy", raising=False)
    monkeypatch.setitem(registry._loaded, "pretended", backend)
    return backend


@pytest.fixture
def process_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test change what the whole process uses."""
    monkeypatch.setattr(switch, "_process_default", None)
    monkeypatch.delenv(switch.ENVIRONMENT_VARIABLE, raising=False)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRADKIT_")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**inherited, **environment}
    )


def output(code: str, **environment: str) -> str:
    done = run_python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The switch

MADE_ON = "import gradkit.numpy as jnp; print(jnp.ones(2).device.backend)"


def test_new_arrays_are_numpy_by_default() -> None:
    assert output(MADE_ON) == "numpy"


@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_environment_variable_chooses_the_backend(name: str) -> None:
    assert output(MADE_ON, GRADKIT_BACKEND=name) == name


def test_environment_variable_with_an_unknown_name_is_an_error_that_suggests_the_nearest() -> None:
    done = run_python(MADE_ON, GRADKIT_BACKEND="nunpy")
    assert done.returncode == 1
    known = ", ".join(["auto", *registry.backend_names()])
    message = f"GRADKIT_BACKEND=nunpy: Unknown backend 'nunpy'. Known: {known}. Did you mean 'numpy'?"
    assert message in done.stderr


def test_an_empty_environment_variable_is_none() -> None:
    assert output(MADE_ON, GRADKIT_BACKEND="") == "numpy"


@pytest.mark.usefixtures("process_default")
def test_set_backend_holds_from_then_on_in_every_thread() -> None:
    gradkit.set_backend("strict")
    assert gradkit.numpy.ones(2).device.backend == "strict"
    assert in_a_thread(lambda: gradkit.numpy.ones(2).device.backend) == "strict"
    gradkit.set_backend("numpy")
    assert gradkit.numpy.ones(2).device.backend == "numpy"


@pytest.mark.usefixtures("process_default")
def test_use_backend_wins_over_set_backend_and_ends() -> None:
    gradkit.set_backend("strict")
    with gradkit.use_backend("numpy"):
        assert gradkit.current_backend().name == "numpy"
        with gradkit.use_backend("strict"):
            assert gradkit.current_backend().name == "strict"
        assert gradkit.current_backend().name == "numpy"
    assert gradkit.current_backend().name == "strict"


@pytest.mark.usefixtures("process_default")
def test_use_backend_ends_when_an_error_leaves_it() -> None:
    with pytest.raises(KeyError), gradkit.use_backend("strict"):
        raise KeyError
    assert gradkit.current_backend().name == "numpy"


@pytest.mark.usefixtures("process_default")
def test_set_backend_that_fails_changes_nothing() -> None:
    with pytest.raises(ValueError, match="Unknown backend"):
        gradkit.set_backend("nunpy")
    assert gradkit.current_backend().name == "numpy"


def test_auto_takes_a_gpu_that_can_be_used(pretended: Pretended) -> None:
    assert get_backend("auto") is pretended


def test_auto_takes_numpy_where_no_gpu_can_be_used(pretended: Pretended) -> None:
    pretended.reason = "the driver is on holiday"
    assert get_backend("auto").name == "numpy"


def test_an_operation_runs_where_its_arguments_are(backend: Backend, xp: Any) -> None:
    x = xp.ones(3)
    with use_backend("numpy"):
        y = xp.sin(x) * 2 + x
        assert y.device.backend == backend.name
        assert gradkit.grad(lambda x: xp.sum(x * x))(x).device.backend == backend.name


# Threads and tasks


def in_a_thread(f: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(f()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.usefixtures("process_default")
def test_use_backend_in_one_thread_does_not_reach_another() -> None:
    inside, done = threading.Event(), threading.Event()
    names: list[str] = []

    def other() -> None:
        with gradkit.use_backend("strict"):
            inside.set()
            done.wait(30)
            names.append(gradkit.numpy.ones(2).device.backend)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    names.append(gradkit.numpy.ones(2).device.backend)
    done.set()
    thread.join()
    assert names == ["numpy", "strict"]


@pytest.mark.usefixtures("process_default")
def test_default_device_in_one_thread_does_not_reach_another() -> None:
    with gradkit.default_device(gradkit.devices("strict")[1]):
        assert in_a_thread(lambda: gradkit.numpy.ones(2).device.backend) == "numpy"
        assert str(gradkit.numpy.ones(2).device) == "strict:1"


@pytest.mark.usefixtures("process_default")
def test_use_backend_in_one_task_does_not_reach_another() -> None:
    async def make(name: str, mine: asyncio.Event, others: asyncio.Event) -> str:
        with gradkit.use_backend(name):
            mine.set()
            await others.wait()
            return gradkit.numpy.ones(2).device.backend

    async def both() -> list[str]:
        first, second = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(make("strict", first, second), make("numpy", second, first))

    assert asyncio.run(both()) == ["strict", "numpy"]


# Names, and backends that cannot run


@pytest.mark.parametrize(
    "ask", [gradkit.set_backend, get_backend, gradkit.devices, lambda name: use_backend(name).__enter__()]
)
def test_unknown_name_lists_the_known_ones_and_suggests_the_nearest(ask: Callable[[str], Any]) -> None:
    known = ", ".join(["auto", *registry.backend_names()])
    message = rf"Unknown backend 'strikt'. Known: {known}. Did you mean 'strict'\?"
    with pytest.raises(ValueError, match=message):
        ask("strikt")


def test_a_backend_that_is_not_installed_names_the_pip_command(pretended: Pretended) -> None:
    pretended.library = "no_such_library"  # type: ignore[misc]
    message = r"'pretended' needs no_such_library, which cannot be imported \(.*\). Install it with: pip install prete"
    with pytest.raises(BackendNotInstalledError, match=message):
        get_backend("pretended")


def test_cupy_that_is_not_installed_names_the_extra() -> None:
    code = "import sys; sys.modules['cupy'] = None; import gradkit; gradkit.numpy.ones(2)"
    done = run_python(code, GRADKIT_BACKEND="cupy")
    assert done.returncode == 1
    assert (
        "BackendNotInstalledError: GRADKIT_BACKEND=cupy: The backend 'cupy' needs cupy, which cannot be imported"
        in done.stderr
    )
    assert (
        "Install it with: pip install 'gradkit[cuda13]' (or 'gradkit[cuda12]' for a driver of CUDA 12)" in done.stderr
    )


def test_a_backend_that_cannot_run_gives_its_own_reason(pretended: Pretended) -> None:
    pretended.reason = "cudaErrorNoDevice: no CUDA-capable device is detected"
    message = f"'pretended' cannot run on this machine: {pretended.reason}. `python -m gradkit info` lists"
    with pytest.raises(BackendUnusableError, match=message):
        get_backend("pretended")


def test_cupy_without_a_gpu_gives_the_words_of_cuda() -> None:
    runtime = pytest.importorskip("cupy").cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        with pytest.raises(BackendUnusableError, match=re.escape(str(error))):
            get_backend("cupy")
    else:
        assert len(get_backend("cupy").devices) == count


# Two backends, two devices


def test_two_backends_in_one_operation_are_an_error_that_names_both(backend: Backend, xp: Any) -> None:
    x, y = xp.asarray([1.0, 2.0]), gradkit.Array(np.ones(2, np.float32))
    if backend.name == "numpy":
        x = gradkit.device_put(x, gradkit.devices("strict")[0])
    for operation in (
        lambda: x + y,
        lambda: y * x,
        lambda: x @ y,
        lambda: xp.where(x > 0, x, y),
        lambda: xp.stack([x, y]),
    ):
        with pytest.raises(DeviceMismatchError) as caught:
            operation()
        for part in (f"on {x.device}", "on numpy:0", "move one with gradkit.device_put(x, y.device)"):
            assert part in str(caught.value)
    np.testing.assert_array_equal(gradkit.device_get(gradkit.device_put(x, y.device) + y), [2.0, 3.0])


@pytest.mark.skip_backend("numpy", reason="its own numbers are no other backend's")
def test_a_numpy_number_of_a_reduction_does_not_mix_with_another_backend_either(backend: Backend, xp: Any) -> None:
    total = gradkit.Array(np.ones(2, np.float32)).sum()
    with pytest.raises(DeviceMismatchError, match="on numpy:0"):
        xp.asarray([1.0, 2.0]) * total


@pytest.mark.skip_backend("numpy", reason="it has one device")
def test_two_devices_in_one_operation_are_an_error_that_names_both(backend: Backend, xp: Any) -> None:
    if len(backend.devices) < 2:
        pytest.skip(f"{backend.name} has one device here")
    first, second = backend.devices[:2]
    x, y = xp.ones((2, 2), device=first), xp.ones((2, 2), device=second)
    message = (
        rf"add got arrays in different places: float32\[2,2\] on {first} and float32\[2,2\] on {second}. .*device_put"
    )
    with pytest.raises(DeviceMismatchError, match=message):
        x + y
    with pytest.raises(DeviceMismatchError, match="matmul got arrays in different places"):
        x @ y
    np.testing.assert_array_equal(gradkit.device_get(gradkit.device_put(x, y.device) + y), np.full((2, 2), 2.0))


class DriverError(RuntimeError):
    """An error of a library's own, as CUDA's are."""


def test_an_error_of_the_library_keeps_its_kind_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(x: np.ndarray) -> np.ndarray:
        raise DriverError("cudaErrorIllegalAddress")

    monkeypatch.setitem(PRIMITIVES["tan"].kernels, np.ndarray, fails)
    with pytest.raises(RuntimeError, match=r"tan\(float32\[2\] on numpy:0\): cudaErrorIllegalAddress"):
        bind(PRIMITIVES["tan"], (gradkit.numpy.ones(2),), {})


@pytest.mark.parametrize(
    "make",
    [
        lambda jnp: jnp.ones(2, dtype="float16"),
        lambda jnp: jnp.asarray(np.ones(2, np.float16)),
        lambda jnp: jnp.asarray([1.0], dtype="float16"),
        lambda jnp: jnp.ones(2).astype("float16"),
        lambda jnp: jnp.ones(2) * np.float16(2),
        lambda jnp: gradkit.device_put(gradkit.Array(np.ones(2, np.float16)), gradkit.devices()[0]),
        lambda jnp: gradkit.nn.one_hot(jnp.asarray([1]), 3, dtype="float16"),
    ],
)
def test_a_dtype_that_the_library_does_not_have_is_an_error_that_says_so(make: Any, backend: Backend, xp: Any) -> None:
    if hasattr(backend.xp, "float16"):
        assert str(make(xp).dtype) in ("float16", "float32")
        return
    with pytest.raises(TypeError, match=rf"float16: the backend '{backend.name}'.* {backend.library} .*float32"):
        make(xp)


# What a backend has to have


def test_a_registered_backend_is_one_of_the_backends(pretended: Pretended) -> None:
    another = Pretended()
    registry.register_backend(another)
    assert "pretended" in registry.backend_names()
    assert get_backend("pretended") is another


@pytest.mark.parametrize("name", registry.backend_names())
def test_every_primitive_has_a_kernel_of_each_backend(name: str) -> None:
    backend = load_backend(name)
    pytest.importorskip(backend.library)
    for primitive in PRIMITIVES.values():
        assert callable(primitive.kernel_of(backend)), primitive


def test_no_two_backends_share_a_kernel() -> None:
    # The fast path tells backends apart by their kernels.
    backends = [load_backend(name) for name in registry.backend_names()]
    for primitive in PRIMITIVES.values():
        kernels = [primitive.kernel_of(backend) for backend in backends if installed(backend)]
        assert len({id(kernel) for kernel in kernels}) == len(kernels), primitive


def installed(backend: Backend) -> bool:
    return not isinstance(registry.why_not(backend), BackendNotInstalledError)


def test_arrays_cross_from_the_host_and_back_unchanged(backend: Backend) -> None:
    for dtype in ("bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64"):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        try:
            moved = backend.from_host(array)
        except (AttributeError, TypeError):  # the standard has no float16
            assert dtype == "float16"
            continue
        assert backend.dtype_of(moved) == array.dtype
        assert backend.dtype_name(moved) == dtype
        np.testing.assert_array_equal(backend.to_host(moved), array)
        assert backend.device(moved) == backend.devices[0]
        backend.wait(moved)


def test_threads_that_ask_for_a_backend_for_the_first_time_at_once_get_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Entry:
        def load(self) -> Any:
            time.sleep(0.01)
            return Pretended

    monkeypatch.setattr(registry, "_loaded", {})
    monkeypatch.setattr(registry, "_entry_points", lambda: {"new": Entry()})
    barrier = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: (barrier.wait(), registry.load_backend("new"))[1], range(8)))
    assert len({id(backend) for backend in found}) == 1


class Fails:
    """The entry point of a package that fails."""

    value = "theirs:Backend"
    module = "theirs"

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def load(self) -> Any:
        if self.error is not None:
            raise self.error
        return object


@pytest.mark.parametrize(
    "error, said",
    [
        (ImportError("libtheirs.so: cannot open"), "fails with ImportError: libtheirs.so: cannot open"),
        (RuntimeError("too old"), "fails with RuntimeError: too old"),
        (None, "fails with TypeError: expected a gradkit.backend.Backend, got an object of type object"),
    ],
)
def test_a_third_partys_backend_that_fails_is_named_and_the_rest_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception | None, said: str
) -> None:
    entries = registry._entry_points() | {"a_theirs": Fails(error)}
    monkeypatch.setattr(registry, "_entry_points", lambda: entries)
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    said = f"The backend 'a_theirs' cannot run on this machine: theirs:Backend, which publishes it, {said}"
    with pytest.raises(BackendUnusableError, match=re.escape(said)):
        gradkit.set_backend("a_theirs")
    with pytest.raises(TypeError, match="expected numbers or arrays"):
        jnp.asarray(object())
    assert jnp.sin(np.zeros(2)).tolist() == [0.0, 0.0]
    assert main(["info"]) == 0
    assert "a_theirs: cannot run here\n  reason    The backend 'a_theirs'" in capsys.readouterr().out
    assert_same_on_every_backend(jnp.sin, np.zeros(2))


@pytest.mark.parametrize(
    "use",
    [
        jnp.asarray,
        jnp.sin,
        gradkit.Array,
        gradkit.jit(lambda x: x + 1),
        gradkit.grad(jnp.sum),
        lambda x: jnp.ones(3) * x,
    ],
    ids=["asarray", "sin", "Array", "jit", "grad", "operator"],
)
def test_masked_arrays_are_refused(use: Callable[..., Any]) -> None:
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    with gradkit.use_backend("numpy"), pytest.raises((ValueError, TypeError), match="masked"):
        use(masked)
