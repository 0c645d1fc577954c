"""Remote write 1.0 and 2.0: what series become, alike in both, and any bytes."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.errors import DecodeError
from pipeline.model.topics import REMOTE_WRITE_2_FORMAT, REMOTE_WRITE_FORMAT
from tests.golden import Golden
from tests.pipeline.decode.metric_rows import Row, rows_of
from tests.pipeline.decode.remote_messages import (
    STALE,
    Request,
    Told,
    WriteRequest,
    request,
    request_2,
)
from tests.pipeline.decode.wire_laws import damaged

HERE = Path(__file__).parent / "golden"
AT = 1_764_000_000_123
TIME = AT * 1_000_000
TARGET = {"job": "cart", "instance": "10.0.0.7:15090"}
RESOURCE = {"service.name": "cart", "service.instance.id": "10.0.0.7:15090"}
STALE_NAN = struct.unpack("<d", STALE)[0]
FORMATS = (REMOTE_WRITE_FORMAT, REMOTE_WRITE_2_FORMAT)
PARSERS: dict[str, Any] = {REMOTE_WRITE_FORMAT: WriteRequest, REMOTE_WRITE_2_FORMAT: Request}


def written(format_name: str, series: Sequence[Told]) -> bytes:
    if format_name == REMOTE_WRITE_2_FORMAT:
        return request_2(series).SerializeToString()
    metadata = [(one.labels["__name__"], one.type, one.unit) for one in series if one.type]
    return request(series, metadata).SerializeToString()


def rows(format_name: str, *series: Told) -> list[Row]:
    found = DECODERS[format_name]([written(format_name, series)])
    assert found.refused == ()
    return rows_of(found)


def one(format_name: str, *series: Told) -> Row:
    (row,) = rows(format_name, *series)
    return row


def told(name: str, value: float = 1.0, **labels: str) -> Told:
    return Told({"__name__": name, **TARGET, **labels}, [(value, AT)])


def histogram(name: str, counts: Sequence[tuple[str, float]], total: float) -> list[Told]:
    buckets = [told(f"{name}_bucket", count, le=bound) for bound, count in counts]
    return [*buckets, told(f"{name}_sum", total), told(f"{name}_count", counts[-1][1])]


BASE = {"time": TIME, "flags": 0, "resource": RESOURCE}
both = pytest.mark.parametrize("format_name", FORMATS)


@both
def test_a_sample_is_a_row_and_its_target_the_resource(format_name: str) -> None:
    row = one(format_name, told("temperature", 21.5, room="a", empty=""))
    assert row == BASE | {
        "name": "temperature",
        "type": "gauge",
        "value": 21.5,
        "attributes": {"room": "a"},
    }


@both
def test_a_counter_is_known_by_its_name_or_its_type(format_name: str) -> None:
    assert one(format_name, told("a_total"))["type"] == "sum"
    typed = Told({"__name__": "a"}, [(1.0, AT)], type="counter", unit="bytes")
    row = one(format_name, typed)
    assert (row["type"], row["is_monotonic"], row["unit"]) == ("sum", True, "By")


@both
def test_a_histogram_that_is_whole_is_one_row(format_name: str) -> None:
    row = one(format_name, *histogram("h", [("0.5", 2), ("1", 5), ("+Inf", 6)], 7.5))
    assert row == BASE | {
        "name": "h",
        "type": "histogram",
        "temporality": 2,
        "count": 6,
        "sum": 7.5,
        "explicit_bounds": [0.5, 1.0],
        "bucket_counts": [2, 3, 1],
    }


@both
@pytest.mark.parametrize("missing", ["_sum", "_count", "+Inf"])
def test_parts_of_a_histogram_that_is_scattered_stay_rows_of_their_own(
    format_name: str, missing: str
) -> None:
    parts = histogram("h", [("0.5", 2), ("+Inf", 6)], 7.5)
    parts = [part for part in parts if missing not in "".join(part.labels.values())]
    found = rows(format_name, *parts)
    assert [row["name"] for row in found] == [part.labels["__name__"] for part in parts]
    assert {row["type"] for row in found} == {"sum"}
    assert found[0]["attributes"] == {"le": "0.5"} if missing != "0.5" else True


@both
def test_histograms_of_two_targets_and_of_two_times_are_kept_apart(format_name: str) -> None:
    parts = histogram("h", [("1", 2), ("+Inf", 6)], 7.5)
    other = [Told({**part.labels, "instance": "other"}, part.samples) for part in parts]
    later = [Told(part.labels, [(value + 1, AT + 15_000)]) for part in parts
             for value, _ in part.samples]  # fmt: skip
    found = rows(format_name, *parts, *other, *later)
    assert [row["bucket_counts"] for row in found] == [[2, 4], [2, 4], [3, 4]]
    assert [row["resource"]["service.instance.id"] for row in found] == [
        "10.0.0.7:15090", "other", "10.0.0.7:15090",
    ]  # fmt: skip


@both
def test_a_series_with_several_samples_has_a_row_for_each(format_name: str) -> None:
    series = Told({"__name__": "a", "b": "c"}, [(1.0, AT), (2.0, AT + 1)])
    found = rows(format_name, series)
    assert [(row["value"], row["time"] - TIME, row["attributes"]) for row in found] == [
        (1.0, 0, {"b": "c"}), (2.0, 1_000_000, {"b": "c"}),
    ]  # fmt: skip


@both
def test_a_series_that_ended_is_a_row_without_a_value(format_name: str) -> None:
    row = one(format_name, told("a_total", STALE_NAN))
    assert (row["flags"], row["type"]) == (1, "sum")
    assert "value" not in row
    row = one(format_name, told("a", math.nan))
    assert (row["flags"], row["value"]) == (0, "nan")


@both
def test_a_histogram_that_ended_is_a_row_without_values(format_name: str) -> None:
    parts = [
        Told(part.labels, [(STALE_NAN, AT)])
        for part in histogram("h", [("1", 2), ("+Inf", 6)], 7.5)
    ]
    row = one(format_name, *parts)
    assert (row["name"], row["type"], row["flags"]) == ("h", "histogram", 1)
    assert "bucket_counts" not in row


@both
def test_an_exemplar_goes_to_the_row_of_its_series(format_name: str) -> None:
    parts = histogram("h", [("1", 2), ("+Inf", 6)], 7.5)
    exemplar = ({"trace_id": "0af7", "pod": "p"}, 0.5, AT - 5)
    beside = Told(parts[0].labels, exemplars=[exemplar])
    row = one(format_name, *parts, beside)
    assert row["exemplars"] == [
        {
            "time_unix_nano": TIME - 5_000_000,
            "value": 0.5,
            "trace_id": "0af7",
            "attributes": {"pod": "p"},
        }
    ]


@both
def test_an_exemplar_that_stands_alone_is_a_row_without_a_value(format_name: str) -> None:
    alone = Told({"__name__": "a_total", **TARGET}, exemplars=[({}, 0.5, AT)])
    row = one(format_name, alone)
    assert row == BASE | {
        "name": "a_total",
        "type": "gauge",
        "exemplars": [{"time_unix_nano": TIME, "value": 0.5}],
    }


NATIVE = {
    "count_int": 21,
    "sum": 40.0,
    "schema": 3,
    "zero_threshold": 0.001,
    "zero_count_int": 2,
    "positive_spans": [{"offset": -2, "length": 2}, {"offset": 3, "length": 1}],
    "positive_deltas": [4, 3, -2],
    "negative_spans": [{"offset": 5, "length": 1}],
    "negative_deltas": [3],
    "timestamp": AT,
}


@both
def test_a_native_histogram_has_all_buckets_from_the_first_to_the_last(format_name: str) -> None:
    row = one(format_name, Told({"__name__": "h", **TARGET, "a": "b"}, histograms=[NATIVE]))
    assert row == BASE | {
        "name": "h",
        "type": "exponential_histogram",
        "temporality": 2,
        "count": 21,
        "sum": 40.0,
        "scale": 3,
        "zero_count": 2,
        "zero_threshold": 0.001,
        "positive_offset": -3,
        "positive_counts": [4, 7, 0, 0, 0, 5],
        "negative_offset": 4,
        "negative_counts": [3],
        "attributes": {"a": "b"},
    }


@both
def test_a_native_histogram_in_fractions_that_are_whole(format_name: str) -> None:
    told_in = {
        "count_float": 11.0,
        "sum": 1.0,
        "zero_count_float": 0.0,
        "positive_spans": [{"offset": 1, "length": 2}],
        "positive_counts": [4.0, 7.0],
        "reset_hint": 3,
        "timestamp": AT,
    }
    row = one(format_name, Told({"__name__": "h"}, histograms=[told_in]))
    assert (row["count"], row["positive_counts"], row["temporality"]) == (11, [4, 7], 0)


@both
def test_a_native_histogram_with_bounds_of_its_own(format_name: str) -> None:
    custom = {
        "count_int": 9,
        "sum": 1.0,
        "schema": -53,
        "positive_spans": [{"offset": 1, "length": 1}, {"offset": 1, "length": 1}],
        "positive_deltas": [4, 1],
        "custom_values": [0.5, 1.0, 5.0],
        "timestamp": AT,
    }
    row = one(format_name, Told({"__name__": "h", **TARGET}, histograms=[custom]))
    assert row == BASE | {
        "name": "h",
        "type": "histogram",
        "temporality": 2,
        "count": 9,
        "sum": 1.0,
        "explicit_bounds": [0.5, 1.0, 5.0],
        "bucket_counts": [0, 4, 0, 5],
    }


@both
def test_a_native_histogram_that_ended(format_name: str) -> None:
    row = one(format_name, Told({"__name__": "h"}, histograms=[NATIVE | {"sum": STALE_NAN}]))
    assert (row["flags"], row["type"]) == (1, "exponential_histogram")
    assert not {"count", "positive_counts", "scale"} & set(row)


@both
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"schema": 9}, "schema that is not known"),
        ({"positive_deltas": [4, 3]}, "do not match"),
        ({"positive_deltas": [4, -5, 2]}, "do not match"),
        ({"positive_spans": [{"offset": 0, "length": 1}, {"offset": -1, "length": 2}]}, "match"),
        (
            {"positive_spans": [{"offset": 0, "length": 2}, {"offset": 1 << 20, "length": 1}]},
            "many",
        ),
        ({"count_float": 1.5}, "fractions"),
        ({"timestamp": -1}, "a time that no column holds"),
        ({"timestamp": 1 << 60}, "a time that no column holds"),
        ({"schema": -53, "custom_values": [1.0]}, "do not match"),
    ],
)
def test_a_native_histogram_that_no_row_can_hold_is_refused(
    format_name: str, wrong: dict[str, Any], reason: str
) -> None:
    bad = Told({"__name__": "h"}, histograms=[NATIVE | wrong])
    message = written(format_name, [told("before"), bad, told("after")])
    found = DECODERS[format_name]([message])
    assert [row["name"] for row in rows_of(found)] == ["before", "after"]
    (refusal,) = found.refused
    assert reason in refusal.reason
    assert (refusal.records, refusal.whole) == (1, False)
    admission = admit(format_name, message, MaskedKeys())
    assert (admission.records, admission.rejected) == (2, 1)


@both
def test_many_sparse_histograms_do_not_fill_memory(format_name: str) -> None:
    wide = {
        "schema": 0,
        "positive_spans": [{"offset": 0, "length": 1}, {"offset": 16_000, "length": 1}],
        "positive_deltas": [1, 0],
        "count_int": 2,
        "timestamp": AT,
    }
    series = [Told({"__name__": "h", "n": str(n)}, histograms=[wide]) for n in range(200)]
    found = DECODERS[format_name]([written(format_name, series)])
    (refusal,) = found.refused
    assert refusal.records + len(rows_of(found)) == 200
    assert len(rows_of(found)) < 10


@both
def test_labels_that_are_told_once_are_not_repeated_without_end(format_name: str) -> None:
    samples = [(1.0, AT + n) for n in range(2_000)]
    series = [told("before"), Told({"__name__": "a", "b": "x" * 100_000}, samples), told("after")]
    found = DECODERS[format_name]([written(format_name, series)])
    assert [row["name"] for row in rows_of(found)] == ["before"]
    (refusal,) = found.refused
    assert (refusal.reason, refusal.records) == ("more labels than its message can hold", 2_001)


@both
def test_a_series_without_a_name_and_a_time_that_cannot_be_are_refused(format_name: str) -> None:
    series = [Told({"a": "b"}, [(1.0, AT)]), Told({"__name__": "a"}, [(1.0, -5), (2.0, AT)])]
    message = request_2(series) if format_name == REMOTE_WRITE_2_FORMAT else request(series)
    found = DECODERS[format_name]([message.SerializeToString()])
    assert [row["value"] for row in rows_of(found)] == [2.0]
    assert [(one.reason, one.records) for one in found.refused] == [
        ("a series without a name", 1), ("a time that no column holds", 1),
    ]  # fmt: skip


def test_symbols_that_there_are_not_refuse_their_series_only() -> None:
    message = request_2([told("a"), told("b"), told("c")])
    message.timeseries[0].labels_refs[1] = 99
    message.timeseries[1].labels_refs.append(1)
    found = DECODERS[REMOTE_WRITE_2_FORMAT]([message.SerializeToString()])
    assert [row["name"] for row in rows_of(found)] == ["c"]
    assert [(one.reason, one.records) for one in found.refused] == [
        ("a series that refers to symbols that its message does not have", 2)
    ]


def test_symbols_are_those_of_the_own_message() -> None:
    messages = [request_2([told(name)]).SerializeToString() for name in ("a", "bb", "a")]
    found = rows_of(DECODERS[REMOTE_WRITE_2_FORMAT](messages))
    assert [row["name"] for row in found] == ["a", "bb", "a"]


def test_when_a_count_began_is_told_by_sample_or_series() -> None:
    sample = Told({"__name__": "a_total"}, [(1.0, AT)], start=AT - 60_000)
    assert one(REMOTE_WRITE_2_FORMAT, sample)["start_time"] == TIME - 60_000_000_000
    message = request_2([told("a_total"), Told({"__name__": "h"}, histograms=[NATIVE])])
    for series in message.timeseries:
        series.created_timestamp = AT - 1000
    found = rows_of(DECODERS[REMOTE_WRITE_2_FORMAT]([message.SerializeToString()]))
    assert [row["start_time"] for row in found] == [TIME - 1_000_000_000] * 2


def test_types_of_parts_are_told_with_each_series() -> None:
    parts = [
        Told(part.labels, part.samples, type="histogram", unit="seconds")
        for part in histogram("h_total", [("1", 2), ("+Inf", 6)], 7.5)
    ]
    row = one(REMOTE_WRITE_2_FORMAT, *parts)
    assert (row["name"], row["unit"]) == ("h_total", "s")
    summary = [
        Told({"__name__": "s", "quantile": "0.5"}, [(1.0, AT)], type="summary"),
        Told({"__name__": "s_sum"}, [(3.0, AT)], type="summary"),
        Told({"__name__": "s_count"}, [(2.0, AT)], type="summary"),
    ]
    row = one(REMOTE_WRITE_2_FORMAT, *summary)
    assert (row["type"], row["quantiles"], row["count"]) == ("summary", [0.5], 2)


@both
def test_secret_labels_are_masked_and_callers_are_not(format_name: str) -> None:
    series = told("a", api_token="hunter2", client_id="web.shop", code="503")
    exemplar = Told(series.labels, exemplars=[({"authorization": "hunter3"}, 1.0, AT)])
    body = written(format_name, [series, exemplar])
    admission = admit(format_name, body, MaskedKeys())
    assert (admission.records, admission.rejected, len(admission.body)) == (2, 0, len(body))
    assert b"hunter" not in admission.body
    (row,) = rows_of(DECODERS[format_name]([admission.body]))
    assert row["attributes"] == {"api_token": "*******", "client_id": "web.shop", "code": "503"}


def test_a_message_becomes_rows(golden: Golden) -> None:
    series = [
        told("istio_requests_total", 1027, reporter="destination", response_code="200"),
        *histogram("latency_ms", [("1", 3), ("5", 9), ("+Inf", 10)], 31.5),
        told("scattered_bucket", 4, le="1"),
        told("up", STALE_NAN),
        Told({"__name__": "rpc", **TARGET}, histograms=[NATIVE], type="histogram", unit="seconds"),
        Told({"__name__": "lonely"}, exemplars=[({"trace_id": "0af7"}, 0.25, AT)]),
        Told({"no": "name"}, [(1.0, AT)]),
    ]
    found = DECODERS[REMOTE_WRITE_2_FORMAT]([request_2(series).SerializeToString()])
    shown = orjson.dumps(
        {"rows": rows_of(found), "refused": [one.reason for one in found.refused]},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )
    golden.check(HERE / "remote_write_2.out.json", shown.decode() + "\n")


LABELS = st.dictionaries(
    st.sampled_from(["a", "le", "quantile", "job", "instance", "x.y"]),
    st.sampled_from(["1", "0.5", "+Inf", "ü", "z", ""]),
    max_size=4,
)
NAMES = st.sampled_from(["a", "a_total", "h_bucket", "h_sum", "h_count", "h", "s", "s_sum"])
SAMPLES = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 9).map(float), st.floats(), st.just(STALE_NAN)),
        st.sampled_from([AT, AT + 1, -1]),
    ),
    max_size=2,
)
EXEMPLARS = st.lists(st.tuples(LABELS, st.floats(), st.sampled_from([0, AT])), max_size=2)
HISTOGRAMS = st.lists(
    st.sampled_from([NATIVE, NATIVE | {"schema": 99}, NATIVE | {"sum": STALE_NAN}]), max_size=2
)
SERIES = st.builds(
    lambda name, labels, *rest: Told({"__name__": name, **labels}, *rest),
    NAMES, LABELS, SAMPLES, EXEMPLARS, HISTOGRAMS,
)  # fmt: skip


@given(st.lists(SERIES, max_size=8))
def test_both_versions_say_the_same(series: list[Told]) -> None:
    first, second = (DECODERS[name]([written(name, series)]) for name in FORMATS)
    assert rows_of(first) == rows_of(second)
    assert [(one.reason, one.records) for one in first.refused] == [
        (one.reason, one.records) for one in second.refused
    ]
    values = [sample for one in series for sample in one.samples]
    assert first.batches["metric_points"].num_rows <= len(values) + sum(
        len(one.exemplars) + len(one.histograms) for one in series
    )


@both
@given(st.lists(SERIES, min_size=1, max_size=6), st.integers(0, 2**32), st.integers(0, 4))
def test_damaged_bytes_give_rows_or_refusals(
    format_name: str, series: list[Told], seed: int, wounds: int
) -> None:
    check_any(format_name, damaged(written(format_name, series), seed, wounds))


@both
@given(st.binary(max_size=80))
def test_any_bytes_give_rows_or_refusals(format_name: str, message: bytes) -> None:
    check_any(format_name, message)


def check_any(format_name: str, message: bytes) -> None:
    found = DECODERS[format_name]([message])
    whole = any(refusal.whole for refusal in found.refused)
    assert not (whole and rows_of(found))
    for refusal in found.refused:
        assert refusal.offset is None or 0 <= refusal.offset <= len(message)
    try:
        admission = admit(format_name, message, MaskedKeys())
    except DecodeError:
        assert whole
        return
    parsed = parsed_as(format_name, message)
    if parsed is None:
        return  # text that is not UTF-8 is mended here, and refused there
    told_records = sum(
        len(one.samples) + len(one.histograms) + len(one.exemplars) for one in parsed.timeseries
    )
    assert admission.records + admission.rejected == told_records
    assert admission.rejected == sum(refusal.records for refusal in found.refused)


def parsed_as(format_name: str, message: bytes) -> Any:
    try:
        return PARSERS[format_name].FromString(message)
    except ProtobufError:
        return None
