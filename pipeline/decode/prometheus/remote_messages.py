"""The messages of remote write, declared for the walk.

Field numbers from prometheus ``prompb/{remote,types}.proto`` (1.0) and
``prompb/io/prometheus/write/v2/types.proto`` (2.0). Both give the same tables:

* ``series``: one row for each ``TimeSeries``; ``samples``, ``exemplars``, ``histograms`` of it.
* ``labels`` and ``exemplar_labels``: of 1.0 keys and values, of 2.0 references to ``symbols``.
* of histograms the ``spans``, ``deltas`` and ``counts`` of either side, and ``custom_values``.

The time when a count began is told in 2.0: of each sample, and of the series in drafts of it.
"""

from typing import Final

from pipeline.decode.wire.declaration import Action, Each, Enter, Messages, Row, Store
from pipeline.decode.wire.walk import Format

SIDES: Final = ("positive", "negative")
INTEGERS, FRACTIONS = 1, 2
"""What a histogram counts in: the alternatives of ``count``."""

_LABEL: Final[dict[int, Action]] = {1: Store("bytes", "key"), 2: Store("bytes", "value")}

_HISTOGRAM: Final[dict[int, Action]] = {
    1: Store("int64", "count", case="counts_in", told=INTEGERS),
    2: Store("fixed64", "count", case="counts_in", told=FRACTIONS),
    3: Store("fixed64", "sum"),
    4: Store("sint32", "schema"),
    5: Store("fixed64", "zero_threshold"),
    6: Store("int64", "zero_count", case="zero_counts_in", told=INTEGERS),
    7: Store("fixed64", "zero_count", case="zero_counts_in", told=FRACTIONS),
    8: Row("BucketSpan", "negative_spans"),
    9: Each("sint64", "negative_deltas"),
    10: Each("fixed64", "negative_counts"),
    11: Row("BucketSpan", "positive_spans"),
    12: Each("sint64", "positive_deltas"),
    13: Each("fixed64", "positive_counts"),
    14: Store("int32", "reset_hint"),
    15: Store("int64", "timestamp"),
    16: Each("fixed64", "custom_values"),
    17: Store("int64", "start"),
}
_COMMON: Final[Messages] = {
    "Sample": {
        1: Store("fixed64", "value"),
        2: Store("int64", "timestamp"),
        3: Store("int64", "start"),
    },
    "Histogram": _HISTOGRAM,
    "BucketSpan": {1: Store("sint32", "offset"), 2: Store("uint32", "length")},
}

REMOTE_WRITE: Final = Format(
    "remote_write",
    "WriteRequest",
    {
        **_COMMON,
        "WriteRequest": {
            1: Row("TimeSeries", "series", raw="raw"),
            3: Row("MetricMetadata", "metadata"),
        },
        "MetricMetadata": {
            1: Store("int32", "type"),
            2: Store("bytes", "name"),
            5: Store("bytes", "unit"),
        },
        "TimeSeries": {
            1: Row("Label", "labels"),
            2: Row("Sample", "samples", raw="raw"),
            3: Row("Exemplar", "exemplars", raw="raw"),
            4: Row("Histogram", "histograms", raw="raw"),
        },
        "Label": _LABEL,
        "Exemplar": {
            1: Row("ExemplarLabel", "exemplar_labels"),
            2: Store("fixed64", "value"),
            3: Store("int64", "timestamp"),
        },
        "ExemplarLabel": _LABEL,
    },
)

REMOTE_WRITE_2: Final = Format(
    "remote_write_2",
    "Request",
    {
        **_COMMON,
        "Request": {4: Each("bytes", "symbols"), 5: Row("TimeSeries", "series", raw="raw")},
        "TimeSeries": {
            1: Each("uint32", "labels"),
            2: Row("Sample", "samples", raw="raw"),
            3: Row("Histogram", "histograms", raw="raw"),
            4: Row("Exemplar", "exemplars", raw="raw"),
            5: Enter("Metadata"),
            6: Store("int64", "start"),
        },
        "Metadata": {1: Store("int32", "type"), 4: Store("uint32", "unit")},
        "Exemplar": {
            1: Each("uint32", "exemplar_labels"),
            2: Store("fixed64", "value"),
            3: Store("int64", "timestamp"),
        },
    },
)

TYPES: Final = {
    1: "counter",
    2: "gauge",
    3: "histogram",
    4: "gaugehistogram",
    5: "summary",
    6: "info",
    7: "stateset",
}
"""The types of metrics, by their numbers in both versions."""
