"""Layers, activations, initializers and losses; models are pytrees.

Examples
--------
>>> import gradkit, gradkit.numpy as jnp
>>> model = gradkit.nn.MLP(2, [8, 1], key=gradkit.random.key(0))
>>> x, y = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]), jnp.asarray([[1.0], [-1.0]])
>>> loss, gradient = gradkit.value_and_grad(lambda model: gradkit.nn.mse(model(x), y))(model)
>>> type(gradient).__name__, gradient.layers[0].weight.shape
('MLP', (2, 8))
"""

from gradkit.nn import initializers
from gradkit.nn.activations import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    identity,
    leaky_relu,
    log1mexp,
    log_sigmoid,
    log_softmax,
    logmeanexp,
    logsumexp,
    mish,
    one_hot,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softmax,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    standardize,
    swish,
    tanh,
)
from gradkit.nn.attention import dot_product_attention
from gradkit.nn.layers import MLP, Linear, Sequential
from gradkit.nn.losses import accuracy, hinge, mse, sigmoid_cross_entropy, softmax_cross_entropy
from gradkit.nn.module import Module, field, static

__all__ = [
    "MLP", "Linear", "Module", "Sequential", "accuracy", "celu", "dot_product_attention", "elu", "field", "gelu", "glu",
    "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "hinge", "identity", "initializers", "leaky_relu",
    "log1mexp", "log_sigmoid", "log_softmax", "logmeanexp", "logsumexp", "mish", "mse", "one_hot", "relu", "relu6",
    "selu", "sigmoid", "sigmoid_cross_entropy", "silu", "soft_sign", "softmax", "softmax_cross_entropy", "softplus",
    "sparse_plus", "sparse_sigmoid", "squareplus", "standardize", "static", "swish", "tanh",
]  # fmt: skip
