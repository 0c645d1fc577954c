"""Cuts bodies into bodies of a bounded size, between records and never inside one.

How depends on the format. Protobuf is cut level by level: an OTLP request is a sequence of resource
groups, and two requests written one after the other are one request, so groups are told apart by
their tags and lengths alone, and what is too large by itself is cut scope by scope and record by
record. Lines, scraped text and JSON documents have modules of their own.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

from collectors.cut import documents
from collectors.cut.exposition import cut_exposition
from collectors.cut.lines import line_parts
from collectors.cut.wire import Level, cut
from pipeline.errors import DecodeError, MessageTooLarge
from pipeline.model.topics import (
    ENVOY_ALS_FORMAT,
    ENVOY_METRICS_FORMAT,
    FORMATS,
    OTLP_LOGS_FORMAT as LOGS,
    OTLP_METRICS_FORMAT as METRICS,
    OTLP_TRACES_FORMAT as TRACES,
    REMOTE_WRITE_2_FORMAT,
    REMOTE_WRITE_FORMAT,
    ZIPKIN_PROTO_FORMAT,
    FormatKind,
)

GROUP: Final = 0x0A
"""The tag of a resource group: field 1, length-delimited, in the requests of all signals."""

_GROUPS: Final = Level(frozenset({1}))
_SCOPES: Final = Level(frozenset({2}))
_RECORDS: Final = Level(frozenset({2}))
_DATA: Final = Level(frozenset({5, 7, 9, 10, 11}), single=True)
_POINTS: Final = Level(frozenset({1}))

LEVELS: Final[dict[str, tuple[Level, ...]]] = {
    TRACES: (_GROUPS, _SCOPES, _RECORDS),
    LOGS: (_GROUPS, _SCOPES, _RECORDS),
    METRICS: (_GROUPS, _SCOPES, _RECORDS, _DATA, _POINTS),
    ENVOY_ALS_FORMAT: (Level(frozenset({2, 3})), Level(frozenset({1}))),
    ENVOY_METRICS_FORMAT: (Level(frozenset({2})), Level(frozenset({4}))),
    ZIPKIN_PROTO_FORMAT: (Level(frozenset({1})),),
    REMOTE_WRITE_FORMAT: (Level(frozenset({1})),),
    REMOTE_WRITE_2_FORMAT: (Level(frozenset({5})),),
}
"""On which fields the records of each protobuf format lie.

Of Envoy's access logs these are ``http_logs`` and ``tcp_logs``, each with ``log_entry``; the
identifier stands beside them. Of its metrics they are families, each with its metrics. Of remote
write they are the series; the types of metrics and the symbols stand beside them.
"""

_MAX_VARINT: Final = 10


def groups(stream: BinaryIO, *, limit: int) -> Iterator[bytes]:
    """The resource groups of one bare request, each with its tag, read one at a time.

    Raises:
        DecodeError: the bytes are not a request; names the offset.
        MessageTooLarge: a group is larger than ``limit`` bytes.
    """
    offset = 0
    while True:
        tag = stream.read(1)
        if not tag:
            return
        if tag[0] != GROUP:
            raise DecodeError("not a resource group", offset=offset)
        length, prefix = _length(stream, offset)
        if length > limit:
            raise MessageTooLarge(size=length, limit=limit, what="resource group")
        body = stream.read(length)
        if len(body) < length:
            raise DecodeError("the file ends in the middle of a resource group", offset=offset)
        yield tag + prefix + body
        offset += 1 + len(prefix) + length


def _length(stream: BinaryIO, offset: int) -> tuple[int, bytes]:
    taken = bytearray()
    while len(taken) < _MAX_VARINT:
        byte = stream.read(1)
        taken += byte
        if not byte or byte[0] < 0x80:
            break
    if not taken or taken[-1] >= 0x80:
        raise DecodeError("broken length", offset=offset)
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(taken)), bytes(taken)


def smaller(format_name: str, request: bytes, *, size: int) -> Iterator[bytes]:
    """Cut a request into requests of at most ``size`` bytes; one record may be larger by itself.

    Resource groups stay whole where they can, then scopes, then records; a record is what the
    answer to a sender counts, so a metric is cut between its data points. A metric with data of two
    kinds, which no sender may write, stays whole. Lines are cut between lines, scraped text between
    series, JSON documents between the items of an array.

    Raises:
        DecodeError: what had to be walked is not protobuf, or not JSON.
    """
    match FORMATS[format_name].kind:
        case FormatKind.PROTOBUF:
            return cut(request, LEVELS[format_name], size=size)
        case FormatKind.LINES:
            return line_parts(request, size=size)
        case FormatKind.EXPOSITION:
            return cut_exposition(request, size=size)
        case FormatKind.DOCUMENTS:
            return documents.cut(request, size=size)
