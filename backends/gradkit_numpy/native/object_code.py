"""Object code on disk, so that a second process starts at once.

A file holds what one program was compiled to, under the hash of everything that it depends on; another, what a program
is beside its code, under the hash of the graph that it was made of (`gradkit_numpy.native.records`). It is written
under another name and renamed, so a reader sees all of it or nothing; it begins with its checksum, and what does not
agree with that is not loaded. Whatever goes wrong with a file or a folder means that the program is compiled again,
never an error.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = [
    "FOLDER_VARIABLE", "LIMIT", "RECORD_SUFFIX", "SWITCH_VARIABLE", "folder", "keep_in", "key_of", "load", "store",
]  # fmt: skip

FOLDER_VARIABLE = "GRADKIT_CACHE_DIR"
SWITCH_VARIABLE = "GRADKIT_CACHE"
OFF = frozenset({"0", "false", "no", "off"})
FORMAT = 2
"""To be raised where what is kept, what is linked with it, or how a program is optimized changes."""
MAGIC = b"gradkit object code %d\n" % FORMAT
SUFFIX, RECORD_SUFFIX = ".object", ".program"
LIMIT = 256 * 2**20
"""Bytes of object code that a folder may hold; beyond, those that were used longest ago are removed."""


class _Place:
    """Where object code is kept in this process."""

    chosen: Path | None = None
    decided = False
    unchecked = LIMIT  # bytes written since the folder's size was looked at: at first, nobody knows


def keep_in(path: str | os.PathLike[str] | None) -> None:
    """Keep object code in the folder `path` from now on, or nowhere (None), whatever the environment says."""
    _Place.chosen, _Place.decided, _Place.unchecked = None if path is None else Path(path), True, LIMIT


def folder() -> Path | None:
    """Return the folder of object code, or None where none is kept.

    It is that of `keep_in`; else nowhere if ``GRADKIT_CACHE`` is 0 or ``off``; else ``jit`` in ``GRADKIT_CACHE_DIR``,
    or in the platform's folder for caches.
    """
    if _Place.decided:
        return _Place.chosen
    if os.environ.get(SWITCH_VARIABLE, "").lower() in OFF:
        return None
    named = os.environ.get(FOLDER_VARIABLE)
    with suppress(RuntimeError):  # a user without a home
        return (Path(named) if named else _platform_folder() / "gradkit") / "jit"
    return None


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".cache"  # the standard says to ignore relative ones


def key_of(*facts: str | bytes) -> str:
    """Return the name of what depends on `facts`, such as a program's text, the processor and LLVM's version."""
    hashed = hashlib.sha256(MAGIC)
    for fact in facts:
        content = fact.encode() if isinstance(fact, str) else fact
        hashed.update(b"%d\n" % len(content) + content)
    return hashed.hexdigest()


def load(key: str, suffix: str = SUFFIX) -> bytes | None:
    """Return the object code of that name, or None where there is none that is whole."""
    place = folder()
    if place is None:
        return None
    path = place / (key + suffix)
    try:
        if not _is_own(place):
            return None
        content = path.read_bytes()
    except OSError:
        return None
    size = len(MAGIC) + hashlib.sha256().digest_size
    code = content[size:]
    if content[:size] != MAGIC + _checksum(key, code):
        return None
    with suppress(OSError):  # a folder that may only be read
        os.utime(path)  # used now: others are removed before it
    return code


def _is_own(place: Path) -> bool:
    """Return whether nobody but this user and the system's could have put something into a folder: it will be run."""
    if os.name != "posix":
        return True
    facts = place.stat()
    return facts.st_uid in (0, os.geteuid()) and not facts.st_mode & stat.S_IWOTH


def store(key: str, code: bytes, suffix: str = SUFFIX) -> None:
    """Keep object code under that name, if the folder can be written."""
    place = folder()
    if place is None:
        return
    content = MAGIC + _checksum(key, code) + code
    with suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place, key + suffix, content)
        _Place.unchecked += len(content)
        if _Place.unchecked > LIMIT // 16:
            _Place.unchecked = 0
            _remove_oldest(place)


def _checksum(key: str, code: bytes) -> bytes:
    return hashlib.sha256(key.encode() + code).digest()


def _write(place: Path, name: str, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(suffix=".part", dir=place)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, place / name)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _remove_oldest(place: Path) -> None:
    """Remove files until half the limit is left, those that were used longest ago first."""
    files = []
    for entry in os.scandir(place):
        if entry.name.endswith((SUFFIX, RECORD_SUFFIX, ".part")):
            with suppress(OSError):  # removed by another process meanwhile
                facts = entry.stat()
                files.append((facts.st_mtime, facts.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    if total <= LIMIT:
        return
    for _, size, path in sorted(files):
        if total <= LIMIT // 2:
            return
        with suppress(OSError):
            os.unlink(path)
        total -= size
