"""The same training on every backend that can run on this machine, with the curves drawn over each other.

The seed gives the same weights, data and minibatches everywhere, so the curves lie on one another: what differs is who
computes. Run ``python examples/every_backend.py``.
"""

from __future__ import annotations

import picturing

import gradkit
from gradkit import data, nn, optim, random, viz
from gradkit.backend import backend_names, load_backend, why_not


def train(seed: int, epochs: int) -> gradkit.train.History:
    """Train a small network on the current backend, and return its history."""
    data_key, model_key, order_key = random.split(random.key(seed), 3)
    _, history = gradkit.fit(
        nn.MLP(2, [16, 16, 2], activation="relu", key=model_key),
        data.moons(300, key=data_key),
        optimizer=optim.SGD(optim.exponential_decay(0.1, transition_steps=50, decay_rate=0.7), momentum=0.9),
        epochs=epochs,
        batch_size=25,
        validation=0.25,
        key=order_key,
        progress=False,
    )
    return history


def main() -> None:
    """Train on each backend, and draw."""
    options = picturing.parsed(picturing.parser(__doc__, epochs=20))
    histories = {}
    for name in backend_names():
        backend = load_backend(name)
        reason = why_not(backend)
        if reason is not None:
            print(f"{name}: not run. {reason}")
        elif backend.has_axes:
            with gradkit.use_backend(name):
                history = histories[name] = train(options.seed, options.epochs)
            print(f"{name}: loss {history['loss'][-1]:.6f}, {history['seconds'][-1]:.2f} s")

    picture = options.out / "every_backend.png"
    title = f"two moons, MLP 2-16-16-2: the same training on {', '.join(histories)}"
    viz.curves(histories, title=title, units={"loss": "nats"}, path=picture)
    print(f"the curves are in {picture}")


if __name__ == "__main__":
    main()
