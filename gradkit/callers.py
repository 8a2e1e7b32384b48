"""Whose a module is: an Array may be assigned to, or is followed further, by who asks."""

from __future__ import annotations

__all__ = ["ASSIGNING_LIBRARIES", "ENTRANCE", "LIBRARY", "OURS", "USER", "whose"]

ASSIGNING_LIBRARIES = frozenset({"array_api_compat", "array_api_extra", "einops", "scipy", "sklearn"})
"""Packages by others that are written for arrays whose items can be assigned."""


class _Modules(dict[str, str]):
    """By a module's name: whose it is, one of `LIBRARY`, `OURS`, `ENTRANCE` and `USER` (which is false).

    A dictionary, which remembers, since each index of an Array asks it.
    """

    libraries = ASSIGNING_LIBRARIES

    def __missing__(self, name: str) -> str:
        package = name.partition(".")[0]
        if package == "numpy" or name in ENTRANCES:
            found = ENTRANCE
        elif package == "gradkit":
            found = OURS
        else:
            found = LIBRARY if package in self.libraries else USER
        self[name] = found
        return found

    def set(self, libraries: frozenset[str]) -> None:
        self.libraries = libraries
        self.clear()


LIBRARY, OURS, ENTRANCE, USER = "library", "ours", "entrance", ""
ENTRANCES = frozenset({"gradkit.numpy.numpy_protocol", "gradkit.primitives.operators"})
"""Modules through which others come, as through NumPy's: what is done there is done by their callers."""
whose = _Modules()
