"""What the tests of drawn graphs share: computations, and what is in their pictures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

import gradkit
from gradkit import nn
from gradkit.viz.computation import Mark

SVG = "{http://www.w3.org/2000/svg}"


def leaf(xp: Any, value: Any) -> Any:
    array = xp.asarray(value)
    array.requires_grad = True
    return array


def expression(xp: Any) -> Any:
    """The lecture's L = (a * b + c) * f."""
    s = SimpleNamespace(a=leaf(xp, 2.0), b=leaf(xp, -3.0), c=leaf(xp, 10.0), f=leaf(xp, -2.0))
    s.e = s.a * s.b
    s.d = s.e + s.c
    s.L = s.d * s.f
    return s


def cells(drawing: gradkit.viz.Drawing) -> list[tuple[str, ...]]:
    """The lines of text of each record of a drawing."""
    return [lines(mark) for mark in drawing._diagram.marks if mark.shape == "record"]


def lines(mark: Mark) -> tuple[str, ...]:
    return tuple("\n".join(mark.texts).split("\n"))


def record(drawing: gradkit.viz.Drawing, label: str) -> tuple[str, ...]:
    (found,) = [texts for texts in cells(drawing) if texts[0] == label]
    return found[1:]


def edges(drawing: gradkit.viz.Drawing) -> set[tuple[str, str]]:
    """The arrows, by the first texts of their ends."""
    return {(lines(tail)[0], lines(head)[0]) for tail, head in drawing._diagram.edges}


def texts_of_svg(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def visible(text: str) -> str:
    """Text as it is compared: Graphviz writes its spaces as no-break spaces."""
    return text.replace("\xa0", " ")


def model_step(xp: Any) -> Any:
    model = nn.MLP(2, [3, 1], key=gradkit.random.key(1))
    x, y = xp.asarray([[1.0, 2.0], [3.0, -1.0]]), xp.asarray([[1.0], [-1.0]])
    return model, ((model(x) - y) ** 2).sum()


def network(xp: Any, sizes: tuple[int, ...]) -> Any:
    """A network of neurons that are single numbers: parameters and the loss of two samples."""
    rng = np.random.default_rng(0)
    layers = [
        [{"w": [leaf(xp, rng.normal()) for _ in range(n)], "b": leaf(xp, rng.normal())} for _ in range(m)]
        for n, m in pairwise(sizes)
    ]
    loss = xp.asarray(0.0)
    for x in ([1.0] * sizes[0], [-1.0] * sizes[0]):
        for layer in layers:
            x = [xp.tanh(sum((a * w for a, w in zip(x, n["w"], strict=True)), n["b"])) for n in layer]
        loss = loss + sum(v**2 for v in x)
    return {"layers": layers}, loss


def counts(drawing: gradkit.viz.Drawing) -> dict[str, int]:
    """How often each operation is in the picture, folded or not."""
    total: dict[str, int] = {}
    for mark in drawing._diagram.marks:
        if mark.shape == "oval":
            total[mark.texts[0]] = total.get(mark.texts[0], 0) + 1
        for name, count in (
            re.findall("^(\\S+) \N{MULTIPLICATION SIGN}(\\d+)$", "\n".join(mark.texts), re.M)
            if mark.shape == "group"
            else []
        ):
            total[name] = total.get(name, 0) + int(count)
    return total
