"""The bus without a broker: a log on this machine's disk, written by one thread.

Publishers wait while one thread writes all that waits in one synced transaction (group commit),
so the cost of a sync is shared and the wait is about that of one sync. Reading never waits for
writing. How messages lie on disk is ``pipeline/bus/log.py``'s business.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import orjson

from pipeline.bus.frame import Entry
from pipeline.bus.log import Keeping, Log
from pipeline.bus.port import BusStatus
from pipeline.bus.settings import GIB, EmbeddedBusSettings
from pipeline.errors import (
    BusFull,
    BusUnavailable,
    InvalidInput,
    MeshweirError,
    MessageTooLarge,
    Transient,
)
from pipeline.model.messages import Message, Offsets, Partition, Positions
from pipeline.model.topics import TOPICS

T = TypeVar("T")

_TOUCHED_BYTES: Final = 128 * 1024 * 1024
"""After so many bytes the log is mapped anew: pages of the file it touched count as our memory."""

_HEADERS_BYTES: Final = 4096
"""Room for a frame and its headers, beside the value of a message."""

_IDLE_SECONDS: Final = 1.0
_READERS: Final = 4


@dataclass(slots=True, eq=False)
class _Publication:
    """A message that waits for its commit, and who waits for it."""

    entry: Entry
    size: int
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[int]"


@dataclass(slots=True, eq=False)
class _Consumption:
    """Positions to note as consumed, and who waits for that."""

    positions: Positions
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[int]"


@dataclass(slots=True, eq=False)
class _Easing:
    """Who waits until less is to be consumed."""

    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[int]"


_Work = _Publication | _Consumption
_Results = list[tuple["asyncio.Future[int]", int | MeshweirError]]


class EmbeddedBus:
    """The Bus port on a directory of this machine; see ``pipeline/bus/port.py`` for its promises.

    Args:
        directory: where the log lies; made when missing.
        settings: sizes, ages and waits.
        topics: the topics it carries, one partition each.
    """

    def __init__(
        self,
        directory: Path,
        settings: EmbeddedBusSettings | None = None,
        *,
        topics: Sequence[str] = TOPICS,
    ) -> None:
        self._settings = settings or EmbeddedBusSettings()
        self._topics = frozenset(topics)
        kept = self._settings.max_bytes + self._settings.retention_bytes
        # a message of half a page can take a whole one, and a commit needs room to copy pages
        self._log = Log(
            directory,
            topics,
            map_bytes=3 * kept + GIB,
            min_free_bytes=self._settings.min_free_bytes,
        )
        self._keeping = Keeping(
            self._settings.retention_bytes, int(self._settings.retention_seconds * 1e9)
        )
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._open = False
        self._waiting_bytes = 0
        self._waiting_lock = threading.Lock()
        self._easing: set[_Easing] = set()
        self._easing_lock = threading.Lock()
        self._paced_seconds = 0.0
        self._commits = 0
        self._committed = threading.Condition()

    @property
    def max_message_bytes(self) -> int:
        """Bytes that the value of one message may have."""
        return max(1, self._largest - _HEADERS_BYTES)

    @property
    def _largest(self) -> int:
        return min(self._settings.max_message_bytes, self._settings.max_bytes)

    async def start(self) -> None:
        """Open the log and begin to write; raises BusUnavailable with what to do."""
        if self._writer is not None:
            return
        await asyncio.to_thread(self._log.open)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="bus-read")
        # a process that ends without stop() must end: whatever was acknowledged is on disk anyway
        self._writer = threading.Thread(
            target=self._write_until_stopped, name="bus-write", daemon=True
        )
        self._open = True
        self._writer.start()

    async def stop(self) -> None:
        """Write what waits, then let go. Idempotent."""
        writer, readers = self._writer, self._readers
        if writer is None or readers is None:
            return
        self._open, self._writer, self._readers = False, None, None
        self._queue.put(None)
        await asyncio.to_thread(writer.join)
        with self._committed:
            self._committed.notify_all()
        self._let_all_go_on()
        await asyncio.to_thread(readers.shutdown)
        self._refuse_the_rest()
        self._log.close()

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Store one message; returns its offset once it is synced to disk.

        Raises:
            BusFull: it holds all the unconsumed or waiting bytes it may.
            BusUnavailable: it is stopped, or the disk is full or does not answer.
            MessageTooLarge: the message is over the limit.
            InvalidInput: the topic is not one of this bus.
        """
        if topic not in self._topics:
            raise InvalidInput("topic", found=topic, allowed=", ".join(sorted(self._topics)))
        entry = Entry(topic, orjson.dumps(dict(headers)), value)
        size = entry.size
        self._reserve(size)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._queue.put(_Publication(entry, size, loop, done))
        return await done

    async def ease(self) -> None:
        """Wait while more than ``pace_bytes`` are unconsumed, at most ``pace_seconds``."""
        loop = asyncio.get_running_loop()
        easing = _Easing(loop, loop.create_future())
        with self._easing_lock:
            if not self._open or not self._settings.pace_seconds or not self._behind:
                return
            self._easing.add(easing)
        began = time.monotonic()
        try:
            await asyncio.wait({easing.done}, timeout=self._settings.pace_seconds)
        finally:
            with self._easing_lock:
                self._easing.discard(easing)
                self._paced_seconds += time.monotonic() - began

    async def read(self, positions: Positions, *, max_bytes: int, wait: float) -> Sequence[Message]:
        """The next messages after ``positions``, in a thread; waits for the first one.

        Topics are merged by the time their messages were stored, so none starves another.
        """
        return await self._in_reader(
            partial(self._read_within, dict(positions), max_bytes=max_bytes, wait=wait)
        )

    async def span(self, since_ns: int, until_ns: int) -> Offsets:
        """Which kept messages were stored in a time, Unix nanoseconds."""
        return await self._in_reader(partial(self._log.span, since_ns, until_ns))

    async def fetch(
        self, partition: Partition, first: int, until: int, *, max_bytes: int
    ) -> Sequence[Message]:
        """Kept messages of one partition from ``first`` to before ``until``."""
        if partition.topic not in self._topics or partition.number != 0:
            return []
        return await self._in_reader(
            partial(self._log.fetch, partition.topic, first, until, max_bytes=max_bytes)
        )

    async def _in_reader(self, work: Callable[[], T]) -> T:
        if self._readers is None or not self._open:
            raise BusUnavailable("the bus is not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def consumed(self, positions: Positions) -> None:
        """Note that everything before ``positions`` is in the store; room is free on return.

        Call it once with the store's positions before anything is published: a log that was
        emptied then goes on where the old one ended, and no offset is used twice.
        """
        if not self._open:
            raise BusUnavailable("the bus is not open")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._queue.put(_Consumption(dict(positions), loop, done))
        await done

    async def set_aside(self, messages: Sequence[tuple[Message, Mapping[str, str]]]) -> None:
        """Nothing: no other program reads this log, and the store's quarantine has them."""

    def status(self) -> BusStatus:
        """Unconsumed bytes (waiting ones included), their bound, and the end of each topic."""
        held = self._log.unconsumed_bytes + self._waiting_bytes
        return BusStatus(held, self._settings.max_bytes, self._log.ends, self._paced_seconds)

    @property
    def _behind(self) -> bool:
        return self._log.unconsumed_bytes + self._waiting_bytes > self._settings.pace_bytes

    def _reserve(self, size: int) -> None:
        limits = self._settings
        if not self._open:
            raise BusUnavailable("the bus is stopped", retry_after=limits.retry_after_seconds)
        if size > self._largest:
            raise MessageTooLarge(size=size, limit=self._largest)
        with self._waiting_lock:
            waiting = self._waiting_bytes
            if self._log.unconsumed_bytes + waiting + size > limits.max_bytes:
                raise BusFull(
                    f"the bus holds {limits.max_bytes} bytes that were not yet consumed",
                    retry_after=limits.retry_after_seconds,
                )
            # a single message always fits: an idle bus must take whatever max_message_bytes allows
            if waiting and waiting + size > limits.max_waiting_bytes:
                raise BusFull(
                    f"{waiting} bytes wait for the disk already",
                    retry_after=limits.retry_after_seconds,
                )
            self._waiting_bytes += size

    def _read_within(self, positions: Positions, *, max_bytes: int, wait: float) -> list[Message]:
        deadline = time.monotonic() + wait
        while True:
            seen = self._commits
            messages = self._log.read(positions, max_bytes=max_bytes)
            if messages or not self._wait_for_commit(seen, deadline):
                return messages

    def _wait_for_commit(self, seen: int, deadline: float) -> bool:
        with self._committed:
            return self._committed.wait_for(
                lambda: self._commits != seen or not self._open,
                timeout=max(0.0, deadline - time.monotonic()),
            ) and self._open  # fmt: skip

    def _write_until_stopped(self) -> None:
        stopping = False
        try:
            while not stopping:
                work, stopping = self._gather()
                self._carry_out(work)
        finally:
            self._open = False
            self._refuse_the_rest()

    def _gather(self) -> tuple[list[_Work], bool]:
        """Everything that waits, up to the size of a group; waits for the first."""
        work: list[_Work] = []
        size = 0
        try:
            item = self._queue.get(timeout=_IDLE_SECONDS)
            while item is not None:
                work.append(item)
                size += item.size if isinstance(item, _Publication) else 0
                if size >= self._settings.max_group_bytes:
                    return work, False
                item = self._queue.get_nowait()
        except queue.Empty:
            return work, False
        return work, True

    def _carry_out(self, work: Sequence[_Work]) -> None:
        consumptions = [item for item in work if isinstance(item, _Consumption)]
        publications = [item for item in work if isinstance(item, _Publication)]
        for item in consumptions:
            _tell([item], [self._note(item.positions)])
        if consumptions and not self._behind:
            self._let_all_go_on()
        # consumption alone is saved when the bus is idle: losing it only delays a deletion
        if publications or (not work and self._log.has_work(self._keeping)):
            self._commit(publications)
        if self._log.touched_bytes > _TOUCHED_BYTES:
            with contextlib.suppress(Transient):
                self._log.let_go()

    def _note(self, positions: Positions) -> int | Transient:
        try:
            self._log.consume(positions)
        except Transient as error:
            return error
        return 0

    def _commit(self, publications: Sequence[_Publication]) -> None:
        results: Sequence[int | Transient]
        try:
            results = self._log.commit([item.entry for item in publications], self._keeping)
        except Transient as error:
            results = [error] * len(publications)
            # after a failed sync LMDB may refuse everything until it is opened again; when that
            # fails too, the next group finds the log closed and is refused, and it is tried again
            with contextlib.suppress(Transient):
                self._log.reopen()
        with self._waiting_lock:
            self._waiting_bytes -= sum(item.size for item in publications)
        with self._committed:
            self._commits += 1
            self._committed.notify_all()
        _tell(publications, results)

    def _let_all_go_on(self) -> None:
        with self._easing_lock:
            waiting, self._easing = list(self._easing), set()
        _tell(waiting, [0] * len(waiting))

    def _refuse_the_rest(self) -> None:
        gone = BusUnavailable("the bus is stopped", retry_after=self._settings.retry_after_seconds)
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    _tell([item], [gone])


def _tell(work: Sequence[_Work | _Easing], results: Sequence[int | MeshweirError]) -> None:
    """Resolve who waits, with one wake-up per event loop."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, _Results] = defaultdict(list)
    for item, result in zip(work, results, strict=True):
        by_loop[item.loop].append((item.done, result))
    for loop, told in by_loop.items():
        # a loop that was closed has nobody left who waits
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, told)


def _settle(told: _Results) -> None:
    for done, result in told:
        if done.done():
            continue
        if isinstance(result, MeshweirError):
            done.set_exception(result)
        else:
            done.set_result(result)
