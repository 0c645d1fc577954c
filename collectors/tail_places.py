"""How far files were read: one small file for each, replaced whole, that outlives a power cut."""

import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

SUFFIX: Final = ".json"

_log = logging.getLogger(__name__)

Key = tuple[int, int]
"""Device and inode: what a file is while it is renamed."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A chunk that was on its way to the bus.

    Attributes:
        origin: what its message says of where it came from.
        until: offset of its end.
        at_ns: when it was last tried, Unix nanoseconds.
    """

    origin: str
    until: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far one file was read.

    Attributes:
        path: its name when it was last seen.
        device: its device.
        inode: its inode.
        offset: what is before is durable on the bus.
        head_size: how many of its first bytes ``head`` stands for.
        head: hash of these; a file whose head is another is another file, whatever its inode.
        told: the format that the setting names, or ``auto``.
        format: the format that was found; empty until then.
        pending: a chunk of which it is not known whether the bus has it.
    """

    path: str
    device: int
    inode: int
    offset: int = 0
    head_size: int = 0
    head: str = ""
    told: str = "auto"
    format: str = ""
    pending: Pending | None = None

    @property
    def key(self) -> Key:
        """What the file is known by."""
        return self.device, self.inode


class Places:
    """The places of all files, in a directory that no other process uses.

    Args:
        directory: made when it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self) -> None:
        """Make the directory; raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)

    def all(self) -> Iterator[Place]:
        """Every place that is kept; one that cannot be read is logged, and its file read anew."""
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                yield _read(orjson.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError) as error:
                _log.warning("%s cannot be read (%s); its file is read anew", path, error)

    def keep(self, place: Place) -> None:
        """Keep a place; it is durable on return."""
        target = self._file(place.key)
        fresh = target.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(orjson.dumps(asdict(place)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def forget(self, key: Key) -> None:
        """The file is read to its end, and will not be seen again."""
        self._file(key).unlink(missing_ok=True)

    def _file(self, key: Key) -> Path:
        return self._directory / f"{key[0]:x}-{key[1]:x}{SUFFIX}"


def _read(told: dict[str, Any]) -> Place:
    pending = told.pop("pending", None)
    return Place(**told, pending=Pending(**pending) if pending else None)
