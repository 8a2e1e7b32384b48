"""What data_parallel.py, tensor_parallel.py and pipeline_parallel.py have in common: a network, and its training."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import gradkit
import gradkit.numpy as jnp
from gradkit import data, distributed, nn, random

HIDDEN, CLASSES = 48, 10

Parameters = dict[str, Any]


def network() -> Parameters:
    """Return the weights of a network from 64 pixels through two hidden layers to the classes."""
    keys = random.split(random.key(0), 3)
    sizes = (64, HIDDEN, HIDDEN, CLASSES)
    return {f"w{i}": random.normal(keys[i], (n, m)) / n**0.5 for i, (n, m) in enumerate(itertools.pairwise(sizes))}


def predict(w: Parameters, x: Any) -> Any:
    """Return the scores of the classes."""
    return jnp.tanh(jnp.tanh(x @ w["w0"]) @ w["w1"]) @ w["w2"]


def train(description: str, make_loss: Callable[[], Callable[..., Any]], rate: float = 0.5) -> None:
    """Train by a loss of whole parameters and a whole minibatch, and compare it with the network in one process."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--epochs", type=int, default=3)
    epochs = options.parse_args().epochs
    distributed.initialize()
    loss = make_loss()
    x, y = data.load_digits()
    w = network()
    step = gradkit.value_and_grad(loss)
    for epoch in range(epochs):
        for x_batch, y_batch in data.minibatches((x, y), 240, random.fold_in(random.key(1), epoch), drop_last=True):
            _, gradient = step(w, x_batch, y_batch)
            w = gradkit.tree.map(lambda p, g: p - rate * g, w, gradient)
    x_batch, y_batch = x[:240], y[:240]
    alone = nn.softmax_cross_entropy(predict(w, x_batch), y_batch)
    together = loss(w, x_batch, y_batch)
    if distributed.process_index() == 0:
        processes = distributed.process_count()
        print(f"{processes} process{'es' if processes > 1 else ''}: loss {together:.5f} (in one process {alone:.5f})")
