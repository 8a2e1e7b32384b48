"""What the examples that end in a picture share: their options, and where the picture goes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import gradkit
from gradkit.errors import BackendNotInstalledError, BackendUnusableError

OUTPUT = Path(__file__).parent / "output"


def parser(
    description: str, epochs: int | None = None, of: str = "passes over the training data"
) -> argparse.ArgumentParser:
    """Return the parser of the options that the examples share; those that train have a number of epochs and a seed."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if epochs is not None:
        result.add_argument("--epochs", type=count, default=epochs, help=f"{of} (default: %(default)s)")
        result.add_argument("--seed", type=int, default=0, help="of the data, the weights and the order (default: 0)")
    result.add_argument("--out", type=Path, default=OUTPUT, help="folder for the picture (default: examples/output)")
    return result


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses a backend."""
    backend = os.environ.get("GRADKIT_BACKEND") or "auto"
    parser.add_argument("--backend", default=backend, help="numpy, cupy, strict or auto (default: %(default)s)")


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of this process, with its seed sown, its backend in use and its folder made."""
    options = parser.parse_args()
    try:
        if "seed" in options:
            gradkit.random.seed(options.seed)
    except OverflowError as error:
        parser.error(f"argument --seed: {error}")
    try:
        if "backend" in options:
            gradkit.set_backend(options.backend)
    except (ValueError, BackendNotInstalledError, BackendUnusableError) as error:
        parser.error(f"argument --backend: {error}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: {error}")
    return options
