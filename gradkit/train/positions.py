"""What a checkpoint says in JSON of the run that it is of, checked before a run goes on from it."""

from __future__ import annotations

from typing import Any, NamedTuple

from gradkit.data.checked_json import Check, anything, each, keyed, maybe, number, parse, record, text, whole

__all__ = ["Expected", "check_position", "read_position"]


class Expected(NamedTuple):
    """What a run that is to go on is like.

    Attributes
    ----------
    steps_per_epoch, batch_size : int
        How many minibatches an epoch has, and how many examples each of them but the last.
    columns : tuple of str
        Of the history, without times.
    sums : int
        How many sums are kept in an epoch.
    callbacks : int
        How many callbacks there are.
    """

    steps_per_epoch: int
    batch_size: int
    columns: tuple[str, ...]
    sums: int
    callbacks: int


def _best(value: Any, what: str) -> None:
    each(anything, 2, 2)(value, what)
    number(finite=True)(value[0], f"{what}[0]")
    whole(1)(value[1], f"{what}[1]")


VERSION: Check = whole(1)
POSITION: Check = record(
    {
        "version": VERSION,
        "settings": keyed(anything),
        "fit": keyed(anything),
        "epoch": whole(),
        "batch": whole(),
        "sums": each(number(), 1),
        "history": each(keyed(maybe(number()))),
        "best": maybe(_best),
        "callbacks": each(keyed(anything)),
        "stopped": text,
    }
)


def read_position(source: str, newest: int) -> dict[str, Any]:
    """Return what a text says of a run. Of a version above the newest, only the version is looked at.

    Raises
    ------
    ValueError
        If it is not what `Folder.save` writes.
    """
    found: Any = parse(source, constants=True)
    keyed(anything)(found, "")
    VERSION(found.get("version"), "version")
    if found["version"] <= newest:
        POSITION(found, "")
    return dict(found)


def check_position(found: dict[str, Any], expected: Expected) -> None:
    """Raise ValueError where the run that is expected cannot be there."""
    epoch, batch, rows = found["epoch"], found["batch"], found["history"]
    whole(0, expected.steps_per_epoch - 1)(batch, "batch")
    each(anything, expected.sums, expected.sums)(found["sums"], "sums")
    each(anything, expected.callbacks, expected.callbacks)(found["callbacks"], "callbacks")
    each(anything, epoch, epoch)(rows, "history")
    if found["stopped"] and not expected.callbacks:
        raise ValueError(f"it was stopped ({found['stopped'][:40]!r}), but has no callback that could have stopped it")
    examples = found["sums"][-1]
    if examples != batch * expected.batch_size:
        raise ValueError(
            f"its sums are of {examples:,} examples, but {batch:,} batches have {batch * expected.batch_size:,}"
        )
    for i, row in enumerate(rows):
        if row.keys() != {*expected.columns}:
            raise ValueError(f"history[{i}] has the columns {', '.join(row)}, expected {', '.join(expected.columns)}")
        whole(i + 1, i + 1)(row["epoch"], f"history[{i}]['epoch']")
        whole((i + 1) * expected.steps_per_epoch, (i + 1) * expected.steps_per_epoch)(
            row["step"], f"history[{i}]['step']"
        )
    if (found["best"] is None) != (epoch == 0) or (found["best"] is not None and found["best"][1] > epoch):
        raise ValueError(f"the best epoch is {found['best'] and found['best'][1]}, of {epoch:,}")
