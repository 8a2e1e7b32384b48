"""What a process's part of a minibatch counts for in the mean over the whole, which takes a word of all processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
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
from gradkit.distributed.buckets import sums_of
from gradkit.distributed.trees import described
from gradkit.errors import DistributedError
from gradkit.lax.same_values import samples
from gradkit.lax.started_sums import OnTheWay, ask
from gradkit.numpy import asarray, reshape
from gradkit.processes import Meeting, World, subject
from gradkit.processes.sameness import Sample, check_same, word_of

__all__ = ["Known", "Share", "Told", "Weight", "weight_of"]

MOST_FORMS = 16
"""Of so many kinds of models it is known what has been told of them; programs keep what they have."""


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


class Form:
    """What the processes tell each other of parameters of one structure, of the same shapes and dtypes.

    Parameters
    ----------
    key : anything
        What it is known by.
    about : str
        What the processes have to agree on at each step.
    of_floats : sequence of int
        Which of the parameters are compared.
    names : sequence of str
        What these are called.

    Attributes
    ----------
    subject : Subject
        What the processes have to agree on.
    is_compared : bool
        Whether they have seen that the numbers that they begin with are the same.
    """

    def __init__(self, key: Any, about: str, of_floats: Sequence[int], names: Sequence[str]) -> None:
        self.key, self.of_floats, self.names = key, of_floats, names
        self.subject = subject("value_and_grad", about)
        self.is_compared = False


class Told:
    """What the processes have told each other of the parameters of a loss, which may be those of several models."""

    def __init__(self) -> None:
        self._forms: list[Form] = []

    def form_of(self, params: Any, arrays: Sequence[Array], bucket_bytes: int) -> Form:
        """Return what is told of parameters, of which `arrays` are the leaves."""
        places = {(backend_of_array(array).name, str(array.device)) for array in arrays}
        key = tree.structure(params), [(dtype_name(a), tuple(a.shape)) for a in arrays], places, bucket_bytes
        for form in self._forms:
            if form.key == key:
                return form
        paths = [tree.keystr(path) for path, _ in tree.flatten_with_path(params)[0]]
        # Others are no parameters, and may be each process's own: a random key for what is dropped there.
        of_floats = [i for i, array in enumerate(arrays) if is_inexact(dtype_name(array))]
        names = [f"parameter {paths[i]}".rstrip() for i in of_floats]
        form = Form(key, f"{described(params, arrays)}; bucket_bytes={bucket_bytes}", of_floats, names)
        self._forms = [form, *self._forms[: MOST_FORMS - 1]]
        return form


class Weight(ABC):
    """What a process's gradients count for, of which the processes have begun to tell each other their examples.

    Called, it waits for what the others say and returns a float; in a program an Array, found at each of its runs.

    Attributes
    ----------
    enter : callable
        Called at each run of a program when all processes have come to its step; returns what completes it.
    """

    enter: Callable[[], Callable[[], None]]

    @abstractmethod
    def __call__(self) -> Any:
        """Return it."""

    @abstractmethod
    def agree(self) -> None:
        """Wait until all processes have agreed, while a program is captured."""


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
    leaves = [asarray(value) for value in tree.leaves(params)]
    form = told.form_of(params, leaves, here.bucket_bytes)
    if capturing() is not None:
        return _InProgram(rows, form, [leaves[i].detach() for i in form.of_floats], here)
    if form.is_compared:
        return _Now(rows, form, None, here)
    return _Now(rows, form, [(backend_of_array(leaves[i]), innermost(leaves[i])) for i in form.of_floats], here)


class _Now(Weight):
    """That of a step that is taken now.

    Parameters
    ----------
    rows : int
        The examples.
    form : Form
        What has been told before.
    values : sequence of (Backend, raw array)
        The parameters, to be compared if they have not been; None if they are not to be.
    here : World
        The processes.
    """

    def __init__(self, rows: int, form: Form, values: Sequence[tuple[Backend, Any]] | None, here: World) -> None:
        self._rows, self._form, self._here = rows, form, here
        self._own: list[Sample] | None = None
        if values is not None and not form.is_compared:
            self._own = [sample for backend, value in values for sample in samples(backend, [value])]
        word = b"" if self._own is None else word_of(self._own)
        self._meeting: Meeting = here.open(
            form.subject, np.asarray([rows, self._own is not None], np.int64).tobytes() + word
        )
        self._known: float | None = None
        self._error: DistributedError | None = None
        if values is not None or capturing() is None:  # the meeting before this one is over
            sums_of(here).complete_earlier()

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
            check_same(self._here, given, self._own, self._form.names, _message)
        except DistributedError as error:
            self._error = error
            raise
        self._form.is_compared = True


def _message(lines: str) -> str:
    return (
        f"value_and_grad: the processes begin with different parameters, whose gradients have no sum:\n{lines}\n"
        f"Make them from the same random key in all, or let gradkit.distributed.broadcast send one process's."
    )


class _InProgram(Weight):
    """That of the steps of a program: the others' parts are not what they were when it was captured."""

    def __init__(self, rows: int, form: Form, arrays: Sequence[Array], here: World) -> None:
        self._rows, self._form, self._here = rows, form, here
        self._run: _Run | None = None
        self._known: Array | None = None
        self._at = asarray(0.0) if not arrays else reshape(arrays[0], (-1,))[:1]
        self._at = self._at.astype("float64" if backend_of_array(self._at).has_dtype("float64") else "float32")
        bind_where_captured(_begin, arrays or [self._at], {"weight": self, "count": len(arrays)})

    def agree(self) -> None:
        _Now(self._rows, self._form, None, self._here)()

    def __call__(self) -> Array:
        if self._known is None:
            self._known = ask(self._end, 1, self._at)[0]
        return self._known

    def begin(self, values: Sequence[tuple[Backend, Any]]) -> None:
        """Begin to tell, at a run."""
        self._run = _Run(_Now(self._rows, self._form, values, self._here), self.enter)
        sums_of(self._here).abandon(self._run.complete)

    def _end(self) -> tuple[float]:
        assert self._run is not None
        weight = self._run.weight()
        sums_of(self._here).complete_abandoned(before=self._run.complete)
        self._run.enter()
        return (weight,)


