"""Data: readers of files that execute nothing, random samples, and the minibatches of an epoch.

Examples
--------
>>> import gradkit
>>> x, y = gradkit.data.moons(100, key=gradkit.random.key(0))
>>> for x_batch, y_batch in gradkit.data.minibatches((x, y), 50, key=gradkit.random.key(1)):
...     print(x_batch.shape, y_batch.shape)
(50, 2) (50,)
(50, 2) (50,)
"""

from gradkit.data.batches import Minibatches, minibatches, sample, split
from gradkit.data.datasets import load_digits, moons
from gradkit.data.delimited import load_csv
from gradkit.data.idx import load_idx, load_mnist
from gradkit.data.npy import load_npy, load_npz

__all__ = [
    "Minibatches", "load_csv", "load_digits", "load_idx", "load_mnist", "load_npy", "load_npz", "minibatches", "moons",
    "sample", "split",
]  # fmt: skip
