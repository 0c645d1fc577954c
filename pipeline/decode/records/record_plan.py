"""What is looked for in JSON records: paths compiled into one table that kernels look names up in.

A path is the names of the members on the way to a value. Letter case does not matter. What is in
an array belongs to the member that holds the array.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS, slices_of

Path = tuple[str, ...]

NOWHERE, ROOT = 0, 1
"""Nodes: where nothing is looked for, the record itself."""

NODE, NAME, CHILD, CELL, COUNT = range(5)
"""Columns of the table of edges."""

LONGEST_NAME: Final = 128
"""How many bytes a name may have."""

NO_CELL: Final = -1
_EMPTY: Final = -1
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_LOW_BITS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_FROM_A: Final = np.uint64(0x3F3F3F3F3F3F3F3F)
_PAST_Z: Final = np.uint64(0x2525252525252525)
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_NODE_FACTOR: Final = np.uint64(0xC2B2AE3D27D4EB4F)


class Plan(NamedTuple):
    """A compiled declaration, as kernels take it.

    Attributes:
        names: the text of all names, in lower case.
        edges: an open-addressed table; NODE is -1 where it is empty.
        needed: cells of which a record must tell at least one; none when anything will do.
    """

    names: Buffer
    edges: Ints
    needed: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The declaration of a JSON format; there is one object for each.

    Attributes:
        cells: by the name of a cell the paths that may fill it; of several that are told the last
            counts, unless it is null.
        counts: by the name of a cell the path of the array whose elements it counts.
        needed: cells of which a record must tell at least one.
    """

    cells: Mapping[str, Sequence[Path]]
    counts: Mapping[str, Path]
    needed: Sequence[str] = ()

    @property
    def names(self) -> dict[str, int]:
        """The position of every cell in a row."""
        return {name: number for number, name in enumerate((*self.cells, *self.counts))}

    def only(self, *names: str) -> "Records":
        """The same with these cells alone: of any bytes it finds the same records."""
        cells = {name: self.cells[name] for name in (*names, *self.needed)}
        return Records(cells, {}, self.needed)


@cache
def compile_records(records: Records) -> Plan:
    """Compile a declaration."""
    compiler = _Compiler()
    positions = records.names
    for name, paths in records.cells.items():
        for path in paths:
            compiler.edge(path, CELL, positions[name])
    for name, path in records.counts.items():
        compiler.edge(path, COUNT, positions[name])
    return compiler.compiled([positions[name] for name in records.needed])


class _Compiler:
    def __init__(self) -> None:
        self._edges: dict[tuple[int, bytes], list[int]] = {}
        self._nodes = ROOT + 1

    def member(self, node: int, name: str) -> list[int]:
        """The edge of that name: child, cell, count."""
        if len(name.encode()) > LONGEST_NAME:
            raise ValueError(f"the name {name} is too long")
        return self._edges.setdefault((node, name.lower().encode()), [NOWHERE, NO_CELL, NO_CELL])

    def node(self, path: Path) -> int:
        """The node of the object at a path."""
        node = ROOT
        for name in path:
            edge = self.member(node, name)
            if not edge[0]:
                edge[0] = self._nodes
                self._nodes += 1
            node = edge[0]
        return node

    def edge(self, path: Path, column: int, cell: int) -> None:
        """Fill one column of the edge that ends a path."""
        edge = self.member(self.node(path[:-1]), path[-1])
        if edge[column - CHILD] not in (NO_CELL, cell):
            raise ValueError(f"two cells at {path}")
        edge[column - CHILD] = cell

    def compiled(self, needed: Sequence[int]) -> Plan:
        """All edges in one table, a quarter full."""
        names = [name for _, name in self._edges]
        slices = slices_of(names)
        buffer = buffer_of(names)
        edges = np.full((1 << (4 * len(names)).bit_length(), COUNT + 1), _EMPTY, np.int64)
        for (node, name), slice_, told in zip(
            self._edges, slices.tolist(), self._edges.values(), strict=True
        ):
            begin = slice_ >> OFFSET_BITS
            spot = slot_of(buffer, begin, len(name), node, len(edges))
            while edges[spot, NODE] != _EMPTY:
                spot = (spot + 1) % len(edges)
            edges[spot] = (node, slice_, *told)
        return Plan(buffer, edges, np.array(needed, np.int64))


@inlined
def lower(word: np.uint64) -> np.uint64:
    """Eight bytes with A to Z in lower case. Source: Hacker's Delight, word-parallel comparison."""
    seven = word & _LOW_BITS
    upper = ~word & _HIGH_BITS & ((seven + _FROM_A) ^ (seven + _PAST_Z))
    return word | (upper >> np.uint64(2))


@kernel
def slot_of(source: Buffer, begin: int, length: int, node: int, slots: int) -> int:
    """Where in the table the search for a name of a node begins; slots are a power of two.

    Names are told apart by their length and their first and last eight bytes.
    """
    first, last = np.uint64(0), np.uint64(length)
    if length >= 8:
        first = lower(source.words[begin])
        last += lower(source.words[begin + length - 8]) << np.uint64(1)
    elif length:
        first = lower(source.words[begin]) & (_ALL >> np.uint64(64 - 8 * length))
    mixed = (first ^ (last + np.uint64(node)) * _NODE_FACTOR) * _FACTOR
    return int(np.int64((mixed >> np.uint64(32)) & np.uint64(slots - 1)))


@inlined
def find(plan: Plan, source: Buffer, begin: int, length: int, node: int) -> int:
    """The number of the edge of that name, or -1."""
    slots = len(plan.edges)
    spot = slot_of(source, begin, length, node, slots)
    while plan.edges[spot, NODE] >= 0:
        slice_ = plan.edges[spot, NAME]
        if plan.edges[spot, NODE] == node and slice_ & LENGTH_MASK == length:
            known = slice_ >> OFFSET_BITS
            index = 0
            while index < length:
                differ = lower(source.words[begin + index]) ^ plan.names.words[known + index]
                if length - index < 8:
                    differ &= _ALL >> np.uint64(64 - 8 * (length - index))
                if differ:
                    break
                index += 8
            if index >= length:
                return spot
        spot = (spot + 1) & (slots - 1)
    return -1
