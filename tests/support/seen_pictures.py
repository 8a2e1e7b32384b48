"""What the tests of the pictures of training share: what is drawn, and how pictures are looked into."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, data, nn, random, tree

__all__ = [
    "COARSE", "HISTORY", "bowl", "check_picture", "check_png", "half_planes", "lines_of", "steps_on_bowl", "texts",
    "trained",
]  # fmt: skip

COARSE = 12
"""Places along each axis of a grid, where a test looks at no details."""

HISTORY = {
    "epoch": [1, 2, 3, 4],
    "step": [10, 20, 30, 40],
    "loss": [2.3, 0.9, 0.3, 0.1],
    "validation_loss": [2.2, 1.0, 0.5, 0.4],
    "accuracy": [0.1, 0.7, 0.9, 0.96],
    "validation_accuracy": [0.1, 0.65, 0.85, 0.9],
    "learning_rate": [0.1, 0.05, 0.025, 0.0125],
    "seconds": [0.1, 0.2, 0.3, 0.4],
}


def texts(figure: Figure) -> list[str]:
    """Return all that is written on a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def check_png(contents: bytes, size: tuple[int, int] | None = None) -> np.ndarray[Any, Any]:
    """Check that these are the bytes of a PNG with something on it in grey as well, and return its grey values."""
    assert contents.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", contents[16:24])
    if size is not None:
        assert (width, height) == size
    grey = np.asarray(Image.open(io.BytesIO(contents)).convert("L"))
    assert grey.shape == (height, width)
    drawn = np.mean(grey < 200)
    assert 0.005 < drawn < 0.7
    # Nothing is cut off: the outermost pixels are the paper.
    assert (np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]) == 255).all()
    return grey


def check_picture(figure: Figure, path: Path, *labels: str) -> np.ndarray[Any, Any]:
    """Check a figure that was written to `path`, and that it says what it should."""
    written = texts(figure)
    for label in labels:
        assert label in written, written
    assert "matplotlib.pyplot" not in {type(figure.canvas.manager).__module__}
    assert figure.canvas.manager is None
    inches = figure.get_size_inches()
    return check_png(path.read_bytes(), (int(150 * inches[0]), int(150 * inches[1])))


def half_planes(x: Any) -> Array:
    """Score points: above 0 right of x1 = 0.25."""
    return jnp.asarray(x)[:, 0] - 0.25


def lines_of(figure: Figure) -> np.ndarray[Any, Any]:
    """Return the points of the boundaries in a figure."""
    found = [
        path.vertices
        for collection in figure.axes[0].collections
        if type(collection).__name__ == "QuadContourSet" and not collection.filled  # type: ignore[attr-defined]
        for path in collection.get_paths()
    ]
    return np.concatenate(found)


def bowl(w: Array) -> Array:
    return (w[0] - 1) ** 2 + 4 * (w[1] + 1) ** 2


def steps_on_bowl(count: int = 12) -> list[Array]:
    path = [jnp.asarray([-1.0, 1.0])]
    for _ in range(count):
        path.append(path[-1] - 0.1 * gradkit.grad(bowl)(path[-1]))
    return path


@cache
def trained(backend: str) -> tuple[Callable[[Any], Array], list[nn.MLP]]:
    """Return a loss, and a small network after each of some steps."""
    x, y = data.moons(30, key=random.key(0))

    def cross_entropy(model: nn.MLP) -> Array:
        return nn.softmax_cross_entropy(model(x), y)

    models = [nn.MLP(2, [4, 2], key=random.key(1))]
    for _ in range(8):
        slope = gradkit.grad(cross_entropy)(models[-1])
        models.append(tree.map(lambda p, g: p - 0.5 * g, models[-1], slope))
    return cross_entropy, models
