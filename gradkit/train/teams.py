"""`Team`: the processes that train one model together, each on its part of every minibatch.

All of them have the whole model and take the same steps, since what decides anything (the gradient, the loss, whether
Ctrl-C was pressed) is the sum or the word of all. So they need no more to agree on than how they begin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from gradkit import nn, tree
from gradkit.core import Array, no_grad
from gradkit.core.binding import bind
from gradkit.core.values import host
from gradkit.data import Minibatches
from gradkit.data.chosen import ChosenRows
from gradkit.distributed import all_reduce, broadcast
from gradkit.distributed.gradients import Beside, started_value_and_grad, sums_of, weighted_sum, wide
from gradkit.distributed.weights import Known, Share
from gradkit.errors import DistributedError, TooFewExamplesError
from gradkit.lax import across_processes
from gradkit.numpy import asarray, concatenate, isfinite, logical_not, logical_or, stack, zeros
from gradkit.processes import ProcessAxis, World, world_of_launcher
from gradkit.train.evaluation import measure, predict
from gradkit.train.objectives import Metric, Objective, binary_accuracy, mae
from gradkit.train.steps import Optimizer, RatedStep, has_rate

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
    wish : int
        How many steps this one would have in the next call of a program; what process 0 wishes is done.
    """

    def __init__(self, here: World) -> None:
        self._here = here
        self.leads = here.index == 0
        self.count = here.count
        self.wish = 1
        self._is_asked: Callable[[], bool] = bool

    # Agreeing

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise where the processes are to train something else: who has what."""
        own = {name: str(fact) for name, fact in {**facts, "bucket_bytes": self._here.bucket_bytes}.items()}
        found = [json.loads(text) for text in self._here.gather_texts(json.dumps(own), "fit")]
        sums_of(self._here).complete_abandoned()
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
                    TooFewExamplesError(
                        f"fit: {what} {number}, but {self.count} processes share each minibatch, so some would have "
                        f"nothing to do. Start {number} at most (mpiexec -n {number}), or give more."
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

    def uneven(self, rows: int, batch_size: int) -> str | None:
        """Say how the processes share minibatches that they cannot share evenly; None where they can."""
        last = rows % batch_size
        sizes = {
            "each minibatch": min(batch_size, rows),
            **({"an epoch's last one": last} if last and rows > batch_size else {}),
        }
        said = [
            f"{what}, of {size}: {', '.join(map(str, self.sizes(size)))}"
            for what, size in sizes.items()
            if size % self.count
        ]
        return f"{self.count} processes share {'; '.join(said)}" if said else None

    def step(
        self, objective: Objective, optimizer: Optimizer, model: Any, state: Any, x: Any, y: Any, rows: int
    ) -> Any:
        """Take a step, and return what `training_step` does, with the loss and the prediction of this part."""
        measured, summed = self._started(objective, optimizer, model, state, x, y, rows)
        gradient, _ = summed()
        new_model, new_state = optimizer.update(model, gradient, state)
        return new_model, new_state, measured

    def _started(
        self,
        objective: Objective,
        optimizer: Any,
        model: Any,
        state: Any,
        x: Any,
        y: Any,
        rows: int,
        beside: Beside | None = None,
    ) -> tuple[tuple[Any, Any], Callable[[], Any]]:
        """Return the loss and the prediction of this part, and what waits for the sums.

        They are the gradient of the whole minibatch, and the numbers that are asked for beside.
        """
        share = Share(len(y), rows)
        loss = objective.with_prediction
        scaled = optimizer.scaled(loss, state) if hasattr(optimizer, "scaled") else _with_itself(loss)
        at = next(iter(tree.leaves(model)), 0.0)
        weight = Known(share.weight, asarray(at), self._here)
        _, measured, summed = started_value_and_grad(
            scaled, True, weight, share.own > 0, model, (x, y), self._here, beside
        )
        return measured or (None, None), summed

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
        wanted = {} if objective.takes_model else metrics
        parts = self._parts(loss, prediction, y, rows, wanted)
        summed = weighted_sum(stack([*parts, wide(float(asked))]), 1.0, self._here)
        kept: list[Any] = []

        def number(i: int) -> float:
            if not kept:
                kept.append(host(asarray(summed.result())))
            return float(kept[0][i])

        of_means = iter(range(1, len(parts)))
        measured = [
            partial(number, next(of_means)) if value is None else partial(float, value)
            for value in self._of_all_predictions(model, prediction, x, y, rows, wanted)
        ]
        return [lambda: number(0), *measured, lambda: number(-1)]

    def _parts(self, loss: Any, prediction: Any, y: Any, rows: int, metrics: Mapping[str, Metric]) -> list[Array]:
        """Return what this process adds to the loss and to those metrics that are means over the examples."""
        share = Share(len(y), rows)
        means = [metric for metric in metrics.values() if metric in MEANS]
        if not share.own:
            return [wide(0.0)] * (1 + len(means))
        found = [loss, *(metric(prediction, y) for metric in means)]
        return [wide(value) * share.weight for value in found]

    def _of_all_predictions(
        self, model: Any, prediction: Any, x: Any, y: Any, rows: int, metrics: Mapping[str, Metric]
    ) -> list[Any]:
        """Return the metrics of a whole minibatch that are no means over the examples, and None for the others."""
        if any(metric not in MEANS for metric in metrics.values()):
            if prediction is None:
                with no_grad():
                    prediction = model(x)
            sizes = self.sizes(rows)
            prediction, y = self.gather_rows(prediction, sizes), self.gather_rows(y, sizes)
        return [None if metric in MEANS else metric(prediction, y) for metric in metrics.values()]

    # Steps of a program

    def rated_step(self, objective: Objective, optimizer: Any, metrics: Mapping[str, Metric], rows: int) -> RatedStep:
        """Return the step of a program for minibatches of so many rows.

        Its values are the loss and the metrics of the whole minibatch, how many processes were asked to stop, and the
        steps that process 0 wishes for the next call.
        """
        wanted = {} if objective.takes_model else metrics

        def step(model: Any, state: Any, rate: Any, x: Any, y: Any) -> tuple[Any, Any, Sequence[Any]]:
            now = optimizer.with_rate(rate) if has_rate(optimizer) else optimizer
            (_, prediction), summed = self._started(objective, now, model, state, x, y, rows, beside(y))
            others = self._of_all_predictions(model, prediction, x, y, rows, wanted)
            gradient, (whole, answers) = summed()
            new_model, new_state = now.update(model, gradient, state)
            of_means = iter(range(1, whole.shape[0]))
            measured = [whole[next(of_means)] if value is None else value for value in others]
            return new_model, new_state, [whole[0], *measured, answers[0], answers[1]]

        def beside(y: Any) -> Beside:
            def of(_: Any, measured: tuple[Any, Any]) -> Array:
                return stack(self._parts(*measured, y, rows, wanted))

            return Beside(1 + sum(metric in MEANS for metric in wanted.values()), of, self._word, 2)

        return step

    def _word(self) -> tuple[float, float]:
        """Return whether this process is asked to stop, and the steps that it wishes, if that is to be done."""
        return float(self._is_asked()), float(self.wish) if self.leads else 0.0

    @contextmanager
    def listening(self, is_asked: Callable[[], bool]) -> Iterator[None]:
        """Let the steps of programs inside a ``with`` block end when a process is asked to stop."""
        before, self._is_asked = self._is_asked, is_asked
        try:
            yield
        finally:
            self._is_asked = before

    @staticmethod
    def ends(values: Sequence[Any]) -> Array:
        """Return whether a step is the last of its call: somebody was asked to stop, or the loss is no number."""
        return logical_or(values[-2] > 0, logical_not(isfinite(values[0])))

    def gather_rows(self, own: Any, sizes: Sequence[int]) -> Array:
        """Return the rows of all processes, in their order; `sizes` says how many each has."""
        array = asarray(own).detach()
        most, rest = max(sizes), tuple(array.shape[1:])
        missing = most - array.shape[0]
        if missing:
            array = concatenate([array, zeros((missing, *rest), array.dtype)])
        whole = bind(across_processes.gather, (array,), {"axis": ProcessAxis("processes", self._here)})
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
        target = asarray(np.asarray(y) if isinstance(y, ChosenRows) else y)
        prediction = None
        if metrics or not objective.takes_model:
            prediction = self.gather_rows(predict(model, x[own]), sizes)
        with no_grad():
            if objective.takes_model:
                part = measure(model, x[own], y[own], objective, {})["loss"]
                weighted = wide(part) * (sizes[self._here.index] / len(y))
                loss = float(all_reduce(weighted))
            else:
                loss = float(objective.of(prediction, target))
            return {"loss": loss, **{name: float(metric(prediction, target)) for name, metric in metrics.items()}}


def _with_itself(loss: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """Return a loss with auxiliary data that are the loss itself and its own, as those of a scaled loss are."""

    def function(*args: Any) -> Any:
        found = loss(*args)
        return found[0], found

    return function


def _of_all(error: Any) -> Any:
    """Mark an error that all processes have."""
    error.everywhere = True
    return error
