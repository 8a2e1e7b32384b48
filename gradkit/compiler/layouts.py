"""Rewrites of what moves elements, and of reductions: no element changes, but sums may be taken in another order."""

from __future__ import annotations

import math
from typing import Any

from gradkit.compiler.rewriting import Draft, Rewrite, Site, table
from gradkit.core.graph import Variable

__all__ = ["LAYOUTS", "LAYOUT_RULES"]

Sizes = tuple[int, ...]


def _shape(operand: Any) -> Sizes:
    return tuple(operand.shape)


def _of_one_shape(draft: Draft, site: Site) -> Any:
    (x,) = site.inputs
    return x if _shape(x) == _shape(site.form) else None


# Shapes


def _twice(draft: Draft, site: Site) -> Any:
    inside = draft.argument(site.inputs[0], site.primitive.name)
    return None if inside is None else draft.like(site, inside)


def _number_everywhere(draft: Draft, site: Site) -> Any:
    maker = draft.maker(site.inputs[0], "broadcast_to")
    if maker is None or math.prod(_shape(maker.inputs[0])) != 1 or 0 in _shape(site.form):
        return None
    number = maker.inputs[0]
    if type(number) is Variable and _shape(number):
        number = draft.made("reshape", number, shape=())
    return draft.shaped(number, site.form)


def _same_order(draft: Draft, site: Site) -> Any:
    axes = site.params["axes"]
    return site.inputs[0] if tuple(axes) == tuple(range(len(axes))) else None


def _both_orders(draft: Draft, site: Site) -> Any:
    maker = draft.maker(site.inputs[0], "permute_dims")
    if maker is None:
        return None
    before = maker.params["axes"]
    return draft.like(site, maker.inputs[0], axes=tuple(before[a] for a in site.params["axes"]))


def _order_of_axes_of_size_one(draft: Draft, site: Site) -> Any:
    (x,) = site.inputs
    moved = [a for a in site.params["axes"] if x.shape[a] != 1]
    return _reshaped(draft, x, site) if moved == sorted(moved) else None


def _outer_product(draft: Draft, site: Site) -> Any:
    x, y = site.inputs
    if len(x.shape) < 2 or len(y.shape) < 2 or x.shape[-1] != 1 or site.form.dtype.kind not in "fiu":
        return None
    return draft.made("multiply", x, y, form=site.form) if x.dtype == y.dtype == site.form.dtype else None


def _without_leading_axes(draft: Draft, site: Site) -> Any:
    maker = draft.maker(site.inputs[0], "reshape")
    if maker is None:
        return None
    (inside,) = maker.inputs
    lead = len(site.inputs[0].shape) - len(inside.shape)
    if lead < 0 or _shape(site.inputs[0]) != (*(1,) * lead, *_shape(inside)):
        return None
    return draft.like(site, inside)


def _converted_before(draft: Draft, site: Site) -> Any:
    maker = draft.maker(site.inputs[0], "broadcast_to")
    if maker is None:
        return None
    return draft.shaped(draft.made(site.primitive.name, *maker.inputs, **site.params), site.form)


# Parts


def _everything(draft: Draft, site: Site) -> Any:
    x = site.inputs[0]
    if not _takes_all(site.params["index"], _shape(x)):
        return None
    return _reshaped(draft, x, site)


def _everywhere(draft: Draft, site: Site) -> Any:
    if not _takes_all(site.params["index"], _shape(site.form)):
        return None
    return _reshaped(draft, site.inputs[-1], site) if _fits(site) else None


def _fits(site: Site) -> bool:
    return math.prod(_shape(site.inputs[-1])) == math.prod(_shape(site.form))


def _takes_all(index: tuple[Any, ...], shape: Sizes) -> bool:
    """Return whether an index takes all elements, row by row; axes of size 1 may come and go."""
    parts = [part for part in index if part is not None]
    if len(parts) > len(shape):
        return False
    return all(
        (part in (0, -1) and size == 1) if type(part) is int else part.indices(size) == (0, size, 1)
        for part, size in zip(parts, shape, strict=False)
    )


def _part_of_a_part(draft: Draft, site: Site) -> Any:
    maker = draft.maker(site.inputs[0], "getitem")
    if maker is None:
        return None
    (whole,) = maker.inputs
    index = _composed(maker.params["index"], site.params["index"], _shape(whole))
    return None if index is None else draft.like(site, whole, index=index)


