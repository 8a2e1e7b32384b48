"""A run of some processes that `test_failures.py` disturbs: ``interrupted_program.py FOLDER WHAT EPOCHS JIT``."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

import gradkit
from gradkit import data, distributed, nn, optim, random
from gradkit.train import Callback, Checkpoint

folder, what, epochs, jit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "compiled"
distributed.initialize()
index = distributed.process_index()


class Disturbance(Callback):
    """Something that happens to process 1 after three epochs."""

    def epoch_end(self, training):
        if index != 1 or training.epoch != 3:
            return
        if what == "raise":
            raise RuntimeError("process 1 has a reason of its own")
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what in ("SIGINT", "SIGTERM", "SIGUSR1"):
            os.kill(os.getpid(), getattr(signal, what))


x, y = (np.array(part[:600]) for part in data.load_digits())
if what == "nan":
    x[77, 7] = np.nan
model, history = gradkit.fit(
    nn.MLP(64, [24, 10], key=random.key(0)),
    (x, y),
    optimizer=optim.SGD(0.2, momentum=0.9),
    epochs=epochs,
    batch_size=64,
    key=random.key(1),
    checkpoint=Checkpoint(folder, every_steps=2),
    callbacks=[Disturbance()],
    progress=False,
    jit=jit,
)
steps = distributed.all_gather(gradkit.numpy.asarray(len(history))).tolist()
if index == 0:
    print(history.stopped, steps)
