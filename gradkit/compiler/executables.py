"""What runs a captured graph on values. One is made for each program: graphs with one key share it.

An executable takes the graph's constants and arguments, in this order, as Arrays that no transform follows, and gives
its results, as such. Literals are part of the program.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence

from gradkit.compiler.keys import key_of
from gradkit.core.array import Array
from gradkit.core.graph import Graph
from gradkit.core.values import host

__all__ = ["Executable", "clear_executables", "executable_of"]

_executables: dict[Hashable, Executable] = {}
_lock = threading.Lock()


class Executable:
    """A compiled graph.

    Parameters
    ----------
    graph : Graph
        The program, with nothing but inputs (`Graph.closed`).
    donated : sequence of int
        Inputs whose memory the results may take.
    """

    def __init__(self, graph: Graph, donated: Sequence[int] = ()) -> None:
        self.graph = graph
        self.donated = tuple(donated)
        self.run: Callable[[Sequence[Array]], list[Array]] = graph.run

    def __call__(self, arguments: Sequence[Array]) -> list[Array]:
        """Run it."""
        return self.run(arguments)


def executable_of(graph: Graph, donated: Sequence[int] = ()) -> Executable:
    """Return what runs a graph, compiled once for all graphs that compute the same.

    Parameters
    ----------
    graph : Graph
        The program; its constants become the first inputs.
    donated : sequence of int
        Inputs of the closed graph whose memory the results may take.
    """
    form, arrays = key_of(graph)
    literals = tuple(host(array).tobytes() for array in arrays[len(graph.constants) :])
    key = form, literals, tuple(donated)
    found = _executables.get(key)
    if found is None:
        with _lock:  # of several threads one compiles
            found = _executables.get(key)
            if found is None:
                found = _executables[key] = Executable(graph.closed(), donated)
    return found


def clear_executables() -> None:
    """Forget all of them."""
    _executables.clear()
