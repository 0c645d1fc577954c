"""Messages of Envoy's metrics service as a class of the official library, from field numbers."""

from collections.abc import Mapping
from typing import Any, Final

from envoy.config.core.v3.base_pb2 import Node

from tests.pipeline.decode.remote_messages import classes

_MESSAGES: Final = {
    "StreamMetricsMessage": ("identifier Identifier 1", "*envoy_metrics MetricFamily 2"),
    "Identifier": ("node bytes 1",),
    "MetricFamily": (
        "name string 1", "help string 2", "type int32 3", "*metric Metric 4", "unit string 5",
    ),
    "Metric": (
        "*label LabelPair 1", "gauge Value 2", "counter Value 3", "summary Summary 4",
        "untyped Value 5", "timestamp_ms int64 6", "histogram Histogram 7",
    ),
    "LabelPair": ("name string 1", "value string 2"),
    "Value": ("value double 1",),
    "Summary": ("sample_count uint64 1", "sample_sum double 2", "*quantile Quantile 3"),
    "Quantile": ("quantile double 1", "value double 2"),
    "Histogram": ("sample_count uint64 1", "sample_sum double 2", "*bucket Bucket 3"),
    "Bucket": ("cumulative_count uint64 1", "upper_bound double 2"),
}  # fmt: skip

StreamMetricsMessage: Final[Any] = classes("envoy.test", _MESSAGES)["StreamMetricsMessage"]

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM = range(5)
AT: Final = 1_764_000_000_123


def node(**metadata: object) -> bytes:
    """A node as Istio's sidecars have it."""
    told = Node(id="sidecar~10.0.0.7~cart-7d9f.shop~shop.svc.cluster.local", cluster="cart.shop")
    told.metadata.update({"WORKLOAD_NAME": "cart", "NAMESPACE": "shop", **metadata})
    return told.SerializeToString()


def add(message: Any, name: str, kind: int, labels: Mapping[str, str], **value: object) -> None:
    """Add a family with one metric."""
    family = message.envoy_metrics.add(name=name, type=kind)
    metric = family.metric.add(timestamp_ms=AT, **value)
    for key, text in labels.items():
        metric.label.add(name=key, value=text)


def message_of(*, identified: bool = True, **metadata: object) -> Any:
    """A message with one metric of each kind."""
    message = StreamMetricsMessage()
    if identified:
        message.identifier.node = node(**metadata)
    cluster = {"envoy.cluster_name": "outbound|80||redis.shop", "api_token": "geheim"}
    add(message, "cluster.upstream_rq_total", COUNTER, cluster, counter={"value": 12.0})
    add(message, "server.memory_heap_size", GAUGE, {}, gauge={"value": 7.5})
    quantiles = [{"quantile": 0.5, "value": 1.5}, {"quantile": 0.0, "value": 1.0}]
    told = {"sample_count": 4, "sample_sum": 9.0}
    add(message, "cluster.upstream_rq_time", SUMMARY, cluster,
        summary={**told, "quantile": quantiles})  # fmt: skip
    buckets = [{"upper_bound": 1.0, "cumulative_count": 1},
               {"upper_bound": 5.0, "cumulative_count": 3}]  # fmt: skip
    add(message, "cluster.upstream_rq_time", HISTOGRAM, cluster,
        histogram={**told, "bucket": buckets})  # fmt: skip
    return message
