"""`animate`: a picture as it changes while a model trains, as a GIF."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradkit.viz.figures import PathLike, check_path, new_figure, readable

if TYPE_CHECKING:
    from PIL import Image  # optional

__all__ = ["Animation", "animate"]

FORMATS = ("gif",)


@dataclass(frozen=True, repr=False)
class Animation:
    """A GIF; a notebook shows it. `animate` makes it.

    Attributes
    ----------
    gif : bytes
        The file's contents.
    frames : int
        How many pictures it was made of.
    """

    gif: bytes
    frames: int

    def save(self, path: PathLike) -> None:
        """Write it to a file, whose name ends in ``.gif``."""
        check_path(path, "Animation.save", FORMATS)
        Path(path).write_bytes(self.gif)

    def _repr_html_(self) -> str:
        return f'<img alt="animation" src="data:image/gif;base64,{base64.b64encode(self.gif).decode()}">'

    def __repr__(self) -> str:
        return f"Animation({self.frames} frames, {len(self.gif):,} bytes)"


def animate(
    draw: Callable[..., Any],
    frames: Iterable[Any],
    *,
    labels: Sequence[str] | None = None,
    fps: float = 8,
    hold: float = 1.5,
    size: tuple[float, float] = (5.2, 5.0),
    dpi: int = 80,
    path: PathLike | None = None,
) -> Animation:
    """Make an animation: draw a picture once for each frame.

    Parameters
    ----------
    draw : callable
        ``draw(frame, ax=axes)`` draws a frame on empty Axes.
    frames : iterable
        What is given to `draw`, one after the other: models as they were after each epoch, for example.
    labels : sequence of str, optional
        What is written in the corner of each frame; by default its number.
    fps : float
        Frames a second.
    hold : float
        For how many seconds the last frame stays.
    size : (float, float)
        The width and height in inches.
    dpi : int
        Pixels an inch.
    path : path, optional
        A file to write, whose name ends in ``.gif``.

    Returns
    -------
    Animation

    Raises
    ------
    ValueError
        If there are no frames, or not as many labels.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    A boundary as it trains:

    >>> import gradkit
    >>> from functools import partial
    >>> x, y = gradkit.data.moons(50, key=gradkit.random.key(0))
    >>> models = [gradkit.nn.MLP(2, [4, 2], key=gradkit.random.key(i)) for i in range(2)]
    >>> animate(partial(gradkit.viz.decision_boundary, data=(x, y), resolution=20), models)
    Animation(2 frames, ... bytes)

    A descent, on a contour that is evaluated once:

    >>> def loss(w):
    ...     return w[0] ** 2 + 4 * w[1] ** 2
    >>> path = [gradkit.numpy.asarray([0.8**k, 0.2**k]) for k in range(3)]
    >>> ground = gradkit.viz.landscape(loss, path)
    >>> animate(partial(gradkit.viz.descent, ground), [path[: k + 1] for k in range(3)])
    Animation(3 frames, ... bytes)
    """
    check_path(path, "animate", FORMATS)
    pictures = list(frames)
    if not pictures:
        raise ValueError("animate: frames is empty. Keep the model after each epoch, for example.")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"animate: there are {len(labels)} labels, and {len(pictures)} frames. Give one for each.")
    if not fps > 0 or not hold >= 0:
        raise ValueError(f"animate: fps must be above 0 and hold at least 0 seconds, got fps={fps} and hold={hold}")
    if labels is None:
        labels = [f"frame {i + 1} of {len(pictures)}" for i in range(len(pictures))]
    durations = [1000 / fps] * len(pictures)
    durations[-1] += 1000 * hold
    animation = Animation(_encode(_render(draw, pictures, labels, size, dpi), durations), len(pictures))
    if path is not None:
        animation.save(path)
    return animation


def _render(
    draw: Callable[..., Any], frames: Sequence[Any], labels: Sequence[str], size: tuple[float, float], dpi: int
) -> list[Image.Image]:
    """Return the frames as images, all with the layout of the first, so that only what changes moves."""
    figure = new_figure("animate", size)
    figure.set_dpi(dpi)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # optional
    from PIL import Image  # optional

    canvas: Any = FigureCanvasAgg(figure)
    boxes: list[Any] = []
    images = []
    for frame, label in zip(frames, labels, strict=True):
        figure.clear()
        axes = figure.add_subplot()
        draw(frame, ax=axes)
        axes.text(
            0.02,
            0.98,
            readable(label),
            transform=axes.transAxes,
            verticalalignment="top",
            zorder=10,
            bbox={"facecolor": "white", "edgecolor": "#555555", "boxstyle": "round,pad=0.3"},
        )
        if not boxes:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            boxes = [each.get_position() for each in figure.axes]
        for each, box in zip(figure.axes, boxes, strict=False):
            each.set_position(box)
        canvas.draw()
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    return images


def _encode(images: Sequence[Image.Image], durations: Sequence[float]) -> bytes:
    """Return a GIF. One palette for all frames, without dithering: what stays the same is stored once."""
    from PIL import Image  # optional

    some = [images[i * (len(images) - 1) // 3] for i in range(4)]
    width, height = some[0].size
    sample = Image.new("RGB", (width, 4 * height))
    for i, image in enumerate(some):
        sample.paste(image, (0, i * height))
    palette = sample.quantize(128, dither=Image.Dither.NONE)
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    contents = io.BytesIO()
    first.save(
        contents, format="GIF", save_all=True, append_images=others, duration=[round(d) for d in durations], loop=0
    )
    return contents.getvalue()