def _composed(first: tuple[Any, ...], second: tuple[Any, ...], shape: Sizes) -> tuple[Any, ...] | None:
    """Return the index that is two, one after the other; None where it would have new axes."""
    if None in first or None in second:
        return None
    parts: list[Any] = []
    rest = iter((*second, *(slice(None),) * len(shape)))
    for part, size in zip((*first, *(slice(None),) * (len(shape) - len(first))), shape, strict=True):
        if type(part) is int:
            parts.append(part % size)
            continue
        taken = range(*part.indices(size))
        then = next(rest)
        if type(then) is int:
            parts.append(taken[then])
            continue
        left = taken[then]
        stop = None if left.stop < 0 else left.stop
        parts.append(slice(left.start, stop, left.step) if len(left) else slice(0, 0))
    return tuple(parts)


def _of_one_piece(draft: Draft, site: Site) -> Any:
    pieces = [x for x in site.inputs if x.shape[site.params["axis"]]]
    if len(pieces) == 1:
        return pieces[0]
    if len(pieces) == len(site.inputs) or not pieces:
        return None
    axis = site.params["axis"]
    return draft.like(site, *pieces, axis=axis, sizes=tuple(x.shape[axis] for x in pieces))


# Reductions


def _reduced(site: Site) -> Sizes:
    """Return the axes that are reduced and have more than one element, or none."""
    shape = _shape(site.inputs[0])
    return tuple(a for a in site.params["axis"] if shape[a] != 1)


def _over_nothing(draft: Draft, site: Site) -> Any:
    if _reduced(site):
        return None
    (x,) = site.inputs
    if x.dtype != site.form.dtype:
        x = draft.made("astype", x, dtype=site.form.dtype.name)
    return _reshaped(draft, x, site)


def _reshaped(draft: Draft, x: Any, site: Site) -> Any:
    if _shape(x) == _shape(site.form):
        return x
    return draft.made("reshape", x, form=site.form, shape=_shape(site.form))


def _without_kept_axes(draft: Draft, site: Site) -> Any:
    if not site.params["keepdims"]:
        return None
    axis = site.params["axis"]
    return _reshaped(draft, draft.made(site.primitive.name, *site.inputs, axis=axis, keepdims=False), site)


def _of_repeated(draft: Draft, site: Site) -> Any:
    """Reduce over the axes along which something was not broadcast; a sum takes it as often as it is there."""
    maker = draft.maker(site.inputs[0], "broadcast_to")
    if maker is None or site.params["keepdims"]:
        return None
    (x,), shape, axes = maker.inputs, _shape(site.inputs[0]), site.params["axis"]
    lead = len(shape) - len(x.shape)
    own = tuple(a for a in axes if a >= lead and x.shape[a - lead] != 1)
    if len(own) == len(axes) or 0 in shape:
        return None
    if own:
        x = draft.made(site.primitive.name, x, axis=tuple(a - lead for a in own), keepdims=True)
    elif x.dtype != site.form.dtype:
        return None
    kept = tuple(1 if a in axes else size for a, size in enumerate(shape))
    left = tuple(size for a, size in enumerate(shape) if a not in axes)
    small = tuple(1 if a < lead else x.shape[a - lead] for a in range(len(shape)) if a not in axes)
    assert all(n == 1 for n, a in zip(_shape(x), range(lead, len(kept)), strict=True) if a in axes)
    if _shape(x) != small:
        x = draft.made("reshape", x, shape=small) if type(x) is Variable else x
    count = math.prod(shape[a] for a in axes if a not in own)
    if site.primitive.name == "sum":
        x = _times(draft, x, count, site)
    return None if x is None else draft.shaped(x, site.form) if left else x


def _times(draft: Draft, x: Any, count: int, site: Site) -> Any:
    if site.form.dtype.kind == "f":
        return draft.made("multiply", x, float(count)) if count < 2**11 or site.form.dtype.itemsize > 2 else None
    return draft.made("multiply", x, count) if site.form.dtype.kind in "iu" and count < 2**31 else None


def _of_a_reduction(draft: Draft, site: Site) -> Any:
    (x,) = site.inputs
    maker = draft.maker(x, site.primitive.name)
    if maker is None or maker.params["keepdims"] or site.params["keepdims"] or not draft.is_read_once(x):
        return None
    (inside,) = maker.inputs
    if x.dtype != site.form.dtype:
        return None
    first = maker.params["axis"]
    rest = [a for a in range(len(inside.shape)) if a not in first]
    axis = tuple(sorted((*first, *(rest[a] for a in site.params["axis"]))))
    return draft.like(site, inside, axis=axis, keepdims=False)


