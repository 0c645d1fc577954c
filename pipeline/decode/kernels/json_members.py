"""JSON objects put together from columns: of many rows at once, a member for each."""

from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.json_text import objects
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of
from pipeline.decode.kernels.text import OFFSET_BITS
from pipeline.decode.wire.declaration import PARENT
from pipeline.decode.wire.walk import Rows

_CELLS: Final = {"key": 1, "value": 2, "type": 3}
"""Where in a row of a member its cells are, beside its owner."""


class Members:
    """The members of so many objects, added column by column; of a key told twice, the later stays.

    Args:
        source: what slices point into.
        owners: how many objects.
    """

    def __init__(self, source: Buffer, owners: int) -> None:
        self._source = source
        self._owners = owners
        self._columns: list[Ints] = []
        self._texts: list[bytes] = []
        self._end = source.size

    def text(self, word: bytes) -> int:
        """A slice for a text that is not in the source."""
        begin, self._end = self._end, self._end + len(word)
        self._texts.append(word)
        return begin << OFFSET_BITS | len(word)

    def texts(self, words: list[bytes]) -> Ints:
        """A slice for each of some texts."""
        return np.array([self.text(word) for word in words], np.int64)

    def add(self, owners: Ints, keys: Ints | int, values: Ints | int, kind: int) -> None:
        """A member for each of the owners.

        Args:
            owners: numbers of objects.
            keys: slice of the key, one for all or one for each.
            values: a slice or a number, by ``kind``.
            kind: type of a value of OTLP that is not nested, or ``json_text.JSON``.
        """
        column = np.empty((len(owners), 1 + len(_CELLS)), np.int64)
        column[:, PARENT] = owners
        for name, cells in (("key", keys), ("value", values), ("type", kind)):
            column[:, _CELLS[name]] = cells
        self._columns.append(column)

    def objects(self) -> pa.Array:
        """One JSON object for each owner; null where it has no member."""
        members = np.concatenate(self._columns or [np.empty((0, 1 + len(_CELLS)), np.int64)])
        members = members[np.argsort(members[:, PARENT], kind="stable")]
        source = buffer_of((self._source.data[: self._source.size].tobytes(), *self._texts))
        return objects(source, Rows(members, _CELLS), self._owners)
