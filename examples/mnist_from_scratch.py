"""Train an MNIST classifier from pure functions and transforms alone, in a program that JAX runs as well.

Run ``python examples/mnist_from_scratch.py PATH``, where PATH is the folder with MNIST's four IDX files, plain or gzip.
With the one line ``import gradkit as jax`` changed to ``import jax``, the program runs under JAX: from the same keys,
it starts at the same parameters, draws the same minibatches and reaches the same accuracies.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gradkit as jax

jnp = jax.numpy

CLASSES = 10

# Layers: each is a pair of functions, one that draws its parameters and one that applies it to a single example.


def dense(n_out: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a layer ``w x + b`` with normal parameters of variance 1 / n_in."""

    def init(key: Any, n_in: int) -> tuple[int, Any]:
        return n_out, (jax.random.normal(key, (n_out, n_in)) / n_in**0.5, jnp.zeros(n_out))

    def apply(params: Any, x: Any) -> Any:
        w, b = params
        return w @ x + b

    return init, apply


def elementwise(function: Callable[[Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a layer without parameters."""
    return (lambda key, n_in: (n_in, ())), (lambda params, x: function(x))


def serial(*layers: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the layers one after another as one layer."""
    inits, applies = zip(*layers, strict=True)

    def init(key: Any, size: int) -> tuple[int, Any]:
        params = []
        for key_of_layer, init_layer in zip(jax.random.split(key, len(inits)), inits, strict=True):
            size, of_layer = init_layer(key_of_layer, size)
            params.append(of_layer)
        return size, params

    def apply(params: Any, x: Any) -> Any:
        for apply_layer, of_layer in zip(applies, params, strict=True):
            x = apply_layer(of_layer, x)
        return x

    return init, apply


init_network, network = serial(
    dense(256),
    elementwise(jnp.tanh),
    dense(128),
    elementwise(jax.nn.relu),
    dense(CLASSES),
    elementwise(jax.nn.log_softmax),
)
log_probabilities = jax.vmap(network, in_axes=(None, 0))


def loss(params: Any, images: Any, labels: Any) -> Any:
    """Return the mean cross-entropy."""
    targets = jax.nn.one_hot(labels, CLASSES)
    return -jnp.mean(jnp.sum(log_probabilities(params, images) * targets, axis=1))


@jax.jit
def accuracy(params: Any, images: Any, labels: Any) -> Any:
    """Return the fraction of images whose most probable class is their label."""
    return jnp.mean(jnp.argmax(log_probabilities(params, images), axis=1) == labels)


@partial(jax.jit, static_argnums=0)
def update(learning_rate: float, params: Any, images: Any, labels: Any) -> Any:
    """Return the parameters after one step of gradient descent."""
    gradients = jax.grad(loss)(params, images, labels)
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, gradients)


# Data


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Return the bytes of an IDX file as an array of its shape."""
    plain = folder / name
    content = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    ndim = content[3]
    shape = np.frombuffer(content, ">i4", ndim, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def load(folder: Path, part: str) -> tuple[Any, Any]:
    """Return images as rows of numbers between 0 and 1, and labels."""
    images = read_idx(folder, f"{part}-images-idx3-ubyte").reshape(-1, 28 * 28)
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte")
    return jnp.asarray(images.astype(np.float32) / 255), jnp.asarray(labels.astype(np.int32))


def minibatches(key: Any, size: int, images: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the examples in a random order, `size` at a time; what is left over is left out."""
    order = jax.random.permutation(key, len(labels))
    for start in range(0, len(labels) - size + 1, size):
        chosen = order[start : start + size]
        yield images[chosen], labels[chosen]


def main() -> None:
    """Train, and print the accuracies after each epoch."""
    parser = argparse.ArgumentParser(description="Train an MNIST classifier from pure functions.")
    parser.add_argument("path", type=Path, help="the folder with MNIST's files")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    train, test = load(options.path, "train"), load(options.path, "t10k")
    init_key, data_key = jax.random.split(jax.random.key(options.seed))
    _, params = init_network(init_key, 28 * 28)
    for epoch in range(options.epochs):
        start = time.perf_counter()
        for images, labels in minibatches(jax.random.fold_in(data_key, epoch), options.batch_size, *train):
            params = update(options.learning_rate, params, images, labels)
        jax.block_until_ready(params)
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch + 1}  training accuracy {float(accuracy(params, *train)):.4f}  "
            f"test accuracy {float(accuracy(params, *test)):.4f}  ({seconds:.1f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
