"""Messages of every format with secrets in each field that is named or looks like one.

Each secret is a token of its own, so that one that is found tells where it was planted. Beside the
secrets a marker that is none stands in each message, which must be found: else nothing was looked
through.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.model.scrape import Scrape
from pipeline.model.secret_keys import SECRET_KEYS, URL_HEADERS, URL_KEYS
from pipeline.model.topics import LINE_FORMATS
from tests.pipeline.decode.remote_messages import Told, request, request_2
from tests.pipeline.decode.test_gateway_secrets import NAMED, leaves, planted
from tests.pipeline.decode.wire_writer import tagged, varint
from tests.zipkin_pb import list_of

GOLDEN: Final = Path(__file__).parents[1] / "pipeline/decode/golden"
PREFIX: Final = "zQ7xPlant"
"""How every secret begins; no other text holds it."""
MARKER: Final = "mArkerOfNoSecret"
TIME: Final = 1_764_172_800_000_000_000

KEYS: Final = (*SECRET_KEYS, "user.email", "user.name", "enduser.id", "client.address")
"""Attributes that are secret, and such as tell who a person is."""
GATEWAYS: Final = ("kong_json", "aws_apigateway", "apigee")
PERSON: Final = "{}@example.com"
"""Hidden wherever it stands in a gateway's record."""

SHAPES: Final = (
    "Bearer {}", "Basic {}==", "/cb?access_token={}&a=1", "https://user:{}@host/x", "password={}",
    "eyJhbGciOiJIUzI1NiJ9.{}.c2ln", "a=1&client_secret={}#sig={}", '{{"password":"{}"}}',
)  # fmt: skip
"""What secrets look like where no name tells them."""


@dataclass
class Planter:
    """Makes secrets and remembers where each was put."""

    where: dict[str, str] = field(default_factory=dict)

    def secret(self, where: str) -> str:
        """A new secret for this place."""
        token = f"{PREFIX}{len(self.where):06d}"
        self.where[token] = where
        return token

    def shaped(self, shape: str, where: str) -> str:
        """A new secret in one of ``SHAPES``."""
        return shape.replace("{}", self.secret(where)).replace("{{", "{").replace("}}", "}")


def otlp_traces(planter: Planter) -> Iterator[bytes]:
    """Secrets in the attributes of resource, scope, span, event and link, of good and bad spans."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    attributes(group.resource.attributes, planter, "resource of spans")
    group.resource.attributes.add(key="service.name").value.string_value = MARKER
    scope = group.scope_spans.add()
    attributes(scope.scope.attributes, planter, "scope of spans")
    for number, trace_id in enumerate((b"t" * 16, b"short")):
        span = scope.spans.add(trace_id=trace_id, span_id=bytes((*b"secrets", number + 1)), kind=2)
        span.start_time_unix_nano, span.end_time_unix_nano = TIME, TIME + 10**6
        attributes(span.attributes, planter, "span")
        attributes(span.events.add(name="event").attributes, planter, "event")
        link = span.links.add(trace_id=b"t" * 16, span_id=b"12345678")
        attributes(link.attributes, planter, "link")
    yield request.SerializeToString()


def otlp_metrics(planter: Planter) -> Iterator[bytes]:
    """Secrets in the attributes of points and exemplars of every kind of metric."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    attributes(group.resource.attributes, planter, "resource of metrics")
    metrics = group.scope_metrics.add().metrics
    gauge = metrics.add(name=MARKER).gauge.data_points.add(as_double=1, time_unix_nano=TIME)
    histogram = metrics.add(name="h").histogram.data_points.add(time_unix_nano=TIME)
    buckets = metrics.add(name="e").exponential_histogram.data_points.add(time_unix_nano=TIME)
    summary = metrics.add(name="s").summary.data_points.add(time_unix_nano=TIME)
    for point in (gauge, histogram, buckets, summary):
        attributes(point.attributes, planter, "point")
    for point in (gauge, histogram, buckets):
        exemplar = point.exemplars.add(as_double=1, time_unix_nano=TIME)
        attributes(exemplar.filtered_attributes, planter, "exemplar")
    yield request.SerializeToString()


