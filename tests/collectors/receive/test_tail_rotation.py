"""Files that are rotated, whatever the moments: of a write, a look, a read, a rename, a stop."""

import asyncio
import itertools
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pytest
from hypothesis import example, given, settings, strategies as st

from collectors.intake import Intake
from collectors.receive.tail import TailReceiver
from collectors.settings import IntakeSettings, TailSettings
from collectors.tail_file import TailedFile
from pipeline.bus.embedded import EmbeddedBus
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.model.ledger import Ledger
from tests.pipeline.decode.lines.wrapping import cri

ROTATED_SECONDS = 10
LINE = re.compile(rb'"request_id":"r-(\d+)"}')


class Clock:
    """Goes on by the next of some steps, round and round, whenever it is asked."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = itertools.cycle(steps)
        self.now = 0

    def __call__(self) -> float:
        """The time after the next step, seconds."""
        self.now += next(self._steps)
        return self.now


class SlowBus(EmbeddedBus):
    """The embedded bus; while it takes a message, other things happen."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, EmbeddedBusSettings.model_validate({"min_free_bytes": 0}))
        self.meanwhile = deque[Callable[[], None]]()

    async def publish(self, topic: str, value: bytes, headers: Mapping[str, str]) -> int:
        """Let the next thing happen, then publish."""
        if self.meanwhile:
            self.meanwhile.popleft()()
        return await super().publish(topic, value, headers)


@dataclass
class Written:
    """A file that its writer has open.

    Attributes:
        log: the file, without a buffer.
        seen: whether the reader knows of it; nobody can follow a file that never was looked at.
        found: whether it is found again after a stop.
        at: when it was written to last, or lost its name.
        lines: what was written.
        rest: what its last line still needs.
    """

    log: BinaryIO
    seen: bool = False
    found: bool = True
    at: float = 0
    lines: list[int] = field(default_factory=list)
    rest: deque[bytes] = field(default_factory=deque)


