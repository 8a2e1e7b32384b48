"""A training on digits or MNIST in some processes, for `test_curves.py`: ``curves_program.py OUT DATA BACKEND HOW``."""

import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np

import gradkit
from gradkit import data, nn, optim, random
from gradkit.train import evaluate

path, name, backend, how = sys.argv[1:]
with gradkit.use_backend(backend):
    if name == "digits":
        train, test = data.split(data.load_digits(), 0.2, key=random.key(0))
        hidden, epochs, batch = 64, 10, 32
    else:
        train, test = data.load_mnist(name)
        hidden, epochs, batch = 128, 2, 128
    model, history = gradkit.fit(
        nn.MLP(train[0].shape[1], [hidden, 10], key=random.key(1)),
        train,
        optimizer=optim.SGD(0.1, momentum=0.9),
        epochs=epochs,
        batch_size=batch,
        validation=test,
        key=random.key(2),
        progress=False,
        jit=how == "compiled",
    )
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
        found = {
            "loss": list(history["loss"]),
            "validation": list(history["validation_loss"]),
            "accuracy": evaluate(model, test)["accuracy"],
            "model": zlib.crc32(b"".join(np.asarray(leaf).tobytes() for leaf in gradkit.tree.leaves(model))),
        }
        Path(path).write_text(json.dumps(found))
