"""The same loop by hand, in NumPy and mpi4py: the gradients are parts of one array, which MPI sums at the end."""

import numpy as np
from mpi4py import MPI


def parts(flat, layers):
    """Return views of the array, shaped as the layers."""
    views, begin = [], 0
    for layer in layers:
        ends = begin + layer[0].size, begin + layer[0].size + layer[1].size
        views.append((flat[begin : ends[0]].reshape(layer[0].shape), flat[ends[0] : ends[1]]))
        begin = ends[1]
    return views


def train(layers, batches):
    """Train from these weights on this process's part of each minibatch; gives the loss of each step."""
    world = MPI.COMM_WORLD
    parameters = np.concatenate([array.ravel() for layer in layers for array in layer])
    gradient = np.empty_like(parameters)
    *hidden, (weight, bias) = weights = parts(parameters, layers)
    slopes = parts(gradient, layers)
    for x, y in batches:
        rows = np.arange(len(y))
        inputs = [x]
        for w, b in hidden:
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        scores = inputs[-1] @ weight + bias
        scores -= scores.max(axis=1, keepdims=True)
        softmax = np.exp(scores)
        softmax /= softmax.sum(axis=1, keepdims=True)
        loss = -np.log(softmax[rows, y]).mean()
        softmax[rows, y] -= 1
        softmax /= len(y) * world.size
        g = softmax
        for i in range(len(weights) - 1, -1, -1):
            np.dot(inputs[i].T, g, out=slopes[i][0])
            np.sum(g, axis=0, out=slopes[i][1])
            if i:
                g = (g @ weights[i][0].T) * (inputs[i] > 0)
        world.Allreduce(MPI.IN_PLACE, gradient)
        gradient *= 0.1
        parameters -= gradient
        yield loss
