"""Replay ends where ingesting with today's decoders would have ended, on every store."""

import asyncio
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from polars.testing import assert_frame_equal

from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.kafka import KafkaBus
from pipeline.bus.settings import EmbeddedBusSettings, KafkaSettings
from pipeline.decode import DECODERS
from pipeline.errors import Transient
from pipeline.jobs import decoding
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.minutes import MinutesJob
from pipeline.jobs.replay import Reason, Replay, Report
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.ledger import Ledger
from pipeline.model.messages import Partition
from pipeline.model.runs import Run
from pipeline.model.topics import OTLP_SPANS
from pipeline.store import Backend, StoreSettings, open_store
from pipeline.store.duck import DuckStore
from tests.contract.stores import must_be_installed
from tests.pipeline.jobs.mesh_messages import Sent, held, messages

END_NS = 2**62
THEN = ("better", "worse")
"""Whether the decoders are better when messages are replayed, or were when they came in."""

Opener = Callable[[str], AbstractContextManager[DuckStore]]


@pytest.fixture(params=[Backend.FILE, Backend.DUCKLAKE])
def backend(request: pytest.FixtureRequest) -> Backend:
    must_be_installed(request.param)
    return request.param


@pytest.fixture
def traces_sent(backend: Backend) -> int:
    """How much to send: a commit of DuckLake takes twenty times one of the file."""
    return 30 if backend is Backend.FILE else 8


@pytest.fixture
def opened(backend: Backend, tmp_path: Path) -> Opener:

    @contextmanager
    def open_named(name: str) -> Iterator[DuckStore]:
        store = open_store(tmp_path / name, StoreSettings(backend=backend, threads=1))
        assert isinstance(store, DuckStore)
        try:
            yield store
        finally:
            store.close()

    return open_named


class World:
    """A bus on disk and the jobs that fill a store from it."""

    def __init__(self, bus: EmbeddedBus, store: DuckStore) -> None:
        self.bus = bus
        self.store = store
        self.ingest = IngestJob(bus, store, Ledger())
        self.minutes = MinutesJob(store)

    async def send(
        self, sent: Sequence[Sent], chance: random.Random, *, analysed: float = 0.5
    ) -> None:
        """Publish in bursts; each is a slice, and is analysed at once by chance, else later."""
        left = list(sent)
        while left:
            for topic, value, headers in left[: (burst := chance.randint(1, 6))]:
                await self.bus.publish(topic, value, headers)
            del left[:burst]
            await self.take_in()
            if chance.random() < analysed:
                await self.minutes.run()

    async def take_in(self) -> None:
        """Ingest everything there is."""
        while sum(self.store.positions().values()) < sum(self.bus.status().ends.values()):
            await self.ingest.run()

    async def replay(self, wanted: Sequence[Run] | None = None) -> Report:
        """Replay some runs, or everything, and compute the graph anew."""
        replay = Replay(self.bus, self.store)
        report = await (replay.between(0, END_NS) if wanted is None else replay.over(wanted))
        await MinutesJob(self.store).settle()
        return report


@contextmanager
def world(
    directory: Path, store: DuckStore, settings: EmbeddedBusSettings | None = None
) -> Iterator[tuple[asyncio.Runner, World]]:
    with asyncio.Runner() as runner:
        bus = EmbeddedBus(directory / "bus", settings)
        runner.run(bus.start())
        try:
            yield runner, World(bus, store)
        finally:
            runner.run(bus.stop())


def assert_same(found: DuckStore, wanted: DuckStore | dict, *, by_slice: bool) -> None:
    known = wanted if isinstance(wanted, dict) else held(wanted, by_slice=by_slice)
    for name, rows in held(found, by_slice=by_slice).items():
        assert_frame_equal(rows, known[name])


