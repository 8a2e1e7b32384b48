"""`Primitive`: what every operation has: a forward rule, and what the transforms ask of it.

`core.families` has the kinds of them, by the form in which they state their derivative.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import Backend, Device, backend_of
from gradkit.core.above import above
from gradkit.core.array import Array, as_wrapped, backend_of_array, dtype_as_stored
from gradkit.core.declaration import check
from gradkit.core.namespace import ARRAYS, PRIMITIVES, kernel_namespace, leaf_namespace
from gradkit.core.node import Node, Trace
from gradkit.core.promotion import PYTHON_NUMBERS, dtype_named
from gradkit.core.silence import silenced
from gradkit.core.stand_in import Abstract

__all__ = ["Primitive", "Rule"]

Rule = Callable[..., Any]
_new = object.__new__


def no_transpose(name: str, what: str) -> NotImplementedError:
    """Return the error of an operation whose derivative would have to be linear and is not; `what` says where."""
    return NotImplementedError(
        f"Transpose rule (for reverse-mode differentiation) for '{name}' not implemented: {what}"
    )


class Primitive(ABC):
    """One operation.

    Parameters
    ----------
    name : str
        The array API standard's name, if it has one.
    forward : callable, optional
        Its text, ``forward(xp, *args, **params)``; by default it is a leaf, the library's function of its name.
    rules : sequence of (callable or Constant or None)
        The derivative by argument position. None: no derivative.
    batch : callable, optional
        How `vmap` runs it, ``batch(primitive, values, axes, size, params) -> (result, axis)``; `core.batching` has the
        usual ones. By default its text runs on batches; a leaf has to state it.
    shape : callable
        ``shape(*args, **params)``, the result's shape, of arguments that have shape and dtype alone.
    dtype : str or callable, optional
        The result's dtype, or ``dtype(*args, **params)``. By default that of the first array among the arguments.
    leaf : bool
        Whether the text is for raw arrays alone: it asks for the library or the backend, writes in place, or decides by
        values. A compiler knows a leaf by its name; any other text runs on Arrays as well, so it traces.
    shares_memory : bool
        Whether the result may be memory of an argument, as that of every `View` may.
    jumps : bool
        Whether it jumps between values, so that it is not linear where its derivative is a constant.

    Raises
    ------
    ValueError
        If the name is taken.
    TypeError
        If a fact is missing, or two contradict each other.
    """

    multiple_results = False
    """Whether the forward rule gives a tuple of arrays."""
    has_kernels = True
    """Whether it runs on raw arrays. What is in nodes of the tape or in graphs alone does not, and is in no table."""
    before = 2
    """How many parameters a rule has in front of the arguments: xp, and the result or the cotangent."""
    broadcasts = False
    """Whether the arguments are broadcast against each other."""
    distinct = False
    """Whether a compiler leaves it where it stands, neither merged with an equal one nor moved."""

    is_view = False
    """Whether it moves elements, and computes nothing."""
    as_it_is = False
    """Whether it takes arrays of any dtype as they are, in their own memory: those of few bits, too."""
    frees_memory = False
    """Whether others may write from then on in the memory of what earlier operations gave in place (`in_place`)."""
    calls_host = False
    """Whether it calls a function of the host, which a graph does at each run."""
    lends = False
    """Whether that function reads its arguments' memory until it returns, or a later operation has them, and no longer:
    a program need not copy them, as it does for one that may keep them."""
    keeps_weakness = True
    """Whether the result's dtype gives way to that of arrays it meets if those of all arguments do."""
    hands_on = False
    """Whether a rule may hand on the cotangent itself, or a view of it."""
    small_cotangent = False
    """Whether the rules take a cotangent that only broadcasts to the result's shape."""

    def __init__(
        self,
        name: str,
        forward: Rule | None,
        rules: Sequence[Any],
        *,
        batch: Rule | None = None,
        shape: Rule | None = None,
        dtype: str | Rule | None = None,
        leaf: bool = False,
        shares_memory: bool = False,
        jumps: bool = False,
    ) -> None:
        self.name = name
        self.leaf = leaf or forward is None
        self.shares_memory = shares_memory
        self.jumps = jumps
        self.forward = forward
        self.rules = tuple(rules)
        self.batch_rule = above.text_on_batches if batch is None and not self.leaf else batch
        self.shape_rule = shape
        self.dtype_rule = dtype
        self.kernels: dict[type, Callable[..., Any]] = {}
        self.pull_kernel = f"{name}_pull"
        """The kernel that a backend may have for `pull` on raw arrays, cheaper than the rules."""
        self.known_reads: dict[int, tuple[int, int]] = {}
        """What `reads_and_parents` gave, by the tracked arguments."""
        self.masks = tuple(self.mask_of_reads(rule) for rule in self.rules)
        if self.has_kernels:
            check(self, Primitive)
            PRIMITIVES[name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *args: Any, **params: Any) -> Array:
        """Bind it: where its signature is plain, the primitive is the function."""
        out: Array = ARRAYS.bind(self, args, params)
        return out

    # Forward

    def kernel(self, value: Any) -> Callable[..., Any]:
        """Return what computes this primitive on raw arrays like `value`: the backend's own, or the plain text."""
        kind = type(value)
        kernel = self.kernels.get(kind)
        if kernel is None:
            backend = backend_of(value)
            if backend is None:
                raise TypeError(f"{self.name} requires arrays or numbers, got {kind.__name__}: {value!r}")
            kernel = self.kernels[kind] = self.kernel_of(backend)
        return kernel

    @functools.cache  # noqa: B019 - primitives live as long as the process
    def kernel_of(self, backend: Backend) -> Callable[..., Any]:
        """Return a backend's kernel for this primitive, one object whatever type of the backend's arrays asks."""
        kernel: Callable[..., Any] | None = backend.kernels.get(self.name)
        if kernel is None:
            kernel = self.general_text(backend)
            if self.forward is not None:
                # Several operations: what is made on the way may be infinite where the result is not.
                kernel = silenced(backend, kernel)
        return backend.placed(kernel)

    def general_text(self, backend: Backend) -> Callable[..., Any]:
        """Return what computes this primitive on a backend that has no kernel for it."""
        if self.forward is None:
            return getattr(backend.xp, self.name)  # type: ignore[no-any-return]
        return functools.partial(self.forward, (leaf_namespace if self.leaf else kernel_namespace)(backend))

    # Derivative

    def reads(self, position: int) -> int | None:
        """Return which values the rule for `position` reads: bit 0 the result, bit i + 1 argument i. None: no rule."""
        return self.masks[min(position, len(self.masks) - 1)]

    def is_linear_in(self, bits: int) -> bool:
        """Return whether it is linear in the arguments whose bits are set, all of them together.

        A rule that reads the result, or an argument that moves, is not that of a linear operation.
        """
        reads, parents = self.reads_and_parents(bits)
        return parents == bits and not (self.jumps or reads & 1 or reads >> 1 & bits)

    @abstractmethod
    def mask_of_reads(self, rule: Any) -> int | None:
        """Find out which values a rule reads, from its signature."""

    def record(
        self,
        trace: Trace,
        out: Any,
        values: Sequence[Any],
        nodes: Sequence[Node | None],
        tracked: int,
        params: Mapping[str, Any],
        plain: bool,
    ) -> Any:
        """Return the result as an Array with a node, which keeps what the rules of the tracked arguments read.

        Parameters
        ----------
        trace : Trace
            The transform that records.
        out : array
            The result, as the levels below see it.
        values : sequence
            The arguments, as the levels below see them.
        nodes : sequence of (Node or None)
            The arguments' nodes at this trace.
        tracked : int
            Bit i is set where argument i has a node.
        params : mapping
            The static parameters.
        plain : bool
            Whether all values are raw.
        """
        found = self.known_reads.get(tracked)
        if found is None:
            found = self.known_reads[tracked] = self.reads_and_parents(tracked)
        reads, parents = found
        if parents != tracked and trace.is_linear:
            parents = tracked  # so that the operation is found, and refused
        if not parents:
            return as_wrapped(out)
        if parents != tracked:
            nodes = [node if parents >> i & 1 else None for i, node in enumerate(nodes)]
        saved = [out if reads & 1 else None]
        for value, node in zip(values, nodes, strict=True):
            reads >>= 1
            saved.append(value if reads & 1 else node)
        array: Array = _new(Array)  # as `wrap` does
        array._value = out
        dtype = out.dtype if plain else dtype_as_stored(out)
        array._node = new = Node(trace, out.shape, dtype, self, nodes, saved, params, plain)
        if len(values) > 1 and None in nodes and not PYTHON_NUMBERS.isdisjoint(map(type, values)):
            new.numbers = tuple(value if type(value) in PYTHON_NUMBERS else None for value in values)
        return array

    def reads_and_parents(self, tracked: int) -> tuple[int, int]:
        """Return what to keep, and which of the tracked arguments have a derivative, each as bits."""
        reads = parents = 0
        for position in range(tracked.bit_length()):
            needed = self.reads(position) if tracked >> position & 1 else None
            if needed is not None:
                reads |= needed
                parents |= 1 << position
        return reads, parents

    @abstractmethod
    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Give each parent's share of the cotangent of `node`."""

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Return whether running it does something beside computing results."""
        return False

    def in_place(self, params: Mapping[str, Any]) -> Mapping[int, int]:
        """Return the results that are operands, in whose memory others may have written meanwhile, and which."""
        return {}

    def as_planned(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parameters with which a plan calls it: one that places its results by `in_place`."""
        return params

    def made_in(self, params: Mapping[str, Any]) -> Mapping[int, int]:
        """Return the operands that it copies into the memory of another one unless they are there, and which.

        It looks at that one for no other reason.
        """
        return {}

    @abstractmethod
    def push(self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Give the tangent of the result (None: zero) for the tangents of the arguments, all Arrays."""

    def rule(self, position: int) -> Any:
        """Return the rule for an argument; the last one serves all that follow."""
        return self.rules[min(position, len(self.rules) - 1)]

    # The other transforms

    def batch(
        self, values: Sequence[Any], axes: Sequence[int | None], size: int, params: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        """Run the operation on whole batches.

        Parameters
        ----------
        values : sequence
            The arguments, with the batch's axis where they have one.
        axes : sequence of (int or None)
            That axis, by argument.
        size : int
            The number of elements in the batch.
        params : mapping
            The static parameters.

        Returns
        -------
        tuple
            The result and its axis.
        """
        assert self.batch_rule is not None
        return self.batch_rule(self, values, axes, size, params)

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return the `Abstract` result for arguments of which shape and dtype are known (a tuple for several)."""
        assert self.shape_rule is not None
        backend, device = self.place(args, params)
        return Abstract(self.shape_rule(*args, **params), self._result_dtype(args, params), backend, device)

    def place(self, args: Sequence[Any], params: Mapping[str, Any]) -> tuple[Backend, Device]:
        """Return where the result is: where the first array is."""
        array = next(arg for arg in args if type(arg) is Array)
        return backend_of_array(array), array.device

    def _result_dtype(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        dtype = self.dtype_rule
        if dtype is None:
            return next(arg for arg in args if type(arg) is Array).dtype
        return dtype_named(dtype) if isinstance(dtype, str) else dtype_named(dtype(*args, **params))
