"""Wire bytes to columnar batches: pure functions, one file per format.

The only error that leaves this room is ``DecodeError``. A decoder takes many messages at once and
answers with one batch per table and the list of what it could not accept.

The files are formats, and ``door``, the check that collectors make. What formats share is in
folders: ``wire`` (protobuf), ``lines`` and ``records`` (text and JSON), ``kernels`` (what is
compiled), ``otlp``, ``envoy`` and ``prometheus`` (what those families say), and for the door
``gates`` (what it knows of each format) and ``privacy`` (what it hides).
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from pipeline.model.decoded import Decoded
from pipeline.model.topics import (
    ENVOY_ALS_FORMAT,
    ENVOY_METRICS_FORMAT,
    EXPOSITION_FORMATS,
    LINE_FORMATS,
    OTLP_LOGS_FORMAT,
    OTLP_METRICS_FORMAT,
    OTLP_TRACES_FORMAT,
    REMOTE_WRITE_2_FORMAT,
    REMOTE_WRITE_FORMAT,
    ZIPKIN_JSON_FORMAT,
    ZIPKIN_PROTO_FORMAT,
)


class Decoder(Protocol):
    """Decodes messages of one format; nothing but DecodeError leaves it, whatever the bytes."""

    def __call__(self, messages: Sequence[bytes], /) -> Decoded:
        """Decode messages, each for itself."""


MODULES: Final[Mapping[str, str]] = {
    OTLP_TRACES_FORMAT: "pipeline.decode.otlp_traces",
    OTLP_METRICS_FORMAT: "pipeline.decode.otlp_metrics",
    OTLP_LOGS_FORMAT: "pipeline.decode.otlp_logs",
    ENVOY_ALS_FORMAT: "pipeline.decode.envoy_als",
    ENVOY_METRICS_FORMAT: "pipeline.decode.envoy_metrics",
    "jaeger_json": "pipeline.decode.jaeger_json",
    ZIPKIN_JSON_FORMAT: "pipeline.decode.zipkin_json",
    ZIPKIN_PROTO_FORMAT: "pipeline.decode.zipkin_proto",
    **{name: f"pipeline.decode.{name}" for name in (REMOTE_WRITE_FORMAT, REMOTE_WRITE_2_FORMAT)},
    **{name: f"pipeline.decode.{name}" for name in (*LINE_FORMATS, *EXPOSITION_FORMATS)},
}
"""The module of each format: it has a function ``decode`` and, where senders bring the format to
the door, a ``GATE``, ``LINES`` where its records are lines, or ``DOCUMENTS`` where it is JSON. A
new format is one line here; one whose records are lines is one word in ``model/topics.py``."""


class _Decoders(Mapping[str, Decoder]):
    """Decoders by format, each imported when it is first asked for."""

    def __getitem__(self, format_name: str) -> Decoder:
        return cast("Decoder", import_module(MODULES[format_name]).decode)

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


DECODERS: Final[Mapping[str, Decoder]] = _Decoders()
"""The decoder of each format."""
