"""Where native code meets Python's interpreter: its lock, calls back, and signals such as Ctrl-C.

A program is entered with Python's lock. A short one keeps it; one that may take long gives it up, so that other threads
run meanwhile, and takes it again for each call back. Python notes a signal and waits for its interpreter to look, so
native code asks it to, every `INTERVAL` operations or so: too seldom to be measured, and often enough for people. What
Python's handlers raise ends the program, as errors of calls do: functions give 1, and the error
is Python's current one.
"""

from __future__ import annotations

from functools import singledispatchmethod
from math import prod

from gradkit.backend.plan import Call, Choice, Loop, Nest, Node, Plan, Product, While
from gradkit_numpy.native.routines import routine_of

__all__ = ["INTERVAL", "LONG", "Costs", "interpreter_functions"]

LONG = 1 << 16
"""Operations from which on a program gives up Python's lock."""
INTERVAL = 1 << 24
"""Operations after which Python is asked for signals."""
OF_A_STEP = 16
OF_A_CALL = LONG
"""What the step of a loop costs besides its plan, and at least a call of Python or a loop whose length is not known."""

CALL_PYTHON = """define internal i32 @call_python(ptr %callback, i64 %number, ptr %pointers) noinline {
  %arguments = alloca [3 x ptr]
  %lock = call i32 @PyGILState_Ensure()
  %first = call ptr @PyLong_FromLongLong(i64 %number)
  %second = call ptr @PyLong_FromVoidPtr(ptr %pointers)
  %no_first = icmp eq ptr %first, null
  %no_second = icmp eq ptr %second, null
  %none = or i1 %no_first, %no_second
  br i1 %none, label %failed, label %go
go:
  %start = getelementptr ptr, ptr %arguments, i64 1
  store ptr %first, ptr %start
  %next = getelementptr ptr, ptr %arguments, i64 2
  store ptr %second, ptr %next
  %result = call ptr @PyObject_Vectorcall(ptr %callback, ptr %start, i64 -9223372036854775806, ptr null)
  %wrong = icmp eq ptr %result, null
  call void @Py_DecRef(ptr %result)
  br label %failed
failed:
  %code = phi i1 [true, %0], [%wrong, %go]
  call void @Py_DecRef(ptr %first)
  call void @Py_DecRef(ptr %second)
  call void @PyGILState_Release(i32 %lock)
  %found = zext i1 %code to i32
  ret i32 %found
}"""
"""``callback(number, pointers)``. The number of arguments says as well that the word before them may be written to."""

INTERRUPTED = """define internal i32 @interrupted() noinline cold {
  %lock = call i32 @PyGILState_Ensure()
  %found = call i32 @PyErr_CheckSignals()
  call void @PyGILState_Release(i32 %lock)
  ret i32 %found
}"""
"""Whether a handler of a signal has raised an error. Python runs them in its main thread alone."""


def interpreter_functions(body: str) -> list[str]:
    """Return the texts of those of these functions that a program calls."""
    return [text for name, text in (("call_python", CALL_PYTHON), ("interrupted", INTERRUPTED)) if f"@{name}(" in body]


class Costs:
    """About how many operations plans and their nodes take."""

    def __init__(self) -> None:
        self._of_plans: dict[Plan, int] = {}

    def of(self, plan: Plan) -> int:
        """Return that of a plan."""
        if plan not in self._of_plans:
            self._of_plans[plan] = sum(map(self.of_node, plan.nodes))
        return self._of_plans[plan]

    def period(self, *plans: Plan) -> int:
        """Return after how many steps made of these plans Python is asked for signals, a power of 2."""
        steps = INTERVAL // (sum(map(self.of, plans)) + OF_A_STEP)
        return 1 << max(steps.bit_length() - 1, 0)

    @singledispatchmethod
    def of_node(self, node: Node) -> int:
        """Return that of a node."""
        raise TypeError(type(node))

    @of_node.register
    def _(self, node: Nest) -> int:
        return prod(node.sizes) * max(len(node.body), 1)

    @of_node.register
    def _(self, node: Product) -> int:
        return prod(node.out.shape) * node.left.shape[-1]

    @of_node.register
    def _(self, node: Call) -> int:
        routine = routine_of(node)
        if routine is not None:
            return routine.cost(node)
        return OF_A_CALL + sum(prod(buffer.shape) for buffer in node.results)

    @of_node.register
    def _(self, node: Loop) -> int:
        return node.length * (self.of(node.step) + OF_A_STEP)

    @of_node.register
    def _(self, node: While) -> int:
        return OF_A_CALL + self.of(node.test) + self.of(node.step)

    @of_node.register
    def _(self, node: Choice) -> int:
        return max(map(self.of, node.plans))
