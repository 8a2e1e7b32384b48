"""What some processes do in `test_training_together.py`: process 0 writes what came out as JSON."""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import data, distributed, nn, optim, random
from gradkit.errors import DistributedError, NonFiniteLossError
from gradkit.train import Callback, EarlyStopping


def twice_the_accuracy(prediction, target):
    return 2 * nn.accuracy(prediction, target)


def digits(rows=500):
    x, y = data.load_digits()
    return x[:rows], y[:rows]


def fit(**changes):
    """Train on digits; what a run is may be changed."""
    options = {
        "model": nn.MLP(64, [20, 10], key=random.key(0)),
        "data": digits(),
        "optimizer": optim.SGD(optim.cosine_decay(0.2, 40), momentum=0.9, weight_decay=1e-4),
        "epochs": 2,
        "batch_size": 96,
        "validation": 0.2,
        "metrics": ["accuracy", twice_the_accuracy],
        "key": random.key(1),
        "progress": False,
        "jit": False,
        **changes,
    }
    model, history = gradkit.fit(options.pop("model"), options.pop("data"), **options)
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history.rows()]
    return {"rows": rows, "model": checksum(model), "stopped": history.stopped}


def checksum(model):
    return zlib.crc32(b"".join(np.asarray(leaf).tobytes() for leaf in gradkit.tree.leaves(model)))


def own_loss(model, x, y):
    return jnp.mean(jnp.square(jnp.sum(model(x), axis=-1) - y))


def loop(steps_of):
    """Train by a loop of one's own; the last minibatch of the epoch has two rows."""
    model, optimizer = nn.MLP(64, [20, 10], key=random.key(0)), optim.SGD(0.2)
    state, losses = optimizer.init(model), []
    step = steps_of.value_and_grad(lambda model, x, y: nn.softmax_cross_entropy(model(x), y))
    for x, y in steps_of.minibatches(digits(98), 48, key=random.key(5)):
        loss, gradient = step(model, x, y)
        model, state = optimizer.update(model, gradient, state)
        losses.append(float(loss))
    return {"losses": losses, "model": checksum(model)}


class OnlyOneMeets(Callback):
    """A callback that makes a call of all processes in one of them."""

    def epoch_end(self, training):
        if distributed.process_index() == 1:
            distributed.barrier()


def error_of(call):
    try:
        call()
    except (DistributedError, NonFiniteLossError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main(path):
    distributed.initialize(timeout=100, bucket_bytes=2000)
    index = distributed.process_index()
    found = {"count": distributed.process_count(), "numpy": fit(), "again": fit(), "loop": loop(distributed)}
    found["own loss"] = fit(loss=own_loss, metrics=None, epochs=1)
    found["stopping"] = fit(callbacks=[EarlyStopping(patience=1, min_delta=10.0)], epochs=5)
    with gradkit.use_backend("strict"):
        found["strict"] = fit(epochs=1)
    x, y = digits()
    wrong = np.array(x)
    wrong[333, 5] = np.nan
    found["errors"] = {
        "nan": error_of(lambda: fit(data=(wrong, y), validation=None)),
        "batch": error_of(lambda: fit(batch_size=96 + index)),
        "model": error_of(lambda: fit(model=nn.MLP(64, [20 + index, 10], key=random.key(0)))),
        "parameters": error_of(lambda: fit(model=nn.MLP(64, [20, 10], key=random.key(index)))),
        "data": error_of(lambda: fit(data=digits(400 + 10 * index))),
        "callback": error_of(lambda: fit(callbacks=[OnlyOneMeets()])),
        "few": error_of(lambda: fit(batch_size=2)),
        "few rows": error_of(lambda: fit(data=digits(2), validation=None)),
    }
    alone = fit(key=random.key(7 + index), distributed=False, epochs=1)
    found["alone"] = [int(c) for c in distributed.all_gather(jnp.asarray(alone["model"] % 2**31)).tolist()]
    found["same everywhere"] = (
        len(set(distributed.all_gather(jnp.asarray(found["numpy"]["model"] % 2**31)).tolist())) == 1
    )
    if index == 0:
        Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
