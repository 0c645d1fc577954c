"""Expositions of real proxies and gateways, from the wire to the graph."""

import asyncio
from datetime import UTC, datetime

import orjson
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

from api.graph import GraphQuery, build
from api.times import Window
from pipeline.decode import cloudwatch_metrics, openmetrics_text, otlp_metrics, prometheus_text
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.scrape import Scrape
from pipeline.store import StoreSettings, open_store
from tests.recordings import shared

AT = 1_764_000_000
WINDOW = Window(datetime.fromtimestamp(AT - 60, UTC), datetime.fromtimestamp(AT + 120, UTC))
RESOURCE = {"service.name": "target", "service.instance.id": "10.0.0.1:15020"}


def scraped(body, second, **resource):
    head = Scrape((AT + second) * 1000, 0.01, up=True, resource=RESOURCE | resource)
    return head.line() + body


def edges_of(directory, decoder, *messages):
    """The graph's edges: client, server, requests, protocol."""
    store = open_store(directory, StoreSettings(threads=1))
    decoded = decoder.decode(messages)
    assert not decoded.refused
    store.write(decoded.batches, expected={}, positions={})
    asyncio.run(MinutesJob(store).settle())
    built = build(store, GraphQuery(WINDOW), now=datetime.fromtimestamp(AT + 3600, UTC))
    store.close()
    return {(e["client"], e["server"]): e for e in built.edges.to_dicts()}


def born(path, **resource):
    """A target that was read empty, and 15 s later shows what a recorded one did."""
    return scraped(b"", 0, **resource), scraped(shared(path).read_bytes(), 15, **resource)


def counted(edges):
    return {ends: edge["requests"] for ends, edge in edges.items()}


def test_a_recorded_sidecar_of_istio(tmp_path):
    edges = edges_of(
        tmp_path, prometheus_text, *born("samples/mesh/istio-sidecar-requests.prom.txt")
    )
    assert counted(edges) == {
        ("default/productpage", "default/details"): 1,
        ("default/details", "external:security.debian.org"): 4,
        ("default/details", "external:deb.debian.org"): 46,
    }
    assert edges["default/productpage", "default/details"]["mtls_ratio"] == 1
    assert edges["default/details", "external:deb.debian.org"]["client_error"] == 1


def test_a_recorded_sidecar_that_two_paths_tell_of_counts_once(tmp_path):
    pod = {"k8s.namespace.name": "default", "k8s.pod.name": "details-1", "k8s.pod.ip": "10.0.0.1"}
    path = "samples/mesh/istio-sidecar-requests.prom.txt"
    edges = edges_of(
        tmp_path, prometheus_text, *born(path, **pod), *born(path, **{"service.name": "istio-mesh"})
    )
    assert counted(edges) == {
        ("default/productpage", "default/details"): 1,
        ("default/details", "external:security.debian.org"): 4,
        ("default/details", "external:deb.debian.org"): 46,
    }
    assert {edge["paths_agreement"] for edge in edges.values()} == {1}


def test_a_recorded_ztunnel(tmp_path):
    edges = edges_of(
        tmp_path, openmetrics_text, *born("samples/mesh/istio-ztunnel-openmetrics.txt")
    )
    found = edges["default/productpage", "default/details"]
    assert (found["requests"], found["protocol"], found["mtls_ratio"]) == (831, "tcp", 1)
    assert {told["reporter"] for told in found["reporters"]} == {"client_proxy", "server_proxy"}


def test_a_recorded_proxy_of_linkerd(tmp_path):
    place = {"k8s.namespace.name": "shop", "k8s.deployment.name": "web"}
    edges = edges_of(
        tmp_path, prometheus_text, *born("samples/mesh/linkerd-proxy-metrics.prom.txt", **place)
    )
    # what came in was scrapes of the proxy itself
    assert counted(edges) == {("shop/web", "linkerd-opaque-ports-test/opaque-pod"): 1}


@pytest.mark.parametrize(
    ("path", "requests"),
    [
        ("samples/gateways/kong-prometheus-3.0.txt", 1),
        ("samples/gateways/kong-prometheus-pre3.0.txt", 2),
    ],
)
def test_recorded_gateways_of_kong(tmp_path, path, requests):
    edges = edges_of(tmp_path, prometheus_text, *born(path))
    assert counted(edges) == {
        ("clients", "target"): requests,
        ("target", "external:google"): requests,
    }


