"""The JAX backend: JAX's own transforms around gradkit's code, its compiler behind jit, devices, and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from gradkit_jax import JaxBackend

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.backend import backend_names, load_backend, register_backend

X = np.arange(1.0, 5.0, dtype=np.float32)

if "jax" not in backend_names():  # the package was installed before it had the entry point
    register_backend(JaxBackend())


@pytest.fixture(autouse=True)
def _on_jax() -> Iterator[None]:
    with gradkit.use_backend("jax"):
        yield


def of_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of gradkit's Arrays as one of JAX's arrays."""
    return lambda *arrays: function(*map(jnp.asarray, arrays)).data


def choose(m: Any, x: Any) -> Any:
    numpy = jnp if m is gradkit else J
    return m.lax.cond(x[0] > 1.5, lambda x: numpy.sin(x), lambda x: x**2, x).sum()


def walk(m: Any, x: Any) -> Any:
    return m.lax.scan(lambda c, a: (c * a + 1.0, c), 1.0, x)[0]


def count(m: Any, x: Any) -> Any:
    return m.lax.fori_loop(0, 3, lambda i, c: c * x[i] + 0.5, 1.0)


def elements(m: Any, x: Any) -> Any:
    numpy = jnp if m is gradkit else J
    return numpy.sum(x[1:] * x[:-1]) + x[numpy.asarray([0, 2])].sum() + x.at[1].set(3.0).sum()


def layers(m: Any, x: Any) -> Any:
    numpy = jnp if m is gradkit else J
    return numpy.sum(numpy.tanh(numpy.outer(x, x) @ x) / numpy.linalg.norm(x))


def gradient(m: Any, x: Any) -> Any:
    return (m.grad(lambda y: walk(m, y) * layers(m, y))(x) ** 2).sum()


def batch(m: Any, x: Any) -> Any:
    return m.vmap(lambda s: choose(m, x * s))(x).sum()


def jitted(m: Any, x: Any) -> Any:
    return m.jit(lambda y: layers(m, y) + x.sum())(x)


PROGRAMS = [choose, walk, count, elements, layers, gradient, batch, jitted]
WAYS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "jit": jax.jit,
    "grad": jax.grad,
    "vmap": lambda f: lambda x: jax.vmap(f)(J.stack([x, 2 * x])),
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "jvp": lambda f: lambda x: jax.jvp(f, (x,), (J.cos(x),))[1],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_jax_s_transforms_of_gradkit_s_code_are_those_of_the_same_code_for_jax(
    program: Callable[..., Any], way: str
) -> None:
    ours = WAYS[way](of_jax(lambda x: program(gradkit, x)))(J.asarray(X))
    theirs = WAYS[way](lambda x: program(jax, x))(J.asarray(X))
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-5, atol=1e-5)


def test_a_while_loop_whose_end_jax_traces_is_a_loop_of_jax_s() -> None:
    ours = jax.jit(of_jax(lambda x: lax.while_loop(lambda c: c < 100.0, lambda c: c * x[1], x[0])))
    assert ours(X) == 128.0
    assert "while" in str(jax.make_jaxpr(ours)(X))


def test_what_jax_follows_has_no_values_here_either() -> None:
    def look(x: Any) -> Any:
        assert float(x[0]) == 1.0
        return x.sum()

    with pytest.raises(jax.errors.JAXTypeError):
        jax.jit(of_jax(look))(X)


def test_a_function_that_jax_traced_keeps_nothing_of_that_trace() -> None:
    scale = jnp.asarray(X)
    f = gradkit.jit(lambda x: jnp.sum(x * scale) + jnp.ones(3).sum())
    first = jax.jit(of_jax(f))(X)
    assert float(f(jnp.asarray(X))) == float(first) == float(X @ X + 3)
    outer = []

    def closing(a: Any) -> Any:
        inner = gradkit.jit(lambda x: jnp.sum(x * jnp.asarray(a)))
        outer.append(inner)
        return inner(jnp.asarray(X)).data

    assert jax.jit(closing)(X) == X @ X


def test_jit_hands_the_program_to_jax_which_compiles_it_once() -> None:
    seen = []

    @gradkit.jit
    def step(w: Any, x: Any) -> Any:
        seen.append(w)
        return w - 0.1 * gradkit.grad(lambda w: jnp.sum(jnp.tanh(x @ w) ** 2))(w)

    w, x = jnp.ones((3, 2)), jnp.asarray(np.cos(np.arange(12.0, dtype=np.float32)).reshape(4, 3))
    events: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))
    results = []
    for _ in range(3):
        before = len([name for name in events if name.endswith("backend_compile_duration")])
        results.append(np.asarray(step(w, x)))
        compiled = len([name for name in events if name.endswith("backend_compile_duration")]) - before
        assert compiled <= (1 if len(results) == 1 else 0)
    assert len(seen) == 1
    assert step.lower(w, x).compile().runtime_executable().printer == "jax"
    expected = J.ones((3, 2)) - 0.1 * jax.grad(lambda w: J.sum(J.tanh(x.data @ w) ** 2))(J.ones((3, 2)))
    np.testing.assert_allclose(results[-1], expected, rtol=1e-5)


