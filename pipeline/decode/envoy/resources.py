"""The Envoys that speak to our services, as rows of ``resources``.

Access logs and metrics name their Envoy alike: in the first message of a stream, which our
collectors repeat in front of all others.
"""

from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.envoy.node import EnvoyNode, attributes, columns
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.wire.intern import bytes_of, id_of
from pipeline.decode.wire.parts import Part
from pipeline.decode.wire.protobuf_struct import struct_or_raw
from pipeline.decode.wire.walk import Walked
from pipeline.model.tables import RESOURCES


def resources_of(
    walked: Walked, parents: Ints, kept: NDArray[np.bool_]
) -> tuple[pa.Array, pa.Table]:
    """The ``resource_id`` of each record, and the rows of the Envoys of the records kept.

    Args:
        walked: a walk with the tables ``identifiers`` and ``node_metadata``.
        parents: of each record its message.
        kept: which records are kept.
    """
    messages, places = np.unique(parents, return_inverse=True)
    nodes = nodes_of(walked)
    rows = {node: _resource(node) for node in {nodes[message] for message in messages.tolist()}}
    ids = pa.array(
        [rows[nodes[message]]["resource_id"] for message in messages.tolist()], pa.string()
    )
    speaking = [rows[nodes[message]] for message in messages[np.unique(places[kept])].tolist()]
    told = {row["resource_id"]: row for row in speaking}
    return ids.take(pa.array(places)), pa.Table.from_pylist(list(told.values()), RESOURCES.arrow)


class ToldNode(NamedTuple):
    """A node as it was told: texts, and the bytes of its metadata."""

    id: str
    cluster: str
    region: str
    zone: str
    sub_zone: str
    user_agent_name: str
    metadata: bytes

    @property
    def node(self) -> EnvoyNode:
        """The node with its metadata read."""
        metadata = struct_or_raw(self.metadata)
        fields = metadata if isinstance(metadata, dict) else {"unreadable": metadata}
        return EnvoyNode(*self[:-1], metadata=fields)


def nodes_of(walked: Walked) -> list[ToldNode]:
    """Of each message its node."""
    rows = walked.rows("identifiers")
    part = Part(rows, len(walked.bounds))
    texts = [
        [bytes_of(walked, one).decode("utf-8", "replace") for one in part.column(name).tolist()]
        for name in ToldNode._fields[:-1]
    ]
    # metadata that is told in several pieces is merged by putting them together
    pieces: list[list[bytes]] = [[] for _ in range(len(part))]
    told = walked.rows("node_metadata")
    messages = rows.parents[told.parents]
    for message, one in zip(messages.tolist(), told.column("value").tolist(), strict=True):
        pieces[message].append(bytes_of(walked, one))
    metadata = [b"".join(parts) for parts in pieces]
    return [ToldNode(*one) for one in zip(*texts, metadata, strict=True)]


def _resource(told: ToldNode) -> dict[str, str | None]:
    node = told.node
    text = orjson.dumps(attributes(node), option=orjson.OPT_SORT_KEYS)
    return {
        "resource_id": id_of(text),
        **columns(node),
        "attributes": text.decode(),
    }
