"""OTLP metrics: ``ExportMetricsServiceRequest`` to rows of ``metric_points``.

All five kinds of data share one table of points; that the cell ``gauge``, ``sum`` and so on is told
says which kind a point is of, and where its bytes are. A metric's data is a oneof: points of an
alternative that another one overrode do not count.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import NOTHING, numbers, texts, times
from pipeline.decode.kernels.json_text import double_texts, objects
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.lists import lists, varint_lists
from pipeline.decode.otlp.json_records import Field, arrays, ready_texts
from pipeline.decode.otlp.mesh_identities import mesh_identities
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.declaration import Action, Check, Each, Enter, Messages, Row, Store
from pipeline.decode.wire.intern import RESOURCE_ROWS, SCOPE_ROWS
from pipeline.decode.wire.otlp_common import COMMON
from pipeline.decode.wire.refusals import LONGEST_NAME, Bad, too_long, with_bad
from pipeline.decode.wire.walk import Format, Rows, Walked
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.tables import METRIC_POINTS, RESOURCES, SCOPES

Truths = NDArray[np.bool_]

KINDS: Final = {
    5: "gauge",
    7: "sum",
    9: "histogram",
    10: "exponential_histogram",
    11: "summary",
}
"""Field numbers of Metric's data, and what the column ``type`` says of each."""

NUMBERS: Final = (5, 7)
HISTOGRAM, EXPONENTIAL, SUMMARY = 9, 10, 11
AS_DOUBLE, AS_INT = 4, 6
LATE: Final = "a time after the year 2262"
LONG: Final = f"a metric's name or unit longer than {LONGEST_NAME:,} bytes"

_NUMBER: Final[dict[int, Action]] = {
    AS_DOUBLE: Store("fixed64", "number", case="number_kind"),
    AS_INT: Store("fixed64", "number", case="number_kind"),
}


def _point(attributes: int, flags: int, exemplars: int = 0) -> dict[int, Action]:
    """What all kinds of points have; the field numbers of three things differ."""
    fields: dict[int, Action] = {
        2: Store("fixed64", "start_time"),
        3: Store("fixed64", "time"),
        attributes: Row("KeyValue", "attributes"),
        flags: Store("uint32", "flags"),
    }
    if exemplars:
        fields[exemplars] = Row("Exemplar", "exemplars")
    return fields


def _buckets(side: str) -> dict[int, Action]:
    return {1: Store("sint32", f"{side}_offset"), 2: Each("int64", f"{side}_counts")}


_STATISTICS: Final[dict[int, Action]] = {
    4: Store("fixed64", "count"),
    5: Store("fixed64", "sum_told"),
}

MESSAGES: Final[Messages] = {
    **COMMON,
    "ExportMetricsServiceRequest": {1: Row("ResourceMetrics", "resource_metrics")},
    "ResourceMetrics": {
        1: Row("Resource", "resources", raw="raw"),
        2: Row("ScopeMetrics", "scope_metrics"),
    },
    "ScopeMetrics": {
        1: Row("InstrumentationScope", "scopes", raw="raw"),
        2: Row("Metric", "metrics"),
    },
    "Metric": {
        1: Store("bytes", "name"),
        3: Store("bytes", "unit"),
        12: Check("KeyValue"),
        **{number: Enter(kind, case="data") for number, kind in KINDS.items()},
    },
    "gauge": {1: Row("NumberDataPoint", "points", raw="gauge")},
    "sum": {
        1: Row("NumberDataPoint", "points", raw="sum"),
        2: Store("int32", "sum_temporality"),
        3: Store("bool", "is_monotonic"),
    },
    "histogram": {
        1: Row("HistogramDataPoint", "points", raw="histogram"),
        2: Store("int32", "histogram_temporality"),
    },
    "exponential_histogram": {
        1: Row("ExponentialHistogramDataPoint", "points", raw="exponential_histogram"),
        2: Store("int32", "exponential_histogram_temporality"),
    },
    "summary": {1: Row("SummaryDataPoint", "points", raw="summary")},
    "NumberDataPoint": {**_point(7, 8, 5), **_NUMBER},
    "HistogramDataPoint": {
        **_point(9, 10, 8),
        **_STATISTICS,
        6: Each("fixed64", "bucket_counts"),
        7: Each("fixed64", "explicit_bounds"),
        11: Store("fixed64", "min"),
        12: Store("fixed64", "max"),
    },
    "ExponentialHistogramDataPoint": {
        **_point(1, 10, 11),
        **_STATISTICS,
        6: Store("sint32", "scale"),
        7: Store("fixed64", "zero_count"),
        8: Enter("PositiveBuckets"),
        9: Enter("NegativeBuckets"),
        12: Store("fixed64", "min"),
        13: Store("fixed64", "max"),
        14: Store("fixed64", "zero_threshold"),
    },
    "PositiveBuckets": _buckets("positive"),
    "NegativeBuckets": _buckets("negative"),
    "SummaryDataPoint": {**_point(7, 8), **_STATISTICS, 6: Row("ValueAtQuantile", "quantiles")},
    "ValueAtQuantile": {1: Store("fixed64", "quantile"), 2: Store("fixed64", "value")},
    "Exemplar": {
        2: Store("fixed64", "time"),
        4: Store("bytes", "span_id"),
        5: Store("bytes", "trace_id"),
        7: Row("KeyValue", "exemplar_attributes"),
        3: Store("fixed64", "number", case="number_kind", told=AS_DOUBLE),
        6: Store("fixed64", "number", case="number_kind", told=AS_INT),
    },
}

