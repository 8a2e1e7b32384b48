"""A training loop by gradkit in several processes: `mpiexec` starts them."""

from gradkit import distributed, nn, optim, random, tree
from gradkit import numpy as jnp


def loss_of(model, x, y):
    return nn.softmax_cross_entropy(model(x), y)


def train(layers, batches):
    """Train from these weights on this process's part of each minibatch; gives the loss of each step."""
    distributed.initialize()
    widths = [len(bias) for _, bias in layers]
    model = nn.MLP(len(layers[0][0]), widths, activation="relu", key=random.key(0))
    model = tree.unflatten(tree.structure(model), [jnp.asarray(array) for layer in layers for array in layer])
    optimizer = optim.SGD(0.1)
    state = optimizer.init(model)
    value_and_gradient = distributed.value_and_grad(loss_of)
    for x, y in batches:
        loss, gradient = value_and_gradient(model, jnp.asarray(x), jnp.asarray(y))
        model, state = optimizer.update(model, gradient, state)
        yield loss
