"""A run that fails at a moment, for `test_time_to_end.py`: ``failing_program.py FOLDER WAY MOMENT PROCESS JIT``."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from gradkit_numpy.native.program import NativePrinter

import gradkit
from gradkit import data, distributed, lax, nn, optim, random
from gradkit.data import Minibatches
from gradkit.lax.shared_sums import SharedSums
from gradkit.processes.messages import MpiTransport
from gradkit.train import Callback, Checkpoint
from gradkit.train.checkpoints import Folder

folder, way, moment, process = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
distributed.initialize()
count = [0]


def fail():
    """Fail in this way the third time that one is here, in compiling the first; the time of it is written down."""
    count[0] += 1
    if count[0] != (1 if moment == "compiling" else 3) or distributed.process_index() != process:
        return
    (folder / "failed").write_text(str(time.time()))
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "exit":
        sys.exit(3)
    raise RuntimeError("a reason of its own")


def failing(owner, name):
    """Let a method fail when it is called."""
    before = getattr(owner, name)

    def method(*args, **kwargs):
        fail()
        return before(*args, **kwargs)

    setattr(owner, name, method)


def note_if_no_number(prediction):
    """Write down when a process is first given what is no number."""
    if not np.isfinite(np.asarray(prediction)).all() and not (folder / "failed").exists():
        (folder / "failed").write_text(str(time.time()))


def loss(prediction, target):
    if way == "nan":
        gradkit.debug.callback(note_if_no_number, prediction)
    elif moment == "step":
        gradkit.debug.callback(fail)
    return nn.softmax_cross_entropy(prediction, target)


if moment == "collective":
    failing(MpiTransport, "collect")
    failing(SharedSums, "say_written")
if moment == "loading":
    failing(Minibatches, "bounds")
if moment == "saving":
    failing(Folder, "save")
if moment == "writing":  # the new file is there, and not yet in the old one's place
    failing(os, "replace")
if moment == "compiling":
    failing(NativePrinter, "compiled")
if moment == "loop":

    def step(x, _):
        gradkit.debug.callback(fail)
        return lax.psum(x, "i") / 2, None

    def walked(x):
        return lax.scan(step, x, None, length=10**6)[0]

    mesh, spec = distributed.Mesh((2,), ("i",)), distributed.PartitionSpec()
    walked = gradkit.jit(walked) if sys.argv[5] == "compiled" else walked
    distributed.shard_map(walked, mesh=mesh, in_specs=spec, out_specs=spec)(gradkit.numpy.ones(3))


class Failing(Callback):
    def epoch_end(self, training):
        if moment == "callback":
            fail()


x, y = (np.array(part[:600]) for part in data.load_digits())
folder.mkdir(exist_ok=True)
if moment == "validating":
    validation = (np.where(np.arange(60)[:, None] == 7, np.nan, x[:60]) if way == "nan" else x[:60], y[:60])
else:
    validation = None
if way == "nan" and moment == "step":
    x[77, 7] = np.nan
np.save(folder / f"x{distributed.process_index()}.npy", x)
gradkit.fit(
    nn.MLP(64, [24, 10], key=random.key(0)),
    (data.load_npy(folder / f"x{distributed.process_index()}.npy", mmap=True) if moment == "loading" else x, y),
    loss=loss,
    metrics="accuracy",
    optimizer=optim.SGD(0.2, momentum=0.9),
    epochs=200,
    batch_size=64,
    validation=validation,
    key=random.key(1),
    checkpoint=Checkpoint(folder / "run", every_steps=2),
    callbacks=[Failing()],
    progress=False,
    jit=sys.argv[5] == "compiled",
)