OTLP_METRICS: Final = Format("otlp_metrics", "ExportMetricsServiceRequest", MESSAGES)

EXEMPLAR_FIELDS: Final = (
    Field("time_unix_nano", "unsigned", "time", always=True),
    Field("value", "signed", "number", case=("number_kind", AS_INT), always=True),
    Field("value", "json"),
    Field("trace_id", "hex", "trace_id"),
    Field("span_id", "hex", "span_id"),
    Field("attributes", "json"),
)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``ExportMetricsServiceRequest`` messages."""
    walked = OTLP_METRICS.walk(messages)
    points, metrics = walked.rows("points"), walked.rows("metrics")
    kinds = metrics.column("data")[points.parents]
    kept = _is_of_kind(points, kinds) & ~_late(points) & ~_long(metrics)[points.parents]
    scope_metrics = metrics.parents[points.parents]
    resource_metrics = walked.rows("scope_metrics").parents[scope_metrics]
    resources = RESOURCE_ROWS.intern(walked, "resource_metrics", "resources")
    scopes = SCOPE_ROWS.intern(walked, "scope_metrics", "scopes")
    columns = {
        "resource_id": resources.ids(resource_metrics),
        "scope_id": scopes.ids(scope_metrics),
        **_of_points(walked, points),
        **_of_metrics(walked, points.parents, kinds),
        **_numbers(points, kinds),
        **_histograms(walked, points, kinds),
        **_exponential(walked, points, kinds),
        **_summaries(walked, points, kinds),
        "exemplars": _exemplars(walked, len(points)),
    }
    table = pa.table([columns[name] for name in METRIC_POINTS.names], METRIC_POINTS.arrow)
    return Decoded(
        {
            METRIC_POINTS.name: table.filter(pa.array(kept)),
            RESOURCES.name: resources.batch(resource_metrics[kept]),
            SCOPES.name: scopes.batch(scope_metrics[kept]),
        },
        refused(walked),
    )


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Malformed messages, points with a time that no column holds, and those of endless names."""
    points, metrics = walked.rows("points"), walked.rows("metrics")
    valid = _is_of_kind(points, metrics.column("data")[points.parents])
    long = _long(metrics)[points.parents]
    resource_metrics = walked.rows("scope_metrics").parents[metrics.parents[points.parents]]
    messages = walked.rows("resource_metrics").parents[resource_metrics]
    return with_bad(
        walked,
        *(
            Bad(messages[bad], _places(points)[bad], reason)
            for bad, reason in ((valid & long, LONG), (valid & ~long & _late(points), LATE))
        ),
    )


def _long(metrics: Rows) -> Truths:
    """Which metrics have a name or unit that cannot stand in every row."""
    return too_long(metrics.column("name")) | too_long(metrics.column("unit"))


def _late(points: Rows) -> Truths:
    """Whether a time is past 63 bits of nanoseconds."""
    late: Truths = (points.column("time") < 0) | (points.column("start_time") < 0)
    return late


def _is_of_kind(points: Rows, kinds: Ints) -> Truths:
    """Whether a point is of the kind that its metric was told to be last."""
    valid = np.zeros(len(points), np.bool_)
    for number, kind in KINDS.items():
        valid |= points.present(kind) & (kinds == number)
    return valid


def _places(points: Rows) -> Ints:
    places = np.zeros(len(points), np.int64)
    for kind in KINDS.values():
        places |= points.column(kind)
    return places


def _of_points(walked: Walked, points: Rows) -> dict[str, pa.Array]:
    time, start = points.column("time"), points.column("start_time")
    return {
        "time": times(time, time > 0),
        "start_time": times(start, start > 0),
        "flags": numbers(points.column("flags"), pa.uint32()),
        "attributes": objects(walked.buffer, walked.rows("attributes"), len(points)),
    }


