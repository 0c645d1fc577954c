"""Log records of OTLP that are access logs: those that a real Envoy 1.40 wrote, and Kong's."""

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.otlp import kong_otlp
from pipeline.decode.otlp.access_logs import may_have
from pipeline.model.decoded import Decoded
from tests.golden import Golden
from tests.pipeline.decode.gateway_rows import as_text, rows
from tests.pipeline.decode.otlp_oracle import with_base64_ids

HERE = Path(__file__).parents[1] / "golden"
TIME = 1_764_172_800_500_000_000
LINE = (
    '[2025-11-26T16:00:00.123Z] "GET /cart/1?token=geheim HTTP/1.1" 200 - via_upstream - "-" 0 5 '
    '7 6 "-" "curl/8" "r-1" "cart.shop" "10.0.0.2:80" outbound|80||cart.shop.svc.cluster.local '
    "10.0.0.1:1000 10.9.0.1:80 10.0.0.1:2000 - default"
)
LABELS = {
    "log_name": "outbound",
    "node_name": "sidecar~10.0.0.1~web-5d8f7c-x2k9p.shop~shop.svc.cluster.local",
    "cluster_name": "web.shop",
    "zone_name": "eu-1-b",
}
OPERATORS = {"method": "GET", "response_code": "200", "duration": "7", "upstream_cluster": "cart"}


def recorded() -> ExportLogsServiceRequest:
    document = json.loads((HERE / "otlp_access_logs.in.json").read_text())
    return ParseDict(with_base64_ids(document), ExportLogsServiceRequest())


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request_of(
    *records: tuple[str | None, dict[str, str]],
    resource: dict[str, str] = LABELS,
    trace: bytes = b"",
) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.extend(text(*one) for one in resource.items())
    scope = group.scope_logs.add()
    for body, attributes in records:
        record = scope.log_records.add(time_unix_nano=TIME, trace_id=trace)
        if body is not None:
            record.body.string_value = body
        record.attributes.extend(text(*one) for one in attributes.items())
    return request


def decoded(request: ExportLogsServiceRequest) -> Decoded:
    found = DECODERS["otlp_logs"]([request.SerializeToString()])
    assert found.refused == ()
    return found


def test_what_envoy_and_kong_wrote(golden: Golden) -> None:
    found = decoded(recorded())
    golden.check(HERE / "otlp_access_logs.out.json", as_text(found))
    # one logger of the Envoy was told to write nothing: that record is a log only
    assert found.batches["logs"].num_rows == found.batches["access_logs"].num_rows + 1


def test_text_and_operators_complete_each_other() -> None:
    extra = {**OPERATORS, "grpc_status": "0", "upstream_cluster": "not this"}
    (row,) = rows(decoded(request_of((LINE, extra))))
    assert row["upstream_cluster"] == "outbound|80||cart.shop.svc.cluster.local"
    assert row["rpc_status_code"] == "0"


def test_the_record_tells_time_and_trace_better_than_its_line() -> None:
    trace = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    (row,) = rows(decoded(request_of((LINE, {}), trace=trace)))
    assert row["start_time"] == TIME
    assert (row["trace_id_high"], row["trace_id_low"]) == (0x0AF7651916CD43DD, 0x8448EB211C80319C)


def test_the_node_says_who_wrote_it_and_the_log_which_side() -> None:
    (row,) = rows(decoded(request_of((None, OPERATORS))))
    assert row["log_name"] == "outbound"
    assert row["resource"]["service_name"] == "web"
    assert row["resource"]["service_namespace"] == "shop"
    assert row["resource"]["zone"] == "eu-1-b"
    assert row["resource"]["system"] == "istio"


def test_a_name_that_an_operator_gave_goes_first() -> None:
    (row,) = rows(decoded(request_of((LINE, {}), resource={**LABELS, "service.name": "front"})))
    assert row["resource"]["service_name"] == "front"
    assert row["resource"]["service_namespace"] == "shop"


