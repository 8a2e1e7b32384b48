"""What runs in the processes of `distributed.py`: each function is one of a world's processes (`worlds.py`)."""

from __future__ import annotations

import importlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from clusters import CLASSES, INPUTS
from numpy.typing import NDArray
from workers import answer

CHECKED_STEPS = 6
LEARNING_RATE = 0.1
BATCHES = 8
"""Different minibatches, which come again and again."""

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


def start_layers(hidden: int) -> Layers:
    """Draw the weights with which every program starts (He's normal), and zeros as biases."""
    draw = np.random.default_rng(0).standard_normal
    return [
        (draw((n, m), dtype=np.float32) * np.float32((2 / n) ** 0.5), np.zeros(m, np.float32))
        for n, m in itertools.pairwise((INPUTS, hidden, hidden, CLASSES))
    ]


def minibatches(batch: int, index: int = 0, count: int = 1) -> Iterator[Batch]:
    """Give a process's part of each minibatch, for ever."""
    parts = []
    for number in range(BATCHES):
        rng = np.random.default_rng(number)
        x, y = rng.standard_normal((batch, INPUTS), dtype=np.float32), rng.integers(0, CLASSES, batch)
        parts.append((np.array_split(x, count)[index], np.array_split(y, count)[index]))
    return itertools.cycle(parts)


def losses_by_hand(hidden: int, batch: int) -> list[float]:
    """Return the first losses of the training, by NumPy alone."""
    layers, losses = start_layers(hidden), []
    for x, y in itertools.islice(minibatches(batch), CHECKED_STEPS):
        inputs = [x]
        for w, b in layers[:-1]:
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        scores = inputs[-1] @ layers[-1][0] + layers[-1][1]
        scores -= scores.max(axis=1, keepdims=True)
        softmax = np.exp(scores)
        softmax /= softmax.sum(axis=1, keepdims=True)
        losses.append(float(-np.log(softmax[np.arange(batch), y]).mean()))
        slope = softmax
        slope[np.arange(batch), y] -= 1
        slope /= batch
        for i in range(len(layers) - 1, -1, -1):
            w, b = layers[i]
            below = (slope @ w.T) * (inputs[i] > 0)
            layers[i] = w - LEARNING_RATE * (inputs[i].T @ slope), b - LEARNING_RATE * slope.sum(axis=0)
            slope = below
    return losses


