"""What only the embedded bus promises: kill -9, the lock, retention, a full disk."""

import asyncio
import os
import resource
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import lmdb
import pytest

from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.errors import BusFull, BusUnavailable, InvalidInput
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS, TOPICS

pytestmark = pytest.mark.anyio

SPANS = Partition(OTLP_SPANS)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened(directory: Path, **settings: object) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(
        directory, EmbeddedBusSettings.model_validate({"min_free_bytes": 0} | settings)
    )
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def everything(bus: EmbeddedBus) -> list[Message]:
    return list(await bus.read({}, max_bytes=1 << 40, wait=0))


PUBLISHER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from pipeline.bus.embedded import EmbeddedBus

    async def publish_forever(bus, name):
        number = 0
        while True:
            value = f"{name}:{number}:".encode() + bytes(3000 * (number % 4))
            offset = await bus.publish("otlp_spans", value, {"name": str(name)})
            print(offset, name, number, flush=True)
            number += 1

    async def main():
        bus = EmbeddedBus(Path(sys.argv[1]))
        await bus.start()
        await asyncio.gather(*(publish_forever(bus, name) for name in range(8)))

    asyncio.run(main())
""")


@pytest.mark.parametrize("lines", [1, 50, 400])
def test_everything_acknowledged_outlives_kill_9(tmp_path: Path, lines: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(tmp_path / "bus")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.read().splitlines(keepends=True)
    child.stdout.close()
    child.wait()
    acknowledged = {
        int(offset): (name, number)
        # the kill may have cut the last line anywhere
        for offset, name, number in (line.split() for line in told if line.endswith("\n"))
    }
    assert len(acknowledged) >= lines
    asyncio.run(all_are_there(tmp_path / "bus", acknowledged))


async def all_are_there(directory: Path, acknowledged: dict[int, tuple[str, str]]) -> None:
    async with opened(directory) as bus:
        found = {
            message.offset: tuple(message.value.decode().split(":")[:2])
            for message in await everything(bus)
        }
        assert {offset: found[offset] for offset in acknowledged} == acknowledged
        assert await bus.publish(OTLP_SPANS, b"after", {}) == max(found) + 1


def test_a_process_that_forgets_to_stop_ends_all_the_same(tmp_path: Path) -> None:
    program = PUBLISHER.replace("while True", "while number < 3")
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, timeout=60, check=True
    )
    assert len(child.stdout.splitlines()) == 24


async def test_a_second_process_is_told_who_has_the_directory(tmp_path: Path) -> None:
    async with opened(tmp_path) as bus:
        second = EmbeddedBus(tmp_path)
        with pytest.raises(BusUnavailable, match=f"already in use by pid {os.getpid()}"):
            await second.start()
        await bus.publish(OTLP_SPANS, b"undisturbed", {})
    async with opened(tmp_path) as bus:
        assert [message.value for message in await everything(bus)] == [b"undisturbed"]


async def test_a_directory_that_cannot_be_made_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BusUnavailable, match="cannot be opened"):
        await EmbeddedBus(tmp_path / "file" / "bus").start()


async def test_an_unknown_topic_is_refused_with_those_allowed(tmp_path: Path) -> None:
    async with opened(tmp_path) as bus:
        with pytest.raises(InvalidInput, match="otlp_spans"):
            await bus.publish("otlp_traces", b"", {})


async def test_commits_are_synced(tmp_path: Path) -> None:
    async with opened(tmp_path) as bus:
        environment = bus._log._env
        assert isinstance(environment, lmdb.Environment)
        flags = environment.flags()
        assert (flags["sync"], flags["metasync"], flags["map_async"]) == (True, True, False)


async def test_retention_by_bytes_deletes_only_what_was_consumed(tmp_path: Path) -> None:
    async with opened(tmp_path, retention_bytes=30_000) as bus:
        for number in range(10):
            await bus.publish(OTLP_SPANS, struct.pack(">I", number) + bytes(9_900), {})
        await bus.consumed({SPANS: 8})
        await bus.publish(OTLP_SPANS, bytes(9_900), {})
        kept = [message.offset for message in await everything(bus)]
        assert kept == [5, 6, 7, 8, 9, 10]


async def test_retention_by_age_works_while_the_bus_is_idle(tmp_path: Path) -> None:
    async with opened(tmp_path, retention_seconds=0) as bus:
        for number in range(5):
            await bus.publish(OTLP_LOGS, b"%d" % number, {})
        await bus.consumed({Partition(OTLP_LOGS): 4})
        while len(await everything(bus)) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert [message.offset for message in await everything(bus)] == [4]


async def test_offsets_are_not_used_twice_after_deletion_and_restart(tmp_path: Path) -> None:
    async with opened(tmp_path, retention_bytes=0) as bus:
        for _ in range(5):
            await bus.publish(OTLP_SPANS, b"x", {})
        await bus.consumed({SPANS: 5})
        await bus.publish(OTLP_LOGS, b"makes a commit", {})
        assert SPANS not in {message.partition for message in await everything(bus)}
    async with opened(tmp_path, retention_bytes=0) as bus:
        assert await bus.publish(OTLP_SPANS, b"y", {}) == 5


async def test_a_lost_directory_goes_on_after_the_positions_of_the_store(tmp_path: Path) -> None:
    async with opened(tmp_path / "new") as bus:
        await bus.consumed({SPANS: 1000})
        assert await bus.publish(OTLP_SPANS, b"first after the loss", {}) == 1000
        (message,) = await bus.read({SPANS: 1000}, max_bytes=1000, wait=5)
        assert message.value == b"first after the loss"


async def test_sizes_survive_deletion_consumption_and_restart(tmp_path: Path) -> None:
    async with opened(tmp_path, retention_bytes=0) as bus:
        for size in (100, 5_000, 300_000, 40):
            await bus.publish(OTLP_SPANS, bytes(size), {})
        await bus.consumed({SPANS: 2})
        held = bus.status().bytes_held
        assert 300_040 < held < 300_200
    async with opened(tmp_path, retention_bytes=0) as bus:
        assert bus.status().bytes_held == held
        assert bus.status().ends == {Partition(t): 4 * (t == OTLP_SPANS) for t in TOPICS}


async def test_too_much_waiting_in_memory_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, max_waiting_bytes=100_000) as bus:
        results = await asyncio.gather(
            *(bus.publish(OTLP_SPANS, bytes(40_000), {}) for _ in range(10)), return_exceptions=True
        )
        taken = [result for result in results if isinstance(result, int)]
        assert any(isinstance(result, BusFull) for result in results)
        assert [message.offset for message in await everything(bus)] == taken


async def test_the_file_reuses_the_room_of_deleted_messages(tmp_path: Path) -> None:
    async with opened(tmp_path, retention_bytes=1_000_000, max_bytes=4_000_000) as bus:
        for number in range(300):
            offset = await bus.publish(OTLP_SPANS, bytes(100_000 + 1000 * (number % 7)), {})
            await bus.consumed({SPANS: offset + 1})
    assert (tmp_path / "data.mdb").stat().st_size < 8_000_000


async def test_no_free_space_is_refused_before_the_disk_is_full(tmp_path: Path) -> None:
    async with opened(tmp_path, min_free_bytes=1 << 60) as bus:
        with pytest.raises(BusUnavailable, match="disk is full") as refused:
            await bus.publish(OTLP_SPANS, b"x", {})
        assert refused.value.retry_after > 1


async def test_a_full_disk_is_refused_and_gotten_over(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writes past it fail the same way."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(tmp_path) as bus:
        before = await bus.publish(OTLP_SPANS, b"before", {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            for _ in range(3):
                with pytest.raises(BusUnavailable, match="full"):
                    await bus.publish(OTLP_SPANS, bytes(2_000_000), {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        after = await bus.publish(OTLP_SPANS, b"after", {})
        assert [message.offset for message in await everything(bus)] == [before, after]
        assert bus.status().bytes_held < 1000


async def test_senders_are_let_go_when_enough_was_consumed(tmp_path: Path) -> None:
    async with opened(tmp_path, pace_bytes=10_000, pace_seconds=3600) as bus:
        for _ in range(4):
            await bus.publish(OTLP_SPANS, bytes(4_000), {})
        waiting = [asyncio.create_task(bus.ease()) for _ in range(5)]
        await bus.consumed({SPANS: 1})
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        await bus.consumed({SPANS: 2})
        await asyncio.gather(*waiting)
        assert bus.status().paced_seconds > 5 * 0.05
        await bus.ease()


async def test_senders_are_kept_no_longer_than_the_bound(tmp_path: Path) -> None:
    async with opened(tmp_path, pace_bytes=0, pace_seconds=0.01) as bus:
        await bus.publish(OTLP_SPANS, b"never consumed", {})
        await bus.ease()
        assert bus.status().paced_seconds >= 0.01
        assert await bus.publish(OTLP_SPANS, b"taken all the same", {}) == 1


async def test_nobody_waits_where_pacing_is_off(tmp_path: Path) -> None:
    async with opened(tmp_path, pace_bytes=0, pace_seconds=0) as bus:
        await bus.publish(OTLP_SPANS, b"never consumed", {})
        await bus.ease()
        assert bus.status().paced_seconds == 0


async def test_those_who_wait_go_on_when_the_bus_stops_or_they_give_up(tmp_path: Path) -> None:
    async with opened(tmp_path, pace_bytes=0, pace_seconds=3600) as bus:
        await bus.publish(OTLP_SPANS, b"never consumed", {})
        stays, leaves = asyncio.create_task(bus.ease()), asyncio.create_task(bus.ease())
        await asyncio.sleep(0.01)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        assert not stays.done()
    await stays
    await bus.ease()
