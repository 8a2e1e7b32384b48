"""What a GPU is asked for: launches and copies, counted by tests/cuda_on_cpu."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cuda_counts import counted

import gradkit
import gradkit.numpy as jnp
import gradkit.scipy.linalg as scipy_linalg
from gradkit import lax, nn, optim
from gradkit.backend import load_backend, use_backend, why_not

REASON = why_not(load_backend("cupy"))
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(autouse=True)
def on_the_gpu() -> Iterator[None]:
    with use_backend("cupy"):
        yield


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("face", ["pure", "lecture"])
def test_a_step_of_a_classifier_is_twenty_launches_and_no_copy(activation: str, face: str) -> None:
    model = nn.MLP(64, [64, 10], activation=activation, key=gradkit.random.key(0))
    x = gradkit.random.normal(gradkit.random.key(1), (32, 64))
    y = jnp.arange(32, dtype="int32") % 10
    optimizer = optim.SGD(0.1, momentum=0.9)
    state = optimizer.init(model)
    loss_and_gradient = gradkit.value_and_grad(lambda model, x, y: nn.softmax_cross_entropy(model(x), y))

    def step() -> None:
        nonlocal model, state
        if face == "pure":
            _, gradient = loss_and_gradient(model, x, y)
            model, state = optimizer.update(model, gradient, state)
        else:
            model.zero_grad()
            nn.softmax_cross_entropy(model(x), y).backward()
            optimizer.step(model)

    step()
    with counted() as found:
        step()
    assert found["launch"] <= 20, found.log
    assert not found["to host"], found.log
    assert not found["to device"], found.log
    assert not found["wait"], found.log


def slices() -> dict[str, Callable[[], Any]]:
    x, i = jnp.reshape(jnp.arange(60.0), (5, 4, 3)), jnp.asarray(2)
    row, block = jnp.ones((1, 4, 3)), jnp.ones((2, 2, 2))
    gradient = gradkit.grad(lambda x: jnp.sum(lax.dynamic_slice(x, (i, 0, 0), (1, 4, 3)) ** 2))
    return {
        "a row": lambda: lax.dynamic_slice(x, (i, 0, 0), (1, 4, 3)),
        "a row by its number": lambda: lax.dynamic_index_in_dim(x, i, 0, keepdims=False),
        "neighbours": lambda: lax.dynamic_slice_in_dim(x, i, 2, 0),
        "a block": lambda: lax.dynamic_slice(x, (i, i, i), (1, 2, 2)),
        "one row replaced": lambda: lax.dynamic_update_slice(x, row, (i, 0, 0)),
        "one row replaced by its number": lambda: lax.dynamic_update_index_in_dim(x, row[0], i, 0),
        "one block replaced": lambda: lax.dynamic_update_slice(x, block, (i, 1, i)),
        "the derivative of a row": lambda: gradient(x),
    }


MOST_LAUNCHES = {
    "a row": 6,
    "a row by its number": 6,
    "neighbours": 8,
    "a block": 24,
    "one row replaced": 12,
    "one row replaced by its number": 12,
    "one block replaced": 31,
    "the derivative of a row": 26,
}


@pytest.mark.parametrize("name", MOST_LAUNCHES)
def test_a_slice_from_a_computed_place_waits_for_nothing(name: str) -> None:
    call = slices()[name]
    call()
    with counted() as found:
        call()
    assert not found["to host"], found.log
    assert not found["to device"], found.log
    assert not found["wait"], found.log
    assert found["launch"] <= MOST_LAUNCHES[name], found.log


def test_a_loss_is_read_while_the_next_step_runs() -> None:
    steps, rows = 6, 8
    x = gradkit.random.normal(gradkit.random.key(1), (steps * rows, 5))
    y = jnp.arange(steps * rows, dtype="int32") % 3

    def fitted() -> gradkit.train.History:
        model = nn.MLP(5, [4, 3], key=gradkit.random.key(0))
        options = {"epochs": 2, "batch_size": rows, "key": gradkit.random.key(2), "progress": False}
        return gradkit.fit(model, (x, y), optimizer=optim.SGD(0.1), **options)[1]

    with counted() as found:
        history = fitted()
    # Of each step the loss and the accuracy. What is waited for is never the step that was asked for last, but at the
    # end of an epoch.
    order = [
        {"sgd_update<float>": "step", "float32[]": "copy", "event": "wait"}.get(name, "")
        for kind, name in found.log
        if kind != "to host"
    ]
    order = [word for word in order if word]
    one = ["copy", "copy", "wait", "wait"]
    epoch = ["step", "copy", "copy", *["step", *one] * (steps - 1), "wait", "wait"]
    assert order == epoch * 2, order
    with use_backend("numpy"):
        x, y = (jnp.asarray(gradkit.device_get(array)) for array in (x, y))
        assert history["loss"] == pytest.approx(fitted()["loss"], rel=1e-5)


# Questions to the GPU

ASKING = {
    "the result's shape depends on the values": """
        argwhere compress delete extract flatnonzero intersect1d nonzero repeat setdiff1d setxor1d trim_zeros union1d
        unique unique_all unique_counts unique_inverse unique_values where""",
    "text or numbers for the host": "array_repr array_str fromiter bitcast_convert_type",
    "choices are checked": "choose",
    "until all are done": "gcd lcm",
    "the degree depends on the values": "expm expm_frechet roots",
    "cuSOLVER says whether it failed": """
        cho_factor cholesky cond eig eigh eigvals eigvalsh lstsq matrix_rank pinv polar svd svdvals""",
}
NAMESPACES = (jnp, jnp.linalg, jnp.fft, lax, nn, scipy_linalg)
SQUARE = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)


def asked_by(function: Any) -> Iterator[tuple[str, str]]:
    """Return what a function asks the GPU, with arguments of the kinds that most take, and its derivative."""
    x, i = jnp.asarray(SQUARE), jnp.asarray([[1, 0, 2], [2, 1, 0], [0, 1, 2]])
    positive = x.T @ x + jnp.eye(3)
    for arguments in ((x,), (x, positive), (positive, x), (x, i), (i,), (i, i), (x[0],), (x[0], x[1])):

        def total(first: Any, rest: Any = arguments[1:]) -> Any:
            return sum(jnp.sum(jnp.abs(result)) for result in gradkit.tree.leaves(function(first, *rest)))

        for run in (function, lambda first, *_: gradkit.grad(total)(first)):
            try:
                run(*arguments)  # which makes what is made once
                with counted() as found:
                    run(*arguments)
            except (
                TypeError,
                ValueError,
                IndexError,
                NotImplementedError,
                RuntimeError,
                AttributeError,
                LookupError,
                NameError,
            ):
                continue
            yield from (entry for entry in found.log if entry[0] in ("to host", "wait"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("namespace", NAMESPACES, ids=lambda module: module.__name__)
def test_no_function_waits_for_the_gpu_unless_it_says_why(namespace: Any) -> None:
    known = " ".join(ASKING.values()).split()
    waiting = {}
    for name in sorted(set(getattr(namespace, "__all__", dir(namespace))) - set(known)):
        function = getattr(namespace, name, None)
        if callable(function) and not isinstance(function, type):
            waiting[name] = list(asked_by(function))
    assert {name: asked[:2] for name, asked in waiting.items() if asked} == {}
    assert len(waiting) > 8
