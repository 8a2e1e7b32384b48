"""Train a network on MNIST's IDX files, and draw its loss and accuracy.

Run ``python examples/mnist.py PATH``, where PATH is the folder with the four files, plain or gzip; ``--help`` lists the
options. The network is 784-800-10: for such a network, trained without distortions of the images, the published test
error is 1.6 % (Simard, Steinkraus and Platt, 2003).
"""

from __future__ import annotations

import training

import gradkit
from gradkit.errors import FileFormatError

DEFAULTS = training.Defaults(hidden="800", epochs=15, batch_size=64, learning_rate=0.1, weight_decay=2e-4, out="mnist")


def main() -> None:
    """Train, and print the accuracy on the test images."""
    parser = training.parser(__doc__, DEFAULTS)
    parser.add_argument("path", help="the folder with MNIST's files")
    options = training.parsed(parser)
    try:
        train, test = gradkit.data.load_mnist(options.path)
    except (OSError, FileFormatError) as error:
        parser.error(f"argument path: {error}")
    training.run("MNIST", options, train, test)


if __name__ == "__main__":
    main()
