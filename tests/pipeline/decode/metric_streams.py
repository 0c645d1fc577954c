"""CloudWatch metric streams for tests, in each of the three formats that they are written in."""

from collections.abc import Callable, Mapping

import orjson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import SummaryDataPoint

MINUTE = 1_764_172_800_000_000_000
"""When the minute began that all points are of, Unix nanoseconds."""

RESOURCE = {
    "cloud.provider": "aws",
    "cloud.account.id": "123456789012",
    "cloud.region": "eu-west-1",
    "aws.exporter.arn": "arn:aws:cloudwatch:eu-west-1:123456789012:metric-stream/apigw",
}


def ten(point: SummaryDataPoint) -> None:
    """Ten requests."""
    point.count, point.sum = 10, 10.0
    point.quantile_values.add(quantile=0.0, value=1.0)
    point.quantile_values.add(quantile=1.0, value=1.0)


def otlp(
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    fill: Callable[[SummaryDataPoint], None] = ten,
    *,
    unit: str = "{Count}",
) -> ExportMetricsServiceRequest:
    """One point as a stream in ``opentelemetry1.0`` writes it."""
    request, point = _request(namespace, metric, unit)
    point.attributes.add(key="Namespace").value.string_value = namespace
    point.attributes.add(key="MetricName").value.string_value = metric
    holder = point.attributes.add(key="Dimensions").value.kvlist_value
    holder.SetInParent()
    for name, value in dimensions.items():
        holder.values.add(key=name).value.string_value = value
    fill(point)
    return request


def otlp_07(
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    fill: Callable[[SummaryDataPoint], None] = ten,
    *,
    unit: str = "{Count}",
) -> bytes:
    """The same point as a stream in ``opentelemetry0.7`` writes it.

    0.7's ``DoubleSummaryDataPoint`` has ``repeated StringKeyValue labels = 1``; all else that a
    metric stream writes has the numbers and types that it has in 1.0.
    """
    request, point = _request(namespace, metric, unit)
    fill(point)
    labels = {"Namespace": namespace, "MetricName": metric, **dimensions}
    point.MergeFromString(b"".join(_field(1, _label(*one)) for one in labels.items()))
    return request.SerializeToString()


def record_of(
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    *,
    value: Mapping[str, float] | None = None,
    unit: str = "Count",
) -> bytes:
    """The same point as a stream in ``json`` writes it."""
    return orjson.dumps(
        {
            "metric_stream_name": "apigw",
            "account_id": RESOURCE["cloud.account.id"],
            "region": RESOURCE["cloud.region"],
            "namespace": namespace,
            "metric_name": metric,
            "dimensions": dimensions,
            "timestamp": MINUTE // 10**6,
            "value": value or {"count": 10.0, "sum": 10.0, "min": 1.0, "max": 1.0},
            "unit": unit,
        }
    )


def framed(*requests: bytes) -> bytes:
    """A record: each request behind its length as a varint."""
    return b"".join(_varint(len(request)) + request for request in requests)


def _request(
    namespace: str, metric: str, unit: str
) -> tuple[ExportMetricsServiceRequest, SummaryDataPoint]:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    for key, value in RESOURCE.items():
        group.resource.attributes.add(key=key).value.string_value = value
    told = group.scope_metrics.add().metrics.add(
        name=f"amazonaws.com/{namespace}/{metric}", unit=unit
    )
    point = told.summary.data_points.add(
        start_time_unix_nano=MINUTE, time_unix_nano=MINUTE + 60 * 10**9
    )
    return request, point


def _label(key: str, value: str) -> bytes:
    return _field(1, key.encode()) + _field(2, value.encode())


def _field(number: int, payload: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    told = bytearray()
    while value > 127:
        told.append(value & 127 | 128)
        value >>= 7
    told.append(value)
    return bytes(told)
