"""The proxies that speak in access logs, as rows of ``resources``."""

from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.als_entries import Entries, joined
from pipeline.decode.envoy_node import EnvoyNode, attributes, columns
from pipeline.decode.intern import id_of
from pipeline.decode.parts import Part
from pipeline.decode.protobuf_struct import struct_or_raw
from pipeline.model.tables import RESOURCES


def resources_of(entries: Entries, kept: NDArray[np.bool_]) -> tuple[pa.Array, pa.Table]:
    """The ``resource_id`` of each entry, and the rows of the proxies of the entries kept."""
    messages, places = np.unique(entries.common.parents, return_inverse=True)
    nodes = _nodes(entries)
    rows = {node: _resource(node) for node in {nodes[message] for message in messages.tolist()}}
    ids = pa.array([rows[nodes[message]]["resource_id"] for message in messages.tolist()])
    speaking = [rows[nodes[message]] for message in messages[np.unique(places[kept])].tolist()]
    told = {row["resource_id"]: row for row in speaking}
    return ids.take(pa.array(places)), pa.Table.from_pylist(list(told.values()), RESOURCES.arrow)


class _Told(NamedTuple):
    """A node as it was told: texts, and the bytes of its metadata."""

    id: str
    cluster: str
    region: str
    zone: str
    sub_zone: str
    user_agent_name: str
    metadata: bytes


def _nodes(entries: Entries) -> list[_Told]:
    """Of each message its node."""
    rows = entries.walked.rows("identifiers")
    part = Part(rows, len(entries.walked.bounds))
    texts = [
        [entries.text(one) for one in part.column(name).tolist()] for name in _Told._fields[:-1]
    ]
    pieces: list[list[bytes]] = [[] for _ in range(len(part))]
    for message, one in zip(
        rows.parents.tolist(), joined(entries, "node_metadata", len(rows)), strict=True
    ):
        pieces[message].append(one)
    metadata = [b"".join(parts) for parts in pieces]
    return [_Told(*told) for told in zip(*texts, metadata, strict=True)]


def _resource(told: _Told) -> dict[str, str | None]:
    metadata = struct_or_raw(told.metadata)
    fields = metadata if isinstance(metadata, dict) else {"unreadable": metadata}
    node = EnvoyNode(*told[:-1], metadata=fields)
    text = orjson.dumps(attributes(node), option=orjson.OPT_SORT_KEYS)
    return {
        "resource_id": id_of(text),
        **columns(node),
        "attributes": text.decode(),
    }
