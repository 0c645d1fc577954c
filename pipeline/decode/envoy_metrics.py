"""Envoy's metrics service: ``StreamMetricsMessage`` to rows of ``metric_points``.

Metrics have the names that they have when Envoy is scraped, so that they are the same whichever way
they came: ``cluster.upstream_rq_total`` becomes ``envoy_cluster_upstream_rq_total``, its tag
``envoy.cluster_name`` the attribute ``envoy_cluster_name``. For that Envoy must tell tags as labels
(``emit_tags_as_labels``); else the tags' values stay in the names.

Histograms and summaries tell what happened since the last message: Envoy sends those of its
intervals. Counters go up from the start, unless they are ``report_counters_as_deltas``, of which a
message says nothing: then the metadata of the node must, by ``report_counters_as_deltas: true``.
Sources: Envoy ``source/extensions/stat_sinks/metrics_service``, ``source/server/admin/
prometheus_stats.cc``; field numbers from ``envoy/service/metrics/v3/metrics_service.proto`` and
prometheus/client_model ``io/prometheus/client/metrics.proto``.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.envoy.als_messages import MESSAGES as NODE_MESSAGES
from pipeline.decode.envoy.resources import nodes_of, resources_of
from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import numbers, texts, times
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.json_text import objects
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.privacy.label_masking import overwrite, secret_labels
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.prometheus.classic_histogram import Ladder, buckets_of, ladder_of
from pipeline.decode.prometheus.families import GAUGE, HISTOGRAM, SUM, SUMMARY
from pipeline.decode.prometheus.label_rows import labels_of
from pipeline.decode.prometheus.metric_points import CUMULATIVE, points_table
from pipeline.decode.prometheus.samples import Truths
from pipeline.decode.prometheus.units import ucum
from pipeline.decode.wire.declaration import Check, Enter, Messages, Row, Store
from pipeline.decode.wire.refusals import LONGEST_NAME, Bad, too_long, with_bad
from pipeline.decode.wire.walk import Format, Rows, Walked
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.tables import METRIC_POINTS, RESOURCES

DELTA: Final = 1
DELTAS_KEY: Final = "report_counters_as_deltas"
"""Key of a node's metadata that says that its counters are deltas."""

LONG: Final = f"a metric's name longer than {LONGEST_NAME:,} bytes"
LATE: Final = "a time before 1970 or after the year 2116"
BAD: Final = "a metric without a value of its type, or whose counts go down"

_REASONS: Final = ("", LONG, LATE, BAD)
_LONG, _LATE, _BAD = range(1, len(_REASONS))

_MILLISECOND: Final = 1_000_000
_LAST: Final = (1 << 62) // _MILLISECOND
_KINDS: Final = {
    0: ("counter", SUM),
    1: ("gauge", GAUGE),
    2: ("summary", SUMMARY),
    3: ("untyped", GAUGE),
    4: ("histogram", HISTOGRAM),
    5: ("histogram", HISTOGRAM),
}
"""By the number of a family's type: the part of a metric that has its value, and the rows' type."""
_NUMBERS: Final = ("counter", "gauge", "untyped")
_CUSTOM: Final = re.compile(r"^(istiocustom|wasmcustom)[._]")
"""Names that extensions choose freely; Envoy puts nothing in front of them."""
_STRANGE: Final = re.compile(r"[^a-zA-Z0-9_]")

MESSAGES: Final[Messages] = {
    **NODE_MESSAGES,
    "StreamMetricsMessage": {
        1: Row("Identifier", "identifiers"),
        2: Row("MetricFamily", "families"),
    },
    "Identifier": {1: Enter("Node")},
    "MetricFamily": {
        1: Store("bytes", "name"),
        3: Store("int32", "type"),
        4: Row("Metric", "metrics", raw="raw"),
        5: Store("bytes", "unit"),
    },
    "Metric": {
        1: Row("LabelPair", "labels"),
        2: Enter("gauge", "gauge"),
        3: Enter("counter", "counter"),
        4: Enter("Summary", "summary"),
        5: Enter("untyped", "untyped"),
        6: Store("int64", "timestamp"),
        7: Enter("Histogram", "histogram"),
    },
    "LabelPair": {1: Store("bytes", "key"), 2: Store("bytes", "value")},
    "counter": {
        1: Store("fixed64", "counter.value"),
        2: Check("Exemplar"),
        3: Check("Timestamp"),
    },
    "gauge": {1: Store("fixed64", "gauge.value")},
    "untyped": {1: Store("fixed64", "untyped.value")},
    "Summary": {
        1: Store("int64", "summary.count"),
        2: Store("fixed64", "summary.sum"),
        3: Row("Quantile", "quantiles"),
        4: Check("Timestamp"),
    },
    "Quantile": {1: Store("fixed64", "bound"), 2: Store("fixed64", "value")},
    "Histogram": {
        1: Store("int64", "histogram.count"),
        2: Store("fixed64", "histogram.sum"),
        3: Row("Bucket", "buckets"),
        9: Check("BucketSpan"),
        12: Check("BucketSpan"),
        15: Check("Timestamp"),
        16: Check("Exemplar"),
    },
    "Bucket": {
        1: Store("int64", "value"),
        2: Store("fixed64", "bound"),
        3: Check("Exemplar"),
    },
    "BucketSpan": {},
    "Timestamp": {},
    "Exemplar": {1: Check("LabelPair"), 3: Check("Timestamp")},
}

