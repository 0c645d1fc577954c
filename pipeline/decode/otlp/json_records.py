"""Records that belong to a row - events, links, exemplars - as one JSON array of objects each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.json_text import Page, owners_bounds, written
from pipeline.decode.kernels.kernel import Buffer, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COMMA,
    LENGTH_MASK,
    LONGEST_ESCAPED,
    OFFSET_BITS,
    OPEN_ARRAY,
    OPEN_OBJECT,
    copy,
    decimal,
    hexadecimal,
    json_string,
    unsigned_decimal,
)
from pipeline.decode.wire.declaration import PRESENT
from pipeline.decode.wire.walk import Rows

_TEXT, _HEX, _UNSIGNED, _SIGNED, _JSON = range(5)
_KINDS: Final = {
    "text": _TEXT,
    "hex": _HEX,
    "unsigned": _UNSIGNED,
    "signed": _SIGNED,
    "json": _JSON,
}
_NUMBER_ROOM: Final = 32


@dataclass(frozen=True, slots=True)
class Field:
    """One member of the objects.

    Attributes:
        name: its key.
        kind: how to write the cell; ``json`` takes ready texts from elsewhere, see ``arrays``.
        cell: name of the cell; of ``json`` not used.
        case: cell and value that must be told, else the member is left out.
        always: whether it is written when it is 0 or empty.
    """

    name: str
    kind: Literal["text", "hex", "unsigned", "signed", "json"]
    cell: str = ""
    case: tuple[str, int] | None = None
    always: bool = False


class _Fields(NamedTuple):
    """Fields as the kernel takes them: a row each, their labels, and the slices of ready texts."""

    rows: Ints
    labels: Buffer
    ready: Buffer
    slices: Ints


def arrays(
    source: Buffer,
    rows: Rows,
    owners: int,
    fields: Sequence[Field],
    ready: Mapping[str, tuple[Buffer, Ints]] | None = None,
) -> pa.Array:
    """One JSON array for each owner, null where there is no record.

    Args:
        source: what the slices of the rows point into.
        rows: the records.
        owners: how many rows the table has that the records belong to.
        fields: what to write of each record, in order.
        ready: by the name of a ``json`` field the JSON text of each record, ``NOTHING`` for none.
    """
    bounds = owners_bounds(rows.cells, owners)
    compiled = _compiled(rows, fields, ready or {})

    def write(page: Page) -> int:
        return _arrays(source, rows.cells, bounds, compiled, page)

    return written(write, source.size + compiled.ready.size, owners)


def ready_texts(texts: pa.Array) -> tuple[Buffer, Ints]:
    """Texts of another column, to be put into records."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)
    slices = bounds[:-1] << OFFSET_BITS | np.diff(bounds)
    if texts.null_count:
        slices[texts.is_null().to_numpy(zero_copy_only=False)] = NOTHING
    return buffer_of([b"" if data is None else data.to_pybytes()]), slices


def _compiled(
    rows: Rows, fields: Sequence[Field], ready: Mapping[str, tuple[Buffer, Ints]]
) -> _Fields:
    labels = [orjson.dumps(field.name) + b":" for field in fields]
    compiled = np.zeros((len(fields), 6), np.int64)
    slices = np.full((len(rows), len(fields)), NOTHING, np.int64)
    texts: list[bytes] = []
    begin = 0
    for number, (field, label) in enumerate(zip(fields, labels, strict=True)):
        case, told = field.case or ("", 0)
        compiled[number] = (
            sum(map(len, labels[:number])) << OFFSET_BITS | len(label),
            _KINDS[field.kind],
            rows.cell(field.cell) if field.cell else PRESENT,
            field.always,
            rows.cell(case) if case else 0,
            told,
        )
        if field.kind == "json":
            text, places = ready[field.name]
            slices[:, number] = np.where(places < 0, NOTHING, places + (begin << OFFSET_BITS))
            texts.append(text.data[: text.size].tobytes())
            begin += text.size
    return _Fields(compiled, buffer_of(labels), buffer_of(texts), slices)


@kernel
def _arrays(source: Buffer, cells: Ints, bounds: Ints, fields: _Fields, page: Page) -> int:
    """Write arrays; returns the owner there was no room for."""
    first, out, offsets = page
    for owner in range(first, len(bounds) - 1):
        at = offsets[owner]
        if bounds[owner] < bounds[owner + 1]:
            out.data[at] = OPEN_ARRAY
            at += 1
            for row in range(bounds[owner], bounds[owner + 1]):
                if at + _room(cells, fields, row) > out.size:
                    return owner
                at = _record(source, cells, fields, row, out, at)
            out.data[at - 1] = CLOSE_ARRAY
        offsets[owner + 1] = at
    return len(bounds) - 1


@inlined
def _room(cells: Ints, fields: _Fields, row: int) -> int:
    """How many bytes a record may need."""
    room = _NUMBER_ROOM
    for number in range(len(fields.rows)):
        kind = fields.rows[number, 1]
        room += (fields.rows[number, 0] & LENGTH_MASK) + _NUMBER_ROOM
        if kind in (_TEXT, _HEX):
            room += LONGEST_ESCAPED * (cells[row, fields.rows[number, 2]] & LENGTH_MASK)
        elif kind == _JSON and fields.slices[row, number] >= 0:
            room += fields.slices[row, number] & LENGTH_MASK
    return room


@inlined
def _record(source: Buffer, cells: Ints, fields: _Fields, row: int, out: Buffer, at: int) -> int:
    """Write one object and the comma behind it."""
    out.data[at] = OPEN_OBJECT
    at += 1
    for number in range(len(fields.rows)):
        if not _is_told(cells, fields, row, number):
            continue
        if out.data[at - 1] != OPEN_OBJECT:
            out.data[at] = COMMA
            at += 1
        at = copy(fields.labels, fields.rows[number, 0], out, at)
        kind = fields.rows[number, 1]
        value = cells[row, fields.rows[number, 2]]
        if kind == _TEXT:
            at = json_string(source, value, out, at)
        elif kind == _HEX:
            at = hexadecimal(source, value, out, at)
        elif kind == _UNSIGNED:
            at = unsigned_decimal(value, out, at)
        elif kind == _SIGNED:
            at = decimal(value, out, at)
        else:
            at = copy(fields.ready, fields.slices[row, number], out, at)
    out.data[at] = CLOSE_OBJECT
    out.data[at + 1] = COMMA
    return at + 2


@inlined
def _is_told(cells: Ints, fields: _Fields, row: int, number: int) -> bool:
    case = fields.rows[number, 4]
    if case and cells[row, case] != fields.rows[number, 5]:
        return False
    kind = fields.rows[number, 1]
    if kind == _JSON:
        return bool(fields.slices[row, number] >= 0)
    value = cells[row, fields.rows[number, 2]]
    if kind in (_TEXT, _HEX):
        value &= LENGTH_MASK
    return bool(value != 0 or fields.rows[number, 3])
