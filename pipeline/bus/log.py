"""A durable log of messages in one LMDB environment; synchronous, and the only user of lmdb.

One sub-database per topic: the key is the offset, 8 bytes big-endian, the value is a frame
(``frame.py``). A sub-database of marks keeps, per topic, the next offset, the first one not yet
consumed and the sum of bytes at the end; offsets are therefore never used twice, even after
deletion.

The file never shrinks: pages of deleted messages are used again.
"""

import errno
import heapq
import itertools
import shutil
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Final

import lmdb

from pipeline.bus.directory import disk_full, lock_directory, sync_directory
from pipeline.bus.frame import Entry, Kept, bytes_before, stored_at
from pipeline.errors import BusFull, BusUnavailable
from pipeline.model.messages import Message, OffsetRange, Partition, Positions

_KEY: Final = struct.Struct(">Q")
_MARK: Final = struct.Struct(">QQQ")
_MARKS: Final = b".marks"


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long consumed messages are kept: bytes in all, and age in nanoseconds."""

    bytes: int
    age_ns: int


@dataclass(slots=True)
class _Mark:
    """Where a topic stands: offsets, and the running sum of bytes at each of them."""

    next: int = 0
    consumed: int = 0
    first_at: int = 0
    bytes_end: int = 0
    bytes_consumed: int = 0
    bytes_first: int = 0


class Log:
    """The log of one directory; ``commit``, ``consume`` and ``reopen`` from one thread only.

    Args:
        directory: made when missing; locked against other processes while open.
        topics: the topics it carries.
        map_bytes: upper bound of the file; only what is used takes space.
        min_free_bytes: free disk space below which nothing is appended.
    """

    def __init__(
        self, directory: Path, topics: Sequence[str], *, map_bytes: int, min_free_bytes: int
    ) -> None:
        self._directory = directory
        self._topics = tuple(topics)
        self._map_bytes = map_bytes
        self._min_free_bytes = min_free_bytes
        self._marks: dict[str, _Mark] = {}
        self._unsaved = False
        self.touched_bytes = 0
        """Bytes read or written since it was opened; pages of the map count as our memory."""
        self._env: lmdb.Environment | None = None
        self._databases: dict[str, lmdb._Database] = {}
        self._lock_file: TextIOWrapper | None = None
        # readers hold it for the length of one read, so that closing never pulls the map away
        self._use = threading.Lock()

    def open(self) -> None:
        """Lock the directory and open the log.

        Raises:
            BusUnavailable: the directory cannot be used, or another process uses it.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_directory(self._directory)
            with self._use:
                self._open_environment()
            sync_directory(self._directory)
            sync_directory(self._directory.parent)
        except (OSError, lmdb.Error) as error:
            self.close()
            raise BusUnavailable(
                f"{self._directory}: the bus cannot be opened: {error}; "
                "check the directory's permissions and the disk"
            ) from error

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        with self._use:
            self._close_environment()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def let_go(self) -> None:
        """Give back the memory of pages that were touched, unless somebody is reading."""
        if self._use.acquire(blocking=False):
            self._use.release()
            self.reopen()

    def reopen(self) -> None:
        """Open the environment again; after a failure LMDB refuses to go on without that."""
        consumed = {Partition(topic): mark.consumed for topic, mark in self._marks.items()}
        with self._use:
            self._close_environment()
            try:
                self._open_environment()
            except (OSError, lmdb.Error) as error:
                raise BusUnavailable(
                    f"{self._directory}: the bus cannot be opened again: {error}"
                ) from error
        self.consume(consumed)

    @property
    def ends(self) -> Positions:
        """The offset that the next message of each topic will get."""
        return {Partition(topic): mark.next for topic, mark in self._marks.items()}

    @property
    def unconsumed_bytes(self) -> int:
        """Bytes of frames not yet consumed."""
        return sum(mark.bytes_end - mark.bytes_consumed for mark in self._marks.values())

    @property
    def kept_bytes(self) -> int:
        """Bytes of consumed frames that are still kept."""
        return sum(mark.bytes_consumed - mark.bytes_first for mark in self._marks.values())

    def commit(self, entries: Sequence[Entry], keeping: Keeping) -> list[int]:
        """Append entries, delete what is past keeping, save the marks: one synced transaction.

        Returns the offsets of the entries. When it raises, nothing of it was stored.

        Raises:
            BusFull: the map is full.
            BusUnavailable: the disk is full or does not answer.
        """
        size = sum(entry.size for entry in entries)
        if entries:
            self._check_disk(size)
        now = time.time_ns()
        marks = {topic: replace(mark) for topic, mark in self._marks.items()}
        with self._failures(), self._environment().begin(write=True) as transaction:
            offsets = [self._append(transaction, marks[entry.topic], entry, now)
                       for entry in entries]  # fmt: skip
            # twice as many as come in: a backlog of deletions shrinks, and no commit grows long
            self._trim(transaction, marks, keeping, now, at_most=64 + 2 * len(entries))
            for topic, mark in marks.items():
                value = _MARK.pack(mark.next, mark.consumed, mark.bytes_end)
                transaction.put(topic.encode(), value, db=self._databases[_MARKS.decode()])
        self._marks = marks
        self._unsaved = False
        self.touched_bytes += size
        return offsets

    def consume(self, positions: Positions) -> None:
        """Note that everything before these positions was consumed; saved at the next commit.

        A position past the end moves the end: those offsets were given out before, by a log that
        is no longer here, and must not be given out again.
        """
        with self._failures(), self._environment().begin(buffers=True) as transaction:
            for partition, offset in positions.items():
                mark = self._marks.get(partition.topic)
                if mark is None or partition.number != 0 or offset <= mark.consumed:
                    continue
                mark.consumed = offset
                mark.next = max(mark.next, offset)
                cursor = transaction.cursor(db=self._databases[partition.topic])
                found = cursor.set_range(_KEY.pack(offset))
                mark.bytes_consumed = bytes_before(cursor.value()) if found else mark.bytes_end
                self._unsaved = True

    def has_work(self, keeping: Keeping) -> bool:
        """Whether a commit without entries would change anything."""
        return self._unsaved or _due(self._marks, keeping, time.time_ns()) is not None

    def read(self, positions: Positions, *, max_bytes: int) -> list[Message]:
        """The next messages of all topics, merged by the time they were stored; from any thread."""
        with self._reading() as transaction:
            topics = [
                self._walk(transaction, topic, positions.get(Partition(topic), 0))
                for topic in self._topics
            ]
            return self._taken(heapq.merge(*topics, key=lambda kept: kept.stored_at), max_bytes)

    def fetch(self, topic: str, first: int, until: int, *, max_bytes: int) -> list[Message]:
        """Kept messages of one topic from ``first`` to before ``until``; from any thread."""
        with self._reading() as transaction:
            run = itertools.takewhile(
                lambda kept: kept.offset < until, self._walk(transaction, topic, first)
            )
            return self._taken(run, max_bytes)

    def span(self, since_ns: int, until_ns: int) -> dict[Partition, OffsetRange]:
        """Per topic, the kept messages stored from ``since_ns`` to before ``until_ns``."""
        with self._reading() as transaction:
            return {
                Partition(topic): OffsetRange(first, until)
                for topic in self._topics
                if (first := self._stored_since(transaction, topic, since_ns))
                < (until := self._stored_since(transaction, topic, until_ns))
            }

    @contextmanager
    def _reading(self) -> Iterator["lmdb.Transaction[memoryview]"]:
        """A look at the log as it is, from any thread."""
        with self._use, self._failures(), self._environment().begin(buffers=True) as transaction:
            yield transaction

    def _taken(self, walk: Iterable[Kept], max_bytes: int) -> list[Message]:
        """The first messages of a walk, at least one, as far as they fit."""
        messages: list[Message] = []
        taken = 0
        for kept in walk:
            if messages and taken + len(kept.frame) > max_bytes:
                break
            messages.append(kept.message())
            taken += len(kept.frame)
        self.touched_bytes += taken
        return messages

    def _stored_since(
        self, transaction: "lmdb.Transaction[memoryview]", topic: str, moment_ns: int
    ) -> int:
        """Offset of the first kept message stored at or after a moment; offsets have no gaps."""
        cursor = transaction.cursor(db=self._databases[topic])
        if not cursor.first():
            return self._marks[topic].next
        low, high = _KEY.unpack(cursor.key())[0], self._marks[topic].next
        while low < high:
            middle = (low + high) // 2
            if not cursor.set_range(_KEY.pack(middle)):
                high = middle  # committed to the marks a moment before this transaction began
            elif stored_at(cursor.value()) < moment_ns:
                low = middle + 1
            else:
                high = middle
        return int(low)

    def _environment(self) -> lmdb.Environment:
        if self._env is None:
            raise BusUnavailable(f"{self._directory}: the bus is not open")
        return self._env

    def _open_environment(self) -> None:
        environment = lmdb.Environment(
            str(self._directory),
            map_size=self._map_bytes,
            max_dbs=len(self._topics) + 1,
            # both are the default; the promise of the bus hangs on them
            sync=True,
            metasync=True,
            readahead=False,
        )
        self._env = environment
        self.touched_bytes = 0
        environment.reader_check()
        names = (*self._topics, _MARKS.decode())
        self._databases = {name: environment.open_db(name.encode()) for name in names}
        with environment.begin(buffers=True) as transaction:
            self._marks = {topic: self._recall(transaction, topic) for topic in self._topics}

    def _close_environment(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None
            self._databases = {}

    def _recall(self, transaction: "lmdb.Transaction[memoryview]", topic: str) -> _Mark:
        mark = _Mark()
        saved = transaction.get(topic.encode(), db=self._databases[_MARKS.decode()])
        if saved is not None:
            mark.next, mark.consumed, mark.bytes_end = _MARK.unpack(saved)
        cursor = transaction.cursor(db=self._databases[topic])
        found = cursor.set_range(_KEY.pack(mark.consumed))
        mark.bytes_consumed = bytes_before(cursor.value()) if found else mark.bytes_end
        _set_first(mark, cursor, found=cursor.first())
        return mark

    def _append(
        self, transaction: "lmdb.Transaction[bytes]", mark: _Mark, entry: Entry, now: int
    ) -> int:
        offset = mark.next
        frame = entry.frame(stored_at=now, bytes_before=mark.bytes_end)
        transaction.put(_KEY.pack(offset), frame, append=True, db=self._databases[entry.topic])
        if mark.bytes_first == mark.bytes_end:
            mark.first_at = now
        mark.next = offset + 1
        mark.bytes_end += len(frame)
        return offset

    def _trim(
        self,
        transaction: "lmdb.Transaction[bytes]",
        marks: Mapping[str, _Mark],
        keeping: Keeping,
        now: int,
        at_most: int,
    ) -> None:
        for _ in range(at_most):
            topic = _due(marks, keeping, now)
            if topic is None:
                return
            cursor = transaction.cursor(db=self._databases[topic])
            cursor.first()
            cursor.delete()
            _set_first(marks[topic], cursor, found=cursor.first())

    def _walk(
        self, transaction: "lmdb.Transaction[memoryview]", topic: str, start: int
    ) -> Iterator[Kept]:
        cursor = transaction.cursor(db=self._databases[topic])
        if not cursor.set_range(_KEY.pack(start)):
            return
        for key, frame in cursor.iternext():
            yield Kept(topic, _KEY.unpack(key)[0], frame)

    def _check_disk(self, size: int) -> None:
        free = shutil.disk_usage(self._directory).free
        if self._min_free_bytes and free - size < self._min_free_bytes:
            raise disk_full(self._directory, free)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            raise BusFull(
                f"{self._directory}: the bus has used all of its {self._map_bytes} bytes",
                retry_after=5.0,
            ) from error
        except (lmdb.Error, OSError) as error:
            free = shutil.disk_usage(self._directory).free
            if _is_disk_full(error, free):
                raise disk_full(self._directory, free) from error
            # a short write, which is how many disks end, is told as an input/output error too
            raise BusUnavailable(
                f"{self._directory}: the disk did not take what was written: {error}; it may be "
                f"full or over a quota ({free} bytes free), or failing; this is tried again",
                retry_after=5.0,
            ) from error


def _set_first(
    mark: _Mark, cursor: "lmdb.Cursor[memoryview] | lmdb.Cursor[bytes]", *, found: bool
) -> None:
    if found:
        mark.first_at, mark.bytes_first = stored_at(cursor.value()), bytes_before(cursor.value())
    else:
        mark.first_at, mark.bytes_first = 0, mark.bytes_end


def _due(marks: Mapping[str, _Mark], keeping: Keeping, now: int) -> str | None:
    """The topic whose oldest message is past keeping; the oldest of all first."""
    kept = {topic: mark for topic, mark in marks.items() if mark.bytes_first < mark.bytes_consumed}
    if not kept:
        return None
    oldest = min(kept, key=lambda topic: kept[topic].first_at)
    size = sum(mark.bytes_consumed - mark.bytes_first for mark in kept.values())
    past = size > keeping.bytes or kept[oldest].first_at + keeping.age_ns < now
    return oldest if past else None


def _is_disk_full(error: Exception, free: int) -> bool:
    code = getattr(error, "errno" if isinstance(error, OSError) else "code", 0)
    told = isinstance(error, lmdb.DiskError) or code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return told or free < 1024 * 1024
