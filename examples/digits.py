"""Train a network on scikit-learn's 1,797 handwritten digits, and draw its loss and accuracy.

Run ``python examples/digits.py``; ``--help`` lists the options. The same command runs on a GPU with ``--backend cupy``.
"""

from __future__ import annotations

import training

import gradkit

DEFAULTS = training.Defaults(hidden="128", epochs=40, batch_size=32, learning_rate=0.1, weight_decay=1e-4, out="digits")


def main() -> None:
    """Train, and print the accuracy on the fifth of the digits that is kept apart."""
    options = training.parsed(training.parser(__doc__, DEFAULTS))
    digits = gradkit.data.load_digits()
    train, test = gradkit.data.split(digits, 0.2, key=gradkit.random.key(options.seed))
    training.run("digits", options, train, test)


if __name__ == "__main__":
    main()
