"""Follows files as they grow, through rotation, and begins again where it was left.

What is before a place is durable on the bus before the place moves. Before a chunk goes to the bus
its name is kept with the place, and goes along in a header: after a crash the bus is asked whether
it has the chunk, so that it is neither lost nor there twice.
"""

import asyncio
import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from collectors.channel import Parcel
from collectors.formats import AUTO
from collectors.intake import Intake
from collectors.room import Claim
from collectors.settings import TailSettings
from collectors.tail_file import Chunk, TailedFile
from collectors.tail_followed import Followed
from collectors.tail_lines import UNKNOWN, Lot, channel, lot
from collectors.tail_patterns import Pattern, pattern
from collectors.tail_places import Key, Place, Places
from pipeline.errors import InvalidInput, Transient

_SECOND: Final = 1_000_000_000
_BEFORE_NS: Final = 60 * _SECOND
_AFTER_NS: Final = 300 * _SECOND
"""How far around the time of a try the bus is asked whether it has a chunk: clocks may differ."""
_KEPT_AGAIN_NS: Final = 60 * _SECOND
"""After which the time of a chunk's try is kept anew, while the bus takes nothing."""
_LEFT_KEPT: Final = 100
"""How many files that were cut short are remembered, until their copy appears."""
_STOP_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class TailReceiver:
    """Follows the files of one process.

    Args:
        intake: where lines go.
        settings: which files, and where their places are kept.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        intake: Intake,
        settings: TailSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._intake = intake
        self._settings = settings
        self._clock = clock
        self._patterns: Sequence[Pattern] = ()
        self._places = Places(settings.directory or Path("tail"))
        self._known: dict[Key, Place] = {}
        self._followed: dict[Key, Followed] = {}
        self._left: list[Place] = []
        self._told: set[tuple[str, str]] = set()
        self._first_round = True
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """The files it follows, as they were set."""
        return ", ".join(self._settings.paths)

    async def start(self) -> None:
        """Begin to follow; raises InvalidInput as ``open`` does."""
        await self.open()
        self._running = asyncio.create_task(self._run())
        _log.info("files are followed: %s", self.address)

    async def open(self) -> None:
        """Open the files that are there, from their places.

        Raises:
            InvalidInput: a path or format is not good, or places cannot be kept.
        """
        self._patterns = [pattern(text) for text in self._settings.paths]
        try:
            self._places.open()
            self._known = {place.key: place for place in self._places.all()}
        except OSError as error:
            raise InvalidInput(
                "tail_directory",
                found=str(self._settings.directory),
                allowed=f"a directory that can be written to ({error.strerror})",
            ) from error
        self._stopping.clear()
        self._first_round = True
        await asyncio.to_thread(self._look)

    async def stop(self) -> None:
        """Finish the chunk that is on its way, if the bus takes it, and let go. Idempotent."""
        if self._running is None:
            return
        self._stopping.set()
        await asyncio.wait({self._running}, timeout=_STOP_SECONDS)
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        self._running = None
        await self.close()

    async def close(self) -> None:
        """Keep the places, and let go."""
        for one in self._followed.values():
            if one.file.place.pending is None:
                await self._keep(one)
            one.file.close()
        self._followed.clear()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = await self.round()
            except OSError as error:
                self._tell_once("", f"files cannot be followed just now: {error}")
                busy = False
            if not busy:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._settings.poll_seconds)

    async def round(self) -> bool:
        """Look for files, take a chunk of each; whether there was any."""
        await asyncio.to_thread(self._look)
        busy = False
        for one in list(self._followed.values()):
            if self._stopping.is_set():
                break
            busy |= await self._take_next(one)
        return busy

    def _look(self) -> None:
        """Bring what is followed up to date with what is there; blocks."""
        seen = set[Key]()
        for wanted in self._patterns:
            for path in wanted.files():
                with contextlib.suppress(OSError):
                    seen |= self._see(path, wanted.format)
        now = self._clock()
        for key, one in self._followed.items():
            if key not in seen:
                one.missed(now)
        if self._first_round:
            self._find_renamed(seen)
            self._first_round = False

    def _see(self, path: Path, format_name: str) -> set[Key]:
        """Follow a file that is there; answers what it is known by."""
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return set()
        key = found.st_dev, found.st_ino
        if key not in self._followed and len(self._followed) >= self._settings.max_files:
            self._tell_once("", f"more than {self._settings.max_files} files: others wait")
        elif key not in self._followed:
            key = self._open(path, format_name)
        else:
            self._followed[key].seen(path)
        return {key}

    def _open(self, path: Path, format_name: str) -> Key:
        """Follow what has that name by now, which may be followed by another name already."""
        file = TailedFile.open(path)
        key = file.place.key
        if key in self._followed:
            file.close()
            self._followed[key].seen(path)
        else:
            self._begin(file, format_name)
        return key

    def _begin(self, file: TailedFile, format_name: str) -> None:
        """Follow a file from its place, from its beginning, or not at all."""
        path, key = file.place.path, file.place.key
        place = self._known.get(key)
        if place is not None and file.holds(place):
            file.place = replace(place, path=path)
        elif file.is_compressed:
            self._tell_once(path, "is compressed, and not followed")
            file.close()
            return
        else:
            if place is not None:
                self._leave(place)
            original = self._original_of(file)
            if original is not None and original not in self._left:
                self._tell_once(path, f"is a copy of {original.path}, and waits")
                file.close()
                return
            if original is not None:
                self._left.remove(original)
                file.place = replace(original, path=path, device=key[0], inode=key[1])
            elif self._first_round and not self._known and self._settings.start == "end":
                file.taken(file.size)
        file.place = replace(file.place, told=format_name)
        self._followed[key] = Followed(file)

    def _original_of(self, file: TailedFile) -> Place | None:
        """The file that this one is a copy of: one that was cut short after, or will be."""
        followed = [one.file.place for one in self._followed.values()]
        for place in (*self._left, *followed):
            if place.key != file.place.key and file.is_copy_of(place):
                return place
        return None

    def _leave(self, place: Place) -> None:
        """Remember how far a file was read that is no longer what it was: a copy may appear."""
        self._left = [*self._left, place][-_LEFT_KEPT:]

    def _find_renamed(self, seen: set[Key]) -> None:
        """Follow to their end the files that were renamed while nobody looked."""
        for key, place in self._known.items():
            if key in seen:
                continue
            file = next(self._namesakes(place), None)
            if file is None:
                text = "%s is not found again; what was written to it after byte %d is not known"
                _log.warning(text, place.path, place.offset)
                self._places.forget(key)
                continue
            file.place = place
            self._followed[key] = Followed(file)

    def _namesakes(self, place: Place) -> Iterator[TailedFile]:
        """The file of a place, under another name in its directory."""
        directory = Path(place.path).parent
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.inode() == place.inode:
                    file = TailedFile.open(Path(entry.path))
                    if file.place.key == place.key and file.holds(place):
                        yield file
                    else:
                        file.close()

    async def _take_next(self, one: Followed) -> bool:
        """Bring the next chunk of a file to the bus; whether there was one."""
        await self._settle(one)
        # asked once: only what was read to its last byte, with or without an end, is let go
        is_last = one.is_over(self._settings.rotated_seconds)
        chunk = await asyncio.to_thread(self._next, one, is_last=is_last)
        if chunk is None:
            await (self._let_go(one) if is_last else self._keep(one))
            return False
        if chunk.text:
            await self._bring(one, chunk)
        else:
            self._lose(one, {(one.file.place.format or UNKNOWN, "line too long"): 1})
        one.file.taken(chunk.end)
        return True

    def _next(self, one: Followed, *, is_last: bool) -> Chunk | None:
        file = one.file
        if not file.holds(file.place):
            path = file.place.path
            _log.warning("%s was cut short; what was written last before that is not known", path)
            self._leave(file.place)
            file.begin_again()
        return file.next(is_last=is_last)

    async def _bring(self, one: Followed, chunk: Chunk) -> None:
        file = one.file
        place = file.place
        told = place.format if place.told == AUTO and place.format else place.told
        header = file.header if chunk.begin else bytes
        found = await asyncio.to_thread(lot, chunk.text, told, header, place.path)
        if found.format:
            file.place = replace(place, format=found.format)
        self._lose(one, found.lost)
        if found.bodies:
            await self._publish(one, chunk, found)

    async def _publish(self, one: Followed, chunk: Chunk, found: Lot) -> None:
        path = os.fsencode(one.file.place.path).decode(errors="replace")
        kept_at = 0
        origin = ""

        async def bring(claim: Claim) -> Sequence[Parcel]:
            nonlocal kept_at, origin
            now = time.time_ns()
            if now - kept_at > _KEPT_AGAIN_NS:
                # another message may have this very path and these offsets, but not this time
                origin = origin or f"{path}:{chunk.begin}-{chunk.end}@{now}"
                place = one.file.trying(origin, chunk.end, now)
                await asyncio.to_thread(self._places.keep, place)
                one.kept, kept_at = place, now
            claim.grow(found.size)
            return found.parcels(origin)

        receipt = await self._intake.take_parcels(channel(next(iter(found.bodies))), bring)
        if receipt.error is not None:
            _log.error(
                "%s: bytes %d to %d are lost: %s", path, chunk.begin, chunk.end, receipt.error
            )

    async def _settle(self, one: Followed) -> None:
        """Ask the bus for a chunk of which nobody knows whether it came there."""
        pending = one.file.place.pending
        while pending is not None:
            try:
                there = await self._intake.has(
                    pending.origin,
                    since_ns=pending.at_ns - _BEFORE_NS,
                    until_ns=pending.at_ns + _AFTER_NS,
                )
            except Transient as error:
                await asyncio.sleep(error.retry_after)
            else:
                one.file.taken(pending.until if there else one.file.place.offset)
                return

    async def _let_go(self, one: Followed) -> None:
        """It is over, and was read to its end."""
        place = one.file.place
        await asyncio.to_thread(self._places.forget, place.key)
        one.file.close()
        self._leave(place)
        del self._followed[place.key]
        self._known.pop(place.key, None)

    async def _keep(self, one: Followed) -> None:
        """Keep the place, also of a file of which nothing was read: it may be renamed meanwhile."""
        file = one.file
        if not file.place.head_size:
            file.learn_head()
        if file.place.head_size and file.place != one.kept:
            await asyncio.to_thread(self._places.keep, file.place)
            one.kept = file.place

    def _lose(self, one: Followed, lost: Mapping[tuple[str, str], int]) -> None:
        """Count what cannot go on the bus, by format and reason."""
        for (name, reason), records in lost.items():
            self._intake.dropped(channel(name), records, reason)
            self._tell_once(one.file.place.path, reason)

    def _tell_once(self, path: str, text: str) -> None:
        """Log something that will be met again and again, the first time."""
        if (path, text) not in self._told:
            self._told.add((path, text))
            _log.warning("%s%s", f"{path}: " if path else "", text)
