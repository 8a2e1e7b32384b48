"""``gradkit predict`` and ``gradkit evaluate``: a trained model on data."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from typing import TextIO

import numpy as np

from gradkit.cli.measures import measures
from gradkit.cli.models import Model, load_model
from gradkit.cli.options import CommandError, use_backend
from gradkit.cli.sources import Asked, among, read_inputs, read_source
from gradkit.data.files import HostArray, refuse_folder

__all__ = ["evaluate", "predict"]


def predict(options: argparse.Namespace) -> int:
    """Print a line for each row of the data."""
    use_backend(options.backend)
    model = load_model(options.folder)
    if options.probabilities and model.about.classes is None:
        raise CommandError("argument --probabilities: the model predicts numbers, not classes.")
    x, origin = read_inputs(options.data, Asked(None, None, options.delimiter, model.about.names, model.inputs.mean))
    outputs = model.predict(x, origin)
    if options.out is None:
        _write(sys.stdout, model, outputs, options.probabilities)
        return 0
    refuse_folder(options.out)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        _write(file, model, outputs, options.probabilities)
    return 0


def _write(file: TextIO, model: Model, outputs: HostArray, probabilities: bool) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows(_lines(model, outputs, probabilities))


def _lines(model: Model, outputs: HostArray, probabilities: bool) -> Iterator[list[str]]:
    target, classes = model.about.target, model.about.classes
    if classes is None:
        width = outputs.shape[1]
        yield [target] if width == 1 else [f"{target}[{i}]" for i in range(width)]
        digits = model.outputs.digits.tolist()
        for row in outputs:
            yield [f"{value:.{count}g}" for value, count in zip(row.tolist(), digits, strict=True)]
        return
    yield [target, *(f"probability of {name}" for name in classes if probabilities)]
    shares = _softmax(outputs) if probabilities else np.empty((len(outputs), 0))
    for best, row in zip(outputs.argmax(axis=1).tolist(), shares.tolist(), strict=True):
        yield [classes[best], *(f"{value:.6g}" for value in row)]


def _softmax(logits: HostArray) -> HostArray:
    powers: HostArray = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def evaluate(options: argparse.Namespace) -> int:
    """Print how well the model predicts the data's targets."""
    use_backend(options.backend)
    model = load_model(options.folder)
    about = model.about
    asked = Asked(about.target, about.task, options.delimiter, about.names, model.inputs.mean)
    source = read_source(options.data, asked)
    if about.classes is not None:
        source = among(source, about.classes)
    x, y = (source.x, source.y) if source.test is None else source.test
    if about.classes is None and y.shape[1] != about.widths[-1]:
        raise CommandError(
            f"the target of {source.title} has {y.shape[1]} columns, but the model predicts {about.widths[-1]}: it was "
            f"trained on {about.title}."
        )
    print(measures(model, x, source.origin, y))
    return 0
