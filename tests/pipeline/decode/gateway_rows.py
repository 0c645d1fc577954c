"""What the decoders of API gateways answer, in a form that can be read and compared."""

from typing import Any

import orjson

from pipeline.model.decoded import Decoded
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

Row = dict[str, Any]


def rows(decoded: Decoded) -> list[Row]:
    """Rows without what is null, times as nanoseconds, attributes as objects, resources inside."""
    if ACCESS_LOGS.name not in decoded.batches:
        return []
    resources = {row["resource_id"]: row for row in decoded.batches[RESOURCES.name].to_pylist()}
    table = decoded.batches[ACCESS_LOGS.name]
    assert table.schema == ACCESS_LOGS.arrow
    times = table["start_time"].cast("int64").to_pylist()
    found = []
    for time, row in zip(times, table.drop(["start_time"]).to_pylist(), strict=True):
        told = _plain(row)
        told["resource"] = _plain(resources[told.pop("resource_id")])
        told["resource"].pop("resource_id")
        found.append({"start_time": time, **told})
    return found


def one(decoded: Decoded) -> Row:
    """The only row, and nothing refused."""
    assert decoded.refused == ()
    (row,) = rows(decoded)
    return row


def refused(decoded: Decoded) -> list[tuple[str, int | None, int]]:
    """Reason, offset and records of each refusal."""
    return [(told.reason, told.offset, told.records) for told in decoded.refused]


def as_text(decoded: Decoded) -> str:
    """All of it, for golden files."""
    told = {"rows": rows(decoded), "refused": refused(decoded)}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"


def _plain(row: Row) -> Row:
    told = {name: value for name, value in row.items() if value is not None}
    if "attributes" in told:
        told["attributes"] = orjson.loads(told["attributes"])
    return told
