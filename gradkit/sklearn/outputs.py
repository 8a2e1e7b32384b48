"""What a network's last layer means: how its logits become predictions, and the loss that belongs to it.

The losses are scikit-learn's, stated for logits, where they neither overflow nor need to be cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gradkit.core import Array
from gradkit.nn import identity, sigmoid, softmax
from gradkit.numpy import exp, mean, square, where
from gradkit.numpy import log as logarithm
from gradkit.numpy import sum as total
from gradkit.primitives.losses import label_cross_entropy, mean_label_cross_entropy, mean_square, softplus

__all__ = ["OUTPUTS", "Output"]


@dataclass(frozen=True)
class Output:
    """An output activation with its loss.

    Attributes
    ----------
    predict : callable
        From logits, shape (n, outputs), to predictions of that shape.
    losses : callable
        From logits and targets to the loss of each example, shape (n,).
    loss : callable
        From logits and targets to the mean of `losses`, where that is to be had for less.
    averages_outputs : bool
        Whether the loss is the mean over the outputs and not their sum. scikit-learn reports that mean as the loss and
        takes its steps along the gradient of the sum.
    """

    predict: Callable[[Array], Array]
    losses: Callable[[Array, Array], Array]
    loss: Callable[[Array, Array], Array]
    averages_outputs: bool = False


def _mean_of(losses: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda logits, y: mean(losses(logits, y))


def _bernoulli(logits: Array, y: Array) -> Array:
    """Return -y log(p) - (1 - y) log(1 - p) where p = sigmoid(logits), summed over the outputs."""
    return total(softplus(logits) - y * logits, axis=1)


def _half_squares(prediction: Array, y: Array) -> Array:
    """Return half the squared error, averaged over the outputs."""
    return 0.5 * mean(square(prediction - y), axis=1)


def _half_poisson_deviance(logits: Array, y: Array) -> Array:
    """Return y log(y / m) - y + m where m = exp(logits), summed over the outputs."""
    constant = where(y > 0, y * logarithm(where(y > 0, y, 1.0)), 0.0) - y
    return total(exp(logits) - y * logits + constant, axis=1)


OUTPUTS = {
    "softmax": Output(softmax, label_cross_entropy, mean_label_cross_entropy),
    "logistic": Output(sigmoid, _bernoulli, _mean_of(_bernoulli)),
    "identity": Output(identity, _half_squares, lambda logits, y: 0.5 * mean_square(logits, y), averages_outputs=True),
    "exp": Output(exp, _half_poisson_deviance, _mean_of(_half_poisson_deviance)),
}
"""By scikit-learn's name of the output activation, ``out_activation_``."""
