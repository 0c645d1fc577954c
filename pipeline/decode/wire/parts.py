"""Rows that are part of other rows, seen as cells of those.

A row has room for few cells, so a large message keeps its parts in tables of their own. A part that
is told twice has two rows: of a cell that both tell, the later counts, as protobuf merges.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.wire.walk import Rows


class Cells(Protocol):
    """What rows and parts have in common: cells by name, of so many rows."""

    def __len__(self) -> int:
        """How many rows."""

    def column(self, name: str) -> Ints:
        """One cell of all rows; 0 where it was not told."""

    def present(self, name: str) -> NDArray[np.bool_]:
        """Which rows were told that cell."""


class Part:
    """The rows of a part as cells of ``count`` rows; ``owners`` says of which each is part."""

    def __init__(self, rows: Rows, count: int, owners: Ints | None = None) -> None:
        self._rows = rows
        self._count = count
        self._owners = rows.parents if owners is None else owners

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> Ints:
        """One cell of all rows; 0 where it was not told."""
        return self._spread(self._rows.column(name), self._rows.present(name))

    def present(self, name: str) -> NDArray[np.bool_]:
        """Which rows were told that cell."""
        present = np.zeros(self._count, np.bool_)
        present[self._owners[self._rows.present(name)]] = True
        return present

    def case(self, name: str) -> Ints:
        """Which alternative of a oneof was told last; 0 where none was."""
        column = self._rows.column(name)
        return self._spread(column, column != 0)

    def _spread(self, column: Ints, told: NDArray[np.bool_]) -> Ints:
        spread = np.zeros(self._count, np.int64)
        spread[self._owners[told]] = column[told]
        return spread


def first_told(values: Ints, owners: Ints, count: int) -> Ints:
    """Of each owner its first value; 0 where it has none."""
    spread = np.zeros(count, np.int64)
    spread[owners[::-1]] = values[::-1]
    return spread
