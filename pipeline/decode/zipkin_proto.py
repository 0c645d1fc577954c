"""Zipkin v2 protobuf to OTLP: ``zipkin.proto3.ListOfSpans``, by way of the spans of Zipkin's JSON.

The two encodings hold the same span, so that ``zipkin_json`` alone knows what one means. Source:
openzipkin/zipkin-api ``zipkin.proto``.

Ids are big-endian. Envoy (seen: 1.40) keeps to that for trace ids only: its span and parent ids
have the order of its processor, little-endian. Known by its tags, they are turned, or the spans of
two proxies would not meet where one writes JSON, or an application tells its own.
"""

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipeline.decode import otlp_traces, zipkin_json
from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.otlp.via_otlp import BadRecord, Converted, Gathering, Refused, decode_through
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.wire.declaration import Enter, Messages, Row, Store
from pipeline.decode.wire.intern import bytes_of
from pipeline.decode.wire.walk import Format, Rows, Walked
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.topics import ZIPKIN_PROTO_FORMAT

MESSAGES: Final[Messages] = {
    "ListOfSpans": {1: Row("Span", "spans", least=24)},
    "Span": {
        1: Store("bytes", "trace_id"),
        2: Store("bytes", "parent_id"),
        3: Store("bytes", "id"),
        4: Store("int32", "kind"),
        5: Store("bytes", "name"),
        6: Store("fixed64", "timestamp"),
        7: Store("int64", "duration"),
        8: Enter("LocalEndpoint"),
        9: Enter("RemoteEndpoint"),
        10: Row("Annotation", "annotations", least=8),
        11: Row("Tag", "tags"),
        12: Store("bool", "debug"),
        13: Store("bool", "shared"),
    },
    **{
        f"{side}Endpoint": {
            1: Store("bytes", f"{side}.service"),
            2: Store("bytes", f"{side}.ipv4"),
            3: Store("bytes", f"{side}.ipv6"),
            4: Store("int32", f"{side}.port"),
        }
        for side in ("Local", "Remote")
    },
    "Annotation": {1: Store("fixed64", "time"), 2: Store("bytes", "value")},
    "Tag": {1: Store("bytes", "key"), 2: Store("bytes", "value")},
}

ZIPKIN_PROTO: Final = Format(ZIPKIN_PROTO_FORMAT, "ListOfSpans", MESSAGES)

_KINDS: Final = {1: "CLIENT", 2: "SERVER", 3: "PRODUCER", 4: "CONSUMER"}
_UINT64: Final = (1 << 64) - 1


def to_otlp(message: bytes) -> Converted:
    """Turn one list into OTLP; spans that cannot be taken are counted with their reason."""
    walked = ZIPKIN_PROTO.walk([message])
    if walked.refused:
        broken = tuple(Refused(told.reason, offset=told.offset) for told in walked.refused)
        return Converted(refused=broken)
    gathering = Gathering()
    for record in _records(walked):
        zipkin_json.take(record, gathering)
    return gathering.converted()


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``ListOfSpans`` messages into rows of the tables of spans."""
    return decode_through(to_otlp, otlp_traces.decode, messages)


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Everything that ``decode`` refuses of a walk, in message order."""
    counts = Counter[tuple[int, str]]()
    messages = walked.rows("spans").parents.tolist()
    for message, record in zip(messages, _identities(walked), strict=True):
        try:
            zipkin_json.check(record)
        except BadRecord as error:
            counts[message, str(error)] += 1
    told = [Refusal(message, reason, None, count) for (message, reason), count in counts.items()]
    return tuple(sorted((*walked.refused, *told), key=lambda refusal: refusal.message))


