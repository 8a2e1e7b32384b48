"""`Picture`: a matplotlib Figure that needs no pyplot, and shows itself in a notebook all the same."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A matplotlib Figure. Its own class, because a notebook shows a Figure only after pyplot has been imported."""

    def _repr_png_(self) -> bytes:
        contents = io.BytesIO()
        self.savefig(contents, format="png", dpi=100)
        return contents.getvalue()
