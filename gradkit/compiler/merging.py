"""Merging: groups over the same positions become one nest, where nothing has to be between them.

Two are put together where they read the same array, so that it is read once, or where one reads what the other keeps,
at the same position: then the value is at hand, and need not come from memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from gradkit.compiler.access import Access, Sizes
from gradkit.compiler.fusing import LARGEST, Fusion
from gradkit.compiler.groups import Group, Single
from gradkit.compiler.passes import variables_in
from gradkit.core.graph import Variable

__all__ = ["merged"]


def merged(fusion: Fusion) -> Sequence[Group | Single]:
    """Return the groups of a graph in order, as few as there may be."""
    return Merging(fusion).run()


class Merging:
    """Nests put together: the groups of a graph, fewer and larger ones."""

    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.writers: dict[Variable, list[Group | Single]] = defaultdict(list)
        self.readers: dict[Variable, list[Group | Single]] = defaultdict(list)
        self.reads: dict[Group, dict[Variable, set[Access | None]]] = {}
        self.gone: set[Group] = set()

    def run(self) -> list[Group | Single]:
        """Return the nodes that are left, in order."""
        for node in self.fusion.nodes:
            self._note(node)
        latest: dict[tuple[Sizes, Variable], Group] = {}
        for node in list(self.fusion.nodes):
            if isinstance(node, Single) or not node.space:
                continue
            group = node
            for x in list(self.reads[group]):
                for other in (*self.writers[x], latest.get((group.space, x))):
                    if isinstance(other, Group) and other is not group and other not in self.gone:
                        self._merge(other, group)
                latest[group.space, x] = group
        nodes = sorted((n for n in self.fusion.nodes if n not in self.gone), key=lambda node: node.position)
        outputs = {self.fusion.root(x) for x in self.fusion.outputs}
        for node in nodes:
            if isinstance(node, Group):
                node.kept = [k for k in node.kept if k.memory in outputs or self._is_read(k.memory, node)]
        return nodes

    def _is_read(self, x: Variable, group: Group) -> bool:
        """Return whether what a group keeps is read from memory: by the others, or by itself at other positions."""
        return x in self.reads[group] or any(node is not group for node in self._alive(self.readers[x]))

    def _note(self, node: Group | Single) -> None:
        if isinstance(node, Single):
            for x in variables_in(node.equation.inputs):
                self.readers[self.fusion.root(x)].append(node)
            for out in node.equation.outputs:
                if node.adds:
                    self.readers[out].append(node)
                self.writers[out].append(node)
            return
        found: dict[Variable, set[Access | None]] = defaultdict(set)
        for x, access in self.fusion.loads(node):
            root = self.fusion.root(x)
            found[root].add(access if root is x else None)
        self.reads[node] = found
        for x in found:
            self.readers[x].append(node)
        for kept in node.kept:
            self.writers[kept.memory].append(node)

    def _merge(self, first: Group, second: Group) -> None:
        """Put a group into a later one, if nothing has to come between."""
        if first.space != second.space or first.position > second.position:
            return
        if len(first.entries) + len(second.entries) > LARGEST:
            return
        kept = {k.memory for k in first.kept}
        for x in kept & self.reads[second].keys():
            # What it reads of the first has to be at hand at the same position: it is computed there, and not only
            # kept, as a sum is, or a copy; and no read of it is at positions that are values, whose access is None.
            if x not in first.accesses or self.reads[second][x] != {first.accesses[x]}:
                return
        if any(first.accesses[x] != second.accesses[x] for x in first.accesses.keys() & second.accesses.keys()):
            return
        below = all(
            reader is second or reader is first or reader.position > second.position
            for x in kept
            for reader in self._alive(self.readers[x])
        )
        above = all(
            writer is first or writer.position < first.position
            for x in self.reads[second]
            for writer in self._alive(self.writers[x])
        )
        if not (below or above) or self._writes_clash(first, second):
            return
        if not below:
            second.position = first.position
        second.entries += [e for e in first.entries if e.outputs[0] not in second.accesses]
        second.accesses.update(first.accesses)
        second.kept = [*first.kept, *second.kept]
        self.gone.add(first)
        for x, accesses in self.reads[first].items():
            self.reads[second][x] |= accesses
            self.readers[x].append(second)
        for x in kept:
            self.writers[x].append(second)
            if x in second.accesses:
                self.reads[second].pop(x, None)

    def _writes_clash(self, first: Group, second: Group) -> bool:
        """Return whether both write one array, which happens in parts of it that differ, or as the start of a sum."""
        written = {kept.memory for kept in second.kept}
        return any(kept.memory in written for kept in first.kept) or any(
            len(list(self._alive(self.writers[k.memory]))) > 1 for k in (*first.kept, *second.kept)
        )

    def _alive(self, nodes: Iterable[Group | Single]) -> Iterator[Group | Single]:
        return (node for node in list(nodes) if node not in self.gone)
