"""`Drawing`: a drawn graph, which shows itself in a notebook and saves itself in the usual formats."""

from __future__ import annotations

import functools
import os
import subprocess
import warnings
from pathlib import Path

from gradkit.viz.computation import Diagram
from gradkit.viz.dot import dot_text, graphviz, run_graphviz
from gradkit.viz.figures import check_path
from gradkit.viz.layout import lay_out
from gradkit.viz.raster import picture
from gradkit.viz.svg import svg_text

__all__ = ["Drawing"]

FORMATS = ("svg", "png", "pdf", "dot")


class Drawing:
    """A drawn graph: what `draw` returns.

    Graphviz draws it where it is installed; otherwise a layout of gradkit's own does, which for PNG and PDF takes
    matplotlib (``pip install 'gradkit[plot]'``). In a notebook it shows itself.

    Attributes
    ----------
    dot : str
        The graph in Graphviz' language.
    svg : str
        The picture as an SVG document.
    """

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram

    @functools.cached_property
    def dot(self) -> str:
        """The graph in Graphviz' language."""
        return dot_text(self._diagram)

    @functools.cached_property
    def svg(self) -> str:
        """The picture as an SVG document."""
        return self._render("svg").decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file, in the format that the suffix says.

        Parameters
        ----------
        path : str or path
            The file, which ends in ``.svg``, ``.png``, ``.pdf`` or ``.dot`` (Graphviz' language). Its
            folder must exist.

        Raises
        ------
        ValueError
            If the suffix is another one.
        OSError
            If the folder does not exist, or the file cannot be written.
        MissingDependencyError
            If a PNG or PDF is asked for and neither Graphviz nor matplotlib is installed.
        """
        check_path(path, "Drawing.save", FORMATS)
        file = Path(path)
        kind = file.suffix[1:].lower()
        file.write_bytes(self.dot.encode() if kind == "dot" else self._render(kind))

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        shapes = [mark.shape for mark in self._diagram.marks]
        counts = [(shapes.count("record"), "values"), (shapes.count("oval"), "operations")]
        counts += [(folded, "folded groups")] if (folded := shapes.count("group")) else []
        return f"<Drawing of {', '.join(f'{count} {what}' for count, what in counts)}>"

    def _render(self, kind: str) -> bytes:
        program = graphviz()
        if program is not None:
            try:
                return run_graphviz(program, self.dot, kind)
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
                warnings.warn(
                    f"Graphviz ({program}) could not draw, so gradkit's own layout does. It said: {said}",
                    RuntimeWarning,
                    stacklevel=3,
                )
        layout = lay_out(self._diagram)
        return svg_text(layout).encode() if kind == "svg" else picture(layout, kind)
