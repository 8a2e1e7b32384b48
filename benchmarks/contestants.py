"""The same training step, written for each library the way its own documentation writes it.

A contestant is a function from a `Problem` and a target to a `Run`. It imports its library inside, since each runs
in a process of its own and pays for no other's threads or memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from problem import LEARNING_RATE, Problem


@dataclass(frozen=True)
class Target:
    """Where a comparison runs: what each library calls the place.

    Attributes
    ----------
    backend : str
        gradkit's name of it.
    library : str
        The module with NumPy's interface that hand-written code uses there.
    torch_device : str
        PyTorch's name of it.
    synchronize : str or None
        "module:function" that waits for the device, for the hand-written code; None where calls return when done.
    """

    backend: str
    library: str
    torch_device: str
    synchronize: str | None


TARGETS = {
    "numpy": Target("numpy", "numpy", "cpu", None),
    "cupy": Target("cupy", "cupy", "cuda", "cupy.cuda.runtime:deviceSynchronize"),
}


@dataclass(frozen=True)
class Run:
    """A prepared training run.

    Attributes
    ----------
    step : callable
        Does one step and returns its loss (before the update), in the library's own type.
    wait : callable
        Returns when everything that was started is done.
    """

    step: Callable[[], Any]
    wait: Callable[[], None]


def done() -> None:
    """Wait for a device whose calls return when they are done."""


def resolve(reference: str) -> Callable[[], Any]:
    """Return the function that "module:function" names."""
    module, _, function = reference.partition(":")
    resolved: Callable[[], Any] = getattr(importlib.import_module(module), function)
    return resolved


def hand_written(problem: Problem, target: Target) -> Run:
    """Backpropagation by hand: what a good NumPy programmer writes, in place where an array is free."""
    np = importlib.import_module(target.library)
    weights = [np.array(w) for w, _ in problem.layers]
    biases = [np.array(b) for _, b in problem.layers]
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    last = len(weights) - 1
    # Of mean((output - y) ** 2); the learning rate could hide in this factor as well, but then dw is no gradient.
    slope = 2 / y.size

    def step() -> Any:
        inputs = [x]
        for i in range(last):
            hidden = inputs[i] @ weights[i]
            hidden += biases[i]
            inputs.append(np.tanh(hidden, out=hidden))
        error = inputs[last] @ weights[last]
        error += biases[last]
        error -= y
        loss = (error * error).mean()
        error *= slope
        g = error
        for i in range(last, -1, -1):
            h = inputs[i]
            dw = h.T @ g
            db = g.sum(axis=0)
            if i:
                g = g @ weights[i].T
                g *= 1 - h * h
            dw *= LEARNING_RATE
            weights[i] -= dw
            db *= LEARNING_RATE
            biases[i] -= db
        return loss

    return Run(step, done if target.synchronize is None else resolve(target.synchronize))


def gradkit_model(problem: Problem) -> tuple[Any, Any, Any]:
    """Build gradkit's MLP with the problem's weights, and its batch, on the current backend."""
    import gradkit
    import gradkit.numpy as jnp

    n_in, *n_outs = problem.size.widths
    key = gradkit.random.key(0)
    model = gradkit.nn.MLP(n_in, n_outs, activation="tanh", final_activation="identity", key=key)
    leaves, structure = gradkit.tree.flatten(model)
    ours = [jnp.asarray(array) for pair in problem.layers for array in pair]
    if [leaf.shape for leaf in leaves] != [leaf.shape for leaf in ours]:
        raise ValueError(f"MLP's leaves have shapes {[leaf.shape for leaf in leaves]}, the problem's another order")
    model = gradkit.tree.unflatten(structure, ours)
    return model, jnp.asarray(problem.x), jnp.asarray(problem.y)


def gradkit_pure(problem: Problem, target: Target) -> Run:
    """gradkit, JAX's way: a pure loss, `value_and_grad`, and an update that returns a new model."""
    import gradkit

    gradkit.set_backend(target.backend)
    model, x, y = gradkit_model(problem)
    optimizer = gradkit.optim.SGD(LEARNING_RATE)
    state = optimizer.init(model)

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return gradkit.nn.mse(model(x), y)

    loss_and_gradient = gradkit.value_and_grad(loss_fn)

    def step() -> Any:
        nonlocal model, state
        loss, gradient = loss_and_gradient(model, x, y)
        model, state = optimizer.update(model, gradient, state)
        return loss

    def wait() -> None:
        gradkit.block_until_ready(model)

    return Run(step, wait)


def gradkit_lecture(problem: Problem, target: Target) -> Run:
    """gradkit, the lecture's way: `loss.backward()`, and an optimizer that updates the model in place."""
    import gradkit

    gradkit.set_backend(target.backend)
    model, x, y = gradkit_model(problem)
    model = model.requires_grad_()
    optimizer = gradkit.optim.SGD(LEARNING_RATE)

    def step() -> Any:
        loss = gradkit.nn.mse(model(x), y)
        model.zero_grad()
        loss.backward()
        optimizer.step(model)
        return loss

    def wait() -> None:
        gradkit.block_until_ready(model)

    return Run(step, wait)


