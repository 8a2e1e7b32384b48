"""A diagram as text for Graphviz, and Graphviz itself where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess

from gradkit.viz.computation import Diagram, Mark

__all__ = ["dot_text", "graphviz", "run_graphviz"]

FONT = "DejaVu Sans Mono,Menlo,Consolas,monospace"


def dot_text(diagram: Diagram) -> str:
    """Return a diagram in Graphviz' language."""
    names = {mark: f"n{index}" for index, mark in enumerate(diagram.marks)}
    lines = [
        "digraph {",
        '  graph [rankdir="LR", nodesep="0.2", ranksep="0.35", charset="UTF-8"]',
        f'  node [fontname="{FONT}", fontsize="11", margin="0.1,0.04", height="0.3", width="0.3"]',
        '  edge [arrowsize="0.7"]',
    ]
    if diagram.title:
        lines.append(f'  graph [label="{_quote(diagram.title)}", labelloc="t", fontname="{FONT}", fontsize="13"]')
    lines += [f"  {names[mark]} [{_attributes(mark)}]" for mark in diagram.marks]
    # From the right side to the left one: to where Graphviz would lead them, they cross the text of wide records.
    lines += [f"  {names[tail]}:e -> {names[head]}:w" for tail, head in diagram.edges]
    return "\n".join([*lines, "}", ""])


def _attributes(mark: Mark) -> str:
    style = ', style="dashed"' * mark.dashed
    if mark.shape == "record":
        # The braces turn the cells, which would lie below each other, into a row.
        return f'shape="record", label="{{{"|".join(map(_cell, mark.texts))}}}"{style}'
    label = "\\n".join(map(_quote, mark.texts))
    if mark.shape == "group":
        return f'shape="box", peripheries="2", label="{label}"{style}'
    return f'shape="ellipse", label="{label}"{style}'


def _quote(text: str) -> str:
    """Escape what a quoted string may not hold; an ampersand begins an entity there as in XML."""
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\n", "\\n")


def _cell(text: str) -> str:
    """Escape what separates the cells of a record, and spaces of which a record would keep one or none."""
    text = "".join("\\" + c if c in "{}|<>" else _quote(c) for c in text)
    return re.sub(r"^ | $|(?<= ) ", r"\\ ", text)


def graphviz() -> str | None:
    """Return where Graphviz' program ``dot`` is, or None where it is not installed."""
    return shutil.which("dot")


def run_graphviz(program: str, text: str, kind: str) -> bytes:
    """Return a picture of the kind ``svg``, ``png`` or ``pdf`` that Graphviz makes of its text.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        If Graphviz cannot be run or fails.
    """
    options = ["-Gdpi=144"] if kind == "png" else []
    done = subprocess.run([program, f"-T{kind}", *options], input=text.encode(), capture_output=True, check=True)
    return done.stdout
