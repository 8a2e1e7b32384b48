"""A scale for losses whose gradients are smaller than a narrow dtype's numbers, as those of float16 are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

__all__ = ["DynamicLossScale"]


@dataclass(frozen=True)
class DynamicLossScale:
    """A loss scale that finds its own size: as large as gradients allow.

    The loss is multiplied by it before it is differentiated, so that small gradients are numbers of a narrow dtype, and
    the gradients are divided by it, in float32. Where one of them is infinite or no number, the step changes no
    parameter and the scale shrinks; after some steps in a row without that it grows. (Micikevicius and others, Mixed
    precision training, 2018; the names and the rule are those of PyTorch's ``GradScaler`` and Flax's ``DynamicScale``.)

    Parameters
    ----------
    init_scale : float
        The scale of the first step.
    growth_factor : float
        What it is multiplied by after `growth_interval` steps, above 1.
    backoff_factor : float
        What it is multiplied by where a gradient is not finite, between 0 and 1. It stays at 1 at least: gradients that
        are not finite then are the model's own, and the step is taken.
    growth_interval : int
        How many steps in a row, all of finite gradients, it takes to grow.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import data, nn, optim, random
    >>> model = nn.MLP(2, [16, 2], key=random.key(0), dtype="float16")
    >>> model, history = gradkit.fit(
    ...     model, data.moons(500, key=random.key(1)), optimizer=optim.SGD(0.5, momentum=0.9), epochs=5,
    ...     loss_scale=optim.DynamicLossScale(growth_interval=100), key=random.key(2), progress=False,
    ... )
    >>> history["loss"][-1] < 0.3
    True
    """

    init_scale: float = 2.0**15
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000

    def __post_init__(self) -> None:
        for name, least, most in (
            ("init_scale", 1.0, math.inf),
            ("growth_factor", 1.0, math.inf),
            ("backoff_factor", 0.0, 1.0),
        ):
            value = getattr(self, name)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not (least <= value < math.inf) or (name != "init_scale" and value in (least, most)):
                wanted = "at least 1 and finite" if name == "init_scale" else f"between {least:g} and {most:g}"
                raise ValueError(f"DynamicLossScale: {name} must be a number {wanted}, got {value!r}")
        if type(self.growth_interval) is not int or self.growth_interval < 1:
            raise ValueError(
                f"DynamicLossScale: growth_interval must be a whole number of at least 1, got {self.growth_interval!r}"
            )
