"""Encoded answers kept in memory: each is made once, however many ask for it at the same time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple


class Kept(NamedTuple):
    """An answer, the state of the store it was made from, and when it was last known to hold."""

    state: Hashable
    body: bytes
    held_at: float


class AnswerCache:
    """The latest answers within a bound of bytes; right while the state is the same.

    ``clock`` gives seconds, of which only differences count.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._under_way: dict[tuple[Hashable, Hashable], asyncio.Task[bytes]] = {}

    async def get(
        self,
        key: Hashable,
        state: Hashable,
        make: Callable[[], Awaitable[bytes]],
        *,
        lag: float = 0.0,
    ) -> bytes:
        """The answer to ``key`` at ``state``: kept, being made, or made now by ``make``.

        An answer that was made, or still held, no more than ``lag`` seconds ago is given at once
        while its successor is made; with a lag, one successor at a time is made of a key.
        """
        kept = self._kept.get(key)
        if kept is not None and kept.state == state:
            self._kept[key] = kept._replace(held_at=self._clock())
            self._kept.move_to_end(key)
            return kept.body
        task = self._task(key, None if lag else state, state, make)
        if kept is not None and lag and self._clock() - kept.held_at <= lag:
            return kept.body
        # Shielded: the client that asked first may go away while others wait for the same answer.
        return await asyncio.shield(task)

    def _task(
        self,
        key: Hashable,
        within: Hashable,
        state: Hashable,
        make: Callable[[], Awaitable[bytes]],
    ) -> asyncio.Task[bytes]:
        """The making of an answer that is under way, else begun now."""
        task = self._under_way.get((key, within))
        if task is None:
            task = asyncio.ensure_future(self._make(key, state, make))
            self._under_way[key, within] = task
            task.add_done_callback(lambda done: self._done(key, within, done))
        return task

    def _done(self, key: Hashable, within: Hashable, task: asyncio.Task[bytes]) -> None:
        self._under_way.pop((key, within), None)
        if not task.cancelled() and task.exception() is not None:
            # Nobody may be waiting; whoever asks next makes it anew and is told what went wrong.
            self._forget(key)

    async def _make(
        self, key: Hashable, state: Hashable, make: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        body = await make()
        self._keep(key, Kept(state, body, self._clock()))
        return body

    def _keep(self, key: Hashable, kept: Kept) -> None:
        self._forget(key)
        if len(kept.body) > self._max_bytes:
            return
        self._kept[key] = kept
        self._bytes += len(kept.body)
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)

    def _forget(self, key: Hashable) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= len(old.body)