ENVOY_METRICS: Final = Format("envoy_metrics", "StreamMetricsMessage", MESSAGES)


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``StreamMetricsMessage`` messages."""
    walked = ENVOY_METRICS.walk(messages)
    metrics, families = walked.rows("metrics"), walked.rows("families")
    parents = families.parents[metrics.parents]
    kinds = families.column("type")[metrics.parents]
    buckets, totals, quantiles = _ladders(walked)
    faults = _faults(walked, buckets)
    kept = faults == 0
    ids, resources = resources_of(walked, parents, kept)
    stamps = np.clip(metrics.column("timestamp"), 0, _LAST) * _MILLISECOND
    columns = {
        "time": times(stamps, stamps > 0),
        "resource_id": ids,
        "flags": pa.array(np.zeros(len(metrics), np.uint32)),
        "attributes": _attributes(walked),
        **_of_families(walked, metrics.parents),
        **_temporality(walked, kinds, parents),
        **_values(metrics, kinds),
        **_statistics(metrics, kinds, totals),
        **_lists(buckets, quantiles, kinds, kept),
    }
    table = points_table(columns, len(metrics))
    return Decoded(
        {METRIC_POINTS.name: table.filter(pa.array(kept)), RESOURCES.name: resources},
        _refused(walked, faults),
    )


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Malformed messages, and metrics that no row can hold."""
    buckets, _, _ = _ladders(walked)
    return _refused(walked, _faults(walked, buckets))


def mask(walked: Walked, masked: MaskedKeys) -> bool:
    """Overwrite the values of secret labels in the walk's buffer; tells if it did."""
    labels = walked.rows("labels")
    secret = secret_labels(walked.buffer, labels.column("key"), masked.names)
    overwrite(walked.buffer, labels.column("value")[secret])
    return bool(secret.any())


def name_of(stat: str) -> str:
    """The name by which Envoy exposes a statistic to Prometheus."""
    custom = _CUSTOM.match(stat)
    plain = stat[custom.end() :] if custom else f"envoy_{stat}"
    return _STRANGE.sub("_", plain)


def _refused(walked: Walked, faults: Ints) -> tuple[Refusal, ...]:
    metrics, families = walked.rows("metrics"), walked.rows("families")
    messages, places = families.parents[metrics.parents], metrics.column("raw")
    return with_bad(
        walked,
        *(
            Bad(messages[faults == number], places[faults == number], reason)
            for number, reason in enumerate(_REASONS)
            if reason
        ),
    )


def _faults(walked: Walked, buckets: Ladder) -> Ints:
    """Of each metric the number of what is wrong with it, among ``_REASONS``."""
    metrics, families = walked.rows("metrics"), walked.rows("families")
    kinds = families.column("type")[metrics.parents]
    good = np.zeros(len(metrics), np.bool_)
    for number, (part, _) in _KINDS.items():
        good |= (kinds == number) & metrics.present(part)
    histogram = np.isin(kinds, (4, 5))
    told = np.bincount(walked.rows("buckets").parents, minlength=len(metrics)) > 0
    good &= ~(histogram & told) | buckets.good
    for part in ("summary", "histogram"):
        good &= metrics.column(f"{part}.count") >= 0
    stamps = metrics.column("timestamp")
    late = (stamps < 0) | (stamps > _LAST)
    long = too_long(families.column("name"))[metrics.parents]
    return np.select([long, late, ~good], [_LONG, _LATE, _BAD], 0)


def _ladders(walked: Walked) -> tuple[Ladder, np.ndarray[tuple[int], np.dtype[np.float64]], Ladder]:
    """The buckets of all metrics, how many measurements each has, and the quantiles."""
    metrics = walked.rows("metrics")
    rows, told = walked.rows("buckets"), walked.rows("quantiles")
    count = metrics.column("histogram.count")
    buckets, totals = buckets_of(
        np.ascontiguousarray(rows.parents),
        _doubles(rows.column("bound")),
        rows.column("value").astype(np.float64),
        np.where(metrics.present("histogram.count"), count, 0).astype(np.float64),
    )
    quantiles = ladder_of(
        np.ascontiguousarray(told.parents),
        _doubles(told.column("bound")),
        _doubles(told.column("value")),
        len(metrics),
    )
    return buckets, totals, quantiles