def gradkit_plain(problem: Problem, target: Target) -> Run:
    """gradkit, as plain JAX code is written: a list of pairs, operators, and `tree.map` as the update."""
    import gradkit
    import gradkit.numpy as jnp

    gradkit.set_backend(target.backend)
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.layers]
    x, y = jnp.asarray(problem.x), jnp.asarray(problem.y)

    def loss_fn(params: Any, x: Any, y: Any) -> Any:
        *hidden, (last_w, last_b) = params
        for w, b in hidden:
            x = jnp.tanh(x @ w + b)
        return jnp.mean((x @ last_w + last_b - y) ** 2)

    loss_and_gradient = gradkit.value_and_grad(loss_fn)

    def step() -> Any:
        nonlocal params
        loss, gradient = loss_and_gradient(params, x, y)
        params = gradkit.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient)
        return loss

    def wait() -> None:
        gradkit.block_until_ready(params)

    return Run(step, wait)


def torch_eager(problem: Problem, target: Target) -> Run:
    """PyTorch without `torch.compile`, with its defaults."""
    import torch

    layers: list[torch.nn.Module] = []
    for weight, bias in problem.layers:
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data = torch.tensor(weight.T.copy())
        linear.bias.data = torch.tensor(bias)
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1]).to(target.torch_device)
    x = torch.tensor(problem.x, device=target.torch_device)
    y = torch.tensor(problem.y, device=target.torch_device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Run(step, done if target.torch_device == "cpu" else torch.cuda.synchronize)


def autograd(problem: Problem, target: Target) -> Run:
    """HIPS autograd: `value_and_grad` of a function of a list of pairs, and a list comprehension as the update."""
    import autograd.numpy as np
    from autograd import value_and_grad

    layers = list(problem.layers)
    x, y = problem.x, problem.y

    def loss_fn(layers: Any) -> Any:
        hidden = x
        for weight, bias in layers[:-1]:
            hidden = np.tanh(hidden @ weight + bias)
        weight, bias = layers[-1]
        error = hidden @ weight + bias - y
        return np.mean(error * error)

    loss_and_gradient = value_and_grad(loss_fn)

    def step() -> Any:
        nonlocal layers
        loss, gradients = loss_and_gradient(layers)
        layers = [
            (weight - LEARNING_RATE * d_weight, bias - LEARNING_RATE * d_bias)
            for (weight, bias), (d_weight, d_bias) in zip(layers, gradients, strict=True)
        ]
        return loss

    return Run(step, done)


def mygrad(problem: Problem, target: Target) -> Run:
    """MyGrad, with its memory guard off, as its documentation advises where speed matters."""
    import mygrad as mg

    mg.turn_memory_guarding_off()
    layers = [(mg.tensor(weight), mg.tensor(bias)) for weight, bias in problem.layers]
    x, y = problem.x, problem.y

    def step() -> Any:
        hidden = x
        for weight, bias in layers[:-1]:
            hidden = mg.tanh(hidden @ weight + bias)
        weight, bias = layers[-1]
        error = hidden @ weight + bias - y
        loss = mg.mean(error * error)
        loss.backward()
        for weight, bias in layers:
            weight.data -= LEARNING_RATE * weight.grad
            bias.data -= LEARNING_RATE * bias.grad
        return loss

    return Run(step, done)


@dataclass(frozen=True)
class Contestant:
    """One column of the table.

    Attributes
    ----------
    title : str
        What the table calls it.
    prepare : callable
        Builds its `Run`.
    packages : tuple of str
        What it imports, and whose versions the table gives.
    targets : frozenset of str
        Where it can run.
    """

    title: str
    prepare: Callable[[Problem, Target], Run]
    packages: tuple[str, ...]
    targets: frozenset[str] = frozenset(TARGETS)


ONLY_CPU = frozenset({"numpy"})

BASELINE = "by-hand"

CONTESTANTS = {
    BASELINE: Contestant("by hand", hand_written, ("numpy",)),
    "gradkit-pure": Contestant("gradkit, pure", gradkit_pure, ("gradkit",)),
    "gradkit-lecture": Contestant("gradkit, lecture", gradkit_lecture, ("gradkit",)),
    "gradkit-plain": Contestant("gradkit, plain JAX", gradkit_plain, ("gradkit",)),
    "torch": Contestant("PyTorch eager", torch_eager, ("torch",)),
    "autograd": Contestant("autograd", autograd, ("autograd",), ONLY_CPU),
    "mygrad": Contestant("MyGrad", mygrad, ("mygrad",), ONLY_CPU),
    "by-hand-again": Contestant("by hand, again", hand_written, ("numpy",)),
}
