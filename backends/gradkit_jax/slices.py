"""Slices of JAX's arrays: one program for a shape, wherever in the array a slice starts.

JAX would compile another program for each place that is written to, and for each start of a slice with steps.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy
import numpy as np

__all__ = ["getitem", "pad_index", "set_index"]

Raw = Any
Index = tuple[Any, ...]


class Form(NamedTuple):
    """What a program knows of an index: all but where the slices start."""

    counts: tuple[int, ...]
    """How many elements of each axis are chosen."""
    steps: tuple[int, ...]
    """How far apart they are."""
    starting: tuple[int, ...]
    """The axes of which not everything is chosen, or not from the front."""
    shape: tuple[int, ...]
    """The shape of what is chosen, with its new axes and without those of integers."""

    @property
    def spans(self) -> tuple[int, ...]:
        """How much of each axis lies between the first and the last element, with both."""
        return tuple(
            abs(step) * (count - 1) + 1 if count else 0 for count, step in zip(self.counts, self.steps, strict=True)
        )


def form_of(index: Index, shape: Sequence[int]) -> tuple[Form, list[int]]:
    """Return an index's form, and the lowest position that it chooses of each axis that `starting` names."""
    counts: list[int] = []
    steps, starting, starts, chosen = [], [], [], []
    for part in index:
        if part is None:
            chosen.append(1)
            continue
        size = shape[len(counts)]
        places = range(*part.indices(size)) if isinstance(part, slice) else range(part, part + 1)
        if len(places) != size or places.step < 0:
            starting.append(len(counts))
            starts.append(min(places, default=0))
        if isinstance(part, slice):
            chosen.append(len(places))
        counts.append(len(places))
        steps.append(places.step if len(places) > 1 else 1)
    rest = tuple(shape[len(counts) :])
    form = Form((*counts, *rest), (*steps, *[1] * len(rest)), tuple(starting), (*chosen, *rest))
    return form, starts


def _starts(form: Form, starts: Sequence[Any]) -> list[Any]:
    """Return where each axis starts."""
    found: list[Any] = [0] * len(form.counts)
    for axis, start in zip(form.starting, starts, strict=True):
        found[axis] = start
    return found


def _turned(x: Raw, form: Form) -> Raw:
    """Return `x` the other way round along axes of negative steps."""
    backwards = [axis for axis, step in enumerate(form.steps) if step < 0]
    return jax.lax.rev(x, backwards) if backwards else x


def _read(x: Raw, starts: Sequence[Any], form: Form) -> Raw:
    spans = form.spans
    if form.starting:
        x = jax.lax.dynamic_slice(x, _starts(form, starts), spans)
    if spans != form.counts:
        x = jax.lax.slice(x, [0] * len(spans), spans, [abs(step) for step in form.steps])
    return _turned(x, form).reshape(form.shape)


def _written(x: Raw, y: Raw, starts: Sequence[Any], form: Form) -> Raw:
    block, spans = _turned(jax.numpy.broadcast_to(y, form.shape).reshape(form.counts), form).astype(x.dtype), form.spans
    if spans != form.counts:
        between = [(0, 0, abs(step) - 1) for step in form.steps]
        block = jax.lax.pad(block, np.zeros((), x.dtype), between)
        is_chosen = np.zeros(spans, bool)
        is_chosen[tuple(slice(None, None, abs(step)) for step in form.steps)] = True
        block = jax.numpy.where(is_chosen, block, jax.lax.dynamic_slice(x, _starts(form, starts), spans))
    return jax.lax.dynamic_update_slice(x, block, _starts(form, starts)) if form.starting else block


def _padded(x: Raw, starts: Sequence[Any], form: Form, shape: tuple[int, ...]) -> Raw:
    return _written(jax.numpy.zeros(shape, x.dtype), x, starts, form)


_read_anywhere = functools.partial(jax.jit, static_argnames=("form",))(_read)
_written_anywhere = functools.partial(jax.jit, static_argnames=("form",))(_written)
_padded_anywhere = functools.partial(jax.jit, static_argnames=("form", "shape"))(_padded)


def _places(starts: list[int]) -> np.ndarray[Any, Any]:
    return np.array(starts, np.int64)


def getitem(x: Raw, *, index: Index) -> Raw:
    """Return the elements at slices and integers. Where JAX traces, its compiler is told where they start."""
    form, starts = form_of(index, x.shape)
    if isinstance(x, jax.core.Tracer):
        return _read(x, starts, form)
    return _read_anywhere(x, _places(starts), form)


def pad_index(x: Raw, *, index: Index, shape: tuple[int, ...]) -> Raw:
    """Return zeros with `x` at slices and integers."""
    form, starts = form_of(index, shape)
    if isinstance(x, jax.core.Tracer):
        return _padded(x, starts, form, tuple(shape))
    return _padded_anywhere(x, _places(starts), form, tuple(shape))


def set_index(x: Raw, y: Raw, *, index: Index) -> Raw:
    """Return `x` with `y` at slices and integers."""
    form, starts = form_of(index, x.shape)
    if isinstance(x, jax.core.Tracer) or isinstance(y, jax.core.Tracer):
        return _written(x, y, starts, form)
    return _written_anywhere(x, y, _places(starts), form)
