"""Optimizers and learning-rate schedules.

Examples
--------
>>> import gradkit
>>> opt = gradkit.optim.SGD(gradkit.optim.exponential_decay(0.1, 100, 0.5), momentum=0.9)
>>> state = opt.init(gradkit.numpy.asarray([1.0]))
>>> state.step
0
"""

from gradkit.optim.guard import check_finite
from gradkit.optim.loss_scale import DynamicLossScale
from gradkit.optim.schedules import (
    constant,
    cosine_decay,
    exponential_decay,
    inverse_time_decay,
    linear_decay,
    piecewise_constant,
    polynomial_decay,
    schedule_named,
    warmup,
)
from gradkit.optim.sgd import SGD, SGDState
from gradkit.optim.update import global_norm

__all__ = [
    "SGD",
    "DynamicLossScale",
    "SGDState",
    "check_finite",
    "constant",
    "cosine_decay",
    "exponential_decay",
    "global_norm",
    "inverse_time_decay",
    "linear_decay",
    "piecewise_constant",
    "polynomial_decay",
    "schedule_named",
    "warmup",
]  # fmt: skip
