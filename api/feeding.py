"""Which bus feeds a data directory.

A store remembers how far it has read each partition. Those positions are of one bus: read on
another from there, it would skip messages or read some twice, and nobody could tell.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from pipeline.errors import InvalidInput
from pipeline.model.messages import Positions

FED_FILE: Final = "fed.json"


class Feed(StrEnum):
    """What feeds a store."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


_MEND: Final = {
    Feed.EMBEDDED: "name the brokers with --kafka, or give this process another --data",
    Feed.KAFKA: "leave --kafka out, or give this process another --data",
}
"""What to do when this feed was wanted and the other one is in its place."""


def claim(data: Path, feed: Feed, stored: Positions) -> None:
    """Let a bus feed a data directory that no other one feeds; the directory remembers it.

    Args:
        data: the directory.
        feed: the bus.
        stored: the positions in its store; a store with some and no word of its bus was written
            before there was a choice.

    Raises:
        InvalidInput: the other bus feeds it.
    """
    told = _read(data)
    before = told or (Feed.EMBEDDED if stored else feed)
    if before is not feed:
        raise InvalidInput(
            "data",
            found=str(data),
            allowed=f"a directory that is fed by the bus {feed}; this one is fed by the bus "
            f"{before}, whose positions are in its store: {_MEND[feed]}",
        )
    if told is None:
        # several workers may start at once, and any may be killed: the file is whole or not there
        whole = data / f"{FED_FILE}.{os.getpid()}"
        whole.write_bytes(orjson.dumps({"bus": feed}))
        whole.replace(data / FED_FILE)


def _read(data: Path) -> Feed | None:
    try:
        told = orjson.loads((data / FED_FILE).read_bytes())
        return Feed(told["bus"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