def test_a_metric_stream_of_cloudwatch(tmp_path):
    lines = [
        {
            "metric_stream_name": "s", "account_id": "1", "region": "eu-west-1",
            "namespace": "AWS/ApiGateway", "metric_name": name, "dimensions": dimensions,
            "timestamp": AT // 60 * 60_000, "unit": unit,
            "value": {"count": 30, "sum": total, "max": high, "min": low},
        }
        for dimensions in ({"ApiId": "a1"}, {"ApiId": "a1", "Stage": "prod"})
        for name, unit, total, low, high in (
            ("Count", "Count", 30, 1, 1), ("4xx", "Count", 3, 0, 1), ("5xx", "Count", 1, 0, 1),
            ("Latency", "Milliseconds", 900, 20, 80),
        )
    ]  # fmt: skip
    body = b"\n".join(orjson.dumps(line) for line in lines)
    (edge,) = edges_of(tmp_path, cloudwatch_metrics, body).values()
    assert (edge["client"], edge["server"], edge["requests"]) == ("clients", "prod/a1", 30)
    assert (edge["client_error"], edge["server_error"]) == (3, 1)
    # somewhere between the least and the greatest, and it says so
    assert edge["server_p50"] == pytest.approx(0.04, rel=0.05)
    assert edge["server_p50_resolution"] == pytest.approx(0.6, rel=0.05)


def test_counts_of_a_series_that_was_there_before_are_differences(tmp_path):
    def exposed(good, bad, second):
        return scraped(
            b"# TYPE envoy_cluster_upstream_rq_xx counter\n"
            b'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="cart"}'
            b" %d\n"
            b'envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="cart"}'
            b" %d\n" % (good, bad),
            second,
        )

    edges = edges_of(
        tmp_path, prometheus_text, exposed(100, 7, 0), exposed(140, 9, 15), exposed(3, 0, 30)
    )
    edge = edges["target", "external:cart"]
    assert (edge["requests"], edge["server_error"]) == (45, 2)
    assert edge["signal"] == "metrics"


def test_exponential_histograms_of_a_collector_tell_latency_as_finely_as_they_are(tmp_path):
    labels = {
        "reporter": "destination", "source_workload": "web", "source_workload_namespace": "shop",
        "source_canonical_service": "web", "destination_workload": "cart",
        "destination_workload_namespace": "shop", "destination_canonical_service": "cart",
        "request_protocol": "http", "response_code": "200",
    }  # fmt: skip
    attributes = [
        KeyValue(key=key, value=AnyValue(string_value=told)) for key, told in labels.items()
    ]
    start = AT * 1_000_000_000

    def sent(second, scale, offset, counts):
        at = start + second * 1_000_000_000
        moment = {"attributes": attributes, "start_time_unix_nano": start, "time_unix_nano": at}
        buckets = ExponentialHistogramDataPoint.Buckets(offset=offset, bucket_counts=counts)
        timed = ExponentialHistogramDataPoint(
            count=sum(counts), sum=0.0, scale=scale, positive=buckets, **moment
        )
        counted = NumberDataPoint(as_int=sum(counts), **moment)
        sums = {"aggregation_temporality": 2, "is_monotonic": True}
        metrics = [
            Metric(name="istio_requests_total", sum=Sum(data_points=[counted], **sums)),
            Metric(
                name="istio_request_duration_milliseconds",
                exponential_histogram=ExponentialHistogram(
                    data_points=[timed], aggregation_temporality=2
                ),
            ),
        ]
        resource = ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])
        return ExportMetricsServiceRequest(resource_metrics=[resource]).SerializeToString()

    # of scale 6 around 64 ms, then of scale 5, which the bucket of 63.3 to 64.7 ms lies in, too
    edges = edges_of(tmp_path, otlp_metrics, sent(15, 6, 383, [20, 20]), sent(30, 5, 191, [40, 60]))
    (edge,) = edges.values()
    assert (edge["client"], edge["server"], edge["requests"]) == ("shop/web", "shop/cart", 100)
    # half of all took less than 64 ms or little more
    assert edge["server_p50"] == pytest.approx(0.064, rel=0.011)
    assert edge["server_p50_resolution"] == pytest.approx(0.0108, rel=0.01)
