"""Functions that are defined by an equation: what solves a linear one, and a root.

Their derivatives come from the equation and not from the steps of the solver, which may be a loop without a derivative,
or code that is no part of this library.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradkit.core.array import is_tangent
from gradkit.core.assignment import keeping_arguments
from gradkit.core.capture import graph_of
from gradkit.core.functions import CUSTOM_JVP, LINEAR_SOLVE, NOT_LINEAR
from gradkit.core.graph import abstract_like
from gradkit.core.primitive import no_transpose
from gradkit.core.promotion import is_inexact
from gradkit.primitives import zeros_like
from gradkit.transforms.arguments import as_array, as_array_leaf, check_callable, check_pair, without_tape
from gradkit.transforms.forward import jvp, linearize
from gradkit.transforms.reverse import vjp
from gradkit.tree import flatten, structure, unflatten

__all__ = ["custom_linear_solve", "custom_root"]

Flat = list[Any]


class Converted:
    """A function of trees as a graph, which takes what the function closes over as well: ``(*constants, *leaves)``."""

    def __init__(self, function: Callable[..., Any], *examples: Any) -> None:
        leaves, tree = flatten(examples)
        out_trees: list[Any] = []

        def flat_function(*flat: Any) -> Flat:
            outs, out_tree = flatten(keeping_arguments(function)(*unflatten(tree, flat)))
            out_trees.append(out_tree)
            return [as_array(out) for out in outs]

        self.graph, self.constants = graph_of(flat_function, [abstract_like(as_array(leaf)) for leaf in leaves])
        self.count = len(self.constants)
        self.out_tree = out_trees[0]

    def __call__(self, *flat: Any) -> Flat:
        """Run it on constants and leaves."""
        return [as_array(out) for out in self.graph.run(flat)]


def _check(converted: Converted, leaves: Flat, tree: Any, what: str) -> None:
    """Raise where a function does not return what is like its argument."""
    outs = converted.graph.outputs
    if converted.out_tree != tree:
        raise TypeError(f"{what} must return the structure {tree}, got {converted.out_tree}")
    for leaf, out in zip(leaves, outs, strict=True):
        if tuple(out.shape) != leaf.shape:
            raise TypeError(f"{what} must return arrays of shape {leaf.shape}, got {tuple(out.shape)}")


def _push(function: Callable[[Flat], Flat], constants: Flat, tangents: Flat, like: Flat) -> Flat:
    """Return how a function's results move with its constants, of which whole numbers do not."""
    inexact = [i for i, c in enumerate(constants) if is_inexact(c.dtype.name)]
    if not inexact:
        return [zeros_like(x) for x in like]
    of_inexact, moving = _of_some(function, constants, inexact)
    found: Flat = jvp(of_inexact, moving, [tangents[i] for i in inexact])[1]
    return found


def _of_some(
    function: Callable[[Flat], Flat], constants: Flat, positions: list[int]
) -> tuple[Callable[..., Flat], Flat]:
    """Return a function of some of the constants, and those."""

    def of_some(*moving: Any) -> Flat:
        every = list(constants)
        for position, value in zip(positions, moving, strict=True):
            every[position] = value
        return function(every)

    return of_some, [constants[position] for position in positions]