@pytest.mark.parametrize("seed", range(2))
def test_replaying_any_part_with_the_same_decoders_changes_nothing(
    opened: Opener, traces_sent: int, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    with opened("store") as store, world(tmp_path, store) as (runner, here):
        runner.run(here.send(messages(chance, traces_sent=traces_sent), chance))
        runner.run(here.minutes.settle())
        before = held(store)
        assert all(rows.height for name, rows in before.items() if name != "access_logs")
        for _ in range(2):
            wanted = []
            for partition, end in store.positions().items():
                first = chance.randrange(end)
                wanted.append(Run(partition, first, chance.randint(first + 1, end)))
            report = runner.run(here.replay(wanted))
            assert report.messages > 0
            assert (report.rows, report.quarantined) == (
                report.rows_before,
                report.quarantined_before,
            )
            assert_same(store, before, by_slice=True)
        everything = runner.run(here.replay())
        assert everything.messages == sum(store.positions().values())
        assert everything.skipped == []
        assert_same(store, before, by_slice=True)


def refusing(decode: Callable[[list[bytes]], Decoded], values: list[bytes]) -> Decoded:
    """A decoder that cannot read a third of the messages."""
    bad = [index for index, value in enumerate(values) if sum(value) % 3 == 0]
    good = [index for index in range(len(values)) if index not in bad]
    decoded = decode([values[index] for index in good]) if good else Decoded()
    moved = [
        Refusal(good[one.message], one.reason, one.offset, one.records, one.whole)
        for one in decoded.refused
    ]
    return Decoded(decoded.batches, (*moved, *(Refusal(one, "new", whole=True) for one in bad)))


def blind(decode: Callable[[list[bytes]], Decoded], values: list[bytes]) -> Decoded:
    """A decoder that misses the spans of clients."""
    decoded = decode(values)
    batches = dict(decoded.batches)
    if "spans" in batches:
        batches["spans"] = batches["spans"].filter(pc.not_equal(batches["spans"]["kind"], 3))
    return Decoded(batches, decoded.refused)


def doubling(decode: Callable[[list[bytes]], Decoded], values: list[bytes]) -> Decoded:
    """A decoder that gives every row twice."""
    decoded = decode(values)
    batches = {
        name: pa.concat_tables([rows, rows]) if name in {"spans", "logs"} else rows
        for name, rows in decoded.batches.items()
    }
    return Decoded(batches, decoded.refused)


DECODINGS = [
    *((Backend.FILE, other, then) for other in (refusing, blind, doubling) for then in THEN),
    (Backend.DUCKLAKE, blind, "better"),
    (Backend.DUCKLAKE, refusing, "worse"),
]


@pytest.mark.parametrize(("backend", "other", "then"), DECODINGS, indirect=["backend"])
def test_replaying_with_other_decoders_gives_what_a_fresh_ingest_gives(
    opened: Opener,
    traces_sent: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: object,
    then: str,
) -> None:
    chance = random.Random(7)
    sent = messages(chance, traces_sent=traces_sent)
    odd = {name: partial(other, decode) for name, decode in DECODERS.items()}  # type: ignore[arg-type]
    first, second = (odd, DECODERS) if then == "better" else (DECODERS, odd)
    with opened("store") as store, world(tmp_path, store) as (runner, here):
        monkeypatch.setattr(decoding, "DECODERS", first)
        runner.run(here.send(sent, chance))
        runner.run(here.minutes.settle())
        monkeypatch.setattr(decoding, "DECODERS", second)
        report = runner.run(here.replay())
        assert report.rows != report.rows_before
        with opened("fresh") as fresh, world(tmp_path / "again", fresh) as (run, there):
            run.run(there.send(sent, chance))
            run.run(there.minutes.settle())
            assert_same(store, fresh, by_slice=False)


def test_replaying_beside_workers_that_write_ends_in_the_same_numbers(
    opened: Opener, traces_sent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest and analysis go on while the first half is replayed with better decoders."""
    chance = random.Random(11)
    sent = messages(chance, traces_sent=2 * traces_sent)
    half = len(sent) // 2
    odd = {name: partial(blind, decode) for name, decode in DECODERS.items()}
    with opened("store") as store, world(tmp_path, store) as (runner, here):
        with monkeypatch.context() as before:
            before.setattr(decoding, "DECODERS", odd)
            runner.run(here.send(sent[:half], chance))

        async def analyse(done: asyncio.Event) -> None:
            while not done.is_set():
                try:
                    await here.minutes.run()
                except Transient as problem:
                    await asyncio.sleep(problem.retry_after)

        async def together() -> Report:
            done = asyncio.Event()
            analysing = asyncio.create_task(analyse(done))
            replay = Replay(here.bus, store)
            sending = asyncio.create_task(here.send(sent[half:], chance, analysed=0))
            report = await replay.between(0, END_NS)
            await sending
            done.set()
            await analysing
            return report

        report = runner.run(together())
        assert report.slices > 2
        runner.run(here.minutes.settle())
        with opened("fresh") as fresh, world(tmp_path / "again", fresh) as (run, there):
            run.run(there.send(sent, chance))
            run.run(there.minutes.settle())
            assert_same(store, fresh, by_slice=False)


def test_messages_that_never_were_in_the_store_are_filled_in(
    opened: Opener, traces_sent: int, tmp_path: Path
) -> None:
    """A new store that began in the middle of an old bus."""
    chance = random.Random(3)
    with opened("store") as store, world(tmp_path, store) as (runner, here):
        runner.run(here.send(messages(chance, traces_sent=traces_sent), chance))
        runner.run(here.minutes.settle())
        middle = {partition: end // 2 for partition, end in store.positions().items()}
        with opened("late") as late:
            late.write({}, expected={}, positions=middle, consumed={})
            there = World(here.bus, late)
            runner.run(there.take_in())
            there.minutes = MinutesJob(late)
            report = runner.run(there.replay())
            assert report.new_slices > 0
            assert report.messages == sum(late.positions().values())
            assert_same(late, store, by_slice=False)
            again = runner.run(there.replay())
            assert (again.new_slices, again.rows) == (0, again.rows_before)
            assert_same(late, store, by_slice=False)


def test_slices_the_bus_does_not_keep_whole_are_left_and_told(
    opened: Opener, traces_sent: int, tmp_path: Path
) -> None:
    part = Partition("otlp_spans")
    chance = random.Random(5)
    small = EmbeddedBusSettings(retention_bytes=4_000, min_free_bytes=0)
    with opened("store") as store, world(tmp_path, store, small) as (runner, here):
        runner.run(here.send(messages(chance, traces_sent=traces_sent), chance))
        runner.run(here.minutes.settle())
        before = held(store)
        oldest = runner.run(here.bus.span(0, END_NS))[part].first
        assert oldest > 0
        wanted = Run(part, 0, store.positions()[part])
        report = runner.run(here.replay([wanted]))
        assert {reason for _, reason in report.skipped} == {Reason.NOT_KEPT}
        left = {run.slice for run, _ in report.skipped}
        mine = [run for run in store.runs([wanted]) if run.partition == part]
        assert {run.slice for run in mine if run.first < oldest} <= left
        assert report.slices == len({run.slice for run in mine} - left - {None}) > 0
        assert_same(store, before, by_slice=True)


def test_replaying_from_a_real_kafka_changes_nothing(
    opened: Opener, kafka: tuple[str, ...]
) -> None:
    """Three partitions, batches as the broker gives them, and no consumer group."""
    topic = f"replay-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(bootstrap_servers=kafka, partitions=3)
    chance = random.Random(13)

    async def run(store: DuckStore) -> tuple[Report, Report, dict[str, pl.DataFrame]]:
        bus = KafkaBus(settings, topics=[topic])
        await bus.start()
        try:
            ingest = IngestJob(bus, store, Ledger())
            sent = [one for one in messages(chance, traces_sent=8) if one[0] == OTLP_SPANS]
            for number, (_, value, headers) in enumerate(sent):
                await bus.publish(topic, value, headers | {"format": "otlp_traces"})
                if number % 4 == 3 or number == len(sent) - 1:
                    while sum(store.positions().values()) <= number:
                        await ingest.run()
            await MinutesJob(store).settle()
            before = held(store)
            reports = [await Replay(bus, store).between(0, END_NS) for _ in range(2)]
            await MinutesJob(store).settle()
            assert reports[0].messages == len(sent)
            return reports[0], reports[1], before
        finally:
            await bus.stop()

    with opened("store") as store:
        first, second, before = asyncio.run(run(store))
        assert first.skipped == second.skipped == []
        assert first.slices == second.slices > 2
        assert_same(store, before, by_slice=True)