def program(connection: Connection, name: str, hidden: int, batch: int) -> None:
    """Be a process of one of the programs: send its first losses, then take as many steps as it is told to."""
    count = int(os.environ.get("OMPI_COMM_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)
    index = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("RANK") or 0)
    loop = importlib.import_module(f"distributed_programs.{name}")
    losses = loop.train(start_layers(hidden), minibatches(batch, index, count))
    connection.send([float(next(losses)) for _ in range(CHECKED_STEPS)])

    def steps(asked: tuple[str, int]) -> None:
        *_, last = itertools.islice(losses, asked[1])
        float(last)  # what was started is done

    answer(connection, steps)


def growth(connection: Connection, hidden: int, batch: int) -> None:
    """Be a process of gradkit that takes steps with its sums and without them, and sums gradients of one parameter.

    It is told ``step 128`` or ``compute 128``, by the examples that this process has, or ``sum 1024`` by the bytes. Its
    facts are the bytes that it sends to others in a step, or reads in their memory.
    """
    import gradkit
    from gradkit import distributed, nn, optim, tree
    from gradkit import numpy as jnp
    from gradkit.distributed.gradients import SummedGradients
    from gradkit.processes import the_world

    distributed.initialize()
    here = the_world()
    assert here is not None
    sent = _counted_bytes(here.count)
    model = nn.MLP(INPUTS, [hidden, hidden, CLASSES], activation="relu", key=gradkit.random.key(0))
    leaves = [jnp.asarray(array) for layer in start_layers(hidden) for array in layer]
    model = tree.unflatten(tree.structure(model), leaves)
    optimizer = optim.SGD(LEARNING_RATE)
    state = optimizer.init(model)

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        return nn.softmax_cross_entropy(model(x), y)

    ways = {"step": distributed.value_and_grad(loss_of), "compute": gradkit.value_and_grad(loss_of)}
    most = [jnp.asarray(array) for array in next(minibatches(batch, 0, 1))]

    def steps(what: str, size: int, number: int) -> None:
        if what == "sum":
            gradient = [jnp.zeros(size // 4)]
            for _ in range(number):
                SummedGradients(gradient, lambda: 1 / here.count, here).finish(gradient)
            return
        x, y = (array[:size] for array in most)
        for _ in range(number):
            _, gradient = ways[what](model, x, y)
            optimizer.update(model, gradient, state)

    steps("step", batch // here.count, 1)
    connection.send(sent[0])

    def asked_steps(asked: tuple[str, int]) -> None:
        what, size = asked[0].split()
        steps(what, int(size), asked[1])

    answer(connection, asked_steps)


def _counted_bytes(count: int) -> list[int]:
    """Have it counted what this process sends to others, or reads in the memory of others."""
    from gradkit.lax.shared_sums import SharedSums, _Sum
    from gradkit.processes.messages import MpiTransport

    moved = [0]

    def counting(owner: type, name: str, size: Callable[..., float]) -> None:
        before = getattr(owner, name)

        def movement(self: Any, *given: Any) -> Any:
            moved[0] += round(size(self, *given))
            return before(self, *given)

        setattr(owner, name, movement)

    def bytes_of(values: Any) -> int:
        return int(np.asarray(values).nbytes)

    # Of `exchange` each gets a part, of `collect` everything.
    counting(MpiTransport, "exchange", lambda _, values, call: bytes_of(values) * (count - 1) / count)
    counting(MpiTransport, "collect", lambda _, values, call: bytes_of(values) * (count - 1))
    # Two processes read what the other one has; of more, each reads its part of all, and their sums of theirs.
    if count == 2:
        counting(
            SharedSums,
            "end",
            lambda sums, token, places, memory: sum(array.nbytes for array in memory.others(sums.index)),
        )

    def read(found: Any, part: Callable[[int], int]) -> int:
        others = (i for i in range(count) if i != found._index)
        return sum(array[found._part(array, part(i))].nbytes for i in others for array in found._each[i])

    counting(_Sum, "add", lambda found: read(found, lambda _: found._index))
    counting(_Sum, "take", lambda found: read(found, lambda process: process))
    return moved


def epochs(connection: Connection, path: str, hidden: int, batch: int, examples: int | None) -> None:
    """Be a process of a compiled `gradkit.fit` on MNIST that waits after each epoch to be told to go on."""
    import gradkit
    from gradkit import data, distributed, nn, optim, random
    from gradkit.train import Callback

    class Turns(Callback):
        """Says how long the epoch took, and waits for the next turn."""

        def start(self, training: Any) -> None:
            self.wait(training)

        def epoch_end(self, training: Any) -> None:
            connection.send(time.perf_counter() - self.began)
            self.wait(training)

        def wait(self, training: Any) -> None:
            try:
                connection.recv()
            except EOFError:
                training.stop("nobody waits for another epoch")
            self.began = time.perf_counter()

    (x, y), _ = data.load_mnist(path)
    distributed.initialize()
    connection.send(int(x.shape[0] if examples is None else examples))
    gradkit.fit(
        nn.MLP(INPUTS, [hidden, hidden, CLASSES], activation="relu", key=random.key(0)),
        (x[:examples], y[:examples]),
        optimizer=optim.SGD(LEARNING_RATE),
        epochs=10**6,
        batch_size=batch,
        key=random.key(1),
        progress=False,
        callbacks=[Turns()],
        jit=True,
    )
