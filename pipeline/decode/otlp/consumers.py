"""The consumer of a request, by the rule of the system that tells of it."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.privacy.pseudonyms import hashed, without_persons
from pipeline.model.consumers import CONSUMER_RULES, PERSONS, ConsumerKind
from pipeline.model.topology import PERSON

ATTRIBUTES: Final = tuple(name for _, names in CONSUMER_RULES["otel"] for name in names)
"""Attributes that tell the consumer, best first."""

_KINDS: Final = tuple(kind for kind, names in CONSUMER_RULES["otel"] for _ in names)
"""The kind of consumer that each of them tells."""

_NOTHING: Final = pa.scalar(None, pa.string())
_COLON: Final = pa.scalar(":", pa.string())
_KIND: Final = {kind: pa.scalar(kind.value, pa.string()) for kind in ConsumerKind}
"""Scalars are made once, with their type: to find the type Arrow looks for dateutil every time."""


def consumers(system: str, first: Callable[..., pa.Array]) -> pa.Array:
    """Of each request its consumer, null where none is told.

    Args:
        system: whose rule counts.
        first: of each request the first of some fields that tells something.
    """
    told = [named(kind, first(*names)) for kind, names in CONSUMER_RULES[system]]
    return pc.coalesce(*told)


def named(kind: ConsumerKind, ids: pa.Array) -> pa.Array:
    """Ids with their kind in front, persons hashed."""
    if ids.null_count == len(ids):
        return ids
    hidden = hashed(ids, PERSON) if kind in PERSONS else without_persons(ids)
    return pc.binary_join_element_wise(_KIND[kind], hidden, _COLON)


def by_rank(ids: pa.Array, ranks: NDArray[np.int8]) -> pa.Array:
    """Ids that attributes told, with their kinds in front.

    Args:
        ids: what was told; null where nothing was.
        ranks: which of ``ATTRIBUTES`` told each.
    """
    if ids.null_count == len(ids):
        return ids
    told = [
        named(kind, pc.if_else(pa.array(_told_as(kind, ranks)), ids, _NOTHING))
        for kind in dict.fromkeys(_KINDS)
    ]
    return pc.coalesce(*told)


def _told_as(kind: ConsumerKind, ranks: NDArray[np.int8]) -> NDArray[np.bool_]:
    return np.isin(ranks, [rank for rank, other in enumerate(_KINDS) if other is kind])
