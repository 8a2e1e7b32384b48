"""Train a small network on two moons, and draw where it sees the one and the other.

Run ``python examples/moons.py``; with ``--animate`` it draws the boundary after each epoch too, as a GIF.
"""

from __future__ import annotations

from functools import partial

import picturing

import gradkit
from gradkit import data, nn, optim, random, viz
from gradkit.train import Callback, Training


class KeepModels(Callback):
    """Keeps the model after each epoch."""

    def __init__(self, first: nn.MLP) -> None:
        self.models = [first]

    def epoch_end(self, training: Training) -> None:
        """Keep it."""
        self.models.append(training.model)


def main() -> None:
    """Train, and draw."""
    parser = picturing.parser(__doc__, epochs=30)
    picturing.add_backend(parser)
    parser.add_argument("--animate", action="store_true", help="also write moons.gif, a frame for each epoch")
    options = picturing.parsed(parser)

    data_key, model_key, order_key = random.split(random.key(options.seed), 3)
    moons = data.moons(300, noise=0.15, key=data_key)
    keep = KeepModels(nn.MLP(2, [16, 16, 2], activation="relu", key=model_key))
    batch_size = 20
    decay = optim.cosine_decay(0.2, decay_steps=options.epochs * 300 // batch_size)
    model, history = gradkit.fit(
        keep.models[0],
        moons,
        optimizer=optim.SGD(decay, momentum=0.9),
        epochs=options.epochs,
        batch_size=batch_size,
        key=order_key,
        callbacks=[keep],
    )

    picture = options.out / "moons.png"
    draw = partial(viz.decision_boundary, data=moons, classes=("outer moon", "inner moon"))
    draw(model, path=picture)
    print(f"{history['accuracy'][-1]:.2%} right in the last epoch; the boundary is in {picture}")
    if options.animate:
        film = options.out / "moons.gif"
        every = max(1, options.epochs // 20)
        frames = {f"epoch {k}": keep.models[k] for k in range(0, options.epochs + 1, every)}
        viz.animate(partial(draw, resolution=100), frames.values(), labels=list(frames), path=film)
        print(f"the boundary as it trains is in {film}")


if __name__ == "__main__":
    main()
