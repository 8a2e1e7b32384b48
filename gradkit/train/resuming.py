"""What a run goes on from: read from its folder, and told to the processes that have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gradkit.core import Array
from gradkit.train.callbacks import Callback
from gradkit.train.checkpoints import Folder, Run
from gradkit.train.history import Value
from gradkit.train.positions import Expected
from gradkit.train.teams import Team

__all__ = ["Resumed", "read_run", "share_run"]


class Resumed(NamedTuple):
    """What a run is when it goes on.

    Attributes
    ----------
    run : Run
        Where it is.
    best : tuple of (float, int) or None
        The smallest loss so far and its epoch.
    best_model : pytree or None
        The model of that epoch.
    stopped : str
        The reason that a callback gave to stop, or nothing.
    rows : list of dict
        The history.
    seconds : float
        How long it has taken.
    """

    run: Run
    best: tuple[float, int] | None
    best_model: Any
    stopped: str
    rows: Sequence[Mapping[str, Value]]
    seconds: float


def read_run(
    folder: Folder, begun: Run, key: Array, expected: Expected, callbacks: Sequence[Callback]
) -> Resumed | None:
    """Read a run from its folder, and give callbacks what they remembered; None where there is no checkpoint.

    Parameters
    ----------
    folder : Folder
        The folder. What of its log is done again is taken out.
    begun : Run
        The run at its beginning: its model and state are like those that are read.
    key, expected
        As for `Folder.load`, whose errors are this function's.
    callbacks : sequence of Callback
        Those of the run.
    """
    saved = folder.load(begun.model, begun.state, key, expected)
    if saved is None:
        return None
    run = saved.run
    best_model = None if saved.best is None else folder.load_best(run.model)
    logged = folder.restart_log(run.epoch, run.epoch * expected.steps_per_epoch)
    seconds = {entry["epoch"]: entry.get("seconds") for entry in logged}
    rows = [{**row, "seconds": seconds.get(row["epoch"])} for row in saved.rows]
    taken = max((each for each in seconds.values() if each is not None), default=0.0)
    folder.restore(callbacks, saved.callbacks)
    return Resumed(run, saved.best, best_model, saved.stopped, rows, taken)


def share_run(team: Team, resumed: bool, own: Resumed, callbacks: Sequence[Callback]) -> Resumed | None:
    """Return in every process what process 0 goes on from; None where it begins.

    Parameters
    ----------
    team : Team
        The processes. The callbacks of all but process 0 are given what process 0's remember.
    resumed : bool
        Whether this process has read a checkpoint; only process 0's word counts.
    own : Resumed
        What this process has: what was read, or a run at its beginning.
    callbacks : sequence of Callback
        Those of the run.
    """
    run, best, best_model, stopped, rows, seconds = own
    about = team.tell(
        {
            "resumed": resumed,
            "position": [run.epoch, run.batch, run.sums],
            "best": best,
            "has_best": best_model is not None,
            "stopped": stopped,
            "rows": rows,
            "seconds": seconds,
            "callbacks": [dict(callback.state()) for callback in callbacks],
        }
    )
    if not about["resumed"]:
        return None
    like = run.model if best_model is None else best_model
    model, state, best_model = team.broadcast((run.model, run.state, like))
    if team.leads:
        return own
    for callback, remembered in zip(callbacks, about["callbacks"], strict=True):
        callback.restore(remembered)
    epoch, batch, sums = about["position"]
    return Resumed(
        Run(model, state, epoch, batch, tuple(sums)),
        None if about["best"] is None else (about["best"][0], about["best"][1]),
        best_model if about["has_best"] else None,
        about["stopped"],
        about["rows"],
        about["seconds"],
    )
