"""A meeting at which processes see whether what is to be the same in all of them is, as an operation of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from gradkit.backend import Backend
from gradkit.core import MultipleResults
from gradkit.core.array import Array
from gradkit.core.binding import bind_several
from gradkit.core.graph import bind_where_captured
from gradkit.core.operands import dtype_name
from gradkit.primitives.creation import stop_gradient

if TYPE_CHECKING:
    from gradkit.processes import Subject, World
    from gradkit.processes.sameness import Sample

__all__ = ["compare", "samples"]


def compare(
    what: str, arrays: Sequence[Array], names: Sequence[str], along: Sequence[str], among: World, advice: str
) -> None:
    """Raise where arrays are not the same in some processes, all of which come here.

    Parameters
    ----------
    what : str
        Whose they are, for messages.
    arrays : sequence of Array
        This process's.
    names : sequence of str
        What each is called.
    along : sequence of str
        Along which axes they are.
    among : World
        The processes.
    advice : str
        What to do where they are not, for messages.
    """
    forms = tuple((name, dtype_name(array), tuple(array.shape)) for name, array in zip(names, arrays, strict=True))
    about = _about(what, tuple(along), forms)
    params = {"subject": about, "words": (what, advice), "names": tuple(names), "here": among}
    bind_where_captured(_compare, list(map(stop_gradient, arrays)), params)


@lru_cache(maxsize=256)
def _about(what: str, along: Sequence[str], forms: Sequence[tuple[str, str, tuple[int, ...]]]) -> Subject:
    """Return what processes have come to that compare arrays of such names, dtypes and shapes."""
    from gradkit.processes import subject  # late: one process needs neither JSON nor hashes

    return subject(
        f"{what}, at its end, along {' and '.join(map(repr, along))}",
        ", ".join(f"{name} {dtype}{list(shape)}" for name, dtype, shape in forms),
    )


def samples(backend: Backend, values: Sequence[Any]) -> list[Sample]:
    """Return what is looked at of raw arrays."""
    from gradkit.processes.sameness import Sample, most_of_each, positions  # late: one process needs no hashes

    found, most = [], most_of_each(len(values))
    for value in values:
        shape = tuple(value.shape)
        places = positions(prod(shape), most)
        if backend.shares_host_memory:
            array = backend.to_host(value)
            if places is None:
                chosen = array.reshape(-1)
            else:
                chosen = array.reshape(-1)[places] if array.flags.c_contiguous else array.flat[places]
        else:
            chosen = backend.xp.reshape(value, (-1,))
            if places is not None:
                chosen = backend.xp.take(chosen, backend.from_host(places, backend.device_of(value)), axis=0)
            chosen = backend.to_host(chosen)
        found.append(Sample(chosen, shape, places))
    return found


class _Compare(MultipleResults):
    """A comparison: no results, and nothing to differentiate."""

    distinct = True
    calls_host = True
    lends = True

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return no results."""
        return ()

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Return that it does something beside computing results: it meets others."""
        return True


def _batched(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, Any]:
    """Compare all elements of a batch at once."""
    bind_several(primitive, values, params)
    return (), ()


def _run(
    xp: Any, *values: Any, subject: Subject, words: tuple[str, str], names: tuple[str, ...], here: World
) -> tuple[()]:
    from gradkit.processes.sameness import check_same, word_of  # late: one process needs no hashes

    own = samples(xp.backend, values)
    given = here.open(subject, word_of(own)).given()
    what, advice = words
    check_same(
        here,
        given,
        own,
        names,
        lambda lines: f"{what}: what has to be the same in all processes is not:\n{lines}\n{advice}",
    )
    return ()


_compare = _Compare("process_compare", _run, (None,), batch=_batched, leaf=True)
