"""Replay: messages the bus still keeps are decoded again, in the place of what they gave before.

A slice is rewritten whole, from all messages it was made from, in one transaction; so a replay may
be stopped between slices, and done again, and run beside workers that write new slices. Messages
that gave no row become new slices. What is not in the store yet is left to the ingest job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple, TypeVar

from pipeline.bus.port import Bus
from pipeline.decode.door import MaskedKeys
from pipeline.errors import InvalidInput, Transient
from pipeline.jobs.decoding import decode_messages, quarantine_rows
from pipeline.jobs.services import ServiceLimit
from pipeline.jobs.settings import IngestSettings
from pipeline.model.messages import Message, Offsets, Positions
from pipeline.model.runs import FINAL, NEVER, Run, divided
from pipeline.model.tables import QUARANTINE
from pipeline.store.port import Rewritten, Store

T = TypeVar("T")

PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0)
"""Seconds to wait before each further try, when another writer was faster or the bus is away."""


class Reason(StrEnum):
    """Why messages were not replayed."""

    NOT_KEPT = "the bus does not keep all of them any more"
    FINAL = "their rows are past their age; what they summed to is final"


class Skipped(NamedTuple):
    """Messages that were left as they are, and why."""

    run: Run
    reason: Reason


@dataclass(slots=True)
class Report:
    """What a replay did.

    Attributes:
        slices: slices rewritten.
        new_slices: slices made of messages that had given no row.
        messages: messages decoded.
        rows_before: raw rows taken out.
        rows: raw rows put in; of spans, data points, log records and access log entries.
        quarantined_before: records of these messages set aside before.
        quarantined: records of these messages set aside now.
        skipped: what was left as it is.
    """

    slices: int = 0
    new_slices: int = 0
    messages: int = 0
    rows_before: int = 0
    rows: int = 0
    quarantined_before: int = 0
    quarantined: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, messages: int, done: Rewritten, *, new: bool) -> None:
        """Count one transaction."""
        self.messages += messages
        self.slices += not new
        self.new_slices += new and done.slice is not None
        self.rows_before += done.rows_before
        self.rows += done.rows
        self.quarantined_before += done.quarantined_before
        self.quarantined += done.quarantined

    def skip(self, runs: Iterable[Run], reason: Reason) -> None:
        """Tell of messages that are left as they are."""
        self.skipped += [Skipped(run, reason) for run in runs]


OnProgress = Callable[[int, int], None]
"""Told how many messages are dealt with, and of how many."""


class Plan(NamedTuple):
    """What is to be done for some messages.

    Attributes:
        slices: for each slice that holds rows of them all its runs.
        free: runs that gave no row.
        final: runs that are left as they are.
    """

    slices: dict[int, list[Run]]
    free: list[Run]
    final: list[Run]

    @property
    def messages(self) -> int:
        """How many messages are to be decoded, about: offsets may have gaps."""
        return sum(_length(run) for runs in (self.free, *self.slices.values()) for run in runs)


def plan(wanted: Iterable[Run], known: Sequence[Run]) -> Plan:
    """Sort messages by what is to be done with them.

    Args:
        wanted: runs of messages; their ``slice`` does not matter.
        known: what ``Store.runs`` tells of them.
    """
    parts = [part for run in wanted for part in divided(run, known)]
    met = sorted({part.slice for part in parts if part.slice is not None and part.slice > FINAL})
    return Plan(
        {number: [run for run in known if run.slice == number] for number in met},
        [part for part in parts if part.slice is None or part.slice == NEVER],
        [part for part in parts if part.slice == FINAL],
    )


def ingested(offsets: Offsets, positions: Positions) -> list[Run]:
    """Runs of messages, cut to what is in the store already."""
    return [
        Run(partition, first, min(until, positions.get(partition, 0)))
        for partition, (first, until) in sorted(offsets.items())
        if first < min(until, positions.get(partition, 0))
    ]


class Replay:
    """Decodes messages of a bus again, into a store.

    Args:
        bus: where messages are kept.
        store: what they were ingested into, or a part of.
        settings: how much goes into the store at once, and how many services there may be.
        masked: what is hidden in messages of other writers.
        on_progress: told after every transaction; called on the event loop.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        settings: IngestSettings | None = None,
        *,
        masked: MaskedKeys | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._settings = settings or IngestSettings()
        self._services = ServiceLimit(self._settings.max_services)
        self._masked = masked or MaskedKeys()
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._done = 0
        self._total = 0

    async def between(self, since_ns: int, until_ns: int) -> Report:
        """Replay what the bus stored in a time, Unix nanoseconds, and what shares slices with it.

        Raises:
            BusUnavailable: the bus does not answer.
            StoreBusy: another writer was faster, again and again.
        """
        offsets = await _patiently(partial(self._bus.span, since_ns, until_ns))
        positions = await asyncio.to_thread(self._store.positions)
        return await self.over(ingested(offsets, positions))

    async def over(self, wanted: Sequence[Run]) -> Report:
        """Replay messages that are in the store, and what shares slices with them."""
        report = Report()
        known = await asyncio.to_thread(self._store.runs, wanted)
        todo = plan(wanted, known)
        self._services.learn(await asyncio.to_thread(self._store.ask, "resources"))
        self._done, self._total = 0, todo.messages
        self._on_progress(0, self._total)
        report.skip(todo.final, Reason.FINAL)
        for runs in todo.slices.values():
            await _patiently(partial(self._slice, runs, report))
            self._advance(sum(map(_length, runs)))
        for run in todo.free:
            await self._free(run, report)
        return report

    async def anew(self, messages: Sequence[Message], report: Report) -> None:
        """Make one slice of messages that were set aside whole, wherever they are kept now."""
        runs = [Run(one.partition, one.offset, one.offset + 1) for one in messages]
        await _patiently(partial(self._new, runs, messages, report))

    def _advance(self, messages: int) -> None:
        self._done += messages
        self._on_progress(self._done, self._total)

    async def _slice(self, planned: Sequence[Run], report: Report) -> None:
        """Rewrite one slice from all its messages."""
        number = planned[0].slice
        known = await asyncio.to_thread(self._store.runs, planned)
        runs = [run for run in known if run.slice == number]
        if not runs:  # retention took it meanwhile
            report.skip(planned, Reason.FINAL)
            return
        messages: list[Message] = []
        for run in runs:
            kept = await self._kept(run)
            # the bus deletes the oldest: what it keeps the first of, it keeps whole
            if not kept or kept[0].offset != run.first:
                report.skip(runs, Reason.NOT_KEPT)
                return
            messages += kept
        try:
            done = await asyncio.to_thread(self._rewrite, runs, messages)
        except InvalidInput:  # retention took it meanwhile
            report.skip(planned, Reason.FINAL)
        else:
            report.add(len(messages), done, new=False)

    async def _kept(self, run: Run) -> list[Message]:
        """Every message of a run that the bus keeps."""
        messages: list[Message] = []
        at = run.first
        while at < run.until:
            more = await self._fetch(run._replace(first=at))
            if not more:
                break
            messages += more
            at = more[-1].offset + 1
        return messages

    async def _fetch(self, run: Run) -> Sequence[Message]:
        return await self._bus.fetch(
            run.partition, run.first, run.until, max_bytes=self._settings.batch_bytes
        )

    async def _free(self, run: Run, report: Report) -> None:
        """Make new slices of messages that gave no row, as large as ingest makes them."""
        at = run.first
        while at < run.until:
            messages = await _patiently(partial(self._fetch, run._replace(first=at)))
            begin, end = run.until, run.until
            if messages:
                begin, end = messages[0].offset, messages[-1].offset + 1
            if at == run.first and at < begin:
                report.skip([run._replace(until=begin)], Reason.NOT_KEPT)
            if messages:
                part = run._replace(first=begin, until=end)
                await _patiently(partial(self._new, [part], messages, report))
            self._advance(end - at)
            at = end

    async def _new(self, runs: Sequence[Run], messages: Sequence[Message], report: Report) -> None:
        done = await asyncio.to_thread(self._rewrite, runs, messages)
        report.add(len(messages), done, new=True)

    def _rewrite(self, runs: Sequence[Run], messages: Sequence[Message]) -> Rewritten:
        decoded = decode_messages(messages, self._masked)
        batches, _ = self._services.apply(decoded.batches)
        if decoded.refused:
            batches[QUARANTINE.name] = quarantine_rows(decoded.refused)
        return self._store.rewrite(runs, batches)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do something that may fail for a while, again and again; the last failure is the caller's."""
    for pause in PAUSES:
        try:
            return await work()
        except Transient as problem:
            await asyncio.sleep(max(pause, problem.retry_after))
    return await work()


def _length(run: Run) -> int:
    return run.until - run.first
