"""Train a network on scikit-learn's 1,797 handwritten digits, and draw its loss and accuracy.

Run ``python examples/digits.py``; ``--help`` lists the options. The same command runs on a GPU with ``--backend cupy``.
"""

from __future__ import annotations

import training

import gradkit

DEFAULTS = training.Defaults(
    hidden="128", epochs=40, batch_size=32, learning_rate=0.1, weight_decay=1e-4, out="digits-run"
)


def main() -> None:
    """Train, and print the accuracy on the fifth of the digits that is kept apart."""
    options = training.parser(__doc__, DEFAULTS).parse_args()
    gradkit.set_backend(options.backend)
    digits = gradkit.data.load_digits()
    train, test = gradkit.data.split(digits, 0.2, key=gradkit.random.key(options.seed))
    title = f"digits: 64-{options.hidden.replace(',', '-')}-10, SGD with momentum and cosine decay"
    training.run(title, options, train, test)


if __name__ == "__main__":
    main()
