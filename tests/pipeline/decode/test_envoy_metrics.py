"""Envoy's metrics service: what metrics become, and any bytes."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.envoy.identifier import envoy_identifier
from pipeline.decode.envoy_metrics import decode, name_of
from pipeline.errors import DecodeError
from pipeline.model.tables import RESOURCES
from tests.golden import Golden
from tests.pipeline.decode.envoy_stats import (
    AT,
    COUNTER,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    UNTYPED,
    StreamMetricsMessage,
    add,
    message_of,
)
from tests.pipeline.decode.metric_rows import rows_of
from tests.pipeline.decode.wire_laws import damaged
from tests.recordings import shared
from tests.samples.sent import envoy_metrics

HERE = Path(__file__).parent / "golden"


def one(kind: int, **value: Any) -> dict[str, Any]:
    message = StreamMetricsMessage()
    add(message, "a", kind, {}, **value)
    (row,) = rows_of(decode([message.SerializeToString()]))
    return row


def test_it_is_registered() -> None:
    assert DECODERS["envoy_metrics"] is decode


def test_a_message_becomes_rows(golden: Golden) -> None:
    found = decode([message_of().SerializeToString()])
    assert found.refused == ()
    resources = [
        {name: value for name, value in row.items() if name != "attributes"}
        for row in found.batches[RESOURCES.name].to_pylist()
    ]
    shown = orjson.dumps(
        {"rows": rows_of(found), "resources": resources},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )
    golden.check(HERE / "envoy_metrics.out.json", shown.decode() + "\n")


@pytest.mark.parametrize(
    ("stat", "name"),
    [
        ("cluster.upstream_rq_total", "envoy_cluster_upstream_rq_total"),
        ("cluster.outbound|80||a-b.upstream_rq", "envoy_cluster_outbound_80__a_b_upstream_rq"),
        ("istiocustom.istio_requests_total", "istio_requests_total"),
        ("wasmcustom.mine", "mine"),
    ],
)
def test_names_are_those_of_a_scrape(stat: str, name: str) -> None:
    assert name_of(stat) == name


def test_counters_go_up_unless_the_node_says_that_they_are_deltas() -> None:
    for deltas, temporality in ((False, 2), (True, 1)):
        message = message_of(report_counters_as_deltas=deltas)
        (row, *_) = rows_of(decode([message.SerializeToString()]))
        assert (row["type"], row["temporality"], row["is_monotonic"]) == ("sum", temporality, True)


def test_histograms_are_those_of_an_interval() -> None:
    histogram = one(HISTOGRAM, histogram={"sample_count": 2, "sample_sum": 1.0})
    assert (histogram["temporality"], histogram["count"], histogram["sum"]) == (1, 2, 1.0)
    assert (histogram["explicit_bounds"], histogram["bucket_counts"]) == ([], [])


def test_zeros_are_values() -> None:
    assert one(COUNTER, counter={})["value"] == 0.0
    assert one(GAUGE, gauge={})["value"] == 0.0
    assert one(UNTYPED, untyped={})["value"] == 0.0
    summary = one(SUMMARY, summary={})
    assert (summary["count"], summary["sum"], summary["quantiles"]) == (0, 0.0, [])


def test_later_messages_have_the_identifier_in_front() -> None:
    first, later = message_of().SerializeToString(), message_of(identified=False)
    identifier = envoy_identifier(first, "envoy_metrics")
    found = decode([first, identifier + later.SerializeToString()])
    assert found.batches[RESOURCES.name].num_rows == 1
    (resource,) = found.batches[RESOURCES.name].to_pylist()
    assert resource["service_name"] == "cart"
    assert resource["service_namespace"] == "shop"
    assert len(rows_of(found)) == 8


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (COUNTER, {}),
        (COUNTER, {"gauge": {"value": 1.0}}),
        (9, {"gauge": {"value": 1.0}}),
        (HISTOGRAM, {"histogram": {"bucket": [
            {"upper_bound": 1.0, "cumulative_count": 5},
            {"upper_bound": 2.0, "cumulative_count": 3},
        ], "sample_count": 5}}),
    ],
    ids=["nothing", "another", "unknown", "down"],
)  # fmt: skip
def test_what_no_row_can_hold_is_refused_and_its_neighbours_kept(
    kind: int, value: dict[str, Any]
) -> None:
    message = StreamMetricsMessage()
    add(message, "before", GAUGE, {}, gauge={"value": 1.0})
    add(message, "bad", kind, {}, **value)
    add(message, "after", GAUGE, {}, gauge={"value": 1.0})
    body = message.SerializeToString()
    found = decode([body])
    assert [row["name"] for row in rows_of(found)] == ["envoy_before", "envoy_after"]
    (refusal,) = found.refused
    assert (refusal.records, refusal.whole) == (1, False)
    admission = admit("envoy_metrics", body, MaskedKeys())
    assert (admission.records, admission.rejected) == (2, 1)


def test_a_long_name_is_not_repeated_for_each_of_many_metrics() -> None:
    message = StreamMetricsMessage()
    family = message.envoy_metrics.add(name="n" * 100_000, type=GAUGE)
    for _ in range(100):
        family.metric.add(gauge={"value": 1.0})
    found = decode([message.SerializeToString()])
    assert rows_of(found) == []
    assert sum(told.records for told in found.refused) == 100


def test_a_time_that_cannot_be_is_refused() -> None:
    message = message_of()
    message.envoy_metrics[0].metric[0].timestamp_ms = 1 << 60
    found = decode([message.SerializeToString()])
    assert len(rows_of(found)) == 3
    assert sum(told.records for told in found.refused) == 1


def test_the_door_masks_labels() -> None:
    body = message_of().SerializeToString()
    admission = admit("envoy_metrics", body, MaskedKeys())
    assert (admission.records, admission.rejected, len(admission.body)) == (4, 0, len(body))
    assert b"geheim" not in admission.body
    (row, *_) = rows_of(decode([admission.body]))
    assert row["attributes"] == {
        "envoy_cluster_name": "outbound|80||redis.shop",
        "api_token": "******",
    }
    assert row["time"] == AT * 1_000_000


def test_a_message_of_a_real_envoy_has_all_its_metrics() -> None:
    message = envoy_metrics(shared("samples/mesh/envoy-metrics-service.textproto.txt"))
    found = decode([message])
    assert len(rows_of(found)) == 5
    assert found.refused == ()


@given(st.integers(0, 2**32), st.integers(0, 5))
def test_damaged_bytes_give_rows_or_refusals(seed: int, wounds: int) -> None:
    check_any(damaged(message_of().SerializeToString(), seed, wounds))


@given(st.binary(max_size=80))
def test_any_bytes_give_rows_or_refusals(message: bytes) -> None:
    check_any(message)


def check_any(message: bytes) -> None:
    found = decode([message])
    whole = any(refusal.whole for refusal in found.refused)
    assert not (whole and rows_of(found))
    try:
        admission = admit("envoy_metrics", message, MaskedKeys())
    except DecodeError:
        assert whole
        return
    assert admission.records == len(rows_of(decode([admission.body])))
    assert admission.rejected == sum(refusal.records for refusal in found.refused)
