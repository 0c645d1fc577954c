"""What holds of every decoder and every door, whatever the bytes."""

from collections.abc import Sequence
from typing import Final

import orjson
import pyarrow as pa

from pipeline.decode import DECODERS
from pipeline.decode.door import Admission, MaskedKeys, admit, admit_foreign
from pipeline.errors import DecodeError
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.table import Table
from pipeline.model.tables import INTERNED, RAW, RESOURCES, SCOPES
from pipeline.model.topics import FORMAT_SIGNAL

TABLES: Final = {table.name: table for table in (*RAW, *INTERNED)}
MASKED: Final = MaskedKeys()
LONGEST_REASON: Final = 120
"""Reasons are counted, so they are few and short: never a piece of the message."""

FREE_BYTES: Final = 1 << 18
BYTES_OF_ROWS: Final = 64
"""How many bytes of rows a byte of a message may become, besides ``FREE_BYTES`` for each."""


def check(name: str, messages: Sequence[bytes]) -> Decoded:
    """Take messages through doors and decoder of a format, and ask all laws."""
    for message in messages:
        foreign(name, message)
        check_door(name, message)
    decoded = decode(name, messages)
    size = sum(map(len, messages))
    for table, rows in decoded.batches.items():
        conforms(TABLES[table], rows)
    ids_are_told(decoded)
    refusals_are_told(decoded.refused, messages)
    most = FREE_BYTES * len(messages) + BYTES_OF_ROWS * size
    assert sum(rows.nbytes for rows in decoded.batches.values()) <= most
    return decoded


def decode(name: str, messages: Sequence[bytes]) -> Decoded:
    """What the decoder answers; nothing but a DecodeError leaves it."""
    try:
        return DECODERS[name](messages)
    except DecodeError:
        return Decoded()


def foreign(name: str, message: bytes) -> bytes | None:
    """What is taken of a message that somebody else wrote on the bus."""
    try:
        return admit_foreign(name, message, MASKED)
    except DecodeError as error:
        reason_is_countable(error.reason)
        return None


def door(name: str, message: bytes) -> Admission | None:
    """What the door answers; None where it refuses."""
    try:
        return admit(name, message, MASKED)
    except DecodeError as error:
        reason_is_countable(error.reason)
        return None


def check_door(name: str, message: bytes) -> None:
    """The decoder takes as many records of what the door let in as the door said."""
    admission = door(name, message)
    if admission is None:
        return
    decoded = decode(name, [admission.body])
    rows = decoded.batches.get(FORMAT_SIGNAL[name])
    assert admission.records == (0 if rows is None else rows.num_rows)
    assert admission.rejected == sum(refusal.records for refusal in decoded.refused)
    assert bool(admission.reason) == bool(admission.rejected)


def conforms(table: Table, rows: pa.Table) -> None:
    """Rows are what ``model/tables.py`` declares, to the last bit of Arrow's buffers."""
    assert rows.schema.equals(table.arrow)
    rows.validate(full=True)
    for column in table:
        if column.kind == "json":
            for text in rows[column.name].drop_null().to_pylist():
                orjson.loads(text)


def ids_are_told(decoded: Decoded) -> None:
    """Each resource and scope that a row names is told, and told once."""
    for table, column in ((RESOURCES, "resource_id"), (SCOPES, "scope_id")):
        known = decoded.batches[table.name][column].to_pylist() if _has(decoded, table) else []
        assert len(known) == len(set(known))
        for rows in decoded.batches.values():
            if column in rows.column_names:
                assert set(rows[column].drop_null().to_pylist()) <= set(known)


def _has(decoded: Decoded, table: Table) -> bool:
    return table.name in decoded.batches


def refusals_are_told(refused: Sequence[Refusal], messages: Sequence[bytes]) -> None:
    """Refusals name a message, a place in it, and a reason that can be counted."""
    assert [one.message for one in refused] == sorted(one.message for one in refused)
    for one in refused:
        assert 0 <= one.message < len(messages)
        assert one.records >= 1
        assert one.offset is None or 0 <= one.offset <= len(messages[one.message])
        reason_is_countable(one.reason)


def reason_is_countable(reason: str) -> None:
    """A reason has words and is short."""
    assert 0 < len(reason) <= LONGEST_REASON
