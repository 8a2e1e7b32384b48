"""The training step of `problem.py` compiled, for each library that compiles, and what it is measured against.

A contestant is a function from a `Problem` to a `CompiledRun`. It imports its library inside, since each runs in a
process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import contestants
from contestants import TARGETS, done, gradkit_model
from problem import LEARNING_RATE, Problem

SCANNED = 50
"""The steps of a call of the contestants that scan."""


@dataclass(frozen=True)
class CompiledRun:
    """A prepared training run.

    Attributes
    ----------
    call : callable
        Does `steps` steps and returns their losses (each before its update); None if it computes no loss.
    wait : callable
        Returns when everything that was started is done.
    steps : int
        The steps of a call.
    """

    call: Callable[[], Any]
    wait: Callable[[], Any]
    steps: int = 1


def eager(prepare: Callable[..., contestants.Run]) -> Callable[[Problem], CompiledRun]:
    """Return a contestant of `contestants.py` as one of these."""

    def prepared(problem: Problem) -> CompiledRun:
        run = prepare(problem, TARGETS["numpy"])
        return CompiledRun(run.step, run.wait)

    return prepared


def products_alone(problem: Problem) -> CompiledRun:
    """Do the step's products of matrices and nothing else, into arrays that are there: what no step can be below."""
    import numpy as np

    weights = [w for w, _ in problem.layers]
    inputs = [np.tanh(problem.x)]
    for w in weights:
        inputs.append(np.tanh(inputs[-1] @ w))
    slopes = [np.ones_like(x) for x in inputs[1:]]
    out = [np.empty_like(x) for x in inputs[1:]]
    d_weights, d_inputs = [np.empty_like(w) for w in weights], [np.empty_like(x) for x in inputs]

    def call() -> None:
        for i, w in enumerate(weights):
            np.matmul(inputs[i], w, out=out[i])
        for i, w in reversed(list(enumerate(weights))):
            np.matmul(inputs[i].T, slopes[i], out=d_weights[i])
            if i:
                np.matmul(slopes[i], w.T, out=d_inputs[i])

    return CompiledRun(call, done)


def plain_step(jax: Any, jnp: Any, problem: Problem) -> tuple[Callable[[Any], Any], Any]:
    """Return the step as plain JAX code is written, and its first parameters."""
    x, y = jnp.asarray(problem.x), jnp.asarray(problem.y)

    def loss_fn(params: Any, x: Any, y: Any) -> Any:
        *hidden, (last_w, last_b) = params
        for w, b in hidden:
            x = jnp.tanh(x @ w + b)
        return jnp.mean((x @ last_w + last_b - y) ** 2)

    def step(params: Any, x: Any, y: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_fn)(params, x, y)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient), loss

    return lambda params: step(params, x, y), [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.layers]


def jitted(library: str) -> Callable[[Problem], CompiledRun]:
    """Return the contestant that jits the plain step, batch and parameters its arguments."""

    def prepared(problem: Problem) -> CompiledRun:
        jax, jnp = importlib.import_module(library), importlib.import_module(f"{library}.numpy")
        x, y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.layers]

        def loss_fn(params: Any, x: Any, y: Any) -> Any:
            *hidden, (last_w, last_b) = params
            for w, b in hidden:
                x = jnp.tanh(x @ w + b)
            return jnp.mean((x @ last_w + last_b - y) ** 2)

        @jax.jit
        def step(params: Any, x: Any, y: Any) -> Any:
            loss, gradient = jax.value_and_grad(loss_fn)(params, x, y)
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient), loss

        def call() -> Any:
            nonlocal params
            params, loss = step(params, x, y)
            return loss

        return CompiledRun(call, lambda: jax.block_until_ready(params))

    return prepared


def scanned(library: str) -> Callable[[Problem], CompiledRun]:
    """Return the contestant that jits a `lax.scan` of `SCANNED` plain steps."""

    def prepared(problem: Problem) -> CompiledRun:
        jax, jnp = importlib.import_module(library), importlib.import_module(f"{library}.numpy")
        step, params = plain_step(jax, jnp, problem)
        steps = jax.jit(lambda params: jax.lax.scan(lambda p, _: step(p), params, None, length=SCANNED))

        def call() -> Any:
            nonlocal params
            params, losses = steps(params)
            return losses

        return CompiledRun(call, lambda: jax.block_until_ready(params), SCANNED)

    return prepared


def gradkit_nn(problem: Problem) -> CompiledRun:
    """gradkit's `nn.MLP` and `optim.SGD`, the step jitted."""
    import gradkit

    model, x, y = gradkit_model(problem)
    optimizer = gradkit.optim.SGD(LEARNING_RATE)
    state = optimizer.init(model)

    @gradkit.jit
    def step(model: Any, state: Any, x: Any, y: Any) -> Any:
        loss, gradient = gradkit.value_and_grad(lambda model: gradkit.nn.mse(model(x), y))(model)
        return *optimizer.update(model, gradient, state), loss

    def call() -> Any:
        nonlocal model, state
        model, state, loss = step(model, state, x, y)
        return loss

    return CompiledRun(call, lambda: gradkit.block_until_ready(model))


