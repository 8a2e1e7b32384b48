"""Plans as LLVM text: one function for each nest and product, one for each plan, and the entry."""

from __future__ import annotations

from typing import NamedTuple

from gradkit.backend.plan import Call, Plan
from gradkit.backend.printers import Box
from gradkit_numpy.native.entry import entry_function
from gradkit_numpy.native.interpreter import LONG
from gradkit_numpy.native.module import Module
from gradkit_numpy.native.plans import plan_function

__all__ = ["Printed", "printed"]


class Printed(NamedTuple):
    """The text of a plan.

    Attributes
    ----------
    text : str
        LLVM's assembly language. The entry is ``@enter`` (see `entry.entry_function`).
    calls : list of Call
        What the function for calls, ``callback(number, pointers)``, is asked for, by number.
    """

    text: str
    calls: list[Call]


def printed(plan: Plan, box: Box) -> Printed:
    """Return the text of a plan, whose arguments come in boxes."""
    module = Module()
    name = plan_function(module, plan)
    module.functions.append(entry_function(plan, name, box, module.costs.of(plan) >= LONG))
    return Printed(module.text(), module.calls)
