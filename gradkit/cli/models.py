"""The model that the command line trains and uses: a network, and what it has learned about its data."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradkit import io, nn
from gradkit.cli.options import CommandError
from gradkit.core import Array
from gradkit.core.values import host
from gradkit.data.checked_json import Check, anything, each, keyed, maybe, one_of, parse, record, text, whole
from gradkit.data.files import HostArray
from gradkit.data.origins import blocks
from gradkit.errors import FileFormatError, TreeMismatchError
from gradkit.numpy import asarray
from gradkit.train import predict
from gradkit.train.checkpoints import LAST
from gradkit.train.locks import holder

__all__ = ["MODEL", "About", "Model", "Scaling", "load_model", "save_model"]

MODEL = "model.safetensors"
VERSION = 1
TASKS = ("classification", "regression")


@dataclass(frozen=True)
class About:
    """What a model is besides its numbers.

    Attributes
    ----------
    title : str
        The data that it was trained on.
    task : str
        ``"classification"`` or ``"regression"``.
    widths : list of int
        The sizes of the layers, the inputs first.
    activation : str
        What follows each hidden layer.
    names : list of str or None
        The columns that it takes.
    target : str
        What it predicts.
    classes : list of str or None
        Its classes.
    version : int
        Of this description.
    """

    title: str
    task: str
    widths: list[int]
    activation: str
    names: list[str] | None
    target: str
    classes: list[str] | None
    version: int = VERSION


@dataclass(frozen=True)
class Scaling:
    """How columns are standardized: less their mean, by their scale.

    Attributes
    ----------
    mean, scale : numpy.ndarray of float64, shape (columns,)
        From the training data; the scale of a column that is the same everywhere is 1.
    """

    mean: HostArray
    scale: HostArray

    @classmethod
    def of(cls, values: HostArray, origin: HostArray | float = 0.0) -> Scaling:
        """Measure the columns of ``values + origin``."""
        first = values[0].astype(np.float64)  # sums of differences: a constant has a spread of exactly 0
        middle = sum(np.subtract(block, first, dtype=np.float64).sum(axis=0) for block in blocks(values)) / len(values)
        middle = first + middle
        largest = np.max([np.abs(block - middle).max(axis=0) for block in blocks(values)], axis=0)
        unit = np.where(largest > 0, largest, 1.0)  # squares of its multiples do not overflow
        squares = sum((((block - middle) / unit) ** 2).sum(axis=0) for block in blocks(values))
        scale = unit * np.sqrt(squares / len(values))
        mean = origin + middle
        # What is left of a constant by rounding is no spread. Exact differences of large numbers are: these are not all
        # multiples of what rounding leaves.
        small = scale <= 4 * np.finfo(np.float64).eps * np.abs(mean)
        if (small & (scale > 0)).any():
            left = np.spacing(np.abs(mean)) / 4
            small &= ~np.any([np.mod(block - first, left).any(axis=0) for block in blocks(values)], axis=0)
        scale[small] = 1.0
        shift = np.abs(mean - origin - middle)
        if (shift > scale).any():
            column = int((shift > scale).argmax())
            raise CommandError(
                f"column {column + 1} of what is learned from lies at {mean[column]:.17g}, and float64 does not hold "
                f"how its numbers differ (by {scale[column]:.3g}). Subtract one of them from the column."
            )
        return cls(mean, scale)

    @classmethod
    def none(cls, columns: int) -> Scaling:
        """Return the one that changes nothing."""
        return cls(np.zeros(columns), np.ones(columns))

    def apply(self, values: HostArray, origin: HostArray | float = 0.0) -> HostArray:
        """Standardize ``values + origin``: float32, in blocks; what is float32 in place, for it may fill the memory."""
        shift = self.mean - origin
        if values.dtype == np.float32 and not shift.any() and (self.scale == 1).all():
            return values
        result = values if values.dtype == np.float32 else np.empty(values.shape, np.float32)
        for block, target in zip(blocks(values), blocks(result), strict=True):
            target[...] = (block - shift) / self.scale
        return result

    def undo(self, values: HostArray) -> HostArray:
        """Return what was standardized, in float64."""
        return np.asarray(values * self.scale + self.mean)

    @property
    def digits(self) -> HostArray:
        """How many significant digits a column has whose standardized numbers have the seven of float32."""
        with np.errstate(divide="ignore"):
            more = np.ceil(np.log10(np.abs(self.mean) / self.scale))
        return np.asarray(np.clip(7 + more, 7, 17), int)


@dataclass(frozen=True)
class Model:
    """A network that takes and gives what the data have: columns in their own units, classes by name."""

    network: nn.MLP
    inputs: Scaling
    outputs: Scaling
    about: About

    def predict(self, x: HostArray, origin: HostArray | float = 0.0) -> HostArray:
        """Return the outputs for the rows ``x + origin``: logits, or numbers in the target's own units, float64.

        `x` is changed in place.
        """
        width = self.about.widths[0]
        if x.shape[1] != width:
            raise CommandError(
                f"the data have {x.shape[1]} columns, but the model takes {width}: it was trained on "
                f"{self.about.title}."
            )
        outputs = host(predict(self.network, asarray(self.inputs.apply(x, origin))))
        return outputs if self.about.task == "classification" else self.outputs.undo(outputs)


def save_model(folder: Path, model: Model) -> Path:
    """Write a model into a folder, whole or not at all."""
    path = folder / MODEL
    io.save(path, _tree(model.network, model.inputs, model.outputs, json.dumps(asdict(model.about))))
    return path


def load_model(folder: Path) -> Model:
    """Read the model of a folder.

    Raises
    ------
    CommandError
        If the folder is none that ``gradkit train`` wrote, or training was not finished.
    FileFormatError
        If the model is damaged, or from a newer version.
    """
    path = folder / MODEL
    running = holder(folder)
    if running is not None:
        state = f"a run is in progress in {folder} (process {running})"
        if not path.exists():
            raise CommandError(f"{state}, which writes {MODEL} when it has ended. Wait until then.")
        print(f"gradkit: note: {state}; this is the model of the run before it", file=sys.stderr)
    if not path.exists():
        if not folder.is_dir():
            raise CommandError(f"there is no folder {folder}. 'gradkit train DATA --out {folder}' makes it.")
        if (folder / LAST).exists():
            raise CommandError(
                f"{folder} is incomplete: it has {LAST} and no {MODEL}. Training was stopped: finish it with the same "
                f"'gradkit train' command and --resume."
            )
        raise CommandError(f"{folder} is incomplete: there is no {MODEL} in it, which 'gradkit train' writes.")
    stored = io.load(path)
    described = stored.get("about")
    if not isinstance(described, str):
        raise FileFormatError(f"{path}: it is a checkpoint, but no model that 'gradkit train' wrote.")
    try:
        about = _about(path, described, stored)
        n_in, *n_outs = about.widths
        network = nn.MLP(n_in, n_outs, activation=about.activation)
        n_out = 1 if about.task == "classification" else n_outs[-1]
        loaded = io.load(path, like=_tree(network, Scaling.none(n_in), Scaling.none(n_out), ""))
    except FileFormatError:
        raise
    except TreeMismatchError as error:
        raise FileFormatError(f"{error} Its description of the model, or its numbers, are damaged.") from error
    except ValueError as error:
        raise FileFormatError(f"{path}: its description of the model is damaged: {error}. Train it again.") from error
    for name in ("inputs", "outputs"):
        mean, scale = loaded[name]["mean"], loaded[name]["scale"]
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise FileFormatError(f"{path}: the scaling of the {name} is damaged: it is not finite, or not positive.")
    for parameter in loaded["network"].parameters():
        if not np.isfinite(host(parameter)).all():
            raise FileFormatError(
                f"{path}: the network is damaged: some of its numbers are not finite. Train it again."
            )
    return Model(loaded["network"], Scaling(**loaded["inputs"]), Scaling(**loaded["outputs"]), about)


NAMED: Check = maybe(each(text, 1))
ABOUT: Check = record(
    {
        "title": text,
        "task": one_of(*TASKS),
        "widths": each(whole(1), 2),
        "activation": text,
        "names": NAMED,
        "target": text,
        "classes": NAMED,
        "version": whole(1),
    }
)


def _about(path: Path, described: str, stored: Mapping[str, Any]) -> About:
    """Return what a file says of its model; ValueError where that is nothing, or not of the numbers beside it."""
    fields: Any = parse(described)
    keyed(anything)(fields, "")
    whole(1)(fields.get("version"), "version")
    if fields["version"] > VERSION:
        raise FileFormatError(
            f"{path}: it was written by a newer gradkit (version {fields['version']} of a model, this one knows "
            f"{VERSION}). Upgrade gradkit."
        )
    ABOUT(fields, "")
    about = About(**fields)
    # Held against the numbers that are there, before as many are made as it says.
    for i, width in enumerate(about.widths[1:]):
        bias = stored.get(f"network.layers[{i}].bias")
        if type(bias) is not Array or bias.shape != (width,):
            raise ValueError(f"widths[{i + 1}] is {width:,}, but the layer has {getattr(bias, 'size', 'no')} numbers")
    first = stored.get("network.layers[0].weight")
    if type(first) is not Array or first.shape[:1] != (about.widths[0],):
        raise ValueError(f"widths[0] is {about.widths[0]:,}, but the first layer is not of so many inputs")
    if about.names is not None:
        each(text, about.widths[0], about.widths[0])(about.names, "names")
    if (about.classes is not None) != (about.task == "classification"):
        raise ValueError(f"classes are {'missing' if about.classes is None else 'there'}, but the task is {about.task}")
    if about.classes is not None:
        each(text, about.widths[-1], about.widths[-1])(about.classes, "classes")
    for what, names in (("columns", about.names), ("classes", about.classes)):
        if names is not None and len({*names}) < len(names):
            raise ValueError(f"two {what} have one name")
    return about


def _tree(network: nn.MLP, inputs: Scaling, outputs: Scaling, about: str) -> dict[str, Any]:
    return {"network": network, "inputs": asdict(inputs), "outputs": asdict(outputs), "about": about}
