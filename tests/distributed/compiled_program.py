"""What some processes do in `test_compiled_together.py`: process 0 writes what came out as JSON."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from training_program import digits, error_of, fit, own_loss

import gradkit.numpy as jnp
from gradkit import data, distributed, nn, optim, random
from gradkit.optim import DynamicLossScale
from gradkit.train import Callback, Checkpoint, compiled
from gradkit.train.programs import Programs
from gradkit.train.teams import Team

UNEVEN = {"batch_size": 57, "epochs": 1}
"""Of 400 examples: the last minibatch is a single one, of which one process has nothing."""
OVERFLOWING = DynamicLossScale(init_scale=2.0**127, backoff_factor=2.0**-20, growth_interval=3)
"""With which the first step's gradients are not finite, and the others' are by far."""


class Calls:
    """Notes the steps of each call of a program."""

    def __init__(self):
        self.found, run = [], Programs.__call__

        def noting(programs, *given):
            after = run(programs, *given)
            self.found.append(len(after[2][0]))
            return after

        Programs.__call__ = noting

    def take(self):
        found, self.found = self.found, []
        return found


class Scales(Callback):
    """Keeps the loss scale after each epoch."""

    def __init__(self):
        self.scales = []

    def epoch_end(self, training):
        self.scales.append(training.loss_scale)


def hundredfold(prediction, target):
    return 100 * nn.softmax_cross_entropy(prediction, target)


def scaled(**options):
    """Train with a loss scale that is too large at first."""
    scales, optimizer = Scales(), optim.SGD(0.002, momentum=0.9)
    found = fit(loss=hundredfold, optimizer=optimizer, loss_scale=OVERFLOWING, callbacks=[scales], epochs=3, **options)
    return {**found, "scales": scales.scales}


def in_float16():
    """Train in float16, whose small gradients would be nothing without a scale."""
    model = nn.MLP(64, [20, 10], key=random.key(0), dtype="float16")
    return fit(model=model, loss_scale="dynamic", jit=False, epochs=3)


def interrupted(folder, at):
    """Train, and press Ctrl-C on process 1 in the midst of a call, while that step is computed; then go on."""
    asked, count = Team._word, [0]

    def word(team):
        count[0] += 1
        if not team.leads and count[0] == at:
            signal.raise_signal(signal.SIGINT)
        return asked(team)

    Team._word = word
    try:
        stopped = fit(jit=True, checkpoint=folder, epochs=3)
    finally:
        Team._word = asked
    return {"stopped": stopped["stopped"], "then": fit(jit=True, checkpoint=folder, epochs=3)}


def main(path):
    path = Path(path)
    distributed.initialize(timeout=100, bucket_bytes=2000)
    index = distributed.process_index()
    os.environ["GRADKIT_COMPILER"] = "numpy"  # which compiles in no time
    calls, found = Calls(), {}
    for name, seconds in (("one at a time", (0.0, 0.0)), ("many at a time", (10.0, 10.0))):
        compiled.CALL_SECONDS = seconds
        found[name] = {**fit(jit=True, epochs=3), "calls": calls.take()}
    compiled.EAGER_STEPS = 3
    found["later"] = {**fit(jit="auto"), "calls": calls.take()}
    found["uneven"] = {**fit(jit=True, **UNEVEN), "calls": calls.take()}
    found["own loss"] = fit(jit=True, loss=own_loss, metrics=None, epochs=1)
    calls.take()
    found["saved"] = {
        **fit(jit=True, epochs=3, checkpoint=Checkpoint(path.parent, every_steps=2)),
        "calls": calls.take(),
    }
    found["scaled"], found["scaled eagerly"] = scaled(jit=True), scaled(jit=False)
    calls.take()
    found["float16"] = in_float16()
    found["interrupted"] = {**interrupted(path.parent / "interrupted", at=8), "calls": calls.take()}
    x, y = digits()
    if index == 0:
        np.save(path.parent / "x.npy", x)
    distributed.barrier()
    found["disk"] = fit(jit=True, epochs=3, data=(data.load_npy(path.parent / "x.npy", mmap=True), y), validation=None)
    found["memory"] = fit(jit=True, epochs=3, validation=None)
    wrong = np.array(x)
    wrong[333, 5] = np.nan
    found["nan"] = error_of(lambda: fit(jit=True, data=(wrong, y), validation=None))
    found["jit"] = error_of(lambda: fit(jit=index != 1))
    del os.environ["GRADKIT_COMPILER"]
    found["native"] = fit(jit=True, epochs=1)
    models = [run["model"] % 2**31 for run in found.values() if isinstance(run, dict) and "model" in run]
    found["same everywhere"] = (distributed.all_gather(jnp.asarray(models)) == jnp.asarray(models)).all().item()
    if index == 0:
        path.write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
