"""Simplification: a graph that computes the same with less.

Each operation is looked at as the graph is written anew (`rewriting`): there are rules for elementwise operations
(`identities`), for what moves elements and for reductions (`layouts`), and for loops and choices (`loops`). What
nothing needs any longer goes at the end (`pruning`).

What comes out is bit for bit what the graph gives, except where a row says otherwise: sums may be taken in another
order. It is run on values: no transform follows, for which `stop_gradient`, say, is more than the identity.
"""

from __future__ import annotations

from gradkit.compiler.identities import IDENTITIES
from gradkit.compiler.layouts import LAYOUTS
from gradkit.compiler.loops import rewritten
from gradkit.compiler.pruning import pruned
from gradkit.compiler.rewriting import table
from gradkit.core.graph import Graph

__all__ = ["simplified"]

RULES = table([*IDENTITIES, *LAYOUTS])
ROUNDS = 2
"""What is read once may become known in the first: it has left out what nothing needs."""


def simplified(graph: Graph) -> Graph:
    """Return a graph that computes the same from the same arguments, for a run on values.

    Parameters
    ----------
    graph : Graph
        Any graph. What it has as constants stays what it is: they belong to whoever calls, and are looked at no more
        than arguments are.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> from gradkit.transforms.printing import jaxpr_text
    >>> graph = gradkit.make_jaxpr(gradkit.grad(lambda x: jnp.mean((x / 2) ** 2)))(jnp.ones(8)).jaxpr
    >>> [equation.primitive.name for equation in graph.equations]
    ['divide', 'square', 'mean', 'multiply', 'multiply', 'multiply']
    >>> print(jaxpr_text(simplified(graph)))
    { lambda ; a:f32[8]. let b:f32[8] = mul a 0.0625:f32[] in (b,) }
    """
    graph = pruned(graph)
    for _ in range(ROUNDS):
        graph, has_changed = rewritten(graph, RULES)
        if not has_changed:
            break
        graph = pruned(graph)
    return graph