def _records(walked: Walked) -> Iterator[dict[str, object]]:
    """The spans as JSON would tell them."""
    spans = walked.rows("spans")
    tags, annotations = _tags(walked), _annotations(walked)
    local, remote = _endpoints(walked, spans, "Local"), _endpoints(walked, spans, "Remote")
    names = _texts(walked, spans, "name")
    kinds, debug, shared = (spans.column(name).tolist() for name in ("kind", "debug", "shared"))
    for index, identity in enumerate(_identities(walked)):
        yield {
            **(_turned(identity) if _is_envoys(tags[index]) else identity),
            "name": names[index],
            "kind": _KINDS.get(kinds[index]),
            "localEndpoint": local[index],
            "remoteEndpoint": remote[index],
            "annotations": annotations[index],
            "tags": tags[index],
            "debug": bool(debug[index]),
            "shared": bool(shared[index]),
        }


def _identities(walked: Walked) -> Iterator[dict[str, object]]:
    """Ids and times of the spans, all that a span can be refused for, as JSON would tell them."""
    spans = walked.rows("spans")
    columns = (
        *(_bytes(walked, spans, name) for name in ("trace_id", "parent_id", "id")),
        *(spans.column(name).tolist() for name in ("timestamp", "duration")),
    )
    for trace_id, parent, span_id, timestamp, duration in zip(*columns, strict=True):
        yield {
            "traceId": trace_id.hex(),
            "parentId": parent.hex(),
            "id": span_id.hex(),
            # a number that was not told is zero
            "timestamp": (timestamp & _UINT64) or None,
            "duration": duration & _UINT64,
        }


def _is_envoys(tags: Mapping[str, str]) -> bool:
    return tags.get("component") == "proxy" and "node_id" in tags


def _turned(identity: Mapping[str, object]) -> dict[str, object]:
    turned = {name: bytes.fromhex(str(identity[name]))[::-1].hex() for name in ("id", "parentId")}
    return {**identity, **turned}


def _tags(walked: Walked) -> dict[int, dict[str, str]]:
    """Of each span its tags; of a key told twice the last, as in every map of protobuf."""
    rows = walked.rows("tags")
    told: dict[int, dict[str, str]] = defaultdict(dict)
    keys, values = _texts(walked, rows, "key"), _texts(walked, rows, "value")
    for span, key, value in zip(rows.parents.tolist(), keys, values, strict=True):
        told[span][key] = value
    return told


def _annotations(walked: Walked) -> dict[int, list[dict[str, object]]]:
    rows = walked.rows("annotations")
    told: dict[int, list[dict[str, object]]] = defaultdict(list)
    times, values = rows.column("time").tolist(), _texts(walked, rows, "value")
    for span, time, value in zip(rows.parents.tolist(), times, values, strict=True):
        told[span].append({"timestamp": time & _UINT64, "value": value})
    return told


def _endpoints(walked: Walked, spans: Rows, side: str) -> list[dict[str, object]]:
    services = _texts(walked, spans, f"{side}.service")
    four, six = (_bytes(walked, spans, f"{side}.{name}") for name in ("ipv4", "ipv6"))
    ports = spans.column(f"{side}.port").tolist()
    return [
        {
            "serviceName": service,
            "ipv4": _address(v4, 4),
            "ipv6": _address(v6, 16),
            "port": port,
        }
        for service, v4, v6, port in zip(services, four, six, ports, strict=True)
    ]


def _address(raw: bytes, size: int) -> str | None:
    return str(ipaddress.ip_address(raw)) if len(raw) == size else None


def _bytes(walked: Walked, rows: Rows, cell: str) -> list[bytes]:
    return [bytes_of(walked, one) for one in rows.column(cell).tolist()]


def _texts(walked: Walked, rows: Rows, cell: str) -> list[str]:
    return [raw.decode(errors="replace") for raw in _bytes(walked, rows, cell)]


def _hide(walked: Walked, masked: MaskedKeys) -> bool:
    return masked.mask(walked, {"tags": ""})


GATE: Final = WireGate(ZIPKIN_PROTO, ("spans",), refused, _hide)
"""What the door knows of Zipkin's protobuf."""