def pytensor(problem: Problem) -> CompiledRun:
    """PyTensor in Numba's mode: parameters and batch are shared variables, the update is the function's."""
    import pytensor
    import pytensor.tensor as pt

    layers = [(pytensor.shared(w), pytensor.shared(b)) for w, b in problem.layers]
    x, y = pytensor.shared(problem.x), pytensor.shared(problem.y)
    hidden = x
    for w, b in layers[:-1]:
        hidden = pt.tanh(hidden @ w + b)
    w, b = layers[-1]
    loss = ((hidden @ w + b - y) ** 2).mean(dtype="float32")
    params = [p for pair in layers for p in pair]
    rate = problem.x.dtype.type(LEARNING_RATE)
    updates = [(p, p - rate * g) for p, g in zip(params, pytensor.grad(loss, params), strict=True)]
    return CompiledRun(pytensor.function([], loss, updates=updates, mode="NUMBA"), done)


def mlx(problem: Problem) -> CompiledRun:
    """MLX on the CPU: a compiled step, evaluated step by step."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    params = [mx.array(a) for pair in problem.layers for a in pair]
    x, y = mx.array(problem.x), mx.array(problem.y)

    def loss_fn(params: Any, x: Any, y: Any) -> Any:
        for i in range(0, len(params) - 2, 2):
            x = mx.tanh(x @ params[i] + params[i + 1])
        return mx.mean((x @ params[-2] + params[-1] - y) ** 2)

    @mx.compile
    def step(params: Any, x: Any, y: Any) -> Any:
        loss, gradients = mx.value_and_grad(loss_fn)(params, x, y)
        return [p - LEARNING_RATE * g for p, g in zip(params, gradients, strict=True)], loss

    def call() -> Any:
        nonlocal params
        params, loss = step(params, x, y)
        mx.eval(params, loss)
        return loss

    return CompiledRun(call, done)


def torch_compiled(problem: Problem) -> CompiledRun:
    """PyTorch's functional gradients in a compiled step."""
    import torch

    params = [torch.tensor(a) for pair in problem.layers for a in pair]
    x, y = torch.tensor(problem.x), torch.tensor(problem.y)

    def loss_fn(params: Any) -> Any:
        h = x
        for i in range(0, len(params) - 2, 2):
            h = torch.tanh(h @ params[i] + params[i + 1])
        return torch.mean((h @ params[-2] + params[-1] - y) ** 2)

    @torch.compile
    def step(params: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_fn)(params)
        return [p - LEARNING_RATE * g for p, g in zip(params, gradients, strict=True)], loss

    def call() -> Any:
        nonlocal params
        with torch.no_grad():
            params, loss = step(params)
        return loss

    return CompiledRun(call, done)


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes
    ----------
    title : str
        What the table calls it.
    prepare : callable
        Builds its `CompiledRun`.
    packages : tuple of str
        What it imports, and whose versions the table gives.
    environment : dict of str to str
        What its process is told.
    """

    title: str
    prepare: Callable[[Problem], CompiledRun]
    packages: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


BASELINE = "jax-jit"
BY_HAND = "by-hand"
NATIVE = {"GRADKIT_COMPILER": "native"}
NUMPY = {"GRADKIT_COMPILER": "numpy"}
WITH_EXTRA = "gradkit", "llvmlite", "scipy"

CONTESTANTS = {
    BY_HAND: Contestant("NumPy by hand", eager(contestants.hand_written), ("numpy",)),
    "products": Contestant("products alone", products_alone, ("numpy",)),
    "gradkit-plain": Contestant("gradkit eager, plain", eager(contestants.gradkit_plain), ("gradkit",)),
    "gradkit-nn": Contestant("gradkit eager, nn", eager(contestants.gradkit_pure), ("gradkit",)),
    "gradkit-jit": Contestant("gradkit jit, plain", jitted("gradkit"), WITH_EXTRA, NATIVE),
    "gradkit-jit-nn": Contestant("gradkit jit, nn", gradkit_nn, WITH_EXTRA, NATIVE),
    "gradkit-jit-numpy": Contestant("gradkit jit by NumPy alone", jitted("gradkit"), ("gradkit",), NUMPY),
    "gradkit-scan": Contestant(f"gradkit scan of {SCANNED}", scanned("gradkit"), WITH_EXTRA, NATIVE),
    BASELINE: Contestant("jax.jit", jitted("jax"), ("jax", "jaxlib")),
    "jax-scan": Contestant(f"jax lax.scan of {SCANNED}", scanned("jax"), ("jax", "jaxlib")),
    "pytensor": Contestant("PyTensor, Numba", pytensor, ("pytensor", "numba")),
    "mlx": Contestant("MLX, cpu", mlx, ("mlx",)),
    "torch": Contestant("PyTorch eager", eager(contestants.torch_eager), ("torch",)),
    "torch-compile": Contestant("torch.compile", torch_compiled, ("torch",)),
    "autograd": Contestant("autograd", eager(contestants.autograd), ("autograd",)),
}
