"""Training without a loop of one's own: the step, and what goes with it.

Examples
--------
>>> import gradkit
>>> from gradkit import nn, optim
>>> optimizer = optim.SGD(0.1)
>>> step = gradkit.train.training_step(lambda model, x, y: nn.mse(model(x), y), optimizer)
"""

from gradkit.train.steps import Optimizer, Step, training_step

__all__ = ["Optimizer", "Step", "training_step"]