def otlp_logs(planter: Planter) -> Iterator[bytes]:
    """Secrets in attributes and structured bodies of log records."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    attributes(group.resource.attributes, planter, "resource of logs")
    records = group.scope_logs.add().log_records
    one = records.add(time_unix_nano=TIME, severity_text=MARKER)
    attributes(one.attributes, planter, "log record")
    attributes(one.body.kvlist_value.values, planter, "body of a log record")
    yield request.SerializeToString()


def attributes(into: Any, planter: Planter, where: str) -> None:
    """Every secret key, as text, as bytes, and around and inside of structures."""
    for key in KEYS:
        told = f"{where}: {key}"
        into.add(key=key).value.string_value = planter.secret(told)
        into.add(key=key.upper()).value.bytes_value = planter.secret(told).encode()
        inner = into.add(key=key).value.array_value.values.add().kvlist_value.values.add(key="any")
        inner.value.string_value = planter.secret(f"{told}, inside")
        outer = into.add(key="outer").value.kvlist_value.values.add(key=key)
        outer.value.string_value = planter.secret(f"{told}, deep inside")
    for key, url in urls(planter, where).items():
        into.add(key=key).value.string_value = url


def urls(planter: Planter, where: str) -> dict[str, str]:
    """Attributes that hold a URL, each with a secret in it."""
    forms = (
        "https://shop/a?access_token={}&b=1",
        "https://user:{}@shop/a",
        "key={}&a=b",
        "/a?sig={}",
    )
    return {
        key: forms[number % len(forms)].format(planter.secret(f"{where}: {key}"))
        for number, key in enumerate(URL_KEYS)
    }


def envoy_als(planter: Planter) -> Iterator[bytes]:
    """Secrets in headers, trailers and tags of HTTP entries."""
    message = StreamAccessLogsMessage()
    message.identifier.node.id = f"sidecar~10.0.0.1~{MARKER}.shop~shop.svc.cluster.local"
    entry = message.http_logs.log_entry.add()
    entry.common_properties.start_time.seconds = TIME // 10**9
    entry.response.response_code.value = 200
    maps = {
        "request header": entry.request.request_headers,
        "response header": entry.response.response_headers,
        "response trailer": entry.response.response_trailers,
        "custom tag": entry.common_properties.custom_tags,
    }
    for what, headers in maps.items():
        for key in SECRET_KEYS:
            headers[key] = planter.secret(f"{what} {key}")
    entry.request.path = f"/orders?access_token={planter.secret('query of the path')}"
    entry.request.original_path = f"/o?token={planter.secret('query of the original path')}"
    entry.request.referer = f"https://h/?code={planter.secret('query of the referer')}"
    for header in URL_HEADERS:
        entry.request.request_headers[header] = f"/?key={planter.secret(f'query of {header}')}&a=b"
    yield message.SerializeToString()


def jaeger_json(planter: Planter) -> Iterator[bytes]:
    """Secrets in tags of spans, processes and logs."""

    def tags(where: str) -> list[dict[str, object]]:
        return [
            {"key": key, "type": "string", "value": planter.secret(f"{where}: {key}")}
            for key in KEYS
        ] + [
            {"key": key, "type": "string", "value": url}
            for key, url in urls(planter, where).items()
        ]

    good = {
        "traceID": "abc1", "spanID": "1", "operationName": MARKER, "startTime": TIME // 1000,
        "duration": 5, "processID": "p1", "tags": tags("tag"),
        "logs": [{"timestamp": TIME // 1000, "fields": tags("field of a log")}],
    }  # fmt: skip
    bad = {**good, "spanID": "no id", "tags": tags("tag of a bad span")}
    processes = {"p1": {"serviceName": "jaeger-planted", "tags": tags("tag of a process")}}
    trace = {"traceID": "abc1", "spans": [good, bad], "processes": processes}
    yield orjson.dumps({"data": [trace]})


def zipkin_json(planter: Planter) -> Iterator[bytes]:
    """Secrets in tags, of a good and of a bad span."""
    spans = [
        {
            "traceId": "abc2", "id": number, "timestamp": TIME // 1000, "name": MARKER,
            "tags": {key: planter.secret(f"tag {key}") for key in KEYS} | urls(planter, "tag"),
            "localEndpoint": {"serviceName": "planted"},
        }
        for number in ("2", "123456789012345678")
    ]  # fmt: skip
    yield orjson.dumps(spans)


def zipkin_proto(planter: Planter) -> Iterator[bytes]:
    """The same as protobuf."""
    for document in zipkin_json(planter):
        yield list_of(orjson.loads(document)).SerializeToString()


def exposition(planter: Planter, end: str = "") -> Iterator[bytes]:
    """Secrets in labels, as values of labels, in exemplars and comments, and on a bad line."""
    scrape = Scrape(TIME // 10**6, 0.1, up=True, resource={"service.name": MARKER})
    told = ["# TYPE planted counter"]
    for number, key in enumerate(key for key in SECRET_KEYS if key != "client_id"):
        label = re.sub("[^a-z0-9]", "_", key)
        told.append(f'planted_total{{n="{number}",{label}="{planter.secret(f"label {label}")}"}} 1')
    for number, shape in enumerate(SHAPES):
        value = planter.shaped(shape, f"value of a label as {shape}").replace('"', '\\"')
        told.append(f'planted_total{{shape="{number}",path="{value}"}} 1')
        told.append(f"# HELP planted_total {planter.shaped(shape, f'comment as {shape}')}")
    bad = f'planted_total{{password="{planter.secret("label of a bad line")}"}} many'
    yield (
        scrape.line() + "\n".join([*told, *([] if end else [bad])]).encode() + b"\n" + end.encode()
    )


def remote_write(
    planter: Planter, message: Callable[[list[Told]], Any] = request
) -> Iterator[bytes]:
    """Secrets in labels of series and exemplars."""
    keys = [re.sub("[^a-z0-9]", "_", key) for key in SECRET_KEYS if key != "client_id"]
    names = {"__name__": "planted", "job": MARKER}
    labels = names | {key: planter.secret(f"label {key}") for key in keys}
    exemplar = {key: planter.secret(f"label {key} of an exemplar") for key in keys}
    at = TIME // 10**6
    yield message([Told(labels, [(1.0, at)], [(exemplar, 1.0, at)])]).SerializeToString()


def envoy_metrics(planter: Planter) -> Iterator[bytes]:
    """Secrets in labels of Envoy's statistics; the message by its field numbers."""
    labels = b"".join(
        tagged(1, 2, tagged(1, 2, key.encode()) + tagged(2, 2, planter.secret(key).encode()))
        for key in SECRET_KEYS
        if key != "client_id"
    )
    counter = tagged(3, 2, tagged(1, 1, struct.pack("<d", 1.0)))
    metric = labels + counter + tagged(6, 0, varint(TIME // 10**6))
    family = tagged(1, 2, b"cluster.upstream_rq_total") + tagged(4, 2, metric)
    yield tagged(1, 2, tagged(1, 2, tagged(1, 2, MARKER.encode()))) + tagged(2, 2, family)


def lines(planter: Planter, name: str) -> Iterator[bytes]:
    """Secrets in the place of each field of golden lines, and under the names of secrets."""
    (path,) = GOLDEN.glob(f"{name}.in.*")
    found = path.read_bytes().splitlines()
    yield b"\n".join(
        planted_line
        for line in found[:3]
        for planted_line in (_json_lines if line[:1] == b"{" else _text_lines)(planter, name, line)
    )


def _text_lines(planter: Planter, name: str, line: bytes) -> Iterator[bytes]:
    words = line.decode("utf-8", "replace").split(" ")
    for at in range(len(words)):
        for shape in SHAPES:
            secret = planter.shaped(shape, f"{name}: word {at} as {shape}")
            yield " ".join([*words[:at], secret, *words[at + 1 :]]).encode()
    # the marker in the place of a word that all lines have: the last
    yield " ".join([*words[:-1], f'"{MARKER}"']).encode()


def _json_lines(planter: Planter, name: str, line: bytes) -> Iterator[bytes]:
    whole = orjson.loads(line)
    shapes = (*SHAPES, PERSON) if name in GATEWAYS else SHAPES
    for path in leaves(whole):
        for shape in shapes:
            secret = planter.shaped(shape, f"{name}: {path} as {shape}")
            yield orjson.dumps(planted(whole, path, secret))
    for path in (*NAMED.get(name, ()), *((key,) for key in SECRET_KEYS)):
        where = f"{name}: {path}"
        yield orjson.dumps(planted(whole, path, planter.secret(where)))
        yield orjson.dumps(planted(whole, path, [planter.secret(where)]))
        yield orjson.dumps(planted(whole, path, {"any": planter.secret(where)}))
    yield orjson.dumps({**whole, "marker": MARKER})


PLANTED: Final[Mapping[str, Callable[[Planter], Iterator[bytes]]]] = {
    "otlp_traces": otlp_traces,
    "otlp_metrics": otlp_metrics,
    "otlp_logs": otlp_logs,
    "envoy_als": envoy_als,
    "jaeger_json": jaeger_json,
    "zipkin_json": zipkin_json,
    "zipkin_proto": zipkin_proto,
    "envoy_metrics": envoy_metrics,
    "remote_write": remote_write,
    "remote_write_2": partial(remote_write, message=request_2),
    "prometheus_text": exposition,
    "openmetrics_text": partial(exposition, end="# EOF\n"),
    **{name: partial(lines, name=name) for name in LINE_FORMATS},
}
"""Of each format the messages with secrets in them."""
