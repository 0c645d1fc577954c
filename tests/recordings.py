"""Recordings of real systems that lie beside the repository, and their way into OTLP.

Nothing of them is part of the repository; a test that needs one asks with ``shared`` and is skipped
where they are missing. ``MESHWEIR_SHARED`` names another place.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

SHARED: Final = Path(
    os.environ.get("MESHWEIR_SHARED", Path(__file__).resolve().parents[1].parent / "shared")
)

NEZHA: Final = "data/nezha-onlineboutique"
NEZHA_NORMAL: Final = "traces_normal_2022-08-23.parquet"
NEZHA_FILES: Final = (
    NEZHA_NORMAL,
    "traces_fault_2022-08-22.parquet",
    "traces_fault_2022-08-23.parquet",
)
NEZHA_NAMESPACE: Final = "hipster"

TRACEWEAVER: Final = "data/traceweaver-jaeger"
TRACEWEAVER_EDGES: Final = {"hotel": 5, "media": 13, "node": 5}
"""How many service edges each application of TraceWeaver truly has."""

_NEZHA_COLUMNS: Final = [
    "TraceID", "SpanID", "ParentID", "PodName", "Service", "OperationName",
    "StartTimeUnixNano", "EndTimeUnixNano",
]  # fmt: skip


def shared(path: str) -> Path:
    """A file or folder beside the repository; skips the test where it is missing."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"{found} is not here")
    return found


def traceweaver(app: str) -> list[Path]:
    """The recordings of one application (hotel, media or node), at two loads."""
    return sorted(shared(TRACEWEAVER).glob(f"{app}_*.jaeger.jsonl.gz"))


def nezha_requests(
    files: Sequence[str] = NEZHA_FILES, *, rows: int = 5000, limit: int | None = None
) -> Iterator[bytes]:
    """The spans of Nezha's parquet files as OTLP trace requests of ``rows`` spans each.

    Row for row, with the duplicates that the recording has. There is no kind, no status and no
    attribute to give; a pod is a resource. ``limit`` ends it after so many rows.
    """
    left = limit
    for name in files:
        table = pq.ParquetFile(shared(f"{NEZHA}/{name}"))
        for batch in table.iter_batches(batch_size=rows, columns=_NEZHA_COLUMNS):
            part = batch if left is None else batch.slice(0, left)
            if part.num_rows:
                yield _request(part.to_pydict())
            if left is not None:
                left -= part.num_rows
                if left <= 0:
                    return


def _request(columns: dict[str, list[str | int | None]]) -> bytes:
    request = ExportTraceServiceRequest()
    pods: dict[object, ScopeSpans] = {}
    for trace, span, parent, pod, service, name, start, end in zip(
        *(columns[column] for column in _NEZHA_COLUMNS), strict=True
    ):
        if pod not in pods:
            pods[pod] = _pod(request, str(service), str(pod))
        pods[pod].spans.add(
            trace_id=bytes.fromhex(str(trace)),
            span_id=bytes.fromhex(str(span)),
            parent_span_id=bytes.fromhex(str(parent)) if parent else b"",
            name=str(name),
            start_time_unix_nano=int(start or 0),
            end_time_unix_nano=int(end or 0),
        )
    return request.SerializeToString()


def _pod(request: ExportTraceServiceRequest, service: str, pod: str) -> ScopeSpans:
    holder = request.resource_spans.add()
    for key, value in (
        ("service.name", service),
        ("k8s.namespace.name", NEZHA_NAMESPACE),
        ("k8s.pod.name", pod),
    ):
        holder.resource.attributes.add(key=key).value.string_value = value
    return holder.scope_spans.add()