def _of_moved(draft: Draft, site: Site) -> Any:
    """Reduce before the axes are put in another order, so that there are fewer to move."""
    maker = draft.maker(site.inputs[0], "permute_dims")
    if maker is None or site.params["keepdims"]:
        return None
    (inside,), order, axes = maker.inputs, maker.params["axes"], site.params["axis"]
    before = tuple(sorted(order[a] for a in axes))
    kept = [order[a] for a in range(len(order)) if a not in axes]
    found = draft.made(site.primitive.name, inside, axis=before, keepdims=False)
    ranks = tuple(sorted(kept).index(a) for a in kept)
    return found if ranks == tuple(range(len(ranks))) else draft.made("permute_dims", found, form=site.form, axes=ranks)


def _of_reshaped(draft: Draft, site: Site) -> Any:
    """Reduce before axes come and go that have one element, or before all axes become others that go as well."""
    maker = draft.maker(site.inputs[0], "reshape")
    if maker is None or site.params["keepdims"]:
        return None
    (inside,), shape, axes = maker.inputs, _shape(site.inputs[0]), site.params["axis"]
    before = [a for a, size in enumerate(inside.shape) if size != 1]
    after = [a for a, size in enumerate(shape) if size != 1]
    if set(after) <= set(axes):
        axis = tuple(range(len(inside.shape)))
    elif [inside.shape[a] for a in before] == [shape[a] for a in after]:
        axis = tuple(b for a, b in zip(after, before, strict=True) if a in axes)
    else:
        return None
    return _reshaped(draft, draft.made(site.primitive.name, inside, axis=axis, keepdims=False), site)


def _mean(draft: Draft, site: Site) -> Any:
    (x,) = site.inputs
    count = math.prod(x.shape[a] for a in site.params["axis"])
    if not count or site.form.dtype.kind != "f" or site.form.dtype.itemsize < 4:
        return None
    total = draft.made("sum", x, form=site.form, **site.params)
    return draft.made("divide", total, float(count), form=site.form)


SUMS = "sum mean prod max min any all"

LAYOUTS = (
    Rewrite("reshape broadcast_to", _of_one_shape, "the shape is what it was"),
    Rewrite("reshape broadcast_to", _twice, "the second shape is what is left of both"),
    Rewrite("reshape permute_dims getitem", _number_everywhere, "all elements are one number, in any order"),
    Rewrite("permute_dims", _same_order, "the order is what it was"),
    Rewrite("permute_dims", _both_orders, "two orders of the axes are one"),
    Rewrite("permute_dims", _order_of_axes_of_size_one, "an axis of one element may stand anywhere"),
    Rewrite("matmul", _outer_product, "a sum of one product is it, but for the sign of a zero: 0.0 + -0.0"),
    Rewrite("broadcast_to", _without_leading_axes, "a broadcast puts the leading axes there itself"),
    Rewrite("astype astype_exact real imag conj", _converted_before, "equal elements are converted to equal ones"),
    Rewrite("getitem", _everything, "the part is the whole, but for axes of one element"),
    Rewrite("pad_index set_index", _everywhere, "the part is the whole, but for axes of one element"),
    Rewrite("getitem", _part_of_a_part, "a slice of a slice is one"),
    Rewrite("concatenate", _of_one_piece, "pieces without elements give none"),
    Rewrite(
        SUMS, _over_nothing, "of one element each is that element, where a sum does not begin with 0.0: 0.0 + -0.0"
    ),
    Rewrite(SUMS, _without_kept_axes, "a shape says where the axes stay"),
    Rewrite("mean", _mean, "it is defined as the sum, divided by the number of elements"),
    Rewrite("max min any all", _of_repeated, "equal elements count once"),
    Rewrite("sum", _of_repeated, "a sum of equal numbers, in the order that rounds once: a product"),
    Rewrite(
        "sum max min any all",
        _of_a_reduction,
        "elements are taken in any order (of 0.0 and -0.0 as well); a sum may round in another one",
    ),
    Rewrite("sum max min any all", _of_reshaped, "the elements are the same, in any order"),
    Rewrite("sum max min any all", _of_moved, "elements are taken in any order; a sum may round in another one"),
)
"""What is looked for, the first that applies."""

LAYOUT_RULES = table(LAYOUTS)
