"""The training step of `problem.py` on a GPU, for each library there, in the dtypes that GPUs multiply.

A contestant is a function from a `Problem`, a `Mode` and a platform to a `Run`. It imports its library inside, since
each runs in a process of its own, and raises `Missing` with the reason where it cannot take part.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contestants import gradkit_model
from problem import LEARNING_RATE, Problem

SCANNED = 20
"""How many steps a call of `lax.scan` does."""


class Missing(Exception):
    """A contestant cannot take part, for the reason that this says."""


@dataclass(frozen=True)
class Mode:
    """In what numbers a step is computed.

    Attributes
    ----------
    name : str
        What tables call it.
    dtype : str
        Of parameters and data.
    precision : str
        How float32 is multiplied, in JAX's words.
    tolerance : float
        How far the first losses may be from those of the reference, relative to them.
    """

    name: str
    dtype: str
    precision: str
    tolerance: float


MODES = {
    mode.name: mode
    for mode in (
        Mode("float32", "float32", "highest", 1e-4),
        Mode("TF32", "float32", "tensorfloat32", 2e-2),
        Mode("bfloat16", "bfloat16", "highest", 2e-1),
        Mode("float16", "float16", "highest", 5e-2),
    )
}


@dataclass(frozen=True)
class Run:
    """A prepared training run.

    Attributes
    ----------
    call : callable
        Does `steps` steps and returns the loss of the last one (before its update), in the library's own type.
    wait : callable
        Returns when everything that was started is done.
    memory : callable
        Returns the bytes of the device that the library holds, or None where it does not tell.
    steps : int
        How many steps a call does.
    offset : int
        How many steps were done before the first call.
    """

    call: Callable[[], Any]
    wait: Callable[[], None]
    memory: Callable[[], int | None]
    steps: int = 1
    offset: int = 0


def gradkit_device(backend: str, platform: str) -> Any:
    """Return the backend's first device of a platform, and have gradkit make new arrays there."""
    import gradkit

    try:
        found = [device for device in gradkit.devices(backend) if device.platform == platform]
    except Exception as error:
        raise Missing(f"{type(error).__name__}: {error}") from error
    if not found:
        raise Missing(f"the backend {backend!r} has no device of the platform {platform!r} here")
    gradkit.set_backend(backend)
    return found[0]


def gradkit_step(problem: Problem, mode: Mode, platform: str, backend: str, jitted: bool) -> Run:
    """gradkit: a pure loss, `value_and_grad`, and an update that returns a new model."""
    import gradkit

    device = gradkit_device(backend, platform)
    gradkit.config.update("jax_default_matmul_precision", mode.precision)
    model, x, y = gradkit.device_put(gradkit_model(problem), device)
    if mode.dtype != "float32":
        model, x, y = gradkit.tree.map(lambda leaf: leaf.astype(mode.dtype), (model, x, y))
    optimizer = gradkit.optim.SGD(LEARNING_RATE)
    state = optimizer.init(model)

    def take_step(model: Any, state: Any, x: Any, y: Any) -> Any:
        loss, gradient = gradkit.value_and_grad(lambda model: gradkit.nn.mse(model(x), y))(model)
        return *optimizer.update(model, gradient, state), loss

    function = gradkit.jit(take_step, donate_argnums=(0, 1)) if jitted else take_step

    def call() -> Any:
        nonlocal model, state
        model, state, loss = function(model, state, x, y)
        return loss

    def wait() -> None:
        gradkit.block_until_ready(gradkit.tree.leaves(model))

    return Run(call, wait, POOLS[backend])


def cupy_memory() -> int | None:
    """Return what CuPy's pool holds of the device."""
    import cupy

    return int(cupy.get_default_memory_pool().total_bytes())


