"""Encoded answers kept in memory: each is made once, however many ask for it at the same time."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple


class Kept(NamedTuple):
    """An answer and the state of the store it was made from."""

    state: Hashable
    body: bytes


class AnswerCache:
    """The latest answers within a bound of bytes; right while the state is the same."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._under_way: dict[tuple[Hashable, Hashable], asyncio.Task[bytes]] = {}

    async def get(
        self, key: Hashable, state: Hashable, make: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The answer to ``key`` at ``state``: kept, being made, or made now by ``make``."""
        kept = self._kept.get(key)
        if kept is not None and kept.state == state:
            self._kept.move_to_end(key)
            return kept.body
        task = self._under_way.get((key, state))
        if task is None:
            task = asyncio.ensure_future(self._make(key, state, make))
            self._under_way[key, state] = task
            task.add_done_callback(lambda _: self._under_way.pop((key, state), None))
        # Shielded: the client that asked first may go away while others wait for the same answer.
        return await asyncio.shield(task)

    async def _make(
        self, key: Hashable, state: Hashable, make: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        body = await make()
        self._keep(key, Kept(state, body))
        return body

    def _keep(self, key: Hashable, kept: Kept) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= len(old.body)
        if len(kept.body) > self._max_bytes:
            return
        self._kept[key] = kept
        self._bytes += len(kept.body)
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)
