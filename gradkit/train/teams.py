"""`Team`: the processes that train one model together, each on its part of every minibatch.

All of them have the whole model and take the same steps, since what decides anything (the gradient, the loss, whether
Ctrl-C was pressed) is the sum or the word of all. So they need no more to agree on than how they begin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gradkit import nn, tree
from gradkit.core import Array, no_grad
from gradkit.core.array import backend_of_array, wrap
from gradkit.core.values import host, values_of
from gradkit.data import Minibatches
from gradkit.distributed import all_reduce, broadcast
from gradkit.distributed.gradients import Share, summed_value_and_grad, weighted_sum
from gradkit.errors import DistributedError
from gradkit.numpy import asarray, concatenate, reshape, stack, zeros
from gradkit.processes import World, world_of_launcher
from gradkit.train.evaluation import measure, predict
from gradkit.train.objectives import Metric, Objective, binary_accuracy, mae
from gradkit.train.steps import Optimizer

__all__ = ["Team", "team_of_launcher"]

MEANS = (nn.accuracy, nn.mse, binary_accuracy, mae)
"""Metrics that are means over the examples: those of parts add up. Any other is computed from all predictions."""

Reader = Callable[[], float]


def team_of_launcher() -> Team | None:
    """Return the team of the processes that a launcher started with this one; None where it is alone."""
    here = world_of_launcher()
    return Team(here) if here is not None and here.count > 1 else None


class Team:
    """The processes that train one model, as one of them sees it.

    Parameters
    ----------
    here : World
        The processes.

    Attributes
    ----------
    leads : bool
        Whether this one prints, draws and saves.
    """

    def __init__(self, here: World) -> None:
        self._here = here
        self.leads = here.index == 0
        self.count = here.count

    # Agreeing

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise where the processes are to train something else: who has what."""
        own = {name: str(fact) for name, fact in {**facts, "bucket_bytes": self._here.bucket_bytes}.items()}
        self._here.meet("fit")
        found = [json.loads(text) for text in self._here.gather_texts(json.dumps(own), "fit")]
        lines = []
        for name in own:
            groups: dict[str, list[str]] = {}
            for process, theirs in enumerate(found):
                groups.setdefault(theirs.get(name, "nothing"), []).append(str(process))
            if len(groups) > 1:
                lines += [f"  {name}: {fact} in process {', '.join(who)}" for fact, who in groups.items()]
        if lines:
            raise _of_all(
                DistributedError(
                    "fit: the processes do not train the same thing, and they must:\n"
                    + "\n".join(lines)
                    + "\nGive all the same arguments, random keys above all (nn.MLP draws its parameters from one), or "
                    "let gradkit.distributed.broadcast send one process's; distributed=False trains in each alone."
                )
            )

    def refuse(self, rows: int, batch_size: int) -> None:
        """Raise where there is not an example for each process."""
        for what, number in (("batch_size is", batch_size), ("data has examples:", rows)):
            if number < self.count:
                raise _of_all(
                    ValueError(
                        f"fit: {what} {number}, but {self.count} processes share each minibatch, so some would have "
                        f"nothing to do. Start {number} processes at most, or give more."
                    )
                )

    def tell(self, fact: Any) -> Any:
        """Return what process 0 says, of what JSON has."""
        return json.loads(self._here.broadcast_bytes(json.dumps(fact).encode(), "fit"))

    def hear(self, fact: Any) -> list[Any]:
        """Return what each process says, of what JSON has."""
        return [json.loads(text) for text in self._here.gather_texts(json.dumps(fact), "fit")]

    def broadcast(self, values: Any) -> Any:
        """Return a tree of arrays and Python numbers of process 0; its structure is the same in all."""
        leaves, treedef = tree.flatten(values)
        numbers = self.tell([None if type(leaf) is Array else leaf for leaf in leaves])
        arrays = iter(broadcast([leaf for leaf in leaves if type(leaf) is Array]))
        return tree.unflatten(
            treedef, [next(arrays) if type(a) is Array else b for a, b in zip(leaves, numbers, strict=True)]
        )

    # Sharing

    def part(self, batches: Minibatches[Any]) -> Minibatches[Any]:
        """Return the same minibatches, of each only this process's part."""
        return batches.part(self._here.index, self.count)

    def sizes(self, rows: int) -> list[int]:
        """Return how many of some rows each process has."""
        share, rest = divmod(rows, self.count)
        return [share + (i < rest) for i in range(self.count)]

    def step(
        self, objective: Objective, optimizer: Optimizer, model: Any, state: Any, x: Any, y: Any, rows: int
    ) -> Any:
        """Take a step, and return what `training_step` does, with the loss and the prediction of this part."""
        share = Share(len(y), rows)
        loss, prediction, gradient = summed_value_and_grad(
            objective.with_prediction, True, lambda: share.weight, share.own > 0, model, (x, y)
        )
        new_model, new_state = optimizer.update(model, gradient, state)
        return new_model, new_state, (loss, prediction)

    def start_reading(
        self,
        model: Any,
        loss: Any,
        prediction: Any,
        x: Any,
        y: Any,
        rows: int,
        objective: Objective,
        metrics: Mapping[str, Metric],
        asked: bool,
    ) -> list[Reader]:
        """Begin to bring the loss and the metrics of a whole minibatch, and how many processes were asked to stop."""
        share = Share(len(y), rows)
        wanted = {} if objective.takes_model else metrics
        means = [metric for metric in wanted.values() if metric in MEANS]
        if share.own:
            found = [loss, *(metric(prediction, y) for metric in means)]
            parts = [asarray(value).astype("float64") * share.weight for value in found]
        else:
            parts = [asarray(0.0).astype("float64")] * (1 + len(means))
        summed = weighted_sum(stack([*parts, asarray(float(asked)).astype("float64")]), 1.0, self._here)
        kept: list[Any] = []

        def number(i: int) -> float:
            if not kept:
                kept.append(host(asarray(summed.result())))
            return float(kept[0][i])

        readers: list[Reader] = [lambda: number(0)]
        others = [metric for metric in wanted.values() if metric not in MEANS]
        if others:
            if prediction is None:
                with no_grad():
                    prediction = model(x)
            sizes = self.sizes(rows)
            prediction, y = self.gather_rows(prediction, sizes), self.gather_rows(y, sizes)
        for metric in wanted.values():
            if metric in MEANS:
                readers.append(partial(number, 1 + means.index(metric)))
            else:
                readers.append(partial(float, metric(prediction, y)))
        return [*readers, lambda: number(-1)]

    def gather_rows(self, own: Any, sizes: Sequence[int]) -> Array:
        """Return the rows of all processes, in their order; `sizes` says how many each has."""
        array = asarray(own).detach()
        most, rest = max(sizes), tuple(array.shape[1:])
        missing = most - array.shape[0]
        if missing:
            array = concatenate([array, zeros((missing, *rest), array.dtype)])
        backend = backend_of_array(array)
        flat = backend.xp.reshape(values_of(array, "fit"), (-1,))
        moved = self._here.transport(backend, "numbers").collect(flat, "fit").result()
        whole = reshape(wrap(moved), (self.count, most, *rest))
        return concatenate([whole[i, :size] for i, size in enumerate(sizes)])

    def measure(
        self, model: Any, x: Any, y: Any, objective: Objective, metrics: Mapping[str, Metric]
    ) -> dict[str, float]:
        """Return what `measure` does, each process having predicted its part."""
        sizes = self.sizes(len(y))
        if min(sizes) == 0:
            return measure(model, x, y, objective, metrics)
        begin = sum(sizes[: self._here.index])
        own = slice(begin, begin + sizes[self._here.index])
        target = asarray(y)
        prediction = None
        if metrics or not objective.takes_model:
            prediction = self.gather_rows(predict(model, x[own]), sizes)
        with no_grad():
            if objective.takes_model:
                part = measure(model, x[own], y[own], objective, {})["loss"]
                weighted = asarray(part).astype("float64") * (sizes[self._here.index] / len(y))
                loss = float(all_reduce(weighted))
            else:
                loss = float(objective.of(prediction, target))
            return {"loss": loss, **{name: float(metric(prediction, target)) for name, metric in metrics.items()}}


def _of_all(error: Any) -> Any:
    """Mark an error that all processes have."""
    error.everywhere = True
    return error
