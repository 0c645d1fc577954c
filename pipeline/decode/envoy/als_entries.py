"""Access-log entries as the walk found them: their parts, and the text that slices stand for."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire.parts import Cells, Part
from pipeline.decode.wire.walk import Rows, Walked

PARTS: Final = ("requests", "responses", "connections", "flags", "tls")


@dataclass(frozen=True, slots=True)
class Entries:
    """All entries of a walk.

    Attributes:
        walked: the walk.
        common: the cells of AccessLogCommon, one row for each entry.
        parts: the other parts by table, as cells of the entries.
    """

    walked: Walked
    common: Rows
    parts: dict[str, Part]

    def __len__(self) -> int:
        return len(self.common)

    def owners(self, table: str) -> Ints:
        """Of each row of a table below an entry, or below a part of one, the entry's number."""
        parents = self.walked.rows(table).parents
        above = ABOVE.get(table)
        return parents if above is None else self.walked.rows(above).parents[parents]

    def text(self, one: int) -> str:
        """The text of one slice."""
        return self.data(one).decode("utf-8", "replace")

    def data(self, one: int) -> bytes:
        """The bytes of one slice."""
        start = one >> OFFSET_BITS
        return self.walked.buffer.data[start : start + (one & LENGTH_MASK)].tobytes()

    def texts(self, slices: Ints) -> pa.Array:
        """Slices as text; None where they are empty."""
        return texts(self.walked.buffer, slices)


ABOVE: Final = {
    "request_headers": "requests",
    "response_headers": "responses",
    "response_trailers": "responses",
    "peer_names": "tls",
    "local_names": "tls",
}
"""Tables that hang in a part of an entry, and which."""


def entries_of(walked: Walked) -> Entries:
    """The entries of a walk."""
    common = walked.rows("entries")
    parts = {name: Part(walked.rows(name), len(common)) for name in PARTS}
    return Entries(walked, common, parts)


def words(numbers: Ints, names: dict[int, str]) -> pa.Array:
    """Numbers as the words they stand for; None where they stand for none."""
    known, places = np.unique(numbers, return_inverse=True)
    return pa.array([names.get(one) for one in known.tolist()], pa.string()).take(places)


def nanoseconds(cells: Cells, name: str) -> Ints:
    """A Timestamp or Duration in nanoseconds; only where ``fits`` says so is it right."""
    seconds = cells.column(f"{name}.seconds")
    return seconds * 1_000_000_000 + cells.column(f"{name}.nanos")


def joined(entries: Entries, table: str, count: int) -> list[bytes]:
    """Of each row above a table of raw submessages all their bytes: joined, they are merged."""
    pieces: list[list[bytes]] = [[] for _ in range(count)]
    rows = entries.walked.rows(table)
    for owner, one in zip(rows.parents.tolist(), rows.column("value").tolist(), strict=True):
        pieces[owner].append(entries.data(one))
    return [b"".join(parts) for parts in pieces]
