"""Training without a loop of one's own: `fit`, its callbacks and its history, and the step that it takes.

Examples
--------
>>> import gradkit
>>> from gradkit import data, nn
>>> early = gradkit.train.EarlyStopping(patience=3)
>>> model, history = gradkit.fit(nn.MLP(2, [8, 2]), data.moons(100), epochs=2, callbacks=[early], progress=False)
>>> history["epoch"]
[1, 2]
"""

from gradkit.train.callbacks import Callback, ClipGradients, EarlyStopping, LearningRateLog
from gradkit.train.checkpoints import Checkpoint
from gradkit.train.evaluation import evaluate, predict
from gradkit.train.fitting import fit
from gradkit.train.history import History
from gradkit.train.objectives import LOSSES, METRICS
from gradkit.train.steps import Optimizer, Step, training_step
from gradkit.train.training import Training

__all__ = [
    "LOSSES", "METRICS", "Callback", "Checkpoint", "ClipGradients", "EarlyStopping", "History", "LearningRateLog",
    "Optimizer", "Step", "Training", "evaluate", "fit", "predict", "training_step",
]  # fmt: skip
