"""The messages of remote write as classes of the official protobuf library, from field numbers.

Written down a second time, from the published ``.proto`` files, so that what the decoders declare
is compared with something. ``request`` and ``request_2`` make messages of either version of plain
values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_TYPES: Final = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in (
        "double",
        "int64",
        "uint64",
        "sint32",
        "sint64",
        "uint32",
        "int32",
        "string",
        "bytes",
    )
}
_HISTOGRAM: Final = (
    "count/count_int uint64 1", "count/count_float double 2", "sum double 3", "schema sint32 4",
    "zero_threshold double 5", "zero/zero_count_int uint64 6", "zero/zero_count_float double 7",
    "*negative_spans BucketSpan 8", "*negative_deltas sint64 9", "*negative_counts double 10",
    "*positive_spans BucketSpan 11", "*positive_deltas sint64 12", "*positive_counts double 13",
    "reset_hint int32 14", "timestamp int64 15", "*custom_values double 16",
    "start_timestamp int64 17",
)  # fmt: skip
_SPAN: Final = ("offset sint32 1", "length uint32 2")
_FIRST: Final = {
    "WriteRequest": ("*timeseries TimeSeries 1", "*metadata MetricMetadata 3"),
    "MetricMetadata": (
        "type int32 1", "metric_family_name string 2", "help string 4", "unit string 5",
    ),
    "TimeSeries": (
        "*labels Label 1", "*samples Sample 2", "*exemplars Exemplar 3", "*histograms Histogram 4",
    ),
    "Label": ("name string 1", "value string 2"),
    "Sample": ("value double 1", "timestamp int64 2"),
    "Exemplar": ("*labels Label 1", "value double 2", "timestamp int64 3"),
    "Histogram": _HISTOGRAM[:-1],
    "BucketSpan": _SPAN,
}  # fmt: skip
_SECOND: Final = {
    "Request": ("*symbols string 4", "*timeseries TimeSeries 5"),
    "TimeSeries": (
        "*labels_refs uint32 1", "*samples Sample 2", "*histograms Histogram 3",
        "*exemplars Exemplar 4", "metadata Metadata 5", "created_timestamp int64 6",
    ),
    "Exemplar": ("*labels_refs uint32 1", "value double 2", "timestamp int64 3"),
    "Sample": ("value double 1", "timestamp int64 2", "start_timestamp int64 3"),
    "Metadata": ("type int32 1", "help_ref uint32 3", "unit_ref uint32 4"),
    "Histogram": _HISTOGRAM,
    "BucketSpan": _SPAN,
}  # fmt: skip


def classes(package: str, messages: Mapping[str, Sequence[str]]) -> dict[str, type[Message]]:
    """Classes of messages, each field told as ``[*][oneof/]name type number``."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for told in fields:
            _add(message, package, *told.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _add(message: Any, package: str, name: str, kind: str, number: str) -> None:
    repeated, name = name.startswith("*"), name.lstrip("*")
    oneof, _, name = name.rpartition("/")
    one = message.field.add(name=name, number=int(number), label=3 if repeated else 1)
    if kind in _TYPES:
        one.type = _TYPES[kind]
    else:
        one.type, one.type_name = (
            descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
            f".{package}.{kind}",
        )
    if oneof:
        known = [told.name for told in message.oneof_decl]
        if oneof not in known:
            message.oneof_decl.add(name=oneof)
            known.append(oneof)
        one.oneof_index = known.index(oneof)


WriteRequest: Final[Any] = classes("prometheus", _FIRST)["WriteRequest"]
Request: Final[Any] = classes("io.prometheus.write.v2", _SECOND)["Request"]

KINDS: Final = (
    "",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)
STALE: Final = b"\x02\x00\x00\x00\x00\x00\xf0\x7f"
"""The bytes of the NaN that ends a series, as protobuf writes them."""


@dataclass(frozen=True)
class Told:
    """One series as a sender has it; times are milliseconds."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, int]] = ()
    exemplars: Sequence[tuple[Mapping[str, str], float, int]] = ()
    histograms: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    type: str = ""
    unit: str = ""
    start: int = 0


def request(series: Iterable[Told], metadata: Iterable[tuple[str, str, str]] = ()) -> Any:
    """A message of version 1.0; metadata are name, type, unit."""
    message = WriteRequest()
    for told in series:
        one = message.timeseries.add()
        for name, value in told.labels.items():
            one.labels.add(name=name, value=value)
        for value, at in told.samples:
            one.samples.add(value=value, timestamp=at)
        for labels, value, at in told.exemplars:
            exemplar = one.exemplars.add(value=value, timestamp=at)
            for name, text in labels.items():
                exemplar.labels.add(name=name, value=text)
        for histogram in told.histograms:
            one.histograms.add(**histogram)
    for name, kind, unit in metadata:
        message.metadata.add(metric_family_name=name, type=KINDS.index(kind), unit=unit)
    return message


def request_2(series: Iterable[Told]) -> Any:
    """A message of version 2.0."""
    message, symbols = Request(symbols=[""]), {"": 0}

    def reference(text: str) -> int:
        if text not in symbols:
            symbols[text] = len(symbols)
            message.symbols.append(text)
        return symbols[text]

    def references(labels: Mapping[str, str]) -> list[int]:
        return [reference(text) for pair in labels.items() for text in pair]

    for told in series:
        one = message.timeseries.add(labels_refs=references(told.labels))
        for value, at in told.samples:
            one.samples.add(value=value, timestamp=at, start_timestamp=told.start)
        for labels, value, at in told.exemplars:
            one.exemplars.add(labels_refs=references(labels), value=value, timestamp=at)
        for histogram in told.histograms:
            one.histograms.add(**histogram, start_timestamp=told.start)
        one.metadata.type = KINDS.index(told.type)
        one.metadata.unit_ref = reference(told.unit)
    return message
