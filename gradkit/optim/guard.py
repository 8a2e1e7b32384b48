"""What stops a training run whose loss is no longer a number."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

from gradkit.errors import NonFiniteLossError

__all__ = ["check_finite"]


def check_finite(loss: Any, step: int, checkpoint: str | PathLike[str] | None = None, name: str = "loss") -> float:
    """Return the loss as a float, or stop with what to do where it is NaN or infinite.

    Parameters
    ----------
    loss : 0-d array or float
        The loss; on a GPU this waits for it.
    step : int
        The step that it belongs to.
    checkpoint : path, optional
        The last good checkpoint.
    name : str
        What the message calls it: the loss on validation data is another one.

    Raises
    ------
    NonFiniteLossError
        If the loss is NaN or infinite. The message names the step and the checkpoint.

    Examples
    --------
    >>> check_finite(0.5, step=3)
    0.5
    >>> check_finite(float("nan"), step=4, checkpoint="run/last.safetensors")
    Traceback (most recent call last):
    ...
    gradkit.errors.NonFiniteLossError: the loss is nan at step 4. The last good checkpoint is run/last.safetensors. ...
    """
    value = float(loss)
    if math.isfinite(value):
        return value
    if step == 0 and checkpoint is None:
        raise NonFiniteLossError(
            f"the {name} is {value} at step 0, before any update. Look for numbers that are not finite, or too large, "
            f"in the data and in the initial parameters."
        )
    kept = (
        "No checkpoint was written before. Begin anew"
        if checkpoint is None
        else f"The last good checkpoint is {checkpoint}. Go on from there"
    )
    raise NonFiniteLossError(
        f"the {name} is {value} at step {step}. {kept} with a smaller learning rate, or clip the gradients: "
        f"SGD(..., clip_norm=1.0)."
    )