def _doubles(cells: Ints) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.ascontiguousarray(cells).view(np.float64)


def _attributes(walked: Walked) -> pa.Array:
    """Labels with keys as Prometheus has them."""
    rows = labels_of(walked.rows("labels"))
    _sanitize(walked.buffer, np.ascontiguousarray(rows.column("key")), _PLAIN)
    return objects(walked.buffer, rows, len(walked.rows("metrics")))


def _plain() -> Bytes:
    plain = np.zeros(256, np.uint8)
    for byte in range(256):
        plain[byte] = ord("_") if _STRANGE.match(chr(byte)) else byte
    return plain


_PLAIN: Final = _plain()


@kernel
def _sanitize(source: Buffer, slices: Ints, plain: Bytes) -> None:
    for one in slices:
        begin = one >> OFFSET_BITS
        for index in range(begin, begin + (one & LENGTH_MASK)):
            source.data[index] = plain[source.data[index]]


def _of_families(walked: Walked, parents: Ints) -> dict[str, pa.Array]:
    families = walked.rows("families")
    told = families.column("name")
    short = np.where(too_long(told), 0, told)
    places, kinds = distinct(walked.buffer, short)
    spelled = texts(walked.buffer, short[places], empty_is_null=False).to_pylist()
    names = pa.array([name_of(name) for name in spelled], pa.string())
    words = texts(walked.buffer, families.column("unit"), empty_is_null=False).to_pylist()
    types = [_KINDS.get(number, ("", None))[1] for number in families.column("type").tolist()]
    place = pa.array(parents)
    return {
        "name": names.take(pa.array(kinds)).take(place),
        "unit": pa.array([ucum(word) for word in words], pa.string()).take(place),
        "type": pa.array(types, pa.string()).take(place),
    }


def _temporality(walked: Walked, kinds: Ints, messages: Ints) -> dict[str, pa.Array]:
    """Counters go up or are deltas; histograms are of the interval."""
    deltas = [told.node.metadata.get(DELTAS_KEY) is True for told in nodes_of(walked)]
    counted = np.where(np.array(deltas, np.bool_)[messages], DELTA, CUMULATIVE)
    counter = kinds == 0
    temporality = np.where(counter, counted, DELTA).astype(np.uint8)
    tells = counter | (kinds == 4)
    return {
        "temporality": pa.array(temporality, mask=~tells),
        "is_monotonic": pa.array(np.ones(len(kinds), np.bool_), mask=~counter),
    }


def _values(metrics: Rows, kinds: Ints) -> dict[str, pa.Array]:
    values = np.zeros(len(kinds), np.float64)
    told = np.zeros(len(kinds), np.bool_)
    for number, (part, _) in _KINDS.items():
        if part in _NUMBERS:
            here = (kinds == number) & metrics.present(part)
            values[here] = _doubles(metrics.column(f"{part}.value"))[here]
            told |= here
    return {"value": pa.array(values, mask=~told)}


def _statistics(
    metrics: Rows, kinds: Ints, totals: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> dict[str, pa.Array]:
    summary, histogram = kinds == 2, np.isin(kinds, (4, 5))
    told = metrics.column("histogram.count")
    whole = np.where(np.isnan(totals), told, np.where(np.isnan(totals), 0.0, totals))
    count = np.where(summary, metrics.column("summary.count"), whole.astype(np.int64))
    sums = np.where(summary, metrics.column("summary.sum"), metrics.column("histogram.sum"))
    return {
        "count": numbers(np.maximum(count, 0), pa.uint64(), summary | histogram),
        "sum": numbers(sums, pa.float64(), summary | histogram),
    }


def _lists(buckets: Ladder, quantiles: Ladder, kinds: Ints, kept: Truths) -> dict[str, pa.Array]:
    rows = np.arange(len(kinds))
    histograms = np.where(kept & np.isin(kinds, (4, 5)), rows, -1)
    summaries = np.where(kept & (kinds == 2), rows, -1)
    bounded = buckets.some(~np.isposinf(buckets.bounds))
    count = len(kinds)
    return {
        "explicit_bounds": bounded.lists(bounded.bounds, histograms, count),
        "bucket_counts": buckets.lists(buckets.values, histograms, count).cast(
            pa.list_(pa.uint64())
        ),
        "quantiles": quantiles.lists(quantiles.bounds, summaries, count),
        "quantile_values": quantiles.lists(quantiles.values, summaries, count),
    }


GATE: Final = WireGate(ENVOY_METRICS, ("metrics",), refused, mask)
"""What the door knows of metrics of Envoy."""
