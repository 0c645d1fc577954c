"""Messages cut on the wire say together what the one said, however they were written."""

from random import Random

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from collectors.cut.body import LEVELS, smaller
from collectors.cut.wire import Level, cut
from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.errors import DecodeError
from pipeline.model.topics import FORMAT_SIGNAL
from tests.pipeline.decode import als_strategies, otlp_strategies, trace_oracle
from tests.pipeline.decode.wire_writer import encode, tagged, varint

NOTHING = MaskedKeys(())
REQUESTS = {
    "otlp_traces": trace_oracle.TRACE_REQUESTS,
    "otlp_metrics": otlp_strategies.METRIC_REQUESTS,
    "otlp_logs": otlp_strategies.LOG_REQUESTS,
    "envoy_als": als_strategies.MESSAGES,
}
ONE = (Level(frozenset({1})),)


def decoded(name: str, messages: list[bytes]) -> tuple[list[str], set[str], int]:
    """Records in order, everything interned, and how many records were refused."""
    answer = DECODERS[name](messages)
    batches = {table: texts(rows) for table, rows in answer.batches.items()}
    records = batches.pop(FORMAT_SIGNAL[name], [])
    refused = sum(one.records for one in answer.refused)
    return records, {row for rows in batches.values() for row in rows}, refused


def texts(rows: pa.Table) -> list[str]:
    """Rows as text: NaN is not equal to itself, its text is."""
    frame = pl.DataFrame(rows).with_columns(cs.temporal().to_physical())
    return [str(row) for row in frame.rows()]


@pytest.mark.parametrize("name", sorted(REQUESTS))
@settings(deadline=None)  # the first example may wait for kernels to be read
@given(data=st.data(), size=st.integers(-10, 1500), seed=st.none() | st.integers(0, 2**32))
def test_parts_decode_to_the_records_of_the_whole(name, data, size, seed):
    request = data.draw(REQUESTS[name])
    whole = encode(request, None if seed is None else Random(seed))
    parts = list(smaller(name, whole, size=size))
    records, interned, refused = decoded(name, [whole])
    assert decoded(name, parts)[0] == records
    assert decoded(name, parts)[2] == refused
    # of resources without records only the whole may tell
    assert decoded(name, parts)[1] <= interned
    for part in parts:
        admission = admit(name, part, NOTHING)
        assert len(part) <= size or admission.records + admission.rejected <= 1


@pytest.mark.parametrize("name", sorted(LEVELS))
@settings(deadline=None)
@given(whole=st.binary(max_size=60), size=st.integers(0, 20))
def test_any_bytes_are_cut_or_refused(name, whole, size):
    try:
        parts = list(smaller(name, whole, size=size))
    except DecodeError:
        with pytest.raises(DecodeError):
            admit(name, whole, NOTHING)
    else:
        assert parts


def test_members_are_taken_together_as_far_as_they_fit():
    members = [tagged(1, 2, bytes([n]) * 8) for n in range(7)]
    parts = list(cut(b"".join(members), ONE, size=30))
    assert parts == [b"".join(members[:3]), b"".join(members[3:6]), members[6]]


def test_what_stands_beside_the_members_is_in_every_part_wherever_it_stood():
    first, last = tagged(9, 0, b"\x05"), tagged(3, 2, b"beside")
    members = [tagged(1, 2, b"m" * 20) for _ in range(3)]
    whole = members[0] + first + members[1] + members[2] + last
    assert list(cut(whole, ONE, size=40)) == [first + last + member for member in members]


def test_groups_and_fixed_numbers_are_stepped_over():
    group = varint(7 << 3 | 3) + varint(8 << 3 | 3) + tagged(1, 2, b"in") + varint(8 << 3 | 4)
    beside = group + varint(7 << 3 | 4) + tagged(1, 5, b"four") + tagged(1, 1, b"eight888")
    members = [tagged(1, 2, b"m" * 20) for _ in range(2)]
    parts = list(cut(beside.join(members), ONE, size=40))
    assert parts == [beside + member for member in members]


def test_a_metric_told_in_pieces_is_put_together_before_it_is_cut():
    metric = Metric(name="requests")
    metric.sum.aggregation_temporality = 2
    for value in range(4):
        metric.sum.data_points.add(as_int=value, time_unix_nano=1)
    points = metric.sum.SerializeToString()
    sum_last = tagged(7, 2, points[:-2]) + tagged(7, 2, points[-2:]) + tagged(1, 2, b"requests")
    assert Metric.FromString(sum_last) == metric
    parts = [Metric.FromString(one) for one in cut(sum_last, LEVELS["otlp_metrics"][3:], size=40)]
    assert [point.as_int for part in parts for point in part.sum.data_points] == [0, 1, 2, 3]
    assert len(parts) > 1
    assert {(part.name, part.sum.aggregation_temporality) for part in parts} == {("requests", 2)}


def test_a_metric_with_data_of_two_kinds_stays_whole():
    gauge, counter = Metric(name="a"), Metric()
    gauge.gauge.data_points.add(as_int=1)
    counter.sum.data_points.add(as_int=2)
    whole = gauge.SerializeToString() + counter.SerializeToString()
    assert list(cut(whole, LEVELS["otlp_metrics"][3:], size=5)) == [whole]


@pytest.mark.parametrize(
    "broken",
    [b"\x0a\x05abc", b"\x0f", b"\x0c", b"\x0b\x14", b"\x0b", b"\x80" * 12, b"\x09abc"],
)
def test_what_is_not_protobuf_is_refused(broken):
    with pytest.raises(DecodeError, match="malformed protobuf"):
        list(cut(broken, ONE, size=0))
