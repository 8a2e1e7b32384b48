"""Plans as text, for people: what is computed in which loop, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, product
from textwrap import wrap

from gradkit.backend.plan import (
    Buffer,
    Call,
    Choice,
    Index,
    Layout,
    Load,
    Loop,
    Nest,
    Node,
    Number,
    Plan,
    Product,
    Statement,
    Store,
    While,
    row_by_row,
)

__all__ = ["buffer_names", "plan_text"]

AXES = ("i", "j", "k", "l", "m", "n", *(f"i{axis}" for axis in range(6, 64)))
LETTERS = "abcdefghopqrstuvwxyz"
"""Of buffers: those that are no axis's."""
SIGNS = {
    "add": "+", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "divide": "/", "equal": "==", "greater": ">",
    "greater_equal": ">=", "less": "<", "less_equal": "<=", "multiply": "*", "not_equal": "!=", "subtract": "-",
}  # fmt: skip
LONG = 100
"""Characters of an expression from which on it is taken apart."""


def plan_text(plan: Plan) -> str:
    """Return a plan as text that resembles a program.

    A buffer has a letter, and ``a[16*i + j]`` is one of its elements, by its number in memory; ``a.T`` in a product is
    an array that is read column by column. After a temporary buffer stands the byte of the arena where it begins:
    buffers that begin at the same one have the same memory, one after another.
    """
    return "\n".join(_Writer(_letters()).plan(plan))


def buffer_names(plan: Plan) -> dict[Buffer, str]:
    """Return what its text calls the buffers of a plan."""
    writer = _Writer(_letters())
    writer.plan(plan)
    return writer.names


def _letters() -> Iterator[str]:
    return ("".join(letters) for size in count(1) for letters in product(LETTERS, repeat=size))


