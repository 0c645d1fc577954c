"""The traps of access logs: what is easily read wrongly, line by line."""

import orjson
import polars as pl
import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType

from pipeline.decode.envoy.operators import LOG_TYPES
from pipeline.model.pods import service_of_pod
from tests.pipeline.decode.line_rows import one_line, reasons

ISTIO = (
    '[2026-03-02T10:15:30.250Z] "{request}" {code} {flags} - - "-" 7 11 {ms} - "-" "{agent}" "id"'
    ' "{authority}" "10.8.2.17:8080" {cluster} 10.8.1.5:41822 10.96.14.3:8080 {remote} {sni} -'
)


def istio(**fields: object) -> dict[str, object]:
    told = {
        "request": "GET / HTTP/1.1", "code": 200, "flags": "-", "ms": 31, "agent": "-",
        "authority": "-", "cluster": "outbound|80||a.b.svc.cluster.local", "remote": "10.8.1.5:1",
        "sni": "-", **fields,
    }  # fmt: skip
    return one_line("envoy_text", ISTIO.format(**told).encode())


def test_milliseconds_become_nanoseconds() -> None:
    assert istio(ms=31)["duration_ns"] == 31_000_000
    assert "duration_ns" not in istio(ms="-")


def test_received_is_the_request_and_sent_the_response() -> None:
    row = istio()
    assert (row["request_bytes"], row["response_bytes"]) == (7, 11)


def test_no_response_is_status_0_and_a_connection_has_no_status() -> None:
    assert istio(code=0, flags="DC")["http_response_status_code"] == 0
    connection = istio(request="- - -", code=0)
    assert connection["protocol"] == "tcp"
    assert "http_response_status_code" not in connection


def test_a_request_that_could_not_be_parsed_is_still_http() -> None:
    row = istio(request="- - HTTP/1.1", code=400, flags="DPE")
    assert (row["protocol"], row["protocol_version"]) == ("http", "HTTP/1.1")
    assert "http_request_method" not in row


def test_an_address_with_port_0_is_not_the_peer() -> None:
    row = istio(remote="203.0.113.9:0")
    assert row["downstream_remote_address"] == "203.0.113.9:0"
    assert "downstream_direct_remote_address" not in row


@pytest.mark.parametrize(
    ("cluster", "sni", "service"),
    [
        ("inbound|80||", "outbound_.80_._.cart.shop.svc.cluster.local", "shop/cart"),
        ("inbound|80||", "outbound_.80_.v1_.cart.shop.svc.example.org", "shop/cart"),
        ("inbound|80||", "-", None),
        ("inbound|80||", "www.example.com", None),
        ("inbound|80|http|cart.shop.svc.cluster.local", "-", "shop/cart"),
        ("outbound|80||cart.shop.svc.cluster.local", "cart.shop.svc.cluster.local", None),
        ("PassthroughCluster", "-", None),
        ("inbound-vip|80|http|cart.shop.svc.cluster.local", "-", None),
    ],
)
def test_the_writer_of_a_line(cluster: str, sni: str, service: str | None) -> None:
    resource = istio(cluster=cluster, sni=sni)["resource"]
    assert isinstance(resource, dict)
    assert resource["system"] == "istio"
    named = resource.get("service_name")
    assert (named and f"{resource['service_namespace']}/{named}") == service


def test_a_host_that_a_client_made_up_names_nobody() -> None:
    row = istio(cluster="inbound|80||", authority="bank.prod.svc.cluster.local")
    assert row["resource"] == {"system": "istio"}


def test_a_quote_in_what_a_client_sent_does_not_end_a_token() -> None:
    assert istio(agent='say "hi"!')["user_agent"] == 'say "hi"!'


