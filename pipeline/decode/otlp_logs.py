"""OTLP logs: ``ExportLogsServiceRequest`` to rows of ``logs``, and of ``access_logs``.

Every record is a row of ``logs``; one that is an access log of a proxy is a row of ``access_logs``,
too.

Ids that the specification calls invalid - all zeros, or of a wrong length - are as if not told; the
record is kept.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.wrappers_pb2 import BytesValue
from numpy.typing import NDArray

from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import GOOD, NOTHING, ids, numbers, texts, times
from pipeline.decode.kernels.json_text import objects
from pipeline.decode.otlp.access_logs import access_logs, may_have
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.declaration import Messages, Row, Store
from pipeline.decode.wire.intern import RESOURCE_ROWS, SCOPE_ROWS, bytes_of
from pipeline.decode.wire.otlp_common import COMMON, STRING
from pipeline.decode.wire.refusals import Bad, with_bad
from pipeline.decode.wire.walk import Format, Rows, Walked
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.tables import ACCESS_LOGS, LOGS, RESOURCES, SCOPES

MOST_SEVERE: Final = 24
LATE: Final = "a time after the year 2262"

MESSAGES: Final[Messages] = {
    **COMMON,
    "ExportLogsServiceRequest": {1: Row("ResourceLogs", "resource_logs")},
    "ResourceLogs": {
        1: Row("Resource", "resources", raw="raw"),
        2: Row("ScopeLogs", "scope_logs"),
    },
    "ScopeLogs": {
        1: Row("InstrumentationScope", "scopes", raw="raw"),
        2: Row("LogRecord", "records", raw="raw"),
    },
    "LogRecord": {
        1: Store("fixed64", "time"),
        2: Store("int32", "severity_number"),
        3: Store("bytes", "severity_text"),
        5: Row("AnyValue", "bodies", raw="raw"),
        6: Row("KeyValue", "attributes"),
        8: Store("fixed32", "flags"),
        9: Store("bytes", "trace_id"),
        10: Store("bytes", "span_id"),
        11: Store("fixed64", "observed_time"),
        12: Store("bytes", "event_name"),
    },
}

OTLP_LOGS: Final = Format("otlp_logs", "ExportLogsServiceRequest", MESSAGES)
BODY: Final = Format("body", "One", {**COMMON, "One": {1: Row("AnyValue", "bodies", raw="raw")}})


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``ExportLogsServiceRequest`` messages."""
    walked = OTLP_LOGS.walk(messages)
    records = walked.rows("records")
    late = _late(records)
    scope_logs = records.parents
    resource_logs = walked.rows("scope_logs").parents[scope_logs]
    resources = RESOURCE_ROWS.intern(walked, "resource_logs", "resources")
    scopes = SCOPE_ROWS.intern(walked, "scope_logs", "scopes")
    columns = {
        "resource_id": resources.ids(resource_logs),
        "scope_id": scopes.ids(scope_logs),
        **_times(records),
        **_cells(walked, records),
        **_ids(walked, records),
        "body": _bodies(walked, len(records)),
        "attributes": objects(walked.buffer, walked.rows("attributes"), len(records)),
    }
    table = pa.table([columns[name] for name in LOGS.names], LOGS.arrow).filter(pa.array(~late))
    batches = {
        LOGS.name: table,
        RESOURCES.name: resources.batch(resource_logs[~late]),
        SCOPES.name: scopes.batch(scope_logs[~late]),
    }
    found = access_logs(table, resources.rows) if any(map(may_have, messages)) else {}
    if found:
        batches[ACCESS_LOGS.name] = found[ACCESS_LOGS.name]
        batches[RESOURCES.name] = pa.concat_tables([batches[RESOURCES.name], found[RESOURCES.name]])
    return Decoded(batches, refused(walked))


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Malformed messages, and records with a time that no column holds."""
    records = walked.rows("records")
    late = _late(records)
    resource_logs = walked.rows("scope_logs").parents[records.parents[late]]
    messages = walked.rows("resource_logs").parents[resource_logs]
    return with_bad(walked, Bad(messages, records.column("raw")[late], LATE))


def _late(records: Rows) -> NDArray[np.bool_]:
    """Whether a time is past 63 bits of nanoseconds."""
    late: NDArray[np.bool_] = (records.column("time") < 0) | (records.column("observed_time") < 0)
    return late


def _times(records: Rows) -> dict[str, pa.Array]:
    time, observed = records.column("time"), records.column("observed_time")
    happened = np.where(time != 0, time, observed)
    return {
        "time": times(happened, happened > 0),
        "observed_time": times(observed, observed > 0),
    }


def _cells(walked: Walked, records: Rows) -> dict[str, pa.Array]:
    severity = records.column("severity_number")
    known = (severity >= 0) & (severity <= MOST_SEVERE)
    return {
        "severity_number": numbers(np.where(known, severity, 0), pa.uint8()),
        "severity_text": texts(walked.buffer, records.column("severity_text")),
        "event_name": texts(walked.buffer, records.column("event_name")),
        "flags": numbers(records.column("flags"), pa.uint32()),
    }


def _ids(walked: Walked, records: Rows) -> dict[str, pa.Array]:
    trace, trace_is = ids(walked.buffer, records.column("trace_id"), 16)
    span, span_is = ids(walked.buffer, records.column("span_id"), 8)
    return {
        "trace_id_high": pa.array(trace[:, 0], mask=trace_is != GOOD),
        "trace_id_low": pa.array(trace[:, 1], mask=trace_is != GOOD),
        "span_id": pa.array(span[:, 0], mask=span_is != GOOD),
    }


def _bodies(walked: Walked, records: int) -> pa.Array:
    """The bodies of records as text."""
    rows = walked.rows("bodies")
    outer = rows.parents >= 0
    told, first, parts = np.unique(rows.parents[outer], return_index=True, return_counts=True)
    bodies = _whole_bodies(walked, records)
    split = parts > 1
    if not split.any():
        return bodies
    raw = [bytes_of(walked, one) for one in rows.column("raw")[outer].tolist()]
    merged = [
        # parts joined are what protobuf takes for one message; BytesValue puts a tag before them
        BytesValue(value=b"".join(raw[begin : begin + count])).SerializeToString()
        for begin, count in zip(first[split].tolist(), parts[split].tolist(), strict=True)
    ]
    mask = np.zeros(records, np.bool_)
    mask[told[split]] = True
    whole = _whole_bodies(BODY.walk(merged), len(merged))
    return pc.replace_with_mask(bodies, pa.array(mask), whole)


def _whole_bodies(walked: Walked, records: int) -> pa.Array:
    """Bodies that are strings as they are, all others as JSON.

    The rows of bodies are those of attributes without a key, so the JSON of one is what stands in
    an object behind the empty key.
    """
    rows = walked.rows("bodies")
    outer = rows.parents >= 0
    text = outer & (rows.column("type") == STRING)
    slices = np.full(records, NOTHING, np.int64)
    slices[rows.parents[text]] = rows.column("value")[text]
    skip = text | (outer & (rows.column("type") == 0))
    whole = objects(walked.buffer, rows, records, skip=skip.astype(np.uint8))
    inner = pc.utf8_slice_codeunits(whole, start=len('{"":'), stop=-1)
    return pc.coalesce(texts(walked.buffer, slices, empty_is_null=False), inner)


def _mask(walked: Walked, masked: MaskedKeys) -> bool:
    """Attributes by their keys; where there may be access logs, what their texts hold, too."""
    hidden = masked.mask(walked, {})
    if may_have(walked.buffer.data[: walked.buffer.size].tobytes()):
        hidden |= masked.mask_texts(walked, ("bodies", "attributes"), "envoy_text")
    return hidden


GATE: Final = WireGate(OTLP_LOGS, ("records",), refused, _mask)
"""What the door knows of logs."""