class _Writer:
    """The writing of one plan, and of those in it, whose buffers have other letters."""

    def __init__(self, letters: Iterator[str]) -> None:
        self.letters = letters
        self.names: dict[Buffer, str] = {}

    def plan(self, plan: Plan) -> list[str]:
        """Return the lines of a plan."""
        lines = []
        for title, buffers in (("arguments", plan.arguments), ("results", plan.results)):
            told = [f"{self.name(b)}:{_form(b)}{self.place(plan, b)}" for b in buffers]
            lines += _wrapped(" ".join([title, *told]))
        inside = [b for b in plan.memory if b.kind == "temporary"]
        told = [f"{self.name(b)}:{_form(b)}{self.place(plan, b)}" for b in inside]
        if told:
            lines += _wrapped(" ".join([f"arena of {plan.arena} bytes", *told]))
        for node in plan.nodes:
            lines += self.node(node)
        return lines

    def name(self, buffer: Buffer) -> str:
        """Return a buffer's letter."""
        if buffer not in self.names:
            self.names[buffer] = next(self.letters)
        return self.names[buffer]

    def place(self, plan: Plan, buffer: Buffer) -> str:
        """Return where a buffer is that has no memory of its own."""
        place = plan.memory.get(buffer)
        return "" if place is None else f"@{self.name(place)}" if isinstance(place, Buffer) else f"@{place}"

    def node(self, node: Node) -> list[str]:
        """Return the lines of a node."""
        if isinstance(node, Nest):
            return self.nest(node)
        if isinstance(node, Product):
            factor = "" if node.alpha == 1 else f"{node.alpha:g} * "
            sign = "+=" if node.adds else "="
            return [f"{self.array(node.out)} {sign} {factor}{self.array(node.left)} @ {self.array(node.right)}"]
        if isinstance(node, Call):
            operands = [self.array(x) if isinstance(x, Layout) else _literal(x) for x in node.operands]
            results = ", ".join(map(self.name, node.results))
            call = f"call {node.name}({', '.join(operands)})"
            return [f"{results} = {call}" if results else call]
        return self.control(node)

    def control(self, node: Loop | While | Choice) -> list[str]:
        """Return the lines of a loop or a choice, with those of its plans."""
        if isinstance(node, Choice):
            lines = [f"choose by {self.array(node.index)} for {', '.join(map(self.name, node.results))}"]
            lines[0] += f" of {self.arrays(node.operands)}:"
            return [*lines, *(line for i, plan in enumerate(node.plans) for line in self.part(f"{i}:", plan))]
        carried = f"carrying {', '.join(map(self.name, node.carry))}"
        if node.constants:
            carried = f"with {self.arrays(node.constants)}, {carried}"
        if isinstance(node, While):
            if node.test_constants:
                carried += f", tested with {self.arrays(node.test_constants)}"
            return [f"while, {carried}:", *self.part("test:", node.test), *self.part("step:", node.step)]
        order = ", from the last" if node.reverse else ""
        told = f"loop of {node.length} steps{order}, {carried}, over {self.arrays(node.elements)}"
        if node.rows:
            told += f", giving {self.arrays(node.rows)}"
        return [f"{told}:", *self.part("step:", node.step)]

    def part(self, title: str, plan: Plan) -> list[str]:
        """Return the lines of a plan in a loop or a choice."""
        return [f"  {title}", *("    " + line for line in self.plan(plan))]

    def arrays(self, layouts: Sequence[Layout]) -> str:
        """Return arrays, or that there are none."""
        return ", ".join(map(self.array, layouts)) or "nothing"

    def array(self, layout: Layout) -> str:
        """Return an array by its buffer, and how it is read where that is not row by row."""
        name, shape = self.name(layout.buffer), layout.shape
        for strides, written in ((row_by_row(shape), name), (row_by_row(shape[::-1])[::-1], f"{name}.T")):
            alike = all(a == b or n == 1 for a, b, n in zip(layout.strides, strides, shape, strict=True))
            if alike and layout.offset == 0:
                return written
        return f"{name}[{_position(layout)} of {'x'.join(map(str, layout.shape))}]"

    # Nests

    def nest(self, nest: Nest) -> list[str]:
        """Return the lines of a nest: values that are read once stand where they are read."""
        uses = [0] * len(nest.body)
        for part in nest.body:
            if isinstance(part, Statement):
                for x in part.operands:
                    uses[x] += 1
            elif isinstance(part, Load):
                for x, _, _ in part.gathered:
                    uses[x] += 1
        for store in nest.stores:
            for x in (store.value, *(value for value, _, _ in store.scattered)):
                uses[x] += 1
        texts: list[str] = []
        lines: list[str] = []
        for number, part in enumerate(nest.body):
            text = self.value(part, texts)
            if isinstance(part, Statement) and (uses[number] > 1 or len(text) > LONG):
                lines.append(f"v{number} = {_bare(text)}")
                text = f"v{number}"
            texts.append(text)
        lines += [self.store(store, texts) for store in nest.stores]
        if not nest.sizes:
            return lines
        axes = ", ".join(f"{AXES[axis]} < {size}" for axis, size in enumerate(nest.sizes))
        return [f"for {axes}:", *("  " + line for line in lines)]

    def value(self, part: Load | Number | Index | Statement, texts: Sequence[str]) -> str:
        """Return a part of a nest's body as an expression."""
        if isinstance(part, Number):
            return str(part.value)
        if isinstance(part, Index):
            return AXES[part.axis]
        if isinstance(part, Load):
            return f"{self.name(part.layout.buffer)}[{_position(part.layout, part.gathered, texts)}]"
        operands = [texts[x] for x in part.operands]
        if part.name in SIGNS:
            return f"({f' {SIGNS[part.name]} '.join(operands)})"
        name = part.dtype if part.name in ("astype", "astype_exact") else part.name
        return f"{name}({', '.join(map(_bare, operands))})"

    def store(self, store: Store, texts: Sequence[str]) -> str:
        """Return how a nest keeps a value."""
        target = f"{self.name(store.layout.buffer)}[{_position(store.layout, store.scattered, texts)}]"
        sign = SIGNS.get(store.combine, f" {store.combine} ") if store.combine else ""
        if store.running is not None:
            return f"{target} = {store.combine} along {AXES[store.running]} of {_bare(texts[store.value])}"
        return f"{target} {sign}= {_bare(texts[store.value])}"


def _wrapped(line: str) -> list[str]:
    return wrap(line, 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _literal(value: object) -> str:
    shape = getattr(value, "shape", ())
    return f"an array of {'x'.join(map(str, shape))}" if shape else str(value)


def _form(buffer: Buffer) -> str:
    letters = buffer.dtype.rstrip("0123456789")
    short = (
        "bf16" if letters == "bfloat" else letters[0] + buffer.dtype[len(letters) :] if letters != "bool" else "bool"
    )
    return f"{short}[{','.join(map(str, buffer.shape))}]"


def _position(layout: Layout, moved: Sequence[tuple[int, int, int]] = (), texts: Sequence[str] = ()) -> str:
    """Return the number of an element in its buffer, at a position in a nest."""
    steps = [
        (AXES[axis], stride)
        for axis, (size, stride) in enumerate(zip(layout.shape, layout.strides, strict=True))
        if stride and size != 1
    ]
    steps += [(texts[value], stride) for value, stride, _ in moved]
    terms = [name if stride == 1 else f"{stride}*{name}" for name, stride in steps]
    if layout.offset or not terms:
        terms.append(str(layout.offset))
    return " + ".join(terms).replace("+ -", "- ")


def _bare(text: str) -> str:
    """Return an expression without the parentheses around all of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for number, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[1:-1] if number == len(text) - 1 else text
    return text