@pytest.mark.parametrize("program", [choose, walk, count], ids=lambda f: f.__name__)
def test_loops_and_choices_under_jit_are_jax_s(program: Callable[..., Any]) -> None:
    f = gradkit.jit(gradkit.value_and_grad(lambda x: program(gradkit, x)))
    value, slope = f(jnp.asarray(X))
    expected, expected_slope = jax.value_and_grad(lambda x: program(jax, x))(J.asarray(X))
    np.testing.assert_allclose([float(value), *slope.tolist()], [expected, *expected_slope], rtol=1e-5)
    assert f.lower(jnp.asarray(X)).compile().runtime_executable().printer == "jax"


def test_a_callback_under_jit_runs_at_each_call_in_order() -> None:
    seen: list[float] = []

    @gradkit.jit
    def f(x: Any) -> Any:
        gradkit.debug.callback(lambda v: seen.append(float(v)), x)
        gradkit.debug.callback(lambda v: seen.append(float(v)), x * 2)
        return x + 1

    for number in (1.0, 2.0):
        f(jnp.asarray(number))
    assert seen == [1.0, 2.0, 2.0, 4.0]


def test_a_donated_array_is_deleted_and_its_result_is_right() -> None:
    update = gradkit.jit(lambda p, g: p - 0.1 * g, donate_argnums=0)
    p = jnp.ones(3)
    q = update(p, jnp.ones(3))
    assert p.is_deleted()
    np.testing.assert_allclose(np.asarray(q), 0.9)


def test_a_network_trains_as_under_jax() -> None:
    model = nn.MLP(4, [8, 1], key=gradkit.random.key(0))
    x = jnp.asarray(np.sin(np.arange(24.0, dtype=np.float32)).reshape(6, 4))
    loss = lambda model: jnp.mean(model(x) ** 2)  # noqa: E731
    gradients = gradkit.jit(gradkit.grad(loss))(model)
    slopes = gradkit.grad(loss)(model)
    for one, other in zip(gradkit.tree.leaves(gradients), gradkit.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-5, atol=1e-6)


# Arrays in and out


def test_arrays_come_in_and_go_out_as_they_are() -> None:
    raw = J.asarray(X)
    assert jnp.asarray(raw).data is raw
    assert (jnp.asarray(raw) * 1.0).data.__class__ is raw.__class__
    where = raw.unsafe_buffer_pointer()
    assert np.asarray(jnp.asarray(raw)).ctypes.data == where
    assert np.from_dlpack(jnp.asarray(raw)).ctypes.data == where
    assert jnp.from_dlpack(raw).data is raw


@pytest.mark.parametrize("wanted", ["float32", "int32", "complex64", "bool"])
@pytest.mark.parametrize("given", ["float64", "int64", "uint64", "complex128"])
def test_a_numpy_array_of_64_bits_is_converted_to_what_is_asked_for(given: str, wanted: str) -> None:
    if given == "complex128" and wanted != "complex64":
        pytest.skip("what has no imaginary parts is not asked for by asarray of complex numbers")
    numbers = np.asarray([0.0, 1.0, 2.0]).astype(given)
    with jax.enable_x64(False):
        found = jnp.asarray(numbers, dtype=wanted)
    assert found.dtype.name == wanted
    np.testing.assert_array_equal(np.asarray(found), numbers.astype(wanted))


def test_a_numpy_array_is_copied() -> None:
    array = np.zeros(1000, np.float32)
    x = jnp.asarray(array)
    array[:] = 1.0
    assert float(x.sum()) == 0.0


def test_the_lecture_s_loop_runs_though_arrays_never_change() -> None:
    p = jnp.asarray(X)
    p.requires_grad = True
    (p**2).sum().backward()
    before = p.data
    p.data += -0.5 * p.grad
    assert p.tolist() == [0.0] * 4
    assert before.tolist() == X.tolist()


# 64 bits


