"""What of a model descends: its parameters, as a list of arrays that linear algebra can be done with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import gradkit.numpy as jnp
from gradkit import tree
from gradkit.backend import backend_of, get_backend
from gradkit.core import Array
from gradkit.core.promotion import is_inexact
from gradkit.devices import devices
from gradkit.errors import TreeMismatchError

__all__ = ["Leaves", "Parameters", "split_model", "stands_alone"]

ROOT = "parameter"
"""The name of the parameter of a model that is an array itself."""

Leaves = list[Array]


def stands_alone(leaf: Array) -> bool:
    """Return whether an array is of a backend of single numbers, whose models take one example after the other."""
    return not get_backend(leaf.device.backend).has_axes


class Parameters(NamedTuple):
    """What a model is besides the numbers that descend.

    Attributes
    ----------
    structure : PyTreeDef
    leaves : list
        All leaves of the model.
    arrays : dict
        Which of them are parameters, by their names.
    numbers : dict
        Which of them are single numbers of a backend without axes, by their names. These are put into one vector, the
        last of the parameters.
    """

    structure: Any
    leaves: list[Any]
    arrays: dict[str, int]
    numbers: dict[str, int]

    def of(self, model: Any, what: str) -> Leaves:
        """Return the parameters of a model of the same structure and shapes, without their history."""
        structure, leaves = tree.structure(model), tree.leaves(model)
        if structure != self.structure:
            raise TreeMismatchError(
                f"descent: {what} has another structure than the last of the path: {structure}, and not "
                f"{self.structure}. All must be one model, at different times."
            )
        for name, at in self.arrays.items():
            shape, expected = tuple(np.shape(leaves[at])), self.leaves[at].shape
            if shape != expected:
                raise TreeMismatchError(
                    f"descent: {name} has shape {shape} in {what}, and {expected} in the last of the path. All must be "
                    f"one model, at different times."
                )
        values = [jnp.asarray(leaves[at]).detach() for at in self.arrays.values()]
        if self.numbers:
            numbers = np.asarray([float(leaves[at]) for at in self.numbers.values()])
            values.append(jnp.asarray(numbers, device=devices("cpu")[0]))
        return values

    def model(self, values: Sequence[Array]) -> Any:
        """Return the model with these parameters."""
        leaves = list(self.leaves)
        for at, value in zip(self.arrays.values(), values, strict=False):
            leaves[at] = value
        if self.numbers:
            for at, number in zip(self.numbers.values(), values[-1].tolist(), strict=True):
                leaves[at] = number
        return tree.unflatten(self.structure, leaves)

    def entries(self) -> Iterator[tuple[str, tuple[int, tuple[int, ...]]]]:
        """Yield each single parameter: its name, which of the arrays it is in, and where."""
        for which, (name, at) in enumerate(self.arrays.items()):
            shape = self.leaves[at].shape
            for index in np.ndindex(shape):
                yield (f"{name}[{', '.join(map(str, index))}]" if shape else name), (which, index)
        for i, name in enumerate(self.numbers):
            yield name, (len(self.arrays), (i,))

    def find(self, entry: str) -> tuple[int, tuple[int, ...]]:
        """Return which of the arrays a single parameter is in, and where.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        wanted = _plain_name(entry)
        if wanted in self.numbers:
            return len(self.arrays), (list(self.numbers).index(wanted),)
        found = False
        for which, (name, at) in enumerate(self.arrays.items()):
            match = re.fullmatch(r"(?:\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\])?", wanted.removeprefix(name))
            if wanted.startswith(name) and match:
                found = True
                index = tuple(int(number) for number in (match[1] or "").split(",") if number)
                shape = self.leaves[at].shape
                if len(index) == len(shape) and all(-n <= i < n for i, n in zip(index, shape, strict=True)):
                    return which, tuple(i % n for i, n in zip(index, shape, strict=True))
        problem = "has no single number there" if found else "has no parameter of that name"
        example, _ = next(self.entries())
        known = [f"{name} of shape {self.leaves[at].shape}" for name, at in self.arrays.items()]
        known += self.numbers
        more = f", and {len(known) - 12} more" if len(known) > 12 else ""
        raise ValueError(
            f"descent: along={entry!r}: the model {problem}. Name a leaf and an index in it, such as {example!r}. The "
            f"leaves are {', '.join(known[:12])}{more}."
        )


def split_model(model: Any) -> Parameters:
    """Return what a model is besides its parameters: the leaves of real floating dtype.

    Raises
    ------
    ValueError
        If it has no such leaf.
    """
    arrays: dict[str, int] = {}
    numbers: dict[str, int] = {}
    leaves = []
    for i, (path, leaf) in enumerate(tree.leaves_with_path(model)):
        array = jnp.asarray(leaf) if isinstance(leaf, float) or backend_of(leaf) is not None else leaf
        leaves.append(array)
        if type(array) is Array and is_inexact(array.dtype.name) and not array.dtype.name.startswith("complex"):
            kind = numbers if stands_alone(array) else arrays
            kind[_plain_name(tree.keystr(path)) or ROOT] = i
    if not arrays and not numbers:
        raise ValueError(
            f"descent: the model has no parameters of floating dtype, got {type(model).__name__}. Give a model, or a "
            f"list of what it was after each step."
        )
    return Parameters(tree.structure(model), leaves, arrays, numbers)


def _plain_name(path: str) -> str:
    """Return a path as attributes have it: ``['layers'][0]['weight']`` as ``layers[0].weight``.

    Examples
    --------
    >>> _plain_name("['layers'][0]['weight'][1, 2]")
    'layers[0].weight[1, 2]'
    """
    # A Value is a tree of one leaf, and the step to it says nothing.
    return re.sub(r"\[(['\"])(\w+)\1\]", r".\2", path.removesuffix("[<flat index 0>]")).removeprefix(".")
