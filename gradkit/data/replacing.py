"""Files that are written completely or not at all: under another name, forced to the disk, and renamed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gradkit.data.files import PathLike, refuse_folder

__all__ = ["clear_partial", "replace"]

PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{8}\.partial")
"""The other name: the file's own is in it."""


def replace(path: PathLike, contents: bytes) -> None:
    """Put a file with these contents in the place of another (if there is one), or leave that one as it is."""
    refuse_folder(path)
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.partial")
    try:
        # Opened as any new file is, so that it has the permissions that the user's umask gives.
        with open(partial, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        # It is gone when it has taken the other's place.
        with suppress(FileNotFoundError):
            os.unlink(partial)
    _force_to_disk(folder)


def _force_to_disk(folder: str) -> None:
    """Wait until the folder's entries are on the disk, where the system can (Windows cannot open a folder)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_partial(folder: Path, names: Iterable[str]) -> None:
    """Take away what processes left of files of these names that were killed while they wrote; none may be writing."""
    wanted = {*names}
    for path in folder.iterdir():
        found = PARTIAL.fullmatch(path.name)
        if found is not None and found[1] in wanted:
            path.unlink(missing_ok=True)
