"""Pictures: drawn graphs and plans; training curves, decision boundaries, descents, weights, and animations.

What a picture needs is imported when it is made. Pictures of training need matplotlib:
``pip install 'gradkit[plot]'``.

>>> import gradkit, gradkit.numpy as jnp
>>> gradkit.viz.draw(lambda x: jnp.exp(x) + 1, 2.0)
<Drawing of 4 values, 2 operations>
>>> figure = gradkit.viz.curves({"epoch": [1, 2, 3], "loss": [1.2, 0.5, 0.3]}, title="three epochs")
>>> figure.axes[0].get_ylabel()
'loss'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradkit.viz.animation import Animation, animate
    from gradkit.viz.boundary import decision_boundary
    from gradkit.viz.contours import descent
    from gradkit.viz.drawing import Drawing
    from gradkit.viz.graphs import draw
    from gradkit.viz.landscapes import Landscape, landscape
    from gradkit.viz.learning_curves import curves
    from gradkit.viz.plans import draw_plan
    from gradkit.viz.weights import weight_images

__all__ = [
    "Animation", "Drawing", "Landscape", "animate", "curves", "decision_boundary", "descent", "draw", "draw_plan",
    "landscape", "weight_images",
]  # fmt: skip

# No module has the name of a function: importing it would put it in the function's place.
_MODULES = {
    "Animation": "animation",
    "Drawing": "drawing",
    "Landscape": "landscapes",
    "animate": "animation",
    "curves": "learning_curves",
    "decision_boundary": "boundary",
    "descent": "contours",
    "draw": "graphs",
    "draw_plan": "plans",
    "landscape": "landscapes",
    "weight_images": "weights",
}
"""Where each public name is defined; its module is imported when it is first used."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gradkit.viz' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gradkit.viz.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
