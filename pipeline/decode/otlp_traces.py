"""OTLP traces: ``ExportTraceServiceRequest`` to rows of ``spans``, ``resources`` and ``scopes``.

A span without a usable trace id, span id or time is refused, the rest of its request stays. Of what
the wire tells, these do not reach a row: W3C flags of spans and links (the sampled bit is set on
whatever was sent), counts of dropped attributes, events and links, schema URLs, and entity
references. Enumerations that the protocol does not know are 0.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import (
    GOOD,
    WRONG_LENGTH,
    ZERO,
    Ids,
    ids,
    numbers,
    texts,
    times,
)
from pipeline.decode.kernels.json_text import objects
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import OFFSET_BITS
from pipeline.decode.otlp import kong_spans
from pipeline.decode.otlp.attributes import RPC_SERVICE, SPAN_ATTRIBUTES
from pipeline.decode.otlp.consumers import by_rank
from pipeline.decode.otlp.json_records import Field, arrays, ready_texts
from pipeline.decode.otlp.promote import Promotion
from pipeline.decode.otlp.sampling import thresholds
from pipeline.decode.wire.declaration import Enter, Messages, Row, Store
from pipeline.decode.wire.intern import KONG, LINKERD_PROXY, RESOURCE_ROWS, SCOPE_ROWS, Interned
from pipeline.decode.wire.otlp_common import COMMON
from pipeline.decode.wire.walk import Format, Rows, Walked
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.tables import RESOURCES, SCOPES, SPANS
from pipeline.model.topics import OTLP_TRACES_FORMAT

MESSAGES: Final[Messages] = {
    **COMMON,
    "ExportTraceServiceRequest": {1: Row("ResourceSpans", "resource_spans")},
    "ResourceSpans": {
        1: Row("Resource", "resources", raw="raw"),
        2: Row("ScopeSpans", "scope_spans"),
    },
    "ScopeSpans": {
        1: Row("InstrumentationScope", "scopes", raw="raw"),
        2: Row("Span", "spans", raw="raw", least=24),
    },
    "Span": {
        1: Store("bytes", "trace_id"),
        2: Store("bytes", "span_id"),
        3: Store("bytes", "trace_state"),
        4: Store("bytes", "parent_span_id"),
        5: Store("bytes", "name"),
        6: Store("int32", "kind"),
        7: Store("fixed64", "start_time"),
        8: Store("fixed64", "end_time"),
        9: Row("KeyValue", "span_attributes"),
        11: Row("Event", "events", least=8),
        13: Row("Link", "links", least=24),
        15: Enter("Status"),
    },
    "Event": {
        1: Store("fixed64", "time"),
        2: Store("bytes", "name"),
        3: Row("KeyValue", "event_attributes"),
    },
    "Link": {
        1: Store("bytes", "trace_id"),
        2: Store("bytes", "span_id"),
        3: Store("bytes", "trace_state"),
        4: Row("KeyValue", "link_attributes"),
    },
    "Status": {2: Store("bytes", "status_message"), 3: Store("int32", "status_code")},
}

OTLP_TRACES: Final = Format(OTLP_TRACES_FORMAT, "ExportTraceServiceRequest", MESSAGES)

REASONS: Final = (
    "",
    "trace id is not 16 bytes",
    "trace id is absent or zero",
    "span id is not 8 bytes",
    "span id is absent or zero",
    "parent span id is not 8 bytes",
    "time is later than the year 2262",
)
"""Why a span is refused, by number; the first that holds counts."""

LAST_KIND, LAST_STATUS = 5, 2

_EVENT: Final = (
    Field("name", "text", "name", always=True),
    Field("time_unix_nano", "unsigned", "time", always=True),
    Field("attributes", "json"),
)
_LINK: Final = (
    Field("trace_id", "hex", "trace_id", always=True),
    Field("span_id", "hex", "span_id", always=True),
    Field("trace_state", "text", "trace_state"),
    Field("attributes", "json"),
)
_PROMOTION: Final = Promotion(SPAN_ATTRIBUTES)
_NUMBERS: Final = {
    column.name: SPANS.arrow.field(column.name).type
    for column in SPANS
    if column.name in SPAN_ATTRIBUTES and SPAN_ATTRIBUTES[column.name].kind == "number"
}
_TEXTS: Final = tuple(
    column.name
    for column in SPANS
    if column.name in SPAN_ATTRIBUTES and SPAN_ATTRIBUTES[column.name].kind == "text"
)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``ExportTraceServiceRequest`` messages."""
    walked = OTLP_TRACES.walk(messages)
    spans = walked.rows("spans")
    if not len(spans):
        return Decoded(refused=walked.refused)
    found = _ids(walked)
    faults = _faults(spans, found)
    resources = RESOURCE_ROWS.intern(walked, "resource_spans", "resources")
    scopes = SCOPE_ROWS.intern(walked, "scope_spans", "scopes")
    scope_of = spans.parents
    resource_of = walked.rows("scope_spans").parents[scope_of]
    kong = kong_spans.by_kong(scopes)[scope_of]
    resources = kong_spans.with_system(resources, _having(resource_of[kong], resources))
    by_proxy = _by_proxy(resources)[resource_of]
    own = {**_own_columns(walked, spans), **_attribute_columns(walked, len(spans), by_proxy)}
    columns = {
        **_id_columns(found),
        **kong_spans.with_meaning(own, kong),
        "events": _events(walked, len(spans)),
        "links": _links(walked, len(spans)),
        "resource_id": resources.ids(resource_of),
        "scope_id": scopes.ids(scope_of),
    }
    rows = pa.table([columns[name] for name in SPANS.names], SPANS.arrow)
    kept = faults == 0
    if not kept.all():
        rows, resource_of, scope_of = rows.filter(pa.array(kept)), resource_of[kept], scope_of[kept]
    batches = {
        SPANS.name: rows,
        RESOURCES.name: resources.batch(resource_of),
        SCOPES.name: scopes.batch(scope_of),
    }
    return Decoded(batches, _refusals(walked, faults))


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Everything that ``decode`` refuses of a walk, in message order."""
    return _refusals(walked, _faults(walked.rows("spans"), _ids(walked)))


def _ids(walked: Walked) -> dict[str, Ids]:
    spans = walked.rows("spans")
    return {
        name: ids(walked.buffer, spans.column(name), size)
        for name, size in (("trace_id", 16), ("span_id", 8), ("parent_span_id", 8))
    }


def _faults(spans: Rows, found: dict[str, Ids]) -> NDArray[np.int8]:
    """For each span why it is refused: a number of ``REASONS``, 0 for a good one."""
    trace, span, parent = (found[name].states for name in ("trace_id", "span_id", "parent_span_id"))
    if (
        trace.max(initial=GOOD) == GOOD
        and span.max(initial=GOOD) == GOOD
        and parent.max(initial=GOOD) <= ZERO
        and min(spans.column("start_time").min(initial=0), spans.column("end_time").min(initial=0))
        >= 0
    ):
        return np.zeros(len(spans), np.int8)
    checks = [
        trace == WRONG_LENGTH,
        trace == ZERO,
        span == WRONG_LENGTH,
        span == ZERO,
        parent == WRONG_LENGTH,
        (spans.column("start_time") < 0) | (spans.column("end_time") < 0),
    ]
    numbers = [np.int8(number) for number in range(1, len(REASONS))]
    return np.select(checks, numbers, np.int8(0))


def _refusals(walked: Walked, faults: NDArray[np.int8]) -> tuple[Refusal, ...]:
    """The messages that the walk refused, and of others how many spans for which reason."""
    bad = np.flatnonzero(faults)
    if not len(bad):
        return walked.refused
    spans = walked.rows("spans")
    scope_spans, resource_spans = walked.rows("scope_spans"), walked.rows("resource_spans")
    message = resource_spans.parents[scope_spans.parents[spans.parents[bad]]]
    kinds, first, counts = np.unique(
        message * len(REASONS) + faults[bad], return_index=True, return_counts=True
    )
    begins = spans.column("raw")[bad[first]] >> OFFSET_BITS
    offsets = begins - walked.bounds[message[first], 0]
    told = [
        Refusal(kind // len(REASONS), REASONS[kind % len(REASONS)], offset, count)
        for kind, offset, count in zip(
            kinds.tolist(), offsets.tolist(), counts.tolist(), strict=True
        )
    ]
    return tuple(sorted((*walked.refused, *told), key=lambda refusal: refusal.message))


def _id_columns(found: dict[str, Ids]) -> dict[str, pa.Array]:
    trace, span, parent = found["trace_id"], found["span_id"], found["parent_span_id"]
    return {
        "trace_id_high": pa.array(np.ascontiguousarray(trace.words[:, 0])),
        "trace_id_low": pa.array(np.ascontiguousarray(trace.words[:, 1])),
        "span_id": pa.array(span.words[:, 0]),
        "parent_span_id": pa.array(parent.words[:, 0], mask=parent.states != GOOD),
    }


def _own_columns(walked: Walked, spans: Rows) -> dict[str, pa.Array]:
    """Columns that are fields of the span itself."""
    start = np.ascontiguousarray(spans.column("start_time"))
    kind, status = spans.column("kind"), spans.column("status_code")
    states = spans.column("trace_state")
    threshold, known = thresholds(walked.buffer, states)
    return {
        "name": texts(walked.buffer, spans.column("name"), empty_is_null=False),
        "kind": numbers(np.where((kind >= 0) & (kind <= LAST_KIND), kind, 0), pa.uint8()),
        "start_time": times(start, start >= 0),
        "duration_ns": numbers(spans.column("end_time") - start, pa.int64()),
        "status_code": numbers(
            np.where((status >= 0) & (status <= LAST_STATUS), status, 0), pa.uint8()
        ),
        "status_message": texts(walked.buffer, spans.column("status_message")),
        "sampling_threshold": numbers(threshold, pa.uint64(), known),
        "trace_state": texts(walked.buffer, states),
    }


def _attribute_columns(
    walked: Walked, owners: int, by_proxy: NDArray[np.bool_]
) -> dict[str, pa.Array]:
    """Columns that are attributes of the span, and the rest of these."""
    found = _PROMOTION.find(walked.buffer, walked.rows("span_attributes"), owners)
    found.join("rpc_method", RPC_SERVICE)
    columns = {name: found.texts(name) for name in _TEXTS if name not in ("rpc_method", "consumer")}
    columns["rpc_method"] = found.texts("rpc_method", RPC_SERVICE)
    columns["consumer"] = by_rank(found.texts("consumer"), found.ranks("consumer"))
    columns.update((name, found.numbers(name, kind)) for name, kind in _NUMBERS.items())
    columns["is_proxy"] = pa.array(found.flags("is_proxy") | by_proxy)
    columns["attributes"] = found.rest()
    return columns


def _by_proxy(resources: Interned) -> NDArray[np.bool_]:
    """For each owner of a resource whether that is one that only proxies have."""
    proxies = [
        row["service_name"] == LINKERD_PROXY or row["system"] == KONG for row in resources.rows
    ]
    return np.array(proxies, np.bool_)[resources.index]


def _having(owners: Ints, resources: Interned) -> NDArray[np.bool_]:
    """Which of the owners of resources are among these."""
    having = np.zeros(len(resources.index), np.bool_)
    having[owners] = True
    return having


def _events(walked: Walked, owners: int) -> pa.Array:
    return _records(walked, "events", "event_attributes", _EVENT, owners)


def _links(walked: Walked, owners: int) -> pa.Array:
    return _records(walked, "links", "link_attributes", _LINK, owners)


def _records(
    walked: Walked, table: str, attributes: str, fields: tuple[Field, ...], owners: int
) -> pa.Array:
    rows = walked.rows(table)
    if not len(rows):
        return pa.nulls(owners, pa.string())
    told = ready_texts(objects(walked.buffer, walked.rows(attributes), len(rows)))
    return arrays(walked.buffer, rows, owners, fields, {"attributes": told})


GATE: Final = WireGate(OTLP_TRACES, ("spans",), refused)
"""What the door knows of traces."""
