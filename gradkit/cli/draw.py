"""``gradkit draw``: the graph of a trained model."""

from __future__ import annotations

import argparse

from gradkit import numpy as jnp
from gradkit import viz
from gradkit.cli.models import load_model
from gradkit.cli.options import CommandError, use_backend

__all__ = ["draw"]


def draw(options: argparse.Namespace) -> int:
    """Draw what the model computes for one example."""
    use_backend("numpy")  # a graph is captured by shapes: no GPU is needed, whatever the environment asks for
    model = load_model(options.folder)
    drawing = viz.draw(model.network, jnp.zeros((1, model.about.widths[0])))
    path = options.folder / "graph.svg" if options.out is None else options.out
    try:
        drawing.save(path)
    except ValueError as error:  # a suffix that there is no format for
        raise CommandError(f"argument --out: {error}") from error
    print(f"{model.about.title}: {'-'.join(map(str, model.about.widths))}; graph in {path}")
    return 0
