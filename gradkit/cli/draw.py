"""``gradkit draw``: the graph of a trained model, or its plan."""

from __future__ import annotations

import argparse

from gradkit import numpy as jnp
from gradkit import viz
from gradkit.cli.models import load_model
from gradkit.cli.options import CommandError, use_backend

__all__ = ["draw"]


def draw(options: argparse.Namespace) -> int:
    """Draw what the model computes for one example, or what that becomes under `jit`."""
    use_backend("numpy")  # a graph is captured by shapes: no GPU is needed, whatever the environment asks for
    model = load_model(options.folder)
    what, drawn = ("plan", viz.draw_plan) if options.plan else ("graph", viz.draw)
    try:
        drawing = drawn(model.network, jnp.zeros((1, model.about.widths[0])))
    except ValueError as error:  # nothing is compiled here
        raise CommandError(f"argument --plan: {error}") from error
    path = options.folder / f"{what}.svg" if options.out is None else options.out
    try:
        drawing.save(path)
    except ValueError as error:  # a suffix that there is no format for
        raise CommandError(f"argument --out: {error}") from error
    print(f"{model.about.title}: {'-'.join(map(str, model.about.widths))}; {what} in {path}")
    return 0
