"""CloudWatch metric streams in JSON, and that they say what the same stream says in OTLP."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import SummaryDataPoint

from pipeline.decode import DECODERS
from pipeline.decode.cloudwatch_metrics import REASONS, UNITS, decode
from pipeline.decode.gates.line_gate import admit_lines, format_of_lines
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.records.gateway_records import refused_record
from pipeline.model.decoded import Decoded
from pipeline.model.tables import METRIC_POINTS, RESOURCES
from tests.golden import Golden
from tests.pipeline.decode.gateway_rows import refused
from tests.pipeline.decode.metric_streams import MINUTE, otlp, record_of
from tests.recordings import shared

HERE = Path(__file__).parent / "golden"
LINES = (HERE / "cloudwatch_metrics.in.jsonl").read_bytes().splitlines()


def rows(decoded: Decoded) -> list[dict[str, Any]]:
    """Rows without what is null, attributes and resources as objects."""
    if METRIC_POINTS.name not in decoded.batches:
        return []
    points = decoded.batches[METRIC_POINTS.name]
    assert points.schema == METRIC_POINTS.arrow
    resources = {
        row["resource_id"]: orjson.loads(row["attributes"])
        for row in decoded.batches[RESOURCES.name].to_pylist()
    }
    for column in ("time", "start_time"):
        place = points.schema.get_field_index(column)
        points = points.set_column(place, column, points[column].cast("int64"))
    found = []
    for row in points.to_pylist():
        told = {name: value for name, value in row.items() if value is not None}
        told["attributes"] = orjson.loads(told["attributes"])
        told["resource"] = resources[told.pop("resource_id")]
        found.append(told)
    return found


def point(**more: Any) -> bytes:
    return orjson.dumps({**orjson.loads(LINES[0]), **more})


def test_golden_lines(golden: Golden) -> None:
    decoded = decode([(HERE / "cloudwatch_metrics.in.jsonl").read_bytes()])
    told = {"rows": rows(decoded), "refused": refused(decoded)}
    shown = orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"
    golden.check(HERE / "cloudwatch_metrics.out.json", shown)


def test_it_is_registered_and_known_by_its_lines() -> None:
    assert DECODERS["cloudwatch_metrics"] is decode
    assert format_of_lines(LINES[:4]) == "cloudwatch_metrics"


def test_the_documented_record() -> None:
    (row,) = rows(decode([shared("samples/gateways/aws-metric-stream-record.jsonl").read_bytes()]))
    assert row["name"] == "amazonaws.com/AWS/EC2/DiskWriteOps"
    assert (row["count"], row["sum"], row["min"], row["max"]) == (3, 20.0, 0.0, 18.0)
    assert row["quantiles"] == [0.0, 0.99, 0.999, 1.0]
    assert row["quantile_values"] == [0.0, 17.56, 17.8764, 18.0]
    assert row["attributes"]["Dimensions"] == {"InstanceId": "i-123456789012"}
    assert row["attributes"]["Statistics"] == {"TM(25%:75%)": 16.43}
    assert row["unit"] == "s"


def test_a_point_is_the_same_in_json_and_in_otlp() -> None:
    def whole(point: SummaryDataPoint) -> None:
        point.count, point.sum = 12, 840.5
        for quantile, value in ((0.0, 11.0), (0.5, 60.0), (0.99, 301.25), (1.0, 310.0)):
            point.quantile_values.add(quantile=quantile, value=value)

    dimensions = {"ApiName": "shop", "Stage": "prod"}
    request = otlp("AWS/ApiGateway", "Latency", dimensions, whole, unit="ms")
    (by_otlp,) = rows(DECODERS["otlp_metrics"]([request.SerializeToString()]))
    line = record_of(
        "AWS/ApiGateway", "Latency", dimensions, unit="Milliseconds",
        value={"count": 12.0, "sum": 840.5, "min": 11.0, "max": 310.0, "p50": 60.0, "p99": 301.25},
    )  # fmt: skip
    (by_json,) = rows(decode([line]))
    # only the JSON tells min and max as such, the stream's name and no ARN of it
    assert (by_json.pop("min"), by_json.pop("max")) == (11.0, 310.0)
    assert by_json.pop("resource").items() >= {
        "cloud.provider": "aws", "cloud.account.id": "123456789012", "cloud.region": "eu-west-1",
    }.items()  # fmt: skip
    by_otlp.pop("resource")
    by_otlp.pop("scope_id", None)
    assert by_json == by_otlp
    assert by_json["start_time"] == MINUTE


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"timestamp": None}, "its time cannot be read"),
        ({"timestamp": "1764172800000"}, "its time cannot be read"),
        ({"timestamp": 1764172800}, "its time cannot be read"),
        ({"timestamp": 10**19}, "its time cannot be read"),
        ({"timestamp": True}, "its time cannot be read"),
        ({"namespace": ""}, "no namespace or no metric name"),
        ({"metric_name": 5}, "no namespace or no metric name"),
        ({"value": 5}, "no count and sum"),
        ({"value": {"count": -1, "sum": 1}}, "no count and sum"),
        ({"value": {"count": 1, "sum": "1"}}, "no count and sum"),
        ({"value": {"count": 1e300, "sum": 1}}, "no count and sum"),
    ],
    ids=repr,
)
def test_what_is_no_point_is_set_aside(more: dict[str, Any], reason: str) -> None:
    decoded = decode([point(**more) + b"\n" + LINES[0]])
    assert refused(decoded) == [(reason, 0, 1)]
    assert len(rows(decoded)) == 1


def test_a_double_is_a_time_and_a_count_too() -> None:
    line = LINES[0].replace(b"1764172800000", b"1764172800000.0")
    (row,) = rows(decode([line]))
    assert (row["start_time"], row["count"]) == (MINUTE, 12)


def test_units_with_a_slash_are_translated_on_both_sides() -> None:
    (row,) = rows(decode([point(unit="Kilobytes/Second")]))
    assert row["unit"] == "kBy/s"
    assert set(UNITS.values()) >= {"s", "ms", "By", "{Count}", "%", "1"}


def test_a_record_that_could_not_be_read_leaves_its_reason() -> None:
    reason = REASONS[3]
    decoded = decode([refused_record(reason) + b"\n" + refused_record("anything")])
    assert [one for one, _, _ in refused(decoded)] == [reason, "malformed"]


def test_messages_do_not_mix() -> None:
    decoded = decode([LINES[0], b"x", LINES[1] + b"\n" + LINES[2]])
    assert [one.message for one in decoded.refused] == [1]
    assert len(rows(decoded)) == 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    changes=st.dictionaries(st.sampled_from([*orjson.loads(LINES[0]), "more"]), VALUES, max_size=3),
    value=st.dictionaries(
        st.sampled_from(["count", "sum", "min", "max", "p99", "p100", "p", "pNaN", "TM"]), VALUES
    ),
)
def test_whatever_a_member_holds_each_line_is_a_point_or_set_aside(
    changes: dict[str, Any], value: dict[str, Any]
) -> None:
    told = orjson.loads(LINES[0])
    told["value"] = {**told["value"], **value}
    try:
        line = orjson.dumps({**told, **changes})
    except orjson.JSONEncodeError:  # an integer past 64 bits
        return
    admitted = admit_lines("cloudwatch_metrics", line, MaskedKeys())
    assert admitted.records + admitted.rejected == 1