def test_without_any_name_the_line_says_what_it_can() -> None:
    (row,) = rows(decoded(request_of((LINE, {}), resource={})))
    assert row["resource"]["system"] == "istio"
    assert "service_name" not in row["resource"]


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        ("started", {}),
        ("request done", {"response_code": "200", "duration": "7"}),
        ('[2025-11-26T16:00:00Z] "not such a line', {}),
        ('{"level":"info","msg":"[2025-11-26]"}', {"http.request.method": "GET"}),
        (LINE + "\n" + LINE, {}),
    ],
)
def test_other_logs_are_no_access_logs(body: str, attributes: dict[str, str]) -> None:
    found = decoded(request_of((body, attributes), resource={"service.name": "app"}))
    assert "access_logs" not in found.batches
    assert found.batches["logs"].num_rows == 1


def test_records_keep_their_place_among_others_and_broken_ones() -> None:
    lines = [LINE.replace("r-1", f"r-{number}") for number in range(6)]
    lines[2] = lines[2].replace(" 200 ", " two ")
    records = [one for line in lines for one in ((line, {}), ("something else", {}))]
    found = decoded(request_of(*records, (None, {**OPERATORS, "request_id": "r-9"})))
    assert found.batches["logs"].num_rows == 13
    told = [row["request_id"] for row in rows(found)]
    assert told == ["r-0", "r-1", "r-3", "r-4", "r-5", "r-9"]


def test_secrets_in_lines_and_operators_are_masked_at_the_door() -> None:
    request = request_of((LINE, {**OPERATORS, "path": "/a?api_key=geheim"}))
    body = request.SerializeToString()
    admitted = admit("otlp_logs", body, MaskedKeys())
    assert len(admitted.body) == len(body)
    assert b"geheim" not in admitted.body
    masked = ExportLogsServiceRequest.FromString(admitted.body)
    (record,) = masked.resource_logs[0].scope_logs[0].log_records
    assert record.body.string_value == LINE.replace("geheim", "******")
    assert record.attributes[-1] == text("path", "/a?api_key=******")


NAMES = st.sampled_from(
    [*OPERATORS, "start_time", "request_id", "bytes_sent", "kong.request.id", "url.path",
     "kong.request.started_at", "kong.latency.total", "http.request.header.host", "x"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=12).map(lambda one: AnyValue(string_value=one)),
    st.sampled_from(["200", "7", "-", "2025-11-26T16:00:00Z"]).map(
        lambda one: AnyValue(string_value=one)
    ),
    st.integers(-(2**63), 2**63 - 1).map(lambda one: AnyValue(int_value=one)),
    st.floats().map(lambda one: AnyValue(double_value=one)),
    st.booleans().map(lambda one: AnyValue(bool_value=one)),
)
BODIES = st.one_of(
    st.none(),
    st.just(LINE),
    st.text(max_size=20),
    st.text(max_size=20).map(lambda t: LINE[:40] + t),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(BODIES, st.lists(st.tuples(NAMES, VALUES), max_size=6)), max_size=4),
    st.sampled_from([{}, LABELS, {"service.name": "kong"}]),
)
def test_any_records_are_answered_and_every_one_is_a_log(records, resource) -> None:
    request = request_of(*((body, {}) for body, _ in records), resource=resource)
    made = request.resource_logs[0].scope_logs[0].log_records
    for record, (_, attributes) in zip(made, records, strict=True):
        record.attributes.extend(KeyValue(key=key, value=value) for key, value in attributes)
    found = decoded(request)
    assert found.batches["logs"].num_rows == len(records)
    told = found.batches.get("access_logs")
    if told is not None:
        assert 0 < told.num_rows <= len(records)
        assert may_have(request.SerializeToString())
        known = set(found.batches["resources"]["resource_id"].to_pylist())
        assert set(told["resource_id"].to_pylist()) <= known


@pytest.mark.parametrize(
    ("told", "milliseconds"),
    [
        (1_764_172_800.123, 1_764_172_800_123),
        (1_764_172_800_123, 1_764_172_800_123),
        (1_764_172_800_123_000, 1_764_172_800_123),
        (1_764_172_800_123_000_000, 1_764_172_800_123),
        ("1764172800123", 1_764_172_800_123),
        (None, 5),
        ("soon", 5),
    ],
    ids=["seconds", "milliseconds", "microseconds", "nanoseconds", "text", "absent", "words"],
)
def test_kongs_time_is_known_by_its_size(told: object, milliseconds: int) -> None:
    attributes = {} if told is None else {"kong.request.started_at": told}
    assert kong_otlp.record(attributes, 5_000_000)["started_at"] == milliseconds