@dataclass
class System:
    """A linear system and its transpose, each with a function that solves it, as functions of flat lists.

    Attributes
    ----------
    matvec : callable
        ``matvec(constants, x) -> b``.
    solve : callable or None
        ``solve(constants, own, b) -> [*x, *aux]``, where `own` is what the solver closes over.
    counts : tuple of int
        The numbers of the constants, of what this solver and the transpose's close over.
    size : int
        The number of leaves of b.
    """

    matvec: Callable[[Flat, Flat], Flat]
    solve: Callable[[Flat, Flat, Flat], Flat] | None
    counts: tuple[int, int, int]
    size: int
    transpose: System | None = None

    def parts(self, args: Flat) -> tuple[Flat, Flat, Flat, Flat]:
        """Divide the arguments: the constants, what the two solvers close over, and b."""
        ends = list(itertools.accumulate(self.counts))
        return args[: ends[0]], args[ends[0] : ends[1]], args[ends[1] : ends[2]], args[ends[2] :]

    def __call__(self, args: Flat) -> Flat:
        """Solve it, with the rules for the derivatives."""
        return LINEAR_SOLVE.call(args, self.function, self.push, self.size, self.forward, self.backward)

    def function(self, args: Flat) -> Flat:
        """Solve it."""
        constants, own, _, b = self.parts(args)
        if self.solve is None:
            raise TypeError(
                "transpose_solve required for backwards mode automatic differentiation of custom_linear_solve"
            )
        return self.solve(constants, own, b)

    def push(self, primals: Flat, tangents: Flat) -> tuple[Flat, Flat]:
        """Solve for the tangent: of ``A x = b`` follows ``A dx = db - dA x``."""
        outs = self(primals)
        constants, own, other, _ = self.parts(primals)
        of_constants, _, _, of_b = self.parts(tangents)
        x = outs[: self.size]
        moved = _push(lambda c: self.matvec(c, x), constants, of_constants, x)
        directions = self([*constants, *own, *other, *(t - m for t, m in zip(of_b, moved, strict=True))])
        return outs, [*directions[: self.size], *(zeros_like(aux) for aux in outs[self.size :])]

    def forward(self, args: Flat) -> tuple[Flat, Flat]:
        """Solve it, and keep the solution."""
        outs = self(args)
        return outs, [*args[: sum(self.counts)], *outs[: self.size]]

    def backward(self, residuals: Flat, cotangents: Flat) -> Flat:
        """Solve the transposed system: that is the cotangent of b."""
        assert self.transpose is not None
        constants, own, other, x = self.parts(residuals)
        of_b = self.transpose([*constants, *other, *own, *cotangents[: self.size]])[: self.size]
        inexact = [i for i, c in enumerate(constants) if is_inexact(c.dtype.name)]
        of_inexact, moving = _of_some(lambda c: self.matvec(c, x), constants, inexact)
        shares = vjp(of_inexact, *moving)[1]([-share for share in of_b])
        found = dict(zip(inexact, shares, strict=True))
        return [*(found.get(i) for i in range(len(constants))), *([None] * (len(own) + len(other))), *of_b]


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """Solve ``matvec(x) = b`` by a function of your own, with derivatives that follow from the equation.

    Parameters
    ----------
    matvec : callable
        A linear function of arrays of `b`'s structure. What it closes over may be differentiated.
    b : pytree
        The right side.
    solve : callable
        ``solve(matvec, b) -> x``; it need not have a derivative. With `has_aux` a pair of x and anything.
    transpose_solve : callable, optional
        ``transpose_solve(vecmat, b) -> x`` for the transpose of `matvec`, which reverse mode needs.
    symmetric : bool
        Whether `matvec` is its own transpose: then `solve` solves both.
    has_aux : bool
        Whether `solve` returns auxiliary data beside its result.

    Returns
    -------
    pytree
        x, or with `has_aux` the pair of it and the auxiliary data.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> a = jnp.asarray([[2.0, 0.0], [0.0, 4.0]])
    >>> def x(a, b):
    ...     return gradkit.lax.custom_linear_solve(
    ...         lambda x: a @ x, b, lambda _, b: jnp.linalg.solve(a, b), symmetric=True
    ...     )
    >>> x(a, jnp.ones(2))
    Array([0.5 , 0.25], dtype=float32)
    >>> gradkit.grad(lambda a: x(a, jnp.ones(2)).sum())(a)
    Array([[-0.25 , -0.125 ],
           [-0.125 , -0.0625]], dtype=float32)
    """
    check_callable(matvec)
    check_callable(solve)
    leaves, tree = flatten(b)
    right = [without_tape(as_array_leaf(leaf, b)) for leaf in leaves]
    b = unflatten(tree, right)
    matrix = Converted(matvec, b)
    _check(matrix, right, tree, "custom_linear_solve: matvec")
    constants = matrix.constants
    if any(map(is_tangent, constants)):
        raise no_transpose("custom_linear_solve", NOT_LINEAR)

    def apply(constants: Flat, x: Flat) -> Flat:
        return matrix(*constants, *x)

    def apply_transpose(constants: Flat, y: Flat) -> Flat:
        if symmetric:
            return apply(constants, y)
        pullback = vjp(lambda *x: apply(constants, list(x)), *map(zeros_like, y))[1]
        return list(pullback(y))

    def solver(by: Callable[..., Any], function: Callable[[Flat, Flat], Flat]) -> Converted:
        def solved(constants: Flat, b: Any) -> Any:
            return by(lambda x: unflatten(tree, function(constants, [as_array(leaf) for leaf in flatten(x)[0]])), b)

        return Converted(solved, constants, b)

    if transpose_solve is None and symmetric:
        transpose_solve = solve
    forwards = solver(solve, apply)
    backwards = None if transpose_solve is None else solver(transpose_solve, apply_transpose)
    found = check_pair(unflatten(forwards.out_tree, forwards.graph.outputs)) if has_aux else None
    if (structure(found[0]) if found else forwards.out_tree) != tree:
        raise TypeError(f"custom_linear_solve: solve must return the structure of b, {tree}, got {forwards.out_tree}")

    def run(converted: Converted | None) -> Any:
        return None if converted is None else lambda constants, own, b: converted(*own, *constants, *b)

    own, other = forwards.constants, [] if backwards is None else backwards.constants
    system = System(apply, run(forwards), (len(constants), len(own), len(other)), len(right))
    system.transpose = System(
        apply_transpose, run(backwards), (len(constants), len(other), len(own)), len(right), system
    )
    outs = system([*constants, *own, *other, *right])
    return unflatten(forwards.out_tree, outs)


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """Find a root of a function by a function of your own, with derivatives of the implicit function theorem.

    Parameters
    ----------
    f : callable
        A function of arrays of the structure of `initial_guess`, whose root is looked for. What it closes over may be
        differentiated.
    initial_guess : pytree
        Where to start.
    solve : callable
        ``solve(f, initial_guess) -> root``; it need not have a derivative. With `has_aux` a pair of it and anything.
    tangent_solve : callable
        ``tangent_solve(g, y) -> x`` solves ``g(x) = y`` for a linear g. For a scalar, ``y / g(1.0)``.
    has_aux : bool
        Whether `solve` returns auxiliary data beside its result.

    Returns
    -------
    pytree
        The root, or with `has_aux` the pair of it and the auxiliary data.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> def square_root(a):
    ...     newton = lambda f, x: gradkit.lax.fori_loop(0, 9, lambda _, x: x - f(x) / gradkit.grad(f)(x), x)
    ...     return gradkit.lax.custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> square_root(4.0), gradkit.grad(square_root)(4.0)
    (Array(2., dtype=float32), Array(0.25, dtype=float32))
    """
    check_callable(f)
    leaves, tree = flatten(initial_guess)
    start = [without_tape(as_array_leaf(leaf, initial_guess)) for leaf in leaves]
    guess = unflatten(tree, start)
    function = Converted(f, guess)
    _check(function, start, tree, "custom_root: f")
    count = len(start)

    def of_tree(constants: Flat) -> Callable[[Any], Any]:
        return lambda x: unflatten(tree, function(*constants, *(as_array(leaf) for leaf in flatten(x)[0])))

    def along(constants: Flat, root: Any, y: Any) -> Any:
        return tangent_solve(linearize(of_tree(constants), root)[1], y)

    solver = Converted(lambda constants, guess: solve(of_tree(constants), guess), function.constants, guess)
    root_tree = (
        structure(check_pair(unflatten(solver.out_tree, solver.graph.outputs))[0]) if has_aux else solver.out_tree
    )
    if root_tree != tree:
        raise TypeError(f"custom_root: solve must return the structure of initial_guess, {tree}, got {root_tree}")
    tangent = Converted(along, function.constants, guess, guess)
    ends = list(itertools.accumulate([function.count, solver.count, tangent.count]))

    def run(args: Flat) -> Flat:
        constants, own = args[: ends[0]], args[ends[0] : ends[1]]
        return solver(*own, *constants, *args[ends[2] :])

    def push(primals: Flat, tangents: Flat) -> tuple[Flat, Flat]:
        outs = CUSTOM_JVP.call(primals, run, push)
        root = outs[:count]
        constants, own = primals[: ends[0]], primals[ends[1] : ends[2]]
        moved = _push(lambda c: function(*c, *root), constants, tangents[: ends[0]], root)
        directions = tangent(*own, *constants, *root, *moved)
        return outs, [*(-d for d in directions), *(zeros_like(aux) for aux in outs[count:])]

    args = [*function.constants, *solver.constants, *tangent.constants, *start]
    return unflatten(solver.out_tree, CUSTOM_JVP.call(args, run, push))
