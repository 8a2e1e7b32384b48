"""`shard_map` and `pmap` over processes: a function of parts, run in each process on its own.

What is outside is whole and the same in all processes, or, with ``process_local=True``, each process's own part. What
is inside computes with parts, and with the collectives of `gradkit.lax` over the names of the mesh's axes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import prod
from typing import Any

from gradkit.core.array import Array, backend_of_array
from gradkit.core.binding import bind
from gradkit.distributed.startup import world
from gradkit.errors import ShapeError
from gradkit.lax import across_processes
from gradkit.lax.process_ends import Stretch
from gradkit.lax.same_values import compare
from gradkit.numpy import asarray, moveaxis, reshape
from gradkit.processes import ProcessAxis, World, named_axes
from gradkit.transforms.arguments import check_callable, named_like
from gradkit.tree import broadcast_prefix, flatten, flatten_with_path, keystr, structure, unflatten

__all__ = ["Mesh", "PartitionSpec", "pmap", "shard_map"]


class PartitionSpec(tuple[Any, ...]):
    """Which axis of a mesh each axis of an array is divided over: a name, a tuple of names, or None for none.

    Axes that are not mentioned are whole in every process.

    Examples
    --------
    >>> PartitionSpec("rows", None)
    PartitionSpec('rows', None)
    """

    __slots__ = ()

    def __new__(cls, *axes: Any) -> PartitionSpec:
        """Take the names one by one."""
        return super().__new__(cls, axes)

    def __repr__(self) -> str:
        return f"PartitionSpec({', '.join(map(repr, self))})"


class Mesh:
    """The processes as a grid, whose axes have names. All processes make it, at the same place in the program.

    Parameters
    ----------
    shape : sequence of int
        The sizes of the axes; their product is `process_count()`. Processes are numbered along the last axis first.
    axis_names : sequence of str
        The names of the axes.

    Attributes
    ----------
    shape : dict of str to int
        The size of each axis.
    axis_names : tuple of str
        The names.

    Raises
    ------
    ValueError
        If the sizes are no whole numbers, or not those of the processes, or the names are not as many, or not
        different.

    Examples
    --------
    >>> Mesh((1,), ("data",)).shape
    {'data': 1}
    """

    def __init__(self, shape: Sequence[int], axis_names: Sequence[str]) -> None:
        here = world()
        sizes, names = tuple(shape), tuple(axis_names)
        if not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError(
                f"Mesh: shape must be the number of processes along each axis, of 1 or more, got {shape!r}. For one "
                f"axis write Mesh(({here.count},), ('data',))."
            )
        if len(sizes) != len(names) or len(set(names)) != len(names):
            raise ValueError(
                f"Mesh: axis_names must be a different name for each axis of shape, got {names} for {sizes}."
            )
        if prod(sizes) != here.count:
            raise ValueError(
                f"Mesh: shape is {sizes}, which is for {prod(sizes)} processes, but there are {here.count}. Start as "
                f"many as the product of the sizes (mpiexec -n {prod(sizes)} ...)."
            )
        self.shape = dict(zip(names, sizes, strict=True))
        self.axis_names = names
        self.world = here
        self.axes = {name: ProcessAxis(name, part) for name, part in zip(names, _lines(here, sizes), strict=True)}

    def __repr__(self) -> str:
        return f"Mesh({', '.join(f'{name}: {size}' for name, size in self.shape.items())})"


def _lines(here: World, sizes: tuple[int, ...]) -> list[World]:
    """Return the processes along each axis of a grid that this one is among."""
    found = []
    for i in range(len(sizes)):
        below = prod(sizes[i + 1 :])
        position = here.index // below % sizes[i]
        line = here.index - position * below  # the number of the line's first process tells it from others
        whole = sizes[i] == here.count
        found.append(here if whole else here.split(f"axis {i} of {sizes}", line, position))
    return found


def shard_map(
    f: Callable[..., Any],
    *,
    mesh: Mesh,
    in_specs: Any,
    out_specs: Any,
    process_local: bool = False,
) -> Callable[..., Any]:
    """Make the function that runs `f` in each process on its part of the arguments.

    Parameters
    ----------
    f : callable
        A function of parts. In it, `lax.psum` and its relatives, `lax.axis_index` and so on are over axes of the mesh.
    mesh : Mesh
        The processes.
    in_specs, out_specs : pytree of PartitionSpec
        How arguments are divided (a tuple, one for each, or one for all) and results put together; each may be a
        prefix of its tree. A result whose spec does not mention an axis has to be the same along it.
    process_local : bool
        Whether what is outside is each process's own part too: nothing is divided or put together, and the specs say
        along which axes it is the same. By default arguments and results are whole, and the same in all processes.

    Returns
    -------
    callable
        Takes what `f` takes. It can be differentiated, in both modes, from outside and inside. From outside derivatives
        are those of the whole function, with `process_local` the process's part of them. Inside a process
        differentiates the sum of what all processes compute, so the transpose of `psum` is `psum`, as in JAX's with
        ``check_vma=False``.

    Raises
    ------
    ValueError
        If specs are no prefix of the trees, name an axis that the mesh does not have, or an axis cannot be divided
        evenly.
    DistributedError
        By the function, in all processes: if they come to different collectives, or if a whole argument, or a result
        that has to be the same along an axis, differs between them, as far as the elements show that are looked at
        (1,024 of an array, fewer of each of more than 16, floating-point numbers to four digits).

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> from gradkit import lax
    >>> mesh = Mesh((1,), ("i",))
    >>> P = PartitionSpec
    >>> total = shard_map(lambda x: lax.psum(jnp.sum(x), "i"), mesh=mesh, in_specs=P("i"), out_specs=P())
    >>> total(jnp.arange(4.0))
    Array(6., dtype=float32)
    """
    check_callable(f)

    @named_like(f)
    def mapped(*args: Any) -> Any:
        leaves, treedef = flatten(args)
        specs = _flat_specs("in_specs", in_specs, args, mesh)
        given = [asarray(leaf) for leaf in leaves]
        arrays = [
            _divide(a, spec, mesh, f"argument {i}", process_local)
            for i, (a, spec) in enumerate(zip(given, specs, strict=True))
        ]
        stretch = Stretch(mesh.axes)
        with named_axes(mesh.axes):
            result = f(*unflatten(treedef, arrays))
        outputs, out_tree = flatten(result)
        out = _flat_specs("out_specs", out_specs, result, mesh)
        outputs = [asarray(output) for output in outputs]
        what = f"shard_map({getattr(f, '__name__', 'f')})"
        met: set[str] = set()
        if sum(size > 1 for size in mesh.shape.values()) > 1:
            stretch.end(what)  # those along an axis may have come to different calls, before all come together
            met.update(mesh.shape)
        if not process_local:
            apart = [{axis for names in spec for axis in names} for spec in out]
            met |= _compare(
                what,
                [
                    *((name, array, set()) for name, array in zip(_named("argument ", args), given, strict=True)),
                    *zip(_named("result", result), outputs, apart, strict=True),
                ],
                mesh,
                "A spec that does not mention an axis says so. Give all processes the same argument; sum or average a "
                "result over it (lax.psum, lax.pmean), or let its spec name it, so that each process's part is there.",
            ).union(*apart)
        stretch.end(what, without=met)
        outputs = [_put_together(a, spec, mesh, process_local) for a, spec in zip(outputs, out, strict=True)]
        return unflatten(out_tree, outputs)

    return mapped


def pmap(
    fun: Callable[..., Any], axis_name: str = "processes", *, in_axes: Any = 0, out_axes: int = 0
) -> Callable[..., Any]:
    """Make the function that runs `fun` on each element of a batch, an element in each process.

    Parameters
    ----------
    fun : callable
        A function of one element.
    axis_name : str
        The name of the axis of processes, for `lax.psum` and its relatives.
    in_axes : int, None or a tree of them
        As for `vmap`: the axis of each argument that is the batch, whose size is `process_count()`.
    out_axes : int
        Where that axis is in the results.

    Returns
    -------
    callable
        Takes and returns batches, whole and the same in all processes.

    Raises
    ------
    ValueError
        If a batch has another size.
    DistributedError
        By the function, in all processes: as `shard_map`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> pmap(lambda x: x * 2)(jnp.asarray([[1.0, 2.0]]))
    Array([[2., 4.]], dtype=float32)
    """
    check_callable(fun)
    kept: list[Mesh] = []

    @named_like(fun)
    def mapped(*args: Any) -> Any:
        here = world()
        if not kept or kept[0].axes[axis_name].world is not here:
            kept[:] = [Mesh((here.count,), (axis_name,))]
        axis = kept[0].axes[axis_name]
        leaves, treedef = flatten(args)
        axes = [in_axes] * len(leaves) if isinstance(in_axes, int) else list(broadcast_prefix(tuple(in_axes), args))
        given = [asarray(leaf) for leaf in leaves]
        arrays = [_element(array, number, axis) for array, number in zip(given, axes, strict=True)]
        with named_axes(kept[0].axes):
            outputs, out_tree = flatten(fun(*unflatten(treedef, arrays)))
        same = [(name, array, ()) for name, array in zip(_named("argument ", args), given, strict=True)]
        advice = "pmap takes whole batches, of which each process computes an element."
        _compare(f"pmap({getattr(fun, '__name__', 'fun')})", same, kept[0], advice)
        whole = [bind(across_processes.gather_to_same, (asarray(output),), {"axis": axis}) for output in outputs]
        return unflatten(out_tree, [moveaxis(array, 0, out_axes) for array in whole])

    return mapped


def _named(what: str, values: Any) -> list[str]:
    """Return what the leaves of a tree are called."""
    return [what + keystr(path) for path, _ in flatten_with_path(values)[0]]


def _compare(what: str, arrays: Sequence[tuple[str, Array, Collection[str]]], mesh: Mesh, advice: str) -> set[str]:
    """Raise where arrays are not the same in all processes, along the axes of a mesh that are not said of them.

    Returns
    -------
    set of str
        The axes along which the processes have met.
    """
    axes = tuple(name for name, axis in mesh.axes.items() if axis.size > 1)
    groups: dict[tuple[tuple[str, ...], str, str], list[tuple[str, Array]]] = {}
    for called, array, apart in arrays:
        same = tuple(name for name in axes if name not in apart)
        # Of what is the same in all processes all have to learn, not just those along an axis where it is not.
        for along in [same] if same == axes else [(name,) for name in same]:
            place = backend_of_array(array).name, str(array.device)
            groups.setdefault((along, *place), []).append((called, array))
    met: set[str] = set()
    for group in sorted(groups):
        along = group[0]
        if along:
            names, values = zip(*groups[group], strict=True)
            among = mesh.world if along == axes else mesh.axes[along[0]].world
            compare(what, values, names, along, among, advice)
            met.update(along)
    return met


def _element(array: Array, number: int | None, axis: ProcessAxis) -> Array:
    if number is None:
        return bind(across_processes.vary, (array,), {"axis": axis})
    size = array.shape[number]
    if size != axis.size:
        raise ValueError(
            f"pmap: axis {number} of an argument of shape {tuple(array.shape)} has size {size}, but there are "
            f"{axis.size} processes, an element for each."
        )
    return bind(across_processes.own_part, (moveaxis(array, number, 0),), {"axis": axis})


def _flat_specs(name: str, specs: Any, tree: Any, mesh: Mesh) -> list[tuple[tuple[str, ...], ...]]:
    """Return, for each leaf, the names of the mesh's axes that each of its axes is divided over."""
    if isinstance(specs, PartitionSpec):
        found: list[Any] = [specs] * len(flatten(tree)[0])
    else:
        try:
            found = list(broadcast_prefix(specs, tree))
        except ValueError as error:
            raise ValueError(f"shard_map: {name} must be a tree prefix of {structure(tree)}, got {specs}.") from error
    return [_axes_of(spec, name, mesh) for spec in found]


