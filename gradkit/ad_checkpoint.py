"""`jax.ad_checkpoint`'s names: what is kept for the backward pass."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from gradkit.core.array import Array
from gradkit.core.graph import Equation, Graph, Variable
from gradkit.core.sources import noting_sources
from gradkit.primitives.naming import NAME
from gradkit.transforms.abstract import capture
from gradkit.transforms.checkpoint import checkpoint, checkpoint_name, remat
from gradkit.transforms.policies import checkpoint_policies
from gradkit.transforms.printing import primitive_name, type_text
from gradkit.transforms.rematerialization import Offloadable
from gradkit.transforms.reverse import vjp
from gradkit.tree import flatten, keystr, leaves, leaves_with_path, unflatten

__all__ = [
    "Offloadable", "Recompute", "Saveable", "checkpoint", "checkpoint_name", "checkpoint_policies",
    "print_saved_residuals", "remat",
]  # fmt: skip

Recompute, Saveable = False, True
"""What a policy answers."""


def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Print what reverse mode keeps of a function for the backward pass: shapes, and where each comes from.

    These are the values that the derivatives' rules read. (JAX keeps the coefficients of the Jacobian instead, so it
    says ``output of cos`` where this says what the cosine will be taken of.)

    Parameters
    ----------
    f : callable
        A function of arrays or pytrees.
    *args, **kwargs : pytree
        Its arguments, or anything with their shapes and dtypes.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> print_saved_residuals(lambda x: jnp.sin(jnp.exp(x)), 1.0)
    f32[] output of exp from <doctest ...>:1:40 (<lambda>)
    """
    given, treedef = flatten((args, kwargs))

    def residuals(*flat: Any) -> list[Array]:
        def function(*inputs: Any) -> Any:
            arguments, named = unflatten(treedef, inputs)
            return f(*arguments, **named)

        return leaves(vjp(function, *flat)[1])

    with noting_sources():
        graph = capture(residuals, given, {}).jaxpr
    for line in _lines(graph, list(_names(f, args, kwargs))):
        sys.stdout.write(line + "\n")


def _lines(graph: Graph, names: list[str]) -> Iterator[str]:
    origins, shown = _without_views(graph)
    kept = {origins.get(output, output) for output in graph.outputs if type(output) is Variable}
    yield from (f"{type_text(output)} from a literal" for output in graph.outputs if type(output) is not Variable)
    yield from (f"{type_text(v)} from a constant" for v, _ in graph.constants if v in kept)
    for variable, name in zip(graph.inputs, names, strict=True):
        if variable in kept:
            yield f"{type_text(variable)} from the argument {name}"
    for equation in graph.equations:
        yield from (f"{type_text(shown.get(v, v))} {_origin(equation)}" for v in equation.outputs if v in kept)


def _without_views(graph: Graph) -> tuple[dict[Variable, Variable], dict[Variable, Variable]]:
    """Return whose memory each reshaped array has, and, of what is reshaped on the line that made it, the outcome."""
    made = {out: equation for equation in graph.equations for out in equation.outputs}
    origins: dict[Variable, Variable] = {}
    shown: dict[Variable, Variable] = {}
    for equation in graph.equations:
        (x, *_), out = equation.inputs or (None,), equation.outputs[0] if equation.outputs else None
        if equation.primitive.name == "reshape" and type(x) is Variable and out is not None:
            origin = origins[out] = origins.get(x, x)
            if origin in made and made[origin].source == equation.source:
                shown[origin] = out
    return origins, shown


def _origin(equation: Equation) -> str:
    what = (
        f"named {equation.params['name']!r}" if equation.primitive is NAME else f"output of {primitive_name(equation)}"
    )
    return f"{what} from {equation.source}"


def _names(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[str]:
    """Name the leaves of the arguments: by the parameters, and paths in them."""
    parameters = [p for p in inspect.signature(f).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    for i, arg in enumerate(args):
        parameter = parameters[min(i, len(parameters) - 1)]
        rest = parameter.kind is parameter.VAR_POSITIONAL
        name = f"{parameter.name}[{i - len(parameters) + 1}]" if rest else parameter.name
        yield from (name + keystr(path) for path, _ in leaves_with_path(arg))
    for name, arg in kwargs.items():
        yield from (name + keystr(path) for path, _ in leaves_with_path(arg))