def _of_metrics(walked: Walked, parents: Ints, kinds: Ints) -> dict[str, pa.Array]:
    metrics = walked.rows("metrics")
    temporality = np.zeros(len(parents), np.int64)
    tells = np.zeros(len(parents), np.bool_)
    for number in (7, HISTOGRAM, EXPONENTIAL):
        here = kinds == number
        told = metrics.column(f"{KINDS[number]}_temporality")[parents]
        temporality[here] = np.where((told == 1) | (told == 2), told, 0)[here]
        tells |= here
    monotonic = metrics.column("is_monotonic")[parents] != 0
    place = pa.array(parents)
    short = ~_long(metrics)
    known, index = np.unique(kinds, return_inverse=True)
    words = pa.array([KINDS.get(kind) for kind in known.tolist()], pa.string())
    return {
        "name": texts(walked.buffer, short * metrics.column("name"), empty_is_null=False).take(
            place
        ),
        "unit": texts(walked.buffer, short * metrics.column("unit")).take(place),
        "type": words.take(pa.array(index)),
        "temporality": numbers(temporality, pa.uint8(), tells),
        "is_monotonic": pa.array(monotonic, mask=kinds != 7),
    }


def _numbers(points: Rows, kinds: Ints) -> dict[str, pa.Array]:
    kind, number = points.column("number_kind"), np.ascontiguousarray(points.column("number"))
    value = np.where(kind == AS_INT, number.astype(np.float64), number.view(np.float64))
    ours = np.isin(kinds, NUMBERS)
    return {
        "value": pa.array(value, mask=~(ours & (kind != 0))),
        "value_int": numbers(number, pa.int64(), ours & (kind == AS_INT)),
    }


def _histograms(walked: Walked, points: Rows, kinds: Ints) -> dict[str, pa.Array]:
    counts = ~np.isin(kinds, NUMBERS)
    ours = kinds == HISTOGRAM
    told = points.present("sum_told") | (kinds == SUMMARY)
    return {
        "count": numbers(points.column("count"), pa.uint64(), counts),
        "sum": numbers(points.column("sum_told"), pa.float64(), counts & told),
        "min": numbers(points.column("min"), pa.float64(), points.present("min")),
        "max": numbers(points.column("max"), pa.float64(), points.present("max")),
        "explicit_bounds": _list(walked, "explicit_bounds", pa.float64(), ours),
        "bucket_counts": _list(walked, "bucket_counts", pa.uint64(), ours),
    }


def _exponential(walked: Walked, points: Rows, kinds: Ints) -> dict[str, pa.Array]:
    ours = kinds == EXPONENTIAL
    columns = {
        "scale": numbers(points.column("scale"), pa.int32(), ours),
        "zero_count": numbers(points.column("zero_count"), pa.uint64(), ours),
        "zero_threshold": numbers(points.column("zero_threshold"), pa.float64(), ours),
    }
    for side in ("positive", "negative"):
        columns[f"{side}_offset"] = numbers(points.column(f"{side}_offset"), pa.int32(), ours)
        counts = walked.rows(f"{side}_counts")
        told = varint_lists(walked.buffer, counts, len(points), pa.uint64())
        columns[f"{side}_counts"] = _only(told, ours)
    return columns


def _list(walked: Walked, table: str, kind: pa.DataType, ours: Truths) -> pa.Array:
    return _only(lists(walked.buffer, walked.rows(table), len(ours), kind), ours)


def _only(values: pa.Array, ours: Truths) -> pa.Array:
    """Lists, with None for rows that can have none."""
    offsets = values.offsets
    return pa.ListArray.from_arrays(offsets, values.values, mask=pa.array(~ours))


def _summaries(walked: Walked, points: Rows, kinds: Ints) -> dict[str, pa.Array]:
    rows = walked.rows("quantiles")
    counts = np.bincount(rows.parents, minlength=len(points))
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
    mask = pa.array(kinds != SUMMARY)
    return {
        column: pa.ListArray.from_arrays(
            offsets, numbers(rows.column(cell), pa.float64()), mask=mask
        )
        for column, cell in (("quantiles", "quantile"), ("quantile_values", "value"))
    }


def _exemplars(walked: Walked, points: int) -> pa.Array:
    rows = walked.rows("exemplars")
    text, slices = double_texts(np.ascontiguousarray(rows.column("number")))
    slices[rows.column("number_kind") != AS_DOUBLE] = NOTHING
    told = objects(walked.buffer, walked.rows("exemplar_attributes"), len(rows))
    ready = {"value": (text, slices), "attributes": ready_texts(told)}
    return arrays(walked.buffer, rows, points, EXEMPLAR_FIELDS, ready)


def _hide(walked: Walked, masked: MaskedKeys) -> bool:
    return masked.mask(walked, {}, {"attributes": mesh_identities(walked)})


GATE: Final = WireGate(OTLP_METRICS, ("points",), refused, hide=_hide)
"""What the door knows of metrics."""