def _axes_of(spec: Any, name: str, mesh: Mesh) -> tuple[tuple[str, ...], ...]:
    if not isinstance(spec, PartitionSpec):
        raise TypeError(f"shard_map: {name} must be of PartitionSpec objects, got {spec!r}.")
    axes = tuple(() if part is None else (part,) if isinstance(part, str) else tuple(part) for part in spec)
    used = [axis for part in axes for axis in part]
    for axis in used:
        if axis not in mesh.axes:
            raise ValueError(f"shard_map: {name} names the axis {axis!r}, but the mesh has {list(mesh.shape)}.")
        if used.count(axis) > 1:
            raise ValueError(f"shard_map: {name} has the axis {axis!r} twice in {spec}.")
    return axes


def _divide(x: Array, spec: tuple[tuple[str, ...], ...], mesh: Mesh, what: str, is_part: bool) -> Array:
    """Return this process's part of an array that is the same in all, or that is this part already."""
    if len(spec) > x.ndim:
        raise ShapeError(f"shard_map: {what} has shape {tuple(x.shape)}, but its spec is for {len(spec)} axes.")
    for position, names in enumerate(() if is_part else spec):
        for name in names:
            axis, size = mesh.axes[name], x.shape[position]
            if size % axis.size:
                raise ShapeError(
                    f"shard_map: axis {position} of {what}, of shape {tuple(x.shape)}, cannot be divided evenly over "
                    f"{axis.size} processes along {name!r}. Give a size that is a multiple of {axis.size}."
                )
            parts = reshape(x, (*x.shape[:position], axis.size, size // axis.size, *x.shape[position + 1 :]))
            x = bind(across_processes.own_part, (moveaxis(parts, position, 0),), {"axis": axis})
    used = {name for names in spec for name in names}
    for name, axis in mesh.axes.items():
        if name not in used:
            x = bind(across_processes.vary, (x,), {"axis": axis})
    return x


def _put_together(x: Array, spec: tuple[tuple[str, ...], ...], mesh: Mesh, stays_part: bool) -> Array:
    """Return the whole array that processes have parts of, or this part of it."""
    if len(spec) > x.ndim:
        raise ShapeError(f"shard_map: a result has shape {tuple(x.shape)}, but its spec is for {len(spec)} axes.")
    used = {name for names in spec for name in names}
    for name, axis in mesh.axes.items():
        if name not in used:
            x = bind(across_processes.agree, (x,), {"axis": axis})
    for position, names in enumerate(() if stays_part else spec):
        for name in reversed(names):
            parts = bind(across_processes.gather_to_same, (x,), {"axis": mesh.axes[name]})
            moved = moveaxis(parts, 0, position)
            x = reshape(moved, (*x.shape[:position], -1, *x.shape[position + 1 :]))
    return x
