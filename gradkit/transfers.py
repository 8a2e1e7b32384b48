"""Guards of what crosses between the host's memory and a device's, under JAX's names.

`gradkit.device_put` and `gradkit.device_get` move data on purpose. What else crosses is seldom meant, and costs a GPU
its lead: numbers, texts and NumPy arrays that are made of an array (``float(x)``, ``print(x)``, ``np.asarray(x)``), and
arrays that are made of NumPy arrays and lists. A guard tells of it, or refuses it.

On a CPU nothing crosses: the memory is the host's. The devices 1 and 2 of the backend `strict` count as GPUs here, so
that a laptop finds what only a GPU would show.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from gradkit.backend.registry import backend_packages, library_packages
from gradkit.blocks import BlockValue
from gradkit.errors import TransferError, unknown_name

__all__ = [
    "DIRECTIONS", "ENVIRONMENT_VARIABLE", "LEVELS", "crossing", "explicitly", "guarding_everywhere", "guards",
    "transfer_guard", "transfer_guard_device_to_device", "transfer_guard_device_to_host",
    "transfer_guard_host_to_device",
]  # fmt: skip

Level = Literal["allow", "log", "disallow", "log_explicit", "disallow_explicit"]
LEVELS = ("allow", "log", "disallow", "log_explicit", "disallow_explicit")
Direction = Literal["host_to_device", "device_to_device", "device_to_host"]
DIRECTIONS: tuple[Direction, ...] = ("host_to_device", "device_to_device", "device_to_host")
ENVIRONMENT_VARIABLE = "GRADKIT_TRANSFER_GUARD"


class Guards:
    """What is allowed in each direction: for the process, and inside the blocks of a thread or task.

    Attributes
    ----------
    everywhere : dict
        The level of each direction outside of blocks.
    here : dict
        That of the innermost block.
    blocks : int
        How many blocks are open, in all threads.
    is_on : bool
        Whether anything may be guarded: whoever moves data asks this first.
    """

    def __init__(self) -> None:
        self.everywhere: dict[Direction, str] = dict.fromkeys(DIRECTIONS, "allow")
        self.here = {each: BlockValue[str | None](f"gradkit_transfer_guard_{each}", None) for each in DIRECTIONS}
        self.explicit = BlockValue[bool]("gradkit_explicit_transfers", False)
        self.blocks = 0
        self.is_on = False

    def level(self, direction: Direction) -> str:
        """Return the level that holds in this thread or task."""
        return self.here[direction].get() or self.everywhere[direction]

    def set(self, levels: dict[Direction, str]) -> None:
        """Set the process's levels."""
        self.everywhere |= levels
        self.note(0)

    def note(self, more: int) -> None:
        """Count blocks that begin or end."""
        self.blocks += more
        self.is_on = self.blocks > 0 or set(self.everywhere.values()) != {"allow"}


guards = Guards()


def checked(level: str, where: str) -> str:
    """Return a level, if it is one.

    Raises
    ------
    ValueError
        If it is none.
    """
    if level not in LEVELS:
        raise ValueError(f"{where}: {unknown_name('level', level, LEVELS)}")
    return level


@contextmanager
def _block(directions: tuple[Direction, ...], level: str, name: str) -> Iterator[None]:
    checked(level, name)
    guards.note(1)
    try:
        with ExitStack() as stack:
            for direction in directions:
                stack.enter_context(guards.here[direction].block(level))
            yield
    finally:
        guards.note(-1)


def transfer_guard(new_val: Level) -> Any:
    """Say what happens where data crosses between host and device, or between devices, inside a ``with`` block.

    Parameters
    ----------
    new_val : {"allow", "log", "disallow", "log_explicit", "disallow_explicit"}
        ``"log"`` tells of transfers that no call asked for, by the logger ``gradkit.transfers``, and ``"disallow"``
        raises. Those of `device_put`, `device_get` and ``x.to_device(...)`` are asked for: they are told of and refused
        by the last two levels alone.

    Notes
    -----
    A block belongs to the thread or task that opened it. For the process it is
    ``gradkit.config.update("jax_transfer_guard", "disallow")``, and from its beginning the environment variable
    ``GRADKIT_TRANSFER_GUARD``. A Python number that meets an array is an argument of the operation, and no transfer.

    Examples
    --------
    >>> import gradkit, numpy
    >>> x = gradkit.device_put(numpy.asarray([1.0, 2.0], "float32"), gradkit.devices("strict")[1])
    >>> with gradkit.transfer_guard("disallow"):
    ...     y = gradkit.device_get(2 * x)
    ...     float(x[0])
    Traceback (most recent call last):
    ...
    gradkit.errors.TransferError: Disallowed device-to-host transfer: float32[] on strict:1, for the `float` function...
    """
    return _block(DIRECTIONS, new_val, "transfer_guard")


def transfer_guard_host_to_device(new_val: Level) -> Any:
    """Do as `transfer_guard` for what comes from the host alone."""
    return _block(("host_to_device",), new_val, "transfer_guard_host_to_device")


def transfer_guard_device_to_device(new_val: Level) -> Any:
    """Do as `transfer_guard` for what goes from a device to another alone: all of that is asked for."""
    return _block(("device_to_device",), new_val, "transfer_guard_device_to_device")


def transfer_guard_device_to_host(new_val: Level) -> Any:
    """Do as `transfer_guard` for what goes to the host alone."""
    return _block(("device_to_host",), new_val, "transfer_guard_device_to_host")


@contextmanager
def guarding_everywhere(level: str) -> Iterator[None]:
    """Give all directions a level inside a ``with`` block, in all threads of the process."""
    before = dict(guards.everywhere)
    guards.set(dict.fromkeys(DIRECTIONS, checked(level, "guarding_everywhere")))
    try:
        yield
    finally:
        guards.set(before)


@contextmanager
def explicitly() -> Iterator[None]:
    """Let what crosses inside a ``with`` block count as asked for."""
    with guards.explicit.block(True):
        yield


def crossing(direction: Direction, what: str, asked: str) -> None:
    """Tell of data that crosses, or refuse it, as the guard says.

    Parameters
    ----------
    direction : str
        One of `DIRECTIONS`.
    what : str
        The data, for the message.
    asked : str
        What it is for.

    Raises
    ------
    TransferError
        If the guard refuses it.
    """
    level = guards.level(direction)
    explicit = guards.explicit.get()
    if level == "allow" or (explicit and not level.endswith("_explicit")):
        return
    way = direction.replace("_", "-")
    if level.startswith("log"):
        import logging  # late: importing gradkit does not take it

        logging.getLogger("gradkit.transfers").warning("%s transfer: %s, for %s, at %s", way, what, asked, caller())
        return
    raise TransferError(
        f"Disallowed {way} transfer: {what}, for {asked}, at {caller()}. A transfer guard refuses what is not asked "
        f"for: move it on purpose with gradkit.device_put or gradkit.device_get, or let it pass inside "
        f'gradkit.transfer_guard("allow").'
    )


def caller() -> str:
    """Return the file and line of the innermost call that is neither gradkit's own nor its libraries'."""
    ours = {"gradkit", "array_api_compat", "numpy", *backend_packages(), *library_packages()}
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ours:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


if level := os.environ.get(ENVIRONMENT_VARIABLE):
    guards.set(dict.fromkeys(DIRECTIONS, checked(level, ENVIRONMENT_VARIABLE)))
