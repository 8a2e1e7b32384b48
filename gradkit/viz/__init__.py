"""Pictures: training curves, decision boundaries, descents on contours of the loss, weights, and animations of them.

Pictures of training need matplotlib (``pip install 'gradkit[plot]'``); each function imports it when it is called.

>>> import gradkit
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
    from gradkit.viz.landscapes import Landscape, landscape
    from gradkit.viz.learning_curves import curves
    from gradkit.viz.weights import weight_images

__all__ = [
    "Animation",
    "Landscape",
    "animate",
    "curves",
    "decision_boundary",
    "descent",
    "landscape",
    "weight_images",
]

# No module has the name of a function: importing it would put it in the function's place.
_MODULES = {
    "Animation": "animation",
    "Landscape": "landscapes",
    "animate": "animation",
    "curves": "learning_curves",
    "decision_boundary": "boundary",
    "descent": "contours",
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