class Known(Weight):
    """That of steps whose processes know each other's parts: made where such a step begins.

    Parameters
    ----------
    weight : float
        The weight.
    at : Array
        Something that is there.
    here : World
        The processes.
    """

    def __init__(self, weight: float, at: Array, here: World) -> None:
        self._weight, self._here = weight, here
        self._complete: Callable[[], None] | None = None
        if capturing() is not None:
            bind_where_captured(_note, (at.detach(),), {"weight": self})

    def __eq__(self, other: object) -> bool:
        """Return whether this and another one are of steps that are the same: so are the programs that they are in."""
        if not isinstance(other, Known):
            return NotImplemented
        own, others = (getattr(weight, "enter", None) for weight in (self, other))
        return self._here is other._here and self._weight == other._weight and own == others

    def __hash__(self) -> int:
        """Return one that does not depend on what is known after the step has begun."""
        return hash((self._here, self._weight))

    def agree(self) -> None:
        """Do nothing."""

    def __call__(self) -> float:
        """Return it."""
        return self._weight

    def note(self) -> None:
        """Note, at a run, that an error may end the step anywhere from here on."""
        sums = sums_of(self._here)
        sums.forget(self._complete)
        self._complete = self.enter()
        sums.abandon(self._complete)


class _Run:
    """A run of a program in a step, which an error may end anywhere.

    Parameters
    ----------
    weight : Weight
        That of this run.
    enter : callable
        As a weight's.
    """

    def __init__(self, weight: _Now, enter: Callable[[], Callable[[], None]]) -> None:
        self.weight = weight
        self._enter = enter
        self._complete: Callable[[], None] | None = None

    def enter(self) -> None:
        """Begin the step, to which all processes have come."""
        self._complete = self._enter()

    def complete(self) -> None:
        """Begin and end the sums that have not; nobody has a use for them."""
        if self._complete is None:
            try:
                self.weight()
            except (DistributedError, ValueError):
                return  # so it was in all processes, and no sum has begun
            self.enter()
        assert self._complete is not None
        self._complete()


def _run_begin(xp: Any, *values: Any, weight: _InProgram, count: int) -> tuple[()]:
    weight.begin([(xp.backend, value) for value in values[:count]])
    return ()


_begin = OnTheWay("process_begin_telling", _run_begin, lambda *values, **_: [])


def _run_note(xp: Any, at: Any, *, weight: Known) -> tuple[()]:
    weight.note()
    return ()


_note = OnTheWay("process_note_step", _run_note, lambda at, **_: [])
