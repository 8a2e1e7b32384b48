"""`draw`: the graph that computed an array, or the graph of a function, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradkit import nn, scalar, tree
from gradkit.core import Array
from gradkit.core.printing import describe
from gradkit.scalar import Value
from gradkit.scalar.value import Input
from gradkit.viz.captured import computation_of
from gradkit.viz.computation import Computation
from gradkit.viz.drawing import Drawing
from gradkit.viz.folding import fold
from gradkit.viz.naming import Labels, is_value, labels_of
from gradkit.viz.tape import Tape
from gradkit.viz.values import computation_of_values, is_walked
from gradkit.viz.wording import printable

__all__ = ["draw"]


def draw(
    out: Any,
    /,
    *args: Any,
    labels: Any = None,
    title: str = "",
    gradients: bool | None = None,
    max_nodes: int = 200,
    **kwargs: Any,
) -> Drawing:
    r"""Draw the graph that computed an array, or the graph of a function, from left to right.

    A value is a record: its label, dtype and shape, its number or the range of its elements, and the same of its
    gradient. What nothing is differentiated by has a dashed border. An operation is an oval, and arrows go the way of
    the data.

    Parameters
    ----------
    out : Value, Array, pytree of them, or callable
        What was computed, in the case of Arrays from some with ``requires_grad``; or a function (plain, jitted, or a
        model), of which the graph is captured without computing it.
    *args
        Where `out` is a function, arguments for it, or anything with their shapes and dtypes.
    labels : mapping of str, or pytree
        What arrays are called: ``{"x": x, "target": y}``. A model or another tree names each of its arrays by its path,
        as in ``layers[0].weight``.
    title : str
        What stands above the picture.
    gradients : bool, optional
        Whether gradients are shown: by default from the moment that `backward` has been called. With True they are
        computed for the picture, without `backward` and without a change to any ``.grad``.
    max_nodes : int
        The most marks of a picture. In a larger graph operations are put together, by layer where `labels` say which
        parameters there are, else by what they do, with their counts.
    **kwargs
        Labels as well: ``draw(L, a=a, b=b, model=model)``. Where `out` is a function, further arguments for it.

    Returns
    -------
    Drawing
        Which shows itself in a notebook, and has ``save(path)``, ``svg`` and ``dot``.

    Raises
    ------
    TypeError
        If `out` is no Value, Array or function, or a keyword is neither an option nor an array.
    ValueError
        If nothing was recorded for `out`.

    Notes
    -----
    A `Value` keeps everything, so its picture is complete. The tape of Arrays keeps what a derivative reads, until
    `backward` has passed, and the gradients of inputs. What else is shown is computed for the picture, from Arrays that
    are still alive, from what the tape has, and from data that were given a label: after ``loss.backward()``,
    ``draw(loss, model=model, x=x, y=y)`` shows everything as a rule. What remains unknown is shown by shape and dtype
    alone; ``backward(retain_graph=True)`` leaves nothing unknown, nor does drawing before `backward`, with
    ``gradients=True``. Where an input was changed since (``p.data += ...``), nothing is computed.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> a, b, c, f = jnp.asarray(2.0), jnp.asarray(-3.0), jnp.asarray(10.0), jnp.asarray(-2.0)
    >>> for x in (a, b, c, f):
    ...     x.requires_grad = True
    >>> L = (a * b + c) * f
    >>> L.backward()
    >>> drawing = gradkit.viz.draw(L, a=a, b=b, c=c, f=f, L=L)
    >>> drawing
    <Drawing of 7 values, 3 operations>
    >>> r"{a\nfloat32[]|data 2.0000\ngrad 6.0000}" in drawing.dot
    True
    >>> gradkit.viz.draw(lambda x: jnp.sum(jnp.tanh(x)), jnp.ones((2, 3)))
    <Drawing of 3 values, 2 operations>
    """
    if not isinstance(max_nodes, int) or max_nodes < 1:
        raise ValueError(f"draw: max_nodes is the most marks that a picture may have, got {max_nodes!r}")
    if not isinstance(title, str):
        raise TypeError(f"draw: title is text, got {title!r}")
    if callable(out):
        if labels is None and isinstance(out, nn.Module | scalar.Module):
            labels = out
        computation = computation_of(out, args, kwargs, labels_of(labels, {}))
    else:
        if args:
            raise TypeError(
                f"draw: arguments after the first are those of a function, and the first is {_kind(out)}. Labels have "
                f"names: draw(out, x=x) or draw(out, labels={{'x': x}})."
            )
        computation = _read_tape(out, labels_of(labels, kwargs), gradients, max_nodes)
    diagram = computation.diagram() if computation.size <= max_nodes else fold(computation, max_nodes)
    diagram.title = printable(title)
    return Drawing(diagram)


def _read_tape(out: Any, labels: Labels, gradients: bool | None, max_nodes: int) -> Computation:
    """Return what the Values and Arrays in `out` were computed from."""
    roots = tree.leaves(out, is_leaf=is_value)
    if not roots:
        raise ValueError(f"draw: there is no array in {_kind(out)}, so there is no graph")
    values, arrays = [], []
    for root in roots:
        if isinstance(root, Value):
            array = root.__gradkit_array__()
            # A Value of which a function was computed that works on Arrays is on the tape, as they are.
            if array._node is not None and not isinstance(array._node, Input):
                arrays.append(_on_the_tape(array))
            else:
                values.append(root)
        else:
            arrays.append(_on_the_tape(root))
    tape = Tape(arrays, labels) if arrays else None
    all_values = [*values, *(tape.inputs_from_values if tape else [])]
    shown = is_walked(all_values) or (tape is not None and tape.is_walked) if gradients is None else gradients
    computation, known = computation_of_values(all_values, labels, shown)
    if tape is None:
        return computation
    complete = len(tape.nodes) <= max_nodes
    return computation.followed_by(tape.computation(known, complete, shown, asked=gradients is True))


def _on_the_tape(root: Any) -> Array:
    """Return an Array that the tape has recorded."""
    if type(root) is not Array:
        raise TypeError(
            f"draw: expected a Value, an Array that was computed on the tape, or a function, got {_kind(root)}, which "
            f"has no graph."
        )
    node = root._node
    if node is None:
        raise ValueError(
            f"draw: nothing was recorded for {describe(root)}, so it has no graph. It depends on no array with "
            f"requires_grad=True, or was computed inside no_grad() or by jit or a pure update. Set "
            f"x.requires_grad = True on the inputs first, or draw the function: draw(function, *arguments)."
        )
    if node.trace.level:
        raise ValueError(
            f"draw: {describe(root)} belongs to a function that a transform (grad, vmap, ...) runs, whose values "
            f"are not on the tape. Draw the function: draw(function, *arguments)."
        )
    return root


def _kind(value: Any) -> str:
    return f"{type(value).__name__}: {value!r}" if not isinstance(value, Mapping | Sequence) else type(value).__name__
