"""The lecture's engine: numbers that know how they were computed, and neurons, layers and networks of them.

`Value` is the core's reverse mode on single numbers: each operation is one of gradkit's primitives, with the derivative
that is declared there, on the backend of Python's own numbers. The networks have the signatures of the lecture's notes.

Examples
--------
>>> import gradkit
>>> a, b, c, f = (gradkit.Value(number) for number in (2.0, -3.0, 10.0, -2.0))
>>> L = (a * b + c) * f
>>> L.backward()
>>> L.data, a.grad, b.grad, c.grad, f.grad
(-8.0, 6.0, -4.0, -2.0, 4.0)
"""

from gradkit.scalar.networks import MLP, Layer, Module, Neuron
from gradkit.scalar.operations import Operation
from gradkit.scalar.value import Value

__all__ = ["MLP", "Layer", "Module", "Neuron", "Operation", "Value"]
