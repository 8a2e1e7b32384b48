"""Fewer marks for a large computation: operations are put together by layer, or by what they do, with counts.

Several ways are tried, from fine to coarse, and the first that gives a picture of the size asked for is taken:

- by layer: an operation belongs to the layer whose parameters it reads, or whose results alone it reads; the layers are
  the paths in the parameters' labels, the innermost first;
- by operation: all additions of one stage are one mark.

In both, operations that depend on each other through something else are kept apart in stages, so that arrows go one
way. If that gives too many stages (a network that is run a thousand times), stages are put together as well, and
arrows may go back.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from gradkit.viz.computation import Computation, Diagram, Mark, Operation, Quantity
from gradkit.viz.wording import printable, range_of_all

__all__ = ["fold"]

Key = tuple[str, int]
_STEP = re.compile(r"\[[^\]]*\]|\.?[^.\[]+")
MOST_NAMES = 6
MOST_ALONE = 4
"""Inputs of one operation, or group of them, that are shown one by one."""
TIMES = "\N{MULTIPLICATION SIGN}"


def fold(computation: Computation, max_nodes: int) -> Diagram:
    """Return a diagram of at most `max_nodes` marks if there is a way, else the smallest.

    Parameters
    ----------
    computation : Computation
        What to draw.
    max_nodes : int
        The most marks.
    """
    for keys in _groupings(computation):
        for most in (MOST_ALONE, 1):
            diagram = _fold(computation, keys, most)
            if len(diagram.marks) <= max_nodes:
                return diagram
    return diagram


def _groupings(computation: Computation) -> Iterator[list[Key]]:
    """Yield the ways of putting operations together: for each operation a key that its group shares."""
    operations = computation.operations
    producers = _producers(operations)
    paths = _layers(operations, producers)
    deepest = max(map(len, paths), default=0)
    by_layer = []
    for depth in range(deepest, 0, -1):
        names = ["".join(path[:depth]) for path in paths]
        if len({name for name in names if name}) > 1:
            by_layer.append([name or operation.name for name, operation in zip(names, operations, strict=True)])
    by_operation = [operation.name for operation in operations]
    for names in by_layer:
        yield _in_stages(names, operations, producers)
    for names in by_layer:
        yield [(name, 0) for name in names]
    yield _in_stages(by_operation, operations, producers)
    yield [(name, 0) for name in by_operation]
    yield [("everything", 0)] * len(operations)


def _producers(operations: Sequence[Operation]) -> dict[Quantity, int]:
    """Return which operation gives each value."""
    return {output: i for i, operation in enumerate(operations) for output in operation.outputs}


def _layers(operations: Sequence[Operation], producers: dict[Quantity, int]) -> list[tuple[str, ...]]:
    """Return the path of each operation's layer, empty where it belongs to none."""
    paths: list[tuple[str, ...]] = []
    for operation in operations:
        own = [path for q in operation.inputs if q.role == "input" and (path := _layer_of_label(q.label))]
        if own:
            paths.append(_common(own))
            continue
        from_outside = any(q not in producers and (q.role == "input" or q.shape) for q in operation.inputs)
        before = [paths[producers[q]] for q in operation.inputs if q in producers]
        # One of the layers holds the others, or it is none of them.
        shared = _common(before) if before else ()
        paths.append(shared if shared in before and not from_outside else ())
    return paths


def _layer_of_label(label: str) -> tuple[str, ...]:
    """Return the steps of the path of what holds a parameter."""
    return tuple(_STEP.findall(label))[:-1]


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    shared = 0
    while all(len(path) > shared and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    return paths[0][:shared]


def _in_stages(names: Sequence[str], operations: Sequence[Operation], producers: dict[Quantity, int]) -> list[Key]:
    """Add numbers to the names, so that what depends on another group is in a later stage."""
    stages: list[int] = []
    for name, operation in zip(names, operations, strict=True):
        before = [producers[q] for q in operation.inputs if q in producers]
        stages.append(max((stages[i] + (names[i] != name) for i in before), default=0))
    return list(zip(names, stages, strict=True))


def _fold(computation: Computation, keys: Sequence[Key], most_alone: int) -> Diagram:
    operations = computation.operations
    groups: dict[Key, list[Operation]] = {}
    for key, operation in zip(keys, operations, strict=True):
        groups.setdefault(key, []).append(operation)
    marks = {key: _group_mark(key[0], members) for key, members in groups.items()}
    producers = _producers(operations)
    readers: dict[Quantity, dict[Key, None]] = {}
    edges: dict[tuple[Mark, Mark], None] = {}
    for key, operation in zip(keys, operations, strict=True):
        for quantity in operation.inputs:
            if quantity not in producers:
                readers.setdefault(quantity, {})[key] = None
            elif (source := keys[producers[quantity]]) != key:
                edges[marks[source], marks[key]] = None
    inputs: dict[tuple[tuple[Key, ...], str], list[Quantity]] = {}
    for quantity in computation.quantities:
        if quantity not in producers:
            inputs.setdefault((tuple(readers.get(quantity, ())), quantity.role), []).append(quantity)
    input_marks = []
    for (read_by, _), members in inputs.items():
        together = [_input_mark(members)] if len(members) > most_alone else [member.mark() for member in members]
        input_marks += together
        edges.update(dict.fromkeys((mark, marks[key]) for mark in together for key in read_by))
    output_marks = []
    for quantity in computation.outputs:
        if quantity in producers:
            output_marks.append(quantity.mark())
            edges[marks[keys[producers[quantity]]], output_marks[-1]] = None
    return Diagram([*input_marks, *marks.values(), *output_marks], list(edges))


def _group_mark(name: str, members: Sequence[Operation]) -> Mark:
    if len(members) == 1:
        return members[0].mark()
    counts = Counter(operation.name for operation in members)
    if set(counts) == {name}:
        lines = [f"{name} {TIMES}{len(members)}"]
    else:
        shown = [f"{what} {TIMES}{count}" if count > 1 else what for what, count in counts.most_common(MOST_NAMES)]
        rest = len(counts) - len(shown)
        lines = [name, f"{len(members)} operations", *shown, *([f"and {rest} kinds more"] if rest else [])]
    types = {output.type for operation in members for output in operation.outputs}
    if len(types) == 1 and (shared := types.pop()):
        lines.append(shared)
    return Mark("group", tuple(map(printable, lines)))


def _input_mark(members: Sequence[Quantity]) -> Mark:
    """Return the mark of several inputs that are read together: how many, and the range of their elements."""
    common = "".join(_common([tuple(_STEP.findall(q.label)) for q in members]))
    what = "constants" if members[0].role == "constant" else "inputs"
    count = sum(1 if q.shape is None else math.prod(q.shape) for q in members)
    lines = [common, f"{len(members):,} {what}", f"{count:,} numbers" if count != len(members) else ""]
    data = [q.data for q in members if q.data is not None]
    gradients = [q.grad for q in members if q.grad is not None]
    lines += [f"data {range_of_all(data)}" if data else "", f"grad {range_of_all(gradients)}" if gradients else ""]
    return Mark("group", tuple(printable(line) for line in lines if line), dashed=what == "constants")