def test_what_has_64_bits_is_an_error_that_says_what_to_do_while_jax_has_them_off() -> None:
    with jax.enable_x64(False):
        assert jnp.ones(2).dtype == np.float32
        assert jnp.asarray([1, 2]).dtype == np.int32
        assert jnp.asarray(np.arange(3)).dtype == np.int32  # nothing is lost
        for ask in (
            lambda: jnp.ones(2, "float64"),
            lambda: jnp.ones(2).astype("float64"),
            lambda: jnp.asarray([1.0], dtype="float64"),
            lambda: jnp.asarray(np.ones(2)),
            lambda: jnp.asarray(np.asarray([2**40])),
            lambda: jnp.zeros(2, "int64"),
            lambda: jnp.zeros(2, "complex128"),
            lambda: jnp.zeros(2).view("float64"),
            lambda: gradkit.random.bits(gradkit.random.key(0), (2,), "uint64"),
            lambda: gradkit.random.uniform(gradkit.random.key(0), (2,), "float64"),
            lambda: gradkit.random.randint(gradkit.random.key(0), (2,), 0, 9, "int64"),
            lambda: gradkit.jit(lambda x: x.astype("float64"))(jnp.ones(2)),
            lambda: gradkit.jit(lambda x: gradkit.lax.scan(lambda c, _: (c, c.astype("float64")), x, length=2))(
                jnp.ones(2)
            ),
        ):
            with pytest.raises(TypeError, match=r"x64 is off.*jax_enable_x64.*JAX_ENABLE_X64=1.*32|x64 is off.*64'"):
                ask()
        with gradkit.enable_x64(), pytest.raises(TypeError, match="float64: JAX does not have it while its x64 is off"):
            jnp.ones(2)
    with jax.enable_x64(True):
        assert jnp.asarray(np.ones(2)).dtype == np.float64
        assert (jnp.asarray(np.ones(2)) * 2).data.dtype == np.float64


def test_nothing_here_changes_jax_s_setting() -> None:
    before = jax.config.jax_enable_x64
    with jax.enable_x64(False):
        gradkit.random.permutation(gradkit.random.key(0), 5)
        jnp.sort(jnp.asarray(X))[jnp.asarray([0, 1])].sum()
    assert jax.config.jax_enable_x64 is before


def test_a_suite_may_ask_for_all_dtypes() -> None:
    with jax.enable_x64(True):
        pass
    before = jax.config.jax_enable_x64
    with load_backend("jax").with_every_dtype():
        assert jnp.ones(2, "float64").data.dtype == np.float64
    assert jax.config.jax_enable_x64 is before


# Devices, and what cannot be


DEVICES = """
import jax, numpy as np, gradkit, gradkit.numpy as jnp
from gradkit.backend import register_backend
from gradkit_jax import JaxBackend
register_backend(JaxBackend())
first, second = gradkit.devices("jax")
print(first, second, second.platform)
gradkit.set_backend("jax")
with gradkit.default_device(second):
    y = jnp.ones(3)
slope = gradkit.grad(lambda x: jnp.sum(x[1:] ** 2))(y)
print(y.device, jnp.sum(y).device, slope.device, gradkit.jit(jnp.tanh)(y).device)
x = jnp.ones(3)
print(x.device, gradkit.device_put(x, second).device, jnp.asarray(jax.device_put(np.ones(3, "f"), second.raw)).device)
f = gradkit.jit(lambda x: x * jnp.arange(3.0, device=x.device))
print(f(x).device, f(y).device, f(x).device)
try:
    jnp.ones(3, device=first) + y
except gradkit.errors.DeviceMismatchError as error:
    print(error)
mesh = jax.sharding.Mesh(jax.devices(), "i")
whole = jax.device_put(np.ones(4, "f"), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i")))
try:
    jnp.asarray(whole)
except ValueError as error:
    print(error)
"""


def test_every_device_of_jax_s_is_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEVICES],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "jax:0 jax:1 cpu",
        "jax:1 jax:1 jax:1 jax:1",
        "jax:0 jax:1 jax:1",
        "jax:0 jax:1 jax:0",
    ], done.stderr
    assert "in different places: float32[3] on jax:0 and float32[3] on jax:1" in lines[4]
    assert "lies on 2 devices" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "version, reason",
    [
        ("0.4.30", r"JAX 0\.4\.30 is too old, 0\.10 or newer is needed: pip install --upgrade 'jax>=0\.10'"),
        ("1.0", None),
    ],
)
def test_a_jax_that_is_too_old_is_said_to_be(version: str, reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "__version__", version)
    found = JaxBackend().why_unusable()
    if reason is None:
        assert found is None
    else:
        import re

        assert found is not None
        assert re.fullmatch(reason, found)


def test_a_device_that_does_not_exist_is_a_clear_error() -> None:
    from gradkit.testing.variants import variant_named

    said = variant_named("jax:7").why_not()
    assert said is not None
    assert "has no device 7" in said


def test_keys_of_jax_and_deleted_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match=r"key of jax\.random .*key_data"):
        jnp.asarray(jax.random.key(0))
    gone = J.ones(3)
    gone.delete()
    with pytest.raises(TypeError, match="has been deleted"):
        jnp.asarray(gone)
