"""What a decoder of lines answered, in a form that tests can read and compare."""

from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from pipeline.decode import DECODERS
from pipeline.model.decoded import Decoded
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

Row = dict[str, Any]


def rows_of(decoded: Decoded) -> list[Row]:
    """The rows with their resources inside; what is null is left out, times are nanoseconds."""
    if ACCESS_LOGS.name not in decoded.batches:
        return []
    logs = pl.DataFrame(decoded.batches[ACCESS_LOGS.name])
    resources = {
        row["resource_id"]: row
        for row in pl.DataFrame(decoded.batches.get(RESOURCES.name, [])).iter_rows(named=True)
    }
    rows = []
    for row in logs.with_columns(pl.col("start_time").cast(pl.Int64)).iter_rows(named=True):
        told = {name: value for name, value in row.items() if value is not None}
        if "attributes" in told:
            told["attributes"] = orjson.loads(told["attributes"])
        if "resource_id" in told:
            of = resources[told.pop("resource_id")]
            kept = ("resource_id", "attributes")
            told["resource"] = {
                name: value for name, value in of.items() if value is not None and name not in kept
            }
        rows.append(told)
    return rows


def decoded_lines(format_name: str, *lines: bytes) -> list[Row]:
    """The rows of some lines, none of which may be refused."""
    found = DECODERS[format_name]([b"\n".join(lines)])
    assert found.refused == ()
    return rows_of(found)


def one_line(format_name: str, line: bytes) -> Row:
    """The row of one line."""
    (row,) = decoded_lines(format_name, line)
    return row


def reasons(format_name: str, messages: Sequence[bytes]) -> list[tuple[int, int | None, str, int]]:
    """Message, offset, reason and number of records of all that was refused."""
    return [
        (told.message, told.offset, told.reason, told.records)
        for told in DECODERS[format_name](messages).refused
    ]