def torch_memory() -> int | None:
    """Return the most memory that PyTorch has had of the device."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None


def jax_memory() -> int | None:
    """Return the most memory that JAX has had of the device."""
    import jax

    statistics = jax.devices()[0].memory_stats()
    return None if statistics is None else int(statistics["peak_bytes_in_use"])


POOLS: dict[str, Callable[[], int | None]] = {"cupy": cupy_memory, "torch": torch_memory, "jax": jax_memory}


def torch_place(mode: Mode, platform: str) -> tuple[Any, str, Any]:
    """Return PyTorch, the device and the dtype, with products of float32 as the mode has them."""
    torch = imported("torch")
    if platform == "gpu" and not torch.cuda.is_available():
        raise Missing(f"PyTorch {torch.__version__} finds no CUDA device")
    torch.set_float32_matmul_precision("high" if mode.precision == "tensorfloat32" else "highest")
    return torch, "cuda" if platform == "gpu" else "cpu", getattr(torch, mode.dtype)


def torch_parts(problem: Problem, mode: Mode, platform: str) -> tuple[Any, Any, Any]:
    """Return PyTorch, its waiting, and a function that does a step and returns the loss."""
    torch, device, dtype = torch_place(mode, platform)
    layers: list[Any] = []
    for weight, bias in problem.layers:
        linear = torch.nn.Linear(*weight.shape, device="meta")
        linear.weight = torch.nn.Parameter(torch.tensor(weight.T.copy(), device=device, dtype=dtype))
        linear.bias = torch.nn.Parameter(torch.tensor(bias, device=device, dtype=dtype))
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    x, y = (torch.tensor(array, device=device, dtype=dtype) for array in (problem.x, problem.y))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return torch, torch.cuda.synchronize if device == "cuda" else lambda: None, step


def torch_eager(problem: Problem, mode: Mode, platform: str) -> Run:
    """PyTorch without `torch.compile`, with its defaults."""
    _, wait, step = torch_parts(problem, mode, platform)
    return Run(step, wait, torch_memory)


def torch_graph(problem: Problem, mode: Mode, platform: str) -> Run:
    """PyTorch's whole step, captured into a CUDA graph and replayed."""
    if platform != "gpu":
        raise Missing("a CUDA graph needs a GPU")
    torch, wait, step = torch_parts(problem, mode, platform)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def call() -> Any:
        graph.replay()
        return loss

    return Run(call, wait, torch_memory, offset=WARM)


WARM = 3
"""Steps that PyTorch does before it captures."""


def jax_parts(problem: Problem, mode: Mode, platform: str) -> tuple[Any, Any, Any, Any, Any]:
    """Return JAX, the parameters, x and y, and a step of them."""
    jax = imported("jax")
    try:
        device = jax.devices(platform)[0]
    except RuntimeError as error:
        raise Missing(f"JAX {jax.__version__}: {error}") from error
    jax.config.update("jax_default_matmul_precision", mode.precision)
    jax.config.update("jax_default_device", device)
    put = jax.tree.map(lambda array: jax.device_put(array, device).astype(mode.dtype), problem.layers)
    x, y = (jax.device_put(array, device).astype(mode.dtype) for array in (problem.x, problem.y))

    def loss_fn(params: Any, x: Any, y: Any) -> Any:
        *hidden, (last_w, last_b) = params
        for w, b in hidden:
            x = jax.numpy.tanh(x @ w + b)
        return jax.numpy.mean((x @ last_w + last_b - y) ** 2)

    def step(params: Any, x: Any, y: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_fn)(params, x, y)
        return jax.tree.map(lambda p, g: p - jax.numpy.asarray(LEARNING_RATE, p.dtype) * g, params, gradient), loss

    return jax, put, x, y, step


def jax_jit(problem: Problem, mode: Mode, platform: str) -> Run:
    """JAX, a call of a jitted step for each; its parameters are donated."""
    jax, params, x, y, step = jax_parts(problem, mode, platform)
    compiled = jax.jit(step, donate_argnums=0)

    def call() -> Any:
        nonlocal params
        params, loss = compiled(params, x, y)
        return loss

    return Run(call, lambda: jax.block_until_ready(params), jax_memory)