def test_a_line_that_does_not_come_out_even_is_set_aside() -> None:
    forged = ISTIO.format(
        request="GET / HTTP/1.1", code=200, flags="-", ms=1, agent='a" "b', authority="-",
        cluster="-", remote="-", sni="-",
    )  # fmt: skip
    told = reasons("envoy_text", [forged.encode()])
    assert told == [(0, 0, "not a line of Envoy's or Istio's default access log", 1)]


def test_grpc_errors_ride_on_status_200() -> None:
    row = one_line(
        "envoy_json",
        b'{"start_time":"2026-03-02T10:15:31Z","method":"POST","response_code":200,"grpc_status":14}',
    )
    assert (row["protocol"], row["rpc_status_code"]) == ("grpc", "14")


def test_periodic_lines_are_no_requests() -> None:
    line = b'{"start_time":"2026-03-02T10:15:31Z","response_code":200,"access_log_type":"%b"}'
    assert one_line("envoy_json", line % b"DownstreamPeriodic")["log_type"] == 5
    assert one_line("envoy_json", line % b"DownstreamEnd")["log_type"] == 6
    assert one_line("envoy_json", line % b"Unheard")["log_type"] == 0


def test_the_names_of_log_types_are_envoys() -> None:
    known = {name: number for number, name in enumerate(LOG_TYPES)}
    assert known.items() >= dict(AccessLogType.items()).items()


ZTUNNEL = (
    "2026-03-02T10:15:42.5Z info access: connection complete src.addr=10.0.0.1:9 dst.addr=10.0.0"
    '.2:15008 dst.hbone_addr=10.0.0.2:80 direction="{side}" bytes_sent=1 bytes_recv=2 '
    'duration="500ms"'
)


def test_a_ztunnel_tells_when_a_connection_ended_and_bytes_from_its_own_side() -> None:
    outbound, inbound = (
        one_line("ztunnel", ZTUNNEL.format(side=side).encode()) for side in ("outbound", "inbound")
    )
    assert outbound["start_time"] == inbound["start_time"] == 1_772_446_542_000_000_000
    assert (outbound["request_bytes"], outbound["response_bytes"]) == (1, 2)
    assert (inbound["request_bytes"], inbound["response_bytes"]) == (2, 1)
    assert outbound["upstream_remote_address"] == "10.0.0.2:80"
    assert inbound["downstream_local_address"] == "10.0.0.2:80"


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("shell-6d8bcd654d-t88gp", "shell"),
        ("my-app-v1-5c9b8f7d68-xk2lp", "my-app-v1"),
        ("ztunnel-x8z2k", "ztunnel"),
        ("db-12", "db"),
        ("standalone", "standalone"),
    ],
)
def test_the_workload_of_a_pod(pod: str, workload: str) -> None:
    assert pl.select(service_of_pod(pl.lit(pod))).item() == workload


def test_the_host_of_a_caller_without_identity_names_nobody() -> None:
    line = b'10.0.0.1:2 - - [2026-03-02T10:15:30Z] "GET http://cart:7000/ HTTP/2.0" 200'
    assert one_line("linkerd_apache", line)["resource"] == {"system": "linkerd"}


@pytest.mark.parametrize(
    "told",
    [
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"trace_id": "0af7651916cd43dd8448eb211c80319c"},
        {"b3": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"},
        {"x-b3-traceid": "0af7651916cd43dd8448eb211c80319c"},
        {"X-B3-TraceId": "0af7651916cd43dd8448eb211c80319c"},
        {"x-amzn-trace-id": "Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=1"},
        {"traceparent": "nonsense", "trace_id": "0af7651916cd43dd8448eb211c80319c"},
    ],
)
def test_every_form_of_a_trace_id_is_the_same_id(told: dict[str, str]) -> None:
    line = {"start_time": "2026-03-02T10:15:30.250Z", "response_code": 200, **told}
    row = one_line("envoy_json", orjson.dumps(line))
    assert row["trace_id_high"] == 0x0AF7651916CD43DD
    assert row["trace_id_low"] == 0x8448EB211C80319C
