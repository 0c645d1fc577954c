"""What the pages of gateways say to configure is what the decoders read."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import yaml

from collectors.receive.apigee_http import APIGEE_HTTP
from collectors.receive.kong_http_log import KONG_HTTP_LOG
from collectors.signals import TRACES
from pipeline.decode.apigee import LINES as APIGEE, decode as decode_apigee
from pipeline.decode.aws_apigateway import LINES as AWS, decode as decode_aws
from tests.pipeline.decode.gateway_rows import one

SYSTEMS = Path(__file__).parents[1] / "docs/systems"
START = 1_764_172_800_123
VALUES = {
    "requestTimeEpoch": START,
    "client.received.start.timestamp": START,
    "client.sent.end.timestamp": START + 100,
    "target.sent.start.timestamp": START + 10,
    "target.received.end.timestamp": START + 90,
    "requestId": "r-1",
    "extendedRequestId": "r-2",
    "messageid": "m-1",
    "request.header.x-request-id": "x-1",
    "request.header.traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "xrayTraceId": "1-58406520-a006649127e371903a2de979",
    "responseLatency": 100,
    "integration.latency": 80,
    "apiproduct.operation.resource": "/{id}",
    "proxy.basepath": "/orders",
    "target.host": "orders.shop.svc",
}


def block(page: str, language: str) -> str:
    text = (SYSTEMS / f"{page}.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def filled(template: str, variable: str, default: str = "200") -> Any:
    """The template as the gateway fills it in; every value is text."""
    return orjson.loads(
        re.sub(variable, lambda found: str(VALUES.get(found[1], default)), template)
    )


def test_the_log_format_of_aws():
    template = block("aws-api-gateway", "json")
    assert len(template) < 3072
    assert template.count("\n") == 1
    line = orjson.dumps(filled(template, r"\$context\.([A-Za-z.]+)"))
    assert AWS.fits(line)
    row = one(decode_aws([line]))
    assert row["start_time"] == START * 10**6
    assert (row["duration_ns"], row["upstream_duration_ns"]) == (100_000_000, 80_000_000)
    assert row["upstream_cluster"] == "orders.shop.svc"
    assert {
        "request_id", "trace_id_low", "http_request_method", "route_name", "url_path", "authority",
        "http_response_status_code", "upstream_response_status_code", "response_bytes", "consumer",
        "downstream_remote_address", "user_agent", "protocol_version", "response_code_details",
    } <= row.keys()  # fmt: skip


def test_the_log_format_of_aws_with_nothing_told():
    empty = {"requestTimeEpoch": START, "requestId": "r", "extendedRequestId": "r"}
    text = re.sub(
        r"\$context\.([A-Za-z.]+)",
        lambda found: str(empty.get(found[1], "-")),
        block("aws-api-gateway", "json"),
    )
    row = one(decode_aws([text.encode()]))
    assert not row.keys() & {"duration_ns", "http_response_status_code", "consumer", "trace_id_low"}


@pytest.mark.parametrize("envelope", [False, True])
def test_the_message_template_of_apigee(envelope):
    template = re.search(r"<Message[^>]*>(.*)</Message>", block("apigee", "xml"))
    assert template
    plain = re.sub(r"escapeJSON\(([^)]*)\)", r"\1", template[1])
    told = filled(plain, r"\{([A-Za-z.-]+)\}")
    line = orjson.dumps({"jsonPayload": told, "logName": "l"} if envelope else told)
    assert APIGEE.fits(line)
    row = one(decode_apigee([line]))
    assert row["start_time"] == START * 10**6
    assert (row["duration_ns"], row["upstream_duration_ns"]) == (100_000_000, 80_000_000)
    assert (row["request_id"], row["stream_id"]) == ("x-1", "m-1")
    assert (row["route_name"], row["upstream_cluster"]) == ("/orders/{id}", "orders.shop.svc")
    assert {"trace_id_low", "consumer", "http_request_method"} <= row.keys()


def test_the_declaration_of_kong():
    declared = yaml.safe_load(block("kong", "yaml"))
    plugins = {plugin["name"]: plugin["config"] for plugin in declared["plugins"]}
    assert urlsplit(plugins["http-log"]["http_endpoint"]).path == KONG_HTTP_LOG.path
    assert plugins["http-log"]["headers"].keys() == {"authorization"}
    assert plugins["correlation-id"]["header_name"] == "x-request-id"
    assert urlsplit(plugins["opentelemetry"]["traces_endpoint"]).path == TRACES.path
    assert set(plugins) == {"http-log", "correlation-id", "opentelemetry"}


def test_the_script_of_apigee():
    script = block("apigee", "javascript")
    names = orjson.loads(re.search(r"names = (\[.*?\]);", script, re.DOTALL)[1])
    line = orjson.dumps({name: str(VALUES.get(name, "200")) for name in names})
    row = one(decode_apigee([line]))
    assert (row["duration_ns"], row["upstream_duration_ns"]) == (100_000_000, 80_000_000)
    assert (row["request_id"], row["stream_id"]) == ("x-1", "m-1")
    assert (row["route_name"], row["upstream_cluster"]) == ("/orders/{id}", "orders.shop.svc")
    assert {"trace_id_low", "consumer", "http_request_method"} <= row.keys()
    assert urlsplit(re.search(r"https://[^\"]+", script)[0]).path == APIGEE_HTTP.path