class Writer:
    """Writes lines, whole and in parts, to a file that it rotates once that was seen."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._numbers = itertools.count()
        (directory / "elsewhere").mkdir(parents=True)
        self.files: list[Written] = []
        self._begin()

    @property
    def _name(self) -> Path:
        return self._directory / "a.log"

    def part(self) -> None:
        """Write a part of a line, or the rest of it."""
        self._write(self.files[-1])

    def whole(self) -> None:
        """Write on until a line has its end."""
        self.part()
        if self.files[-1].rest:
            self.part()

    def late(self) -> None:
        """Write to the file that was rotated last, as long as it may be written to."""
        old = self.files[-2] if len(self.files) > 1 else None
        if old and old.seen and self._clock.now - old.at < ROTATED_SECONDS:
            self._write(old)

    def rename(self) -> None:
        """Rotate, within the directory."""
        if self.files[-1].seen:
            self._name.rename(f"{self._name}.{len(self.files)}")
            self._begin()

    def move(self) -> None:
        """Rotate, to another directory."""
        if self.files[-1].seen:
            self._name.rename(self._directory / "elsewhere" / str(len(self.files)))
            self.files[-1].found = False
            self._begin()

    def delete(self) -> None:
        """Rotate by deleting."""
        if self.files[-1].seen:
            self._name.unlink()
            self.files[-1].found = False
            self._begin()

    def leave(self) -> None:
        """End everything: no file has its name any more."""
        for path in self._directory.glob("a.log*"):
            path.unlink()
        for one in self.files:
            one.log.close()

    def _begin(self) -> None:
        if self.files:
            self.files[-1].at = self._clock.now
        self.files.append(Written(self._name.open("ab", buffering=0)))

    def _write(self, one: Written) -> None:
        if not one.rest:
            number = next(self._numbers)
            one.lines.append(number)
            line = b'{"start_time":"2026-03-02T10:15:33Z","request_id":"r-%d"}' % number
            one.rest.extend(cri(line, b" ") if number % 2 else [line, b"\n"])
        one.log.write(one.rest.popleft())
        one.at = self._clock.now


ACTS = {
    name: getattr(Writer, name) for name in ("part", "whole", "late", "rename", "move", "delete")
}
LOOK, STOP = "look", "stop"
FINDABLE = ("part", "whole", "late", "rename")
"""What may happen while nobody looks."""

Step = tuple[str, Sequence[str]]
"""An act; of a look what happens while the bus takes what was read, of a stop what after it."""


@dataclass
class Scene:
    """A writer, a reader, and the bus behind it."""

    bus: SlowBus
    clock: Clock
    writer: Writer
    reader: TailReceiver

    async def carry_out(self, step: Step) -> None:
        """Do a step."""
        name, meanwhile = step
        acts = [ACTS[one].__get__(self.writer) for one in meanwhile]
        if name == LOOK:
            self.bus.meanwhile.extend(acts)
            await self.look()
            self.bus.meanwhile.clear()
        elif name == STOP:
            await self.stop()
            for act in acts:
                act()
            await self.open()
        else:
            ACTS[name](self.writer)

    async def open(self) -> None:
        """Begin to follow."""
        self.writer.files[-1].seen = True
        await self.reader.open()

    async def look(self) -> bool:
        """Have the reader do a round; whether it read."""
        self.writer.files[-1].seen = True
        return await self.reader.round()

    async def stop(self) -> None:
        """Stop the reader, but not before it has what it could not find again."""
        if not all(one.found for one in self.writer.files):
            await self.settle()
        await self.reader.close()
        for one in self.writer.files:
            if not one.lines:  # nobody knows an empty file again
                one.seen = False

    async def settle(self) -> None:
        """Let the time go by after which nobody writes on."""
        for _ in range(3):
            while await self.look():
                pass
            self.clock.now += ROTATED_SECONDS

    async def end(self) -> list[int]:
        """Rotate all that is there; the lines that are on the bus then."""
        await self.look()
        self.writer.leave()
        await self.settle()
        await self.reader.close()
        found = await self.bus.read({}, max_bytes=1 << 30, wait=0)
        await self.bus.stop()
        return [int(number) for one in found for number in LINE.findall(one.value)]


async def begun(directory: Path, glob: str, ticks: Sequence[int]) -> Scene:
    """A first file, still empty, that is followed."""
    clock, bus = Clock(ticks), SlowBus(directory / "bus")
    writer = Writer(directory / "logs", clock)
    tail = TailSettings(
        paths=(f"envoy_json:{directory / 'logs' / glob}",),
        directory=directory / "places",
        rotated_seconds=ROTATED_SECONDS,
    )
    await bus.start()
    reader = TailReceiver(Intake(bus, Ledger(), IntakeSettings()), tail, clock=clock)
    scene = Scene(bus, clock, writer, reader)
    await scene.open()
    return scene


async def played(directory: Path, glob: str, ticks: Sequence[int], steps: Sequence[Step]) -> None:
    """Every line that was written is on the bus once, in the order of its file."""
    scene = await begun(directory, glob, ticks)
    for step in steps:
        await scene.carry_out(step)
    found, files = await scene.end(), scene.writer.files
    for one in files:
        assert [number for number in found if number in one.lines] == one.lines
    assert len(found) == sum(len(one.lines) for one in files)


def some(acts: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(acts), max_size=3)


STEPS = st.one_of(
    st.tuples(st.sampled_from([*ACTS]), st.just(())),
    st.tuples(st.just(LOOK), some([*ACTS])),
    st.tuples(st.just(STOP), some(FINDABLE)),
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["a.log", "a.log*"]),
    st.lists(st.integers(0, ROTATED_SECONDS + 2), min_size=1, max_size=4),
    st.lists(STEPS, max_size=14),
)
@example("a.log", [0, 0, 0, ROTATED_SECONDS], [("part", ()), ("move", ()), *[(LOOK, ())] * 5])
@example("a.log", [1], [("part", ()), (STOP, ["rename"])])
@example("a.log", [4], [(LOOK, ()), ("rename", ()), *[(LOOK, ()), (LOOK, ()), ("late", ())] * 5])
def test_what_was_written_arrives_once_whatever_the_moments(glob, ticks, steps) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(played(Path(directory), glob, ticks, steps))


async def taken_by_another(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A file is renamed to a name that was another's when it was looked up; what is read."""
    scene = await begun(directory, "a.log*", [1])
    scene.writer.whole()
    while await scene.look():
        pass
    name = directory / "logs" / "a.log"
    other = name.with_name("a.log.other")
    other.touch()
    opened = TailedFile.open

    def late(path: Path) -> TailedFile:
        if name.exists():
            name.rename(other)
        return opened(path)

    monkeypatch.setattr(TailedFile, "open", late)
    while await scene.look():
        pass
    return await scene.end()


def test_a_file_is_read_once_though_it_takes_a_name_just_now(tmp_path, monkeypatch) -> None:
    assert asyncio.run(taken_by_another(tmp_path, monkeypatch)) == [0]
