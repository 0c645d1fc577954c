"""Resources and scopes: said with every request, kept once.

The raw bytes of a resource are what it is known by: the same bytes need no second look, in a batch
or later. Bytes not seen before are walked, and become a row whose id is a hash of what they mean.
"""

import base64
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.json_text import objects
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.wire.declaration import Row
from pipeline.decode.wire.otlp_common import COMMON
from pipeline.decode.wire.walk import Format, Rows, Walked
from pipeline.model.table import Table
from pipeline.model.tables import RESOURCES, SCOPES

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Attributes = Mapping[str, Json]
InternedRow = Mapping[str, str | None]

LINKERD_PROXY: Final = "linkerd-proxy"
KONG: Final = "kong"
"""What proxies call themselves as a service, unless told otherwise."""
UNKNOWN_SERVICE: Final = "unknown_service"

_REMEMBERED: Final = 1 << 13
_LONGEST_REMEMBERED: Final = 1 << 13
"""How many resources and scopes are remembered, and up to which size in bytes."""

_WORKLOADS: Final = tuple(
    f"k8s.{kind}.name"
    for kind in ("deployment", "statefulset", "daemonset", "cronjob", "job", "replicaset")
)


@dataclass(frozen=True, slots=True)
class Interned:
    """Rows of ``resources`` or ``scopes``, and which of them each owner has.

    Attributes:
        table: what the rows are.
        rows: the rows, each once.
        index: for each owner (a row of ``resource_spans``, say) the number of its row.
    """

    table: Table
    rows: Sequence[InternedRow]
    index: Ints

    def ids(self, owners: Ints) -> pa.Array:
        """The ids of the rows of these owners."""
        ids = pa.array([row[self.table.names[0]] for row in self.rows], pa.string())
        return ids.take(pa.array(self.index[owners]))

    def batch(self, owners: Ints | None = None) -> pa.Table:
        """The rows as a batch of their table: of all owners, or of these."""
        used = np.unique(self.index if owners is None else self.index[owners])
        rows = {row[self.table.names[0]]: row for row in (self.rows[one] for one in used.tolist())}
        return pa.Table.from_pylist(list(rows.values()), self.table.arrow)


class Interner:
    """Turns the raw bytes of one kind of message into rows; remembers; safe in any thread.

    Args:
        table: what the rows are.
        read: the rows of raw messages that are not remembered, well formed all of them.
    """

    def __init__(
        self, table: Table, read: Callable[[Sequence[bytes]], Iterable[InternedRow]]
    ) -> None:
        self._table = table
        self._read = read
        self._known: OrderedDict[bytes, InternedRow] = OrderedDict()
        self._lock = threading.Lock()

    def intern(self, walked: Walked, owners: str, parts: str) -> Interned:
        """Find the rows of all owners.

        Args:
            walked: a walk that has kept the raw bytes of the messages.
            owners: the table whose rows have (at most) one such message.
            parts: the table of these messages; its cell ``raw`` tells where they are.
        """
        raw, index = _raw_of(walked, walked.rows(parts), len(walked.rows(owners)))
        return Interned(self._table, self.rows_of(raw), index)

    def rows_of(self, raw: Sequence[bytes]) -> list[InternedRow]:
        """The row of each raw message."""
        with self._lock:
            known = {one: self._known[one] for one in raw if one in self._known}
            for one in known:
                self._known.move_to_end(one)
        fresh = list(dict.fromkeys(one for one in raw if one not in known))
        if fresh:
            known.update(zip(fresh, self._read(fresh), strict=True))
            self._remember({one: known[one] for one in fresh if len(one) <= _LONGEST_REMEMBERED})
        return [known[one] for one in raw]

    def _remember(self, rows: Mapping[bytes, InternedRow]) -> None:
        with self._lock:
            self._known.update(rows)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def id_of(canonical: bytes) -> str:
    """The id of an interned row: 64 bits of hash in 11 characters of base64url."""
    return base64.urlsafe_b64encode(xxhash.xxh3_64_digest(canonical)).decode().rstrip("=")


