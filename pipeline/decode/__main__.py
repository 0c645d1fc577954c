"""``python -m pipeline.decode``: have all kernels compiled, so that the first sender need not wait.

Compiled kernels are kept beside the source, or in the user's cache directory where that cannot be
written to; ``NUMBA_CACHE_DIR`` says otherwise.
"""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.lines.container_lines import bare, opened, whole_until
from pipeline.decode.privacy.persons import Persons
from pipeline.decode.wire.intern import field_1
from pipeline.model.topics import (
    ENVOY_ALS_FORMAT,
    ENVOY_METRICS_FORMAT,
    OTLP_LOGS_FORMAT,
    OTLP_METRICS_FORMAT,
    OTLP_TRACES_FORMAT,
    PROMETHEUS_TEXT_FORMAT,
    REMOTE_WRITE_2_FORMAT,
    REMOTE_WRITE_FORMAT,
)

_TIME: Final = 1_000_000_000
_TRACE_ID, _SPAN_ID = bytes(range(16)), bytes(range(8))
_ATTRIBUTES: Final = (
    KeyValue(key="http.route", value=AnyValue(string_value="/")),
    KeyValue(key="server.port", value=AnyValue(int_value=80)),
    KeyValue(key="ratio", value=AnyValue(double_value=0.5)),
)


def _traces() -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(_ATTRIBUTES)
    span = group.scope_spans.add().spans.add(
        trace_id=_TRACE_ID, span_id=_SPAN_ID, trace_state="ot=th:8", attributes=_ATTRIBUTES
    )
    span.events.add(name="event", attributes=_ATTRIBUTES)
    span.links.add(trace_id=_TRACE_ID, span_id=_SPAN_ID)
    return request.SerializeToString()


def _metrics() -> bytes:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    number = metrics.add(name="gauge").gauge.data_points.add(as_double=1, attributes=_ATTRIBUTES)
    number.exemplars.add(as_double=1, trace_id=_TRACE_ID, filtered_attributes=_ATTRIBUTES)
    metrics.add(name="histogram").histogram.data_points.add(
        time_unix_nano=_TIME, bucket_counts=[1, 2], explicit_bounds=[1]
    )
    buckets = metrics.add(name="exponential").exponential_histogram.data_points.add()
    buckets.positive.bucket_counts.append(1)
    metrics.add(name="summary").summary.data_points.add().quantile_values.add(quantile=0.5, value=1)
    return request.SerializeToString()


def _logs() -> bytes:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    record = records.add(time_unix_nano=_TIME, attributes=_ATTRIBUTES, trace_id=_TRACE_ID)
    record.body.kvlist_value.values.extend(_ATTRIBUTES)
    return request.SerializeToString()


def _access_logs() -> bytes:
    entries = field_1(b"")  # one HTTP entry that tells nothing
    return b"\x12" + field_1(entries)[1:]


def _envoy_metrics() -> bytes:
    labels = field_1(field_1(b"a") + b"\x12\x01b")
    histogram = b"\x3a\x06\x08\x01\x1a\x02\x08\x01"  # one bucket, with one measurement
    family = field_1(b"a") + b"\x18\x04\x22" + field_1(labels + histogram)[1:]
    return b"\x12" + field_1(family)[1:]


def _remote_write() -> bytes:
    label = field_1(b"__name__") + b"\x12\x01a"
    sample = b"\x12\x02\x10\x01"
    histogram = b"\x22\x0b\x08\x01\x5a\x02\x10\x01\x62\x01\x02\x78\x01"
    return field_1(field_1(label) + sample + histogram)


def _remote_write_2() -> bytes:
    symbols = b'"\x08__name__"\x01a'
    return symbols + b"*" + field_1(b"\x0a\x02\x00\x01\x12\x02\x10\x01")[1:]


_LINES: Final = {
    "envoy_text": b'[2020-11-25T21:26:18Z] "GET /a?b HTTP/1.1" 200 - 0 1 2 3 "-" "c" "d" "e" "f"',
    "envoy_json": b'{"start_time":"2020-11-25T21:26:18Z","response_code":1,"path":"/"}\n{"a":1.5}',
    "linkerd_apache": b'10.0.0.1:2 - - [2020-11-25T21:26:18Z] "GET http://a/ HTTP/2.0" 200 1',
    "ztunnel": b'2020-11-25T21:26:18Z info access connection complete bytes_sent=1 duration="1ms"',
    "kong_json": b'{"started_at":1764172800123,"request":{"method":"GET","uri":"\\/"}}',
    "combined": b'10.0.0.1 - a [25/Nov/2020:21:26:18 +0000] "GET / HTTP/1.1" 200 1 "/b?c" "d"',
}
"""Lines that take a decoder through its kernels; other formats of lines need no others."""

_WRAPPED: Final = (
    b'{"log":"\\"b\\n","stream":"stdout","time":"2020-11-25T21:26:18Z"}\n'
    b"2020-11-25T21:26:18Z stderr P a\n2020-11-25T21:26:18Z stderr F b\n"
)
"""Lines as container runtimes keep them."""

_EXPOSITION: Final = (
    b'# TYPE a counter\na_total{code="200"} 1 # {trace_id="1",b="c"} 0.5 1\n'
    b'h_bucket{le="1",a="b\\n"} 1\nh_bucket{le="+Inf",a="b\\n"} 2\nh_sum 1.5e300 5\nh_count 2 5\n'
)

SAMPLES: Final[Mapping[str, Callable[[], bytes]]] = {
    OTLP_TRACES_FORMAT: _traces,
    OTLP_METRICS_FORMAT: _metrics,
    OTLP_LOGS_FORMAT: _logs,
    ENVOY_ALS_FORMAT: _access_logs,
    ENVOY_METRICS_FORMAT: _envoy_metrics,
    **{name: partial(bytes, line) for name, line in _LINES.items()},
    PROMETHEUS_TEXT_FORMAT: partial(bytes, _EXPOSITION),
    REMOTE_WRITE_FORMAT: _remote_write,
    REMOTE_WRITE_2_FORMAT: _remote_write_2,
}
"""For each format a small message that takes its decoder through all kernels."""


def main() -> None:
    """Decode one small message of every format."""
    begin = time.perf_counter()
    masked = MaskedKeys(persons=Persons(b"any"))
    for name, sample in SAMPLES.items():
        body = sample()
        DECODERS[name]([body, body])
        admit(name, body, masked)
    bare(opened(_WRAPPED[: whole_until(_WRAPPED)]).text)
    took = time.perf_counter() - begin
    sys.stdout.write(f"decoders of {', '.join(SAMPLES)} are compiled ({took:.1f} s)\n")


if __name__ == "__main__":
    main()
