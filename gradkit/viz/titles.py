"""What a picture's title calls a model."""

from __future__ import annotations

from typing import Any

from gradkit import tree
from gradkit.core import Array
from gradkit.nn import MLP, Linear
from gradkit.nn.module import setting_name

__all__ = ["model_name"]

CONTAINERS = (Array, dict, list, tuple)
"""Types whose names say nothing about a model."""


def model_name(model: Any) -> str:
    """Return what a title calls a model: its layers' sizes, or its class and how many parameters it has.

    Examples
    --------
    >>> import gradkit
    >>> model_name(gradkit.nn.MLP(2, [16, 16, 1], key=gradkit.random.key(0)))
    'MLP 2-16-16-1, tanh'
    >>> model_name({"w": gradkit.numpy.ones(3)})
    '3 parameters'
    """
    if isinstance(model, MLP):
        widths = [model.layers[0].weight.shape[0], *(layer.weight.shape[1] for layer in model.layers)]
        hidden = f", {setting_name(model.activation)}" if len(widths) > 2 else ""
        return f"{type(model).__name__} {'-'.join(map(str, widths))}{hidden}"
    if isinstance(model, Linear):
        return f"{type(model).__name__} {'-'.join(map(str, model.weight.shape))}"
    count = sum(leaf.size for leaf in tree.leaves(model) if type(leaf) is Array)
    parameters = f"{count:,} parameter{'' if count == 1 else 's'}"
    if count:
        return parameters if type(model) in CONTAINERS else f"{type(model).__name__} of {parameters}"
    name = getattr(model, "__name__", type(model).__name__)
    return "model" if name == "<lambda>" else str(name)
