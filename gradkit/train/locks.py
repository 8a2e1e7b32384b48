"""One run at a time in a folder: a lock that the system takes back when the process ends, however it does."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradkit.data.files import PathLike
from gradkit.errors import FolderInUseError

__all__ = ["LOCK", "holder", "locked"]

LOCK = ".lock"
"""The file in the folder that is locked; the number of the process that holds it is in it."""

if sys.platform == "win32":
    import msvcrt

    BEYOND = 2**30
    """A byte that is locked cannot be read there, so it is one behind the process's number."""

    def _try_to_lock(descriptor: int) -> None:
        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_to_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_held: dict[str, tuple[int, int]] = {}
"""The folders of this process: the thread that has each, and the open file."""


def _forget() -> None:
    """Let go in a process that was forked, which would hold the lock after the one that has it was killed."""
    for _, descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def locked(folder: PathLike) -> Iterator[None]:
    """Keep other runs out of a folder; a thread that has it may enter again.

    Raises
    ------
    FolderInUseError
        If another run, in this process or another, is in progress there.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with locked(folder):
    ...     sorted(os.listdir(folder))
    ['.lock']
    >>> os.listdir(folder)
    []
    """
    name = os.path.realpath(folder)
    thread = threading.get_ident()
    if _held.get(name, (0, 0))[0] == thread:
        yield
        return
    descriptor = _acquire(Path(folder))
    _held[name] = (thread, descriptor)
    try:
        yield
    finally:
        if _held.pop(name, None) is not None:
            _release(Path(name), descriptor)


def holder(folder: PathLike) -> str | None:
    """Return the number of the process whose run is in progress in a folder, as a text; None where there is none."""
    path = Path(folder) / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        _try_to_lock(descriptor)
    except (BlockingIOError, PermissionError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 20).decode("ascii", "replace") or "which has just begun"
    finally:
        os.close(descriptor)
    return None


def _acquire(folder: Path) -> int:
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _try_to_lock(descriptor)
            # Whoever had it may have taken the file away between the two calls: then another is there, or none.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, str(os.getpid()).encode())
                    return descriptor
        except (BlockingIOError, PermissionError) as error:
            os.lseek(descriptor, 0, os.SEEK_SET)
            holder = os.read(descriptor, 20).decode("ascii", "replace") or "it has just begun"
            os.close(descriptor)
            raise FolderInUseError(
                f"another run is in progress in the folder {folder} (process {holder}). Wait until it has ended, stop "
                f"it, or give another folder."
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(folder: Path, descriptor: int) -> None:
    if sys.platform == "win32":  # an open file cannot be taken away
        os.close(descriptor)
    with suppress(OSError):
        (folder / LOCK).unlink()
    if sys.platform != "win32":
        os.close(descriptor)