def resource_row(attributes: Attributes) -> InternedRow:
    """The row of ``resources`` for OTLP resource attributes."""
    canonical = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)
    return {
        "resource_id": id_of(canonical),
        "service_namespace": _text(attributes, "service.namespace", "k8s.namespace.name"),
        "service_name": _text(attributes, "service.name") or UNKNOWN_SERVICE,
        "service_version": _text(attributes, "service.version"),
        "service_instance_id": _text(attributes, "service.instance.id"),
        "workload": _text(attributes, *_WORKLOADS),
        "cluster": _text(attributes, "k8s.cluster.name"),
        "zone": _text(attributes, "cloud.availability_zone"),
        "system": _system(attributes),
        "attributes": canonical.decode(),
    }


def scope_row(name: str | None, version: str | None, attributes: Attributes) -> InternedRow:
    """The row of ``scopes`` for an instrumentation scope."""
    canonical = orjson.dumps([name, version, attributes], option=orjson.OPT_SORT_KEYS)
    return {
        "scope_id": id_of(canonical),
        "name": name,
        "version": version,
        "attributes": orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode(),
    }


def _text(attributes: Attributes, *names: str) -> str | None:
    """The first of the attributes that has a text, or a number as text."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def _system(attributes: Attributes) -> str:
    if attributes.get("service.name") == LINKERD_PROXY:
        return "linkerd"
    if attributes.get("service.name") == KONG:
        return "kong"
    if any(name.startswith("istio.") for name in attributes):
        return "istio"
    return "envoy" if attributes.get("telemetry.sdk.name") == "envoy" else "otel"


def _raw_of(walked: Walked, parts: Rows, owners: int) -> tuple[list[bytes], Ints]:
    """The distinct raw messages, and for each owner which it has; one that has none has ``b""``."""
    slices = np.zeros(owners, np.int64)
    slices[parts.parents] = parts.column("raw")
    places, index = distinct(walked.buffer, slices)
    raw = [bytes_of(walked, one) for one in slices[places].tolist()]
    if len(parts) > owners or (np.diff(parts.parents) == 0).any():
        _join_parts(walked, parts, raw, index)
    return raw, index


def _join_parts(walked: Walked, parts: Rows, raw: list[bytes], index: Ints) -> None:
    """Owners told in several parts have all of them, one after the other."""
    told, first, counts = np.unique(parts.parents, return_index=True, return_counts=True)
    slices = parts.column("raw")
    split = counts > 1
    for owner, begin, count in zip(
        told[split].tolist(), first[split].tolist(), counts[split].tolist(), strict=True
    ):
        pieces = slices[begin : begin + count].tolist()
        index[owner] = len(raw)
        raw.append(b"".join(bytes_of(walked, one) for one in pieces))


def bytes_of(walked: Walked, slice_: int) -> bytes:
    """The bytes of one slice."""
    begin = slice_ >> OFFSET_BITS
    return walked.buffer.data[begin : begin + (slice_ & LENGTH_MASK)].tobytes()


RESOURCE: Final = Format("resource", "Resource", COMMON)
SCOPE: Final = Format("scope", "One", {**COMMON, "One": {1: Row("InstrumentationScope", "scopes")}})


def _read_resources(raw: Sequence[bytes]) -> Iterator[InternedRow]:
    walked = RESOURCE.walk(raw)
    for text in _attributes(walked, "resource_attributes", len(raw)):
        yield resource_row(orjson.loads(text))


def _read_scopes(raw: Sequence[bytes]) -> Iterator[InternedRow]:
    walked = SCOPE.walk([field_1(one) for one in raw])
    rows = walked.rows("scopes")
    names = texts(walked.buffer, rows.column("name")).to_pylist()
    versions = texts(walked.buffer, rows.column("version")).to_pylist()
    attributes = _attributes(walked, "scope_attributes", len(raw))
    for name, version, text in zip(names, versions, attributes, strict=True):
        yield scope_row(name, version, orjson.loads(text))


def _attributes(walked: Walked, table: str, owners: int) -> list[str]:
    texts: list[str] = objects(
        walked.buffer, walked.rows(table), owners, empty_is_null=False
    ).to_pylist()
    return texts


def field_1(payload: bytes) -> bytes:
    """A message whose field 1 is this one."""
    size = len(payload)
    length = bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return b"\x0a" + bytes(length) + payload


RESOURCE_ROWS: Final = Interner(RESOURCES, _read_resources)
SCOPE_ROWS: Final = Interner(SCOPES, _read_scopes)
"""The resources and scopes of OTLP; shared by all signals."""
