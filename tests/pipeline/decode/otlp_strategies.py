"""Hypothesis strategies that make OTLP requests, odd ones included."""

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

I32 = st.integers(-(2**31), 2**31 - 1)
U32 = st.integers(0, 2**32 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
U64 = st.integers(0, 2**64 - 1)
DOUBLES = st.floats()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.sampled_from(
    ["service.name", "service.namespace", "k8s.cluster.name", "http.route", "a", "b", ""]
)
TIMES = st.one_of(
    st.just(0),
    st.integers(1_600_000_000_000_000_000, 1_900_000_000_000_000_000),
    st.integers(2**63 - 2, 2**63 + 2),
)
TRACE_IDS = st.one_of(st.just(b""), st.binary(min_size=16, max_size=16), st.binary(max_size=20))
SPAN_IDS = st.one_of(st.just(b""), st.binary(min_size=8, max_size=8), st.binary(max_size=9))

SCALARS = st.one_of(
    st.just(AnyValue()),
    TEXT.map(lambda value: AnyValue(string_value=value)),
    st.booleans().map(lambda value: AnyValue(bool_value=value)),
    I64.map(lambda value: AnyValue(int_value=value)),
    DOUBLES.map(lambda value: AnyValue(double_value=value)),
    st.binary(max_size=5).map(lambda value: AnyValue(bytes_value=value)),
)


def _nested(values):
    lists = st.lists(values, max_size=3)
    return lists.map(lambda items: AnyValue(array_value=ArrayValue(values=items))) | _pairs(
        values
    ).map(lambda items: AnyValue(kvlist_value=KeyValueList(values=items)))


def _pairs(values):
    return st.lists(st.builds(KeyValue, key=KEYS | TEXT, value=values), max_size=3)


ANY_VALUES = st.recursive(SCALARS, _nested, max_leaves=4)
ATTRIBUTES = _pairs(ANY_VALUES)
RESOURCES = st.none() | st.builds(Resource, attributes=ATTRIBUTES)
SCOPES = st.none() | st.builds(InstrumentationScope, name=TEXT, version=TEXT, attributes=ATTRIBUTES)


def _one_of(**values):
    """Keyword arguments for one alternative of a oneof, or for none."""
    chosen = [st.just({})]
    chosen += [value.map(lambda value, name=name: {name: value}) for name, value in values.items()]
    return st.one_of(chosen)


@st.composite
def _made(draw, message, *groups, **fields):
    """A message of drawn fields, and of drawn oneofs and optional fields."""
    arguments = {name: draw(value) for name, value in fields.items()}
    for group in groups:
        arguments |= draw(group)
    return message(**arguments)


NUMBERS = _one_of(as_double=DOUBLES, as_int=I64)
EXEMPLARS = st.lists(
    _made(
        Exemplar,
        NUMBERS,
        time_unix_nano=TIMES,
        trace_id=TRACE_IDS,
        span_id=SPAN_IDS,
        filtered_attributes=ATTRIBUTES,
    ),
    max_size=2,
)
POINT = {
    "time_unix_nano": TIMES,
    "start_time_unix_nano": TIMES,
    "flags": st.sampled_from([0, 1, 2**32 - 1]),
    "attributes": ATTRIBUTES,
}
STATISTICS = tuple(_one_of(**{name: DOUBLES}) for name in ("sum", "min", "max"))
BUCKETS = st.none() | st.builds(
    ExponentialHistogramDataPoint.Buckets,
    offset=I32,
    bucket_counts=st.lists(U64, max_size=4),
)
NUMBER_POINTS = st.lists(_made(NumberDataPoint, NUMBERS, exemplars=EXEMPLARS, **POINT), max_size=3)
HISTOGRAM_POINTS = st.lists(
    _made(
        HistogramDataPoint,
        *STATISTICS,
        count=U64,
        explicit_bounds=st.lists(DOUBLES, max_size=4),
        bucket_counts=st.lists(U64, max_size=5),
        exemplars=EXEMPLARS,
        **POINT,
    ),
    max_size=3,
)
EXPONENTIAL_POINTS = st.lists(
    _made(
        ExponentialHistogramDataPoint,
        *STATISTICS,
        count=U64,
        scale=I32,
        zero_count=U64,
        zero_threshold=DOUBLES,
        positive=BUCKETS,
        negative=BUCKETS,
        exemplars=EXEMPLARS,
        **POINT,
    ),
    max_size=3,
)
SUMMARY_POINTS = st.lists(
    st.builds(
        SummaryDataPoint,
        count=U64,
        sum=DOUBLES,
        quantile_values=st.lists(
            st.builds(SummaryDataPoint.ValueAtQuantile, quantile=DOUBLES, value=DOUBLES),
            max_size=3,
        ),
        **POINT,
    ),
    max_size=3,
)
TEMPORALITY = st.sampled_from([0, 1, 2, 3, 77, 258, -1])
METRICS = _made(
    Metric,
    _one_of(
        gauge=st.builds(Gauge, data_points=NUMBER_POINTS),
        sum=st.builds(
            Sum,
            data_points=NUMBER_POINTS,
            aggregation_temporality=TEMPORALITY,
            is_monotonic=st.booleans(),
        ),
        histogram=st.builds(
            Histogram, data_points=HISTOGRAM_POINTS, aggregation_temporality=TEMPORALITY
        ),
        exponential_histogram=st.builds(
            ExponentialHistogram,
            data_points=EXPONENTIAL_POINTS,
            aggregation_temporality=TEMPORALITY,
        ),
        summary=st.builds(Summary, data_points=SUMMARY_POINTS),
    ),
    name=TEXT,
    description=TEXT,
    unit=TEXT,
    metadata=ATTRIBUTES,
)
METRIC_REQUESTS = st.builds(
    ExportMetricsServiceRequest,
    resource_metrics=st.lists(
        st.builds(
            ResourceMetrics,
            resource=RESOURCES,
            schema_url=TEXT,
            scope_metrics=st.lists(
                st.builds(ScopeMetrics, scope=SCOPES, metrics=st.lists(METRICS, max_size=3)),
                max_size=2,
            ),
        ),
        max_size=2,
    ),
)

LOG_RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    observed_time_unix_nano=TIMES,
    severity_number=st.sampled_from([0, 1, 9, 24, 25, 256, -1]),
    severity_text=TEXT,
    body=st.none() | ANY_VALUES,
    attributes=ATTRIBUTES,
    dropped_attributes_count=U32,
    flags=U32,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    event_name=TEXT,
)
LOG_REQUESTS = st.builds(
    ExportLogsServiceRequest,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            resource=RESOURCES,
            scope_logs=st.lists(
                st.builds(ScopeLogs, scope=SCOPES, log_records=st.lists(LOG_RECORDS, max_size=3)),
                max_size=2,
            ),
        ),
        max_size=2,
    ),
)
