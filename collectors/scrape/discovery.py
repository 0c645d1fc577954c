"""Discovery: what finds targets, and tells of changes for as long as it runs.

What is found comes in groups, each under the name of its source: a file, an entry of an answer, a
pod. A group replaces the one before it; an empty one takes it away. Where a source cannot be asked
or makes no sense, what was found last stays, and the log says why, once.
"""

import asyncio
import glob
import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from collectors.room import Room
from collectors.scrape.access import LabelValue, Strict
from collectors.scrape.config import FileSd, HttpSd, StaticConfig, refusal
from collectors.scrape.fetch import Fetcher, FetchFailed
from collectors.scrape.target import ADDRESS, Found, address_labels
from collectors.scrape.yaml_text import read_yaml
from pipeline.errors import InvalidInput, MeshweirError

MAX_SD_BYTES: Final = 64 * 1024 * 1024
_SD_TIMEOUT_SECONDS: Final = 30.0
_USER_AGENT: Final = "Meshweir"

Tell = Callable[[str, Sequence[Found]], None]
"""Takes the name of a source and what is there now."""

_log = logging.getLogger(__name__)


class Discovery(Protocol):
    """Something that finds targets."""

    async def run(self, tell: Tell) -> None:
        """Tell what is there, and again whenever it changes; ends where nothing can change."""


class TargetGroup(Strict):
    """One entry of what ``file_sd`` files and HTTP service discovery hold."""

    targets: tuple[str, ...]
    labels: dict[str, LabelValue] = Field(default_factory=dict)

    def found(self) -> list[Found]:
        """Its targets, each with the labels of all."""
        return [Found({ADDRESS: address, **self.labels}) for address in self.targets]


_GROUPS: Final = TypeAdapter(tuple[TargetGroup, ...])


class Trouble:
    """Says the same trouble once, and that it is over."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = ""

    def say(self, problem: Exception) -> None:
        """Log it, unless it was the last that was said."""
        if str(problem) != self._said:
            self._said = str(problem)
            _log.warning("%s: %s; what was found before stays", self._what, problem)

    def over(self) -> None:
        """Log that it is over, if there was any."""
        if self._said:
            self._said = ""
            _log.info("%s answers again", self._what)


class StaticDiscovery:
    """Targets that the configuration names.

    Raises:
        InvalidInput: one is neither an address nor a URL.
    """

    def __init__(self, configs: Sequence[StaticConfig]) -> None:
        self._found = [
            Found(config.labels | address_labels(one))
            for config in configs
            for one in config.targets
        ]

    async def run(self, tell: Tell) -> None:
        """Tell them; they never change."""
        tell("static", self._found)


class FileDiscovery:
    """Targets out of files, looked at every ``refresh_interval`` and read when they changed."""

    def __init__(self, config: FileSd) -> None:
        self._config = config
        self._read: dict[str, tuple[int, int]] = {}
        self._troubles: dict[str, Trouble] = {}
        self._missing: set[str] = set()

    async def run(self, tell: Tell) -> None:
        """Tell what the files say; each is a source, and its group is gone when the file is."""
        while True:
            await asyncio.to_thread(self._look, tell_from_thread(tell))
            await asyncio.sleep(self._config.refresh_interval)

    def _look(self, tell: Tell) -> None:
        found = {pattern: glob.glob(pattern) for pattern in self._config.files}  # noqa: PTH207 - the pattern may be absolute
        missing = {pattern for pattern, names in found.items() if not names}
        for pattern in sorted(missing - self._missing):
            _log.warning("%s: there is no such file, and so no targets of it", pattern)
        self._missing = missing
        names = set(itertools.chain.from_iterable(found.values()))
        for gone in self._read.keys() - names:
            del self._read[gone]
            tell(gone, ())
        for name in sorted(names):
            self._look_at(name, tell)

    def _look_at(self, name: str, tell: Tell) -> None:
        trouble = self._troubles.setdefault(name, Trouble(f"the targets of {name}"))
        try:
            status = Path(name).stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if self._read.get(name) == stamp:
                return
            self._read[name] = stamp
            tell(name, groups_of(read_yaml(Path(name)), name))
        except (OSError, InvalidInput) as problem:
            trouble.say(problem)
        else:
            trouble.over()


class HttpDiscovery:
    """Targets out of the answer to a GET, asked for every ``refresh_interval``.

    Args:
        config: where, and how often.
        room: for the answers.
    """

    def __init__(self, config: HttpSd, room: Room) -> None:
        self._config = config
        self._room = room

    async def run(self, tell: Tell) -> None:
        """Tell what the answers say; each entry of an answer is a source."""
        fetcher = Fetcher(self._config, max_body_bytes=MAX_SD_BYTES, connections=1)
        shown = self._config.url.partition("?")[0]
        trouble = Trouble(f"the targets of {shown}")
        try:
            while True:
                try:
                    tell(shown, await self._ask(fetcher, shown))
                except MeshweirError as problem:
                    trouble.say(problem)
                else:
                    trouble.over()
                await asyncio.sleep(self._config.refresh_interval)
        finally:
            await fetcher.close()

    async def _ask(self, fetcher: Fetcher, shown: str) -> list[Found]:
        headers = {
            "accept": "application/json",
            "user-agent": _USER_AGENT,
            "x-prometheus-refresh-interval-seconds": f"{self._config.refresh_interval:g}",
        }
        with self._room.claim() as claim:
            answer = await fetcher.get(
                self._config.url, headers, claim, seconds=_SD_TIMEOUT_SECONDS
            )
        if not answer.content_type.startswith("application/json"):
            raise FetchFailed(
                f"content type {answer.content_type or 'none'}, which is not application/json",
                reason="content type",
            )
        try:
            return groups_of(orjson.loads(answer.body), shown)
        except orjson.JSONDecodeError as problem:
            raise FetchFailed(f"no JSON: {problem}", reason="malformed") from problem


def groups_of(tree: object, where: str) -> list[Found]:
    """What a list of target groups says; raises InvalidInput when it is none."""
    try:
        groups = _GROUPS.validate_python(tree if tree is not None else ())
    except ValidationError as problem:
        raise refusal(problem, where) from None
    return [found for group in groups for found in group.found()]


def tell_from_thread(tell: Tell) -> Tell:
    """``tell`` for a thread: what is told goes to the event loop that this is called in."""
    loop = asyncio.get_running_loop()

    def told(source: str, found: Sequence[Found]) -> None:
        loop.call_soon_threadsafe(tell, source, found)

    return told