def jax_scan(problem: Problem, mode: Mode, platform: str) -> Run:
    """JAX, some steps a call by `lax.scan`."""
    jax, params, x, y, step = jax_parts(problem, mode, platform)

    def many(params: Any, x: Any, y: Any) -> Any:
        return jax.lax.scan(lambda params, _: step(params, x, y), params, None, SCANNED)

    compiled = jax.jit(many, donate_argnums=0)

    def call() -> Any:
        nonlocal params
        params, losses = compiled(params, x, y)
        return losses

    return Run(call, lambda: jax.block_until_ready(params), jax_memory, SCANNED)


def imported(library: str) -> Any:
    """Return a library, or say that it is missing."""
    try:
        return importlib.import_module(library)
    except Exception as error:
        raise Missing(f"{library} cannot be imported here: {type(error).__name__}: {error}") from error


def of_gradkit(backend: str, jitted: bool) -> Callable[[Problem, Mode, str], Run]:
    """Return the contestant of a backend."""
    return lambda problem, mode, platform: gradkit_step(problem, mode, platform, backend, jitted)


CONTESTANTS: dict[str, tuple[str, Callable[[Problem, Mode, str], Run]]] = {
    f"gradkit-{backend}{'-jit' if jitted else ''}": (
        f"gradkit on {title}{', jit' if jitted else ''}",
        of_gradkit(backend, jitted),
    )
    for (backend, title), jitted in itertools.product(
        (("cupy", "CuPy"), ("torch", "PyTorch"), ("jax", "JAX")), (False, True)
    )
} | {
    "torch": ("PyTorch eager", torch_eager),
    "torch-graph": ("PyTorch, CUDA graph", torch_graph),
    "jax-jit": ("jax.jit", jax_jit),
    "jax-scan": (f"jax lax.scan of {SCANNED}", jax_scan),
}
"""The title and the function of each."""


# The products alone: what a GPU can do


def cupy_product(n: int, mode: Mode, platform: str) -> Run:
    """CuPy's product of two matrices."""
    import gradkit

    device = gradkit_device("cupy", platform)
    gradkit.config.update("jax_default_matmul_precision", mode.precision)
    with gradkit.default_device(device):
        a = gradkit.numpy.ones((n, n), mode.dtype)
    out = a

    def call() -> Any:
        nonlocal out
        out = a @ a
        return out

    return Run(call, lambda: gradkit.block_until_ready(out), cupy_memory)


def torch_product(n: int, mode: Mode, platform: str) -> Run:
    """PyTorch's product of two matrices."""
    torch, device, dtype = torch_place(mode, platform)
    a = torch.ones((n, n), device=device, dtype=dtype)
    return Run(lambda: a @ a, torch.cuda.synchronize if device == "cuda" else lambda: None, torch_memory)


def jax_product(n: int, mode: Mode, platform: str) -> Run:
    """JAX's product of two matrices."""
    jax = imported("jax")
    try:
        device = jax.devices(platform)[0]
    except RuntimeError as error:
        raise Missing(f"JAX {jax.__version__}: {error}") from error
    jax.config.update("jax_default_matmul_precision", mode.precision)
    a = jax.device_put(jax.numpy.ones((n, n), mode.dtype), device)
    product, out = jax.jit(lambda a: a @ a), a

    def call() -> Any:
        nonlocal out
        out = product(a)
        return out

    return Run(call, lambda: jax.block_until_ready(out), jax_memory)


PRODUCTS: dict[str, Callable[[int, Mode, str], Run]] = {
    "CuPy": cupy_product,
    "PyTorch": torch_product,
    "JAX": jax_product,
}
"""By library: the product whose speed is the peak that steps are compared with, the best of them."""
