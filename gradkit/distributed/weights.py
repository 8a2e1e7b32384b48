"""What a process's part of a minibatch counts for in the mean over the whole, which takes a word of all processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradkit import tree
from gradkit.backend import Backend
from gradkit.core.array import Array, backend_of_array, innermost
from gradkit.core.graph import bind_where_captured
from gradkit.core.node import capturing
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import is_inexact
from gradkit.distributed.trees import described
from gradkit.errors import DistributedError
from gradkit.lax.same_values import samples
from gradkit.lax.started_sums import OnTheWay, ask
from gradkit.numpy import asarray, reshape
from gradkit.processes import Meeting, World, subject
from gradkit.processes.sameness import Sample, check_same, word_of

__all__ = ["Share", "Told", "Weight", "weight_of"]


class Share(NamedTuple):
    """How much of a minibatch is this process's.

    Attributes
    ----------
    own, whole : int
        Its examples, and those of all.
    """

    own: int
    whole: int

    @property
    def weight(self) -> float:
        """What a mean over its examples counts for in the mean over all."""
        return self.own / self.whole


class Told:
    """What the processes tell each other of the parameters of a loss, kept for as long as only their numbers change.

    Attributes
    ----------
    subject : Subject
        What they have to agree on at each step.
    is_compared : bool
        Whether they have seen that the numbers that they begin with are the same.
    names : list of str
        What the parameters are called that are compared.
    """

    def __init__(self) -> None:
        self._form: Any = None
        self._of_floats: list[int] = []
        self.subject = subject("value_and_grad")
        self.is_compared = False
        self.names: list[str] = []

    def update(self, params: Any, bucket_bytes: int) -> list[Array]:
        """Look at parameters, and return those whose numbers are compared."""
        values, treedef = tree.flatten(params)
        arrays = [asarray(value) for value in values]
        places = {(backend_of_array(array).name, str(array.device)) for array in arrays}
        form = treedef, [(dtype_name(array), tuple(array.shape)) for array in arrays], places, bucket_bytes
        if form != self._form:
            self._form, self.is_compared = form, False
            self.subject = subject("value_and_grad", f"{described(params, arrays)}; bucket_bytes={bucket_bytes}")
            paths = [tree.keystr(path) for path, _ in tree.flatten_with_path(params)[0]]
            # Others are no parameters, and may be each process's own: a random key for what is dropped there.
            self._of_floats = [i for i, array in enumerate(arrays) if is_inexact(dtype_name(array))]
            self.names = [f"parameter {paths[i]}".rstrip() for i in self._of_floats]
        return [arrays[i].detach() for i in self._of_floats]


class Weight:
    """What a process's gradients count for, of which the processes have begun to tell each other their examples.

    Called, it waits for what the others say and returns a float; in a program an Array, found at each of its runs.

    Attributes
    ----------
    met : callable
        Called at each run of a program when all processes have come to its step.
    """

    met: Callable[[], None]

    def __call__(self) -> Any:
        """Return it."""
        raise NotImplementedError

    def agree(self) -> None:
        """Wait until all processes have agreed, while a program is captured."""
        raise NotImplementedError


def weight_of(rows: int, told: Told, params: Any, here: World) -> Weight:
    """Begin to tell the other processes of this one's examples and parameters.

    Parameters
    ----------
    rows : int
        How many examples it has.
    told : Told
        What has been told of the parameters of this loss.
    params : pytree
        The parameters.
    here : World
        The processes.
    """
    arrays = told.update(params, here.bucket_bytes)
    if capturing() is not None:
        return _InProgram(rows, told, arrays, here)
    return _Now(rows, told, [(backend_of_array(array), innermost(array)) for array in arrays], here)


class _Now(Weight):
    """That of a step that is taken now.

    Parameters
    ----------
    rows : int
        The examples.
    told : Told
        What has been told before.
    values : sequence of (Backend, raw array)
        The parameters, to be compared if they have not been.
    here : World
        The processes.
    """

    def __init__(self, rows: int, told: Told, values: Sequence[tuple[Backend, Any]] | None, here: World) -> None:
        self._rows, self._told, self._here = rows, told, here
        self._own: list[Sample] | None = None
        if values is not None and not told.is_compared:
            self._own = [sample for backend, value in values for sample in samples(backend, [value])]
        word = b"" if self._own is None else word_of(self._own)
        self._meeting: Meeting = here.open(
            told.subject, np.asarray([rows, self._own is not None], np.int64).tobytes() + word
        )
        self._known: float | None = None
        self._error: DistributedError | None = None

    def agree(self) -> None:
        self()

    def __call__(self) -> float:
        if self._error is not None:
            raise self._error
        if self._known is None:
            given = self._meeting.given()
            rows, compare = given[:, :16].copy().view(np.int64).T
            if not rows.sum():
                raise ValueError(
                    "value_and_grad: the batch has no rows in any process, and a mean over none is no number. Give one "
                    "with rows; minibatches makes none without."
                )
            if self._own is not None and compare.all():
                self._compare(given[:, 16:])
            self._known = Share(self._rows, int(rows.sum())).weight
        return self._known

    def _compare(self, given: Any) -> None:
        assert self._own is not None
        try:
            check_same(self._here, given, self._own, self._told.names, _message)
        except DistributedError as error:
            self._error = error
            raise
        self._told.is_compared = True


def _message(lines: str) -> str:
    return (
        f"value_and_grad: the processes begin with different parameters, whose gradients have no sum:\n{lines}\n"
        f"Make them from the same random key in all, or let gradkit.distributed.broadcast send one process's."
    )


class _InProgram(Weight):
    """That of the steps of a program: the others' parts are not what they were when it was captured."""

    def __init__(self, rows: int, told: Told, arrays: Sequence[Array], here: World) -> None:
        self._rows, self._told, self._here = rows, told, here
        self._under_way: list[_Now] = []
        self._known: Array | None = None
        self._at = asarray(0.0) if not arrays else reshape(arrays[0], (-1,))[:1]
        self._at = self._at.astype("float64" if backend_of_array(self._at).has_dtype("float64") else "float32")
        bind_where_captured(_begin, arrays or [self._at], {"weight": self, "count": len(arrays)})

    def agree(self) -> None:
        _Now(self._rows, self._told, None, self._here)()

    def __call__(self) -> Array:
        if self._known is None:
            self._known = ask(self._end, 1, self._at)[0]
        return self._known

    def begin(self, values: Sequence[tuple[Backend, Any]]) -> None:
        """Begin to tell, at a run."""
        while self._under_way:  # an error has ended the run before, after the others had begun its step
            self._under_way.pop()()
            self.met()
        self._under_way.append(_Now(self._rows, self._told, values, self._here))

    def _end(self) -> tuple[float]:
        weight = self._under_way.pop()()
        self.met()
        return (weight,)


def _run_begin(xp: Any, *values: Any, weight: _InProgram, count: int) -> tuple[()]:
    weight.begin([(xp.backend, value) for value in values[:count]])
    return ()


_begin = OnTheWay("process_begin_telling", _run_begin, lambda *values, **_: [])
