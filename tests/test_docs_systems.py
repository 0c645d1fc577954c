"""What the pages of gateways say to configure is what the decoders read."""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import orjson
import pytest
import yaml

from api.demo.processes import find_program
from collectors.receive.apigee_http import APIGEE_HTTP
from collectors.receive.kong_http_log import KONG_HTTP_LOG
from collectors.scrape.config import read_config
from collectors.settings import CollectorSettings
from collectors.signals import TRACES
from pipeline.decode.apigee import LINES as APIGEE, decode as decode_apigee
from pipeline.decode.aws_apigateway import LINES as AWS, decode as decode_aws
from pipeline.model.topology import Reporter
from tests.pipeline.decode.gateway_rows import one
from tests.pipeline.render.test_renderers import strict
from tests.recordings import shared

ENVOY = find_program("envoy")
FILTERS = "type.googleapis.com/envoy.extensions.filters.network"
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


def test_the_proxy_of_envoy_gateway_logs_as_a_gateway():
    proxy = yaml.safe_load(block("envoy-gateway", "yaml"))
    assert (proxy["kind"], proxy["apiVersion"]) == ("EnvoyProxy", "gateway.envoyproxy.io/v1alpha1")
    (settings,) = proxy["spec"]["telemetry"]["accessLog"]["settings"]
    sinks = {sink["type"]: sink for sink in settings["sinks"]}
    # the direction of the payload in tests/systems comes from this name
    assert sinks["ALS"]["als"]["logName"] == Reporter.GATEWAY
    port = int(CollectorSettings().otlp_grpc.address.rpartition(":")[2])
    tracing = proxy["spec"]["telemetry"]["tracing"]["provider"]
    for receiver in (sinks["ALS"]["als"], tracing):
        assert [backend["port"] for backend in receiver["backendRefs"]] == [port]
    assert tracing["type"] == "OpenTelemetry"


def consul_defaults() -> dict[str, Any]:
    defaults = yaml.safe_load(block("consul", "yaml"))
    assert isinstance(defaults, dict)
    return defaults


def test_the_defaults_of_consul_fit_their_schema():
    path = shared("schemas/kubernetes/consul.hashicorp.com_v1alpha1_ProxyDefaults.json")
    crd = orjson.loads(path.read_bytes())
    defaults = consul_defaults()
    assert (defaults["apiVersion"], defaults["kind"]) == (crd["apiVersion"], crd["kind"])
    jsonschema_rs.validator_for(strict(crd["openAPIV3Schema"])).validate(defaults)


@pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)")
def test_envoy_takes_the_tracing_that_consul_is_told(tmp_path: Path):
    config = consul_defaults()["spec"]["config"]
    manager = {
        "@type": f"{FILTERS}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public_listener",
        "tracing": {
            name: value
            for name, value in orjson.loads(config["envoy_listener_tracing_json"]).items()
            if name != "@type"
        },
        "route_config": {"name": "public_listener"},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 20000}}
    bootstrap = tmp_path / "bootstrap.json"
    bootstrap.write_bytes(
        orjson.dumps(
            {"static_resources": {
                "clusters": [orjson.loads(config["envoy_extra_static_clusters_json"])],
                "listeners": [{"name": "in", "address": address, "filter_chains": [chain]}],
            }}
        )
    )  # fmt: skip
    command = [ENVOY, "--mode", "validate", "-c", bootstrap, "--use-dynamic-base-id"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_the_scrape_of_consul_is_understood(tmp_path: Path):
    page = (SYSTEMS / "consul.md").read_text()
    (job,) = [
        text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "scrape_" in text
    ]
    file = tmp_path / "prometheus.yml"
    file.write_text(job)
    (read,) = read_config(file)
    assert read.job_name == "consul-dataplane"
