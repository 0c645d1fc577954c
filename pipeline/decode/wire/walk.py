"""The walk over protobuf wire bytes: one compiled loop for every format, driven by tables.

How to use it::

    FORMAT = Format("name", "RootMessage", MESSAGES)      # see pipeline.decode.wire.declaration
    walked = FORMAT.walk(messages)                        # many messages at once
    spans = walked.rows("spans")                          # Rows: one int64 per cell
    spans.column("kind"), spans.present("sum"), spans.parents
    walked.refused                                        # malformed messages, nothing of them kept

* A **row** is a message (or elements of a repeated scalar) that was declared to be one; a
  **cell** is one int64 of it. Scalars are widened to 64 bits; doubles keep their bits
  (``column(...).view(np.float64)``); strings and bytes are *slices*, ``offset << 32 | length`` into
  ``walked.buffer``. A cell that was not told is 0, and ``present`` tells the difference.
* The **parent** of a row is the row number in the table of the enclosing row; of an outermost row
  the index of the message; of a row nested in a row of its own table ``~number`` (negative).
* Rows are in wire order, outermost first, and a row is told in one piece: so the rows of a table
  that belong to one parent are neighbours, parents never decrease, and all that is nested in a row
  follows it directly. Singular submessages have no row of their own (``Enter``): their cells are
  those of the row around them, and are merged as protobuf merges. A singular submessage that is
  declared to be a ``Row`` for its raw bytes may have several rows; their bytes, one after the
  other, mean the same.
* Fields may come in any order. Unknown fields, groups, and known fields of another wire type are
  skipped. What the official parser refuses is refused, with the offset of the field at fault; the
  exception is text that is not UTF-8, which is accepted here and mended later.

Memory is bounded: every row has a price in bytes (``Row.least``, or half a byte a cell), and a
message cannot buy more rows than it has bytes, and ``FREE_BYTES`` that every message is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of
from pipeline.decode.wire.declaration import (
    CELL_BITS,
    HEADER,
    PARENT,
    PRESENT,
    Messages,
    compile_plan,
)
from pipeline.decode.wire.loop import (
    BASE,
    CAPACITY,
    COUNT,
    MAX_DEPTH,
    PRICE,
    REASONS,
    SAVED,
    SHAPE,
    STRIDE,
    walk_from,
)
from pipeline.errors import DecodeError
from pipeline.model.decoded import Refusal

MAX_BYTES: Final = 1 << 28
"""How many bytes of messages one walk takes: what is written of them, even if escaped for JSON six
bytes for one, has 32-bit offsets."""

_TELLING: Final = 1 << 12
"""From this many bytes on a walk tells how many rows to expect of the next."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table.

    Attributes:
        cells: one row of cells for each row; C-contiguous.
        names: where in a row each named cell is.
    """

    cells: Ints
    names: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def parents(self) -> Ints:
        """Of each row the number of the row it belongs to; see the module's text."""
        return self.cells[:, PARENT]

    def cell(self, name: str) -> int:
        """Where in a row the cell of that name is."""
        return self.names[name]

    def column(self, name: str) -> Ints:
        """One cell of all rows; a view."""
        return self.cells[:, self.names[name]]

    def present(self, name: str) -> NDArray[np.bool_]:
        """Which rows were told that cell."""
        return (self.cells[:, PRESENT] >> self.names[name] & 1).astype(np.bool_)


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk found.

    Attributes:
        buffer: all messages one after the other; slices point into it.
        bounds: start and end of each message in the buffer.
        refused: the malformed messages, with the offset in the message.
    """

    buffer: Buffer
    bounds: Ints
    refused: tuple[Refusal, ...]
    tables: Mapping[str, Rows]

    def rows(self, table: str) -> Rows:
        """The rows of a declared table."""
        return self.tables[table]


class Format:
    """A wire format, compiled from its declaration.

    Args:
        name: for messages to people.
        root: the message type that messages are of.
        messages: the declaration.
    """

    def __init__(self, name: str, root: str, messages: Messages) -> None:
        self.name = name
        self._plan = compile_plan(root, messages)
        self._strides = [HEADER + len(cells) for cells in self._plan.cells]
        self._prices = [
            max(least, stride // 2)
            for least, stride in zip(self._plan.least, self._strides, strict=True)
        ]
        self._density = [0.01] * len(self._strides)

    def walk(self, messages: Sequence[bytes]) -> Walked:
        """Walk all messages.

        Raises:
            DecodeError: they are longer than ``MAX_BYTES`` together.
        """
        ends = np.cumsum([len(message) for message in messages], dtype=np.int64)
        if len(ends) and ends[-1] > MAX_BYTES:
            raise DecodeError(f"more than {MAX_BYTES >> 20} MiB at once", format=self.name)
        buffer = buffer_of(messages)
        bounds = np.zeros((len(messages), 2), np.int64)
        bounds[1:, 0] = ends[:-1]
        bounds[:, 1] = ends
        shape, cells = self._room(buffer.size)
        faults = np.empty((len(messages), 3), np.int64)
        refused: list[Refusal] = []
        stack = np.empty((MAX_DEPTH + 1, SAVED), np.int64)
        message = 0
        while True:
            message, full, found = walk_from(
                buffer, bounds, self._plan.instructions, shape, cells, faults, stack, message
            )
            refused += (
                Refusal(int(index), REASONS[int(reason)], int(offset), whole=True)
                for index, reason, offset in faults[:found]
            )
            if full < 0:
                break
            shape, cells = _grown(shape, cells, full)
        self._learn(shape, buffer.size)
        return Walked(buffer, bounds, tuple(refused), self._tables(shape, cells))

    def _room(self, size: int) -> tuple[Ints, Ints]:
        """Tables of the size that messages of this format have needed before."""
        shape = np.zeros((len(self._strides), SHAPE), np.int64)
        shape[:, STRIDE] = self._strides
        shape[:, PRICE] = self._prices
        shape[:, CAPACITY] = [16 + int(density * size) for density in self._density]
        return shape, _laid_out(shape)

    def _learn(self, shape: Ints, size: int) -> None:
        """Expect next time about as many rows as there were, and a quarter more."""
        if size >= _TELLING:
            self._density = [
                max(1.25 * rows / size, 0.9 * density)
                for rows, density in zip(shape[:, COUNT].tolist(), self._density, strict=True)
            ]

    def _tables(self, shape: Ints, cells: Ints) -> dict[str, Rows]:
        tables = {}
        for name, names, part in zip(
            self._plan.tables, self._plan.cells, shape.tolist(), strict=True
        ):
            base, stride, count = part[BASE], part[STRIDE], part[COUNT]
            tables[name] = Rows(cells[base : base + count * stride].reshape(count, stride), names)
        return tables


def _laid_out(shape: Ints) -> Ints:
    """Room for all tables, behind a first row that nobody reads; writes where each begins."""
    widest = 1 << CELL_BITS
    sizes = shape[:, STRIDE] * shape[:, CAPACITY]
    shape[:, BASE] = widest + np.cumsum(sizes) - sizes
    cells = np.empty(widest + int(sizes.sum()), np.int64)
    cells[:widest] = 0
    return cells


def _grown(shape: Ints, cells: Ints, full: int) -> tuple[Ints, Ints]:
    """The same tables with twice the room in one of them."""
    grown = shape.copy()
    grown[full, CAPACITY] *= 2
    larger = _laid_out(grown)
    for old, new in zip(shape.tolist(), grown.tolist(), strict=True):
        used = old[STRIDE] * old[COUNT]
        larger[new[BASE] : new[BASE] + used] = cells[old[BASE] : old[BASE] + used]
    return grown, larger
