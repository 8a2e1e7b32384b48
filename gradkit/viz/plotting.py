"""matplotlib, imported when a picture is made."""

from __future__ import annotations

import importlib
from typing import Any

from gradkit.errors import MissingDependencyError

__all__ = ["plotting_module"]


def plotting_module(name: str) -> Any:
    """Return a module of matplotlib: ``plotting_module("matplotlib.figure")``.

    Raises
    ------
    MissingDependencyError
        If it is not installed; the message names the extra that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"This picture needs matplotlib, which cannot be imported ({error}). Install it with: "
            f"pip install 'gradkit[plot]'"
        ) from error
