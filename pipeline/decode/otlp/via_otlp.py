"""The way of trace formats that become OTLP first, so that one decoder holds the truth.

A converter turns one document into the bytes of OTLP trace requests; what it must set aside it
names with a reason. ``decode_through`` runs a converter over messages and hands the requests to the
OTLP decoder. This module must not know any foreign format.
"""

import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from pipeline.decode.kernels.deep_json import written
from pipeline.model.decoded import Decoded, Refusal

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
UINT32_MAX: Final = 2**32 - 1

Number = TypeVar("Number", int, float)

_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Refused:
    """Records of a document that could not become OTLP.

    Attributes:
        reason: what is wrong, in countable words.
        records: how many records; 1 for a document that could not be read at all.
        offset: first byte that could not be accepted; None where unknown.
    """

    reason: str
    records: int = 1
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """The answer of a converter.

    Attributes:
        requests: serialised ``ExportTraceServiceRequest`` messages; empty when nothing was taken.
        refused: what was set aside.
        spans: how many spans the requests hold.
    """

    requests: list[bytes] = field(default_factory=list)
    refused: tuple[Refused, ...] = ()
    spans: int = 0


class BadRecord(ValueError):
    """One record that cannot become a span; its text is the countable reason."""


class Gathering:
    """Spans of one document, gathered under their resources and scopes."""

    def __init__(self) -> None:
        self._request = ExportTraceServiceRequest()
        self._scopes: dict[tuple[object, str, str], ScopeSpans] = {}
        self._resources: dict[object, int] = {}
        self._reasons: Counter[str] = Counter()
        self._broken: list[Refused] = []
        self._spans = 0

    def add(
        self,
        span: Span,
        *,
        resource: object,
        attributes: Callable[[], Iterable[KeyValue]],
        scope: tuple[str, str] = ("", ""),
    ) -> None:
        """Put a span under the resource with this key; its attributes are asked for once."""
        key = (resource, *scope)
        spans = self._scopes.get(key)
        if spans is None:
            if resource not in self._resources:
                self._resources[resource] = len(self._request.resource_spans)
                self._request.resource_spans.add().resource.attributes.extend(attributes())
            holder = self._request.resource_spans[self._resources[resource]]
            spans = holder.scope_spans.add()
            if any(scope):
                spans.scope.CopyFrom(InstrumentationScope(name=scope[0], version=scope[1]))
            self._scopes[key] = spans
        spans.spans.append(span)
        self._spans += 1

    def refuse(self, reason: str) -> None:
        """Set one record aside."""
        self._reasons[reason] += 1

    def refuse_bytes(self, reason: str, offset: int) -> None:
        """Set aside text that could not be read, from this byte on."""
        self._broken.append(Refused(reason, offset=offset))

    def converted(self) -> Converted:
        """What was gathered so far, as one request."""
        refused = (*self._broken, *(Refused(*item) for item in sorted(self._reasons.items())))
        requests = [self._request.SerializeToString()] if self._spans else []
        return Converted(requests, refused, self._spans)


def documents(text: bytes, gathering: Gathering) -> Iterable[object]:
    """The JSON values of a message: one value, or one on each line.

    Lines that are not JSON are refused in ``gathering``; a message without any JSON line is one
    refusal, but for one that says nothing at all.
    """
    if not text.strip():
        return []
    try:
        return [orjson.loads(text)]
    except orjson.JSONDecodeError as error:
        offset = error.pos
    values: list[object] = []
    broken: list[int] = []
    start = 0
    for line in text.split(b"\n"):
        if line.strip():
            try:
                values.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                broken.append(start + error.pos)
        start += len(line) + 1
    for position in broken if values else [offset]:
        gathering.refuse_bytes("not JSON", position)
    return values


def hex_id(value: object, size: int, what: str) -> bytes:
    """An id of ``size`` bytes from hexadecimal text, zeros put in front where it is short.

    Raises BadRecord for anything else, and for the id of zeros, which OTLP does not allow.
    """
    if not isinstance(value, str) or not value:
        raise BadRecord(f"{what} is missing")
    if len(value) > 2 * size or not _HEX.fullmatch(value):
        raise BadRecord(f"{what} is not {2 * size} hexadecimal digits")
    found = binascii.unhexlify(value.zfill(2 * size))
    if not any(found):
        raise BadRecord(f"{what} is zero")
    return found


def unix_nano(microseconds: object, what: str) -> int:
    """Microseconds since 1970 as nanoseconds; raises BadRecord when absent or out of range."""
    if isinstance(microseconds, str) and _NUMBER.fullmatch(microseconds):
        microseconds = int(microseconds)
    if microseconds is None:
        raise BadRecord(f"{what} is missing")
    if isinstance(microseconds, bool) or not isinstance(microseconds, int | float):
        raise BadRecord(f"{what} is not a number")
    nanoseconds = microseconds * 1000
    return int(in_range(nanoseconds, what))


def in_range(nanoseconds: Number, what: str) -> Number:
    """The same time when a row can hold it: up to the year 2262; raises BadRecord otherwise."""
    if not 0 <= nanoseconds <= INT64_MAX:
        raise BadRecord(f"{what} is out of range")
    return nanoseconds


def key_value(key: str, value: object) -> KeyValue:
    """An attribute of the OTLP type that is natural to a Python value.

    Integers beyond 64 bits become text, and structures become JSON text, so that nothing is lost;
    but for structures deeper than 254, in whose place stands ``deep_json.TOO_DEEP``.
    """
    if value is None:
        return KeyValue(key=key)
    if isinstance(value, bool):
        typed = AnyValue(bool_value=value)
    elif isinstance(value, int) and INT64_MIN <= value <= INT64_MAX:
        typed = AnyValue(int_value=value)
    elif isinstance(value, float):
        typed = AnyValue(double_value=value)
    elif isinstance(value, bytes):
        typed = AnyValue(bytes_value=value)
    elif isinstance(value, str):
        typed = AnyValue(string_value=value)
    else:
        typed = AnyValue(string_value=str(value) if isinstance(value, int) else written(value))
    return KeyValue(key=key, value=typed)


def flat(value: object) -> Iterator[object]:
    """The items of arrays inside arrays, in order, however deep; any other value is itself."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        else:
            yield item


def mapping(value: object) -> Mapping[str, object]:
    """The value when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[object]:
    """The value when it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else ()


def text(value: object) -> str:
    """The value when it is text, else the empty text."""
    return value if isinstance(value, str) else ""


def decode_through(
    convert: Callable[[bytes], Converted],
    decode: Callable[[Sequence[bytes]], Decoded],
    messages: Sequence[bytes],
) -> Decoded:
    """Convert every message, decode all requests at once, and blame the original messages."""
    requests: list[bytes] = []
    origin: list[int] = []
    refusals: list[Refusal] = []
    for index, message in enumerate(messages):
        converted = convert(message)
        nothing = not converted.requests and len(converted.refused) == 1
        refusals.extend(
            Refusal(index, refused.reason, refused.offset, refused.records, whole=nothing)
            for refused in converted.refused
        )
        requests.extend(converted.requests)
        origin.extend(index for _ in converted.requests)
    decoded = decode(requests) if requests else Decoded()
    refusals.extend(
        replace(refusal, message=origin[refusal.message], offset=None)
        for refusal in decoded.refused
    )
    refusals.sort(key=lambda refusal: refusal.message)
    return Decoded(decoded.batches, tuple(refusals))
