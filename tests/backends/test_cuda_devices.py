"""Two GPUs, pretended by tests/cuda_on_cpu: whatever the current one is, an operation runs where its arguments are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cupy = pytest.importorskip("cupy")
if not hasattr(cupy, "_ledger"):
    pytest.skip("this run does without tests/cuda_on_cpu", allow_module_level=True)


def test_operations_run_where_their_arguments_are() -> None:
    support = Path(__file__).parents[1] / "support"
    paths = os.pathsep.join([os.fspath(support), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error", Path(__file__)],
        env=os.environ | {"CUDA_ON_CPU_DEVICES": "2", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_kernels(backend: Any) -> list[str]:
    """Call every primitive that has a case with arrays of the second GPU, while the first one is current."""
    from kernel_cases import CALLS

    from gradkit.core.namespace import PRIMITIVES

    second, wrong = backend.raw_devices()[1], []
    for name, args, params in CALLS:
        arrays = [backend.from_host(arg, second) for arg in args]
        try:
            got = PRIMITIVES[name].kernel_of(backend)(*arrays, **params)
        except RuntimeWarning as error:
            wrong.append(f"{name}: {error}")
            continue
        if got.device.id != 1:
            wrong.append(f"{name}: the result is on the current GPU")
    return wrong


def check_transfer() -> None:
    """An array goes to another GPU and its gradient comes back, not by the host."""
    import gradkit
    from gradkit.core.values import host

    first, second = gradkit.devices("cupy")
    x = gradkit.device_put(gradkit.numpy.asarray([1.0, 2.0]), first)
    before = cupy._ledger.counts["to host"]
    y, pull = gradkit.vjp(lambda x: x.to_device(second), x)
    assert y.device == second
    (gradient,) = pull(y)
    assert gradient.device == first
    assert cupy._ledger.counts["to host"] == before
    np.testing.assert_array_equal(host(gradient), [1.0, 2.0])


def check_steps() -> None:
    """A network on the second GPU takes its steps there, and one on both has the gradients of one on one."""
    import gradkit
    import gradkit.numpy as jnp
    from gradkit import nn, optim

    first, second = gradkit.devices("cupy")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), dtype="float32")
    labels = jnp.asarray([0, 1, 1, 0, 1])
    model = nn.MLP(3, [4, 2], key=gradkit.random.key(0))

    def loss(model: Any, x: Any, labels: Any) -> Any:
        return nn.softmax_cross_entropy(model(x), labels)

    expected = gradkit.grad(loss)(model, x, labels)
    there = gradkit.device_put((model, x, labels), second)
    got = gradkit.grad(loss)(*there)
    for one, other in zip(gradkit.tree.leaves(got), gradkit.tree.leaves(expected), strict=True):
        assert one.device == second
        np.testing.assert_allclose(host(one), host(other), rtol=1e-6)

    optimizer = optim.SGD(0.1, momentum=0.9)
    new, _ = optimizer.update(there[0], got, optimizer.init(there[0]))
    assert all(leaf.device == second for leaf in gradkit.tree.leaves(new))

    def on_both(w: Any) -> Any:
        y = jnp.tanh(x[:, :1] * w)
        z = (y * 2.0).to_device(second)
        return jnp.sum((z * z).to_device(first) * y + y)

    w = jnp.asarray([0.5, -1.0, 2.0])
    on_one = gradkit.grad(lambda w: jnp.sum(4.0 * jnp.tanh(x[:, :1] * w) ** 3 + jnp.tanh(x[:, :1] * w)))(w)
    np.testing.assert_allclose(host(gradkit.grad(on_both)(w)), host(on_one), rtol=1e-5)


def host(x: Any) -> Any:
    import gradkit

    return gradkit.device_get(x)


if __name__ == "__main__":
    import gradkit

    gradkit.set_backend("cupy")
    from gradkit.backend import load_backend

    found = check_kernels(load_backend("cupy"))
    check_transfer()
    check_steps()
    sys.exit("\n".join(found) or None)
